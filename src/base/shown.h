/*
 * shown: a pointer that one thread shows and any thread reads.
 *
 * For versions of something immutable: who reads the pointer sees all that was written before it
 * was shown. It says nothing about how long the thing lives; that is for grace periods (io/epoch).
 */
#ifndef WARREN_SHOWN_H
#define WARREN_SHOWN_H

#include <stdatomic.h>

struct shown {
    _Atomic(const void *) ptr;
};

static inline void shown_init(struct shown *s, const void *ptr)
{
    atomic_init(&s->ptr, ptr);
}

static inline void shown_set(struct shown *s, const void *ptr)
{
    atomic_store_explicit(&s->ptr, ptr, memory_order_release);
}

static inline const void *shown_get(const struct shown *s)
{
    return atomic_load_explicit(&s->ptr, memory_order_acquire);
}

#endif
