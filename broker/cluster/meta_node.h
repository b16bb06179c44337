/*
 * meta_node: the nodes of the cluster, as a version of the metadata holds them. Part of meta.h.
 *
 *            UP                DRAIN
 *   DOWN ----------->  UP ----------------> DRAINING     From each of them DOWN leads to DOWN, and
 *             STOPPED  ^  <----------------    ^         STOPPED to STOPPED; UP leads to UP from
 *                |     |          UP           | DRAIN   each that is not UNWELL, which only
 *                +-----+                       |         another incarnation ends otherwise.
 *                   UP          UNWELL         |
 *                      UP ------------------> UNWELL
 *                         <------------------
 *                                WELL
 *
 * Queues are declared on nodes that are up; those of a node that is draining are still served, and
 * so are those of one that is unwell, though it does not keep up: its disk stalls, say. It is in
 * sync for nothing, and the master of nothing, for which a node that is up is in sync too. What
 * a node alone had that does not last goes when it is DOWN or STOPPED, and at the latest when it
 * comes back with another incarnation. Durable queues of its own stay its own and wait for it: that
 * they are down is told by its state and noted at none of them. What becomes of queues that are
 * elsewhere, too, is for meta_placement.h to say.
 *
 * A node comes into being DOWN, by NODE_ADD, and its number is never given again. NODE_UP brings
 * its incarnation: a lower one than the last is ignored; the same one is up again, and nothing else
 * changes; a higher one is a process that has started since. NODE_DOWN, NODE_STOPPED, NODE_DRAIN,
 * NODE_UNWELL and NODE_WELL of another incarnation than the last are ignored.
 *
 * Exchanges that are not durable live as long as some node is up: they go when a node comes up with
 * a new incarnation while no other is up. (That one is taken for up which has not been seen down:
 * when all nodes end at once, they stay.)
 *
 * NODE_REMOVE takes all queues with it that the node alone has. The last disc node is neither
 * removed nor made another kind, and the first node is one.
 *
 * Here are also the rules of a queue whose node is not up. It is told so by RabbitMQ's 404, before
 * its arguments are looked at; messages pass it by as if it were not bound. A node counts as up for
 * itself, whatever others have made of it: what it has, it serves.
 */
#ifndef WARREN_META_NODE_H
#define WARREN_META_NODE_H

#include "base/attr.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct meta_queue;
struct meta_refusal;
struct meta_version;

#define META_NODES_MAX        255u /* in a cluster at a time */
#define META_CLUSTER_ID_BYTES 16u

#define META_NODE_TYPES(X)                                                                         \
    X(DISC, "disc")                                                                                \
    X(RAM, "ram")         /* keeps no metadata on disk */                                          \
    X(WITNESS, "witness") /* votes and has no queues */

enum meta_node_type {
#define X(name, text) META_NODE_##name,
    META_NODE_TYPES(X)
#undef X
};
#define META_NODE_TYPE_COUNT 3u

#define META_NODE_STATES(X)                                                                        \
    X(IS_DOWN, "down")                                                                             \
    X(IS_UP, "up")                                                                                 \
    X(IS_DRAINING, "draining")                                                                     \
    X(IS_STOPPED, "stopped")                                                                       \
    X(IS_UNWELL, "unwell")

enum meta_node_state {
#define X(name, text) META_NODE_##name,
    META_NODE_STATES(X)
#undef X
};

#define META_NODE_STATE_COUNT 5u

const char *meta_node_type_name(enum meta_node_type type);
const char *meta_node_state_name(enum meta_node_state state);

/* Immutable; replaced when it changes. Addresses are a host and a port with a colon between, or
 * empty. */
struct meta_node {
    uint64_t tag;   /* private */
    uint64_t place; /* of its data: random, made once; 0: not told */
    uint64_t since; /* index of the entry that brought its incarnation */
    uint32_t inc;   /* 0: it was never up */
    uint16_t node;
    enum meta_node_type type;
    enum meta_node_state state;
    uint16_t mirrors; /* shards that can hold replicas, as it has said when it came up; 0: it can
                         hold none */
    struct slice name;
    struct slice cluster_address;
    struct slice amqp_address;
    struct slice management_address;
    uint8_t bytes[];
};

/* Any thread, on a version it may hold. */
const struct meta_node *meta_node_get(const struct meta_version *v, uint16_t node);
const struct meta_node *meta_node_find(const struct meta_version *v, struct slice name);

/* All of them, by rising number. */
size_t meta_node_count(const struct meta_version *v);
const struct meta_node *meta_node_at(const struct meta_version *v, size_t index);

/* Up, draining or unwell. */
bool meta_node_is_serving(const struct meta_node *n);

/* The same, and not unwell: it may be in sync. */
bool meta_node_is_fit(const struct meta_node *n);

/* Queues that it is the master of. */
uint64_t meta_node_queue_count(const struct meta_version *v, uint16_t node);

/* Is its master up, or ourselves, and is it whole? */
bool meta_queue_is_served(const struct meta_version *v, const struct meta_queue *q);

/* Is it served, or will those who publish to it wait until it is? What a mirrored queue was sent
 * while nobody masters it is not confirmed before somebody has it; one without mirrors is passed by
 * meanwhile as if it were not bound. */
bool meta_queue_is_reached(const struct meta_version *v, const struct meta_queue *q);

/* The same; if not, with the refusal for whoever wants to use it. */
MUST_CHECK bool meta_queue_is_at_hand(const struct meta_version *v, const struct meta_queue *q,
                                      struct meta_refusal *why);

/* Always false: 404, its node is down. */
bool meta_home_is_down(const struct meta_version *v, const struct meta_queue *q,
                       struct meta_refusal *why);

/* Rises each time the queue is given to a node, and each time that one starts anew. */
uint64_t meta_queue_epoch(const struct meta_version *v, const struct meta_queue *q);

#endif
