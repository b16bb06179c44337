/*
 * session: one client, from hello to goodbye.
 *
 * The proxy is an AMQP server to it: handshake, heartbeats and close are answered here, each of the
 * client's channels is carried by a leg at a broker, and upstreams are opened as legs need them
 * (hunt). Frames pass in splice. Upstreams are never shared between sessions.
 *
 * A session lives on the loop that accepted it. Its memory outlives the turn in which it ends.
 */
#ifndef WARREN_SESSION_H
#define WARREN_SESSION_H

#include "access.h"
#include "amqp/amqp_hs_server.h"
#include "channel.h"
#include "hunt.h"
#include "io/stream.h"
#include "upstream.h"
#include "worker.h"

#define SESSION_CHANNEL_MAX 2047u
#define SESSION_FRAME_MAX   131072u
#define SESSION_ID_MAX      24u

/* What a client is sent at most beyond what it reads, while an answer is looked for. */
#define SESSION_AWAIT_OCTETS_MAX ((size_t)4 * 1024 * 1024)

LIST_HEAD(upstream_list, upstream);

/* How fast it may publish, see pace.h. */
struct session_pace {
    bool is_on;           /* there is a bound */
    bool is_holding;      /* the client is not read until `due_ms` */
    uint64_t due_ms;      /* when its next message is on time */
    enum quota_kind kind; /* what asks for that */
    enum quota_matter matter;
};

struct session {
    TAILQ_ENTRY(session) entry;   /* of the worker's */
    TAILQ_ENTRY(session) waiting; /* for a server */
    struct worker *worker;
    struct snapshot *snapshot; /* the one it began with */
    const struct frontend *frontend;
    const struct backend *backend;
    uint64_t id;
    struct stream *client;   /* NULL: gone */
    struct sock_addr peer;   /* the client's own address, also behind a PROXY header */
    struct client_tls *told; /* what such a header said of its TLS session, or NULL */
    struct amqp_hs_server hs;
    struct amqp_hs_server_conf conf; /* with the offer that the broker's tune allows */
    struct login *login;             /* NULL before start-ok */
    struct hunt hunt;
    struct upstream_list upstreams;
    struct upstream *pinned;   /* what is opened from now on goes there: for exclusive queues */
    struct place_owned *owned; /* exclusive queues, when the backend routes by master */
    unsigned owned_count;
    struct channel **channels; /* by number; NULL: closed */
    unsigned channels_cap;
    unsigned channel_count;
    uint16_t awaits;        /* nothing is taken until this channel has an answer; 0: none */
    unsigned blocked_count; /* upstreams that are blocked */
    bool is_astray;         /* consumers are at no broker (recover.h)... */
    bool is_bereft;         /* ... since one was lost */
    bool is_tended;         /* ... and are being seen to */
    uint64_t astray_ms;     /* ... since then */
    uint64_t
        shift_moves; /* when masters had moved so often it was looked who follows (shift.h)... */
    uint64_t shift_until_ms;  /* ... and is again, until then; 0: not */
    struct upstream *vacated; /* it is being left, since its broker is drained; or NULL */
    bool vacates;             /* a broker of ours is drained (vacate.h) */
    bool is_vacating_held;    /* the client waits for what is under way there... */
    uint64_t vacate_ms;       /* ... since then; 0: it need not */
    bool was_open;
    bool is_buried;
    struct loop_timer timer;
    uint64_t due_ms; /* of the timer */
    uint64_t started_ms;
    uint64_t deadline_ms; /* of the handshake, or until we hang up; 0: none */
    uint64_t listening_ms;
    struct access access;
    struct quota_entry *quota[QUOTA_KIND_COUNT]; /* NULL where no limit is */
    struct session_pace pace;
};

/* Takes fd and *told. The frontend is of the snapshot given. False, and the fd is closed, when
 * there is no room. */
MUST_CHECK bool session_new(struct worker *w, struct snapshot *snapshot,
                            const struct frontend *frontend, unsigned bind, int fd,
                            const struct sock_addr *peer, struct client_tls **told);

/* End it: tell the client why with a connection.close, and its brokers that it goes. `text` lacks
 * the code's name. */
void session_close(struct session *s, enum amqp_reply_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The same, naming the method that was wrong. */
void session_close_at(struct session *s, enum amqp_reply_code code, uint32_t cause,
                      const char *text);

/* The same with a broker's own words, passed on as they are. */
void session_close_verbatim(struct session *s, uint16_t code, struct slice text, uint32_t cause);

/* End it at once, without a word to either side. */
void session_end(struct session *s);

/* ---- for the rooms of a session: hunt and splice --------------------------------------------- */

/* The hunt has found an upstream that is HELD or READY, as asked for; or has given up, with `why`;
 * or the broker has refused the client. */
void session_found(struct session *s, struct upstream *u);
void session_not_found(struct session *s, const char *why);
void session_refused(struct session *s, const struct upstream_end *end);

/* NULL when the worker has no room for more. */
MUST_CHECK struct upstream *session_open_upstream(struct session *s, const struct server *server);
void session_free_upstream(struct session *s, struct upstream *u);

/* A frame on channel 0. */
void session_take(struct session *s, const struct amqp_frame *f);

/* The client's input cannot be frames. */
void session_take_bad(struct session *s, struct slice in);

/* Listen to each side as far as the others can take it. */
void session_flow(struct session *s);

/* Not now: what the client has said stays in its stream until session_flow. */
void session_hold_client(struct session *s);

/* The same until a broker has said something else than deliveries on the channel, or the channel is
 * over; the brokers' side of both calls the second one. */
void session_await(struct session *s, const struct channel *c);
void session_answered(struct session *s, const struct channel *c);

/* Set the timer anew, after a deadline has changed. */
void session_schedule(struct session *s);

/* NULL when it is not open. */
static inline struct channel *session_channel(const struct session *s, uint16_t number)
{
    return number < s->channels_cap ? s->channels[number] : NULL;
}

/* NULL when the worker has no room for more. `number` is within the limits and not open. */
MUST_CHECK struct channel *session_add_channel(struct session *s, uint16_t number);
void session_drop_channel(struct session *s, struct channel **channel);

/* Is it open, for all the client knows? */
static inline bool session_is_running(const struct session *s)
{
    return s->hs.state == AMQP_HS_SERVER_RUNNING;
}

const char *session_id_text(const struct session *s, char room[SESSION_ID_MAX]);

#endif
