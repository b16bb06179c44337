/*
 * amqp_client: a small asynchronous AMQP client, for health checks, tools and tests.
 *
 * It connects, logs in with PLAIN, opens the connection, keeps heartbeats on both sides, puts
 * messages together and takes them apart. It knows nothing of queues, of requests waiting for
 * their answers or of coming back after a failure: a method that arrives is handed over, and who
 * sends one knows what to expect. What needs the last nanosecond (proxy, bench) uses the cores of
 * amqp/ itself.
 *
 * A client belongs to one loop. Callbacks come from the loop, never from inside a call on the
 * client; a callback may free its own client. Slices in callbacks are good for the call only.
 */
#ifndef WARREN_AMQP_CLIENT_H
#define WARREN_AMQP_CLIENT_H

#include "amqp/amqp_handshake.h"
#include "amqp/amqp_method.h"
#include "amqp/amqp_props.h"
#include "base/err.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/sock.h"

struct amqp_client;
struct tls_ctx;

/* A message with its body, from basic.deliver, basic.get-ok or basic.return. */
struct amqp_client_message {
    const struct amqp_method *method;
    struct slice props; /* raw, see amqp_props.h; not judged */
    struct slice body;
};

struct amqp_client_handlers {
    /* The server greeted. Enough for a health check, which frees the client here. May be NULL. */
    void (*on_greeting)(struct amqp_client *c, const struct amqp_connection_start *start,
                        void *arg);
    /* The connection is open: channels may be opened. */
    void (*on_open)(struct amqp_client *c, void *arg);
    /* A method without content on a channel, 1 or above. */
    void (*on_method)(struct amqp_client *c, uint16_t channel, const struct amqp_method *m,
                      void *arg);
    /* A message is complete. May be NULL: then messages are dropped. */
    void (*on_message)(struct amqp_client *c, uint16_t channel, const struct amqp_client_message *m,
                       void *arg);
    /* connection.blocked or unblocked; the reason is empty for the latter. May be NULL. */
    void (*on_blocked)(struct amqp_client *c, bool is_blocked, struct slice reason, void *arg);
    /* It was full and has room again. May be NULL. */
    void (*on_room)(struct amqp_client *c, void *arg);
    /* The end: NULL after an orderly close that we asked for. The last callback; the owner still
     * frees the client. */
    void (*on_closed)(struct amqp_client *c, const struct err *why, void *arg);
};

/* Copied by amqp_client_connect. */
struct amqp_client_conf {
    const char *user;
    const char *password;
    const char *vhost;
    const char *name;          /* shown by brokers as the connection's name; may be NULL */
    struct amqp_limits limits; /* 0: what the server offers */
    uint64_t timeout_ms;       /* for connecting and the handshake together */
    size_t message_max_bytes;  /* a larger body is an error; 0: AMQP_CLIENT_MESSAGE_MAX */
    struct tls_ctx *tls;       /* NULL: plain; referenced, not taken */
    const char *tls_name;      /* to verify; may be NULL */
};

#define AMQP_CLIENT_MESSAGE_MAX ((size_t)128 * 1024 * 1024)
#define AMQP_CLIENT_TEXT_MAX    255 /* user, password, vhost and name may be that long */

/* A new client, connecting. `handlers` and `arg` are borrowed for its life. */
struct amqp_client *amqp_client_connect(struct loop *loop, const struct sock_addr *to,
                                        const struct amqp_client_conf *conf,
                                        const struct amqp_client_handlers *handlers, void *arg);

/* Hang up at once. *c becomes NULL, and may be NULL; no callback follows. */
void amqp_client_free(struct amqp_client **c);

/* Close in an orderly way; on_closed follows. */
void amqp_client_close(struct amqp_client *c, uint16_t code, const char *text);

/* The connection is open and nobody closes it. */
bool amqp_client_is_open(const struct amqp_client *c);

/* Sending needs an open connection; what is sent to one that is closing is dropped. A method that
 * does not fit a frame is refused with false. */
bool amqp_client_send(struct amqp_client *c, uint16_t channel, const struct amqp_method *m);

/* basic.publish with properties and a body (copied), in as many frames as it takes. False when the
 * properties do not fit a frame, or are longer than some 28 kB. */
bool amqp_client_publish(struct amqp_client *c, uint16_t channel,
                         const struct amqp_basic_publish *m, const struct amqp_props *props,
                         struct slice body);

/* More is pending than the peer takes: stop publishing until on_room. */
bool amqp_client_is_full(const struct amqp_client *c);

/* Agreed on; from on_open on. */
const struct amqp_limits *amqp_client_limits(const struct amqp_client *c);

/* The reply code with which the server closed; 0 when it did not. */
uint16_t amqp_client_reply_code(const struct amqp_client *c);

#endif
