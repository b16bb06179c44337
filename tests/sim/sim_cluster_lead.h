/*
 * sim_cluster_lead: what the leader of sim_cluster does about its nodes, by the core that decides
 * it (cluster/steward.h): it takes for down who is silent or gone, and has who is there listen and
 * vote. The driver of that core, with the net's keepalives.
 */
#ifndef WARREN_SIM_CLUSTER_LEAD_H
#define WARREN_SIM_CLUSTER_LEAD_H

#include "sim_raft_inner.h"

struct sim_cluster_lead;

struct sim_cluster_lead *sim_cluster_lead_new(void);
void sim_cluster_lead_free(struct sim_cluster_lead **l);

void sim_cluster_lead_start(struct sim_cluster_lead *l, unsigned node);
void sim_cluster_lead_heard(struct sim_raft *w, struct sim_cluster_lead *l, unsigned node,
                            unsigned of, bool is_keepalive);
void sim_cluster_lead_gone(struct sim_cluster_lead *l, unsigned node, unsigned other);

/* The others have so long to come up after all were stopped together. */
#define SIM_CLUSTER_GRACE_MS 1500u

/* May what is in these octets be proposed at the node, if it leads? */
bool sim_cluster_lead_admits(struct sim_raft *w, struct sim_cluster_lead *l, unsigned node,
                             struct slice ops);

/* Now and then: nothing, unless it leads. */
void sim_cluster_lead(struct sim_raft *w, struct sim_cluster_lead *l, unsigned node);

#endif
