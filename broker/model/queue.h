/*
 * queue: one queue: its messages, who consumes it, and who gets what.
 *
 * Pure: no I/O, no clock, no thread of its own; it lives on one shard and is called there, with the
 * time where that matters. Messages go to consumers by priority and in order of arrival; of the
 * consumers with the highest priority that have room each takes its turn, or one alone takes all
 * (single active consumer). A consumer that cannot take more (prefetch, a slow connection, flow
 * off) says so when asked, is passed over, and is woken with queue_wake. What was handed out with
 * acknowledgement stays in the queue until it is settled, and goes back to its old place when it is
 * requeued.
 *
 * Messages also leave at the head, in RabbitMQ's manner: when they expire, and when the queue is
 * longer than it may be. The queue is never judged elsewhere, so an expired message behind one that
 * is not stays. Whatever may take long (millions of messages expire, are purged, are too many) is
 * done in turns, see queue_ops.go_on.
 *
 * What the queue needs of its surroundings it asks through queue_ops, once for all queues, and
 * consumer_ops; these calls may not change the queue while they run.
 */
#ifndef WARREN_QUEUE_H
#define WARREN_QUEUE_H

#include "model/qstore.h"
#include "model/turns.h"

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
    int64_t priority;
    uint32_t prefetch; /* how many may be out with it, 0: any number */
    uint32_t out;      /* how many are */
    bool no_ack;
    bool exclusive;
    bool waiting; /* among those that may be able to take one */
};

/* Why a message died. */
enum queue_death {
    QUEUE_REJECTED,
    QUEUE_EXPIRED,
    QUEUE_MAXLEN,
    QUEUE_DELIVERY_LIMIT,
};
#define QUEUE_DEATHS 4u

struct queue_ops {
    /* A reference that the queue no longer needs is given. */
    void (*release)(struct message *m, void *arg);
    /* A message that left the queue and may be dead-lettered; the reference is given. It was at
     * this position (`gone` is not called for it); `e` is NULL for one that never had any. `m` is
     * NULL when it is not in memory, which happens only where there is no dead-letter exchange. */
    void (*dead)(struct queue *q, struct message *m, enum queue_death why, uint64_t qseq,
                 const struct qentry *e, void *arg);
    /* A message like m that says how often it was returned: a new reference. */
    struct message *(*counted)(struct message *m, uint32_t returns, void *arg);
    /* Call queue_on_time at this moment; earlier moments that were asked for still count. */
    void (*wake_at)(struct queue *q, uint64_t at_ms, void *arg);
    /* There is more to do than one run may: call queue_go_on when others had their turn. */
    void (*go_on)(struct queue *q, void *arg);

    /* What the journal and copies on other nodes are to know. All but gone_range are only called
     * for messages that have a place in the journal, and may be NULL where none ever has; gone,
     * out, returned and again for all of a queue that is_mirrored. Entries, and the messages in
     * them, are borrowed. */

    /* One has left for good. */
    void (*gone)(struct queue *q, uint64_t qseq, const struct qentry *e, void *arg);
    /* All that was ready at these positions, included, has left (a purge). May be NULL. */
    void (*gone_range)(struct queue *q, uint64_t first, uint64_t last, void *arg);
    /* One of those, or of a queue that ends, is freed: at once or in a later turn. */
    void (*freed)(struct queue *q, const struct qentry *e, void *arg);
    void (*freed_run)(struct queue *q, const struct qrun *r, void *arg);
    /* One was handed out and stays until it is settled. */
    void (*out)(struct queue *q, uint64_t qseq, void *arg);
    /* One of a quorum queue came back, so often by now. */
    void (*returned)(struct queue *q, uint64_t qseq, uint32_t returns, void *arg);
    /* One has a new position; `gone` was called for its old one. Returns its new place, if it has
     * one. */
    struct place (*again)(struct queue *q, const struct queue_item *item, void *arg);
    /* The next messages are not in memory, or soon will not be: see queue_wants. It is called again
     * and again until they are. */
    void (*want)(struct queue *q, void *arg);
    /* Of a queue that is_mirrored, at each hand-out: may it be served from here, now? If not
     * nothing is handed out, and nothing expires, until queue_run is called when it may. May be
     * NULL: always. */
    bool (*may_serve)(struct queue *q, void *arg);
    /* The same of the message at this position, which waited: may it be handed out, or would one
     * that masters the queue next not know that somebody may have seen it? If not it waits, and
     * what is behind it, until queue_run is called. May be NULL: always. */
    bool (*may_show)(struct queue *q, uint64_t qseq, void *arg);
    /* The same of one that comes: may it go by at once if a consumer has room and nothing waits, or
     * is it to wait until may_show says yes? May be NULL: it may. */
    bool (*may_pass)(struct queue *q, void *arg);
    void *arg;
};

enum queue_overflow {
    QUEUE_DROP_HEAD,
    QUEUE_REJECT_PUBLISH,
    QUEUE_REJECT_PUBLISH_DLX,
};

#define QUEUE_NO_LIMIT ((int64_t)-1)

/* What arguments and policies say. Numbers may be QUEUE_NO_LIMIT. */
struct queue_settings {
    int64_t message_ttl_ms;
    int64_t expires_ms; /* of the queue, when it is not used */
    int64_t max_length; /* ready messages */
    int64_t max_length_bytes;
    int64_t delivery_limit;
    int64_t consumer_timeout_ms;
    enum queue_overflow overflow;
    uint8_t max_priority; /* this and the next two hold from queue_init on */
    bool single_active;
    bool is_quorum;
    bool has_dlx;
    bool has_dlx_key;
    struct slice dlx;
    struct slice dlx_key;
};

/* An initialiser. */
#define QUEUE_SETTINGS_NONE                                                                        \
    {                                                                                              \
        .message_ttl_ms = QUEUE_NO_LIMIT, .expires_ms = QUEUE_NO_LIMIT,                            \
        .max_length = QUEUE_NO_LIMIT, .max_length_bytes = QUEUE_NO_LIMIT,                          \
        .delivery_limit = QUEUE_NO_LIMIT, .consumer_timeout_ms = QUEUE_NO_LIMIT                    \
    }

struct queue {
    uint64_t qid;
    const struct queue_ops *ops;
    const struct queue_settings *settings; /* the caller's */
    struct qstore store;
    struct turns turns;
    struct consumer *active; /* the one that takes all, if settings->single_active */
    uint32_t consumer_count;
    bool has_exclusive;
    bool had_consumers;
    bool running;     /* inside queue_run: it does not call itself */
    bool goes_on;     /* asked for queue_go_on */
    bool waits;       /* for its head, which somebody needs, to be in memory */
    bool is_plain;    /* settings ask for nothing when a message comes */
    bool is_single;   /* settings->single_active */
    bool has_timed;   /* messages may be here that expire */
    bool has_buried;  /* what was purged is not all freed */
    bool is_copy;     /* see queue_copy.h */
    bool is_mirrored; /* copies of it are to know of all that leaves: see queue_ops */
    bool is_held;     /* somebody has room for its head, which may not be shown yet */
    uint32_t slices;  /* turns that freeing took so far */
    uint64_t used_at_ms;
    uint64_t wake_at_ms; /* the earliest moment asked for; UINT64_MAX: none */
    uint64_t published;
    uint64_t delivered;
    uint64_t acked;
    uint64_t redelivered;
};

void queue_init(struct queue *q, uint64_t qid, const struct queue_ops *ops,
                const struct queue_settings *settings, uint64_t now_ms);

/* The settings are others now; the former ones are no longer looked at. */
void queue_set(struct queue *q, const struct queue_settings *settings, uint64_t now_ms);

/* Every message is released. No consumer is left (see queue_any_consumer). False when there were
 * more than `most`: then to be called again, and nothing else. */
bool queue_fini(struct queue *q, size_t most);

enum queue_publish_verdict {
    QUEUE_REFUSED, /* the queue is full */
    QUEUE_PASSED,  /* handed to a consumer that acknowledges nothing, or dead already */
    QUEUE_KEPT,    /* it came to a position, which it may have left again by now */
};

struct queue_put {
    uint64_t qseq;
    uint64_t expires_ms; /* the moment, 0: never */
};

/* Takes the reference in *m; hands on what can be handed on. *put is set for one that was kept. */
enum queue_publish_verdict queue_publish(struct queue *q, struct message **m, uint64_t now_ms,
                                         struct queue_put *put);

enum queue_placed {
    QUEUE_PLACED_GONE, /* it has left: nobody knows of the place */
    QUEUE_PLACED_READY,
    QUEUE_PLACED_OUT, /* it was handed out before it had a place: queue_ops.out was not called */
};

/* The message at this position has its record there. */
enum queue_placed queue_set_place(struct queue *q, uint64_t qseq, struct place place);

enum queue_consume_verdict {
    QUEUE_CONSUME_OK,
    QUEUE_CONSUME_EXCLUSIVE, /* it has an exclusive consumer, or this one wants to be one beside
                                others, or where one is active at a time */
};

/* The caller has filled ops, priority, prefetch, no_ack and exclusive. Deliveries start with
 * queue_run, so that the caller can answer the client first. */
MUST_CHECK enum queue_consume_verdict queue_consume(struct queue *q, struct consumer *c);

/* What is out with it stays out. Call queue_run afterwards: another one may be active now. */
void queue_cancel(struct consumer *c, uint64_t now_ms);
struct consumer *queue_any_consumer(const struct queue *q);

/* The consumer may have room again. */
void queue_wake(struct consumer *c);

/* Hand out while somebody has room, for a while; see queue_ops.go_on. */
void queue_run(struct queue *q, uint64_t now_ms);
void queue_go_on(struct queue *q, uint64_t now_ms);

/* A moment that was asked for has come. True when nobody has used the queue for so long that it is
 * to be deleted. */
MUST_CHECK bool queue_on_time(struct queue *q, uint64_t now_ms);

/* Somebody has asked for it: it is not unused from now on. (Publishing does not count.) */
void queue_use(struct queue *q, uint64_t now_ms);

enum queue_get_verdict {
    QUEUE_GOT,
    QUEUE_GET_EMPTY,
    QUEUE_GET_LATER, /* many have expired that were not dropped yet: ask again in another turn */
    QUEUE_GET_AWAY,  /* it is not in memory, but wanted, or may not be shown yet: ask again after
                        queue_loaded, or when queue_run is called since it may */
};

struct queue_got {
    struct message *message; /* a reference */
    uint64_t qseq;           /* it is out at this position; with no_ack it is gone */
    bool redelivered;
};

/* May be handed out and got from, and judged, at this moment; see queue_ops.may_serve. */
MUST_CHECK bool queue_may_serve(struct queue *q);

/* basic.get: the next message. The queue may be served. */
MUST_CHECK enum queue_get_verdict queue_get(struct queue *q, bool no_ack, uint64_t now_ms,
                                            struct queue_got *out);

/* A message that was out with `c` (NULL: a get, or a consumer that is gone) is done with. False
 * when it is not out: settled before, or lost in a purge of the queue. */
bool queue_ack(struct queue *q, uint64_t qseq, struct consumer *c);

/* The same, and it is dead. */
bool queue_reject(struct queue *q, uint64_t qseq, struct consumer *c);

/* Back to its old place; or dead, when it came back too often. `redelivered`: somebody may have
 * seen it. Call queue_run afterwards. */
bool queue_requeue(struct queue *q, uint64_t qseq, struct consumer *c, bool redelivered);

/* The same, for a client that gives one back and stays: a quorum queue without a limit of
 * deliveries hands out all others first, so that one that nobody can deal with holds up nothing. */
bool queue_return(struct queue *q, uint64_t qseq, struct consumer *c);

/* Remove what is ready; returns how many. */
uint64_t queue_purge(struct queue *q);

static inline uint64_t queue_ready(const struct queue *q)
{
    return q->store.counts.ready.count;
}

static inline uint64_t queue_unacked(const struct queue *q)
{
    return q->store.counts.out.count;
}

/* No message is ready. */
static inline bool queue_is_empty(const struct queue *q)
{
    return q->store.counts.ready.count == 0;
}

/* The next message, borrowed, or NULL when there is none or it is not in memory. */
const struct message *queue_head(const struct queue *q);

/* ---- what is not in memory, see qaway.h ---------------------------------------------------------
 *
 * While the head is away nothing is handed out, dead-lettered or got; what is published goes to the
 * end. After queue_loaded, queue_loaded_run and queue_lost call queue_run.
 */

static inline uint64_t queue_away(const struct queue *q)
{
    return q->store.counts.away.count;
}

/* Octets of bodies in memory that are ready. */
static inline uint64_t queue_ready_bytes_here(const struct queue *q)
{
    return q->store.counts.ready.bytes - q->store.counts.away.bytes;
}

void queue_page_out(struct queue *q, struct qpaging *p);

/* Messages that memory could be had from if they had a place. */
size_t queue_unplaced(struct queue *q, uint64_t keep_count, struct queue_item *out, size_t max,
                      bool *is_done);

/* What to read next. `after` is the last position (qwant.last) that is being read already, or 0. */
MUST_CHECK bool queue_wants(struct queue *q, const struct qwindow *w, uint64_t after,
                            struct qwant *out);

/* Messages that were read; their references are taken. What is not away any more, or stands
 * elsewhere now, is dropped. */
void queue_loaded(struct queue *q, struct queue_item *items, size_t count);
void queue_loaded_run(struct queue *q, uint32_t seg, uint64_t first, uint64_t last,
                      struct queue_item *items, size_t count);
void queue_lost(struct queue *q, uint64_t first, uint64_t last);

/* ---- what the journal asks, see qaway.h ---------------------------------------------------------
 */

bool queue_at(const struct queue *q, uint64_t qseq, struct place place);
bool queue_has_runs_in(const struct queue *q, uint32_t seg);
MUST_CHECK bool queue_dead_ranges(const struct queue *q, qrange_fn each, void *arg,
                                  struct qrun *sparse);
void queue_marks(const struct queue *q, void (*each)(uint64_t mark, void *arg), void *arg);

/* The position behind `count` messages of its priority from `qseq` on, see qjournal.h. */
uint64_t queue_ahead(const struct queue *q, uint64_t qseq, uint64_t count);
void queue_each_returned(const struct queue *q,
                         void (*each)(uint64_t qseq, uint32_t returns, void *arg), void *arg);

/* A queue that was just made has what it had before the start. Moments are wall clock, `to_loop_ms`
 * is added. Call queue_run when messages can be read. False: some was of priorities that the queue
 * has not, and is left out. */
MUST_CHECK bool queue_restore(struct queue *q, const struct recovered_queue *from,
                              int64_t to_loop_ms);

#endif
