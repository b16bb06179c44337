#include "vacate.h"

#include "base/check.h"
#include "base/log.h"
#include "recover.h"
#include "session.h"
#include "split_inner.h"

enum ready {
    READY_NO,   /* the client is to do something first */
    READY_SOON, /* the broker is */
    READY_NOW,
};

static uint64_t now_ms(const struct session *s)
{
    return loop_now_ms(s->worker->loop);
}

static struct leg *leg_at(const struct channel *c, const struct upstream *u)
{
    if (c->is_spread)
        return split_leg_at(c, u);
    return c->leg != NULL && c->leg->upstream == u ? c->leg : NULL;
}

static enum ready worse(enum ready a, enum ready b)
{
    return a < b ? a : b;
}

/* What is published without confirms is settled by the goodbye. */
static enum ready main_is_ready(const struct channel *c)
{
    const struct publishes *p = &c->publishes;
    if (content_is_open(&c->publish) || p->is_lost)
        return READY_NO;
    return p->confirms && !publishes_are_settled(p) ? READY_SOON : READY_NOW;
}

static enum ready leg_is_ready(const struct channel *c, const struct leg *leg)
{
    const struct split *sp = c->split;
    if (c->state != CHANNEL_OPEN || c->place.keeps_one || c->place.has_tx || c->place.is_stopped)
        return READY_NO;
    if (content_is_open(&leg->deliver) || leg->is_closing || leg->told != 0)
        return READY_SOON;
    enum ready ready = leg->number == LEG_MAP_MAIN ? main_is_ready(c) : READY_NOW;
    if (!c->is_spread && c->owed != 0)
        ready = worse(ready, READY_SOON);
    if (sp == NULL)
        return ready;
    if (leg_map_is_used(sp->map, leg->number))
        return READY_NO;
    if (leg_map_owes(sp->map, leg->number) || sp->speaker == leg->number)
        ready = worse(ready, READY_SOON);
    return ready == READY_NOW && !leg_map_can_lose(sp->map, leg->number) ? READY_NO : ready;
}

static bool has_exclusive_queues(const struct session *s, const struct upstream *u)
{
    for (const struct place_owned *o = s->owned; o != NULL; o = o->next) {
        if (o->upstream == u)
            return true;
    }
    return s->pinned == u;
}

/* Is there anybody to go to? */
static bool has_other(const struct session *s, const struct upstream *u)
{
    const struct upstream *v;
    LIST_FOREACH (v, &s->upstreams, entry) {
        if (v != u && v->state == UPSTREAM_READY && server_is_usable(v->server))
            return true;
    }
    for (unsigned i = 0; i < backend_server_count(s->backend); i++) {
        const struct server *server = &s->backend->servers[i];
        if (server != u->server && server_has_room(server) &&
            shared_get(&server->live->weight) != 0)
            return true;
    }
    return false;
}

static enum ready is_ready(const struct session *s, const struct upstream *u)
{
    if (has_exclusive_queues(s, u) || u->owes_secret || u->is_blocked || !has_other(s, u))
        return READY_NO;
    enum ready ready = u->held_for == 0 ? READY_NOW : READY_SOON;
    for (unsigned i = 0; i < s->channels_cap; i++) {
        const struct channel *c = s->channels[i];
        const struct leg *leg = c != NULL ? leg_at(c, u) : NULL;
        if (leg != NULL)
            ready = worse(ready, leg_is_ready(c, leg));
    }
    return ready;
}

bool vacate_holds(const struct session *s)
{
    return s->vacated != NULL || s->is_vacating_held;
}

static void hold(struct session *s)
{
    uint64_t now = now_ms(s);
    if (s->vacate_ms == 0 || now - s->vacate_ms >= 2u * VACATE_HOLD_MS)
        s->vacate_ms = now;
    s->is_vacating_held = now - s->vacate_ms < VACATE_HOLD_MS;
}

static void leave(struct session *s, struct upstream *u)
{
    char id[SESSION_ID_MAX];
    log_debug("session", session_id_text(s, id), "leaves server=%s, which is drained",
              u->server->conf->name);
    s->vacated = u;
    session_hold_client(s);
    upstream_close(u, AMQP_REPLY_SUCCESS, slice_str("Goodbye"));
}

static bool is_drained(const struct upstream *u)
{
    return u->state == UPSTREAM_READY && shared_get(&u->server->live->draining) != 0;
}

/* The first that can be left; *soon: one is worth to wait for. */
static struct upstream *find(struct session *s, bool *soon)
{
    struct upstream *u;
    s->vacates = false;
    *soon = false;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (!is_drained(u))
            continue;
        s->vacates = true;
        enum ready ready = is_ready(s, u);
        if (ready == READY_NOW)
            return u;
        *soon |= ready == READY_SOON;
    }
    return NULL;
}

void vacate_look(struct session *s)
{
    bool soon;
    if (s->client == NULL || !session_is_running(s) || !s->backend->conf->by_master ||
        s->vacated != NULL || s->hunt.goal != HUNT_NONE)
        return;
    bool did = s->vacates, held = s->is_vacating_held;
    struct upstream *u = find(s, &soon);
    s->is_vacating_held = false;
    if (u != NULL)
        leave(s, u);
    else if (soon)
        hold(s);
    else
        s->vacate_ms = 0;
    if (s->is_vacating_held)
        session_hold_client(s);
    else if (held)
        session_flow(s);
    if (s->vacates && !did)
        session_schedule(s);
}

uint64_t vacate_tick(struct session *s)
{
    if (!s->vacates)
        return UINT64_MAX;
    vacate_look(s);
    return s->vacates ? VACATE_RETRY_MS : UINT64_MAX;
}

void vacate_gone(struct session *s, const struct upstream *u)
{
    CHECK(s->vacated == u && u->is_answered);
    s->vacated = NULL;
    for (unsigned i = 0; i < s->channels_cap; i++) {
        struct channel *c = s->channels[i];
        struct leg *leg = c != NULL ? leg_at(c, u) : NULL;
        if (leg == NULL)
            continue;
        if (leg->number == LEG_MAP_MAIN) {
            publishes_ask(&c->publishes);
            publishes_answer(&c->publishes);
        }
        if (channel_is_living(c) && recover_can(c, leg))
            recover_leave(s, c, leg);
    }
    shared_bump(&s->worker->counts.vacated, 1);
}
