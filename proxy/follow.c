#include "follow.h"

#include "method_out.h"
#include "recover.h"
#include "session.h"
#include "split_inner.h"

/* Nothing is lost with the leg but messages that are on their way. */
static bool can_leave(const struct session *s, const struct channel *c)
{
    const struct place *p = &c->place;
    if (c->state != CHANNEL_OPEN || c->is_spread || c->owed != 0 || p->keeps_one || p->has_tx ||
        p->is_stopped || p->has_nameless || s->pinned != NULL ||
        content_is_open(&c->leg->deliver) || content_is_open(&c->publish) || c->publishes.is_lost)
        return false;
    return c->split == NULL ||
           (leg_map_can_lose(c->split->map, LEG_MAP_MAIN) && !leg_map_has_consumers(c->split->map));
}

/* Nobody but the broker can answer that, and the client is not held until it does: not for confirms
 * that may take as long as they like, nor for a broker that takes nothing more for now. */
static bool can_leave_now(const struct channel *c)
{
    const struct publishes *p = &c->publishes;
    return !c->leg->upstream->is_blocked && (!p->confirms || publishes_are_settled(p));
}

enum run_pass follow_publish(const struct session *s, struct channel *c)
{
    if (c->leg->is_closing) /* a broker that has closed it at the same time passes over all of it */
        return c->state == CHANNEL_OPEN ? RUN_LEAVE : RUN_PASS;
    if (can_leave(s, c))
        return can_leave_now(c) ? RUN_LEAVE : RUN_PASS;
    c->place.wants_move = false; /* until it is seen to take a hop again */
    return RUN_PASS;
}

void follow_leave(struct session *s, struct channel *c)
{
    struct upstream *u = c->leg->upstream;
    if (!c->leg->is_closing) {
        c->leg->is_closing = true;
        method_out_close(u->stream, c->number, AMQP_REPLY_SUCCESS, slice_str("Goodbye"), 0);
        u->left_by = c->number;
        upstream_expect(u);
        session_schedule(s);
    }
    session_await(s, c);
}

static void leave(struct session *s, struct channel *c)
{
    if (recover_can(c, c->leg))
        recover_leave(s, c, c->leg);
    else
        session_close(s, AMQP_INTERNAL_ERROR, "broker %s sends what nobody has asked for",
                      c->leg->upstream->server->conf->name);
}

void follow_forget(const struct channel *c)
{
    struct upstream *u = c->leg != NULL ? c->leg->upstream : NULL;
    if (u == NULL || u->left_by != c->number)
        return;
    u->left_by = 0;
    if (u->state == UPSTREAM_READY)
        u->deadline_ms = 0;
}

void follow_closed(struct session *s, struct channel *c)
{
    c->leg->is_closing = false;
    follow_forget(c);
    if (c->state == CHANNEL_OPEN) {
        c->place.wants_move = false;
        publishes_ask(&c->publishes);
        publishes_answer(&c->publishes);
        leave(s, c);
        return;
    }
    session_answered(s, c);
}
