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

/* The same, and masters hand out what they have to consumers, who settle it and are carried along
 * when queues are moved (mirror/mirror_handed.h). What is confirmed, settled for good or was shown
 * keeps its rules across moves; the next master believes the word of the former one only if that is
 * the truth. In histories in which nothing breaks nobody notices that a queue has moved: no message
 * comes again, or as one that had come. At the end consumers take all, and nothing is left. */
MUST_CHECK bool sim_hand_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

#endif
