#include "store/evacuate.h"

#include "base/check.h"
#include "base/mem.h"
#include "store/journal.h"

#include <stdlib.h>

#define SHARE_MOST 0.75

/* ---- choosing ---------------------------------------------------------------------------------
 */

uint64_t evacuate_alive_bytes(const struct evacuate_seg *s)
{
    if (s->alive_bytes <= 0 || s->put_bytes <= 0)
        return 0;
    uint64_t alive = (uint64_t)s->alive_bytes;
    uint64_t put = (uint64_t)s->put_bytes;
    uint64_t share =
        alive >= put ? s->bytes : (uint64_t)((double)s->bytes * (double)alive / (double)put);
    return share < alive ? share : alive;
}

static double share_of(const struct evacuate_seg *s)
{
    return (double)evacuate_alive_bytes(s) / (double)s->bytes;
}

bool evacuate_is_needed(const struct evacuate_seg *segs, size_t count,
                        const struct evacuate_rule *rule)
{
    uint64_t used = rule->spare_bytes;
    uint64_t alive = 0;
    for (size_t i = 0; i < count; i++) {
        used += segs[i].bytes;
        alive += evacuate_alive_bytes(&segs[i]);
    }
    return used > EVACUATE_TENTHS * alive / 10 + EVACUATE_SLACK * rule->segment_bytes;
}

uint32_t evacuate_choose(const struct evacuate_seg *segs, size_t count,
                         const struct evacuate_rule *rule)
{
    const struct evacuate_seg *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (segs[i].may_go && (best == NULL || share_of(&segs[i]) < share_of(best)))
            best = &segs[i];
    }
    if (best == NULL || share_of(best) > SHARE_MOST)
        return 0; /* to move more than what comes free would be work for ever */
    return rule->is_short || evacuate_is_needed(segs, count, rule) ? best->seg : 0;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

struct reader {
    struct evacuation *out;
    size_t room;
};

static void add_item(struct reader *r, const struct record *rec, const struct msg_record *m,
                     const struct msg_target *t)
{
    struct evacuation *e = r->out;
    if (e->count == r->room) {
        r->room = r->room != 0 ? 2 * r->room : 4096;
        e->items = mem_realloc(e->items, r->room * sizeof *e->items);
    }
    e->items[e->count++] =
        (struct store_moving){ .qid = t->qid,
                               .qseq = t->qseq,
                               .body_bytes = m->body_bytes,
                               .expires_ms = t->expires_ms,
                               .returns = t->returns,
                               .offset = rec->place.offset,
                               .is_persistent = (m->flags & MSG_TRANSIENT) == 0 };
}

static void add_record(struct reader *r, const struct record *rec)
{
    struct msg_record m;
    if (rec->type != RECORD_MSG)
        return;
    if (!record_read_msg(rec, &m)) {
        r->out->bad_offset = r->out->bad_offset != 0 ? r->out->bad_offset : rec->place.offset;
        return;
    }
    for (unsigned i = 0; i < m.target_count; i++) {
        struct msg_target t = msg_record_target(&m, i);
        add_item(r, rec, &m, &t);
    }
}

/* Behind a record that is bad the next good one is looked for: what is alive there moves too. */
static void read_records(struct reader *r, struct slice whole)
{
    struct evacuation *e = r->out;
    for (uint32_t offset = SEGMENT_HEADER_BYTES; offset < whole.len;) {
        struct record rec;
        switch (record_cut(whole, &e->header, offset, &rec)) {
        case RECORD_CUT_OK:
            if (rec.type == RECORD_END)
                return; /* behind it may stand what an earlier life of the file left */
            add_record(r, &rec);
            offset += record_padded(rec.length);
            break;
        case RECORD_CUT_NONE:
            if (e->bad_offset == 0)
                return;
            offset += PLACE_ALIGN;
            break;
        case RECORD_CUT_BAD:
            e->bad_offset = e->bad_offset != 0 ? e->bad_offset : offset;
            offset += PLACE_ALIGN;
            break;
        }
    }
}

static int by_position(const void *a, const void *b)
{
    const struct store_moving *x = a;
    const struct store_moving *y = b;
    if (x->qid != y->qid)
        return x->qid < y->qid ? -1 : 1;
    if (x->qseq != y->qseq)
        return x->qseq < y->qseq ? -1 : 1;
    return x->offset < y->offset ? 1 : -1; /* the later one first, which counts */
}

static void sort_and_group(struct evacuation *e)
{
    size_t kept = 0;
    if (e->count > 1)
        qsort(e->items, e->count, sizeof *e->items, by_position);
    for (size_t i = 0; i < e->count; i++) {
        const struct store_moving *it = &e->items[i];
        bool is_same_queue = kept != 0 && e->items[kept - 1].qid == it->qid;
        if (is_same_queue && e->items[kept - 1].qseq == it->qseq)
            continue;
        e->queue_count += !is_same_queue;
        e->items[kept++] = *it;
    }
    e->count = kept;
    e->queues = mem_array(e->queue_count + 1, sizeof *e->queues);
    struct store_moving_queue *q = e->queues - 1;
    for (size_t i = 0; i < e->count; i++) {
        if (i == 0 || e->items[i].qid != e->items[i - 1].qid)
            *++q = (struct store_moving_queue){ .qid = e->items[i].qid, .first = (uint32_t)i };
        q->count++;
    }
}

static bool read_whole(struct disk *d, struct disk_file *f, struct evacuation *e, struct err *err)
{
    uint64_t size;
    if (!d->ops->size(f, &size, err))
        return false;
    if (size < SEGMENT_HEADER_BYTES || size > SEGMENT_BYTES_MAX)
        return err_set(err, ERR_PROTOCOL, "segment %08x: it is %llu octets long", e->seg,
                       (unsigned long long)size);
    e->bytes = mem_alloc((size_t)size);
    return d->ops->read(f, 0, e->bytes, (size_t)size, &e->len, err);
}

bool evacuate_read(struct disk *d, uint32_t seg, struct evacuation *out, struct err *err)
{
    *out = (struct evacuation){ .seg = seg };
    char name[JOURNAL_NAME_MAX];
    journal_seg_name(seg, name);
    struct disk_file *f = d->ops->open(d, name, DISK_READ, err);
    if (f == NULL)
        return false;
    bool ok = read_whole(d, f, out, err);
    d->ops->close(&f);
    if (!ok)
        err->code = ERR_PROTOCOL; /* a file that opens and cannot be read stays so */
    if (ok && (!segment_header_read(slice_of(out->bytes, out->len), &out->header) ||
               out->header.seg != seg))
        ok = err_set(err, ERR_PROTOCOL, "%s: its header is damaged", name);
    if (!ok) {
        evacuation_fini(out);
        return false;
    }
    struct reader r = { out, 0 };
    read_records(&r, slice_of(out->bytes, out->len));
    sort_and_group(out);
    return true;
}

static int by_offset(const void *a, const void *b, void *arg)
{
    const struct store_moving *items = arg;
    uint32_t x = items[*(const uint32_t *)a].offset;
    uint32_t y = items[*(const uint32_t *)b].offset;
    return x < y ? -1 : x > y;
}

size_t evacuate_order(const struct evacuation *e, const bool *is_marked, uint32_t **out)
{
    size_t count = 0;
    uint32_t *order = mem_array(e->count + 1, sizeof *order);
    for (size_t q = 0; q < e->queue_count; q++) {
        for (uint32_t i = 0; is_marked[q] && i < e->queues[q].count; i++)
            order[count++] = e->queues[q].first + i;
    }
    if (count > 1)
        qsort_r(order, count, sizeof *order, by_offset, e->items);
    *out = order;
    return count;
}

void evacuation_fini(struct evacuation *e)
{
    mem_free(e->bytes);
    mem_free(e->items);
    mem_free(e->queues);
    *e = (struct evacuation){ 0 };
}
