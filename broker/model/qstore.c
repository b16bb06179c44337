#include "model/qstore.h"

#include "base/check.h"
#include "base/mem.h"

#define POSITION_BITS 56
#define POSITION_MASK (((uint64_t)1 << POSITION_BITS) - 1)
#define WORDS         4u /* of 64 priorities each */

struct qlevels {
    uint64_t ready[WORDS]; /* a bit for each priority that has something ready */
    uint8_t max;
    struct qindex *at[]; /* max + 1; NULL: never used. The first is the store's own */
};

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

/* ---- which index ------------------------------------------------------------------------------
 */

static uint64_t qseq_of(unsigned priority, uint64_t position)
{
    return (uint64_t)priority << POSITION_BITS | position;
}

/* The index that a position belongs to, or NULL. */
static struct qindex *index_of(const struct qstore *st, uint64_t qseq)
{
    unsigned priority = (unsigned)(qseq >> POSITION_BITS);
    if (LIKELY(priority == 0))
        return (struct qindex *)(uintptr_t)&st->first;
    return st->levels != NULL && priority <= st->levels->max ? st->levels->at[priority] : NULL;
}

static struct qindex *index_for(struct qstore *st, uint8_t *priority)
{
    struct qlevels *l = st->levels;
    if (l == NULL) {
        *priority = 0;
        return &st->first;
    }
    if (*priority > l->max)
        *priority = l->max;
    if (l->at[*priority] == NULL) {
        l->at[*priority] = mem_alloc(sizeof(struct qindex));
        qindex_init(l->at[*priority], &st->counts, qseq_of(*priority, 0));
    }
    return l->at[*priority];
}

static void mark(struct qstore *st, unsigned priority)
{
    if (st->levels != NULL)
        st->levels->ready[priority / 64] |= (uint64_t)1 << priority % 64;
}

static void unmark_if_empty(struct qstore *st, unsigned priority, const struct qindex *ix)
{
    if (st->levels != NULL && qindex_ready(ix) == 0)
        st->levels->ready[priority / 64] &= ~((uint64_t)1 << priority % 64);
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

struct qentry *qstore_peek_of_any(const struct qstore *st, uint64_t *qseq)
{
    if (st->counts.ready.count == 0)
        return NULL;
    unsigned priority = highest(st);
    struct qentry *e = qindex_peek(index_of(st, qseq_of(priority, 0)), qseq);
    *qseq = qseq_of(priority, *qseq);
    return e;
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
