#include "discover.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "dial.h"
#include "where.h"

#include <string.h>
#include <strings.h>

struct discover {
    struct loop *loop;
    struct epoch *epoch;
    const struct atlas *atlas;
    struct discover_calls calls;
    void *arg;
    struct nodes *nodes;
    struct snapshot *snapshot; /* a reference; NULL: none */
    struct loop_task look;     /* once a turn */
};

/* ---- which server is which node ---------------------------------------------------------------
 */

static bool is_at(const struct server *s, const struct node *n)
{
    char room[NODES_HOST_MAX + 16];
    struct text place = text_over(room, sizeof room);
    const struct sock_addr *at = dial_address(s);
    if (n->host[0] == '\0')
        return false;
    if (at != NULL && n->has_address && sock_addr_eq(at, &n->address))
        return true;
    nodes_place(n, &place);
    return s->conf->at.kind == CONF_ADDRESS_TCP && strcasecmp(s->conf->at.text, room) == 0;
}

static bool is_named_after(const struct server *s, const struct node *n)
{
    const char *host = strchr(n->name, '@');
    size_t len = host != NULL ? (size_t)(host - n->name) : strlen(n->name);
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

static void tell_hearsay(struct discover *d, const struct server *s, const struct node *n)
{
    enum live_hearsay now = n != NULL ? n->hearsay : LIVE_HEARSAY_NONE;
    uint64_t was = shared_swap(&s->live->hearsay, (uint64_t)now);
    if (was == (uint64_t)now)
        return;
    log_info("server", s->conf->name, "backend=%s node=%s gossip=%s", s->backend->conf->name,
             n != NULL ? n->name : "-", live_hearsay_word(now));
    d->calls.heard(s->live, d->arg);
}

static bool look_at(struct discover *d, const struct backend *b)
{
    struct match m = { .backend = b };
    match_by(&m, d->nodes, is_at);
    match_by(&m, d->nodes, is_named_after);
    for (unsigned i = 0; i < backend_server_count(b); i++)
        tell_hearsay(d, &b->servers[i], m.nodes[i]);
    where_set_atlas(b->live, d->atlas);
    return where_set_crew(b->live, d->epoch, m.members, m.count);
}

static bool is_ours(const struct backend *b)
{
    return b->conf->by_master && b->conf->mode == PROXY_MODE_AMQP;
}

static void on_look(void *arg)
{
    struct discover *d = arg;
    bool moved = false;
    for (unsigned i = 0; d->snapshot != NULL && i < d->snapshot->backend_count; i++) {
        if (is_ours(&d->snapshot->backends[i]))
            moved |= look_at(d, &d->snapshot->backends[i]);
    }
    if (moved)
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
        if (is != NULL && is->live == was->live && is_ours(is))
            continue;
        where_set_atlas(was->live, NULL);
        (void)where_set_crew(was->live, d->epoch, NULL, 0);
    }
}

void discover_follow(struct discover *d, struct snapshot *s)
{
    struct snapshot *was = d->snapshot;
    forget(d, s);
    d->snapshot = s != NULL ? snapshot_ref(s) : NULL;
    snapshot_unref(&was);
    if (s != NULL)
        discover_look(d);
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct nodes *discover_nodes(struct discover *d)
{
    return d->nodes;
}

struct discover *discover_new(struct loop *loop, struct epoch *epoch, const struct atlas *atlas,
                              const struct discover_calls *calls, void *arg)
{
    struct discover *d = mem_zalloc(sizeof *d);
    d->loop = loop;
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
