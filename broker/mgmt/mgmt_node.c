#include "base/mem.h"
#include "io/clock.h"
#include "io/host.h"
#include "live.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_store.h"

#include <string.h>
#include <unistd.h>

/* ---- overview ---- */

/* Per second, over the last whole interval. */
static double rate_of(const struct mgmt_http *m, uint64_t before, uint64_t now)
{
    const struct mgmt_sample *s = m->samples;
    if (s[0].at_us == 0 || s[1].at_us <= s[0].at_us)
        return 0;
    return (double)(now - before) * 1e6 / (double)(s[1].at_us - s[0].at_us);
}

/* What RabbitMQ calls it, and what it is made of. */
#define MESSAGE_STATS(X)                                                                           \
    X("ack", c->acked)                                                                             \
    X("confirm", c->confirmed)                                                                     \
    X("deliver", c->delivered_manual)                                                              \
    X("deliver_no_ack", c->delivered_auto)                                                         \
    X("deliver_get", c->delivered_manual + c->delivered_auto + c->got_manual + c->got_auto)        \
    X("drop_unroutable", c->unroutable - c->returned)                                              \
    X("get", c->got_manual)                                                                        \
    X("get_empty", c->got_empty)                                                                   \
    X("get_no_ack", c->got_auto)                                                                   \
    X("publish", c->published)                                                                     \
    X("redeliver", c->redelivered)                                                                 \
    X("return_unroutable", c->returned)

#define CHURN_RATES(X)                                                                             \
    X("channel_closed", c->channels_closed)                                                        \
    X("channel_created", c->channels_opened)                                                       \
    X("connection_closed", c->connections_closed)                                                  \
    X("connection_created", c->connections_opened)                                                 \
    X("queue_created", c->queues_created)                                                          \
    X("queue_declared", c->queues_declared)                                                        \
    X("queue_deleted", c->queues_deleted)

struct figure {
    const char *name;
    uint64_t value;
};

#define FIGURE(text, sum) { (text), (sum) },
#define FIGURES_MAX       16u

static size_t message_stats(const struct mgmt_counts *c, struct figure out[FIGURES_MAX])
{
    const struct figure list[] = { MESSAGE_STATS(FIGURE) };
    memcpy(out, list, sizeof list);
    return ARRAY_COUNT(list);
}

static size_t churn_rates(const struct mgmt_counts *c, struct figure out[FIGURES_MAX])
{
    const struct figure list[] = { CHURN_RATES(FIGURE) };
    memcpy(out, list, sizeof list);
    return ARRAY_COUNT(list);
}

typedef size_t (*figures_fn)(const struct mgmt_counts *c, struct figure out[FIGURES_MAX]);

static json_t *counted(const struct mgmt_http *m, const struct mgmt_counts *now, figures_fn figures)
{
    struct figure total[FIGURES_MAX], before[FIGURES_MAX], after[FIGURES_MAX];
    size_t count = figures(now, total);
    figures(&m->samples[0].counts, before);
    figures(&m->samples[1].counts, after);
    json_t *o = json_object();
    for (size_t i = 0; i < count; i++)
        mgmt_json_put_rated(o, total[i].name, total[i].value,
                            rate_of(m, before[i].value, after[i].value));
    return o;
}

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

static json_t *exchange_types(void)
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
        mgmt_json_put_str(o, "node", mgmt_conf(m)->node.name);
        mgmt_json_put_str(o, "protocol", protocol);
        mgmt_json_put_str(o, "ip_address", a->host[0] != '\0' ? a->host : "::");
        mgmt_json_put_u64(o, "port", a->port);
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

static uint64_t exchange_count(const struct mgmt_http *m)
{
    uint64_t count = 0;
    struct pmap_iter it;
    pmap_iter(&it, &broker_meta(m->broker)->vhosts);
    const struct meta_vhost *vh;
    while ((vh = pmap_next(&it)) != NULL)
        count += vh->exchanges.count;
    return count;
}

static void put_versions(json_t *o, const struct mgmt_http *m)
{
    mgmt_json_put_str(o, "management_version", WARREN_VERSION);
    mgmt_json_put_str(o, "product_name", "Warren");
    mgmt_json_put_str(o, "product_version", WARREN_VERSION);
    mgmt_json_put_str(o, "rabbitmq_version", WARREN_VERSION); /* readers look for it */
    mgmt_json_put(o, "cluster_name", mgmt_cluster_name(m));
    mgmt_json_put_str(o, "rates_mode", "basic");
    mgmt_json_put_bool(o, "disable_stats", false);
    mgmt_json_put_bool(o, "enable_queue_totals", false);
    mgmt_json_put_u64(o, "statistics_db_event_queue", 0);
}

static void put_totals(json_t *o, const struct mgmt_totals *t, uint64_t exchanges)
{
    json_t *totals = json_object();
    mgmt_json_put_rated(totals, "messages", t->ready + t->unacked, 0);
    mgmt_json_put_rated(totals, "messages_ready", t->ready, 0);
    mgmt_json_put_rated(totals, "messages_unacknowledged", t->unacked, 0);
    mgmt_json_put(o, "queue_totals", totals);
    json_t *objects = json_object();
    mgmt_json_put_u64(objects, "channels", t->channels);
    mgmt_json_put_u64(objects, "connections", t->connections);
    mgmt_json_put_u64(objects, "consumers", t->consumers);
    mgmt_json_put_u64(objects, "exchanges", exchanges);
    mgmt_json_put_u64(objects, "queues", t->queues);
    mgmt_json_put(o, "object_totals", objects);
}

static json_t *stats_of(const struct mgmt_totals *t)
{
    json_t *o = json_object();
    mgmt_json_put_rated(o, "ack", t->acked, 0);
    mgmt_json_put_rated(o, "deliver_get", t->delivered, 0);
    mgmt_json_put_rated(o, "publish", t->published, 0);
    mgmt_json_put_rated(o, "redeliver", t->redelivered, 0);
    return o;
}

/* What is in the vhosts that the user may enter, and nothing of the node. */
static void put_own(json_t *o, const struct mgmt_call *c, const struct mgmt_totals *vhosts,
                    size_t vhost_count)
{
    size_t count;
    const struct meta_vhost **own = mgmt_vhosts(c, &count);
    struct mgmt_totals sum = { 0 };
    uint64_t exchanges = 0;
    for (size_t i = 0; i < count; i++) {
        struct mgmt_totals one = mgmt_totals_of_vhost(vhosts, vhost_count, own[i]->vhost_id);
        mgmt_totals_add(&sum, &one);
        exchanges += own[i]->exchanges.count;
    }
    mem_free(own);
    mgmt_json_put(o, "message_stats", stats_of(&sum));
    put_totals(o, &sum, exchanges);
}

static void put_all(json_t *o, const struct mgmt_http *m, const struct mgmt_totals *all)
{
    struct mgmt_counts now;
    mgmt_counts_read(m->broker, &now);
    mgmt_json_put_str(o, "node", mgmt_conf(m)->node.name);
    mgmt_json_put(o, "listeners", mgmt_listeners(m));
    mgmt_json_put(o, "message_stats", counted(m, &now, message_stats));
    put_totals(o, all, exchange_count(m));
}

/* As with RabbitMQ, who is no monitor sees what his vhosts hold. */
static void on_overview(void *arg, const struct mgmt_totals *all, const struct mgmt_totals *vhosts,
                        size_t vhost_count)
{
    struct mgmt_call *c = arg;
    struct mgmt_counts now;
    json_t *o = json_object();
    mgmt_counts_read(c->m->broker, &now);
    put_versions(o, c->m);
    mgmt_json_put(o, "exchange_types", exchange_types());
    mgmt_json_put(o, "churn_rates", counted(c->m, &now, churn_rates));
    if (mgmt_has_tag(c, MGMT_MONITORING))
        put_all(o, c->m, all);
    else
        put_own(o, c, vhosts, vhost_count);
    mgmt_reply_object(c, o);
}

void mgmt_serve_overview(struct mgmt_call *c)
{
    mgmt_ask_totals(c->m->broker, c->m->loop, on_overview, c);
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
    mgmt_json_put_u64(o, "mem_used", host_resident_bytes(""));
    mgmt_json_put_u64(o, "mem_limit", broker_memory_limit(m->broker));
    unsigned alarms = broker_alarms(m->broker);
    mgmt_json_put_bool(o, "mem_alarm", (alarms & BROKER_ALARM_MEMORY) != 0);
    mgmt_json_put_u64(o, "disk_free", host_disk_free_bytes(conf->node.data_path));
    mgmt_json_put_u64(o, "disk_free_limit", broker_disk_limit(m->broker));
    mgmt_json_put_bool(o, "disk_free_alarm", (alarms & BROKER_ALARM_DISK) != 0);
    mgmt_json_put_u64(o, "fd_total", host_files_max());
    mgmt_json_put_u64(o, "fd_used", host_files_open());
    mgmt_json_put_u64(o, "proc_total", PROCESSES_MAX);
    mgmt_json_put_u64(o, "proc_used", c.channels_opened - c.channels_closed + sockets);
    mgmt_json_put_u64(o, "run_queue", 0);
    mgmt_json_put_u64(o, "sockets_total", host_files_max());
    mgmt_json_put_u64(o, "sockets_used", sockets);
    mgmt_json_put_u64(o, "processors", host_cores(""));
}

static json_t *node(const struct mgmt_http *m)
{
    const struct broker_conf *conf = mgmt_conf(m);
    char pid[24];
    struct text t = text_over(pid, sizeof pid);
    text_put(&t, "%ld", (long)getpid());
    json_t *o = json_object();
    mgmt_json_put_str(o, "name", conf->node.name);
    mgmt_json_put_str(o, "type", conf->node.type == BROKER_NODE_RAM ? "ram" : "disc");
    mgmt_json_put_bool(o, "running", true);
    mgmt_json_put_bool(o, "being_drained", broker_is_drained(m->broker));
    mgmt_json_put(o, "cluster_links", json_array());
    mgmt_json_put(o, "enabled_plugins",
                  json_pack("[s,s]", "rabbitmq_management", "rabbitmq_prometheus"));
    mgmt_json_put(o, "config_files", json_array());
    mgmt_json_put(o, "log_files", json_array());
    mgmt_json_put(o, "contexts", json_array());
    mgmt_json_put(o, "partitions", json_array());
    mgmt_json_put_str(o, "os_pid", pid);
    mgmt_json_put_str(o, "rates_mode", "basic");
    mgmt_json_put_u64(o, "uptime", clock_wall_ms() - m->started_ms);
    mgmt_json_put_str(o, "db_dir", conf->node.data_path);
    mgmt_json_put(o, "exchange_types", exchange_types());
    mgmt_json_put(o, "auth_mechanisms", auth_mechanisms(&mgmt_conf(m)->auth.mechanisms));
    put_resources(o, m);
    mgmt_store_put_io(o, m->broker);
    return o;
}

bool mgmt_is_this_node(const struct mgmt_call *c, unsigned n)
{
    return slice_is(mgmt_arg(c, n), mgmt_conf(c->m)->node.name);
}

void mgmt_serve_nodes(struct mgmt_call *c)
{
    json_t *all = json_array();
    json_array_append_new(all, node(c->m));
    mgmt_reply_list(c, all);
}

void mgmt_serve_node(struct mgmt_call *c)
{
    if (mgmt_is_this_node(c, 0))
        mgmt_reply_object(c, node(c->m));
    else
        mgmt_not_found(c);
}

void mgmt_serve_node_memory(struct mgmt_call *c)
{
    if (!mgmt_is_this_node(c, 0)) {
        mgmt_not_found(c);
        return;
    }
    uint64_t all = host_resident_bytes("");
    uint64_t messages = broker_message_bytes(c->m->broker);
    json_t *total = json_object();
    mgmt_json_put_u64(total, "rss", all);
    mgmt_json_put_u64(total, "allocated", all);
    mgmt_json_put_u64(total, "erlang", all);
    json_t *memory = json_object();
    mgmt_json_put_u64(memory, "queue_procs", messages);
    mgmt_json_put_u64(memory, "other_system", all > messages ? all - messages : 0);
    mgmt_json_put_str(memory, "strategy", "rss");
    mgmt_json_put(memory, "total", total);
    json_t *o = json_object();
    mgmt_json_put(o, "memory", memory);
    mgmt_reply(c, 200, o);
}
