#include "splice.h"

#include "base/check.h"
#include "method_out.h"
#include "question.h"
#include "session.h"

/* ---- runs ------------------------------------------------------------------------------------ */

/* Whole frames one after the other that go the same way, still in the block they were read into. */
struct run {
    struct session *session;
    struct buf *block;
    const uint8_t *from;
    struct upstream *upstream; /* whose stream it is, or who speaks */
    struct stream *to;         /* NULL: they go nowhere */
    bool filled;               /* a stream that it went to is full now */
};

static void count(const struct run *r, size_t bytes)
{
    struct live_traffic *front = &r->session->frontend->live->traffic;
    struct live_traffic *back = &r->session->backend->live->traffic;
    struct live_traffic *server = &r->upstream->server->live->traffic;
    bool to_client = r->to == r->session->client;
    (void)shared_add(to_client ? &front->bout : &front->bin, bytes);
    (void)shared_add(to_client ? &back->bout : &back->bin, bytes);
    (void)shared_add(to_client ? &server->bout : &server->bin, bytes);
}

static void run_flush(struct run *r, const uint8_t *at)
{
    struct slice s = slice_of(r->from, (size_t)(at - r->from));
    r->from = at;
    if (r->to == NULL || s.len == 0)
        return;
    stream_write_shared(r->to, r->block, s);
    count(r, s.len);
    r->filled |= stream_is_full(r->to);
}

/* What is at `at` goes that way. */
static inline void run_turn(struct run *r, const uint8_t *at, struct upstream *u, struct stream *to)
{
    if (LIKELY(to == r->to))
        return;
    run_flush(r, at);
    r->upstream = u;
    r->to = to;
}

/* ---- frames ---------------------------------------------------------------------------------- */

struct frame {
    struct amqp_frame_head head;
    struct slice payload;
    size_t len;
};

/* The frame at the start of `in`, when it is there as a whole. */
static inline enum amqp_cut cut(struct slice in, uint32_t frame_max, struct frame *f)
{
    enum amqp_cut verdict = amqp_frame_peek(in, frame_max, &f->head);
    if (verdict != AMQP_CUT_FRAME)
        return verdict;
    f->len = (size_t)f->head.size + AMQP_FRAME_OVERHEAD;
    if (in.len < f->len)
        return AMQP_CUT_MORE;
    if (UNLIKELY(in.ptr[f->len - 1] != AMQP_FRAME_END))
        return AMQP_CUT_BAD;
    f->payload = slice_of(in.ptr + AMQP_FRAME_HEAD, f->head.size);
    return AMQP_CUT_FRAME;
}

static struct amqp_frame as_frame(const struct frame *f)
{
    return (struct amqp_frame){ (enum amqp_frame_type)f->head.type, f->head.channel, f->payload };
}

/* What becomes of a frame. */
enum pass {
    PASS,     /* it goes on */
    DROP,     /* nobody waits for it */
    OURS,     /* we answer; what came before it goes on first */
    HOMELESS, /* its channel needs a leg first */
};

static bool is_method(const struct frame *f, uint32_t id)
{
    return f->head.type == AMQP_FRAME_METHOD && amqp_method_peek(f->payload) == id;
}

/* The session's living channels: those on which the client can still do something. */
static bool is_living(const struct channel *c)
{
    return c->state == CHANNEL_OPENING || c->state == CHANNEL_OPEN;
}

/* ---- a channel's beginning ------------------------------------------------------------------- */

static void open_channel(struct session *s, uint16_t number)
{
    if (number > s->hs.limits.channel_max) {
        session_close(s, AMQP_NOT_ALLOWED, "channel number %u is above channel_max (%u)", number,
                      s->hs.limits.channel_max);
        return;
    }
    struct channel *c = session_add_channel(s, number);
    if (c == NULL) {
        session_close(s, AMQP_RESOURCE_ERROR, "the proxy has no room for more channels");
        return;
    }
    if (s->backend->conf->by_master)
        place_open(s, c);
    else
        hunt_start(s, HUNT_READY, c);
}

void splice_attach(struct session *s, struct channel *c, struct upstream *u)
{
    CHECK(c->leg == NULL && is_living(c));
    c->leg = leg_new(&s->worker->legs, u);
    if (c->leg == NULL) {
        session_close(s, AMQP_RESOURCE_ERROR, "the proxy has no room for more channels");
        return;
    }
    method_out_bare(u->stream, c->number, AMQP_CHANNEL_OPEN);
    if (c->state == CHANNEL_OPENING)
        c->asked = AMQP_CHANNEL_OPEN;
    else
        place_tell(c);
    session_flow(s);
}

/* ---- from the client ------------------------------------------------------------------------- */

/* A broker keeps an exclusive queue for the connection that declared it, so what the session opens
 * from now on goes there too. */
static void note_declare(struct session *s, struct channel *c, struct slice fields)
{
    struct wire w = wire_over(fields);
    struct amqp_queue_declare m;
    amqp_queue_declare_read(&w, &m);
    if (!w.ran_out && m.exclusive && !m.passive)
        s->pinned = c->leg->upstream;
}

static void note_queue(struct session *s, struct channel *c, uint32_t id, struct slice fields)
{
    if (s->backend->conf->by_master)
        place_note(s, c, id, fields);
    else if (id == AMQP_QUEUE_DECLARE)
        note_declare(s, c, fields);
}

static bool is_operation(uint32_t id)
{
    return id == AMQP_BASIC_PUBLISH || id == AMQP_BASIC_CONSUME || id == AMQP_BASIC_GET;
}

static enum pass close_by_client(struct channel *c)
{
    if (is_living(c))
        channel_move(c, CHANNEL_CLOSING);
    else if (c->state == CHANNEL_CLOSED)
        channel_move(c, CHANNEL_CROSSED);
    return PASS;
}

static enum pass close_ok_by_client(struct session *s, struct channel *c)
{
    if (c->state == CHANNEL_CROSSED)
        channel_move(c, CHANNEL_CLOSING);
    else if (c->state == CHANNEL_CLOSED)
        session_drop_channel(s, &c);
    return PASS;
}

static enum pass method_by_client(struct session *s, struct channel *c, struct slice payload)
{
    uint32_t id = amqp_method_peek(payload);
    content_method(&c->publish, id);
    if (id == AMQP_BASIC_PUBLISH)
        shared_bump(&s->worker->counts.published, 1);
    if (s->backend->conf->by_master && is_operation(id))
        place_count(s, c, payload);
    if (id == AMQP_BASIC_PUBLISH || id == AMQP_BASIC_ACK)
        return PASS;
    if (id == AMQP_CHANNEL_CLOSE)
        return close_by_client(c);
    if (id == AMQP_CHANNEL_CLOSE_OK)
        return close_ok_by_client(s, c);
    struct slice fields = slice_from(payload, 4);
    if (question_waits(id, fields))
        c->asked = id;
    if (id == AMQP_QUEUE_DECLARE || id == AMQP_QUEUE_DELETE)
        note_queue(s, c, id, fields);
    return PASS;
}

/* On a channel that has had no leg yet. */
static enum pass on_homeless(struct session *s, struct channel *c, const struct frame *f)
{
    if (f->head.type == AMQP_FRAME_METHOD && place_prepare(s, &c, f->payload))
        return DROP;
    return HOMELESS;
}

/* On a channel whose leg is gone: only its end is of interest. */
static enum pass on_lost(struct session *s, struct channel *c, const struct frame *f)
{
    if (is_method(f, AMQP_CHANNEL_CLOSE))
        method_out_bare(s->client, c->number, AMQP_CHANNEL_CLOSE_OK);
    else if (is_method(f, AMQP_CHANNEL_CLOSE_OK))
        session_drop_channel(s, &c);
    return DROP;
}

/* A frame on another channel than 0. *to is where it goes when it passes. */
static enum pass by_client(struct session *s, const struct frame *f, struct upstream **to)
{
    struct channel *c = session_channel(s, f->head.channel);
    if (UNLIKELY(c == NULL))
        return OURS;
    if (UNLIKELY(c->leg == NULL))
        return c->state == CHANNEL_OPEN ? on_homeless(s, c, f) : on_lost(s, c, f);
    *to = c->leg->upstream;
    if (f->head.type == AMQP_FRAME_METHOD)
        return method_by_client(s, c, f->payload);
    content_frame(&c->publish, f->head.type, f->payload);
    return PASS;
}

/* A frame that is for us alone. */
static void take_from_client(struct session *s, const struct frame *f)
{
    struct amqp_frame frame = as_frame(f);
    if (f->head.channel == 0) {
        session_take(s, &frame);
    } else if (is_method(f, AMQP_CHANNEL_OPEN)) {
        open_channel(s, f->head.channel);
    } else if (f->head.type == AMQP_FRAME_METHOD) {
        session_close_at(s, AMQP_CHANNEL_ERROR, amqp_method_peek(f->payload),
                         "expected 'channel.open'");
    } else {
        char room[AMQP_REPLY_TEXT_MAX + 1];
        struct text what = text_over(room, sizeof room);
        amqp_frame_describe(&frame, &what);
        session_close(s, AMQP_UNEXPECTED_FRAME, "%s", room);
    }
}

static bool is_beat(const struct frame *f)
{
    return f->head.type == AMQP_FRAME_HEARTBEAT && f->head.channel == 0 && f->head.size == 0;
}

/* Look for a leg. True when there is one, or when there is to be none: the frame can be taken. */
static bool give_home(struct session *s, const struct frame *f)
{
    struct channel *c = session_channel(s, f->head.channel);
    place_hunt(s, c, f->head.type == AMQP_FRAME_METHOD ? f->payload : slice_of(NULL, 0));
    return s->client != NULL && session_is_running(s) && s->hunt.goal == HUNT_NONE;
}

/* How it goes on behind a frame. */
enum after {
    AFTER_NEXT, /* with the next one */
    AFTER_STOP, /* not now */
    AFTER_HELD, /* not now, and then with the same frame */
};

static enum after one_from_client(struct session *s, const struct frame *f, struct run *r,
                                  const uint8_t *at)
{
    struct upstream *to = NULL;
    enum pass pass = DROP;
    if (LIKELY(f->head.channel != 0))
        pass = by_client(s, f, &to);
    else if (!is_beat(f))
        pass = OURS;

    if (LIKELY(pass == PASS)) {
        run_turn(r, at, to, to->stream);
        return AFTER_NEXT;
    }
    run_turn(r, at, NULL, NULL);
    if (pass == DROP)
        return AFTER_NEXT;
    if (pass == HOMELESS) /* with a leg, or LOST, it is judged anew */
        return give_home(s, f) ? one_from_client(s, f, r, at) : AFTER_HELD;
    take_from_client(s, f);
    bool go_on = s->client != NULL && session_is_running(s) && s->hunt.goal == HUNT_NONE;
    return go_on ? AFTER_NEXT : AFTER_STOP;
}

void splice_client(struct session *s)
{
    struct slice in = stream_peek(s->client);
    if (in.len == 0)
        return;
    uint32_t frame_max = amqp_hs_server_frame_max(&s->hs);
    struct buf *block = buf_ref(stream_input_block(s->client));
    struct run r = { .session = s, .block = block, .from = in.ptr };
    enum amqp_cut verdict = AMQP_CUT_MORE;
    struct frame f;
    size_t at = 0;
    enum after after = AFTER_NEXT;
    while (after == AFTER_NEXT &&
           (verdict = cut(slice_from(in, at), frame_max, &f)) == AMQP_CUT_FRAME) {
        after = one_from_client(s, &f, &r, in.ptr + at);
        if (after != AFTER_HELD)
            at += f.len;
    }
    run_flush(&r, in.ptr + at);
    if (s->client != NULL && after == AFTER_NEXT && verdict == AMQP_CUT_BAD)
        session_take_bad(s, slice_from(in, at));
    if (s->client != NULL)
        stream_consume(s->client, at);
    buf_unref(&block);
    if (r.filled)
        session_flow(s);
}

/* ---- from a broker --------------------------------------------------------------------------- */

static enum pass close_by_broker(struct channel *c)
{
    if (is_living(c))
        channel_move(c, CHANNEL_CLOSED);
    else if (c->state == CHANNEL_CLOSING)
        channel_move(c, CHANNEL_CROSSED);
    return PASS;
}

static enum pass close_ok_by_broker(struct session *s, struct channel *c)
{
    if (c->state == CHANNEL_CROSSED)
        channel_move(c, CHANNEL_CLOSED);
    else if (c->state == CHANNEL_CLOSING)
        session_drop_channel(s, &c);
    return PASS;
}

static enum pass method_by_broker(struct session *s, struct channel *c, struct slice payload)
{
    uint32_t id = amqp_method_peek(payload);
    content_method(&c->leg->deliver, id);
    if (id == AMQP_BASIC_DELIVER || id == AMQP_BASIC_GET_OK)
        shared_bump(&s->worker->counts.delivered, 1);
    if (id == AMQP_BASIC_DELIVER || id == AMQP_BASIC_ACK)
        return PASS;
    if (place_is_told(c, id))
        return DROP;
    if (id == AMQP_QUEUE_DECLARE_OK)
        place_note_named(s, c, slice_from(payload, 4));
    if (c->asked != 0 &&
        amqp_method_answers((enum amqp_method_id)id, (enum amqp_method_id)c->asked))
        c->asked = 0;
    if (id == AMQP_CHANNEL_OPEN_OK && c->state == CHANNEL_OPENING)
        channel_move(c, CHANNEL_OPEN);
    if (id == AMQP_CHANNEL_CLOSE)
        return close_by_broker(c);
    if (id == AMQP_CHANNEL_CLOSE_OK)
        return close_ok_by_broker(s, c);
    return PASS;
}

static enum pass by_broker(struct session *s, struct upstream *u, const struct frame *f)
{
    struct channel *c = session_channel(s, f->head.channel);
    if (UNLIKELY(c == NULL || c->leg == NULL || c->leg->upstream != u))
        return DROP; /* late word on a channel that is over */
    if (f->head.type == AMQP_FRAME_METHOD)
        return method_by_broker(s, c, f->payload);
    content_frame(&c->leg->deliver, f->head.type, f->payload);
    return PASS;
}

/* True to go on with the next frame. */
static bool one_from_broker(struct session *s, struct upstream *u, const struct frame *f,
                            struct run *r, const uint8_t *at)
{
    enum pass pass = DROP;
    if (LIKELY(f->head.channel != 0))
        pass = session_is_running(s) ? by_broker(s, u, f) : DROP;
    else if (!is_beat(f))
        pass = OURS;

    run_turn(r, at, u, pass == PASS ? s->client : NULL);
    if (LIKELY(pass != OURS))
        return true;
    struct amqp_frame frame = as_frame(f);
    upstream_take(u, &frame);
    return u->state != UPSTREAM_GONE && !stream_is_paused(u->stream);
}

void splice_upstream(struct session *s, struct upstream *u)
{
    struct slice in = stream_peek(u->stream);
    if (stream_is_paused(u->stream) || in.len == 0)
        return;
    uint32_t frame_max = upstream_frame_max(u);
    struct buf *block = buf_ref(stream_input_block(u->stream));
    struct run r = { .session = s, .block = block, .from = in.ptr };
    enum amqp_cut verdict = AMQP_CUT_MORE;
    struct frame f;
    size_t at = 0;
    bool go_on = true;
    while (go_on && (verdict = cut(slice_from(in, at), frame_max, &f)) == AMQP_CUT_FRAME) {
        go_on = one_from_broker(s, u, &f, &r, in.ptr + at);
        at += f.len;
    }
    if (s->client != NULL)
        run_flush(&r, in.ptr + at);
    if (u->state != UPSTREAM_GONE)
        stream_consume(u->stream, at);
    if (u->state != UPSTREAM_GONE && go_on && verdict == AMQP_CUT_BAD)
        upstream_take_bad(u);
    buf_unref(&block);
    if (r.filled)
        session_flow(s);
}

/* ---- a channel's end that the broker did not make
 * ------------------------------------------------ */

static unsigned living_count(const struct session *s, const struct upstream *at)
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->channels_cap; i++) {
        const struct channel *c = s->channels[i];
        if (c != NULL && is_living(c) && (at == NULL || (c->leg != NULL && c->leg->upstream == at)))
            count++;
    }
    return count;
}

/* The channel's leg is gone. What the client was owed on it is said here. */
static void end_channel(struct session *s, struct channel *c, const char *why)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    bool living = is_living(c);
    bool asked_to_close = c->state == CHANNEL_CLOSING || c->state == CHANNEL_CROSSED;
    bool answers = c->state == CHANNEL_CLOSED || c->state == CHANNEL_CROSSED;
    uint32_t cause = c->asked;
    leg_free(&s->worker->legs, &c->leg);
    if (c->state != CHANNEL_LOST)
        channel_move(c, CHANNEL_LOST);
    c->publish = (struct content){ .next = CONTENT_NONE };

    if (asked_to_close)
        method_out_bare(s->client, c->number, AMQP_CHANNEL_CLOSE_OK);
    if (living)
        method_out_close(s->client, c->number, AMQP_CONNECTION_FORCED,
                         amqp_reply_text(room, AMQP_CONNECTION_FORCED, "%s", why), cause);
    else if (!answers)
        session_drop_channel(s, &c);
}

void splice_give_up(struct session *s, struct channel *c, const char *why)
{
    if (living_count(s, NULL) == 1) {
        session_close(s, AMQP_CONNECTION_FORCED, "%s", why);
        return;
    }
    end_channel(s, c, why);
    session_flow(s);
}

/*
 * AMQP has no way to say "this channel's broker is gone" on a channel; 320 is meant for whole
 * connections. So a client whose channels all lived there, as is usual, loses its connection, as it
 * would without a proxy. Others lose only the channels, with the same code and text.
 */
void splice_lose(struct session *s, struct upstream *u, const char *why)
{
    unsigned here = living_count(s, u);
    if (here != 0 && here == living_count(s, NULL)) {
        session_close(s, AMQP_CONNECTION_FORCED, "%s", why);
        return;
    }
    for (unsigned i = 0; i < s->channels_cap; i++) {
        struct channel *c = s->channels[i];
        if (c != NULL && c->leg != NULL && c->leg->upstream == u)
            end_channel(s, c, why);
    }
}

void splice_drop_all(struct session *s)
{
    for (unsigned i = 0; i < s->channels_cap; i++) {
        struct channel *c = s->channels[i];
        if (c != NULL)
            session_drop_channel(s, &c);
    }
}
