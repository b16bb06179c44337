#include "store/ranges.h"

#include "base/rng.h"
#include "expect.h"

Test(ranges, nothing_covers_nothing)
{
    struct ranges r = { 0 };
    cr_expect(eq(ptr, (void *)ranges_from(&r, 0), NULL));
    cr_expect(eq(int, ranges_cover(&r, 0, UINT64_MAX), RANGES_NONE));
    ranges_tidy(&r);
    cr_expect(eq(sz, r.count, 0));
    ranges_fini(&r);
}

Test(ranges, those_that_touch_become_one)
{
    struct ranges r = { 0 };
    ranges_add(&r, 5, 6);
    ranges_add(&r, 7, 7);
    ranges_add(&r, 1, 2);
    ranges_add(&r, 3, 4);
    ranges_add(&r, UINT64_MAX, UINT64_MAX);
    ranges_tidy(&r);
    cr_assert(eq(sz, r.count, 2));
    cr_expect(eq(u64, r.items[0].first, 1));
    cr_expect(eq(u64, r.items[0].last, 7));
    cr_expect(eq(int, ranges_cover(&r, 1, 7), RANGES_ALL));
    cr_expect(eq(int, ranges_cover(&r, 0, 7), RANGES_SOME));
    cr_expect(eq(int, ranges_cover(&r, 7, 8), RANGES_SOME));
    cr_expect(eq(int, ranges_cover(&r, 8, 100), RANGES_NONE));
    cr_expect(eq(ptr, (void *)ranges_find(&r, 8), NULL));
    cr_expect(eq(u64, ranges_from(&r, 8)->first, UINT64_MAX));
    ranges_fini(&r);
}

/* Against one flag a position. */
Test(ranges, agrees_with_a_naive_set)
{
    enum { POSITIONS = 400 };
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct ranges r = { 0 };
        bool naive[POSITIONS] = { false };
        unsigned adds = (unsigned)rng_below(&rng, 3000);
        uint64_t span = 1 + rng_below(&rng, 5);
        for (unsigned i = 0; i < adds; i++) {
            uint64_t first = rng_below(&rng, POSITIONS - span);
            uint64_t last = first + rng_below(&rng, span);
            ranges_add(&r, first, last);
            for (uint64_t at = first; at <= last; at++)
                naive[at] = true;
            if (rng_below(&rng, 500) == 0)
                ranges_tidy(&r);
        }
        ranges_tidy(&r);
        for (uint64_t at = 0; at < POSITIONS; at++)
            cr_assert(eq(int, ranges_find(&r, at) != NULL, naive[at]), "seed %lu at %lu", seed, at);
        for (size_t i = 1; i < r.count; i++)
            cr_assert(gt(u64, r.items[i].first, r.items[i - 1].last + 1));
        ranges_fini(&r);
    }
}

/* The same, of two sets. */
Test(ranges, takes_one_set_out_of_another)
{
    enum { POSITIONS = 200 };
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct ranges sets[2] = { { 0 }, { 0 } };
        bool naive[2][POSITIONS] = { { false }, { false } };
        for (unsigned k = 0; k < 2; k++) {
            uint64_t span = 1 + rng_below(&rng, 30);
            for (uint64_t adds = rng_below(&rng, 30); adds != 0; adds--) {
                uint64_t first = rng_below(&rng, POSITIONS - span);
                uint64_t last = first + rng_below(&rng, span);
                ranges_add(&sets[k], first, last);
                for (uint64_t at = first; at <= last; at++)
                    naive[k][at] = true;
            }
        }
        ranges_remove(&sets[0], &sets[1]);
        for (uint64_t at = 0; at < POSITIONS; at++)
            cr_assert(eq(int, ranges_find(&sets[0], at) != NULL, naive[0][at] && !naive[1][at]),
                      "seed %lu at %lu", seed, at);
        for (size_t i = 1; i < sets[0].count; i++)
            cr_assert(gt(u64, sets[0].items[i].first, sets[0].items[i - 1].last + 1));
        ranges_fini(&sets[0]);
        ranges_fini(&sets[1]);
    }
    struct ranges all = { 0 }, ends = { 0 };
    ranges_add(&all, 0, UINT64_MAX);
    ranges_add(&ends, 0, 0);
    ranges_add(&ends, UINT64_MAX, UINT64_MAX);
    ranges_remove(&all, &ends);
    cr_assert(eq(sz, all.count, 1));
    cr_expect(eq(u64, all.items[0].first, 1));
    cr_expect(eq(u64, all.items[0].last, UINT64_MAX - 1));
    ranges_fini(&all);
    ranges_fini(&ends);
}
