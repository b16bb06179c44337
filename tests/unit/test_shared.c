#include "base/shared.h"
#include "base/shown.h"

#include "expect.h"

#include <pthread.h>

Test(shared, counts)
{
    struct shared s = { 0 };
    shared_set(&s, 5);
    cr_expect(eq(u64, shared_add(&s, 2), 7));
    cr_expect(eq(u64, shared_sub(&s, 3), 4));
    cr_expect(eq(u64, shared_swap(&s, 9), 4));
    shared_raise(&s, 8);
    cr_expect(eq(u64, shared_get(&s), 9));
    shared_raise(&s, 10);
    shared_bump(&s, 1);
    cr_expect(eq(u64, shared_get(&s), 11));
}

enum { THREADS = 4, ROUNDS = 20000 };

static struct shared count, high;

static void *add(void *arg)
{
    (void)arg;
    for (uint64_t i = 1; i <= ROUNDS; i++)
        shared_raise(&high, shared_add(&count, 1));
    return NULL;
}

Test(shared, counts_on_several_threads, .timeout = 300)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, add, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect(eq(u64, shared_get(&count), THREADS * ROUNDS));
    cr_expect(eq(u64, shared_get(&high), THREADS * ROUNDS));
}

/* Who sees the pointer sees what was written before it was shown; TSan would tell otherwise. */
struct version {
    uint64_t number, twice;
};

static struct version versions[ROUNDS];
static struct shown current;

static void *show(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        versions[i] = (struct version){ i, 2 * i };
        shown_set(&current, &versions[i]);
    }
    return NULL;
}

Test(shared, shows_whole_versions, .timeout = 300)
{
    pthread_t writer;
    shown_init(&current, NULL);
    cr_assert(shown_get(&current) == NULL);
    cr_assert(pthread_create(&writer, NULL, show, NULL) == 0);
    uint64_t last = 0;
    while (last != ROUNDS - 1) {
        const struct version *v = shown_get(&current);
        if (v == NULL)
            continue;
        cr_assert(v->number >= last && v->twice == 2 * v->number);
        last = v->number;
    }
    cr_assert(pthread_join(writer, NULL) == 0);
}
