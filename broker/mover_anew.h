/*
 * mover_anew: a message's record once more, at the journal's end, for those of its queues in which
 * it is alive. See mover.h.
 */
#ifndef WARREN_MOVER_ANEW_H
#define WARREN_MOVER_ANEW_H

#include "store/store.h"

struct shard;

/* The record at `offset` of the segment that is asked for, with these targets, in each of which it
 * is there; their counts of returns may be brought up to date. None: the journal has failed. */
struct place mover_append_anew(struct shard *s, const struct store_ask *ask, uint32_t offset,
                               struct msg_target *targets, unsigned count);

#endif
