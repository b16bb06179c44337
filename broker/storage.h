/*
 * storage: the node's store, between the broker and its shards.
 *
 * It opens the store, gives each shard's queues what was found of them, hands its questions to the
 * shards, and tells the broker when it has failed. On the control thread.
 */
#ifndef WARREN_STORAGE_H
#define WARREN_STORAGE_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct broker;
struct disk;
struct epoch;
struct meta_version;
struct recovered_queue;
struct shard;
struct quarantined;
struct storage;
struct store;

/* Take the node's folder; `disk` is taken, NULL: the machine's. The shards are there; their loops
 * do not run. */
MUST_CHECK struct storage *storage_open(struct broker *b, struct epoch *epoch, struct disk *disk,
                                        struct err *err);

/* Read the journal: what is there of the queues that `v` knows, which stays meanwhile. On any
 * thread, while nobody asks for anything of the store. It takes as long as there is much;
 * storage_read.h does it while the control thread goes on. */
MUST_CHECK bool storage_read(struct storage *st, const struct meta_version *v, struct err *err);

/* It is read: from here on the shards write. */
MUST_CHECK bool storage_recover(struct storage *st, struct err *err);

/* Its threads, before the shards' loops run... */
MUST_CHECK bool storage_start(struct storage *st, struct err *err);
/* ...and, since they do: what was found is forgotten once all queues have it. */
void storage_hand_out(struct storage *st);

/* The shards' loops have ended. All is written. */
void storage_stop(struct storage *st);
bool storage_settle(struct storage *st);
void storage_free(struct storage **st);

struct store *storage_store(const struct storage *st); /* any thread */

/* What queues have cut off. NULL before storage_recover. Any thread from then on. */
struct quarantined *storage_quarantine(const struct storage *st);

/* What was found of a queue of this shard, or NULL: also once that was taken, and from when the
 * shard has had all mail that was posted to it before storage_hand_out, for a queue that comes
 * later is a new one. On the shard's thread. */
const struct recovered_queue *storage_found(const struct storage *st, const struct shard *s,
                                            uint64_t qid);
/* A queue that is restored has it now: whoever comes after that begins with nothing. */
void storage_take_found(struct storage *st, const struct recovered_queue *found);

#endif
