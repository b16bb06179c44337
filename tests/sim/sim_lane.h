/*
 * sim_lane: what becomes of publishes to mirrored queues when their masters die and move, by the
 * core that keeps and repeats them (remote/remote_lane.h) on masters, links and metadata of the
 * simulator's own.
 *
 * One seed decides every step: publishers that wait for confirms and others, small messages and
 * large ones, for one queue or several; links that are late, break, and lose what was under way;
 * nodes that die and return; masters that are moved, by a log that each node applies in its own
 * time; mirrors that have more or less of what was not confirmed; queues that refuse, or go.
 * What was confirmed must stay, no message may be in a queue twice, none of a channel before one
 * that it published earlier; what is kept is bounded. In the end all is healed: then each publish
 * must be answered, and what nobody waited for must not be lost without need.
 */
#ifndef WARREN_SIM_LANE_H
#define WARREN_SIM_LANE_H

#include "sim_log.h"

MUST_CHECK bool sim_lane_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

#endif
