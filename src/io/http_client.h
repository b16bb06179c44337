/*
 * http_client: questions to an HTTP/1.1 server over one connection, one after the other.
 *
 * For node and node: the connection is made and proven by somebody else. What is asked while an
 * answer is awaited waits its turn; there is a bound to that. On one loop; callbacks come from the
 * loop, never from inside a call but http_client_free.
 */
#ifndef WARREN_HTTP_CLIENT_H
#define WARREN_HTTP_CLIENT_H

#include "base/err.h"
#include "base/slice.h"
#include "io/http_answer.h"
#include "io/stream.h"

struct http_client;

#define HTTP_CLIENT_WAITING_MAX 1024u

/* `answer` is lent, NULL when there is none: *why then says what happened. May free the client. */
typedef void (*http_client_fn)(const struct http_answer *answer, const struct err *why, void *arg);

struct http_question {
    const char *method;
    struct slice path;   /* with its query */
    const char *fields;  /* more lines of the head, each with its CR LF; NULL: none */
    const char *type;    /* of the body; NULL: there is none */
    struct slice body;   /* copied, as is all of this */
    size_t answer_max;   /* octets of its body */
    uint64_t timeout_ms; /* from when it is sent */
    http_client_fn done;
    void *arg;
};

/* Takes *stream, connected and silent. */
struct http_client *http_client_new(struct loop *loop, struct stream **stream);

/* False: too many are waiting already, or the connection has broken; `done` is not called. */
MUST_CHECK bool http_client_ask(struct http_client *c, const struct http_question *q);

/* It has broken: all that was asked was told so. What is asked from now on is refused. */
bool http_client_is_broken(const struct http_client *c);
unsigned http_client_waiting(const struct http_client *c);

/* What was asked is told that it is over (ERR_IO). NULL is allowed. */
void http_client_free(struct http_client **c);

#endif
