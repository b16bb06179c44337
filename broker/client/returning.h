/*
 * returning: what a channel had not acknowledged when it ended, when that is very much.
 *
 * It goes back to its queues in slices, a turn each, so that nobody waits for the millions that one
 * client held. What is left when the shard ends needs no way back. One shard.
 */
#ifndef WARREN_RETURNING_H
#define WARREN_RETURNING_H

#include "client/unacked.h"
#include "shard.h"

struct returnings;

struct returnings *returnings_new(struct shard *s);
void returnings_free(struct returnings **all);

/* Takes all of *u, which is empty then. The consumers are gone. */
void returnings_add(struct returnings *all, struct unacked *u);

#endif
