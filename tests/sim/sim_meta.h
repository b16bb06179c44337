/*
 * sim_meta: random histories of the metadata of a cluster.
 *
 * One seed decides how many nodes there are and every step: what clients of each of them ask for,
 * in which order that reaches the log, what of it comes twice or too early, which nodes are
 * declared down, come back, start anew, drain, are forgotten and added. Several machines apply the
 * log, each at its own pace or from a snapshot of another one, and must agree at each entry; see
 * sim_meta_world.h for what else must hold. When all is well again, everything that a living node
 * asked for has been applied, and each queue has the mirrors that it ought to have.
 */
#ifndef WARREN_SIM_META_H
#define WARREN_SIM_META_H

#include "sim_log.h"

/* As sim_log_run. */
MUST_CHECK bool sim_meta_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

#endif
