/*
 * remote_runs: tags of deliveries that were dealt with in a turn, gathered to runs, so that a
 * thousand settlements travel as one range. One thread.
 */
#ifndef WARREN_REMOTE_RUNS_H
#define WARREN_REMOTE_RUNS_H

#include "remote/remote_outbox.h"

#define REMOTE_RUNS 256u
struct remote_run {
    uint64_t first;
    uint32_t count;
};
struct remote_runs {
    unsigned count;
    struct remote_run items[REMOTE_RUNS];
};

/* False: there is no room for it; say them first. */
MUST_CHECK bool remote_runs_add(struct remote_runs *runs, uint64_t tag);

/* In one record, if there are any; then there are none. */
void remote_runs_say(struct remote_runs *runs, struct remote_outbox *out, enum remote_op op,
                     enum port_settle how);

#endif
