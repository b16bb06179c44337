#include "shift.h"

#include "base/check.h"
#include "base/log.h"
#include "method_out.h"
#include "recover.h"
#include "session.h"
#include "split_inner.h"
#include "where.h"

static uint64_t now_ms(const struct session *s)
{
    return loop_now_ms(s->worker->loop);
}

enum wish {
    WISH_STAY,
    WISH_LATER, /* it would go, but cannot be asked to now */
    WISH_GO,
};

/* The server that it should be at, or NULL: it is well where it is. */
static const struct server *goal_of(const struct session *s, const struct leg_consumer *consumer,
                                    const struct leg *leg)
{
    const struct server *at;
    struct slice vhost = s->login->vhost, queue = leg_consumer_queue(consumer);
    if (where_look(s->worker, s->backend, vhost, queue, &at) != WHERE_AT ||
        at == leg->upstream->server || !where_is_loose(s->backend, vhost, queue))
        return NULL;
    return at;
}

static bool is_to_be_had(const struct channel *c, const struct server *at)
{
    if (!server_is_usable(at))
        return false;
    return split_leg_to(c, NULL, at) != NULL ||
           (leg_map_may_grow(c->split->map) && server_has_room(at));
}

/* Has nothing come, and nothing been settled, for so long? */
static bool is_still(const struct session *s, struct leg_consumer *consumer, uint32_t held,
                     uint64_t last, uint64_t ms)
{
    if (consumer->seen != held || consumer->seen_last != last) {
        consumer->seen = held;
        consumer->seen_last = last;
        consumer->seen_ms = now_ms(s);
    }
    return now_ms(s) - consumer->seen_ms >= ms;
}

/* It is there with less than its limit. Is it to have more now? */
static bool is_to_be_topped(const struct session *s, const struct leg_map *map,
                            struct leg_consumer *consumer)
{
    uint64_t last;
    uint32_t held = leg_map_held(map, consumer);
    uint32_t there = leg_map_held_there(map, consumer, &last);
    bool is_first = consumer->tops == 0;
    bool still =
        is_still(s, consumer, held, last, is_first ? SHIFT_PATIENCE_MAX_MS : RECOVER_KEPT_MS);
    if (held == 0)
        return consumer->tops < SHIFT_TOPS_MAX || still;
    if (there < consumer->given || held >= consumer->prefetch)
        return false;
    return still || (is_first && there == held);
}

static enum wish wish_of(const struct session *s, const struct channel *c,
                         struct leg_consumer *consumer, const struct server **goal)
{
    const struct leg_map *map = c->split->map;
    if (!leg_map_is_movable(map, consumer))
        return WISH_STAY;
    const struct leg *leg = split_leg(c, consumer->leg);
    const struct server *at = *goal = goal_of(s, consumer, leg);
    if (at == NULL && !leg_map_is_short(consumer))
        return WISH_STAY;
    bool can_go = at != NULL ? is_to_be_had(c, at) : is_to_be_topped(s, map, consumer);
    bool in_message = leg->number == LEG_MAP_MAIN && content_is_open(&c->publish);
    if (!can_go || !leg_map_may_take_off(map, consumer) || leg->is_closing || in_message)
        return WISH_LATER;
    return WISH_GO;
}

/* From now on its numbers are counted through. */
static void spread(struct channel *c)
{
    if (c->is_spread)
        return;
    if (content_is_open(&c->leg->deliver))
        c->split->speaker = LEG_MAP_MAIN;
    c->is_spread = true;
}

/* How long what it has may keep it from coming back for its whole limit. A client that waits itself
 * gets the rest at once. */
static uint64_t patience_of(const struct session *s, const struct leg_consumer *consumer)
{
    uint64_t patience_ms = RECOVER_KEPT_MS + now_ms(s) - consumer->short_ms;
    if (consumer->tops > 0 || now_ms(s) - consumer->seen_ms >= SHIFT_PATIENCE_MAX_MS)
        return 0;
    return patience_ms < SHIFT_PATIENCE_MAX_MS ? patience_ms : SHIFT_PATIENCE_MAX_MS;
}

/* What recover is to know of it: it goes to another server, or stays at this one. */
static void note(const struct session *s, struct leg_consumer *consumer, const struct server *from,
                 bool stays)
{
    consumer->patience_ms = stays ? patience_of(s, consumer) : RECOVER_KEPT_MS;
    consumer->tops = stays ? consumer->tops + 1 : 0;
    consumer->from = stays ? NULL : from;
    consumer->from_moves = where_moves(s->backend);
    consumer->off_ms = now_ms(s);
    consumer->seen = 0;
}

static void go(struct session *s, struct channel *c, struct leg_consumer *consumer,
               const struct server *goal)
{
    char id[SESSION_ID_MAX];
    struct split *sp = c->split;
    const struct leg *leg = split_leg(c, consumer->leg);
    struct amqp_method m = { .id = AMQP_BASIC_CANCEL };
    spread(c);
    leg_map_take_off(sp->map, consumer);
    note(s, consumer, leg->upstream->server, goal == NULL);
    m.basic_cancel.consumer_tag = leg_consumer_tag(consumer);
    method_out(leg->upstream->stream, c->number, &m);
    shared_bump(&s->worker->counts.consumers_moved, 1);
    log_debug("session", session_id_text(s, id), "consumer moves channel=%u queue=%.*s from=%s",
              c->number, SLICE_ARG(leg_consumer_queue(consumer)),
              leg->upstream->server->conf->name);
}

/* True: some are to be looked at again. */
static bool look_at(struct session *s, struct channel *c)
{
    bool later = false;
    if (c->state != CHANNEL_OPEN || c->split == NULL || c->leg == NULL || c->place.keeps_one ||
        c->place.has_tx || c->place.is_stopped || split_is_limited(c))
        return false;
    struct leg_consumer *consumer = NULL;
    while ((consumer = leg_map_consumer(c->split->map, consumer)) != NULL) {
        const struct server *goal = NULL;
        enum wish wish = wish_of(s, c, consumer, &goal);
        later |= wish == WISH_LATER;
        if (wish == WISH_GO)
            go(s, c, consumer, goal);
    }
    return later;
}

static bool look_at_all(struct session *s)
{
    bool later = false;
    for (unsigned i = 0; i < s->channels_cap; i++) {
        if (s->channels[i] != NULL)
            later |= look_at(s, s->channels[i]);
    }
    return later;
}

void shift_look(struct session *s)
{
    uint64_t moves;
    if (s->client == NULL || !session_is_running(s) || !s->backend->conf->by_master ||
        s->pinned != NULL || (moves = where_moves(s->backend)) == s->shift_moves)
        return;
    s->shift_moves = moves;
    if (s->shift_until_ms != UINT64_MAX)
        s->shift_until_ms = now_ms(s) + s->backend->conf->timeout.failover;
    session_schedule(s);
    (void)shift_tick(s);
}

void shift_wish(struct session *s)
{
    bool was_due = s->shift_until_ms != 0;
    s->shift_until_ms = UINT64_MAX;
    if (!was_due)
        session_schedule(s);
}

uint64_t shift_tick(struct session *s)
{
    if (s->shift_until_ms == 0 || s->client == NULL || !session_is_running(s))
        return UINT64_MAX;
    if (!look_at_all(s) || now_ms(s) >= s->shift_until_ms)
        s->shift_until_ms = 0;
    return s->shift_until_ms != 0 ? SHIFT_RETRY_MS : UINT64_MAX;
}
