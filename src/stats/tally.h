/*
 * tally: how many of something there are for each id, counted by all threads, with a limit.
 *
 * Connections of a user or a vhost, channels of a user: who wants one more takes it here first, and
 * the count and the limit are looked at in one step, so that two threads cannot both take the last
 * one. A lock for each of a few groups of ids; not for what happens with every message.
 */
#ifndef WARREN_TALLY_H
#define WARREN_TALLY_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct tally;

struct tally *tally_new(void);

/* Nobody uses it any more. NULL is allowed. */
void tally_free(struct tally **t);

/* One more, unless there are `limit` already (negative: no limit). */
MUST_CHECK bool tally_take(struct tally *t, uint64_t id, int64_t limit);

/* One less. */
void tally_give(struct tally *t, uint64_t id);

uint64_t tally_count(struct tally *t, uint64_t id);

#endif
