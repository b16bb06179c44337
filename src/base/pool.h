/*
 * pool: objects of one size, bounded in number, taken and given back in constant time.
 *
 * One thread. Objects come from slabs that are kept until the pool ends; what is given back is
 * handed out first, while it is still in the cache. A pool that is full says so with NULL and the
 * caller refuses the work: that is the bound.
 */
#ifndef WARREN_POOL_H
#define WARREN_POOL_H

#include "base/attr.h"

#include <stddef.h>
#include <stdint.h>

struct pool_slab;

struct pool {
    size_t object_bytes;
    size_t objects_max;
    size_t objects_used;
    void *free_list;
    struct pool_slab *slabs;
    uint8_t *fresh; /* never used part of the newest slab */
    size_t fresh_count;
};

void pool_init(struct pool *p, size_t object_bytes, size_t objects_max);

/* All objects must have been put back. */
void pool_fini(struct pool *p);

/* A zeroed object, or NULL when objects_max are in use. */
MUST_CHECK void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *object);

#endif
