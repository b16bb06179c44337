#include "split_inner.h"

#include "base/check.h"
#include "base/mem.h"
#include "method_out.h"
#include "recover.h"
#include "session.h"
#include "splice.h"

/* ---- legs ------------------------------------------------------------------------------------ */

bool split_is_ending(const struct channel *c)
{
    return c->is_spread && (c->state == CHANNEL_ENDING || c->state == CHANNEL_CLOSING);
}

struct leg *split_leg(const struct channel *c, unsigned number)
{
    CHECK(number < LEG_MAP_LEGS_MAX);
    return c->split != NULL ? c->split->legs[number] : NULL;
}

struct leg *split_leg_at(const struct channel *c, const struct upstream *u)
{
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++) {
        struct leg *leg = split_leg(c, i);
        if (leg != NULL && leg->upstream == u)
            return leg;
    }
    return NULL;
}

bool split_owes(const struct channel *c, const struct upstream *u)
{
    const struct leg *leg = split_leg_at(c, u);
    return leg != NULL &&
           (leg_map_owes(c->split->map, leg->number) || c->split->speaker == leg->number);
}

bool split_is_speaking(const struct channel *c)
{
    const struct leg *leg =
        c->split->speaker != SPLIT_NONE ? split_leg(c, c->split->speaker) : NULL;
    return leg != NULL && content_is_open(&leg->deliver);
}

unsigned split_astray_count(const struct channel *c)
{
    return c->split != NULL ? leg_map_astray_count(c->split->map) : 0;
}

static bool has_legs(const struct channel *c)
{
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++) {
        if (split_leg(c, i) != NULL)
            return true;
    }
    return false;
}

static void new_split(struct channel *c)
{
    struct split *sp = mem_zalloc(sizeof *sp);
    sp->map = leg_map_new(c->owed, c->place.has_qos[0] ? c->place.prefetch[0] : 0);
    sp->legs[LEG_MAP_MAIN] = c->leg;
    sp->speaker = SPLIT_NONE;
    sp->wish = SPLIT_NONE;
    c->split = sp;
}

/* Upstreams that were held for the channel may speak on. */
static void release(struct session *s, const struct channel *c)
{
    bool any = false;
    struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (u->held_for != c->number)
            continue;
        u->held_for = 0;
        any = true;
    }
    if (any)
        session_flow(s);
}

/* The next of those that wait speaks: what is held there is for this channel. Else one that has
 * much to say would begin its next message before anybody else came to speak. */
static void end_speech(struct session *s, struct channel *c)
{
    struct split *sp = c->split;
    unsigned before = sp->speaker;
    sp->speaker = SPLIT_NONE;
    for (unsigned i = 1; i <= LEG_MAP_LEGS_MAX; i++) {
        unsigned number = (before + i) % LEG_MAP_LEGS_MAX;
        const struct leg *leg = sp->legs[number];
        if (leg == NULL || leg->upstream->held_for != c->number)
            continue;
        leg->upstream->held_for = 0;
        sp->speaker = number;
        session_flow(s);
        return;
    }
}

void split_drop_leg(struct session *s, struct channel *c, struct leg *leg)
{
    unsigned number = leg->number;
    c->split->legs[number] = NULL;
    if (number == LEG_MAP_MAIN)
        c->leg = NULL;
    leg_free(&s->worker->legs, &leg);
    if (c->split->speaker == number)
        end_speech(s, c);
}

void split_free(struct session *s, struct channel *c)
{
    struct split *sp = c->split;
    if (sp == NULL)
        return;
    c->split = NULL;
    c->is_spread = false;
    for (unsigned i = LEG_MAP_MAIN + 1; i < LEG_MAP_LEGS_MAX; i++)
        leg_free(&s->worker->legs, &sp->legs[i]);
    leg_map_free(&sp->map);
    mem_free(sp);
    release(s, c);
}

/* ---- its end --------------------------------------------------------------------------------- */

static void close_leg(const struct channel *c, struct leg *leg, uint16_t code, struct slice text,
                      uint32_t cause)
{
    if (leg->is_closing)
        return;
    leg->is_closing = true;
    method_out_close(leg->upstream->stream, c->number, code, text, cause);
}

/* A broker takes a channel.close inside a message for a mistake of the whole connection. So a main
 * leg that the client is publishing on is closed behind that message. */
static void close_legs(const struct channel *c, uint16_t code, struct slice text, uint32_t cause)
{
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++) {
        struct leg *leg = split_leg(c, i);
        if (leg != NULL && !(i == LEG_MAP_MAIN && content_is_open(&c->publish)))
            close_leg(c, leg, code, text, cause);
    }
}

void split_close_main(struct channel *c)
{
    close_leg(c, split_leg(c, LEG_MAP_MAIN), AMQP_REPLY_SUCCESS, slice_str("Goodbye"), 0);
}

/* The client hears of the end when no leg is left. The channel may be gone then. */
static void end_if_over(struct session *s, struct channel *c)
{
    if (has_legs(c))
        return;
    if (c->state == CHANNEL_CLOSING) {
        method_out_bare(s->client, c->number, AMQP_CHANNEL_CLOSE_OK);
        session_drop_channel(s, &c);
        return;
    }
    const struct split_why *why = &c->split->why;
    channel_move(c, CHANNEL_LOST);
    c->publish = (struct content){ .next = CONTENT_NONE };
    method_out_close(s->client, c->number, why->code, slice_of(why->text, why->len), why->cause);
    split_free(s, c);
}

/* `text` is the whole reply text. */
static void end(struct session *s, struct channel *c, uint16_t code, struct slice text,
                uint32_t cause)
{
    struct split_why *why = &c->split->why;
    text = slice_head(text, sizeof why->text);
    why->code = code;
    why->cause = cause;
    why->len = text.len;
    memcpy(why->text, text.ptr, text.len);
    channel_move(c, CHANNEL_ENDING);
    splice_end_hunt(s, c);
    session_answered(s, c);
    release(s, c);
    close_legs(c, AMQP_REPLY_SUCCESS, slice_str("Goodbye"), 0);
    end_if_over(s, c);
}

static enum run_pass close_by_client(struct session *s, struct channel *c, struct slice fields,
                                     struct upstream **to)
{
    struct amqp_channel_close m;
    if (amqp_channel_close_decode(fields, &m) != AMQP_DECODE_OK) {
        if (c->leg == NULL)
            return RUN_HOMELESS;
        *to = c->leg->upstream;
        return RUN_PASS; /* which ends the connection */
    }
    splice_end_hunt(s, c);
    channel_move(c, CHANNEL_CLOSING);
    release(s, c);
    close_legs(c, m.reply_code, m.reply_text, (uint32_t)m.class_id << 16 | m.method_id);
    end_if_over(s, c);
    return RUN_SEEN_TO;
}

enum run_pass split_ending(struct channel *c, const struct run_frame *f, struct upstream **to)
{
    const struct leg *main_leg = split_leg(c, LEG_MAP_MAIN);
    if (f->head.type == AMQP_FRAME_METHOD)
        return RUN_SPLIT;
    if (main_leg == NULL || main_leg->is_closing)
        return RUN_DROP;
    *to = main_leg->upstream;
    content_frame(&c->publish, f->head.type, f->payload);
    return content_is_open(&c->publish) ? RUN_PASS : RUN_LAST;
}

/* Nothing is of interest any more, but that the client may want the end, too. */
static enum run_pass method_while_ending(struct channel *c, uint32_t id)
{
    if (id == AMQP_CHANNEL_CLOSE && c->state == CHANNEL_ENDING)
        channel_move(c, CHANNEL_CLOSING);
    if (content_is_open(&c->publish)) { /* a message that has no end */
        content_method(&c->publish, AMQP_CHANNEL_CLOSE);
        close_legs(c, AMQP_REPLY_SUCCESS, slice_str("Goodbye"), 0);
    }
    return RUN_DROP;
}

/* ---- where a consume or get goes ------------------------------------------------------------- */

struct leg *split_leg_to(const struct channel *c, const struct upstream *owner,
                         const struct server *master)
{
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++) {
        struct leg *leg = split_leg(c, i);
        if (leg != NULL && (leg->upstream == owner || leg->upstream->server == master))
            return leg;
    }
    return NULL;
}

bool split_is_limited(const struct channel *c)
{
    return c->place.has_qos[1] && c->place.prefetch[1] != 0;
}

/* PASS: to the leg *wish. HOMELESS: to one that is not there yet. A get stays behind what was
 * published. */
static enum run_pass choose(struct session *s, struct channel *c, struct slice payload,
                            unsigned *wish)
{
    const struct split *sp = c->split;
    struct upstream *owner;
    const struct server *master;
    *wish = sp->wish != SPLIT_NONE ? sp->wish : LEG_MAP_MAIN;
    bool behind = amqp_method_peek(payload) == AMQP_BASIC_GET && c->place.has_published;
    if (sp->wish != SPLIT_NONE || behind || s->pinned != NULL ||
        !place_find(s, place_queue(payload), &owner, &master))
        return RUN_PASS;
    const struct leg *leg = split_leg_to(c, owner, master);
    if (leg != NULL) {
        *wish = leg->number;
        return RUN_PASS;
    }
    if (!leg_map_may_grow(sp->map) || split_is_limited(c) ||
        (owner == NULL && !server_has_room(master)))
        return RUN_PASS;
    if (leg_map_may_add(sp->map))
        return RUN_HOMELESS;
    session_await(s, c);
    return RUN_HELD;
}

enum run_pass split_wish(struct session *s, struct channel *c, struct slice payload)
{
    unsigned wish;
    if (c->place.keeps_one || c->place.has_tx || !channel_is_living(c))
        return RUN_PASS;
    if (c->split == NULL)
        new_split(c);
    return choose(s, c, payload, &wish);
}

/* One leg for ever. */
static void forget(struct session *s, struct channel *c)
{
    c->place.keeps_one = true;
    split_free(s, c);
}

void split_follow(struct session *s, struct channel *c, struct slice payload)
{
    leg_map_follow(c->split->map, payload);
    c->split->wish = SPLIT_NONE;
    if (leg_map_is_fixed(c->split->map))
        forget(s, c);
}

/* NULL: it cannot be now. */
static struct leg *add_leg(struct session *s, struct channel *c, struct upstream *u)
{
    struct split *sp = c->split;
    if (!leg_map_may_add(sp->map))
        return NULL;
    struct leg *leg = leg_new(&s->worker->legs, u);
    if (leg == NULL)
        return NULL;
    if (!leg_map_is_split(sp->map) && content_is_open(&c->leg->deliver))
        sp->speaker = LEG_MAP_MAIN;
    leg->number = leg_map_add(sp->map);
    c->is_spread = true;
    sp->legs[leg->number] = leg;
    method_out_bare(u->stream, c->number, AMQP_CHANNEL_OPEN);
    place_tell_further(c, leg);
    return leg;
}

struct leg *split_attach(struct session *s, struct channel *c, struct upstream *u)
{
    if (c->split == NULL)
        return c->leg; /* it came to keep its one leg meanwhile */
    struct leg *leg = split_leg_at(c, u);
    if (leg == NULL)
        leg = add_leg(s, c, u);
    if (leg == NULL)
        leg = c->leg;
    c->split->wish = leg->number;
    return leg;
}

/* ---- what the client says -------------------------------------------------------------------- */

static void say(struct session *s, const struct channel *c, unsigned to, const struct run_frame *f,
                const struct amqp_method *m)
{
    const struct leg *leg = split_leg(c, to);
    CHECK(leg != NULL);
    method_out(leg->upstream->stream, c->number, m);
    run_count(s, leg->upstream, false, f->len);
}

/* Its table can be long, so it is not written anew. */
static void say_consume(struct session *s, const struct channel *c, unsigned to,
                        const struct run_frame *f, const struct amqp_basic_consume *m)
{
    const struct leg *leg = split_leg(c, to);
    CHECK(leg != NULL);
    size_t bits_at = 4 + 2 + 1 + m->queue.len + 1 + m->consumer_tag.len;
    uint8_t bits = (uint8_t)(m->no_local | m->no_ack << 1 | m->exclusive << 2 | m->nowait << 3);
    run_write_patched(leg->upstream->stream, f, bits_at, slice_of(&bits, 1));
    run_count(s, leg->upstream, false, f->len);
}

static void say_to_all(struct session *s, const struct channel *c, const struct run_frame *f,
                       const struct amqp_method *m)
{
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++) {
        const struct leg *leg = split_leg(c, i);
        if (leg == NULL)
            continue;
        if (m != NULL)
            method_out(leg->upstream->stream, c->number, m);
        else
            stream_write(leg->upstream->stream, run_octets(f));
        run_count(s, leg->upstream, false, f->len);
    }
}

static void refuse(struct session *s, struct channel *c, const struct leg_map_said *said,
                   uint32_t cause)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    end(s, c, (uint16_t)said->code, amqp_reply_text(room, said->code, "%s", said->text), cause);
}

static void say_cancel_ok(struct session *s, const struct channel *c, struct slice consumer)
{
    struct amqp_method m = { .id = AMQP_BASIC_CANCEL_OK };
    m.basic_cancel_ok.consumer_tag = consumer;
    method_out(s->client, c->number, &m);
}

/* A consumer that was nowhere. */
static void cancelled(struct session *s, struct channel *c, struct slice consumer)
{
    struct split *sp = c->split;
    if (!split_is_speaking(c)) {
        say_cancel_ok(s, c, consumer);
        return;
    }
    CHECK(!sp->owes_cancel_ok && consumer.len <= sizeof sp->cancelled);
    sp->owes_cancel_ok = true;
    sp->cancelled_len = (uint8_t)consumer.len;
    memcpy(sp->cancelled, consumer.ptr, consumer.len);
}

void split_say_owed(struct session *s, struct channel *c)
{
    struct split *sp = c->split;
    CHECK(!split_is_speaking(c));
    if (sp->owes_cancel_ok) {
        sp->owes_cancel_ok = false;
        say_cancel_ok(s, c, slice_of(sp->cancelled, sp->cancelled_len));
        session_answered(s, c);
    }
    if (sp->owes_cancels)
        recover_cancel(s, c);
}

static enum run_pass carry_out(struct session *s, struct channel *c, const struct run_frame *f,
                               const struct leg_map_said *said, struct upstream **to)
{
    switch (said->verdict) {
    case LEG_MAP_PASS:
        *to = split_leg(c, said->to)->upstream;
        return RUN_PASS;
    case LEG_MAP_ALL:
        say_to_all(s, c, f, NULL);
        return RUN_DROP;
    case LEG_MAP_SAY:
        if (said->to == LEG_MAP_TO_ALL)
            say_to_all(s, c, f, &said->method);
        else if (said->method.id == AMQP_BASIC_CONSUME)
            say_consume(s, c, said->to, f, &said->method.basic_consume);
        else
            say(s, c, said->to, f, &said->method);
        return RUN_DROP;
    case LEG_MAP_SETTLE:
        for (unsigned i = 0; i < said->settle_count; i++)
            say(s, c, said->settle[i].leg, f, &said->settle[i].method);
        return RUN_DROP;
    case LEG_MAP_CANCELLED:
        cancelled(s, c, said->method.basic_cancel.consumer_tag);
        return RUN_SEEN_TO;
    case LEG_MAP_NOTHING:
        return RUN_SEEN_TO;
    case LEG_MAP_WAIT:
        session_await(s, c);
        return RUN_HELD;
    case LEG_MAP_REFUSE:
        refuse(s, c, said, amqp_method_peek(f->payload));
        return RUN_DROP;
    }
    UNREACHABLE("verdict on a client's method");
}

enum run_pass split_client(struct session *s, struct channel *c, const struct run_frame *f,
                           struct upstream **to)
{
    uint32_t id = amqp_method_peek(f->payload);
    if (split_is_ending(c))
        return method_while_ending(c, id);
    if (id == AMQP_CHANNEL_CLOSE)
        return close_by_client(s, c, slice_from(f->payload, 4), to);
    if (c->leg == NULL)
        return RUN_HOMELESS;
    if (id == AMQP_CHANNEL_CLOSE_OK) { /* out of place: the broker is to judge it */
        *to = c->leg->upstream;
        return RUN_PASS;
    }
    if (id == AMQP_BASIC_CANCEL && c->split->owes_cancel_ok) { /* there is room for one */
        session_await(s, c);
        return RUN_HELD;
    }
    unsigned wish = LEG_MAP_MAIN;
    bool is_placed = id == AMQP_BASIC_CONSUME || id == AMQP_BASIC_GET;
    enum run_pass pass = is_placed ? choose(s, c, f->payload, &wish) : RUN_PASS;
    if (pass != RUN_PASS)
        return pass;
    struct leg_map_said said;
    leg_map_client(c->split->map, f->payload, wish, &said);
    if (said.verdict != LEG_MAP_WAIT)
        c->split->wish = SPLIT_NONE;
    if (is_placed && (said.verdict == LEG_MAP_PASS || said.verdict == LEG_MAP_SAY))
        place_count(s, c, split_leg(c, said.to)->upstream, f->payload);
    return carry_out(s, c, f, &said, to);
}

/* ---- what a broker says ---------------------------------------------------------------------- */

/* Would the leg's upstream wait for itself? Only brokers that mix messages of several channels
 * bring that about. */
static bool is_circle(const struct session *s, const struct channel *c, const struct upstream *u)
{
    while (c->is_spread && c->split->speaker != SPLIT_NONE) {
        const struct upstream *v = split_leg(c, c->split->speaker)->upstream;
        if (v == u)
            return true;
        if (v->held_for == 0 || (c = session_channel(s, v->held_for)) == NULL)
            return false;
    }
    return false;
}

enum run_pass split_turn(struct session *s, struct channel *c, const struct leg *leg)
{
    struct upstream *u = leg->upstream;
    unsigned speaker = c->split->speaker;
    if (LIKELY(speaker == SPLIT_NONE || speaker == leg->number || split_is_ending(c)))
        return RUN_PASS;
    if (is_circle(s, c, u))
        return RUN_SPLIT;
    u->held_for = c->number;
    upstream_pause(u);
    return RUN_HELD;
}

/* A broker ends the channel at its leg. */
static void fail(struct session *s, struct channel *c, struct leg *leg, struct slice fields)
{
    method_out_bare(leg->upstream->stream, c->number, AMQP_CHANNEL_CLOSE_OK);
    if (leg->is_closing)
        return; /* both at once: its close-ok is still to come */
    bool was_ending = split_is_ending(c);
    split_drop_leg(s, c, leg);
    if (was_ending) {
        end_if_over(s, c);
        return;
    }
    struct amqp_channel_close m;
    struct wire w = wire_over(fields);
    amqp_channel_close_read(&w, &m);
    if (w.ran_out)
        end(s, c, AMQP_INTERNAL_ERROR, slice_str("INTERNAL_ERROR"), 0);
    else
        end(s, c, m.reply_code, m.reply_text, (uint32_t)m.class_id << 16 | m.method_id);
}

static void note_speaker(struct session *s, struct channel *c, const struct leg *leg)
{
    if (content_is_open(&leg->deliver))
        c->split->speaker = leg->number;
    else if (c->split->speaker == leg->number)
        end_speech(s, c);
}

static void burst(struct session *s, struct channel *c)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    end(s, c, AMQP_RESOURCE_ERROR,
        amqp_reply_text(room, AMQP_RESOURCE_ERROR,
                        "more than %u deliveries since the oldest outstanding one",
                        LEG_MAP_SPLIT_MAX),
        0);
}

static enum run_pass by_several(struct session *s, struct channel *c, struct leg *leg,
                                struct slice payload, struct split_patch *patch)
{
    uint64_t tag = 0;
    struct wire_out w = wire_out_over(patch->octets, sizeof patch->octets);
    switch (leg_map_broker(c->split->map, leg->number, payload, &tag, &patch->at)) {
    case LEG_MAP_HEAR:
        note_speaker(s, c, leg);
        return RUN_PASS;
    case LEG_MAP_NUMBER:
        note_speaker(s, c, leg);
        wire_put_u64(&w, tag);
        return RUN_NUMBER;
    case LEG_MAP_SILENCE:
        note_speaker(s, c, leg);
        session_answered(s, c);
        if (leg_map_astray_count(c->split->map) != 0)
            recover_begin(s);
        return RUN_DROP;
    case LEG_MAP_BURST:
        burst(s, c);
        return RUN_DROP;
    }
    UNREACHABLE("verdict on a broker's method");
}

/* The client's numbers are the broker's. */
void split_count(struct session *s, struct channel *c, struct slice payload)
{
    uint64_t tag;
    size_t tag_at;
    uint32_t id = amqp_method_peek(payload);
    if (id == AMQP_CHANNEL_CLOSE || id == AMQP_CHANNEL_CLOSE_OK)
        return;
    if (leg_map_broker(c->split->map, LEG_MAP_MAIN, payload, &tag, &tag_at) != LEG_MAP_HEAR)
        forget(s, c);
}

enum run_pass split_broker(struct session *s, struct channel *c, struct leg *leg,
                           struct slice payload, struct split_patch *patch)
{
    uint32_t id = amqp_method_peek(payload);
    if (id == AMQP_CHANNEL_CLOSE || id == AMQP_CHANNEL_CLOSE_OK)
        return RUN_SPLIT;
    return split_is_ending(c) ? RUN_DROP : by_several(s, c, leg, payload, patch);
}

void split_judge(struct session *s, struct upstream *u, const struct run_frame *f)
{
    struct channel *c = session_channel(s, f->head.channel);
    struct leg *leg = split_leg_at(c, u);
    if (run_is_method(f, AMQP_CHANNEL_CLOSE)) {
        fail(s, c, leg, slice_from(f->payload, 4));
    } else if (!run_is_method(f, AMQP_CHANNEL_CLOSE_OK)) {
        session_close(s, AMQP_INTERNAL_ERROR, "broker %s mixes messages of several channels",
                      u->server->conf->name);
    } else if (leg->is_closing) {
        split_drop_leg(s, c, leg);
        end_if_over(s, c);
    }
}

/* What has begun is taken to its end, also when all is ending. */
enum run_pass split_content(struct session *s, struct channel *c, const struct leg *leg)
{
    if (c->split->speaker != leg->number)
        return RUN_DROP;
    note_speaker(s, c, leg);
    bool owes = c->split->owes_cancel_ok || c->split->owes_cancels;
    return owes && !content_is_open(&leg->deliver) && !split_is_ending(c) ? RUN_LAST : RUN_PASS;
}

/* ---- an upstream's end ----------------------------------------------------------------------- */

void split_lose(struct session *s, struct channel *c, struct leg *leg, const char *why)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    bool is_ending = split_is_ending(c);
    split_drop_leg(s, c, leg);
    if (is_ending)
        end_if_over(s, c);
    else
        end(s, c, AMQP_CONNECTION_FORCED, amqp_reply_text(room, AMQP_CONNECTION_FORCED, "%s", why),
            c->asked);
}
