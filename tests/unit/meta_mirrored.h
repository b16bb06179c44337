/*
 * meta_mirrored: queues with mirrors, in short, for the tests of placements and of what plans them.
 */
#ifndef WARREN_META_MIRRORED_H
#define WARREN_META_MIRRORED_H

#include "cluster/meta_items.h"
#include "meta_nodes.h"

static inline struct meta_cmd mirroring_up(unsigned node, uint32_t inc)
{
    struct meta_cmd c = node_cmd(META_NODE_UP, node, inc);
    c.node.mirrors = 4;
    return c;
}

/* Disc nodes 1 to `count` that can hold replicas. */
static inline void mirroring_nodes(struct world *w, unsigned count)
{
    world_nodes(w, count);
    for (unsigned i = 1; i <= count; i++)
        must(w, mirroring_up(i, 1));
}

static inline struct meta_placement placement_of(const struct world *w, const struct meta_queue *q)
{
    struct meta_placement p;
    meta_placement_of(now(w), q, &p);
    return p;
}

static inline struct meta_placement placement(const struct world *w, const char *name)
{
    return placement_of(w, queue_now(w, name));
}

/* "1+2+" in sync, "4-" not any more, "4?" not yet; the master first. */
static inline const char *holders(const struct world *w, const char *name)
{
    static char room[200];
    struct text t = text_over(room, sizeof room);
    struct meta_placement p = placement(w, name);
    for (unsigned i = 0; i < p.count; i++) {
        const struct meta_replica *r = meta_placement_replica(&p, i);
        text_put(&t, "%u%s", r->node, r->inc != 0 ? "+" : r->left != 0 ? "-" : "?");
    }
    return room;
}

#define HOLDERS(w, name, text)                                                                     \
    cr_expect(eq(str, (char *)(uintptr_t)holders((w), (name)), (char *)(uintptr_t)(text)))

/* Those nodes are to hold it. Good until the next one. */
static inline struct meta_cmd set_replicas(const struct world *w, const char *name, unsigned count,
                                           const uint16_t *nodes)
{
    static uint8_t room[META_SET_ITEM_BYTES], list[64];
    struct wire_out out = wire_out_over(room, sizeof room), to = wire_out_over(list, sizeof list);
    meta_set_item_put(&out,
                      &(struct meta_set_item){ queue_now(w, name)->qid, placement(w, name).ver });
    for (unsigned i = 0; i < count; i++)
        wire_put_u16(&to, nodes[i]);
    struct meta_cmd c = { .op = META_REPLICAS_SET };
    c.replicas_set.items = wire_out_slice(&out);
    c.replicas_set.nodes = wire_out_slice(&to);
    return c;
}

/* Its proposal that a node is in sync, or is not. Good until the next one. */
static inline struct meta_cmd change_isr_of(const struct world *w, const struct meta_queue *q,
                                            unsigned node, uint32_t inc, bool adds)
{
    static uint8_t room[META_ISR_ITEM_BYTES];
    struct meta_placement p = placement_of(w, q);
    struct wire_out out = wire_out_over(room, sizeof room);
    meta_isr_item_put(&out, &(struct meta_isr_item){ .qid = q->qid,
                                                     .epoch = p.epoch,
                                                     .ver = p.ver,
                                                     .node = (uint16_t)node,
                                                     .inc = inc,
                                                     .adds = adds });
    struct meta_cmd c = { .op = META_ISR_CHANGE };
    c.isr_change.items = wire_out_slice(&out);
    return c;
}

static inline struct meta_cmd change_isr(const struct world *w, const char *name, unsigned node,
                                         uint32_t inc, bool adds)
{
    return change_isr_of(w, queue_now(w, name), node, inc, adds);
}

#endif
