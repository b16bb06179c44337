/* /api/overview: the cluster in short. */
#include "base/mem.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_round.h"

#include <string.h>

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
    json_out_put_str(o, "management_version", WARREN_VERSION);
    json_out_put_str(o, "product_name", "Warren");
    json_out_put_str(o, "product_version", WARREN_VERSION);
    json_out_put_str(o, "rabbitmq_version", WARREN_VERSION); /* readers look for it */
    json_out_put(o, "cluster_name", mgmt_cluster_name(m));
    json_out_put_str(o, "rates_mode", "basic");
    json_out_put_bool(o, "disable_stats", false);
    json_out_put_bool(o, "enable_queue_totals", false);
    json_out_put_u64(o, "statistics_db_event_queue", 0);
}

static void put_totals(json_t *o, const struct mgmt_totals *t, uint64_t exchanges)
{
    json_t *totals = json_object();
    mgmt_json_put_rated(totals, "messages", t->ready + t->unacked, 0);
    mgmt_json_put_rated(totals, "messages_ready", t->ready, 0);
    mgmt_json_put_rated(totals, "messages_unacknowledged", t->unacked, 0);
    json_out_put(o, "queue_totals", totals);
    json_t *objects = json_object();
    json_out_put_u64(objects, "channels", t->channels);
    json_out_put_u64(objects, "connections", t->connections);
    json_out_put_u64(objects, "consumers", t->consumers);
    json_out_put_u64(objects, "exchanges", exchanges);
    json_out_put_u64(objects, "queues", t->queues);
    json_out_put(o, "object_totals", objects);
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
    json_out_put(o, "message_stats", stats_of(&sum));
    put_totals(o, &sum, exchanges);
}

static void put_all(json_t *o, const struct mgmt_http *m, const struct mgmt_totals *all)
{
    struct mgmt_counts now;
    mgmt_counts_read(m->broker, &now);
    json_out_put_str(o, "node", mgmt_conf(m)->node.name);
    json_out_put(o, "listeners", mgmt_listeners(m));
    json_out_put(o, "message_stats", counted(m, &now, message_stats));
    put_totals(o, all, exchange_count(m));
}

/* The sum of two objects of figures: numbers are added, objects within likewise. */
static void add_figures(json_t *to, const json_t *more)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)more, name, value)
    {
        json_t *own = json_object_get(to, name);
        if (json_is_object(own) && json_is_object(value))
            add_figures(own, value);
        else if (json_is_integer(own) && json_is_integer(value))
            json_integer_set(own, json_integer_value(own) + json_integer_value(value));
        else if (json_is_real(own) && json_is_number(value))
            json_real_set(own, json_real_value(own) + json_number_value(value));
    }
}

struct answering {
    struct mgmt_call *call;
    json_t *overview;
};

static void on_others(json_t *answers, void *arg)
{
    static const char *const sums[] = { "churn_rates", "message_stats" };
    struct answering *a = arg;
    const char *name;
    json_t *one;
    json_object_foreach(answers, name, one)
    {
        for (size_t i = 0; i < ARRAY_COUNT(sums); i++)
            add_figures(json_object_get(a->overview, sums[i]), json_object_get(one, sums[i]));
        json_array_extend(json_object_get(a->overview, "listeners"),
                          json_object_get(one, "listeners"));
    }
    mgmt_reply_object(a->call, a->overview);
    mem_free(a);
}

/* As with RabbitMQ, who is no monitor sees what his vhosts hold: that comes with the totals of all
 * nodes; the rest is the sum of what each counts. */
static void on_overview(void *arg, const struct mgmt_totals *all, const struct mgmt_totals *vhosts,
                        size_t vhost_count)
{
    struct mgmt_call *c = arg;
    struct mgmt_counts now;
    json_t *o = json_object();
    mgmt_counts_read(c->m->broker, &now);
    put_versions(o, c->m);
    json_out_put(o, "exchange_types", mgmt_exchange_types());
    json_out_put(o, "churn_rates", counted(c->m, &now, churn_rates));
    bool is_monitor = mgmt_has_tag(c, MGMT_MONITORING);
    if (is_monitor)
        put_all(o, c->m, all);
    else
        put_own(o, c, vhosts, vhost_count);
    struct answering *a = mem_zalloc(sizeof *a);
    *a = (struct answering){ c, o };
    mgmt_round(is_monitor ? mgmt_call_peers(c) : NULL, c->m->loop,
               &(struct mgmt_peer_question){ .method = "GET", .path = slice_str("/api/overview") },
               on_others, a);
}

void mgmt_serve_overview(struct mgmt_call *c)
{
    mgmt_ask_totals(c->m->broker, c->m->loop, mgmt_call_peers(c), on_overview, c);
}
