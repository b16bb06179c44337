#include "api_view.h"

#include "base/json_out.h"
#include "base/mem.h"
#include "failovers.h"
#include "gossip/gossip_net.h"
#include "io/clock.h"
#include "observer.h"
#include "stat_table.h"
#include "where.h"

#include <unistd.h>

/* ---- the process ----------------------------------------------------------------------------- */

json_t *api_view_info(const struct view *v)
{
    struct view_totals t = view_totals(v);
    json_t *o = json_object();
    json_out_put_str(o, "name", "warren-proxy");
    json_out_put_str(o, "version", WARREN_VERSION);
    json_out_put_u64(o, "pid", (uint64_t)getpid());
    json_out_put_u64(o, "threads", v->worker_count);
    json_out_put_u64(o, "uptime_ms", loop_now_ms(v->loop) - v->started_ms);
    json_out_put_bool(o, "serves", view_can_serve(v));
    json_out_put_bool(o, "stopping", shared_get(&v->process->draining) != 0);
    json_out_put_u64(o, "maxconn", v->process->conns_limit);
    json_out_put_u64(o, "connections", shared_get(&v->process->conns));
    json_out_put_u64(o, "connections_max", shared_get(&v->process->conns_max));
    json_out_put_u64(o, "connections_total", shared_get(&v->process->conns_total));
    json_out_put_u64(o, "clients", t.clients);
    json_out_put_u64(o, "channels", t.channels);
    json_out_put_u64(o, "upstreams", t.upstreams);
    json_out_put_u64(o, "published", t.published);
    json_out_put_u64(o, "delivered", t.delivered);
    json_out_put_u64(o, "published_per_second", v->published.now);
    json_out_put_u64(o, "delivered_per_second", v->delivered.now);
    json_out_put_u64(o, "channels_kept", t.channels_kept);
    json_out_put_u64(o, "channels_ended", t.channels_ended);
    json_out_put_u64(o, "consumers_moved", t.consumers_moved);
    json_out_put_u64(o, "vacated", t.vacated);
    json_t *operations = json_object();
    for (unsigned way = 0; way < PLACE_WAY_COUNT; way++)
        json_out_put_u64(operations, place_way_word((enum place_way)way), t.ways[way]);
    json_out_put(o, "operations", operations);
    return o;
}

/* ---- the table ------------------------------------------------------------------------------- */

static json_t *row_of(const struct stat_row *row)
{
    json_t *o = json_object();
    for (unsigned c = 0; c < STAT_COLUMN_COUNT; c++) {
        const struct stat_value *value = &row->values[c];
        if (value->is == STAT_NUMBER)
            json_out_put(o, stat_heading((enum stat_column)c), json_integer(value->number));
        else if (value->is == STAT_TEXT)
            json_out_put_str(o, stat_heading((enum stat_column)c), value->text);
    }
    return o;
}

json_t *api_view_stats(const struct view *v)
{
    unsigned count;
    struct stat_row *rows = stat_rows(v->snapshot, loop_now_ms(v->loop), &count);
    json_t *all = json_array();
    for (unsigned i = 0; i < count; i++)
        (void)json_array_append_new(all, row_of(&rows[i]));
    mem_free(rows);
    return all;
}

/* ---- queues ---------------------------------------------------------------------------------- */

static void put_server(json_t *o, const struct server *s)
{
    if (s == NULL) {
        json_out_put(o, "server", json_null());
        return;
    }
    json_out_put_str(o, "server", s->conf->name);
    json_out_put_bool(o, "usable", server_is_usable(s));
    json_out_put_str(o, "gossip",
                     live_hearsay_word((enum live_hearsay)shared_get(&s->live->hearsay)));
}

static json_t *masters_of(const struct backend *b, const struct atlas *a)
{
    struct atlas_master *masters = mem_array(LOCATION_NODES_MAX, sizeof *masters);
    size_t count = atlas_masters(a, masters, LOCATION_NODES_MAX);
    json_t *nodes = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        json_out_put_u64(o, "node", masters[i].node);
        json_out_put_bool(o, "up", masters[i].is_up);
        json_out_put_u64(o, "queues", masters[i].queues);
        put_server(o, where_server_of(b, masters[i].node));
        (void)json_array_append_new(nodes, o);
    }
    mem_free(masters);
    return nodes;
}

static json_t *backend_of(const struct backend *b)
{
    json_t *o = json_object();
    json_out_put_str(o, "backend", b->conf->name);
    return o;
}

/* Calls fn for each backend that knows masters. */
static json_t *of_backends(const struct view *v,
                           void (*fn)(json_t *o, const struct backend *b, const struct atlas *a,
                                      const void *arg),
                           const void *arg)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < v->snapshot->backend_count; i++) {
        const struct backend *b = &v->snapshot->backends[i];
        const struct atlas *a = b->conf->by_master ? shown_get(&b->live->atlas) : NULL;
        if (a == NULL)
            continue;
        json_t *o = backend_of(b);
        fn(o, b, a, arg);
        (void)json_array_append_new(all, o);
    }
    return all;
}

static void put_masters(json_t *o, const struct backend *b, const struct atlas *a, const void *arg)
{
    (void)arg;
    json_out_put_u64(o, "queues", atlas_count(a));
    json_out_put_u64(o, "moves", where_moves(b));
    json_out_put(o, "nodes", masters_of(b, a));
}

json_t *api_view_queues(const struct view *v)
{
    return of_backends(v, put_masters, NULL);
}

struct queue_name {
    struct slice vhost;
    struct slice queue;
};

static void put_place(json_t *o, const struct backend *b, const struct atlas *a, const void *arg)
{
    const struct queue_name *name = arg;
    uint16_t node = 0;
    enum atlas_word word = atlas_find(a, name->vhost, name->queue, &node, NULL);
    json_out_put_bool(o, "known", word != ATLAS_UNKNOWN);
    if (word == ATLAS_UNKNOWN)
        return;
    json_out_put_u64(o, "node", node);
    json_out_put_bool(o, "up", word == ATLAS_UP);
    put_server(o, where_server_of(b, node));
}

json_t *api_view_queue(const struct view *v, struct slice vhost, struct slice queue)
{
    struct queue_name name = { vhost, queue };
    return of_backends(v, put_place, &name);
}

/* ---- failovers ------------------------------------------------------------------------------- */

static json_t *failover_of(const struct view *v, const struct failover *f)
{
    json_t *o = json_object();
    json_out_put_u64(o, "node", f->node);
    json_out_put_str(o, "name", f->name);
    json_out_put_u64(o, "began_at_ms", f->wall_ms);
    json_out_put_u64(o, "queues", f->queues);
    json_out_put_u64(o, "left", f->left);
    json_out_put_u64(o, "pause_ms", failover_pause_ms(f, loop_now_ms(v->loop)));
    json_out_put_str(o, "state", failover_state_word(f->state));
    return o;
}

json_t *api_view_failovers(const struct view *v)
{
    const struct failovers *all = observer_failovers(v->observer);
    const struct failover *f;
    json_t *o = json_object();
    json_t *list = json_array();
    json_out_put_u64(o, "total", all != NULL ? all->total : 0);
    for (unsigned i = 0; all != NULL && (f = failovers_at(all, i)) != NULL; i++)
        (void)json_array_append_new(list, failover_of(v, f));
    json_out_put(o, "failovers", list);
    return o;
}

/* ---- gossip ---------------------------------------------------------------------------------- */

static json_t *member_of(const struct view *v, const struct gossip_net *net,
                         const struct gossip_member *m)
{
    struct gossip_info info = { .role = GOSSIP_ROLE_BROKER };
    uint64_t now_us = loop_now_us(v->loop);
    json_t *o = json_object();
    json_out_put_str(o, "state", gossip_state_text(m->state));
    json_out_put_bool(o, "self", m->id == gossip_net_id(net));
    json_out_put_u64(o, "since_ms", now_us > m->since_us ? (now_us - m->since_us) / 1000 : 0);
    if (gossip_net_info(m, &info)) {
        json_out_put_str(o, "role", gossip_role_text(info.role));
        json_out_put(o, "name", json_out_text(info.name));
        json_out_put(o, "version", json_out_text(info.version));
        json_out_put(o, "cluster_address", json_out_text(info.cluster));
        json_out_put(o, "amqp_address", json_out_text(info.amqp));
        json_out_put(o, "management_address", json_out_text(info.management));
    }
    if (m->pulse.seq != 0) {
        json_out_put_u64(o, "connections", m->pulse.load.connections);
        json_out_put_u64(o, "queues", m->pulse.load.queues);
        json_out_put_u64(o, "memory_permille", m->pulse.load.memory_permille);
        json_out_put_u64(o, "metadata_index", m->pulse.meta_index);
    }
    return o;
}

json_t *api_view_gossip(const struct view *v)
{
    const struct gossip_net *net = observer_net(v->observer);
    json_t *o = json_object();
    json_t *members = json_array();
    size_t count = net != NULL ? gossip_net_count(net) : 0;
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(members, member_of(v, net, gossip_net_member(net, i)));
    json_out_put_bool(o, "takes_part", net != NULL);
    json_out_put(o, "members", members);
    return o;
}
