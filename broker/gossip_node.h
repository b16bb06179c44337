/*
 * gossip_node: this node as a member of gossip, and what it tells proxies about where queues are.
 *
 * It takes part when the node is in a cluster and knows its number there. What it hears are hints:
 * they may be late, and nothing that must be right rests on them. Publishers wait by them while
 * another node is short of memory or disk (alarms.h). The control thread, but for
 * gossip_node_metrics.
 */
#ifndef WARREN_GOSSIP_NODE_H
#define WARREN_GOSSIP_NODE_H

#include "base/err.h"
#include "base/text.h"
#include "cluster/meta.h"
#include "gossip/gossip_net.h"

struct broker;
struct epoch;
struct gossip_node;

/* A proxy that takes part. */
struct gossip_proxy {
    uint64_t id; /* another one at each start of it */
    char name[GOSSIP_INFO_NAME_MAX + 1];
    char version[GOSSIP_INFO_NAME_MAX + 1];
    char address[GOSSIP_NET_HOST_MAX + 8]; /* HOST:PORT of its gossip; empty: not known yet */
};

/* An immutable snapshot. */
struct gossip_proxies {
    size_t count;
    struct gossip_proxy items[];
};

struct gossip_node *gossip_node_new(struct broker *b, struct epoch *epoch);
void gossip_node_free(struct gossip_node **g);

/* The node is in service, by the metadata that is published: its cluster, its number, its start,
 * where others reach it. Again, when it may be in another cluster: no effect when it is not. */
MUST_CHECK bool gossip_node_start(struct gossip_node *g, struct err *err);

/* Goodbye: the node stops, or leaves its cluster. */
void gossip_node_stop(struct gossip_node *g);

/* Around each publication, with the effects of what was applied. */
void gossip_node_before_show(struct gossip_node *g, const struct meta_effect *effects,
                             size_t count);
void gossip_node_after_show(struct gossip_node *g, const struct meta_effect *effects, size_t count);

/* The metadata was replaced as a whole. */
void gossip_node_replaced(struct gossip_node *g);

/* The metadata's checksum at an index that is a multiple of 1024: compared with the others'. */
void gossip_node_checked(struct gossip_node *g, uint64_t index, uint64_t checksum);

/* What it says of the node has changed: an alarm, maintenance. */
void gossip_node_touch(struct gossip_node *g);

/* What a member is short of (enum broker_alarm), by its own word. That counts as long as the
 * process lives that said it, by all that is known here: by the cluster's word it is up, and gossip
 * has not found it dead, which is all there is to go by on a side without a majority. */
unsigned gossip_node_alarms(const struct meta_version *v, const struct gossip_member *m);

/* Those that are there by the last word. Any thread; good until the turn of its loop ends. */
const struct gossip_proxies *gossip_node_proxies(const struct gossip_node *g);

/* Who is there; NULL: it takes no part now. */
const struct gossip_net *gossip_node_net(const struct gossip_node *g);

/* As Prometheus has them, as of the last second. Any thread. */
void gossip_node_metrics(const struct gossip_node *g, struct text *out);

#endif
