/*
 * sim_far_world: two nodes: channels on one, queues on the other, and between them the cores of
 * remote queues (remote_client.h, remote_server.h) and links that break. Shared by the files of
 * sim_far; not for anybody else.
 *
 * What is known of each copy of each message, on both sides, stands in one table: that is what a
 * single broker's queue would know, and what everything is held against.
 */
#ifndef WARREN_SIM_FAR_WORLD_H
#define WARREN_SIM_FAR_WORLD_H

#include "base/rng.h"
#include "remote/remote_client.h"
#include "remote/remote_server.h"
#include "sim_far.h"

#include <sys/queue.h>

#define FAR_CHANNELS     4u
#define FAR_QUEUES       3u /* the first one is where sessions are, the others on another shard */
#define FAR_SESSIONS_MAX 48u
#define FAR_MESSAGES_MAX 3000u
#define FAR_CONSUMERS    32u /* of a queue */
#define FAR_HELD_MAX     FAR_MESSAGES_MAX

/* ---- what there is -----------------------------------------------------------------------------
 */

enum far_copy_state {
    FAR_ABSENT, /* not with its queue, not yet or never */
    FAR_READY,
    FAR_OUT,
    FAR_DONE,
    FAR_REFUSED, /* the queue took it not */
    FAR_GONE,    /* there was no such queue any more */
};

struct far_copy {
    uint64_t qid;
    enum far_copy_state state;
    struct message *message; /* as it came; NULL: it is read from the disk when it is wanted */
    bool is_durable;
    bool was_shown;   /* a channel has had it */
    bool may_be_seen; /* the queue says redelivered, when it hands it out again */
    unsigned session; /* OUT: with whom */
    uint64_t consumer;
    uint64_t serial;        /* of the last time it was handed out */
    uint64_t turned_by;     /* this consumer was handed it, did not take it, and waits for it */
    bool is_settled;        /* by the channel that has it, in this life */
    enum port_settle how;   /* ... so */
    uint64_t settle_number; /* ... after so many others */
};

struct far_message {
    unsigned channel;
    uint32_t incarnation;
    uint64_t number; /* 0: nobody waits for it */
    uint16_t life;
    unsigned session;
    size_t body_bytes;
    uint64_t octets; /* a copy is charged */
    unsigned copies;
    unsigned answered;
    bool is_confirmed;
    struct far_copy copy[FAR_QUEUES];
};

struct far_frame {
    STAILQ_ENTRY(far_frame) entry;
    bool more;
    size_t len;
    uint8_t octets[];
};

/* One way of a link. */
struct far_way {
    STAILQ_HEAD(, far_frame) frames;
    size_t bytes;
    bool is_stuck;
    bool is_due; /* a flush is wanted */
    bool was_full;
};

struct far_world;

struct far_session {
    struct far_world *w;
    unsigned index;
    struct remote_server *server;
    struct far_way there, back;
    bool asker_is_gone; /* what is on its way there may still come */
    bool is_lost;
    bool awaits_known;
    uint64_t took;                                 /* copies */
    uint64_t last_taken[FAR_CHANNELS][FAR_QUEUES]; /* id of the last publish */
    unsigned lines_now;                            /* of the message that is being published */
    uint32_t message_now;
};

/* ---- the asking side ---- */

struct far_consumer {
    uint64_t id; /* 0: none */
    uint64_t qid;
    bool is_active; /* its consume is answered */
    bool no_ack;
    bool is_refusing; /* took one not, and takes none until it is resumed */
    bool is_starved;  /* to be woken when there is room: it refused, or has got its credit */
    uint32_t credit;  /* of the last wake */
    uint64_t allowed; /* so many more, or UINT64_MAX */
    uint64_t last_serial;
};

struct far_channel {
    struct port_channel_ref ref;
    bool confirms;
    unsigned prefetch; /* 0: none */
    unsigned held;
    bool is_full; /* its socket */
    uint64_t next_number;
    uint64_t charged;
    struct far_consumer consumers[FAR_QUEUES];
    enum port_op pending;
    bool is_pending;
    uint64_t pending_qid;
    uint32_t messages_before; /* PENDING fence: publishes and settlements that were before it */
    uint64_t settles_before;
};

struct far_held {
    uint64_t tag;
    uint16_t life;
    unsigned channel, queue;
    uint32_t message;
};

/* ---- the answering side ---- */

struct far_port_consumer { /* as port_consumer */
    uint64_t id;           /* 0: none */
    unsigned session;
    uint32_t credit, next_credit;
    uint32_t window_used;
    uint64_t window_bytes;
    bool auto_ack, refused, woken, leaving;
};

struct far_queue {
    uint64_t qid;
    bool is_there;    /* in the metadata */
    bool is_deleting; /* it has said so */
    bool has_back;    /* something came back */
    uint32_t count;
    uint32_t ids[FAR_MESSAGES_MAX]; /* by qseq - 1: messages, from 1 */
    struct far_port_consumer consumers[FAR_CONSUMERS];
    unsigned turn;
};

/* Mail between the sessions' shard and the other one. */
enum far_mail_kind {
    FAR_PUBLISH,
    FAR_ASK,
    FAR_SETTLE,
    FAR_WAKE,
    FAR_ABANDON,
    FAR_RETURN,
    FAR_FENCE,
    /* back */
    FAR_PUBLISHED,
    FAR_ANSWER,
    FAR_DELIVER,
    FAR_RESUMED,
    FAR_SERVED,
    FAR_CANCELLED,
};

struct far_mail {
    STAILQ_ENTRY(far_mail) entry;
    enum far_mail_kind kind;
    unsigned session;
    uint32_t message;
    uint64_t qid, qseq, number, consumer;
    uint32_t credit;
    bool ok, is_told;
    enum port_settle how;
    struct remote_request *request;
    struct remote_delivery delivery;
};

STAILQ_HEAD(far_mails, far_mail);

/* A publish that waits for the disk. */
struct far_line {
    unsigned session;
    uint64_t number;
    uint32_t message;
    uint64_t qids[FAR_QUEUES];
    unsigned count;
};

struct far_world {
    struct rng rng;
    uint32_t message_count;
    struct far_message messages[FAR_MESSAGES_MAX + 1];
    uint64_t last_qid, known; /* given; known over there */
    uint64_t deletions[64];   /* on their way to the metadata */
    unsigned deletion_count;
    /* asking */
    struct remote_client *client;
    struct far_channel channels[FAR_CHANNELS];
    struct far_held held[FAR_HELD_MAX];
    unsigned held_count;
    uint64_t last_consumer, settles;
    bool is_losing;
    int64_t counted;
    /* links */
    struct far_session *sessions[FAR_SESSIONS_MAX];
    unsigned session_count; /* the last one is the present one, unless it was lost */
    bool has_link;
    bool client_is_due;
    /* answering */
    struct far_queue queues[FAR_QUEUES];
    struct far_mails to_queues, to_sessions, returns_here;
    struct far_line lines[FAR_MESSAGES_MAX * FAR_QUEUES];
    unsigned line_first, line_count;
    uint64_t last_serial;
    bool is_short;
    int64_t counted_there;
    bool is_heavy;
    bool is_homely; /* much of what is published may come back to where it came from */
    bool is_ending;
    sim_say_fn trace;
    void *trace_arg;
    struct sim_report *out;
    bool has_failed;
};

PRINTF_LIKE(2, 3) bool far_fail(struct far_world *w, const char *fmt, ...);
PRINTF_LIKE(2, 3) void far_say(struct far_world *w, const char *fmt, ...);

static inline uint64_t far_below(struct far_world *w, uint64_t bound)
{
    return rng_below(&w->rng, bound);
}

static inline bool far_one_in(struct far_world *w, uint64_t n)
{
    return rng_below(&w->rng, n) == 0;
}

/* The queue's place, by its id; FAR_QUEUES: there is none any more. */
static inline unsigned far_place(const struct far_world *w, uint64_t qid)
{
    unsigned q = 0;
    while (q < FAR_QUEUES && w->queues[q].qid != qid)
        q++;
    return q;
}

/* ---- sim_far.c: links ---- */

/* The session that the asking side is in; a link is dialled if there is none. */
struct far_session *far_session(struct far_world *w);
struct remote_pipe far_pipe_there(struct far_world *w);
struct remote_pipe far_pipe_back(struct far_session *s);

/* Message of a number, made of it. */
struct message *far_message(const struct far_world *w, uint32_t id);
/* The number of one that came; 0: it is not what was sent. */
uint32_t far_message_id(const struct far_world *w, const struct message *m);
/* A reference on the asking or the answering side: its memory was counted. */
void far_drop_here(struct far_world *w, struct message **m);
void far_drop_there(struct far_world *w, struct message **m);

/* ---- sim_far_asker.c ---- */

extern const struct remote_client_ops far_client_ops;
void far_channels_begin(struct far_world *w);
/* A channel does something. */
void far_channel_acts(struct far_world *w);
/* Those that have room again say so. True: somebody did. */
bool far_channels_wake(struct far_world *w);
void far_lose(struct far_world *w);
void far_check_asker(struct far_world *w);

/* ---- sim_far_queue.c ---- */

#define HERE 0u /* the queue of the sessions' own shard */

/* NULL: it is lost. */
struct far_session *far_alive(const struct far_world *w, unsigned session);
struct far_mail *far_post(struct far_mails *to, const struct far_mail *m);
/* That there is, and that has not said that it goes. */
struct far_queue *far_find(struct far_world *w, uint64_t qid);
unsigned far_index(const struct far_world *w, const struct far_queue *q);
struct far_copy *far_copy_at(struct far_world *w, struct far_queue *q, uint64_t qseq);
/* A reference to a message: as it came to the queue, or as its disk has it, or what was on its way
 * when the queue went (`q` is FAR_QUEUES). */
struct message *far_content(struct far_world *w, uint32_t id, unsigned q);
/* It has come to this with the queue: its message is not needed there any more. */
void far_end_copy(struct far_world *w, struct far_copy *c, enum far_copy_state how);
void far_messages_free(struct far_world *w);
bool far_deliver(struct far_world *w, unsigned session, const struct remote_delivery *d,
                 uint32_t id);
void far_run(struct far_world *w, struct far_queue *q);
struct far_port_consumer *far_consumer_of(struct far_queue *q, uint64_t id);
void far_return_one(struct far_world *w, const struct remote_delivery *d);
void far_wake_consumer(struct far_world *w, uint64_t id, uint32_t credit);
void far_leave(struct far_world *w, uint64_t id);
void far_take_returns(struct far_world *w, struct far_mails *from);
void far_settle_here(struct far_world *w, uint64_t qid, uint64_t qseq, unsigned session,
                     enum port_settle how, bool by_channel);
void far_run_those_back(struct far_world *w);
uint64_t far_first_ready(struct far_world *w, struct far_queue *q);

/* ---- sim_far_holder.c ---- */

extern const struct remote_server_ops far_server_ops;
void far_queues_begin(struct far_world *w);
/* One piece of mail between shards; the disk comes so far; a queue gets known. False: there was
 * none. */
bool far_mail(struct far_world *w);
bool far_return_here(struct far_world *w);
bool far_sync(struct far_world *w);
bool far_learn(struct far_world *w);
/* The metadata has a queue go that said it may. */
bool far_delete(struct far_world *w);
void far_plan_deletion(struct far_world *w, uint64_t qid);
void far_go_on(struct far_world *w);
void far_check_holder(struct far_world *w);
void far_mails_free(struct far_world *w);

#endif
