/*
 * http: routes and authentication over evhttp, on one loop. For management, metrics and pages;
 * not for bulk.
 *
 * Requests are bounded (head, body, time); what is too large or too slow is refused with the proper
 * status. A handler answers within its call.
 */
#ifndef WARREN_HTTP_H
#define WARREN_HTTP_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/text.h"
#include "io/loop.h"
#include "io/sock.h"

struct http_server;
struct http_request;

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OTHER };

/* Must answer with http_reply before it returns. */
typedef void (*http_handler)(struct http_request *r, void *arg);

struct http_options {
    size_t body_max_bytes;
    uint64_t timeout_ms;
    const char *server_name; /* for the Server: header */
};

MUST_CHECK struct http_server *http_server_new(struct loop *loop, const struct sock_addr *at,
                                               const struct http_options *o, struct err *err);
void http_server_free(struct http_server **s);
const struct sock_addr *http_server_addr(const struct http_server *s);

/* A path, exact ("/health"), or a prefix when it ends in "/..." (dots are literal). The longest
 * match wins; no match is answered 404. */
void http_route(struct http_server *s, const char *path, http_handler handler, void *arg);

enum http_method http_request_method(const struct http_request *r);
const char *http_request_path(const struct http_request *r); /* raw, without the query */
/* Segment `n` of the path, percent-decoded into `room`; false when there is none or it is too long.
 */
bool http_request_segment(const struct http_request *r, unsigned n, struct text *room);
/* A parameter of the query, decoded into `room`; false when it is not there. */
bool http_request_query(const struct http_request *r, const char *name, struct text *room);
const char *http_request_header(const struct http_request *r, const char *name);
struct slice http_request_body(const struct http_request *r);
const struct sock_addr *http_request_peer(const struct http_request *r);
/* Basic authentication's user and password, decoded; false when there is none. */
bool http_request_basic_auth(const struct http_request *r, struct text *user,
                             struct text *password);

/* `type` such as "text/plain; charset=utf-8". The body is copied. */
void http_reply(struct http_request *r, int status, const char *type, struct slice body);
/* Put a header on the reply, before http_reply. */
void http_reply_header(struct http_request *r, const char *name, const char *value);

#endif
