#include "base/mem.h"
#include "base/rng.h"
#include "stats/hist.h"

#include "expect.h"

#include <stdlib.h>

static struct hist *h;

static void begin(void)
{
    h = mem_zalloc(sizeof *h);
}

static void end(void)
{
    mem_free(h);
}

TestSuite(hist, .init = begin, .fini = end);

Test(hist, is_empty_at_first)
{
    cr_expect(eq(u64, hist_count(h), 0));
    cr_expect(eq(u64, hist_sum(h), 0));
    cr_expect(eq(u64, hist_percentile(h, 0), 0));
    cr_expect(eq(u64, hist_percentile(h, 1), 0));
    cr_expect(eq(u64, hist_count_to(h, UINT64_MAX), 0));
}

/* Each bucket begins right after the one before it, and both ends of it lead to it. */
Test(hist, has_buckets_without_gaps)
{
    uint64_t first = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        uint64_t last = hist_bucket_last(i);
        cr_assert(last >= first);
        cr_assert(eq(sz, hist_bucket(first), i));
        cr_assert(eq(sz, hist_bucket(last), i));
        cr_assert(last - first <= first / HIST_STEPS, "bucket %zu is too wide", i);
        first = last + 1;
    }
    cr_expect(eq(u64, first, HIST_VALUE_MAX + 1));
    cr_expect(eq(sz, hist_bucket(HIST_VALUE_MAX + 1), HIST_BUCKETS - 1));
    cr_expect(eq(sz, hist_bucket(UINT64_MAX), HIST_BUCKETS - 1));
}

Test(hist, knows_one_value_exactly)
{
    hist_record(h, 123456789);
    cr_expect(eq(u64, hist_count(h), 1));
    cr_expect(eq(u64, hist_sum(h), 123456789));
    cr_expect(eq(u64, hist_max(h), 123456789));
    cr_expect(eq(u64, hist_percentile(h, 0), 123456789));
    cr_expect(eq(u64, hist_percentile(h, 0.5), 123456789));
    cr_expect(eq(u64, hist_percentile(h, 1), 123456789));
}

Test(hist, ranks_small_values_exactly)
{
    for (uint64_t v = 0; v < 32; v++)
        hist_record(h, v);
    cr_expect(eq(u64, hist_percentile(h, 0), 0));
    cr_expect(eq(u64, hist_percentile(h, 0.25), 7));
    cr_expect(eq(u64, hist_percentile(h, 0.5), 15));
    cr_expect(eq(u64, hist_percentile(h, 0.99), 31));
    cr_expect(eq(u64, hist_count_to(h, 7), 8));
}

Test(hist, records_many_as_one_by_one)
{
    struct hist *one_by_one = mem_zalloc(sizeof *one_by_one);
    for (int i = 0; i < 1000; i++)
        hist_record(one_by_one, 777);
    hist_record_many(h, 777, 1000);
    cr_expect(eq(u64, hist_count(h), hist_count(one_by_one)));
    cr_expect(eq(u64, hist_sum(h), hist_sum(one_by_one)));
    cr_expect(eq(u64, hist_max(h), 777));
    cr_expect(eq(u64, hist_percentile(h, 0.5), 777));
    mem_free(one_by_one);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

Test(hist, is_within_a_thirty_second_of_the_truth)
{
    enum { COUNT = 10000 };
    static uint64_t values[COUNT];
    struct rng rng;
    rng_init(&rng, 7);
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = rng_u64(&rng) >> (22 + rng_below(&rng, 42)); /* of every magnitude */
        hist_record(h, values[i]);
    }
    qsort(values, COUNT, sizeof values[0], by_value);
    const double shares[] = { 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1 };
    for (size_t i = 0; i < ARRAY_COUNT(shares); i++) {
        uint64_t truth = values[(size_t)(shares[i] * COUNT + 0.5) - 1];
        uint64_t got = hist_percentile(h, shares[i]);
        cr_expect(got >= truth && got <= truth + truth / 32, "at %g: %llu for %llu", shares[i],
                  (unsigned long long)got, (unsigned long long)truth);
    }
}

Test(hist, counts_what_is_too_large_as_the_largest)
{
    hist_record(h, UINT64_MAX);
    hist_record(h, HIST_VALUE_MAX);
    cr_expect(eq(u64, hist_count(h), 2));
    cr_expect(eq(u64, hist_max(h), UINT64_MAX));
    cr_expect(eq(u64, hist_percentile(h, 0.5), HIST_VALUE_MAX));
}

Test(hist, merges_and_clears)
{
    struct hist *other = mem_zalloc(sizeof *other);
    for (uint64_t v = 1; v <= 100; v++)
        hist_record(v % 2 != 0 ? h : other, v);
    hist_merge(h, other);
    cr_expect(eq(u64, hist_count(h), 100));
    cr_expect(eq(u64, hist_sum(h), 5050));
    cr_expect(eq(u64, hist_max(h), 100));
    cr_expect(eq(u64, hist_count(other), 50));
    hist_clear(h);
    cr_expect(eq(u64, hist_count(h), 0));
    cr_expect(eq(u64, hist_max(h), 0));
    mem_free(other);
}
