/*
 * meta_record: what a queue's placement says, but for epoch and ver, and how it changes. No state,
 * no memory. Not for others than meta: see meta_placement.h.
 */
#ifndef WARREN_META_RECORD_H
#define WARREN_META_RECORD_H

#include "cluster/meta_placement.h"

enum meta_record_flag {
    META_RECORD_LASTS = 1, /* the queue is durable */
    META_RECORD_DAMAGED = 2,
    META_RECORD_ALWAYS_ON_FAILURE = 4, /* promote somebody, in sync or not */
    META_RECORD_ALWAYS_ON_SHUTDOWN = 8,
};

struct meta_record {
    uint8_t flags;
    unsigned count;
    struct meta_replica replicas[META_REPLICAS_MAX];
};

/* -1: it is none. */
int meta_record_find(const struct meta_record *r, uint16_t node);
unsigned meta_record_in_sync(const struct meta_record *r);
enum meta_role meta_record_role(const struct meta_record *r, uint16_t node);

/* Out of the in-sync set since `left`, and the youngest. */
void meta_record_strike(struct meta_record *r, unsigned i, uint64_t left);

/* The master; the others keep their order. */
void meta_record_promote(struct meta_record *r, unsigned i);

void meta_record_remove(struct meta_record *r, unsigned i);
void meta_record_add(struct meta_record *r, const struct meta_replica *replica);

/* The member of the in-sync set that is to be the master when there is none: the eldest whose node
 * is up, else the eldest. -1: the set is empty. */
int meta_record_heir(const struct meta_version *v, const struct meta_record *r);

/* The replica that comes nearest to it though it is not in sync: of those whose node is up the one
 * that left last, else the eldest. Not `but`. -1: there is none. */
int meta_record_stand_in(const struct meta_version *v, const struct meta_record *r, uint16_t but);

/* The same of those that were in sync once, whether their nodes are up or not. */
int meta_record_eligible(const struct meta_record *r, uint16_t but);

/* A member that is not alone in the in-sync set is out of it, and succeeded if it was the master.
 * Says how the record has changed: see enum meta_placed_how. */
uint8_t meta_record_leave(const struct meta_version *v, struct meta_record *r, unsigned i,
                          uint64_t left);

#endif
