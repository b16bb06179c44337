#include "model/qstore_inner.h"

static void to_whole(struct qrun *run, unsigned priority)
{
    run->first += qseq_of(priority, 0);
    run->last += qseq_of(priority, 0);
}

enum qcopy qstore_put(struct qstore *st, struct queue_item *it, struct qrun *run)
{
    uint8_t priority = (uint8_t)(it->qseq >> POSITION_BITS);
    if (priority > max_priority(st))
        return QCOPY_NOTHING;
    enum qcopy put = qindex_put(index_for(st, &priority), it->qseq & POSITION_MASK, it, run);
    if (put == QCOPY_DONE)
        mark(st, priority);
    else if (put == QCOPY_LATER)
        to_whole(run, priority);
    return put;
}

enum qcopy qstore_drop_range(struct qstore *st, uint64_t first, uint64_t last, size_t *budget,
                             const struct qsink *to, struct qrun *run)
{
    for (unsigned p = (unsigned)(first >> POSITION_BITS); p <= max_priority(st); p++) {
        struct qindex *ix = level(st, p);
        uint64_t end = qseq_of(p, POSITION_MASK);
        if (last < qseq_of(p, 0))
            break;
        if (ix == NULL)
            continue;
        uint64_t from = first > qseq_of(p, 0) ? first & POSITION_MASK : 0;
        uint64_t upto = last < end ? last & POSITION_MASK : POSITION_MASK;
        enum qcopy dropped = qindex_drop_range(ix, from, upto, budget, to, run);
        unmark_if_empty(st, p, ix);
        if (dropped == QCOPY_LATER)
            to_whole(run, p);
        if (dropped != QCOPY_DONE)
            return dropped;
    }
    return QCOPY_DONE;
}

enum qcopy qstore_live(const struct qstore *st, uint64_t at, uint64_t *first, uint64_t *last,
                       struct qrun *run)
{
    for (unsigned p = (unsigned)(at >> POSITION_BITS); p <= max_priority(st); p++) {
        const struct qindex *ix = level(st, p);
        if (ix == NULL)
            continue;
        uint64_t from = at > qseq_of(p, 0) ? at & POSITION_MASK : 0;
        enum qcopy live = qindex_live(ix, from, first, last, run);
        if (live == QCOPY_NOTHING)
            continue;
        if (live == QCOPY_LATER) {
            to_whole(run, p);
            return live;
        }
        *first += qseq_of(p, 0);
        *last += qseq_of(p, 0);
        return live;
    }
    return QCOPY_NOTHING;
}

/* Entries of those that came back are ready, which the bitmap has to say. */
enum qcopy qstore_rest(struct qstore *st, size_t *budget, const struct qsink *to)
{
    for (unsigned p = 0; p <= max_priority(st); p++) {
        struct qindex *ix = level(st, p);
        enum qcopy rested = ix != NULL ? qindex_rest(ix, budget, to) : QCOPY_DONE;
        if (ix != NULL && qindex_ready(ix) != 0)
            mark(st, p);
        if (rested != QCOPY_DONE)
            return rested;
    }
    return QCOPY_DONE;
}

void qstore_raise(struct qstore *st, uint64_t next_new)
{
    uint8_t priority = (uint8_t)(next_new >> POSITION_BITS);
    if (priority <= max_priority(st))
        qindex_raise(index_for(st, &priority), next_new & POSITION_MASK);
}

void qstore_lower(struct qstore *st, uint64_t next_new)
{
    unsigned priority = (unsigned)(next_new >> POSITION_BITS);
    struct qindex *ix = priority <= max_priority(st) ? level(st, priority) : NULL;
    if (ix != NULL)
        qindex_lower(ix, next_new & POSITION_MASK);
}

void qstore_seen(struct qstore *st, uint64_t at)
{
    uint8_t priority = (uint8_t)(at >> POSITION_BITS);
    if (priority <= max_priority(st))
        qindex_seen(index_for(st, &priority), at & POSITION_MASK);
}

void qstore_starts(const struct qstore *st, void (*each)(uint64_t next_new, void *arg), void *arg)
{
    for (unsigned p = 0; p <= max_priority(st); p++) {
        const struct qindex *ix = level(st, p);
        if (ix != NULL && ix->next_new != 0)
            each(qseq_of(p, ix->next_new), arg);
    }
}

enum qhead qstore_look(const struct qstore *st, uint64_t qseq, const struct qentry **e,
                       struct qrun *run)
{
    const struct qindex *ix = index_of(st, qseq);
    uint64_t at = qseq & POSITION_MASK;
    *e = ix != NULL ? qindex_entry(ix, at) : NULL;
    if (*e != NULL)
        return (*e)->absent ? QHEAD_ABSENT : QHEAD_HERE;
    const struct qrun *r = ix != NULL ? qindex_run_at(ix, at) : NULL;
    if (r == NULL)
        return QHEAD_EMPTY;
    *run = *r;
    to_whole(run, (unsigned)(qseq >> POSITION_BITS));
    return QHEAD_IN_RUN;
}
