/*
 * nodes: the brokers of the cluster, as gossip tells of them, and where each takes AMQP: names are
 * looked up off the loop. Control loop.
 */
#ifndef WARREN_NODES_H
#define WARREN_NODES_H

#include "base/text.h"
#include "io/loop.h"
#include "live.h"

#define NODES_MAX      512u /* as many as gossip has members */
#define NODES_NAME_MAX 256u
#define NODES_HOST_MAX 256u

struct node {
    uint16_t number;
    enum live_hearsay hearsay;
    bool is_draining;          /* it gives its masters away, and takes nothing new */
    bool is_ours;              /* one of Warren's brokers, with our cookie */
    char name[NODES_NAME_MAX]; /* NAME@HOST */
    char host[NODES_HOST_MAX]; /* of its AMQP port; empty: it has none */
    uint16_t port;
    struct sock_addr address; /* once it was looked up */
    bool has_address;
};

struct nodes;

/* `changed`: something is known that was not. */
struct nodes *nodes_new(struct loop *loop, void (*changed)(void *arg), void *arg);
void nodes_free(struct nodes **n);

/* What is heard of one; `heard` is copied, and its address is looked up. */
void nodes_put(struct nodes *n, const struct node *heard);
void nodes_remove(struct nodes *n, uint16_t number);
void nodes_clear(struct nodes *n);

/* In order of their numbers; borrowed until the next change. */
size_t nodes_count(const struct nodes *n);
const struct node *nodes_at(const struct nodes *n, size_t index);

/* "HOST:PORT", as a configuration writes it. */
void nodes_place(const struct node *n, struct text *out);

#endif
