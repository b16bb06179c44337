#include "where.h"

#include "base/check.h"
#include "leads.h"
#include "worker.h"

static const struct crew *crew_of(const struct backend_live *l)
{
    return shown_get(&l->crew);
}

static const struct server *server_with(const struct backend *b, const struct server_live *live)
{
    unsigned count = backend_server_count(b);
    for (unsigned i = 0; i < count; i++) {
        if (b->servers[i].live == live)
            return &b->servers[i];
    }
    return NULL;
}

const struct server *where_server_of(const struct backend *b, uint16_t node)
{
    const struct crew *c = crew_of(b->live);
    for (size_t i = 0; c != NULL && i < c->count; i++) {
        if (c->members[i].node == node)
            return server_with(b, c->members[i].live);
    }
    return NULL;
}

uint16_t where_node_of(const struct backend *b, const struct server *s)
{
    const struct crew *c = crew_of(b->live);
    for (size_t i = 0; c != NULL && i < c->count; i++) {
        if (c->members[i].live == s->live)
            return c->members[i].node;
    }
    return 0;
}

enum where where_look(const struct worker *w, const struct backend *b, struct slice vhost,
                      struct slice queue, const struct server **out)
{
    CHECK(loop_is_current(w->loop));
    const struct atlas *a = shown_get(&b->live->atlas);
    uint16_t node = 0;
    *out = NULL;
    enum atlas_word word = a != NULL ? atlas_find(a, vhost, queue, &node, NULL) : ATLAS_UNKNOWN;
    if (word != ATLAS_UNKNOWN)
        *out = where_server_of(b, node);
    if (*out == NULL)
        return WHERE_UNKNOWN;
    return word == ATLAS_UP ? WHERE_AT : WHERE_DOWN;
}

bool where_find(const struct worker *w, const struct backend *b, struct slice vhost,
                struct slice queue, const struct server **out)
{
    return where_look(w, b, vhost, queue, out) != WHERE_UNKNOWN;
}

/* ---- messages to exchanges --------------------------------------------------------------------
 */

struct votes {
    const struct server *server[LOCATION_LEADS_QUEUES];
    unsigned count[LOCATION_LEADS_QUEUES];
    unsigned servers;
};

static void vote(struct votes *v, const struct server *server)
{
    unsigned i = 0;
    while (i < v->servers && v->server[i] != server)
        i++;
    if (i == v->servers) {
        CHECK(v->servers < LOCATION_LEADS_QUEUES);
        v->server[v->servers++] = server;
    }
    v->count[i]++;
}

bool where_most(const struct backend *b, const struct leads_queues *queues,
                const struct server **out, bool *is_whole)
{
    const struct atlas *a = shown_get(&b->live->atlas);
    struct votes v = { .servers = 0 };
    uint16_t node;
    CHECK(a != NULL && queues->count <= LOCATION_LEADS_QUEUES);
    for (size_t i = 0; i < queues->count; i++) {
        bool is_up = atlas_find_hashed(a, queues->hashes[i], &node) == ATLAS_UP;
        const struct server *server = is_up ? where_server_of(b, node) : NULL;
        if (server != NULL)
            vote(&v, server);
    }
    unsigned best = 0;
    for (unsigned i = 1; i < v.servers; i++)
        best = v.count[i] > v.count[best] ? i : best;
    *out = v.servers != 0 ? v.server[best] : NULL;
    *is_whole = v.servers != 0 && v.count[best] == queues->count;
    return *out != NULL;
}

static struct leads *leads_of(const struct backend *b)
{
    const struct atlas *a = shown_get(&b->live->atlas);
    return a != NULL ? atlas_leads(a) : NULL;
}

enum where_lead where_lead(const struct worker *w, const struct backend *b, struct slice vhost,
                           struct slice exchange, struct slice key, const struct server **out,
                           bool *is_whole)
{
    CHECK(loop_is_current(w->loop));
    struct leads *l = leads_of(b);
    struct leads_queues queues;
    *out = NULL;
    *is_whole = false;
    if (l == NULL)
        return WHERE_LEAD_NONE;
    switch (leads_find(l, vhost, exchange, key, loop_now_ms(w->loop) / 1000, &queues)) {
    case LEADS_LATER:
        return WHERE_LEAD_LATER;
    case LEADS_ASKED:
        return WHERE_LEAD_NONE;
    case LEADS_KNOWN:
        break;
    }
    if (queues.count == 0)
        return WHERE_LEAD_NONE;
    /* Queues that nobody knows yet may be known without a word. */
    return where_most(b, &queues, out, is_whole) ? WHERE_LEAD_AT : WHERE_LEAD_LATER;
}

uint64_t where_leads_news(const struct backend *b)
{
    const struct leads *l = leads_of(b);
    return l != NULL ? leads_news(l) : 0;
}

bool where_is_loose(const struct backend *b, struct slice vhost, struct slice queue)
{
    const struct atlas *a = shown_get(&b->live->atlas);
    return a != NULL && atlas_is_loose(a, vhost, queue);
}

uint64_t where_moves(const struct backend *b)
{
    const struct atlas *a = shown_get(&b->live->atlas);
    return shared_get(&b->live->crew_moves) + (a != NULL ? atlas_moves(a) : 0);
}

uint64_t where_news(const struct backend *b)
{
    const struct atlas *a = shown_get(&b->live->atlas);
    return shared_get(&b->live->crew_moves) + (a != NULL ? atlas_news(a) : 0);
}

/* ---- the control loop ------------------------------------------------------------------------ */

static bool is_same(const struct crew *c, const struct crew_member *members, size_t count)
{
    if ((c != NULL ? c->count : 0) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (c->members[i].node != members[i].node || c->members[i].live != members[i].live)
            return false;
    }
    return true;
}

bool where_set_crew(struct backend_live *l, struct epoch *epoch, const struct crew_member *members,
                    size_t count)
{
    const struct crew *was = crew_of(l);
    if (is_same(was, members, count))
        return false;
    shown_set(&l->crew, count != 0 ? crew_new(members, count) : NULL);
    (void)shared_add(&l->crew_moves, 1);
    if (was != NULL)
        epoch_retire(epoch, (void *)(uintptr_t)was, crew_free);
    return true;
}

void where_set_atlas(struct backend_live *l, const struct atlas *a)
{
    if (shown_get(&l->atlas) == a)
        return;
    shown_set(&l->atlas, a);
    (void)shared_add(&l->crew_moves, 1);
}
