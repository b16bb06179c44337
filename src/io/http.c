#include "io/http_inner.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/clock.h"
#include "io/http_status.h"
#include "io/http_text.h"
#include "io/stream.h"
#include "io/tls.h"

#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>

#define CONNECTIONS_MAX_DEFAULT 256u
#define REPLY_HEAD_MAX          ((size_t)8 * 1024)
#define BODY_CAP_FIRST          ((size_t)16 * 1024)
#define STREAM_HIGH_BYTES       ((size_t)256 * 1024)

static void on_data(struct stream *s, void *arg);
static void on_room(struct stream *s, void *arg);
static void on_closed(struct stream *s, const struct err *why, void *arg);
static void on_deadline(void *arg);
static void on_next(void *arg);
static void on_reply_room(void *arg);

static const struct stream_handlers handlers = { .on_data = on_data,
                                                 .on_room = on_room,
                                                 .on_closed = on_closed };

/* ---- connections ---------------------------------------------------------------------------- */

static void request_clear(struct http_request *r)
{
    mem_free(r->head_bytes);
    mem_free(r->body);
    if (r->server != NULL)
        r->server->bodies_bytes -= r->body_cap;
    r->head_bytes = NULL;
    r->body = NULL;
    r->body_len = r->body_cap = 0;
    r->has_begun = false;
    text_clear(&r->extra);
}

static void free_connection(void *ptr)
{
    struct http_request *r = ptr;
    request_clear(r);
    text_fini(&r->extra);
    mem_free(r);
}

/* Leave the server's list and the loop; the memory stays until the turn is over, or, when the
 * request is held, until it is answered. */
static void drop(struct http_request *r)
{
    stream_free(&r->stream);
    loop_timer_stop(&r->deadline);
    loop_task_cancel(r->loop, &r->next);
    if (r->server != NULL) {
        r->server->bodies_bytes -= r->body_cap;
        TAILQ_REMOVE(&r->server->connections, r, entry);
        r->server->connection_count--;
        listener_resume(r->server->listener);
        r->server = NULL;
    }
    if (r->state == STREAMING)
        loop_again(r->loop, &r->room); /* it is told, and ends it */
    if (r->state == HELD || r->state == STREAMING || r->is_buried)
        return;
    r->is_buried = true;
    loop_timer_fini(&r->deadline);
    loop_bury(r->loop, r, free_connection);
}

/* What is written still goes out; the stream cares for itself from here on. */
static void say_goodbye(struct http_request *r)
{
    if (r->server != NULL && r->stream != NULL)
        stream_finish(&r->stream, r->server->o.timeout_ms);
    drop(r);
}

static struct http_request *add_connection(struct http_server *s, const struct sock_addr *peer)
{
    struct http_request *r = mem_zalloc(sizeof *r);
    r->server = s;
    r->loop = s->loop;
    r->peer = *peer;
    text_init(&r->extra, REPLY_HEAD_MAX);
    loop_timer_init(&r->deadline, s->loop, on_deadline, r);
    loop_task_init(&r->next, on_next, r);
    loop_task_init(&r->room, on_reply_room, r);
    TAILQ_INSERT_TAIL(&s->connections, r, entry);
    if (++s->connection_count >= s->o.connections_max)
        listener_pause(s->listener);
    return r;
}

static void begin_connection(struct http_request *r, struct stream *stream)
{
    r->stream = stream;
    stream_set_marks(r->stream, STREAM_HIGH_BYTES, STREAM_HIGH_BYTES / 4);
    loop_timer_start(&r->deadline, r->server->o.timeout_ms);
}

static void on_accept(int fd, const struct sock_addr *peer, void *arg)
{
    struct http_server *s = arg;
    struct http_request *r = add_connection(s, peer);
    begin_connection(r, stream_new(s->loop, fd, &handlers, r));
    if (s->o.tls != NULL)
        stream_start_tls_server(r->stream, s->o.tls);
}

void http_server_adopt(struct http_server *s, struct stream **stream)
{
    struct stream *given = *stream;
    *stream = NULL;
    CHECK(stream_loop(given) == s->loop);
    if (s->connection_count >= s->o.connections_max) {
        stream_free(&given);
        return;
    }
    struct http_request *r = add_connection(s, stream_peer(given));
    stream_hand_over(given, &handlers, r);
    begin_connection(r, given);
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    (void)s;
    if (why == NULL)
        say_goodbye(arg); /* it may only have closed its side, and wait for the last answer */
    else
        drop(arg);
}

/* ---- answering ------------------------------------------------------------------------------ */

/* `body_bytes` says how long the body is, or, below, that nobody knows yet. */
#define IN_CHUNKS  UINT64_MAX
#define TO_THE_END (UINT64_MAX - 1)

static void write_head(struct http_request *r, int status, const char *type, uint64_t body_bytes,
                       bool keep_alive)
{
    char room[REPLY_HEAD_MAX + 1024];
    struct text t = text_over(room, sizeof room);
    text_put(&t, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
    http_put_date(&t);
    if (r->server->o.server_name != NULL)
        text_put(&t, "Server: %s\r\n", r->server->o.server_name);
    if (type != NULL)
        text_put(&t, "Content-Type: %s\r\n", type);
    if (body_bytes == IN_CHUNKS)
        text_str(&t, "Transfer-Encoding: chunked\r\n");
    else if (http_status_has_body(status) && body_bytes != TO_THE_END)
        text_put(&t, "Content-Length: %" PRIu64 "\r\n", body_bytes);
    if (!keep_alive || r->head.is_1_0)
        text_put(&t, "Connection: %s\r\n", keep_alive ? "keep-alive" : "close");
    text_slice(&t, text_view(&r->extra));
    text_str(&t, "\r\n");
    CHECK(!t.cut);
    stream_write(r->stream, text_view(&t));
}

static void write_reply(struct http_request *r, int status, const char *type, struct slice body,
                        bool keep_alive)
{
    write_head(r, status, type, body.len, keep_alive);
    if (http_status_has_body(status) && r->head.method != HTTP_HEAD)
        stream_write(r->stream, body);
}

/* Our own refusals; the connection ends, because what follows on it cannot be trusted. */
static void refuse(struct http_request *r, int status)
{
    char room[64];
    struct text body = text_over(room, sizeof room);
    text_put(&body, "%d %s\n", status, http_reason(status));
    write_reply(r, status, "text/plain; charset=utf-8", text_view(&body), false);
    say_goodbye(r);
}

void http_reply_header(struct http_request *r, const char *name, const char *value)
{
    CHECK(r->state == ANSWERING || r->state == HELD);
    text_put(&r->extra, "%s: ", name);
    for (; *value != '\0'; value++)
        text_char(&r->extra, (uint8_t)*value < 0x20 || *value == 0x7F ? '?' : *value);
    text_str(&r->extra, "\r\n");
    CHECK(!r->extra.cut); /* headers are few and short, and ours */
}

/* The answer is written. The next request may be there already, or come while the stream is full.
 */
static void next_request(struct http_request *r, bool keep_alive)
{
    if (!keep_alive) {
        say_goodbye(r);
        return;
    }
    request_clear(r);
    loop_timer_start(&r->deadline, r->server->o.timeout_ms);
    r->written_ms = stream_last_write_ms(r->stream);
    loop_again(r->loop, &r->next);
}

void http_reply(struct http_request *r, int status, const char *type, struct slice body)
{
    CHECK(r->state == ANSWERING || r->state == HELD);
    CHECK(r->stream == NULL || loop_is_current(r->loop));
    r->state = READING_HEAD;
    if (r->stream == NULL) {
        drop(r);
        return;
    }
    bool keep_alive = r->head.keep_alive;
    write_reply(r, status, type, body, keep_alive);
    next_request(r, keep_alive);
}

void http_hold(struct http_request *r)
{
    if (r->state == HELD)
        return;
    CHECK(r->state == ANSWERING && !r->is_buried);
    r->state = HELD;
    loop_timer_stop(&r->deadline); /* now it is us who are slow */
}

/* ---- answering in pieces -------------------------------------------------------------------- */

void http_reply_begin(struct http_request *r, int status, const char *type, http_room_fn more,
                      void *arg)
{
    CHECK(r->state == ANSWERING || r->state == HELD);
    r->state = STREAMING;
    r->on_room = more;
    r->room_arg = arg;
    r->is_headless = r->head.method == HTTP_HEAD;
    r->is_chunked = !r->head.is_1_0;
    if (r->stream == NULL)
        return;
    /* To a HEAD the same fields, as if the body followed. */
    write_head(r, status, type, r->is_chunked ? IN_CHUNKS : TO_THE_END,
               r->head.keep_alive && r->is_chunked);
    loop_timer_start(&r->deadline, r->server->o.timeout_ms);
    r->written_ms = stream_last_write_ms(r->stream);
}

void http_reply_piece(struct http_request *r, struct slice octets)
{
    CHECK(r->state == STREAMING);
    if (r->stream == NULL || r->is_headless || octets.len == 0)
        return;
    char room[24];
    struct text t = text_over(room, sizeof room);
    if (r->is_chunked) {
        text_put(&t, "%zx\r\n", octets.len);
        stream_write(r->stream, text_view(&t));
    }
    stream_write(r->stream, octets);
    if (r->is_chunked)
        stream_write(r->stream, slice_str("\r\n"));
}

bool http_reply_is_gone(const struct http_request *r)
{
    return r->stream == NULL;
}

bool http_reply_is_full(const struct http_request *r)
{
    return r->stream != NULL && stream_is_full(r->stream);
}

static void on_reply_room(void *arg)
{
    struct http_request *r = arg;
    if (r->state == STREAMING)
        r->on_room(r->room_arg);
}

void http_reply_end(struct http_request *r)
{
    CHECK(r->state == STREAMING);
    r->state = READING_HEAD;
    loop_task_cancel(r->loop, &r->room);
    if (r->stream == NULL) {
        drop(r);
        return;
    }
    if (r->is_chunked && !r->is_headless)
        stream_write(r->stream, slice_str("0\r\n\r\n"));
    next_request(r, r->head.keep_alive && r->is_chunked);
}

void http_reply_break(struct http_request *r)
{
    CHECK(r->state == STREAMING);
    r->state = READING_HEAD;
    loop_task_cancel(r->loop, &r->room);
    drop(r);
}

/* ---- routes --------------------------------------------------------------------------------- */

void http_route(struct http_server *s, const char *path, unsigned methods, http_handler handler,
                void *arg)
{
    CHECK(path[0] == '/' && handler != NULL && methods != 0);
    size_t len = strlen(path);
    struct route route = { .len = len, .handler = handler, .arg = arg };
    route.is_prefix = len >= 4 && strcmp(path + len - 4, "/...") == 0;
    if (route.is_prefix)
        route.len -= 4;
    route.path = mem_strdup(path);
    route.path[route.len] = '\0';
    route.methods = methods;
    if ((methods & HTTP_ALLOW(HTTP_GET)) != 0)
        route.methods |= HTTP_ALLOW(HTTP_HEAD);
    s->routes = mem_realloc(s->routes, (s->route_count + 1) * sizeof *s->routes);
    s->routes[s->route_count++] = route;
}

static bool route_matches(const struct route *route, struct slice path)
{
    if (path.len < route->len || memcmp(path.ptr, route->path, route->len) != 0)
        return false;
    return path.len == route->len || (route->is_prefix && path.ptr[route->len] == '/');
}

/* An exact path is longer than a prefix of the same length: it says more. */
static size_t weight_of(const struct route *route)
{
    return route->len * 2 + !route->is_prefix;
}

/* The handler's route, or NULL; *allowed is what the best path knows, 0 when there is none. */
static const struct route *find_route(const struct http_server *s, const struct http_head *h,
                                      unsigned *allowed)
{
    const struct route *best = NULL;
    size_t weight = 0;
    *allowed = 0;
    for (size_t i = 0; i < s->route_count; i++) {
        const struct route *route = &s->routes[i];
        if (!route_matches(route, h->path) || (*allowed != 0 && weight_of(route) < weight))
            continue;
        if (*allowed == 0 || weight_of(route) > weight) {
            weight = weight_of(route);
            best = NULL;
            *allowed = 0;
        }
        *allowed |= route->methods;
        if (best == NULL && (route->methods & HTTP_ALLOW(h->method)) != 0)
            best = route;
    }
    return best;
}

static void put_allow(struct http_request *r, unsigned allowed)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD",     [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS"
    };
    char room[64];
    struct text t = text_over(room, sizeof room);
    for (unsigned m = 0; m < ARRAY_COUNT(names); m++)
        if ((allowed & HTTP_ALLOW(m)) != 0)
            text_put(&t, "%s%s", t.len != 0 ? ", " : "", names[m]);
    http_reply_header(r, "Allow", room);
}

static void answer(struct http_request *r)
{
    unsigned allowed;
    const struct route *route = find_route(r->server, &r->head, &allowed);
    r->state = ANSWERING;
    if (route != NULL) {
        route->handler(r, route->arg);
        CHECK(r->state != ANSWERING); /* answered or held */
        return;
    }
    if (allowed != 0)
        put_allow(r, allowed);
    const char *text = allowed != 0 ? "405 Method Not Allowed\n" : "404 Not Found\n";
    http_reply(r, allowed != 0 ? 405 : 404, "text/plain; charset=utf-8", slice_str(text));
}

/* ---- reading -------------------------------------------------------------------------------- */

static char *in_copy(struct http_request *r, struct slice in, struct slice part)
{
    return (char *)r->head_bytes + (part.ptr - in.ptr);
}

/* Keep the head after the stream has moved on: the same parts, in a copy, with an end for those
 * that are lent as strings. Each is followed by an octet that nobody needs any more. */
static void keep_head(struct http_request *r, struct slice in)
{
    struct http_head *h = &r->head;
    r->head_bytes = mem_dup(in.ptr, in.len);
    for (unsigned i = 0; i < h->field_count; i++) {
        struct http_field *f = &h->fields[i];
        char *value = f->value.len != 0 ? in_copy(r, in, f->value) : NULL;
        f->name.ptr = (const uint8_t *)in_copy(r, in, f->name);
        if (value != NULL)
            value[f->value.len] = '\0';
        f->value.ptr = (const uint8_t *)(value != NULL ? value : "");
    }
    char *path = in_copy(r, in, h->path);
    if (h->query.len != 0)
        h->query.ptr = (const uint8_t *)in_copy(r, in, h->query);
    path[h->path.len] = '\0';
    h->path.ptr = (const uint8_t *)path;
}

static void expect_body(struct http_request *r)
{
    if (r->head.body_bytes > r->server->o.body_max_bytes) {
        refuse(r, 413);
        return;
    }
    r->state = READING_BODY;
    if (r->head.expects_continue)
        stream_write(r->stream, slice_str("HTTP/1.1 100 Continue\r\n\r\n"));
}

static bool read_head(struct http_request *r)
{
    struct slice in = stream_peek(r->stream);
    size_t len;
    int status;
    switch (http_head_cut(in, HTTP_HEAD_MAX, &r->head, &len, &status)) {
    case HTTP_CUT_MORE:
        return false;
    case HTTP_CUT_BAD:
        r->head.method = HTTP_OTHER;
        refuse(r, status);
        return false;
    case HTTP_CUT_HEAD:
        keep_head(r, slice_head(in, len));
        stream_consume(r->stream, len);
        expect_body(r);
        return r->stream != NULL;
    }
    UNREACHABLE("http cut");
}

/* False when all bodies together would be too many: it is refused. */
static bool make_body_room(struct http_request *r, size_t need)
{
    if (need <= r->body_cap)
        return true;
    size_t cap = r->body_cap != 0 ? r->body_cap * 2 : BODY_CAP_FIRST;
    cap = cap > need ? cap : need;
    struct http_server *s = r->server;
    if (s->o.bodies_max_bytes != 0 && s->bodies_bytes - r->body_cap + cap > s->o.bodies_max_bytes) {
        refuse(r, 503);
        return false;
    }
    s->bodies_bytes += cap - r->body_cap;
    r->body_cap = cap;
    r->body = mem_realloc(r->body, cap);
    return true;
}

/* The body is taken as it comes: a length that lies costs nobody memory. */
static bool read_body(struct http_request *r)
{
    struct slice in = slice_head(stream_peek(r->stream), (size_t)r->head.body_bytes - r->body_len);
    if (!make_body_room(r, r->body_len + in.len))
        return false;
    if (in.len != 0)
        memcpy(r->body + r->body_len, in.ptr, in.len);
    r->body_len += in.len;
    stream_consume(r->stream, in.len);
    return r->body_len == r->head.body_bytes;
}

/* One request at most. While an answer is under way, or nobody reads the last ones, nothing more
 * is read: the client waits, and not our memory. */
static void serve(struct http_request *r)
{
    if (r->stream == NULL || r->state == HELD || r->state == STREAMING ||
        stream_is_full(r->stream)) {
        if (r->stream != NULL)
            stream_pause(r->stream);
        return;
    }
    if (!r->has_begun) {
        r->has_begun = true;
        loop_timer_start(&r->deadline, r->server->o.timeout_ms);
    }
    if (r->state == READING_HEAD && !read_head(r))
        return;
    if (r->state == READING_BODY && read_body(r))
        answer(r);
}

static void on_data(struct stream *s, void *arg)
{
    (void)s;
    struct http_request *r = arg;
    if (!r->next.queued)
        serve(r);
}

static void on_next(void *arg)
{
    struct http_request *r = arg;
    if (!stream_is_full(r->stream))
        stream_resume(r->stream);
    if (stream_peek(r->stream).len != 0)
        serve(r);
}

static void on_room(struct stream *s, void *arg)
{
    (void)s;
    struct http_request *r = arg;
    loop_again(r->loop, r->state == STREAMING ? &r->room : &r->next);
}

/* timeout_ms have passed since the request began, or, if none did, since the last one was answered
 * or the connection was made. */
static void on_deadline(void *arg)
{
    struct http_request *r = arg;
    if (stream_pending(r->stream) != 0 && stream_last_write_ms(r->stream) != r->written_ms) {
        r->written_ms = stream_last_write_ms(r->stream);
        loop_timer_start(&r->deadline, r->server->o.timeout_ms);
        return;
    }
    if (r->state == STREAMING && stream_pending(r->stream) == 0) {
        loop_timer_start(&r->deadline, r->server->o.timeout_ms); /* it is us who are slow */
        return;
    }
    bool is_half_done = r->state == READING_BODY || stream_peek(r->stream).len != 0;
    if (is_half_done && stream_pending(r->stream) == 0) {
        r->head.method = HTTP_OTHER;
        refuse(r, 408);
    } else {
        drop(r);
    }
}

/* ---- the server ----------------------------------------------------------------------------- */

static void free_server(void *ptr)
{
    struct http_server *s = ptr;
    if (s->o.tls != NULL)
        tls_ctx_unref(&s->o.tls);
    for (size_t i = 0; i < s->route_count; i++)
        mem_free(s->routes[i].path);
    mem_free(s->routes);
    mem_free(s);
}

struct http_server *http_server_new(struct loop *loop, const struct sock_addr *at,
                                    const struct http_options *o, struct err *err)
{
    CHECK(o->timeout_ms != 0);
    struct http_server *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->o = *o;
    if (s->o.connections_max == 0)
        s->o.connections_max = CONNECTIONS_MAX_DEFAULT;
    TAILQ_INIT(&s->connections);
    if (s->o.tls != NULL)
        s->o.tls = tls_ctx_ref(s->o.tls);
    s->listener = listener_new(loop, at, &(struct listener_options){ .inherited = o->inherited },
                               on_accept, s, err);
    if (s->listener == NULL) {
        free_server(s);
        return NULL;
    }
    return s;
}

void http_server_set_tls(struct http_server *s, struct tls_ctx *tls)
{
    CHECK(s->o.tls != NULL);
    tls_ctx_unref(&s->o.tls);
    s->o.tls = tls_ctx_ref(tls);
}

void http_server_free(struct http_server **server)
{
    struct http_server *s = *server;
    *server = NULL;
    if (s == NULL)
        return;
    struct http_request *r;
    while ((r = TAILQ_FIRST(&s->connections)) != NULL)
        drop(r);
    listener_free(&s->listener);
    loop_bury(s->loop, s, free_server);
}

struct listener *http_server_listener(struct http_server *s)
{
    return s->listener;
}

const struct sock_addr *http_server_addr(const struct http_server *s)
{
    return listener_addr(s->listener);
}

unsigned http_server_connections(const struct http_server *s)
{
    return s->connection_count;
}
