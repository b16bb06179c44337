#include "link/amqp_client.h"

#include "amqp/amqp_frame.h"
#include "amqp/amqp_hs_client.h"
#include "amqp/amqp_sasl.h"
#include "base/check.h"
#include "base/mem.h"
#include "io/stream.h"
#include "link/amqp_content.h"

#define LINGER_MS 1000u

struct amqp_client {
    struct loop *loop;
    const struct amqp_client_handlers *handlers; /* NULL: freed or told its end, nothing follows */
    void *arg;
    struct stream *stream; /* NULL: hung up */
    struct amqp_hs_client hs;
    struct amqp_contents contents;
    struct loop_timer deadline; /* of the handshake, later of the close */
    struct loop_timer beat;
    struct loop_task farewell; /* tells the owner the end */
    bool closing;              /* the owner asked for it */
    bool failed;               /* err says why */
    uint16_t reply_code;
    struct err err;
    char user[AMQP_CLIENT_TEXT_MAX + 1], password[AMQP_CLIENT_TEXT_MAX + 1];
    char vhost[AMQP_CLIENT_TEXT_MAX + 1], name[AMQP_CLIENT_TEXT_MAX + 1];
};

static void step(struct amqp_client *c, const struct amqp_hs_event *ev);

/* ---- the end ---- */

/* The first reason counts. */
static void note_failure(struct amqp_client *c, enum err_code code, const char *what)
{
    if (c->failed)
        return;
    c->failed = true;
    err_set(&c->err, code, "%s", what);
}

static void stop_timers(struct amqp_client *c)
{
    loop_timer_stop(&c->deadline);
    loop_timer_stop(&c->beat);
}

/* Nothing more is heard or said; the owner is told from the loop. */
static void hang_up(struct amqp_client *c)
{
    stop_timers(c);
    if (c->stream != NULL)
        stream_finish(&c->stream, LINGER_MS);
    if (!c->farewell.queued)
        loop_again(c->loop, &c->farewell);
}

static void on_farewell(void *arg)
{
    struct amqp_client *c = arg;
    const struct amqp_client_handlers *handlers = c->handlers;
    c->handlers = NULL;
    bool orderly = c->closing && !c->failed;
    if (!orderly)
        note_failure(c, ERR_IO, "the server hung up");
    handlers->on_closed(c, orderly ? NULL : &c->err, c->arg);
}

/* The server broke the protocol above channel 0. */
static void fail(struct amqp_client *c, uint16_t code, const char *what)
{
    note_failure(c, ERR_PROTOCOL, what);
    step(c, &(struct amqp_hs_event){
                .kind = AMQP_HS_EV_CLOSE, .code = code, .text = slice_str(what) });
}

static void on_deadline(void *arg)
{
    struct amqp_client *c = arg;
    if (!c->closing)
        note_failure(c, ERR_IO, "the server does not answer in time");
    hang_up(c);
}

/* ---- heartbeats (4.2.7) ---- */

static uint64_t beat_ms(const struct amqp_client *c)
{
    return (uint64_t)c->hs.limits.heartbeat_s * 1000u;
}

/* Twice in a heartbeat: so one is sent in time, and two missed ones are noticed. */
static void on_beat(void *arg)
{
    struct amqp_client *c = arg;
    uint64_t now = loop_now_ms(c->loop);
    if (now - stream_last_read_ms(c->stream) > 2 * beat_ms(c)) {
        note_failure(c, ERR_IO, "the server's heartbeats are missing");
        hang_up(c);
        return;
    }
    if (now - stream_last_write_ms(c->stream) >= beat_ms(c) / 2 && stream_pending(c->stream) == 0)
        stream_write(c->stream, slice_of(AMQP_HEARTBEAT_FRAME, AMQP_HEARTBEAT_FRAME_LEN));
    loop_timer_start(&c->beat, beat_ms(c) / 2);
}

/* ---- sending ---- */

/* Written in place where a method fits the stream's reserve; a frame never exceeds frame-max. */
static bool write_method(struct amqp_client *c, uint16_t channel, const struct amqp_method *m)
{
    size_t room = amqp_hs_client_frame_max(&c->hs);
    if (room > STREAM_RESERVE_MAX)
        room = STREAM_RESERVE_MAX;
    struct wire_out w = wire_out_over(stream_reserve(c->stream, room), room);
    amqp_frame_put_method(&w, channel, m);
    stream_commit(c->stream, w.overflow ? 0 : wire_out_len(&w));
    return !w.overflow;
}

static bool may_send(const struct amqp_client *c)
{
    return c->stream != NULL && c->hs.state == AMQP_HS_CLIENT_RUNNING;
}

bool amqp_client_send(struct amqp_client *c, uint16_t channel, const struct amqp_method *m)
{
    CHECK(loop_is_current(c->loop));
    CHECK(channel != 0);
    return !may_send(c) || write_method(c, channel, m);
}

static void write_body(struct amqp_client *c, uint16_t channel, struct slice body)
{
    size_t most = c->hs.limits.frame_max - AMQP_FRAME_OVERHEAD;
    while (body.len != 0) {
        struct slice part = slice_head(body, most);
        uint8_t head[AMQP_FRAME_HEAD], end = AMQP_FRAME_END;
        struct wire_out w = wire_out_over(head, sizeof head);
        wire_put_u8(&w, AMQP_FRAME_BODY);
        wire_put_u16(&w, channel);
        wire_put_u32(&w, (uint32_t)part.len);
        stream_write(c->stream, wire_out_slice(&w));
        stream_write(c->stream, part);
        stream_write(c->stream, slice_of(&end, 1));
        body = slice_from(body, part.len);
    }
}

bool amqp_client_publish(struct amqp_client *c, uint16_t channel,
                         const struct amqp_basic_publish *m, const struct amqp_props *props,
                         struct slice body)
{
    CHECK(loop_is_current(c->loop));
    CHECK(channel != 0);
    if (!may_send(c))
        return true;

    /* Method and header in one piece, so that nothing is sent when either does not fit. Both have
     * short strings only, thirteen in all, and numbers; headers may be long. */
    size_t room = 4096 + props->headers.len;
    if (room > STREAM_RESERVE_MAX)
        return false;
    struct wire_out w = wire_out_over(stream_reserve(c->stream, room), room);
    size_t start = wire_out_len(&w);
    amqp_frame_begin(&w, AMQP_FRAME_METHOD, channel);
    amqp_basic_publish_write(&w, m);
    amqp_frame_end(&w, start);

    start = wire_out_len(&w);
    amqp_frame_begin(&w, AMQP_FRAME_HEADER, channel);
    wire_put_u32(&w, AMQP_CLASS_BASIC << 16);
    wire_put_u64(&w, body.len);
    amqp_props_encode(&w, props);
    amqp_frame_end(&w, start);

    bool fits = !w.overflow && wire_out_len(&w) - start <= c->hs.limits.frame_max;
    stream_commit(c->stream, fits ? wire_out_len(&w) : 0);
    if (fits)
        write_body(c, channel, body);
    return fits;
}

/* ---- the handshake's effects ---- */

static void log_in(struct amqp_client *c)
{
    uint8_t response[2 * AMQP_CLIENT_TEXT_MAX + 2], properties[1024];
    struct wire_out r = wire_out_over(response, sizeof response);
    struct wire_out p = wire_out_over(properties, sizeof properties);
    amqp_sasl_plain_write(&r,
                          &(struct amqp_credentials){ slice_str(c->user), slice_str(c->password) });
    amqp_table_put_text(&p, "product", "warren");
    amqp_table_put_text(&p, "version", WARREN_VERSION);
    if (c->name[0] != '\0')
        amqp_table_put_text(&p, "connection_name", c->name);
    amqp_capabilities_put(&p, AMQP_CAP_ALL);
    CHECK(!r.overflow && !p.overflow);
    step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_LOGIN,
                                     .mechanism = slice_str(AMQP_SASL_PLAIN),
                                     .bytes = wire_out_slice(&r),
                                     .properties = wire_out_slice(&p) });
}

static void on_started(struct amqp_client *c, const struct amqp_connection_start *start)
{
    if (c->handlers->on_greeting != NULL)
        c->handlers->on_greeting(c, start, c->arg);
    if (c->handlers != NULL && c->stream != NULL)
        log_in(c);
}

static void on_opened(struct amqp_client *c)
{
    loop_timer_stop(&c->deadline);
    if (c->hs.limits.heartbeat_s != 0)
        loop_timer_start(&c->beat, beat_ms(c) / 2);
    c->handlers->on_open(c, c->arg);
}

static void on_peer_closed(struct amqp_client *c, const struct amqp_connection_close *close)
{
    c->reply_code = close->reply_code;
    if (c->failed)
        return;
    c->failed = true;
    err_set(&c->err, ERR_REFUSED, "the server closed the connection: %u %.*s",
            (unsigned)close->reply_code, SLICE_ARG(close->reply_text));
}

static void on_hang_up(struct amqp_client *c, uint32_t after_ms)
{
    if (after_ms == 0)
        hang_up(c);
    else
        loop_timer_start(&c->deadline, after_ms);
}

static void carry_out(struct amqp_client *c, const struct amqp_hs_effect *e)
{
    switch (e->kind) {
    case AMQP_HS_SEND_HEADER:
        stream_write(c->stream, slice_of(AMQP_PROTOCOL_HEADER, AMQP_PROTOCOL_HEADER_LEN));
        return;
    case AMQP_HS_SEND:
        if (!write_method(c, 0, &e->method)) /* only a challenge's answer could be that long */
            fail(c, AMQP_INTERNAL_ERROR, "a method does not fit a frame");
        return;
    case AMQP_HS_OPENED:
        on_opened(c);
        return;
    case AMQP_HS_PEER_CLOSED:
        on_peer_closed(c, &e->close);
        return;
    case AMQP_HS_FAILED:
        if (!c->failed) {
            c->failed = true;
            err_set(&c->err, ERR_PROTOCOL, "%.*s", SLICE_ARG(e->close.reply_text));
        }
        return;
    case AMQP_HS_HANG_UP:
        on_hang_up(c, e->after_ms);
        return;
    case AMQP_HS_STARTED:
        on_started(c, &e->start);
        return;
    case AMQP_HS_CHALLENGED: /* PLAIN has said all it has to say */
        fail(c, AMQP_NOT_IMPLEMENTED, "the server asks for more than PLAIN");
        return;
    case AMQP_HS_TUNED:
        step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER, .bytes = slice_str(c->vhost) });
        return;
    case AMQP_HS_BLOCKED:
    case AMQP_HS_UNBLOCKED:
        if (c->handlers->on_blocked != NULL)
            c->handlers->on_blocked(c, e->kind == AMQP_HS_BLOCKED, e->bytes, c->arg);
        return;
    case AMQP_HS_SECRET_TAKEN: /* we never send one */
        return;
    case AMQP_HS_AUTHENTICATE:
    case AMQP_HS_ENTER:
    case AMQP_HS_SECRET:
        break;
    }
    UNREACHABLE("an effect of the server's side");
}

/* Stops when a callback freed the client, or when it hung up. */
static void step(struct amqp_client *c, const struct amqp_hs_event *ev)
{
    struct amqp_hs_effects todo;
    amqp_hs_client_step(&c->hs, ev, &todo);
    for (unsigned i = 0; i < todo.count && c->handlers != NULL && c->stream != NULL; i++)
        carry_out(c, &todo.list[i]);
}

/* ---- frames ---- */

static void take_method(struct amqp_client *c, const struct amqp_frame *f)
{
    struct amqp_method m;
    enum amqp_decode verdict = amqp_method_decode(f->payload, &m);
    if (verdict == AMQP_DECODE_UNKNOWN || verdict == AMQP_DECODE_BAD) {
        fail(c, AMQP_FRAME_ERROR, "a method that cannot be decoded");
        return;
    }
    if (amqp_method_has_content(m.id)) {
        const char *wrong = amqp_contents_begin(&c->contents, f->channel, f->payload);
        if (wrong != NULL)
            fail(c, AMQP_UNEXPECTED_FRAME, wrong);
        return;
    }
    if (m.id == AMQP_CHANNEL_CLOSE || m.id == AMQP_CHANNEL_CLOSE_OK)
        amqp_contents_drop(&c->contents, f->channel);
    else if (amqp_contents_is_open(&c->contents, f->channel)) {
        fail(c, AMQP_UNEXPECTED_FRAME, "a method in the middle of a message");
        return;
    }
    c->handlers->on_method(c, f->channel, &m, c->arg);
}

static void take_content(struct amqp_client *c, const struct amqp_frame *f)
{
    struct amqp_content *done;
    struct slice body;
    const char *wrong = amqp_contents_add(&c->contents, f, &done, &body);
    if (wrong != NULL) {
        fail(c, AMQP_UNEXPECTED_FRAME, wrong);
        return;
    }
    if (done == NULL)
        return;
    struct amqp_client_message message = { &done->method, done->props, body };
    if (c->handlers->on_message != NULL)
        c->handlers->on_message(c, f->channel, &message, c->arg);
    amqp_content_free(&done);
}

static void take_frame(struct amqp_client *c, const struct amqp_frame *f)
{
    if (f->channel == 0 || c->hs.state != AMQP_HS_CLIENT_RUNNING)
        step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = *f });
    else if (f->type == AMQP_FRAME_METHOD)
        take_method(c, f);
    else if (f->type == AMQP_FRAME_HEARTBEAT)
        fail(c, AMQP_UNEXPECTED_FRAME, "a heartbeat on a channel");
    else
        take_content(c, f);
}

static void take_bad_frame(struct amqp_client *c, struct slice in)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(room, sizeof room);
    amqp_frame_why(in, amqp_hs_client_frame_max(&c->hs), &why);
    stream_pause(c->stream);
    stream_consume(c->stream, in.len);
    step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_BAD_FRAME, .text = text_view(&why) });
}

/* All that has come: the stream reads one block a turn, so this is bounded. */
static void read_frames(struct amqp_client *c)
{
    while (c->handlers != NULL && c->stream != NULL) {
        struct slice in = stream_peek(c->stream);
        struct amqp_frame f;
        switch (amqp_frame_cut(in, amqp_hs_client_frame_max(&c->hs), &f)) {
        case AMQP_CUT_MORE:
            return;
        case AMQP_CUT_BAD:
            take_bad_frame(c, in);
            return;
        case AMQP_CUT_FRAME:
            take_frame(c, &f);
            if (c->stream != NULL)
                stream_consume(c->stream, amqp_frame_len(&f));
            break;
        }
    }
}

/* ---- the stream ---- */

static void on_stream_open(struct stream *s, void *arg)
{
    (void)s;
    step(arg, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
}

static void on_stream_data(struct stream *s, void *arg)
{
    (void)s;
    read_frames(arg);
}

static void on_stream_room(struct stream *s, void *arg)
{
    struct amqp_client *c = arg;
    (void)s;
    if (c->handlers->on_room != NULL)
        c->handlers->on_room(c, c->arg);
}

static void on_stream_closed(struct stream *s, const struct err *why, void *arg)
{
    struct amqp_client *c = arg;
    (void)s;
    if (!c->failed && why != NULL) {
        c->failed = true;
        c->err = *why;
    } else if (c->hs.state == AMQP_HS_CLIENT_AUTHENTICATING) {
        note_failure(c, ERR_REFUSED, "the server hung up on the credentials");
    } else if (!c->closing) {
        note_failure(c, ERR_IO, "the server hung up");
    }
    stop_timers(c);
    stream_free(&c->stream);
    on_farewell(c);
}

static const struct stream_handlers stream_handlers = {
    .on_open = on_stream_open,
    .on_data = on_stream_data,
    .on_room = on_stream_room,
    .on_closed = on_stream_closed,
};

/* ---- what the owner calls ---- */

static void copy_text(char to[AMQP_CLIENT_TEXT_MAX + 1], const char *from)
{
    size_t len = from != NULL ? strlen(from) : 0;
    CHECK(len <= AMQP_CLIENT_TEXT_MAX);
    if (len != 0)
        memcpy(to, from, len);
    to[len] = '\0';
}

struct amqp_client *amqp_client_connect(struct loop *loop, const struct sock_addr *to,
                                        const struct amqp_client_conf *conf,
                                        const struct amqp_client_handlers *handlers, void *arg)
{
    struct amqp_client *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    c->handlers = handlers;
    c->arg = arg;
    copy_text(c->user, conf->user);
    copy_text(c->password, conf->password);
    copy_text(c->vhost, conf->vhost);
    copy_text(c->name, conf->name);
    amqp_hs_client_init(&c->hs, &conf->limits);
    amqp_contents_init(&c->contents, conf->message_max_bytes != 0 ? conf->message_max_bytes
                                                                  : AMQP_CLIENT_MESSAGE_MAX);
    loop_timer_init(&c->deadline, loop, on_deadline, c);
    loop_timer_init(&c->beat, loop, on_beat, c);
    loop_task_init(&c->farewell, on_farewell, c);

    c->stream = stream_connect(loop, to, conf->timeout_ms, &stream_handlers, c);
    if (conf->tls != NULL)
        stream_start_tls_client(c->stream, conf->tls, conf->tls_name);
    loop_timer_start(&c->deadline, conf->timeout_ms);
    return c;
}

static void free_now(void *ptr)
{
    mem_free(ptr);
}

void amqp_client_free(struct amqp_client **client)
{
    struct amqp_client *c = *client;
    if (c == NULL)
        return;
    CHECK(loop_is_current(c->loop));
    *client = NULL;
    c->handlers = NULL;
    stop_timers(c);
    loop_task_cancel(c->loop, &c->farewell);
    loop_timer_fini(&c->deadline);
    loop_timer_fini(&c->beat);
    if (c->stream != NULL)
        stream_free(&c->stream);
    amqp_contents_fini(&c->contents);
    loop_bury(c->loop, c, free_now);
}

void amqp_client_close(struct amqp_client *c, uint16_t code, const char *text)
{
    CHECK(loop_is_current(c->loop));
    if (c->stream == NULL || c->closing)
        return;
    c->closing = true;
    step(c, &(struct amqp_hs_event){
                .kind = AMQP_HS_EV_CLOSE, .code = code, .text = slice_str(text) });
}

bool amqp_client_is_open(const struct amqp_client *c)
{
    return may_send(c);
}

bool amqp_client_is_full(const struct amqp_client *c)
{
    return c->stream != NULL && stream_is_full(c->stream);
}

const struct amqp_limits *amqp_client_limits(const struct amqp_client *c)
{
    return &c->hs.limits;
}

uint16_t amqp_client_reply_code(const struct amqp_client *c)
{
    return c->reply_code;
}
