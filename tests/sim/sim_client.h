/*
 * sim_client: the clients of a simulated node: channels that publish, consume, get and settle, and
 * enter into the books what they see. They stand in for client/channel.c.
 *
 * What a client does is carried to its shard as mail, and happens in a turn of that.
 */
#ifndef WARREN_SIM_CLIENT_H
#define WARREN_SIM_CLIENT_H

#include "sim_books.h"
#include "sim_node.h"

/* As the simulation knows a queue. */
struct sim_queue {
    uint64_t qid; /* 0: not declared yet */
    char name[16];
    uint32_t shard;
    uint8_t max_priority;
    bool is_quorum;
    bool is_grave;   /* where dead letters go */
    bool has_grave;  /* its dead leave letters there */
    bool may_drop;   /* it has a length, and lets the oldest go */
    uint64_t ttl_ms; /* of its messages; 0: none */
    bool is_there;   /* it was said so */
    bool is_leaving; /* its deletion was asked for */
};

struct sim_clients;
struct channel;

struct sim_clients *sim_clients_new(struct broker *b, struct sim_books *books,
                                    const struct sim_queue *queues, size_t queue_count,
                                    uint64_t first_publisher);
/* The node is freed. */
void sim_clients_free(struct sim_clients **c);

/* From now on no client is found any more: the node ends. */
void sim_clients_vanish(struct sim_clients *c);

struct channel *sim_client_open(struct sim_clients *c, uint32_t shard, bool confirms);
/* What it holds goes back, its consumers end. */
void sim_client_close(struct channel *ch);
bool sim_client_is_open(const struct channel *ch);

struct sim_publish {
    uint64_t content;
    uint64_t body_bytes;
    uint64_t ttl_ms; /* 0: none */
    uint8_t priority;
    bool persistent;
    uint64_t qids[4];
    size_t count;
};
void sim_client_publish(struct channel *ch, const struct sim_publish *p);
void sim_client_consume(struct channel *ch, uint64_t qid, uint32_t prefetch, bool no_ack);
void sim_client_cancel(struct channel *ch);
void sim_client_get(struct channel *ch, uint64_t qid, bool no_ack);
void sim_client_purge(struct channel *ch, uint64_t qid);

/* About so many, of 1000, of what it holds, each in a way of its own if `all_kinds`, else acked.
 * With `fence` it waits until that is so for good, unless it does so already. */
void sim_client_settle(struct channel *ch, unsigned per_mille, bool all_kinds, bool fence);

/* Gets that found nothing since it was opened. */
uint64_t sim_client_empties(const struct channel *ch);
uint64_t sim_client_asked(const struct channel *ch); /* and are not answered */
bool sim_client_waits(const struct channel *ch);     /* until it is settled for good */

#endif
