#include "door.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind_addr.h"
#include "io/handover.h"
#include "io/nets.h"
#include "io/proxy_accept.h"
#include "relay.h"
#include "session.h"

#include <string.h>

#define GUESTS_MAX         1024u
#define KEEP_ALIVE_S       60u
#define REFUSALS_LOGGED    5u
#define REFUSALS_WINDOW_MS 10000u

static const struct bind_conf *conf_of(const struct door *d)
{
    return &d->frontend->conf->binds[d->bind];
}

/* ---- room ------------------------------------------------------------------------------------ */

static bool has_room(const struct door *d)
{
    const struct process *p = d->worker->process;
    uint64_t limit = d->frontend->conf->maxconn;
    return shared_get(&p->conns) < p->conns_limit &&
           (limit == 0 || shared_get(&d->frontend->live->traffic.scur) < limit);
}

static void reopen(struct door *d)
{
    d->is_full = false;
    (void)shared_sub(&d->frontend->live->paused, 1);
    listener_resume(d->listener);
}

static void rest(struct door *d)
{
    d->is_full = true;
    listener_pause(d->listener);
    (void)shared_add(&d->frontend->live->paused, 1);
    if (has_room(d)) /* somebody left before we could be seen to wait for it */
        reopen(d);
}

/* ---- a client -------------------------------------------------------------------------------- */

static void let_in(struct door *d, int fd, const struct sock_addr *client,
                   const struct proxy_header *h)
{
    struct client_tls *told = client_tls_told(h);
    sock_keep_alive(fd, KEEP_ALIVE_S); /* for clients without heartbeats, and for mode tcp */
    bool in = d->frontend->conf->mode == PROXY_MODE_TCP
                  ? relay_new(d->worker, d->snapshot, d->frontend, d->bind, fd, client, &told)
                  : session_new(d->worker, d->snapshot, d->frontend, d->bind, fd, client, &told);
    if (!in)
        (void)shared_add(&d->frontend->live->dreq, 1);
    if (d->listener != NULL && !d->is_full && !has_room(d))
        rest(d);
}

/* One whose address a balancer is to tell first. */
struct door_guest {
    LIST_ENTRY(door_guest) entry;
    struct door *door;
    struct proxy_accept *accept;
    struct sock_addr peer;
};

static void forget(struct door_guest *g)
{
    struct process *p = g->door->worker->process;
    LIST_REMOVE(g, entry);
    g->door->guest_count--;
    mem_free(g);
    (void)shared_sub(&p->guests, 1);
    p->left(p->control);
}

static void send_guests_away(struct door *d)
{
    while (!LIST_EMPTY(&d->guests)) {
        struct door_guest *g = LIST_FIRST(&d->guests);
        proxy_accept_cancel(&g->accept);
        forget(g);
    }
}

static void shut(struct door *d)
{
    if (d->is_full)
        (void)shared_sub(&d->frontend->live->paused, 1);
    d->is_full = false;
    listener_free(&d->listener);
}

static void close_door(struct door *d)
{
    struct worker *w = d->worker;
    TAILQ_REMOVE(d->is_leaving ? &w->leaving : &w->doors, d, entry);
    shut(d);
    send_guests_away(d);
    snapshot_unref(&d->snapshot);
    mem_free(d);
}

/* Nobody else comes in here; it goes with the last who is on the way in. */
static void leave(struct door *d)
{
    struct worker *w = d->worker;
    if (d->guest_count == 0) {
        close_door(d);
        return;
    }
    shut(d);
    TAILQ_REMOVE(&w->doors, d, entry);
    d->is_leaving = true;
    TAILQ_INSERT_TAIL(&w->leaving, d, entry);
}

static void refuse(struct door *d, const struct err *why)
{
    unsigned left_out;
    (void)shared_add(&d->frontend->live->dreq, 1);
    if (log_rate_ok(&d->refusals, REFUSALS_LOGGED, REFUSALS_WINDOW_MS, &left_out))
        log_warn("door", d->frontend->conf->name, "%s left_out=%u", why->text, left_out);
}

static void on_header(int fd, const struct proxy_header *h, const struct err *why, void *arg)
{
    struct door_guest *g = arg;
    struct door *d = g->door;
    struct sock_addr client = h != NULL && h->has_addresses ? h->client : g->peer;
    if (h != NULL)
        let_in(d, fd, &client, h);
    else
        refuse(d, why);
    forget(g); /* at each moment he counts as a guest, a client or both: while he does, we run */
    if (d->is_leaving && d->guest_count == 0)
        close_door(d);
}

static void await_header(struct door *d, int fd, const struct sock_addr *peer)
{
    if (d->guest_count == GUESTS_MAX) {
        (void)shared_add(&d->frontend->live->dreq, 1);
        sock_close(fd);
        return;
    }
    struct door_guest *g = mem_zalloc(sizeof *g);
    g->door = d;
    g->peer = *peer;
    LIST_INSERT_HEAD(&d->guests, g, entry);
    d->guest_count++;
    (void)shared_add(&d->worker->process->guests, 1);
    g->accept = proxy_accept_start(d->worker->loop, fd, false, d->frontend->conf->timeout.handshake,
                                   on_header, g);
}

static void on_accept(int fd, const struct sock_addr *peer, void *arg)
{
    struct door *d = arg;
    const struct bind_conf *conf = conf_of(d);
    CHECK(loop_is_current(d->worker->loop));
    if (conf->accept_proxy && (conf->trust.count == 0 || nets_have(&conf->trust, peer)))
        await_header(d, fd, peer);
    else
        let_in(d, fd, peer, NULL);
}

/* ---- one door -------------------------------------------------------------------------------- */

static struct door *find(const struct worker *w, const char *at)
{
    struct door *d;
    TAILQ_FOREACH (d, &w->doors, entry) {
        if (strcmp(conf_of(d)->at.text, at) == 0)
            return d;
    }
    return NULL;
}

/* Does nobody else listen there? Workers share their ports, and so the system would let another
 * process of the same user share them too. */
static bool nobody_there(struct worker *w, const struct sock_addr *at, struct err *err)
{
    struct listener_options alone = { .reuse_port = false };
    if (sock_addr_port(at) == 0 || sock_addr_is_unix(at) || handover_has(w->process->inherited, at))
        return true;
    struct listener *l = listener_new(w->loop, at, &alone, on_accept, NULL, err);
    bool is_free = l != NULL;
    listener_free(&l);
    return is_free;
}

static struct listener *listen_at(struct door *d, const struct door *twin, bool share_port,
                                  struct err *err)
{
    struct worker *w = d->worker;
    struct listener_options o = { .reuse_port = share_port,
                                  .carries_much = true,
                                  .inherited = w->process->inherited };
    struct sock_addr at;
    if (!bind_addr(conf_of(d), &at, err))
        return NULL;
    if (twin != NULL && sock_addr_is_unix(&at))
        return listener_share(twin->listener, w->loop, on_accept, d, err);
    if (twin != NULL)
        at = *listener_addr(twin->listener);
    else if (share_port && !nobody_there(w, &at, err))
        return NULL;
    return listener_new(w->loop, &at, &o, on_accept, d, err);
}

static bool open_door(struct worker *w, struct snapshot *snapshot, const struct frontend *f,
                      unsigned bind, const struct worker *twin, bool share_port, struct err *err)
{
    struct door *d = mem_zalloc(sizeof *d);
    d->worker = w;
    d->snapshot = snapshot_ref(snapshot);
    d->frontend = f;
    d->bind = bind;
    d->is_new = true;
    TAILQ_INSERT_TAIL(&w->doors, d, entry);
    d->listener =
        listen_at(d, twin != NULL ? find(twin, conf_of(d)->at.text) : NULL, share_port, err);
    if (d->listener != NULL)
        return true;
    err_context(err, "%s", conf_of(d)->where);
    close_door(d);
    return false;
}

/* ---- all doors of a worker ------------------------------------------------------------------- */

static bool open_missing(struct worker *w, struct snapshot *snapshot, const struct frontend *f,
                         const struct worker *twin, bool share_ports, struct err *err)
{
    for (unsigned b = 0; b < f->conf->bind_count; b++) {
        if (find(w, f->conf->binds[b].at.text) == NULL &&
            !open_door(w, snapshot, f, b, twin, share_ports, err))
            return false;
    }
    return true;
}

bool doors_open(struct worker *w, struct snapshot *snapshot, const struct worker *twin,
                bool share_ports, struct err *err)
{
    for (unsigned i = 0; i < snapshot->frontend_count; i++) {
        const struct frontend *f = &snapshot->frontends[i];
        if (f->conf->mode != PROXY_MODE_HTTP &&
            !open_missing(w, snapshot, f, twin, share_ports, err)) {
            doors_cancel(w);
            return false;
        }
    }
    return true;
}

void doors_cancel(struct worker *w)
{
    struct door *d = TAILQ_FIRST(&w->doors);
    while (d != NULL) {
        struct door *next = TAILQ_NEXT(d, entry);
        if (d->is_new)
            close_door(d);
        d = next;
    }
}

/* Whoever comes in from now on is of that frontend. */
static void hand_over(struct door *d, struct snapshot *snapshot, const struct frontend *f,
                      unsigned bind)
{
    struct snapshot *old = d->snapshot;
    if (d->is_full)
        reopen(d);
    d->snapshot = snapshot_ref(snapshot);
    d->frontend = f;
    d->bind = bind;
    d->is_new = false;
    snapshot_unref(&old);
    if (!has_room(d))
        rest(d);
}

void doors_commit(struct worker *w, struct snapshot *snapshot)
{
    for (unsigned i = 0; i < snapshot->frontend_count; i++) {
        const struct frontend *f = &snapshot->frontends[i];
        for (unsigned b = 0; b < f->conf->bind_count && f->conf->mode != PROXY_MODE_HTTP; b++) {
            struct door *d = find(w, f->conf->binds[b].at.text);
            CHECK(d != NULL);
            hand_over(d, snapshot, f, b);
        }
    }
    struct door *d = TAILQ_FIRST(&w->doors);
    while (d != NULL) {
        struct door *next = TAILQ_NEXT(d, entry);
        if (d->snapshot != snapshot)
            leave(d);
        d = next;
    }
}

void doors_close(struct worker *w)
{
    while (!TAILQ_EMPTY(&w->doors))
        close_door(TAILQ_FIRST(&w->doors));
    while (!TAILQ_EMPTY(&w->leaving))
        close_door(TAILQ_FIRST(&w->leaving));
}

void doors_leave(struct worker *w)
{
    while (!TAILQ_EMPTY(&w->doors))
        leave(TAILQ_FIRST(&w->doors));
}

/* The first worker's listener has the path, the others share its socket. */
void doors_own_paths(struct worker *w)
{
    struct door *d;
    TAILQ_FOREACH (d, &w->doors, entry) {
        if (w->index == 0)
            listener_own_path(d->listener);
    }
}

void doors_wake(struct worker *w)
{
    struct door *d;
    TAILQ_FOREACH (d, &w->doors, entry) {
        if (d->is_full && has_room(d))
            reopen(d);
    }
}
