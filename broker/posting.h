/*
 * posting: messages that the node itself publishes for somebody who is to be told when they are
 * safe (the management, for who publishes there).
 *
 * To queues it is a channel that confirms: it is answered by the queue of another shard or node,
 * by the journal, by mirrors. It has no connection, and what would be told to one comes here. A
 * message that nobody answers for is given up after a while, and may be there or not.
 *
 * One shard's; all calls on its thread but what says otherwise.
 */
#ifndef WARREN_POSTING_H
#define WARREN_POSTING_H

#include "cluster/meta.h"
#include "dead_post.h"
#include "port.h"

#include <sys/queue.h>

#define POSTING_WAIT_MS ((uint64_t)35000) /* longer than LANE_WAIT_MS: that answer is clearer */

struct postings;

/* Embedded in what waits for it; from posting_send to `done` the shard's. */
struct posting {
    TAILQ_ENTRY(posting) entry;
    uint64_t number;
    uint64_t since_ms;
    uint32_t left;        /* answers to come, and one until all queues were handed it */
    enum dead_fate worst; /* so far; DEAD_LOST in the end: perhaps taken */
    /* Once. Perhaps before posting_send returns. */
    void (*done)(struct posting *p);
};

/* Takes the message. */
void posting_send(struct shard *s, struct posting *p, struct message **m,
                  const struct meta_queue *const *to, size_t count);

/* ---- answers, if they are no channel's ---- */

void postings_on_published(struct shard *s, const struct port_channel_ref *to, uint64_t number,
                           enum dead_fate fate);

/* The shard's loop has ended, and the journal is closed: those that are not answered are lost. */
void postings_end(struct shard *s);
void postings_free(struct shard *s);

#endif
