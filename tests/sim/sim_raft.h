/*
 * sim_raft: a group of raft members on a net, disks and clocks of the simulator's own.
 *
 * One seed decides the group, its setup, which faults exist and how often, and every step: messages
 * that are lost, late, doubled and out of order; cuts of every shape, one-way ones too; pauses;
 * crashes that lose what was not durable, in the middle of a write as well; logs that lose what
 * was; clocks that run fast or slow; snapshots; changes of members; handing over. The rules are
 * checked after every step; in the end all is healed, and the group must go on by itself.
 */
#ifndef WARREN_SIM_RAFT_H
#define WARREN_SIM_RAFT_H

#include "sim_log.h"

MUST_CHECK bool sim_raft_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

/* The same, and what they agree upon is the metadata: see sim_group.h. */
MUST_CHECK bool sim_group_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

/* And the masters that they say serve queues: see sim_cluster.h. */
MUST_CHECK bool sim_cluster_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

#endif
