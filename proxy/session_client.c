#include "session_inner.h"

#include "admission.h"
#include "base/check.h"
#include "base/log.h"
#include "greeting.h"
#include "method_out.h"
#include "pace.h"
#include "splice.h"

#define LINGER_MS 5000u

/* ---- closing --------------------------------------------------------------------------------- */

static void hang_up(struct session *s)
{
    if (s->client == NULL)
        return;
    access_client(&s->access, s->client);
    stream_finish(&s->client, LINGER_MS);
    session_client_gone(s);
}

/* The client may go: all brokers have said goodbye. */
void session_release_if_done(struct session *s)
{
    if (s->hs.state == AMQP_HS_SERVER_CLOSING && LIST_EMPTY(&s->upstreams))
        session_step(s, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_RELEASED });
}

/* The client closes: its brokers are told in its own words, and it is answered when they have
 * answered, so that what it sent before is done by then. */
static void on_peer_closed(struct session *s, const struct amqp_connection_close *close)
{
    bool was_running = s->hs.state == AMQP_HS_SERVER_CLOSING;
    access_why(&s->access, true, "the client closed it: %u %.*s", close->reply_code,
               (int)close->reply_text.len, (const char *)close->reply_text.ptr);
    hunt_stop(s);
    splice_drop_all(s);
    session_close_upstreams(s, close->reply_code, close->reply_text);
    if (was_running)
        session_release_if_done(s);
}

static void close_with(struct session *s, const struct amqp_hs_event *ev)
{
    if (s->client == NULL)
        return;
    access_why(&s->access, false, "closed with %u: %.*s", ev->code, (int)ev->text.len,
               (const char *)ev->text.ptr);
    hunt_stop(s);
    splice_drop_all(s);
    session_step(s, ev);
    session_close_upstreams(s, AMQP_REPLY_SUCCESS, slice_str("Goodbye"));
    if (s->client != NULL)
        session_flow(s);
}

void session_close_verbatim(struct session *s, uint16_t code, struct slice text, uint32_t cause)
{
    close_with(s, &(struct amqp_hs_event){
                      .kind = AMQP_HS_EV_CLOSE,
                      .code = code,
                      .text = text,
                      .method = cause,
                      .verbatim = true,
                  });
}

void session_close_at(struct session *s, enum amqp_reply_code code, uint32_t cause,
                      const char *text)
{
    close_with(s, &(struct amqp_hs_event){
                      .kind = AMQP_HS_EV_CLOSE,
                      .code = (uint16_t)code,
                      .text = slice_str(text),
                      .method = cause,
                  });
}

void session_close(struct session *s, enum amqp_reply_code code, const char *fmt, ...)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text t = text_over(room, sizeof room);
    va_list args;
    va_start(args, fmt);
    text_vput(&t, fmt, args);
    va_end(args);
    close_with(s, &(struct amqp_hs_event){
                      .kind = AMQP_HS_EV_CLOSE,
                      .code = (uint16_t)code,
                      .text = text_view(&t),
                  });
}

/* ---- the client's handshake ------------------------------------------------------------------ */

void session_restart_deadline(struct session *s)
{
    s->deadline_ms = loop_now_ms(s->worker->loop) + s->frontend->conf->timeout.handshake;
    session_schedule(s);
}

static void authenticate(struct session *s, const struct amqp_hs_login *login)
{
    CHECK(s->login == NULL);
    s->login = login_new(login, stream_tls_subject(s->client));
    s->deadline_ms = 0; /* it is the broker's turn */
    hunt_start(s, HUNT_TUNED, NULL);
}

static void enter(struct session *s, struct slice vhost)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(room, sizeof room);
    login_complete(s->login, &s->hs.limits, vhost);
    s->deadline_ms = 0;
    if (!admission_enter(s, &why)) {
        session_close_at(s, AMQP_NOT_ALLOWED, AMQP_CONNECTION_OPEN, room);
        return;
    }
    pace_start(s);
    struct upstream *held = LIST_FIRST(&s->upstreams);
    if (held != NULL)
        hunt_enter(s, held);
    else
        hunt_start(s, HUNT_READY, NULL);
}

/* The offer to the client is the broker's, within what the proxy can pass on. */
static void tune(struct session *s, const struct amqp_limits *offer)
{
    struct amqp_limits own = { SESSION_CHANNEL_MAX, SESSION_FRAME_MAX, 0 };
    s->conf.offer = amqp_limits_agree(&own, offer);
    session_restart_deadline(s);
    session_step(s, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_OK });
}

void session_found(struct session *s, struct upstream *u)
{
    if (u->state == UPSTREAM_HELD)
        tune(s, &u->offer);
    else
        session_step(s, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER_OK });
    if (s->client != NULL)
        session_flow(s);
}

void session_not_found(struct session *s, const char *why)
{
    session_close(s, AMQP_CONNECTION_FORCED, "%s", why);
}

/* What the broker says of the client is passed on as it is, to clients that understand it. */
void session_refused(struct session *s, const struct upstream_end *end)
{
    char id[SESSION_ID_MAX];
    log_debug("session", session_id_text(s, id), "the broker refuses it: %s", end->text);
    access_why(&s->access, false, "the broker refuses it: %s", end->text);
    bool early = s->hs.state == AMQP_HS_SERVER_SECURING;
    bool understands = (s->hs.capabilities & AMQP_CAP_AUTHENTICATION_FAILURE_CLOSE) != 0;
    if (end->fate == UPSTREAM_REFUSED && (!early || understands))
        session_close_verbatim(s, end->code, slice_str(end->text), end->cause);
    else
        hang_up(s);
}

static void opened(struct session *s)
{
    char id[SESSION_ID_MAX];
    s->deadline_ms = 0;
    s->was_open = true;
    s->access.open_ms = loop_now_ms(s->worker->loop);
    log_debug("session", session_id_text(s, id), "open");
    session_schedule(s);
}

static void log_failure(struct session *s, const struct amqp_connection_close *close)
{
    char id[SESSION_ID_MAX];
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text shown = text_over(room, sizeof room);
    text_escaped(&shown, close->reply_text);
    (void)shared_add(&s->frontend->live->ereq, 1);
    access_why(&s->access, false, "the client broke the protocol: %s", room);
    log_info("session", session_id_text(s, id), "client broke the protocol: %s", room);
    char peer[SOCK_ADDR_TEXT_MAX];
    worker_note_error(s->worker, "session %s frontend %s from %s: %s", session_id_text(s, id),
                      s->frontend->conf->name, sock_addr_text(&s->peer, peer), room);
}

static void carry_out(struct session *s, const struct amqp_hs_effect *e)
{
    switch (e->kind) {
    case AMQP_HS_SEND_HEADER:
        stream_write(s->client, slice_of(AMQP_PROTOCOL_HEADER, AMQP_PROTOCOL_HEADER_LEN));
        return;
    case AMQP_HS_SEND:
        method_out(s->client, 0, &e->method);
        return;
    case AMQP_HS_AUTHENTICATE:
        authenticate(s, &e->login);
        return;
    case AMQP_HS_ENTER:
        enter(s, e->bytes);
        return;
    case AMQP_HS_SECRET:
        session_set_secret(s, e->bytes);
        return;
    case AMQP_HS_OPENED:
        opened(s);
        return;
    case AMQP_HS_PEER_CLOSED:
        on_peer_closed(s, &e->close);
        return;
    case AMQP_HS_FAILED:
        log_failure(s, &e->close);
        hunt_stop(s);
        splice_drop_all(s);
        session_close_upstreams(s, AMQP_REPLY_SUCCESS, slice_str("Goodbye"));
        return;
    case AMQP_HS_HANG_UP:
        if (e->after_ms == 0) {
            hang_up(s);
            return;
        }
        s->deadline_ms = loop_now_ms(s->worker->loop) + e->after_ms;
        session_schedule(s);
        return;
    case AMQP_HS_STARTED:
    case AMQP_HS_CHALLENGED:
    case AMQP_HS_TUNED:
    case AMQP_HS_BLOCKED:
    case AMQP_HS_UNBLOCKED:
    case AMQP_HS_SECRET_TAKEN:
        break;
    }
    UNREACHABLE("an effect of the client's side");
}

void session_step(struct session *s, const struct amqp_hs_event *ev)
{
    struct amqp_hs_effects out;
    amqp_hs_server_step(&s->hs, ev, &out);
    for (unsigned i = 0; i < out.count && s->client != NULL; i++)
        carry_out(s, &out.list[i]);
}

void session_take(struct session *s, const struct amqp_frame *f)
{
    session_step(s, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = *f });
}

void session_take_bad(struct session *s, struct slice in)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(room, sizeof room);
    amqp_frame_why(in, amqp_hs_server_frame_max(&s->hs), &why);
    session_step(s,
                 &(struct amqp_hs_event){ .kind = AMQP_HS_EV_BAD_FRAME, .text = text_view(&why) });
}

/* ---- the client's stream --------------------------------------------------------------------- */

static void greet(struct session *s)
{
    uint8_t room[GREETING_BYTES];
    s->conf.properties = greeting_properties(shown_get(&s->backend->live->cluster), room);
    session_step(s, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_HEADER, .good = true });
    s->conf.properties = (struct slice){ NULL, 0 }; /* they are said once */
}

static void take_header(struct session *s)
{
    switch (amqp_protocol_header_cut(stream_peek(s->client))) {
    case AMQP_CUT_MORE:
        return;
    case AMQP_CUT_BAD:
        (void)shared_add(&s->frontend->live->ereq, 1);
        access_why(&s->access, false, "it began with something else than AMQP 0-9-1");
        session_step(s, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_HEADER, .good = false });
        return;
    case AMQP_CUT_FRAME:
        stream_consume(s->client, AMQP_PROTOCOL_HEADER_LEN);
        if (stream_tls_subject(s->client) != NULL)
            greeting_certify(&s->conf);
        greet(s);
        return;
    }
    UNREACHABLE("verdict on a protocol header");
}

/* One frame outside the running state; false when there is none to be had now. */
static bool take_frame(struct session *s)
{
    struct slice in = stream_peek(s->client);
    struct amqp_frame f;
    switch (amqp_frame_cut(in, amqp_hs_server_frame_max(&s->hs), &f)) {
    case AMQP_CUT_MORE:
        return false;
    case AMQP_CUT_BAD:
        session_take_bad(s, in);
        return false;
    case AMQP_CUT_FRAME:
        break;
    }
    session_take(s, &f);
    if (s->client == NULL)
        return false;
    stream_consume(s->client, amqp_frame_len(&f));
    return true;
}

static void take_input(struct session *s)
{
    if (s->hs.state == AMQP_HS_SERVER_HEADER)
        take_header(s);
    while (s->client != NULL && !session_is_running(s) && amqp_hs_server_takes_frames(&s->hs)) {
        if (!take_frame(s))
            return;
    }
    if (s->client == NULL)
        return;
    if (session_is_running(s) && s->hunt.goal == HUNT_NONE)
        splice_client(s);
    if (s->client == NULL)
        return;
    if (s->hs.state == AMQP_HS_SERVER_DONE)
        stream_consume(s->client, stream_peek(s->client).len);
    if (s->hunt.goal != HUNT_NONE && stream_peek(s->client).len != 0)
        session_hold_client(s);
}

static void on_client_data(struct stream *client, void *arg)
{
    struct session *s = arg;
    CHECK(s->client == client && loop_is_current(s->worker->loop));
    take_input(s);
}

static void on_client_room(struct stream *client, void *arg)
{
    (void)client;
    session_flow(arg);
}

static void on_client_closed(struct stream *client, const struct err *why, void *arg)
{
    (void)client;
    struct session *s = arg;
    char id[SESSION_ID_MAX];
    log_debug("session", session_id_text(s, id), "client is gone: %s",
              why != NULL ? why->text : "it closed the connection");
    if (session_is_running(s))
        (void)shared_add(&s->backend->live->cli_abrt, 1);
    access_why(&s->access, false, "the client is gone: %s",
               why != NULL ? why->text : "it closed the connection");
    access_client(&s->access, s->client);
    stream_free(&s->client);
    session_client_gone(s);
}

const struct stream_handlers session_client_handlers = { NULL, on_client_data, on_client_room,
                                                         on_client_closed };
