/*
 * discover: which server of each backend is which node of the cluster, told to those backends that
 * route by master (where.h); and servers that are not listed: with discover = gossip or rabbitmq a
 * node that is alive and is no server becomes one, and goes when its cluster has forgotten it or
 * has it elsewhere. Sessions of older configurations get them, too. Control loop.
 *
 * There is one for gossip, and one for each backend that asks a RabbitMQ cluster of its own.
 *
 * A server is a node when it is at the node's AMQP address, as the node says it in gossip or as
 * that is looked up; or else, since a node may know itself by another address than we do, when it
 * has the node's name (rabbit1, or rabbit1@host). Of two servers at one place the first counts.
 */
#ifndef WARREN_DISCOVER_H
#define WARREN_DISCOVER_H

#include "atlas.h"
#include "nodes.h"
#include "snapshot.h"

struct discover;

struct discover_calls {
    /* Legs may have to move: a backend's servers are other nodes, or others are usable. */
    void (*moved)(void *arg);
    /* A server of the snapshot in force was found: it is to be checked. */
    void (*found)(const struct server *server, void *arg);
    /* Something else is said of this server's node. */
    void (*heard)(const struct server_live *server, void *arg);
};

/* `backend` is borrowed: of the one that it is for; NULL: all that go by gossip. */
struct discover *discover_new(struct loop *loop, const char *backend, struct epoch *epoch,
                              const struct atlas *atlas, const struct discover_calls *calls,
                              void *arg);
/* Backends know nothing of masters from now on. */
void discover_free(struct discover **d);

struct nodes *discover_nodes(struct discover *d);

/* The snapshot in force; NULL: none. Older ones are remembered while somebody has them. */
void discover_follow(struct discover *d, struct snapshot *s);

/* Servers may have other addresses. */
void discover_look(struct discover *d);

#endif
