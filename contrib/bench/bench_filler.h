/*
 * bench_filler: what bodies hold behind their ids: a fixed pattern, kept once in a constant block.
 *
 * Octet `offset` of a body is offset modulo a prime, so that a piece that is missing, doubled or
 * shifted shows. Any thread; the block is counted.
 */
#ifndef WARREN_BENCH_FILLER_H
#define WARREN_BENCH_FILLER_H

#include "base/buf.h"

#include <stdbool.h>

/* A new block of the pattern, with one reference; it serves bodies of any length. */
struct buf *bench_filler_new(void);

/* The longest range of the block that continues the pattern from `offset`, at most `len`. */
struct slice bench_filler_range(const struct buf *filler, uint64_t offset, uint64_t len);

/* Is this what a body has from `offset` on? */
bool bench_filler_matches(const struct buf *filler, uint64_t offset, struct slice octets);

#endif
