/*
 * sim_cluster_gossip: the members of sim_cluster also gossip (the core as it is), over the same
 * net, with their applied index and the checksum of their metadata as the pulse.
 *
 * Nobody may ever hear that two have other metadata at the same index (I15), nor of itself that it
 * is there twice; and in the end each knows all others as alive.
 */
#ifndef WARREN_SIM_CLUSTER_GOSSIP_H
#define WARREN_SIM_CLUSTER_GOSSIP_H

#include "sim_raft_inner.h"

struct sim_cluster_gossip;

struct sim_cluster_gossip *sim_cluster_gossip_new(void);
void sim_cluster_gossip_free(struct sim_cluster_gossip **g);

void sim_cluster_gossip_start(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned node);
void sim_cluster_gossip_crash(struct sim_cluster_gossip *g, unsigned node);

/* Time may have come for something. */
void sim_cluster_gossip_look(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned node);
void sim_cluster_gossip_applied(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned node,
                                uint64_t index, uint64_t checksum);
void sim_cluster_gossip_on_frame(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned node,
                                 const struct buf *frame);

/* All that run know each other. */
bool sim_cluster_gossip_is_well(const struct sim_raft *w, const struct sim_cluster_gossip *g);

#endif
