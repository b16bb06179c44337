/*
 * heap: the smallest key first. For deadlines, priorities and positions.
 *
 * A binary heap of (key, value) pairs by value; keys may repeat (then in no order). One thread.
 */
#ifndef WARREN_HEAP_H
#define WARREN_HEAP_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_item {
    uint64_t key;
    uint64_t value;
};

struct heap {
    struct heap_item *items;
    size_t count;
    size_t cap;
};

void heap_init(struct heap *h);
void heap_fini(struct heap *h);
void heap_push(struct heap *h, uint64_t key, uint64_t value);

/* The smallest, borrowed until the next change, or NULL. */
const struct heap_item *heap_min(const struct heap *h);

/* Take the smallest away; the heap must not be empty. */
struct heap_item heap_pop(struct heap *h);

#endif
