/*
 * bench_run: a whole run with publishers and consumers, from declaring the queues to the verdict.
 *
 * It owns the workers and steers them from the main loop:
 *
 *   DECLARING -> CONNECTING -> WARMING -> MEASURING -> STOPPING -> DRAINING -> CLOSING
 *                                  (rates, latencies)      (until nothing is missing)
 *   CLOSING -> COUNTING -> DELETING -> LEAVING -> DONE
 *          (what is left in the queues)
 *
 * Rates, latencies and CPU are those of MEASURING; what was lost, duplicated or reordered is judged
 * over everything, from the first message to the last.
 */
#ifndef WARREN_BENCH_RUN_H
#define WARREN_BENCH_RUN_H

#include "bench_figures.h"
#include "bench_plan.h"
#include "io/tls.h"

/* One line of the run's course. */
struct bench_interval {
    double at_s; /* since publishing began */
    double seconds;
    uint64_t published; /* in the interval, and so on */
    uint64_t confirmed;
    uint64_t received;
    uint64_t server_cpu_us;
};

struct bench_result {
    double publish_s; /* how long was published and received, in the measured part */
    double receive_s;
    struct bench_figures measured; /* differences over the measured part */
    struct bench_figures total;
    uint64_t server_cpu_us;
    uint64_t bench_cpu_us;
    uint64_t server_rss_before;
    uint64_t server_rss_after;
    uint64_t lost;
    uint64_t missing_unpromised; /* never came, and never were confirmed or surely sent */
    uint64_t unconfirmed;        /* open at the end */
    uint32_t lost_flow;          /* the first one lost, when there is one */
    uint32_t lost_queue;
    uint64_t lost_sequence;
    uint64_t left;  /* in the queues, at the end */
    bool inexact;   /* the memory for ids did not suffice */
    bool uncounted; /* queues without consumers could not be asked what they hold */
};

/* Called for each interval while the run goes on, from the main loop. */
typedef void (*bench_interval_fn)(const struct bench_interval *i, const struct bench_plan *plan,
                                  void *arg);

/* Runs to the end on the calling thread. False when it could not; *out then holds nothing. */
MUST_CHECK bool bench_run(const struct bench_plan *plan, struct tls_ctx *tls,
                          bench_interval_fn on_interval, void *arg, struct bench_result *out,
                          struct err *err);

/* Of enum bench_fault: what is wrong with the result, but for what is tolerated. */
uint32_t bench_result_faults(const struct bench_result *r, const struct bench_options *o);

#endif
