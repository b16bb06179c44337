#include "relay.h"

#include "admission.h"
#include "base/check.h"
#include "base/log.h"
#include "dial.h"
#include "io/stream_splice.h"

#define LINGER_MS 5000u
#define ROUND_MS  1000u

static void try_next(struct relay *r);

static uint64_t now_ms(const struct relay *r)
{
    return loop_now_ms(r->worker->loop);
}

static const struct backend *backend_of(const struct relay *r)
{
    return r->frontend->backend;
}

/* ---- its end --------------------------------------------------------------------------------- */

static void free_memory(void *ptr)
{
    struct relay *r = ptr;
    pool_put(&r->worker->relays, r);
}

static void dequeue(struct relay *r)
{
    if (!r->is_queued)
        return;
    r->is_queued = false;
    TAILQ_REMOVE(&r->worker->waiting_relays, r, waiting);
    (void)shared_sub(&backend_of(r)->live->qcur, 1);
}

static void leave_server(struct relay *r)
{
    if (r->server != NULL)
        live_traffic_end(&r->server->live->traffic);
    r->server = NULL;
    r->is_open = false;
}

/* Both sides get what is on its way to them. */
static void finish(struct relay *r)
{
    dequeue(r);
    leave_server(r);
    if (r->client != NULL)
        access_client(&r->access, r->client);
    access_why(&r->access, true, "both sides have ended");
    access_relay(r);
    stream_finish(&r->client, LINGER_MS);
    stream_finish(&r->upstream, LINGER_MS);
    loop_timer_fini(&r->timer);
    TAILQ_REMOVE(&r->worker->all_relays, r, entry);
    admission_leave(r->frontend, &r->quota);
    worker_client_out(r->worker, r->frontend);
    client_tls_free(&r->told);
    snapshot_unref(&r->snapshot);
    loop_bury(r->worker->loop, r, free_memory);
}

void relay_end(struct relay *r)
{
    access_why(&r->access, false, "closed by the proxy");
    access_client(&r->access, r->client);
    stream_free(&r->client);
    stream_free(&r->upstream);
    finish(r);
}

/* ---- octets ---------------------------------------------------------------------------------- */

static void count(const struct relay *r, bool to_client, size_t bytes)
{
    struct live_traffic *all[] = { &r->frontend->live->traffic, &backend_of(r)->live->traffic,
                                   &r->server->live->traffic };
    for (unsigned i = 0; i < ARRAY_COUNT(all); i++)
        (void)shared_add(to_client ? &all[i]->bout : &all[i]->bin, bytes);
}

static void pass(struct relay *r, struct stream *from, struct stream *to)
{
    struct slice in = stream_peek(from);
    if (in.len == 0 || !r->is_open)
        return;
    stream_write_shared(to, stream_input_block(from), in);
    stream_consume(from, in.len);
    count(r, to == r->client, in.len);
    if (stream_is_full(to))
        stream_pause(from);
}

static struct stream *other(const struct relay *r, const struct stream *s)
{
    return s == r->client ? r->upstream : r->client;
}

static void on_data(struct stream *s, void *arg)
{
    struct relay *r = arg;
    pass(r, s, other(r, s));
}

static void on_room(struct stream *s, void *arg)
{
    struct relay *r = arg;
    if (r->is_open)
        stream_resume(other(r, s));
}

/* A side says no more: the other one learns it behind all that was said. */
static void on_end(struct stream *s, void *arg)
{
    struct relay *r = arg;
    if (s == r->client)
        r->client_ended = true;
    else
        r->server_ended = true;
    if (!r->is_open)
        return; /* told when there is somebody to tell */
    pass(r, s, other(r, s));
    stream_end(other(r, s));
    if (r->client_ended && r->server_ended)
        finish(r);
}

static void on_client_closed(struct stream *s, const struct err *why, void *arg)
{
    (void)s;
    struct relay *r = arg;
    access_why(&r->access, false, "client: %s", why != NULL ? why->text : "it closed");
    finish(r);
}

static void on_moved(struct stream *from, size_t octets, void *arg)
{
    const struct relay *r = arg;
    count(r, from == r->upstream, octets);
}

/* Where the configuration wants it, and there is nothing to encrypt. */
static void splice_sides(struct relay *r)
{
    const struct backend_conf *conf = backend_of(r)->conf;
    if (stream_is_tls(r->client) || stream_is_tls(r->upstream))
        return;
    if (conf->splice_request)
        stream_join(r->client, r->upstream, on_moved);
    if (conf->splice_response)
        stream_join(r->upstream, r->client, on_moved);
}

static void on_server_open(struct stream *s, void *arg)
{
    (void)s;
    struct relay *r = arg;
    shared_set(&r->server->live->connect_ms, now_ms(r) - r->started_ms);
    r->is_open = true;
    splice_sides(r);
    stream_on_end(r->upstream, on_end);
    if (r->client_ended)
        on_end(r->client, r);
    else
        stream_resume(r->client);
}

static void on_server_closed(struct stream *s, const struct err *why, void *arg)
{
    (void)s;
    struct relay *r = arg;
    if (r->is_open) {
        access_why(&r->access, false, "server: %s", why != NULL ? why->text : "it closed");
        finish(r);
        return;
    }
    log_debug("relay", r->server->conf->name, "not to be had: %s",
              why != NULL ? why->text : "it closed the connection");
    (void)shared_add(&r->server->live->econ, 1);
    (void)shared_add(&r->server->live->wredis, 1);
    (void)shared_add(&backend_of(r)->live->econ, 1);
    (void)shared_add(&backend_of(r)->live->wredis, 1);
    r->worker->process->suspect(r->worker->process->control, r->server->live);
    r->skip |= (uint64_t)1 << r->server->index;
    stream_free(&r->upstream);
    leave_server(r);
    try_next(r);
}

/* TLS is established. */
static void on_client_open(struct stream *s, void *arg)
{
    struct relay *r = arg;
    r->is_shaking = false;
    r->deadline_ms = now_ms(r) + backend_of(r)->conf->timeout.failover;
    stream_pause(s);
    try_next(r);
}

static const struct stream_handlers client_handlers = { on_client_open, on_data, on_room,
                                                        on_client_closed };
static const struct stream_handlers server_handlers = { on_server_open, on_data, on_room,
                                                        on_server_closed };

/* ---- finding a server ------------------------------------------------------------------------ */

static void wait_for_server(struct relay *r)
{
    r->skip = 0;
    if (!r->is_queued) {
        r->is_queued = true;
        TAILQ_INSERT_TAIL(&r->worker->waiting_relays, r, waiting);
        struct backend_live *l = backend_of(r)->live;
        shared_raise(&l->qmax, shared_add(&l->qcur, 1));
    }
    loop_timer_start(&r->timer, ROUND_MS);
}

static void connect_to(struct relay *r, const struct server *server)
{
    dequeue(r);
    r->server = server;
    access_server(&r->access, server);
    r->started_ms = now_ms(r);
    live_traffic_begin(&server->live->traffic);
    shared_set(&server->live->last_session_ms, r->started_ms);
    shared_set(&server->backend->live->last_session_ms, r->started_ms);
    /* Octets pass as they are: who speaks inside the session that we end is the client itself, and
     * inside one that we do not see it has its own with the server. Inside one of ours with the
     * server, who a certificate of ours names, the client may be anybody. */
    struct dial_client who = { .address = &r->peer,
                               .door = stream_local(r->client),
                               .stream = r->client,
                               .told = r->told,
                               .is_spoken_for = stream_is_tls(r->client) || server->tls != NULL };
    r->upstream =
        dial(r->worker->loop, server, dial_address(server), server->backend->conf->timeout.connect,
             &who, r->worker->process->cookie, &server_handlers, r);
    if (backend_of(r)->conf->timeout.idle != 0)
        loop_timer_start(&r->timer, backend_of(r)->conf->timeout.idle);
    else
        loop_timer_stop(&r->timer);
}

static void try_next(struct relay *r)
{
    const struct server *server = backend_pick(backend_of(r), r->skip, now_ms(r), &r->worker->rng);
    /* As in HAProxy: a client whose protocol we do not know is not kept waiting for servers that
     * are down, only for such that are full or just refused. */
    if (now_ms(r) >= r->deadline_ms || !backend_is_alive(backend_of(r))) {
        access_why(&r->access, false, "no server of %s is available", backend_of(r)->conf->name);
        finish(r);
    } else if (server == NULL) {
        wait_for_server(r);
    } else {
        connect_to(r, server);
    }
}

void relay_again(struct relay *r)
{
    if (r->upstream == NULL)
        try_next(r);
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t last_move_ms(const struct relay *r)
{
    return later(later(stream_last_read_ms(r->client), stream_last_write_ms(r->client)),
                 later(stream_last_read_ms(r->upstream), stream_last_write_ms(r->upstream)));
}

/* A round of waiting is over, or nothing may have moved for too long. */
static void on_timer(void *arg)
{
    struct relay *r = arg;
    if (r->is_shaking) {
        access_why(&r->access, false, "the TLS handshake took too long");
        finish(r);
        return;
    }
    if (r->upstream == NULL) {
        try_next(r);
        return;
    }
    uint64_t due = last_move_ms(r) + backend_of(r)->conf->timeout.idle;
    if (now_ms(r) < due) {
        loop_timer_start(&r->timer, due - now_ms(r));
        return;
    }
    access_why(&r->access, false, "nothing has moved for timeout-tunnel");
    finish(r);
}

bool relay_new(struct worker *w, struct snapshot *snapshot, const struct frontend *frontend,
               unsigned bind, int fd, const struct sock_addr *peer, struct client_tls **told)
{
    struct quota_entry *source;
    struct relay *r = NULL;
    if (admission_source(frontend, peer, loop_now_ms(w->loop), &source))
        r = pool_get(&w->relays);
    if (r == NULL) {
        admission_leave(frontend, &source);
        client_tls_free(told);
        sock_close(fd);
        return false;
    }
    r->quota = source;
    r->worker = w;
    r->snapshot = snapshot_ref(snapshot);
    r->frontend = frontend;
    r->peer = *peer;
    r->told = *told;
    *told = NULL;
    r->began_ms = loop_now_ms(w->loop);
    r->id = shared_add(&w->process->next_id, 1);
    r->deadline_ms = loop_now_ms(w->loop) + frontend->backend->conf->timeout.failover;
    loop_timer_init(&r->timer, w->loop, on_timer, r);
    TAILQ_INSERT_TAIL(&w->all_relays, r, entry);
    worker_client_in(w, frontend);
    r->client = stream_new(w->loop, fd, &client_handlers, r);
    stream_do_not_pace(r->client);
    stream_on_end(r->client, on_end);
    if (frontend->tls[bind] != NULL) {
        r->is_shaking = true;
        stream_start_tls_server(r->client, frontend->tls[bind]);
        loop_timer_start(&r->timer, frontend->conf->timeout.handshake);
        return true;
    }
    stream_pause(r->client); /* until there is somebody to pass it on to */
    try_next(r);
    return true;
}
