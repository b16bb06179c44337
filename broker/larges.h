/*
 * larges: which records of this shard stand for large messages, and which file each has.
 *
 * An entry of a queue knows its place and that it is large, not its file; that is kept here. On the
 * shard's thread.
 */
#ifndef WARREN_LARGES_H
#define WARREN_LARGES_H

#include "store/place.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct larges;
struct message;
struct msg_target;
struct recovered_large;
struct shard;

struct larges *larges_new(struct shard *s);

/* Its loop has ended, its mail is delivered. */
void larges_free(struct larges **l);

/* A record MSG_LARGE was appended for these queues: have the file written. `fn` is called when it
 * is, in a later turn: with the LSN that must be durable for the message to be safe; UINT64_MAX: it
 * never will be. One that is there already for another shard is not written again. */
typedef void (*larges_fn)(void *arg, uint64_t lsn);
void larges_publish(struct larges *l, struct message *m, struct place place,
                    const struct msg_target *targets, uint32_t count, larges_fn fn, void *arg);

/* So many queues are done with what stands there. What is not large or not known is nothing. */
void larges_gone(struct larges *l, struct place place, uint32_t targets);

/* All that says so was appended: what nobody wants any more goes when that is durable. */
void larges_settled(struct larges *l);

/* The record of this place was appended anew elsewhere, for so many queues. */
void larges_moved(struct larges *l, struct place from, struct place to, uint32_t targets);

/* The file of what stands there is durable. */
bool larges_is_safe(const struct larges *l, struct place place);

/* As recovery found them; also those of which another shard has a part. */
void larges_restore(struct larges *l, const struct recovered_large *found, size_t count);

#endif
