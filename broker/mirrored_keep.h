/*
 * mirrored_keep: what a mirror is about to cut off, and its master has not, goes into quarantine
 * first; also what who is no mirror any more is about to drop.
 *
 * A node that was cut off may have taken messages as the master that nobody was given a confirm
 * for. When it joins another master it drops them (mirror_replica.h), for that one has gone on
 * without. Before that they are read, from memory or from the disk, a batch at a time; those that
 * the master has, by the numbers of their producers, are passed over; the rest is written into the
 * queue's file (quarantine/quarantine.h). Only when all of it is safe the cut is made. A crash
 * meanwhile finds the queue as it was, and begins anew: nothing is added twice.
 *
 * What cannot be written is not cut: the master hears that it is to join again, and does, as often
 * as it takes; other queues are not held up by it. See design.md 2.10. On the shard's thread.
 */
#ifndef WARREN_MIRRORED_KEEP_H
#define WARREN_MIRRORED_KEEP_H

#include "mirror/mirror_replica.h"

struct hosted;

/* Of a copy with this history, what is at or behind `cut` of which `producers` know nothing.
 * TAKEN: it is safe, until mirrored_keep_end; LATER: mirrored_is_due follows; NOT: it cannot be
 * written now. `master`: for the log. */
enum mirror_taken mirrored_keep(struct hosted *h, const struct mirror_history *history,
                                const struct mirror_starts *cut, const struct producers *producers,
                                uint16_t master);

/* A message that is not in the journal has come to this position: the number of its producer is
 * remembered, for the newest of those. */
void mirrored_keep_saw(struct hosted *h, uint64_t position, uint64_t pid, uint64_t seq);

/* The cut was made, or there will be another one, or none. */
void mirrored_keep_end(struct hosted *h);
/* Nor is anything remembered any more. */
void mirrored_keep_forget(struct hosted *h);

#endif
