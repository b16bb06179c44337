/*
 * qstore_inner: what the two files of qstore.h share: qstore.c, and qstore_copy.c for copies. Not
 * for others.
 */
#ifndef WARREN_QSTORE_INNER_H
#define WARREN_QSTORE_INNER_H

#include "base/check.h"
#include "base/mem.h"
#include "model/qstore.h"

#define POSITION_BITS 56
#define POSITION_MASK (((uint64_t)1 << POSITION_BITS) - 1)
#define WORDS         4u /* of 64 priorities each */

struct qlevels {
    uint64_t ready[WORDS]; /* a bit for each priority that has something ready */
    uint8_t max;
    uint8_t page_at;     /* where paging out goes on */
    uint8_t spill_at;    /* the same for what is to be spilled */
    struct qindex *at[]; /* max + 1; NULL: never used. The first is the store's own */
};

static inline uint64_t qseq_of(unsigned priority, uint64_t position)
{
    return (uint64_t)priority << POSITION_BITS | position;
}

/* The index that a position belongs to, or NULL. */
static inline struct qindex *index_of(const struct qstore *st, uint64_t qseq)
{
    unsigned priority = (unsigned)(qseq >> POSITION_BITS);
    if (LIKELY(priority == 0))
        return (struct qindex *)(uintptr_t)&st->first;
    return st->levels != NULL && priority <= st->levels->max ? st->levels->at[priority] : NULL;
}

static inline struct qindex *index_for(struct qstore *st, uint8_t *priority)
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

static inline void mark(struct qstore *st, unsigned priority)
{
    if (st->levels != NULL)
        st->levels->ready[priority / 64] |= (uint64_t)1 << priority % 64;
}

static inline void unmark_if_empty(struct qstore *st, unsigned priority, const struct qindex *ix)
{
    if (st->levels != NULL && qindex_ready(ix) == 0)
        st->levels->ready[priority / 64] &= ~((uint64_t)1 << priority % 64);
}

static inline unsigned max_priority(const struct qstore *st)
{
    return st->levels != NULL ? st->levels->max : 0;
}

static inline struct qindex *level(const struct qstore *st, unsigned priority)
{
    return index_of(st, qseq_of(priority, 0));
}

#endif
