#include "base/rng.h"

#include "expect.h"

#include <signal.h>

/* Simulations are found again by their seed: the sequence must never change. The reference values
 * are of an independent xoshiro256** seeded by splitmix64. */
Test(rng, gives_the_same_sequence_for_ever)
{
    struct rng r;
    rng_init(&r, 0);
    cr_expect(eq(u64, rng_u64(&r), UINT64_C(0x99EC5F36CB75F2B4)));
    cr_expect(eq(u64, rng_u64(&r), UINT64_C(0xBF6E1F784956452A)));
    rng_init(&r, 12345);
    cr_expect(eq(u64, rng_u64(&r), UINT64_C(0xBE6A36374160D49B)));
    cr_expect(eq(u64, rng_u64(&r), UINT64_C(0x214AAA0637A688C6)));
}

Test(rng, is_even_below_a_bound)
{
    struct rng r;
    rng_init(&r, 3);
    unsigned counts[6] = { 0 };
    for (int i = 0; i < 60000; i++) {
        uint64_t v = rng_below(&r, 6);
        cr_assert(v < 6);
        counts[v]++;
    }
    for (size_t i = 0; i < 6; i++)
        cr_expect(counts[i] > 9600 && counts[i] < 10400, "%u of %zu", counts[i], i);
}

Test(rng, has_bounds_at_both_ends)
{
    struct rng r;
    rng_init(&r, 4);
    for (int i = 0; i < 1000; i++) {
        cr_assert(eq(u64, rng_below(&r, 1), 0));
        cr_assert(rng_below(&r, UINT64_MAX) < UINT64_MAX);
        cr_assert(rng_below(&r, (UINT64_MAX >> 1) + 2) < (UINT64_MAX >> 1) + 2);
        cr_assert(not(rng_chance(&r, 0)));
        cr_assert(rng_chance(&r, 1000));
    }
}

Test(rng, hits_its_chance)
{
    struct rng r;
    rng_init(&r, 5);
    unsigned hits = 0;
    for (int i = 0; i < 100000; i++)
        hits += rng_chance(&r, 100);
    cr_expect(hits > 9600 && hits < 10400, "%u", hits);
}

Test(rng, aborts_below_nothing, .signal = SIGABRT)
{
    struct rng r;
    rng_init(&r, 0);
    (void)rng_below(&r, 0);
}
