/*
 * sim_gossip: random histories of members of gossip.
 *
 * One seed decides how many there are, how bad the net is, which faults exist and how often. While
 * it goes on, nothing old may replace something newer, and where only packets are lost nobody may
 * be declared dead. When all is well again, those who live must know each other alive, and know the
 * others gone, within a bound, and news must reach all.
 */
#ifndef WARREN_SIM_GOSSIP_H
#define WARREN_SIM_GOSSIP_H

#include "sim_log.h"

/* As sim_log_run. */
MUST_CHECK bool sim_gossip_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

/* What design 4.6 asks for: times of detection and of news, printed. `trials` of each row. */
void sim_gossip_figures(unsigned trials);

#endif
