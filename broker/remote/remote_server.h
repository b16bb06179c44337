/*
 * remote_server: the answering side: stands, on a shard of this node, for the channels of one shard
 * of another node, through one session of its link.
 *
 * To queues it is as a channel of this shard would be: it publishes, asks, consumes, settles, by
 * the calls of the port; what they answer it gathers into records. Messages that were handed out to
 * it are counted against the windows of their consumers until the other side says that their
 * channels took them, or did not; then they are out with it, by their tags, until they are settled.
 * Nothing more is handed out to it while much waits for the link.
 *
 * The other side may know of a queue before this one does: the metadata comes to each by a way of
 * its own. What is said of such a queue waits, and all that is said behind it, until it is known.
 *
 * When the session is lost (remote_server_lost) its consumers are abandoned and all that was out
 * goes back, shown or not; deletions that it was promised and did not carry out are carried out.
 * A core: it knows no link and no queue. One thread.
 */
#ifndef WARREN_REMOTE_SERVER_H
#define WARREN_REMOTE_SERVER_H

#include "client/confirm.h"
#include "client/unacked.h"
#include "remote/remote_inbox.h"
#include "remote/remote_late.h"
#include "remote/remote_outbox.h"
#include "remote/remote_ring.h"

struct remote_server;

/* A message that a queue has handed out to one of the session's consumers. */
struct remote_delivery {
    uint64_t qid;
    uint64_t qseq;
    uint64_t consumer;
    uint32_t where; /* the queue's shard */
    uint32_t bytes; /* of memory, which it may keep from going */
    uint64_t known; /* see unacked_entry */
    bool auto_ack;
    bool redelivered;
    bool refused; /* of one that comes back: no channel took it */
    bool seen;    /* the same: but a client may have seen it */
};

/* A request of the other side, with what is needed for the answer. */
struct remote_request {
    struct port_request request; /* first: the port frees it */
    uint32_t token;
    struct port_channel_ref channel;
};

/* What it calls at home. */
struct remote_server_ops {
    /* Has the metadata come as far as this queue, which may be gone again? If not, it is asked to
     * tell: remote_server_known follows, later. */
    bool (*knows)(void *arg, uint64_t qid);
    void (*await_known)(void *arg, uint64_t qid);
    /* The same of an entry of the metadata's log, by its index. */
    bool (*has_applied)(void *arg, uint64_t index);
    void (*await_applied)(void *arg, uint64_t index);
    /* As port_publish, or port_publish_from; a queue that is not there takes everything. */
    enum port_published (*publish)(void *arg, uint64_t qid, struct message **m, uint64_t number,
                                   const struct port_origin *origin);
    bool (*published)(void *arg, uint64_t number);
    /* Where the queue is; false: it is not here. */
    bool (*find)(void *arg, uint64_t qid, uint32_t *where);
    /* One that is not here: is it on another node? */
    bool (*is_elsewhere)(void *arg, uint64_t qid);
    /* As port_ask; takes the request: remote_server_on_answer brings it back. */
    void (*ask)(void *arg, struct remote_request *r);
    /* As port_settle. */
    void (*settle)(void *arg, const struct unacked_entry *e, enum port_settle how);
    /* As port_settle_handed. */
    void (*settle_moved)(void *arg, uint64_t qid, uint64_t qseq, enum port_settle how);
    void (*settled)(void *arg);
    void (*wake)(void *arg, uint32_t where, uint64_t consumer, uint32_t credit);
    void (*abandon)(void *arg, uint32_t where, uint64_t qid, uint64_t consumer);
    /* A delivery is no longer under way. After some of them: returned_all. */
    void (*returned)(void *arg, const struct remote_delivery *d);
    void (*returned_all)(void *arg);
    /* As port_reply: false when remote_server_on_taken tells later. */
    bool (*reply)(void *arg, const struct reply_address *to, struct message *m);
    /* remote_server_on_reply_known answers. */
    void (*reply_ask)(void *arg, const struct reply_address *to, uint32_t token);
    /* A queue is to be deleted that was promised to go. */
    void (*delete_queue)(void *arg, uint64_t qid);
    /* All of these go back to their queues, seen; takes what is in it. */
    void (*give_back)(void *arg, struct unacked *u);
    /* Publishers are to wait: what was taken is told later, after remote_server_go_on. */
    bool (*is_short)(void *arg);
    /* A message came in. */
    void (*made)(void *arg, struct message *m);
    void (*count)(void *arg, int64_t octets);
};

struct remote_server {
    const struct remote_server_ops *ops;
    void *arg;
    struct remote_outbox out;
    struct remote_inbox in;
    bool is_lost;
    bool is_leaving, has_left; /* LEAVING was said, LEFT was heard */
    uint64_t id;               /* of the session, as messages name it that the other side keeps */
    uint64_t kept_read;        /* octets of all that were, see remote_kept.h */
    uint64_t awaits;           /* this queue is to be known first, or this index; 0: nothing is
                                  awaited */
    struct remote_late late;   /* what came meanwhile */
    struct remote_record held; /* what it was that named it, if it came in parts; op 0: none */
    struct confirm confirm;    /* of publishes that are awaited, by their number on the link */
    uint64_t taken, told_taken;
    struct unacked unacked;
    struct remote_ring under_way;                  /* struct remote_under_way, by tag */
    uint64_t under_way_base;                       /* the first one's tag */
    struct idmap consumers;                        /* struct remote_subscription by id */
    TAILQ_HEAD(, remote_subscription) turned_away; /* while the link was full */
    struct idmap promised; /* queues that are promised to go, see remote_server.c */
    size_t promised_next;  /* look through them at so many */
    uint64_t under_way_bytes;
};

/* `id` is no other session's of this process, nor 0. */
struct remote_server *remote_server_new(const struct remote_server_ops *ops, void *arg,
                                        const struct remote_pipe *pipe, uint64_t id);

/* Without a word to anybody, unless it was lost before. */
void remote_server_free(struct remote_server **s);

/* A frame came; `more`: others of the same turn follow. False: it is not as it must be, and the
 * session is to be given up. */
MUST_CHECK bool remote_server_take(struct remote_server *s, struct slice frame, bool more);

/* The metadata has come as far as a queue that was awaited. False: as above. */
MUST_CHECK bool remote_server_known(struct remote_server *s);

/* The turn's end: what was gathered leaves. */
void remote_server_flush(struct remote_server *s);

/* Publishers need not wait any more. */
void remote_server_go_on(struct remote_server *s);

/* This node is about to end, and has given its mirrored queues away. True: all that the other side
 * had to say of those has been read, or never will be. Else it is being asked, and the caller comes
 * again. */
MUST_CHECK bool remote_server_leave(struct remote_server *s);

/* The session is over. Nothing is said any more; calls that bring answers have no effect. */
void remote_server_lost(struct remote_server *s);

/* ---- what the port has to say ---- */

/* As channel_on_published and channel_on_durable, of the session's own numbers. */
void remote_server_on_published(struct remote_server *s, uint64_t number, bool ok);
/* Not this node's to take, for that queue or (0) for each that has not answered. */
void remote_server_on_publish_moved(struct remote_server *s, uint64_t number, uint64_t qid);
void remote_server_on_durable(struct remote_server *s, uint64_t first, uint32_t count);

/* Copies that were on their way to other shards are there. */
void remote_server_on_taken(struct remote_server *s, uint64_t copies);

/* The request is answered; the message in it, if any, is taken. The caller frees the request. */
void remote_server_on_answer(struct remote_server *s, struct remote_request *r);
void remote_server_on_reply_known(struct remote_server *s, uint32_t token, bool known);

/* The link has room again. */
void remote_server_on_room(struct remote_server *s);

/* A queue hands one out; the message is borrowed. False: it cannot be taken. There is no such
 * consumer any more, or too much waits for the link: then the consumer is woken when that is over.
 */
MUST_CHECK bool remote_server_deliver(struct remote_server *s, const struct remote_delivery *d,
                                      struct message *m);
void remote_server_on_resumed(struct remote_server *s, uint64_t consumer);
void remote_server_on_served(struct remote_server *s, uint64_t consumer);
void remote_server_on_cancelled(struct remote_server *s, uint64_t consumer);
void remote_server_on_consumer_moved(struct remote_server *s, uint64_t consumer);

#endif
