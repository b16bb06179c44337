/*
 * access: the access log: a line for each session and relay at its end, and one for each broker
 * that a session loses, which say why.
 *
 *     info access 0x1f from=10.0.0.5:40112 frontend=amqp backend=rabbits servers=rabbit1,rabbit2
 *         user="shop" vhost="/" age=62.104s opened=0.003s channels=2 in=18204 out=911 lost=0
 *         why="the client closed it: 200 Goodbye"
 *
 * The first reason that is noted counts: what follows from it is no news. The log's level decides
 * about lines as for all others; connections that never said a word, such as the checks of a
 * balancer in front, are told at level debug. What a client or broker says of itself stands between
 * quotes, with its quotes and what is not printed escaped.
 */
#ifndef WARREN_ACCESS_H
#define WARREN_ACCESS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct session;
struct relay;
struct server;
struct splice_loss;
struct stream;
struct upstream;

#define ACCESS_WHY_MAX 160u

/* What a session or relay remembers for its line. All zero at first. */
struct access {
    uint64_t servers; /* by their index in the backend: all that it had a connection to */
    uint64_t in_bytes, out_bytes;
    uint64_t open_ms; /* when it was open to the client; 0: never */
    uint32_t channels;
    uint32_t lost; /* brokers that went away under it */
    bool is_orderly;
    char why[ACCESS_WHY_MAX];
};

/* Why it ends. `orderly`: as the client wished. */
void access_why(struct access *a, bool orderly, const char *fmt, ...) PRINTF_LIKE(3, 4);

void access_server(struct access *a, const struct server *server);

/* The client's stream is about to go. */
void access_client(struct access *a, const struct stream *client);

/* The session has lost a broker: its line. */
void access_lost(struct session *s, const struct upstream *u, const struct splice_loss *loss,
                 const char *why);

/* It is over: its line. Whatever it names is still there. */
void access_session(const struct session *s);
void access_relay(const struct relay *r);

#endif
