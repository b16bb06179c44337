/*
 * http: a small HTTP/1.1 server, on one loop. For management, metrics and pages; not for bulk.
 *
 * Everything is bounded: head, body, time, connections, and what is written to a client that does
 * not read. What is too large, too slow or malformed is refused with the proper status and the
 * connection closed. Requests on one connection are answered one after the other.
 *
 * It stands on streams and not on libevent's evhttp, because that one cannot bound connections or
 * the time a request takes, reads without a bound while it answers, and ends the process on states
 * it does not expect.
 */
#ifndef WARREN_HTTP_H
#define WARREN_HTTP_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/text.h"
#include "io/http_head.h"
#include "io/loop.h"
#include "io/sock.h"

#define HTTP_HEAD_MAX ((size_t)16 * 1024) /* octets of a request line and its fields */

struct http_server;
struct http_request;
struct tls_ctx;

/* Must answer with http_reply before it returns, or call http_hold. */
typedef void (*http_handler)(struct http_request *r, void *arg);

struct http_options {
    size_t body_max_bytes;      /* a longer one is answered 413 */
    size_t bodies_max_bytes;    /* of all requests together: beyond it 503; 0: no such bound */
    uint64_t timeout_ms;        /* for a request to arrive, for an idle connection, for a client to
                                   take something of an answer */
    unsigned connections_max;   /* 0: 256; at that many, accepting rests */
    const char *server_name;    /* for the Server: header; borrowed, NULL: none */
    struct tls_ctx *tls;        /* NULL: plain. The server holds a reference */
    struct handover *inherited; /* as of a listener */
};

MUST_CHECK struct http_server *http_server_new(struct loop *loop, const struct sock_addr *at,
                                               const struct http_options *o, struct err *err);
/* For the connections that come from now on; of a server that was made with one. */
void http_server_set_tls(struct http_server *s, struct tls_ctx *tls);
/* Closes everything, at once; may be called from a handler. */
void http_server_free(struct http_server **s);
struct listener *http_server_listener(struct http_server *s);
const struct sock_addr *http_server_addr(const struct http_server *s);
unsigned http_server_connections(const struct http_server *s);

/* One more connection of the server's, which came in another way and has said nothing of HTTP yet.
 * Takes *stream, which is of the server's loop. Closed at once when there are too many. */
struct stream;
void http_server_adopt(struct http_server *s, struct stream **stream);

/* ---- routes --------------------------------------------------------------------------------- */

/* Sets of methods: HTTP_ALLOW(HTTP_GET) | HTTP_ALLOW(HTTP_PUT). Who answers GET answers HEAD. */
#define HTTP_ALLOW(method) (1u << (method))
#define HTTP_ALLOW_ANY     (~0u)

/* `path` is exact ("/health"), or, ending in "/...", itself and all below it; it is compared as it
 * came, undecoded, and copied. The longest match wins. No match is answered 404, a match for other
 * methods only 405. */
void http_route(struct http_server *s, const char *path, unsigned methods, http_handler handler,
                void *arg);

/* ---- the request; everything lent is good until http_reply ---------------------------------- */

enum http_method http_request_method(const struct http_request *r);
const char *http_request_path(const struct http_request *r);       /* raw, without the query */
struct slice http_request_raw_query(const struct http_request *r); /* empty: there is none */
/* Segment `n` of the path ("/api/queues/%2F" has "api", "queues" and "/"), decoded into `room`;
 * false when there is none, it is malformed, or too long. */
MUST_CHECK bool http_request_segment(const struct http_request *r, unsigned n, struct text *room);
/* A parameter of the query, decoded into `room`; false when it is not there, malformed or too
 * long. */
MUST_CHECK bool http_request_query(const struct http_request *r, const char *name,
                                   struct text *room);
/* Is there a parameter of that name with this value, among several? */
bool http_request_query_has(const struct http_request *r, const char *name, const char *value);
/* The value of a header, or NULL. */
const char *http_request_header(const struct http_request *r, const char *name);
struct slice http_request_body(const struct http_request *r);
const struct sock_addr *http_request_peer(const struct http_request *r);
/* Basic authentication's user and password, decoded; false when there is none, or a bad one. */
MUST_CHECK bool http_request_basic_auth(const struct http_request *r, struct text *user,
                                        struct text *password);

/* ---- the answer ----------------------------------------------------------------------------- */

/* `type` such as "text/plain; charset=utf-8"; NULL when there is no body. The body is copied; to
 * a HEAD only its length goes out. */
void http_reply(struct http_request *r, int status, const char *type, struct slice body);

/* Put a header on the reply, before http_reply. Control octets in the value become "?". */
void http_reply_header(struct http_request *r, const char *name, const char *value);

/* The answer comes later, from the loop: http_reply must follow, whatever happens meanwhile. If
 * the client has gone, or the server was freed, it goes nowhere. No effect on one that is held. */
void http_hold(struct http_request *r);

/* ---- an answer in pieces ---------------------------------------------------------------------
 *
 * In place of http_reply, for what is too long to be held as a whole: begin, then pieces as long as
 * the reply is not full, then the end. `on_room`, from the loop, says that a full one has room
 * again, or that nobody reads any more; what is written then goes nowhere, and the end must follow
 * all the same. */
typedef void (*http_room_fn)(void *arg);
void http_reply_begin(struct http_request *r, int status, const char *type, http_room_fn on_room,
                      void *arg);
void http_reply_piece(struct http_request *r, struct slice octets);
bool http_reply_is_full(const struct http_request *r);
bool http_reply_is_gone(const struct http_request *r);
void http_reply_end(struct http_request *r);
/* It cannot be told to its end: the connection breaks off, so that the client knows. */
void http_reply_break(struct http_request *r);

#endif
