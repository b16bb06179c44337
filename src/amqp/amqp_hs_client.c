#include "amqp/amqp_hs_client.h"

#include "amqp/amqp_hs_effect.h"
#include "base/sm.h"

#define GREETING_FRAME_MAX 65536u

#define TO(name)           SM_BIT(AMQP_HS_CLIENT_##name)
static const struct sm_row rows[] = {
#define X(name, moves) { #name, moves },
    AMQP_HS_CLIENT_STATES(X)
#undef X
};
#undef TO

static void move(struct amqp_hs_client *hs, enum amqp_hs_client_state to)
{
    sm_move(rows, &hs->state, to);
}

void amqp_hs_client_init(struct amqp_hs_client *hs, const struct amqp_limits *want)
{
    CHECK(want->frame_max == 0 || want->frame_max >= AMQP_FRAME_MAX_LEAST);
    *hs = (struct amqp_hs_client){ .state = AMQP_HS_CLIENT_IDLE, .want = *want };
}

uint32_t amqp_hs_client_frame_max(const struct amqp_hs_client *hs)
{
    return hs->limits.frame_max != 0 ? hs->limits.frame_max : GREETING_FRAME_MAX;
}

const char *amqp_hs_client_state_name(const struct amqp_hs_client *hs)
{
    return sm_name(rows, hs->state);
}

/* ---- ending it ---- */

/* Before connection.open was sent a server holds nothing for us, and RabbitMQ takes a close for a
 * mistake: just leave. */
static void leave(struct amqp_hs_client *hs, const struct amqp_connection_close *close,
                  struct amqp_hs_effects *out)
{
    if (hs->state == AMQP_HS_CLIENT_ENTERING || hs->state == AMQP_HS_CLIENT_RUNNING) {
        amqp_hs_send_close(out, close);
        amqp_hs_hang_up(out, amqp_hs_close_wait_ms(&hs->limits));
        move(hs, AMQP_HS_CLIENT_CLOSED);
    } else if (hs->state != AMQP_HS_CLIENT_CLOSED) {
        amqp_hs_hang_up(out, 0);
        move(hs, AMQP_HS_CLIENT_DONE);
    }
}

/* The server broke the protocol. */
#define fail(hs, out, code, method, ...)                                                           \
    fail_with(hs, amqp_hs_reason(out, code, method, __VA_ARGS__), out)

static void fail_with(struct amqp_hs_client *hs, struct amqp_connection_close why,
                      struct amqp_hs_effects *out)
{
    leave(hs, &why, out);
    amqp_hs_emit(out, AMQP_HS_FAILED)->close = why;
}

/* Nothing that follows can be read: no close-ok would be seen. */
static void on_bad_frame(struct amqp_hs_client *hs, struct slice why, struct amqp_hs_effects *out)
{
    struct amqp_connection_close close =
        amqp_hs_reason(out, AMQP_FRAME_ERROR, 0, "%.*s", SLICE_ARG(why));
    if (hs->state == AMQP_HS_CLIENT_RUNNING)
        amqp_hs_send_close(out, &close);
    amqp_hs_emit(out, AMQP_HS_FAILED)->close = close;
    amqp_hs_hang_up(out, hs->state == AMQP_HS_CLIENT_RUNNING ? AMQP_HS_BROKEN_WAIT_MS : 0);
    move(hs, AMQP_HS_CLIENT_DONE);
}

static void on_peer_close(struct amqp_hs_client *hs, const struct amqp_connection_close *close,
                          struct amqp_hs_effects *out)
{
    if (hs->state != AMQP_HS_CLIENT_CLOSED)
        amqp_hs_emit(out, AMQP_HS_PEER_CLOSED)->close = *close;
    amqp_hs_send(out, AMQP_CONNECTION_CLOSE_OK);
    amqp_hs_hang_up(out, 0);
    move(hs, AMQP_HS_CLIENT_DONE);
}

/* ---- opening it ---- */

static void on_start(struct amqp_hs_client *hs, const struct amqp_connection_start *m,
                     struct amqp_hs_effects *out)
{
    if (m->version_major != 0 || m->version_minor != 9) {
        fail(hs, out, AMQP_NOT_IMPLEMENTED, AMQP_CONNECTION_START, "server speaks version %u-%u",
             (unsigned)m->version_major, (unsigned)m->version_minor);
        return;
    }
    hs->capabilities = amqp_capabilities_read(m->server_properties);
    amqp_hs_emit(out, AMQP_HS_STARTED)->start = *m;
    move(hs, AMQP_HS_CLIENT_CHOOSING);
}

static void on_login(struct amqp_hs_client *hs, const struct amqp_hs_event *ev,
                     struct amqp_hs_effects *out)
{
    CHECK(hs->state == AMQP_HS_CLIENT_CHOOSING);
    amqp_hs_send(out, AMQP_CONNECTION_START_OK)->connection_start_ok =
        (struct amqp_connection_start_ok){
            .client_properties = ev->properties,
            .mechanism = ev->mechanism,
            .response = ev->bytes,
            .locale = slice_str("en_US"),
        };
    move(hs, AMQP_HS_CLIENT_AUTHENTICATING);
}

static void on_secure(struct amqp_hs_client *hs, const struct amqp_connection_secure *m,
                      struct amqp_hs_effects *out)
{
    amqp_hs_emit(out, AMQP_HS_CHALLENGED)->bytes = m->challenge;
    move(hs, AMQP_HS_CLIENT_ANSWERING);
}

static void on_response(struct amqp_hs_client *hs, struct slice response,
                        struct amqp_hs_effects *out)
{
    CHECK(hs->state == AMQP_HS_CLIENT_ANSWERING);
    amqp_hs_send(out, AMQP_CONNECTION_SECURE_OK)->connection_secure_ok.response = response;
    move(hs, AMQP_HS_CLIENT_AUTHENTICATING);
}

static void on_tune(struct amqp_hs_client *hs, const struct amqp_connection_tune *m,
                    struct amqp_hs_effects *out)
{
    if (m->frame_max != 0 && m->frame_max < AMQP_FRAME_MAX_LEAST) {
        fail(hs, out, AMQP_NOT_ALLOWED, AMQP_CONNECTION_TUNE,
             "offered frame_max = %u is lower than the minimum allowed value (%u)", m->frame_max,
             AMQP_FRAME_MAX_LEAST);
        return;
    }
    struct amqp_limits offered = { m->channel_max, m->frame_max, m->heartbeat };
    hs->limits = amqp_limits_agree(&hs->want, &offered);
    amqp_hs_send(out, AMQP_CONNECTION_TUNE_OK)->connection_tune_ok =
        (struct amqp_connection_tune_ok){
            hs->limits.channel_max,
            hs->limits.frame_max,
            hs->limits.heartbeat_s,
        };
    amqp_hs_emit(out, AMQP_HS_TUNED)->limits = hs->limits;
    move(hs, AMQP_HS_CLIENT_TUNED);
}

static void on_enter(struct amqp_hs_client *hs, struct slice vhost, struct amqp_hs_effects *out)
{
    CHECK(hs->state == AMQP_HS_CLIENT_TUNED);
    amqp_hs_send(out, AMQP_CONNECTION_OPEN)->connection_open.virtual_host = vhost;
    move(hs, AMQP_HS_CLIENT_ENTERING);
}

static void on_open_ok(struct amqp_hs_client *hs, struct amqp_hs_effects *out)
{
    amqp_hs_emit(out, AMQP_HS_OPENED)->limits = hs->limits;
    move(hs, AMQP_HS_CLIENT_RUNNING);
}

static void on_new_secret(struct amqp_hs_client *hs, const struct amqp_hs_event *ev,
                          struct amqp_hs_effects *out)
{
    CHECK(hs->state == AMQP_HS_CLIENT_RUNNING);
    amqp_hs_send(out, AMQP_CONNECTION_UPDATE_SECRET)->connection_update_secret =
        (struct amqp_connection_update_secret){ ev->bytes, ev->text };
}

/* ---- frames ---- */

/* What a server may say in a connection's life; false for anything else. */
static bool take_when_running(const struct amqp_method *m, struct amqp_hs_effects *out)
{
    if (m->id == AMQP_CONNECTION_BLOCKED)
        amqp_hs_emit(out, AMQP_HS_BLOCKED)->bytes = m->connection_blocked.reason;
    else if (m->id == AMQP_CONNECTION_UNBLOCKED)
        amqp_hs_emit(out, AMQP_HS_UNBLOCKED);
    else if (m->id == AMQP_CONNECTION_UPDATE_SECRET_OK)
        amqp_hs_emit(out, AMQP_HS_SECRET_TAKEN);
    else
        return false;
    return true;
}

/* A method that is well formed and no close; false when this is not the moment for it. */
static bool take_method(struct amqp_hs_client *hs, const struct amqp_method *m,
                        struct amqp_hs_effects *out)
{
    if (hs->state == AMQP_HS_CLIENT_RUNNING)
        return take_when_running(m, out);
    if (hs->state == AMQP_HS_CLIENT_GREETING && m->id == AMQP_CONNECTION_START)
        on_start(hs, &m->connection_start, out);
    else if (hs->state == AMQP_HS_CLIENT_AUTHENTICATING && m->id == AMQP_CONNECTION_SECURE)
        on_secure(hs, &m->connection_secure, out);
    else if (hs->state == AMQP_HS_CLIENT_AUTHENTICATING && m->id == AMQP_CONNECTION_TUNE)
        on_tune(hs, &m->connection_tune, out);
    else if (hs->state == AMQP_HS_CLIENT_ENTERING && m->id == AMQP_CONNECTION_OPEN_OK)
        on_open_ok(hs, out);
    else
        return false;
    return true;
}

static void on_method(struct amqp_hs_client *hs, struct slice payload, struct amqp_hs_effects *out)
{
    struct amqp_method m;
    enum amqp_decode verdict = amqp_method_decode(payload, &m);
    if (verdict == AMQP_DECODE_UNKNOWN || verdict == AMQP_DECODE_BAD) {
        char room[AMQP_REPLY_TEXT_MAX + 1];
        struct text why = text_over(room, sizeof room);
        amqp_decode_why(verdict, payload, &why);
        fail(hs, out, AMQP_FRAME_ERROR, amqp_method_peek(payload), "%s", room);
        return;
    }
    if (m.id == AMQP_CONNECTION_CLOSE)
        on_peer_close(hs, &m.connection_close, out);
    else if (!take_method(hs, &m, out))
        fail(hs, out, AMQP_CHANNEL_ERROR, m.id, "unexpected %s in state %s", amqp_method_name(m.id),
             amqp_hs_client_state_name(hs));
}

static void on_frame_when_closed(struct amqp_hs_client *hs, const struct amqp_frame *f,
                                 struct amqp_hs_effects *out)
{
    if (f->channel != 0 || f->type != AMQP_FRAME_METHOD)
        return;
    struct amqp_connection_close none = { 0 };
    uint32_t id = amqp_method_peek(f->payload);
    if (id == AMQP_CONNECTION_CLOSE) {
        on_peer_close(hs, &none, out);
    } else if (id == AMQP_CONNECTION_CLOSE_OK) {
        amqp_hs_hang_up(out, 0);
        move(hs, AMQP_HS_CLIENT_DONE);
    }
}

static void on_frame(struct amqp_hs_client *hs, const struct amqp_frame *f,
                     struct amqp_hs_effects *out)
{
    if (hs->state == AMQP_HS_CLIENT_CLOSED) {
        on_frame_when_closed(hs, f, out);
        return;
    }
    CHECK(hs->state != AMQP_HS_CLIENT_IDLE);
    CHECK(hs->state != AMQP_HS_CLIENT_RUNNING || f->channel == 0);

    bool broken = amqp_frame_is_broken_heartbeat(f);
    if (f->channel == 0 && f->type == AMQP_FRAME_HEARTBEAT && !broken)
        return;
    if (f->channel == 0 && f->type == AMQP_FRAME_METHOD) {
        on_method(hs, f->payload, out);
        return;
    }
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text what = text_over(room, sizeof room);
    amqp_frame_describe(f, &what);
    fail(hs, out, broken ? AMQP_FRAME_ERROR : AMQP_UNEXPECTED_FRAME, 0, "%s", room);
}

void amqp_hs_client_step(struct amqp_hs_client *hs, const struct amqp_hs_event *ev,
                         struct amqp_hs_effects *out)
{
    out->count = 0;
    if (hs->state == AMQP_HS_CLIENT_DONE)
        return; /* a late answer, or octets behind the end */

    switch (ev->kind) {
    case AMQP_HS_EV_FRAME:
        on_frame(hs, &ev->frame, out);
        return;
    case AMQP_HS_EV_BAD_FRAME:
        on_bad_frame(hs, ev->text, out);
        return;
    case AMQP_HS_EV_CLOSE: {
        struct amqp_connection_close close = amqp_hs_close_of(ev, out);
        leave(hs, &close, out);
        return;
    }
    case AMQP_HS_EV_CONNECTED:
        CHECK(hs->state == AMQP_HS_CLIENT_IDLE);
        amqp_hs_emit(out, AMQP_HS_SEND_HEADER);
        move(hs, AMQP_HS_CLIENT_GREETING);
        return;
    case AMQP_HS_EV_LOGIN:
        on_login(hs, ev, out);
        return;
    case AMQP_HS_EV_RESPONSE:
        on_response(hs, ev->bytes, out);
        return;
    case AMQP_HS_EV_ENTER:
        on_enter(hs, ev->bytes, out);
        return;
    case AMQP_HS_EV_SECRET:
        on_new_secret(hs, ev, out);
        return;
    case AMQP_HS_EV_RELEASED:
    case AMQP_HS_EV_HEADER:
    case AMQP_HS_EV_AUTH_OK:
    case AMQP_HS_EV_AUTH_MORE:
    case AMQP_HS_EV_AUTH_REFUSED:
    case AMQP_HS_EV_ENTER_OK:
    case AMQP_HS_EV_SECRET_OK:
        break;
    }
    UNREACHABLE("an event of the server's side");
}
