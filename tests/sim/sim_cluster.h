/*
 * sim_cluster: consensus, the metadata, gossip and grants together: what the members of sim_raft
 * agree upon says which nodes hold which queues and which is their master (sim_group.h), and each
 * master serves by the core of grants.
 *
 * Masters propose members of the in-sync set and strike them, masters and sets of replicas change,
 * nodes are taken for down that are not, restart, stop in the midst of it all and go on; over the
 * same net, clocks and disks as consensus. After each step nobody but one process may be about to
 * serve a queue, in an epoch that no other has served in and that is not below any that was served
 * (I1, I2, I11), nobody does for long without a way to all members (I17), and no process counts as
 * in sync for what an earlier one had, nor one that has lost data for what is served (I16).
 * Operators promote by force who has less of a queue whose master is dead. In the end each queue
 * must be served; then all nodes end at once, or are stopped together, all but one come back, and
 * each queue must be served that others were in sync for.
 */
#ifndef WARREN_SIM_CLUSTER_H
#define WARREN_SIM_CLUSTER_H

#include "cluster/meta.h"
#include "sim_raft_inner.h"

struct sim_cluster *sim_cluster_new(void);
void sim_cluster_free(struct sim_cluster **c);

/* Its next process: has its store lost what it had acknowledged? Once, before it starts. */
bool sim_cluster_has_lost(struct sim_raft *w, unsigned node);

void sim_cluster_start(struct sim_raft *w, unsigned node);
void sim_cluster_crash(struct sim_raft *w, unsigned node);

/* The node has applied an entry, with these effects; or a snapshot of that index, by which others
 * were skipped. */
void sim_cluster_moved(struct sim_raft *w, unsigned node, uint64_t index,
                       const struct meta_result *r);
void sim_cluster_applied(struct sim_raft *w, unsigned node, uint64_t index, bool has_skipped);

/* What was put off. */
void sim_cluster_look(struct sim_raft *w, unsigned node);
void sim_cluster_on_frame(struct sim_raft *w, unsigned node, const struct buf *frame);
void sim_cluster_on_gossip(struct sim_raft *w, unsigned node, const struct buf *frame);
void sim_cluster_on_gone(struct sim_raft *w, unsigned node, const struct buf *frame);

/* Something that a client, an operator or a leader might want of this node. */
void sim_cluster_want(struct sim_raft *w, unsigned node);

/* Do the leader's rules let this be proposed at the node? */
bool sim_cluster_admits(struct sim_raft *w, unsigned node, struct slice ops);

/* All nodes are about to end at once, and this one will not come back for a while: queues for which
 * others are in sync, as `by` knows it, must be served without it. */
void sim_cluster_cut_off(struct sim_raft *w, unsigned by, unsigned absent);

/* They are to be stopped together: first this is said, then each node says that it stops. */
void sim_cluster_want_to_stop(struct sim_raft *w, bool is_first);

/* Are they? Or, when nobody is away, has none of them been lost? */
bool sim_cluster_serves_the_rest(struct sim_raft *w, unsigned by);

/* Each queue that a node which is up masters is served. */
bool sim_cluster_is_served(struct sim_raft *w, unsigned by);

#endif
