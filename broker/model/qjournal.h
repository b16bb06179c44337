/*
 * qjournal: what the journal asks of an index: what of it is alive and where; and what it gives
 * back after a start.
 *
 * Positions are those of the index; with base added where others are told of them. One thread.
 */
#ifndef WARREN_QJOURNAL_H
#define WARREN_QJOURNAL_H

#include "model/qindex.h"

/* There is something at this position, and its record is there (or in that segment, in a run). */
bool qindex_at(const struct qindex *ix, uint64_t qseq, struct place place);
bool qindex_has_runs_in(const struct qindex *ix, uint32_t seg);

typedef void (*qrange_fn)(uint64_t first, uint64_t last, void *arg);

/* All positions given so far at which nothing is. False: a run that is not dense was met, *sparse:
 * nobody knows which of its positions are void. */
bool qindex_dead_ranges(const struct qindex *ix, qrange_fn each, void *arg, struct qrun *sparse);

/* Everything before it had been handed out. */
uint64_t qindex_mark(const struct qindex *ix);

/* So that between `from` and this position there are `count` messages, of those that are there and,
 * behind them, of those to come. Positions that nobody has are not counted. */
uint64_t qindex_ahead(const struct qindex *ix, uint64_t from, uint64_t count);

void qindex_each_returned(const struct qindex *ix,
                          void (*each)(uint64_t qseq, uint32_t returns, void *arg), void *arg);

/* ---- after a start ------------------------------------------------------------------------------
 */

/* The index is new. Moments are wall clock: `to_loop_ms` is added. True when some message may
 * expire. */
bool qindex_restore(struct qindex *ix, const struct recovered_level *from, int64_t to_loop_ms);

#endif
