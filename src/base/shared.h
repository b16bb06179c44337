/*
 * shared: one number that several threads read and change, for counts, gauges and references.
 *
 * Each operation is atomic by itself; two of them in a row are not. What is written before a
 * change is seen by who reads that change.
 */
#ifndef WARREN_SHARED_H
#define WARREN_SHARED_H

#include "base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct shared {
    atomic_uint_least64_t value;
};

static inline uint64_t shared_get(const struct shared *s)
{
    return atomic_load_explicit(&s->value, memory_order_acquire);
}

static inline void shared_set(struct shared *s, uint64_t value)
{
    atomic_store_explicit(&s->value, value, memory_order_release);
}

/* Both return the new value. */
static inline uint64_t shared_add(struct shared *s, uint64_t n)
{
    return atomic_fetch_add_explicit(&s->value, n, memory_order_acq_rel) + n;
}

static inline uint64_t shared_sub(struct shared *s, uint64_t n)
{
    return atomic_fetch_sub_explicit(&s->value, n, memory_order_acq_rel) - n;
}

/* Set it, and return what it was. */
static inline uint64_t shared_swap(struct shared *s, uint64_t value)
{
    return atomic_exchange_explicit(&s->value, value, memory_order_acq_rel);
}

/* True: it was `from`, and is `to` now. */
static inline bool shared_exchange(struct shared *s, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(&s->value, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

/* Raise it to `value` if it is lower: a high-water mark. */
static inline void shared_raise(struct shared *s, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(&s->value, memory_order_relaxed);
    while (seen < value && !atomic_compare_exchange_weak_explicit(
                               &s->value, &seen, value, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Add to a number that the calling thread alone writes and others only read: cheaper. */
static inline void shared_bump(struct shared *s, uint64_t n)
{
    atomic_store_explicit(&s->value, atomic_load_explicit(&s->value, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
