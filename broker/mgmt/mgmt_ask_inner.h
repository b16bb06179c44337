/*
 * mgmt_ask_inner: what the files of mgmt_ask share: its own state, the parts of shards, and the
 * parts of other nodes. Not for anybody else.
 */
#ifndef WARREN_MGMT_ASK_INNER_H
#define WARREN_MGMT_ASK_INNER_H

#include "broker.h"
#include "io/mailbox.h"
#include "mgmt/mgmt_ask.h"
#include "mgmt/mgmt_wire.h"

/* The part of one shard. */
struct mgmt_ask_leg {
    struct mail mail;
    struct mgmt_ask *ask;
    struct shard *shard;
    size_t at; /* where to go on */
    uint64_t *ids;
    size_t id_count;
    struct mgmt_connection *connections;
    size_t connection_count;
    size_t connection_cap;
    struct mgmt_channel *channels;
    size_t channel_count;
    size_t channel_cap;
    struct mgmt_consumer *consumers;
    size_t consumer_count;
    size_t consumer_cap;
};

struct mgmt_ask {
    struct broker *broker;
    struct loop *loop;
    struct mgmt_peers *peers; /* NULL: this node alone */
    mgmt_ask_fn done;
    void *arg;
    enum mgmt_clients what;
    bool is_kept;
    bool is_second;            /* what other shards know of what the first round found */
    struct mgmt_queue *queues; /* each is written by its shard alone */
    size_t queue_count;
    struct mgmt_connection *connections;
    size_t connection_count;
    struct mgmt_channel *channels;
    size_t channel_count;
    struct mgmt_consumer *consumers;
    size_t consumer_count;
    struct mgmt_wire_clients *others; /* other nodes' clients */
    size_t other_count;
    uint32_t leg_count;
    uint32_t left; /* legs, and parts of other nodes, that have not answered */
    struct mgmt_ask_leg legs[];
};

/* Does what lives on this node live here? */
static inline bool mgmt_ask_is_here(const struct mgmt_ask *a, uint16_t node)
{
    return node == broker_node(a->broker);
}

/* A leg, or a part of another node, has answered. The ask may be gone afterwards. */
void mgmt_ask_one_less(struct mgmt_ask *a);

/* ---- mgmt_ask_shards.c: the work of a leg, as mail to its shard ---- */

void mgmt_ask_leg_queues(struct mail *mail);
void mgmt_ask_leg_clients(struct mail *mail);
void mgmt_ask_leg_tags(struct mail *mail);
void mgmt_ask_leg_activities(struct mail *mail);

/* ---- mgmt_ask_peers.c: ask all other nodes; each question counts as one that is to answer ---- */

void mgmt_ask_peers_queues(struct mgmt_ask *a);
void mgmt_ask_peers_clients(struct mgmt_ask *a);
void mgmt_ask_peers_tags(struct mgmt_ask *a);
void mgmt_ask_peers_activities(struct mgmt_ask *a);

#endif
