#include "bench_conn.h"

#include "amqp/amqp_sasl.h"
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/sm.h"
#include "io/clock.h"

#define CLOSE_WAIT_MS  5000u
#define LINGER_MS      1000u
#define METHOD_ROOM    ((size_t)4096) /* our longest: a declaration with its arguments */
#define CHANNELS_AHEAD 64u            /* channel.opens under way at once */

#define TO(name)       SM_BIT(BENCH_CONN_##name)
static const struct sm_row rows[] = {
#define X(name, moves) { #name, moves },
    BENCH_CONN_STATES(X)
#undef X
};
#undef TO

static void on_open(struct stream *s, void *arg);
static void on_data(struct stream *s, void *arg);
static void on_room(struct stream *s, void *arg);
static void on_stream_closed(struct stream *s, const struct err *why, void *arg);
static void on_beat(void *arg);

static const struct stream_handlers stream_handlers = {
    .on_open = on_open,
    .on_data = on_data,
    .on_room = on_room,
    .on_closed = on_stream_closed,
};

static void move(struct bench_conn *c, enum bench_conn_state to)
{
    sm_move(rows, &c->state, to);
}

/* ---- going down ---------------------------------------------------------------------------------
 */

static void let_go(struct bench_conn *c)
{
    resolve_cancel(&c->resolve);
    if (c->stream != NULL)
        stream_finish(&c->stream, LINGER_MS);
    loop_timer_stop(&c->timer);
    loop_timer_stop(&c->heartbeat);
    c->blocked = false;
}

/* A whole round of hosts failed: wait. Else the next host at once. */
static uint64_t pause_ms(struct bench_conn *c)
{
    const struct bench_options *o = c->o.options;
    if (c->failures % o->hosts_count != 0)
        return 0;
    uint64_t ms = o->backoff_min_ms;
    for (uint32_t round = c->failures / o->hosts_count; round > 1 && ms < o->backoff_max_ms;
         round--)
        ms *= 2;
    if (ms > o->backoff_max_ms)
        ms = o->backoff_max_ms;
    return ms / 2 + rng_below(&c->rng, ms / 2 + 1);
}

/* The connection is lost: try again, or give up. */
static void lose(struct bench_conn *c, const struct err *why, bool for_good)
{
    bool was_ready = c->state == BENCH_CONN_READY;
    let_go(c);
    if (c->state == BENCH_CONN_CLOSING) {
        move(c, BENCH_CONN_IDLE);
        c->o.handlers->on_closed(c, c->o.arg);
        return;
    }
    uint64_t now_ms = clock_mono_ms();
    if (c->failures++ == 0)
        c->down_since_ms = now_ms;
    bool may_retry = c->o.options->reconnect
                         ? now_ms - c->down_since_ms < c->o.options->give_up_ms
                         : !c->was_ready && c->failures < c->o.options->hosts_count;
    if (for_good || c->o.once || !may_retry) {
        move(c, BENCH_CONN_FAILED);
        c->o.handlers->on_failed(c, why, c->o.arg);
        return;
    }
    move(c, BENCH_CONN_WAITING);
    c->host = (c->host + 1) % c->o.options->hosts_count;
    loop_timer_start(&c->timer, pause_ms(c));
    if (was_ready && c->o.handlers->on_down != NULL)
        c->o.handlers->on_down(c, why, c->o.arg);
}

/* With the host's name before the reason. */
static void lose_why(struct bench_conn *c, struct err *why, bool for_good)
{
    const struct bench_host *h = &c->o.options->hosts[c->host];
    err_context(why, "%s:%u", h->name, h->port);
    lose(c, why, for_good);
}

void bench_conn_break(struct bench_conn *c, const char *fmt, ...)
{
    struct err why;
    char text[ERR_TEXT_MAX];
    struct text t = text_over(text, sizeof text);
    va_list args;
    va_start(args, fmt);
    text_vput(&t, fmt, args);
    va_end(args);
    err_set(&why, ERR_PROTOCOL, "%s", text);
    lose_why(c, &why, false);
}

/* ---- going up -----------------------------------------------------------------------------------
 */

static void connect_to(struct bench_conn *c, const struct sock_addr *to)
{
    move(c, BENCH_CONN_CONNECTING);
    c->stream =
        stream_connect_as(c->loop, to, c->o.options->connect_timeout_ms, true, &stream_handlers, c);
    if (c->o.tls != NULL)
        stream_start_tls_client(c->stream, c->o.tls, c->o.options->hosts[c->host].name);
    loop_timer_start(&c->timer, c->o.options->connect_timeout_ms);
}

static void on_resolved(const struct resolve_answer *a, const struct err *why, void *arg)
{
    struct bench_conn *c = arg;
    c->resolve = NULL;
    if (a->count == 0) {
        struct err e = *why;
        lose_why(c, &e, false);
        return;
    }
    connect_to(c, &a->addrs[c->failures / c->o.options->hosts_count % a->count]);
}

static void go(struct bench_conn *c)
{
    const struct bench_host *h = &c->o.options->hosts[c->host];
    struct sock_addr literal;
    if (sock_addr_ip(h->name, h->port, &literal)) {
        connect_to(c, &literal);
        return;
    }
    move(c, BENCH_CONN_RESOLVING);
    c->resolve = resolve_start(c->loop, h->name, h->port, on_resolved, c);
}

static void on_timer(void *arg)
{
    struct bench_conn *c = arg;
    struct err why;
    switch (c->state) {
    case BENCH_CONN_IDLE: /* closed before it was ready, see bench_conn_close */
        c->o.handlers->on_closed(c, c->o.arg);
        return;
    case BENCH_CONN_WAITING:
        go(c);
        return;
    case BENCH_CONN_RESOLVING:
    case BENCH_CONN_CONNECTING:
    case BENCH_CONN_GREETING:
    case BENCH_CONN_OPENING:
        err_set(&why, ERR_IO, "timeout while connecting (%s)", sm_name(rows, c->state));
        lose_why(c, &why, false);
        return;
    case BENCH_CONN_CLOSING:
        lose(c, NULL, false);
        return;
    case BENCH_CONN_READY:
    case BENCH_CONN_FAILED:
        return;
    }
    UNREACHABLE("connection state");
}

void bench_conn_init(struct bench_conn *c, struct loop *loop, const struct bench_conn_options *o)
{
    *c = (struct bench_conn){ .o = *o, .loop = loop };
    c->host = o->first_host % o->options->hosts_count;
    rng_init(&c->rng, clock_mono_us() ^ (uint64_t)(uintptr_t)c);
    loop_timer_init(&c->timer, loop, on_timer, c);
    loop_timer_init(&c->heartbeat, loop, on_beat, c);
}

void bench_conn_start(struct bench_conn *c)
{
    CHECK(c->state == BENCH_CONN_IDLE && c->stream == NULL);
    go(c);
}

void bench_conn_fini(struct bench_conn *c)
{
    resolve_cancel(&c->resolve);
    stream_free(&c->stream);
    loop_timer_fini(&c->timer);
    loop_timer_fini(&c->heartbeat);
}

/* ---- the handshake ------------------------------------------------------------------------------
 */

void bench_conn_send(struct bench_conn *c, uint16_t channel, const struct amqp_method *m)
{
    struct wire_out w = wire_out_over(stream_reserve(c->stream, METHOD_ROOM), METHOD_ROOM);
    amqp_frame_put_method(&w, channel, m);
    CHECK(!w.overflow);
    stream_commit(c->stream, wire_out_len(&w));
}

static void step(struct bench_conn *c, const struct amqp_hs_event *ev);

static void log_in(struct bench_conn *c)
{
    uint8_t response_room[1024], properties_room[512];
    struct wire_out response = wire_out_over(response_room, sizeof response_room);
    struct wire_out properties = wire_out_over(properties_room, sizeof properties_room);
    struct amqp_credentials who = { slice_str(c->o.options->user),
                                    slice_str(c->o.options->password) };
    amqp_sasl_plain_write(&response, &who);
    amqp_table_put_text(&properties, "product", "warren-bench");
    amqp_table_put_text(&properties, "version", WARREN_VERSION);
    amqp_capabilities_put(&properties, AMQP_CAP_PUBLISHER_CONFIRMS | AMQP_CAP_BASIC_NACK |
                                           AMQP_CAP_CONSUMER_CANCEL_NOTIFY |
                                           AMQP_CAP_CONNECTION_BLOCKED |
                                           AMQP_CAP_AUTHENTICATION_FAILURE_CLOSE);
    CHECK(!response.overflow && !properties.overflow);
    step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_LOGIN,
                                     .mechanism = slice_str(AMQP_SASL_PLAIN),
                                     .bytes = wire_out_slice(&response),
                                     .properties = wire_out_slice(&properties) });
}

static void send_open(struct bench_conn *c, uint16_t channel)
{
    bench_conn_send(c, channel, &(struct amqp_method){ .id = AMQP_CHANNEL_OPEN });
}

static void on_beat(void *arg)
{
    struct bench_conn *c = arg;
    uint64_t now_ms = loop_now_ms(c->loop);
    uint64_t beat_ms = (uint64_t)c->hs.limits.heartbeat_s * 1000u;
    if (now_ms - stream_last_read_ms(c->stream) > 2 * beat_ms) {
        bench_conn_break(c, "no heartbeat for %u s", 2u * c->hs.limits.heartbeat_s);
        return;
    }
    if (now_ms - stream_last_write_ms(c->stream) >= beat_ms / 2)
        stream_write(c->stream, slice_of(AMQP_HEARTBEAT_FRAME, AMQP_HEARTBEAT_FRAME_LEN));
    loop_timer_start(&c->heartbeat, beat_ms / 4 + 1);
}

static void become_ready(struct bench_conn *c)
{
    move(c, BENCH_CONN_READY);
    loop_timer_stop(&c->timer);
    c->failures = 0;
    c->reconnects += c->was_ready;
    c->was_ready = true;
    if (c->hs.limits.heartbeat_s != 0)
        loop_timer_start(&c->heartbeat, (uint64_t)c->hs.limits.heartbeat_s * 250u + 1);
    c->o.handlers->on_ready(c, c->o.arg);
}

static void open_channels(struct bench_conn *c)
{
    c->channels_open = 0;
    if (c->o.channels == 0) {
        become_ready(c);
        return;
    }
    move(c, BENCH_CONN_OPENING);
    for (uint16_t i = 1; i <= c->o.channels && i <= CHANNELS_AHEAD; i++)
        send_open(c, i);
}

static void channel_opened(struct bench_conn *c)
{
    c->channels_open++;
    if (c->channels_open == c->o.channels)
        become_ready(c);
    else if (c->channels_open + CHANNELS_AHEAD <= c->o.channels)
        send_open(c, (uint16_t)(c->channels_open + CHANNELS_AHEAD));
}

/* The server's reason, in why, when the effects name one. *for_good: it will not change its mind.
 */
static void find_reason(struct bench_conn *c, const struct amqp_hs_effects *out, struct err *why,
                        bool *for_good)
{
    err_set(why, ERR_PROTOCOL, "closed");
    for (unsigned i = 0; i < out->count; i++) {
        const struct amqp_hs_effect *e = &out->list[i];
        if (e->kind != AMQP_HS_PEER_CLOSED && e->kind != AMQP_HS_FAILED)
            continue;
        char room[3 * AMQP_REPLY_TEXT_MAX];
        struct text reason = text_over(room, sizeof room);
        text_escaped(&reason, e->close.reply_text);
        err_set(why, ERR_REFUSED, "%s: %u %s",
                e->kind == AMQP_HS_FAILED ? "the server's mistake" : "closed by the server",
                e->close.reply_code, room);
        /* Who is refused before anything worked will be refused again. */
        *for_good = !c->was_ready && (e->close.reply_code == AMQP_ACCESS_REFUSED ||
                                      e->close.reply_code == AMQP_NOT_ALLOWED);
    }
}

static void carry_out(struct bench_conn *c, const struct amqp_hs_effect *e, struct err *why,
                      bool for_good)
{
    switch (e->kind) {
    case AMQP_HS_SEND_HEADER:
        stream_write(c->stream, slice_of(AMQP_PROTOCOL_HEADER, AMQP_PROTOCOL_HEADER_LEN));
        return;
    case AMQP_HS_SEND:
        bench_conn_send(c, 0, &e->method);
        return;
    case AMQP_HS_STARTED:
        log_in(c);
        return;
    case AMQP_HS_CHALLENGED:
        bench_conn_break(c, "the server wants more than user and password");
        return;
    case AMQP_HS_TUNED:
        step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER,
                                         .bytes = slice_str(c->o.options->vhost) });
        return;
    case AMQP_HS_OPENED:
        open_channels(c);
        return;
    case AMQP_HS_HANG_UP:
        if (e->after_ms == 0)
            lose_why(c, why, for_good);
        return;
    case AMQP_HS_FAILED:
        lose_why(c, why, for_good);
        return;
    case AMQP_HS_BLOCKED:
        c->blocked = true;
        return;
    case AMQP_HS_UNBLOCKED:
        c->blocked = false;
        if (c->o.handlers->on_room != NULL)
            c->o.handlers->on_room(c, c->o.arg);
        return;
    case AMQP_HS_PEER_CLOSED: /* the answer follows, and then the end */
    case AMQP_HS_SECRET_TAKEN:
    case AMQP_HS_AUTHENTICATE:
    case AMQP_HS_ENTER:
    case AMQP_HS_SECRET:
        return;
    }
    UNREACHABLE("handshake effect");
}

static void step(struct bench_conn *c, const struct amqp_hs_event *ev)
{
    struct amqp_hs_effects out;
    struct err why;
    bool for_good = false;
    amqp_hs_client_step(&c->hs, ev, &out);
    find_reason(c, &out, &why, &for_good);
    for (unsigned i = 0; i < out.count && c->stream != NULL; i++)
        carry_out(c, &out.list[i], &why, for_good);
}

/* ---- the stream ---------------------------------------------------------------------------------
 */

static void on_open(struct stream *s, void *arg)
{
    struct bench_conn *c = arg;
    CHECK(c->stream == s);
    struct amqp_limits want = { .channel_max = 0,
                                .frame_max = c->o.options->frame_max,
                                .heartbeat_s = (uint16_t)c->o.options->heartbeat_s };
    move(c, BENCH_CONN_GREETING);
    amqp_hs_client_init(&c->hs, &want);
    step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
}

/* A channel that the server closes takes the connection with it. */
static void channel_closed(struct bench_conn *c, const struct amqp_frame *f)
{
    struct amqp_method m;
    if (amqp_method_decode(f->payload, &m) != AMQP_DECODE_OK) {
        bench_conn_break(c, "malformed channel.close");
        return;
    }
    char room[3 * AMQP_REPLY_TEXT_MAX];
    struct text reason = text_over(room, sizeof room);
    text_escaped(&reason, m.channel_close.reply_text);
    bench_conn_send(c, f->channel, &(struct amqp_method){ .id = AMQP_CHANNEL_CLOSE_OK });
    bench_conn_break(c, "channel closed by the server: %u %s", m.channel_close.reply_code, room);
}

size_t bench_conn_cut(struct bench_conn *c, struct slice in, bench_frame_fn take, void *arg)
{
    struct slice rest = in;
    while (bench_conn_is_ready(c)) {
        struct amqp_frame f;
        enum amqp_cut cut = amqp_frame_cut(rest, bench_conn_frame_max(c), &f);
        if (cut == AMQP_CUT_MORE)
            break;
        if (cut == AMQP_CUT_BAD) {
            bench_conn_break(c, "what came is not an AMQP frame");
            break;
        }
        rest = slice_from(rest, amqp_frame_len(&f));
        take(&f, arg);
    }
    return in.len - rest.len;
}

void bench_conn_take(struct bench_conn *c, const struct amqp_frame *f)
{
    if (c->hs.state != AMQP_HS_CLIENT_RUNNING || f->channel == 0) {
        step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = *f });
        return;
    }
    uint32_t id = f->type == AMQP_FRAME_METHOD ? amqp_method_peek(f->payload) : 0;
    if (id == AMQP_CHANNEL_OPEN_OK && c->state == BENCH_CONN_OPENING)
        channel_opened(c);
    else if (id == AMQP_CHANNEL_CLOSE)
        channel_closed(c, f);
    else
        bench_conn_break(c, "unexpected %s on channel %u", amqp_method_name(id), f->channel);
}

/* Are the frames ours to cut: before the owner gets them, after it closed, or as it wants none? */
static bool is_ours(const struct bench_conn *c)
{
    return c->state != BENCH_CONN_READY || c->o.handlers->on_data == NULL;
}

static void take_frames(struct bench_conn *c)
{
    while (c->stream != NULL && is_ours(c)) {
        struct amqp_frame f;
        switch (amqp_frame_cut(stream_peek(c->stream), amqp_hs_client_frame_max(&c->hs), &f)) {
        case AMQP_CUT_MORE:
            return;
        case AMQP_CUT_BAD:
            bench_conn_break(c, "what came is not an AMQP frame");
            return;
        case AMQP_CUT_FRAME:
            break;
        }
        size_t len = amqp_frame_len(&f);
        struct stream *s = c->stream;
        bench_conn_take(c, &f);
        if (c->stream == s)
            stream_consume(s, len);
    }
}

static void on_data(struct stream *s, void *arg)
{
    struct bench_conn *c = arg;
    take_frames(c);
    if (c->stream != s || is_ours(c) || stream_peek(s).len == 0)
        return;
    size_t used = c->o.handlers->on_data(c, stream_peek(s), c->o.arg);
    if (c->stream == s)
        stream_consume(s, used);
}

static void on_room(struct stream *s, void *arg)
{
    struct bench_conn *c = arg;
    CHECK(c->stream == s);
    if (c->state == BENCH_CONN_READY && c->o.handlers->on_room != NULL)
        c->o.handlers->on_room(c, c->o.arg);
}

static void on_stream_closed(struct stream *s, const struct err *why, void *arg)
{
    struct bench_conn *c = arg;
    CHECK(c->stream == s);
    struct err e;
    if (why != NULL)
        e = *why;
    else
        err_set(&e, ERR_IO, "the server closed the connection");
    lose_why(c, &e, false);
}

/* ---- about it, and the end ----------------------------------------------------------------------
 */

void bench_conn_close(struct bench_conn *c)
{
    CHECK(c->state != BENCH_CONN_CLOSING);
    if (c->state != BENCH_CONN_READY) {
        let_go(c);
        if (c->state != BENCH_CONN_IDLE)
            move(c, BENCH_CONN_IDLE);
        loop_timer_start(&c->timer, 0);
        return;
    }
    move(c, BENCH_CONN_CLOSING);
    loop_timer_stop(&c->heartbeat);
    loop_timer_start(&c->timer, CLOSE_WAIT_MS);
    step(c, &(struct amqp_hs_event){
                .kind = AMQP_HS_EV_CLOSE, .code = AMQP_REPLY_SUCCESS, .text = slice_str("done") });
}

struct stream *bench_conn_stream(const struct bench_conn *c)
{
    CHECK(c->state == BENCH_CONN_READY);
    return c->stream;
}

uint32_t bench_conn_frame_max(const struct bench_conn *c)
{
    return c->hs.limits.frame_max;
}
