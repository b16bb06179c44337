#include "admin_queues.h"

#include "base/mem.h"
#include "leads.h"
#include "where.h"

/* Its state as HAProxy would say it, or that no server is this node. */
static void put_server(struct text *out, const struct server *s)
{
    if (s == NULL) {
        text_str(out, "server=- usable=no gossip=-");
        return;
    }
    text_put(out, "server=%s usable=%s gossip=%s", s->conf->name,
             server_is_usable(s) ? "yes" : "no",
             live_hearsay_word((enum live_hearsay)shared_get(&s->live->hearsay)));
}

static const struct atlas *atlas_of(const struct backend *b)
{
    return b->conf->by_master ? shown_get(&b->live->atlas) : NULL;
}

static void put_backend(const struct backend *b, struct text *out)
{
    const struct atlas *a = atlas_of(b);
    text_put(out, "backend=%s queues=%llu moves=%llu\n", b->conf->name,
             (unsigned long long)atlas_count(a), (unsigned long long)where_moves(b));
    struct atlas_master *masters = mem_array(LOCATION_NODES_MAX, sizeof *masters);
    size_t count = atlas_masters(a, masters, LOCATION_NODES_MAX);
    for (size_t i = 0; i < count; i++) {
        text_put(out, "  node=%u %s queues=%llu ", masters[i].node,
                 masters[i].is_up ? "up" : "down", (unsigned long long)masters[i].queues);
        put_server(out, where_server_of(b, masters[i].node));
        text_char(out, '\n');
    }
    mem_free(masters);
}

static void put_queue(const struct backend *b, struct slice vhost, struct slice queue,
                      struct text *out)
{
    uint16_t node = 0;
    enum atlas_word word = atlas_find(atlas_of(b), vhost, queue, &node, NULL);
    text_put(out, "backend=%s ", b->conf->name);
    if (word == ATLAS_UNKNOWN) {
        text_str(out, "unknown: any server takes it, and passes it on\n");
        return;
    }
    text_put(out, "node=%u %s ", node, word == ATLAS_UP ? "up" : "down");
    put_server(out, where_server_of(b, node));
    text_char(out, '\n');
}

static void put_nothing(struct text *out)
{
    text_str(out, "No backend routes by master: see balance = queue-master.\n");
}

void admin_show_queues(const struct view *v, struct text *out)
{
    bool any = false;
    for (unsigned i = 0; i < v->snapshot->backend_count; i++) {
        if (atlas_of(&v->snapshot->backends[i]) == NULL)
            continue;
        put_backend(&v->snapshot->backends[i], out);
        any = true;
    }
    if (!any)
        put_nothing(out);
}

void admin_show_queue(const struct view *v, struct slice vhost, struct slice queue,
                      struct text *out)
{
    bool any = false;
    for (unsigned i = 0; i < v->snapshot->backend_count; i++) {
        if (atlas_of(&v->snapshot->backends[i]) == NULL)
            continue;
        put_queue(&v->snapshot->backends[i], vhost, queue, out);
        any = true;
    }
    if (!any)
        put_nothing(out);
}

/* ---- where messages to exchanges land -------------------------------------------------------- */

struct leads_view {
    const struct backend *backend;
    struct text *out;
};

static void put_lead(void *arg, const struct location_ask *ask, bool any_key,
                     const struct leads_queues *known)
{
    const struct leads_view *v = arg;
    const struct server *server;
    bool is_whole;
    text_str(v->out, "  vhost=");
    text_escaped(v->out, ask->vhost);
    text_str(v->out, " exchange=");
    text_escaped(v->out, ask->exchange);
    if (!any_key) {
        text_str(v->out, " key=");
        text_escaped(v->out, ask->key);
    }
    if (known == NULL) {
        text_str(v->out, " asked\n");
        return;
    }
    text_put(v->out, " queues=%zu ", known->count);
    bool is_somewhere = where_most(v->backend, known, &server, &is_whole);
    put_server(v->out, is_somewhere ? server : NULL);
    text_put(v->out, " all=%s\n", is_whole ? "yes" : "no");
}

void admin_show_leads(const struct view *v, struct text *out)
{
    bool any = false;
    for (unsigned i = 0; i < v->snapshot->backend_count; i++) {
        const struct backend *b = &v->snapshot->backends[i];
        const struct atlas *a = atlas_of(b);
        const struct leads *l = a != NULL ? atlas_leads(a) : NULL;
        if (l == NULL)
            continue;
        any = true;
        text_put(out, "backend=%s leads=%zu\n", b->conf->name, leads_count(l));
        leads_each(l, put_lead, &(struct leads_view){ b, out });
    }
    if (!any)
        text_str(out, "No backend routes by master as gossip tells it.\n");
}
