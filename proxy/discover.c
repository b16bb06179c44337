#include "discover.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "dial.h"
#include "where.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define OLD_MAX 64u /* configurations that sessions still have; the oldest is let go */

struct discover {
    struct loop *loop;
    const char *backend; /* whose nodes these are; NULL: of all that go by gossip */
    struct epoch *epoch;
    const struct atlas *atlas;
    struct discover_calls calls;
    void *arg;
    struct nodes *nodes;
    struct snapshot *snapshot;      /* a reference; NULL: none */
    struct snapshot *olds[OLD_MAX]; /* references; sessions still have them */
    unsigned old_count;
    bool was_full;         /* said so already */
    bool is_other;         /* while it looks: what is usable has changed */
    struct loop_task look; /* once a turn */
};

/* Do we say where its queues are, or which servers it has? */
static bool is_ours(const struct discover *d, const struct backend *b)
{
    const struct backend_conf *c = b->conf;
    if (d->backend != NULL)
        return c->discover == PROXY_DISCOVER_RABBIT && strcmp(c->name, d->backend) == 0;
    return c->discover == PROXY_DISCOVER_GOSSIP ||
           (c->discover == PROXY_DISCOVER_NONE && c->by_master);
}

/* ---- which server is which node ---------------------------------------------------------------
 */

static bool is_at(const struct server *s, const struct node *n)
{
    char room[NODES_HOST_MAX + 16];
    struct text place = text_over(room, sizeof room);
    const struct sock_addr *at = dial_address(s);
    if (n->host[0] == '\0')
        return false;
    if (!s->conf->found && at != NULL && n->has_address && sock_addr_eq(at, &n->address))
        return true;
    nodes_place(n, &place);
    return s->conf->at.kind == CONF_ADDRESS_TCP && strcasecmp(s->conf->at.text, room) == 0;
}

static bool is_named_after(const struct server *s, const struct node *n)
{
    const char *host = strchr(n->name, '@');
    size_t len = host != NULL ? (size_t)(host - n->name) : strlen(n->name);
    if (s->conf->found)
        return false; /* it is where it was found, or it has gone */
    return strcmp(s->conf->name, n->name) == 0 ||
           (strlen(s->conf->name) == len && strncmp(s->conf->name, n->name, len) == 0);
}

typedef bool (*match_fn)(const struct server *s, const struct node *n);

struct match {
    const struct backend *backend;
    struct crew_member members[BALANCE_SERVERS_MAX];
    const struct node *nodes[BALANCE_SERVERS_MAX]; /* of each server */
    size_t count;
};

static bool has_server(const struct match *m, const struct node *n)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->members[i].node == n->number)
            return true;
    }
    return false;
}

/* Nodes that have no server yet, by servers that are no node yet. */
static void match_by(struct match *m, const struct nodes *nodes, match_fn fits)
{
    unsigned servers = backend_server_count(m->backend);
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        const struct node *n = nodes_at(nodes, i);
        for (unsigned k = 0; k < servers && !has_server(m, n); k++) {
            const struct server *s = &m->backend->servers[k];
            if (m->nodes[k] != NULL || !fits(s, n))
                continue;
            m->nodes[k] = n;
            m->members[m->count++] = (struct crew_member){ n->number, s->live };
        }
    }
}

/* ---- telling ----------------------------------------------------------------------------------
 */

/* Its status says so only until it takes nobody in any more, and is down. */
static bool tell_drain(const struct server *s, const struct node *n)
{
    uint64_t drains = n != NULL && n->is_draining;
    if (shared_swap(&s->live->draining, drains) == drains)
        return false;
    log_info("server", s->conf->name, drains ? "drains backend=%s" : "drains no more backend=%s",
             s->backend->conf->name);
    return true;
}

static void tell_hearsay(struct discover *d, const struct server *s, const struct node *n)
{
    enum live_hearsay now = n != NULL ? n->hearsay : LIVE_HEARSAY_NONE;
    uint64_t was = shared_swap(&s->live->hearsay, (uint64_t)now);
    /* A name proves nothing: another may listen there, in front of that node. */
    shared_set(&s->live->ours, n != NULL && n->is_ours && is_at(s, n));
    bool is_other = tell_drain(s, n);
    if (s->conf->found && shared_swap(&s->live->gone, n == NULL) != (n == NULL)) {
        log_info("server", s->conf->name, n != NULL ? "is back backend=%s" : "has gone backend=%s",
                 s->backend->conf->name);
        is_other = true;
    }
    d->is_other |= is_other;
    if (was == (uint64_t)now)
        return;
    log_info("server", s->conf->name, "backend=%s node=%s gossip=%s", s->backend->conf->name,
             n != NULL ? n->name : "-", live_hearsay_word(now));
    d->calls.heard(s->live, d->arg);
}

/* ---- servers that appear ----------------------------------------------------------------------
 */

/* As a server's name may be. */
static void name_server(const struct node *n, char *room, size_t size)
{
    struct text t = text_over(room, size);
    for (const char *c = n->name; *c != '\0'; c++)
        text_char(&t, isalnum((unsigned char)*c) || strchr("-_.:@", *c) != NULL ? *c : '_');
}

static int backend_index(const struct discover *d, const struct snapshot *s, const char *name)
{
    const struct backend *b = snapshot_backend(s, name);
    if (b == NULL || !is_ours(d, b) || b->conf->discover == PROXY_DISCOVER_NONE)
        return -1;
    return (int)(b - s->backends);
}

static const struct server *found_at(const struct backend *b, const char *name, const char *place)
{
    for (unsigned i = 0; i < backend_server_count(b); i++) {
        const struct server_conf *c = b->servers[i].conf;
        if (c->found && strcmp(c->name, name) == 0 && strcmp(c->at.text, place) == 0)
            return &b->servers[i];
    }
    return NULL;
}

static const struct server *add(struct discover *d, struct snapshot *s, unsigned backend,
                                const char *name, const char *place, struct server_live *live)
{
    struct err err;
    const struct server *server =
        snapshot_add_found(s, backend, name, place, live, loop_now_ms(d->loop), &err);
    if (server == NULL && !d->was_full)
        log_warn("server", name, "is not taken in: %s; a reload forgets those that have gone",
                 err.text);
    d->was_full |= server == NULL;
    return server;
}

/* An older snapshot may have found it since this one was made. */
static struct server_live *record_of(const struct discover *d, const char *backend,
                                     const char *name, const char *place)
{
    for (unsigned i = d->old_count; i > 0; i--) {
        int at = backend_index(d, d->olds[i - 1], backend);
        const struct server *s =
            at >= 0 ? found_at(&d->olds[i - 1]->backends[at], name, place) : NULL;
        if (s != NULL)
            return s->live;
    }
    return NULL;
}

/* In the snapshot in force, and in those that sessions still have: with one record. */
static void appear(struct discover *d, const struct backend *b, const struct node *n)
{
    char name[NODES_NAME_MAX], room[NODES_HOST_MAX + 16];
    struct text place = text_over(room, sizeof room);
    name_server(n, name, sizeof name);
    nodes_place(n, &place);
    const struct server *s = add(d, d->snapshot, (unsigned)(b - d->snapshot->backends), name, room,
                                 record_of(d, b->conf->name, name, room));
    if (s == NULL)
        return;
    log_info("server", name, "is found backend=%s address=%s", b->conf->name, room);
    for (unsigned i = 0; i < d->old_count; i++) {
        int old = backend_index(d, d->olds[i], b->conf->name);
        if (old >= 0 && found_at(&d->olds[i]->backends[old], name, room) == NULL)
            (void)add(d, d->olds[i], (unsigned)old, name, room, s->live);
    }
    d->calls.found(s, d->arg);
}

static void look_for_servers(struct discover *d, struct match *m)
{
    unsigned was = backend_server_count(m->backend);
    for (size_t i = 0; i < nodes_count(d->nodes); i++) {
        const struct node *n = nodes_at(d->nodes, i);
        bool lives = n->hearsay == LIVE_HEARSAY_ALIVE || n->hearsay == LIVE_HEARSAY_SUSPECT;
        if (lives && n->host[0] != '\0' && !has_server(m, n))
            appear(d, m->backend, n);
    }
    if (backend_server_count(m->backend) != was)
        match_by(m, d->nodes, is_at);
}

static bool look_at(struct discover *d, const struct backend *b)
{
    struct match m = { .backend = b };
    match_by(&m, d->nodes, is_at);
    match_by(&m, d->nodes, is_named_after);
    if (b->conf->discover != PROXY_DISCOVER_NONE)
        look_for_servers(d, &m);
    for (unsigned i = 0; i < backend_server_count(b); i++)
        tell_hearsay(d, &b->servers[i], m.nodes[i]);
    where_set_atlas(b->live, b->conf->by_master ? d->atlas : NULL);
    return where_set_crew(b->live, d->epoch, m.members, m.count);
}

static void let_go(struct discover *d, unsigned at)
{
    snapshot_unref(&d->olds[at]);
    d->old_count--;
    memmove(&d->olds[at], &d->olds[at + 1], (d->old_count - at) * sizeof d->olds[0]);
}

/* Those that nobody has but us. */
static void prune(struct discover *d)
{
    for (unsigned i = d->old_count; i > 0; i--) {
        if (shared_get(&d->olds[i - 1]->refs) == 1)
            let_go(d, i - 1);
    }
}

static void on_look(void *arg)
{
    struct discover *d = arg;
    prune(d);
    bool moved = false;
    d->is_other = false;
    for (unsigned i = 0; d->snapshot != NULL && i < d->snapshot->backend_count; i++) {
        if (is_ours(d, &d->snapshot->backends[i]))
            moved |= look_at(d, &d->snapshot->backends[i]);
    }
    if (moved || d->is_other)
        d->calls.moved(d->arg);
}

void discover_look(struct discover *d)
{
    loop_at_turn_end(d->loop, &d->look);
}

static void on_nodes(void *arg)
{
    discover_look(arg);
}

/* A backend whose new configuration does not route by master any more, or that is gone. */
static void forget(struct discover *d, const struct snapshot *now)
{
    for (unsigned i = 0; d->snapshot != NULL && i < d->snapshot->backend_count; i++) {
        const struct backend *was = &d->snapshot->backends[i];
        const struct backend *is = snapshot_backend(now, was->conf->name);
        if (!is_ours(d, was) || (is != NULL && is->live == was->live && is_ours(d, is)))
            continue;
        where_set_atlas(was->live, NULL);
        (void)where_set_crew(was->live, d->epoch, NULL, 0);
    }
}

void discover_follow(struct discover *d, struct snapshot *s)
{
    forget(d, s);
    prune(d);
    if (d->old_count == OLD_MAX)
        let_go(d, 0);
    if (d->snapshot != NULL)
        d->olds[d->old_count++] = d->snapshot;
    d->snapshot = s != NULL ? snapshot_ref(s) : NULL;
    while (s == NULL && d->old_count != 0)
        let_go(d, 0);
    d->was_full = false;
    if (s != NULL)
        discover_look(d);
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct nodes *discover_nodes(struct discover *d)
{
    return d->nodes;
}

struct discover *discover_new(struct loop *loop, const char *backend, struct epoch *epoch,
                              const struct atlas *atlas, const struct discover_calls *calls,
                              void *arg)
{
    struct discover *d = mem_zalloc(sizeof *d);
    d->loop = loop;
    d->backend = backend;
    d->epoch = epoch;
    d->atlas = atlas;
    d->calls = *calls;
    d->arg = arg;
    d->nodes = nodes_new(loop, on_nodes, d);
    loop_task_init(&d->look, on_look, d);
    return d;
}

void discover_free(struct discover **dp)
{
    struct discover *d = *dp;
    *dp = NULL;
    if (d == NULL)
        return;
    discover_follow(d, NULL);
    loop_task_cancel(d->loop, &d->look);
    nodes_free(&d->nodes);
    mem_free(d);
}
