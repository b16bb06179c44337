/*
 * port_lane: what port.c and port_consumer.c share: the batches that travel between shards, and
 * what is being gathered for each of them. Not for anybody else.
 */
#ifndef WARREN_PORT_LANE_H
#define WARREN_PORT_LANE_H

#include "hosted.h"
#include "port.h"

#define BATCH_ITEMS 128u

/* ---- what travels -------------------------------------------------------------------------------
 */

struct publish_item {
    struct message *message;
    uint64_t qid;
    uint64_t number;
    uint64_t octets; /* what the publisher's connection was charged */
    uint64_t lsn;    /* filled in by the queue's shard: safe once that is durable; 0: nothing to
                        wait for */
    bool refused;    /* the same */
    bool is_late;    /* the same: a large one; what it waits for comes in another batch */
    bool is_awaited; /* the same: its queue answers, later */
    bool is_parked;  /* the same: and says when it has taken it */
    bool moved;      /* the same: it is not this node's to take */
    struct port_channel_ref from;
    struct port_origin origin;
};

struct publish_batch {
    struct mail mail;
    struct shard *from;
    struct shard *to;
    unsigned count;
    struct publish_item items[BATCH_ITEMS];
};

enum deliver_kind {
    DELIVER_MESSAGE,
    DELIVER_RESUMED,   /* what was refused has gone back, what comes now is in order */
    DELIVER_SERVED,    /* the credit that came with the wake is used, or the queue is empty */
    DELIVER_FORWARDED, /* on its way back: it goes on to another node, and returns later */
};

struct deliver_item {
    enum deliver_kind kind;
    struct message *message;
    uint64_t qid;
    uint64_t qseq;
    uint64_t consumer;
    struct port_channel_ref to;
    bool redelivered;
    uint64_t known; /* see unacked_entry */
    bool auto_ack;
    bool refused;   /* filled in by the channel's shard */
    bool seen;      /* the same: refused, and yet somebody may have seen it */
    uint32_t bytes; /* of the body */
};

struct deliver_batch {
    struct mail mail;
    struct shard *from;
    struct shard *to;
    unsigned count;
    struct deliver_item items[BATCH_ITEMS];
};

enum notice_kind {
    NOTICE_SETTLE,
    NOTICE_SETTLE_HANDED,
    NOTICE_WAKE,
    NOTICE_ABANDON,
    NOTICE_CANCELLED, /* to the channel's shard; all others but the next one go to the queue's */
    NOTICE_MOVED,
};

struct notice_item {
    enum notice_kind kind;
    enum port_settle how;
    uint64_t qid;
    uint64_t qseq;
    uint64_t consumer;
    uint64_t known;  /* SETTLE */
    uint32_t credit; /* WAKE */
    struct port_channel_ref to;
};

struct notice_batch {
    struct mail mail;
    struct shard *to;
    unsigned count;
    bool has_more; /* what belongs to it follows: nothing is handed out before */
    struct notice_item items[BATCH_ITEMS];
};

/* What is being gathered for another shard; sent when full, before a request that must not overtake
 * it, and at the turn's end. */
struct port_lane {
    struct publish_batch *publishes;
    struct deliver_batch *deliveries;
    struct notice_batch *notices;
    struct deliver_batch *returns; /* of what was forwarded to other nodes */
    bool is_touched;               /* since port_fence_begin; of the own shard, too */
};

/* Stands for a consumer at the queue's end. */
struct port_consumer {
    struct consumer base;
    struct shard *shard; /* the queue's */
    uint64_t id;
    uint64_t qid;
    struct port_channel_ref ref;
    struct port_channel_ref client; /* whose it is: another one when ref stands for a node */
    struct channel *channel;        /* on this shard, else NULL */
    uint32_t window_used;           /* towards another shard: so many are on their way */
    uint64_t window_bytes;          /* their bodies */
    uint32_t credit;                /* towards another shard: how many more, or PORT_ANY */
    uint32_t next_credit;           /* once it is resumed */
    bool refused;                   /* its channel sent one back and will wake it */
    bool woken;                     /* it did, while others were still on their way */
    bool leaving;  /* its channel is gone: it waits for the last that was sent to it */
    bool auto_ack; /* towards another shard: no_ack, settled when the batch comes back */
};

/* Send what is gathered for a shard. */
void port_send_lane(struct port_lane *lane);

/* One more notice for a shard, to be filled in; sent at the turn's end at the latest. */
struct notice_item *port_add_notice(struct shard *s, uint32_t to);

/* ---- port_consumer.c ---- */

enum queue_consume_verdict port_consumer_add(struct shard *s, struct queue *q,
                                             const struct port_request *r);
/* True when that leaves an auto-delete queue unused: it is marked as going. */
bool port_consumer_remove(struct shard *s, uint64_t qid, uint64_t consumer);
/* Its channel is gone. True when deliveries are still on their way to it: it is removed when they
 * are back, by port_abandon_here, so that nobody is given what comes later before. */
bool port_consumer_leave(struct shard *s, uint64_t consumer);
void port_abandon_here(struct shard *s, uint64_t qid, uint64_t consumer);
void port_consumer_wake(struct shard *s, uint64_t consumer, uint32_t credit);
struct consumer *port_consumer_find(struct shard *s, uint64_t consumer);
void port_on_deliveries(struct mail *mail);
void port_on_deliveries_back(struct mail *mail);

/* A delivery from a queue of that shard, which was forwarded, returns to it. */
void port_return(struct shard *s, uint32_t shard, const struct deliver_item *item);

/* Those of this shard are there: what follows finds them back. */
void port_return_here(struct shard *s);

/* ---- port_publish.c ---- */

void port_on_publishes(struct mail *mail);

/* To whom has published, with what has become of it in each item. */
void port_send_publishes_back(struct publish_batch *b);

/* On the publisher's shard, of one that a queue has taken: it is not safe there, or never will be.
 */
void port_tell_published(struct shard *s, const struct port_channel_ref *to, uint64_t qid,
                         uint64_t number, enum port_published how);
/* The same of one that is answered for good, where who published is no session. */
void port_tell_publisher(struct shard *s, const struct port_channel_ref *to, uint64_t number,
                         enum dead_fate fate);
/* The same of so many that are safe there. */
void port_tell_durable(struct shard *s, const struct port_channel_ref *to, uint64_t first,
                       uint32_t count);

/* ---- port_fence.c ---- */

/* Post the mail when what was settled here is as safe as what is confirmed. False: it is. *is_lost,
 * which is false, is made true before if some of it never will be. */
MUST_CHECK bool port_fence_waits(struct shard *s, struct mail *mail, bool *is_lost);

/* Tell whoever has asked, once this node knows of queues what the one that answered has known. */
void port_fence_answered(struct shard *s, const struct port_request *r);

/* ---- port.c ---- */

/* The queue, if it can be called. One of this shard that the metadata shows is not here before the
 * mail that brings it was read: what is for it follows as mail. */
struct hosted *port_find_here(const struct shard *s, uint32_t shard, uint64_t qid);

/* On the queue's shard. */
void port_on_request(struct mail *mail);

/* On the queue's shard, of something that was handed out when the metadata was known so far: has
 * the queue been another node's since? Then it is settled as what that has passed on. */
MUST_CHECK bool port_is_late(const struct hosted *h, uint64_t known);
void port_settle_late(struct hosted *h, uint64_t qseq, enum port_settle how);

/* ---- port.c, for remote/ ---- */

/* A request has come back with its answer; takes it. */
void port_answered(struct shard *s, struct port_request *r);

/* The queue of a consumer is gone; or it goes on, mastered by another node. */
void port_tell_cancelled(struct shard *s, const struct port_channel_ref *to, uint64_t consumer);
void port_tell_moved(struct shard *s, const struct port_channel_ref *to, uint64_t consumer);

#endif
