/*
 * mirror_proposals: what the shards' masters propose of in-sync sets, made into commands: many in
 * one, and few under way.
 *
 * A mirror that is behind is behind for all shards of this node: one command a second says so. What
 * is refused, or finds no room here, is lost: who proposed it does so again. The control thread.
 */
#ifndef WARREN_MIRROR_PROPOSALS_H
#define WARREN_MIRROR_PROPOSALS_H

#include "cluster/cluster.h"
#include "cluster/meta_items.h"

struct loop;
struct mirror_proposals;

#define MIRROR_PROPOSALS_MAX  131072u /* that wait */
#define MIRROR_PROPOSALS_AWAY 4u      /* commands under way */
#define MIRROR_LAG_AGAIN_MS   1000u

/* As cluster_propose: `done` is called once, perhaps before this returns. */
typedef void (*mirror_propose_fn)(void *arg, const struct meta_cmd *cmd, cluster_proposed_fn done,
                                  void *done_arg);

struct mirror_pair_of_nodes {
    uint16_t master;
    uint16_t mirror;
    uint32_t master_inc;
    uint32_t mirror_inc;
};

struct mirror_proposals *mirror_proposals_new(struct loop *loop, mirror_propose_fn propose,
                                              void *arg);
/* None is under way any more. NULL is allowed. */
void mirror_proposals_free(struct mirror_proposals **p);

/* They leave at the turn's end. */
void mirror_proposals_add(struct mirror_proposals *p, const struct meta_isr_item *items,
                          size_t count);
void mirror_proposals_lag(struct mirror_proposals *p, const struct mirror_pair_of_nodes *pair);

#endif
