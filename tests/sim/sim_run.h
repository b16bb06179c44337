/*
 * sim_run: many seeds, side by side in processes of their own, so that one that crashes or hangs is
 * known by its seed.
 */
#ifndef WARREN_SIM_RUN_H
#define WARREN_SIM_RUN_H

#include "sim_log.h"

/* One kind of history. */
struct sim_kind {
    const char *name;
    bool (*run)(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);
};

struct sim_batch {
    const struct sim_kind *kind;
    uint64_t first;
    uint64_t count;
    unsigned jobs;
    unsigned seconds; /* 0: as long as it takes */
    bool is_quiet;    /* failures are not printed */
    bool goes_on;     /* after one that failed, too */
};

struct sim_outcome {
    uint64_t seeds; /* that were run */
    uint64_t failed_seed;
    bool has_failed;
    char why[300];
    struct sim_report sums;
};

/* Stops at the first that fails. */
void sim_run_batch(const struct sim_batch *b, struct sim_outcome *out);

#endif
