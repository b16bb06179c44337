/*
 * ranges: a set of positions, kept as ranges that neither meet nor touch. One thread.
 */
#ifndef WARREN_RANGES_H
#define WARREN_RANGES_H

#include "base/attr.h"
#include "store/record.h"

struct ranges {
    struct settle_range *items; /* after ranges_tidy in order, none next to another */
    size_t count;
    size_t cap;
    bool is_tidy;
};

/* Zeros are an empty set. */
void ranges_fini(struct ranges *r);

/* In any order; cheapest when they come in order. */
void ranges_add(struct ranges *r, uint64_t first, uint64_t last);

/* Before anything is asked, after something was added. */
void ranges_tidy(struct ranges *r);

/* All that is in `what` goes. Both are tidy afterwards. */
void ranges_remove(struct ranges *r, struct ranges *what);

/* Of these counts those of positions that are not in `gone` (tidy), in place: how many. */
size_t returns_without(struct msg_return *items, size_t count, const struct ranges *gone);

/* The first range that ends at or above `at`, or NULL. */
const struct settle_range *ranges_from(const struct ranges *r, uint64_t at);

/* The one behind it, or NULL. */
static inline const struct settle_range *ranges_next(const struct ranges *r,
                                                     const struct settle_range *range)
{
    return range + 1 < r->items + r->count ? range + 1 : NULL;
}

/* The range that `at` is in, or NULL. */
const struct settle_range *ranges_find(const struct ranges *r, uint64_t at);

enum ranges_cover {
    RANGES_NONE, /* nothing of first .. last is in the set */
    RANGES_SOME,
    RANGES_ALL,
};
enum ranges_cover ranges_cover(const struct ranges *r, uint64_t first, uint64_t last);

#endif
