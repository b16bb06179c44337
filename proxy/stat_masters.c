#include "stat_masters.h"

#include "base/mem.h"
#include "where.h"

/* Calls `put` for each node of each backend that knows masters; `server` may be NULL. */
typedef void (*put_fn)(struct text *out, const struct backend *b, const struct atlas_master *m,
                       const struct server *server);

static const struct atlas *atlas_of(const struct backend *b)
{
    return shown_get(&b->live->atlas);
}

static void put_backend(struct text *out, const struct backend *b, put_fn put)
{
    struct atlas_master *masters = mem_array(LOCATION_NODES_MAX, sizeof *masters);
    size_t count = atlas_masters(atlas_of(b), masters, LOCATION_NODES_MAX);
    for (size_t i = 0; i < count; i++)
        put(out, b, &masters[i], where_server_of(b, masters[i].node));
    mem_free(masters);
}

static void put_all(struct text *out, const struct view *v, put_fn put)
{
    for (unsigned i = 0; i < v->snapshot->backend_count; i++) {
        if (atlas_of(&v->snapshot->backends[i]) != NULL)
            put_backend(out, &v->snapshot->backends[i], put);
    }
}

static bool any_knows(const struct view *v)
{
    for (unsigned i = 0; i < v->snapshot->backend_count; i++) {
        if (atlas_of(&v->snapshot->backends[i]) != NULL)
            return true;
    }
    return false;
}

static const char *hearsay(const struct server *s)
{
    return live_hearsay_word((enum live_hearsay)shared_get(&s->live->hearsay));
}

/* ---- metrics ----------------------------------------------------------------------------------
 */

static void put_queues(struct text *out, const struct backend *b, const struct atlas_master *m,
                       const struct server *server)
{
    text_put(out, "warren_proxy_queues{proxy=\"%s\",server=\"%s\",node=\"%u\"} %llu\n",
             b->conf->name, server != NULL ? server->conf->name : "", m->node,
             (unsigned long long)m->queues);
}

static void put_gossip(struct text *out, const struct view *v)
{
    text_str(out, "# HELP warren_proxy_server_gossip What gossip says of a server's node.\n"
                  "# TYPE warren_proxy_server_gossip gauge\n");
    for (unsigned i = 0; i < v->snapshot->backend_count; i++) {
        const struct backend *b = &v->snapshot->backends[i];
        for (unsigned k = 0; k < backend_server_count(b); k++) {
            const struct server *s = &b->servers[k];
            if (shared_get(&s->live->hearsay) != LIVE_HEARSAY_NONE)
                text_put(out,
                         "warren_proxy_server_gossip{proxy=\"%s\",server=\"%s\",state=\"%s\"} 1\n",
                         b->conf->name, s->conf->name, hearsay(s));
        }
    }
}

void stat_masters_metrics(const struct view *v, struct text *out)
{
    if (!any_knows(v))
        return;
    text_str(out, "# HELP warren_proxy_queues Queues that a node masters, as far as is known.\n"
                  "# TYPE warren_proxy_queues gauge\n");
    put_all(out, v, put_queues);
    text_str(out, "# HELP warren_proxy_moves_total How often queues got other masters, and nodes "
                  "went or came.\n"
                  "# TYPE warren_proxy_moves_total counter\n");
    for (unsigned i = 0; i < v->snapshot->backend_count; i++) {
        const struct backend *b = &v->snapshot->backends[i];
        if (atlas_of(b) != NULL)
            text_put(out, "warren_proxy_moves_total{proxy=\"%s\"} %llu\n", b->conf->name,
                     (unsigned long long)where_moves(b));
    }
    put_gossip(out, v);
}

/* ---- the page ---------------------------------------------------------------------------------
 */

static void put_row(struct text *out, const struct backend *b, const struct atlas_master *m,
                    const struct server *server)
{
    bool usable = server != NULL && server_is_usable(server);
    text_put(out,
             "<tr class=%s><td>%s</td><td class=l>%s</td><td>%u</td><td>%llu</td>"
             "<td class=l>%s</td><td class=l>%s</td><td class=l>%s</td></tr>\n",
             m->is_up && usable   ? "up"
             : m->is_up || usable ? "going"
                                  : "down",
             b->conf->name, server != NULL ? server->conf->name : "-", m->node,
             (unsigned long long)m->queues, m->is_up ? "up" : "down", usable ? "yes" : "no",
             server != NULL ? hearsay(server) : "-");
}

void stat_masters_page(const struct view *v, struct text *out)
{
    if (!any_knows(v))
        return;
    text_str(out, "<h2>Masters</h2><div class=w><table><tr><th>Backend</th><th class=l>Server</th>"
                  "<th>Node</th><th>Queues</th><th class=l>In its cluster</th>"
                  "<th class=l>Usable</th><th class=l>Gossip</th></tr>\n");
    put_all(out, v, put_row);
    text_str(out, "</table></div>");
}

/* ---- one queue --------------------------------------------------------------------------------
 */

int stat_masters_ready(const struct view *v, struct slice vhost, struct slice queue,
                       struct text *out)
{
    bool any = false;
    for (unsigned i = 0; i < v->snapshot->backend_count; i++) {
        const struct backend *b = &v->snapshot->backends[i];
        const struct atlas *a = b->conf->by_master ? atlas_of(b) : NULL;
        uint16_t node = 0;
        enum atlas_word word = a != NULL ? atlas_find(a, vhost, queue, &node, NULL) : ATLAS_UNKNOWN;
        any |= a != NULL;
        if (word == ATLAS_UNKNOWN)
            continue;
        const struct server *s = where_server_of(b, node);
        bool is_there = word == ATLAS_UP && s != NULL && server_is_usable(s);
        text_put(out, "%s: its master is node %u%s%s\n", is_there ? "OK" : "not now", node,
                 s != NULL ? ", server " : ", which is no server here",
                 s != NULL ? s->conf->name : "");
        return is_there ? 200 : 503;
    }
    text_str(out, any ? "no such queue is known\n" : "no backend knows masters of queues\n");
    return any ? 404 : 503;
}
