/*
 * rabbit_list: what RabbitMQ's management API says of its queues and nodes, as a table of locations
 * (pure, but for memory).
 *
 *     GET /api/queues?disable_stats=true&columns=vhost,name,node,leader
 *                                                 where classic and mirrored queues have their
 *                                                 master (node), quorum queues their leader
 *     GET /api/overview?columns=listeners         at which port a node takes AMQP
 *     GET /api/nodes?columns=name,running,being_drained
 *                                                 which nodes there are, and run
 *
 * RabbitMQ's nodes have names; here they get numbers, in the order in which they are first heard
 * of, and keep them. It has no versions either: each list is a whole, and counts as the next one.
 * A list that is word for word the one before is not read again, so that asking often is cheap.
 */
#ifndef WARREN_RABBIT_LIST_H
#define WARREN_RABBIT_LIST_H

#include "base/attr.h"
#include "base/err.h"
#include "gossip/location.h"

#define RABBIT_NODES_MAX 512u
#define RABBIT_NAME_MAX  256u
#define RABBIT_IP_MAX    64u

struct rabbit_node {
    char name[RABBIT_NAME_MAX]; /* rabbit@host */
    char ip[RABBIT_IP_MAX];     /* where alone it takes AMQP; empty: everywhere */
    uint16_t port;              /* of AMQP; 0: it has none, or it was not heard */
    uint16_t port_tls;          /* the same over TLS */
    bool is_listed;             /* its cluster has not forgotten it */
    bool is_running;
    bool is_draining; /* in maintenance mode, or on its way there */
};

struct rabbit_list;

/* `key` is for location_hash: random, so that nobody can choose names that collide. */
struct rabbit_list *rabbit_list_new(uint64_t key);
void rabbit_list_free(struct rabbit_list **l);

enum rabbit_news {
    RABBIT_SAME,   /* as the one before */
    RABBIT_OTHER,  /* something in it is other than it was */
    RABBIT_BROKEN, /* it makes no sense, *err says why; what was known stays */
};

/* The bodies of the answers. */
MUST_CHECK enum rabbit_news rabbit_list_queues(struct rabbit_list *l, struct slice body,
                                               struct err *err);
MUST_CHECK enum rabbit_news rabbit_list_nodes(struct rabbit_list *l, struct slice body,
                                              struct err *err);
MUST_CHECK enum rabbit_news rabbit_list_listeners(struct rabbit_list *l, struct slice body,
                                                  struct err *err);

/* By atlas_follow; its numbers of nodes are those of rabbit_list_node. */
struct location_table *rabbit_list_table(struct rabbit_list *l);
uint64_t rabbit_list_key(const struct rabbit_list *l);

/* Numbers begin at 1. */
size_t rabbit_list_node_count(const struct rabbit_list *l);
const struct rabbit_node *rabbit_list_node(const struct rabbit_list *l, size_t number);

#endif
