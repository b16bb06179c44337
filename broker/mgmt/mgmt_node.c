#include "base/mem.h"
#include "cluster/meta_node.h"
#include "io/clock.h"
#include "io/host.h"
#include "live.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_round.h"
#include "mgmt/mgmt_store.h"

#include <string.h>
#include <unistd.h>

static const char *description_of(enum meta_exchange_type type)
{
    static const char *const texts[] = {
        [META_DIRECT] = "AMQP direct exchange, as per the AMQP specification",
        [META_FANOUT] = "AMQP fanout exchange, as per the AMQP specification",
        [META_HEADERS] = "AMQP headers exchange, as per the AMQP specification",
        [META_TOPIC] = "AMQP topic exchange, as per the AMQP specification",
    };
    return texts[type];
}

json_t *mgmt_exchange_types(void)
{
    json_t *list = json_array();
    static const enum meta_exchange_type types[] = { META_DIRECT, META_FANOUT, META_HEADERS,
                                                     META_TOPIC };
    json_array_append_new(
        list, json_pack("{s:s, s:s, s:b}", "name", meta_exchange_type_name(META_CONSISTENT_HASH),
                        "description", "Consistent Hashing Exchange", "enabled", 1));
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "name",
                                              meta_exchange_type_name(types[i]), "description",
                                              description_of(types[i]), "enabled", 1));
    return list;
}

static void put_listeners(json_t *list, const struct mgmt_http *m, const char *protocol,
                          const struct conf_addresses *at)
{
    for (size_t i = 0; i < at->count; i++) {
        const struct conf_address *a = &at->items[i];
        if (a->kind == CONF_ADDRESS_UNIX)
            continue;
        json_t *o = json_object();
        json_out_put_str(o, "node", mgmt_conf(m)->node.name);
        json_out_put_str(o, "protocol", protocol);
        json_out_put_str(o, "ip_address", a->host[0] != '\0' ? a->host : "::");
        json_out_put_u64(o, "port", a->port);
        json_array_append_new(list, o);
    }
}

json_t *mgmt_listeners(const struct mgmt_http *m)
{
    const struct broker_conf *conf = mgmt_conf(m);
    json_t *list = json_array();
    put_listeners(list, m, "amqp", &conf->listen.amqp);
    put_listeners(list, m, "amqp/ssl", &conf->listen.amqps);
    put_listeners(list, m, "http", &conf->listen.management);
    put_listeners(list, m, "https", &conf->listen.management_tls);
    put_listeners(list, m, "http/prometheus", &conf->listen.management);
    put_listeners(list, m, "clustering", &conf->listen.cluster);
    return list;
}

/* ---- nodes ---- */

/* Checks look at how many of Erlang's processes there are; the nearest here are clients and their
 * channels, of which there may be as many as there is memory for. */
#define PROCESSES_MAX 1048576u

static json_t *auth_mechanisms(const struct conf_list *offered)
{
    static const char *const known[] = { "PLAIN", "AMQPLAIN", "EXTERNAL" };
    json_t *all = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        bool is_offered = false;
        for (size_t k = 0; k < offered->count; k++)
            is_offered = is_offered || strcmp(offered->items[k], known[i]) == 0;
        json_array_append_new(all,
                              json_pack("{s:s, s:b}", "name", known[i], "enabled", is_offered));
    }
    return all;
}

static void put_resources(json_t *o, const struct mgmt_http *m)
{
    const struct broker_conf *conf = mgmt_conf(m);
    struct mgmt_counts c;
    mgmt_counts_read(m->broker, &c);
    uint64_t sockets = c.sockets_accepted - c.sockets_ended;
    json_out_put_u64(o, "mem_used", host_resident_bytes(""));
    json_out_put_u64(o, "mem_limit", broker_memory_limit(m->broker));
    unsigned alarms = broker_alarms(m->broker);
    json_out_put_bool(o, "mem_alarm", (alarms & BROKER_ALARM_MEMORY) != 0);
    json_out_put_u64(o, "disk_free", host_disk_free_bytes(conf->node.data_path));
    json_out_put_u64(o, "disk_free_limit", broker_disk_limit(m->broker));
    json_out_put_bool(o, "disk_free_alarm", (alarms & BROKER_ALARM_DISK) != 0);
    json_out_put_u64(o, "fd_total", host_files_max());
    json_out_put_u64(o, "fd_used", host_files_open());
    json_out_put_u64(o, "proc_total", PROCESSES_MAX);
    json_out_put_u64(o, "proc_used", c.channels_opened - c.channels_closed + sockets);
    json_out_put_u64(o, "run_queue", 0);
    json_out_put_u64(o, "sockets_total", host_files_max());
    json_out_put_u64(o, "sockets_used", sockets);
    json_out_put_u64(o, "processors", host_cores(""));
}

static json_t *node(const struct mgmt_http *m)
{
    const struct broker_conf *conf = mgmt_conf(m);
    char pid[24];
    struct text t = text_over(pid, sizeof pid);
    text_put(&t, "%ld", (long)getpid());
    json_t *o = json_object();
    json_out_put_str(o, "name", conf->node.name);
    json_out_put_str(o, "type", conf->node.type == BROKER_NODE_RAM ? "ram" : "disc");
    json_out_put_bool(o, "running", true);
    json_out_put_bool(o, "being_drained", broker_is_drained(m->broker));
    json_out_put(o, "cluster_links", json_array());
    json_out_put(o, "enabled_plugins",
                 json_pack("[s,s]", "rabbitmq_management", "rabbitmq_prometheus"));
    json_out_put(o, "config_files", json_array());
    json_out_put(o, "log_files", json_array());
    json_out_put(o, "contexts", json_array());
    json_out_put(o, "partitions", json_array());
    json_out_put_str(o, "os_pid", pid);
    json_out_put_str(o, "rates_mode", "basic");
    json_out_put_u64(o, "uptime", clock_wall_ms() - m->started_ms);
    json_out_put_str(o, "db_dir", conf->node.data_path);
    json_out_put(o, "exchange_types", mgmt_exchange_types());
    json_out_put(o, "auth_mechanisms", auth_mechanisms(&mgmt_conf(m)->auth.mechanisms));
    put_resources(o, m);
    mgmt_store_put_io(o, m->broker);
    return o;
}

bool mgmt_is_this_node(const struct mgmt_call *c, unsigned n)
{
    return slice_is(mgmt_arg(c, n), mgmt_conf(c->m)->node.name);
}

struct slice mgmt_node_name(const struct mgmt_http *m, uint16_t node)
{
    const struct meta_node *n = meta_node_get(broker_meta(m->broker), node);
    return n != NULL ? n->name : slice_str(mgmt_conf(m)->node.name);
}

/* One that does not answer. */
static json_t *absent_node(const struct meta_node *n)
{
    json_t *o = json_object();
    json_out_put(o, "name", json_out_text(n->name));
    json_out_put_str(o, "type", meta_node_type_name(n->type));
    json_out_put_bool(o, "running", false);
    json_out_put_bool(o, "being_drained", false);
    json_out_put(o, "partitions", json_array());
    json_out_put(o, "cluster_links", json_array());
    return o;
}

/* Each node says of itself what there is to say: a list of one. */
static json_t *said_of(const json_t *answers, const struct meta_node *n)
{
    char name[META_NAME_MAX + 1];
    struct text t = text_over(name, sizeof name);
    text_slice(&t, n->name);
    const json_t *list = json_object_get(answers, name);
    return json_is_object(json_array_get(list, 0)) ? json_incref(json_array_get(list, 0))
                                                   : absent_node(n);
}

static void on_nodes(json_t *answers, void *arg)
{
    struct mgmt_call *c = arg;
    const struct meta_version *v = mgmt_meta(c);
    uint16_t own = broker_node(c->m->broker);
    json_t *all = json_array();
    for (size_t i = 0; i < meta_node_count(v); i++) {
        const struct meta_node *n = meta_node_at(v, i);
        json_array_append_new(all, n->node == own ? node(c->m) : said_of(answers, n));
    }
    if (json_array_size(all) == 0)
        json_array_append_new(all, node(c->m));
    mgmt_reply_list(c, all);
}

void mgmt_serve_nodes(struct mgmt_call *c)
{
    if (c->is_local) {
        mgmt_reply_list(c, json_pack("[o]", node(c->m)));
        return;
    }
    mgmt_round(mgmt_call_peers(c), c->m->loop,
               &(struct mgmt_peer_question){ .method = "GET", .path = slice_str("/api/nodes") },
               on_nodes, c);
}

/* Is the node that the path names another one? Then it answers, or it is said that it is away. */
static bool is_others(struct mgmt_call *c)
{
    if (mgmt_is_this_node(c, 0))
        return false;
    const struct meta_node *n = meta_node_find(mgmt_meta(c), mgmt_arg(c, 0));
    if (n == NULL || c->is_local)
        mgmt_not_found(c);
    else if (meta_node_is_serving(n))
        mgmt_forward(c, n->node);
    else
        mgmt_reply_object(c, absent_node(n));
    return true;
}

void mgmt_serve_node(struct mgmt_call *c)
{
    if (!is_others(c))
        mgmt_reply_object(c, node(c->m));
}

void mgmt_serve_node_memory(struct mgmt_call *c)
{
    if (is_others(c))
        return;
    uint64_t all = host_resident_bytes("");
    uint64_t messages = broker_message_bytes(c->m->broker);
    json_t *total = json_object();
    json_out_put_u64(total, "rss", all);
    json_out_put_u64(total, "allocated", all);
    json_out_put_u64(total, "erlang", all);
    json_t *memory = json_object();
    json_out_put_u64(memory, "queue_procs", messages);
    json_out_put_u64(memory, "other_system", all > messages ? all - messages : 0);
    json_out_put_str(memory, "strategy", "rss");
    json_out_put(memory, "total", total);
    json_t *o = json_object();
    json_out_put(o, "memory", memory);
    mgmt_reply(c, 200, o);
}
