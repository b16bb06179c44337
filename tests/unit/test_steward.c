#include "cluster/steward.h"

#include "base/mem.h"
#include "meta_mirrored.h"

static struct world w;
static struct raft_config config;
static struct steward s;
static struct steward_peer peers[8];
static bool is_known[8];

static bool peer(const void *arg, uint16_t node, struct steward_peer *out)
{
    (void)arg;
    *out = peers[node];
    return is_known[node];
}

/* So many disc nodes that are up; the first leads, and all others have just been heard of. */
static void open_nodes(unsigned count)
{
    world_init(&w, 1);
    world_nodes(&w, count);
    config = (struct raft_config){ 0 };
    for (uint16_t i = 1; i <= count; i++) {
        cr_assert(raft_config_set(&config, i, i <= STEWARD_VOTERS_MAX ? RAFT_VOTER : RAFT_LEARNER));
        peers[i] = (struct steward_peer){ .heard_ms = 10000 };
        is_known[i] = true;
    }
    s = (struct steward){ .version = meta_current(w.meta),
                          .config = &config,
                          .self = 1,
                          .leading_ms = 5000,
                          .now_ms = 10500,
                          .peer = peer };
}

static bool is_down(uint16_t node)
{
    return steward_is_down(&s, meta_node_get(s.version, node)) != NULL;
}

static struct steward_wish first(void)
{
    struct steward_wish wish;
    size_t at = 0;
    cr_assert(steward_next(&s, &at, &wish));
    return wish;
}

static bool has_wishes(void)
{
    struct steward_wish wish;
    size_t at = 0;
    return steward_next(&s, &at, &wish);
}

static void stopped(uint16_t node)
{
    must(&w, node_cmd(META_NODE_STOPPED, node, 1));
    s.version = now(&w);
}

Test(steward, who_is_silent_for_a_second_is_down)
{
    open_nodes(3);
    cr_expect(not(is_down(2)));
    s.now_ms = 11000;
    cr_expect(not(is_down(2)));
    s.now_ms = 11001;
    cr_expect(is_down(2));
    cr_expect(not(is_down(1)));
    s.leading_ms = 10500; /* it may have told another leader */
    cr_expect(not(is_down(2)));
    world_fini(&w);
}

Test(steward, who_is_gone_is_down_at_once_and_who_is_not_known_is_not)
{
    open_nodes(3);
    peers[2].is_gone = true;
    cr_expect(is_down(2));
    is_known[2] = false;
    cr_expect(not(is_down(2)));
    world_fini(&w);
}

static bool admits(uint16_t node, uint32_t more)
{
    struct meta_cmd cmd = { .op = META_NODE_UP };
    cmd.node.node = node;
    cmd.node.inc = meta_node_get(s.version, node)->inc + more;
    return steward_admits(&s, &cmd);
}

/* On all of them. */
static void place_queue(void)
{
    for (unsigned i = 1; i <= 3; i++)
        must(&w, mirroring_up(i, 1));
    must(&w, policy_put("all", "", "{\"ha-mode\":\"all\"}", 0));
    must(&w, lasting(q_declare("q")));
    s.version = now(&w);
    cr_assert(ne(u64, s.version->placed.count, 0));
}

Test(steward, a_new_process_waits_until_all_who_count_as_up_were_heard_of)
{
    open_nodes(3);
    place_queue();
    cr_expect(admits(2, 1));
    peers[3].heard_ms = 5000; /* by another leader */
    cr_expect(not(admits(2, 1)));
    cr_expect(not(admits(1, 1)), "the leader itself no less");
    cr_expect(admits(3, 1), "whoever comes up is there");
    cr_expect(admits(2, 0), "the same process as before takes nothing from anybody");
    peers[3].heard_ms = 5001;
    cr_expect(admits(2, 1));
    world_fini(&w);
}

Test(steward, nobody_waits_for_who_is_down_and_where_no_queue_has_mirrors)
{
    open_nodes(3);
    peers[3].heard_ms = 0;
    cr_expect(admits(2, 1), "no queue has a mirror");
    place_queue();
    cr_expect(not(admits(2, 1)));
    must(&w, node_cmd(META_NODE_DOWN, 3, 1));
    s.version = now(&w);
    cr_expect(admits(2, 1));
    world_fini(&w);
}

static bool thaws(bool has_restarted, uint64_t for_ms)
{
    struct steward_frost f = { has_restarted, for_ms, 10000 };
    return steward_thaws(&s, &f);
}

Test(steward, who_stopped_together_goes_on_when_all_are_back_or_after_a_while)
{
    open_nodes(3);
    place_queue();
    must(&w, (struct meta_cmd){ .op = META_CLUSTER_FREEZE });
    s.version = now(&w);
    cr_expect(not(thaws(false, STEWARD_FROZEN_MS - 1)), "they are about to stop");
    cr_expect(thaws(false, STEWARD_FROZEN_MS), "and did not");
    cr_expect(thaws(true, 0), "all are up");
    must(&w, node_cmd(META_NODE_STOPPED, 2, 1));
    s.version = now(&w);
    cr_expect(not(thaws(true, 9999)));
    cr_expect(thaws(true, 10000));
    world_fini(&w);
}

Test(steward, who_kept_its_place_and_does_not_come_is_struck_in_the_end)
{
    open_nodes(3);
    place_queue();
    must(&w, (struct meta_cmd){ .op = META_CLUSTER_FREEZE });
    for (unsigned i = 1; i <= 3; i++)
        must(&w, node_cmd(META_NODE_STOPPED, i, 1));
    must(&w, (struct meta_cmd){ .op = META_CLUSTER_THAW }); /* nobody is there to stand in */
    s.version = now(&w);
    cr_expect(not(thaws(false, 10000)));
    must(&w, mirroring_up(2, 2));
    s.version = now(&w);
    HOLDERS(&w, "q", "1+2+3+");
    cr_expect(not(thaws(false, 9999)));
    cr_expect(thaws(false, 10000));
    must(&w, (struct meta_cmd){ .op = META_CLUSTER_THAW });
    s.version = now(&w);
    HOLDERS(&w, "q", "2+1-3-");
    cr_expect(not(thaws(false, 10000)));
    world_fini(&w);
}

Test(steward, nobody_gives_up_its_vote_while_all_are_to_stop)
{
    open_nodes(3);
    must(&w, (struct meta_cmd){ .op = META_CLUSTER_FREEZE });
    s.version = now(&w);
    peers[2].is_leaving = s.is_leaving = true;
    stopped(2);
    cr_expect(not(has_wishes()));
    must(&w, (struct meta_cmd){ .op = META_CLUSTER_THAW });
    s.version = now(&w);
    cr_expect(has_wishes());
    world_fini(&w);
}

Test(steward, all_is_well_with_voters_that_are_up)
{
    open_nodes(5);
    cr_expect(not(has_wishes()));
    peers[2].is_gone = true; /* a voter that is down stays one */
    cr_expect(not(has_wishes()));
    world_fini(&w);
}

Test(steward, a_new_member_listens_first_and_votes_when_there_is_room)
{
    open_nodes(3);
    raft_config_unset(&config, 3);
    struct steward_wish wish = first();
    cr_expect(wish.act == STEWARD_CHANGE && wish.node == 3 && wish.part == RAFT_LEARNER);
    cr_assert(raft_config_set(&config, 3, RAFT_LEARNER));
    wish = first();
    cr_expect(wish.act == STEWARD_CHANGE && wish.node == 3 && wish.part == RAFT_VOTER);
    s.now_ms = 20000; /* unless it is silent */
    cr_expect(not(has_wishes()));
    world_fini(&w);
}

Test(steward, there_are_five_voters_at_most)
{
    open_nodes(6);
    cr_expect(not(has_wishes()));
    world_fini(&w);
}

Test(steward, who_leaves_votes_no_more_as_long_as_another_one_does)
{
    open_nodes(2);
    peers[2].is_leaving = true;
    cr_expect(not(has_wishes())); /* its masters are not given away yet, which may take its vote */
    stopped(2);
    struct steward_wish wish = first();
    cr_expect(wish.act == STEWARD_CHANGE && wish.node == 2 && wish.part == RAFT_LEARNER);
    cr_assert(raft_config_set(&config, 1, RAFT_LEARNER));
    size_t at = 0;
    while (steward_next(&s, &at, &wish))
        cr_expect(ne(int, wish.node, 2));
    world_fini(&w);
}

/* All were stopped, one after the other, and some are back. The new leader has not heard of the
 * other one yet, without whose vote it would wait for the third. */
Test(steward, a_new_leader_leaves_who_was_stopped_its_vote_until_it_is_silent)
{
    open_nodes(3);
    for (uint16_t i = 2; i <= 3; i++) {
        struct meta_cmd stopped = { .op = META_NODE_STOPPED };
        stopped.node.node = i;
        stopped.node.inc = meta_node_get(now(&w), i)->inc;
        must(&w, stopped);
        peers[i] = (struct steward_peer){ .heard_ms = 0 };
    }
    s.version = now(&w);
    s.leading_ms = s.now_ms - 20;
    cr_expect(not(has_wishes()));
    s.now_ms = s.leading_ms + STEWARD_SILENT_MS + 1;
    peers[2].heard_ms = s.now_ms - 10;
    struct steward_wish wish = first();
    cr_expect(wish.act == STEWARD_CHANGE && wish.node == 3 && wish.part == RAFT_LEARNER);
    s.leading_ms = s.now_ms;
    peers[3].is_gone = true; /* that is known at once */
    cr_expect(eq(int, first().node, 3));
    world_fini(&w);
}

Test(steward, a_leader_that_leaves_hands_over)
{
    open_nodes(3);
    s.is_leaving = true;
    cr_expect(not(has_wishes()));
    stopped(s.self);
    cr_expect(eq(int, first().act, STEWARD_HAND_OVER));
    world_fini(&w);
}

Test(steward, members_that_the_node_table_has_no_more_go_first)
{
    open_nodes(3);
    cr_assert(raft_config_set(&config, 7, RAFT_VOTER));
    peers[2].is_leaving = true;
    struct steward_wish wish = first();
    cr_expect(wish.act == STEWARD_REMOVE && wish.node == 7);
    s.self = 7;
    cr_expect(eq(int, first().act, STEWARD_HAND_OVER));
    world_fini(&w);
}
