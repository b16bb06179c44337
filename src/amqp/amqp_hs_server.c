#include "amqp/amqp_hs_server.h"

#include "amqp/amqp_hs_effect.h"
#include "amqp/amqp_sasl.h"
#include "base/sm.h"

#define TO(name) SM_BIT(AMQP_HS_SERVER_##name)
static const struct sm_row rows[] = {
#define X(name, moves) { #name, moves },
    AMQP_HS_SERVER_STATES(X)
#undef X
};
#undef TO

static void move(struct amqp_hs_server *hs, enum amqp_hs_server_state to)
{
    sm_move(rows, &hs->state, to);
}

void amqp_hs_server_init(struct amqp_hs_server *hs, const struct amqp_hs_server_conf *conf)
{
    CHECK(conf->offer.frame_max >= AMQP_FRAME_MAX_LEAST);
    *hs = (struct amqp_hs_server){ .state = AMQP_HS_SERVER_HEADER, .conf = conf };
}

bool amqp_hs_server_takes_frames(const struct amqp_hs_server *hs)
{
    switch (hs->state) {
    case AMQP_HS_SERVER_STARTING:
    case AMQP_HS_SERVER_CHALLENGED:
    case AMQP_HS_SERVER_TUNING:
    case AMQP_HS_SERVER_OPENING:
    case AMQP_HS_SERVER_RUNNING:
    case AMQP_HS_SERVER_CLOSED:
        return true;
    case AMQP_HS_SERVER_HEADER:
    case AMQP_HS_SERVER_SECURING:
    case AMQP_HS_SERVER_ENTERING:
    case AMQP_HS_SERVER_CLOSING:
    case AMQP_HS_SERVER_DONE:
        return false;
    }
    UNREACHABLE("server state");
}

uint32_t amqp_hs_server_frame_max(const struct amqp_hs_server *hs)
{
    return hs->limits.frame_max != 0 ? hs->limits.frame_max : AMQP_FRAME_MAX_LEAST;
}

const char *amqp_hs_server_state_name(const struct amqp_hs_server *hs)
{
    return sm_name(rows, hs->state);
}

/* The state as RabbitMQ's texts name it. */
static const char *state_in_texts(enum amqp_hs_server_state state)
{
    switch (state) {
    case AMQP_HS_SERVER_HEADER:
    case AMQP_HS_SERVER_STARTING:
        return "starting";
    case AMQP_HS_SERVER_SECURING:
    case AMQP_HS_SERVER_CHALLENGED:
        return "securing";
    case AMQP_HS_SERVER_TUNING:
        return "tuning";
    case AMQP_HS_SERVER_OPENING:
    case AMQP_HS_SERVER_ENTERING:
        return "opening";
    case AMQP_HS_SERVER_RUNNING:
        return "running";
    case AMQP_HS_SERVER_CLOSING:
        return "closing";
    case AMQP_HS_SERVER_CLOSED:
    case AMQP_HS_SERVER_DONE:
        return "closed";
    }
    UNREACHABLE("server state");
}

static uint32_t close_wait_ms(const struct amqp_hs_server *hs)
{
    return hs->limits.frame_max != 0 ? amqp_hs_close_wait_ms(&hs->limits) : AMQP_HS_EARLY_WAIT_MS;
}

/* ---- ending it ---- */

/* Say close and wait for close-ok, for a while. */
static void close_with(struct amqp_hs_server *hs, const struct amqp_connection_close *close,
                       struct amqp_hs_effects *out)
{
    amqp_hs_send_close(out, close);
    amqp_hs_hang_up(out, close_wait_ms(hs));
    move(hs, AMQP_HS_SERVER_CLOSED);
}

/* The client broke the protocol. */
#define fail(hs, out, code, method, ...)                                                           \
    fail_with(hs, amqp_hs_reason(out, code, method, __VA_ARGS__), out)

static void fail_with(struct amqp_hs_server *hs, struct amqp_connection_close why,
                      struct amqp_hs_effects *out)
{
    close_with(hs, &why, out);
    amqp_hs_emit(out, AMQP_HS_FAILED)->close = why;
}

static void fail_unexpected_method(struct amqp_hs_server *hs, uint32_t method,
                                   struct amqp_hs_effects *out)
{
    fail(hs, out, AMQP_CHANNEL_ERROR, method, "unexpected method in connection state %s",
         state_in_texts(hs->state));
}

/* Nothing that follows can be read, so a close-ok will never be seen. */
static void on_bad_frame(struct amqp_hs_server *hs, struct slice why, struct amqp_hs_effects *out)
{
    if (hs->state == AMQP_HS_SERVER_CLOSED || hs->state == AMQP_HS_SERVER_CLOSING) {
        amqp_hs_hang_up(out, 0);
    } else {
        struct amqp_connection_close close =
            amqp_hs_reason(out, AMQP_FRAME_ERROR, 0, "%.*s", SLICE_ARG(why));
        amqp_hs_send_close(out, &close);
        amqp_hs_emit(out, AMQP_HS_FAILED)->close = close;
        amqp_hs_hang_up(out, AMQP_HS_BROKEN_WAIT_MS);
    }
    move(hs, AMQP_HS_SERVER_DONE);
}

/* RabbitMQ answers in the open state only. A client that changes its mind in the middle of the
 * handshake holds nothing yet, so it can be let go at once. */
static void on_peer_close(struct amqp_hs_server *hs, const struct amqp_connection_close *close,
                          struct amqp_hs_effects *out)
{
    amqp_hs_emit(out, AMQP_HS_PEER_CLOSED)->close = *close;
    if (hs->state == AMQP_HS_SERVER_RUNNING) {
        move(hs, AMQP_HS_SERVER_CLOSING);
        return;
    }
    amqp_hs_send(out, AMQP_CONNECTION_CLOSE_OK);
    amqp_hs_hang_up(out, 0);
    move(hs, AMQP_HS_SERVER_DONE);
}

static void on_close(struct amqp_hs_server *hs, const struct amqp_hs_event *ev,
                     struct amqp_hs_effects *out)
{
    if (hs->state == AMQP_HS_SERVER_HEADER) { /* nobody there yet who would understand it */
        amqp_hs_hang_up(out, 0);
        move(hs, AMQP_HS_SERVER_DONE);
        return;
    }
    if (hs->state == AMQP_HS_SERVER_CLOSING || hs->state == AMQP_HS_SERVER_CLOSED)
        return; /* it is under way already */
    struct amqp_connection_close close = amqp_hs_close_of(ev, out);
    close_with(hs, &close, out);
}

/* ---- opening it ---- */

static void on_header(struct amqp_hs_server *hs, bool good, struct amqp_hs_effects *out)
{
    CHECK(hs->state == AMQP_HS_SERVER_HEADER);
    if (!good) {
        amqp_hs_emit(out, AMQP_HS_SEND_HEADER);
        amqp_hs_hang_up(out, 0);
        move(hs, AMQP_HS_SERVER_DONE);
        return;
    }
    amqp_hs_send(out, AMQP_CONNECTION_START)->connection_start = (struct amqp_connection_start){
        .version_major = 0,
        .version_minor = 9,
        .server_properties = hs->conf->properties,
        .mechanisms = hs->conf->mechanisms,
        .locales = slice_str("en_US"),
    };
    move(hs, AMQP_HS_SERVER_STARTING);
}

static void on_start_ok(struct amqp_hs_server *hs, const struct amqp_connection_start_ok *m,
                        struct amqp_hs_effects *out)
{
    hs->mechanism = amqp_sasl_find(hs->conf->mechanisms, m->mechanism);
    if (hs->mechanism.len == 0) {
        fail(hs, out, AMQP_COMMAND_INVALID, AMQP_CONNECTION_START_OK,
             "unknown authentication mechanism '%.*s'", SLICE_ARG(m->mechanism));
        return;
    }
    hs->capabilities = amqp_capabilities_read(m->client_properties);
    amqp_hs_emit(out, AMQP_HS_AUTHENTICATE)->login =
        (struct amqp_hs_login){ hs->mechanism, m->response, m->client_properties };
    move(hs, AMQP_HS_SERVER_SECURING);
}

static void on_secure_ok(struct amqp_hs_server *hs, const struct amqp_connection_secure_ok *m,
                         struct amqp_hs_effects *out)
{
    amqp_hs_emit(out, AMQP_HS_AUTHENTICATE)->login =
        (struct amqp_hs_login){ .mechanism = hs->mechanism, .response = m->response };
    move(hs, AMQP_HS_SERVER_SECURING);
}

static void on_auth_ok(struct amqp_hs_server *hs, struct amqp_hs_effects *out)
{
    amqp_hs_send(out, AMQP_CONNECTION_TUNE)->connection_tune = (struct amqp_connection_tune){
        hs->conf->offer.channel_max,
        hs->conf->offer.frame_max,
        hs->conf->offer.heartbeat_s,
    };
    move(hs, AMQP_HS_SERVER_TUNING);
}

static void on_auth_more(struct amqp_hs_server *hs, struct slice challenge,
                         struct amqp_hs_effects *out)
{
    amqp_hs_send(out, AMQP_CONNECTION_SECURE)->connection_secure.challenge = challenge;
    move(hs, AMQP_HS_SERVER_CHALLENGED);
}

/* Only clients that say so understand a close before tune. The others learn it from the end of
 * the connection, after a while that makes guessing slow. The text gives nothing away. */
static void on_auth_refused(struct amqp_hs_server *hs, struct amqp_hs_effects *out)
{
    if ((hs->capabilities & AMQP_CAP_AUTHENTICATION_FAILURE_CLOSE) == 0) {
        amqp_hs_hang_up(out, AMQP_HS_EARLY_WAIT_MS);
        move(hs, AMQP_HS_SERVER_DONE);
        return;
    }
    struct amqp_connection_close close =
        amqp_hs_reason(out, AMQP_ACCESS_REFUSED, 0,
                       "Login was refused using authentication mechanism %.*s. For details see the "
                       "broker logfile.",
                       SLICE_ARG(hs->mechanism));
    close_with(hs, &close, out);
}

/* One value of tune-ok against what we offered; fails the connection and says false when it is out
 * of bounds. 0 stands for "no limit" on both sides. */
static bool check_limit(struct amqp_hs_server *hs, const char *name, uint32_t least,
                        uint32_t offered, uint32_t asked, const char *detail,
                        struct amqp_hs_effects *out)
{
    if (asked != 0 && asked < least) {
        fail(hs, out, AMQP_NOT_ALLOWED, AMQP_CONNECTION_TUNE,
             "negotiated %s = %u%s is lower than the minimum allowed value (%u)", name, asked,
             detail, least);
        return false;
    }
    if (offered != 0 && (asked == 0 || asked > offered)) {
        fail(hs, out, AMQP_NOT_ALLOWED, AMQP_CONNECTION_TUNE,
             "negotiated %s = %u%s is higher than the maximum allowed value (%u)", name, asked,
             detail, offered);
        return false;
    }
    return true;
}

static void on_tune_ok(struct amqp_hs_server *hs, const struct amqp_connection_tune_ok *m,
                       struct amqp_hs_effects *out)
{
    const struct amqp_limits *offer = &hs->conf->offer;
    const char *detail = m->channel_max == 0 ? " (no limit)" : "";
    if (!check_limit(hs, "frame_max", AMQP_FRAME_MAX_LEAST, offer->frame_max, m->frame_max, "",
                     out) ||
        !check_limit(hs, "channel_max", 1, offer->channel_max, m->channel_max, detail, out))
        return;

    hs->limits = (struct amqp_limits){
        .channel_max = m->channel_max != 0 ? m->channel_max : UINT16_MAX,
        .frame_max = m->frame_max,
        .heartbeat_s = m->heartbeat,
    };
    move(hs, AMQP_HS_SERVER_OPENING);
}

static void on_open(struct amqp_hs_server *hs, const struct amqp_connection_open *m,
                    struct amqp_hs_effects *out)
{
    amqp_hs_emit(out, AMQP_HS_ENTER)->bytes = m->virtual_host;
    move(hs, AMQP_HS_SERVER_ENTERING);
}

static void on_enter_ok(struct amqp_hs_server *hs, struct amqp_hs_effects *out)
{
    amqp_hs_send(out, AMQP_CONNECTION_OPEN_OK);
    amqp_hs_emit(out, AMQP_HS_OPENED)->limits = hs->limits;
    move(hs, AMQP_HS_SERVER_RUNNING);
}

/* ---- frames ---- */

/* A method that is well formed and no close. */
static void take_method(struct amqp_hs_server *hs, const struct amqp_method *m,
                        struct amqp_hs_effects *out)
{
    if (hs->state == AMQP_HS_SERVER_STARTING && m->id == AMQP_CONNECTION_START_OK)
        on_start_ok(hs, &m->connection_start_ok, out);
    else if (hs->state == AMQP_HS_SERVER_CHALLENGED && m->id == AMQP_CONNECTION_SECURE_OK)
        on_secure_ok(hs, &m->connection_secure_ok, out);
    else if (hs->state == AMQP_HS_SERVER_TUNING && m->id == AMQP_CONNECTION_TUNE_OK)
        on_tune_ok(hs, &m->connection_tune_ok, out);
    else if (hs->state == AMQP_HS_SERVER_OPENING && m->id == AMQP_CONNECTION_OPEN)
        on_open(hs, &m->connection_open, out);
    else if (hs->state == AMQP_HS_SERVER_RUNNING && m->id == AMQP_CONNECTION_UPDATE_SECRET)
        amqp_hs_emit(out, AMQP_HS_SECRET)->bytes = m->connection_update_secret.new_secret;
    else
        fail_unexpected_method(hs, m->id, out);
}

static void on_method(struct amqp_hs_server *hs, struct slice payload, struct amqp_hs_effects *out)
{
    struct amqp_method m;
    enum amqp_decode verdict = amqp_method_decode(payload, &m);
    if (verdict != AMQP_DECODE_OK) {
        char room[AMQP_REPLY_TEXT_MAX + 1];
        struct text why = text_over(room, sizeof room);
        amqp_decode_why(verdict, payload, &why);
        fail(hs, out, verdict == AMQP_DECODE_UNKNOWN ? AMQP_NOT_IMPLEMENTED : AMQP_FRAME_ERROR,
             amqp_decode_culprit(verdict, payload), "%s", room);
        return;
    }
    if (m.id == AMQP_CONNECTION_CLOSE)
        on_peer_close(hs, &m.connection_close, out);
    else
        take_method(hs, &m, out);
}

/* We said close: all but the answer, or a close that crossed ours, is of the past. */
static void on_frame_when_closed(struct amqp_hs_server *hs, const struct amqp_frame *f,
                                 struct amqp_hs_effects *out)
{
    if (f->channel != 0 || f->type != AMQP_FRAME_METHOD)
        return;
    uint32_t id = amqp_method_peek(f->payload);
    if (id == AMQP_CONNECTION_CLOSE) {
        amqp_hs_send(out, AMQP_CONNECTION_CLOSE_OK);
    } else if (id == AMQP_CONNECTION_CLOSE_OK) {
        amqp_hs_hang_up(out, 0);
        move(hs, AMQP_HS_SERVER_DONE);
    }
}

static void on_frame(struct amqp_hs_server *hs, const struct amqp_frame *f,
                     struct amqp_hs_effects *out)
{
    if (hs->state == AMQP_HS_SERVER_CLOSED) {
        on_frame_when_closed(hs, f, out);
        return;
    }
    if (hs->state == AMQP_HS_SERVER_CLOSING)
        return;
    CHECK(amqp_hs_server_takes_frames(hs));
    CHECK(hs->state != AMQP_HS_SERVER_RUNNING || f->channel == 0);

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

/* A decision that comes after we closed for another reason is too late, and no mistake. */
static bool is_awaited(const struct amqp_hs_server *hs, enum amqp_hs_server_state in)
{
    if (hs->state == AMQP_HS_SERVER_CLOSED)
        return false;
    CHECK(hs->state == in);
    return true;
}

void amqp_hs_server_step(struct amqp_hs_server *hs, const struct amqp_hs_event *ev,
                         struct amqp_hs_effects *out)
{
    out->count = 0;
    if (hs->state == AMQP_HS_SERVER_DONE)
        return; /* a late decision, or octets behind the end */

    switch (ev->kind) {
    case AMQP_HS_EV_FRAME:
        on_frame(hs, &ev->frame, out);
        return;
    case AMQP_HS_EV_BAD_FRAME:
        on_bad_frame(hs, ev->text, out);
        return;
    case AMQP_HS_EV_CLOSE:
        on_close(hs, ev, out);
        return;
    case AMQP_HS_EV_RELEASED:
        CHECK(hs->state == AMQP_HS_SERVER_CLOSING);
        amqp_hs_send(out, AMQP_CONNECTION_CLOSE_OK);
        amqp_hs_hang_up(out, AMQP_HS_BYE_WAIT_MS);
        move(hs, AMQP_HS_SERVER_DONE);
        return;
    case AMQP_HS_EV_HEADER:
        on_header(hs, ev->good, out);
        return;
    case AMQP_HS_EV_AUTH_OK:
        if (is_awaited(hs, AMQP_HS_SERVER_SECURING))
            on_auth_ok(hs, out);
        return;
    case AMQP_HS_EV_AUTH_MORE:
        if (is_awaited(hs, AMQP_HS_SERVER_SECURING))
            on_auth_more(hs, ev->bytes, out);
        return;
    case AMQP_HS_EV_AUTH_REFUSED:
        if (is_awaited(hs, AMQP_HS_SERVER_SECURING))
            on_auth_refused(hs, out);
        return;
    case AMQP_HS_EV_ENTER_OK:
        if (is_awaited(hs, AMQP_HS_SERVER_ENTERING))
            on_enter_ok(hs, out);
        return;
    case AMQP_HS_EV_SECRET_OK:
        if (hs->state == AMQP_HS_SERVER_RUNNING)
            amqp_hs_send(out, AMQP_CONNECTION_UPDATE_SECRET_OK);
        return;
    case AMQP_HS_EV_CONNECTED:
    case AMQP_HS_EV_LOGIN:
    case AMQP_HS_EV_RESPONSE:
    case AMQP_HS_EV_ENTER:
    case AMQP_HS_EV_SECRET:
        break;
    }
    UNREACHABLE("an event of the client's side");
}
