#include "session_inner.h"

#include "admission.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "follow.h"
#include "heartbeat.h"
#include "method_out.h"
#include "pace.h"
#include "recover.h"
#include "shift.h"
#include "splice.h"
#include "split.h"
#include "vacate.h"

const char *session_id_text(const struct session *s, char room[SESSION_ID_MAX])
{
    struct text t = text_over(room, SESSION_ID_MAX);
    text_put(&t, "0x%llx", (unsigned long long)s->id);
    return room;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_memory(void *ptr)
{
    struct session *s = ptr;
    pool_put(&s->worker->sessions, s);
}

/* Nothing of it is left on either side. */
static void bury(struct session *s)
{
    char id[SESSION_ID_MAX];
    log_debug("session", session_id_text(s, id), "ended");
    CHECK(!s->is_buried && s->channel_count == 0);
    access_session(s);
    s->is_buried = true;
    TAILQ_REMOVE(&s->worker->all, s, entry);
    loop_timer_fini(&s->timer);
    mem_free(s->channels);
    place_forget(s, NULL);
    admission_gone(s);
    login_free(&s->login);
    client_tls_free(&s->told);
    worker_client_out(s->worker, s->frontend);
    snapshot_unref(&s->snapshot);
    loop_bury(s->worker->loop, s, free_memory);
}

void session_reap(struct session *s)
{
    if (s->client == NULL && LIST_EMPTY(&s->upstreams) && !s->is_buried)
        bury(s);
}

/* The client is there no more: brokers get what it had sent, and learn of its end as it came. */
void session_client_gone(struct session *s)
{
    splice_drop_all(s);
    hunt_stop(s);
    struct upstream *u = LIST_FIRST(&s->upstreams);
    while (u != NULL) {
        struct upstream *next = LIST_NEXT(u, entry);
        if (u->state != UPSTREAM_CLOSING)
            session_free_upstream(s, u);
        else /* that one goes by itself, soon */
            upstream_resume(u);
        u = next;
    }
    s->deadline_ms = 0;
    session_reap(s);
}

static void drop_client(struct session *s)
{
    if (s->client == NULL)
        return;
    access_client(&s->access, s->client);
    stream_free(&s->client);
    session_client_gone(s);
}

void session_end(struct session *s)
{
    access_why(&s->access, false, "the proxy stopped");
    drop_client(s);
    while (!LIST_EMPTY(&s->upstreams)) /* those that were saying goodbye */
        session_free_upstream(s, LIST_FIRST(&s->upstreams));
    if (!s->is_buried)
        bury(s);
}

/* ---- channels -------------------------------------------------------------------------------- */

static void grow_channels(struct session *s, unsigned number)
{
    unsigned cap = s->channels_cap != 0 ? s->channels_cap : 4;
    while (cap <= number)
        cap *= 2;
    if (cap == s->channels_cap)
        return;
    s->channels = mem_realloc(s->channels, cap * sizeof *s->channels);
    for (unsigned i = s->channels_cap; i < cap; i++)
        s->channels[i] = NULL;
    s->channels_cap = cap;
}

struct channel *session_add_channel(struct session *s, uint16_t number)
{
    CHECK(session_channel(s, number) == NULL && number != 0 && number <= s->hs.limits.channel_max);
    struct channel *c = pool_get(&s->worker->channels);
    if (c == NULL)
        return NULL;
    if (number >= s->channels_cap)
        grow_channels(s, number);
    c->number = number;
    c->opened_ms = loop_now_ms(s->worker->loop);
    s->channels[number] = c;
    s->channel_count++;
    s->access.channels++;
    shared_bump(&s->worker->counts.channels, 1);
    return c;
}

void session_drop_channel(struct session *s, struct channel **channel)
{
    struct channel *c = *channel;
    CHECK(s->channels[c->number] == c);
    s->channels[c->number] = NULL;
    s->channel_count--;
    shared_bump(&s->worker->counts.channels, (uint64_t)-1);
    session_answered(s, c);
    follow_forget(c);
    split_free(s, c);
    admission_close(s);
    publishes_fini(&c->publishes);
    leg_free(&s->worker->legs, &c->leg);
    pool_put(&s->worker->channels, c);
    *channel = NULL;
}

/* ---- listening ------------------------------------------------------------------------------- */

static bool any_upstream_full(const struct session *s)
{
    const struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (u->state == UPSTREAM_READY && stream_is_full(u->stream))
            return true;
    }
    return false;
}

static void listen_to_client(struct session *s, bool listen)
{
    if (!listen) {
        stream_pause(s->client);
    } else if (stream_is_paused(s->client)) {
        s->listening_ms = loop_now_ms(s->worker->loop);
        stream_resume(s->client);
    }
}

void session_hold_client(struct session *s)
{
    listen_to_client(s, false);
}

void session_await(struct session *s, const struct channel *c)
{
    s->awaits = c->number;
    session_hold_client(s);
    session_flow(s); /* brokers may have been paused */
}

void session_answered(struct session *s, const struct channel *c)
{
    if (LIKELY(s->awaits != c->number))
        return;
    s->awaits = 0;
    session_flow(s);
}

/* Is an answer of this broker awaited before more of the client is taken? It is looked for behind
 * some of what the client does not read: one that only writes for now, as it may, would stand still
 * for ever. */
static bool is_awaited(const struct session *s, const struct upstream *u)
{
    if (s->awaits == 0 || stream_pending(s->client) >= SESSION_AWAIT_OCTETS_MAX)
        return false;
    const struct channel *c = session_channel(s, s->awaits);
    if (c == NULL)
        return false;
    return c->is_spread ? split_owes(c, u) : c->leg != NULL && c->leg->upstream == u;
}

void session_flow(struct session *s)
{
    if (s->client == NULL)
        return;
    bool running = session_is_running(s);
    /* While it hunts the client is paused if it says something. */
    if (s->hunt.goal == HUNT_NONE && s->awaits == 0 && !s->pace.is_holding && !vacate_holds(s))
        listen_to_client(s, !(running && any_upstream_full(s)));
    bool client_full = running && stream_is_full(s->client);
    struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (u->state == UPSTREAM_READY && client_full && !is_awaited(s, u))
            upstream_pause(u);
        else if ((u->state == UPSTREAM_READY || u->state == UPSTREAM_CLOSING) && u->held_for == 0)
            upstream_resume(u);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t beat(struct session *s, uint64_t now_ms)
{
    if (!session_is_running(s))
        return UINT64_MAX;
    struct heartbeat_view v = {
        .now_ms = now_ms,
        .last_read_ms = stream_last_read_ms(s->client),
        .last_write_ms = stream_last_write_ms(s->client),
        .listening_since_ms = s->listening_ms,
        .listening = !stream_is_paused(s->client),
        .has_output = stream_pending(s->client) != 0,
    };
    uint64_t next_ms;
    char id[SESSION_ID_MAX];
    switch (heartbeat_step(s->hs.limits.heartbeat_s, &v, &next_ms)) {
    case HEARTBEAT_WAIT:
        return next_ms;
    case HEARTBEAT_SEND:
        method_out_heartbeat(s->client);
        return next_ms;
    case HEARTBEAT_DEAD:
        access_why(&s->access, false, "the client was silent for two heartbeats");
        log_info("session", session_id_text(s, id), "client was silent for two heartbeats");
        drop_client(s);
        return UINT64_MAX;
    }
    UNREACHABLE("heartbeat verdict");
}

/* The handshake took too long, or the goodbye. */
static void deadline_passed(struct session *s)
{
    char id[SESSION_ID_MAX];
    bool closing = s->hs.state == AMQP_HS_SERVER_CLOSED || s->hs.state == AMQP_HS_SERVER_DONE;
    if (!s->was_open && !closing) {
        (void)shared_add(&s->frontend->live->ereq, 1);
        access_why(&s->access, false, "the handshake took too long, in state %s",
                   amqp_hs_server_state_name(&s->hs));
        log_info("session", session_id_text(s, id), "handshake took too long state=%s",
                 amqp_hs_server_state_name(&s->hs));
    }
    drop_client(s);
}

static uint64_t tick_upstreams(struct session *s)
{
    uint64_t next = UINT64_MAX;
    struct upstream *u = LIST_FIRST(&s->upstreams);
    while (u != NULL) {
        struct upstream *after = LIST_NEXT(u, entry);
        next = sooner(next, upstream_tick(u));
        u = after;
    }
    return next;
}

/* Be woken after that much time, or earlier if that is arranged for already. */
static void arm(struct session *s, uint64_t after_ms)
{
    if (after_ms == UINT64_MAX || s->is_buried)
        return;
    uint64_t due_ms = loop_now_ms(s->worker->loop) + after_ms;
    if (loop_timer_is_running(&s->timer) && s->due_ms <= due_ms)
        return;
    s->due_ms = due_ms;
    loop_timer_start(&s->timer, after_ms);
}

static uint64_t until(const struct session *s, uint64_t deadline_ms)
{
    uint64_t now = loop_now_ms(s->worker->loop);
    if (deadline_ms == 0)
        return UINT64_MAX;
    return deadline_ms > now ? deadline_ms - now : 1;
}

static void on_timer(void *arg)
{
    struct session *s = arg;
    if (s->deadline_ms != 0 && until(s, s->deadline_ms) == 1) {
        deadline_passed(s);
        return;
    }
    uint64_t next = until(s, s->deadline_ms);
    next = sooner(next, hunt_tick(s));
    next = sooner(next, tick_upstreams(s));
    next = sooner(next, recover_tick(s));
    next = sooner(next, pace_tick(s));
    next = sooner(next, shift_tick(s));
    next = sooner(next, vacate_tick(s));
    if (s->client != NULL)
        next = sooner(next, beat(s, loop_now_ms(s->worker->loop)));
    arm(s, next);
}

/* Nothing is judged here, under a caller's feet: the timer's own turn does that. */
void session_schedule(struct session *s)
{
    uint64_t next = until(s, s->deadline_ms);
    if (s->hunt.goal != HUNT_NONE) {
        next = sooner(next, until(s, s->hunt.deadline_ms));
        next = sooner(next, until(s, s->hunt.retry_ms));
    }
    if (s->pace.is_holding)
        next = sooner(next, until(s, s->pace.due_ms));
    if (s->is_astray)
        next = sooner(next, RECOVER_RETRY_MS);
    if (s->shift_until_ms != 0)
        next = sooner(next, SHIFT_RETRY_MS);
    if (s->vacates)
        next = sooner(next, VACATE_RETRY_MS);
    if (session_is_running(s) && s->hs.limits.heartbeat_s != 0)
        next = sooner(next, s->hs.limits.heartbeat_s * 500u);
    const struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        next = sooner(next, until(s, u->deadline_ms));
        if (u->hs.limits.heartbeat_s != 0)
            next = sooner(next, u->hs.limits.heartbeat_s * 500u);
    }
    arm(s, next);
}

/* ---- coming in ------------------------------------------------------------------------------- */

bool session_new(struct worker *w, struct snapshot *snapshot, const struct frontend *frontend,
                 unsigned bind, int fd, const struct sock_addr *peer, struct client_tls **told)
{
    CHECK(loop_is_current(w->loop) && frontend->backend != NULL);
    struct quota_entry *source;
    struct session *s = NULL;
    if (admission_source(frontend, peer, loop_now_ms(w->loop), &source))
        s = pool_get(&w->sessions);
    if (s == NULL) {
        admission_leave(frontend, &source);
        client_tls_free(told);
        sock_close(fd);
        return false;
    }
    s->quota[QUOTA_SOURCE] = source;
    s->worker = w;
    s->snapshot = snapshot_ref(snapshot);
    s->frontend = frontend;
    s->backend = frontend->backend;
    s->id = shared_add(&w->process->next_id, 1);
    s->peer = *peer;
    s->told = *told;
    *told = NULL;
    s->started_ms = loop_now_ms(w->loop);
    s->conf = w->process->greeting;
    LIST_INIT(&s->upstreams);
    amqp_hs_server_init(&s->hs, &s->conf);
    loop_timer_init(&s->timer, w->loop, on_timer, s);
    TAILQ_INSERT_TAIL(&w->all, s, entry);
    worker_client_in(w, frontend);

    s->client = stream_new(w->loop, fd, &session_client_handlers, s);
    stream_do_not_pace(s->client);
    if (frontend->tls[bind] != NULL)
        stream_start_tls_server(s->client, frontend->tls[bind]);
    session_restart_deadline(s);
    return true;
}
