/*
 * meta_placement: which nodes hold a queue, as a version of the metadata has it. Part of meta.h.
 *
 *   replicas        nodes that hold the queue, or are to: the master first, then by seniority
 *   in-sync set     those of them that have all that was ever confirmed; the master is one
 *   eligible        those that were in sync once, and since when they are not
 *
 * A queue that was never mirrored nor moved has no record of its own: its master is the node that
 * it was declared on, alone. Queues whose records differ in nothing but epoch and ver share one
 * *cohort*, and what befalls a node is written into cohorts: a node with a third of a million
 * queues goes down in microseconds. A queue's epoch is the later one of its own and its cohort's,
 * and so is its ver.
 *
 * What happens to it:
 *
 *   ISR_CHANGE     its master proposes that a replica that has caught up is in sync, or that one is
 *                  not. Epoch and ver must be those that are here; ver rises even when that is
 *                  refused for another reason, so that whoever proposed it learns of it.
 *   PAIR_LAG       a mirror that does not keep up is in sync for no queue of that master any more.
 *   MASTER_MOVE    another in-sync node is the master. The old one stays in sync.
 *   REPLICAS_SET   other nodes are to hold it. New ones are in sync when they have caught up.
 *   FORCE_PROMOTE  an operator gives a queue that is down or damaged to a node that is not in sync.
 *   NODE_DOWN, NODE_STOPPED, NODE_REMOVE, and NODE_UP of another incarnation: the node is out of
 *                  every in-sync set that has another member. Where it was the master, the eldest
 *                  member that is up is, else the eldest. A sole member stays; what does not last
 *                  goes with it. NODE_UP gives a sole member a new epoch: no process acts on in
 *                  an epoch that was given to an earlier one.
 *   NODE_UNWELL    the node does not keep up with the others: it is out of every in-sync set that
 * has a member which is up, and gives its masters to one; until it is well it comes into none.
 *   NODE_DAMAGED   the node that is up has found that it lost something it had acknowledged: of
 * some queues, or it cannot tell of which. A queue without a record of its own is as it is there:
 * nobody has more of it. CLUSTER_FREEZE until CLUSTER_THAW nodes that stop in an orderly way stay
 * in sync, so that any of them may be the first to be there again. THAW strikes those that are not
 * up.
 *
 * A replica that is struck becomes the youngest. One that lost data that it had acknowledged is
 * nowhere in sync; where it was the only one, the queue is damaged, and waits for an operator.
 *
 * Nodes that do not say, when they come up, that they can mirror are put into no set of replicas.
 */
#ifndef WARREN_META_PLACEMENT_H
#define WARREN_META_PLACEMENT_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct meta_cohort;
struct meta_queue;
struct meta_version;

#define META_REPLICAS_MAX 255u  /* as many as there can be nodes */
#define META_PARTS        1024u /* that a cohort is walked through in */

enum meta_role { META_ROLE_NONE, META_ROLE_MIRROR, META_ROLE_MASTER };

enum meta_placement_state {
    META_PLACED_RUNNING,
    META_PLACED_DOWN,    /* its master's node is not up */
    META_PLACED_DAMAGED, /* its only in-sync node has lost data */
};

struct meta_replica {
    uint64_t left; /* index of the entry that took it out of the in-sync set; 0: it is in it, was
                      never, or has lost data since */
    uint32_t inc;  /* in sync: as this incarnation; 0: it is not */
    uint16_t node;
};

/* Borrows from the version. */
struct meta_placement {
    uint64_t epoch;                   /* index of the entry that made the master what it is */
    uint64_t ver;                     /* index of the last change of any of this */
    const struct meta_cohort *cohort; /* private; NULL: it has no record of its own */
    struct meta_replica own;          /* private: the master, then */
    uint16_t master;
    uint32_t master_inc; /* that was made master: another incarnation never acts in this epoch */
    enum meta_placement_state state;
    unsigned count;                             /* of replicas */
    unsigned isr_count;                         /* of those in sync */
    bool always_on_failure, always_on_shutdown; /* somebody is promoted, in sync or not */
};

/* Any thread, on a version it may hold. */
void meta_placement_of(const struct meta_version *v, const struct meta_queue *q,
                       struct meta_placement *out);

/* 0: the master; then the eldest first. */
const struct meta_replica *meta_placement_replica(const struct meta_placement *p, unsigned i);
/* NULL: it is none. */
const struct meta_replica *meta_placement_find(const struct meta_placement *p, uint16_t node);
bool meta_placement_is_in_sync(const struct meta_placement *p, uint16_t node);
enum meta_role meta_placement_role(const struct meta_placement *p, uint16_t node);

/* The master alone, for where that is all that is asked. */
uint16_t meta_queue_master(const struct meta_version *v, const struct meta_queue *q);

/* Do other nodes hold it, too, or are to? */
bool meta_queue_is_mirrored(const struct meta_version *v, const struct meta_queue *q);

/* 0: it has no record of its own. Cohorts are numbered by each node for itself. */
uint32_t meta_placement_cohort(const struct meta_placement *p);

/* A part of a cohort's queues, until `each` says false; then false too. Which part a queue is in
 * stays the same as long as the node runs. */
typedef bool (*meta_placed_fn)(void *arg, const struct meta_queue *q);
bool meta_cohort_each(const struct meta_version *v, uint32_t cohort, unsigned part,
                      meta_placed_fn each, void *arg);
uint64_t meta_cohort_count(const struct meta_version *v, uint32_t cohort);

/* The same of all queues. */
bool meta_queues_each(const struct meta_version *v, unsigned part, meta_placed_fn each, void *arg);

/* Has the node a queue that another one could be the master of at once: it is in sync, and its node
 * is up and not draining? Looks at all cohorts. */
bool meta_placed_may_move(const struct meta_version *v, uint16_t node);

/* Does a queue count a node as in sync that is not up, while another one is? So it is after nodes
 * have stopped together; CLUSTER_THAW strikes them. Looks at all cohorts. */
bool meta_thaw_is_due(const struct meta_version *v);

/* Of a node that is unwell: has it become one that others could go on without? NODE_UNWELL takes it
 * out again. */
struct meta_node;
bool meta_unwell_is_due(const struct meta_version *v, const struct meta_node *n);

/* Queues that the node is a mirror of; and those of them that it is in sync for. */
uint64_t meta_node_mirror_count(const struct meta_version *v, uint16_t node);
uint64_t meta_node_in_sync_count(const struct meta_version *v, uint16_t node);

#endif
