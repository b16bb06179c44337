#include "recover.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/log.h"
#include "method_out.h"
#include "session.h"
#include "shift.h"
#include "split_inner.h"
#include "where.h"

static uint64_t now_ms(const struct session *s)
{
    return loop_now_ms(s->worker->loop);
}

/* ---- a leg is gone --------------------------------------------------------------------------- */

bool recover_can(const struct channel *c, const struct leg *leg)
{
    const struct split *sp = c->split;
    if (c->place.keeps_one || c->place.has_tx || c->place.is_stopped ||
        content_is_open(&leg->deliver))
        return false;
    if (leg->number == LEG_MAP_MAIN &&
        (content_is_open(&c->publish) || !publishes_are_settled(&c->publishes)))
        return false;
    if (!c->is_spread && c->owed != 0)
        return false;
    return sp == NULL || (sp->speaker != leg->number && leg_map_can_lose(sp->map, leg->number));
}

/* The first of the others becomes the main leg: what is published goes there from now on. */
static void promote(struct channel *c)
{
    struct split *sp = c->split;
    unsigned i = LEG_MAP_MAIN + 1;
    while (i < LEG_MAP_LEGS_MAX && sp->legs[i] == NULL)
        i++;
    if (i == LEG_MAP_LEGS_MAX)
        return;
    struct leg *leg = sp->legs[i];
    leg_map_promote(sp->map, i);
    sp->legs[i] = NULL;
    sp->legs[LEG_MAP_MAIN] = leg;
    leg->number = LEG_MAP_MAIN;
    c->leg = leg;
    if (sp->speaker == i)
        sp->speaker = LEG_MAP_MAIN;
    if (sp->wish == i)
        sp->wish = LEG_MAP_MAIN;
    place_tell_confirms(c);
}

/* One that was taken off its leg by plan has lost no broker. */
static bool wants_cancel(const struct leg_consumer *consumer)
{
    struct amqp_field f;
    bool wants = false;
    struct amqp_basic_consume q = leg_consumer_method(consumer);
    return consumer->is_bereft && amqp_table_find(q.arguments, "x-cancel-on-ha-failover", &f) &&
           amqp_field_as_bool(&f, &wants) && wants;
}

void recover_cancel(struct session *s, struct channel *c)
{
    struct leg_map *map = c->split->map;
    struct leg_consumer *consumer = leg_map_astray(map, NULL);
    if ((s->hs.capabilities & AMQP_CAP_CONSUMER_CANCEL_NOTIFY) == 0)
        return;
    c->split->owes_cancels = split_is_speaking(c);
    if (c->split->owes_cancels)
        return;
    while (consumer != NULL) {
        struct leg_consumer *next = leg_map_astray(map, consumer);
        if (wants_cancel(consumer)) {
            struct amqp_method m = { .id = AMQP_BASIC_CANCEL };
            m.basic_cancel.consumer_tag = leg_consumer_tag(consumer);
            m.basic_cancel.nowait = true;
            method_out(s->client, c->number, &m);
            leg_map_drop_astray(map, consumer);
        }
        consumer = next;
    }
}

/* ... and that is still to be said. */
static bool is_cancelled(const struct split *sp, const struct leg_consumer *consumer)
{
    return sp->owes_cancels && wants_cancel(consumer);
}

void recover_begin(struct session *s)
{
    if (s->is_astray)
        return;
    s->is_astray = true;
    s->astray_ms = now_ms(s);
    session_schedule(s);
}

void recover_leave(struct session *s, struct channel *c, struct leg *leg)
{
    struct split *sp = c->split;
    unsigned number = leg->number;
    CHECK(recover_can(c, leg));
    if (number == LEG_MAP_MAIN)
        publishes_move(&c->publishes);
    session_answered(s, c); /* follow may have held the client */
    if (sp == NULL) {
        leg_free(&s->worker->legs, &c->leg);
        return;
    }
    sp->lost = leg->upstream->server;
    sp->lost_moves = where_moves(s->backend);
    sp->lost_ms = now_ms(s);
    leg_map_lose(sp->map, number);
    c->is_spread = true;
    split_drop_leg(s, c, leg);
    if (sp->wish == number)
        sp->wish = SPLIT_NONE;
    if (number == LEG_MAP_MAIN)
        promote(c);
    recover_cancel(s, c);
    s->is_bereft |= leg_map_astray_count(sp->map) != 0;
    if (leg_map_astray_count(sp->map) != 0)
        recover_begin(s);
}

void recover_restore(struct channel *c)
{
    if (c->split == NULL)
        return;
    c->split->legs[LEG_MAP_MAIN] = c->leg;
    leg_map_restore(c->split->map);
}

/* ---- where consumers go ---------------------------------------------------------------------- */

enum way {
    WAY_WAIT, /* the new master is not known yet */
    WAY_AT,   /* to that server */
    WAY_ANY,  /* to any: it is not known, or all patience is at its end */
};

/* It has been astray for so long. One that was taken off its leg is no matter of those that lost
 * theirs: however many move, the others' time goes on. */
static bool is_late(const struct session *s, const struct split *sp,
                    const struct leg_consumer *consumer)
{
    uint64_t since = consumer->off_ms != 0 ? consumer->off_ms : sp->lost_ms;
    return now_ms(s) - since >= s->backend->conf->timeout.failover;
}

/* Was it left so lately that a word of it as the master may be from before? */
static bool is_left(const struct session *s, const struct server *server, const struct server *left,
                    uint64_t moves, uint64_t left_ms)
{
    return server == left && where_moves(s->backend) == moves &&
           now_ms(s) - left_ms < 2u * RECOVER_RETRY_MS;
}

static enum way look(const struct session *s, const struct split *sp,
                     const struct leg_consumer *consumer, const struct server **at)
{
    const struct server *server;
    enum where where =
        where_look(s->worker, s->backend, s->login->vhost, leg_consumer_queue(consumer), &server);
    *at = NULL;
    if (where == WHERE_UNKNOWN)
        return WAY_ANY;
    bool is_old = is_left(s, server, sp->lost, sp->lost_moves, sp->lost_ms) ||
                  is_left(s, server, consumer->from, consumer->from_moves, consumer->off_ms);
    if (where == WHERE_DOWN || is_old || !server_is_usable(server))
        return is_late(s, sp, consumer) ? WAY_ANY : WAY_WAIT;
    *at = server;
    return WAY_AT;
}

/* How much more may be outstanding of it? False: its client is to settle some first. */
static bool has_room(const struct session *s, const struct split *sp, struct leg_consumer *consumer,
                     uint16_t *limit)
{
    uint32_t held = leg_map_held(sp->map, consumer);
    *limit = consumer->prefetch;
    if (held == 0 || consumer->prefetch == 0)
        return true;
    if (consumer->seen != held) {
        consumer->seen = held;
        consumer->seen_ms = now_ms(s);
    }
    if (held >= consumer->prefetch || now_ms(s) - consumer->seen_ms < consumer->patience_ms)
        return false;
    *limit = (uint16_t)(consumer->prefetch - held);
    return true;
}

static enum way look_for(const struct session *s, const struct split *sp,
                         struct leg_consumer *consumer, const struct server **at, uint16_t *limit)
{
    if (is_cancelled(sp, consumer) || !has_room(s, sp, consumer, limit))
        return WAY_WAIT;
    return look(s, sp, consumer, at);
}

/* It is no longer what it was taken off for. */
static void note_back(struct session *s, struct leg_consumer *consumer, uint16_t limit)
{
    if (consumer->off_ms == 0)
        consumer->tops = 0;
    if (consumer->tops == 0)
        consumer->short_ms = now_ms(s);
    consumer->off_ms = 0;
    consumer->from = NULL;
    consumer->patience_ms = RECOVER_KEPT_MS;
    consumer->seen = 0;
    consumer->seen_ms = now_ms(s);
    if (limit != consumer->prefetch)
        shift_wish(s);
}

static void say_again(struct session *s, const struct channel *c, struct leg_consumer *consumer,
                      struct leg *leg, uint16_t limit)
{
    struct split *sp = c->split;
    note_back(s, consumer, limit);
    leg_map_say_again(sp->map, consumer, leg->number, limit);
    struct amqp_method m = { .id = AMQP_BASIC_CONSUME,
                             .basic_consume = leg_consumer_method(consumer) };
    place_tell_consume(c, leg, &m, limit);
}

static void hunt_for(struct session *s, struct channel *c, const struct server *at)
{
    c->split->is_hunting = true;
    c->split->hunted = at;
    if (at != NULL)
        hunt_start_at(s, c, at);
    else
        hunt_start(s, HUNT_READY, c);
}

/* A broker takes a method inside a message for a mistake of the whole connection. */
static bool can_hear(const struct channel *c, const struct leg *leg)
{
    return leg->number != LEG_MAP_MAIN || !content_is_open(&c->publish);
}

static void tend(struct session *s, struct channel *c, struct leg_consumer *consumer)
{
    struct split *sp = c->split;
    const struct server *at;
    uint16_t limit;
    if (look_for(s, sp, consumer, &at, &limit) == WAY_WAIT)
        return;
    if (c->leg == NULL) {
        hunt_for(s, c, at);
        return;
    }
    struct leg *leg = at != NULL ? split_leg_to(c, NULL, at) : c->leg;
    bool may_grow = leg_map_may_grow(sp->map) && !split_is_limited(c) && s->pinned == NULL;
    if (leg == NULL && may_grow && server_has_room(at)) {
        if (!leg_map_may_add(sp->map))
            return; /* an answer is to come first */
        hunt_for(s, c, at);
        return;
    }
    if (leg == NULL)
        leg = c->leg;
    if (!can_hear(c, leg))
        return;
    say_again(s, c, consumer, leg, limit);
}

static bool is_free(const struct session *s)
{
    return s->client != NULL && session_is_running(s) && s->hunt.goal == HUNT_NONE;
}

/* What is hunted for and found at once may have seen to others as well. */
static void tend_channel(struct session *s, unsigned number)
{
    const struct leg_consumer *at = NULL;
    struct channel *c;
    while (is_free(s) && (c = s->channels[number]) != NULL && c->split != NULL &&
           c->state == CHANNEL_OPEN) {
        struct leg_consumer *consumer = leg_map_astray(c->split->map, at);
        if (consumer == NULL)
            return;
        tend(s, c, consumer);
        at = consumer;
    }
}

static bool are_left(const struct session *s)
{
    for (unsigned i = 0; i < s->channels_cap; i++) {
        const struct channel *c = s->channels[i];
        if (c != NULL && c->state == CHANNEL_OPEN && split_astray_count(c) != 0)
            return true;
    }
    return false;
}

static void all_are_back(struct session *s)
{
    char id[SESSION_ID_MAX];
    bool was_bereft = s->is_bereft;
    s->is_astray = s->is_bereft = false;
    unsigned long long after_ms = now_ms(s) - s->astray_ms;
    session_id_text(s, id);
    if (was_bereft)
        log_info("session", id, "consumers are subscribed again after_ms=%llu", after_ms);
    else
        log_debug("session", id, "consumers have moved after_ms=%llu", after_ms);
}

void recover_tend(struct session *s)
{
    if (LIKELY(!s->is_astray) || s->is_tended)
        return;
    s->is_tended = true; /* what is found at once comes back to recover_attached */
    for (unsigned i = 0; i < s->channels_cap && is_free(s); i++)
        tend_channel(s, i);
    s->is_tended = false;
    if (is_free(s) && !are_left(s))
        all_are_back(s);
}

void recover_attached(struct session *s, struct channel *c, struct leg *leg)
{
    struct split *sp = c->split;
    if (sp == NULL)
        return;
    if (sp->is_hunting && leg != NULL) {
        sp->is_hunting = false;
        sp->wish = SPLIT_NONE;
        struct leg_consumer *consumer = leg_map_astray(sp->map, NULL);
        while (consumer != NULL && can_hear(c, leg)) {
            const struct server *at;
            uint16_t limit;
            struct leg_consumer *next = leg_map_astray(sp->map, consumer);
            if (look_for(s, sp, consumer, &at, &limit) != WAY_WAIT && at == sp->hunted)
                say_again(s, c, consumer, leg, limit);
            consumer = next;
        }
    }
    recover_tend(s);
}

uint64_t recover_tick(struct session *s)
{
    recover_tend(s);
    return s->is_astray ? RECOVER_RETRY_MS : UINT64_MAX;
}
