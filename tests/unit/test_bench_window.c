#include "bench_window.h"

#include "expect.h"

struct seen {
    uint64_t messages[16];
    unsigned count;
    unsigned acked;
};

static void on_settled(void *arg, const struct bench_window_entry *e, bool acked)
{
    struct seen *s = arg;
    s->messages[s->count++] = e->message;
    s->acked += acked;
}

static struct bench_window w;
static struct seen seen;

static void begin(void)
{
    seen = (struct seen){ 0 };
    bench_window_init(&w, 5);
    for (uint64_t i = 0; i < 5; i++)
        bench_window_push(&w, 100 + i, 10 * i, 10 * i + 1);
}

static void end(void)
{
    bench_window_fini(&w);
}

TestSuite(bench_window, .init = begin, .fini = end);

static bool settle(uint64_t tag, bool multiple, bool acked)
{
    return bench_window_settle(&w, tag, multiple, acked, on_settled, &seen);
}

Test(bench_window, has_no_room_when_it_is_full)
{
    cr_expect(eq(u32, bench_window_room(&w), 0));
    cr_expect(eq(u32, w.open, 5));
    cr_assert(settle(1, false, true));
    cr_expect(eq(u32, bench_window_room(&w), 1));
    bench_window_push(&w, 105, 0, 0);
    cr_expect(eq(u32, bench_window_room(&w), 0));
}

/* Room comes back in order only: the ring has no holes. */
Test(bench_window, takes_single_acks_in_any_order)
{
    cr_assert(settle(3, false, true));
    cr_assert(settle(2, false, true));
    cr_expect(eq(u32, bench_window_room(&w), 0));
    cr_expect(eq(u32, w.open, 3));
    cr_assert(settle(1, false, true));
    cr_expect(eq(u32, bench_window_room(&w), 3));
    cr_expect(eq(u32, seen.acked, 3));
    cr_expect(eq(u64, seen.messages[0], 102));
}

Test(bench_window, takes_multiple_acks_over_what_is_settled)
{
    cr_assert(settle(2, false, true));
    cr_assert(settle(4, true, true));
    cr_expect(eq(u32, seen.count, 4));
    cr_expect(eq(u32, w.open, 1));
    cr_assert(settle(0, true, false));
    cr_expect(eq(u32, seen.count, 5));
    cr_expect(eq(u32, seen.acked, 4));
    cr_expect(settle(0, true, true), "nothing is open: all of nothing");
    cr_expect(eq(u32, seen.count, 5));
}

Test(bench_window, refuses_tags_that_are_not_open)
{
    cr_expect_not(settle(6, false, true));
    cr_expect_not(settle(6, true, true));
    cr_expect_not(settle(0, false, true));
    cr_assert(settle(2, false, true));
    cr_expect_not(settle(2, false, true), "twice");
    cr_assert(settle(1, true, true));
    cr_expect_not(settle(1, false, true), "long gone");
    cr_expect(eq(u32, seen.count, 2));
}

Test(bench_window, lists_what_is_open_in_order_and_starts_over)
{
    struct bench_window_entry out[5];
    cr_assert(settle(2, false, true));
    cr_assert(settle(4, false, false));
    cr_assert(eq(u32, bench_window_reset(&w, out), 3));
    cr_expect(eq(u64, out[0].message, 100));
    cr_expect(eq(u64, out[1].message, 102));
    cr_expect(eq(u64, out[2].message, 104));
    cr_expect(eq(u64, out[2].due_us, 40));
    cr_expect(eq(u32, bench_window_room(&w), 5));
    bench_window_push(&w, 100, 0, 0);
    cr_assert(settle(1, false, true));
    cr_expect(eq(u64, seen.messages[2], 100));
}
