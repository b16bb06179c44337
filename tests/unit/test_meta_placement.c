#include "base/mem.h"
#include "base/rng.h"
#include "cluster/meta_dump.h"
#include "cluster/meta_replace.h"
#include "meta_mirrored.h"

#include <time.h>

/* ---- in short ---- */

static void mirror_all(struct world *w)
{
    must(w, policy_put("ha", "^m", "{\"ha-mode\":\"all\"}", 0));
}

static struct meta_cmd move(const struct world *w, const char *name, unsigned node)
{
    static uint8_t room[META_MOVE_ITEM_BYTES];
    struct wire_out out = wire_out_over(room, sizeof room);
    meta_move_item_put(&out, &(struct meta_move_item){ queue_now(w, name)->qid,
                                                       placement(w, name).epoch, (uint16_t)node });
    struct meta_cmd c = { .op = META_MASTER_MOVE };
    c.master_move.items = wire_out_slice(&out);
    return c;
}

#define SET(w, name, ...)                                                                          \
    set_replicas((w), (name), sizeof((uint16_t[]){ __VA_ARGS__ }) / sizeof(uint16_t),              \
                 (uint16_t[]){ __VA_ARGS__ })

static struct meta_cmd force(const struct world *w, const char *name, unsigned node)
{
    struct meta_cmd c = { .op = META_FORCE_PROMOTE, .qid = queue_now(w, name)->qid };
    c.force_promote.node = (uint16_t)node;
    return c;
}

/* A queue whose master is node 1, and which is on 2 and 3, too. */
static void three_nodes(struct world *w)
{
    world_init(w, 1);
    mirroring_nodes(w, 3);
    mirror_all(w);
    must(w, lasting(q_declare("m")));
    HOLDERS(w, "m", "1+2+3+");
}

/* ---- declaring ---- */

Test(meta_placement, a_queue_that_nobody_mirrors_is_where_it_was_declared)
{
    struct world w;
    world_init(&w, 1);
    mirroring_nodes(&w, 3);
    must(&w, lasting(q_declare("q")));
    struct meta_placement p = placement(&w, "q");
    HOLDERS(&w, "q", "1+");
    cr_expect(p.master == 1 && p.master_inc == 1 && p.isr_count == 1);
    cr_expect(eq(u64, p.epoch, meta_index(w.meta)));
    cr_expect(eq(u64, p.ver, p.epoch));
    cr_expect(eq(u32, meta_placement_cohort(&p), 0));
    cr_expect(eq(int, (int)meta_placement_role(&p, 2), META_ROLE_NONE));
    world_fini(&w);
}

Test(meta_placement, a_declared_queue_has_its_mirrors_at_once)
{
    struct world w;
    three_nodes(&w);
    struct meta_placement p = placement(&w, "m");
    cr_expect(eq(u64, p.epoch, meta_index(w.meta)));
    cr_expect(eq(u64, p.ver, p.epoch));
    cr_expect(eq(sz, effects_of(&w, META_QUEUE_CREATED), 1));
    cr_expect(eq(int, (int)w.r.effects[0].is, META_ROLE_MASTER));
    cr_expect(eq(u32, w.r.effects[0].cohort, meta_placement_cohort(&p)));
    must(&w, lasting(q_declare("m2"))); /* node 2 has the fewest */
    HOLDERS(&w, "m2", "2+1+3+");
    cr_expect(eq(int, (int)w.r.effects[0].is, META_ROLE_MIRROR));
    cr_expect(eq(u64, meta_node_queue_count(now(&w), 2), 1));
    cr_expect(eq(u64, meta_node_mirror_count(now(&w), 1), 1));
    must(&w, q_delete("m2"));
    cr_expect(eq(int, (int)w.r.effects[0].was, META_ROLE_MIRROR));
    cr_expect(eq(u64, meta_node_mirror_count(now(&w), 1), 0));
    world_fini(&w);
}

/* Main must not promise what its nodes cannot do. */
Test(meta_placement, nodes_that_cannot_mirror_hold_no_replicas)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 3);
    mirror_all(&w);
    must(&w, lasting(q_declare("m")));
    HOLDERS(&w, "m", "1+");
    must(&w, SET(&w, "m", 1, 2));
    HOLDERS(&w, "m", "1+");
    world_fini(&w);
}

Test(meta_placement, exactly_so_many_and_those_that_are_named)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    mirroring_nodes(&w, 4);
    must(&w, policy_put("two", "^two", "{\"ha-mode\":\"exactly\",\"ha-params\":2}", 0));
    must(&w,
         policy_put("named", "^named", "{\"ha-mode\":\"nodes\",\"ha-params\":[\"n4\",\"n3\"]}", 0));
    must(&w, lasting(q_declare("two")));
    HOLDERS(&w, "two", "1+2+");
    must(&w, lasting(q_declare("named")));
    HOLDERS(&w, "named", "3+4+"); /* not on node 2, which has fewer */
    struct meta_cmd c = lasting(q_declare("two-all"));
    c.queue_declare.args = args_str(&a, "x-ha-policy", "all"); /* wins over the policy */
    must(&w, c);
    HOLDERS(&w, "two-all", "2+1+3+4+");
    c = lasting(q_declare("q"));
    c.queue_declare.args = args_str(&a, "x-queue-type", "quorum");
    must(&w, c);
    cr_expect(eq(u32, placement(&w, "q").count, 3), "a majority of four");
    world_fini(&w);
}

Test(meta_placement, what_is_exclusive_has_no_mirrors)
{
    struct world w;
    three_nodes(&w);
    w.conn = id_make(2, 0, 1);
    struct meta_cmd c = q_declare("mine");
    c.queue_declare.exclusive = true;
    must(&w, c);
    HOLDERS(&w, "mine", "2+");
    must(&w, SET(&w, "mine", 2, 3));
    HOLDERS(&w, "mine", "2+");
    world_fini(&w);
}

/* ---- nodes ---- */

Test(meta_placement, the_eldest_that_is_in_sync_takes_over)
{
    struct world w;
    three_nodes(&w);
    must(&w, change_isr(&w, "m", 2, 1, false));
    HOLDERS(&w, "m", "1+3+2-");
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    HOLDERS(&w, "m", "3+2-1-");
    struct meta_placement p = placement(&w, "m");
    cr_expect(eq(u64, p.epoch, meta_index(w.meta)));
    cr_expect(eq(u64, p.ver, p.epoch));
    cr_expect(eq(sz, effects_of(&w, META_COHORT_PLACED), 1));
    const struct meta_effect *e = &w.r.effects[0];
    cr_expect(e->node_was == 1 && e->node == 3 && e->count == 1);
    cr_expect(e->was == META_ROLE_MASTER && e->is == META_ROLE_MIRROR);
    cr_expect(eq(int, e->how, META_HOW_MASTER | META_HOW_IN_SYNC));
    cr_expect(meta_queue_is_served(now(&w), queue_now(&w, "m")));
    world_fini(&w);
}

Test(meta_placement, the_last_one_in_sync_is_waited_for)
{
    struct world w;
    three_nodes(&w);
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    must(&w, node_cmd(META_NODE_DOWN, 3, 1));
    HOLDERS(&w, "m", "1+2-3-");
    uint64_t ver = placement(&w, "m").ver;
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    w.meta = w.meta;
    HOLDERS(&w, "m", "1+2-3-");
    cr_expect(eq(u64, placement(&w, "m").ver, ver));
    must(&w, mirroring_up(2, 2));
    HOLDERS(&w, "m", "1+2-3-");
    must(&w, mirroring_up(1, 2));
    struct meta_placement p = placement(&w, "m");
    HOLDERS(&w, "m", "1+2-3-");
    cr_expect(eq(u64, p.epoch, meta_index(w.meta)),
              "a process never acts in an earlier one's epoch");
    cr_expect(eq(u32, p.master_inc, 2));
    world_fini(&w);
}

Test(meta_placement, who_starts_anew_is_out_until_it_has_caught_up)
{
    struct world w;
    three_nodes(&w);
    must(&w, mirroring_up(2, 2));
    HOLDERS(&w, "m", "1+3+2-");
    must(&w, change_isr(&w, "m", 2, 1, true)); /* the process that was */
    HOLDERS(&w, "m", "1+3+2-");
    must(&w, change_isr(&w, "m", 2, 2, true));
    HOLDERS(&w, "m", "1+3+2+");
    must(&w, mirroring_up(1, 2)); /* the master itself */
    HOLDERS(&w, "m", "3+2+1-");
    must(&w, mirroring_up(1, 2)); /* again: nothing */
    HOLDERS(&w, "m", "3+2+1-");
    world_fini(&w);
}

Test(meta_placement, what_does_not_last_goes_with_its_last_node)
{
    struct world w;
    three_nodes(&w);
    must(&w, q_declare("mt"));
    HOLDERS(&w, "mt", "2+1+3+");
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    HOLDERS(&w, "mt", "1+3+2-");
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    HOLDERS(&w, "mt", "3+2-1-");
    must(&w, mirroring_up(3, 2));
    cr_expect(queue_now(&w, "mt") == NULL);
    cr_expect(queue_now(&w, "m") != NULL);
    world_fini(&w);
}

Test(meta_placement, a_policy_may_have_somebody_promoted_always)
{
    struct world w;
    world_init(&w, 1);
    mirroring_nodes(&w, 3);
    must(&w,
         policy_put("ha", "^m", "{\"ha-mode\":\"all\",\"ha-promote-on-failure\":\"always\"}", 0));
    must(&w, lasting(q_declare("m")));
    must(&w, change_isr(&w, "m", 2, 1, false));
    must(&w, change_isr(&w, "m", 3, 1, false));
    HOLDERS(&w, "m", "1+2-3-");
    must(&w, node_cmd(META_NODE_STOPPED, 1, 1));
    HOLDERS(&w, "m", "1+2-3-");
    must(&w, mirroring_up(1, 1));
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    HOLDERS(&w, "m", "3+2-1-"); /* it was in sync last */
    cr_expect(ne(int, w.r.effects[0].how &META_HOW_FORCED, 0));
    world_fini(&w);
}

Test(meta_placement, a_removed_node_leaves_everything)
{
    struct world w;
    three_nodes(&w);
    must(&w, change_isr(&w, "m", 2, 1, false));
    must(&w, change_isr(&w, "m", 3, 1, false));
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    HOLDERS(&w, "m", "1+2-3-");
    must(&w, node_cmd(META_NODE_REMOVE, 1, 0)); /* it will not come back: somebody has most of it */
    HOLDERS(&w, "m", "3+2-");
    must(&w, node_cmd(META_NODE_REMOVE, 2, 0));
    HOLDERS(&w, "m", "3+");
    world_fini(&w);
}

Test(meta_placement, damage_is_not_served)
{
    struct world w;
    three_nodes(&w);
    must(&w, lasting(q_declare("own"))); /* node 2 has it alone */
    struct meta_cmd lost = mirroring_up(2, 2);
    lost.node.lost_data = true;
    must(&w, lost);
    HOLDERS(&w, "m", "1+3+2?");
    cr_expect(eq(int, (int)placement(&w, "own").state, META_PLACED_DAMAGED));
    cr_expect(not(meta_queue_is_served(now(&w), queue_now(&w, "own"))));
    cr_expect(meta_queue_is_served(now(&w), queue_now(&w, "m")));
    must_not(&w, lasting(q_declare("own")), 404,
             "home node 'n2' of durable queue 'own' in vhost '/' is down or inaccessible");
    must(&w, force(&w, "own", 2));
    cr_expect(eq(int, (int)placement(&w, "own").state, META_PLACED_RUNNING));
    cr_expect(meta_queue_is_served(now(&w), queue_now(&w, "own")));
    world_fini(&w);
}

static struct meta_cmd damaged(unsigned node, uint32_t inc, struct slice items)
{
    struct meta_cmd c = { .op = META_NODE_DAMAGED };
    c.node_damaged.node = (uint16_t)node;
    c.node_damaged.inc = inc;
    c.node_damaged.items = items;
    return c;
}

Test(meta_placement, a_node_that_finds_damage_is_in_sync_for_nothing_any_more)
{
    struct world w;
    three_nodes(&w);
    must(&w, lasting(q_declare("own"))); /* node 2 has it alone, and it was never elsewhere */
    must(&w, damaged(2, 9, S("")));      /* another process */
    HOLDERS(&w, "m", "1+2+3+");
    must(&w, damaged(2, 1, S("")));
    HOLDERS(&w, "m", "1+3+2?");
    cr_expect(meta_queue_is_served(now(&w), queue_now(&w, "own")));
    must(&w, node_cmd(META_NODE_DOWN, 3, 1));
    must(&w, damaged(1, 1, S("")));
    HOLDERS(&w, "m", "1+2?3-");
    cr_expect(not(meta_queue_is_served(now(&w), queue_now(&w, "m"))));
    must(&w, force(&w, "m", 2));
    HOLDERS(&w, "m", "2+3-1?");
    cr_expect(meta_queue_is_served(now(&w), queue_now(&w, "m")));
    world_fini(&w);
}

Test(meta_placement, damage_of_some_queues_leaves_the_others_alone)
{
    struct world w;
    uint8_t room[META_QUEUE_ITEM_BYTES];
    struct wire_out out = wire_out_over(room, sizeof room);
    three_nodes(&w);
    must(&w, lasting(q_declare("m2")));
    wire_put_u64(&out, queue_now(&w, "m")->qid);
    uint64_t epoch = placement(&w, "m").epoch;
    must(&w, damaged(1, 1, wire_out_slice(&out)));
    HOLDERS(&w, "m", "2+3+1?");
    cr_expect(placement(&w, "m").epoch > epoch);
    HOLDERS(&w, "m2", "2+1+3+");
    must_not(&w, damaged(1, 1, S("seven..")), 400,
             "a list of queues is none, or has too many of them");
    world_fini(&w);
}

Test(meta_placement, a_cluster_that_stops_as_a_whole_loses_nobody)
{
    struct world w;
    three_nodes(&w);
    must(&w, (struct meta_cmd){ .op = META_CLUSTER_FREEZE });
    for (unsigned i = 1; i <= 3; i++)
        must(&w, node_cmd(META_NODE_STOPPED, i, 1));
    HOLDERS(&w, "m", "1+2+3+");
    must(&w, mirroring_up(2, 2)); /* any of them may be the first */
    HOLDERS(&w, "m", "1+2+3+");
    must(&w, (struct meta_cmd){ .op = META_CLUSTER_THAW });
    HOLDERS(&w, "m", "2+1-3-");
    must(&w, node_cmd(META_NODE_STOPPED, 2, 2));
    HOLDERS(&w, "m", "2+1-3-");
    world_fini(&w);
}

Test(meta_placement, who_is_unwell_gives_way_to_who_is_not)
{
    struct world w;
    three_nodes(&w);
    must(&w, lasting(q_declare("own"))); /* node 2 has it alone */
    uint64_t epoch = placement(&w, "m").epoch;
    must(&w, node_cmd(META_NODE_UNWELL, 1, 2)); /* another process */
    HOLDERS(&w, "m", "1+2+3+");
    must(&w, node_cmd(META_NODE_UNWELL, 1, 1));
    HOLDERS(&w, "m", "2+3+1-");
    cr_expect(placement(&w, "m").epoch > epoch);
    must(&w, change_isr(&w, "m", 1, 1, true)); /* not before it is well */
    HOLDERS(&w, "m", "2+3+1-");
    must(&w, node_cmd(META_NODE_UNWELL, 2, 1));
    HOLDERS(&w, "m", "3+1-2-");
    cr_expect(meta_queue_is_served(now(&w), queue_now(&w, "own")));
    must(&w, node_cmd(META_NODE_UNWELL, 3, 1)); /* nobody could go on */
    HOLDERS(&w, "m", "3+1-2-");
    must(&w, node_cmd(META_NODE_WELL, 1, 1));
    HOLDERS(&w, "m", "3+1-2-");
    must(&w, change_isr(&w, "m", 1, 1, true));
    HOLDERS(&w, "m", "3+1+2-");
    must(&w, node_cmd(META_NODE_UNWELL, 3, 1)); /* now somebody can */
    HOLDERS(&w, "m", "1+2-3-");
    world_fini(&w);
}

Test(meta_placement, masters_move_and_succeed_to_who_is_well)
{
    struct world w;
    three_nodes(&w);
    must(&w, node_cmd(META_NODE_DRAIN, 3, 1));
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    HOLDERS(&w, "m", "2+3+1-");
    must(&w, node_cmd(META_NODE_UNWELL, 2, 1)); /* the other one is about to go */
    HOLDERS(&w, "m", "2+3+1-");
    must(&w, mirroring_up(3, 1));
    cr_expect(meta_unwell_is_due(now(&w), node_now(&w, 2)));
    struct meta_cmd back = move(&w, "m", 3);
    must(&w, back);
    HOLDERS(&w, "m", "3+2+1-");
    back = move(&w, "m", 2);
    must(&w, back); /* it is unwell */
    HOLDERS(&w, "m", "3+2+1-");
    must(&w, node_cmd(META_NODE_UNWELL, 2, 1));
    HOLDERS(&w, "m", "3+1-2-");
    cr_expect(not(meta_unwell_is_due(now(&w), node_now(&w, 2))));
    world_fini(&w);
}

/* ---- single queues ---- */

Test(meta_placement, whoever_proposes_learns_what_came_of_it)
{
    struct world w;
    three_nodes(&w);
    struct meta_cmd c = change_isr(&w, "m", 3, 1, true); /* it is in sync already */
    must(&w, c);
    cr_expect(eq(u64, placement(&w, "m").ver, meta_index(w.meta)));
    cr_expect(w.r.effect_count == 1 && w.r.effects[0].how == 0);
    uint64_t ver = placement(&w, "m").ver;
    must(&w, c); /* old by now */
    cr_expect(eq(u64, placement(&w, "m").ver, ver));
    must(&w, change_isr(&w, "m", 1, 1, false)); /* never the master */
    HOLDERS(&w, "m", "1+2+3+");
    must(&w, change_isr(&w, "m", 9, 1, true)); /* nobody */
    HOLDERS(&w, "m", "1+2+3+");
    world_fini(&w);
}

Test(meta_placement, nobody_is_added_while_the_master_is_down)
{
    struct world w;
    three_nodes(&w);
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    must(&w, node_cmd(META_NODE_DOWN, 3, 1));
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    must(&w, mirroring_up(2, 1));
    must(&w, change_isr(&w, "m", 2, 1, true));
    HOLDERS(&w, "m", "1+2-3-");
    world_fini(&w);
}

Test(meta_placement, a_mirror_that_lags_is_out_for_one_master)
{
    struct world w;
    three_nodes(&w);
    must(&w, lasting(q_declare("m2")));
    struct meta_cmd c = { .op = META_PAIR_LAG };
    c.pair_lag.master = 1;
    c.pair_lag.mirror = 3;
    c.pair_lag.master_inc = 1;
    c.pair_lag.mirror_inc = 2;
    must(&w, c); /* of another process */
    HOLDERS(&w, "m", "1+2+3+");
    c.pair_lag.mirror_inc = 1;
    must(&w, c);
    HOLDERS(&w, "m", "1+2+3-");
    HOLDERS(&w, "m2", "2+1+3+");
    c.pair_lag.mirror = 1;
    must(&w, c); /* itself */
    HOLDERS(&w, "m", "1+2+3-");
    world_fini(&w);
}

Test(meta_placement, a_master_moves_to_who_is_in_sync)
{
    struct world w;
    three_nodes(&w);
    struct meta_cmd late = move(&w, "m", 2);
    must(&w, move(&w, "m", 3));
    HOLDERS(&w, "m", "3+1+2+");
    cr_expect(eq(u64, placement(&w, "m").epoch, meta_index(w.meta)));
    cr_expect(eq(int, (int)w.r.effects[0].kind, META_QUEUE_PLACED));
    late = move(&w, "m", 2);
    must(&w, change_isr(&w, "m", 2, 1, false));
    must(&w, late);
    HOLDERS(&w, "m", "3+1+2-");
    world_fini(&w);
}

Test(meta_placement, replicas_come_and_go)
{
    struct world w;
    world_init(&w, 1);
    mirroring_nodes(&w, 3);
    must(&w, lasting(q_declare("q")));
    must(&w, SET(&w, "q", 3, 1));
    HOLDERS(&w, "q", "1+3?");
    must(&w, change_isr(&w, "q", 3, 1, true));
    HOLDERS(&w, "q", "1+3+");
    struct meta_cmd c = SET(&w, "q", 2, 3); /* without its master */
    must(&w, c);
    HOLDERS(&w, "q", "1+3+");
    must(&w, SET(&w, "q", 1));
    HOLDERS(&w, "q", "1+");
    cr_expect(eq(u64, placement(&w, "q").ver, meta_index(w.meta)), "ver never falls");
    must_not(&w, SET(&w, "q", 1, 1), 409, "a set of replicas has a node that cannot be in it");
    must_not(&w, SET(&w, "q", 1, 7), 409, "a set of replicas has a node that cannot be in it");
    world_fini(&w);
}

Test(meta_placement, an_operator_may_give_up_what_is_lost)
{
    struct world w;
    three_nodes(&w);
    must_not(&w, force(&w, "m", 2), 409,
             "the queue is running: move_master moves it without a loss");
    must(&w, node_cmd(META_NODE_DOWN, 1, 1)); /* we are node 1: another one's view is wanted */
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    HOLDERS(&w, "m", "3+1-2-");
    must(&w, node_cmd(META_NODE_DOWN, 3, 1));
    must_not(&w, force(&w, "m", 2), 409, "the node is not up, or has no queues");
    must(&w, mirroring_up(2, 1));
    must(&w, force(&w, "m", 2));
    HOLDERS(&w, "m", "2+1-3-");
    cr_expect(ne(int, w.r.effects[0].how &META_HOW_FORCED, 0));
    world_fini(&w);
}

Test(meta_placement, lists_that_are_none_are_refused)
{
    struct world w;
    three_nodes(&w);
    struct meta_cmd c = change_isr(&w, "m", 2, 1, false);
    c.isr_change.items.len--;
    must_not(&w, c, 400, "a list of queues is none, or has too many of them");
    c.isr_change.items.len = 0;
    must_not(&w, c, 400, "a list of queues is none, or has too many of them");
    uint8_t *many = mem_zalloc((META_BATCH_MAX + 1) * META_ISR_ITEM_BYTES);
    c.isr_change.items = slice_of(many, (META_BATCH_MAX + 1) * META_ISR_ITEM_BYTES);
    must_not(&w, c, 400, "a list of queues is none, or has too many of them");
    c.isr_change.items.len -= META_ISR_ITEM_BYTES;
    must(&w, c);
    mem_free(many);
    world_fini(&w);
}

/* ---- a snapshot ---- */

static struct meta *copy_to;

static bool copy_one(void *arg, const struct meta_cmd *cmd, uint64_t first_id)
{
    return meta_replay(copy_to, cmd, first_id, arg) != META_REFUSED;
}

static struct meta *copy_of(struct world *w)
{
    struct meta_setup setup = { .hash_seed = 77, .shard_count = 2, .retire = world_retire };
    copy_to = meta_new(&setup);
    cr_assert(meta_dump(now(w), copy_one, &w->r), "%s", w->r.refusal.text);
    meta_publish(copy_to);
    return copy_to;
}

Test(meta_placement, a_snapshot_has_all_of_it_and_tells_what_differs)
{
    struct world w;
    three_nodes(&w);
    must(&w, lasting(q_declare("m2")));
    must(&w, lasting(q_declare("own")));
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    must(&w, (struct meta_cmd){ .op = META_CLUSTER_FREEZE });
    struct meta *before = copy_of(&w);
    cr_expect(eq(u64, meta_checksum(before), meta_checksum(w.meta)));
    cr_expect(eq(u64, meta_checksum_walk(before), meta_checksum(w.meta)));
    must(&w, node_cmd(META_NODE_DOWN, 2, 1)); /* the master of both */
    struct meta *after = copy_of(&w);
    cr_expect(eq(u64, meta_checksum(after), meta_checksum(w.meta)));
    meta_compare(meta_current(before), after, false, &w.r);
    cr_expect(eq(sz, effects_of(&w, META_QUEUE_PLACED), 2));
    for (size_t i = 0; i < w.r.effect_count; i++) {
        const struct meta_effect *e = &w.r.effects[i];
        if (e->kind != META_QUEUE_PLACED)
            continue;
        cr_expect(e->node_was == 2 && e->node == 3 && e->was == META_ROLE_MIRROR);
        cr_expect(eq(int, e->how, META_HOW_MASTER | META_HOW_IN_SYNC));
    }
    meta_free(&before);
    meta_free(&after);
    world_fini(&w);
}

/* ---- many ---- */

static bool count_it(void *arg, const struct meta_queue *q)
{
    (void)q;
    ++*(uint64_t *)arg;
    return true;
}

/* Of a processor, so that it does not matter what else the machine does. */
static uint64_t spent_us(void)
{
    struct timespec t;
    cr_assert(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* What befalls a node costs no more for a hundred thousand queues than for a few, and a queue with
 * three replicas takes little beside what it takes without. The yardstick is a walk over all
 * queues, in the same build: it fails if each queue is touched. */
Test(meta_placement, a_node_with_many_queues_falls_at_once, .timeout = 300)
{
    enum { QUEUES = 100000 };
    struct world w;
    world_init(&w, 1);
    mirroring_nodes(&w, 3);
    mirror_all(&w);
    for (unsigned i = 0; i < QUEUES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%c%u", i % 2 == 0 ? 'q' : 'm', i);
        struct meta_cmd c = lasting(q_declare(name));
        c.vhost_id = w.vhost;
        c.conn = 1;
        cr_assert(eq(int, (int)meta_apply(w.meta, &c, &w.r), META_DONE));
    }
    meta_publish(w.meta);
    int64_t bytes = meta_stats(w.meta).bytes;
    uint64_t masters = meta_node_queue_count(now(&w), 1);
    uint64_t before_us = spent_us();
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    uint64_t took_us = spent_us() - before_us;
    uint64_t met = 0;
    for (size_t i = 0; i < w.r.effect_count; i++)
        for (unsigned part = 0; w.r.effects[i].kind == META_COHORT_PLACED && part < META_PARTS;
             part++)
            meta_cohort_each(now(&w), w.r.effects[i].cohort, part, count_it, &met);
    cr_expect(eq(u64, met, QUEUES / 2), "each mirrored queue is met once");
    before_us = spent_us();
    uint64_t sum = meta_checksum_walk(w.meta);
    uint64_t walk_us = spent_us() - before_us;
    cr_expect(lt(u64, 8 * took_us, walk_us), "%llu us, and a walk %llu",
              (unsigned long long)took_us, (unsigned long long)walk_us);
    cr_expect(gt(u64, masters, QUEUES / 4));
    cr_expect(lt(i64, bytes / QUEUES, 600), "%lld octets a queue", (long long)bytes / QUEUES);
    cr_assert(eq(u64, meta_checksum(w.meta), sum));
    world_fini(&w);
}
