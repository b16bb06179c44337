/*
 * bench_conn: a client's connection that is kept up: connect, log in, open channels, and when it
 * is lost do it all again at the next host.
 *
 * It answers for channel 0 and for heartbeats; the owner gets the octets once the channels are open
 * and cuts them as it likes, handing back the frames it does not know (bench_conn_take). A channel
 * that the server closes is a connection lost: the bench asks for nothing that may be refused.
 *
 * At first each host is tried once. With `reconnect`, it then goes on, and does so again whenever
 * the connection is lost: each host without a pause; when a whole round failed, a pause that
 * doubles with each round up to a limit, the half of it by chance so that many clients do not come
 * back at once. After `give_up_ms` without success, or when a login is refused, it fails for good.
 *
 * Callbacks come from the loop, or from a call of the owner's on this connection where stated.
 */
#ifndef WARREN_BENCH_CONN_H
#define WARREN_BENCH_CONN_H

#include "amqp/amqp_hs_client.h"
#include "base/rng.h"
#include "bench_options.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "io/tls.h"

/*
 *   IDLE --> RESOLVING --> CONNECTING --> GREETING --> OPENING --> READY
 *    ^ ^         ^              |             |            |         |
 *    | |         |              +-------------+------+-----+---------+
 *    | |      WAITING <------------------------------+---> FAILED
 *    | +-- any, when the owner closes before READY
 *    +---- CLOSING <-- READY
 */
#define BENCH_CONN_STATES(X)                                                                       \
    X(IDLE, TO(RESOLVING) | TO(CONNECTING))                                                        \
    X(RESOLVING, TO(CONNECTING) | TO(WAITING) | TO(FAILED) | TO(IDLE))                             \
    X(CONNECTING, TO(GREETING) | TO(WAITING) | TO(FAILED) | TO(IDLE))                              \
    X(GREETING, TO(OPENING) | TO(READY) | TO(WAITING) | TO(FAILED) | TO(IDLE))                     \
    X(OPENING, TO(READY) | TO(WAITING) | TO(FAILED) | TO(IDLE))                                    \
    X(READY, TO(CLOSING) | TO(WAITING) | TO(FAILED) | TO(IDLE))                                    \
    X(WAITING, TO(RESOLVING) | TO(CONNECTING) | TO(IDLE))                                          \
    X(CLOSING, TO(IDLE))                                                                           \
    X(FAILED, TO(IDLE))

enum bench_conn_state {
#define X(name, moves) BENCH_CONN_##name,
    BENCH_CONN_STATES(X)
#undef X
};

struct bench_conn;

struct bench_conn_handlers {
    /* Channels 1 .. n are open. */
    void (*on_ready)(struct bench_conn *c, void *arg);
    /* Octets are there; returns how many were used. Only when ready. NULL: the server has nothing
     * to say but heartbeats. */
    size_t (*on_data)(struct bench_conn *c, struct slice in, void *arg);
    /* Was full and has room again. May be NULL. */
    void (*on_room)(struct bench_conn *c, void *arg);
    /* It was ready and is lost; it will be tried again. May come from the owner's call. May be
     * NULL. */
    void (*on_down)(struct bench_conn *c, const struct err *why, void *arg);
    /* It is lost for good. May come from the owner's call. */
    void (*on_failed)(struct bench_conn *c, const struct err *why, void *arg);
    /* It was closed as the owner asked. Never comes from the owner's call. */
    void (*on_closed)(struct bench_conn *c, void *arg);
};

struct bench_conn_options {
    const struct bench_options *options;
    struct tls_ctx *tls; /* NULL: plain; borrowed */
    uint32_t first_host; /* where it begins */
    uint16_t channels;
    bool once; /* never reconnect */
    const struct bench_conn_handlers *handlers;
    void *arg;
};

struct bench_conn {
    struct bench_conn_options o;
    struct loop *loop;
    enum bench_conn_state state;
    uint32_t host;
    uint16_t channels_open;
    bool blocked; /* by connection.blocked */
    bool was_ready;
    uint32_t failures; /* since it was ready */
    uint64_t down_since_ms;
    uint32_t reconnects; /* times it was ready again */
    struct resolve *resolve;
    struct stream *stream;
    struct amqp_hs_client hs;
    struct loop_timer timer; /* of connecting, waiting or closing */
    struct loop_timer heartbeat;
    struct rng rng;
};

/* Options are copied; what they point to is borrowed. */
void bench_conn_init(struct bench_conn *c, struct loop *loop, const struct bench_conn_options *o);
void bench_conn_start(struct bench_conn *c);

/* Ask the server to close, wait for its answer (a while), then on_closed. */
void bench_conn_close(struct bench_conn *c);

/* Drop everything now; no callback follows. */
void bench_conn_fini(struct bench_conn *c);

static inline bool bench_conn_is_ready(const struct bench_conn *c)
{
    return c->state == BENCH_CONN_READY;
}

/* The stream of a ready connection. */
struct stream *bench_conn_stream(const struct bench_conn *c);
uint32_t bench_conn_frame_max(const struct bench_conn *c);

void bench_conn_send(struct bench_conn *c, uint16_t channel, const struct amqp_method *m);

/* A frame the owner does not know: heartbeats, channel 0, channel.close. Afterwards the connection
 * may not be ready any more. */
void bench_conn_take(struct bench_conn *c, const struct amqp_frame *f);

/* For on_data: cuts frames for as long as the connection is ready, and breaks it when what came is
 * none. Returns how many octets were used. */
typedef void (*bench_frame_fn)(const struct amqp_frame *f, void *arg);
size_t bench_conn_cut(struct bench_conn *c, struct slice in, bench_frame_fn take, void *arg);

/* The server did what it must not: give this connection up (and reconnect). */
void bench_conn_break(struct bench_conn *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
