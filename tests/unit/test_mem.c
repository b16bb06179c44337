#include "base/check.h"
#include "base/mem.h"

#include "expect.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>

Test(mem, gives_zeroed_memory)
{
    unsigned char *p = mem_zalloc(4096);
    for (size_t i = 0; i < 4096; i++)
        cr_assert(p[i] == 0);
    mem_free(p);
    uint64_t *a = mem_array(3, sizeof *a);
    cr_expect(a[0] == 0 && a[2] == 0);
    mem_free(a);
}

Test(mem, gives_an_address_for_nothing)
{
    void *p = mem_alloc(0), *q = mem_zalloc(0), *r = mem_array(0, 8), *s = mem_dup(NULL, 0);
    cr_expect(p != NULL && q != NULL && r != NULL && s != NULL);
    p = mem_realloc(p, 0);
    cr_expect(p != NULL);
    mem_free(p);
    mem_free(q);
    mem_free(r);
    mem_free(s);
    mem_free(NULL);
}

Test(mem, copies)
{
    char *s = mem_strdup("warren");
    expect_text(s, "warren");
    s = mem_realloc(s, 100);
    expect_text(s, "warren");
    char *t = mem_dup(s, 7);
    expect_text(t, "warren");
    mem_free(s);
    mem_free(t);
}

Test(mem, aborts_when_a_product_overflows, .signal = SIGABRT)
{
    volatile size_t many = SIZE_MAX / 2 + 1;
    mem_free(mem_array(many, 2));
}

/* A sanitizer's knows nothing of it. */
Test(mem, asks_any_allocator_to_keep_some)
{
    mem_keep_some();
    mem_free(mem_alloc(1));
}

#ifndef EXPECT_SANITIZER
Test(mem, aborts_when_memory_ends, .signal = SIGABRT)
{
    volatile size_t too_much = SIZE_MAX / 4;
    mem_free(mem_alloc(too_much));
}

/* Pages that this thread got from the system since it began. */
static long pages_got(void)
{
    struct rusage u;
    cr_assert(getrusage(RUSAGE_THREAD, &u) == 0);
    return u.ru_minflt;
}

/* As messages come and go, and a block of input among them. */
static void *fill_and_empty(void *arg)
{
    enum { COUNT = 8 * 1024, ROUNDS = 10 };
    static void *all[COUNT];
    long *pages = arg, before = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        before = round == 1 ? pages_got() : before; /* the heap has grown to its size */
        void *block = mem_zalloc((size_t)256 * 1024);
        for (size_t i = 0; i < COUNT; i++)
            all[i] = mem_zalloc(1024);
        for (size_t i = 0; i < COUNT; i++)
            mem_free(all[i]);
        mem_free(block);
    }
    *pages = pages_got() - before;
    return NULL;
}

/* 8 MiB are two thousand pages, ten times; a second heap's first ones may come once more. */
Test(mem, keeps_what_comes_and_goes)
{
    mem_keep_some();
    pthread_t thread;
    long pages = -1;
    cr_assert(pthread_create(&thread, NULL, fill_and_empty, &pages) == 0);
    cr_assert(pthread_join(thread, NULL) == 0);
    cr_expect(pages >= 0 && pages < 100, "%ld pages", pages);
}
#endif

Test(mem, budget_refuses_at_its_limit)
{
    struct mem_budget b;
    mem_budget_init(&b, "bodies", 100);
    cr_expect(mem_budget_take(&b, 0));
    cr_expect(mem_budget_take(&b, 99));
    cr_expect(mem_budget_take(&b, 1)); /* full */
    cr_expect(not(mem_budget_take(&b, 1)));
    cr_expect(mem_budget_take(&b, 0));
    cr_expect(eq(sz, mem_budget_used(&b), 100));
    mem_budget_give(&b, 60);
    cr_expect(not(mem_budget_take(&b, 61)));
    cr_expect(eq(sz, mem_budget_used(&b), 40));
    cr_expect(mem_budget_take(&b, 60));
}

Test(mem, budget_does_not_wrap)
{
    struct mem_budget b;
    mem_budget_init(&b, "all", SIZE_MAX);
    cr_expect(mem_budget_take(&b, 10));
    cr_expect(not(mem_budget_take(&b, SIZE_MAX)));
    cr_expect(not(mem_budget_take(&b, SIZE_MAX - 9)));
    cr_expect(mem_budget_take(&b, SIZE_MAX - 10));
    cr_expect(eq(sz, mem_budget_used(&b), SIZE_MAX));
    mem_budget_init(&b, "none", 0);
    cr_expect(not(mem_budget_take(&b, 1)));
}

Test(mem, budget_aborts_when_more_comes_back, .signal = SIGABRT)
{
    struct mem_budget b;
    mem_budget_init(&b, "x", 10);
    cr_assert(mem_budget_take(&b, 5));
    mem_budget_give(&b, 6);
}

/* ---- threads: what is in use never passes the limit, and what fits is never refused ---- */

enum { THREADS = 4, ROUNDS = 20000, SMALL = 10 };

static struct mem_budget shared_budget;
static atomic_uint refusals;
static atomic_uint passes;

static void *take_small(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (!mem_budget_take(&shared_budget, SMALL)) {
            atomic_fetch_add(&refusals, 1);
            continue;
        }
        if (mem_budget_used(&shared_budget) > shared_budget.limit_bytes)
            atomic_fetch_add(&passes, 1);
        mem_budget_give(&shared_budget, SMALL);
    }
    return NULL;
}

static void *ask_too_much(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (mem_budget_take(&shared_budget, THREADS * SMALL + 1))
            atomic_fetch_add(&passes, 1);
    }
    return NULL;
}

Test(mem, budget_is_exact_across_threads, .timeout = 300)
{
    mem_budget_init(&shared_budget, "shared", THREADS * SMALL);
    pthread_t threads[THREADS + 1];
    for (size_t i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, take_small, NULL) == 0);
    cr_assert(pthread_create(&threads[THREADS], NULL, ask_too_much, NULL) == 0);
    for (size_t i = 0; i <= THREADS; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect(eq(u32, atomic_load(&passes), 0));
    cr_expect(eq(u32, atomic_load(&refusals), 0)); /* all of them fit together */
    cr_expect(eq(sz, mem_budget_used(&shared_budget), 0));
}
