/*
 * remote_server_inner: what remote_server.c, remote_server_in.c and remote_server_out.c share: what
 * the other side says, what is handed out to it, and to whom. Not for anybody else.
 */
#ifndef WARREN_REMOTE_SERVER_INNER_H
#define WARREN_REMOTE_SERVER_INNER_H

#include "remote/remote_server.h"

/* A delivery that the other side has not taken yet. */
struct remote_under_way {
    struct remote_delivery delivery;
    struct message *named; /* a reference to one that the other side keeps; NULL: it was sent */
    bool done;
};

/* A consumer of ours at a queue of this node. */
struct remote_subscription {
    uint64_t id;
    uint64_t qid;
    uint32_t where;
    uint64_t channel;    /* key of its channel over there */
    uint32_t out;        /* deliveries under way */
    uint32_t credit;     /* what it was woken with, less what it got; or PORT_ANY */
    bool is_refusing;    /* its channel sent one back, and will wake it */
    bool is_turned_away; /* we did, and shall */
    TAILQ_ENTRY(remote_subscription) away_entry;
};

static inline void remote_say(struct remote_server *s, uint64_t channel,
                              const struct remote_record *r)
{
    if (!s->is_lost)
        remote_outbox_put(&s->out, channel, r);
}

/* ---- remote_server.c: records. False: the session is to be given up. ---- */

bool remote_on_publish(struct remote_server *s, struct remote_record *r);
bool remote_on_ask(struct remote_server *s, const struct remote_record *r);
bool remote_on_reply(struct remote_server *s, struct remote_record *r);
void remote_on_reply_ask(struct remote_server *s, const struct remote_record *r);
MUST_CHECK bool remote_on_left(struct remote_server *s);

/* ---- remote_server_in.c ---- */

/* The session is over: what waits is forgotten. */
void remote_drop_late(struct remote_server *s);

/* ---- remote_server_out.c ---- */

/* Number one; `done`: it is taken by what else is said of it. */
uint64_t remote_add_under_way(struct remote_server *s, const struct remote_delivery *d, bool done);

/* By the other side's channels: taken or sent back; settled. */
void remote_on_returned(struct remote_server *s, struct slice list, bool refused);
void remote_on_settle(struct remote_server *s, struct slice list, enum port_settle how);

/* Positions of a queue that was moved here. */
void remote_on_settle_moved(struct remote_server *s, uint64_t qid, struct slice list,
                            enum port_settle how);

void remote_forget_consumer(struct remote_server *s, uint64_t id);
void remote_on_wake(struct remote_server *s, uint64_t consumer, uint32_t credit);
void remote_on_abandon(struct remote_server *s, uint64_t consumer);

/* The link has room again, or something came back. */
void remote_wake_those_away(struct remote_server *s);

/* The session is over. */
void remote_abandon_all(struct remote_server *s);
void remote_return_all(struct remote_server *s);

/* What is under way is forgotten. */
void remote_forget_under_way(struct remote_server *s);

#endif
