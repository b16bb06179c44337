#include "raft_kit.h"

#include "base/mem.h"

#include <stdlib.h>

static struct kit k;

static uint64_t term(unsigned node)
{
    return raft_term(k.nodes[node].raft);
}

static void say(unsigned from, unsigned to, enum raft_msg_kind kind, uint64_t t, uint64_t last,
                uint64_t last_term)
{
    struct raft_msg m = { .kind = kind,
                          .from = (uint16_t)from,
                          .to = (uint16_t)to,
                          .boot = 1,
                          .term = t,
                          .vote = { .last_index = last, .last_term = last_term } };
    kit_do(&k, to, &(struct raft_event){ .kind = RAFT_EV_MESSAGE, .msg = &m });
}

Test(raft_elect, one_voter_leads_as_soon_as_its_vote_is_durable)
{
    kit_init(&k, 1);
    k.nodes[1].holds_disk = true;
    kit_run_ms(&k, 10);
    cr_expect(eq(int, raft_role(k.nodes[1].raft), RAFT_CANDIDATE));
    kit_release_disk(&k, 1);
    cr_expect(eq(int, raft_role(k.nodes[1].raft), RAFT_LEADER));
    uint64_t index = kit_propose(&k, 1, "a");
    cr_expect(eq(u64, raft_commit(k.nodes[1].raft), index));
    kit_fini(&k);
}

Test(raft_elect, one_voter_commits_when_it_is_durable_and_not_before)
{
    kit_init(&k, 1);
    kit_run_ms(&k, 10);
    k.nodes[1].holds_disk = true;
    uint64_t index = kit_propose(&k, 1, "a");
    cr_expect(lt(u64, raft_commit(k.nodes[1].raft), index));
    kit_release_disk(&k, 1);
    cr_expect(eq(u64, raft_commit(k.nodes[1].raft), index));
    kit_fini(&k);
}

Test(raft_elect, three_and_five_find_one_leader)
{
    for (unsigned voters = 2; voters <= 5; voters++) {
        kit_init(&k, voters);
        kit_run_ms(&k, 3000);
        unsigned leader = kit_leader(&k);
        cr_assert(ne(int, leader, 0));
        for (unsigned i = 1; i <= voters; i++)
            cr_expect(eq(int, raft_leader(k.nodes[i].raft), leader));
        cr_expect(ne(u64, kit_propose(&k, leader, "x"), 0));
        kit_run_ms(&k, 100);
        kit_expect_agreement(&k);
        kit_fini(&k);
    }
}

Test(raft_elect, nobody_stands_who_would_not_win)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    uint64_t before = term(1);
    kit_isolate(&k, 3, true);
    kit_run_ms(&k, 20000);
    cr_expect(eq(u64, term(3), before));
    kit_isolate(&k, 3, false);
    kit_run_ms(&k, 2000);
    cr_expect(eq(int, kit_leader(&k), 1));
    cr_expect(eq(u64, term(1), before));
    kit_fini(&k);
}

Test(raft_elect, asks_for_votes_when_its_own_is_durable)
{
    kit_init(&k, 3);
    k.nodes[1].holds_disk = true;
    kit_isolate(&k, 2, true);
    kit_isolate(&k, 3, true);
    kit_cut(&k, 1, 2, false);
    kit_cut(&k, 1, 3, false);
    k.nodes[2].holds_disk = k.nodes[3].holds_disk = true;
    for (int i = 0; i < 200 && raft_role(k.nodes[1].raft) != RAFT_CANDIDATE; i++)
        kit_run_ms(&k, 10);
    cr_expect(eq(u64, term(1), 2));
    cr_expect(eq(int, k.nodes[1].sent[RAFT_MSG_VOTE], 0));
    kit_release_disk(&k, 1);
    cr_expect(gt(int, k.nodes[1].sent[RAFT_MSG_VOTE], 0));
    kit_fini(&k);
}

Test(raft_elect, says_its_vote_when_it_is_durable)
{
    kit_init(&k, 3);
    k.nodes[1].holds_disk = true;
    say(2, 1, RAFT_MSG_VOTE, 5, 1, 1);
    cr_expect(eq(int, k.nodes[1].sent[RAFT_MSG_VOTE_REPLY], 0));
    kit_release_disk(&k, 1);
    cr_expect(eq(int, k.nodes[1].sent[RAFT_MSG_VOTE_REPLY], 1));
    cr_expect(eq(int, k.nodes[1].store.hard.vote, 2));
    kit_fini(&k);
}

Test(raft_elect, votes_once_in_a_term_also_after_a_restart)
{
    kit_init(&k, 3);
    kit_isolate(&k, 1, true);
    say(2, 1, RAFT_MSG_VOTE, 5, 1, 1);
    kit_kill(&k, 1);
    kit_start(&k, 1);
    say(3, 1, RAFT_MSG_VOTE, 5, 9, 4);
    cr_expect(eq(int, k.nodes[1].store.hard.vote, 2));
    say(3, 1, RAFT_MSG_VOTE, 6, 9, 4);
    cr_expect(eq(int, k.nodes[1].store.hard.vote, 3));
    kit_fini(&k);
}

Test(raft_elect, does_not_vote_for_a_log_that_is_behind)
{
    const struct {
        uint64_t last, term;
        bool ok;
    } cases[] = {
        { 1, 1, false }, { 3, 1, false }, { 2, 2, false }, { 3, 2, true }, { 1, 3, true }
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        kit_init(&k, 3);
        kit_elect(&k, 1); /* term 2, entry 2 */
        cr_assert(eq(u64, kit_propose(&k, 1, "a"), 3));
        cr_assert(eq(u64, term(1), 2));
        kit_isolate(&k, 2, true);
        kit_run_ms(&k, 400); /* it hears the leader no more */
        say(3, 2, RAFT_MSG_VOTE, 9, cases[i].last, cases[i].term);
        cr_expect(eq(int, k.nodes[2].store.hard.vote == 3, cases[i].ok), "case %zu", i);
        kit_fini(&k);
    }
}

Test(raft_elect, does_not_vote_against_a_leader_it_hears)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    uint64_t before = term(2);
    say(3, 2, RAFT_MSG_VOTE, before + 1, 99, before);
    cr_expect(eq(u64, term(2), before));
    say(3, 1, RAFT_MSG_VOTE, before + 1, 99, before);
    cr_expect(eq(u64, term(1), before));
    unsigned replies = k.nodes[2].sent[RAFT_MSG_PREVOTE_REPLY];
    say(3, 2, RAFT_MSG_PREVOTE, before + 1, 99, before);
    cr_expect(eq(int, k.nodes[2].sent[RAFT_MSG_PREVOTE_REPLY], replies + 1));
    cr_expect(eq(int, raft_role(k.nodes[3].raft), RAFT_FOLLOWER));
    kit_fini(&k);
}

Test(raft_elect, leader_that_hears_no_majority_steps_down)
{
    kit_init(&k, 5);
    kit_elect(&k, 1);
    kit_isolate(&k, 2, true);
    kit_isolate(&k, 3, true);
    kit_run_ms(&k, 5000);
    cr_expect(eq(int, kit_leader(&k), 1));
    kit_isolate(&k, 4, true);
    kit_run_ms(&k, 700);
    cr_expect(eq(int, raft_role(k.nodes[1].raft) == RAFT_LEADER, 0));
    cr_expect(eq(int, raft_leader(k.nodes[1].raft), 0));
    kit_fini(&k);
}

Test(raft_elect, leader_that_slept_takes_no_proposal)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    k.now_us += 10000000;
    cr_expect(eq(u64, kit_propose(&k, 1, "late"), 0));
    cr_expect(eq(int, k.nodes[1].refused, RAFT_REFUSED_NOT_LEADER));
    kit_fini(&k);
}

Test(raft_elect, dead_leader_is_replaced_at_once)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_kill(&k, 1);
    kit_do(&k, 2, &(struct raft_event){ .kind = RAFT_EV_PEER_GONE, .node = 1 });
    kit_do(&k, 3, &(struct raft_event){ .kind = RAFT_EV_PEER_GONE, .node = 1 });
    int ms = 0;
    for (; kit_leader(&k) == 0 && ms < 1000; ms += 10)
        kit_run_ms(&k, 10);
    cr_expect(le(int, ms, 60));
    kit_fini(&k);
}

static int by_size(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Nobody says that it is dead. With the times of the setup: under 0.6 s most of the time. */
Test(raft_elect, silent_leader_is_replaced_in_time)
{
    int took_ms[50];
    for (unsigned i = 0; i < 50; i++) {
        kit_init(&k, 3);
        k.seed = 100000u * (i + 1);
        for (unsigned n = 1; n <= 3; n++) {
            kit_kill(&k, n);
            kit_start(&k, n);
        }
        kit_elect(&k, 1);
        kit_run_ms(&k, 100);
        kit_isolate(&k, 1, true);
        uint64_t before = term(2);
        for (took_ms[i] = 0; took_ms[i] < 5000; took_ms[i] += 10) {
            kit_run_ms(&k, 10);
            unsigned leader = kit_leader(&k);
            if (leader > 1 && term(leader) > before)
                break;
        }
        kit_fini(&k);
    }
    qsort(took_ms, 50, sizeof took_ms[0], by_size);
    cr_expect(le(int, took_ms[24], 600), "p50");
    cr_expect(le(int, took_ms[49], 1200), "the worst of 50");
}

/* Design 1.3: elections that use entries which are not on disk. */
Test(raft_elect, candidate_shows_what_is_durable)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    k.nodes[2].holds_disk = true;
    uint64_t index = kit_propose(&k, 1, "a");
    cr_assert(eq(u64, raft_last(k.nodes[2].raft), index));
    cr_assert(eq(u64, raft_durable(k.nodes[2].raft), index - 1));
    kit_isolate(&k, 2, true);
    kit_run_ms(&k, 10);
    kit_run_ms(&k, 1000);
    cr_expect(gt(int, k.nodes[2].sent[RAFT_MSG_PREVOTE], 0));
    /* Node 3 has the entry on disk: it does not help somebody who only has it in memory. */
    kit_kill(&k, 1);
    kit_isolate(&k, 2, false);
    k.is_cut[3][2] = false;
    kit_run_ms(&k, 2000);
    cr_expect(ne(int, kit_leader(&k), 2));
    kit_fini(&k);
}

Test(raft_elect, removed_server_does_not_disturb)
{
    kit_init(&k, 4);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    kit_isolate(&k, 4, true);
    cr_assert(ne(u64, kit_remove(&k, 1, 4), 0));
    kit_run_ms(&k, 5000);
    uint64_t before = term(1);
    kit_isolate(&k, 4, false);
    kit_run_ms(&k, 5000);
    cr_expect(eq(u64, term(1), before));
    cr_expect(eq(int, kit_leader(&k), 1));
    say(4, 1, RAFT_MSG_VOTE, before + 50, 999, before + 49);
    struct raft_msg m = {
        .kind = RAFT_MSG_APPEND_REPLY, .from = 4, .to = 1, .boot = 1, .term = before + 50
    };
    kit_do(&k, 1, &(struct raft_event){ .kind = RAFT_EV_MESSAGE, .msg = &m });
    cr_expect(eq(u64, term(1), before));
    kit_fini(&k);
}

Test(raft_elect, leadership_is_handed_over)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    cr_assert(ne(u64, kit_propose(&k, 1, "a"), 0));
    kit_do(&k, 1, &(struct raft_event){ .kind = RAFT_EV_TRANSFER, .node = 3 });
    cr_expect(eq(int, kit_leader(&k), 3));
    kit_run_ms(&k, 100);
    kit_expect_agreement(&k);
    /* To one that does not answer: proposals wait, then go on. */
    kit_isolate(&k, 2, true);
    kit_do(&k, 3, &(struct raft_event){ .kind = RAFT_EV_TRANSFER, .node = 2 });
    cr_expect(eq(u64, kit_propose(&k, 3, "b"), 0));
    cr_expect(eq(int, k.nodes[3].refused, RAFT_REFUSED_TRANSFERRING));
    kit_run_ms(&k, 700);
    cr_expect(ne(u64, kit_propose(&k, 3, "b"), 0));
    kit_fini(&k);
}

Test(raft_elect, witness_hands_leadership_over)
{
    kit_init(&k, 3);
    kit_elect(&k, 1);
    kit_run_ms(&k, 100);
    cr_assert(ne(u64, kit_change(&k, 1, 3, RAFT_WITNESS), 0));
    kit_run_ms(&k, 100);
    kit_do(&k, 1, &(struct raft_event){ .kind = RAFT_EV_TRANSFER, .node = 3 });
    kit_run_ms(&k, 500);
    cr_expect(ge(int, k.nodes[3].sent[RAFT_MSG_TIMEOUT_NOW], 1), "it led for a moment");
    cr_expect(ne(int, kit_leader(&k), 3));
    cr_expect(ne(int, kit_leader(&k), 0));
    kit_fini(&k);
}
