#include "upstream.h"

#include "amqp/amqp_sasl.h"
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/log.h"
#include "base/sm.h"
#include "dial.h"
#include "heartbeat.h"
#include "method_out.h"

#define LINGER_MS 5000u
#define CLOSE_MS  10000u /* for the broker's close-ok */

#define TO(name)  SM_BIT(UPSTREAM_##name)
static const struct sm_row rows[] = {
#define X(name, moves) { #name, moves },
    UPSTREAM_STATES(X)
#undef X
};
#undef TO

static void move(struct upstream *u, enum upstream_state to)
{
    sm_move(rows, &u->state, to);
}

const char *upstream_state_name(const struct upstream *u)
{
    return sm_name(rows, u->state);
}

uint32_t upstream_frame_max(const struct upstream *u)
{
    return amqp_hs_client_frame_max(&u->hs);
}

/* ---- its end --------------------------------------------------------------------------------- */

static void end_text(struct upstream *u, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void end_text(struct upstream *u, const char *fmt, ...)
{
    struct text t = text_over(u->end.text, sizeof u->end.text);
    va_list args;
    va_start(args, fmt);
    text_vput(&t, fmt, args);
    va_end(args);
}

static void count_end(const struct upstream *u, enum upstream_state was)
{
    struct server_live *l = u->server->live;
    struct backend_live *b = u->server->backend->live;
    switch (u->end.fate) {
    case UPSTREAM_UNREACHABLE:
        (void)shared_add(&l->econ, 1);
        (void)shared_add(&b->econ, 1);
        break;
    case UPSTREAM_LOST:
        (void)shared_add(was == UPSTREAM_READY ? &l->srv_abrt : &l->eresp, 1);
        (void)shared_add(was == UPSTREAM_READY ? &b->srv_abrt : &b->eresp, 1);
        break;
    case UPSTREAM_REFUSED:
        (void)shared_add(&b->denied, 1);
        break;
    case UPSTREAM_HUNG_UP:
    case UPSTREAM_CLOSED:
    case UPSTREAM_ENDED:
        break;
    }
}

/* The stream is let go in the manner given, and the owner told, once. */
static void gone(struct upstream *u, enum upstream_fate fate, bool flush)
{
    if (u->state == UPSTREAM_GONE)
        return;
    enum upstream_state was = u->state;
    u->end.fate = fate;
    move(u, UPSTREAM_GONE);
    if (flush && stream_pending(u->stream) != 0)
        stream_finish(&u->stream, LINGER_MS);
    else
        stream_free(&u->stream);
    live_traffic_end(&u->server->live->traffic);
    count_end(u, was);
    u->handlers->on_gone(u);
}

static void unreachable(struct upstream *u, const char *why)
{
    if (u->end.text[0] == '\0')
        end_text(u, "%s", why);
    gone(u, UPSTREAM_UNREACHABLE, false);
}

static void lost(struct upstream *u, const char *why)
{
    end_text(u, "%s", why);
    switch (u->state) {
    case UPSTREAM_CONNECTING:
    case UPSTREAM_GREETING:
    case UPSTREAM_HELD:
    case UPSTREAM_ENTERING:
        gone(u, UPSTREAM_UNREACHABLE, false);
        return;
    case UPSTREAM_READY:
        gone(u, UPSTREAM_LOST, false);
        return;
    case UPSTREAM_CLOSING:
        gone(u, UPSTREAM_ENDED, false);
        return;
    case UPSTREAM_GONE:
        return;
    }
    UNREACHABLE("upstream state");
}

/* ---- the handshake's machine ----------------------------------------------------------------- */

static void step(struct upstream *u, const struct amqp_hs_event *ev);

/* A name that TLS has proven cannot be said again: it is passed on in front of the connection, to
 * brokers that believe us, which say so. Any other one would take the proxy's own certificate for
 * the client's, or know nobody. */
static bool may_pass_on(const struct upstream *u, const struct amqp_connection_start *start)
{
    struct amqp_field known;
    return !slice_is(u->login->mechanism, AMQP_SASL_EXTERNAL) ||
           (u->tells_names && amqp_table_find(start->server_properties, AMQP_CERTIFIED, &known) &&
            amqp_sasl_find(start->mechanisms, slice_str(AMQP_SASL_EXTERNAL)).len != 0);
}

static void refuse_external(struct upstream *u)
{
    u->end.code = AMQP_ACCESS_REFUSED;
    end_text(u,
             "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL: a "
             "certificate is passed on only to a Warren broker that offers EXTERNAL, by "
             "send-proxy-v2 and the cluster's cookie, and %s is not one",
             u->server->conf->name);
    gone(u, UPSTREAM_REFUSED, false);
}

static void log_in(struct upstream *u, const struct amqp_connection_start *start)
{
    if (!may_pass_on(u, start)) {
        refuse_external(u);
        return;
    }
    step(u, &(struct amqp_hs_event){
                .kind = AMQP_HS_EV_LOGIN,
                .mechanism = u->login->mechanism,
                .bytes = u->login->response,
                .properties = u->login->properties,
            });
}

/* Frames pass unchanged between the client and all its brokers, so none may grant less than what
 * the client was told. */
static void enter_vhost(struct upstream *u)
{
    const struct amqp_limits *want = &u->login->limits;
    if (u->hs.limits.frame_max < want->frame_max || u->hs.limits.channel_max < want->channel_max) {
        unreachable(u, "grants smaller frames or fewer channels than the client was told");
        return;
    }
    step(u, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER, .bytes = u->login->vhost });
}

static void opened(struct upstream *u)
{
    move(u, UPSTREAM_READY);
    u->deadline_ms = 0;
    u->handlers->on_ready(u);
}

static void peer_closed(struct upstream *u, const struct amqp_connection_close *close)
{
    if (u->state == UPSTREAM_CLOSING)
        return;
    u->end.code = close->reply_code;
    u->end.cause = (uint32_t)close->class_id << 16 | close->method_id;
    end_text(u, "%.*s", SLICE_ARG(close->reply_text));
    u->end.fate = u->state == UPSTREAM_READY ? UPSTREAM_CLOSED : UPSTREAM_REFUSED;
}

/* The broker broke the protocol. */
static void failed(struct upstream *u, const struct amqp_connection_close *close)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text shown = text_over(room, sizeof room);
    text_escaped(&shown, close->reply_text);
    log_warn("upstream", u->server->conf->name, "broker broke the protocol: %s", room);
    end_text(u, "%s", room);
    u->end.fate = u->state == UPSTREAM_READY ? UPSTREAM_LOST : UPSTREAM_UNREACHABLE;
}

static void hang_up(struct upstream *u, uint32_t after_ms)
{
    if (after_ms != 0) {
        u->left_by = 0;
        u->deadline_ms = loop_now_ms(u->loop) + (after_ms < CLOSE_MS ? after_ms : CLOSE_MS);
        return;
    }
    if (u->state == UPSTREAM_CLOSING && !u->is_answered && u->end.text[0] == '\0')
        end_text(u, "it closed the connection at the same time");
    gone(u, u->state == UPSTREAM_CLOSING ? UPSTREAM_ENDED : u->end.fate, true);
}

/* An answer that cannot come is not late. */
static void wait_longer(struct upstream *u)
{
    if (u->deadline_ms == 0)
        return;
    if (u->state == UPSTREAM_READY && u->left_by != 0)
        upstream_expect(u);
    else if (u->state == UPSTREAM_CLOSING)
        u->deadline_ms = loop_now_ms(u->loop) + CLOSE_MS;
}

static void set_blocked(struct upstream *u, bool blocked, struct slice reason)
{
    if (u->is_blocked == blocked)
        return;
    u->is_blocked = blocked;
    wait_longer(u);
    u->handlers->on_blocked(u, reason);
}

static void carry_out(struct upstream *u, const struct amqp_hs_effect *e)
{
    switch (e->kind) {
    case AMQP_HS_SEND_HEADER:
        stream_write(u->stream, slice_of(AMQP_PROTOCOL_HEADER, AMQP_PROTOCOL_HEADER_LEN));
        return;
    case AMQP_HS_SEND:
        method_out(u->stream, 0, &e->method);
        return;
    case AMQP_HS_STARTED:
        log_in(u, &e->start);
        return;
    case AMQP_HS_CHALLENGED: /* neither of the mechanisms that we offer has one */
        unreachable(u, "asks for more than a user and a password");
        return;
    case AMQP_HS_TUNED:
        enter_vhost(u);
        return;
    case AMQP_HS_OPENED:
        opened(u);
        return;
    case AMQP_HS_PEER_CLOSED:
        peer_closed(u, &e->close);
        return;
    case AMQP_HS_FAILED:
        failed(u, &e->close);
        return;
    case AMQP_HS_HANG_UP:
        hang_up(u, e->after_ms);
        return;
    case AMQP_HS_BLOCKED:
        set_blocked(u, true, e->bytes);
        return;
    case AMQP_HS_UNBLOCKED:
        set_blocked(u, false, slice_of(NULL, 0));
        return;
    case AMQP_HS_SECRET_TAKEN:
        if (u->owes_secret) {
            u->owes_secret = false;
            u->handlers->on_secret_taken(u);
        }
        return;
    case AMQP_HS_AUTHENTICATE:
    case AMQP_HS_ENTER:
    case AMQP_HS_SECRET:
        break;
    }
    UNREACHABLE("an effect of the server's side");
}

static void step(struct upstream *u, const struct amqp_hs_event *ev)
{
    struct amqp_hs_effects out;
    amqp_hs_client_step(&u->hs, ev, &out);
    for (unsigned i = 0; i < out.count && u->state != UPSTREAM_GONE; i++)
        carry_out(u, &out.list[i]);
}

static bool is_close_ok(const struct upstream *u, const struct amqp_frame *f)
{
    return u->hs.state == AMQP_HS_CLIENT_CLOSED && f->type == AMQP_FRAME_METHOD &&
           f->channel == 0 && amqp_method_peek(f->payload) == AMQP_CONNECTION_CLOSE_OK;
}

void upstream_take(struct upstream *u, const struct amqp_frame *f)
{
    u->is_answered |= is_close_ok(u, f);
    step(u, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = *f });
}

void upstream_take_bad(struct upstream *u)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(room, sizeof room);
    amqp_frame_why(stream_peek(u->stream), upstream_frame_max(u), &why);
    step(u, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_BAD_FRAME, .text = text_view(&why) });
    /* The rest cannot be read, and the machine waits only for it to be sent. */
    if (u->state != UPSTREAM_GONE)
        gone(u, u->state == UPSTREAM_CLOSING ? UPSTREAM_ENDED : u->end.fate, true);
}

/* ---- holding the broker's tune --------------------------------------------------------------- */

/* The machine answers tune at once, so it gets the frame only when the client has answered ours.
 * Until then it stays in the stream; a broker that says more than that is held up. */
static bool hold_tune(struct upstream *u, const struct amqp_frame *f)
{
    struct amqp_method m;
    if (u->hs.state != AMQP_HS_CLIENT_AUTHENTICATING || f->type != AMQP_FRAME_METHOD ||
        amqp_method_decode(f->payload, &m) != AMQP_DECODE_OK || m.id != AMQP_CONNECTION_TUNE)
        return false;
    if (u->login->is_complete) {
        move(u, UPSTREAM_ENTERING);
        u->hs.want = u->login->limits;
        u->hs.want.heartbeat_s = 0; /* ours with the broker is as the broker likes */
        return false;
    }
    u->offer = (struct amqp_limits){
        m.connection_tune.channel_max,
        m.connection_tune.frame_max,
        m.connection_tune.heartbeat,
    };
    u->deadline_ms = 0; /* it is the client's turn */
    move(u, UPSTREAM_HELD);
    u->handlers->on_tuned(u);
    return true;
}

static uint64_t handshake_deadline(const struct upstream *u)
{
    return loop_now_ms(u->loop) + u->server->backend->conf->timeout.handshake;
}

/* Frames one by one until the vhost is open. */
static void take_handshake(struct upstream *u)
{
    while (u->state == UPSTREAM_GREETING || u->state == UPSTREAM_ENTERING) {
        struct amqp_frame f;
        switch (amqp_frame_cut(stream_peek(u->stream), upstream_frame_max(u), &f)) {
        case AMQP_CUT_MORE:
            return;
        case AMQP_CUT_BAD:
            upstream_take_bad(u);
            return;
        case AMQP_CUT_FRAME:
            break;
        }
        if (u->state == UPSTREAM_GREETING && hold_tune(u, &f))
            return;
        upstream_take(u, &f);
        if (u->state != UPSTREAM_GONE)
            stream_consume(u->stream, amqp_frame_len(&f));
    }
}

void upstream_enter(struct upstream *u)
{
    CHECK(u->state == UPSTREAM_HELD);
    CHECK(u->login->is_complete);
    u->hs.want = u->login->limits;
    u->hs.want.heartbeat_s = 0;
    u->deadline_ms = handshake_deadline(u);
    move(u, UPSTREAM_ENTERING);
    upstream_resume(u);
    take_handshake(u);
}

/* ---- the stream ------------------------------------------------------------------------------ */

static void on_open(struct stream *s, void *arg)
{
    (void)s;
    struct upstream *u = arg;
    uint64_t now = loop_now_ms(u->loop);
    shared_set(&u->server->live->connect_ms, now - u->started_ms);
    move(u, UPSTREAM_GREETING);
    u->deadline_ms = handshake_deadline(u);
    step(u, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
}

static void on_data(struct stream *s, void *arg)
{
    struct upstream *u = arg;
    if (u->state == UPSTREAM_HELD)
        stream_pause(s);
    take_handshake(u);
    if (u->state == UPSTREAM_READY || u->state == UPSTREAM_CLOSING)
        u->handlers->on_input(u);
}

static void on_room(struct stream *s, void *arg)
{
    (void)s;
    struct upstream *u = arg;
    u->handlers->on_room(u);
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    (void)s;
    struct upstream *u = arg;
    if (why == NULL && u->hs.state == AMQP_HS_CLIENT_AUTHENTICATING) {
        end_text(u, "it closed the connection after the login"); /* RabbitMQ's way to refuse it */
        gone(u, UPSTREAM_HUNG_UP, false);
        return;
    }
    lost(u, why != NULL ? why->text : "it closed the connection");
}

static const struct stream_handlers stream_handlers = { on_open, on_data, on_room, on_closed };

/* ---- life ------------------------------------------------------------------------------------ */

struct upstream *upstream_new(struct pool *pool, struct loop *loop, const struct server *server,
                              const struct upstream_client *client,
                              const struct upstream_handlers *handlers, void *owner)
{
    CHECK(loop_is_current(loop));
    struct upstream *u = pool_get(pool);
    if (u == NULL)
        return NULL;
    u->pool = pool;
    u->loop = loop;
    u->server = server;
    u->login = client->login;
    u->handlers = handlers;
    u->owner = owner;
    u->started_ms = loop_now_ms(loop);
    amqp_hs_client_init(&u->hs, &(struct amqp_limits){ 0 });

    struct dial_client who = { .address = client->address,
                               .door = client->door,
                               .stream = client->stream,
                               .told = client->told,
                               .is_spoken_for = true,
                               .speaks_amqp = true };
    u->tells_names = dial_tells_names(server, &who, client->cookie);
    u->stream = dial(loop, server, dial_address(server), server->backend->conf->timeout.connect,
                     &who, client->cookie, &stream_handlers, u);
    live_traffic_begin(&server->live->traffic);
    shared_set(&server->live->last_session_ms, u->started_ms);
    shared_set(&server->backend->live->last_session_ms, u->started_ms);
    return u;
}

void upstream_close(struct upstream *u, uint16_t code, struct slice text)
{
    if (u->state == UPSTREAM_GONE)
        return;
    upstream_resume(u); /* to see the answer */
    if (u->state == UPSTREAM_CLOSING)
        return;
    if (u->state != UPSTREAM_READY && u->state != UPSTREAM_ENTERING) {
        gone(u, UPSTREAM_ENDED, false);
        return;
    }
    move(u, UPSTREAM_CLOSING);
    step(u, &(struct amqp_hs_event){
                .kind = AMQP_HS_EV_CLOSE,
                .code = code,
                .text = text,
                .verbatim = true,
            });
}

void upstream_expect(struct upstream *u)
{
    CHECK(u->state == UPSTREAM_READY);
    u->deadline_ms = loop_now_ms(u->loop) + u->server->backend->conf->timeout.connect;
}

void upstream_set_secret(struct upstream *u, struct slice secret)
{
    CHECK(u->state == UPSTREAM_READY);
    u->owes_secret = true;
    step(u, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_SECRET, .bytes = secret });
}

void upstream_pause(struct upstream *u)
{
    CHECK(u->state == UPSTREAM_READY || u->state == UPSTREAM_CLOSING);
    stream_pause(u->stream);
}

void upstream_resume(struct upstream *u)
{
    if (!stream_is_paused(u->stream))
        return;
    u->listening_ms = loop_now_ms(u->loop);
    wait_longer(u);
    stream_resume(u->stream);
}

static uint64_t beat(struct upstream *u, uint64_t now_ms)
{
    struct heartbeat_view v = {
        .now_ms = now_ms,
        .last_read_ms = stream_last_read_ms(u->stream),
        .last_write_ms = stream_last_write_ms(u->stream),
        .listening_since_ms = u->listening_ms,
        .listening = !stream_is_paused(u->stream),
        .has_output = stream_pending(u->stream) != 0,
    };
    uint64_t next_ms;
    switch (heartbeat_step(u->hs.limits.heartbeat_s, &v, &next_ms)) {
    case HEARTBEAT_WAIT:
        return next_ms;
    case HEARTBEAT_SEND:
        method_out_heartbeat(u->stream);
        return next_ms;
    case HEARTBEAT_DEAD:
        lost(u, "it was silent for two heartbeats");
        return UINT64_MAX;
    }
    UNREACHABLE("heartbeat verdict");
}

uint64_t upstream_tick(struct upstream *u)
{
    uint64_t now = loop_now_ms(u->loop);
    if (u->state == UPSTREAM_GONE)
        return UINT64_MAX;
    if (stream_is_paused(u->stream) || (u->is_blocked && u->state == UPSTREAM_READY))
        wait_longer(u);
    if (u->deadline_ms != 0 && now >= u->deadline_ms) {
        lost(u, "it did not answer in time");
        return UINT64_MAX;
    }
    uint64_t next = u->deadline_ms != 0 ? u->deadline_ms - now : UINT64_MAX;
    if (u->state != UPSTREAM_READY)
        return next;
    uint64_t beat_ms = beat(u, now);
    return beat_ms < next ? beat_ms : next;
}

static void free_memory(void *ptr)
{
    struct upstream *u = ptr;
    pool_put(u->pool, u);
}

void upstream_free(struct upstream **upstream)
{
    struct upstream *u = *upstream;
    *upstream = NULL;
    if (u->state != UPSTREAM_GONE) {
        u->state = UPSTREAM_GONE;
        if (stream_pending(u->stream) != 0)
            stream_finish(&u->stream, LINGER_MS);
        else
            stream_free(&u->stream);
        live_traffic_end(&u->server->live->traffic);
    }
    loop_bury(u->loop, u, free_memory);
}
