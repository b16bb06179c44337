#include "bench_ids.h"

#include "base/rng.h"

#include <criterion/criterion.h>

#define CHUNK (UINT64_C(1) << BENCH_IDS_CHUNK_BITS)

static struct mem_budget budget;

static void setup(void)
{
    mem_budget_init(&budget, "ids", (size_t)64 << 20);
}

TestSuite(bench_ids, .init = setup);

static uint64_t missing(const struct bench_ids *s, uint64_t end)
{
    struct bench_ids none;
    bench_ids_init(&none, &budget);
    uint64_t n = bench_ids_missing(s, &none, end, NULL);
    bench_ids_fini(&none);
    return n;
}

/* In order, no memory is used however many ids come. */
Test(bench_ids, takes_ids_in_order_without_memory)
{
    struct bench_ids s;
    bench_ids_init(&s, &budget);
    for (uint64_t id = 0; id < 3 * CHUNK; id++)
        cr_assert(bench_ids_add(&s, id));
    cr_expect_eq(mem_budget_used(&budget), 0);
    cr_expect_eq(bench_ids_count(&s), 3 * CHUNK);
    cr_expect_not(bench_ids_add(&s, 0));
    cr_expect_not(bench_ids_add(&s, 3 * CHUNK - 1));
    bench_ids_fini(&s);
}

/* A gap is remembered exactly, and closing it gives all memory back. */
Test(bench_ids, closes_gaps_and_frees_what_the_prefix_passed)
{
    struct bench_ids s;
    bench_ids_init(&s, &budget);
    for (uint64_t id = 1; id < 2 * CHUNK + 5; id++)
        cr_assert(bench_ids_add(&s, id));
    cr_expect_eq(missing(&s, 2 * CHUNK + 5), 1);
    cr_expect_eq(bench_ids_count(&s), 2 * CHUNK + 4);

    cr_expect(bench_ids_add(&s, 0));
    cr_expect_eq(s.prefix, 2 * CHUNK + 5);
    cr_expect_eq(missing(&s, 2 * CHUNK + 5), 0);
    for (uint64_t id = s.prefix; id < 3 * CHUNK; id++)
        cr_assert(bench_ids_add(&s, id));
    cr_expect_eq(s.chunks_used, 0);
    bench_ids_fini(&s);
    cr_expect_eq(mem_budget_used(&budget), 0);
}

Test(bench_ids, says_which_id_is_the_first_missing)
{
    struct bench_ids s, excused;
    bench_ids_init(&s, &budget);
    bench_ids_init(&excused, &budget);
    bench_ids_add_range(&s, 0, 100);
    bench_ids_add_range(&s, 101, 200);
    bench_ids_add_range(&s, 201, 300);

    uint64_t first = 7;
    cr_expect_eq(bench_ids_missing(&s, &excused, 300, &first), 2);
    cr_expect_eq(first, 100);
    bench_ids_add(&excused, 100);
    cr_expect_eq(bench_ids_missing(&s, &excused, 300, &first), 1);
    cr_expect_eq(first, 200);
    cr_expect_eq(bench_ids_missing(&s, &excused, 200, NULL), 0);
    cr_expect_eq(bench_ids_missing(&s, &excused, 305, NULL), 6);
    bench_ids_fini(&s);
    bench_ids_fini(&excused);
}

/* Against the plainest set there is, with ids in random order and many twice. */
Test(bench_ids, agrees_with_an_array)
{
    enum { N = 200000 };
    static bool plain[N];
    struct bench_ids s;
    struct rng rng;
    bench_ids_init(&s, &budget);
    rng_init(&rng, 1);
    uint64_t in = 0, low = 0;
    for (int i = 0; i < 3 * N; i++) {
        /* Mostly near the front, as competing consumers see them. */
        uint64_t id = rng_chance(&rng, 900) ? low + rng_below(&rng, 300) : rng_below(&rng, N);
        if (id >= N)
            continue;
        cr_assert_eq(bench_ids_add(&s, id), !plain[id]);
        in += !plain[id];
        plain[id] = true;
        while (low < N && plain[low])
            low++;
        cr_assert_eq(s.prefix, low);
    }
    cr_expect_eq(bench_ids_count(&s), in);
    cr_expect_eq(missing(&s, N), N - in);
    for (uint64_t id = 0; id < N; id++)
        cr_assert_eq(bench_ids_has(&s, id), plain[id]);
    bench_ids_fini(&s);
    cr_expect_eq(mem_budget_used(&budget), 0);
}

Test(bench_ids, finds_what_two_sets_share_and_merges_them)
{
    struct bench_ids a, b;
    bench_ids_init(&a, &budget);
    bench_ids_init(&b, &budget);
    for (uint64_t id = 0; id < 2 * CHUNK; id++)
        (void)bench_ids_add(id % 2 == 0 ? &a : &b, id);
    cr_expect_eq(bench_ids_common(&a, &b), 0);
    bench_ids_add(&b, 4);
    bench_ids_add(&b, CHUNK + 4);
    cr_expect_eq(bench_ids_common(&a, &b), 2);

    uint64_t id = 0;
    cr_assert(bench_ids_next_common(&a, &b, &id));
    cr_expect_eq(id, 4);
    id++;
    cr_assert(bench_ids_next_common(&a, &b, &id));
    cr_expect_eq(id, CHUNK + 4);
    id++;
    cr_expect_not(bench_ids_next_common(&a, &b, &id));

    bench_ids_merge(&a, &b);
    cr_expect_eq(a.prefix, 2 * CHUNK);
    cr_expect_eq(a.chunks_used, 0);
    bench_ids_fini(&a);
    bench_ids_fini(&b);
}

/* A prefix that jumps over chunks frees them. */
Test(bench_ids, adds_a_range_over_its_chunks)
{
    struct bench_ids s;
    bench_ids_init(&s, &budget);
    bench_ids_add(&s, 10);
    bench_ids_add(&s, CHUNK + 10);
    bench_ids_add(&s, 2 * CHUNK);
    bench_ids_add_range(&s, 0, 2 * CHUNK);
    cr_expect_eq(s.prefix, 2 * CHUNK + 1);
    cr_expect_eq(s.chunks_used, 1);
    cr_expect_eq(bench_ids_count(&s), 2 * CHUNK + 1);
    bench_ids_add_range(&s, 5, 5);
    cr_expect_eq(bench_ids_count(&s), 2 * CHUNK + 1);
    bench_ids_fini(&s);
}

Test(bench_ids, says_when_the_budget_refused)
{
    struct mem_budget none;
    mem_budget_init(&none, "none", 0);
    struct bench_ids s;
    bench_ids_init(&s, &none);
    bench_ids_add(&s, 0);
    cr_expect_not(s.overfull);
    bench_ids_add(&s, 2);
    cr_expect(s.overfull);
    bench_ids_fini(&s);
}
