/*
 * placements: which queues the shards are to look at again, because the metadata has other
 * placements of them.
 *
 * A change may concern one queue or a third of a million (META_COHORT_PLACED). A shard is told of
 * some hundred at a time, and of the next when it is done with them; what waits for it is bounded:
 * when too many do, all queues are gone through instead. It is told which, never what of them: it
 * asks the version that is current when it looks, so that telling twice does no harm.
 *
 * The control thread's; looking happens on the shards' loops.
 */
#ifndef WARREN_PLACEMENTS_H
#define WARREN_PLACEMENTS_H

#include "cluster/meta.h"

struct loop;
struct placements;

#define PLACEMENTS_LANE_MAX 65536u /* that wait for one shard */
#define PLACEMENTS_BATCH    1024u  /* told at a time... */
#define PLACEMENTS_TURN     64u    /* ... and looked at in one turn */

struct placements_setup {
    struct loop *loop; /* of the control thread */
    uint32_t shard_count;
    struct loop *(*loop_of)(void *arg, uint32_t shard);
    /* Any thread, for a turn. */
    const struct meta_version *(*version)(void *arg);
    /* On the shard's thread: look at this queue. */
    void (*look)(void *arg, uint32_t shard, const struct meta_queue *q);
    /* On the shard's thread: something is placed otherwise, whether it is held here or not. */
    void (*placed)(void *arg, uint32_t shard);
    void *arg;
};

struct placements *placements_new(const struct placements_setup *setup);
/* No mail of it is under way. NULL is allowed. */
void placements_free(struct placements **p);

/* After the publication of what they are of. */
void placements_tell(struct placements *p, const struct meta_effect *effects, size_t count);

/* Nothing waits, and nobody is looking. */
bool placements_are_told(const struct placements *p);

#endif
