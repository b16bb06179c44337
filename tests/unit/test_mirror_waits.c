#include "mirror/mirror_waits.h"

#include "expect.h"
#include "mirror/mirror_flow.h"
#include "mirror/mirror_line.h"
#include "mirror/mirror_pace.h"

static struct mirror_confirm confirm(uint64_t pos, uint64_t qid, uint64_t number)
{
    return (struct mirror_confirm){ .pos = pos, .qid = qid, .first = number, .count = 1 };
}

static void add(struct mirror_waits *w, uint32_t a, uint32_t b, uint64_t pos, uint64_t qid,
                uint64_t number)
{
    uint32_t marks[] = { a, b };
    struct mirror_confirm c = confirm(pos, qid, number);
    mirror_waits_add(w, marks, a == b ? 1 : 2, &c);
    w->turn++;
}

/* The number of the next that is due; 0: none. */
static uint64_t due(struct mirror_waits *w)
{
    struct mirror_confirm c;
    return mirror_waits_due(w, &c) ? c.first : 0;
}

Test(mirror_waits, each_mark_of_a_set_must_come)
{
    struct mirror_waits w = { 0 };
    uint32_t own = mirror_mark_new(&w, NULL, 0, 0), other = mirror_mark_new(&w, NULL, 1, 0);
    add(&w, own, other, 5, 1, 11);
    add(&w, own, own, 6, 2, 12);
    add(&w, other, own, 7, 1, 13);
    cr_expect(eq(u64, w.waiting, 3));
    cr_expect(eq(u64, due(&w), 0));
    mirror_mark_raise(&w, own, 7);
    cr_expect(eq(u64, due(&w), 12));
    cr_expect(eq(u64, due(&w), 0));
    mirror_mark_raise(&w, other, 6);
    mirror_mark_raise(&w, other, 5); /* never back */
    cr_expect(eq(u64, due(&w), 11));
    cr_expect(eq(u64, due(&w), 0));
    mirror_mark_raise(&w, other, 7);
    cr_expect(eq(u64, due(&w), 13));
    cr_expect(eq(u64, w.waiting, 0));
    mirror_waits_fini(&w);
}

Test(mirror_waits, publishes_of_one_turn_are_one)
{
    struct mirror_waits w = { 0 };
    struct mirror_confirm c;
    uint32_t own = mirror_mark_new(&w, NULL, 0, 0);
    for (uint64_t n = 1; n <= 4; n++) {
        c = confirm(n, n == 4 ? 2 : 1, n);
        mirror_waits_add(&w, &own, 1, &c);
    }
    mirror_mark_raise(&w, own, 2);
    cr_expect(not(mirror_waits_due(&w, &c)), "the first waits for the last");
    mirror_mark_raise(&w, own, 9);
    cr_assert(mirror_waits_due(&w, &c));
    cr_expect(eq(u32, c.count, 3));
    cr_assert(mirror_waits_due(&w, &c));
    cr_expect(eq(u64, c.first, 4), "another queue's is another");
    mirror_waits_fini(&w);
}

Test(mirror_waits, what_came_earlier_waits_as_long_as_what_waits_already)
{
    struct mirror_waits w = { 0 };
    uint32_t own = mirror_mark_new(&w, NULL, 0, 0);
    add(&w, own, own, 9, 1, 1);
    add(&w, own, own, 4, 1, 2);
    mirror_mark_raise(&w, own, 8);
    cr_expect(eq(u64, due(&w), 0));
    mirror_mark_raise(&w, own, 9);
    cr_expect(eq(u64, due(&w), 1));
    cr_expect(eq(u64, due(&w), 2));
    mirror_waits_fini(&w);
}

struct refit {
    uint32_t from, to;
    uint64_t dropped;
};

static bool on_refit(void *arg, struct mirror_confirm *c, uint32_t *marks, unsigned *count)
{
    struct refit *r = arg;
    if (c->qid == r->dropped)
        return false;
    for (unsigned i = 0; i < *count; i++)
        if (marks[i] == r->from)
            marks[i] = r->to;
    return true;
}

Test(mirror_waits, others_to_wait_for_keep_the_order)
{
    struct mirror_waits w = { 0 };
    uint32_t a = mirror_mark_new(&w, NULL, 0, 0), b = mirror_mark_new(&w, NULL, 0, 0);
    add(&w, a, a, 1, 1, 1);
    add(&w, b, b, 2, 1, 2);
    add(&w, a, a, 3, 7, 3);
    add(&w, b, b, 4, 1, 4);
    add(&w, a, a, 5, 1, 5);
    struct refit r = { .from = a, .to = b, .dropped = 7 };
    mirror_waits_refit(&w, on_refit, &r);
    cr_expect(eq(u64, w.waiting, 4));
    mirror_mark_free(&w, a); /* nobody waits for it */
    mirror_mark_raise(&w, b, 9);
    cr_expect(eq(u64, due(&w), 1));
    cr_expect(eq(u64, due(&w), 2));
    cr_expect(eq(u64, due(&w), 4));
    cr_expect(eq(u64, due(&w), 5));
    cr_expect(eq(u64, due(&w), 0));
    cr_expect(eq(u32, mirror_mark_new(&w, NULL, 0, 3), a), "its number is given again");
    mirror_waits_fini(&w);
}

/* ---- mirror_line ---- */

Test(mirror_line, is_durable_up_to_the_first_that_is_not)
{
    struct mirror_line l = { 0 };
    cr_expect(eq(u64, mirror_line_mark(&l), 0));
    mirror_line_add(&l, 3, 0);
    cr_expect(eq(u64, mirror_line_mark(&l), 3), "nothing of it is written");
    mirror_line_add(&l, 5, 100);
    mirror_line_add(&l, 6, 0);
    mirror_line_add(&l, 8, 110);
    cr_expect(eq(u64, mirror_line_mark(&l), 4));
    cr_expect(eq(u64, mirror_line_durable(&l, 99), 4));
    cr_expect(eq(u64, mirror_line_durable(&l, 100), 7));
    cr_expect(eq(u64, mirror_line_durable(&l, 200), 8));
    mirror_line_fini(&l);
}

Test(mirror_line, waits_for_what_is_told_late)
{
    struct mirror_line l = { 0 };
    for (uint64_t pos = 1; pos <= 40; pos++)
        mirror_line_add(&l, pos, pos == 20 ? MIRROR_LSN_LATER : pos);
    cr_expect(eq(u64, mirror_line_durable(&l, 40), 19));
    mirror_line_set(&l, 21, 7); /* not one of those: nothing changes */
    mirror_line_set(&l, 20, 55);
    cr_expect(eq(u64, mirror_line_durable(&l, 54), 19));
    cr_expect(eq(u64, mirror_line_durable(&l, 55), 40));
    mirror_line_fini(&l);
}

/* ---- mirror_flow ---- */

Test(mirror_flow, is_full_at_its_window_and_half_of_that_with_what_is_old)
{
    struct mirror_flow f;
    mirror_flow_init(&f, 1000);
    mirror_flow_sent(&f, 1, 500, true, 0);
    cr_expect(not(mirror_flow_has_old_room(&f)));
    cr_expect(not(mirror_flow_is_full(&f)));
    mirror_flow_sent(&f, 2, 500, false, 0);
    cr_expect(mirror_flow_is_full(&f));
    mirror_flow_acked(&f, 1, 0, 0);
    cr_expect(not(mirror_flow_is_full(&f)));
    cr_expect(mirror_flow_has_old_room(&f));
    mirror_flow_acked(&f, 2, 2, 0);
    cr_expect(eq(u64, f.bytes, 0));
    for (uint64_t pos = 3; pos < 1000; pos++)
        mirror_flow_sent(&f, pos, 100, pos % 2 == 0, 0); /* more than it has points for */
    mirror_flow_acked(&f, 999, 999, 0);
    cr_expect(eq(u64, f.bytes, 0));
    cr_expect(eq(u64, f.old_bytes, 0));
}

Test(mirror_flow, lags_as_long_as_the_eldest_is_not_durable)
{
    struct mirror_flow f;
    mirror_flow_init(&f, 1000);
    cr_expect(eq(u64, mirror_flow_lag_ms(&f, 500), 0));
    mirror_flow_sent(&f, 1, 1, false, 100);
    mirror_flow_sent(&f, 2, 1, false, 300);
    cr_expect(eq(u64, mirror_flow_lag_ms(&f, 500), 400));
    mirror_flow_acked(&f, 2, 0, 500);
    cr_expect(eq(u64, mirror_flow_lag_ms(&f, 600), 500), "received is not durable");
    mirror_flow_acked(&f, 2, 1, 600);
    cr_expect(eq(u64, mirror_flow_lag_ms(&f, 700), 100));
    mirror_flow_acked(&f, 2, 2, 700);
    cr_expect(eq(u64, mirror_flow_lag_ms(&f, 9000), 0));
    mirror_flow_sent(&f, 3, 1, false, 9000);
    mirror_flow_reset(&f);
    cr_expect(eq(u64, mirror_flow_lag_ms(&f, 9999), 0));
}

/* A slice after the other, each `trip_us` on its way. */
static void go_slices(struct mirror_pace *p, unsigned count, uint64_t trip_us, uint64_t *now_us)
{
    for (unsigned i = 0; i < count; i++) {
        while (mirror_pace_has_room(p))
            mirror_pace_said(p, p->last + 1, 1000);
        cr_assert(mirror_pace_leaves(p, *now_us));
        cr_expect(not(mirror_pace_has_room(p)), "it is under way");
        cr_expect(not(mirror_pace_leaves(p, *now_us)), "once");
        mirror_pace_received(p, p->last - 1, *now_us + 1);
        cr_expect(not(mirror_pace_has_room(p)), "not all of it was received");
        *now_us += trip_us;
        mirror_pace_received(p, p->last, *now_us);
        cr_expect(mirror_pace_has_room(p));
    }
}

Test(mirror_pace, slices_grow_while_their_round_trip_stays_short)
{
    struct mirror_pace p;
    uint64_t now_us = 1;
    mirror_pace_init(&p, 1000000);
    cr_expect(not(mirror_pace_leaves(&p, now_us)), "there is nothing");
    go_slices(&p, 100, 200, &now_us);
    cr_expect(eq(u64, p.slice, 1000000), "all that may be");
    go_slices(&p, 5, 200 + MIRROR_PACE_SLACK_US + 1, &now_us);
    cr_expect(lt(u64, p.slice, 600000));
    go_slices(&p, 100, 200 + MIRROR_PACE_SLACK_US + 1, &now_us);
    cr_expect(eq(u64, p.slice, MIRROR_PACE_LEAST), "it goes on, whatever happens");
    mirror_pace_reset(&p);
    cr_expect(eq(u64, p.most, 1000000));
    cr_expect(mirror_pace_has_room(&p));
}

/* What is short is found out anew: the way may have become longer for good. */
Test(mirror_pace, slices_grow_again_on_a_way_that_has_become_long)
{
    struct mirror_pace p;
    uint64_t now_us = 1;
    mirror_pace_init(&p, 1000000);
    go_slices(&p, 3, 200, &now_us);
    go_slices(&p, 200, 100000, &now_us);
    cr_expect(eq(u64, p.slice, 1000000));
}

/* Long ways vary by more than short ones. */
Test(mirror_pace, a_long_way_may_vary_by_a_part_of_it)
{
    struct mirror_pace p;
    uint64_t now_us = 1;
    mirror_pace_init(&p, 1000000);
    go_slices(&p, 1, 10000, &now_us);
    for (int i = 0; i < 60; i++)
        go_slices(&p, 1, i % 2 ? 10000 : 12400, &now_us);
    cr_expect(eq(u64, p.slice, 1000000));
    go_slices(&p, 60, 12600, &now_us);
    cr_expect(eq(u64, p.slice, MIRROR_PACE_LEAST));
}

/* One that is not full says nothing of one that is, and where nobody tells the time it stays. */
Test(mirror_pace, slices_stay_where_nothing_is_known)
{
    struct mirror_pace p;
    mirror_pace_init(&p, 1000000);
    mirror_pace_said(&p, 5, 10);
    cr_expect(mirror_pace_leaves(&p, 100));
    mirror_pace_received(&p, 5, 300);
    cr_expect(eq(u64, p.slice, MIRROR_PACE_LEAST));
    uint64_t now_us = 0;
    go_slices(&p, 10, 0, &now_us);
    cr_expect(eq(u64, p.slice, MIRROR_PACE_LEAST));
    mirror_pace_init(&p, 1000);
    go_slices(&p, 1, 0, &now_us);
    cr_expect(eq(u64, p.slice, 1000), "on a narrow stream");
}
