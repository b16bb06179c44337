/*
 * meta_nodes: the cluster's commands in short, for the tests of meta.
 */
#ifndef WARREN_META_NODES_H
#define WARREN_META_NODES_H

#include "cluster/meta_entry.h"
#include "ids.h"
#include "meta_world.h"

static inline struct meta_cmd node_add(const char *name, enum meta_node_type type)
{
    struct meta_cmd c = { .op = META_NODE_ADD, .name = S(name) };
    c.node.type = type;
    return c;
}

/* UP, DOWN, STOPPED, DRAIN */
static inline struct meta_cmd node_cmd(enum meta_op op, unsigned node, uint32_t inc)
{
    struct meta_cmd c = { .op = op };
    c.node.node = (uint16_t)node;
    c.node.inc = inc;
    return c;
}

static inline struct meta_cmd node_type(unsigned node, enum meta_node_type type)
{
    struct meta_cmd c = node_cmd(META_NODE_TYPE, node, 0);
    c.node.type = type;
    return c;
}

/* Disc nodes "n1", "n2" and so on, up in their first incarnation. */
static inline void world_nodes(struct world *w, unsigned count)
{
    for (unsigned i = 1; i <= count; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%u", i);
        must(w, node_add(name, META_NODE_DISC));
        cr_assert(eq(u64, w->r.id, i));
        must(w, node_cmd(META_NODE_UP, i, 1));
    }
}

static inline const struct meta_node *node_now(const struct world *w, unsigned node)
{
    return meta_node_get(now(w), (uint16_t)node);
}

static inline struct meta_cmd lasting(struct meta_cmd cmd)
{
    if (cmd.op == META_QUEUE_DECLARE)
        cmd.queue_declare.durable = true;
    else
        cmd.exchange_declare.durable = true;
    return cmd;
}

/* The command as the operation of a node, in the next entry. */
static inline enum meta_applied world_entry(struct world *w, unsigned node, uint32_t inc,
                                            uint64_t op, struct meta_cmd cmd)
{
    cmd.vhost_id = w->vhost;
    cmd.conn = w->conn;
    struct meta_envelope e = { (uint16_t)node, inc, op, cmd };
    enum meta_applied a = meta_apply_entry(w->meta, meta_index(w->meta) + 1, &e, &w->r);
    meta_publish(w->meta);
    world_sum(w);
    return a;
}

static inline size_t effects_of(const struct world *w, enum meta_effect_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < w->r.effect_count; i++)
        n += w->r.effects[i].kind == kind;
    return n;
}

#endif
