/*
 * recover_queue: what all segments say, put together by queue.
 */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "store/recover_inner.h"

#include <stdlib.h>

#define PRIORITY(qseq) ((uint8_t)((qseq) >> 56))

static struct found_queue *queue_of(struct recovery *r, uint64_t qid)
{
    struct found_queue *q = idmap_get(&r->by_qid, qid);
    if (q != NULL)
        return q;
    q = mem_zalloc(sizeof *q);
    q->qid = qid;
    q->is_known = r->setup->knows_queue == NULL || r->setup->knows_queue(qid, r->setup->arg);
    idmap_put(&r->by_qid, qid, q);
    if (q->is_known) {
        RECOVER_GROW(r->queues, r->queue_count, r->queue_cap);
        r->queues[r->queue_count++] = q;
    }
    return q;
}

struct found_level *recover_level(struct found_queue *q, uint64_t qseq)
{
    for (size_t i = 0; i < q->level_count; i++)
        if (q->levels[i].priority == PRIORITY(qseq))
            return &q->levels[i];
    q->levels = mem_realloc(q->levels, (q->level_count + 1) * sizeof *q->levels);
    q->levels[q->level_count] = (struct found_level){ .priority = PRIORITY(qseq),
                                                      .next_new = (uint64_t)PRIORITY(qseq) << 56 };
    return &q->levels[q->level_count++];
}

/* This position was given. The last one a priority can have has none behind it. What a segment says
 * in which something was cut off may stand before that: CUT knows what stands behind it. */
static void saw(struct found_queue *q, const struct found_seg *s, uint64_t qseq)
{
    struct found_level *level = recover_level(q, qseq);
    if (s->seg <= level->cut_seg)
        return;
    if (qseq >= level->next_new && qseq != UINT64_MAX && PRIORITY(qseq + 1) == PRIORITY(qseq))
        level->next_new = qseq + 1;
}

/* ---- state --------------------------------------------------------------------------------------
 */

static void take_mark(struct found_queue *q, const struct index_state *item)
{
    struct found_level *level = recover_level(q, item->first);
    uint64_t *mark = item->kind == INDEX_MARK ? &level->exact_mark : &level->ahead_mark;
    if (item->first > *mark)
        *mark = item->first;
}

static void take_cut(struct found_queue *q, const struct found_seg *s, uint64_t next)
{
    struct found_level *level = recover_level(q, next);
    if (MUTATION(CUT_KEEPS_NEXT))
        return;
    level->next_new = next;
    level->cut_seg = s->seg;
}

static void raise_settled_end(struct found_queue *q, uint64_t last)
{
    struct found_level *level = recover_level(q, last);
    uint64_t end = PRIORITY(last + 1) == PRIORITY(last) ? last + 1 : last;
    if (end > level->settled_end)
        level->settled_end = end;
}

static void take_settled(struct found_queue *q, const struct found_seg *s,
                         const struct index_state *i)
{
    ranges_add(&q->settled, i->first, i->last);
    if (!MUTATION(POSITIONS_AGAIN))
        saw(q, s, i->last);
    raise_settled_end(q, i->last);
    /* Cut off may be whole priorities, which are one range then. */
    for (unsigned p = PRIORITY(i->first); p < PRIORITY(i->last); p++)
        raise_settled_end(q, (((uint64_t)p + 1) << 56) - 1);
}

/* Segments come in order, and in each what came again before what was settled. */
static void fold(struct recovery *r)
{
    struct found_queue *q = r->again_of;
    if (q == NULL)
        return;
    ranges_remove(&q->settled, &r->again);
    q->return_count = returns_without(q->returns, q->return_count, &r->again);
    r->again_of = NULL;
    r->again.count = 0;
}

static void take_again(struct recovery *r, const struct index_state *i)
{
    struct found_queue *q = queue_of(r, i->qid);
    if (!q->is_known || MUTATION(AGAIN_IN_SEGMENT_ALONE))
        return;
    if (r->again_of != q)
        fold(r);
    r->again_of = q;
    ranges_add(&r->again, i->first, i->last);
}

/* False: it makes no sense. */
static bool take_queue_state(struct recovery *r, struct found_seg *s, const struct index_state *i)
{
    struct found_queue *q = queue_of(r, i->qid);
    if (!q->is_known)
        return true;
    if (q->state_seg != s->seg) { /* segments come in order */
        struct recovered *out = r->out;
        q->state_seg = s->seg;
        if ((out->state_ref_count & (out->state_ref_count - 1)) == 0)
            out->state_refs = mem_realloc(
                out->state_refs, (out->state_ref_count != 0 ? 2 * out->state_ref_count : 1) *
                                     sizeof *out->state_refs);
        out->state_refs[out->state_ref_count++] = (struct recovered_state_ref){ s->seg, q->qid };
    }
    if (i->kind == INDEX_EPOCH || i->kind == INDEX_PRODUCER)
        return recover_take_history(q, i);
    if (i->kind == INDEX_RETURNS) {
        RECOVER_GROW(q->returns, q->return_count, q->return_cap);
        q->returns[q->return_count++] = (struct msg_return){ i->first, i->returns };
        saw(q, s, i->first);
    } else if (i->kind == INDEX_CUT) {
        take_cut(q, s, i->first);
    } else if (i->kind != INDEX_RANGE) {
        take_mark(q, i);
    } else if (i->first <= i->last) {
        take_settled(q, s, i);
    }
    return true;
}

static void take_large(struct recovery *r, struct found_seg *s, const struct index_state *i)
{
    if (!queue_of(r, i->qid)->is_known || (i->flags & MSG_TRANSIENT) != 0)
        return;
    RECOVER_GROW(r->larges, r->large_count, r->large_cap);
    r->larges[r->large_count++] = (struct found_large){ .id = i->large_id,
                                                        .place = { s->seg, i->offset },
                                                        .qid = i->qid,
                                                        .qseq = i->first,
                                                        .length = i->length,
                                                        .bytes = i->large_bytes,
                                                        .is_proven = (i->flags & MSG_MOVED) != 0 };
}

static bool take_state(struct recovery *r, struct found_seg *s, struct err *err)
{
    uint8_t *bytes;
    size_t len;
    struct index_state item;
    if (!seg_index_state(s->ix, &bytes, &len, err))
        return false;
    struct index_state_reader reader = index_state_over(slice_of(bytes, len));
    bool is_good = true;
    while (is_good && index_state_next(&reader, &item)) {
        if (item.kind != INDEX_AGAIN)
            fold(r);
        switch (item.kind) {
        case INDEX_AGAIN:
            take_again(r, &item);
            break;
        case INDEX_RANGE:
        case INDEX_MARK:
        case INDEX_AHEAD:
        case INDEX_RETURNS:
        case INDEX_CUT:
        case INDEX_EPOCH:
        case INDEX_PRODUCER:
            is_good = take_queue_state(r, s, &item);
            break;
        case INDEX_PROVEN:
            RECOVER_GROW(r->proven, r->proven_count, r->proven_cap);
            r->proven[r->proven_count++] = (struct found_proof){ item.large_id, item.qid };
            break;
        case INDEX_LARGE:
            take_large(r, s, &item);
            break;
        case INDEX_GAP:
            recover_add_lost(s, (uint32_t)item.first, (uint32_t)item.last);
            break;
        }
    }
    fold(r);
    mem_free(bytes);
    return (is_good && !reader.w.ran_out) ||
           err_set(err, ERR_IO, "index of segment %08x: its check is right and it makes no sense",
                   s->seg);
}

static int by_returned(const void *a, const void *b)
{
    const struct msg_return *x = a;
    const struct msg_return *y = b;
    if (x->qseq != y->qseq)
        return x->qseq < y->qseq ? -1 : 1;
    return (x->returns > y->returns) - (x->returns < y->returns);
}

/* Counts only rise: the highest of a position is the last. */
static void tidy_returns(struct found_queue *q)
{
    size_t kept = 0;
    if (q->return_count > 1)
        qsort(q->returns, q->return_count, sizeof *q->returns, by_returned);
    for (size_t i = 0; i < q->return_count; i++) {
        if (kept != 0 && q->returns[kept - 1].qseq == q->returns[i].qseq)
            kept--;
        q->returns[kept++] = q->returns[i];
    }
    q->return_count = kept;
}

/* ---- rows ---------------------------------------------------------------------------------------
 */

static int by_position(const void *a, const void *b)
{
    const struct found_row *x = a;
    const struct found_row *y = b;
    if (x->row->qid != y->row->qid)
        return x->row->qid < y->row->qid ? -1 : 1;
    if (x->row->first != y->row->first)
        return x->row->first < y->row->first ? -1 : 1;
    return (x->seg->seg > y->seg->seg) - (x->seg->seg < y->seg->seg);
}

static void take_row(struct recovery *r, struct found_seg *s, const struct index_row *row)
{
    struct found_queue *q = queue_of(r, row->qid);
    if (!q->is_known)
        return;
    r->rows[r->row_count++] = (struct found_row){ row, s };
    q->row_count++;
    if (q->first_seg == 0 || s->seg < q->first_seg)
        q->first_seg = s->seg;
    if (s->seg > q->last_seg)
        q->last_seg = s->seg;
    saw(q, s, row->last);
}

static void take_rows(struct recovery *r)
{
    size_t all = 0, rows;
    for (size_t i = 0; i < r->seg_count; i++) {
        if (r->segs[i].ix == NULL)
            continue;
        (void)seg_index_rows(r->segs[i].ix, &rows);
        all += rows;
    }
    r->rows = mem_array(all + 1, sizeof *r->rows);
    for (size_t i = 0; i < r->seg_count; i++) {
        if (r->segs[i].ix == NULL)
            continue;
        const struct index_row *row = seg_index_rows(r->segs[i].ix, &rows);
        for (size_t j = 0; j < rows; j++)
            take_row(r, &r->segs[i], &row[j]);
    }
    qsort(r->rows, r->row_count, sizeof *r->rows, by_position);
}

static int by_qid(const void *a, const void *b)
{
    const struct found_queue *const *x = a;
    const struct found_queue *const *y = b;
    return ((*x)->qid > (*y)->qid) - ((*x)->qid < (*y)->qid);
}

static int by_priority(const void *a, const void *b)
{
    const struct found_level *x = a;
    const struct found_level *y = b;
    return (x->priority > y->priority) - (x->priority < y->priority);
}

/* New positions stay above marks: they were never handed out. A copy's are its master's. */
static void raise_to_marks(struct found_queue *q)
{
    if (q->history != NULL && q->history->has_epochs && !MUTATION(MARK_MOVES_COPY))
        return;
    for (size_t i = 0; i < q->level_count; i++) {
        struct found_level *l = &q->levels[i];
        uint64_t mark = l->exact_mark > l->ahead_mark ? l->exact_mark : l->ahead_mark;
        if (mark > l->next_new)
            l->next_new = mark;
    }
}

bool recover_gather(struct recovery *r, struct err *err)
{
    for (size_t i = 0; i < r->seg_count; i++)
        if (r->segs[i].ix != NULL && !take_state(r, &r->segs[i], err))
            return false;
    take_rows(r);
    if (r->queue_count > 1)
        qsort(r->queues, r->queue_count, sizeof(struct found_queue *), by_qid);
    struct found_row *row = r->rows;
    for (size_t i = 0; i < r->queue_count; i++) {
        struct found_queue *q = r->queues[i];
        q->rows = row;
        row += q->row_count;
        ranges_tidy(&q->settled);
        tidy_returns(q);
        raise_to_marks(q);
        if (q->level_count > 1)
            qsort(q->levels, q->level_count, sizeof *q->levels, by_priority);
    }
    CHECK(row == r->rows + r->row_count);
    return true;
}
