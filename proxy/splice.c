#include "splice.h"

#include "admission.h"
#include "base/check.h"
#include "follow.h"
#include "method_out.h"
#include "pace.h"
#include "question.h"
#include "recover.h"
#include "run.h"
#include "session.h"
#include "split.h"
#include "vacate.h"

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
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(room, sizeof room);
    if (!admission_open(s, &why)) {
        session_close_at(s, AMQP_NOT_ALLOWED, AMQP_CHANNEL_OPEN, room);
        return;
    }
    if (s->backend->conf->by_master)
        place_open(s, c);
    else
        hunt_start(s, HUNT_READY, c);
}

void splice_attach(struct session *s, struct channel *c, struct upstream *u)
{
    CHECK(channel_is_living(c));
    if (c->leg != NULL) {
        struct leg *leg = split_attach(s, c, u);
        session_flow(s);
        recover_attached(s, c, leg);
        return;
    }
    c->leg = leg_new(&s->worker->legs, u);
    if (c->leg == NULL) {
        session_close(s, AMQP_RESOURCE_ERROR, "the proxy has no room for more channels");
        return;
    }
    method_out_bare(u->stream, c->number, AMQP_CHANNEL_OPEN);
    if (c->state == CHANNEL_OPENING) {
        c->asked = AMQP_CHANNEL_OPEN;
        c->owed = 1;
    } else {
        place_tell(c);
    }
    recover_restore(c);
    session_flow(s);
    recover_attached(s, c, c->leg);
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

/* The method goes on. */
static void note_method(struct session *s, struct channel *c, uint32_t id, struct slice fields)
{
    if (question_waits(id, fields)) {
        c->asked = id;
        c->owed++;
        publishes_ask(&c->publishes);
    }
    if (s->backend->conf->by_master && place_is_noted(id))
        place_note(s, c, id, fields);
    else if (id == AMQP_QUEUE_DECLARE)
        note_declare(s, c, fields);
}

static void note_publish(struct session *s, struct channel *c, struct slice payload)
{
    shared_bump(&s->worker->counts.published, 1);
    pace_published(s);
    c->place.has_published = true;
    publishes_add(&c->publishes);
    if (s->backend->conf->by_master)
        place_count(s, c, c->leg->upstream, payload);
}

static enum run_pass close_by_client(struct channel *c)
{
    if (channel_is_living(c))
        channel_move(c, CHANNEL_CLOSING);
    else if (c->state == CHANNEL_CLOSED)
        channel_move(c, CHANNEL_CROSSED);
    return RUN_PASS;
}

static enum run_pass close_ok_by_client(struct session *s, struct channel *c)
{
    if (c->state == CHANNEL_CROSSED)
        channel_move(c, CHANNEL_CLOSING);
    else if (c->state == CHANNEL_CLOSED)
        session_drop_channel(s, &c);
    return RUN_PASS;
}

/* A consume or get may go to another broker than all that was before. */
static enum run_pass operation_by_client(struct session *s, struct channel *c, struct slice payload)
{
    enum run_pass pass = split_wish(s, c, payload);
    if (pass == RUN_PASS)
        place_count(s, c, c->leg->upstream, payload);
    return pass;
}

static enum run_pass method_by_client(struct session *s, struct channel *c, struct slice payload)
{
    uint32_t id = amqp_method_peek(payload);
    content_method(&c->publish, id);
    if (id == AMQP_BASIC_PUBLISH) {
        note_publish(s, c, payload);
        return RUN_PASS;
    }
    if (id == AMQP_CHANNEL_CLOSE)
        return close_by_client(c);
    if (id == AMQP_CHANNEL_CLOSE_OK)
        return close_ok_by_client(s, c);
    if (s->backend->conf->by_master && (id == AMQP_BASIC_CONSUME || id == AMQP_BASIC_GET)) {
        enum run_pass pass = operation_by_client(s, c, payload);
        if (pass != RUN_PASS)
            return pass;
    }
    if (c->split != NULL)
        split_follow(s, c, payload);
    if (id != AMQP_BASIC_ACK)
        note_method(s, c, id, slice_from(payload, 4));
    return RUN_PASS;
}

/* With several legs, where content and all that has an order to it goes to the main one. */
static enum run_pass on_split(struct session *s, struct channel *c, const struct run_frame *f,
                              struct upstream **to)
{
    if (split_is_ending(c))
        return split_ending(c, f, to);
    if (c->leg == NULL)
        return run_is_method(f, AMQP_CHANNEL_CLOSE) ? RUN_SPLIT : RUN_HOMELESS;
    *to = c->leg->upstream;
    if (f->head.type != AMQP_FRAME_METHOD) {
        content_frame(&c->publish, f->head.type, f->payload);
        return RUN_PASS;
    }
    uint32_t id = amqp_method_peek(f->payload);
    content_method(&c->publish, id);
    if (id != AMQP_BASIC_PUBLISH)
        return RUN_SPLIT;
    note_publish(s, c, f->payload);
    return RUN_PASS;
}

/* What was before it on its way to a broker has gone. */
static enum run_pass method_on_split(struct session *s, const struct run_frame *f,
                                     struct upstream **to)
{
    struct channel *c = session_channel(s, f->head.channel);
    bool is_heard = !split_is_ending(c);
    enum run_pass pass = split_client(s, c, f, to);
    if (is_heard && (pass == RUN_PASS || pass == RUN_DROP))
        note_method(s, c, amqp_method_peek(f->payload), slice_from(f->payload, 4));
    return pass;
}

/* On a channel that has had no leg yet. */
static enum run_pass on_homeless(struct session *s, struct channel *c, const struct run_frame *f)
{
    if (f->head.type == AMQP_FRAME_METHOD && place_prepare(s, &c, f->payload))
        return RUN_DROP;
    return RUN_HOMELESS;
}

/* On a channel whose leg is gone: only its end is of interest. */
static enum run_pass on_lost(struct session *s, struct channel *c, const struct run_frame *f)
{
    if (run_is_method(f, AMQP_CHANNEL_CLOSE))
        method_out_bare(s->client, c->number, AMQP_CHANNEL_CLOSE_OK);
    else if (run_is_method(f, AMQP_CHANNEL_CLOSE_OK))
        session_drop_channel(s, &c);
    return RUN_DROP;
}

/* A frame on another channel than 0. *to is where it goes when it passes. */
static enum run_pass by_client(struct session *s, const struct run_frame *f, struct upstream **to)
{
    struct channel *c = session_channel(s, f->head.channel);
    if (UNLIKELY(c == NULL))
        return RUN_OURS;
    if (UNLIKELY(s->pace.is_on) && pace_holds(s, f))
        return RUN_HELD;
    if (UNLIKELY(c->is_spread))
        return on_split(s, c, f, to);
    if (UNLIKELY(c->leg == NULL))
        return c->state == CHANNEL_OPEN ? on_homeless(s, c, f) : on_lost(s, c, f);
    *to = c->leg->upstream;
    if (UNLIKELY(c->place.wants_move) && run_is_method(f, AMQP_BASIC_PUBLISH) &&
        follow_publish(s, c) == RUN_LEAVE)
        return RUN_LEAVE;
    if (f->head.type == AMQP_FRAME_METHOD)
        return method_by_client(s, c, f->payload);
    content_frame(&c->publish, f->head.type, f->payload);
    return RUN_PASS;
}

/* A frame that is for us alone. */
static void take_from_client(struct session *s, const struct run_frame *f)
{
    struct amqp_frame frame = run_frame_of(f);
    if (f->head.channel == 0) {
        session_take(s, &frame);
    } else if (run_is_method(f, AMQP_CHANNEL_OPEN)) {
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

static bool is_beat(const struct run_frame *f)
{
    return f->head.type == AMQP_FRAME_HEARTBEAT && f->head.channel == 0 && f->head.size == 0;
}

/* Look for a leg. True when there is one, or when there is to be none: the frame can be taken. */
static bool give_home(struct session *s, const struct run_frame *f)
{
    struct channel *c = session_channel(s, f->head.channel);
    place_hunt(s, c, f->head.type == AMQP_FRAME_METHOD ? f->payload : slice_of(NULL, 0));
    return s->client != NULL && session_is_running(s) && s->hunt.goal == HUNT_NONE;
}

/* How it goes on behind a frame. */
enum after {
    AFTER_NEXT,  /* with the next one */
    AFTER_AGAIN, /* with the same one */
    AFTER_STOP,  /* not now */
    AFTER_HELD,  /* not now, and then with the same frame */
};

/* One that does not just go on, which is rare: apart, so that the others are quick. */
static enum after rare_from_client(struct session *s, const struct run_frame *f, struct run *r,
                                   const uint8_t *at, enum run_pass pass)
{
    struct upstream *to = NULL;
    run_turn(r, at, NULL, NULL);
    if (pass == RUN_SPLIT)
        pass = method_on_split(s, f, &to);
    switch (pass) {
    case RUN_PASS:
        run_turn(r, at, to, to->stream);
        return AFTER_NEXT;
    case RUN_DROP:
    case RUN_SEEN_TO:
        return AFTER_NEXT;
    case RUN_LEAVE:
        follow_leave(s, session_channel(s, f->head.channel));
        return AFTER_HELD;
    case RUN_HELD:
        return AFTER_HELD;
    case RUN_HOMELESS: /* with a leg, or LOST, it is judged anew */
        return give_home(s, f) ? AFTER_AGAIN : AFTER_HELD;
    case RUN_OURS: {
        take_from_client(s, f);
        bool go_on = s->client != NULL && session_is_running(s) && s->hunt.goal == HUNT_NONE;
        return go_on ? AFTER_NEXT : AFTER_STOP;
    }
    case RUN_LAST:
    case RUN_NUMBER:
    case RUN_SPLIT:
        break;
    }
    UNREACHABLE("what becomes of a client's frame");
}

static enum after one_from_client(struct session *s, const struct run_frame *f, struct run *r,
                                  const uint8_t *at)
{
    struct upstream *to = NULL;
    enum run_pass pass = RUN_DROP;
    if (LIKELY(f->head.channel != 0))
        pass = by_client(s, f, &to);
    else if (!is_beat(f))
        pass = RUN_OURS;

    if (UNLIKELY(pass != RUN_PASS && pass != RUN_LAST))
        return rare_from_client(s, f, r, at, pass);
    run_turn(r, at, to, to->stream);
    if (UNLIKELY(pass == RUN_LAST)) {
        run_flush(r, at + f->len);
        split_close_main(session_channel(s, f->head.channel));
    }
    return AFTER_NEXT;
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
    struct run_frame f;
    size_t at = 0, counted = 0;
    enum after after = AFTER_NEXT;
    while (after <= AFTER_AGAIN &&
           (verdict = run_cut(slice_from(in, at), frame_max, &f)) == AMQP_CUT_FRAME) {
        after = one_from_client(s, &f, &r, in.ptr + at);
        if (LIKELY(after == AFTER_NEXT || after == AFTER_STOP)) {
            at += f.len;
            counted += pace_octets(s, &f);
        }
    }
    run_flush(&r, in.ptr + at);
    pace_taken(s, counted);
    if (s->client != NULL && after == AFTER_NEXT && verdict == AMQP_CUT_BAD)
        session_take_bad(s, slice_from(in, at));
    if (s->client != NULL)
        stream_consume(s->client, at);
    buf_unref(&block);
    if (r.filled)
        session_flow(s);
    recover_tend(s);
}

/* ---- from a broker --------------------------------------------------------------------------- */

static enum run_pass close_by_broker(struct session *s, struct channel *c)
{
    splice_end_hunt(s, c);
    follow_forget(c);
    if (channel_is_living(c))
        channel_move(c, CHANNEL_CLOSED);
    else if (c->state == CHANNEL_CLOSING)
        channel_move(c, CHANNEL_CROSSED);
    return RUN_PASS;
}

static enum run_pass close_ok_by_broker(struct session *s, struct channel *c)
{
    if (c->state == CHANNEL_CROSSED)
        channel_move(c, CHANNEL_CLOSED);
    else if (c->state == CHANNEL_CLOSING)
        session_drop_channel(s, &c);
    return RUN_PASS;
}

/* Numbered through, also when the broker is not the first that the client publishes to. */
static enum run_pass confirm_by_broker(struct channel *c, struct slice payload,
                                       struct split_patch *patch)
{
    struct wire w = wire_over(slice_from(payload, 4));
    uint64_t tag = wire_u64(&w);
    bool multiple = (wire_u8(&w) & 1) != 0; /* the first bit of both */
    if (w.ran_out || !c->publishes.confirms)
        return RUN_PASS;
    uint64_t number = publishes_settle(&c->publishes, tag, multiple);
    if (LIKELY(number == tag))
        return RUN_PASS;
    struct wire_out out = wire_out_over(patch->octets, sizeof patch->octets);
    wire_put_u64(&out, number);
    patch->at = 4;
    return RUN_NUMBER;
}

static enum run_pass method_by_broker(struct session *s, struct channel *c, struct leg *leg,
                                      struct slice payload, struct split_patch *patch)
{
    uint32_t id = amqp_method_peek(payload);
    enum run_pass pass = RUN_PASS;
    content_method(&leg->deliver, id);
    if (UNLIKELY(leg->told != 0) && place_is_told(leg, id))
        return RUN_DROP;
    if (UNLIKELY(leg->is_closing) && !c->is_spread && id == AMQP_CHANNEL_CLOSE_OK) {
        follow_closed(s, c);
        return RUN_DROP;
    }
    if (c->is_spread)
        pass = split_broker(s, c, leg, payload, patch);
    else if (c->split != NULL)
        split_count(s, c, payload);
    if (pass == RUN_DROP || pass == RUN_SPLIT)
        return pass;
    if (id == AMQP_BASIC_DELIVER || id == AMQP_BASIC_GET_OK)
        shared_bump(&s->worker->counts.delivered, 1);
    if (id == AMQP_BASIC_ACK || id == AMQP_BASIC_NACK)
        return confirm_by_broker(c, payload, patch);
    if (id == AMQP_BASIC_DELIVER)
        return pass;
    if (id == AMQP_QUEUE_DECLARE_OK)
        place_note_named(s, c, slice_from(payload, 4));
    if (c->asked != 0 &&
        amqp_method_answers((enum amqp_method_id)id, (enum amqp_method_id)c->asked))
        c->asked = 0;
    if (c->owed != 0 && question_is_answer(id) && --c->owed == 0 && leg->number == LEG_MAP_MAIN)
        publishes_answer(&c->publishes);
    session_answered(s, c);
    if (id == AMQP_CHANNEL_OPEN_OK && c->state == CHANNEL_OPENING)
        channel_move(c, CHANNEL_OPEN);
    if (id == AMQP_CHANNEL_CLOSE)
        return close_by_broker(s, c);
    if (id == AMQP_CHANNEL_CLOSE_OK)
        return close_ok_by_broker(s, c);
    return pass;
}

static enum run_pass by_broker(struct session *s, struct upstream *u, const struct run_frame *f,
                               struct split_patch *patch)
{
    struct channel *c = session_channel(s, f->head.channel);
    if (UNLIKELY(c == NULL))
        return RUN_DROP; /* late word on a channel that is over */
    struct leg *leg = LIKELY(!c->is_spread) ? c->leg : split_leg_at(c, u);
    if (UNLIKELY(leg == NULL || leg->upstream != u))
        return RUN_DROP;
    enum run_pass turn = LIKELY(!c->is_spread) ? RUN_PASS : split_turn(s, c, leg);
    if (turn != RUN_PASS)
        return turn;
    if (f->head.type == AMQP_FRAME_METHOD)
        return method_by_broker(s, c, leg, f->payload, patch);
    content_frame(&leg->deliver, f->head.type, f->payload);
    return LIKELY(!c->is_spread) ? RUN_PASS : split_content(s, c, leg);
}

static enum after one_from_broker(struct session *s, struct upstream *u, const struct run_frame *f,
                                  struct run *r, const uint8_t *at)
{
    enum run_pass pass = RUN_DROP;
    struct split_patch patch;
    if (LIKELY(f->head.channel != 0))
        pass = session_is_running(s) ? by_broker(s, u, f, &patch) : RUN_DROP;
    else if (!is_beat(f))
        pass = RUN_OURS;

    if (UNLIKELY(pass == RUN_NUMBER)) {
        run_patched(r, at, u, f, patch.at, slice_of(patch.octets, sizeof patch.octets));
        return AFTER_NEXT;
    }
    run_turn(r, at, u, pass == RUN_PASS || pass == RUN_LAST ? s->client : NULL);
    if (UNLIKELY(pass == RUN_HELD))
        return AFTER_HELD;
    if (UNLIKELY(pass == RUN_LAST)) {
        run_flush(r, at + f->len);
        split_say_owed(s, session_channel(s, f->head.channel));
    }
    if (UNLIKELY(pass == RUN_SPLIT))
        split_judge(s, u, f);
    if (LIKELY(pass != RUN_OURS))
        return AFTER_NEXT;
    struct amqp_frame frame = run_frame_of(f);
    upstream_take(u, &frame);
    return u->state != UPSTREAM_GONE && !stream_is_paused(u->stream) ? AFTER_NEXT : AFTER_STOP;
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
    struct run_frame f;
    size_t at = 0;
    enum after after = AFTER_NEXT;
    while (after == AFTER_NEXT &&
           (verdict = run_cut(slice_from(in, at), frame_max, &f)) == AMQP_CUT_FRAME) {
        after = one_from_broker(s, u, &f, &r, in.ptr + at);
        if (after != AFTER_HELD)
            at += f.len;
    }
    if (s->client != NULL)
        run_flush(&r, in.ptr + at);
    if (u->state != UPSTREAM_GONE)
        stream_consume(u->stream, at);
    if (u->state != UPSTREAM_GONE && after == AFTER_NEXT && verdict == AMQP_CUT_BAD)
        upstream_take_bad(u);
    buf_unref(&block);
    if (r.filled)
        session_flow(s);
    recover_tend(s);
    if (UNLIKELY(s->is_vacating_held))
        vacate_look(s);
}
