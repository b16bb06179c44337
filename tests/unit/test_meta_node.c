#include "meta_nodes.h"
#include "model/exchange.h"

Test(meta_node, begins_down_and_comes_up)
{
    struct world w;
    world_init(&w, 1);
    cr_expect(eq(sz, meta_node_count(now(&w)), 0));
    struct meta_cmd c = node_add("rabbit@a", META_NODE_DISC);
    c.node.cluster_address = S("a:25672");
    must(&w, c);
    cr_assert(eq(u64, w.r.id, 1));
    cr_expect(eq(sz, effects_of(&w, META_NODES_CHANGED), 1));
    const struct meta_node *n = node_now(&w, 1);
    cr_expect(n->state == META_NODE_IS_DOWN && n->type == META_NODE_DISC && n->inc == 0);
    cr_expect(slice_is(n->name, "rabbit@a") && slice_is(n->cluster_address, "a:25672"));

    c = node_cmd(META_NODE_UP, 1, 7);
    c.node.amqp_address = S("a:5672");
    c.node.management_address = S("a:15672");
    must(&w, c);
    n = node_now(&w, 1);
    cr_expect(n->state == META_NODE_IS_UP && n->inc == 7);
    cr_expect(eq(u64, n->since, meta_index(w.meta)));
    cr_expect(slice_is(n->cluster_address, "a:25672") && slice_is(n->amqp_address, "a:5672") &&
              slice_is(n->management_address, "a:15672"));
    cr_expect(meta_node_find(now(&w), S("rabbit@a")) == n);
    cr_expect(meta_node_find(now(&w), S("rabbit@b")) == NULL);
    world_fini(&w);
}

Test(meta_node, never_gives_a_number_again)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 3);
    must(&w, node_cmd(META_NODE_REMOVE, 3, 0));
    cr_expect(node_now(&w, 3) == NULL);
    must(&w, node_add("n3", META_NODE_DISC));
    cr_expect(eq(u64, w.r.id, 4));
    must(&w, node_cmd(META_NODE_REMOVE, 2, 0));
    cr_assert(eq(sz, meta_node_count(now(&w)), 2));
    cr_expect(meta_node_at(now(&w), 0)->node == 1 && meta_node_at(now(&w), 1)->node == 4);
    cr_expect(eq(int, now(&w)->last_node, 4));
    world_fini(&w);
}

Test(meta_node, knows_a_machine_that_asks_twice_from_one_under_its_name)
{
    struct world w;
    world_init(&w, 1);
    struct meta_cmd c = node_add("n1", META_NODE_DISC);
    c.node.place = 77;
    must(&w, c);
    must(&w, c);
    cr_expect(eq(u64, w.r.id, 1));
    cr_expect(eq(sz, w.r.effect_count, 0));
    c.node.place = 78;
    must_not(&w, c, 409, "node 'n1' is a member of the cluster already, with other data");
    world_fini(&w);
}

Test(meta_node, keeps_a_disc_node)
{
    struct world w;
    world_init(&w, 1);
    must_not(&w, node_add("r", META_NODE_RAM), 409,
             "node 'r' would be the first and is no disc node");
    must_not(&w, node_add("", META_NODE_DISC), 400, "node '' has no name that a node can have");
    world_nodes(&w, 1);
    must_not(&w, node_cmd(META_NODE_REMOVE, 1, 0), 409, "node 'n1' is the only disc node");
    must_not(&w, node_type(1, META_NODE_RAM), 409, "node 'n1' is the only disc node");
    must(&w, node_add("ram", META_NODE_RAM));
    must_not(&w, node_type(1, META_NODE_RAM), 409, "node 'n1' is the only disc node");
    must(&w, node_type(2, META_NODE_DISC));
    must(&w, node_type(1, META_NODE_RAM));
    cr_expect(node_now(&w, 1)->type == META_NODE_RAM);
    must_not(&w, node_type(9, META_NODE_RAM), 404, "node 9 is no member of the cluster");
    must_not(&w, node_cmd(META_NODE_UP, 9, 1), 404, "node 9 is no member of the cluster");
    world_fini(&w);
}

Test(meta_node, takes_late_words_for_what_they_are)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 2);
    must(&w, node_cmd(META_NODE_UP, 2, 5));
    must(&w, node_cmd(META_NODE_UP, 2, 4)); /* of an earlier life */
    cr_expect(eq(u32, node_now(&w, 2)->inc, 5));
    cr_expect(eq(sz, w.r.effect_count, 0));
    must(&w, node_cmd(META_NODE_DOWN, 2, 4));
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_UP);
    must(&w, node_cmd(META_NODE_DOWN, 2, 6));
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_UP);
    must(&w, node_cmd(META_NODE_STOPPED, 2, 4));
    must(&w, node_cmd(META_NODE_DRAIN, 2, 4));
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_UP);
    must(&w, node_cmd(META_NODE_DOWN, 2, 5));
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_DOWN);
    cr_expect(eq(sz, effects_of(&w, META_NODE_LOST), 1));
    must(&w, node_cmd(META_NODE_DOWN, 2, 5));
    cr_expect(eq(sz, w.r.effect_count, 0));
    must(&w, node_cmd(META_NODE_DRAIN, 2, 5)); /* it is down */
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_DOWN);
    must(&w, node_cmd(META_NODE_STOPPED, 2, 5));
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_STOPPED);
    cr_expect(eq(sz, effects_of(&w, META_NODE_LOST), 0));
    must(&w, node_cmd(META_NODE_DOWN, 9, 5)); /* was removed, perhaps */
    must(&w, node_cmd(META_NODE_REMOVE, 9, 0));
    world_fini(&w);
}

Test(meta_node, only_a_leader_says_when_a_node_is_well_again)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 2);
    must(&w, node_cmd(META_NODE_WELL, 2, 1));
    cr_expect(eq(sz, w.r.effect_count, 0));
    must(&w, node_cmd(META_NODE_UNWELL, 2, 1));
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_UNWELL);
    cr_expect(meta_node_is_serving(node_now(&w, 2)) && !meta_node_is_fit(node_now(&w, 2)));
    must(&w, node_cmd(META_NODE_UP, 2, 1));
    must(&w, node_cmd(META_NODE_WELL, 2, 9));
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_UNWELL);
    must(&w, q_declare("q"));
    must(&w, q_declare("q2"));
    cr_expect(eq(uint, queue_now(&w, "q2")->node, 1)); /* it gets no more */
    must(&w, node_cmd(META_NODE_WELL, 2, 1));
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_UP);
    must(&w, node_cmd(META_NODE_UNWELL, 2, 1));
    must(&w, node_cmd(META_NODE_UP, 2, 2)); /* another process may be */
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_UP);
    must(&w, node_cmd(META_NODE_UNWELL, 2, 2));
    must(&w, node_cmd(META_NODE_DRAIN, 2, 2));
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_DRAINING);
    must(&w, node_cmd(META_NODE_UNWELL, 2, 2)); /* it goes anyway */
    cr_expect(node_now(&w, 2)->state == META_NODE_IS_DRAINING);
    world_fini(&w);
}

/* ---- where queues live ---- */

static unsigned home(const struct world *w, const char *name)
{
    return queue_now(w, name)->node;
}

static struct meta_cmd located(const char *name, struct args *a, const char *how)
{
    struct meta_cmd c = q_declare(name);
    c.queue_declare.args = args_str(a, "x-queue-master-locator", how);
    return c;
}

Test(meta_node, gives_queues_to_those_that_have_fewest)
{
    struct world w;
    world_init(&w, 1);
    must(&w, lasting(q_declare("before")));
    cr_expect(eq(uint, home(&w, "before"), 1)); /* of a node that was never in a cluster */
    world_nodes(&w, 3);
    must(&w, q_declare("a"));
    must(&w, lasting(q_declare("b")));
    must(&w, q_declare("c"));
    cr_expect(eq(uint, home(&w, "a"), 2));
    cr_expect(eq(uint, home(&w, "b"), 3));
    cr_expect(eq(uint, home(&w, "c"), 1));
    cr_expect(eq(u64, meta_node_queue_count(now(&w), 1), 2));
    cr_expect(eq(u64, meta_node_queue_count(now(&w), 3), 1));
    must(&w, q_delete("b"));
    must(&w, q_declare("d"));
    cr_expect(eq(uint, home(&w, "d"), 3));
    cr_expect(eq(u64, queue_now(&w, "d")->epoch, meta_index(w.meta)));
    world_fini(&w);
}

Test(meta_node, gives_none_to_those_that_are_not_there_to_stay)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 3);
    must(&w, node_add("wit", META_NODE_WITNESS));
    must(&w, node_cmd(META_NODE_UP, 4, 1));
    must(&w, node_cmd(META_NODE_DRAIN, 1, 1));
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "q%d", i);
        must(&w, q_declare(name));
        cr_expect(eq(uint, home(&w, name), 3));
    }
    must(&w, node_cmd(META_NODE_DOWN, 3, 1));
    must(&w, q_declare("last"));
    cr_expect(eq(uint, home(&w, "last"), 1)); /* there is no other left */
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    must_not(&w, q_declare("none"), 506,
             "no node is up that queue 'none' in vhost '/' could live on");
    world_fini(&w);
}

Test(meta_node, hears_where_a_queue_is_wanted)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    world_nodes(&w, 3);
    cr_assert(world_entry(&w, 3, 1, 1, located("l1", &a, "client-local")) == META_APPLIED);
    cr_expect(eq(uint, home(&w, "l1"), 3));
    cr_assert(world_entry(&w, 3, 1, 2, located("l2", &a, "client-local")) == META_APPLIED);
    cr_expect(eq(uint, home(&w, "l2"), 3));
    cr_assert(world_entry(&w, 3, 1, 3, q_declare("m")) == META_APPLIED);
    cr_expect(eq(uint, home(&w, "m"), 1));
    must(&w, policy_put("p", "^p", "{\"queue-master-locator\":\"client-local\"}", 0));
    cr_assert(world_entry(&w, 3, 1, 4, q_declare("p1")) == META_APPLIED);
    cr_expect(eq(uint, home(&w, "p1"), 3));
    cr_assert(world_entry(&w, 3, 1, 5, located("p2", &a, "min-masters")) == META_APPLIED);
    cr_expect(eq(uint, home(&w, "p2"), 2), "the argument goes before the policy");
    cr_assert(world_entry(&w, 3, 1, 6, located("p3", &a, "odd")) == META_APPLIED);
    cr_expect(eq(uint, home(&w, "p3"), 3), "a word nobody knows is none");
    must(&w, located("nobody", &a, "client-local"));
    cr_expect(home(&w, "nobody") != 3, "by the fewest");

    unsigned seen = 0;
    for (int i = 0; i < 40; i++) {
        char name[8];
        snprintf(name, sizeof name, "r%d", i);
        must(&w, located(name, &a, "random"));
        seen |= 1u << home(&w, name);
    }
    cr_expect(eq(uint, seen, 14), "all of them by chance");
    world_fini(&w);
}

Test(meta_node, has_exclusive_queues_with_their_connections)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 3);
    struct meta_cmd c = q_declare("e");
    c.queue_declare.exclusive = true;
    w.conn = id_make(3, 2, 9);
    must(&w, c);
    cr_expect(eq(uint, home(&w, "e"), 3));
    w.conn = id_make(2, 2, 9); /* the same but for its node */
    must_not(&w, c, 405,
             "cannot obtain exclusive access to locked queue 'e' in vhost '/'. It could be "
             "originally declared on another connection or the exclusive property value does not "
             "match that of the original declaration.");
    must(&w, (struct meta_cmd){ .op = META_OWNER_GONE });
    cr_expect(queue_now(&w, "e") != NULL);
    w.conn = id_make(3, 2, 9);
    must(&w, (struct meta_cmd){ .op = META_OWNER_GONE });
    cr_expect(queue_now(&w, "e") == NULL);
    w.conn = 0; /* of a peer that is out of its mind */
    must_not(&w, c, 506, "no node is up that queue 'e' in vhost '/' could live on");
    w.conn = id_make(9, 0, 1);
    must_not(&w, c, 506, "no node is up that queue 'e' in vhost '/' could live on");
    world_fini(&w);
}

/* ---- a node that is gone ---- */

/* On node 2: durable and transient queues and one exclusive one, and the like on others. */
static void populate(struct world *w)
{
    struct args a;
    struct meta_cmd auto_delete = x_declare("auto", "fanout");
    auto_delete.exchange_declare.auto_delete = true;
    struct meta_cmd auto_too = x_declare("auto-too", "fanout");
    auto_too.exchange_declare.auto_delete = true;
    world_nodes(w, 3);
    must(w, lasting(x_declare("x", "direct")));
    must(w, x_declare("tx", "direct"));
    must(w, auto_delete);
    must(w, auto_too);
    cr_assert(world_entry(w, 2, 1, 1, lasting(located("d2", &a, "client-local"))) == META_APPLIED);
    cr_assert(world_entry(w, 2, 1, 2, located("t2", &a, "client-local")) == META_APPLIED);
    cr_assert(world_entry(w, 3, 1, 1, located("t3", &a, "client-local")) == META_APPLIED);
    struct meta_cmd e = q_declare("e2");
    e.queue_declare.exclusive = true;
    w->conn = id_make(2, 0, 1);
    must(w, e);
    w->conn = id_make(3, 0, 1);
    must(w, q_bind("x", "d", "d2"));
    must(w, q_bind("x", "t", "t2"));
    must(w, q_bind("x", "t", "t3"));
    must(w, q_bind("auto", "", "t2"));
    must(w, q_bind("auto-too", "", "t2"));
    must(w, q_bind("auto-too", "", "t3"));
}

#define HOME_DOWN "home node 'n2' of durable queue 'd2' in vhost '/' is down or inaccessible"

static size_t route(const struct world *w, const char *exchange, const char *key)
{
    struct route_out out;
    struct meta_refusal why;
    route_out_init(&out);
    struct route_in in = { .vhost_id = w->vhost, .exchange = S(exchange), .key = S(key) };
    cr_assert(exchange_route(now(w), &in, &out, &why));
    size_t count = out.count;
    route_out_fini(&out);
    return count;
}

static void is_lost(struct world *w)
{
    cr_expect(queue_now(w, "d2") != NULL);
    cr_expect(queue_now(w, "t2") == NULL && queue_now(w, "e2") == NULL);
    cr_expect(queue_now(w, "t3") != NULL);
    cr_expect(exchange_now(w, "auto") == NULL);
    cr_expect(eq(u64, exchange_now(w, "auto-too")->binding_count, 1));
    cr_expect(eq(u64, exchange_now(w, "x")->binding_count, 2));
    cr_expect(exchange_now(w, "tx") != NULL);
    cr_expect(eq(u64, meta_node_queue_count(now(w), 2), 1));
}

static void is_refused(struct world *w)
{
    struct meta_cmd passive = q_declare("d2");
    passive.queue_declare.passive = true;
    must_not(w, passive, 404, HOME_DOWN);
    must_not(w, lasting(q_declare("d2")), 404, HOME_DOWN);
    must_not(w, q_declare("d2"), 404, HOME_DOWN); /* before it is compared */
    must_not(w, q_bind("x", "d", "d2"), 404, HOME_DOWN);
    must_not(w, q_bind("x", "new", "d2"), 404, HOME_DOWN);
    must_not(w, q_unbind("x", "d", "d2"), 404, HOME_DOWN);
    must_not(w, q_unbind("x", "none", "d2"), 404, HOME_DOWN);
    must_not(w, q_delete("d2"), 404, HOME_DOWN);
}

Test(meta_node, takes_along_what_does_not_last)
{
    static const enum meta_op ways[] = { META_NODE_DOWN, META_NODE_STOPPED };
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        world_init(&w, 1);
        populate(&w);
        must(&w, node_cmd(ways[i], 2, 1));
        cr_expect(eq(sz, effects_of(&w, META_QUEUE_DELETED), 2));
        cr_expect(eq(int, w.r.effects[0].node, 2));
        cr_expect(eq(sz, effects_of(&w, META_NODE_LOST), 1));
        is_lost(&w);
        is_refused(&w);
        must(&w, q_declare("t2"));
        cr_expect(eq(uint, home(&w, "t2"), 1), "made anew elsewhere");
        world_fini(&w);
    }
}

Test(meta_node, is_passed_by_while_it_is_down)
{
    struct world w;
    world_init(&w, 1);
    populate(&w);
    struct meta_cmd alternate = x_declare("alt", "direct");
    struct args a;
    alternate.exchange_declare.args = args_str(&a, "alternate-exchange", "amq.fanout");
    must(&w, alternate);
    must(&w, q_bind("alt", "d", "d2"));
    must(&w, q_bind("amq.fanout", "", "t3"));
    cr_expect(eq(sz, route(&w, "x", "d"), 1));
    cr_expect(eq(sz, route(&w, "", "d2"), 1));
    cr_expect(eq(sz, route(&w, "x", "t"), 2));
    uint64_t routes = now(&w)->routes;
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    cr_expect(now(&w)->routes > routes);
    cr_expect(eq(sz, route(&w, "x", "d"), 0));
    cr_expect(eq(sz, route(&w, "", "d2"), 0));
    cr_expect(eq(sz, route(&w, "x", "t"), 1));
    cr_expect(eq(sz, route(&w, "alt", "d"), 1), "by its alternate");
    cr_expect(not(meta_queue_is_served(now(&w), queue_now(&w, "d2"))));

    meta_set_node(w.meta, 2); /* whatever others made of it */
    meta_publish(w.meta);
    cr_expect(eq(sz, route(&w, "x", "d"), 1));
    cr_expect(meta_queue_is_served(now(&w), queue_now(&w, "d2")));
    meta_set_node(w.meta, 1);
    must(&w, node_cmd(META_NODE_UP, 2, 1));
    cr_expect(eq(sz, route(&w, "x", "d"), 1));
    world_fini(&w);
}

Test(meta_node, is_up_again_with_nothing_else_changed)
{
    struct world w;
    world_init(&w, 1);
    populate(&w);
    uint64_t epoch = meta_queue_epoch(now(&w), queue_now(&w, "d2"));
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    must(&w, node_cmd(META_NODE_UP, 2, 1));
    is_lost(&w);
    cr_expect(eq(sz, effects_of(&w, META_NODE_LOST), 0));
    cr_expect(eq(u64, meta_queue_epoch(now(&w), queue_now(&w, "d2")), epoch));
    must(&w, q_bind("x", "new", "d2"));
    must(&w, node_cmd(META_NODE_UP, 2, 1));
    cr_expect(eq(sz, w.r.effect_count, 0));
    world_fini(&w);
}

Test(meta_node, loses_it_all_the_same_when_nobody_saw_it_down)
{
    struct world w;
    world_init(&w, 1);
    populate(&w);
    must(&w, node_cmd(META_NODE_UP, 2, 2));
    cr_expect(eq(sz, effects_of(&w, META_QUEUE_DELETED), 2));
    cr_expect(eq(sz, effects_of(&w, META_NODE_LOST), 1));
    is_lost(&w);
    cr_expect(eq(u64, meta_queue_epoch(now(&w), queue_now(&w, "d2")), meta_index(w.meta)),
              "a restarted node does not go on with an old epoch");
    world_fini(&w);
}

Test(meta_node, keeps_transient_exchanges_while_one_is_up)
{
    struct world w;
    world_init(&w, 1);
    populate(&w);
    must(&w, x_bind("x", "k", "tx"));
    must(&w, node_cmd(META_NODE_DOWN, 3, 1));
    must(&w, node_cmd(META_NODE_UP, 3, 2));
    cr_expect(exchange_now(&w, "tx") != NULL);
    must(&w, node_cmd(META_NODE_DOWN, 1, 1));
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    must(&w, node_cmd(META_NODE_UP, 3, 3));
    cr_expect(exchange_now(&w, "tx") == NULL);
    cr_expect(exchange_now(&w, "auto-too") == NULL);
    cr_expect(exchange_now(&w, "x") != NULL);
    cr_expect(exchange_now(&w, "amq.direct") != NULL);
    cr_expect(eq(u64, exchange_now(&w, "x")->binding_count, 1)); /* to d2 */
    world_fini(&w);
}

Test(meta_node, takes_all_along_when_it_is_forgotten)
{
    struct world w;
    world_init(&w, 1);
    populate(&w);
    uint64_t d2 = queue_now(&w, "d2")->qid;
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    must(&w, node_cmd(META_NODE_REMOVE, 2, 0));
    cr_expect(eq(sz, effects_of(&w, META_QUEUE_DELETED), 1));
    cr_expect(queue_now(&w, "d2") == NULL);
    cr_expect(eq(sz, bindings_to(&w, d2), 0));
    cr_expect(eq(u64, exchange_now(&w, "x")->binding_count, 1));
    cr_expect(eq(sz, route(&w, "", "d2"), 0));
    must(&w, lasting(q_declare("d2")));
    cr_expect(eq(uint, home(&w, "d2"), 1));
    must(&w, node_cmd(META_NODE_REMOVE, 3, 0)); /* it runs */
    cr_expect(eq(sz, effects_of(&w, META_NODE_LOST), 1));
    cr_expect(queue_now(&w, "t3") == NULL);
    world_fini(&w);
}

Test(meta_node, has_one_cluster_id)
{
    struct world w;
    world_init(&w, 1);
    struct meta_cmd c = { .op = META_CLUSTER_FORM, .name = S("0123456789abcdef"), .qid = 1000 };
    must(&w, c);
    cr_expect(memcmp(now(&w)->cluster_id, "0123456789abcdef", 16) == 0);
    must(&w, c);
    must(&w, q_declare("q"));
    cr_expect(eq(u64, queue_now(&w, "q")->qid, 1001));
    c.name = S("0123456789abcdeF");
    must_not(&w, c, 409, "a cluster has one id, for good");
    c.name = S("0123");
    must_not(&w, c, 400, "a cluster has one id, for good");
    world_fini(&w);
}
