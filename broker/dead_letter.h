/*
 * dead_letter: dead messages on their way to the exchange that their queue names for them.
 *
 * A queue's dead message waits until the queue's own work is done, at the end of the turn, or of
 * later ones when there are many; then it is published again from the queue's shard, in the order
 * of the deaths. It needs nobody's permission and is confirmed to nobody; without the exchange, or
 * when it would go round in a circle, it is dropped.
 */
#ifndef WARREN_DEAD_LETTER_H
#define WARREN_DEAD_LETTER_H

#include "hosted.h"

struct dead_letters;

struct dead_letters *dead_letters_new(struct shard *s);

/* What waits is dropped. */
void dead_letters_free(struct dead_letters **dl);

/* A message died in `h`; takes the reference. */
void dead_letters_add(struct dead_letters *dl, struct hosted *h, struct message **m,
                      enum queue_death why);

/* For the counters of the shard: what became of it. */
void dead_letters_count(struct hosted *h, enum shard_after_death after, enum queue_death why);

#endif
