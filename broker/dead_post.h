/*
 * dead_post: dead letters from the moment they are published until every queue has taken them.
 *
 * A letter goes to queues of this node, which answer when it is written, and to those of others,
 * each node by a number of its own. What is lost with a link or a node is sent again, when the
 * node is back or the queue is elsewhere: it may then be there twice, as after a crash. A queue
 * that is gone for good needs none; one that refuses, because it is full, is asked a few times,
 * since its node may merely not know it yet, and then gets none, as RabbitMQ has it.
 *
 * One shard's.
 */
#ifndef WARREN_DEAD_POST_H
#define WARREN_DEAD_POST_H

#include "cluster/meta.h"
#include "model/message.h"

struct dead_post;
struct shard;

/* What became of a letter at some queue. */
enum dead_fate {
    DEAD_TAKEN,   /* for good */
    DEAD_REFUSED, /* by a queue of another node */
    DEAD_LOST,    /* with a link or a node: perhaps taken */
    DEAD_FAILED,  /* it can never be written */
};

struct dead_post_ops {
    /* All queues have it or need none. Not `ok`: it can never be written. */
    void (*done)(void *arg, void *letter, bool ok);
    /* Others that waited meanwhile may be sent. */
    void (*go_on)(void *arg);
};

struct dead_post *dead_post_new(struct shard *s, const struct dead_post_ops *ops, void *arg);

/* `done` is called for none of those that are on their way. */
void dead_post_free(struct dead_post **p);

/* To these queues; takes the message. `lasting`: those of this node answer, too. False: there is
 * nothing to wait for, and `done` is not called. */
MUST_CHECK bool dead_post_send(struct dead_post *p, struct message **m,
                               const struct meta_queue *const *to, size_t count, bool lasting,
                               void *letter);

/* A queue answers to the letter of this number. */
void dead_post_on_published(struct dead_post *p, uint64_t number, enum dead_fate fate);

/* Some that were lost are about to be sent again, to nodes that are up: others wait behind them. */
bool dead_post_is_behind(const struct dead_post *p);

#endif
