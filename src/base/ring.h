/*
 * ring: a bounded queue of pointers that grows by doubling up to its bound.
 *
 * One thread. The ring holds pointers and owns nothing they point to.
 */
#ifndef WARREN_RING_H
#define WARREN_RING_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>

struct ring {
    void **slots;
    size_t cap; /* a power of two, or 0 */
    size_t head;
    size_t count;
    size_t count_max;
};

void ring_init(struct ring *r, size_t count_max);
void ring_fini(struct ring *r);

/* False when count_max things are in it. */
MUST_CHECK bool ring_push(struct ring *r, void *item);

/* The oldest, or NULL. */
void *ring_pop(struct ring *r);

/* The one at `index` from the oldest; index < count. */
void *ring_at(const struct ring *r, size_t index);

#endif
