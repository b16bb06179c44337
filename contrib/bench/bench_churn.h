/*
 * bench_churn: clients that connect, open a channel, ask for confirms, publish one message, wait
 * for its confirm, close, and begin again: what a web server's short-lived workers do.
 *
 * A cycle counts when the server has answered the close. Afterwards the queue must hold as many
 * messages as were confirmed. One thread for all clients.
 */
#ifndef WARREN_BENCH_CHURN_H
#define WARREN_BENCH_CHURN_H

#include "bench_plan.h"
#include "io/tls.h"
#include "stats/hist.h"

struct bench_churn_result {
    uint64_t cycles; /* in the measured part */
    double seconds;
    uint64_t server_cpu_us;
    uint64_t bench_cpu_us;
    uint64_t confirmed; /* in all */
    uint64_t left;      /* messages in the queue at the end */
    struct hist cycle;  /* microseconds */
};

MUST_CHECK bool bench_churn(const struct bench_plan *plan, struct tls_ctx *tls,
                            struct bench_churn_result *out, struct err *err);

#endif
