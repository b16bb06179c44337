#include "recover.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/log.h"
#include "method_out.h"
#include "session.h"
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

static bool wants_cancel(const struct leg_consumer *consumer)
{
    struct amqp_field f;
    bool wants = false;
    struct amqp_basic_consume q = leg_consumer_method(consumer);
    return amqp_table_find(q.arguments, "x-cancel-on-ha-failover", &f) &&
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
    if (leg_map_astray_count(sp->map) != 0 && !s->is_astray) {
        s->is_astray = true;
        s->astray_ms = now_ms(s);
        session_schedule(s);
    }
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

static bool is_late(const struct session *s, const struct split *sp)
{
    return now_ms(s) - sp->lost_ms >= s->backend->conf->timeout.failover;
}

static enum way look(const struct session *s, const struct split *sp,
                     const struct leg_consumer *consumer, const struct server **at)
{
    const struct server *server;
    enum where where =
        where_look(s->worker, s->backend, s->login->vhost, leg_consumer_queue(consumer), &server);
    *at = NULL;
    if (where == WHERE_UNKNOWN || is_late(s, sp))
        return WAY_ANY;
    /* That it is where the broker was lost may be old news. */
    bool is_old = server == sp->lost && where_moves(s->backend) == sp->lost_moves &&
                  now_ms(s) - sp->lost_ms < 2u * RECOVER_RETRY_MS;
    if (where == WHERE_DOWN || is_old || !server_is_usable(server))
        return WAY_WAIT;
    *at = server;
    return WAY_AT;
}

static void say_again(struct split *sp, const struct channel *c, struct leg_consumer *consumer,
                      struct leg *leg)
{
    leg_map_say_again(sp->map, consumer, leg->number);
    struct amqp_method m = { .id = AMQP_BASIC_CONSUME,
                             .basic_consume = leg_consumer_method(consumer) };
    place_tell_consume(c, leg, &m, consumer->prefetch);
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

/* True: something was done for the consumer. */
static bool tend(struct session *s, struct channel *c, struct leg_consumer *consumer)
{
    struct split *sp = c->split;
    const struct server *at;
    if (is_cancelled(sp, consumer) || look(s, sp, consumer, &at) == WAY_WAIT)
        return false;
    if (c->leg == NULL) {
        hunt_for(s, c, at);
        return true;
    }
    struct leg *leg = at != NULL ? split_leg_to(c, NULL, at) : c->leg;
    bool may_grow = leg_map_may_grow(sp->map) && !split_is_limited(c) && s->pinned == NULL;
    if (leg == NULL && may_grow && server_has_room(at)) {
        if (!leg_map_may_add(sp->map))
            return false; /* an answer is to come first */
        hunt_for(s, c, at);
        return true;
    }
    if (leg == NULL)
        leg = c->leg;
    if (!can_hear(c, leg))
        return false;
    say_again(sp, c, consumer, leg);
    return true;
}

/* The first that something can be done for. *left: there are some. */
static bool tend_one(struct session *s, bool *left)
{
    *left = false;
    for (unsigned i = 0; i < s->channels_cap; i++) {
        struct channel *c = s->channels[i];
        if (c == NULL || c->split == NULL || c->state != CHANNEL_OPEN)
            continue;
        struct leg_consumer *consumer = NULL;
        while ((consumer = leg_map_astray(c->split->map, consumer)) != NULL) {
            *left = true;
            if (tend(s, c, consumer))
                return true;
        }
    }
    return false;
}

static void all_are_back(struct session *s)
{
    char id[SESSION_ID_MAX];
    s->is_astray = false;
    log_info("session", session_id_text(s, id), "consumers are subscribed again after_ms=%llu",
             (unsigned long long)(now_ms(s) - s->astray_ms));
}

void recover_tend(struct session *s)
{
    bool left = true;
    if (LIKELY(!s->is_astray) || s->is_tended)
        return;
    s->is_tended = true; /* what is found at once comes back to recover_attached */
    while (s->client != NULL && session_is_running(s) && s->hunt.goal == HUNT_NONE) {
        if (!tend_one(s, &left))
            break;
    }
    s->is_tended = false;
    if (s->client != NULL && !left)
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
            struct leg_consumer *next = leg_map_astray(sp->map, consumer);
            if (!is_cancelled(sp, consumer) && look(s, sp, consumer, &at) != WAY_WAIT &&
                at == sp->hunted)
                say_again(sp, c, consumer, leg);
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
