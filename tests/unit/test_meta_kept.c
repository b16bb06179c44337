#include "meta_nodes.h"

static struct meta_cmd kept_queue(const struct world *w, const char *name, uint64_t qid)
{
    struct meta_cmd c = { .op = META_KEPT_QUEUE, .name = S(name), .qid = qid };
    c.vhost_id = w->vhost;
    c.kept_queue.node = 2;
    c.kept_queue.epoch = 17;
    return c;
}

static enum meta_verdict replay(struct world *w, struct meta_cmd cmd)
{
    enum meta_verdict v = meta_replay(w->meta, &cmd, 0, &w->r);
    meta_publish(w->meta);
    return v;
}

static void refuses(struct world *w, struct meta_cmd cmd, const char *why)
{
    cr_expect(replay(w, cmd) == META_REFUSED, "%s", why);
    cr_expect(eq(str, w->r.refusal.text, (char *)(uintptr_t)why));
}

Test(meta_kept, makes_queues_as_they_were)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    struct meta_cmd c = kept_queue(&w, "q", 5000);
    c.conn = id_make(2, 3, 4);
    c.kept_queue.auto_delete = true;
    c.kept_queue.args = args_int(&a, "x-max-length", 5);
    cr_assert(replay(&w, c) == META_DONE, "%s", w.r.refusal.text);
    const struct meta_queue *q = queue_now(&w, "q");
    cr_expect(q->qid == 5000 && q->node == 2 && q->epoch == 17 && q->owner == c.conn);
    cr_expect(q->auto_delete && !q->durable && slice_eq(meta_queue_args(q), c.kept_queue.args));
    cr_expect(eq(u64, meta_node_queue_count(now(&w), 2), 1));
    cr_expect(eq(u64, now(&w)->last_id, 5000));
    w.conn = c.conn;
    must(&w, (struct meta_cmd){ .op = META_OWNER_GONE });
    cr_expect(queue_now(&w, "q") == NULL);
    world_fini(&w);
}

Test(meta_kept, has_bindings_of_queues_whose_node_is_down)
{
    struct world w;
    world_init(&w, 1);
    struct meta_cmd n = node_cmd(META_KEPT_NODE, 2, 1);
    n.name = S("n2");
    cr_assert(replay(&w, n) == META_DONE);
    cr_assert(replay(&w, kept_queue(&w, "q", 5000)) == META_DONE);
    struct meta_cmd b = q_bind("amq.direct", "k", "q");
    b.vhost_id = w.vhost;
    cr_expect(replay(&w, b) == META_DONE, "%s", w.r.refusal.text);
    cr_expect(eq(sz, bindings_to(&w, 5000), 1));
    must_not(&w, q_bind("amq.direct", "other", "q"), 404,
             "home node 'n2' of durable queue 'q' in vhost '/' is down or inaccessible");
    world_fini(&w);
}

Test(meta_kept, refuses_what_cannot_be)
{
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("there"));
    refuses(&w, kept_queue(&w, "there", 5000), "a queue that is there already");
    refuses(&w, kept_queue(&w, "q", w.vhost), "a queue that is there already");
    refuses(&w, kept_queue(&w, "q", 0), "a queue that cannot be");
    refuses(&w, kept_queue(&w, "q", UINT64_MAX), "a queue that cannot be");
    struct meta_cmd c = kept_queue(&w, "q", 5000);
    c.kept_queue.node = 0;
    refuses(&w, c, "a queue that cannot be");
    c = kept_queue(&w, "q", 5000);
    c.conn = 1;
    c.kept_queue.durable = true;
    refuses(&w, c, "a queue that cannot be");
    c = kept_queue(&w, "q", 5000);
    c.vhost_id = 4999;
    refuses(&w, c, "a queue of no vhost");
    struct meta_cmd n = node_cmd(META_KEPT_NODE, 2, 1);
    refuses(&w, n, "a node that cannot be");
    n.name = S("n2");
    cr_expect(replay(&w, n) == META_DONE);
    refuses(&w, n, "a node that is there already");
    n.node.node = 3;
    refuses(&w, n, "a node that is there already");
    struct meta_cmd o = { .op = META_KEPT_ORIGIN, .qid = 9 };
    o.kept_origin.node = 3;
    refuses(&w, o, "operations of a node that is not there");
    o.kept_origin.node = 2;
    refuses(&w, o, "operations of a node that is not there");
    struct meta_cmd s = { .op = META_KEPT_STATE, .name = S("0123456789abcdef"), .qid = 1 };
    refuses(&w, s, "less than what is there");
    must_not(&w, s, 400, "this is said by snapshots alone");
    world_fini(&w);
}

Test(meta_kept, has_nodes_and_operations_where_they_were)
{
    struct world w;
    world_init(&w, 1);
    struct meta_cmd n = node_cmd(META_KEPT_NODE, 7, 3);
    n.name = S("n7");
    n.node.type = META_NODE_RAM;
    n.node.state = META_NODE_IS_DRAINING;
    n.node.since = 40;
    n.node.place = 41;
    n.node.amqp_address = S("h:1");
    cr_assert(replay(&w, n) == META_DONE);
    struct meta_cmd o = { .op = META_KEPT_ORIGIN, .qid = 9 };
    o.kept_origin.node = 7;
    o.kept_origin.inc = 3;
    cr_assert(replay(&w, o) == META_DONE);
    struct meta_cmd s = { .op = META_KEPT_STATE, .name = S("0123456789abcdef"), .qid = 1000 };
    s.kept_state.index = 50;
    s.kept_state.last_node = 11;
    cr_assert(replay(&w, s) == META_DONE, "%s", w.r.refusal.text);
    const struct meta_node *k = node_now(&w, 7);
    cr_expect(k->inc == 3 && k->type == META_NODE_RAM && k->state == META_NODE_IS_DRAINING);
    cr_expect(k->since == 40 && k->place == 41 && slice_is(k->amqp_address, "h:1"));
    cr_expect(now(&w)->index == 50 && now(&w)->last_id == 1000 && now(&w)->last_node == 11);
    cr_expect(world_entry(&w, 7, 3, 9, q_declare("a")) == META_REPEATED);
    cr_expect(world_entry(&w, 7, 3, 10, q_declare("a")) == META_APPLIED);
    must(&w, node_add("n12", META_NODE_DISC));
    cr_expect(eq(u64, w.r.id, 12));
    world_fini(&w);
}
