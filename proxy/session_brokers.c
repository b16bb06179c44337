#include "session_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "method_out.h"
#include "recover.h"
#include "splice.h"
#include "vacate.h"

/* ---- what they tell
 * ----------------------------------------------------------------------------------
 */

static void on_tuned(struct upstream *u)
{
    hunt_tuned(u->owner, u);
}

static void on_ready(struct upstream *u)
{
    hunt_ready(u->owner, u);
}

static void on_input(struct upstream *u)
{
    splice_upstream(u->owner, u);
}

static void on_upstream_room(struct upstream *u)
{
    session_flow(u->owner);
}

static void tell_blocked(struct session *s, struct slice reason)
{
    if (s->client == NULL || !session_is_running(s) ||
        (s->hs.capabilities & AMQP_CAP_CONNECTION_BLOCKED) == 0)
        return;
    struct amqp_method m = { .id = AMQP_CONNECTION_BLOCKED };
    m.connection_blocked.reason = slice_head(reason, UINT8_MAX);
    method_out(s->client, 0, &m);
}

static void one_less_blocked(struct session *s)
{
    CHECK(s->blocked_count > 0);
    if (--s->blocked_count == 0 && s->client != NULL && session_is_running(s) &&
        (s->hs.capabilities & AMQP_CAP_CONNECTION_BLOCKED) != 0)
        method_out_bare(s->client, 0, AMQP_CONNECTION_UNBLOCKED);
}

/* The client is blocked while any of its brokers is. */
static void on_blocked(struct upstream *u, struct slice reason)
{
    struct session *s = u->owner;
    if (!u->is_blocked)
        one_less_blocked(s);
    else if (s->blocked_count++ == 0)
        tell_blocked(s, reason);
}

static bool owes_secret(const struct session *s)
{
    const struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (u->owes_secret)
            return true;
    }
    return false;
}

static void on_secret_taken(struct upstream *u)
{
    struct session *s = u->owner;
    if (s->client != NULL && !owes_secret(s))
        session_step(s, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_SECRET_OK });
}

/* What the client reads when all that it has lived there. */
static void describe_loss(const struct upstream *u, struct text *out)
{
    const char *name = u->server->conf->name;
    if (u->end.fate == UPSTREAM_CLOSED)
        text_put(out, "broker %s closed the connection: %s", name, u->end.text);
    else
        text_put(out, "broker %s went away: %s", name, u->end.text);
}

static void lose(struct session *s, struct upstream *u)
{
    char why[AMQP_REPLY_TEXT_MAX + 1];
    struct text t = text_over(why, sizeof why);
    char id[SESSION_ID_MAX];
    describe_loss(u, &t);
    log_debug("session", session_id_text(s, id), "%s", why);
    struct process *p = s->worker->process;
    if (u->end.fate == UPSTREAM_LOST)
        p->suspect(p->control, u->server->live);
    struct splice_loss loss = splice_lose(s, u, why);
    access_lost(s, u, &loss, why);
}

/* Without an answer nobody knows what became of all that was said before the goodbye. */
static void left(struct session *s, struct upstream *u)
{
    if (u->is_answered) {
        vacate_gone(s, u);
        (void)splice_lose(s, u, "the broker is drained"); /* of channels that ended meanwhile */
        return;
    }
    s->vacated = NULL;
    if (s->client != NULL && session_is_running(s))
        lose(s, u);
}

/* Any other code than 320 says what the client did wrong. With 320 a broker that goes says so; else
 * somebody sent this client away: its user or vhost was deleted, or an administrator closed it. */
static bool is_about_the_client(const struct upstream_end *end)
{
    return end->code != AMQP_CONNECTION_FORCED ||
           (strstr(end->text, "with reason 'shutdown'") == NULL &&
            strstr(end->text, "maintenance mode") == NULL);
}

static void on_gone(struct upstream *u)
{
    struct session *s = u->owner;
    if (s->hunt.upstream == u) {
        hunt_gone(s, u);
        return;
    }
    bool owed = u->owes_secret;
    switch (u->end.fate) {
    case UPSTREAM_CLOSED:
        if (is_about_the_client(&u->end))
            session_close_verbatim(s, u->end.code, slice_str(u->end.text), u->end.cause);
        else
            lose(s, u);
        break;
    case UPSTREAM_LOST:
        lose(s, u);
        break;
    case UPSTREAM_ENDED:
        if (s->vacated == u)
            left(s, u);
        break;
    case UPSTREAM_UNREACHABLE:
    case UPSTREAM_HUNG_UP:
    case UPSTREAM_REFUSED: /* one that was HELD for the client's next word: another will do */
        break;
    }
    session_free_upstream(s, u);
    if (s->client != NULL && owed && !owes_secret(s) && session_is_running(s))
        session_step(s, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_SECRET_OK });
    if (s->client != NULL)
        session_release_if_done(s);
    if (s->client != NULL)
        session_flow(s);
    else
        session_reap(s);
    recover_tend(s);
}

static const struct upstream_handlers upstream_handlers = {
    .on_tuned = on_tuned,
    .on_ready = on_ready,
    .on_input = on_input,
    .on_room = on_upstream_room,
    .on_blocked = on_blocked,
    .on_secret_taken = on_secret_taken,
    .on_gone = on_gone,
};

struct upstream *session_open_upstream(struct session *s, const struct server *server)
{
    struct upstream_client client = {
        .login = s->login,
        .address = &s->peer,
        .door = stream_local(s->client),
        .cookie = s->worker->process->cookie,
        .stream = s->client,
        .told = s->told,
    };
    struct upstream *u = upstream_new(&s->worker->upstreams, s->worker->loop, server, &client,
                                      &upstream_handlers, s);
    if (u == NULL)
        return NULL;
    LIST_INSERT_HEAD(&s->upstreams, u, entry);
    access_server(&s->access, server);
    shared_bump(&s->worker->counts.upstreams, 1);
    return u;
}

void session_free_upstream(struct session *s, struct upstream *u)
{
    CHECK(u->leg_count == 0);
    if (s->pinned == u)
        s->pinned = NULL;
    if (s->vacated == u)
        s->vacated = NULL;
    place_forget(s, u);
    if (u->is_blocked)
        one_less_blocked(s);
    LIST_REMOVE(u, entry);
    shared_bump(&s->worker->counts.upstreams, (uint64_t)-1);
    bool server_was_full = u->server->conf->maxconn != 0;
    struct process *p = s->worker->process;
    if (server_was_full && shared_get(&s->backend->live->qcur) != 0)
        p->wake(p->control);
    upstream_free(&u);
}

void session_close_upstreams(struct session *s, uint16_t code, struct slice text)
{
    struct upstream *u = LIST_FIRST(&s->upstreams);
    while (u != NULL) {
        struct upstream *next = LIST_NEXT(u, entry);
        upstream_close(u, code, text);
        u = next;
    }
}

void session_set_secret(struct session *s, struct slice secret)
{
    if (!login_set_secret(s->login, secret)) {
        char id[SESSION_ID_MAX];
        log_info("session", session_id_text(s, id), "new secret of a mechanism without passwords");
    }
    bool asked = false;
    struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (u->state == UPSTREAM_READY) {
            upstream_set_secret(u, secret);
            asked = true;
        }
    }
    if (!asked)
        session_step(s, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_SECRET_OK });
}
