/*
 * hist: how values are spread, at 3% and in fixed memory.
 *
 * A log-linear histogram: each power of two is cut into 32 equal buckets, so that a value is known
 * to 1/32 of itself, from 0 to HIST_VALUE_MAX (larger ones count as that). One thread records, with
 * plain stores; any thread may read at the same time and sees each number whole, though not all of
 * the same moment. What a value means (nanoseconds, octets) is the caller's business.
 */
#ifndef WARREN_HIST_H
#define WARREN_HIST_H

#include "base/attr.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define HIST_STEP_BITS 5u
#define HIST_STEPS     (1u << HIST_STEP_BITS)
#define HIST_BITS      42u /* as nanoseconds: more than an hour */
#define HIST_VALUE_MAX (((uint64_t)1 << HIST_BITS) - 1)
#define HIST_BUCKETS   ((HIST_BITS - HIST_STEP_BITS + 1) * HIST_STEPS)

struct hist {
    atomic_uint_least64_t counts[HIST_BUCKETS];
    atomic_uint_least64_t sum;
    atomic_uint_least64_t max;
};

/* Values below 32 have a bucket each; above, the five bits after the highest one choose. */
static inline size_t hist_bucket(uint64_t value)
{
    if (value < HIST_STEPS)
        return (size_t)value;
    if (UNLIKELY(value > HIST_VALUE_MAX))
        value = HIST_VALUE_MAX;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HIST_STEP_BITS;
    return (size_t)shift * HIST_STEPS + (size_t)(value >> shift);
}

/* The largest value that falls into the bucket. */
uint64_t hist_bucket_last(size_t bucket);

/* One writer: no locked instruction is needed to add. */
static inline void hist_add_to(atomic_uint_least64_t *to, uint64_t n)
{
    uint64_t was = atomic_load_explicit(to, memory_order_relaxed);
    atomic_store_explicit(to, was + n, memory_order_relaxed);
}

/* The same value `count` times. */
static inline void hist_record_many(struct hist *h, uint64_t value, uint64_t count)
{
    hist_add_to(&h->counts[hist_bucket(value)], count);
    hist_add_to(&h->sum, value * count);
    if (value > atomic_load_explicit(&h->max, memory_order_relaxed))
        atomic_store_explicit(&h->max, value, memory_order_relaxed);
}

static inline void hist_record(struct hist *h, uint64_t value)
{
    hist_record_many(h, value, 1);
}

/* A zeroed struct hist is an empty one, too. */
void hist_clear(struct hist *h);

/* Add what `from` holds; `into` is the caller's own. */
void hist_merge(struct hist *into, const struct hist *from);

uint64_t hist_count(const struct hist *h);
uint64_t hist_sum(const struct hist *h);
uint64_t hist_max(const struct hist *h);

/* How many values are at most `value`; one bucket is counted whole or not at all. */
uint64_t hist_count_to(const struct hist *h, uint64_t value);

/* The value that `share` (0 to 1) of all do not exceed: 0.99 is the 99th percentile, 1 the
 * largest. Never less than the true one, and at most 1/32 more. 0 when there are none. */
uint64_t hist_percentile(const struct hist *h, double share);

#endif
