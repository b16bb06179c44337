/*
 * fake_broker: what the bench could get at most. A broker that cuts frames and hands bodies over to
 * the consumers of its one queue, whatever that is called, and stores nothing.
 *
 * It is built on the same loops and streams as the real one, so the distance between the two is
 * what exchanges, queues and their promises cost. A message goes over when all of it is there (so
 * at most a megabyte); with no consumer it is dropped and counted, and the count is what a
 * declaration answers. Acknowledgements only make room under a prefetch count. One thread. Not
 * installed.
 */
#include "amqp/amqp_hs_server.h"
#include "amqp/amqp_props.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/units.h"
#include "io/sock.h"
#include "io/stream.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CHANNELS_MAX  2047u
#define COPY_MAX      ((size_t)1024) /* longer content is shared with the publisher's input block */
#define DELIVER_ROOM  ((size_t)1024)
#define DELIVERIES_AT ((size_t)24 * 1024)

struct channel {
    bool confirms;
    uint64_t published;
    uint64_t confirmed;
};

enum fault { LOSE, DOUBLE, LATE, FLIP, AGAIN, FAULTS };
static const char *const fault_names[FAULTS] = { "lose", "double", "late", "flip", "again" };

TAILQ_HEAD(conn_list, conn);

struct conn {
    struct fake *fake;
    struct stream *stream;
    struct amqp_hs_server hs;
    struct channel *channels; /* made at the first channel.open */
    bool waits;               /* for a consumer that is full */
    bool consumes;
    uint16_t consumer_channel;
    char tag[UINT8_MAX + 1];
    uint16_t prefetch; /* 0: no limit */
    uint64_t delivered;
    uint64_t acked;
    TAILQ_ENTRY(conn) entry;
};

struct fake {
    struct loop *loop;
    struct listener *listener;
    struct amqp_hs_server_conf conf;
    struct conn_list conns;
    struct conn *next_consumer; /* takes the next message */
    uint64_t dropped;
    uint64_t every[FAULTS]; /* 0: never */
    uint64_t taken;
    struct buf *late; /* content that waits for the next message */
    struct buf *kept; /* that of the last message that is to come again, just before the next one */
};

/* ---- delivering ---------------------------------------------------------------------------------
 */

static struct conn *consumer_after(struct fake *f, struct conn *c)
{
    struct conn *first = c != NULL ? TAILQ_NEXT(c, entry) : NULL;
    struct conn *i = first != NULL ? first : TAILQ_FIRST(&f->conns);
    struct conn *start = i;
    while (i != NULL && !i->consumes) {
        i = TAILQ_NEXT(i, entry) != NULL ? TAILQ_NEXT(i, entry) : TAILQ_FIRST(&f->conns);
        if (i == start)
            return NULL;
    }
    return i;
}

/* Header and body frames, under the consumer's channel. */
static void write_content(struct conn *to, struct buf *block, struct slice content,
                          uint16_t channel)
{
    if (channel == to->consumer_channel && content.len > COPY_MAX) {
        stream_write_shared(to->stream, block, content);
        return;
    }
    struct amqp_frame f;
    for (; content.len != 0; content = slice_from(content, amqp_frame_len(&f))) {
        CHECK(amqp_frame_cut(content, UINT32_MAX, &f) == AMQP_CUT_FRAME);
        uint8_t head[3] = { (uint8_t)f.type, (uint8_t)(to->consumer_channel >> 8),
                            (uint8_t)to->consumer_channel };
        stream_write(to->stream, slice_of(head, sizeof head));
        stream_write(to->stream, slice_of(content.ptr + 3, amqp_frame_len(&f) - 3));
    }
}

static void deliver(struct conn *to, const struct amqp_basic_publish *p, struct buf *block,
                    struct slice content, uint16_t channel)
{
    struct amqp_basic_deliver d = { .consumer_tag = slice_str(to->tag),
                                    .delivery_tag = ++to->delivered,
                                    .exchange = p->exchange,
                                    .routing_key = p->routing_key };
    bool small = content.len <= COPY_MAX && channel == to->consumer_channel;
    size_t room = DELIVER_ROOM + (small ? content.len : 0);
    struct wire_out w = wire_out_over(stream_reserve(to->stream, room), room);
    amqp_frame_put_deliver(&w, to->consumer_channel, &d);
    if (small)
        wire_put_bytes(&w, content);
    CHECK(!w.overflow);
    stream_commit(to->stream, wire_out_len(&w));
    if (!small)
        write_content(to, block, content, channel);
}

/* It reads too slowly, or has its prefetch count unacknowledged. */
static bool is_full(struct conn *to)
{
    return stream_is_full(to->stream) ||
           (to->prefetch != 0 && to->delivered >= to->acked + to->prefetch);
}

static bool is_due(const struct fake *f, enum fault which)
{
    return f->every[which] != 0 && f->taken % f->every[which] == 0;
}

/* As deliver, and all that the command line asks for on the way. */
static void deliver_badly(struct conn *to, const struct amqp_basic_publish *p, struct buf *block,
                          struct slice content, uint16_t channel)
{
    struct fake *f = to->fake;
    struct buf *late = f->late;
    f->late = NULL;
    f->taken++;
    if (is_due(f, LATE)) {
        f->late = buf_copy(content);
    } else if (is_due(f, FLIP)) {
        struct buf *changed = buf_copy(content);
        changed->data[content.len - 2] ^= 1; /* before the end octet of the last frame */
        deliver(to, p, changed, buf_slice(changed), channel);
        buf_unref(&changed);
    } else if (!is_due(f, LOSE)) {
        deliver(to, p, block, content, channel);
    }
    if (is_due(f, DOUBLE))
        deliver(to, p, block, content, channel);
    if (late != NULL)
        deliver(to, p, late, buf_slice(late), channel);
    buf_unref(&late);
    if (is_due(f, AGAIN) && f->kept != NULL)
        deliver(to, p, f->kept, buf_slice(f->kept), channel);
    if (is_due(f, AGAIN)) {
        buf_unref(&f->kept);
        f->kept = buf_copy(content);
    }
}

static bool is_bad(const struct fake *f)
{
    return f->every[LOSE] + f->every[DOUBLE] + f->every[LATE] + f->every[FLIP] + f->every[AGAIN] !=
           0;
}

/* ---- publishing ---------------------------------------------------------------------------------
 */

enum taken { TAKEN, TAKE_LATER, TAKE_BAD };

/* The header and body frames that follow a publish in `in`: *content when all are there. */
static enum taken find_content(const struct conn *c, struct slice in, struct slice *content)
{
    uint32_t max = amqp_hs_server_frame_max(&c->hs);
    struct amqp_frame f;
    struct amqp_header h;
    struct slice rest = in;
    enum amqp_cut cut = amqp_frame_cut(rest, max, &f);
    if (cut == AMQP_CUT_MORE)
        return TAKE_LATER;
    if (cut == AMQP_CUT_BAD || f.type != AMQP_FRAME_HEADER || !amqp_header_decode(f.payload, &h) ||
        h.body_size > STREAM_PEEK_MAX / 2)
        return TAKE_BAD;
    rest = slice_from(rest, amqp_frame_len(&f));
    for (uint64_t left = h.body_size; left != 0; left -= f.payload.len) {
        cut = amqp_frame_cut(rest, max, &f);
        if (cut == AMQP_CUT_MORE)
            return TAKE_LATER;
        if (cut == AMQP_CUT_BAD || f.type != AMQP_FRAME_BODY || f.payload.len > left)
            return TAKE_BAD;
        rest = slice_from(rest, amqp_frame_len(&f));
    }
    *content = slice_head(in, in.len - rest.len);
    return TAKEN;
}

/* A publish frame at the front of *in; *in moves behind its message. */
static enum taken take_publish(struct conn *c, const struct amqp_frame *f, struct slice *in)
{
    struct fake *fake = c->fake;
    struct conn *to = fake->next_consumer;
    if (to != NULL && is_full(to)) {
        c->waits = true;
        stream_pause(c->stream);
        return TAKE_LATER;
    }
    struct amqp_basic_publish p;
    struct slice content, behind = slice_from(*in, amqp_frame_len(f));
    if (f->channel == 0 || f->channel > CHANNELS_MAX || c->channels == NULL ||
        amqp_basic_publish_decode(slice_from(f->payload, 4), &p) != AMQP_DECODE_OK)
        return TAKE_BAD;
    enum taken verdict = find_content(c, behind, &content);
    if (verdict != TAKEN)
        return verdict;
    c->channels[f->channel].published++;
    if (to != NULL && UNLIKELY(is_bad(fake)))
        deliver_badly(to, &p, stream_input_block(c->stream), content, f->channel);
    else if (to != NULL)
        deliver(to, &p, stream_input_block(c->stream), content, f->channel);
    else
        fake->dropped++;
    if (to != NULL && is_full(to))
        fake->next_consumer = consumer_after(fake, to);
    *in = slice_from(behind, content.len);
    return TAKEN;
}

static void send(struct conn *c, uint16_t channel, const struct amqp_method *m)
{
    struct wire_out w = wire_out_over(stream_reserve(c->stream, DELIVER_ROOM), DELIVER_ROOM);
    amqp_frame_put_method(&w, channel, m);
    CHECK(!w.overflow);
    stream_commit(c->stream, wire_out_len(&w));
}

static void confirm(struct conn *c)
{
    for (uint16_t i = 1; c->channels != NULL && i <= CHANNELS_MAX; i++) {
        struct channel *ch = &c->channels[i];
        if (!ch->confirms && i > 1)
            break; /* clients number their channels from 1 */
        if (!ch->confirms || ch->confirmed == ch->published)
            continue;
        struct amqp_method ack = { .id = AMQP_BASIC_ACK };
        ack.basic_ack.delivery_tag = ch->published;
        ack.basic_ack.multiple = true;
        ch->confirmed = ch->published;
        send(c, i, &ack);
    }
}

/* ---- methods ------------------------------------------------------------------------------------
 */

static void consume(struct conn *c, uint16_t channel, struct slice tag, struct amqp_method *ok)
{
    (void)snprintf(c->tag, sizeof c->tag, "%.*s", SLICE_ARG(tag));
    if (c->tag[0] == '\0')
        (void)snprintf(c->tag, sizeof c->tag, "fake");
    c->consumes = true;
    c->consumer_channel = channel;
    c->fake->next_consumer = c;
    ok->id = AMQP_BASIC_CONSUME_OK;
    ok->basic_consume_ok.consumer_tag = slice_str(c->tag);
}

/* What to answer; false when there is nothing to say. */
static bool answer(struct conn *c, uint16_t channel, const struct amqp_method *m,
                   struct amqp_method *ok)
{
    struct fake *f = c->fake;
    uint32_t count = f->dropped < UINT32_MAX ? (uint32_t)f->dropped : UINT32_MAX;
    if (m->id == AMQP_CHANNEL_OPEN) {
        if (c->channels == NULL)
            c->channels = mem_array(CHANNELS_MAX + 1, sizeof *c->channels);
        ok->id = AMQP_CHANNEL_OPEN_OK;
    } else if (m->id == AMQP_CONFIRM_SELECT && c->channels != NULL) {
        c->channels[channel].confirms = true;
        ok->id = AMQP_CONFIRM_SELECT_OK;
    } else if (m->id == AMQP_QUEUE_DECLARE) {
        ok->id = AMQP_QUEUE_DECLARE_OK;
        ok->queue_declare_ok.queue = m->queue_declare.queue;
        ok->queue_declare_ok.message_count = count;
    } else if (m->id == AMQP_QUEUE_PURGE) {
        f->dropped = 0;
        ok->id = AMQP_QUEUE_PURGE_OK;
    } else if (m->id == AMQP_BASIC_QOS) {
        c->prefetch = m->basic_qos.prefetch_count;
        ok->id = AMQP_BASIC_QOS_OK;
    } else if (m->id == AMQP_BASIC_CONSUME) {
        if (m->basic_consume.no_ack)
            c->prefetch = 0; /* it counts what is to be acknowledged */
        consume(c, channel, m->basic_consume.consumer_tag, ok);
    } else {
        /* Of the rest, the answer to a request is the next number, and has no fields or zeros. */
        ok->id = (enum amqp_method_id)((uint32_t)m->id + 1);
        return amqp_method_is_known(ok->id) && amqp_method_answers(ok->id, m->id);
    }
    return true;
}

/* A consumer can take more: publishers that waited go on. */
static void go_on(struct conn *c)
{
    struct fake *f = c->fake;
    struct conn *i;
    if (c->consumes && (f->next_consumer == NULL || is_full(f->next_consumer)))
        f->next_consumer = c;
    TAILQ_FOREACH (i, &f->conns, entry) {
        if (!i->waits)
            continue;
        i->waits = false;
        stream_resume(i->stream);
    }
}

static void take_ack(struct conn *c, const struct amqp_basic_ack *ack)
{
    bool was_full = is_full(c);
    if (!ack->multiple)
        c->acked++;
    else
        c->acked = ack->delivery_tag != 0 ? ack->delivery_tag : c->delivered;
    if (was_full && !is_full(c))
        go_on(c);
}

static void hang_up(struct conn *c);

static bool take_method(struct conn *c, const struct amqp_frame *f)
{
    uint32_t id = amqp_method_peek(f->payload);
    struct amqp_method m, ok = { .id = AMQP_BASIC_ACK };
    bool settles = id == AMQP_BASIC_ACK || id == AMQP_BASIC_NACK || id == AMQP_BASIC_REJECT;
    if (settles && (id != AMQP_BASIC_ACK || c->prefetch == 0))
        return true;
    if (f->channel > CHANNELS_MAX || amqp_method_decode(f->payload, &m) != AMQP_DECODE_OK)
        return false;
    if (id == AMQP_BASIC_ACK)
        take_ack(c, &m.basic_ack);
    else if (answer(c, f->channel, &m, &ok))
        send(c, f->channel, &ok);
    return true;
}

/* ---- the handshake ------------------------------------------------------------------------------
 */

static void step(struct conn *c, const struct amqp_hs_event *ev);

/* Everybody may come in. */
static void carry_out(struct conn *c, const struct amqp_hs_effect *e)
{
    if (e->kind == AMQP_HS_SEND)
        send(c, 0, &e->method);
    else if (e->kind == AMQP_HS_AUTHENTICATE)
        step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_OK });
    else if (e->kind == AMQP_HS_ENTER)
        step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER_OK });
    else if (e->kind == AMQP_HS_PEER_CLOSED)
        step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_RELEASED });
    else if (e->kind == AMQP_HS_HANG_UP)
        hang_up(c);
}

static void step(struct conn *c, const struct amqp_hs_event *ev)
{
    struct amqp_hs_effects out;
    amqp_hs_server_step(&c->hs, ev, &out);
    for (unsigned i = 0; i < out.count && c->stream != NULL; i++)
        carry_out(c, &out.list[i]);
}

/* ---- connections --------------------------------------------------------------------------------
 */

static void free_conn(void *ptr)
{
    struct conn *c = ptr;
    mem_free(c->channels);
    mem_free(c);
}

static void hang_up(struct conn *c)
{
    struct fake *f = c->fake;
    if (c->stream == NULL)
        return;
    stream_finish(&c->stream, 1000);
    c->consumes = false;
    if (f->next_consumer == c)
        f->next_consumer = consumer_after(f, c);
    TAILQ_REMOVE(&f->conns, c, entry);
    loop_bury(f->loop, c, free_conn);
    struct conn *i;
    TAILQ_FOREACH (i, &f->conns, entry) {
        i->waits = false;
        stream_resume(i->stream);
    }
}

/* The first frame of *in, which moves behind it. */
static enum taken take_frame(struct conn *c, struct slice *in)
{
    struct amqp_frame f;
    enum amqp_cut cut = amqp_frame_cut(*in, amqp_hs_server_frame_max(&c->hs), &f);
    if (cut != AMQP_CUT_FRAME)
        return cut == AMQP_CUT_MORE ? TAKE_LATER : TAKE_BAD;
    if (f.type == AMQP_FRAME_METHOD && amqp_method_peek(f.payload) == AMQP_BASIC_PUBLISH &&
        c->hs.state == AMQP_HS_SERVER_RUNNING)
        return take_publish(c, &f, in);
    *in = slice_from(*in, amqp_frame_len(&f));
    if (c->hs.state != AMQP_HS_SERVER_RUNNING || f.channel == 0) {
        if (f.type != AMQP_FRAME_HEARTBEAT)
            step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = f });
        return TAKEN;
    }
    return f.type == AMQP_FRAME_METHOD && take_method(c, &f) ? TAKEN : TAKE_BAD;
}

static bool take_protocol_header(struct conn *c, struct slice *in)
{
    enum amqp_cut cut = amqp_protocol_header_cut(*in);
    if (cut == AMQP_CUT_MORE)
        return false;
    *in = slice_from(*in, AMQP_PROTOCOL_HEADER_LEN);
    step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_HEADER, .good = cut == AMQP_CUT_FRAME });
    return true;
}

static void on_data(struct stream *s, void *arg)
{
    struct conn *c = arg;
    struct slice all = stream_peek(s), in = all;
    enum taken verdict = TAKEN;
    if (c->hs.state == AMQP_HS_SERVER_HEADER && !take_protocol_header(c, &in))
        return;
    while (c->stream == s && verdict == TAKEN)
        verdict = take_frame(c, &in);
    if (c->stream == s && verdict == TAKE_BAD)
        hang_up(c);
    if (c->stream != s)
        return;
    confirm(c);
    stream_consume(s, all.len - in.len);
}

static void on_room(struct stream *s, void *arg)
{
    struct conn *c = arg;
    CHECK(c->stream == s);
    go_on(c);
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    (void)s;
    (void)why;
    hang_up(arg);
}

static const struct stream_handlers handlers = {
    .on_data = on_data,
    .on_room = on_room,
    .on_closed = on_closed,
};

static void on_accept(int fd, const struct sock_addr *peer, void *arg)
{
    (void)peer;
    struct fake *f = arg;
    struct conn *c = mem_zalloc(sizeof *c);
    c->fake = f;
    amqp_hs_server_init(&c->hs, &f->conf);
    TAILQ_INSERT_TAIL(&f->conns, c, entry);
    c->stream = stream_new(f->loop, fd, &handlers, c);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void on_signal(void *arg)
{
    struct fake *f = arg;
    loop_stop(f->loop);
}

static bool run(struct fake *f, uint16_t port, struct err *err)
{
    struct sock_addr at;
    struct listener_options o = { 0 };
    char text[SOCK_ADDR_TEXT_MAX];
    f->loop = loop_new("fake", err);
    if (f->loop == NULL)
        return false;
    CHECK(sock_addr_ip("127.0.0.1", port, &at));
    f->listener = listener_new(f->loop, &at, &o, on_accept, f, err);
    if (f->listener == NULL || !loop_on_signal(f->loop, SIGTERM, on_signal, f, err) ||
        !loop_on_signal(f->loop, SIGINT, on_signal, f, err))
        return false;
    (void)printf("%s\n", sock_addr_text(listener_addr(f->listener), text));
    (void)fflush(stdout);
    loop_run(f->loop);
    return true;
}

/* A port, or a fault and how often. */
static bool take_argument(const char *arg, struct fake *f, uint16_t *port)
{
    uint64_t n;
    const char *equals = strchr(arg, '=');
    if (!units_u64(slice_str(equals != NULL ? equals + 1 : arg), &n))
        return false;
    if (equals == NULL) {
        *port = (uint16_t)n;
        return n <= UINT16_MAX;
    }
    for (unsigned i = 0; i < FAULTS; i++) {
        if (slice_eq(slice_of(arg, (size_t)(equals - arg)), slice_str(fault_names[i]))) {
            f->every[i] = n;
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    uint16_t port = 0;
    struct err err;
    struct fake f = { .conf = { .mechanisms = slice_str("PLAIN"),
                                .offer = { CHANNELS_MAX, 131072, 60 } } };
    TAILQ_INIT(&f.conns);
    for (int i = 1; i < argc; i++) {
        if (!take_argument(argv[i], &f, &port)) {
            (void)fprintf(stderr, "usage: fake-broker [PORT] [lose=N] [double=N] [late=N] [flip=N] "
                                  "[again=N]\n");
            return 64;
        }
    }
    (void)signal(SIGPIPE, SIG_IGN);
    bool ok = run(&f, port, &err);
    if (!ok)
        (void)fprintf(stderr, "fake-broker: %s\n", err.text);
    while (!TAILQ_EMPTY(&f.conns)) {
        struct conn *c = TAILQ_FIRST(&f.conns);
        TAILQ_REMOVE(&f.conns, c, entry);
        stream_free(&c->stream);
        free_conn(c);
    }
    buf_unref(&f.late);
    buf_unref(&f.kept);
    listener_free(&f.listener);
    loop_free(&f.loop);
    return ok ? 0 : 70;
}
