#include "stats/tally.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>

TestSuite(tally, .timeout = 300);

Test(tally, counts_each_id_up_to_its_limit)
{
    struct tally *t = tally_new();
    cr_expect(eq(u64, tally_count(t, 7), 0));
    cr_expect(tally_take(t, 7, 2));
    cr_expect(tally_take(t, 7, 2));
    cr_expect(not(tally_take(t, 7, 2)), "one past the limit");
    cr_expect(tally_take(t, 7, -1), "no limit");
    cr_expect(tally_take(t, 8, 1));
    cr_expect(eq(u64, tally_count(t, 7), 3));
    tally_give(t, 7);
    cr_expect(not(tally_take(t, 7, 2)), "a limit that was lowered lets nobody in");
    tally_give(t, 7);
    cr_expect(tally_take(t, 7, 2));
    tally_free(&t);
    cr_expect(eq(ptr, t, NULL));
    tally_free(&t);
}

Test(tally, a_limit_of_nothing_lets_nobody_in)
{
    struct tally *t = tally_new();
    cr_expect(not(tally_take(t, 1, 0)));
    cr_expect(eq(u64, tally_count(t, 1), 0));
    tally_free(&t);
}

/* Of many threads that want one of two, never more than two have it. */
#define THREADS 4
#define ROUNDS  20000

static struct tally *shared;
static pthread_barrier_t ready;

static void *take_and_give(void *arg)
{
    size_t *got = arg;
    pthread_barrier_wait(&ready);
    for (int i = 0; i < ROUNDS; i++) {
        if (!tally_take(shared, 5, 2))
            continue;
        *got += tally_count(shared, 5) <= 2;
        tally_give(shared, 5);
    }
    return NULL;
}

Test(tally, threads_do_not_pass_the_limit_together)
{
    pthread_t threads[THREADS];
    size_t got[THREADS] = { 0 };
    shared = tally_new();
    pthread_barrier_init(&ready, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, take_and_give, &got[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect(gt(sz, got[i], 0));
    }
    cr_expect(eq(u64, tally_count(shared, 5), 0));
    pthread_barrier_destroy(&ready);
    tally_free(&shared);
}
