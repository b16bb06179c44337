/*
 * recover_merge: from rows of segments to the runs and entries of a queue.
 *
 * A row of which nothing is settled and whose positions no other segment shares becomes a run
 * without being read. All others are read side by side, in order of position, and what is alive of
 * them comes out as runs again where it is long and even enough. So memory holds what comes out,
 * and of each list one block.
 */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "store/recover_inner.h"
#include "store/segs.h"

#include <stdlib.h>

#define COST_LARGE ((uint64_t)64 * 1024)

/* Of one level, while it is put together. */
struct merge {
    struct recovery *r;
    struct found_queue *q;
    struct recovered_level *out;
    size_t run_cap;
    size_t entry_cap;
    uint64_t mark;
    size_t at_return; /* of q->returns: the first that may still come */
    /* What may become a run: the entries as long as they are few, then the run alone. */
    struct recovered_entry pending[RECOVER_RUN_LEAST];
    unsigned pending_count;
    struct qrun run; /* run.count != 0: it is one by now */
    struct found_seg *group;
};

/* ---- coming out ---------------------------------------------------------------------------------
 */

static void count_alive(struct recovery *r, struct found_seg *s, uint64_t count, uint64_t cost)
{
    s->alive_count += (int64_t)count;
    s->alive_cost += (int64_t)cost;
    r->out->message_count += count;
}

static void push_run(struct merge *m, const struct qrun *run)
{
    RECOVER_GROW(m->out->runs, m->out->run_count, m->run_cap);
    m->out->runs[m->out->run_count++] = *run;
}

static void push_entry(struct merge *m, const struct recovered_entry *e)
{
    RECOVER_GROW(m->out->entries, m->out->entry_count, m->entry_cap);
    m->out->entries[m->out->entry_count++] = *e;
}

static void flush(struct merge *m)
{
    if (m->run.count != 0)
        push_run(m, &m->run);
    for (unsigned i = 0; i < m->pending_count; i++)
        push_entry(m, &m->pending[i]);
    m->pending_count = 0;
    m->run.count = 0;
    m->group = NULL;
}

static void add_to_run(struct qrun *run, const struct recovered_entry *e)
{
    run->last = e->qseq;
    run->count++;
    run->body_bytes += e->body_bytes;
    run->has_expiring |= e->expires_ms != 0;
    run->persistent_count = run->count;
    run->persistent_bytes = run->body_bytes;
}

static void start_run(struct merge *m)
{
    m->run = (struct qrun){ .first = m->pending[0].qseq,
                            .seg = m->group->seg,
                            .redelivered = m->pending[0].redelivered };
    for (unsigned i = 0; i < m->pending_count; i++)
        add_to_run(&m->run, &m->pending[i]);
    m->pending_count = 0;
}

static bool goes_on(const struct merge *m, const struct found_seg *s,
                    const struct recovered_entry *e)
{
    if (m->group != s)
        return false;
    if (m->run.count == 0)
        return m->pending_count == 0 || m->pending[0].redelivered == e->redelivered;
    /* Runs without holes are worth more to who has them: a new one where it costs little. */
    return m->run.redelivered == e->redelivered && m->run.last + 1 == e->qseq;
}

/* Runs hold only what a queue need not know singly. */
static bool fits_a_run(const struct merge *m, const struct found_seg *s,
                       const struct recovered_entry *e, unsigned flags)
{
    return (s->is_indexed || m->r->setup->look_only) && e->returns == 0 &&
           (flags & MSG_LARGE) == 0 && e->body_bytes < COST_LARGE;
}

static void put_alive(struct merge *m, struct found_seg *s, const struct recovered_entry *e,
                      unsigned flags)
{
    count_alive(m->r, s, 1, (uint64_t)segs_cost(e->body_bytes));
    if (!fits_a_run(m, s, e, flags)) {
        flush(m);
        push_entry(m, e);
        return;
    }
    if (!goes_on(m, s, e))
        flush(m);
    m->group = s;
    if (m->run.count != 0) {
        add_to_run(&m->run, e);
        return;
    }
    m->pending[m->pending_count++] = *e;
    if (m->pending_count == RECOVER_RUN_LEAST)
        start_run(m);
}

/* A record of the queue that is not alive stands in this segment: no run goes over it. */
static void put_dead(struct merge *m, const struct found_seg *s)
{
    if (m->group == s)
        flush(m);
}

/* ---- rows as a whole ----------------------------------------------------------------------------
 */

static bool has_returns(const struct found_queue *q, uint64_t first, uint64_t last)
{
    size_t low = 0, high = q->return_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (q->returns[middle].qseq < first)
            low = middle + 1;
        else
            high = middle;
    }
    return low < q->return_count && q->returns[low].qseq <= last;
}

static bool is_whole(const struct merge *m, const struct found_row *fr)
{
    const struct index_row *row = fr->row;
    const unsigned singly = INDEX_HAS_TRANSIENT | INDEX_HAS_RETURNS | INDEX_HAS_LARGE;
    return row->count >= RECOVER_RUN_LEAST && (row->flags & singly) == 0 &&
           (fr->seg->is_indexed || m->r->setup->look_only) &&
           !(row->first < m->mark && row->last >= m->mark) &&
           (ranges_cover(&m->q->settled, row->first, row->last) == RANGES_NONE ||
            MUTATION(RUN_OVER_SETTLED)) &&
           !has_returns(m->q, row->first, row->last);
}

static void put_whole(struct merge *m, const struct found_row *fr)
{
    const struct index_row *row = fr->row;
    flush(m);
    push_run(m, &(struct qrun){ .first = row->first,
                                .last = row->last,
                                .body_bytes = row->body_bytes,
                                .persistent_bytes = row->body_bytes,
                                .count = row->count,
                                .persistent_count = row->count,
                                .seg = fr->seg->seg,
                                .redelivered = row->first < m->mark,
                                .has_expiring = (row->flags & INDEX_HAS_EXPIRING) != 0 });
    count_alive(m->r, fr->seg, row->count, row->count * (uint64_t)segs_cost(0) + row->body_bytes);
}

/* ---- rows side by side --------------------------------------------------------------------------
 */

struct stream {
    struct index_cursor cursor;
    struct found_seg *seg;
};

/* The rows that are being read, the one that is to be looked at next on top. */
struct streams {
    struct stream **heap;
    size_t count;
    size_t cap;
    uint64_t last; /* the position that was decided last */
    bool has_last;
};

/* Lowest position first; of one position the latest record. */
static bool comes_before(const struct stream *a, const struct stream *b)
{
    const struct index_item *x = index_cursor_peek(&a->cursor);
    const struct index_item *y = index_cursor_peek(&b->cursor);
    if (x->qseq != y->qseq)
        return x->qseq < y->qseq;
    return (a->seg->seg > b->seg->seg) != MUTATION(OLDER_RECORD_COUNTS);
}

static void swap(struct streams *s, size_t a, size_t b)
{
    struct stream *moved = s->heap[a];
    s->heap[a] = s->heap[b];
    s->heap[b] = moved;
}

static void sink(struct streams *s)
{
    for (size_t at = 0, least = 0;; at = least) {
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < s->count; child++)
            if (comes_before(s->heap[child], s->heap[least]))
                least = child;
        if (least == at)
            return;
        swap(s, at, least);
    }
}

static void rise(struct streams *s, size_t at)
{
    for (; at != 0 && comes_before(s->heap[at], s->heap[(at - 1) / 2]); at = (at - 1) / 2)
        swap(s, at, (at - 1) / 2);
}

static void close_stream(struct stream *st)
{
    index_cursor_fini(&st->cursor);
    mem_free(st);
}

static bool open_stream(struct merge *m, struct streams *s, const struct found_row *fr,
                        struct err *err)
{
    struct stream *st = mem_zalloc(sizeof *st);
    st->seg = fr->seg;
    if (!index_cursor_init(&st->cursor, fr->seg->ix, fr->row, err)) {
        m->r->bad_index = fr->seg->seg;
        close_stream(st);
        return false;
    }
    RECOVER_GROW(s->heap, s->count, s->cap);
    s->heap[s->count++] = st;
    rise(s, s->count - 1);
    return true;
}

static uint64_t first_of(const struct streams *s)
{
    return index_cursor_peek(&s->heap[0]->cursor)->qseq;
}

static uint32_t returns_of(struct merge *m, uint64_t qseq)
{
    const struct found_queue *q = m->q;
    while (m->at_return < q->return_count && q->returns[m->at_return].qseq < qseq)
        m->at_return++;
    return m->at_return < q->return_count && q->returns[m->at_return].qseq == qseq
               ? q->returns[m->at_return].returns
               : 0;
}

static void put_item(struct merge *m, struct found_seg *s, const struct index_item *item)
{
    uint32_t returns = MUTATION(RETURNS_FORGOTTEN) ? 0 : returns_of(m, item->qseq);
    struct recovered_entry e = { .qseq = item->qseq,
                                 .body_bytes = item->body_bytes,
                                 .expires_ms = item->expires_ms,
                                 .place = { s->seg, item->offset },
                                 .returns = item->returns > returns ? item->returns : returns };
    e.redelivered = item->qseq < m->mark || e.returns != 0;
    if (item->flags & MSG_LARGE) {
        struct found_large *l = recover_large_at(m->r, m->q->qid, item->qseq, e.place);
        if (l != NULL)
            l->alive = 1;
    }
    put_alive(m, s, &e, item->flags);
}

static bool skip_settled(struct stream *st, const struct settle_range *settled, struct err *err)
{
    /* A jump over blocks that hold nothing alive saves reading them. */
    if (settled->last != UINT64_MAX)
        return index_cursor_seek(&st->cursor, settled->last + 1, err);
    while (index_cursor_peek(&st->cursor) != NULL)
        if (!index_cursor_next(&st->cursor, err))
            return false;
    return true;
}

static bool look_at(struct merge *m, struct streams *s, struct stream *st, struct err *err)
{
    const struct index_item *item = index_cursor_peek(&st->cursor);
    const struct settle_range *settled = ranges_find(&m->q->settled, item->qseq);
    bool is_older = s->has_last && s->last == item->qseq;
    if (settled != NULL) {
        put_dead(m, st->seg);
        return skip_settled(st, settled, err);
    }
    bool is_transient = (item->flags & MSG_TRANSIENT) != 0 && !MUTATION(TRANSIENT_COMES_BACK);
    /* The latest counts also when it is gone: an older one is another message. */
    s->last = item->qseq;
    s->has_last = true;
    if (is_older || is_transient)
        put_dead(m, st->seg);
    else
        put_item(m, st->seg, item);
    return index_cursor_next(&st->cursor, err);
}

/* What is on top of the heap is looked at and moves on. */
static bool take_first(struct merge *m, struct streams *s, struct err *err)
{
    struct stream *st = s->heap[0];
    if (!look_at(m, s, st, err)) {
        m->r->bad_index = st->seg->seg;
        return false;
    }
    if (index_cursor_peek(&st->cursor) == NULL) {
        close_stream(st);
        s->heap[0] = s->heap[--s->count];
    }
    sink(s);
    return true;
}

/* ---- a level ------------------------------------------------------------------------------------
 */

static bool is_dead(const struct merge *m, const struct found_row *fr)
{
    return ranges_cover(&m->q->settled, fr->row->first, fr->row->last) == RANGES_ALL;
}

/* The positions of the row are nobody else's: neither of those that are being read nor of those
 * that follow. */
static bool stands_alone(const struct streams *s, const struct found_row *row,
                         const struct found_row *end)
{
    uint64_t last = row->row->last;
    return (s->count == 0 || first_of(s) > last) && (row + 1 == end || row[1].row->first > last);
}

/* Rows are opened when their first position is reached. A dead one breaks no run: of its positions
 * none is alive, and its segment is another. */
static bool merge_rows(struct merge *m, struct streams *s, const struct found_row *row,
                       const struct found_row *end, struct err *err)
{
    while (row < end || s->count != 0) {
        bool ok = true;
        if (row == end || (s->count != 0 && row->row->first > first_of(s)))
            ok = take_first(m, s, err);
        else if (is_dead(m, row))
            row++;
        else if (stands_alone(s, row, end) && is_whole(m, row))
            put_whole(m, row++);
        else
            ok = open_stream(m, s, row++, err);
        if (!ok)
            return false;
    }
    flush(m);
    return true;
}

static uint64_t mark_of(const struct recovery *r, const struct found_level *level)
{
    bool is_exact = (r->out->is_clean && !MUTATION(MARK_AHEAD_ALWAYS)) ||
                    MUTATION(MARK_AHEAD_NEVER) || level->exact_mark > level->ahead_mark;
    return is_exact ? level->exact_mark : level->ahead_mark;
}

static bool merge_queue(struct recovery *r, struct found_queue *q, struct recovered_queue *out,
                        struct err *err)
{
    size_t at = 0;
    *out = (struct recovered_queue){
        .qid = q->qid,
        .history = q->history,
        .first_seg = q->first_seg,
        .last_seg = q->last_seg,
        .state_seg = q->state_seg,
    };
    q->history = NULL;
    out->levels = mem_array(q->level_count + 1, sizeof *out->levels);
    out->level_count = q->level_count;
    for (size_t i = 0; i < q->level_count; i++) {
        const struct found_level *level = &q->levels[i];
        size_t end = at;
        while (end < q->row_count && q->rows[end].row->first >> 56 == level->priority)
            end++;
        out->levels[i] = (struct recovered_level){ .priority = level->priority,
                                                   .next_new = level->next_new,
                                                   .settled_end = level->settled_end };
        struct merge m = { .r = r, .q = q, .out = &out->levels[i], .mark = mark_of(r, level) };
        struct streams streams = { 0 };
        bool ok = merge_rows(&m, &streams, &q->rows[at], &q->rows[end], err);
        while (streams.count != 0)
            close_stream(streams.heap[--streams.count]);
        mem_free(streams.heap);
        if (!ok)
            return false;
        at = end;
    }
    CHECK(at == q->row_count);
    return true;
}

bool recover_merge(struct recovery *r, struct err *err)
{
    r->out->queues = mem_array(r->queue_count + 1, sizeof *r->out->queues);
    for (size_t i = 0; i < r->queue_count; i++) {
        r->out->queue_count++;
        if (!merge_queue(r, r->queues[i], &r->out->queues[i], err))
            return false;
    }
    return true;
}
