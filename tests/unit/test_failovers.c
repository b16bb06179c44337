/* proxy/failovers: nodes that went, and how long queues were without a master. */
#include "failovers.h"

#include "expect.h"

static struct loop *loop;
static struct nodes *nodes;

static void set_up(void)
{
    struct err err;
    loop = loop_new("test", &err);
    cr_assert(loop != NULL);
    nodes = nodes_new(loop, NULL, NULL);
}

static void tear_down(void)
{
    nodes_free(&nodes);
    loop_free(&loop);
}

TestSuite(failovers, .init = set_up, .fini = tear_down, .timeout = 60);

static void look(struct failovers *f, uint64_t left, bool is_up, uint64_t first_ms,
                 uint64_t last_ms)
{
    const struct atlas_master masters[] = { { 1, true, 5 }, { 2, is_up, left } };
    failovers_look(f, masters, 2, nodes, first_ms, last_ms, 1000000);
}

/* A node with masters goes, its queues follow, and the pause is from the first word to the last. */
Test(failovers, measures_from_the_loss_to_the_last_queue)
{
    struct failovers f = { .count = 0 };
    look(&f, 7, true, 100, 100);
    cr_assert(eq(uint, f.count, 0));
    look(&f, 7, false, 200, 205);
    look(&f, 3, false, 300, 310);
    const struct failover *one = failovers_at(&f, 0);
    cr_assert(one != NULL);
    cr_expect(one->state == FAILOVER_GOES_ON);
    cr_expect(eq(u64, one->queues, 7));
    cr_expect(eq(u64, one->left, 3));
    cr_expect(eq(u64, failover_pause_ms(one, 450), 250));
    look(&f, 0, false, 500, 520);
    cr_expect(one->state == FAILOVER_OVER);
    cr_expect(eq(u64, failover_pause_ms(one, 9999), 320));
    cr_expect(eq(u64, f.total, 1));
}

/* What nobody else can master waits for its node; and the list is bounded. */
Test(failovers, ends_when_the_node_is_back_and_keeps_the_last)
{
    struct failovers f = { .count = 0 };
    look(&f, 2, true, 1, 1);
    for (unsigned i = 0; i < 3 * FAILOVERS_KEPT; i++) {
        look(&f, 2, false, 1000u * i + 1, 1000u * i + 1);
        look(&f, 2, true, 1000u * i + 51, 1000u * i + 51);
    }
    cr_expect(eq(u64, f.total, 3 * FAILOVERS_KEPT));
    cr_expect(eq(uint, f.count, FAILOVERS_KEPT));
    cr_expect(failovers_at(&f, FAILOVERS_KEPT) == NULL);
    cr_expect(failovers_at(&f, FAILOVERS_KEPT - 1) != NULL);
    cr_expect(failovers_at(&f, 0)->state == FAILOVER_CAME_BACK);
    cr_expect(eq(u64, failover_pause_ms(failovers_at(&f, 0), 0), 50));
}

/* A proxy that is started beside a cluster hears of its nodes one by one, and of what they master
 * perhaps before it hears that they are up. */
Test(failovers, a_node_that_was_not_seen_up_has_not_gone)
{
    struct failovers f = { .count = 0 };
    look(&f, 7, false, 100, 100);
    look(&f, 7, false, 150, 150);
    look(&f, 7, true, 200, 200);
    cr_expect(eq(u64, f.total, 0));
    look(&f, 7, false, 300, 300);
    cr_expect(eq(u64, f.total, 1));
    look(&f, 7, false, 400, 400);
    cr_expect(eq(u64, f.total, 1), "once");
    look(&f, 7, true, 500, 500);
    failovers_forget_nodes(&f, 550);
    cr_expect(failovers_at(&f, 0)->state == FAILOVER_CAME_BACK);
    look(&f, 7, false, 600, 600);
    cr_expect(eq(u64, f.total, 1), "of this cluster it is not known");
}

static void look_at_both(struct failovers *f, bool is_first_up, bool is_second_up, uint64_t now_ms)
{
    const struct atlas_master masters[] = { { 1, is_first_up, 5 }, { 2, is_second_up, 7 } };
    failovers_look(f, masters, 2, nodes, now_ms, now_ms, 1000000);
}

/* What only its dead node has waits for it, perhaps for ever: others have room all the same. */
Test(failovers, one_that_never_ends_keeps_its_place_and_no_other)
{
    struct failovers f = { .count = 0 };
    look_at_both(&f, true, true, 1);
    look_at_both(&f, true, false, 2);
    for (unsigned i = 1; i <= 2 * FAILOVERS_KEPT; i++) {
        look_at_both(&f, false, false, 100 * i);
        look_at_both(&f, true, false, 100 * i + 50);
        cr_expect(eq(u64, f.total, 1 + i));
        cr_expect(eq(u64, failovers_at(&f, 0)->began_ms, 100 * i));
    }
    const struct failover *oldest = failovers_at(&f, FAILOVERS_KEPT - 1);
    cr_expect(eq(uint, oldest->node, 2));
    cr_expect(oldest->state == FAILOVER_GOES_ON);
    failovers_forget_nodes(&f, 9000);
    cr_expect(oldest->state == FAILOVER_LEFT);
}
