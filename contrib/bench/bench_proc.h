/*
 * bench_proc: what a process has used, from /proc. Blocking reads of a few microseconds; for the
 * main thread, now and then.
 */
#ifndef WARREN_BENCH_PROC_H
#define WARREN_BENCH_PROC_H

#include "base/attr.h"
#include "base/err.h"

#include <stdint.h>

/* CPU time of a process so far, user and system, all its threads and those that have ended. The
 * kernel tells it in ticks, 10 ms mostly. */
MUST_CHECK bool bench_proc_cpu_us(uint32_t pid, uint64_t *out, struct err *err);

/* Resident memory, exact: the kernel walks the page tables for it. */
MUST_CHECK bool bench_proc_rss_bytes(uint32_t pid, uint64_t *out, struct err *err);

typedef bool (*bench_proc_fn)(uint32_t pid, uint64_t *out, struct err *err);

/* The sum of one of the two over several processes. */
MUST_CHECK bool bench_proc_sum(bench_proc_fn fn, const uint32_t *pids, uint32_t count,
                               uint64_t *out, struct err *err);

#endif
