/*
 * recover_large: messages whose body has a file of its own.
 *
 * A message is alive with its file: one that nobody was promised yet (no LARGE record says that its
 * queue may count on the file) and one whose file is gone are taken for settled before rows are
 * merged. The first is as usual, the second is lost data. Queues are told apart because a file goes
 * when all that had it are done with it, and may be wanted anew by one that comes late.
 */
#include "base/mem.h"
#include "base/mutation.h"
#include "store/large.h"
#include "store/recover_inner.h"

#include <stdlib.h>

static int by_id(const void *a, const void *b)
{
    const struct found_proof *x = a;
    const struct found_proof *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->qid > y->qid) - (x->qid < y->qid);
}

static int by_large_id(const void *a, const void *b)
{
    const struct found_large *x = a;
    const struct found_large *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return place_lsn(x->place) < place_lsn(y->place) ? -1
                                                     : place_lsn(x->place) > place_lsn(y->place);
}

static int by_place(const void *a, const void *b)
{
    const struct found_large *x = a;
    const struct found_large *y = b;
    if (!place_eq(x->place, y->place))
        return place_lsn(x->place) < place_lsn(y->place) ? -1 : 1;
    if (x->qid != y->qid)
        return x->qid < y->qid ? -1 : 1;
    return (x->qseq > y->qseq) - (x->qseq < y->qseq);
}

/* Its octets are all there; what they say is looked at when they are read, or by who only looks. */
static bool has_file(struct recovery *r, const struct found_large *l)
{
    char name[LARGE_NAME_MAX];
    struct err ignored;
    uint64_t bytes = 0;
    if (r->setup->look_only)
        return large_check(r->disk, l->id, l->bytes, &ignored);
    large_name(l->id, name);
    struct disk_file *f = r->disk->ops->open(r->disk, name, DISK_READ, &ignored);
    if (f == NULL)
        return false;
    bool ok = r->disk->ops->size(f, &bytes, &ignored) && bytes == LARGE_HEADER_BYTES + l->bytes;
    r->disk->ops->close(&f);
    return ok;
}

static bool has_proof(const struct recovery *r, uint64_t id, uint64_t qid)
{
    struct found_proof key = { id, qid };
    return r->proven_count != 0 &&
           bsearch(&key, r->proven, r->proven_count, sizeof key, by_id) != NULL;
}

static bool is_proven(const struct recovery *r, const struct found_large *l)
{
    return l->is_proven || has_proof(r, l->id, l->qid) || has_proof(r, l->id, 0) ||
           MUTATION(LARGE_UNPROVEN_COUNTS);
}

static void drop(struct recovery *r, struct found_queue *q, const struct found_large *l,
                 bool is_lost)
{
    if (is_lost)
        recover_add_damage(r, &(struct recovered_damage){ .seg = l->place.seg,
                                                          .from = l->place.offset,
                                                          .to = l->place.offset + l->length,
                                                          .qid = l->qid,
                                                          .first_qseq = l->qseq,
                                                          .last_qseq = l->qseq });
    ranges_add(&q->settled, l->qseq, l->qseq);
}

bool recover_larges(struct recovery *r, struct err *err)
{
    (void)err;
    if (r->proven_count > 1)
        qsort(r->proven, r->proven_count, sizeof *r->proven, by_id);
    if (r->large_count > 1)
        qsort(r->larges, r->large_count, sizeof *r->larges, by_large_id);
    for (size_t i = 0; i < r->large_count;) {
        uint64_t id = r->larges[i].id;
        int file = -1; /* not looked at yet */
        for (; i < r->large_count && r->larges[i].id == id; i++) {
            struct found_large *l = &r->larges[i];
            struct found_queue *q = idmap_get(&r->by_qid, l->qid);
            if (ranges_find(&q->settled, l->qseq) != NULL)
                continue;
            bool proven = is_proven(r, l);
            if (proven && file < 0)
                file = has_file(r, l);
            if (!proven || file == 0) {
                drop(r, q, l, proven);
                ranges_tidy(&q->settled);
            }
        }
    }
    if (r->large_count > 1)
        qsort(r->larges, r->large_count, sizeof *r->larges, by_place);
    return true;
}

struct found_large *recover_large_at(struct recovery *r, uint64_t qid, uint64_t qseq,
                                     struct place place)
{
    struct found_large key = { .qid = qid, .qseq = qseq, .place = place };
    return r->large_count != 0
               ? bsearch(&key, r->larges, r->large_count, sizeof *r->larges, by_place)
               : NULL;
}

void recover_larges_out(struct recovery *r)
{
    struct recovered *out = r->out;
    out->larges = mem_array(r->large_count + 1, sizeof *out->larges);
    out->large_qids = mem_array(r->large_count + 1, sizeof *out->large_qids);
    uint64_t *qids = out->large_qids;
    if (r->large_count > 1)
        qsort(r->larges, r->large_count, sizeof *r->larges, by_large_id);
    for (size_t i = 0; i < r->large_count; i++) {
        const struct found_large *l = &r->larges[i];
        struct recovered_large *last =
            out->large_count != 0 ? &out->larges[out->large_count - 1] : NULL;
        if (l->alive == 0)
            continue;
        if (last != NULL && last->id == l->id && place_eq(last->place, l->place))
            last->alive++;
        else
            out->larges[out->large_count++] = (struct recovered_large){
                .id = l->id, .place = l->place, .qids = qids, .alive = 1
            };
        *qids++ = l->qid;
    }
}
