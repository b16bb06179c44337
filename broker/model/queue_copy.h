/*
 * queue_copy: a queue that is a copy of one on another node, its master.
 *
 * A copy hands out nothing, and nothing expires, dies or is too much in it: messages come at the
 * positions that the master gave them, in any order, and leave when the master says so. All of them
 * are ready. It becomes a queue of its own (queue_lead) when its node is made the master, and a
 * copy (queue_follow) when another one is; while it is a copy the functions of queue.h that use a
 * queue (publish, consume, get, settle, purge) are not called.
 *
 * What is long is done in turns: MORE, to be called again with the same. What depends on messages
 * of which not even positions are in memory waits: LATER, and *want says what is to be read first
 * and given to queue_loaded_run.
 */
#ifndef WARREN_QUEUE_COPY_H
#define WARREN_QUEUE_COPY_H

#include "model/queue.h"

/* ---- a planned move: what is out with consumers stays out with them ---- */

/* Positions that are out, rising; `max` of them at most. Returns how many. */
size_t queue_list_out(const struct queue *q, uint64_t *out, size_t max);

/* For each priority, behind everything that was ever handed out, here or by another master. */
void queue_fresh(const struct queue *q, void (*each)(uint64_t next_fresh, void *arg), void *arg);

/* Of one that leads from now on, and has handed out nothing: what is at or behind this position
 * nobody has seen. */
void queue_unseen(struct queue *q, uint64_t next_fresh);

/* The same says that these, which rise, are out with somebody: so they are here, with nobody yet,
 * as far as they are there and in memory. Returns how many. */
size_t queue_hold(struct queue *q, const uint64_t *qseqs, size_t count);

MUST_CHECK bool queue_is_out(const struct queue *q, uint64_t qseq);

/* One that is out with nobody is this consumer's. */
void queue_adopt(struct queue *q, struct consumer *c);

/* Becomes a copy. It has no consumer any more. What is out is ready again, redelivered; positions
 * stay. MORE or DONE. It is a copy from the first call on. */
enum qcopy queue_follow(struct queue *q, size_t *budget);

/* It is no copy any more, once it follows in full. It hands out from now on. */
void queue_lead(struct queue *q, uint64_t now_ms);

/* A message comes, at it->qseq; its reference is taken. NOTHING: that position is taken, or of a
 * priority that the queue has not; LATER: the item is untouched. */
enum qcopy queue_put(struct queue *q, struct queue_item *it, struct qwant *want);

/* The master is done with these positions, included; or they are cut off. queue_ops.freed and
 * freed_run are called, gone is not. */
enum qcopy queue_drop(struct queue *q, uint64_t first, uint64_t last, size_t *budget,
                      struct qwant *want);

/* All of their priority before this position may have been shown to somebody. */
void queue_seen(struct queue *q, uint64_t mark);

/* It came back so often. Nothing happens if it is not in memory. */
void queue_count_returns(struct queue *q, uint64_t qseq, uint32_t returns);

/* Positions from this one on, of its priority, are free. */
void queue_raise(struct queue *q, uint64_t next_new);

/* What is at or behind this position, of its priority, was dropped: from here on they are given
 * anew. */
void queue_lower(struct queue *q, uint64_t next_new);

/* ---- of masters, too ---- */

/* The next free position of each priority that was ever used; others begin at 0. */
void queue_starts(const struct queue *q, void (*each)(uint64_t next_new, void *arg), void *arg);

/* The next positions at or behind `at` that are there without a gap, ready or out: those of one
 * priority, and not all if there are very many. NOTHING: there are none any more. */
enum qcopy queue_live(const struct queue *q, uint64_t at, uint64_t *first, uint64_t *last,
                      struct qwant *want);

/* What is at this position. HERE: out->message is borrowed; ABSENT: it is at out->place; IN_RUN:
 * *want says what is to be read. */
enum qhead queue_look(const struct queue *q, uint64_t qseq, struct queue_item *out,
                      struct qwant *want);

#endif
