#include "cluster/ward.h"

#include "expect.h"

#include <criterion/criterion.h>
#include <string.h>

#define NODES_MAX 8u

static struct ward *w;
static struct ward_node nodes[NODES_MAX];
static size_t count;
static uint64_t now_ms;

static void open_nodes(size_t n)
{
    w = ward_new();
    memset(nodes, 0, sizeof nodes);
    count = n;
    now_ms = 50000;
    for (size_t i = 0; i < n; i++)
        nodes[i] = (struct ward_node){ .node = (uint16_t)(i + 1), .is_heard = true, .disk_ms = 2 };
}

/* Time passes, until the ward says something; what it says is agreed upon at once. The node it is
 * about, below 0 if it is well; 0: nothing. */
static int within(uint64_t ms)
{
    for (uint64_t end_ms = now_ms + ms; now_ms < end_ms;) {
        now_ms += 100;
        ward_turn(w, nodes, count, now_ms);
        for (size_t i = 0; i < count; i++) {
            if (nodes[i].word == WARD_NOTHING)
                continue;
            nodes[i].is_unwell = nodes[i].word == WARD_UNWELL;
            nodes[i].is_due = false;
            return nodes[i].is_unwell ? (int)nodes[i].node : -(int)nodes[i].node;
        }
    }
    return 0;
}

static void close_nodes(void)
{
    ward_free(&w);
}

Test(ward, who_stalls_is_unwell_at_once)
{
    open_nodes(3);
    cr_expect(eq(int, within(20000), 0));
    nodes[1].disk_ms = WARD_STALLED_MS - 1;
    cr_expect(eq(int, within(WARD_SLOW_FOR_MS - 200), 0));
    nodes[1].disk_ms = WARD_STALLED_MS;
    cr_expect(eq(int, within(200), 2));
    nodes[1].disk_ms = 60000;
    cr_expect(eq(int, within(60000), 0), "once");
    close_nodes();
}

Test(ward, a_loop_that_hangs_is_like_a_disk_that_does_but_may_be_slow)
{
    open_nodes(3);
    nodes[2].loop_ms = WARD_STALLED_MS - 1;
    cr_expect(eq(int, within(20000), 0));
    nodes[2].loop_ms = WARD_STALLED_MS;
    cr_expect(eq(int, within(200), 3));
    close_nodes();
}

Test(ward, who_is_slow_all_the_time_is_unwell_and_who_is_now_and_then_is_not)
{
    open_nodes(3);
    for (int i = 0; i < 10; i++) {
        nodes[0].disk_ms = 1000;
        cr_expect(eq(int, within(WARD_SLOW_FOR_MS - 200), 0));
        nodes[0].disk_ms = WARD_SLOW_MS - 1;
        cr_expect(eq(int, within(200), 0));
    }
    nodes[0].disk_ms = 1000;
    cr_expect(eq(int, within(WARD_SLOW_FOR_MS + 200), 1));
    close_nodes();
}

Test(ward, a_cause_that_all_have_makes_nobody_unwell)
{
    open_nodes(3);
    for (size_t i = 0; i < count; i++)
        nodes[i].disk_ms = 1000 + 900 * (uint32_t)i;
    cr_expect(eq(int, within(30000), 0));
    for (size_t i = 0; i < count; i++)
        nodes[i].disk_ms = 20000 + 1000 * (uint32_t)i;
    cr_expect(eq(int, within(30000), 0));
    nodes[1].is_heard = false; /* it may be quick, or dead */
    nodes[1].disk_ms = 0;
    cr_expect(eq(int, within(30000), 0));
    nodes[1].is_heard = true;
    nodes[1].disk_ms = 20000 / WARD_TIMES;
    cr_expect(eq(int, within(200), 1));
    close_nodes();
}

Test(ward, no_more_than_a_minority_is_unwell)
{
    open_nodes(3);
    nodes[0].disk_ms = nodes[1].disk_ms = 20000;
    cr_expect(eq(int, within(200), 1));
    cr_expect(eq(int, within(30000), 0));
    close_nodes();
    open_nodes(2); /* and a witness */
    nodes[1].disk_ms = 20000;
    cr_expect(eq(int, within(200), 2));
    nodes[0].disk_ms = 20000;
    cr_expect(eq(int, within(30000), 0));
    close_nodes();
    open_nodes(5);
    nodes[0].disk_ms = nodes[1].disk_ms = nodes[2].disk_ms = 20000;
    cr_expect(eq(int, within(200), 1));
    cr_expect(eq(int, within(1000), 2));
    cr_expect(eq(int, within(30000), 0));
    close_nodes();
}

Test(ward, who_is_alone_is_not_judged)
{
    open_nodes(1);
    nodes[0].disk_ms = 60000;
    cr_expect(eq(int, within(30000), 0));
    close_nodes();
}

Test(ward, who_is_well_for_a_while_is_well_and_the_next_time_it_takes_longer)
{
    open_nodes(3);
    uint64_t rest_ms = WARD_REST_MS;
    for (int i = 0; i < 8; i++) {
        nodes[1].disk_ms = WARD_STALLED_MS;
        cr_assert(eq(int, within(1000), 2));
        nodes[1].disk_ms = WARD_SLOW_MS / 2;
        cr_expect(eq(int, within(2 * rest_ms), 0), "that is not well");
        nodes[1].disk_ms = 10;
        cr_expect(eq(int, within(rest_ms - 100), 0));
        cr_expect(eq(int, within(300), -2), "the %dth time", i);
        rest_ms = 2 * rest_ms < WARD_REST_MAX_MS ? 2 * rest_ms : WARD_REST_MAX_MS;
    }
    cr_expect(eq(int, within(3 * WARD_REST_MAX_MS), 0));
    nodes[1].disk_ms = WARD_STALLED_MS;
    cr_expect(eq(int, within(1000), 2));
    nodes[1].disk_ms = 10;
    cr_expect(eq(int, within(WARD_REST_MS + 300), -2), "it is forgiven");
    close_nodes();
}

Test(ward, what_came_to_nothing_is_said_again)
{
    open_nodes(3);
    nodes[1].disk_ms = WARD_STALLED_MS;
    cr_expect(eq(int, within(200), 2));
    nodes[1].is_unwell = false; /* nothing was agreed upon */
    cr_expect(eq(int, within(WARD_AGAIN_MS - 100), 0));
    cr_expect(eq(int, within(200), 2));
    cr_expect(eq(int, within(20000), 0));
    nodes[1].is_due = true;
    cr_expect(eq(int, within(200), 2), "others wait for it again");
    close_nodes();
}

Test(ward, a_new_leader_begins_anew)
{
    open_nodes(3);
    nodes[1].disk_ms = WARD_SLOW_MS;
    cr_expect(eq(int, within(WARD_SLOW_FOR_MS - 200), 0));
    ward_begin(w);
    cr_expect(eq(int, within(WARD_SLOW_FOR_MS - 200), 0));
    cr_expect(eq(int, within(600), 2));
    close_nodes();
}
