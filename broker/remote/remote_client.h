/*
 * remote_client: the asking side: what channels of this shard have to do with queues of one other
 * node.
 *
 * It turns calls of the port into records, and what the other side answers into the calls that a
 * queue of another shard would make: for each channel and queue in order, as if it were one. A
 * publisher is charged for what it sent until the other side has taken it, so what waits here is
 * bounded by that; deliveries are taken or sent back at once and never kept.
 *
 * A *life* ends with the session of the link (remote_client_lost): nothing said before reaches the
 * other side any more, and nothing of it comes back. Requests are answered, publishes that were not
 * confirmed are not going to be, consumers are cancelled. What is out with a channel from a former
 * life can still be settled, without any effect: who keeps such things keeps the number of the life
 * beside them. A core: it knows no link and no channel. One thread.
 */
#ifndef WARREN_REMOTE_CLIENT_H
#define WARREN_REMOTE_CLIENT_H

#include "remote/remote_inbox.h"
#include "remote/remote_kept.h"
#include "remote/remote_outbox.h"
#include "remote/remote_ring.h"
#include "remote/remote_runs.h"

/* What it calls at home; each may call it in turn. */
struct remote_client_ops {
    /* `count` publishes from `first` on, numbers of this channel, are answered: each was taken for
     * good by `copies` queues, or, not `ok`, not by all of them. Of nobody (connection 0): dead
     * letters. */
    void (*published)(void *arg, const struct port_channel_ref *from, uint64_t first,
                      uint32_t count, uint32_t copies, bool ok);
    /* A publish of this number is not for that node to take, see struct port_origin; qid 0: for
     * none of its queues. `published` follows all the same. */
    void (*publish_moved)(void *arg, const struct port_channel_ref *from, uint64_t number,
                          uint64_t qid);
    /* What a connection was charged is taken. */
    void (*taken)(void *arg, uint64_t connection, uint64_t octets);
    /* The request is answered, and given back. */
    void (*answer)(void *arg, struct port_request *r);
    /* As channel_offer; the message is borrowed. */
    bool (*offer)(void *arg, const struct port_channel_ref *to, uint64_t consumer,
                  const struct port_handed *as, struct message *m, bool redelivered);
    void (*resumed)(void *arg, const struct port_channel_ref *to, uint64_t consumer);
    void (*served)(void *arg, const struct port_channel_ref *to, uint64_t consumer);
    void (*cancelled)(void *arg, const struct port_channel_ref *to, uint64_t consumer);
    /* The queue goes on, but not there. */
    void (*consumer_moved)(void *arg, const struct port_channel_ref *to, uint64_t consumer);
    void (*reply_known)(void *arg, const struct port_channel_ref *from, bool known);
    /* Memory of messages was taken, or given back. */
    void (*count)(void *arg, int64_t octets);
};

struct remote_client {
    const struct remote_client_ops *ops;
    void *arg;
    struct remote_outbox out;
    struct remote_inbox in;
    uint16_t life;              /* never 0 */
    bool is_ending;             /* its life is: what is not answered is perhaps done */
    uint64_t taken;             /* copies, in this life */
    uint64_t published;         /* the same */
    uint64_t said;              /* publishes, settlements: what has no answer, or a late one */
    uint64_t done;              /* of those: so many at least, says a fence */
    uint64_t letter_bytes;      /* of charges to nobody */
    struct remote_ring charges; /* struct remote_charge, eldest first */
    struct remote_ring awaited; /* struct remote_awaited, by their number on the link */
    uint64_t awaited_base;      /* the first one's */
    struct idmap unsent;        /* struct remote_unsent by mark: have no number yet */
    uint64_t last_mark;
    struct idmap asks;       /* struct remote_asked by token */
    struct idmap consumers;  /* struct remote_subscriber by id */
    struct idmap consumed;   /* struct remote_consumed: queues that those are at, by qid */
    struct remote_kept kept; /* what may come back to them */
    uint32_t last_token;
    struct remote_runs took, sent_back, settles;
    enum port_settle settle_how;
    /* The message that is being published to one queue after the other. */
    struct message *message;
    struct port_channel_ref from;
    uint64_t number;
    uint64_t payer;
    struct port_origin origin; /* pid 0: of none; else each qid is followed by its epoch */
    unsigned qid_count;        /* of queues */
    unsigned list_count;       /* of numbers in qids */
    uint8_t qids[REMOTE_QIDS_MAX * sizeof(uint64_t)];
};

struct remote_client *remote_client_new(const struct remote_client_ops *ops, void *arg,
                                        const struct remote_pipe *pipe);

/* As port_settle_moved. */
void remote_client_settle_moved(struct remote_client *c, uint64_t qid, uint64_t qseq,
                                enum port_settle how);

/* Nobody is told anything. */
void remote_client_free(struct remote_client **c);

/* As port_publish and port_published; what comes of it is always told later. Takes the reference.
 */
void remote_client_publish(struct remote_client *c, uint64_t qid, struct message **m,
                           const struct port_channel_ref *from, uint64_t number);
void remote_client_published(struct remote_client *c);

/* The same for a mirrored queue, see port_publish_from: all of these keep their order, whoever they
 * are from. `payer`: the connection that is charged; 0: nobody, but these are no dead letters. */
void remote_client_publish_from(struct remote_client *c, uint64_t qid, struct message **m,
                                const struct port_channel_ref *from, uint64_t number,
                                const struct port_origin *origin, uint64_t payer);

/* As port_ask; takes the request. */
void remote_client_ask(struct remote_client *c, struct port_request **r);

/* Tags and consumers of this life. */
void remote_client_settle(struct remote_client *c, uint64_t tag, enum port_settle how);
void remote_client_wake(struct remote_client *c, uint64_t consumer, uint32_t credit);
void remote_client_abandon(struct remote_client *c, uint64_t qid, uint64_t consumer);

/* As port_reply and port_reply_ask, for an address of that node. */
void remote_client_reply(struct remote_client *c, const struct reply_address *to, struct message *m,
                         const struct port_channel_ref *from);
void remote_client_reply_ask(struct remote_client *c, const struct reply_address *to,
                             const struct port_channel_ref *from);

/* The turn's end: what was gathered leaves. */
void remote_client_flush(struct remote_client *c);

/* A frame came. False: it is not as it must be, and the session is to be given up. */
MUST_CHECK bool remote_client_take(struct remote_client *c, struct slice frame);

/* The session is over: another life begins. */
void remote_client_lost(struct remote_client *c);

/* Connections of whose publishes and requests something is on its way, or not answered yet; each
 * perhaps several times. `fn` must not call back in here. */
typedef void (*remote_waiting_fn)(void *arg, uint64_t connection);
void remote_client_each_waiting(const struct remote_client *c, remote_waiting_fn fn, void *arg);
/* All that was said is done over there, as far as a fence has told. */
bool remote_client_is_done(const struct remote_client *c);

/* So many dead letters, which are charged to nobody, are on their way that others should wait. */
bool remote_client_has_many_letters(const struct remote_client *c);

#endif
