/*
 * mgmt_store: what a node says of its disk: alarms, and what the store counts, as JSON for
 * warrenctl and the management API and as families for Prometheus.
 */
#ifndef WARREN_MGMT_STORE_H
#define WARREN_MGMT_STORE_H

#include "mgmt/mgmt_totals.h"
#include "store/store.h"

#include <jansson.h>

struct broker;
struct hist;

/* X(name, kind, unit, value, help), of a struct store_stats `s`. RabbitMQ's names where they mean
 * about the same: its writes are our groups, its message store is our journal. */
#define MGMT_STORE_FAMILIES(X)                                                                     \
    X(rabbitmq_io_read_ops_total, COUNTER, 0, s->loads, "Reads of messages that were paged out.")  \
    X(rabbitmq_io_read_bytes_total, COUNTER, 0, s->loaded_bytes, "Octets of those messages.")      \
    X(rabbitmq_io_write_ops_total, COUNTER, 0, s->journal.batches, "Groups of records written.")   \
    X(rabbitmq_io_write_bytes_total, COUNTER, 0, s->journal.bytes, "Octets of records.")           \
    X(rabbitmq_io_sync_ops_total, COUNTER, 0, s->journal.syncs, "Syncs of the journal.")           \
    X(rabbitmq_io_sync_time_seconds_total, COUNTER, 1e-6, s->journal.sync_us_sum,                  \
      "Time that they took.")                                                                      \
    X(rabbitmq_msg_store_read_total, COUNTER, 0, s->loaded_messages, "Messages read back.")        \
    X(rabbitmq_msg_store_write_total, COUNTER, 0, s->journal.records, "Records written.")          \
    X(warren_journal_slow_syncs_total, COUNTER, 0, s->journal.slow_syncs,                          \
      "Syncs that took longer than slow-sync.")                                                    \
    X(warren_journal_sync_longest_seconds, GAUGE, 1e-6, s->journal.sync_us_max,                    \
      "The longest sync since the start.")                                                         \
    X(warren_journal_waits_total, COUNTER, 0, s->journal.waits,                                    \
      "Times that a group waited for a segment to be made.")                                       \
    X(warren_journal_backlog_bytes, GAUGE, 0, s->backlog_bytes, "Octets not yet written.")         \
    X(warren_journal_segments, GAUGE, 0, s->segs.count, "Segments in use.")                        \
    X(warren_journal_spare_segments, GAUGE, 0, s->journal.spares, "Segments made ahead.")          \
    X(warren_journal_bytes, GAUGE, 0, s->segs.bytes, "Octets of the segments in use.")             \
    X(warren_journal_alive_bytes, GAUGE, 0, s->segs.alive_bytes, "Of them, alive.")                \
    X(warren_journal_dead_bytes, GAUGE, 0, s->dead_bytes, "Of them, no longer needed.")            \
    X(warren_journal_alive_messages, GAUGE, 0, s->segs.alive_count,                                \
      "Messages alive in the journal, once for each queue.")                                       \
    X(warren_journal_evacuated_segments_total, COUNTER, 0, s->evacuated_segs,                      \
      "Segments whose last messages were moved.")                                                  \
    X(warren_journal_evacuated_bytes_total, COUNTER, 0, s->evacuated_bytes,                        \
      "Octets of those messages.")                                                                 \
    X(warren_journal_recycled_segments_total, COUNTER, 0, s->recycled_segs,                        \
      "Segments that were used again or removed.")                                                 \
    X(warren_store_lost_messages_total, COUNTER, 0, s->lost_messages,                              \
      "Messages that could not be read back.")                                                     \
    X(warren_store_large_files, GAUGE, 0, s->large_files, "Messages with a file of their own.")    \
    X(warren_store_large_bytes, GAUGE, 0, s->large_bytes, "Octets of those files.")                \
    X(warren_store_recovery_seconds, GAUGE, 1e-3, s->recovery.took_ms,                             \
      "How long reading the journal took at the start.")                                           \
    X(warren_store_recovered_messages, GAUGE, 0, s->recovery.messages,                             \
      "Messages that were found then.")                                                            \
    X(warren_store_recovered_damages, GAUGE, 0, s->recovery.damages,                               \
      "Places where something that was safe was lost.")

/* The upper bounds of the latency's buckets, in seconds. */
extern const double mgmt_store_sync_bounds[JOURNAL_LATENCY_BUCKETS - 1];

/* Fills an empty histogram of microseconds. */
void mgmt_store_sync_hist(const struct store_stats *s, struct hist *out);

/* [{"node": ..., "resource": "memory"}, ...], as RabbitMQ has it: of this node; and of all nodes of
 * the cluster, as this one knows them and makes its publishers wait. */
json_t *mgmt_alarms(const struct broker *b, const char *node);
json_t *mgmt_cluster_alarms(const struct broker *b, const char *node);

/* What `warrenctl journal_status` shows; null: the node keeps nothing on disk. */
json_t *mgmt_store_journal(const struct broker *b, const struct mgmt_totals *totals);

/* RabbitMQ's io_... and msg_store_... of a node. */
void mgmt_store_put_io(json_t *node, const struct broker *b);

#endif
