/*
 * epoch: grace periods for what is shared and immutable (quiescent-state based reclamation).
 *
 * Readers are loops (loop_join_epoch): during a turn they may read shared versions through atomic
 * pointers, without locks or counts, and hold nothing of them from one turn to the next. A writer
 * unlinks a thing, then retires it; it is freed when every reader has ended the turn it was in. A
 * loop that sleeps holds nothing and delays nobody.
 */
#ifndef WARREN_EPOCH_H
#define WARREN_EPOCH_H

#include <stddef.h>

struct epoch;
struct epoch_reader;

struct epoch *epoch_new(void);

/* All readers have left; what is still waiting is freed. */
void epoch_free(struct epoch **epoch);

/* Free `ptr` by `free_fn` once no reader can hold it. The one writer's thread. */
void epoch_retire(struct epoch *epoch, void *ptr, void (*free_fn)(void *ptr));

/* Free what can be freed now; called by epoch_retire now and then, and by the writer when idle. */
void epoch_reclaim(struct epoch *epoch);

size_t epoch_waiting(const struct epoch *epoch); /* writer's thread */

/* For the loops. A reader starts offline: it holds nothing. */
struct epoch_reader *epoch_join(struct epoch *epoch);
void epoch_leave(struct epoch *epoch, struct epoch_reader **reader);
void epoch_online(struct epoch *epoch, struct epoch_reader *reader);
void epoch_offline(struct epoch_reader *reader);

#endif
