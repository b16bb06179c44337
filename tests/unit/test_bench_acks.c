#include "bench_acks.h"

#include <criterion/criterion.h>

#define PREFETCH 10u
#define FLOW     3u /* of publisher 1: two flows each */

struct rig {
    struct bench_options options;
    struct bench_plan plan;
    struct bench_progress progress;
    struct bench_acks acks;
    uint64_t tag;
    uint64_t sent; /* by publisher 1 */
    uint64_t next; /* to be kept */
};

static void rig_init(struct rig *r)
{
    *r = (struct rig){ .options = { .publishers = 2 } };
    r->plan = (struct bench_plan){ .options = &r->options, .publisher_flows = 2, .flows = 4 };
    bench_progress_init(&r->progress, &r->plan);
    bench_acks_init(&r->acks, &r->progress, PREFETCH);
}

static void rig_fini(struct rig *r)
{
    bench_acks_fini(&r->acks);
    bench_progress_fini(&r->progress);
}

static void deliver(struct rig *r, unsigned count)
{
    for (; count != 0; count--, r->tag++)
        bench_acks_took(&r->acks, FLOW, r->tag, r->tag + 1);
}

static uint64_t publish(struct rig *r)
{
    bench_progress_begin(&r->progress, 1, ++r->sent);
    return r->sent - 1;
}

static void confirm(struct rig *r, uint64_t message)
{
    bench_progress_confirm(&r->progress, FLOW, message);
}

/* How many are kept by now; they come in order. */
static uint64_t kept(struct rig *r)
{
    uint32_t flow;
    uint64_t sequence, count = 0;
    while (bench_acks_kept(&r->acks, &flow, &sequence)) {
        cr_assert_eq(flow, FLOW);
        cr_assert_eq(sequence, r->next);
        r->next++;
        count++;
    }
    return count;
}

Test(bench_acks, are_kept_when_two_messages_behind_them_are_confirmed)
{
    struct rig r;
    rig_init(&r);
    uint64_t before = publish(&r);
    deliver(&r, PREFETCH);
    bench_acks_sent(&r.acks);
    deliver(&r, 4); /* there was room for them: four were taken */
    confirm(&r, before);
    cr_expect_eq(kept(&r), 0, "that one was sent before");
    uint64_t first = publish(&r);
    uint64_t second = publish(&r);
    confirm(&r, first);
    cr_expect_eq(kept(&r), 0);
    confirm(&r, second);
    cr_expect_eq(kept(&r), 0, "that one was sent before the first one's confirm");
    confirm(&r, publish(&r));
    cr_expect_eq(kept(&r), 4);
    confirm(&r, publish(&r));
    confirm(&r, publish(&r));
    cr_expect_eq(kept(&r), 0, "nothing more was taken");
    rig_fini(&r);
}

Test(bench_acks, are_not_taken_before_they_are_sent)
{
    struct rig r;
    rig_init(&r);
    deliver(&r, 3 * PREFETCH); /* more than it may: it is not asked here */
    confirm(&r, publish(&r));
    confirm(&r, publish(&r));
    cr_expect_eq(kept(&r), 0);
    bench_acks_sent(&r.acks);
    deliver(&r, 1);
    for (int i = 0; i < 2; i++) {
        confirm(&r, publish(&r));
        cr_expect_eq(kept(&r), i == 0 ? 0 : 2 * PREFETCH + 1);
    }
    rig_fini(&r);
}

Test(bench_acks, are_unknown_after_the_connection_broke)
{
    struct rig r;
    rig_init(&r);
    deliver(&r, PREFETCH);
    bench_acks_sent(&r.acks);
    deliver(&r, PREFETCH);
    bench_acks_drop(&r.acks);
    confirm(&r, publish(&r));
    cr_expect_eq(kept(&r), 0);
    confirm(&r, publish(&r));
    cr_expect_eq(kept(&r), 0);
    rig_fini(&r);
}

/* A messages of another flow says nothing: it may go elsewhere. */
Test(bench_acks, wait_for_their_own_flow)
{
    struct rig r;
    rig_init(&r);
    deliver(&r, PREFETCH);
    bench_acks_sent(&r.acks);
    deliver(&r, PREFETCH);
    for (int i = 0; i < 3; i++)
        bench_progress_confirm(&r.progress, FLOW - 1, publish(&r));
    cr_expect_eq(kept(&r), 0);
    rig_fini(&r);
}

Test(bench_acks, forget_the_oldest_when_they_are_too_many)
{
    struct rig r;
    rig_init(&r);
    deliver(&r, PREFETCH);
    for (size_t i = 0; i < BENCH_ACKS_MAX; i++) {
        bench_acks_sent(&r.acks);
        deliver(&r, 1);
    }
    r.next = PREFETCH;
    confirm(&r, publish(&r));
    cr_expect_eq(kept(&r), 0);
    confirm(&r, publish(&r));
    cr_expect_eq(kept(&r), BENCH_ACKS_MAX - PREFETCH);
    rig_fini(&r);
}
