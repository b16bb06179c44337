#include "expect.h"
#include "store/segs.h"

#include <pthread.h>

TestSuite(segs, .timeout = 300);

Test(segs, know_what_exists_and_what_does_not)
{
    struct segs *s = segs_new();
    cr_expect(eq(u32, segs_first(s), segs_end(s)));
    cr_expect(eq(u32, segs_next(s, 0), 0));
    cr_expect(eq(int, segs_state(s, 5), SEG_NONE));

    segs_add(s, 5, SEG_SEALED, 4096);
    segs_add(s, 3, SEG_INDEXED, 4096);
    segs_add(s, 6, SEG_OPEN, 8192);
    cr_expect(eq(u32, segs_first(s), 3));
    cr_expect(eq(u32, segs_end(s), 7));
    cr_expect(eq(int, segs_state(s, 5), SEG_SEALED));
    cr_expect(eq(u32, segs_get(s, 6)->bytes, 8192));
    cr_expect(eq(u32, segs_next(s, 0), 3));
    cr_expect(eq(u32, segs_next(s, 3), 5));
    cr_expect(eq(u32, segs_next(s, 6), 0));

    segs_remove(s, 5);
    cr_expect(eq(u32, segs_first(s), 3));
    cr_expect(eq(u32, segs_next(s, 3), 6));
    segs_remove(s, 3);
    cr_expect(eq(u32, segs_first(s), 6));
    segs_remove(s, 6);
    cr_expect(eq(u32, segs_first(s), segs_end(s)));
    segs_add(s, 9, SEG_OPEN, 1);
    cr_expect(eq(u32, segs_first(s), 9));
    cr_expect(eq(u32, segs_end(s), 10));
    segs_free(&s);
    cr_expect(s == NULL);
    segs_free(&s);
}

Test(segs, lie_far_apart_without_cost)
{
    static const uint32_t numbers[] = { 1, 63, 64, 524287, 524288, 900000000, UINT32_MAX - 1 };
    struct segs *s = segs_new();
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        segs_add(s, numbers[i], SEG_SEALED, 100);
        segs_put(s, numbers[i], (int64_t)i, 1);
    }
    uint32_t seg = 0;
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        seg = segs_next(s, seg);
        cr_expect(eq(u32, seg, numbers[i]));
        cr_expect(eq(i64, segs_get(s, seg)->alive_count, (int64_t)i));
    }
    cr_expect(eq(u32, segs_next(s, seg), 0));
    cr_expect(eq(u64, segs_sum(s).count, ARRAY_COUNT(numbers)));
    segs_free(&s);
}

Test(segs, begin_with_nothing_alive_when_their_memory_was_anothers)
{
    struct segs *s = segs_new();
    for (uint32_t seg = 1; seg < 10000; seg++) {
        segs_add(s, seg, SEG_OPEN, 100);
        struct seg *it = segs_get(s, seg);
        cr_assert(eq(i64, it->alive_count, 0));
        cr_assert(eq(i64, it->put_bytes, 0));
        segs_put(s, seg, 3, 300);
        segs_drop(s, seg, 1, 100);
        struct segs_sums sums = segs_sum(s);
        cr_assert(eq(u64, sums.alive_count, seg > 3 ? 8 : 2 * seg));
        cr_assert(eq(u64, sums.alive_bytes, sums.alive_count * 100));
        cr_assert(eq(u64, sums.bytes, sums.count * 100));
        if (seg > 3)
            segs_remove(s, seg - 3);
    }
    segs_drop(s, 1, 1, 1); /* of one that is gone: nobody's */
    cr_expect(eq(u64, segs_sum(s).alive_count, 6));
    segs_free(&s);
}

#define ROUNDS 20000

static void *come_and_go(void *arg)
{
    struct segs *s = arg;
    for (uint32_t seg = 10; seg < 10 + ROUNDS; seg++) {
        segs_add(s, seg, SEG_OPEN, 1);
        segs_put(s, 5, 1, 10);
        segs_remove(s, seg);
    }
    return NULL;
}

Test(segs, are_counted_in_by_several_threads)
{
    struct segs *s = segs_new();
    pthread_t thread;
    segs_add(s, 5, SEG_SEALED, 1);
    cr_assert(pthread_create(&thread, NULL, come_and_go, s) == 0);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        segs_put(s, 5, 2, 20);
        segs_drop(s, 5, 1, 10);
        cr_assert(eq(u32, segs_first(s), 5));
        uint32_t next = segs_next(s, 5);
        cr_assert(next == 0 || next >= 10);
        (void)segs_state(s, 10 + i);
    }
    pthread_join(thread, NULL);
    cr_expect(eq(i64, segs_get(s, 5)->alive_count, 2 * ROUNDS));
    cr_expect(eq(i64, segs_get(s, 5)->alive_bytes, 20 * ROUNDS));
    segs_free(&s);
}
