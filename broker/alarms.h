/*
 * alarms: what is said when memory or disk is short, and when it no longer is.
 *
 * Who judges is the broker; here are the words, for publishers and for the log, the news to those
 * that wait, and what is known of the other nodes: a publisher waits while any node of the cluster
 * is short, since its messages may go to a queue there. Each node says of itself what it is short
 * of, as a part of its pulse (gossip_node.h); a node that is down is short of nothing.
 */
#ifndef WARREN_ALARMS_H
#define WARREN_ALARMS_H

#include "broker.h"
#include "cluster/meta_node.h"

/* Of another node. */
struct alarm {
    uint16_t node;
    unsigned what; /* enum broker_alarm; 0: none */
};

#define ALARMS_MAX META_NODES_MAX

/* All others that have one; replaces what was known. On the control thread. */
void alarms_set_elsewhere(struct broker *b, const struct alarm *list, size_t count);

/* ... as they are now: how many. Any thread. */
size_t alarms_elsewhere(const struct broker *b, struct alarm out[ALARMS_MAX]);

/* What a publisher is told it waits for, in RabbitMQ's words. */
const char *alarms_text(unsigned alarms);

/* The last one has ended: publishers of all shards go on. On the control thread. */
void alarms_ended(const struct broker *b);

/* A line in the log. */
void alarms_tell_of_memory(const char *node, bool on, uint64_t bytes, uint64_t limit_bytes);

#endif
