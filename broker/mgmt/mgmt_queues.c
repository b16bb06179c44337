#include "amqp/amqp_table.h"
#include "base/mem.h"
#include "cluster/cluster.h"
#include "cluster/meta_mirrors.h"
#include "hosted.h"
#include "io/clock.h"
#include "io/mailbox.h"
#include "mgmt/mgmt_access.h"
#include "mgmt/mgmt_definitions.h"
#include "mgmt/mgmt_effective.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_shard.h"
#include "mirrored_lead.h"
#include "shard.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- one queue ---- */

static void put_message_stats(json_t *o, const struct mgmt_queue *f, const double *rates)
{
    static const char *const names[] = { "publish", "deliver_get", "redeliver", "ack" };
    const uint64_t counters[] = { f->published, f->delivered, f->redelivered, f->acked };
    uint64_t any = 0;
    json_t *stats = json_object();
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        any |= counters[i];
        mgmt_json_put_rated(stats, names[i], counters[i], rates[i]);
    }
    if (any != 0)
        json_out_put(o, "message_stats", stats);
    else
        json_decref(stats); /* RabbitMQ has none before something happened */
}

static void put_messages(json_t *o, const struct mgmt_http *m, const struct meta_queue *q,
                         const struct mgmt_queue *f)
{
    const uint64_t figures[] = { f->published, f->delivered, f->redelivered,       f->acked,
                                 f->ready,     f->unacked,   f->ready + f->unacked };
    double rates[ARRAY_COUNT(figures)];
    mgmt_rates_look(m->rates, f->qid, loop_now_us(m->loop), figures, ARRAY_COUNT(figures), rates);
    mgmt_json_put_rated(o, "messages", f->ready + f->unacked, rates[6]);
    mgmt_json_put_rated(o, "messages_ready", f->ready, rates[4]);
    mgmt_json_put_rated(o, "messages_unacknowledged", f->unacked, rates[5]);
    json_out_put_u64(o, "messages_ram", f->ready + f->unacked - f->paged_out);
    json_out_put_u64(o, "messages_ready_ram", f->ready - f->paged_out);
    json_out_put_u64(o, "messages_unacknowledged_ram", f->unacked);
    json_out_put_u64(o, "messages_persistent", q->durable ? f->persistent : 0);
    json_out_put_u64(o, "messages_paged_out", f->paged_out);
    json_out_put_u64(o, "message_bytes", f->ready_bytes + f->unacked_bytes);
    json_out_put_u64(o, "message_bytes_ready", f->ready_bytes);
    json_out_put_u64(o, "message_bytes_unacknowledged", f->unacked_bytes);
    json_out_put_u64(o, "message_bytes_ram",
                     f->ready_bytes + f->unacked_bytes - f->paged_out_bytes);
    json_out_put_u64(o, "message_bytes_persistent", q->durable ? f->persistent_bytes : 0);
    json_out_put_u64(o, "message_bytes_paged_out", f->paged_out_bytes);
    json_out_put_u64(o, "disk_reads", f->disk_reads);
    json_out_put_u64(o, "disk_writes", f->disk_writes);
    put_message_stats(o, f, rates);
}

/* "2026-11-28T12:48:12.477+00:00", of a moment on the loops' clock. */
static void put_idle_since(json_t *o, const struct mgmt_http *m, uint64_t at_ms)
{
    uint64_t now = loop_now_ms(m->loop);
    uint64_t wall = clock_wall_ms() - (now > at_ms ? now - at_ms : 0);
    time_t seconds = (time_t)(wall / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[40], room[64];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    struct text t = text_over(room, sizeof room);
    text_put(&t, "%s.%03u+00:00", text, (unsigned)(wall % 1000));
    json_out_put_str(o, "idle_since", room);
}

/* RabbitMQ's queue of messages has four parts, ours one. */
static json_t *backing_status(const struct mgmt_queue *f)
{
    json_t *o = json_object();
    static const char *const rates[] = { "avg_ack_egress_rate", "avg_ack_ingress_rate",
                                         "avg_egress_rate", "avg_ingress_rate" };
    for (size_t i = 0; i < ARRAY_COUNT(rates); i++)
        json_out_put(o, rates[i], json_real(0));
    json_out_put(o, "delta", json_pack("[s,s,i,i,s]", "delta", "undefined", 0, 0, "undefined"));
    json_out_put_u64(o, "len", f->ready);
    json_out_put_str(o, "mode", "default");
    json_out_put_u64(o, "next_seq_id", f->published);
    json_out_put_u64(o, "next_deliver_seq_id", f->delivered);
    json_out_put_u64(o, "q1", 0);
    json_out_put_u64(o, "q2", 0);
    json_out_put_u64(o, "q3", 0);
    json_out_put_u64(o, "q4", f->ready);
    json_out_put_str(o, "target_ram_count", "infinity");
    json_out_put_u64(o, "version", 1);
    return o;
}

static const char *type_of(const struct meta_queue *q)
{
    struct slice type = amqp_table_longstr(meta_queue_args(q), "x-queue-type");
    if (slice_is(type, "quorum"))
        return "quorum";
    return slice_is(type, "stream") ? "stream" : "classic";
}

static void put_definition(json_t *o, const struct meta_version *v, const struct meta_queue *q)
{
    json_out_put(o, "name", json_out_text(meta_queue_name(q)));
    json_out_put(o, "vhost", json_out_text(meta_vhost_name(meta_vhost_get(v, q->vhost_id))));
    json_out_put_bool(o, "durable", q->durable);
    json_out_put_bool(o, "auto_delete", q->auto_delete);
    json_out_put_bool(o, "exclusive", q->owner != 0);
    json_out_put(o, "arguments", mgmt_json_table(meta_queue_args(q)));
    json_out_put_str(o, "type", type_of(q));
}

static json_t *lone_tag(const struct mgmt_queue *f, bool is_that)
{
    if (!is_that || f->lone == 0)
        return json_null();
    return json_out_text(slice_of(f->lone_tag, f->lone_tag_bytes));
}

json_t *mgmt_replicas(const struct mgmt_http *m, const struct meta_version *v,
                      const struct meta_queue *q, bool online)
{
    json_t *nodes = json_array();
    struct meta_placement p;
    meta_placement_of(v, q, &p);
    for (unsigned i = 0; i < p.count; i++) {
        uint16_t node = meta_placement_replica(&p, i)->node;
        const struct meta_node *n = meta_node_get(v, node);
        bool is_up = node == v->self || (n != NULL && meta_node_is_serving(n));
        if (is_up || !online)
            json_array_append_new(nodes, json_out_text(mgmt_node_name(m, node)));
    }
    return nodes;
}

bool mgmt_is_mirrored(const struct meta_version *v, const struct meta_queue *q)
{
    struct meta_mirror_rule rule;
    struct meta_placement p;
    meta_mirror_rule_of(v, q, &rule);
    meta_placement_of(v, q, &p);
    return !meta_queue_is_quorum(q) && (p.count > 1 || rule.mode != META_MIRROR_NONE);
}

bool mgmt_is_shown(const struct broker *b, const struct meta_version *v, const struct meta_queue *q,
                   bool is_found)
{
    struct meta_placement p;
    meta_placement_of(v, q, &p);
    return is_found || p.master != broker_node(b) || meta_placement_cohort(&p) != 0;
}

bool mgmt_is_mirror(const struct meta_version *v, const struct meta_replica *r, bool in_sync)
{
    const struct meta_node *n = meta_node_get(v, r->node);
    return n != NULL && meta_node_is_serving(n) && (!in_sync || r->inc != 0);
}

static json_t *mirrors(const struct mgmt_http *m, const struct meta_version *v,
                       const struct meta_placement *p, bool in_sync)
{
    json_t *nodes = json_array();
    for (unsigned i = 1; i < p->count; i++) {
        const struct meta_replica *r = meta_placement_replica(p, i);
        if (mgmt_is_mirror(v, r, in_sync))
            json_array_append_new(nodes, json_out_text(mgmt_node_name(m, r->node)));
    }
    return nodes;
}

/* Which nodes have it: of a quorum queue its members, of another one its mirrors, if it is to have
 * any; those that are in sync could be recovered from. */
static void put_replicas(json_t *o, const struct mgmt_http *m, const struct meta_version *v,
                         const struct meta_queue *q)
{
    struct meta_placement p;
    meta_placement_of(v, q, &p);
    if (meta_placement_cohort(&p) != 0)
        json_out_put_u64(o, "epoch", p.epoch);
    if (meta_queue_is_quorum(q)) {
        json_out_put(o, "leader", json_out_text(mgmt_node_name(m, p.master)));
        json_out_put(o, "members", mgmt_replicas(m, v, q, false));
        json_out_put(o, "online", mgmt_replicas(m, v, q, true));
    } else if (mgmt_is_mirrored(v, q)) {
        json_out_put(o, "slave_nodes", mirrors(m, v, &p, false));
        json_out_put(o, "synchronised_slave_nodes", mirrors(m, v, &p, true));
        json_out_put(o, "recoverable_slaves", mirrors(m, v, &p, true));
    }
}

/* RabbitMQ has no such thing. Nothing, when all mirrors have all. */
static void put_lags(json_t *o, const struct mgmt_http *m, const struct mgmt_queue *f)
{
    json_t *lags = f->lag_count != 0 ? json_array() : NULL;
    for (unsigned i = 0; i < f->lag_count; i++) {
        json_t *one = json_object();
        json_out_put(one, "name", json_out_text(mgmt_node_name(m, f->lags[i].node)));
        json_out_put_u64(one, "messages", f->lags[i].messages);
        json_array_append_new(lags, one);
    }
    if (lags != NULL)
        json_out_put(o, "mirror_lag", lags);
}

/* What is known while its node does not answer. */
static json_t *queue_without(const struct mgmt_http *m, const struct meta_version *v,
                             const struct meta_queue *q)
{
    json_t *o = json_object();
    struct slice node = mgmt_node_name(m, meta_queue_master(v, q));
    put_definition(o, v, q);
    json_out_put_str(o, "state", "down");
    json_out_put(o, "node", json_out_text(node));
    mgmt_effective_put(o, meta_policy_of_queue(v, q), meta_operator_policy_of_queue(v, q));
    put_replicas(o, m, v, q);
    return o;
}

static json_t *queue(const struct mgmt_http *m, const struct meta_version *v,
                     const struct meta_queue *q, const struct mgmt_queue *f)
{
    json_t *o = json_object();
    struct slice node = mgmt_node_name(m, meta_queue_master(v, q));
    put_definition(o, v, q);
    json_out_put_str(o, "state", f->syncing ? "syncing" : "running");
    if (f->syncing)
        json_out_put_u64(o, "sync_messages", f->sync_messages);
    json_out_put(o, "node", json_out_text(node));
    mgmt_effective_put(o, meta_policy_of_queue(v, q), meta_operator_policy_of_queue(v, q));
    json_out_put_u64(o, "consumers", f->consumers);
    json_out_put(o, "consumer_utilisation", f->consumers != 0 ? json_real(1) : json_integer(0));
    json_out_put(o, "consumer_capacity", f->consumers != 0 ? json_real(1) : json_integer(0));
    json_out_put(o, "exclusive_consumer_tag", lone_tag(f, !f->lone_is_active));
    json_out_put_u64(o, "reductions", 0);
    json_out_put(o, "single_active_consumer_tag", lone_tag(f, f->lone_is_active));
    json_out_put(o, "head_message_timestamp", json_null());
    if (f->has_timestamp)
        json_out_put_u64(o, "head_message_timestamp", f->head_timestamp);
    json_out_put(o, "recoverable_slaves", json_null());
    json_out_put_u64(o, "memory", f->memory_bytes);
    json_out_put(o, "backing_queue_status", backing_status(f));
    put_idle_since(o, m, f->used_ms);
    put_replicas(o, m, v, q);
    put_lags(o, m, f);
    put_messages(o, m, q, f);
    return o;
}

/* ---- lists ---- */

struct queue_row {
    uint64_t qid;
    uint32_t shard;
    uint16_t node;
};

struct queue_source {
    struct mgmt_source base;
    struct mgmt_http *m;
    struct mgmt_peers *peers; /* NULL: this node alone */
    struct queue_row *rows;
    const struct meta_queue **queues; /* in the first turn alone */
    struct mgmt_listing *listing;
    struct mgmt_queue *fetched;
};

static int compare_names(const void *left, const void *right)
{
    const struct meta_queue *const *a = left;
    const struct meta_queue *const *b = right;
    return slice_cmp(meta_queue_name(*a), meta_queue_name(*b));
}

static struct slice name_of_row(struct mgmt_source *s, uint32_t row)
{
    return meta_queue_name(CONTAINER_OF(s, struct queue_source, base)->queues[row]);
}

static void on_fetched(struct mgmt_ask *a, void *arg)
{
    struct queue_source *s = arg;
    size_t count;
    const struct mgmt_queue *f = mgmt_ask_queue_list(a, &count);
    mem_free(s->fetched);
    s->fetched = mem_dup(f, count * sizeof *f);
    mgmt_listing_fetched(s->listing);
}

static void fetch(struct mgmt_source *source, struct mgmt_listing *l, const uint32_t *rows,
                  uint32_t count)
{
    struct queue_source *s = CONTAINER_OF(source, struct queue_source, base);
    struct mgmt_queue *wanted = mem_array((size_t)count + 1, sizeof *wanted);
    for (uint32_t i = 0; i < count; i++)
        wanted[i] = (struct mgmt_queue){ .qid = s->rows[rows[i]].qid,
                                         .node = s->rows[rows[i]].node,
                                         .shard = s->rows[rows[i]].shard };
    s->listing = l;
    mgmt_ask_queues(s->m->broker, s->m->loop, s->peers, &wanted, count, on_fetched, s);
}

static json_t *render(struct mgmt_source *source, uint32_t row, uint32_t nth)
{
    struct queue_source *s = CONTAINER_OF(source, struct queue_source, base);
    const struct meta_version *v = broker_meta(s->m->broker);
    const struct meta_queue *q = meta_queue_get(v, s->rows[row].qid);
    const struct mgmt_queue *f = &s->fetched[nth];
    if (q == NULL || !mgmt_is_shown(s->m->broker, v, q, f->found))
        return NULL;
    return f->found ? queue(s->m, v, q, f) : queue_without(s->m, v, q);
}

static void free_source(struct mgmt_source *source)
{
    struct queue_source *s = CONTAINER_OF(source, struct queue_source, base);
    mem_free(s->rows);
    mem_free(s->fetched);
    mem_free(s);
}

/* All queues of these vhosts, by vhost and name. */
static void choose(struct queue_source *s, const struct meta_vhost *const *vhosts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += vhosts[i]->queues.count;
    s->queues = mem_array(total + 1, sizeof(struct meta_queue *));
    for (size_t i = 0; i < count; i++) {
        uint32_t first = s->base.count;
        struct pmap_iter it;
        pmap_iter(&it, &vhosts[i]->queues);
        const struct meta_queue *q;
        while ((q = pmap_next(&it)) != NULL)
            s->queues[s->base.count++] = q;
        qsort(s->queues + first, s->base.count - first, sizeof *s->queues, compare_names);
    }
    s->rows = mem_array(total + 1, sizeof *s->rows);
    const struct meta_version *v = broker_meta(s->m->broker);
    for (uint32_t i = 0; i < s->base.count; i++)
        s->rows[i] = (struct queue_row){ s->queues[i]->qid, s->queues[i]->shard,
                                         meta_queue_master(v, s->queues[i]) };
}

static struct queue_source *source_new(const struct mgmt_call *c,
                                       const struct meta_vhost *const *vhosts, size_t count)
{
    struct queue_source *s = mem_zalloc(sizeof *s);
    s->m = c->m;
    s->peers = mgmt_call_peers(c);
    s->base.name = name_of_row;
    s->base.fetch = fetch;
    s->base.render = render;
    s->base.free = free_source;
    choose(s, vhosts, count);
    return s;
}

static json_t *render_definition(struct mgmt_source *source, uint32_t row, uint32_t nth)
{
    (void)nth;
    struct queue_source *s = CONTAINER_OF(source, struct queue_source, base);
    const struct meta_version *v = broker_meta(s->m->broker);
    const struct meta_queue *q = meta_queue_get(v, s->rows[row].qid);
    if (q == NULL || q->owner != 0)
        return NULL;
    json_t *o = json_object();
    json_out_put(o, "name", json_out_text(meta_queue_name(q)));
    json_out_put(o, "vhost", json_out_text(meta_vhost_name(meta_vhost_get(v, q->vhost_id))));
    json_out_put_bool(o, "durable", q->durable);
    json_out_put_bool(o, "auto_delete", q->auto_delete);
    json_out_put(o, "arguments", mgmt_json_table(meta_queue_args(q)));
    return o;
}

struct mgmt_source *mgmt_queue_definitions(const struct mgmt_call *c,
                                           const struct meta_vhost *const *vhosts, size_t count)
{
    struct queue_source *s = source_new(c, vhosts, count);
    mem_free(s->queues);
    s->base.render = render_definition;
    return &s->base;
}

void mgmt_serve_queues(struct mgmt_call *c)
{
    if (!mgmt_read_list(c))
        return;
    size_t count;
    const struct meta_vhost **vhosts = mgmt_vhosts(c, &count);
    struct queue_source *s = source_new(c, vhosts, count);
    mem_free(vhosts);
    const struct meta_queue **queues = s->queues;
    mgmt_listing_start(c, &s->base);
    mem_free(queues);
}

/* ---- /api/queues/VHOST/NAME ---- */

/* The queue that the path names, or NULL: answered. */
static const struct meta_queue *named(struct mgmt_call *c)
{
    const struct meta_vhost *vh = mgmt_vhost(c);
    const struct meta_queue *q =
        vh != NULL ? meta_queue_find(mgmt_meta(c), vh, mgmt_arg(c, 1)) : NULL;
    if (q == NULL)
        mgmt_not_found(c);
    return q;
}

/* The figures are there (c->data); who consumes, and whose it is, too: `clients`, or NULL when that
 * is nobody. */
static void reply_one(struct mgmt_call *c, const struct mgmt_ask *clients)
{
    const struct mgmt_queue *f = c->data;
    const struct meta_version *v = mgmt_meta(c);
    const struct meta_queue *q = meta_queue_get(v, f->qid);
    if (q == NULL || !mgmt_is_shown(c->m->broker, v, q, f->found)) {
        mgmt_not_found(c);
        return;
    }
    json_t *o = f->found ? queue(c->m, v, q, f) : queue_without(c->m, v, q);
    json_out_put(o, "consumer_details",
                 clients != NULL ? mgmt_consumers_of(c->m, clients, q->qid) : json_array());
    json_t *owner =
        clients != NULL && q->owner != 0 ? mgmt_connection_named(clients, q->owner) : NULL;
    if (owner != NULL)
        json_out_put(o, "owner_pid_details", owner);
    json_out_put(o, "deliveries", json_array());
    json_out_put(o, "incoming", json_array());
    mgmt_reply_object(c, o);
}

static void on_clients(struct mgmt_ask *a, void *arg)
{
    reply_one(arg, a);
}

static void on_one(struct mgmt_ask *a, void *arg)
{
    struct mgmt_call *c = arg;
    size_t count;
    const struct mgmt_queue *f = mgmt_ask_queue_list(a, &count);
    const struct meta_queue *q = meta_queue_get(mgmt_meta(c), f->qid);
    c->data = mem_dup(f, sizeof *f);
    if (f->found && q != NULL && (f->consumers != 0 || q->owner != 0))
        mgmt_ask_clients(c->m->broker, c->m->loop, mgmt_call_peers(c), MGMT_CONSUMERS, on_clients,
                         c);
    else
        reply_one(c, NULL);
}

void mgmt_serve_queue(struct mgmt_call *c)
{
    const struct meta_queue *q = named(c);
    if (q == NULL)
        return;
    struct mgmt_queue *wanted = mem_array(1, sizeof *wanted);
    *wanted = (struct mgmt_queue){ .qid = q->qid,
                                   .node = meta_queue_master(mgmt_meta(c), q),
                                   .shard = q->shard };
    mgmt_ask_queues(c->m->broker, c->m->loop, mgmt_call_peers(c), &wanted, 1, on_one, c);
}

void mgmt_serve_queue_put(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_QUEUE_DECLARE,
                            .vhost_id = c->vhost_id,
                            .name = mgmt_arg(c, 1) };
    uint8_t *table = NULL;
    if (!mgmt_read_body(c) || !mgmt_member_bool(c, "durable", &cmd.queue_declare.durable) ||
        !mgmt_member_bool(c, "auto_delete", &cmd.queue_declare.auto_delete) ||
        !mgmt_member_table(c, "arguments", &table, &cmd.queue_declare.args))
        return;
    const struct meta_vhost *vh = mgmt_vhost(c);
    bool is_there = vh != NULL && meta_queue_find(mgmt_meta(c), vh, cmd.name) != NULL;
    c->data = table;
    mgmt_change(c, &cmd, is_there ? 204 : 201);
}

static void on_deleted(struct mgmt_call *c, const struct port_request *r)
{
    switch (r->verdict) {
    case PORT_OK:
        mgmt_change(
            c,
            &(struct meta_cmd){ .op = META_QUEUE_DELETE, .vhost_id = c->vhost_id, .qid = r->qid },
            204);
        return;
    case PORT_IN_USE:
    case PORT_NOT_EMPTY:
        mgmt_bad_request(c, "queue '%.*s' in vhost '%.*s' %s", SLICE_ARG(mgmt_arg(c, 1)),
                         SLICE_ARG(mgmt_arg(c, 0)),
                         r->verdict == PORT_IN_USE ? "in use" : "not empty");
        return;
    case PORT_NO_QUEUE:
    case PORT_EXCLUSIVE:
    case PORT_NODE_DOWN:
    case PORT_ELSEWHERE:
        mgmt_not_found(c);
        return;
    }
}

/* As any other client: not a queue that a connection has for itself alone. */
static bool is_open(struct mgmt_call *c, const struct meta_queue *q)
{
    struct meta_refusal why;
    if (meta_queue_is_open_to(mgmt_meta(c), q, 0, &why))
        return true;
    mgmt_refuse_meta(c, &why);
    return false;
}

/* Asked before the queue is: what its node has promised to delete is gone. */
static bool may_change_metadata(struct mgmt_call *c)
{
    struct meta_refusal why;
    if (cluster_may_change(broker_cluster(c->m->broker), &why))
        return true;
    mgmt_refuse_meta(c, &why);
    return false;
}

void mgmt_serve_queue_delete(struct mgmt_call *c)
{
    const struct meta_queue *q = named(c);
    if (q != NULL && mgmt_may(c, ACCESS_CONFIGURE, ACCESS_QUEUE, meta_queue_name(q)) &&
        is_open(c, q) && !mgmt_forwarded_home(c, q) && may_change_metadata(c))
        mgmt_shard_ask(c, q,
                       &(struct port_request){ .op = PORT_DELETE,
                                               .if_unused = mgmt_query_is(c, "if-unused", "true"),
                                               .if_empty = mgmt_query_is(c, "if-empty", "true") },
                       on_deleted);
}

static void on_purged(struct mgmt_call *c, const struct port_request *r)
{
    if (r->verdict == PORT_OK)
        mgmt_reply_empty(c, 204);
    else
        mgmt_not_found(c);
}

void mgmt_serve_queue_purge(struct mgmt_call *c)
{
    const struct meta_queue *q = named(c);
    if (q != NULL && mgmt_may(c, ACCESS_READ, ACCESS_QUEUE, meta_queue_name(q)) && is_open(c, q) &&
        !mgmt_forwarded_home(c, q))
        mgmt_shard_ask(c, q, &(struct port_request){ .op = PORT_PURGE }, on_purged);
}

/* For the queue's shard. */
struct sync_notice {
    struct mail mail;
    struct shard *shard;
    uint64_t qid;
    bool is_cancel;
};

/* As RabbitMQ: where there is nothing to do, that is no error. */
static void on_sync(struct mail *mail)
{
    struct sync_notice *n = CONTAINER_OF(mail, struct sync_notice, mail);
    struct hosted *h = shard_hosted(n->shard, n->qid);
    if (h != NULL && n->is_cancel)
        mirrored_cancel_sync(h);
    else if (h != NULL)
        mirrored_sync(h);
    mem_free(n);
}

static void sync_mirrors(struct mgmt_call *c, const struct meta_queue *q, bool is_cancel)
{
    if (mgmt_forwarded_home(c, q))
        return;
    struct sync_notice *n = mem_zalloc(sizeof *n);
    *n = (struct sync_notice){
        { NULL, on_sync }, broker_shard(c->m->broker, q->shard), q->qid, is_cancel
    };
    mailbox_post(n->shard->loop, &n->mail);
    mgmt_reply_empty(c, 204);
}

void mgmt_serve_queue_actions(struct mgmt_call *c)
{
    static const char *const needed[] = { "action", NULL };
    struct slice action = { NULL, 0 };
    const struct meta_queue *q = named(c);
    if (q == NULL || !mgmt_read_body_with(c, needed) || !mgmt_member_text(c, "action", &action))
        return;
    if (slice_is(action, "sync") || slice_is(action, "cancel_sync")) {
        sync_mirrors(c, q, slice_is(action, "cancel_sync"));
        return;
    }
    json_t *o = json_object();
    json_out_put_str(o, "error", "bad_request");
    json_out_put(o, "reason", json_pack("[so]", "unknown", json_out_text(action)));
    mgmt_reply(c, 400, o);
}

void mgmt_serve_queue_bindings(struct mgmt_call *c)
{
    const struct meta_queue *q = named(c);
    if (q != NULL)
        mgmt_reply_bindings_to(c, q->qid);
}
