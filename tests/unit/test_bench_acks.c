#include "bench_acks.h"

#include <criterion/criterion.h>

/* How many are ripe now; they come in order, from *next on. */
static uint64_t ripen(struct bench_acks *a, uint64_t now_ms, uint64_t *next)
{
    uint32_t flow;
    uint64_t sequence, count = 0;
    while (bench_acks_ripe(a, now_ms, &flow, &sequence)) {
        cr_assert_eq(flow, 3);
        cr_assert_eq(sequence, *next);
        ++*next;
        count++;
    }
    return count;
}

Test(bench_acks, ripen_when_they_are_old_enough)
{
    struct bench_acks a;
    uint64_t next = 0;
    bench_acks_init(&a, 1000);
    cr_expect_eq(ripen(&a, 0, &next), 0);
    for (uint64_t i = 0; i < 1000; i++)
        bench_acks_took(&a, 3, i);
    cr_expect_eq(ripen(&a, 5000, &next), 0, "none of them is acknowledged");
    bench_acks_sent(&a, 5000);
    for (uint64_t i = 1000; i < 1500; i++)
        bench_acks_took(&a, 3, i);
    cr_expect_eq(ripen(&a, 5999, &next), 0);
    cr_expect_eq(ripen(&a, 6000, &next), 1000);
    bench_acks_sent(&a, 6000);
    cr_expect_eq(ripen(&a, 7000, &next), 500);
    cr_expect_eq(ripen(&a, 9000, &next), 0);
    bench_acks_fini(&a);
}

Test(bench_acks, never_ripen_after_the_connection_broke)
{
    struct bench_acks a;
    uint64_t next = 0;
    bench_acks_init(&a, 10);
    for (uint64_t i = 0; i < 100; i++)
        bench_acks_took(&a, 3, i);
    bench_acks_sent(&a, 0);
    bench_acks_drop(&a);
    cr_expect_eq(ripen(&a, 1000, &next), 0);
    next = 100;
    bench_acks_took(&a, 3, 100);
    bench_acks_sent(&a, 1000);
    cr_expect_eq(ripen(&a, 1010, &next), 1);
    bench_acks_fini(&a);
}

/* The moment is kept in 32 bit of milliseconds. */
Test(bench_acks, live_through_the_clocks_overflow)
{
    struct bench_acks a;
    uint64_t next = 0;
    bench_acks_init(&a, 1000);
    bench_acks_took(&a, 3, 0);
    bench_acks_sent(&a, UINT32_MAX);
    cr_expect_eq(ripen(&a, (uint64_t)UINT32_MAX + 999, &next), 0);
    cr_expect_eq(ripen(&a, (uint64_t)UINT32_MAX + 1000, &next), 1);
    bench_acks_fini(&a);
}
