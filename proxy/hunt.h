/*
 * hunt: finding a broker for a session: picking a server, opening an upstream, trying the next one
 * when that fails, and waiting, up to timeout-failover, while there is none.
 *
 * Connections to a server are opened so many at a time (HUNT_OPENING_MAX): when a node is back, or
 * takes over from another, all who want it at once would only keep each other waiting for their
 * logins, which are slow on purpose. The others wait in the order in which they came.
 *
 * A session hunts for one thing at a time, and nothing that its client says is taken meanwhile. So
 * a leg for a queue whose master is down is waited for only by a client that has no other legs:
 * channels that are well do not stand still for one that is not.
 */
#ifndef WARREN_HUNT_H
#define WARREN_HUNT_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct session;
struct channel;
struct upstream;

#define HUNT_OPENING_MAX 100u

enum hunt_goal {
    HUNT_NONE,
    HUNT_TUNED, /* an upstream that has accepted the login */
    HUNT_READY, /* an upstream with the vhost open */
};

struct hunt {
    enum hunt_goal goal;
    struct channel *channel;     /* whose leg it is for; NULL: the session's first upstream */
    const struct server *wanted; /* tried first; NULL: any, as the balance says */
    struct upstream *upstream;   /* being opened; NULL: waiting for a server */
    uint64_t skip;               /* servers tried in vain, in this round */
    uint64_t deadline_ms;
    uint64_t retry_ms;    /* the next round, when all were tried */
    bool is_queued;       /* among the worker's waiting */
    bool is_counted;      /* `upstream` is among those that its server is opening */
    uint64_t straight_ms; /* its node is up, and is reached by then; 0: it is not up yet */
    uint8_t queue_len;
    uint8_t *queue; /* its master is down and waited for; NULL: not that */
};

/* session_found, session_not_found or session_refused follows, maybe from inside the call. */
void hunt_start(struct session *s, enum hunt_goal goal, struct channel *channel);

/* The same for a channel's leg that is wanted at the master of this queue, which is known. One that
 * is down is waited for, up to timeout-failover: then any other server has the word, which knows
 * what to answer. */
void hunt_start_for(struct session *s, struct channel *channel, struct slice queue);

/* The same for a channel's leg that is wanted at this server. Another one will do when that one is
 * not to be had; for a further leg, where the channel has its first. */
void hunt_start_at(struct session *s, struct channel *channel, const struct server *server);

/* The upstream that is HELD shall be opened to the end. */
void hunt_enter(struct session *s, struct upstream *held);

/* A server may be there now. */
void hunt_again(struct session *s);

/* Not any more; the caller sees to session_flow. An upstream that is being opened is let go. */
void hunt_stop(struct session *s);

/* Its upstream got as far as it can by itself, or is gone. */
void hunt_tuned(struct session *s, struct upstream *u);
void hunt_ready(struct session *s, struct upstream *u);
void hunt_gone(struct session *s, struct upstream *u);

/* After how many ms to call hunt_tick again; UINT64_MAX for never. */
uint64_t hunt_tick(struct session *s);

#endif
