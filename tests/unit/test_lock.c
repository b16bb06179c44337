#include "expect.h"
#include "io/clock.h"
#include "io/lock.h"

TestSuite(lock, .timeout = 300);

struct shared {
    struct lock lock;
    struct bell bell;
    unsigned count;
    unsigned wanted;
};

static void count_up(void *arg)
{
    struct shared *s = arg;
    for (unsigned i = 0; i < 10000; i++) {
        lock_take(&s->lock);
        s->count++;
        lock_give(&s->lock);
    }
}

static void ring_once(void *arg)
{
    struct shared *s = arg;
    lock_take(&s->lock);
    s->wanted = 1;
    lock_give(&s->lock);
    bell_ring(&s->bell);
}

static void set_up(struct shared *s)
{
    *s = (struct shared){ 0 };
    lock_init(&s->lock);
    bell_init(&s->bell);
}

static void tear_down(struct shared *s)
{
    bell_fini(&s->bell);
    lock_fini(&s->lock);
}

Test(lock, lets_one_in_at_a_time)
{
    struct shared s;
    struct thread *threads[4];
    struct err err;
    set_up(&s);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        threads[i] = thread_start("counter", count_up, &s, &err);
        cr_assert(threads[i] != NULL, "%s", err.text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        thread_join(&threads[i]);
    cr_expect(eq(uint, s.count, 40000));
    cr_expect(threads[0] == NULL);
    thread_join(&threads[0]);
    tear_down(&s);
}

Test(lock, wakes_who_waits_for_the_bell)
{
    struct shared s;
    struct err err;
    set_up(&s);
    struct thread *t = thread_start("a name that is too long", ring_once, &s, &err);
    cr_assert(t != NULL);
    lock_take(&s.lock);
    while (s.wanted == 0)
        bell_wait(&s.bell, &s.lock, 0);
    lock_give(&s.lock);
    thread_join(&t);
    tear_down(&s);
}

Test(lock, waits_no_longer_than_told)
{
    struct shared s;
    set_up(&s);
    uint64_t until = clock_mono_us() + 2000;
    lock_take(&s.lock);
    while (clock_mono_us() < until)
        bell_wait(&s.bell, &s.lock, until);
    lock_give(&s.lock);
    tear_down(&s);
}
