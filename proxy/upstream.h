/*
 * upstream: one session's connection to one broker. It carries legs.
 *
 * It logs in as the client did, holds the broker's tune until the client has answered it, and from
 * then on speaks for itself on channel 0: closing, heartbeats, blocked. What passes on other
 * channels is the owner's matter (on_input), who reads it from `stream`.
 *
 * It belongs to its owner's loop. Callbacks come from the loop or from inside upstream_step; the
 * memory of one that was freed lives until the turn is over.
 */
#ifndef WARREN_UPSTREAM_H
#define WARREN_UPSTREAM_H

#include "amqp/amqp_hs_client.h"
#include "base/pool.h"
#include "client_tls.h"
#include "io/stream.h"
#include "login.h"
#include "snapshot.h"

#include <sys/queue.h>

/*
 *   CONNECTING -> GREETING -> HELD -> ENTERING -> READY -> CLOSING -> GONE
 *                     |                  ^
 *                     +------------------+   the client has tuned already
 *   any: failed, or the broker closed -> GONE
 */
#define UPSTREAM_STATES(X)                                                                         \
    X(CONNECTING, TO(GREETING) | TO(GONE))                                                         \
    X(GREETING, TO(HELD) | TO(ENTERING) | TO(GONE))                                                \
    X(HELD, TO(ENTERING) | TO(GONE))                                                               \
    X(ENTERING, TO(READY) | TO(CLOSING) | TO(GONE))                                                \
    X(READY, TO(CLOSING) | TO(GONE))                                                               \
    X(CLOSING, TO(GONE))                                                                           \
    X(GONE, 0)

enum upstream_state {
#define X(name, moves) UPSTREAM_##name,
    UPSTREAM_STATES(X)
#undef X
};

enum upstream_fate {
    UPSTREAM_UNREACHABLE, /* no connection, or the handshake came to nothing */
    UPSTREAM_HUNG_UP,     /* without a word, after the login was sent and before tune */
    UPSTREAM_REFUSED,     /* the broker closed it in the handshake: code, text, cause */
    UPSTREAM_CLOSED,      /* the broker closed it later: code, text, cause */
    UPSTREAM_LOST,        /* the connection broke, or the broker was silent for too long */
    UPSTREAM_ENDED,       /* as we wished */
};

struct upstream_end {
    enum upstream_fate fate;
    uint16_t code;
    uint32_t cause;
    char text[AMQP_REPLY_TEXT_MAX + 1]; /* for people; in REFUSED and CLOSED the broker's own */
};

struct upstream;

struct upstream_handlers {
    void (*on_tuned)(struct upstream *u); /* HELD: `offer` is set; upstream_enter goes on */
    void (*on_ready)(struct upstream *u);
    void (*on_input)(struct upstream *u); /* READY or CLOSING: frames to be taken */
    void (*on_room)(struct upstream *u);
    void (*on_blocked)(struct upstream *u, struct slice reason); /* `is_blocked` has changed */
    void (*on_secret_taken)(struct upstream *u);
    void (*on_gone)(struct upstream *u); /* `end` says why. The last one: free it now or later */
};

struct upstream {
    LIST_ENTRY(upstream) entry; /* the owner's */
    const struct upstream_handlers *handlers;
    void *owner;
    struct pool *pool;
    struct loop *loop;
    const struct server *server;
    const struct login *login;
    struct stream *stream; /* NULL when GONE */
    enum upstream_state state;
    struct amqp_hs_client hs;
    struct amqp_limits offer; /* the broker's */
    bool is_blocked;
    bool tells_names;   /* the broker was told, with proof, whom a certificate names */
    bool owes_secret;   /* update-secret is under way */
    bool is_answered;   /* it has said close-ok: all that was said before has been dealt with */
    unsigned leg_count; /* the owner's */
    uint16_t held_for;  /* the owner's, see split.h: the channel that it is held for, or 0 */
    uint16_t left_by;   /* follow's: the channel whose close-ok `deadline_ms` is for, or 0 */
    uint64_t started_ms;
    uint64_t deadline_ms;  /* of the handshake, our close, or the owner's (follow); 0: none */
    uint64_t listening_ms; /* when we began to listen again */
    struct upstream_end end;
};

/* Who it is for. What is lent is to outlive it. */
struct upstream_client {
    const struct login *login;
    const struct sock_addr *address;
    const struct sock_addr *door;  /* where it came in; for the call alone */
    struct slice cookie;           /* the same */
    const struct stream *stream;   /* the same */
    const struct client_tls *told; /* the same */
};

/* The server has an address. NULL when the pool is empty. */
MUST_CHECK struct upstream *upstream_new(struct pool *pool, struct loop *loop,
                                         const struct server *server,
                                         const struct upstream_client *client,
                                         const struct upstream_handlers *handlers, void *owner);

/* HELD: the login is complete now; answer the broker's tune and open the vhost. */
void upstream_enter(struct upstream *u);

/* Close in order, with the client's own reason; on_gone follows, in the same call if nothing was
 * open yet. `text` is the whole reply text. */
void upstream_close(struct upstream *u, uint16_t code, struct slice text);

/* READY: an answer is to come within timeout-connect, not counting what time the broker is not
 * listened to, or takes nothing. */
void upstream_expect(struct upstream *u);

/* Hand the broker a new secret. READY. */
void upstream_set_secret(struct upstream *u, struct slice secret);

/* A frame on channel 0. */
void upstream_take(struct upstream *u, const struct amqp_frame *f);

/* The input cannot be frames. */
void upstream_take_bad(struct upstream *u);

uint32_t upstream_frame_max(const struct upstream *u);

/* Stop listening because the client is slow or is told something else first, and go on. READY or
 * CLOSING. */
void upstream_pause(struct upstream *u);
void upstream_resume(struct upstream *u);

/* Deadlines and heartbeats; returns after how many ms to call again, UINT64_MAX for never. */
uint64_t upstream_tick(struct upstream *u);

/* Let go: what was written is sent, then the connection ends without a close. No callback. */
void upstream_free(struct upstream **u);

const char *upstream_state_name(const struct upstream *u);

#endif
