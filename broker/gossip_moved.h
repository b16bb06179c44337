/*
 * gossip_moved: queues that have other masters now, many at once, are told to the feed in turns.
 *
 * What befalls a node is one word about each cohort of its queues (see meta_placement.h), and the
 * feed is told of each queue: of some in each turn, as the metadata say then, so that the control
 * thread has time for what is urgent. One loop, the control thread's.
 */
#ifndef WARREN_GOSSIP_MOVED_H
#define WARREN_GOSSIP_MOVED_H

#include "cluster/meta.h"

struct broker;
struct gossip_moved;

struct gossip_moved_calls {
    void (*tell)(void *arg, const struct meta_queue *q);
    void (*told)(void *arg); /* of all that there was */
};

struct gossip_moved *gossip_moved_new(struct broker *b, const struct gossip_moved_calls *calls,
                                      void *arg);
void gossip_moved_free(struct gossip_moved **m);

void gossip_moved_add(struct gossip_moved *m, uint32_t cohort);
bool gossip_moved_is_under_way(const struct gossip_moved *m);

/* All is told anew by other means. */
void gossip_moved_forget(struct gossip_moved *m);

#endif
