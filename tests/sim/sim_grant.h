/*
 * sim_grant: who may serve a queue, by the core of grants (cluster/grant.h) on a net, clocks and
 * processes of the simulator's own.
 *
 * One seed decides how many nodes there are, which faults exist and how often, and every step:
 * messages that are late, lost, doubled and overtaken; entries of the log that a node applies late,
 * or skips by a snapshot; ways that are cut, one way too; processes that stand still, in the midst
 * of a turn, and crash; clocks that run a tenth too fast or too slow; nodes that are taken for down
 * and are not; masters that move, members that come and go. After each step nobody but one may be
 * about to serve a queue, in an epoch that is not below any that was served. In the end all is
 * healed, and each queue must be served again.
 */
#ifndef WARREN_SIM_GRANT_H
#define WARREN_SIM_GRANT_H

#include "sim_log.h"

MUST_CHECK bool sim_grant_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

#endif
