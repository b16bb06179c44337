#include "bench_track.h"

#include <criterion/criterion.h>

static struct mem_budget budget;

static void setup(void)
{
    mem_budget_init(&budget, "ids", (size_t)64 << 20);
}

TestSuite(bench_track, .init = setup);

struct rig {
    struct bench_track track;
    struct bench_order order;
};

static void rig_init(struct rig *r)
{
    bench_track_init(&r->track, 2, 3, &budget);
    bench_order_init(&r->order, 3);
}

static void rig_fini(struct rig *r)
{
    bench_track_fini(&r->track);
    bench_order_fini(&r->order);
}

static void see(struct rig *r, uint32_t queue, uint32_t flow, uint64_t sequence)
{
    struct bench_sight s = { .queue = queue, .flow = flow, .sequence = sequence };
    bench_track_see(&r->track, &r->order, &s);
}

static uint64_t lost(const struct bench_track *t, uint32_t queue, uint32_t flow, uint64_t end)
{
    struct bench_ids none;
    bench_ids_init(&none, &budget);
    uint64_t n = bench_track_lost(t, queue, flow, &none, end, NULL);
    bench_ids_fini(&none);
    return n;
}

Test(bench_track, counts_nothing_wrong_when_all_came_once)
{
    struct rig r;
    rig_init(&r);
    for (uint64_t i = 0; i < 1000; i++)
        see(&r, 0, i % 3, i / 3);
    cr_expect_eq(r.track.counts.received, 1000);
    cr_expect_eq(r.track.counts.unique, 1000);
    cr_expect_eq(r.track.counts.duplicated, 0);
    cr_expect_eq(r.track.counts.reordered, 0);
    cr_expect_eq(lost(&r.track, 0, 0, 334), 0);
    rig_fini(&r);
}

/* An acknowledgement that is relied on: neither the flag nor another consumer is an excuse. */
Test(bench_track, counts_what_was_acknowledged_and_comes_again)
{
    struct rig r;
    rig_init(&r);
    for (uint64_t i = 0; i < 10; i++)
        see(&r, 0, 1, i);
    for (uint64_t i = 0; i < 5; i++)
        bench_track_settle(&r.track, 0, 1, i);
    for (uint64_t i = 3; i < 7; i++) {
        struct bench_sight s = { .queue = 0, .flow = 1, .sequence = i, .redelivered = true };
        bench_track_see(&r.track, &r.order, &s);
    }
    cr_expect_eq(r.track.counts.acked_again, 2);
    cr_expect_eq(r.track.counts.duplicated_redelivered, 4);
    rig_fini(&r);
}

/* Its publisher never had the confirm and sent it again: the broker has two, rightly. */
Test(bench_track, does_not_blame_acknowledgements_for_what_was_resent)
{
    struct rig r;
    rig_init(&r);
    see(&r, 0, 1, 0);
    bench_track_settle(&r.track, 0, 1, 0);
    struct bench_sight s = { .queue = 0, .flow = 1, .sequence = 0, .resent = true };
    bench_track_see(&r.track, &r.order, &s);
    cr_expect_eq(r.track.counts.acked_again, 0);
    cr_expect_eq(r.track.counts.duplicated_resent, 1);
    rig_fini(&r);
}

/* Every queue must get its own copy. */
Test(bench_track, counts_losses_for_each_queue)
{
    struct rig r;
    rig_init(&r);
    for (uint64_t i = 0; i < 10; i++) {
        see(&r, 0, 1, i);
        if (i != 4)
            see(&r, 1, 1, i);
    }
    cr_expect_eq(lost(&r.track, 0, 1, 10), 0);
    cr_expect_eq(lost(&r.track, 1, 1, 10), 1);
    cr_expect_eq(lost(&r.track, 1, 2, 10), 10);
    cr_expect_eq(r.track.counts.duplicated, 0);
    rig_fini(&r);
}

Test(bench_track, does_not_call_excused_ids_lost)
{
    struct rig r;
    struct bench_ids excused;
    rig_init(&r);
    bench_ids_init(&excused, &budget);
    see(&r, 0, 0, 0);
    bench_ids_add(&excused, 1);
    uint64_t first = 0;
    cr_expect_eq(bench_track_lost(&r.track, 0, 0, &excused, 3, &first), 1);
    cr_expect_eq(first, 2);
    bench_ids_fini(&excused);
    rig_fini(&r);
}

Test(bench_track, counts_a_second_arrival_and_says_what_excuses_it)
{
    struct rig r;
    rig_init(&r);
    see(&r, 0, 0, 0);
    see(&r, 0, 0, 0);
    cr_expect_eq(r.track.counts.duplicated, 1);

    bench_track_see(&r.track, &r.order,
                    &(struct bench_sight){ .sequence = 0, .redelivered = true });
    cr_expect_eq(r.track.counts.duplicated, 1);
    cr_expect_eq(r.track.counts.duplicated_redelivered, 1);
    cr_expect_eq(r.track.counts.redelivered, 1);

    bench_track_see(&r.track, &r.order, &(struct bench_sight){ .sequence = 0, .resent = true });
    cr_expect_eq(r.track.counts.duplicated_resent, 1);
    cr_expect_eq(r.track.counts.unique, 1);
    cr_expect_eq(r.track.counts.received, 4);

    /* The copy that was resent came first. */
    bench_track_see(&r.track, &r.order, &(struct bench_sight){ .sequence = 1, .resent = true });
    see(&r, 0, 0, 1);
    cr_expect_eq(r.track.counts.duplicated_resent, 2);
    cr_expect_eq(r.track.counts.duplicated, 1);

    /* One that was redelivered first and comes once more without a mark is the broker's fault. */
    bench_track_see(&r.track, &r.order,
                    &(struct bench_sight){ .sequence = 2, .redelivered = true });
    see(&r, 0, 0, 2);
    cr_expect_eq(r.track.counts.duplicated, 2);
    rig_fini(&r);
}

Test(bench_track, judges_order_for_each_consumer_and_flow)
{
    struct rig r;
    struct bench_order other;
    rig_init(&r);
    bench_order_init(&other, 3);
    see(&r, 0, 0, 5);
    see(&r, 0, 1, 3);
    cr_expect_eq(r.track.counts.reordered, 0);
    see(&r, 0, 0, 4);
    cr_expect_eq(r.track.counts.reordered, 1);

    /* Another consumer of the queue is behind: that is no disorder. */
    bench_track_see(&r.track, &other, &(struct bench_sight){ .sequence = 2 });
    cr_expect_eq(r.track.counts.reordered, 1);

    /* What was redelivered or resent may come late; what comes twice is no disorder too. */
    bench_track_see(&r.track, &r.order,
                    &(struct bench_sight){ .sequence = 1, .redelivered = true });
    bench_track_see(&r.track, &r.order, &(struct bench_sight){ .sequence = 0, .resent = true });
    see(&r, 0, 0, 4);
    cr_expect_eq(r.track.counts.reordered, 1);
    bench_order_fini(&other);
    rig_fini(&r);
}

Test(bench_track, finds_duplicates_between_threads)
{
    struct rig a, b;
    rig_init(&a);
    rig_init(&b);
    for (uint64_t i = 0; i < 1000; i++)
        see(i % 2 == 0 ? &a : &b, 0, 0, i);
    see(&b, 0, 0, 10);
    bench_track_see(&b.track, &b.order,
                    &(struct bench_sight){ .sequence = 12, .redelivered = true });
    bench_track_see(&a.track, &a.order, &(struct bench_sight){ .sequence = 13, .resent = true });
    see(&a, 1, 0, 0);

    bench_track_merge(&a.track, &b.track);
    cr_expect_eq(a.track.counts.received, 1004);
    cr_expect_eq(a.track.counts.unique, 1001);
    cr_expect_eq(a.track.counts.duplicated, 1);
    cr_expect_eq(a.track.counts.duplicated_redelivered, 1);
    cr_expect_eq(a.track.counts.duplicated_resent, 1);
    cr_expect_eq(lost(&a.track, 0, 0, 1000), 0);
    rig_fini(&a);
    rig_fini(&b);
    cr_expect_eq(mem_budget_used(&budget), 0);
}
