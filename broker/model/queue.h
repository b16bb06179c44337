/*
 * queue: one queue: its messages, who consumes it, and who gets what.
 *
 * Pure: no I/O, no clock, no thread of its own; it lives on one shard and is called there. Messages
 * go to consumers in order of arrival, consumers take turns. A consumer that cannot take more
 * (prefetch, a slow connection, flow off) says so when asked, is passed over, and is woken with
 * queue_wake. What was handed out with acknowledgement stays in the queue until it is settled, and
 * goes back to its old place when it is requeued.
 *
 * What the queue needs of its surroundings it asks through queue_ops, once for all queues, and
 * consumer_ops; these calls may not change the queue while they run.
 */
#ifndef WARREN_QUEUE_H
#define WARREN_QUEUE_H

#include "model/qindex.h"

#include <sys/queue.h>

struct queue;
struct consumer;

struct consumer_ops {
    /* Is there room for one more message now? */
    bool (*has_room)(struct consumer *c);
    /* One more message, borrowed (keep it by message_ref). With no_ack, qseq means nothing. */
    void (*deliver)(struct consumer *c, uint64_t qseq, struct message *m, bool redelivered);
};

/* Embedded in whatever stands for a consumer; the queue holds a pointer from queue_consume until
 * queue_cancel, or the queue's end. */
struct consumer {
    const struct consumer_ops *ops;
    struct queue *queue; /* NULL when it is not consuming */
    TAILQ_ENTRY(consumer) entry;
    uint32_t prefetch; /* how many may be out with it, 0: any number */
    uint32_t out;      /* how many are */
    bool no_ack;
    bool exclusive;
    bool waiting; /* in the list of those that may be able to take one */
};

TAILQ_HEAD(consumer_list, consumer);

struct queue_ops {
    /* A message that left the queue for good; the reference is given. */
    void (*release)(struct message *m, void *arg);
    /* There is more to hand out than one run may: call queue_go_on when others had their turn. */
    void (*go_on)(struct queue *q, void *arg);
    void *arg;
};

struct queue {
    uint64_t qid;
    const struct queue_ops *ops;
    struct qindex index;
    struct consumer_list waiting; /* take turns */
    struct consumer_list resting; /* had no room when last asked */
    uint32_t consumer_count;
    bool has_exclusive;
    bool had_consumers;
    bool running; /* inside queue_run: it does not call itself */
    bool goes_on; /* asked for queue_go_on */
    uint64_t published;
    uint64_t delivered;
    uint64_t acked;
    uint64_t redelivered;
};

void queue_init(struct queue *q, uint64_t qid, const struct queue_ops *ops);

/* Every message is released. No consumer is left (see queue_any_consumer). */
void queue_fini(struct queue *q);

/* Takes the reference in *m; hands on what can be handed on. */
void queue_publish(struct queue *q, struct message **m);

enum queue_consume_verdict {
    QUEUE_CONSUME_OK,
    QUEUE_CONSUME_EXCLUSIVE, /* it has an exclusive consumer, or this one wants to be one beside
                                others */
};

/* The caller has filled ops, prefetch, no_ack and exclusive. Deliveries start with queue_run, so
 * that the caller can answer the client first. */
MUST_CHECK enum queue_consume_verdict queue_consume(struct queue *q, struct consumer *c);

/* What is out with it stays out. */
void queue_cancel(struct consumer *c);
struct consumer *queue_any_consumer(const struct queue *q);

/* The consumer may have room again. */
void queue_wake(struct consumer *c);

/* Hand out while somebody has room, for a while; see queue_ops.go_on. */
void queue_run(struct queue *q);
void queue_go_on(struct queue *q);

/* basic.get: the next message, borrowed, or NULL. It is out (no_ack: gone, then the reference is
 * the caller's to drop; *qseq means nothing). */
MUST_CHECK struct message *queue_get(struct queue *q, bool no_ack, uint64_t *qseq,
                                     bool *redelivered);

/* A message that was out with `c` (NULL: a get, or a consumer that is gone) is done with. False
 * when it is not out: settled before, or lost in a purge of the queue. */
bool queue_ack(struct queue *q, uint64_t qseq, struct consumer *c);

/* Back to its old place. `redelivered`: somebody may have seen it. Call queue_run afterwards. */
bool queue_requeue(struct queue *q, uint64_t qseq, struct consumer *c, bool redelivered);

/* Remove what is ready; returns how many. */
uint64_t queue_purge(struct queue *q);

static inline uint64_t queue_ready(const struct queue *q)
{
    return q->index.ready_count;
}

/* No message, ready or out. */
static inline bool queue_is_empty(const struct queue *q)
{
    return q->index.ready_count == 0;
}

#endif
