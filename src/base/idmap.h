/*
 * idmap: a small hash table from 64-bit ids to pointers (open addressing, no tombstones).
 *
 * For ids of our own making (queues, connections): the hash is not seeded. One thread. Values are
 * never NULL; the map owns nothing they point to. Empty, it holds no memory.
 */
#ifndef WARREN_IDMAP_H
#define WARREN_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
    uint64_t id;
    void *value; /* NULL: free */
};

struct idmap {
    struct idmap_slot *slots;
    size_t cap; /* a power of two, or 0 */
    size_t count;
};

void idmap_init(struct idmap *m);
void idmap_fini(struct idmap *m);

void *idmap_get(const struct idmap *m, uint64_t id);

/* The id must not be there. */
void idmap_put(struct idmap *m, uint64_t id, void *value);

/* What was there, or NULL. */
void *idmap_take(struct idmap *m, uint64_t id);

/* Walk all, in no order: start with *at = 0; NULL at the end. Nothing may be put meanwhile; to take
 * what the walk has just shown is allowed only with `idmap_first` until it is empty. */
void *idmap_next(const struct idmap *m, size_t *at);

/* Any one, or NULL when empty. */
void *idmap_first(const struct idmap *m);

#endif
