/*
 * bench_idle: many connections that do nothing, and what each costs the server.
 *
 * They are opened a few at a time, held while heartbeats go to and fro, and closed in order. The
 * server's memory is read before the first and when all are open and quiet. One thread.
 */
#ifndef WARREN_BENCH_IDLE_H
#define WARREN_BENCH_IDLE_H

#include "bench_options.h"
#include "io/tls.h"

struct bench_idle_result {
    uint32_t opened;
    uint32_t lost; /* while they were held */
    double open_s;
    double hold_s;
    uint64_t server_rss_before;
    uint64_t server_rss_held;
    uint64_t server_rss_after;
    uint64_t server_cpu_open_us;
    uint64_t server_cpu_hold_us;
};

MUST_CHECK bool bench_idle(const struct bench_options *o, struct tls_ctx *tls,
                           struct bench_idle_result *out, struct err *err);

#endif
