/*
 * http_inner: what http.c and http_request.c share. Not for anybody else.
 */
#ifndef WARREN_HTTP_INNER_H
#define WARREN_HTTP_INNER_H

#include "io/http.h"
#include "io/stream.h"

#include <sys/queue.h>

/*
 *             head came            body came          handler called
 *   READING_HEAD ----> READING_BODY ----> (answering) ----------------+
 *      ^   ^                                 |  http_hold             |
 *      |   +--- http_reply, keep-alive ------+----> HELD              |
 *      +------------------------- http_reply -----------+             |
 *      +--- http_reply_end ------ STREAMING <--- http_reply_begin (answering or HELD)
 *   any -- refused, Connection: close --> closing (the stream lingers without us)
 */
enum request_state { READING_HEAD, READING_BODY, ANSWERING, HELD, STREAMING };

struct http_request {
    struct http_server *server; /* NULL: freed while the request was held */
    struct loop *loop;
    struct stream *stream; /* NULL: the client has gone, or was told good-bye */
    enum request_state state;
    struct sock_addr peer;
    struct loop_timer deadline;
    struct loop_task next; /* one request a turn: others first, then the rest */
    uint64_t written_ms;   /* last progress seen by the deadline */
    struct loop_task room; /* of an answer in pieces */
    http_room_fn on_room;
    void *room_arg;
    bool is_chunked;  /* else the end of the connection is the end of the answer */
    bool is_headless; /* to a HEAD: no body */
    bool has_begun;   /* the first octets of a request are there */
    bool is_buried;

    uint8_t *head_bytes; /* own copy, strings terminated */
    struct http_head head;
    uint8_t *body;
    size_t body_len;
    size_t body_cap;
    struct text extra; /* headers of the reply */
    TAILQ_ENTRY(http_request) entry;
};

struct route {
    char *path; /* without "/..." */
    size_t len;
    bool is_prefix;
    unsigned methods;
    http_handler handler;
    void *arg;
};

struct http_server {
    struct loop *loop;
    struct listener *listener;
    struct http_options o;
    struct route *routes;
    size_t route_count;
    TAILQ_HEAD(, http_request) connections;
    unsigned connection_count;
    size_t bodies_bytes; /* held for requests at present */
};

#endif
