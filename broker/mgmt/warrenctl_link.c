#include "mgmt/warrenctl_link.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/units.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "link/proof.h"

#include <errno.h>
#include <string.h>

#define ANSWER_MAX      ((size_t)1024 * 1024 * 1024)
#define ANSWER_HEAD_MAX ((size_t)64 * 1024)
#define CONNECT_MS      5000u
#define FOREVER_MS      (UINT64_C(366) * 24 * 3600 * 1000)

/*
 *   RESOLVING --> CONNECTING --> PROVING_HELLO --> PROVING_MAC --> IDLE <--> HEAD, BODY
 *        unix:    CONNECTING -----------------------------------> IDLE
 *   any -- failed --> BROKEN
 */
enum link_state { RESOLVING, CONNECTING, PROVING_HELLO, PROVING_MAC, IDLE, HEAD, BODY, BROKEN };

struct warrenctl_link {
    const struct warrenctl_target *target;
    struct loop *loop;
    struct stream *stream;
    struct resolve *resolve;
    struct resolve_answer places; /* of the host, in the order to be tried */
    unsigned next_place;
    struct loop_timer timer;
    struct loop_task start;
    enum link_state state;
    struct proof proof;
    struct slice request; /* to be sent by `start` */
    struct warrenctl_answer *out;
    uint64_t body_left;
    bool chunked;
    bool to_the_end;
    struct err *err;
};

static void on_data(struct stream *s, void *arg);

/* ---- ends ---- */

static void fail(struct warrenctl_link *l, enum err_code code, const char *why)
{
    if (l->state == BROKEN)
        return;
    err_set(l->err, code, "%s", why);
    l->state = BROKEN;
    loop_stop(l->loop);
}

static void settle(struct warrenctl_link *l)
{
    l->state = IDLE;
    loop_stop(l->loop);
}

static void on_timer(void *arg)
{
    fail(arg, ERR_LIMIT, "it did not answer in time");
}

static void connect_to(struct warrenctl_link *l, const struct sock_addr *at);

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    struct warrenctl_link *l = arg;
    (void)s;
    if (l->state == CONNECTING && l->next_place < l->places.count) {
        stream_free(&l->stream);
        connect_to(l, &l->places.addrs[l->next_place++]);
        return;
    }
    if (l->state == BODY && l->to_the_end && why == NULL)
        settle(l);
    else if (l->state == PROVING_HELLO && why == NULL)
        fail(l, ERR_PROTOCOL, "it hung up; is that the port of [listen] cluster?");
    else
        fail(l, why != NULL ? why->code : ERR_IO, why != NULL ? why->text : "it hung up");
}

/* ---- proving ---- */

static void on_open(struct stream *s, void *arg)
{
    struct warrenctl_link *l = arg;
    if (l->target->socket != NULL || l->target->cookie.ptr == NULL) {
        settle(l);
        return;
    }
    l->state = PROVING_HELLO;
    proof_hello_make(l->proof.caller, PROOF_ROLE_CTL);
    stream_write(s, slice_of(l->proof.caller, sizeof l->proof.caller));
}

static void take_hello(struct warrenctl_link *l)
{
    struct slice in = stream_peek(l->stream);
    struct err err;
    if (in.len < PROOF_HELLO_BYTES && proof_hello_may_be(in))
        return;
    if (!proof_hello_may_be(in)) {
        fail(l, ERR_PROTOCOL, "what answers there is no Warren node's cluster port");
        return;
    }
    if (!proof_hello_take(l->proof.answerer, slice_head(in, PROOF_HELLO_BYTES), PROOF_ROLE_NODE,
                          &err)) {
        fail(l, ERR_PROTOCOL, err.text);
        return;
    }
    stream_consume(l->stream, PROOF_HELLO_BYTES);
    uint8_t mac[HMAC_BYTES];
    proof_caller_mac(&l->proof, l->target->cookie, mac);
    stream_write(l->stream, slice_of(mac, sizeof mac));
    l->state = PROVING_MAC;
}

static void take_verdict(struct warrenctl_link *l)
{
    struct slice in = stream_peek(l->stream);
    if (in.len < PROOF_VERDICT_BYTES)
        return;
    enum proof_verdict v =
        proof_verdict_read(&l->proof, l->target->cookie, slice_head(in, PROOF_VERDICT_BYTES));
    stream_consume(l->stream, PROOF_VERDICT_BYTES);
    switch (v) {
    case PROOF_ACCEPTED:
        settle(l);
        return;
    case PROOF_REFUSED:
        fail(l, ERR_REFUSED, "the node has another cookie");
        return;
    case PROOF_FALSE:
        fail(l, ERR_REFUSED, "what answers there does not know the cookie");
        return;
    }
    UNREACHABLE("verdict");
}

/* ---- an answer ---- */

/* The first line of `in`, without its end. False: there is none yet. */
static bool cut_line(struct slice in, struct slice *line, size_t *taken)
{
    const uint8_t *end = in.len != 0 ? memchr(in.ptr, '\n', in.len) : NULL;
    if (end == NULL)
        return false;
    *taken = (size_t)(end - in.ptr) + 1;
    *line = slice_head(in, *taken - 1);
    if (line->len != 0 && line->ptr[line->len - 1] == '\r')
        line->len--;
    return true;
}

/* The value behind "Name: ", names in any case; false when it is another field. */
static bool is_field(struct slice line, const char *name, struct slice *value)
{
    size_t len = strlen(name);
    if (line.len <= len || line.ptr[len] != ':' ||
        strncasecmp((const char *)line.ptr, name, len) != 0)
        return false;
    *value = slice_trim(slice_from(line, len + 1));
    return true;
}

static void read_field(struct warrenctl_link *l, struct slice line)
{
    struct slice value;
    uint64_t number;
    if (is_field(line, "Content-Length", &value) && units_u64(value, &number)) {
        l->body_left = number;
        l->to_the_end = false;
    } else if (is_field(line, "Transfer-Encoding", &value)) {
        l->chunked = slice_is(value, "chunked");
    } else if (is_field(line, "Warren-List", &value) && units_u64(value, &number)) {
        l->out->list = number;
    }
}

static bool read_status(struct warrenctl_link *l, struct slice line)
{
    uint64_t status;
    if (!slice_starts(line, "HTTP/1.") || line.len < 12 ||
        !units_u64(slice_of(line.ptr + 9, 3), &status))
        return false;
    l->out->status = (int)status;
    return true;
}

/* The whole head, or nothing of it. */
static bool take_head(struct warrenctl_link *l)
{
    struct slice in = stream_peek(l->stream), rest = in, line;
    size_t taken;
    bool first = true;
    l->to_the_end = true;
    l->chunked = false;
    while (cut_line(rest, &line, &taken)) {
        rest = slice_from(rest, taken);
        if (first && !read_status(l, line)) {
            fail(l, ERR_PROTOCOL, "what answers there does not speak HTTP");
            return false;
        }
        if (line.len == 0) {
            stream_consume(l->stream, in.len - rest.len);
            l->state = BODY;
            if (l->out->status == 204) {
                l->to_the_end = false;
                l->body_left = 0;
            }
            if (l->chunked)
                l->to_the_end = false;
            return true;
        }
        if (!first)
            read_field(l, line);
        first = false;
    }
    if (in.len > ANSWER_HEAD_MAX)
        fail(l, ERR_PROTOCOL, "the head of its answer does not end");
    return false;
}

static bool hex_number(struct slice text, uint64_t *out)
{
    *out = 0;
    size_t i = 0;
    for (; i < text.len && text.ptr[i] != ';'; i++) {
        uint8_t c = text.ptr[i] | 0x20u;
        if (i > 12 || !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *out = *out * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return i != 0;
}

static void take_octets(struct warrenctl_link *l, size_t octets)
{
    text_slice(&l->out->body, slice_head(stream_peek(l->stream), octets));
    stream_consume(l->stream, octets);
    if (l->out->body.cut)
        fail(l, ERR_LIMIT, "its answer is too long");
}

/* A chunk's size line, the empty line behind the one before included. False: not here yet. */
static bool take_chunk_head(struct warrenctl_link *l, bool *last)
{
    struct slice line, in = stream_peek(l->stream);
    size_t taken;
    while (cut_line(in, &line, &taken)) {
        stream_consume(l->stream, taken);
        in = stream_peek(l->stream);
        if (line.len == 0)
            continue;
        if (!hex_number(line, &l->body_left)) {
            fail(l, ERR_PROTOCOL, "a chunk of its answer has no length");
            return false;
        }
        *last = l->body_left == 0;
        return true;
    }
    return false;
}

static void take_chunks(struct warrenctl_link *l)
{
    bool last = false;
    while (l->state == BODY) {
        size_t there = stream_peek(l->stream).len;
        if (l->body_left == 0 && !take_chunk_head(l, &last))
            return;
        if (last) {
            settle(l);
            return;
        }
        there = stream_peek(l->stream).len;
        size_t octets = there < l->body_left ? there : (size_t)l->body_left;
        take_octets(l, octets);
        l->body_left -= octets;
        if (there == octets && l->body_left != 0)
            return;
    }
}

static void take_body(struct warrenctl_link *l)
{
    size_t there = stream_peek(l->stream).len;
    if (l->chunked) {
        take_chunks(l);
        return;
    }
    size_t octets = l->to_the_end || there < l->body_left ? there : (size_t)l->body_left;
    take_octets(l, octets);
    if (l->to_the_end || l->state != BODY)
        return;
    l->body_left -= octets;
    if (l->body_left == 0)
        settle(l);
}

static void on_data(struct stream *s, void *arg)
{
    struct warrenctl_link *l = arg;
    CHECK(s == l->stream);
    if (l->state == PROVING_HELLO)
        take_hello(l);
    else if (l->state == PROVING_MAC)
        take_verdict(l);
    else if (l->state == BODY || (l->state == HEAD && take_head(l)))
        take_body(l);
}

static const struct stream_handlers handlers = { .on_open = on_open,
                                                 .on_data = on_data,
                                                 .on_closed = on_closed };

/* ---- connecting ---- */

static void connect_to(struct warrenctl_link *l, const struct sock_addr *at)
{
    l->state = CONNECTING;
    l->stream = stream_connect(l->loop, at, CONNECT_MS, &handlers, l);
}

static void on_resolved(const struct resolve_answer *a, const struct err *why, void *arg)
{
    struct warrenctl_link *l = arg;
    l->resolve = NULL;
    l->places = *a;
    if (a->count == 0)
        fail(l, ERR_RESOLVE, why->text);
    else
        connect_to(l, &l->places.addrs[l->next_place++]);
}

/* On the loop: connect, or send what is asked. */
static void on_start(void *arg)
{
    struct warrenctl_link *l = arg;
    struct sock_addr at;
    if (l->state == HEAD) {
        stream_write(l->stream, l->request);
    } else if (l->target->socket == NULL) {
        l->resolve = resolve_start(l->loop, l->target->host, l->target->port, on_resolved, l);
    } else if (sock_addr_unix(l->target->socket, &at)) {
        connect_to(l, &at);
    } else {
        fail(l, ERR_CONFIG, "the path of its socket is too long");
    }
}

static bool run(struct warrenctl_link *l, uint64_t timeout_ms, struct err *err)
{
    l->err = err;
    loop_again(l->loop, &l->start);
    loop_timer_start(&l->timer, timeout_ms != 0 ? timeout_ms : FOREVER_MS);
    loop_run(l->loop);
    loop_timer_stop(&l->timer);
    return l->state == IDLE;
}

struct warrenctl_link *warrenctl_link_new(const struct warrenctl_target *t, uint64_t timeout_ms,
                                          struct err *err)
{
    struct loop *loop = loop_new("ctl", err);
    if (loop == NULL)
        return NULL;
    struct warrenctl_link *l = mem_zalloc(sizeof *l);
    l->target = t;
    l->loop = loop;
    l->state = RESOLVING;
    loop_task_init(&l->start, on_start, l);
    loop_timer_init(&l->timer, loop, on_timer, l);
    if (!run(l, timeout_ms, err))
        warrenctl_link_free(&l);
    return l;
}

static void on_end(void *arg)
{
    struct warrenctl_link *l = arg;
    stream_free(&l->stream);
    resolve_cancel(&l->resolve);
    loop_stop(l->loop);
}

void warrenctl_link_free(struct warrenctl_link **link)
{
    struct warrenctl_link *l = *link;
    *link = NULL;
    if (l == NULL)
        return;
    struct loop_task end;
    loop_task_init(&end, on_end, l);
    loop_again(l->loop, &end);
    loop_run(l->loop);
    loop_timer_fini(&l->timer);
    loop_free(&l->loop);
    mem_free(l);
}

bool warrenctl_link_ask(struct warrenctl_link *l, const char *method, const char *path,
                        struct slice body, uint64_t timeout_ms, struct warrenctl_answer *out,
                        struct err *err)
{
    CHECK(l->state == IDLE);
    struct text request;
    text_init(&request, ANSWER_MAX);
    text_put(&request,
             "%s %s HTTP/1.1\r\nHost: warren\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n",
             method, path, body.len);
    text_slice(&request, body);
    *out = (struct warrenctl_answer){ .status = 0 };
    text_init(&out->body, ANSWER_MAX);
    l->out = out;
    l->request = text_view(&request);
    l->state = HEAD;
    bool ok = run(l, timeout_ms, err);
    text_fini(&request);
    if (!ok)
        text_fini(&out->body);
    return ok;
}
