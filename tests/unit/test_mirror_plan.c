#include "cluster/mirror_plan.h"

#include "cluster/rebalance_plan.h"
#include "meta_mirrored.h"

/* A world whose leader plans, and whose masters bring their mirrors up to date. */
struct planned {
    struct world w;
    struct mirror_plan *plan;
    uint64_t now_ms;
    unsigned proposals;   /* queues in commands */
    unsigned together;    /* most mirrors of one queue that were not in sync at a time */
    uint64_t joining[16]; /* the same of queues at a node */
    bool nobody_syncs;
};

static void begin(struct planned *t, unsigned nodes)
{
    memset(t, 0, sizeof *t);
    world_init(&t->w, 1);
    mirroring_nodes(&t->w, nodes);
    t->plan = mirror_plan_new(NULL, NULL);
    t->now_ms = 1;
}

static void end(struct planned *t)
{
    mirror_plan_free(&t->plan);
    world_fini(&t->w);
}

static void carry_out(struct planned *t, const struct meta_cmd *cmds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        t->proposals += cmds[i].op == META_REPLICAS_SET
                            ? (unsigned)(cmds[i].replicas_set.items.len / META_SET_ITEM_BYTES)
                            : (unsigned)(cmds[i].master_move.items.len / META_MOVE_ITEM_BYTES);
        must(&t->w, cmds[i]);
    }
}

/* Who is up and a mirror is in sync from now on; who is not, is counted. */
static void sync_one(struct planned *t, const struct meta_queue *q)
{
    struct meta_placement p = placement_of(&t->w, q);
    unsigned waiting = 0;
    uint16_t next = 0;
    for (unsigned i = 0; i < p.count; i++) {
        const struct meta_replica *r = meta_placement_replica(&p, i);
        const struct meta_node *n = meta_node_get(now(&t->w), r->node);
        if (r->inc != 0 || !meta_node_is_serving(n))
            continue;
        waiting++;
        next = r->node;
    }
    t->together = waiting > t->together ? waiting : t->together;
    if (next != 0 && !t->nobody_syncs)
        must(&t->w, change_isr_of(&t->w, q, next, meta_node_get(now(&t->w), next)->inc, true));
}

static void sync_all(struct planned *t)
{
    const struct meta_queue *list[3000];
    size_t count = 0;
    struct pmap_iter it;
    for (size_t i = 0; i < meta_node_count(now(&t->w)); i++) {
        uint16_t node = meta_node_at(now(&t->w), i)->node;
        uint64_t joining =
            meta_node_mirror_count(now(&t->w), node) - meta_node_in_sync_count(now(&t->w), node);
        t->joining[node] = joining > t->joining[node] ? joining : t->joining[node];
    }
    pmap_iter(&it, &now(&t->w)->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        list[count++] = q;
    for (size_t i = 0; i < count; i++)
        sync_one(t, list[i]);
}

/* Until nothing is due any more, for so long. */
static void settle(struct planned *t, uint64_t for_ms)
{
    for (uint64_t until = t->now_ms + for_ms; t->now_ms < until; t->now_ms += 100) {
        size_t count;
        const struct meta_cmd *cmds = mirror_plan_turn(t->plan, now(&t->w), t->now_ms, &count);
        carry_out(t, cmds, count);
        sync_all(t);
    }
}

static void declare(struct planned *t, const char *name)
{
    must(&t->w, lasting(q_declare(name)));
}

static void policy(struct planned *t, const char *definition)
{
    must(&t->w, policy_put("ha", "^m", definition, 0));
    mirror_plan_look(t->plan);
}

/* ---- */

Test(mirror_plan, a_policy_that_comes_later_counts_and_one_that_goes_does_not)
{
    struct planned t;
    begin(&t, 3);
    declare(&t, "m");
    declare(&t, "other");
    settle(&t, 2000);
    HOLDERS(&t.w, "m", "1+");
    policy(&t, "{\"ha-mode\":\"all\",\"ha-sync-mode\":\"automatic\"}");
    settle(&t, 5000);
    HOLDERS(&t.w, "m", "1+2+3+");
    HOLDERS(&t.w, "other", "2+");
    cr_expect(eq(u32, t.proposals, 2), "one mirror after the other, and nothing said twice");
    must(&t.w, policy_clear("ha"));
    mirror_plan_look(t.plan);
    settle(&t, 5000);
    HOLDERS(&t.w, "m", "1+");
    end(&t);
}

Test(mirror_plan, mirrors_come_one_after_the_other)
{
    struct planned t;
    begin(&t, 5);
    declare(&t, "m");
    policy(&t, "{\"ha-mode\":\"all\",\"ha-sync-mode\":\"automatic\"}");
    settle(&t, 20000);
    HOLDERS(&t.w, "m", "1+2+3+4+5+");
    cr_expect(eq(u32, t.together, 1));
    end(&t);
}

Test(mirror_plan, those_that_never_may_be_in_sync_are_not_waited_for)
{
    struct planned t;
    begin(&t, 3);
    declare(&t, "m");
    t.nobody_syncs = true;
    policy(&t, "{\"ha-mode\":\"all\",\"ha-sync-mode\":\"manual\"}");
    settle(&t, 3000);
    HOLDERS(&t.w, "m", "1+2?3?");
    policy(&t, "{\"ha-mode\":\"nodes\",\"ha-params\":[\"n1\",\"n3\"]}");
    settle(&t, 3000);
    HOLDERS(&t.w, "m", "1+3?");
    end(&t);
}

Test(mirror_plan, a_node_that_joins_gets_its_mirrors)
{
    struct planned t;
    begin(&t, 2);
    policy(&t, "{\"ha-mode\":\"all\"}");
    declare(&t, "m");
    must(&t.w, node_add("n3", META_NODE_DISC));
    must(&t.w, mirroring_up(3, 1));
    mirror_plan_look(t.plan);
    settle(&t, 5000);
    HOLDERS(&t.w, "m", "1+2+3+");
    must(&t.w, node_add("n4", META_NODE_DISC)); /* cannot hold any */
    must(&t.w, node_cmd(META_NODE_UP, 4, 1));
    mirror_plan_look(t.plan);
    settle(&t, 5000);
    HOLDERS(&t.w, "m", "1+2+3+");
    end(&t);
}

Test(mirror_plan, who_is_gone_for_long_is_replaced)
{
    struct planned t;
    begin(&t, 4);
    policy(&t, "{\"ha-mode\":\"exactly\",\"ha-params\":2,\"ha-replace-after\":10000,"
               "\"ha-sync-mode\":\"automatic\"}");
    declare(&t, "m");
    HOLDERS(&t.w, "m", "1+2+");
    must(&t.w, node_cmd(META_NODE_DOWN, 2, 1));
    mirror_plan_look(t.plan);
    settle(&t, 9000);
    HOLDERS(&t.w, "m", "1+2-");
    settle(&t, 60000);
    HOLDERS(&t.w, "m", "1+3+");
    must(&t.w, mirroring_up(2, 2));
    mirror_plan_look(t.plan);
    settle(&t, 10000);
    HOLDERS(&t.w, "m", "1+3+");
    end(&t);
}

Test(mirror_plan, those_that_go_stay_until_those_that_come_are_in_sync)
{
    struct planned t;
    begin(&t, 4);
    policy(&t,
           "{\"ha-mode\":\"nodes\",\"ha-params\":[\"n1\",\"n2\"],\"ha-sync-mode\":\"automatic\"}");
    declare(&t, "m");
    HOLDERS(&t.w, "m", "1+2+");
    t.nobody_syncs = true;
    policy(&t,
           "{\"ha-mode\":\"nodes\",\"ha-params\":[\"n3\",\"n4\"],\"ha-sync-mode\":\"automatic\"}");
    settle(&t, 5000);
    HOLDERS(&t.w, "m", "1+2+3?");
    t.nobody_syncs = false;
    settle(&t, 20000);
    HOLDERS(&t.w, "m", "3+4+");
    end(&t);
}

Test(mirror_plan, a_node_is_not_flooded)
{
    struct planned t;
    begin(&t, 2);
    enum { QUEUES = 2500 };
    for (unsigned i = 0; i < QUEUES; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%u", i);
        struct meta_cmd c = lasting(q_declare(name));
        c.vhost_id = t.w.vhost;
        c.conn = 1;
        cr_assert(eq(int, (int)meta_apply(t.w.meta, &c, &t.w.r), META_DONE));
    }
    meta_publish(t.w.meta);
    policy(&t, "{\"ha-mode\":\"all\",\"ha-sync-mode\":\"automatic\"}");
    t.nobody_syncs = true;
    settle(&t, 1000);
    cr_expect(le(u64, t.joining[1], MIRROR_PLAN_JOINING));
    cr_expect(le(u64, t.joining[2], MIRROR_PLAN_JOINING));
    cr_expect(eq(u64, t.joining[1], MIRROR_PLAN_JOINING));
    t.nobody_syncs = false;
    settle(&t, 30000);
    cr_expect(eq(u64, meta_node_in_sync_count(now(&t.w), 1) + meta_node_in_sync_count(now(&t.w), 2),
                 QUEUES));
    cr_expect(le(u64, t.joining[1], MIRROR_PLAN_JOINING));
    end(&t);
}

Test(mirror_plan, who_is_promoted_always_is_said_later, .init = NULL)
{
    struct planned t;
    begin(&t, 2);
    policy(&t, "{\"ha-mode\":\"all\"}");
    declare(&t, "m");
    cr_expect(not(placement(&t.w, "m").always_on_failure));
    policy(&t, "{\"ha-mode\":\"all\",\"ha-promote-on-failure\":\"always\"}");
    settle(&t, 3000);
    cr_expect(placement(&t.w, "m").always_on_failure);
    cr_expect(eq(u32, t.proposals, 1));
    settle(&t, 10000);
    cr_expect(eq(u32, t.proposals, 1));
    end(&t);
}

/* Without nodes that can hold mirrors nothing is looked at. */
Test(mirror_plan, nothing_is_planned_where_nothing_can_be)
{
    struct planned t;
    memset(&t, 0, sizeof t);
    world_init(&t.w, 1);
    world_nodes(&t.w, 3);
    t.plan = mirror_plan_new(NULL, NULL);
    declare(&t, "m");
    policy(&t, "{\"ha-mode\":\"all\"}");
    settle(&t, 3000);
    cr_expect(eq(u32, t.proposals, 0));
    cr_expect(not(mirror_plan_is_due(t.plan, t.now_ms + 100000)));
    end(&t);
}

/* ---- masters ---- */

static unsigned rebalance(struct planned *t, struct rebalance_plan *p, uint64_t for_ms,
                          unsigned *most)
{
    unsigned moves = 0, second = 0;
    for (uint64_t i = 0; i < for_ms; i += 100, t->now_ms += 100) {
        const struct meta_cmd *c = rebalance_plan_turn(p, now(&t->w), t->now_ms);
        second = i % 1000 == 0 ? 0 : second;
        if (c == NULL)
            continue;
        unsigned count = (unsigned)(c->master_move.items.len / META_MOVE_ITEM_BYTES);
        moves += count;
        second += count;
        *most = second > *most ? second : *most;
        must(&t->w, *c);
    }
    return moves;
}

/* All masters are on the node that was first: the others were away. */
static void lopsided(struct planned *t, unsigned queues)
{
    begin(t, 3);
    policy(t, "{\"ha-mode\":\"all\"}");
    for (unsigned i = 0; i < queues; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%u", i);
        declare(t, name);
    }
    for (unsigned i = 2; i <= 3; i++) {
        must(&t->w, node_cmd(META_NODE_DOWN, i, 1));
        must(&t->w, mirroring_up(i, 1));
    }
    sync_all(t);
    sync_all(t);
    cr_assert(eq(u64, meta_node_queue_count(now(&t->w), 1), queues));
}

Test(rebalance_plan, masters_are_spread_a_few_in_a_second)
{
    struct planned t;
    struct rebalance_plan *p = rebalance_plan_new();
    unsigned most = 0;
    lopsided(&t, 90);
    cr_expect(eq(u32, rebalance(&t, p, 1000, &most), 0), "nobody has asked");
    rebalance_plan_ask(p, NULL);
    cr_expect(rebalance_plan_is_busy(p));
    unsigned moves = rebalance(&t, p, 20000, &most);
    cr_expect(le(u32, most, 2 * REBALANCE_PER_SECOND));
    cr_expect(le(u64, meta_node_queue_count(now(&t.w), 1), 33));
    cr_expect(ge(u64, meta_node_queue_count(now(&t.w), 2), 27));
    cr_expect(ge(u64, meta_node_queue_count(now(&t.w), 3), 27));
    cr_expect(le(u32, moves, 60), "none is moved twice");
    cr_expect(not(rebalance_plan_is_busy(p)));
    rebalance_plan_free(&p);
    end(&t);
}

Test(rebalance_plan, only_what_is_named_moves)
{
    struct planned t;
    struct rebalance_plan *p = rebalance_plan_new();
    struct pattern_error err;
    struct pattern *names = pattern_new(S("^m1$"), &err);
    unsigned most = 0;
    lopsided(&t, 30);
    rebalance_plan_ask(p, names);
    cr_expect(eq(u32, rebalance(&t, p, 20000, &most), 1));
    cr_expect(ne(u32, placement(&t.w, "m1").master, 1));
    rebalance_plan_free(&p);
    pattern_free(&names);
    end(&t);
}

Test(rebalance_plan, by_itself_only_when_all_have_been_up_for_a_while)
{
    struct planned t;
    struct rebalance_plan *p = rebalance_plan_new();
    unsigned most = 0;
    lopsided(&t, 30);
    rebalance_plan_set_automatic(p, true);
    cr_expect(eq(u32, rebalance(&t, p, REBALANCE_SETTLED_MS - 1000, &most), 0));
    must(&t.w, node_cmd(META_NODE_DRAIN, 3, 1));
    cr_expect(eq(u32, rebalance(&t, p, REBALANCE_SETTLED_MS, &most), 0));
    must(&t.w, mirroring_up(3, 1));
    cr_expect(eq(u32, rebalance(&t, p, REBALANCE_SETTLED_MS - 1000, &most), 0));
    cr_expect(gt(u32, rebalance(&t, p, 10000, &most), 10));
    rebalance_plan_free(&p);
    end(&t);
}

Test(rebalance_plan, nobody_gets_what_it_is_not_in_sync_for)
{
    struct planned t;
    struct rebalance_plan *p = rebalance_plan_new();
    unsigned most = 0;
    lopsided(&t, 30);
    must(&t.w, node_cmd(META_NODE_DOWN, 3, 1));
    must(&t.w, mirroring_up(3, 1));
    rebalance_plan_ask(p, NULL);
    rebalance(&t, p, 20000, &most);
    cr_expect(eq(u64, meta_node_queue_count(now(&t.w), 3), 0));
    cr_expect(ge(u64, meta_node_queue_count(now(&t.w), 2), 9));
    rebalance_plan_free(&p);
    end(&t);
}

Test(rebalance_plan, a_node_that_is_draining_gives_all_away_without_being_asked)
{
    struct planned t;
    struct rebalance_plan *p = rebalance_plan_new();
    unsigned most = 0;
    lopsided(&t, 150);
    cr_expect(rebalance_plan_may_drain(now(&t.w), 1));
    cr_expect(not(rebalance_plan_may_drain(now(&t.w), 2)), "it has no master");
    must(&t.w, node_cmd(META_NODE_DRAIN, 1, 1));
    cr_expect(eq(u32, rebalance(&t, p, 1000, &most), 150));
    cr_expect(eq(u64, meta_node_queue_count(now(&t.w), 1), 0));
    cr_expect(eq(u64, meta_node_queue_count(now(&t.w), 2), 75));
    cr_expect(not(rebalance_plan_may_drain(now(&t.w), 1)));
    must(&t.w, node_cmd(META_NODE_DRAIN, 2, 1));
    cr_expect(eq(u32, rebalance(&t, p, 1000, &most), 75));
    cr_expect(eq(u64, meta_node_queue_count(now(&t.w), 1), 0), "who drains gets nothing");
    must(&t.w, node_cmd(META_NODE_DRAIN, 3, 1));
    cr_expect(not(rebalance_plan_may_drain(now(&t.w), 3)), "there is nobody left to take it");
    cr_expect(eq(u32, rebalance(&t, p, 1000, &most), 0));
    rebalance_plan_free(&p);
    end(&t);
}
