#include "model/qstore_inner.h"

void qstore_init(struct qstore *st, uint8_t max_priority)
{
    *st = (struct qstore){ 0 };
    qindex_init(&st->first, &st->counts, 0);
    if (max_priority == 0)
        return;
    st->levels = mem_zalloc(sizeof *st->levels + (max_priority + 1u) * sizeof st->levels->at[0]);
    st->levels->max = max_priority;
    st->levels->at[0] = &st->first;
}

/* The highest priority with something ready. Something is. */
static unsigned highest(const struct qstore *st)
{
    if (LIKELY(st->levels == NULL))
        return 0;
    for (unsigned w = WORDS; w-- > 0;) {
        if (st->levels->ready[w] != 0)
            return w * 64 + 63 - (unsigned)__builtin_clzll(st->levels->ready[w]);
    }
    UNREACHABLE("priority");
}

/* ---- as an index does -------------------------------------------------------------------------
 */

uint64_t qstore_push_of_any(struct qstore *st, struct message **m, uint8_t priority,
                            uint64_t expires_ms)
{
    struct qindex *ix = index_for(st, &priority);
    mark(st, priority);
    return qseq_of(priority, qindex_push(ix, m, expires_ms));
}

uint64_t qstore_push_out_of_any(struct qstore *st, struct message **m, uint8_t priority,
                                uint64_t expires_ms)
{
    struct qindex *ix = index_for(st, &priority);
    return qseq_of(priority, qindex_push_out(ix, m, expires_ms));
}

enum qhead qstore_head_of_any(const struct qstore *st, uint64_t *qseq, struct qentry **e)
{
    if (st->counts.ready.count == 0)
        return QHEAD_EMPTY;
    unsigned priority = highest(st);
    enum qhead head = qindex_head(index_of(st, qseq_of(priority, 0)), qseq, e);
    *qseq = qseq_of(priority, *qseq);
    return head;
}

struct qentry *qstore_take_of_any(struct qstore *st, uint64_t *qseq)
{
    unsigned priority = highest(st);
    struct qindex *ix = index_of(st, qseq_of(priority, 0));
    struct qentry *e = qindex_take(ix, qseq);
    unmark_if_empty(st, priority, ix);
    *qseq = qseq_of(priority, *qseq);
    return e;
}

struct qentry *qstore_out_of_any(const struct qstore *st, uint64_t qseq)
{
    const struct qindex *ix = index_of(st, qseq);
    return ix != NULL ? qindex_out(ix, qseq & POSITION_MASK) : NULL;
}

uint64_t qstore_expires_ms(const struct qstore *st, uint64_t qseq)
{
    return qindex_expires_ms(index_of(st, qseq), qseq & POSITION_MASK);
}

uint32_t qstore_returns(const struct qstore *st, uint64_t qseq)
{
    return qindex_returns(index_of(st, qseq), qseq & POSITION_MASK);
}

void qstore_set_returns(struct qstore *st, uint64_t qseq, uint32_t returns)
{
    qindex_set_returns(index_of(st, qseq), qseq & POSITION_MASK, returns);
}

const struct qentry *qstore_set_place(struct qstore *st, uint64_t qseq, struct place place)
{
    struct qindex *ix = index_of(st, qseq);
    return ix != NULL ? qindex_set_place(ix, qseq & POSITION_MASK, place) : NULL;
}

struct qentry qstore_settle_of_any(struct qstore *st, uint64_t qseq)
{
    struct qindex *ix = index_of(st, qseq);
    return ix != NULL ? qindex_settle(ix, qseq & POSITION_MASK)
                      : (struct qentry){ .state = QENTRY_NONE };
}

struct qentry qstore_shift_of_any(struct qstore *st, uint64_t *qseq)
{
    unsigned priority = highest(st);
    struct qindex *ix = index_of(st, qseq_of(priority, 0));
    struct qentry was = qindex_shift(ix, qseq);
    *qseq = qseq_of(priority, *qseq);
    unmark_if_empty(st, priority, ix);
    return was;
}

void qstore_requeue(struct qstore *st, uint64_t qseq, bool redelivered)
{
    mark(st, (unsigned)(qseq >> POSITION_BITS));
    qindex_requeue(index_of(st, qseq), qseq & POSITION_MASK, redelivered);
}

uint64_t qstore_requeue_last(struct qstore *st, uint64_t qseq)
{
    unsigned priority = (unsigned)(qseq >> POSITION_BITS);
    mark(st, priority);
    return qseq_of(priority, qindex_requeue_last(index_of(st, qseq), qseq & POSITION_MASK));
}

/* ---- all of them ------------------------------------------------------------------------------
 */

uint64_t qstore_purge(struct qstore *st, const struct qsink *to)
{
    uint64_t n = qindex_purge(&st->first, to);
    for (unsigned p = 1; st->levels != NULL && p <= st->levels->max; p++) {
        if (st->levels->at[p] != NULL)
            n += qindex_purge(st->levels->at[p], to);
    }
    if (st->levels != NULL)
        memset(st->levels->ready, 0, sizeof st->levels->ready);
    st->counts.ready = (struct qcount){ 0 };
    st->counts.away = (struct qcount){ 0 };
    return n;
}

bool qstore_sweep(struct qstore *st, size_t *budget, const struct qsink *to)
{
    bool done = qindex_sweep(&st->first, budget, to);
    for (unsigned p = 1; st->levels != NULL && p <= st->levels->max; p++) {
        if (st->levels->at[p] != NULL)
            done = qindex_sweep(st->levels->at[p], budget, to) && done;
    }
    return done;
}

bool qstore_fini(struct qstore *st, size_t *budget, const struct qsink *to)
{
    if (!qindex_fini(&st->first, budget, to))
        return false;
    for (unsigned p = 1; st->levels != NULL && p <= st->levels->max; p++) {
        if (st->levels->at[p] == NULL)
            continue;
        if (!qindex_fini(st->levels->at[p], budget, to))
            return false;
        mem_free(st->levels->at[p]);
        st->levels->at[p] = NULL;
    }
    mem_free(st->levels);
    st->levels = NULL;
    st->counts = (struct qcounts){ 0 };
    return true;
}

/* ---- what is away -----------------------------------------------------------------------------
 */

void qstore_page_out(struct qstore *st, struct qpaging *p,
                     void (*release)(struct message *m, void *arg), void *arg)
{
    if (st->levels == NULL) {
        qindex_page_out(&st->first, p, release, arg);
        return;
    }
    for (; st->levels->page_at <= st->levels->max; st->levels->page_at++) {
        struct qindex *ix = st->levels->at[st->levels->page_at];
        if (ix == NULL)
            continue;
        qindex_page_out(ix, p, release, arg);
        if (!p->is_done)
            return;
        if (st->levels->page_at == UINT8_MAX)
            break;
    }
    st->levels->page_at = 0;
    p->is_done = true;
}

size_t qstore_unplaced(struct qstore *st, uint64_t keep_count, struct queue_item *out, size_t max,
                       bool *is_done)
{
    if (st->levels == NULL)
        return qindex_unplaced(&st->first, keep_count, out, max, is_done);
    size_t n = 0;
    for (; st->levels->spill_at <= st->levels->max; st->levels->spill_at++) {
        struct qindex *ix = st->levels->at[st->levels->spill_at];
        if (ix == NULL)
            continue;
        n += qindex_unplaced(ix, keep_count, out + n, max - n, is_done);
        if (!*is_done)
            return n;
        if (st->levels->spill_at == UINT8_MAX)
            break;
    }
    st->levels->spill_at = 0;
    *is_done = true;
    return n;
}

bool qstore_wants(struct qstore *st, const struct qwindow *w, uint64_t after, struct qwant *out)
{
    struct qwindow rest = *w;
    unsigned asked = after != 0 ? (unsigned)(after >> POSITION_BITS) : UINT8_MAX;
    for (unsigned p = max_priority(st);; p--) {
        struct qindex *ix = level(st, p);
        uint64_t behind = after != 0 && asked == p ? after & POSITION_MASK : 0;
        if (ix != NULL && p <= asked && qindex_wants(ix, &rest, behind, out))
            return true;
        uint64_t ready = ix != NULL ? qindex_ready(ix) : 0;
        if (p == 0 || ready >= rest.count)
            return false;
        rest.count -= ready;
    }
}

bool qstore_is_low(const struct qstore *st, uint64_t count)
{
    const struct qindex *ix = st->counts.ready.count != 0 ? level(st, highest(st)) : NULL;
    return ix != NULL && ix->away != NULL && ix->away->first < ix->next_fresh + count;
}

bool qstore_loaded(struct qstore *st, struct queue_item *it, const struct qsink *to)
{
    unsigned priority = (unsigned)(it->qseq >> POSITION_BITS);
    struct qindex *ix = index_of(st, it->qseq);
    bool is_taken = ix != NULL && qindex_loaded(ix, it, to);
    if (ix != NULL)
        unmark_if_empty(st, priority, ix);
    return is_taken;
}

void qstore_loaded_run(struct qstore *st, uint32_t seg, uint64_t first, uint64_t last,
                       struct queue_item *items, size_t count, const struct qsink *to)
{
    for (unsigned p = 0; p <= max_priority(st); p++) {
        struct qindex *ix = level(st, p);
        uint64_t end = qseq_of(p, POSITION_MASK);
        size_t here = 0;
        while (here < count && items[here].qseq <= end)
            here++;
        if (ix != NULL && first <= end && last >= qseq_of(p, 0)) {
            qindex_loaded_run(ix, seg, first, last < end ? last : end, items, here, to);
            unmark_if_empty(st, p, ix);
        }
        items += here;
        count -= here;
    }
}

void qstore_lost(struct qstore *st, uint64_t first, uint64_t last, const struct qsink *to)
{
    for (unsigned p = 0; p <= max_priority(st); p++) {
        struct qindex *ix = level(st, p);
        uint64_t end = qseq_of(p, POSITION_MASK);
        if (ix != NULL && first <= end && last >= qseq_of(p, 0)) {
            qindex_lost(ix, first, last < end ? last : end, to);
            unmark_if_empty(st, p, ix);
        }
    }
}

bool qstore_at(const struct qstore *st, uint64_t qseq, struct place place)
{
    const struct qindex *ix = index_of(st, qseq);
    return ix != NULL && qindex_at(ix, qseq & POSITION_MASK, place);
}

bool qstore_has_runs_in(const struct qstore *st, uint32_t seg)
{
    for (unsigned p = 0; p <= max_priority(st); p++) {
        const struct qindex *ix = level(st, p);
        if (ix != NULL && qindex_has_runs_in(ix, seg))
            return true;
    }
    return false;
}

bool qstore_dead_ranges(const struct qstore *st, qrange_fn each, void *arg, struct qrun *sparse)
{
    for (unsigned p = 0; p <= max_priority(st); p++) {
        const struct qindex *ix = level(st, p);
        if (ix != NULL && !qindex_dead_ranges(ix, each, arg, sparse))
            return false;
    }
    return true;
}

void qstore_marks(const struct qstore *st, void (*each)(uint64_t mark, void *arg), void *arg)
{
    for (unsigned p = 0; p <= max_priority(st); p++) {
        const struct qindex *ix = level(st, p);
        uint64_t at = ix != NULL ? qindex_mark(ix) : 0;
        if (at != 0)
            each(qseq_of(p, at), arg);
    }
}

uint64_t qstore_ahead(const struct qstore *st, uint64_t qseq, uint64_t count)
{
    const struct qindex *ix = index_of(st, qseq);
    return ix != NULL ? ix->base + qindex_ahead(ix, qseq & POSITION_MASK, count) : qseq + count;
}

void qstore_each_returned(const struct qstore *st,
                          void (*each)(uint64_t qseq, uint32_t returns, void *arg), void *arg)
{
    for (unsigned p = 0; p <= max_priority(st); p++) {
        const struct qindex *ix = level(st, p);
        if (ix != NULL)
            qindex_each_returned(ix, each, arg);
    }
}

bool qstore_restore(struct qstore *st, const struct recovered_queue *from, int64_t to_loop_ms,
                    bool *has_expiring)
{
    bool has_all = true;
    *has_expiring = false;
    for (size_t i = 0; i < from->level_count; i++) {
        const struct recovered_level *l = &from->levels[i];
        uint8_t priority = l->priority;
        if (priority > max_priority(st)) {
            has_all = has_all && l->run_count + l->entry_count == 0;
            continue;
        }
        struct qindex *ix = index_for(st, &priority);
        *has_expiring |= qindex_restore(ix, l, to_loop_ms);
        if (qindex_ready(ix) != 0)
            mark(st, priority);
    }
    return has_all;
}
