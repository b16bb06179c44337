/*
 * sim_mirror: random histories of mirrored queues: the cores of master and mirror (broker/mirror),
 * over the journal and its recovery (broker/store), placed by the metadata (broker/cluster/meta),
 * on nodes whose links, disks and views of the metadata are those of one seed.
 *
 * Producers publish to queues and send again what was not confirmed; consumers settle. Nodes crash,
 * and their disks hold what they like of what was not synced: each start must find what a beginning
 * of all that was appended says, with everything in it that was called durable. Nodes stand still,
 * are declared dead though they live; links break with what is on them, and each end notices when
 * it does; the metadata takes what was proposed in any order, and each node sees what came of it
 * late. At the end all is healed: what was confirmed must be there, once and in order,
 * what was settled for good must not, and all replicas must hold the same.
 */
#ifndef WARREN_SIM_MIRROR_H
#define WARREN_SIM_MIRROR_H

#include "sim_log.h"

/* As sim_log_run. */
MUST_CHECK bool sim_mirror_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

#endif
