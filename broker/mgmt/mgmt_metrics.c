#include "mgmt/mgmt_metrics.h"

#include "alarms.h"
#include "base/mem.h"
#include "cluster/cluster.h"
#include "gossip_node.h"
#include "io/clock.h"
#include "io/host.h"
#include "io/mailbox.h"
#include "io/random.h"
#include "mgmt/mgmt_export.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_links.h"
#include "mgmt/mgmt_store.h"
#include "quarantined.h"
#include "stats/stats_text.h"
#include "storage.h"

#include <stdlib.h>
#include <unistd.h>

#define METRICS_MAX_BYTES ((size_t)1024 * 1024)

/* RabbitMQ's names where they mean the same, so that its dashboards fill; warren_ for the rest. */
#define FAMILIES(X)                                                                                \
    X(INFO, rabbitmq_build_info, GAUGE, "Version of this node.")                                   \
    X(IDENTITY, rabbitmq_identity_info, GAUGE, "Node and cluster.")                                \
    X(START, process_start_time_seconds, GAUGE, "When the node started, since 1970.")              \
    X(RSS, rabbitmq_process_resident_memory_bytes, GAUGE, "Memory used, in octets.")               \
    X(MEMORY_LIMIT, rabbitmq_resident_memory_limit_bytes, GAUGE, "Memory high watermark.")         \
    X(SOCKETS, rabbitmq_process_open_tcp_sockets, GAUGE, "Open sockets of AMQP clients.")          \
    X(DISK, rabbitmq_disk_space_available_bytes, GAUGE, "Free disk space at the data folder.")     \
    X(DISK_LIMIT, rabbitmq_disk_space_available_limit_bytes, GAUGE, "The least it should be.")     \
    X(MAX_SOCKETS, rabbitmq_process_max_tcp_sockets, GAUGE, "Sockets that there may be.")          \
    X(FDS, rabbitmq_process_open_fds, GAUGE, "Open files.")                                        \
    X(MAX_FDS, rabbitmq_process_max_fds, GAUGE, "Files that may be open.")                         \
    X(UPTIME, rabbitmq_erlang_uptime_seconds, GAUGE, "For how long the node has been up.")         \
    X(DISK_ALARM, rabbitmq_alarms_free_disk_space_watermark, GAUGE, "1: disk space is short.")     \
    X(FDS_ALARM, rabbitmq_alarms_file_descriptor_limit, GAUGE, "1: all files are open.")           \
    X(MEMORY_ALARM, rabbitmq_alarms_memory_used_watermark, GAUGE, "1: memory is short.")           \
    X(ALARMS_ELSEWHERE, warren_alarms_elsewhere, GAUGE,                                            \
      "Other nodes that are short of memory or disk: publishers wait here, too.")                  \
    X(OPENED, rabbitmq_connections_opened_total, COUNTER, "Connections opened.")                   \
    X(CLOSED, rabbitmq_connections_closed_total, COUNTER, "Connections closed or lost.")           \
    X(CHANNELS_OPENED, rabbitmq_channels_opened_total, COUNTER, "Channels opened.")                \
    X(CHANNELS_CLOSED, rabbitmq_channels_closed_total, COUNTER, "Channels closed.")                \
    X(AUTH, rabbitmq_auth_attempts_total, COUNTER, "Logins tried.")                                \
    X(AUTH_OK, rabbitmq_auth_attempts_succeeded_total, COUNTER, "Logins that succeeded.")          \
    X(AUTH_FAILED, rabbitmq_auth_attempts_failed_total, COUNTER, "Logins refused.")                \
    X(CONNECTIONS, rabbitmq_connections, GAUGE, "Connections open.")                               \
    X(CHANNELS, rabbitmq_channels, GAUGE, "Channels open.")                                        \
    X(CONSUMERS, rabbitmq_consumers, GAUGE, "Consumers.")                                          \
    X(QUEUES, rabbitmq_queues, GAUGE, "Queues.")                                                   \
    X(RECEIVED, rabbitmq_global_messages_received_total, COUNTER, "Messages from publishers.")     \
    X(RECEIVED_CONFIRM, rabbitmq_global_messages_received_confirm_total, COUNTER,                  \
      "Messages from publishers that expect confirms.")                                            \
    X(CONFIRMED, rabbitmq_global_messages_confirmed_total, COUNTER, "Messages confirmed.")         \
    X(ROUTED, rabbitmq_global_messages_routed_total, COUNTER, "Messages that reached a queue.")    \
    X(DROPPED, rabbitmq_global_messages_unroutable_dropped_total, COUNTER,                         \
      "Messages without a queue, dropped.")                                                        \
    X(RETURNED, rabbitmq_global_messages_unroutable_returned_total, COUNTER,                       \
      "Messages without a queue, returned.")                                                       \
    X(DELIVERED, rabbitmq_global_messages_delivered_total, COUNTER,                                \
      "Messages delivered to consumers and by get.")                                               \
    X(DELIVERED_MANUAL, rabbitmq_global_messages_delivered_consume_manual_ack_total, COUNTER,      \
      "Messages delivered to consumers that acknowledge.")                                         \
    X(DELIVERED_AUTO, rabbitmq_global_messages_delivered_consume_auto_ack_total, COUNTER,          \
      "Messages delivered to consumers that do not.")                                              \
    X(GOT_MANUAL, rabbitmq_global_messages_delivered_get_manual_ack_total, COUNTER,                \
      "Messages fetched by get, to be acknowledged.")                                              \
    X(GOT_AUTO, rabbitmq_global_messages_delivered_get_auto_ack_total, COUNTER,                    \
      "Messages fetched by get, without.")                                                         \
    X(GOT_EMPTY, rabbitmq_global_messages_get_empty_total, COUNTER, "Gets that found nothing.")    \
    X(REDELIVERED, rabbitmq_global_messages_redelivered_total, COUNTER, "Messages redelivered.")   \
    X(ACKED, rabbitmq_global_messages_acknowledged_total, COUNTER, "Messages acknowledged.")       \
    X(DEAD_EXPIRED, rabbitmq_global_messages_dead_lettered_expired_total, COUNTER,                 \
      "Messages whose time in a queue was over.")                                                  \
    X(DEAD_REJECTED, rabbitmq_global_messages_dead_lettered_rejected_total, COUNTER,               \
      "Messages that a consumer did not want.")                                                    \
    X(DEAD_MAXLEN, rabbitmq_global_messages_dead_lettered_maxlen_total, COUNTER,                   \
      "Messages that a queue had no room for.")                                                    \
    X(DEAD_LIMIT, rabbitmq_global_messages_dead_lettered_delivery_limit_total, COUNTER,            \
      "Messages that came back too often.")                                                        \
    X(GLOBAL_CONSUMERS, rabbitmq_global_consumers, GAUGE, "Consumers.")                            \
    X(CHANNEL_PUBLISHED, rabbitmq_channel_messages_published_total, COUNTER,                       \
      "Messages published on channels.")                                                           \
    X(CHANNEL_CONFIRMED, rabbitmq_channel_messages_confirmed_total, COUNTER,                       \
      "Of them, confirmed.")                                                                       \
    X(CHANNEL_RETURNED, rabbitmq_channel_messages_unroutable_returned_total, COUNTER,              \
      "Mandatory ones that were returned.")                                                        \
    X(CHANNEL_DROPPED, rabbitmq_channel_messages_unroutable_dropped_total, COUNTER,                \
      "Others that no queue was bound for.")                                                       \
    X(CHANNEL_GET_ACK, rabbitmq_channel_get_ack_total, COUNTER,                                    \
      "Messages fetched by get, to be acknowledged.")                                              \
    X(CHANNEL_GET, rabbitmq_channel_get_total, COUNTER, "Messages fetched by get, without.")       \
    X(CHANNEL_GET_EMPTY, rabbitmq_channel_get_empty_total, COUNTER, "Gets that found nothing.")    \
    X(CHANNEL_DELIVERED_ACK, rabbitmq_channel_messages_delivered_ack_total, COUNTER,               \
      "Messages delivered, to be acknowledged.")                                                   \
    X(CHANNEL_DELIVERED, rabbitmq_channel_messages_delivered_total, COUNTER,                       \
      "Messages delivered, without.")                                                              \
    X(CHANNEL_REDELIVERED, rabbitmq_channel_messages_redelivered_total, COUNTER,                   \
      "Messages redelivered.")                                                                     \
    X(CHANNEL_ACKED, rabbitmq_channel_messages_acked_total, COUNTER, "Messages acknowledged.")     \
    X(QUEUES_DECLARED, rabbitmq_queues_declared_total, COUNTER, "Queues declared.")                \
    X(QUEUES_CREATED, rabbitmq_queues_created_total, COUNTER, "Of them, made.")                    \
    X(QUEUES_DELETED, rabbitmq_queues_deleted_total, COUNTER, "Queues deleted.")                   \
    X(PUBLISHERS, rabbitmq_global_publishers, GAUGE, "Channels that may publish.")                 \
    X(CONNECTION_CHANNELS, rabbitmq_connection_channels, GAUGE, "Channels of connections.")        \
    X(CHANNEL_CONSUMERS, rabbitmq_channel_consumers, GAUGE, "Consumers of channels.")              \
    X(UNCONFIRMED, rabbitmq_channel_messages_unconfirmed, GAUGE, "Published, not yet confirmed.")  \
    X(PREFETCH, rabbitmq_channel_prefetch, GAUGE, "What channels may have unacknowledged.")        \
    X(CONNECTION_IN, rabbitmq_connection_incoming_bytes_total, COUNTER, "Octets from clients.")    \
    X(CONNECTION_OUT, rabbitmq_connection_outgoing_bytes_total, COUNTER, "Octets to clients.")     \
    X(CHANNEL_UNACKED, rabbitmq_channel_messages_unacked, GAUGE, "Delivered, not acknowledged.")   \
    X(MESSAGE_MEMORY, warren_message_memory_bytes, GAUGE, "Octets of messages in memory.")         \
    X(KEPT, warren_publishes_kept_bytes, GAUGE,                                                    \
      "Octets of publishes to mirrored queues that are kept until they are answered.")             \
    X(AGAIN, warren_publishes_sent_again_total, COUNTER,                                           \
      "Copies of publishes that were sent again, to the next master of their queue.")              \
    X(EXPIRED, warren_publishes_given_up_total, COUNTER,                                           \
      "Copies of publishes for which no master came in time.")                                     \
    X(QUARANTINED, warren_quarantine_messages, GAUGE, "Messages in quarantine on this node.")      \
    X(QUARANTINE_BYTES, warren_quarantine_bytes, GAUGE, "Octets that they take on its disk.")      \
    X(QUARANTINE_ADDED, warren_quarantine_added_total, COUNTER,                                    \
      "Messages put into quarantine: taken as a master, and not there at its successor.")          \
    X(QUARANTINE_REQUEUED, warren_quarantine_requeued_total, COUNTER, "Of them, put back.")        \
    X(QUARANTINE_DROPPED, warren_quarantine_dropped_total, COUNTER, "Of them, dropped on demand.") \
    X(QUARANTINE_OVERFLOW, warren_quarantine_overflow_total, COUNTER,                              \
      "Of them, dropped because the quarantine was full.")                                         \
    X(QUARANTINE_FAILURES, warren_quarantine_failures_total, COUNTER,                              \
      "Times that messages could not be put into quarantine: their queue keeps them.")             \
    X(ACCEPTED, warren_sockets_accepted_total, COUNTER, "Sockets accepted for AMQP.")              \
    X(IN_BYTES, warren_ended_connections_received_bytes_total, COUNTER,                            \
      "Octets received on sockets that have ended.")                                               \
    X(OUT_BYTES, warren_ended_connections_sent_bytes_total, COUNTER,                               \
      "Octets sent on sockets that have ended.")                                                   \
    X(SHARDS, warren_shards, GAUGE, "Threads that serve clients and queues.")                      \
    X(MAILBOX, warren_mailbox_depth, GAUGE, "Mails on their way to a thread.")                     \
    X(EPOCH, warren_epoch_waiting, GAUGE, "Replaced metadata that cannot be freed yet.")           \
    X(META, warren_metadata_version, GAUGE, "Number of the metadata's version.")                   \
    X(VHOSTS, warren_vhosts, GAUGE, "Virtual hosts.")                                              \
    X(EXCHANGES, warren_exchanges, GAUGE, "Exchanges.")

enum family {
#define X(id, name, type, help) FAMILY_##id,
    FAMILIES(X)
#undef X
#define X(name, kind, unit, value, help) FAMILY_##name,
        MGMT_STORE_FAMILIES(X)
#undef X
            FAMILY_SYNCS,
#define X(name, kind, value, help) FAMILY_##name,
    MGMT_CLUSTER_FAMILIES(X)
#undef X
#define X(name, kind, group, value, help) FAMILY_##name,
        MGMT_QUEUE_FAMILIES(X)
#undef X
            FAMILY_COUNT
};

static const struct stats_family families[] = {
#define X(id, metric, kind, text) { .name = #metric, .type = STATS_##kind, .help = (text) },
    FAMILIES(X)
#undef X
#define X(metric, kind, scale, value, text)                                                        \
    { .name = #metric, .type = STATS_##kind, .help = (text), .unit = (scale) },
        MGMT_STORE_FAMILIES(X)
#undef X
            { .name = "warren_journal_sync_seconds",
              .type = STATS_HISTOGRAM,
              .unit = 1e-6,
              .help = "How long syncs of the journal took.",
              .le = mgmt_store_sync_bounds,
              .le_count = ARRAY_COUNT(mgmt_store_sync_bounds) },
#define X(metric, kind, value, text) { .name = #metric, .type = STATS_##kind, .help = (text) },
    MGMT_CLUSTER_FAMILIES(X)
#undef X
#define X(metric, kind, group, value, text)                                                        \
    { .name = "rabbitmq_" #metric, .type = STATS_##kind, .help = (text) },
        MGMT_QUEUE_FAMILIES(X)
#undef X
};

static void add(struct stats_view *v, enum family f, uint64_t value)
{
    stats_view_add(v, f, NULL, 0, value < INT64_MAX ? (int64_t)value : INT64_MAX);
}

/* With the labels that RabbitMQ's global counters have. */
static void add_global(struct stats_view *v, enum family f, bool by_queue, uint64_t value)
{
    struct stats_label labels[] = { { "protocol", slice_str("amqp091") },
                                    { "queue_type", slice_str("rabbit_classic_queue") } };
    stats_view_add(v, f, labels, by_queue ? 2 : 1, (int64_t)value);
}

static void add_logins(struct stats_view *v, const char *protocol, uint64_t ok, uint64_t failed)
{
    struct stats_label label = { "protocol", slice_str(protocol) };
    stats_view_add(v, FAMILY_AUTH, &label, 1, (int64_t)(ok + failed));
    stats_view_add(v, FAMILY_AUTH_OK, &label, 1, (int64_t)ok);
    stats_view_add(v, FAMILY_AUTH_FAILED, &label, 1, (int64_t)failed);
}

static json_t *permanent_id(const struct mgmt_http *m)
{
    const struct meta_parameter *p =
        meta_global_parameter_find(broker_meta(m->broker), slice_str("internal_cluster_id"));
    json_t *id = p != NULL ? mgmt_json_parsed(p->value) : NULL;
    if (json_is_string(id))
        return id;
    json_decref(id);
    return json_string("");
}

static void add_identity(struct stats_view *v, const struct mgmt_http *m)
{
    struct slice name = slice_str(mgmt_conf(m)->node.name);
    struct slice version = slice_str(WARREN_VERSION);
    struct stats_label info[] = {
        { "rabbitmq_version", version },          { "product_name", slice_str("Warren") },
        { "product_version", version },           { "prometheus_plugin_version", version },
        { "prometheus_client_version", version }, { "erlang_version", slice_str("none") }
    };
    json_t *cluster = mgmt_cluster_name(m);
    json_t *permanent = permanent_id(m);
    struct stats_label identity[] = {
        { "rabbitmq_node", name },
        { "rabbitmq_cluster", slice_str(json_string_value(cluster)) },
        { "rabbitmq_cluster_permanent_id", slice_str(json_string_value(permanent)) },
    };
    stats_view_add(v, FAMILY_INFO, info, ARRAY_COUNT(info), 1);
    stats_view_add(v, FAMILY_IDENTITY, identity, ARRAY_COUNT(identity), 1);
    json_decref(cluster);
    json_decref(permanent);
    add(v, FAMILY_UPTIME, (clock_wall_ms() - m->started_ms) / 1000);
    add(v, FAMILY_START, m->started_ms / 1000);
}

static void add_process(struct stats_view *v, const struct mgmt_http *m)
{
    const struct broker_conf *conf = mgmt_conf(m);
    add(v, FAMILY_RSS, host_resident_bytes(""));
    add(v, FAMILY_MEMORY_LIMIT, broker_memory_limit(m->broker));
    add(v, FAMILY_DISK, host_disk_free_bytes(conf->node.data_path));
    add(v, FAMILY_DISK_LIMIT, broker_disk_limit(m->broker));
    add(v, FAMILY_FDS, host_files_open());
    add(v, FAMILY_MAX_FDS, host_files_max());
    add(v, FAMILY_MAX_SOCKETS, host_files_max());
    unsigned alarms = broker_alarms(m->broker);
    add(v, FAMILY_DISK_ALARM, (alarms & BROKER_ALARM_DISK) != 0);
    add(v, FAMILY_FDS_ALARM, 0);
    add(v, FAMILY_MEMORY_ALARM, (alarms & BROKER_ALARM_MEMORY) != 0);
    struct alarm others[ALARMS_MAX];
    add(v, FAMILY_ALARMS_ELSEWHERE, alarms_elsewhere(m->broker, others));
    add(v, FAMILY_MESSAGE_MEMORY, broker_message_bytes(m->broker));
    add(v, FAMILY_EPOCH, broker_epoch_waiting(m->broker));
}

static void add_loop(struct stats_view *v, const struct loop *loop)
{
    struct stats_label label = { "thread", slice_str(loop_name(loop)) };
    stats_view_add(v, FAMILY_MAILBOX, &label, 1, (int64_t)mailbox_depth(loop));
}

static void add_threads(struct stats_view *v, const struct mgmt_http *m)
{
    add(v, FAMILY_SHARDS, broker_shard_count(m->broker));
    add_loop(v, m->loop);
    for (uint32_t i = 0; i < broker_shard_count(m->broker); i++)
        add_loop(v, broker_shard(m->broker, i)->loop);
}

static void add_clients(struct stats_view *v, const struct mgmt_http *m,
                        const struct mgmt_counts *c)
{
    add(v, FAMILY_SOCKETS, c->sockets_accepted - c->sockets_ended);
    add(v, FAMILY_ACCEPTED, c->sockets_accepted);
    add(v, FAMILY_KEPT, c->publishes_kept_bytes);
    add(v, FAMILY_AGAIN, c->publishes_again);
    add(v, FAMILY_EXPIRED, c->publishes_expired);
    add(v, FAMILY_OPENED, c->connections_opened);
    add(v, FAMILY_CLOSED, c->connections_closed);
    add(v, FAMILY_CONNECTIONS, c->connections_opened - c->connections_closed);
    add(v, FAMILY_CHANNELS_OPENED, c->channels_opened);
    add(v, FAMILY_CHANNELS_CLOSED, c->channels_closed);
    add(v, FAMILY_CHANNELS, c->channels_opened - c->channels_closed);
    add(v, FAMILY_IN_BYTES, c->in_bytes);
    add(v, FAMILY_OUT_BYTES, c->out_bytes);
    add_logins(v, "amqp091", c->auth_ok, c->auth_refused);
    add_logins(v, "http", m->logins, m->logins_refused);
}

static void add_quarantine(struct stats_view *v, const struct broker *b)
{
    struct quarantined_stats q;
    quarantined_stats(storage_quarantine(broker_storage(b)), &q);
    add(v, FAMILY_QUARANTINED, q.messages);
    add(v, FAMILY_QUARANTINE_BYTES, q.bytes);
    add(v, FAMILY_QUARANTINE_ADDED, q.added);
    add(v, FAMILY_QUARANTINE_REQUEUED, q.requeued);
    add(v, FAMILY_QUARANTINE_DROPPED, q.dropped);
    add(v, FAMILY_QUARANTINE_OVERFLOW, q.overflow);
    add(v, FAMILY_QUARANTINE_FAILURES, q.failures);
}

static void add_messages(struct stats_view *v, const struct mgmt_counts *c)
{
    add_global(v, FAMILY_RECEIVED, false, c->published);
    add_global(v, FAMILY_RECEIVED_CONFIRM, false, c->published_confirm);
    add_global(v, FAMILY_CONFIRMED, false, c->confirmed);
    add_global(v, FAMILY_ROUTED, false, c->published - c->unroutable);
    add_global(v, FAMILY_DROPPED, false, c->unroutable - c->returned);
    add_global(v, FAMILY_RETURNED, false, c->returned);
    add_global(v, FAMILY_DELIVERED, true,
               c->delivered_manual + c->delivered_auto + c->got_manual + c->got_auto);
    add_global(v, FAMILY_DELIVERED_MANUAL, true, c->delivered_manual);
    add_global(v, FAMILY_DELIVERED_AUTO, true, c->delivered_auto);
    add_global(v, FAMILY_GOT_MANUAL, true, c->got_manual);
    add_global(v, FAMILY_GOT_AUTO, true, c->got_auto);
    add_global(v, FAMILY_GOT_EMPTY, true, c->got_empty);
    add_global(v, FAMILY_REDELIVERED, true, c->redelivered);
    add_global(v, FAMILY_ACKED, true, c->acked);
}

static uint64_t dead_of(const struct mgmt_http *m, bool is_quorum, enum shard_after_death after,
                        enum queue_death why)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < broker_shard_count(m->broker); i++)
        n += atomic_load_explicit(&broker_shard(m->broker, i)->dead[is_quorum][after][why],
                                  memory_order_relaxed);
    return n;
}

/* Dropped ones are in RabbitMQ's figures too: those of a strategy that is disabled. */
static void add_dead(struct stats_view *v, const struct mgmt_http *m)
{
    static const char *const types[] = { "rabbit_classic_queue", "rabbit_quorum_queue" };
    static const char *const strategies[] = {
        [SHARD_DEAD_DROPPED] = "disabled", [SHARD_DEAD_SENT_ON] = "at_most_once"
    };
    static const enum family families_of[] = { [QUEUE_REJECTED] = FAMILY_DEAD_REJECTED,
                                               [QUEUE_EXPIRED] = FAMILY_DEAD_EXPIRED,
                                               [QUEUE_MAXLEN] = FAMILY_DEAD_MAXLEN,
                                               [QUEUE_DELIVERY_LIMIT] = FAMILY_DEAD_LIMIT };
    for (unsigned type = 0; type < ARRAY_COUNT(types); type++) {
        for (unsigned after = 0; after < SHARD_AFTER_DEATHS; after++) {
            struct stats_label labels[] = {
                { "queue_type", slice_str(types[type]) },
                { "dead_letter_strategy", slice_str(strategies[after]) },
            };
            /* The last one, the limit of deliveries, is quorum queues' alone. */
            unsigned causes = type != 0 ? QUEUE_DEATHS : QUEUE_DELIVERY_LIMIT;
            for (unsigned why = 0; why < causes; why++)
                stats_view_add(v, families_of[why], labels, ARRAY_COUNT(labels),
                               (int64_t)dead_of(m, type != 0, after, why));
        }
    }
}

static void add_channels(struct stats_view *v, const struct mgmt_counts *c)
{
    add(v, FAMILY_CHANNEL_PUBLISHED, c->published);
    add(v, FAMILY_CHANNEL_CONFIRMED, c->confirmed);
    add(v, FAMILY_CHANNEL_RETURNED, c->returned);
    add(v, FAMILY_CHANNEL_DROPPED, c->unroutable - c->returned);
    add(v, FAMILY_CHANNEL_GET_ACK, c->got_manual);
    add(v, FAMILY_CHANNEL_GET, c->got_auto);
    add(v, FAMILY_CHANNEL_GET_EMPTY, c->got_empty);
    add(v, FAMILY_CHANNEL_DELIVERED_ACK, c->delivered_manual);
    add(v, FAMILY_CHANNEL_DELIVERED, c->delivered_auto);
    add(v, FAMILY_CHANNEL_REDELIVERED, c->redelivered);
    add(v, FAMILY_CHANNEL_ACKED, c->acked);
    add(v, FAMILY_CONNECTION_CHANNELS, c->channels_opened - c->channels_closed);
    add_global(v, FAMILY_PUBLISHERS, false, c->channels_opened - c->channels_closed);
    add(v, FAMILY_QUEUES_DECLARED, c->queues_declared);
    add(v, FAMILY_QUEUES_CREATED, c->queues_created);
    add(v, FAMILY_QUEUES_DELETED, c->queues_deleted);
}

static void add_queues(struct stats_view *v, const struct mgmt_totals *t,
                       const struct mgmt_counts *c)
{
    add(v, FAMILY_QUEUES, t->queues);
    add(v, FAMILY_CONSUMERS, t->consumers);
    add(v, FAMILY_CHANNEL_CONSUMERS, t->consumers);
    add(v, FAMILY_CHANNEL_UNACKED, t->unacked);
    add(v, FAMILY_UNCONFIRMED, t->unconfirmed);
    add(v, FAMILY_PREFETCH, t->prefetch);
    add(v, FAMILY_CONNECTION_IN, c->in_bytes + t->in_bytes);
    add(v, FAMILY_CONNECTION_OUT, c->out_bytes + t->out_bytes);
    add_global(v, FAMILY_GLOBAL_CONSUMERS, false, t->consumers);
}

static void add_queue_families(struct stats_view *v, const struct mgmt_totals *f)
{
#define X(name, kind, group, value, help) add(v, FAMILY_##name, (value));
    MGMT_QUEUE_FAMILIES(X)
#undef X
}

static void add_store(struct stats_view *v, const struct store_stats *s)
{
#define X(name, kind, unit, value, help) add(v, FAMILY_##name, (value));
    MGMT_STORE_FAMILIES(X)
#undef X
}

static void add_cluster(struct stats_view *v, const struct cluster_status *s)
{
#define X(name, kind, value, help) add(v, FAMILY_##name, (value));
    MGMT_CLUSTER_FAMILIES(X)
#undef X
}

static void add_metadata(struct stats_view *v, const struct mgmt_http *m)
{
    const struct meta_version *meta = broker_meta(m->broker);
    add(v, FAMILY_META, meta->number);
    add(v, FAMILY_VHOSTS, meta->vhosts.count);
    uint64_t exchanges = 0;
    struct pmap_iter it;
    pmap_iter(&it, &meta->vhosts);
    const struct meta_vhost *vh;
    while ((vh = pmap_next(&it)) != NULL)
        exchanges += vh->exchanges.count;
    add(v, FAMILY_EXCHANGES, exchanges);
}

static void put_all(struct mgmt_http *m, const struct mgmt_totals *totals, bool with_queues,
                    struct text *out)
{
    struct mgmt_counts counts;
    mgmt_counts_read(m->broker, &counts);
    struct store_stats store;
    bool has_store = broker_store_stats(m->broker, &store);
    struct stats *s = stats_new(families, ARRAY_COUNT(families), random_u64());
    struct stats_set *set = stats_set_new(s);
    if (has_store)
        mgmt_store_sync_hist(&store, stats_hist_get(set, FAMILY_SYNCS, NULL, 0));
    struct stats_view *v = stats_view_new(s);
    if (has_store)
        add_store(v, &store);
    add_quarantine(v, m->broker);
    add_identity(v, m);
    add_process(v, m);
    add_threads(v, m);
    add_clients(v, m, &counts);
    add_messages(v, &counts);
    add_dead(v, m);
    add_channels(v, &counts);
    add_queues(v, totals, &counts);
    if (with_queues)
        add_queue_families(v, totals);
    add_metadata(v, m);
    add_cluster(v, cluster_status(broker_cluster(m->broker)));
    stats_text_prometheus(v, out);
    stats_view_free(&v);
    stats_set_free(&set);
    stats_free(&s);
    gossip_node_metrics(broker_gossip(m->broker), out);
}

struct asking {
    struct mgmt_call *call;
    bool with_queues;
    mgmt_metrics_fn done;
    struct link_figures *links;
};

static void on_totals(void *arg, const struct mgmt_totals *all, const struct mgmt_totals *vhosts,
                      size_t vhost_count)
{
    struct asking *a = arg;
    struct text out;
    (void)vhosts;
    (void)vhost_count;
    text_init(&out, METRICS_MAX_BYTES);
    put_all(a->call->m, all, a->with_queues, &out);
    link_figures_text(a->links, &out);
    a->done(a->call, &out);
    text_fini(&out);
    link_figures_free(&a->links);
    mem_free(a);
}

static void on_links(void *arg, const struct mgmt_link *links, size_t count)
{
    struct asking *a = arg;
    struct mgmt_http *m = a->call->m;
    for (size_t i = 0; i < count; i++) {
        const struct meta_node *n = meta_node_get(broker_meta(m->broker), links[i].node);
        if (n != NULL) /* else it was forgotten, and its links go */
            link_figures_add(a->links, n->name, &links[i].figure);
    }
    mgmt_ask_totals(m->broker, m->loop, NULL, on_totals, a);
}

void mgmt_ask_metrics(struct mgmt_call *c, bool with_queues, mgmt_metrics_fn done)
{
    struct asking *a = mem_zalloc(sizeof *a);
    *a = (struct asking){ c, with_queues, done, link_figures_new(random_u64()) };
    mgmt_ask_links(c->m->broker, c->m->loop, on_links, a);
}

void mgmt_metrics_too_many(struct mgmt_call *c)
{
    mgmt_reply_octets(c, 500, "text/plain; charset=utf-8", slice_str("too many figures\n"));
}

static void on_metrics(struct mgmt_call *c, const struct text *all)
{
    if (all->cut)
        mgmt_metrics_too_many(c);
    else
        mgmt_reply_octets(c, 200, STATS_TEXT_PROMETHEUS_TYPE, text_view(all));
}

void mgmt_serve_metrics(struct mgmt_call *c)
{
    mgmt_ask_metrics(c, true, on_metrics);
}
