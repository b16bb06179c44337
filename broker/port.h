/*
 * port: between channels and queues, wherever each of them lives.
 *
 * A channel names a queue by its id and where it is. On the same shard a call goes straight
 * through; on another one it travels as mail, publishes and deliveries in batches; on another node
 * over a link, see remote/remote.h. The order between one channel and one queue stays that of the
 * calls. Each request is answered once, with the same struct; a batch comes back when it was worked
 * off, which is both the acknowledgement and the credit for the next.
 *
 * All calls on the thread of the shard that is named first.
 */
#ifndef WARREN_PORT_H
#define WARREN_PORT_H

#include "client/unacked.h"
#include "io/mailbox.h"
#include "model/message.h"
#include "shard.h"

#include <sys/queue.h>

/* A channel, from anywhere. It may be gone by the time something reaches it: then what came is
 * given back. */
struct port_channel_ref {
    uint64_t connection;
    uint32_t incarnation; /* rises each time the number is opened again */
    uint16_t number;
};

enum port_op {
    PORT_CONSUME,
    PORT_CANCEL,
    PORT_GET,
    PORT_PURGE,
    PORT_DELETE, /* judge if_unused and if_empty, and promise that it goes */
    PORT_COUNT,
    PORT_FENCE, /* see port_fence */
};

enum port_verdict {
    PORT_OK,
    PORT_NO_QUEUE,
    PORT_EXCLUSIVE, /* it has an exclusive consumer, or consumers where one wants to be that */
    PORT_IN_USE,    /* if_unused, and it has consumers */
    PORT_NOT_EMPTY, /* if_empty, and it has messages */
    PORT_NODE_DOWN, /* its node cannot be reached: what became of it there is not known */
    PORT_ELSEWHERE, /* it is mastered by another node by now: to be asked there */
};

#define PORT_NO_POSITION UINT64_MAX
#define PORT_CLAIMS_MAX  4096u

struct port_request {
    struct mail mail;
    enum port_op op;
    uint64_t qid;
    uint32_t where;      /* the queue is, see port_where */
    struct shard *asker; /* set by port_ask */
    struct port_channel_ref from;
    /* asked */
    uint64_t consumer;              /* CONSUME, CANCEL: its id, from shard_new_id */
    struct port_channel_ref client; /* CONSUME: whose it is, when `from` stands for another node */
    uint32_t prefetch;              /* CONSUME */
    int64_t priority;               /* CONSUME */
    bool no_ack;                    /* CONSUME, GET */
    bool exclusive;                 /* CONSUME */
    bool if_unused;                 /* DELETE */
    bool if_empty;                  /* DELETE */
    bool durable;                   /* FENCE */
    bool is_lost;                   /* FENCE: answered, see port_fence */
    /* answered */
    enum port_verdict verdict;
    uint64_t messages;           /* COUNT: ready; GET: still ready; PURGE, DELETE: how many went;
                                  * FENCE: how far another node's metadata had come, or 0 */
    uint32_t consumers;          /* COUNT */
    int64_t consumer_timeout_ms; /* CONSUME: to acknowledge; QUEUE_NO_LIMIT: none of its own */
    bool is_unused;              /* CANCEL: an auto-delete queue lost its last consumer: it goes */
    struct message *message;     /* GET: a reference, or NULL */
    uint64_t qseq;               /* GET */
    bool redelivered;            /* GET */
    uint64_t known;              /* GET, CONSUME with claims: see unacked_entry */
    bool later; /* GET: many have expired: ask again in another turn (by port_ask this is done) */
    bool away;  /* GET: not in memory: ask again after hosted_post_when_loaded (the same) */
    /* CONSUME, carried: positions that its channel holds of the queue, in the request's own memory;
     * answered, those that are not the consumer's are PORT_NO_POSITION. Of another node they have
     * these tags, in order, from claim_tag on. */
    uint64_t *claims;
    uint32_t claim_count; /* PORT_CLAIMS_MAX at most */
    uint64_t claim_tag;
    /* for who asks again, see remote/remote_carry.h */
    bool carried;      /* CONSUME: of a consumer that the channel has already */
    bool is_due;       /* perhaps at the same place */
    uint64_t since_ms; /* it was asked first; 0: it has not been asked again */
    TAILQ_ENTRY(port_request) carry_entry;
};

/* Where a queue is, for who uses it from this shard: the index of a shard of this node, or the
 * number of another node and that of the present life of the link to it. What was handed out in a
 * former life cannot be settled any more; to try is no mistake. */
uint32_t port_where(struct shard *s, const struct meta_queue *q);

/* 0: this node. */
static inline uint16_t port_where_node(uint32_t where)
{
    return (uint16_t)(where >> 16);
}

/* Ask; channel_on_answer gets the request back, before this returns when the queue is at hand. */
void port_ask(struct shard *s, struct port_request **r);

/* For somebody who is no channel (the management), on the queue's own shard: the verdict and what
 * was found stand in *r. A message that was got is the caller's, to be dropped and settled. */
void port_serve(struct shard *s, struct port_request *r);

enum port_published {
    PORT_TAKEN,
    PORT_REFUSED, /* the queue is full */
    PORT_LATER,   /* channel_on_published tells, or channel_on_durable */
    PORT_AWAITED, /* taken: one answer more comes for this number */
    /* only to port_publish_from */
    PORT_MOVED, /* not this node's to take, in that epoch: nothing of it is ever taken again */
};

/* Hand a message to a queue; takes the reference. `number` is the publish's number for confirms, 0
 * if nobody waits for it. Follow the calls for all queues of a message by port_published. */
enum port_published port_publish(struct shard *s, const struct meta_queue *to, struct message **m,
                                 const struct port_channel_ref *from, uint64_t number);

/* Who publishes to a mirrored queue, and how it is told apart from what was published before: the
 * queue takes no seq twice of one pid, and none below one that it has. The epoch is the queue's, as
 * the publisher has it; a master of another epoch takes nothing. See remote/remote_lane.h. */
struct port_origin {
    uint64_t pid; /* 0: it is not mirrored */
    uint64_t seq;
    uint64_t epoch;
};

/* The same for a queue of this node that is mirrored: `from` is a session of another node, or the
 * shard's lane, and `number` never 0. */
enum port_published port_publish_from(struct shard *s, const struct meta_queue *to,
                                      struct message **m, const struct port_channel_ref *from,
                                      uint64_t number, const struct port_origin *origin);

/* The message is with all its queues. True when those that took it at once are to be waited for:
 * channel_on_durable tells when it is safe there. */
bool port_published(struct shard *s, const struct port_channel_ref *from, uint64_t number);

/* What a queue has handed out: its position there and, where it was handed out by another node, the
 * tag that stands for that in remote_settle; here they are the same. */
struct port_handed {
    uint64_t tag;
    uint64_t position;
    uint64_t known; /* see unacked_entry */
};

enum port_settle {
    PORT_ACK,
    PORT_DROP,           /* rejected without requeue: dead */
    PORT_REQUEUE,        /* the client gives it back */
    PORT_REQUEUE_SEEN,   /* back to its place; somebody may have seen it */
    PORT_REQUEUE_UNSEEN, /* back to its place; it was never shown to a client */
    PORT_FORGET,         /* to another node: it is no longer there to be settled */
};

/* A delivery is settled. Its position means nothing to its queue if that was another node's since
 * it was handed out: then it counts as if that had passed it on, see mirrored_handed.h. Follow a
 * run of requeues by port_settled. */
void port_settle(struct shard *s, const struct unacked_entry *e, enum port_settle how);

/* Something was handed out here of a queue that another node masters by now: it is settled there,
 * if nobody has claimed it yet; see mirrored_handed.h. That it goes back, since whoever held it is
 * gone from here, is not said: its holder may be about to claim it. */
void port_settle_moved(struct shard *s, uint64_t qid, uint64_t qseq, enum port_settle how);

/* The same said by that node's former master: the queue is a shard's here. */
void port_settle_handed(struct shard *s, uint32_t where, uint64_t qid, uint64_t qseq,
                        enum port_settle how);

/* A request with room for so many claims. */
struct port_request *port_request_new(uint32_t claims);

/* Queues that got something back may now hand it out again. */
void port_settled(struct shard *s);

/* When is what was settled really done? Begin, settle (or abandon), then ask: each shard that was
 * told something since the beginning answers by channel_on_fenced once it has done all of it and,
 * with `durable`, once that is as safe as a confirmed message, or never will be: its queue, or the
 * node, is lost meanwhile. Returns how many
 * answers will come, none of them before this returns. All that within one callback. */
void port_fence_begin(struct shard *s);
MUST_CHECK uint32_t port_fence(struct shard *s, const struct port_channel_ref *from, bool durable);

/* The same for other nodes alone that the connection has dealt with, whenever they were told
 * something: what shards of this node are told they do before what they are told later, whoever
 * says it. */
MUST_CHECK uint32_t port_fence_away(struct shard *s, const struct port_channel_ref *from);

/* The same for all shards of this node, whenever they were told something. */
MUST_CHECK uint32_t port_fence_all(struct shard *s, const struct port_channel_ref *from,
                                   bool durable);

/* The consumer's channel has room again. A consumer of another shard is then handed `credit` at
 * most (PORT_ANY: as many as there are), and what it may have at once is followed by
 * channel_on_served. */
#define PORT_ANY UINT32_MAX
void port_wake(struct shard *s, uint32_t where, uint64_t consumer, uint32_t credit);

/* The consumer's channel is gone: cancel without an answer; an auto-delete queue that is unused
 * then goes. Others are handed nothing before port_settled, so that what the channel held can go
 * back first: the next one that is active alone gets all in order. */
void port_abandon(struct shard *s, uint32_t where, uint64_t qid, uint64_t consumer);

/* Of a queue that was deleted: tell its consumers' channels. */
void port_cancel_all(struct shard *s, struct queue *q);

/* Of one that another node masters from now on: they are carried over to there. */
void port_move_all(struct shard *s, struct queue *q);

/* The consumer that gets all messages of the queue, because it is the single active one; 0: none
 * is.
 */
uint64_t port_active_consumer(const struct queue *q);

/* The same or, of another queue, its exclusive consumer; and whose it is, on whatever node. */
uint64_t port_lone_consumer(const struct queue *q, struct port_channel_ref *of);

/* Requests that wait for a queue whose node ends (hosted_post_when_loaded): nobody waits for them
 * any more. */
void port_drop_waiting(struct mail **list);

void port_init(struct shard *s, uint32_t shard_count);
void port_fini(struct shard *s);

#endif
