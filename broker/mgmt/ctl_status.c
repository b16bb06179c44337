/* `warrenctl status` and `cluster_status`: the answers have the shape of rabbitmqctl's JSON. */
#include "io/clock.h"
#include "io/host.h"
#include "live.h"
#include "mgmt/ctl_inner.h"
#include "mgmt/mgmt_json.h"
#include "shard.h"

#include <openssl/crypto.h>
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
        mgmt_json_put_str(o, "interface", a->host[0] != '\0' ? a->host : "[::]");
        mgmt_json_put_str(o, "node", conf_of(c)->node.name);
        mgmt_json_put_u64(o, "port", a->port);
        mgmt_json_put_str(o, "protocol", protocol);
        mgmt_json_put_str(o, "purpose", purpose);
        json_array_append_new(list, o);
    }
}

static json_t *listeners(const struct ctl *c)
{
    const struct broker_conf *conf = conf_of(c);
    json_t *list = json_array();
    add_listeners(c, list, &conf->listen.management, "http", "HTTP API");
    add_listeners(c, list, &conf->listen.cluster, "clustering",
                  "inter-node and CLI tool communication");
    add_listeners(c, list, &conf->listen.amqp, "amqp", "AMQP 0-9-1");
    add_listeners(c, list, &conf->listen.amqps, "amqp/ssl", "AMQP 0-9-1 over TLS");
    return list;
}

static json_t *alarms(const struct ctl *c)
{
    json_t *list = json_array();
    if (broker_has_alarm(c->broker))
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "node", conf_of(c)->node.name, "resource", "memory"));
    return list;
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
    mgmt_json_put_u64(o, "messages", messages);
    mgmt_json_put_u64(o, "other", resident > messages ? resident - messages : 0);
    mgmt_json_put_str(o, "strategy", "rss");
    json_t *total = json_object();
    mgmt_json_put_u64(total, "rss", resident);
    mgmt_json_put_u64(total, "allocated", resident);
    mgmt_json_put_u64(total, "erlang", resident);
    mgmt_json_put(o, "total", total);
    return o;
}

static json_t *watermark(const struct broker_conf *conf)
{
    const struct conf_share *s = &conf->limits.memory_high_watermark;
    return s->is_fraction ? json_pack("{s:f}", "relative", s->fraction)
                          : json_pack("{s:I}", "absolute", (json_int_t)s->bytes);
}

static json_t *file_descriptors(const struct ctl *c)
{
    uint64_t sockets = open_sockets(c->broker);
    json_t *o = json_object();
    mgmt_json_put_u64(o, "sockets_limit", host_files_max());
    mgmt_json_put_u64(o, "sockets_used", sockets);
    mgmt_json_put_u64(o, "total_limit", host_files_max());
    mgmt_json_put_u64(o, "total_used", sockets);
    return o;
}

static json_t *totals(const struct ctl *c)
{
    const struct meta_version *v = broker_meta(c->broker);
    json_t *o = json_object();
    mgmt_json_put_u64(o, "virtual_host_count", v->vhosts.count);
    mgmt_json_put_u64(o, "connection_count", open_connections(c->broker));
    mgmt_json_put_u64(o, "queue_count", v->queues.count);
    return o;
}

static void put_limits(json_t *o, const struct broker_conf *conf)
{
    mgmt_json_put_u64(o, "disk_free", host_disk_free_bytes(conf->node.data_path));
    mgmt_json_put_u64(o, "disk_free_limit", conf->limits.disk_free_bytes);
    mgmt_json_put_str(o, "vm_memory_calculation_strategy", "rss");
    mgmt_json_put_u64(o, "vm_memory_high_watermark_limit", conf->limits.memory_bytes);
    mgmt_json_put(o, "vm_memory_high_watermark_setting", watermark(conf));
}

static void put_paths(json_t *o, const struct broker_conf *conf)
{
    json_t *files = json_array(), *logs = json_array();
    if (conf->file != NULL)
        json_array_append_new(files, json_string(conf->file));
    static const char *const targets[] = { "<stderr>", NULL, "<syslog>" };
    const char *log =
        conf->log.target == BROKER_LOG_FILE ? conf->log.file : targets[conf->log.target];
    json_array_append_new(logs, mgmt_json_text(slice_str(log)));
    mgmt_json_put(o, "config_files", files);
    mgmt_json_put_str(o, "data_directory", conf->node.data_path);
    mgmt_json_put(o, "log_files", logs);
}

static json_t *active_plugins(void)
{
    return json_pack("[s, s, s]", "rabbitmq_management", "rabbitmq_management_agent",
                     "rabbitmq_prometheus");
}

void ctl_serve_status(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    const struct broker_conf *conf = conf_of(c);
    json_t *o = json_object();
    mgmt_json_put(o, "active_plugins", active_plugins());
    mgmt_json_put(o, "alarms", alarms(c));
    put_paths(o, conf);
    mgmt_json_put_str(o, "crypto_lib_version", OpenSSL_version(OPENSSL_VERSION));
    mgmt_json_put(o, "file_descriptors", file_descriptors(c));
    mgmt_json_put_bool(o, "is_under_maintenance", false);
    mgmt_json_put(o, "listeners", listeners(c));
    mgmt_json_put(o, "memory", memory(c));
    mgmt_json_put_str(o, "node", conf->node.name);
    mgmt_json_put_str(o, "os", "Linux");
    mgmt_json_put_u64(o, "pid", (uint64_t)getpid());
    put_limits(o, conf);
    mgmt_json_put_str(o, "product_name", "Warren");
    mgmt_json_put_str(o, "product_version", WARREN_VERSION);
    mgmt_json_put_str(o, "rabbitmq_version", WARREN_VERSION);
    mgmt_json_put_u64(o, "threads", broker_shard_count(c->broker));
    mgmt_json_put(o, "totals", totals(c));
    mgmt_json_put_u64(o, "uptime", clock_wall_ms() / 1000u - c->started_s);
    ctl_reply(r, o);
}

/* {node: value} */
static json_t *of_node(const struct ctl *c, json_t *value)
{
    json_t *o = json_object();
    mgmt_json_put(o, conf_of(c)->node.name, value);
    return o;
}

static json_t *just_node(const struct ctl *c)
{
    return json_pack("[s]", conf_of(c)->node.name);
}

void ctl_serve_cluster_status(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    json_t *o = json_object();
    mgmt_json_put(o, "alarms", alarms(c));
    mgmt_json_put_str(o, "cluster_name", conf_of(c)->node.name);
    mgmt_json_put(o, "disk_nodes", just_node(c));
    mgmt_json_put(o, "feature_flags", json_array());
    mgmt_json_put(o, "listeners", of_node(c, listeners(c)));
    mgmt_json_put(o, "maintenance_status", of_node(c, json_string("not under maintenance")));
    mgmt_json_put(o, "partitions", json_object());
    mgmt_json_put(o, "ram_nodes", json_array());
    mgmt_json_put(o, "running_nodes", just_node(c));
    mgmt_json_put(o, "versions",
                  of_node(c, json_pack("{s:s, s:s}", "rabbitmq_name", "Warren", "rabbitmq_version",
                                       WARREN_VERSION)));
    ctl_reply(r, o);
}
