#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "store/journal.h"
#include "store/recover_inner.h"
#include "store/seg_file.h"

#include <stdlib.h>

#define DISTRUST_MAX  64u
#define NUMBERS_LEAST ((uint32_t)1 << 24) /* for one life: of 1 MiB, 16 TiB */

static int by_number(const void *a, const void *b)
{
    const struct found_seg *x = a;
    const struct found_seg *y = b;
    return (x->seg > y->seg) - (x->seg < y->seg);
}

struct listing {
    struct recovery *r;
    size_t cap;
};

static void note_name(const char *name, void *arg)
{
    struct listing *l = arg;
    struct recovery *r = l->r;
    uint32_t seg = seg_file_number(name);
    if (seg == 0)
        return;
    RECOVER_GROW(r->segs, r->seg_count, l->cap);
    r->segs[r->seg_count++] = (struct found_seg){ .seg = seg };
}

static bool list_segments(struct recovery *r, struct err *err)
{
    struct listing l = { .r = r };
    r->out->next_seg = 1;
    if (!r->disk->ops->list(r->disk, JOURNAL_FOLDER, note_name, &l, err))
        return err->code == ERR_NOT_FOUND; /* a new store */
    if (r->seg_count == 0)
        return true;
    qsort(r->segs, r->seg_count, sizeof *r->segs, by_number);
    uint32_t last = r->segs[r->seg_count - 1].seg;
    r->out->next_seg = last + 1;
    if (last <= UINT32_MAX - NUMBERS_LEAST)
        return true;
    char name[JOURNAL_NAME_MAX];
    journal_seg_name(last, name);
    return err_set(err, ERR_LIMIT,
                   "%s: too few numbers are left behind it for new segments; drain the node and "
                   "reset it, or take the file away if it is none of the node's",
                   name);
}

static void count(struct recovery *r)
{
    for (size_t i = 0; i < r->seg_count; i++) {
        const struct found_seg *s = &r->segs[i];
        r->out->segment_count += !s->is_unused;
        r->out->unused_count += s->is_unused;
        r->out->mended_count += s->header_is_hurt && s->has_header;
        r->out->index_count += s->has_good_index;
        r->out->bad_index_count += s->has_bad_index;
    }
}

static void fill_segs(struct recovery *r)
{
    for (size_t i = 0; i < r->seg_count; i++) {
        const struct found_seg *s = &r->segs[i];
        if (s->is_unused)
            continue;
        r->out->record_count += s->ix != NULL ? seg_index_header(s->ix)->record_count : 0;
        if (r->setup->segs == NULL)
            continue;
        segs_add(r->setup->segs, s->seg, s->is_indexed ? SEG_INDEXED : SEG_SEALED,
                 (uint32_t)s->file_bytes);
        if (s->ix == NULL)
            continue;
        const struct index_header *h = seg_index_header(s->ix);
        segs_put(r->setup->segs, s->seg, (int64_t)h->put_count, (int64_t)h->put_cost);
        segs_drop(r->setup->segs, s->seg, (int64_t)h->put_count - s->alive_count,
                  (int64_t)h->put_cost - s->alive_cost);
    }
}

static void free_found(struct recovery *r)
{
    for (size_t i = 0; i < r->seg_count; i++) {
        struct found_seg *s = &r->segs[i];
        if (s->is_made)
            index_make_fini(&s->make);
        seg_index_close(&s->ix);
        seg_index_close(&s->old);
        mem_free(s->lost);
    }
    struct found_queue *q;
    while ((q = idmap_first(&r->by_qid)) != NULL) {
        (void)idmap_take(&r->by_qid, q->qid);
        ranges_fini(&q->settled);
        recover_history_free(&q->history);
        mem_free(q->returns);
        mem_free(q->levels);
        mem_free(q);
    }
    idmap_fini(&r->by_qid);
    ranges_fini(&r->again);
    mem_free(r->segs);
    mem_free(r->queues);
    mem_free(r->rows);
    mem_free(r->larges);
    mem_free(r->proven);
}

/* Segments whose index files opened well, and then had a list that could not be read: they are read
 * themselves the next time. */
struct distrust {
    uint32_t segs[DISTRUST_MAX];
    size_t count;
};

static bool run(const struct recover_setup *setup, struct distrust *d, struct recovered *out,
                struct err *err)
{
    struct recovery r = { .setup = setup,
                          .disk = setup->disk,
                          .out = out,
                          .distrusted = d->segs,
                          .distrusted_count = d->count };
    *out = (struct recovered){ 0 };
    idmap_init(&r.by_qid);
    lock_init(&r.lock);
    bool ok = list_segments(&r, err) && recover_read(&r, err) && recover_judge(&r, err) &&
              recover_gather(&r, err) && recover_larges(&r, err) && recover_merge(&r, err) &&
              recover_damages(&r, err);
    if (ok) {
        recover_larges_out(&r);
        fill_segs(&r);
        count(&r);
    } else if (r.bad_index != 0 && d->count < DISTRUST_MAX && !MUTATION(INDEX_NOT_MADE_AGAIN)) {
        d->segs[d->count++] = r.bad_index;
    }
    free_found(&r);
    lock_fini(&r.lock);
    if (!ok)
        recovered_fini(out);
    return ok;
}

bool recover_run(const struct recover_setup *setup, struct recovered *out, struct err *err)
{
    struct distrust d = { .count = 0 };
    for (size_t tries = 0;; tries++) {
        if (run(setup, &d, out, err))
            return true;
        if (d.count == tries)
            return false;
        log_warn("store", "journal", "%s; it is made again", err->text);
    }
}

void recovered_fini(struct recovered *r)
{
    for (size_t i = 0; i < r->queue_count; i++) {
        struct recovered_queue *q = &r->queues[i];
        for (size_t j = 0; j < q->level_count; j++) {
            mem_free(q->levels[j].runs);
            mem_free(q->levels[j].entries);
        }
        mem_free(q->levels);
        recover_history_free(&q->history);
    }
    mem_free(r->queues);
    mem_free(r->state_refs);
    mem_free(r->damages);
    mem_free(r->larges);
    mem_free(r->large_qids);
    *r = (struct recovered){ 0 };
}
