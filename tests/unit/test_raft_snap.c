#include "raft_kit.h"

#include "base/mem.h"

static struct kit k;

static const struct raft *raft(unsigned node)
{
    return k.nodes[node].raft;
}

static void begin(unsigned voters, uint64_t tail_bytes)
{
    kit_init(&k, voters);
    k.setup.tail_bytes = tail_bytes;
    for (unsigned i = 1; i <= voters; i++) {
        kit_kill(&k, i);
        kit_start(&k, i);
    }
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
}

static void propose(unsigned node, int count)
{
    for (int i = 0; i < count; i++)
        cr_assert(ne(u64, kit_propose(&k, node, "command"), 0));
}

Test(raft_snap, follower_that_needs_what_is_gone_takes_a_snapshot)
{
    begin(3, 0);
    kit_isolate(&k, 3, true);
    propose(1, 20);
    kit_snapshot(&k, 1);
    cr_assert(gt(u64, raft_log(raft(1))->base, raft_last(raft(3))));
    kit_isolate(&k, 3, false);
    kit_run_ms(&k, 500);
    cr_expect(eq(int, k.nodes[3].restored, 1));
    kit_expect_agreement(&k);
    propose(1, 3);
    kit_run_ms(&k, 50);
    kit_expect_agreement(&k);
    /* And it is what a start finds. */
    kit_kill(&k, 3);
    kit_start(&k, 3);
    kit_run_ms(&k, 200);
    kit_expect_agreement(&k);
    kit_fini(&k);
}

Test(raft_snap, tail_serves_a_follower_that_lags_a_little)
{
    begin(3, 100000);
    kit_isolate(&k, 3, true);
    propose(1, 20);
    kit_snapshot(&k, 1);
    kit_isolate(&k, 3, false);
    kit_run_ms(&k, 500);
    cr_expect(eq(int, k.nodes[3].restored, 0));
    kit_expect_agreement(&k);
    kit_fini(&k);
}

Test(raft_snap, transfer_goes_on_with_what_is_there)
{
    begin(3, 0);
    kit_isolate(&k, 3, true);
    propose(1, 20);
    kit_snapshot(&k, 1);
    /* The first chunk arrives, the answer does not. */
    kit_isolate(&k, 3, false);
    for (int i = 0; i < 200 && k.nodes[3].store.received.index == 0; i++)
        kit_run_ms(&k, 10);
    cr_assert(ne(u64, k.nodes[3].store.received.index, 0));
    kit_run_ms(&k, 2000);
    kit_expect_agreement(&k);
    kit_fini(&k);
}

Test(raft_snap, snapshot_is_acknowledged_when_it_is_durable)
{
    begin(3, 0);
    kit_isolate(&k, 3, true);
    propose(1, 20);
    kit_snapshot(&k, 1);
    uint64_t base = raft_log(raft(1))->base;
    kit_isolate(&k, 3, false);
    k.nodes[3].holds_disk = true;
    kit_run_ms(&k, 1000);
    struct raft_peer_state p;
    cr_assert(raft_peer_state(raft(1), 3, &p));
    cr_expect(lt(u64, p.match, base));
    kit_release_disk(&k, 3);
    kit_run_ms(&k, 200);
    cr_assert(raft_peer_state(raft(1), 3, &p));
    cr_expect(ge(u64, p.match, base));
    kit_expect_agreement(&k);
    kit_fini(&k);
}

Test(raft_snap, entries_behind_it_that_are_the_leaders_stay)
{
    begin(3, 0);
    kit_isolate(&k, 3, true);
    k.nodes[1].holds_apply = false;
    propose(1, 5);
    kit_snapshot(&k, 1);
    kit_isolate(&k, 3, false);
    /* Node 3 has entries of another history, longer than the snapshot. */
    struct raft_entry e[40];
    uint64_t from = raft_last(raft(3)) + 1;
    for (size_t i = 0; i < 40; i++)
        e[i] = (struct raft_entry){ .index = from + i,
                                    .term = 1,
                                    .kind = RAFT_COMMAND,
                                    .bytes = buf_copy(slice_of("other", 5)) };
    kit_kill(&k, 3);
    struct raft_write w = { .truncate_from = 2, .entries = NULL };
    raft_store_write(&k.nodes[3].store, &w, 3);
    for (size_t i = 0; i < 40; i++)
        e[i].index = 2 + i;
    w = (struct raft_write){ .entries = e, .count = 40 };
    raft_store_write(&k.nodes[3].store, &w, raft_store_parts(&w));
    for (size_t i = 0; i < 40; i++)
        buf_unref(&e[i].bytes);
    kit_start(&k, 3);
    kit_run_ms(&k, 1000);
    cr_expect(eq(u64, raft_last(raft(3)), raft_last(raft(1))));
    kit_expect_agreement(&k);
    kit_fini(&k);
}

Test(raft_snap, brings_its_configuration)
{
    begin(3, 0);
    kit_isolate(&k, 3, true);
    cr_assert(ne(u64, kit_change(&k, 1, 5, RAFT_LEARNER), 0));
    kit_run_ms(&k, 100);
    propose(1, 3);
    kit_snapshot(&k, 1);
    kit_isolate(&k, 3, false);
    kit_run_ms(&k, 500);
    cr_assert(eq(int, k.nodes[3].restored, 1));
    cr_expect(raft_config_find(raft_config(raft(3)), 5) != NULL);
    kit_kill(&k, 3);
    kit_start(&k, 3);
    cr_expect(raft_config_find(raft_config(raft(3)), 5) != NULL);
    kit_fini(&k);
}

/* A crash between the snapshot's name and the log's truncation. */
Test(raft_snap, crash_while_it_is_installed_leaves_one_history)
{
    for (size_t parts = 0; parts <= 3; parts++) {
        begin(3, 0);
        kit_isolate(&k, 3, true);
        propose(1, 20);
        kit_snapshot(&k, 1);
        kit_isolate(&k, 3, false);
        k.nodes[3].holds_disk = true;
        kit_run_ms(&k, 300);
        struct kit_node *n = &k.nodes[3];
        for (size_t i = 0; i < n->write_count; i++)
            if (n->writes[i]->has_install) {
                raft_store_write(&n->store, n->writes[i], parts);
                break;
            } else {
                raft_store_write(&n->store, n->writes[i], raft_store_parts(n->writes[i]));
            }
        kit_kill(&k, 3);
        kit_start(&k, 3);
        kit_run_ms(&k, 1000);
        kit_expect_agreement(&k);
        kit_fini(&k);
    }
}

Test(raft_snap, read_index_is_confirmed_by_a_majority)
{
    begin(3, 0);
    uint64_t index = kit_propose(&k, 1, "a");
    kit_do(&k, 1, &(struct raft_event){ .kind = RAFT_EV_READ, .token = 5 });
    cr_expect(eq(u64, k.nodes[1].read_token, 5));
    cr_expect(eq(u64, k.nodes[1].read_index, index));
    kit_do(&k, 2, &(struct raft_event){ .kind = RAFT_EV_READ, .token = 6 });
    cr_expect(eq(int, k.nodes[2].reads_lost, 1));
    kit_isolate(&k, 1, true);
    kit_do(&k, 1, &(struct raft_event){ .kind = RAFT_EV_READ, .token = 7 });
    kit_run_ms(&k, 200);
    cr_expect(eq(u64, k.nodes[1].read_token, 5));
    kit_run_ms(&k, 1000);
    cr_expect(eq(int, k.nodes[1].reads_lost, 1));
    kit_fini(&k);
}

/* ---- logs that lost what they had acknowledged (design 1.3, I16) ---- */

static void damage(unsigned node, uint64_t from)
{
    kit_kill(&k, node);
    raft_store_damage(&k.nodes[node].store, from);
    cr_assert(not(k.nodes[node].store.is_whole));
    kit_start(&k, node);
}

Test(raft_damage, node_does_not_vote_until_it_has_all_again)
{
    begin(3, 0);
    propose(1, 10);
    kit_isolate(&k, 3, true);
    uint64_t index = kit_propose(&k, 1, "acknowledged by 1 and 2");
    cr_assert(eq(u64, raft_commit(raft(1)), index));
    kit_kill(&k, 1);
    damage(2, index);
    cr_expect(raft_is_recovering(raft(2)));
    kit_isolate(&k, 3, false);
    /* Node 3 has not the entry: were 2 to vote, it would win and the entry would be lost. */
    kit_run_ms(&k, 10000);
    cr_expect(eq(int, kit_leader(&k), 0));
    kit_start(&k, 1);
    kit_run_ms(&k, 3000);
    cr_expect(eq(int, kit_leader(&k), 1));
    cr_expect(eq(int, k.nodes[2].whole, 1));
    cr_expect(not(raft_is_recovering(raft(2))));
    kit_expect_agreement(&k);
    cr_expect(kit_has(&k, 3, index, "acknowledged by 1 and 2"));
    /* Now it counts. */
    kit_kill(&k, 1);
    kit_run_ms(&k, 3000);
    cr_expect(ne(int, kit_leader(&k), 0));
    kit_fini(&k);
}

Test(raft_damage, is_remembered_through_restarts)
{
    begin(3, 0);
    propose(1, 10);
    kit_isolate(&k, 2, true);
    damage(2, 5);
    kit_run_ms(&k, 50);
    cr_expect(k.nodes[2].store.hard.is_recovering);
    kit_kill(&k, 2);
    kit_start(&k, 2);
    cr_expect(raft_is_recovering(raft(2)));
    kit_run_ms(&k, 5000);
    cr_expect(eq(int, raft_role(raft(2)), RAFT_FOLLOWER));
    kit_isolate(&k, 2, false);
    kit_run_ms(&k, 300);
    cr_expect(not(raft_is_recovering(raft(2))));
    cr_expect(not(k.nodes[2].store.hard.is_recovering));
    kit_fini(&k);
}

/* The commit index is not enough: what it had acknowledged may be committed and not known to be. */
Test(raft_damage, is_mended_by_all_that_the_leader_has)
{
    begin(5, 0);
    kit_isolate(&k, 4, true);
    kit_isolate(&k, 5, true);
    uint64_t index = kit_propose(&k, 1, "on 1, 2 and 3");
    cr_assert(eq(u64, raft_commit(raft(1)), index));
    kit_kill(&k, 1);
    kit_kill(&k, 3);
    kit_kill(&k, 2);
    kit_start(&k, 3);
    damage(3, index);
    kit_start(&k, 2);
    kit_isolate(&k, 4, false);
    kit_isolate(&k, 5, false);
    /* 2, 4, 5 elect node 2. Its no-op does not come through to 4 and 5. */
    kit_run_ms(&k, 3000);
    cr_assert(eq(int, kit_leader(&k), 2));
    cr_expect(not(raft_is_recovering(raft(3))));
    cr_expect(kit_has(&k, 3, index, "on 1, 2 and 3"));
    kit_fini(&k);
}

Test(raft_damage, answer_to_an_earlier_life_does_not_make_it_whole)
{
    begin(3, 0);
    propose(1, 10);
    kit_isolate(&k, 2, true);
    damage(2, 8);
    struct raft_msg late = {
        .kind = RAFT_MSG_APPEND,
        .from = 1,
        .to = 2,
        .boot = 2,
        .term = raft_term(raft(1)),
        .append = { .prev_index = 6, .prev_term = 2, .whole_at = 6, .whole_boot = 1 }
    };
    late.append.prev_term = raft_log_term(raft_log(raft(1)), 6);
    kit_do(&k, 2, &(struct raft_event){ .kind = RAFT_EV_MESSAGE, .msg = &late });
    cr_expect(raft_is_recovering(raft(2)));
    late.append.whole_boot = k.nodes[2].boot;
    kit_do(&k, 2, &(struct raft_event){ .kind = RAFT_EV_MESSAGE, .msg = &late });
    cr_expect(not(raft_is_recovering(raft(2))));
    kit_fini(&k);
}

/* A state machine takes its time; the next state is not taken before it has done so. */
Test(raft_snap, next_one_waits_for_the_state_machine)
{
    begin(3, 0);
    kit_isolate(&k, 3, true);
    propose(1, 5);
    kit_snapshot(&k, 1);
    struct raft_snapshot first = k.nodes[1].store.snapshot;
    struct raft_start start;
    struct raft_effects fx;
    raft_effects_init(&fx);
    kit_kill(&k, 3);
    raft_store_start(&k.nodes[3].store, &start);
    start.now_us = k.now_us;
    struct raft_setup setup = k.setup;
    setup.node = 3;
    setup.boot = 9;
    struct raft *r = raft_new(&setup, &start);
    struct raft_msg m = { .kind = RAFT_MSG_INSTALL,
                          .from = 1,
                          .to = 3,
                          .boot = 1,
                          .term = raft_term(raft(1)),
                          .install = { .snapshot = first, .chunk = buf_new(0) } };
    struct raft_event said = { .kind = RAFT_EV_MESSAGE, .now_us = k.now_us, .msg = &m };
    raft_step(r, &said, &fx);
    struct raft_event ev = { .kind = RAFT_EV_CHUNK_TAKEN,
                             .now_us = k.now_us,
                             .taken = { first.index, first.id, 16, true } };
    raft_step(r, &ev, &fx);
    unsigned restores = 0;
    uint64_t number = 0;
    for (size_t i = 0; i < fx.count; i++) {
        restores += fx.list[i].kind == RAFT_DO_RESTORE;
        if (fx.list[i].kind == RAFT_DO_WRITE)
            number = fx.list[i].write->number;
    }
    cr_assert(eq(int, restores, 1));
    raft_effects_clear(&fx);
    m.install.snapshot.index += 10;
    for (int round = 0; round < 3; round++) {
        raft_step(r, &said, &fx);
        bool takes = false;
        for (size_t i = 0; i < fx.count; i++)
            takes = takes || fx.list[i].kind == RAFT_DO_TAKE_CHUNK;
        cr_expect(eq(int, takes, round == 2));
        raft_effects_clear(&fx);
        ev = (struct raft_event){ .kind = RAFT_EV_WRITTEN, .now_us = k.now_us, .number = number };
        if (round == 1)
            ev = (struct raft_event){ .kind = RAFT_EV_APPLIED,
                                      .now_us = k.now_us,
                                      .index = first.index };
        raft_step(r, &ev, &fx);
        raft_effects_clear(&fx);
    }
    raft_msg_fini(&m);
    raft_effects_fini(&fx);
    raft_free(&r);
    kit_fini(&k);
}
