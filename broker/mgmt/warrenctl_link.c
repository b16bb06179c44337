#include "mgmt/warrenctl_link.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/units.h"
#include "io/http_answer.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "link/link_call.h"

#include <string.h>

#define ANSWER_MAX ((size_t)1024 * 1024 * 1024)
#define CONNECT_MS 5000u
#define FOREVER_MS (UINT64_C(366) * 24 * 3600 * 1000)

/*
 *   with a cookie:     CALLING --------------------> IDLE <--> ASKED
 *   without:           RESOLVING --> CONNECTING ---> IDLE
 *   a unix socket:                   CONNECTING ---> IDLE
 *   any -- failed --> BROKEN
 */
enum link_state { CALLING, RESOLVING, CONNECTING, IDLE, ASKED, BROKEN };

struct warrenctl_link {
    const struct warrenctl_target *target;
    struct loop *loop;
    struct stream *stream;
    struct link_node *node; /* with a cookie: who we are */
    struct link_call *call;
    struct resolve *resolve;
    struct resolve_answer places; /* of the host, in the order to be tried */
    unsigned next_place;
    struct loop_timer timer;
    struct loop_task start;
    enum link_state state;
    struct slice request; /* to be sent by `start` */
    struct warrenctl_answer *out;
    struct http_answer answer;
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
    if (l->state == ASKED && http_answer_ends_there(&l->answer) && why == NULL)
        settle(l);
    else
        fail(l, why != NULL ? why->code : ERR_IO, why != NULL ? why->text : "it hung up");
}

static void on_open(struct stream *s, void *arg)
{
    (void)s;
    settle(arg);
}

/* ---- an answer ---- */

static void on_field(struct slice name, struct slice value, void *arg)
{
    struct warrenctl_link *l = arg;
    uint64_t number;
    if (http_answer_is(name, "Warren-List") && units_u64(value, &number))
        l->out->list = number;
}

static void take_answer(struct warrenctl_link *l)
{
    size_t taken;
    struct err err;
    enum http_answer_step step =
        http_answer_take(&l->answer, stream_peek(l->stream), &taken, on_field, l, &err);
    stream_consume(l->stream, taken);
    switch (step) {
    case HTTP_ANSWER_MORE:
        return;
    case HTTP_ANSWER_DONE:
        settle(l);
        return;
    case HTTP_ANSWER_BAD:
        fail(l, err.code, err.text);
        return;
    }
    UNREACHABLE("step of an answer");
}

static void on_data(struct stream *s, void *arg)
{
    struct warrenctl_link *l = arg;
    CHECK(s == l->stream);
    if (l->state == ASKED)
        take_answer(l);
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

/* Proven. */
static void on_called(struct stream **s, const struct link_peer *peer, void *arg)
{
    (void)peer;
    struct warrenctl_link *l = arg;
    l->call = NULL;
    l->stream = *s;
    *s = NULL;
    stream_hand_over(l->stream, &handlers, l);
    settle(l);
}

static void on_call_failed(enum link_trouble what, enum link_refusal refusal, const struct err *err,
                           void *arg)
{
    struct warrenctl_link *l = arg;
    l->call = NULL;
    switch (what) {
    case LINK_TROUBLE_RESOLVE:
    case LINK_TROUBLE_NOBODY:
    case LINK_TROUBLE_CONNECT:
        fail(l, err->code, err->text);
        return;
    case LINK_TROUBLE_BROKEN:
        fail(l, ERR_PROTOCOL, "what answers there is no Warren node's cluster port");
        return;
    case LINK_TROUBLE_REFUSED:
        if (refusal == LINK_REFUSED_COOKIE)
            fail(l, ERR_REFUSED, "the node has another cookie");
        else
            fail(l, ERR_REFUSED, err->text);
        return;
    }
    UNREACHABLE("trouble");
}

static const struct link_call_handlers call_handlers = { on_called, on_call_failed };

static void call(struct warrenctl_link *l)
{
    const struct warrenctl_target *t = l->target;
    const struct link_options o = { .class = LINK_CTL, .host = t->host, .port = t->port };
    struct link_identity self = { .name = "warrenctl" };
    struct err err;
    l->node = link_node_new(t->cookie, &self, &err);
    if (l->node == NULL) {
        fail(l, err.code, err.text);
        return;
    }
    l->state = CALLING;
    l->call = link_call(l->loop, l->node, &o, CONNECT_MS, &call_handlers, l);
}

/* On the loop: connect, or send what is asked. */
static void on_start(void *arg)
{
    struct warrenctl_link *l = arg;
    struct sock_addr at;
    if (l->state == ASKED) {
        stream_write(l->stream, l->request);
    } else if (l->target->socket == NULL && l->target->cookie.ptr != NULL) {
        call(l);
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
    link_call_free(&l->call);
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
    link_node_free(&l->node);
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
    http_answer_init(&l->answer, ANSWER_MAX);
    l->out = out;
    l->request = text_view(&request);
    l->state = ASKED;
    bool ok = run(l, timeout_ms, err);
    text_fini(&request);
    out->status = l->answer.status;
    out->body = l->answer.body;
    if (!ok)
        text_fini(&out->body);
    return ok;
}
