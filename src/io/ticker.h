/*
 * ticker: a call every so many microseconds, for what must be evenly paced.
 *
 * A loop's timers count milliseconds and cost nothing; a ticker has a timer of the kernel's own and
 * costs one more system call a tick. Ticks that were missed are not made up for: the callback looks
 * at the clock. One loop.
 */
#ifndef WARREN_TICKER_H
#define WARREN_TICKER_H

#include "base/attr.h"
#include "base/err.h"
#include "io/loop.h"

struct ticker;

/* Not running yet. */
MUST_CHECK struct ticker *ticker_new(struct loop *loop, loop_fn fn, void *arg, struct err *err);
void ticker_free(struct ticker **ticker);

/* First at the moment `at_us` (of clock_mono_us; now, when it has passed), then every `every_us`,
 * at least 1. Restarts a running one. */
void ticker_start(struct ticker *t, uint64_t at_us, uint64_t every_us);
void ticker_stop(struct ticker *t);

#endif
