/*
 * rebalance_plan: which masters are to move so that nodes have about as many (core).
 *
 * A node that has more than a tenth above the average gives masters to nodes below it, which are in
 * sync for them: so nobody is moved to where not everything is. Moves are few in each turn, and a
 * turn is told of no more than a second's share, so that clients hardly notice. What limits it is
 * known from the version alone; a new leader goes on where the last one was.
 *
 * A node that is draining gives all of its masters to nodes that are up and in sync for them,
 * faster, and whether anybody has asked for it or not.
 */
#ifndef WARREN_REBALANCE_PLAN_H
#define WARREN_REBALANCE_PLAN_H

#include "base/pattern.h"
#include "cluster/meta.h"

#define REBALANCE_PER_SECOND 20u
#define REBALANCE_DRAINED    100u   /* of nodes that are draining, in a turn */
#define REBALANCE_SETTLED_MS 60000u /* so long all nodes are up before it begins by itself */

struct rebalance_plan;

struct rebalance_plan *rebalance_plan_new(void);
void rebalance_plan_free(struct rebalance_plan **p);

/* An operator asks for it: of the queues of these names (NULL: all), even while a node is down. */
void rebalance_plan_ask(struct rebalance_plan *p, const struct pattern *names);

/* It is done by itself, too. */
void rebalance_plan_set_automatic(struct rebalance_plan *p, bool is_automatic);

/* The next moves, on a version that shows the last ones, or NULL: there is none now. The command is
 * good until the next turn. */
const struct meta_cmd *rebalance_plan_turn(struct rebalance_plan *p, const struct meta_version *v,
                                           uint64_t now_ms);

/* Is an operator's wish being carried out still? */
bool rebalance_plan_is_busy(const struct rebalance_plan *p);

/* Is the node the master of a queue for which another one is in sync, and up? */
bool rebalance_plan_may_drain(const struct meta_version *v, uint16_t node);

#endif
