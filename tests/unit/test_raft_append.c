#include "raft_kit.h"

#include "base/mem.h"

#include <stdio.h>

static struct kit k;

static const struct raft *raft(unsigned node)
{
    return k.nodes[node].raft;
}

static void give(unsigned to, struct raft_msg *m)
{
    kit_do(&k, to, &(struct raft_event){ .kind = RAFT_EV_MESSAGE, .msg = m });
}

static unsigned leads(unsigned node)
{
    for (int i = 0; i < 500 && kit_leader(&k) != node; i++)
        kit_run_ms(&k, 10);
    return kit_leader(&k);
}

/* Raft, figure 8; design 1.3: an entry of an older term is on a majority, and yet it is not
 * committed: a server without it can still win, and overwrites it. */
Test(raft_append, figure_8)
{
    kit_init(&k, 5);
    k.setup.append_bytes = 1; /* one entry in a message */
    for (unsigned i = 1; i <= 5; i++) {
        kit_kill(&k, i);
        kit_start(&k, i);
    }
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    /* (a) Node 1 leads; its entry reaches node 2 alone. */
    for (unsigned i = 3; i <= 5; i++)
        kit_isolate(&k, i, true);
    uint64_t index = kit_propose(&k, 1, "old");
    cr_assert(kit_has(&k, 2, index, "old"));
    kit_kill(&k, 1);
    kit_kill(&k, 2);
    /* (b) Node 5 wins by the votes of 3 and 4; its entry stays with it. */
    k.index_max = index - 1;
    kit_cut(&k, 5, 3, false);
    kit_cut(&k, 5, 4, false);
    cr_assert(eq(int, leads(5), 5));
    cr_assert(eq(u64, raft_last(raft(5)), index));
    kit_kill(&k, 5);
    /* (c) Node 1 wins again, by 2 and 3. Its old entry comes to a majority, nothing newer does. */
    k.index_max = index;
    kit_start(&k, 1);
    kit_start(&k, 2);
    kit_cut(&k, 1, 3, false);
    kit_cut(&k, 2, 3, false);
    cr_assert(eq(int, leads(1), 1));
    kit_run_ms(&k, 200);
    cr_assert(kit_has(&k, 3, index, "old"));
    cr_expect(lt(u64, raft_commit(raft(1)), index), "on three of five, and not committed");
    /* (d) Node 5 wins by 3 and 4, and its entry takes the place. */
    kit_kill(&k, 1);
    k.index_max = 0;
    kit_isolate(&k, 2, true);
    kit_start(&k, 5);
    kit_cut(&k, 3, 4, false);
    cr_assert(eq(int, leads(5), 5));
    kit_run_ms(&k, 200);
    cr_expect(not(kit_has(&k, 3, index, "old")));
    cr_expect(gt(u64, raft_commit(raft(5)), index));
    kit_start(&k, 1);
    for (unsigned i = 1; i <= 5; i++)
        kit_isolate(&k, i, false);
    kit_run_ms(&k, 1000);
    kit_expect_agreement(&k);
    kit_fini(&k);
}

/* The same, said with messages to one leader. */
Test(raft_append, entries_of_older_terms_are_not_counted)
{
    kit_init(&k, 3);
    kit_isolate(&k, 1, true);
    struct raft_entry e[2] = {
        { .index = 2, .term = 2, .kind = RAFT_COMMAND, .bytes = buf_copy(slice_of("x", 1)) }
    };
    struct raft_msg a = { .kind = RAFT_MSG_APPEND,
                          .from = 2,
                          .to = 1,
                          .boot = 1,
                          .term = 2,
                          .append = { .prev_index = 1, .prev_term = 1, .count = 1, .entries = e } };
    give(1, &a);
    cr_assert(eq(u64, raft_last(raft(1)), 2));
    /* It leads in term 3: both others say yes to everything. */
    for (int i = 0; i < 100 && raft_role(raft(1)) == RAFT_FOLLOWER; i++)
        kit_run_ms(&k, 10);
    struct raft_msg yes = { .kind = RAFT_MSG_PREVOTE_REPLY,
                            .from = 2,
                            .to = 1,
                            .boot = 1,
                            .term = 2,
                            .vote_reply = { .asked_term = 3, .is_granted = true } };
    give(1, &yes);
    yes.kind = RAFT_MSG_VOTE_REPLY;
    yes.term = 3;
    give(1, &yes);
    cr_assert(eq(int, raft_role(raft(1)), RAFT_LEADER));
    cr_assert(eq(u64, raft_last(raft(1)), 3));
    struct raft_msg ack = { .kind = RAFT_MSG_APPEND_REPLY,
                            .from = 2,
                            .to = 1,
                            .boot = 1,
                            .term = 3,
                            .append_reply = { .match = 2 } };
    give(1, &ack);
    cr_expect(eq(u64, raft_commit(raft(1)), 0));
    ack.append_reply.match = 3;
    give(1, &ack);
    cr_expect(eq(u64, raft_commit(raft(1)), 3));
    kit_fini(&k);
}

/* Its own disk may be the slowest of all: it does not count, and is not waited for. A crash takes
 * the entry from it, and a later leader has it. */
Test(raft_append, leader_commits_what_a_majority_of_others_has_stored)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    k.nodes[1].holds_disk = true;
    uint64_t index = kit_propose(&k, 1, "a");
    cr_expect(lt(u64, raft_durable(raft(1)), index));
    cr_expect(eq(u64, raft_commit(raft(1)), index));
    cr_expect(eq(u64, k.nodes[1].machine.index, index));
    kit_kill(&k, 1);
    k.nodes[1].holds_disk = false;
    kit_start(&k, 1);
    kit_run_ms(&k, 1000);
    cr_expect(ne(int, kit_leader(&k), 0));
    cr_expect(kit_has(&k, 1, index, "a"));
    kit_expect_agreement(&k);
    kit_fini(&k);
}

/* Design 1.3: the commit index advanced past what was stored, for the leader counted itself. */
Test(raft_append, leader_does_not_count_what_it_has_not_stored)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    kit_isolate(&k, 3, true);
    k.nodes[1].holds_disk = true;
    uint64_t index = kit_propose(&k, 1, "a");
    kit_run_ms(&k, 200);
    cr_expect(eq(u64, raft_durable(raft(2)), index));
    cr_expect(lt(u64, raft_commit(raft(1)), index));
    kit_release_disk(&k, 1);
    cr_expect(eq(u64, raft_commit(raft(1)), index));
    kit_fini(&k);
}

Test(raft_append, follower_acknowledges_what_is_durable)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    kit_isolate(&k, 3, true);
    k.nodes[2].holds_disk = true;
    uint64_t index = kit_propose(&k, 1, "a");
    kit_run_ms(&k, 200);
    cr_expect(eq(u64, raft_last(raft(2)), index));
    cr_expect(lt(u64, raft_commit(raft(1)), index));
    kit_release_disk(&k, 2);
    cr_expect(eq(u64, raft_commit(raft(1)), index));
    kit_fini(&k);
}

/* A change is not held up by the slowest of the disks. */
Test(raft_append, follower_applies_what_others_have_stored)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    k.nodes[3].holds_disk = true;
    uint64_t index = kit_propose(&k, 1, "a");
    kit_run_ms(&k, 200);
    cr_expect(eq(u64, raft_commit(raft(1)), index));
    cr_expect(eq(u64, raft_commit(raft(3)), index));
    cr_expect(eq(u64, k.nodes[3].machine.index, index));
    cr_expect(lt(u64, raft_durable(raft(3)), index));
    struct raft_peer_state p;
    cr_assert(raft_peer_state(raft(1), 3, &p));
    cr_expect(eq(u64, p.applied, index));
    cr_expect(lt(u64, p.match, index));
    /* A crash takes it, and it comes again. */
    kit_kill(&k, 3);
    k.nodes[3].holds_disk = false;
    kit_start(&k, 3);
    kit_run_ms(&k, 200);
    cr_expect(eq(u64, raft_durable(raft(3)), index));
    kit_expect_agreement(&k);
    kit_fini(&k);
}

/* Design 1.3: commit starves under continuous load, when only the last entry is looked at. */
Test(raft_append, commit_goes_on_under_continuous_load)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    kit_isolate(&k, 3, true);
    uint64_t before = raft_commit(raft(1));
    for (int i = 0; i < 50; i++) {
        /* The follower's disk is always one entry behind. */
        k.nodes[2].holds_disk = false;
        struct buf *b = buf_copy(slice_of("load", 4));
        raft_step(k.nodes[1].raft,
                  &(struct raft_event){ .kind = RAFT_EV_PROPOSE,
                                        .now_us = k.now_us,
                                        .propose = { .commands = &b, .count = 1 } },
                  &k.nodes[1].fx);
        buf_unref(&b);
        kit_do(&k, 1, &(struct raft_event){ .kind = RAFT_EV_TIME });
        k.nodes[2].holds_disk = true;
        cr_assert(ne(u64, kit_propose(&k, 1, "more"), 0));
        cr_assert(gt(u64, raft_last(raft(1)), raft_durable(raft(2))));
        cr_assert(gt(u64, raft_commit(raft(1)), before), "round %d", i);
        before = raft_commit(raft(1));
    }
    kit_fini(&k);
}

/* Design 1.3: requests to a stopped follower are kept. */
Test(raft_append, stopped_follower_costs_no_more_than_the_window)
{
    kit_init(&k, 3);
    k.setup.window_bytes = 100000;
    for (unsigned i = 1; i <= 3; i++) {
        kit_kill(&k, i);
        kit_start(&k, i);
    }
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    k.is_cut[1][3] = true; /* its messages wait in the net, for ever */
    uint64_t before = k.nodes[1].sent_entries;
    char command[1000];
    memset(command, 'x', sizeof command - 1);
    command[sizeof command - 1] = '\0';
    for (int i = 0; i < 1000; i++)
        cr_assert(ne(u64, kit_propose(&k, 1, command), 0));
    uint64_t to_both = k.nodes[1].sent_entries - before;
    cr_expect(ge(u64, to_both, 1000));
    cr_expect(le(u64, to_both, 1000 + 2 * 100));
    k.is_cut[1][3] = false;
    kit_run_ms(&k, 1000);
    kit_expect_agreement(&k);
    kit_fini(&k);
}

Test(raft_append, full_log_refuses_until_it_is_compacted)
{
    kit_init(&k, 1);
    k.setup.log_bytes_max = 1000;
    k.setup.tail_bytes = 0;
    kit_kill(&k, 1);
    kit_start(&k, 1);
    kit_run_ms(&k, 10);
    int taken = 0;
    while (kit_propose(&k, 1, "0123456789") != 0)
        taken++;
    cr_expect(le(int, taken, 20));
    cr_expect(eq(int, k.nodes[1].refused, RAFT_REFUSED_FULL));
    kit_snapshot(&k, 1);
    cr_expect(ne(u64, kit_propose(&k, 1, "0123456789"), 0));
    kit_fini(&k);
}

/* What nobody has committed makes no room; a new leader's first entry commits it. */
Test(raft_append, log_full_of_a_former_leaders_entries_takes_the_next_ones_first)
{
    kit_init(&k, 3);
    k.setup.log_bytes_max = 1000;
    k.setup.tail_bytes = 0;
    for (unsigned n = 1; n <= 3; n++) {
        kit_kill(&k, n);
        kit_start(&k, n);
    }
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    k.is_cut[2][1] = k.is_cut[3][1] = true;
    char command[3000];
    memset(command, 'x', sizeof command - 1);
    command[sizeof command - 1] = '\0';
    uint64_t index = kit_propose(&k, 1, command);
    cr_assert(ne(u64, index, 0));
    kit_run_ms(&k, 100);
    cr_assert(eq(u64, raft_last(raft(3)), index));
    cr_assert(lt(u64, raft_commit(raft(1)), index));
    kit_kill(&k, 1);
    k.is_cut[2][1] = k.is_cut[3][1] = false;
    kit_run_ms(&k, 3000);
    unsigned leader = kit_leader(&k);
    cr_assert(leader == 2 || leader == 3);
    cr_expect(gt(u64, raft_commit(raft(2)), index));
    cr_expect(gt(u64, raft_commit(raft(3)), index));
    kit_fini(&k);
}

/* Logs of every shape that Raft's figure 7 shows come together. */
Test(raft_append, conflicting_logs_are_brought_together)
{
    for (int round = 0; round < 20; round++) {
        kit_init(&k, 3);
        kit_elect(&k, 1);
        kit_run_ms(&k, 100);
        kit_isolate(&k, 1, true);
        char command[16];
        for (int i = 0; i < 30; i++) {
            snprintf(command, sizeof command, "lost %d", i);
            cr_assert(ne(u64, kit_propose(&k, 1, command), 0));
        }
        uint64_t last = raft_last(raft(1));
        k.now_us += 1; /* it still believes that it leads */
        kit_run_ms(&k, 1500);
        unsigned leader = kit_leader(&k);
        cr_assert(leader == 2 || leader == 3);
        for (int i = 0; i < round * 3; i++) {
            snprintf(command, sizeof command, "kept %d", i);
            cr_assert(ne(u64, kit_propose(&k, leader, command), 0));
        }
        kit_isolate(&k, 1, false);
        kit_run_ms(&k, 500);
        kit_expect_agreement(&k);
        cr_expect(ge(u64, last, k.nodes[1].lost));
        cr_expect(ne(u64, k.nodes[1].lost, 0));
        kit_fini(&k);
    }
}

Test(raft_append, goes_on_after_lost_messages)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    kit_isolate(&k, 3, true);
    for (int i = 0; i < 10; i++)
        cr_assert(ne(u64, kit_propose(&k, 1, "a"), 0));
    kit_isolate(&k, 3, false);
    kit_run_ms(&k, 100);
    kit_expect_agreement(&k);
    kit_fini(&k);
}

Test(raft_append, open_link_is_used_at_once)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    kit_isolate(&k, 3, true);
    uint64_t index = kit_propose(&k, 1, "a");
    kit_isolate(&k, 3, false);
    kit_do(&k, 1, &(struct raft_event){ .kind = RAFT_EV_PEER_OPEN, .node = 3 });
    cr_expect(eq(u64, raft_last(raft(3)), index));
    kit_fini(&k);
}

Test(raft_append, all_learn_what_all_have_applied)
{
    const struct raft_counted all[] = { { 1, 1 }, { 2, 1 }, { 3, 1 } };
    kit_init(&k, 3);
    kit_elect(&k, 1);
    for (unsigned i = 1; i <= 3; i++)
        kit_do(&k, i,
               &(struct raft_event){ .kind = RAFT_EV_COUNTED,
                                     .counted = { .nodes = all, .count = 3 } });
    kit_run_ms(&k, 100);
    k.from = 2;
    uint64_t index = kit_propose(&k, 1, "a");
    for (unsigned i = 1; i <= 2; i++)
        cr_expect(eq(u64, k.nodes[i].all_applied, index), "at once, without a clock");
    cr_expect(lt(u64, k.nodes[3].all_applied, index), "nobody waits there");
    kit_run_ms(&k, 200);
    cr_expect(eq(u64, k.nodes[3].all_applied, index), "with the next word");
    k.nodes[3].holds_apply = true;
    uint64_t next = kit_propose(&k, 1, "b");
    kit_run_ms(&k, 200);
    cr_expect(eq(u64, k.nodes[2].all_applied, index));
    k.nodes[3].holds_apply = false;
    kit_run_ms(&k, 10);
    cr_expect(eq(u64, k.nodes[2].all_applied, next));
    /* Who is not counted is not waited for. */
    k.nodes[3].holds_apply = true;
    kit_do(
        &k, 1,
        &(struct raft_event){ .kind = RAFT_EV_COUNTED, .counted = { .nodes = all, .count = 2 } });
    next = kit_propose(&k, 1, "c");
    cr_expect(eq(u64, k.nodes[1].all_applied, next));
    kit_fini(&k);
}

Test(raft_append, events_with_more_behind_them_go_together)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    unsigned before = k.nodes[1].sent[RAFT_MSG_APPEND];
    struct buf *b = buf_copy(slice_of("x", 1));
    for (int i = 0; i < 100; i++)
        raft_step(k.nodes[1].raft,
                  &(struct raft_event){ .kind = RAFT_EV_PROPOSE,
                                        .now_us = k.now_us,
                                        .has_more = i != 99,
                                        .propose = { .commands = &b, .count = 1 } },
                  &k.nodes[1].fx);
    buf_unref(&b);
    unsigned writes = 0;
    for (size_t i = 0; i < k.nodes[1].fx.count; i++)
        writes += k.nodes[1].fx.list[i].kind == RAFT_DO_WRITE;
    cr_expect(eq(int, writes, 1));
    kit_do(&k, 1, &(struct raft_event){ .kind = RAFT_EV_TIME });
    cr_expect(le(int, k.nodes[1].sent[RAFT_MSG_APPEND] - before, 6));
    kit_run_ms(&k, 50);
    kit_expect_agreement(&k);
    kit_fini(&k);
}

/* A slow disk makes larger groups, not more of them on the way. */
Test(raft_append, writes_gather_while_the_disk_is_busy)
{
    kit_init(&k, 1);
    kit_run_ms(&k, 10);
    k.nodes[1].holds_disk = true;
    for (int i = 0; i < 1000; i++)
        cr_assert(ne(u64, kit_propose(&k, 1, "x"), 0));
    cr_expect(eq(int, k.nodes[1].write_count, k.setup.writes_max));
    kit_release_disk(&k, 1);
    cr_expect(eq(u64, raft_commit(raft(1)), raft_last(raft(1))));
    kit_fini(&k);
}

Test(raft_append, old_life_of_a_node_does_not_count)
{
    const struct raft_counted all[] = { { 1, 1 }, { 2, 2 } };
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_do(
        &k, 1,
        &(struct raft_event){ .kind = RAFT_EV_COUNTED, .counted = { .nodes = all, .count = 2 } });
    kit_run_ms(&k, 100);
    uint64_t first = k.nodes[1].all_applied;
    (void)kit_propose(&k, 1, "z");
    cr_expect(eq(u64, k.nodes[1].all_applied, first), "the second life is waited for");
    kit_kill(&k, 2);
    kit_start(&k, 2);
    k.nodes[2].holds_apply = true;
    kit_run_ms(&k, 100);
    uint64_t before = k.nodes[1].all_applied;
    uint64_t index = kit_propose(&k, 1, "a");
    struct raft_msg late = { .kind = RAFT_MSG_APPEND_REPLY,
                             .from = 2,
                             .to = 1,
                             .boot = 1,
                             .term = raft_term(raft(1)),
                             .append_reply = { .applied = index } };
    give(1, &late);
    cr_expect(eq(u64, k.nodes[1].all_applied, before));
    kit_fini(&k);
}

/* A leader whose disk hangs commits nothing: it gives way to one whose disk does not. */
Test(raft_append, leader_whose_disk_hangs_hands_over)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    k.nodes[1].holds_disk = true;
    uint64_t index = kit_propose(&k, 1, "a");
    kit_run_ms(&k, 1000);
    cr_expect(eq(int, kit_leader(&k), 1));
    kit_run_ms(&k, 1000);
    unsigned leader = kit_leader(&k);
    cr_assert(leader == 2 || leader == 3);
    cr_expect(ge(u64, raft_commit(raft(leader)), index));
    cr_expect(ne(u64, kit_propose(&k, leader, "b"), 0));
    kit_release_disk(&k, 1);
    kit_run_ms(&k, 200);
    kit_expect_agreement(&k);
    kit_fini(&k);
}

/* What is told without a question is not answered: half of the messages of a busy group. */
Test(raft_append, news_alone_are_not_answered)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    k.nodes[2].holds_apply = true;
    unsigned before = k.nodes[2].sent[RAFT_MSG_APPEND_REPLY];
    cr_assert(ne(u64, kit_propose(&k, 1, "a"), 0));
    cr_expect(eq(int, k.nodes[2].sent[RAFT_MSG_APPEND_REPLY], before + 1));
    kit_fini(&k);
}
