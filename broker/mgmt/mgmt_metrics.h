/*
 * mgmt_metrics: figures for Prometheus under the names of RabbitMQ's plugin, so that its dashboards
 * fill; warren_ for the rest.
 *
 * /metrics adds up all queues, as RabbitMQ 3.10 does; /metrics/per-object and /metrics/detailed
 * have a line for each, family after family, sent in pieces.
 */
#ifndef WARREN_MGMT_METRICS_H
#define WARREN_MGMT_METRICS_H

#include "base/text.h"
#include "mgmt/mgmt_call.h"
#include "mgmt/mgmt_totals.h"

/* X(name, kind, group, value, help): what is said of queues, of one (`f` a mgmt_queue) or of all
 * (`f` mgmt_totals). The groups are those of /metrics/detailed. */
#define MGMT_QUEUE_FAMILIES(X)                                                                     \
    X(queue_messages_ready, GAUGE, COARSE, f->ready, "Messages ready to be delivered.")            \
    X(queue_messages_unacked, GAUGE, COARSE, f->unacked, "Messages delivered, not acknowledged.")  \
    X(queue_messages, GAUGE, COARSE, f->ready + f->unacked, "Ready and unacknowledged messages.")  \
    X(queue_consumers, GAUGE, CONSUMERS, f->consumers, "Consumers on a queue.")                    \
    X(queue_consumer_capacity, GAUGE, METRICS, f->consumers != 0, "Consumer capacity.")            \
    X(queue_consumer_utilisation, GAUGE, METRICS, f->consumers != 0, "The same.")                  \
    X(queue_process_memory_bytes, GAUGE, METRICS, f->memory_bytes, "Memory of a queue, about.")    \
    X(queue_messages_ram, GAUGE, METRICS, f->ready + f->unacked - f->paged_out,                    \
      "Messages in memory.")                                                                       \
    X(queue_messages_ram_bytes, GAUGE, METRICS,                                                    \
      f->ready_bytes + f->unacked_bytes - f->paged_out_bytes, "Octets of their bodies.")           \
    X(queue_messages_ready_ram, GAUGE, METRICS, f->ready - f->paged_out,                           \
      "Ready messages in memory.")                                                                 \
    X(queue_messages_unacked_ram, GAUGE, METRICS, f->unacked, "Delivered ones in memory.")         \
    X(queue_messages_bytes, GAUGE, METRICS, f->ready_bytes + f->unacked_bytes,                     \
      "Octets of bodies, ready and unacknowledged.")                                               \
    X(queue_messages_ready_bytes, GAUGE, METRICS, f->ready_bytes, "Octets of those ready.")        \
    X(queue_messages_unacked_bytes, GAUGE, METRICS, f->unacked_bytes,                              \
      "Octets of those delivered.")                                                                \
    X(queue_messages_paged_out, GAUGE, METRICS, f->paged_out, "Messages that are on disk alone.")  \
    X(queue_messages_paged_out_bytes, GAUGE, METRICS, f->paged_out_bytes,                          \
      "Octets of their bodies.")                                                                   \
    X(queue_disk_reads_total, COUNTER, METRICS, f->disk_reads, "Messages read from disk.")         \
    X(queue_disk_writes_total, COUNTER, METRICS, f->disk_writes, "Messages written to disk.")      \
    X(queue_messages_published_total, COUNTER, METRICS, f->published, "Messages published to it.")

/* X(name, kind, value, help): of the node's part in its cluster (`s` a cluster_status). */
#define MGMT_CLUSTER_FAMILIES(X)                                                                   \
    X(warren_cluster_nodes, GAUGE, s->count, "Members of the cluster, witnesses included.")        \
    X(warren_cluster_voters, GAUGE, s->voter_count, "Members whose votes count.")                  \
    X(warren_cluster_voters_reached, GAUGE, s->voters_linked, "Of these, itself included.")        \
    X(warren_cluster_leads, GAUGE, s->self != 0 && s->leader == s->self,                           \
      "1: this node leads the cluster.")                                                           \
    X(warren_cluster_cut_off, GAUGE, s->is_cut_off,                                                \
      "1: no majority is reached, and the metadata cannot be changed.")                            \
    X(warren_cluster_master_moves_total, COUNTER, s->moves,                                        \
      "Times that masters went from one node to another, as seen here.")                           \
    X(warren_cluster_masters_moved_total, COUNTER, s->moved, "Queues that they were of.")          \
    X(warren_cluster_unwell_nodes, GAUGE, s->unwell,                                               \
      "Members that do not keep up, so that the others go on without them.")                       \
    X(warren_cluster_unwell_total, COUNTER, s->unwell_times,                                       \
      "Times that one was found so, as seen here.")                                                \
    X(warren_cluster_disk_strain_milliseconds, GAUGE, s->strain.disk_ms,                           \
      "For how long this node's disk has had the journal wait of late.")                           \
    X(warren_cluster_loop_strain_milliseconds, GAUGE, s->strain.loop_ms,                           \
      "For how long a thread of this node has not gone on.")                                       \
    X(warren_cluster_term, GAUGE, s->term, "Rises with each election of a leader.")                \
    X(warren_cluster_committed_index, GAUGE, s->committed, "Metadata index that is agreed upon.")  \
    X(warren_cluster_applied_index, GAUGE, s->applied, "Metadata index that is in force here.")    \
    X(warren_cluster_applied_everywhere_index, GAUGE, s->all_applied,                              \
      "Metadata index that is in force at all nodes that are up.")

/* All figures but those of queues, or, with_queues, those of all queues together too; lent. */
typedef void (*mgmt_metrics_fn)(struct mgmt_call *c, const struct text *all);
void mgmt_ask_metrics(struct mgmt_call *c, bool with_queues, mgmt_metrics_fn done);

/* The answer when `all` is cut. */
void mgmt_metrics_too_many(struct mgmt_call *c);

#endif
