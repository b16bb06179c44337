/*
 * patrol: looks every second whether a channel of the shard has had a delivery for too long.
 *
 * It goes through the connections in slices, so that many of them keep nobody waiting. One shard.
 */
#ifndef WARREN_PATROL_H
#define WARREN_PATROL_H

#include "shard.h"

/* Runs at once. */
struct patrol *patrol_new(struct shard *s);
void patrol_free(struct patrol **patrol);

#endif
