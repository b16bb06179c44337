/* `warrenctl status` and `cluster_status`: the answers have the shape of rabbitmqctl's JSON. */
#include "base/check.h"
#include "base/mem.h"
#include "cluster/cluster.h"
#include "cluster/meta_node.h"
#include "cluster/meta_policy.h"
#include "gossip_node.h"
#include "io/clock.h"
#include "io/host.h"
#include "live.h"
#include "mgmt/ctl_peers.h"
#include "mgmt/mgmt_json.h"
#include "mgmt/mgmt_store.h"
#include "shard.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct broker_conf *conf_of(const struct ctl *c)
{
    return broker_live(c->broker)->conf;
}

static void add_listeners(const struct ctl *c, json_t *list, const struct conf_addresses *at,
                          const char *protocol, const char *purpose)
{
    for (size_t i = 0; i < at->count; i++) {
        const struct conf_address *a = &at->items[i];
        if (a->kind == CONF_ADDRESS_UNIX)
            continue;
        json_t *o = json_object();
        json_out_put_str(o, "interface", a->host[0] != '\0' ? a->host : "[::]");
        json_out_put_str(o, "node", conf_of(c)->node.name);
        json_out_put_u64(o, "port", a->port);
        json_out_put_str(o, "protocol", protocol);
        json_out_put_str(o, "purpose", purpose);
        json_array_append_new(list, o);
    }
}

static json_t *listeners(const struct ctl *c)
{
    const struct broker_conf *conf = conf_of(c);
    json_t *list = json_array();
    add_listeners(c, list, &conf->listen.management, "http", "HTTP API");
    add_listeners(c, list, &conf->listen.management_tls, "https", "HTTPS API");
    add_listeners(c, list, &conf->listen.cluster, "clustering",
                  "inter-node and CLI tool communication");
    add_listeners(c, list, &conf->listen.amqp, "amqp", "AMQP 0-9-1");
    add_listeners(c, list, &conf->listen.amqps, "amqp/ssl", "AMQP 0-9-1 over TLS");
    return list;
}

static json_t *alarms(const struct ctl *c)
{
    return mgmt_alarms(c->broker, conf_of(c)->node.name);
}

static uint64_t open_connections(const struct broker *b)
{
    uint64_t opened = 0, closed = 0;
    for (uint32_t i = 0; i < broker_shard_count(b); i++) {
        opened += shard_counter(broker_shard(b, i), connections_opened);
        closed += shard_counter(broker_shard(b, i), connections_closed);
    }
    return opened - closed;
}

static uint64_t open_sockets(const struct broker *b)
{
    uint64_t opened = 0, closed = 0;
    for (uint32_t i = 0; i < broker_shard_count(b); i++) {
        opened += shard_counter(broker_shard(b, i), sockets_accepted);
        closed += shard_counter(broker_shard(b, i), sockets_ended);
    }
    return opened - closed;
}

/* What RabbitMQ divides into many; we know what messages take and the rest. */
static json_t *memory(const struct ctl *c)
{
    uint64_t resident = host_resident_bytes("");
    uint64_t messages = broker_message_bytes(c->broker);
    json_t *o = json_object();
    json_out_put_u64(o, "messages", messages);
    json_out_put_u64(o, "other", resident > messages ? resident - messages : 0);
    json_out_put_str(o, "strategy", "rss");
    json_t *total = json_object();
    json_out_put_u64(total, "rss", resident);
    json_out_put_u64(total, "allocated", resident);
    json_out_put_u64(total, "erlang", resident);
    json_out_put(o, "total", total);
    return o;
}

static json_t *watermark(const struct ctl *c)
{
    const struct broker_conf *conf = conf_of(c);
    if (broker_memory_limit(c->broker) != conf->limits.memory_bytes)
        return json_pack("{s:I}", "absolute", (json_int_t)broker_memory_limit(c->broker));
    const struct conf_share *s = &conf->limits.memory_high_watermark;
    return s->is_fraction ? json_pack("{s:f}", "relative", s->fraction)
                          : json_pack("{s:I}", "absolute", (json_int_t)s->bytes);
}

static json_t *file_descriptors(const struct ctl *c)
{
    uint64_t sockets = open_sockets(c->broker);
    json_t *o = json_object();
    json_out_put_u64(o, "sockets_limit", host_files_max());
    json_out_put_u64(o, "sockets_used", sockets);
    json_out_put_u64(o, "total_limit", host_files_max());
    json_out_put_u64(o, "total_used", sockets);
    return o;
}

static json_t *totals(const struct ctl *c)
{
    const struct meta_version *v = broker_meta(c->broker);
    json_t *o = json_object();
    json_out_put_u64(o, "virtual_host_count", v->vhosts.count);
    json_out_put_u64(o, "connection_count", open_connections(c->broker));
    json_out_put_u64(o, "queue_count", v->queues.count);
    return o;
}

static void put_limits(json_t *o, const struct ctl *c)
{
    const struct broker_conf *conf = conf_of(c);
    json_out_put_u64(o, "disk_free", host_disk_free_bytes(conf->node.data_path));
    json_out_put_u64(o, "disk_free_limit", broker_disk_limit(c->broker));
    json_out_put_str(o, "vm_memory_calculation_strategy", "rss");
    json_out_put_u64(o, "vm_memory_high_watermark_limit", broker_memory_limit(c->broker));
    json_out_put(o, "vm_memory_high_watermark_setting", watermark(c));
}

static void put_paths(json_t *o, const struct broker_conf *conf)
{
    json_t *files = json_array(), *logs = json_array();
    if (conf->file != NULL)
        json_array_append_new(files, json_string(conf->file));
    static const char *const targets[] = { "<stderr>", NULL, "<syslog>" };
    const char *log =
        conf->log.target == BROKER_LOG_FILE ? conf->log.file : targets[conf->log.target];
    json_array_append_new(logs, json_out_text(slice_str(log)));
    json_out_put(o, "config_files", files);
    json_out_put_str(o, "data_directory", conf->node.data_path);
    json_out_put(o, "log_files", logs);
}

static json_t *active_plugins(void)
{
    return json_pack("[s, s, s]", "rabbitmq_management", "rabbitmq_management_agent",
                     "rabbitmq_prometheus");
}

/* Some figures of the queues come from the shards. */
struct asking {
    struct ctl *ctl;
    struct http_request *request;
};

static void ask_totals(struct ctl *c, struct http_request *r, mgmt_totals_fn done)
{
    struct asking *a = mem_zalloc(sizeof *a);
    *a = (struct asking){ c, r };
    mgmt_ask_totals(c->broker, c->loop, NULL, done, a);
}

static void on_journal(void *arg, const struct mgmt_totals *all, const struct mgmt_totals *vhosts,
                       size_t vhost_count)
{
    (void)vhosts;
    (void)vhost_count;
    struct asking *a = arg;
    json_t *journal = mgmt_store_journal(a->ctl->broker, all);
    if (json_is_null(journal)) {
        json_decref(journal);
        ctl_refuse(a->request, "refused", "this node keeps nothing on disk");
    } else {
        ctl_reply(a->request, journal);
    }
    mem_free(a);
}

void ctl_serve_journal_status(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    ask_totals(c, r, on_journal);
}

static void on_status(void *arg, const struct mgmt_totals *all, const struct mgmt_totals *vhosts,
                      size_t vhost_count)
{
    (void)vhosts;
    (void)vhost_count;
    struct asking *a = arg;
    struct ctl *c = a->ctl;
    const struct broker_conf *conf = conf_of(c);
    json_t *o = json_object();
    json_out_put(o, "active_plugins", active_plugins());
    json_out_put(o, "alarms", alarms(c));
    json_out_put(o, "cluster_alarms", mgmt_cluster_alarms(c->broker, conf->node.name));
    put_paths(o, conf);
    json_out_put_str(o, "crypto_lib_version", OpenSSL_version(OPENSSL_VERSION));
    json_out_put(o, "file_descriptors", file_descriptors(c));
    json_out_put_bool(o, "is_under_maintenance", broker_is_drained(c->broker));
    json_out_put(o, "listeners", listeners(c));
    json_out_put(o, "memory", memory(c));
    json_out_put_str(o, "node", conf->node.name);
    json_out_put_str(o, "os", "Linux");
    json_out_put_u64(o, "pid", (uint64_t)getpid());
    put_limits(o, c);
    json_out_put_str(o, "product_name", "Warren");
    json_out_put_str(o, "product_version", WARREN_VERSION);
    json_out_put_str(o, "rabbitmq_version", WARREN_VERSION);
    json_out_put_u64(o, "threads", broker_shard_count(c->broker));
    json_out_put(o, "totals", totals(c));
    json_out_put_u64(o, "uptime", clock_wall_ms() / 1000u - c->started_s);
    json_out_put(o, "journal", mgmt_store_journal(c->broker, all));
    ctl_reply(a->request, o);
    mem_free(a);
}

void ctl_serve_status(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    ask_totals(c, r, on_status);
}

static const char *cluster_name(const struct ctl *c, char room[META_NAME_MAX + 1])
{
    struct text t = text_over(room, META_NAME_MAX + 1);
    meta_cluster_name(broker_meta(c->broker), &t);
    if (t.len == 0) /* it waits for its cluster */
        text_str(&t, conf_of(c)->node.name);
    return room;
}

/* {node: value} */
static json_t *of_node(const struct ctl *c, json_t *value)
{
    json_t *o = json_object();
    json_out_put(o, conf_of(c)->node.name, value);
    return o;
}

static int compare_nodes(const void *left, const void *right)
{
    const struct meta_node *const *a = left;
    const struct meta_node *const *b = right;
    return slice_cmp((*a)->name, (*b)->name);
}

/* The names of the nodes that are `wanted`, in their order. */
static json_t *nodes_that(const struct ctl *c,
                          bool (*wanted)(const struct ctl *c, const struct meta_node *n))
{
    const struct meta_version *v = broker_meta(c->broker);
    size_t count = 0, all = meta_node_count(v);
    const struct meta_node **nodes = mem_array(all + 1, sizeof(struct meta_node *));
    for (size_t i = 0; i < all; i++) {
        if (wanted(c, meta_node_at(v, i)))
            nodes[count++] = meta_node_at(v, i);
    }
    qsort(nodes, count, sizeof *nodes, compare_nodes);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_out_text(nodes[i]->name));
    mem_free(nodes);
    return list;
}

static bool is_disc(const struct ctl *c, const struct meta_node *n)
{
    (void)c;
    return n->type == META_NODE_DISC;
}

static bool is_ram(const struct ctl *c, const struct meta_node *n)
{
    (void)c;
    return n->type == META_NODE_RAM;
}

static bool is_witness(const struct ctl *c, const struct meta_node *n)
{
    (void)c;
    return n->type == META_NODE_WITNESS;
}

/* This one by what it knows of itself. */
static bool is_running(const struct ctl *c, const struct meta_node *n)
{
    if (n->node == broker_node(c->broker))
        return broker_app_is_running(c->broker);
    return meta_node_is_serving(n);
}

/* Without a majority nobody can say of others that they are down: those run that have answered. */
static json_t *running_nodes(const struct ctl *c, const json_t *answers)
{
    json_t *list = nodes_that(c, is_running);
    const struct meta_node *self = meta_node_get(broker_meta(c->broker), broker_node(c->broker));
    if (!cluster_status(broker_cluster(c->broker))->is_cut_off || self == NULL)
        return list;
    for (size_t i = json_array_size(list); i-- != 0;) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!slice_is(self->name, name) && json_object_get(answers, name) == NULL)
            json_array_remove(list, i);
    }
    return list;
}

static bool is_unwell(const struct ctl *c, const struct meta_node *n)
{
    (void)c;
    return n->state == META_NODE_IS_UNWELL;
}

/* Why the metadata cannot be changed now, or null. */
static json_t *trouble(const struct ctl *c)
{
    const struct cluster_status *s = cluster_status(broker_cluster(c->broker));
    return s->waits_for[0] != '\0' ? json_string(s->waits_for) : json_null();
}

static const char *phase_text(enum cluster_phase phase)
{
    switch (phase) {
    case CLUSTER_ALONE:
        return "alone";
    case CLUSTER_WAITING:
        return "waiting";
    case CLUSTER_READY:
        return "ready";
    case CLUSTER_LEAVING:
        return "leaving";
    case CLUSTER_REMOVED:
        return "removed";
    }
    UNREACHABLE("phase");
}

/* How far this node is with what the cluster agrees upon: those that have applied as much have the
 * same checksum. */
static json_t *metadata(const struct ctl *c)
{
    const struct cluster_status *s = cluster_status(broker_cluster(c->broker));
    char checksum[17];
    snprintf(checksum, sizeof checksum, "%016" PRIx64, s->checksum);
    json_t *o = json_object();
    json_out_put_str(o, "phase", phase_text(s->phase));
    json_out_put(o, "leader", json_null());
    for (unsigned i = 0; i < s->count; i++) {
        if (s->peers[i].is_leader)
            json_out_put_str(o, "leader", s->peers[i].name);
    }
    json_out_put_u64(o, "term", s->term);
    json_out_put_u64(o, "committed", s->committed);
    json_out_put_u64(o, "applied", s->applied);
    json_out_put_str(o, "checksum", checksum);
    return o;
}

/* By what this node has heard. */
static json_t *proxies(const struct ctl *c)
{
    const struct gossip_proxies *p = gossip_node_proxies(broker_gossip(c->broker));
    json_t *list = json_array();
    for (size_t i = 0; i < p->count; i++) {
        json_t *o = json_object();
        json_out_put_str(o, "name", p->items[i].name);
        json_out_put_str(o, "address", p->items[i].address);
        json_out_put_str(o, "version", p->items[i].version);
        json_array_append_new(list, o);
    }
    return list;
}

/* What this node alone knows, to be joined with the others'. */
static json_t *own_status(const struct ctl *c)
{
    json_t *o = json_object();
    json_out_put(o, "alarms", alarms(c));
    json_out_put(o, "listeners", of_node(c, listeners(c)));
    json_out_put(o, "maintenance_status",
                 of_node(c, json_string(broker_is_drained(c->broker) ? "under maintenance"
                                                                     : "not under maintenance")));
    json_out_put(o, "metadata", of_node(c, metadata(c)));
    json_out_put(o, "versions",
                 of_node(c, json_pack("{s:s, s:s}", "rabbitmq_name", "Warren", "rabbitmq_version",
                                      WARREN_VERSION)));
    return o;
}

struct status {
    struct ctl *ctl;
    struct http_request *request;
};

static void on_others(json_t *answers, void *arg)
{
    static const char *const objects[] = { "listeners", "maintenance_status", "metadata",
                                           "versions" };
    struct status *s = arg;
    struct ctl *c = s->ctl;
    char room[META_NAME_MAX + 1];
    json_t *o = own_status(c), *one;
    const char *node;
    json_object_foreach(answers, node, one)
    {
        json_array_extend(json_object_get(o, "alarms"), json_object_get(one, "alarms"));
        for (size_t i = 0; i < ARRAY_COUNT(objects); i++)
            json_object_update(json_object_get(o, objects[i]), json_object_get(one, objects[i]));
    }
    json_out_put_str(o, "cluster_name", cluster_name(c, room));
    json_out_put(o, "disk_nodes", nodes_that(c, is_disc));
    json_out_put(o, "ram_nodes", nodes_that(c, is_ram));
    json_out_put(o, "witness_nodes", nodes_that(c, is_witness));
    json_out_put(o, "running_nodes", running_nodes(c, answers));
    json_out_put(o, "unwell_nodes", nodes_that(c, is_unwell));
    json_out_put(o, "feature_flags", json_array());
    json_out_put(o, "partitions", json_object());
    json_out_put(o, "proxies", proxies(c));
    json_out_put(o, "waits_for", trouble(c));
    ctl_reply(s->request, o);
    mem_free(s);
}

void ctl_serve_cluster_status(struct ctl *c, struct http_request *r, json_t *args)
{
    if (ctl_is_local(r)) {
        ctl_reply(r, own_status(c));
        return;
    }
    struct status *s = mem_zalloc(sizeof *s);
    *s = (struct status){ c, r };
    ctl_round(c, "cluster_status", args, on_others, s);
}

/* ---- environment ---- */

static void put_addresses(json_t *o, const char *name, const struct conf_addresses *at)
{
    json_t *list = json_array();
    for (size_t i = 0; i < at->count; i++)
        json_array_append_new(list, json_out_text(slice_str(at->items[i].text)));
    json_out_put(o, name, list);
}

static json_t *node_environment(const struct broker_conf *conf)
{
    json_t *o = json_object();
    json_out_put_str(o, "name", conf->node.name);
    json_out_put_str(o, "data-dir", conf->node.data_dir);
    json_out_put_u64(o, "threads", conf->node.threads);
    return o;
}

static json_t *listen_environment(const struct broker_conf *conf)
{
    json_t *o = json_object();
    put_addresses(o, "amqp", &conf->listen.amqp);
    put_addresses(o, "amqps", &conf->listen.amqps);
    put_addresses(o, "management", &conf->listen.management);
    put_addresses(o, "cluster", &conf->listen.cluster);
    return o;
}

static json_t *limits_environment(const struct ctl *c)
{
    const struct broker_conf *conf = conf_of(c);
    json_t *o = json_object();
    json_out_put_u64(o, "memory-high-watermark", broker_memory_limit(c->broker));
    json_out_put_u64(o, "disk-free-limit", broker_disk_limit(c->broker));
    json_out_put_u64(o, "channel-max", conf->limits.channel_max);
    json_out_put_u64(o, "frame-max", conf->limits.frame_max_bytes);
    json_out_put_u64(o, "heartbeat", conf->limits.heartbeat_s);
    json_out_put_u64(o, "max-message", conf->limits.max_message_bytes);
    return o;
}

void ctl_serve_environment(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    const struct broker_conf *conf = conf_of(c);
    json_t *o = json_object(), *cluster = json_object(), *tls = json_object();
    json_out_put_str(cluster, "cookie-file", conf->cluster.cookie_file);
    if (conf->tls.cert != NULL)
        json_out_put_str(tls, "cert", conf->tls.cert);
    json_out_put(o, "node", node_environment(conf));
    json_out_put(o, "listen", listen_environment(conf));
    json_out_put(o, "cluster", cluster);
    json_out_put(o, "tls", tls);
    json_out_put(o, "limits", limits_environment(c));
    ctl_reply(r, o);
}
