/*
 * seen: a set of pointers that is filled and emptied again and again.
 *
 * For walks that must not visit a thing twice. Emptying costs nothing, whatever it held. It never
 * looks at what the pointers point to. One thread.
 */
#ifndef WARREN_SEEN_H
#define WARREN_SEEN_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen_slot {
    const void *ptr;
    uint64_t round; /* holds ptr only in this round */
};

struct seen {
    struct seen_slot *slots;
    size_t cap; /* a power of two, or 0 */
    size_t count;
    uint64_t round;
};

void seen_init(struct seen *s);
void seen_fini(struct seen *s);
void seen_clear(struct seen *s);

/* True if it was not in it yet; now it is. */
bool seen_add(struct seen *s, const void *ptr);

#endif
