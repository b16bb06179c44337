#include "hunt.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "session.h"
#include "splice.h"
#include "where.h"

#define ROUND_MS                                                                                   \
    1000u /* between rounds, when nobody tells us of a change: servers without checks */

/* A node that is back for its cluster will be seen by our check as well. */
#define STRAIGHT_MS 3000u

static uint64_t now_ms(const struct session *s)
{
    return loop_now_ms(s->worker->loop);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void enqueue(struct session *s)
{
    if (s->hunt.is_queued)
        return;
    s->hunt.is_queued = true;
    TAILQ_INSERT_TAIL(&s->worker->waiting, s, waiting);
    shared_raise(&s->backend->live->qmax, shared_add(&s->backend->live->qcur, 1));
}

static void dequeue(struct session *s)
{
    if (!s->hunt.is_queued)
        return;
    s->hunt.is_queued = false;
    TAILQ_REMOVE(&s->worker->waiting, s, waiting);
    (void)shared_sub(&s->backend->live->qcur, 1);
}

static void wait_for_server(struct session *s)
{
    s->hunt.skip = 0; /* the next round tries all of them anew */
    s->hunt.retry_ms = now_ms(s) + ROUND_MS;
    enqueue(s);
    session_schedule(s);
}

/* ---- choosing -------------------------------------------------------------------------------- */

static bool has_legs(const struct session *s)
{
    const struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (u->leg_count != 0)
            return true;
    }
    return false;
}

static bool is_skipped(const struct session *s, const struct server *server)
{
    return (s->hunt.skip >> server->index & 1) != 0;
}

/*
 * An upstream of the session's own that is to carry the next leg as well, or NULL when the balance
 * decides: the one that holds an exclusive queue, which a broker shows to no other connection; the
 * one that the login went to, for the first leg; and any of them when sessions are not to be
 * spread.
 */
static struct upstream *own_upstream(const struct session *s)
{
    if (s->pinned != NULL && s->pinned->state == UPSTREAM_READY)
        return s->pinned;
    if (s->backend->conf->legs != PROXY_LEGS_SESSION && has_legs(s))
        return NULL;
    struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (u->state == UPSTREAM_READY && server_is_usable(u->server) && !is_skipped(s, u->server))
            return u;
    }
    return NULL;
}

static struct upstream *upstream_to(struct session *s, const struct server *server)
{
    struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (u->server == server && u->state == UPSTREAM_READY)
            return u;
    }
    return NULL;
}

static bool is_rushed(const struct server *server)
{
    return shared_get(&server->live->opening) >= HUNT_OPENING_MAX;
}

/* A channel that has a leg already does not wait for another, nor looks for it elsewhere. */
static struct upstream *first_leg(const struct session *s)
{
    const struct channel *c = s->hunt.channel;
    return c != NULL && c->leg != NULL ? c->leg->upstream : NULL;
}

/* The server that the leg is wanted at, if it can take one now, or soon. */
static const struct server *wanted(const struct session *s)
{
    const struct server *w = s->hunt.wanted;
    if (w == NULL || is_skipped(s, w) || !server_has_room(w))
        return NULL;
    return is_rushed(w) && first_leg(s) != NULL ? NULL : w;
}

/* Who is next for one that may go anywhere: one that is not in a rush. */
static const struct server *pick(const struct session *s)
{
    uint64_t skip = s->hunt.skip;
    const struct server *one = backend_pick(s->backend, skip, now_ms(s), &s->worker->rng);
    while (one != NULL && is_rushed(one)) {
        skip |= (uint64_t)1 << one->index;
        one = backend_pick(s->backend, skip, now_ms(s), &s->worker->rng);
    }
    return one;
}

/* ---- a master that is down ------------------------------------------------------------------- */

static void forget_queue(struct session *s)
{
    mem_free(s->hunt.queue);
    s->hunt.queue = NULL;
    s->hunt.queue_len = 0;
}

static void keep_queue(struct session *s, struct slice queue)
{
    CHECK(queue.len != 0 && queue.len <= UINT8_MAX);
    s->hunt.queue = mem_dup(queue.ptr, queue.len);
    s->hunt.queue_len = (uint8_t)queue.len;
}

/* Worth waiting for: its node is down for its cluster and for us, and it is nowhere else. */
static bool is_out_of_reach(const struct session *s, struct slice queue, const struct server **out)
{
    return where_look(s->worker, s->backend, s->login->vhost, queue, out) == WHERE_DOWN &&
           !server_is_usable(*out) && !has_legs(s);
}

/* The master that was waited for is there, or there is none any more: the leg is wanted there. */
static bool look_again(struct session *s)
{
    struct hunt *h = &s->hunt;
    if (is_out_of_reach(s, slice_of(h->queue, h->queue_len), &h->wanted))
        return false;
    if (h->straight_ms == 0)
        h->straight_ms = now_ms(s) + STRAIGHT_MS;
    if (h->wanted != NULL && !server_is_usable(h->wanted) && now_ms(s) < h->straight_ms)
        return false;
    forget_queue(s);
    return true;
}

/* ---- the hunt -------------------------------------------------------------------------------- */

/* Its connection is made, or has failed, or is not wanted any more. */
static void opening_over(struct session *s)
{
    struct hunt *h = &s->hunt;
    if (!h->is_counted)
        return;
    h->is_counted = false;
    /* At half of it the next ones are called, rather than all of them each time. */
    struct process *p = s->worker->process;
    if (shared_sub(&h->upstream->server->live->opening, 1) == HUNT_OPENING_MAX / 2 &&
        shared_get(&s->backend->live->qcur) != 0)
        p->wake(p->control);
}

static void over(struct session *s)
{
    opening_over(s);
    dequeue(s);
    forget_queue(s);
    s->hunt = (struct hunt){ .goal = HUNT_NONE };
}

static void found(struct session *s, struct upstream *u)
{
    struct channel *c = s->hunt.channel;
    over(s);
    if (c != NULL)
        splice_attach(s, c, u);
    else
        session_found(s, u);
}

static void give_up(struct session *s, const char *why)
{
    struct channel *c = s->hunt.channel;
    hunt_stop(s);
    if (c != NULL)
        splice_give_up(s, c, why);
    else
        session_not_found(s, why);
}

static void try_server(struct session *s, const struct server *server)
{
    dequeue(s);
    struct upstream *u = session_open_upstream(s, server);
    if (u == NULL) {
        give_up(s, "the proxy has no room for more connections");
        return;
    }
    s->hunt.upstream = u;
    s->hunt.is_counted = true;
    (void)shared_add(&server->live->opening, 1);
    session_schedule(s);
}

static void step(struct session *s)
{
    CHECK(s->hunt.upstream == NULL);
    if (s->hunt.queue != NULL && !look_again(s)) {
        wait_for_server(s);
        return;
    }
    const struct server *server = wanted(s);
    struct upstream *own = server != NULL ? upstream_to(s, server) : first_leg(s);
    if (server == NULL && own == NULL && s->hunt.channel != NULL)
        own = own_upstream(s);
    if (own != NULL) {
        found(s, own);
        return;
    }
    if (server == NULL)
        server = pick(s);
    own = server != NULL ? upstream_to(s, server) : NULL;
    if (own != NULL)
        found(s, own);
    else if (server != NULL && !is_rushed(server))
        try_server(s, server);
    else
        wait_for_server(s);
}

static void prepare(struct session *s, enum hunt_goal goal, struct channel *channel,
                    const struct server *server)
{
    CHECK(s->hunt.goal == HUNT_NONE && goal != HUNT_NONE);
    s->hunt = (struct hunt){
        .goal = goal,
        .channel = channel,
        .wanted = server,
        .deadline_ms = now_ms(s) + s->backend->conf->timeout.failover,
    };
}

void hunt_start(struct session *s, enum hunt_goal goal, struct channel *channel)
{
    prepare(s, goal, channel, NULL);
    step(s);
}

void hunt_start_for(struct session *s, struct channel *channel, struct slice queue)
{
    const struct server *master;
    bool waits = is_out_of_reach(s, queue, &master);
    prepare(s, HUNT_READY, channel, master);
    if (waits)
        keep_queue(s, queue);
    step(s);
}

void hunt_start_at(struct session *s, struct channel *channel, const struct server *server)
{
    CHECK(channel != NULL && server != NULL);
    prepare(s, HUNT_READY, channel, server);
    step(s);
}

void hunt_enter(struct session *s, struct upstream *held)
{
    CHECK(s->hunt.goal == HUNT_NONE && held->state == UPSTREAM_HELD);
    s->hunt = (struct hunt){
        .goal = HUNT_READY,
        .upstream = held,
        .deadline_ms = now_ms(s) + s->backend->conf->timeout.failover,
    };
    upstream_enter(held);
    session_schedule(s);
}

void hunt_again(struct session *s)
{
    if (s->hunt.goal != HUNT_NONE && s->hunt.upstream == NULL)
        step(s);
}

void hunt_stop(struct session *s)
{
    struct upstream *u = s->hunt.upstream;
    over(s);
    if (u != NULL)
        session_free_upstream(s, u);
}

void hunt_tuned(struct session *s, struct upstream *u)
{
    CHECK(s->hunt.upstream == u && s->hunt.goal == HUNT_TUNED);
    found(s, u);
}

void hunt_ready(struct session *s, struct upstream *u)
{
    CHECK(s->hunt.upstream == u && s->hunt.goal == HUNT_READY);
    found(s, u);
}

/* A broker that says no to the client says so for all brokers; one that goes away, or has trouble
 * of its own, does not. A client who has legs elsewhere has been let in: what a further broker has
 * against him, such as one connection too many, ends nothing that is well. */
static bool is_final(const struct session *s, const struct upstream_end *end)
{
    if (session_is_running(s) && has_legs(s))
        return false;
    if (end->fate == UPSTREAM_HUNG_UP)
        return true;
    return end->fate == UPSTREAM_REFUSED && end->code != AMQP_CONNECTION_FORCED &&
           end->code != AMQP_INTERNAL_ERROR && end->code != AMQP_RESOURCE_ERROR;
}

void hunt_gone(struct session *s, struct upstream *u)
{
    CHECK(s->hunt.upstream == u);
    opening_over(s);
    s->hunt.upstream = NULL;
    struct upstream_end end = u->end;
    const struct server *server = u->server;
    session_free_upstream(s, u);
    if (is_final(s, &end)) {
        over(s);
        session_refused(s, &end);
        return;
    }
    log_debug("hunt", server->conf->name, "not to be had: %s", end.text);
    (void)shared_add(&server->live->wredis, 1);
    (void)shared_add(&s->backend->live->wredis, 1);
    s->worker->process->suspect(s->worker->process->control, server->live);
    s->hunt.skip |= (uint64_t)1 << server->index;
    step(s);
}

uint64_t hunt_tick(struct session *s)
{
    if (s->hunt.goal == HUNT_NONE)
        return UINT64_MAX;
    uint64_t now = now_ms(s);
    if (now >= s->hunt.deadline_ms && s->hunt.queue != NULL) {
        forget_queue(s);
        s->hunt.wanted = NULL;
        s->hunt.deadline_ms = now + s->backend->conf->timeout.connect;
        step(s);
        return s->hunt.goal == HUNT_NONE ? UINT64_MAX : 1;
    }
    if (now >= s->hunt.deadline_ms) {
        char why[128];
        struct text t = text_over(why, sizeof why);
        text_put(&t, "no server of %s is available", s->backend->conf->name);
        give_up(s, why);
        return UINT64_MAX;
    }
    uint64_t next = s->hunt.deadline_ms - now;
    if (s->hunt.upstream != NULL)
        return next;
    if (now >= s->hunt.retry_ms) {
        hunt_again(s);
        return s->hunt.goal == HUNT_NONE ? UINT64_MAX : 1;
    }
    uint64_t retry = s->hunt.retry_ms - now;
    return retry < next ? retry : next;
}
