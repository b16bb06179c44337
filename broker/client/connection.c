#include "client/connection.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel.h"
#include "client/connection_login.h"
#include "client/late_answer.h"
#include "client/preamble.h"
#include "control.h"
#include "io/clock.h"
#include "ledger.h"
#include "live.h"

#include <inttypes.h>
#include <stdio.h>

#define FRAMES_PER_TURN    8192
#define COPIES_PER_TURN    8192 /* for queues: a message for hundreds of them is long work */
#define LINGER_MS          2000u
#define SEND_ROOM          CONNECTION_SEND_ROOM
#define OUTPUT_SLACK_BYTES (2u * 1024 * 1024) /* more than this unsent: it reads too little */
#define FORWARDED_MAX      (8u * 1024 * 1024) /* octets on their way to other shards */
#define CHANNELS_FIRST     4u

static void process(struct connection *c);

/* ---- life ---- */

struct connection *connection_find(struct shard *s, uint64_t id)
{
    return idmap_get(&s->connections, id);
}

struct connection_id_text connection_id_text(const struct connection *c)
{
    struct connection_id_text t;
    snprintf(t.text, sizeof t.text, "c%" PRIu64, c->id);
    return t;
}

static void free_memory(void *ptr)
{
    struct connection *c = ptr;
    live_unref(&c->live);
    mem_free(c->user);
    mem_free(c->vouched.name);
    mem_free(c->written_to);
    mem_free(c->client_properties);
    mem_free(c->channels);
    mem_free(c);
}

/* All consumers first: what one channel gives back must not be handed to its neighbour, which is
 * about to go too, and for good if that one does not acknowledge. */
static void end_channels(struct connection *c)
{
    for (uint32_t i = 0; i < c->channel_cap; i++) {
        if (c->channels[i] != NULL)
            channel_release_consumers(c->channels[i]);
    }
    for (uint32_t i = 0; i < c->channel_cap; i++) {
        if (c->channels[i] != NULL)
            channel_let_go(c->channels[i]);
    }
    for (uint32_t i = 0; i < c->channel_cap; i++) {
        if (c->channels[i] != NULL)
            channel_end(c->channels[i]);
    }
    CHECK(c->channel_count == 0);
}

/* Exclusive queues go with their connection. Nobody waits when it is gone already. */
static void disown_queues(struct connection *c, control_fn done)
{
    struct control_op *op =
        control_op_new(&(struct meta_cmd){ .op = META_OWNER_GONE, .conn = c->id });
    op->reply_to = c->shard->loop;
    op->done = done;
    op->connection = c->id;
    op->shard = c->shard;
    control_send(broker_control(c->shard->broker), &op);
}

/* The socket is closed or handed to stream_finish: nothing of the connection is left after this. */
static void end_connection(struct connection *c)
{
    CHECK(c->stream == NULL);
    end_channels(c);
    late_answers_free(c);
    connection_login_end(c);
    if (c->owns_queues && !c->releasing)
        disown_queues(c, NULL);
    loop_task_cancel(c->shard->loop, &c->resume);
    loop_task_cancel(c->shard->loop, &c->turn_end);
    loop_timer_fini(&c->deadline);
    loop_timer_fini(&c->heart);
    if (c->held)
        TAILQ_REMOVE(&c->shard->held, c, held_entry);
    idmap_take(&c->shard->connections, c->id);
    shard_count(c->shard, sockets_ended, 1);
    if (c->connected_ms != 0)
        shard_count(c->shard, connections_closed, 1);
    log_debug("connection", connection_id_text(c).text, "closed");
    loop_bury(c->shard->loop, c, free_memory);
    shard_client_gone(c->shard);
}

static void count_octets(struct connection *c)
{
    struct stream_totals t = stream_totals(c->stream);
    shard_count(c->shard, in_bytes, t.in_bytes);
    shard_count(c->shard, out_bytes, t.out_bytes);
}

/* Send what is pending, then close. */
static void hang_up(struct connection *c)
{
    if (c->stream == NULL)
        return;
    count_octets(c);
    stream_finish(&c->stream, LINGER_MS);
    end_connection(c);
}

void connection_force_out(struct connection *c, const char *why)
{
    if (c->hs.state != AMQP_HS_SERVER_RUNNING)
        hang_up(c);
    else
        connection_error(c, AMQP_CONNECTION_FORCED, 0, "%s", why);
}

void connection_stop(struct connection *c, const char *why)
{
    if (why == NULL)
        hang_up(c);
    else
        connection_force_out(c, why);
}

static void client_went(struct connection *c, const struct err *why)
{
    if (why != NULL || c->hs.state == AMQP_HS_SERVER_RUNNING)
        log_warn("connection", connection_id_text(c).text, "client went without closing: %s",
                 why != NULL ? why->text : "end of stream");
    count_octets(c);
    stream_free(&c->stream);
    end_connection(c);
}

static void on_closed(struct stream *stream, const struct err *why, void *arg)
{
    struct connection *c = arg;
    CHECK(stream == c->stream);
    client_went(c, why);
}

/* Nothing more will come; what has come may still wait for its turn. */
static void on_end(struct stream *stream, void *arg)
{
    struct connection *c = arg;
    CHECK(stream == c->stream);
    c->ended = true;
    process(c);
}

static void on_room(struct stream *stream, void *arg)
{
    struct connection *c = arg;
    (void)stream;
    struct channel *ch;
    while (c->stream != NULL && !stream_is_full(c->stream) &&
           (ch = TAILQ_FIRST(&c->hungry)) != NULL) {
        TAILQ_REMOVE(&c->hungry, ch, hungry_entry);
        ch->in_hungry = false;
        channel_feed(ch);
    }
    if (c->stream != NULL)
        loop_again(c->shard->loop, &c->resume);
}

static void on_data(struct stream *stream, void *arg)
{
    (void)stream;
    process(arg);
}

static const struct stream_handlers handlers = {
    .on_data = on_data,
    .on_room = on_room,
    .on_closed = on_closed,
};

static void on_resume(void *arg)
{
    struct connection *c = arg;
    if (c->stream != NULL)
        process(c);
}

static void on_turn_end(void *arg)
{
    struct connection *c = arg;
    struct channel *ch;
    while ((ch = TAILQ_FIRST(&c->confirming)) != NULL) {
        TAILQ_REMOVE(&c->confirming, ch, confirming_entry);
        ch->in_confirming = false;
        channel_tell_confirms(ch);
    }
}

void connection_at_turn_end(struct connection *c)
{
    loop_at_turn_end(c->shard->loop, &c->turn_end);
}

static void on_deadline(void *arg)
{
    struct connection *c = arg;
    if (c->hs.state < AMQP_HS_SERVER_RUNNING)
        log_warn("connection", connection_id_text(c).text, "handshake took too long, in state %s",
                 amqp_hs_server_state_name(&c->hs));
    hang_up(c);
}

static void on_heart(void *arg);

void connection_new(struct shard *s, int fd, const struct sock_addr *peer, struct tls_ctx *tls,
                    struct preamble_name *said)
{
    struct connection *c = mem_zalloc(sizeof *c);
    c->shard = s;
    c->id = shard_new_id(s);
    c->client = *peer;
    c->past_preamble = said != NULL;
    if (said != NULL)
        preamble_name_move(&c->vouched, said);
    TAILQ_INIT(&c->confirming);
    TAILQ_INIT(&c->assembling);
    TAILQ_INIT(&c->hungry);
    loop_task_init(&c->resume, on_resume, c);
    loop_task_init(&c->turn_end, on_turn_end, c);
    loop_timer_init(&c->deadline, s->loop, on_deadline, c);
    loop_timer_init(&c->heart, s->loop, on_heart, c);
    c->live = live_ref(broker_live(s->broker));
    connection_login_init(c);
    amqp_hs_server_init(&c->hs, &c->live->handshake);
    c->stream = stream_new(s->loop, fd, &handlers, c);
    stream_on_end(c->stream, on_end);
    if (tls != NULL)
        stream_start_tls_server(c->stream, tls);
    idmap_put(&s->connections, c->id, c);
    shard_count(s, sockets_accepted, 1);
    loop_timer_start(&c->deadline, c->live->conf->auth.login_timeout_ms);
    char where[SOCK_ADDR_TEXT_MAX];
    log_debug("connection", connection_id_text(c).text, "accepted client=%s",
              sock_addr_text(peer, where));
}

/* ---- channels ---- */

struct channel *connection_channel(const struct connection *c, uint16_t number)
{
    return number < c->channel_cap ? c->channels[number] : NULL;
}

void connection_put_channel(struct connection *c, uint16_t number, struct channel *ch)
{
    if (number >= c->channel_cap) {
        uint32_t cap = c->channel_cap != 0 ? c->channel_cap * 2 : CHANNELS_FIRST;
        while (cap <= number)
            cap *= 2;
        c->channels = mem_realloc(c->channels, cap * sizeof(struct channel *));
        memset(c->channels + c->channel_cap, 0, (cap - c->channel_cap) * sizeof(struct channel *));
        c->channel_cap = cap;
    }
    CHECK(c->channels[number] == NULL);
    c->channels[number] = ch;
    c->channel_count++;
    shard_count(c->shard, channels_opened, 1);
}

void connection_take_channel(struct connection *c, uint16_t number)
{
    CHECK(c->channels[number] != NULL);
    c->channels[number] = NULL;
    c->channel_count--;
    connection_give_user_channel(c);
    shard_count(c->shard, channels_closed, 1);
}

/* ---- heartbeats ---- */

/* Silence counts while we listen, and while it takes nothing of what we say. */
static uint64_t heard_ms(struct connection *c, uint64_t now_ms)
{
    uint64_t heard = stream_last_read_ms(c->stream);
    uint64_t until = stream_pending(c->stream) != 0 ? stream_last_write_ms(c->stream) : now_ms;
    if ((!stream_is_reading(c->stream) || c->held) && until > c->excused_at_ms)
        c->excused_at_ms = until;
    return heard > c->excused_at_ms ? heard : c->excused_at_ms;
}

/* Twice in each interval, as the specification advises: send if nothing was sent for half of it,
 * and give up when two whole ones brought nothing (4.2.7). */
static void on_heart(void *arg)
{
    struct connection *c = arg;
    uint64_t now = loop_now_ms(c->shard->loop);
    uint64_t interval = c->hs.limits.heartbeat_s * 1000u;
    if (now - heard_ms(c, now) > 2 * interval) {
        log_warn("connection", connection_id_text(c).text,
                 "missed heartbeats from client, timeout: %us", (unsigned)c->hs.limits.heartbeat_s);
        count_octets(c);
        stream_free(&c->stream);
        end_connection(c);
        return;
    }
    if (now - stream_last_write_ms(c->stream) >= interval / 2 && stream_pending(c->stream) == 0)
        stream_write(c->stream, slice_of(AMQP_HEARTBEAT_FRAME, AMQP_HEARTBEAT_FRAME_LEN));
    loop_timer_start(&c->heart, interval / 2);
}

/* ---- memory alarm ---- */

/* As RabbitMQ: who does not publish is not disturbed; who does is told, and not read from. */
static void block(struct connection *c)
{
    c->blocked = true;
    stream_pause(c->stream);
    if ((c->hs.capabilities & AMQP_CAP_CONNECTION_BLOCKED) == 0)
        return;
    c->said_blocked = true;
    const char *why = broker_alarm_text(c->shard->broker);
    connection_send(c, 0,
                    &(struct amqp_method){ .id = AMQP_CONNECTION_BLOCKED,
                                           .connection_blocked = { slice_str(why) } });
}

void connection_alarm_ended(struct connection *c)
{
    if (!c->blocked || c->stream == NULL)
        return;
    c->blocked = false;
    c->excused_at_ms = loop_now_ms(c->shard->loop);
    if (c->said_blocked)
        connection_send(c, 0, &(struct amqp_method){ .id = AMQP_CONNECTION_UNBLOCKED });
    c->said_blocked = false;
    stream_resume(c->stream);
    loop_again(c->shard->loop, &c->resume);
}

/* ---- the disk does not keep up ---- */

static void hold(struct connection *c)
{
    c->held = true;
    TAILQ_INSERT_TAIL(&c->shard->held, c, held_entry);
}

void connection_release(struct connection *c)
{
    CHECK(c->held);
    c->held = false;
    TAILQ_REMOVE(&c->shard->held, c, held_entry);
    loop_again(c->shard->loop, &c->resume);
}

/* ---- sending ---- */

void connection_send(struct connection *c, uint16_t channel, const struct amqp_method *m)
{
    if (c->stream == NULL)
        return;
    struct wire_out w = wire_out_over(stream_reserve(c->stream, SEND_ROOM), SEND_ROOM);
    amqp_frame_put_method(&w, channel, m);
    CHECK(!w.overflow);
    stream_commit(c->stream, wire_out_len(&w));
}

void connection_error(struct connection *c, enum amqp_reply_code code, uint32_t method,
                      const char *fmt, ...)
{
    char room[AMQP_REPLY_TEXT_MAX * 2];
    struct text text = text_over(room, sizeof room);
    va_list args;
    va_start(args, fmt);
    text_vput(&text, fmt, args);
    va_end(args);
    connection_step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE,
                                                .code = (uint16_t)code,
                                                .method = method,
                                                .text = text_view(&text) });
}

/* ---- the handshake's effects ---- */

static void opened(struct connection *c)
{
    c->connected_ms = clock_wall_ms();
    shard_count(c->shard, connections_opened, 1);
    loop_timer_stop(&c->deadline);
    stream_set_peek_max(c->stream, amqp_hs_server_frame_max(&c->hs) + AMQP_FRAME_SLACK);
    if (c->hs.limits.heartbeat_s != 0)
        loop_timer_start(&c->heart, c->hs.limits.heartbeat_s * 500u);
    log_debug("connection", connection_id_text(c).text,
              "open user=\"%s\" channel_max=%u frame_max=%u "
              "heartbeat=%us",
              c->user, (unsigned)c->hs.limits.channel_max, (unsigned)c->hs.limits.frame_max,
              (unsigned)c->hs.limits.heartbeat_s);
}

static void on_disowned(struct control_op *op)
{
    struct connection *c = connection_find(op->shard, op->connection);
    control_op_free(&op);
    if (c == NULL)
        return; /* the socket ended meanwhile */
    connection_go_on(c);
    connection_step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_RELEASED });
}

static void channels_are_gone(struct connection *c)
{
    if (!c->owns_queues) {
        connection_step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_RELEASED });
        return;
    }
    c->releasing = true;
    connection_wait(c);
    disown_queues(c, on_disowned);
}

/* The peer closes: its channels go, then its exclusive queues; then it is told. */
static void peer_closed(struct connection *c)
{
    end_channels(c);
    if (!late_answer_release(c, channels_are_gone))
        channels_are_gone(c);
}

static void keep_properties(struct connection *c, struct slice table)
{
    if (table.len == 0)
        return; /* it has said them before, or has none */
    mem_free(c->client_properties);
    c->client_properties = mem_dup(table.ptr, table.len);
    c->client_properties_bytes = (uint32_t)table.len;
}

static void carry_out(struct connection *c, const struct amqp_hs_effect *e)
{
    switch (e->kind) {
    case AMQP_HS_SEND_HEADER: {
        struct wire_out w = wire_out_over(stream_reserve(c->stream, SEND_ROOM), SEND_ROOM);
        amqp_protocol_header_put(&w);
        stream_commit(c->stream, wire_out_len(&w));
        return;
    }
    case AMQP_HS_SEND:
        connection_send(c, 0, &e->method);
        return;
    case AMQP_HS_OPENED:
        opened(c);
        return;
    case AMQP_HS_PEER_CLOSED:
        peer_closed(c);
        return;
    case AMQP_HS_FAILED:
        log_warn("connection", connection_id_text(c).text, "protocol error: %.*s",
                 SLICE_ARG(e->close.reply_text));
        return;
    case AMQP_HS_HANG_UP:
        if (e->after_ms == 0)
            hang_up(c);
        else
            loop_timer_start(&c->deadline, e->after_ms);
        return;
    case AMQP_HS_AUTHENTICATE:
        keep_properties(c, e->login.properties);
        connection_authenticate(c, &e->login);
        return;
    case AMQP_HS_ENTER:
        connection_enter(c, e->bytes);
        return;
    case AMQP_HS_SECRET:
        connection_step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_SECRET_OK });
        return;
    case AMQP_HS_STARTED:
    case AMQP_HS_CHALLENGED:
    case AMQP_HS_TUNED:
    case AMQP_HS_BLOCKED:
    case AMQP_HS_UNBLOCKED:
    case AMQP_HS_SECRET_TAKEN:
        UNREACHABLE("a client's effect at a server");
    }
    UNREACHABLE("handshake effect");
}

void connection_step(struct connection *c, const struct amqp_hs_event *ev)
{
    struct amqp_hs_effects out;
    bool was_running = c->hs.state == AMQP_HS_SERVER_RUNNING;
    amqp_hs_server_step(&c->hs, ev, &out);
    /* Once it closes, what its channels hold goes back at once and not when the socket ends. And
     * its answer must be read, however short memory is. */
    if (was_running && c->hs.state == AMQP_HS_SERVER_CLOSED) {
        end_channels(c);
        if (c->blocked)
            stream_resume(c->stream);
        c->blocked = false;
    }
    for (unsigned i = 0; i < out.count && c->stream != NULL; i++)
        carry_out(c, &out.list[i]);
}

/* ---- input ---- */

void connection_wait(struct connection *c)
{
    c->waiting++;
}

void connection_go_on(struct connection *c)
{
    CHECK(c->waiting > 0);
    if (--c->waiting == 0 && !c->processing)
        loop_again(c->shard->loop, &c->resume);
}

void connection_on_forwarded(struct shard *s, uint64_t connection, uint64_t octets)
{
    struct connection *c = connection_find(s, connection);
    if (c == NULL)
        return;
    bool was = c->forwarded_bytes > FORWARDED_MAX;
    c->forwarded_bytes -= octets;
    if (was && c->forwarded_bytes <= FORWARDED_MAX)
        loop_again(s->loop, &c->resume);
}

static bool may_go_on(const struct connection *c)
{
    return c->stream != NULL && c->waiting == 0 && !c->blocked && !c->held &&
           c->forwarded_bytes <= FORWARDED_MAX && stream_pending(c->stream) < OUTPUT_SLACK_BYTES;
}

static void bad_frame(struct connection *c, struct slice in, uint32_t max)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(room, sizeof room);
    amqp_frame_why(in, max, &why);
    connection_step(
        c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_BAD_FRAME, .text = text_view(&why) });
}

/* What a balancer says before. Returns the octets taken. */
static size_t take_preamble(struct connection *c, struct slice in)
{
    struct err why = { 0 };
    size_t len = 0;
    struct preamble_rules rules =
        preamble_rules_of(c->shard->broker, c->live->conf, stream_local(c->stream));
    switch (preamble_cut(&rules, in, &c->client, &c->vouched, &len, &why)) {
    case PREAMBLE_MORE:
        return 0;
    case PREAMBLE_REFUSED:
        log_warn("connection", connection_id_text(c).text, "refused: %s", why.text);
        hang_up(c);
        return 0;
    case PREAMBLE_NONE:
    case PREAMBLE_TAKEN:
        c->past_preamble = true;
        return len;
    }
    UNREACHABLE("preamble verdict");
}

/* The first thing a client says. Returns the octets taken. */
static size_t take_header(struct connection *c, struct slice in)
{
    enum amqp_cut cut = amqp_protocol_header_cut(in);
    if (cut == AMQP_CUT_MORE)
        return 0;
    connection_choose_mechanisms(c);
    connection_step(
        c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_HEADER, .good = cut == AMQP_CUT_FRAME });
    return AMQP_PROTOCOL_HEADER_LEN;
}

void connection_unknown_frame(struct connection *c, const struct amqp_frame *f)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(room, sizeof room);
    amqp_frame_describe(f, &why);
    if (!amqp_frame_is_broken_heartbeat(f))
        text_str(&why, ": unknown_frame");
    connection_step(
        c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_BAD_FRAME, .text = text_view(&why) });
}

static void take_frame(struct connection *c, const struct amqp_frame *f)
{
    if (UNLIKELY(f->type == AMQP_FRAME_HEARTBEAT && f->payload.len != 0))
        connection_unknown_frame(c, f); /* a heartbeat has nothing to say (4.2.7) */
    else if (f->channel != 0 && LIKELY(c->hs.state == AMQP_HS_SERVER_RUNNING))
        channel_frame(c, f);
    else if (f->type != AMQP_FRAME_HEARTBEAT || c->hs.state != AMQP_HS_SERVER_RUNNING)
        connection_step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = *f });
}

/* Returns the octets taken; 0 when there is not enough, or nothing more is of interest. */
static size_t take_one(struct connection *c, struct slice in)
{
    if (UNLIKELY(!c->past_preamble)) {
        size_t n = take_preamble(c, in);
        return n != 0 || !c->past_preamble ? n : take_header(c, in);
    }
    if (c->hs.state == AMQP_HS_SERVER_HEADER)
        return take_header(c, in);
    if (!amqp_hs_server_takes_frames(&c->hs))
        return in.len; /* after the last word everything is ignored */
    uint32_t max = amqp_hs_server_frame_max(&c->hs);
    struct amqp_frame f;
    switch (amqp_frame_cut(in, max, &f)) {
    case AMQP_CUT_FRAME:
        take_frame(c, &f);
        return amqp_frame_len(&f);
    case AMQP_CUT_MORE:
        return 0;
    case AMQP_CUT_BAD:
        bad_frame(c, in, max);
        return 0;
    }
    UNREACHABLE("frame verdict");
}

/* What it has begun it may end: a client that is still writing a message does not hear what it is
 * told. The next one waits where it is. */
static bool publishes_next(const struct connection *c, struct slice in)
{
    struct amqp_frame f;
    return c->contents == 0 && connection_is_open(c) &&
           amqp_frame_cut(in, amqp_hs_server_frame_max(&c->hs), &f) == AMQP_CUT_FRAME &&
           f.type == AMQP_FRAME_METHOD && f.channel != 0 &&
           amqp_method_peek(f.payload) == AMQP_BASIC_PUBLISH;
}

/* The input is about to move: contents in progress must not point into it any more. */
static void park_contents(struct connection *c)
{
    struct channel *ch;
    while ((ch = TAILQ_FIRST(&c->assembling)) != NULL) {
        TAILQ_REMOVE(&c->assembling, ch, assembling_entry);
        ch->in_assembling = false;
        channel_park(ch);
    }
}

static void process(struct connection *c)
{
    if (c->processing)
        return;
    c->processing = true;
    struct slice in = stream_peek(c->stream);
    bool alarm = broker_has_alarm(c->shard->broker);
    bool behind = ledger_is_behind(c->shard->ledger);
    ledger_begin(c->shard->ledger);
    size_t used = 0;
    int frames = 0;
    c->copies = 0;
    while (frames < FRAMES_PER_TURN && c->copies < COPIES_PER_TURN && used < in.len &&
           may_go_on(c)) {
        if (UNLIKELY(alarm) && publishes_next(c, slice_from(in, used))) {
            block(c);
            break;
        }
        if (UNLIKELY(behind) && publishes_next(c, slice_from(in, used))) {
            hold(c);
            break;
        }
        size_t n = take_one(c, slice_from(in, used));
        if (n == 0)
            break;
        used += n;
        frames++;
    }
    c->processing = false;
    if (c->stream == NULL)
        return;
    park_contents(c);
    stream_consume(c->stream, used);
    bool is_more = frames == FRAMES_PER_TURN || c->copies >= COPIES_PER_TURN;
    if (is_more)
        loop_again(c->shard->loop, &c->resume);
    if (c->ended && !is_more && may_go_on(c))
        client_went(c, NULL);
}
