/*
 * sim_cluster_inner: what the files of sim_cluster share.
 */
#ifndef WARREN_SIM_CLUSTER_INNER_H
#define WARREN_SIM_CLUSTER_INNER_H

#include "cluster/grant.h"
#include "cluster/grant_board.h"
#include "sim_cluster.h"
#include "sim_cluster_gossip.h"
#include "sim_cluster_lead.h"

#define SIM_LOCALS_MAX 32u
#define SIM_SERVED_MAX 1024u /* a power of two */

/* A queue, as a node has it. */
struct sim_local {
    uint64_t qid;
    uint16_t master; /* the last that it has seen */
    uint64_t epoch;  /* it is the master in this one; 0: it is not */
    uint16_t earlier;
    bool has_begun;
    uint64_t proposed_ver;
    uint16_t proposed[SIM_NODES];
    size_t proposed_count;
};

struct sim_cluster_node {
    struct grant *core; /* NULL: it is down */
    struct grant_board *board;
    uint32_t incs[SIM_NODES + 1]; /* as it has told its core */
    bool has_lost[SIM_NODES + 1]; /* what it has just applied says that this one has lost data */
    struct sim_local locals[SIM_LOCALS_MAX];
    size_t local_count;
    unsigned looks;
};

/* The last process that was about to serve a queue. */
struct sim_served {
    uint64_t qid; /* 0: free */
    uint64_t epoch;
    uint64_t step;
    unsigned node;
    uint32_t boot;
};

struct sim_cluster {
    struct sim_cluster_node nodes[SIM_NODES + 1];
    struct sim_served served[SIM_SERVED_MAX];
    size_t served_count;
    uint64_t step;
    int64_t cut_us[SIM_NODES + 1][SIM_NODES + 1]; /* seen to be cut since then; 0: it is not */
    struct grant_effects fx;
    struct sim_cluster_gossip *gossip;
    struct sim_cluster_lead *lead;
    uint32_t lost[SIM_NODES + 1];  /* the last process there that started without all its data */
    uint64_t rest[SIM_LOCALS_MAX]; /* queues that others than who is away have */
    size_t rest_count;
    unsigned absent; /* comes back last of all; 0: not yet */
};

/* As the node has applied it. */
const struct meta_version *sim_cluster_version(const struct sim_raft *w, unsigned node);
/* NULL: the node does not know it yet. */
struct sim_local *sim_cluster_local(struct sim_cluster_node *n, uint64_t qid);
bool sim_cluster_may_serve(struct sim_raft *w, unsigned node, const struct sim_local *l);

/* sim_cluster_check: the rules. After each step; and after an entry, or a snapshot instead,
 * before the node does what it says. */
void sim_cluster_check(struct sim_raft *w);
void sim_cluster_check_applied(struct sim_raft *w, unsigned node, uint64_t index, bool has_skipped);

#endif
