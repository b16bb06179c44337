/*
 * mgmt_ask: figures that only the shards know, asked for by mail and gathered in one place.
 *
 * A question goes to every shard that it concerns. A shard answers a bounded piece in a turn and
 * mails the rest to itself, so that no client waits for it. What is asked for is named by ids:
 * metadata does not outlive a turn. All calls on the loop that asks, but for the mail.
 *
 * With `peers` it goes to the other nodes of the cluster as well (mgmt_peers.h); what a node does
 * not answer in time is missing: its queues are not found. NULL: this node alone.
 */
#ifndef WARREN_MGMT_ASK_H
#define WARREN_MGMT_ASK_H

#include "client/channel.h"
#include "io/loop.h"
#include "io/sock.h"
#include "mirrored_lead.h"

struct broker;
struct mgmt_ask;
struct mgmt_peers;

struct mgmt_queue {
    uint64_t qid;   /* asked */
    uint16_t node;  /* asked: where it lives */
    uint32_t shard; /* asked: there, if that is this node */
    bool found;     /* else it has gone meanwhile */
    bool syncing;   /* a mirror is being sent old messages; so many were: */
    uint64_t sync_messages;
    unsigned lag_count; /* mirrors that are behind */
    struct mirrored_lag lags[MIRRORED_LAGS_MAX];
    bool exclusive; /* has an exclusive consumer */
    uint32_t consumers;
    uint64_t ready;
    uint64_t unacked;
    uint64_t ready_bytes; /* of bodies */
    uint64_t unacked_bytes;
    uint64_t persistent; /* ready or not */
    uint64_t persistent_bytes;
    uint64_t paged_out; /* of those ready: their bodies are on disk alone */
    uint64_t paged_out_bytes;
    uint64_t disk_reads; /* messages */
    uint64_t disk_writes;
    uint64_t memory_bytes; /* about */
    uint64_t published;
    uint64_t delivered;
    uint64_t redelivered;
    uint64_t acked;
    uint64_t used_ms; /* on the loops' clock */
    bool has_timestamp;
    uint64_t head_timestamp; /* of the next message */
    /* The consumer that alone gets its messages: exclusive, or the active one of several. */
    uint64_t lone; /* 0: there is none */
    bool lone_is_active;
    struct port_channel_ref lone_channel;
    uint8_t lone_tag_bytes; /* 0: it is on its way out or in */
    uint8_t lone_tag[255];
};

struct mgmt_connection {
    uint64_t id;
    uint64_t vhost_id;
    struct sock_addr client; /* as limits and logs see it */
    struct sock_addr local;
    char *user;
    char mechanism[32];
    struct tls_about *tls; /* NULL: it speaks none */
    bool blocked;
    uint16_t channel_max;
    uint16_t heartbeat_s;
    uint32_t frame_max;
    uint32_t channels;
    uint64_t connected_ms;
    uint64_t in_bytes;
    uint64_t out_bytes;
    uint64_t in_count; /* reads and writes */
    uint64_t out_count;
    uint64_t pending_bytes;
    uint8_t *client_properties; /* a table */
    uint32_t client_properties_bytes;
};

struct mgmt_channel {
    uint64_t connection; /* of those in the same answer */
    uint16_t number;
    uint16_t prefetch;
    uint16_t channel_prefetch;
    bool confirms;
    uint64_t consumers;
    uint64_t unacked;
    uint64_t unconfirmed;
    bool transactional;
    uint64_t uncommitted; /* messages */
    uint64_t uncommitted_acks;
    struct channel_counts counts;
};

enum mgmt_activity {
    MGMT_UP,
    MGMT_ACTIVE,  /* the one of several that gets the messages */
    MGMT_WAITING, /* for that one to go */
};

struct mgmt_consumer {
    uint64_t connection; /* of those in the same answer */
    uint16_t channel;
    uint16_t prefetch;
    bool no_ack;
    bool exclusive;
    enum mgmt_activity activity;
    uint8_t tag_bytes;
    uint16_t node;  /* the queue's */
    uint32_t shard; /* the same, if that is this node */
    uint64_t id;
    uint64_t qid;
    uint8_t tag[255];
    uint8_t *arguments; /* a table */
    uint32_t arguments_bytes;
};

/* Everybody has answered. The ask is freed afterwards, unless it is kept; `arg` is the caller's. */
typedef void (*mgmt_ask_fn)(struct mgmt_ask *a, void *arg);

/* As RabbitMQ calls it. */
const char *mgmt_activity_name(enum mgmt_activity a);

/* What a queue has on disk alone, and what it read and wrote; about how much memory it takes. On
 * its shard. */
struct hosted;
struct mgmt_disk {
    uint64_t paged_out;
    uint64_t paged_out_bytes;
    uint64_t reads;
    uint64_t writes;
    uint64_t memory_bytes;
};
void mgmt_disk_of(const struct hosted *h, struct mgmt_disk *out);

/* Takes *queues (of mem_array), with qid, node and shard filled in. */
void mgmt_ask_queues(struct broker *b, struct loop *loop, struct mgmt_peers *peers,
                     struct mgmt_queue **queues, size_t count, mgmt_ask_fn done, void *arg);

/* The connections that are open, and, if they are wanted, their channels, and the consumers of
 * those. */
enum mgmt_clients { MGMT_CONNECTIONS, MGMT_CHANNELS, MGMT_CONSUMERS };
void mgmt_ask_clients(struct broker *b, struct loop *loop, struct mgmt_peers *peers,
                      enum mgmt_clients what, mgmt_ask_fn done, void *arg);

/* What another node asks of this one, in its second round: the tags of lone consumers, whose
 * channels are here; the activities of consumers, whose queues are. Takes the arrays. */
void mgmt_ask_tags(struct broker *b, struct loop *loop, struct mgmt_queue **queues, size_t count,
                   mgmt_ask_fn done, void *arg);
void mgmt_ask_activities(struct broker *b, struct loop *loop, struct mgmt_consumer **consumers,
                         size_t count, mgmt_ask_fn done, void *arg);

/* The clients of the answer, as octets for another node. */
struct text;
void mgmt_ask_put_clients(const struct mgmt_ask *a, struct text *out);

/* From inside `done`: it stays until mgmt_ask_free. */
void mgmt_ask_keep(struct mgmt_ask *a);
void mgmt_ask_free(struct mgmt_ask **a);

/* The answers, lent to `done`. Clients come in the order of their ids. */
const struct mgmt_queue *mgmt_ask_queue_list(const struct mgmt_ask *a, size_t *count);
const struct mgmt_connection *mgmt_ask_connection_list(const struct mgmt_ask *a, size_t *count);
const struct mgmt_channel *mgmt_ask_channel_list(const struct mgmt_ask *a, size_t *count);
const struct mgmt_consumer *mgmt_ask_consumer_list(const struct mgmt_ask *a, size_t *count);

#endif
