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

/* ---- a planned move ----------------------------------------------------------------------------
 */

static size_t list_out_of(const struct qindex *ix, unsigned priority, uint64_t *out, size_t max)
{
    size_t n = 0;
    uint64_t first, last;
    struct qrun run;
    for (uint64_t at = 0; at < ix->next_fresh; at = last + 1) {
        if (qindex_live(ix, at, &first, &last, &run) != QCOPY_DONE)
            break; /* what is in no memory is not out, nor is what is behind it */
        for (uint64_t p = first; p <= last && p < ix->next_fresh; p++) {
            if (qindex_out(ix, p) == NULL)
                continue;
            if (n == max)
                return n;
            out[n++] = qseq_of(priority, p);
        }
    }
    return n;
}

size_t qstore_list_out(const struct qstore *st, uint64_t *out, size_t max)
{
    size_t n = 0;
    for (unsigned p = 0; p <= max_priority(st); p++) {
        const struct qindex *ix = level(st, p);
        if (ix != NULL)
            n += list_out_of(ix, p, out + n, max - n);
    }
    return n;
}

void qstore_fresh(const struct qstore *st, void (*each)(uint64_t next_fresh, void *arg), void *arg)
{
    for (unsigned p = 0; p <= max_priority(st); p++) {
        const struct qindex *ix = level(st, p);
        if (ix == NULL || ix->next_new == 0)
            continue;
        uint64_t seen = ix->away != NULL ? ix->away->seen : 0;
        each(qseq_of(p, seen > ix->next_fresh ? seen : ix->next_fresh), arg);
    }
}

void qstore_unseen(struct qstore *st, uint64_t next_fresh)
{
    struct qindex *ix = index_of(st, next_fresh);
    uint64_t at = next_fresh & POSITION_MASK;
    if (ix != NULL && ix->away != NULL && ix->away->seen > at)
        ix->away->seen = at;
}

/* Nothing goes out but the head: those before it that are not meant go back at once, in their
 * order. */
static size_t hold_of(struct qindex *ix, const uint64_t *qseqs, size_t count)
{
    uint64_t at, last = qseqs[count - 1] & POSITION_MASK;
    struct qentry *e;
    size_t held = 0, i = 0, back = 0, cap = 0;
    uint64_t *others = NULL;
    while (qindex_head(ix, &at, &e) == QHEAD_HERE && at <= last) {
        (void)qindex_take(ix, &at);
        while (i < count && (qseqs[i] & POSITION_MASK) < at)
            i++;
        if (i < count && (qseqs[i] & POSITION_MASK) == at) {
            held++;
            continue;
        }
        if (back == cap) {
            cap = cap != 0 ? 2 * cap : 64;
            others = mem_realloc(others, cap * sizeof *others);
        }
        others[back++] = at;
    }
    for (size_t n = 0; n < back; n++)
        qindex_requeue(ix, others[n], false);
    mem_free(others);
    return held;
}

size_t qstore_hold(struct qstore *st, const uint64_t *qseqs, size_t count)
{
    size_t held = 0;
    for (size_t from = 0, to; from < count; from = to) {
        unsigned priority = (unsigned)(qseqs[from] >> POSITION_BITS);
        struct qindex *ix = index_of(st, qseqs[from]);
        for (to = from + 1; to < count && qseqs[to] >> POSITION_BITS == priority; to++)
            ;
        if (ix == NULL)
            continue;
        held += hold_of(ix, qseqs + from, to - from);
        unmark_if_empty(st, priority, ix);
    }
    return held;
}
