#include "store/ranges.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"

#include <stdlib.h>
#include <string.h>

#define CAP_LEAST  8u
#define TIDY_LEAST 1024u /* so few are not worth it on the way */

void ranges_fini(struct ranges *r)
{
    mem_free(r->items);
    *r = (struct ranges){ 0 };
}

static int by_first(const void *a, const void *b)
{
    const struct settle_range *x = a;
    const struct settle_range *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Does `next`, which begins no earlier, meet or touch it? */
static bool goes_on(const struct settle_range *range, uint64_t next)
{
    return next <= range->last || next - range->last == 1;
}

void ranges_tidy(struct ranges *r)
{
    if (r->is_tidy)
        return;
    if (r->count > 1)
        qsort(r->items, r->count, sizeof *r->items, by_first);
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct settle_range *range = &r->items[i];
        struct settle_range *last = kept != 0 ? &r->items[kept - 1] : NULL;
        if (last == NULL || !goes_on(last, range->first))
            r->items[kept++] = *range;
        else if (range->last > last->last)
            last->last = range->last;
    }
    r->count = kept;
    r->is_tidy = true;
}

static void make_room(struct ranges *r)
{
    if (r->count < r->cap)
        return;
    /* What was said twice is dropped before more memory is taken for it. */
    if (r->count >= TIDY_LEAST)
        ranges_tidy(r);
    if (r->count < r->cap - r->cap / 4)
        return;
    r->cap = r->cap != 0 ? 2 * r->cap : CAP_LEAST;
    r->items = mem_realloc(r->items, r->cap * sizeof *r->items);
}

void ranges_add(struct ranges *r, uint64_t first, uint64_t last)
{
    CHECK(first <= last);
    struct settle_range *end = r->count != 0 ? &r->items[r->count - 1] : NULL;
    if (end != NULL && first >= end->first && goes_on(end, first)) {
        if (last > end->last)
            end->last = last;
        return; /* what was tidy is still: it was the last one */
    }
    make_room(r);
    end = r->count != 0 ? &r->items[r->count - 1] : NULL;
    r->is_tidy = end == NULL || (r->is_tidy && first > end->last && first - end->last > 1);
    r->items[r->count++] = (struct settle_range){ first, last };
}

static bool meet(const struct ranges *r, const struct ranges *what)
{
    for (size_t i = 0; i < what->count; i++)
        if (ranges_cover(r, what->items[i].first, what->items[i].last) != RANGES_NONE)
            return true;
    return false;
}

/* What is left of `range`; `gone` is the first that may meet it. */
static const struct settle_range *keep_left(struct ranges *out, struct settle_range range,
                                            const struct settle_range *gone,
                                            const struct settle_range *end)
{
    while (gone < end && gone->last < range.first)
        gone++;
    for (; gone < end && gone->first <= range.last; gone++) {
        if (gone->first > range.first)
            ranges_add(out, range.first, gone->first - 1);
        if (gone->last >= range.last)
            return gone;
        range.first = gone->last + 1;
    }
    ranges_add(out, range.first, range.last);
    return gone;
}

void ranges_remove(struct ranges *r, struct ranges *what)
{
    ranges_tidy(r);
    ranges_tidy(what);
    if (!meet(r, what))
        return;
    struct ranges out = { 0 };
    const struct settle_range *gone = what->items;
    for (size_t i = 0; i < r->count; i++)
        gone = keep_left(&out, r->items[i], gone, what->items + what->count);
    ranges_fini(r);
    *r = out;
    r->is_tidy = true;
}

const struct settle_range *ranges_from(const struct ranges *r, uint64_t at)
{
    CHECK(r->is_tidy || r->count == 0);
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->items[middle].last < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->count ? &r->items[low] : NULL;
}

const struct settle_range *ranges_find(const struct ranges *r, uint64_t at)
{
    const struct settle_range *range = ranges_from(r, at);
    return range != NULL && range->first <= at ? range : NULL;
}

enum ranges_cover ranges_cover(const struct ranges *r, uint64_t first, uint64_t last)
{
    CHECK(first <= last);
    const struct settle_range *range = ranges_from(r, first);
    if (range == NULL || range->first > last)
        return RANGES_NONE;
    return range->first <= first && range->last >= last ? RANGES_ALL : RANGES_SOME;
}

size_t returns_without(struct msg_return *items, size_t count, const struct ranges *gone)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (ranges_find(gone, items[i].qseq) == NULL || MUTATION(AGAIN_KEEPS_RETURNS))
            items[kept++] = items[i];
    return kept;
}
