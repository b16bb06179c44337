/*
 * mirror_plan: which queues ought to have other mirrors than they have (core).
 *
 * The leader of the metadata asks it, turn by turn, for commands that bring placements nearer to
 * what the rules of mirroring say (meta_mirrors.h). It looks at some queues in each turn and goes
 * round all of them as long as there is something to do; it keeps no list of queues, so that a new
 * leader begins where it likes, and a million queues cost it no memory.
 *
 *   1  A queue gets its new mirrors one after the other: the next when the last one is in sync
 *      (with ha-sync-mode manual it never may be: then all at once). At most MIRROR_PLAN_JOINING
 *      queues come to a node at a time, the smallest of those that were looked at first.
 *   2  Mirrors that ought not to be go when those that ought to be are in sync.
 *   3  A master on a node that is not among those that are named moves to one that is, when that
 *      is in sync.
 *
 * Time comes in with each turn; how long a node has been down is counted from when it was seen.
 */
#ifndef WARREN_MIRROR_PLAN_H
#define WARREN_MIRROR_PLAN_H

#include "cluster/meta.h"

#define MIRROR_PLAN_QUEUES   1000u  /* looked at in one turn, and a part of all more */
#define MIRROR_PLAN_JOINING  1000u  /* that are not in sync yet at one node */
#define MIRROR_PLAN_AGAIN_MS 1000u  /* between two rounds when something waits */
#define MIRROR_PLAN_LOOK_MS  30000u /* the same when a node is down that may have to be replaced */
#define MIRROR_PLAN_STUCK_MS 5000u  /* so long it waits for a node that takes no more */

/* How much there is in a queue, as far as is known; 0: nothing is. */
typedef uint64_t (*mirror_plan_size_fn)(void *arg, const struct meta_queue *q);

struct mirror_plan;

/* `size_of` may be NULL. */
struct mirror_plan *mirror_plan_new(mirror_plan_size_fn size_of, void *arg);
void mirror_plan_free(struct mirror_plan **p);

/* Policies or nodes are others: all queues are to be looked at. */
void mirror_plan_look(struct mirror_plan *p);

/* What to propose now, on a version that shows what the last turn proposed, unless that came to
 * nothing. Commands and what they borrow are good until the next turn. */
const struct meta_cmd *mirror_plan_turn(struct mirror_plan *p, const struct meta_version *v,
                                        uint64_t now_ms, size_t *count);

/* Is there something to look at by then? Else a turn does nothing. */
bool mirror_plan_is_due(const struct mirror_plan *p, uint64_t now_ms);

#endif
