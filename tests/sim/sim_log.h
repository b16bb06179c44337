/*
 * sim_log: random histories of a journal and its recovery, without queues above it.
 *
 * One seed decides how large segments are, which faults exist and how often, and every step:
 * messages for one or several queues, settlements in ranges and out of order, marks, returns,
 * purges, deletions, index files, evacuation as the store does it, power cuts at any operation of
 * the disk, also while recovery runs. What is there after each restart is shown to the oracle.
 */
#ifndef WARREN_SIM_LOG_H
#define WARREN_SIM_LOG_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct sim_report {
    uint64_t steps;
    uint64_t restarts;
    uint64_t messages;
    uint64_t evacuated;
    uint64_t damages;
    char why[300];
};

typedef void (*sim_say_fn)(const char *line, void *arg);

/* False: `out->why` says what was wrong. `trace` (may be NULL) gets the history. */
MUST_CHECK bool sim_log_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

#endif
