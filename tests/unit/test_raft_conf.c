#include "raft_kit.h"

#include "base/mem.h"

static struct kit k;

static const struct raft *raft(unsigned node)
{
    return k.nodes[node].raft;
}

static bool votes(unsigned node, unsigned whom)
{
    return raft_config_is_voter(raft_config(raft(node)), (uint16_t)whom);
}

static void begin(unsigned voters)
{
    kit_init(&k, voters);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
}

Test(raft_conf, one_becomes_three_and_one_again)
{
    begin(1);
    cr_assert(ne(u64, kit_propose(&k, 1, "first"), 0));
    for (unsigned i = 2; i <= 3; i++) {
        kit_start(&k, i);
        cr_expect(eq(u64, kit_change(&k, 1, i, RAFT_VOTER), 0));
        cr_expect(eq(int, k.nodes[1].refused, RAFT_REFUSED_NOT_CAUGHT_UP));
        cr_assert(ne(u64, kit_change(&k, 1, i, RAFT_LEARNER), 0));
        kit_run_ms(&k, 100);
        cr_assert(ne(u64, kit_change(&k, 1, i, RAFT_VOTER), 0));
        kit_run_ms(&k, 100);
    }
    kit_expect_agreement(&k);
    kit_kill(&k, 1);
    kit_run_ms(&k, 2000);
    unsigned leader = kit_leader(&k);
    cr_assert(ne(int, leader, 0));
    kit_start(&k, 1);
    kit_run_ms(&k, 500);
    for (unsigned i = 1; i <= 3; i++)
        if (i != leader) {
            cr_assert(ne(u64, kit_remove(&k, leader, i), 0));
            kit_run_ms(&k, 100);
        }
    uint64_t index = kit_propose(&k, leader, "alone");
    cr_expect(eq(u64, raft_commit(raft(leader)), index));
    cr_expect(eq(u64, kit_remove(&k, leader, leader), 0));
    cr_expect(eq(int, k.nodes[leader].refused, RAFT_REFUSED_LAST_VOTER));
    kit_fini(&k);
}

Test(raft_conf, learner_has_no_vote)
{
    begin(3);
    kit_start(&k, 4);
    cr_assert(ne(u64, kit_change(&k, 1, 4, RAFT_LEARNER), 0));
    kit_run_ms(&k, 100);
    kit_isolate(&k, 2, true);
    kit_isolate(&k, 3, true);
    uint64_t before = raft_commit(raft(1));
    (void)kit_propose(&k, 1, "not enough");
    kit_run_ms(&k, 300);
    cr_expect(eq(u64, raft_commit(raft(1)), before));
    kit_run_ms(&k, 5000);
    cr_expect(eq(int, raft_role(raft(4)), RAFT_FOLLOWER));
    cr_expect(eq(int, raft_leader(raft(4)), 0));
    kit_fini(&k);
}

Test(raft_conf, one_change_at_a_time)
{
    begin(3);
    kit_isolate(&k, 2, true);
    kit_isolate(&k, 3, true);
    cr_assert(ne(u64, kit_change(&k, 1, 4, RAFT_LEARNER), 0));
    cr_expect(eq(u64, kit_change(&k, 1, 5, RAFT_LEARNER), 0));
    cr_expect(eq(int, k.nodes[1].refused, RAFT_REFUSED_PENDING));
    kit_isolate(&k, 2, false);
    kit_run_ms(&k, 100);
    cr_expect(ne(u64, kit_change(&k, 1, 5, RAFT_LEARNER), 0));
    cr_expect(eq(u64, kit_change(&k, 1, 5, RAFT_LEARNER), 0));
    kit_fini(&k);
}

/* Ongaro's correction of single-server changes: not before the term's first entry is committed. */
Test(raft_conf, change_is_too_early_while_the_no_op_is_not_durable)
{
    kit_init(&k, 1);
    k.nodes[1].holds_disk = true;
    kit_run_ms(&k, 10);
    kit_release_disk(&k, 1);
    cr_assert(eq(int, raft_role(raft(1)), RAFT_LEADER));
    kit_kill(&k, 1);
    kit_start(&k, 1);
    k.nodes[1].holds_disk = true;
    kit_run_ms(&k, 10);
    /* Its vote is durable now, but not its no-op. */
    struct raft_write *w = k.nodes[1].writes[0];
    raft_store_write(&k.nodes[1].store, w, raft_store_parts(w));
    uint64_t number = w->number;
    raft_write_free(&w);
    k.nodes[1].write_count = 0;
    kit_do(&k, 1, &(struct raft_event){ .kind = RAFT_EV_WRITTEN, .number = number });
    cr_assert(eq(int, raft_role(raft(1)), RAFT_LEADER));
    cr_expect(eq(u64, kit_change(&k, 1, 2, RAFT_LEARNER), 0));
    cr_expect(eq(int, k.nodes[1].refused, RAFT_REFUSED_TOO_EARLY));
    kit_release_disk(&k, 1);
    cr_expect(ne(u64, kit_change(&k, 1, 2, RAFT_LEARNER), 0));
    kit_fini(&k);
}

Test(raft_conf, change_that_is_cut_off_is_rolled_back)
{
    begin(3);
    kit_isolate(&k, 1, true);
    cr_assert(ne(u64, kit_remove(&k, 1, 3), 0));
    cr_expect(not(votes(1, 3)));
    kit_run_ms(&k, 2000);
    cr_expect(votes(kit_leader(&k), 3));
    kit_isolate(&k, 1, false);
    kit_run_ms(&k, 500);
    cr_expect(votes(1, 3));
    kit_expect_agreement(&k);
    kit_fini(&k);
}

/* Design 1.3: the configuration before the change is gone with the log, and must be known. */
Test(raft_conf, change_is_rolled_back_to_the_snapshots_configuration)
{
    kit_init(&k, 3);
    k.setup.tail_bytes = 0;
    for (unsigned i = 1; i <= 3; i++) {
        kit_kill(&k, i);
        kit_start(&k, i);
    }
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    cr_assert(ne(u64, kit_change(&k, 1, 4, RAFT_LEARNER), 0));
    kit_run_ms(&k, 100);
    kit_snapshot(&k, 1);
    cr_assert(eq(u64, raft_log(raft(1))->base, raft_last(raft(1))));
    kit_isolate(&k, 1, true);
    cr_assert(ne(u64, kit_remove(&k, 1, 3), 0));
    kit_run_ms(&k, 2000);
    /* Also through a restart. */
    kit_kill(&k, 1);
    kit_start(&k, 1);
    cr_expect(not(votes(1, 3)));
    kit_isolate(&k, 1, false);
    kit_run_ms(&k, 500);
    cr_expect(votes(1, 3));
    cr_expect(raft_config_find(raft_config(raft(1)), 4) != NULL);
    kit_fini(&k);
}

Test(raft_conf, removed_leader_leads_until_that_is_committed)
{
    begin(3);
    kit_isolate(&k, 2, true);
    kit_isolate(&k, 3, true);
    uint64_t index = kit_remove(&k, 1, 1);
    cr_assert(ne(u64, index, 0));
    cr_expect(eq(int, raft_role(raft(1)), RAFT_LEADER));
    kit_isolate(&k, 2, false);
    kit_run_ms(&k, 100);
    /* It does not count itself: both others must have it. */
    cr_expect(lt(u64, raft_commit(raft(1)), index));
    kit_isolate(&k, 3, false);
    kit_run_ms(&k, 100);
    cr_expect(ge(u64, raft_commit(raft(1)), index));
    cr_expect(eq(int, raft_role(raft(1)), RAFT_FOLLOWER));
    kit_run_ms(&k, 3000);
    cr_expect(eq(int, raft_role(raft(1)), RAFT_FOLLOWER));
    unsigned leader = kit_leader(&k);
    cr_assert(leader == 2 || leader == 3);
    cr_expect(ne(u64, kit_propose(&k, leader, "on"), 0));
    kit_fini(&k);
}

/* Ongaro 4.2.2: the one that was to leave has the only log that can win. */
Test(raft_conf, server_whose_removal_is_not_committed_may_be_needed)
{
    begin(2);
    kit_cut(&k, 1, 2, true);
    cr_assert(ne(u64, kit_remove(&k, 1, 1), 0));
    kit_run_ms(&k, 1000);
    cr_assert(ne(int, raft_role(raft(1)), RAFT_LEADER));
    kit_cut(&k, 1, 2, false);
    kit_run_ms(&k, 3000);
    cr_expect(eq(int, kit_leader(&k), 2));
    cr_expect(not(votes(2, 1)));
    kit_fini(&k);
}

Test(raft_conf, ram_node_begins_with_nothing_each_time)
{
    begin(1);
    kit_start(&k, 2);
    cr_assert(ne(u64, kit_change(&k, 1, 2, RAFT_LEARNER), 0));
    for (int i = 0; i < 5; i++)
        cr_assert(ne(u64, kit_propose(&k, 1, "x"), 0));
    kit_run_ms(&k, 100);
    kit_expect_agreement(&k);
    kit_kill(&k, 2);
    raft_store_fini(&k.nodes[2].store);
    raft_store_init(&k.nodes[2].store);
    kit_start(&k, 2);
    cr_assert(ne(u64, kit_propose(&k, 1, "y"), 0));
    kit_run_ms(&k, 200);
    kit_expect_agreement(&k);
    kit_fini(&k);
}

/* Whoever is taken away may be the one that a majority needs. */
Test(raft_conf, change_that_leaves_no_majority_is_refused)
{
    begin(3);
    kit_kill(&k, 3);
    kit_run_ms(&k, 1000);
    cr_expect(eq(u64, kit_remove(&k, 1, 2), 0));
    cr_expect(eq(int, k.nodes[1].refused, RAFT_REFUSED_NO_MAJORITY));
    cr_expect(eq(u64, kit_change(&k, 1, 2, RAFT_LEARNER), 0));
    cr_expect(eq(int, k.nodes[1].refused, RAFT_REFUSED_NO_MAJORITY));
    /* The dead one may go; then the other, too. */
    cr_expect(ne(u64, kit_remove(&k, 1, 3), 0));
    kit_run_ms(&k, 100);
    cr_expect(ne(u64, kit_remove(&k, 1, 2), 0));
    cr_expect(ne(u64, kit_propose(&k, 1, "alone"), 0));
    cr_expect(eq(u64, raft_commit(raft(1)), raft_last(raft(1))));
    kit_fini(&k);
}

/* One of two that stops in an orderly way leaves the voters first, and the other goes on. */
Test(raft_conf, one_of_two_goes_on_when_the_other_has_left)
{
    begin(2);
    cr_assert(ne(u64, kit_change(&k, 1, 2, RAFT_LEARNER), 0));
    kit_run_ms(&k, 50);
    kit_kill(&k, 2);
    kit_run_ms(&k, 2000);
    cr_expect(eq(int, kit_leader(&k), 1));
    cr_expect(ne(u64, kit_propose(&k, 1, "alone"), 0));
    cr_expect(eq(u64, raft_commit(raft(1)), raft_last(raft(1))));
    kit_fini(&k);
}
