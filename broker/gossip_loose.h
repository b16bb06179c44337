/*
 * gossip_loose: may a consumer leave a queue for a moment, for another way to it (LOCATION_LOOSE)?
 *
 * Not when the queue would go with its last one, or count how long it has none, or give another one
 * the turn. Policies have a say in that: when those of a vhost change, all queues are looked at
 * again, some in each turn, as the metadata are then. One loop, the control thread's.
 */
#ifndef WARREN_GOSSIP_LOOSE_H
#define WARREN_GOSSIP_LOOSE_H

#include "cluster/meta.h"

struct broker;
struct gossip_loose;

bool gossip_loose_is(const struct meta_version *v, const struct meta_queue *q);

struct gossip_loose_calls {
    void (*look)(void *arg, const struct meta_queue *q);
    void (*looked)(void *arg); /* at some, in this turn */
};

struct gossip_loose *gossip_loose_new(struct broker *b, const struct gossip_loose_calls *calls,
                                      void *arg);
void gossip_loose_free(struct gossip_loose **l);

/* Look at all, from the beginning. */
void gossip_loose_again(struct gossip_loose *l);

/* All is told anew by other means. */
void gossip_loose_forget(struct gossip_loose *l);

#endif
