/*
 * entrance: a node's way into its cluster, at a start: it wires the cluster to the rest of the
 * broker, and waits until the node is a member that knows all that was agreed upon.
 *
 * The control thread's.
 */
#ifndef WARREN_ENTRANCE_H
#define WARREN_ENTRANCE_H

#include "base/attr.h"
#include "base/err.h"
#include "broker.h"

struct cluster;
struct gossip_node;
struct entrance;
struct epoch;
struct recovered;

/* The store is open, and nothing runs. `meta` is fresh; it and `setup`, by which it was made and
 * which then names the node, are borrowed. */
MUST_CHECK struct entrance *entrance_new(struct broker *b, struct epoch *epoch, struct meta *meta,
                                         struct meta_setup *setup, struct err *err);
struct cluster *entrance_cluster(const struct entrance *e);
struct gossip_node *entrance_gossip(const struct entrance *e);

/* Run the control thread's loop until the node is in, or it was told to stop (broker_stop; true all
 * the same), or it cannot be. `waits` as in broker_start. */
MUST_CHECK bool entrance_pass(struct entrance *e, broker_waits_fn waits, void *arg,
                              struct err *err);

/* The same, until all nodes know what this one had that was safe and is lost (recover.h): at once
 * when nothing is that others may have, too. */
MUST_CHECK bool entrance_tell_loss(struct entrance *e, const struct recovered *found,
                                   struct err *err);

/* The node serves from now on: what goes wrong with the cluster ends it. */
void entrance_passed(struct entrance *e);

/* See cluster_stop and cluster_free. NULL is allowed. */
void entrance_stop(struct entrance *e);
void entrance_free(struct entrance **e);

#endif
