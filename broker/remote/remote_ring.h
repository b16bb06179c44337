/*
 * remote_ring: things of one size in the order in which they came, the eldest leaving first.
 *
 * It grows by doubling and gives memory back when it is empty; what bounds it is its owner's
 * credit. One thread.
 */
#ifndef WARREN_REMOTE_RING_H
#define WARREN_REMOTE_RING_H

#include "base/check.h"
#include "base/mem.h"

#include <stdint.h>
#include <string.h>

#define REMOTE_RING_FIRST 64u
#define REMOTE_RING_KEPT  4096u /* room for more is given back when it is empty */

struct remote_ring {
    uint8_t *items;
    size_t item_bytes;
    size_t cap; /* a power of two, or 0 */
    size_t head;
    size_t count;
};

static inline void remote_ring_init(struct remote_ring *r, size_t item_bytes)
{
    *r = (struct remote_ring){ .item_bytes = item_bytes };
}

static inline void remote_ring_fini(struct remote_ring *r)
{
    mem_free(r->items);
    remote_ring_init(r, r->item_bytes);
}

/* The one at `index` from the eldest. */
static inline void *remote_ring_at(const struct remote_ring *r, size_t index)
{
    return r->items + ((r->head + index) & (r->cap - 1)) * r->item_bytes;
}

static inline void remote_ring_grow(struct remote_ring *r)
{
    struct remote_ring was = *r;
    r->cap = was.cap != 0 ? was.cap * 2 : REMOTE_RING_FIRST;
    r->items = mem_array(r->cap, r->item_bytes);
    r->head = 0;
    for (size_t i = 0; i < was.count; i++)
        memcpy(r->items + i * r->item_bytes, remote_ring_at(&was, i), r->item_bytes);
    mem_free(was.items);
}

/* Room for one more, to be filled. */
static inline void *remote_ring_add(struct remote_ring *r)
{
    if (r->count == r->cap)
        remote_ring_grow(r);
    return remote_ring_at(r, r->count++);
}

static inline void remote_ring_drop_first(struct remote_ring *r)
{
    CHECK(r->count != 0);
    r->head = (r->head + 1) & (r->cap - 1);
    if (--r->count == 0 && r->cap > REMOTE_RING_KEPT)
        remote_ring_fini(r);
}

#endif
