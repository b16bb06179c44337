/* Who comes to the cluster port: a visitor proves that it knows the cookie, or is sent away. */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/stream.h"
#include "link/proof.h"
#include "mgmt/ctl_inner.h"

#define VISITORS_MAX  64u
#define PROOF_TIME_MS 5000u
#define LINGER_MS     1000u
#define REFUSALS_LOG  20u
#define REFUSALS_MS   10000u

/*
 *   HELLO -- its hello came, ours went --> MAC -- its mac is right --> (the HTTP server's)
 *     |                                     |
 *     +---- no hello of ours ---------------+---- wrong mac, or too slow --> gone
 */
enum visitor_state { VISITOR_HELLO, VISITOR_MAC };

struct ctl_visitor {
    struct ctl *ctl;
    struct stream *stream;
    enum visitor_state state;
    struct proof proof;
    struct loop_timer timer;
    LIST_ENTRY(ctl_visitor) entry;
};

static void leave(struct ctl_visitor *v)
{
    struct loop *loop = v->ctl->loop;
    LIST_REMOVE(v, entry);
    v->ctl->visitor_count--;
    loop_timer_fini(&v->timer);
    loop_bury(loop, v, mem_free);
}

static void log_gone(struct ctl_visitor *v, const char *why)
{
    char where[SOCK_ADDR_TEXT_MAX];
    unsigned left_out;
    if (log_rate_ok(&v->ctl->refusals, REFUSALS_LOG, REFUSALS_MS, &left_out))
        log_warn("ctl", sock_addr_text(stream_peer(v->stream), where), "refused: %s", why);
}

static void send_away(struct ctl_visitor *v, const char *why)
{
    log_gone(v, why);
    stream_finish(&v->stream, LINGER_MS);
    leave(v);
}

static void on_timer(void *arg)
{
    send_away(arg, "no proof of the cookie in time");
}

static bool take_hello(struct ctl_visitor *v)
{
    struct slice in = stream_peek(v->stream);
    struct err err;
    if (!proof_hello_may_be(in)) {
        send_away(v, "what it said is not for the cluster port");
        return false;
    }
    if (in.len < PROOF_HELLO_BYTES)
        return false;
    if (!proof_hello_take(v->proof.caller, slice_head(in, PROOF_HELLO_BYTES), PROOF_ROLE_CTL,
                          &err)) {
        send_away(v, err.text);
        return false;
    }
    stream_consume(v->stream, PROOF_HELLO_BYTES);
    proof_hello_make(v->proof.answerer, PROOF_ROLE_NODE);
    stream_write(v->stream, slice_of(v->proof.answerer, sizeof v->proof.answerer));
    v->state = VISITOR_MAC;
    return true;
}

static void take_mac(struct ctl_visitor *v)
{
    struct slice in = stream_peek(v->stream);
    if (in.len < PROOF_MAC_BYTES)
        return;
    struct slice cookie = broker_cookie(v->ctl->broker);
    bool ok = proof_caller_knows(&v->proof, cookie, slice_head(in, PROOF_MAC_BYTES));
    uint8_t verdict[PROOF_VERDICT_BYTES];
    proof_verdict_make(&v->proof, cookie, ok, verdict);
    stream_consume(v->stream, PROOF_MAC_BYTES);
    stream_write(v->stream, slice_of(verdict, sizeof verdict));
    if (!ok) {
        send_away(v, "it has another cookie");
        return;
    }
    http_server_adopt(v->ctl->server, &v->stream);
    leave(v);
}

static void on_data(struct stream *s, void *arg)
{
    struct ctl_visitor *v = arg;
    CHECK(v->stream == s);
    if (v->state == VISITOR_HELLO && !take_hello(v))
        return;
    take_mac(v);
}

/* Who only looks whether the port is open is not worth a line. */
static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    struct ctl_visitor *v = arg;
    (void)s;
    if (v->state == VISITOR_MAC)
        log_gone(v, why != NULL ? why->text : "it left without a proof of the cookie");
    stream_free(&v->stream);
    leave(v);
}

static const struct stream_handlers handlers = { .on_data = on_data, .on_closed = on_closed };

void ctl_visitor_new(struct ctl *c, int fd, const struct sock_addr *peer)
{
    (void)peer;
    if (c->visitor_count == VISITORS_MAX) {
        sock_close(fd);
        return;
    }
    struct ctl_visitor *v = mem_zalloc(sizeof *v);
    v->ctl = c;
    LIST_INSERT_HEAD(&c->visitors, v, entry);
    c->visitor_count++;
    loop_timer_init(&v->timer, c->loop, on_timer, v);
    loop_timer_start(&v->timer, PROOF_TIME_MS);
    v->stream = stream_new(c->loop, fd, &handlers, v);
}

void ctl_visitors_send_away(struct ctl *c)
{
    struct ctl_visitor *v;
    while ((v = LIST_FIRST(&c->visitors)) != NULL) {
        stream_free(&v->stream);
        leave(v);
    }
}
