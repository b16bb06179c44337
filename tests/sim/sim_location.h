/*
 * sim_location: random histories of where queues are, and of proxies that hear of it.
 *
 * One seed decides a log of changes, how far each of some brokers has applied it, to which broker
 * each proxy listens, when that breaks, and which rumours come, how late and how often. After each
 * word a proxy hears, no entry may have given way to an older one (I19), what it knows up to its
 * index must be the truth as of there, and what went with its node must stay away. In the end all
 * know the same.
 */
#ifndef WARREN_SIM_LOCATION_H
#define WARREN_SIM_LOCATION_H

#include "sim_log.h"

/* As sim_log_run. */
MUST_CHECK bool sim_location_run(uint64_t seed, sim_say_fn trace, void *arg,
                                 struct sim_report *out);

#endif
