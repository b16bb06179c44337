/*
 * requeue: messages that were in quarantine (quarantined.h), on their way back into their queue.
 *
 * They are published from a shard by way of its lane (remote/remote_lane.h), wherever the queue is
 * mastered, under the numbers that their producers had given them: a master that has one already
 * takes it no second time. Each says in a header of its own, x-quarantined-by and x-quarantined-at,
 * that it was in quarantine.
 */
#ifndef WARREN_REQUEUE_H
#define WARREN_REQUEUE_H

#include "dead_post.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "quarantine/quarantine.h"
#include "remote/remote_lane.h"

#define REQUEUE_MAX   256u
#define REQUEUE_BYTES ((size_t)1024 * 1024) /* of bodies, but at least one message */

struct requeues;

struct requeue_one {
    struct requeue *of;
    uint64_t number; /* of its answer */
    uint64_t id;     /* in the quarantine */
    struct lane_number as;
    struct message *message; /* a reference, until it is published */
    bool is_taken;           /* answered: it is as safe there as what is confirmed */
};

/* Some messages for one queue. */
struct requeue {
    struct mail mail;
    struct shard *shard; /* that publishes them */
    uint64_t qid;
    struct loop *reply_to;
    void (*done)(struct requeue *r); /* there, when all are answered */
    void *arg;
    unsigned count;
    unsigned left;
    struct requeue_one items[REQUEUE_MAX];
};

/* A message of the quarantine as it is to be published; `node`: the name of this one. Any thread.
 */
struct message *requeue_message(const struct quarantine_message *m, struct slice node);

/* Any thread. It is the shard's until `done`; then the caller's again. */
void requeue_send(struct requeue *r);

/* Drops the messages that were not published. On no shard: they were never on one. */
void requeue_free(struct requeue **r);

/* ---- on the shard ---- */

/* Is an answer to a letter one of ours? Then for requeue_on_published. */
static inline bool requeue_is_number(uint64_t number)
{
    return number >> 63 != 0;
}

void requeue_on_published(struct shard *s, uint64_t number, enum dead_fate fate);

/* Its loop has ended, and the journal is closed: what is not answered comes back so. */
void requeues_end(struct shard *s);
void requeues_free(struct shard *s);

#endif
