/*
 * bench_verdict: what was lost, once all threads have ended and all they know is ours.
 *
 * Every message that a publisher could rely on (confirmed where confirms were asked for, written to
 * a connection that did not break where not, neither nacked nor returned) must have come to each
 * queue its key leads to: seen by a consumer of ours or, where a queue has none, still in it.
 */
#ifndef WARREN_BENCH_VERDICT_H
#define WARREN_BENCH_VERDICT_H

#include "bench_run.h"
#include "bench_worker.h"

/* How many messages are short in the queues without consumers; left[queue] is what they hold. */
uint64_t bench_verdict_short(const struct bench_plan *plan, const struct bench_worker *workers,
                             unsigned count, const uint32_t *left);

/* Merges the workers' trackers, and fills in the verdict of *out. `left` may be NULL: unknown. */
void bench_verdict(const struct bench_plan *plan, struct bench_worker *workers, unsigned count,
                   const uint32_t *left, struct bench_result *out);

#endif
