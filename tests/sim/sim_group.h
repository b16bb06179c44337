/*
 * sim_group: what the members of sim_raft agree upon is the broker's metadata, and they ask for
 * changes as a cluster's nodes do.
 *
 * Each numbers its operations in each of its lives, sends them to whom it takes for the leader, and
 * sends again what it has not seen applied, over a net that loses, doubles and disorders them. Each
 * is to be applied once, in its order; all members have the same checksum after the same entry,
 * also by way of a snapshot; and in the end all that is wanted is done.
 */
#ifndef WARREN_SIM_GROUP_H
#define WARREN_SIM_GROUP_H

#include "cluster/meta.h"
#include "sim_raft_inner.h"

struct sim_group *sim_group_new(struct sim_raft *w);
void sim_group_free(struct sim_group **g);

/* The cluster and its nodes: the first command of the log. */
struct buf *sim_group_first_entry(void);

void sim_group_start(struct sim_raft *w, unsigned node);
void sim_group_crash(struct sim_raft *w, unsigned node);
void sim_group_apply(struct sim_raft *w, unsigned node, const struct raft_entry *e);
void sim_group_save(struct sim_raft *w, unsigned node, uint64_t id);
void sim_group_restore(struct sim_raft *w, unsigned node, uint64_t id);

/* Some node wants something, or says what others are. */
void sim_group_work(struct sim_raft *w, unsigned node);
/* An entry that changes nothing. */
void sim_group_say_nothing(struct sim_raft *w, unsigned node);
void sim_group_on_ops(struct sim_raft *w, unsigned node, unsigned from, struct buf *ops);
/* The leader says it, in nobody's name. */
void sim_group_say(struct sim_raft *w, unsigned node, enum meta_op op, unsigned about,
                   uint32_t inc);
/* False: it wants enough already. */
bool sim_group_want(struct sim_raft *w, unsigned node, const struct meta_cmd *cmd);
struct meta *sim_group_meta(const struct sim_raft *w, unsigned node); /* NULL: it is down */
/* Nothing that this node wanted is missing. */
bool sim_group_is_done(struct sim_raft *w, unsigned node);

#endif
