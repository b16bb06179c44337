/*
 * bench_declare: clients that declare one new queue after the other, and delete them again.
 *
 * Each client is a connection with --window channels, and each channel has one request under way:
 * servers answer the requests of a channel one by one, so more on one channel would only wait. With
 * --delete a queue is deleted as soon as it is there. At the end all that are left are deleted,
 * unless they are to be kept. An answer that names another queue ends the run. One thread.
 */
#ifndef WARREN_BENCH_DECLARE_H
#define WARREN_BENCH_DECLARE_H

#include "bench_plan.h"
#include "io/tls.h"
#include "stats/hist.h"

struct bench_declare_result {
    uint64_t declares; /* in the measured part, like what follows */
    uint64_t deletes;
    double seconds;
    uint64_t server_cpu_us;
    uint64_t bench_cpu_us;
    uint64_t declared; /* in all */
    uint64_t deleted;
    struct hist declare; /* microseconds */
    struct hist delete;
};

MUST_CHECK bool bench_declare(const struct bench_plan *plan, struct tls_ctx *tls,
                              struct bench_declare_result *out, struct err *err);

#endif
