/*
 * mover_refs: which segments say something of which queue's state. See mover.h; on its thread.
 */
#ifndef WARREN_MOVER_REFS_H
#define WARREN_MOVER_REFS_H

#include "base/idmap.h"

struct segs;

/* Which queues have SETTLE, RETURNS or the like in a segment; mostly a queue once. */
struct state_refs {
    uint64_t *qids;
    size_t count;
    size_t cap;
};

struct mover_refs {
    struct idmap by_seg; /* struct state_refs */
};

void mover_refs_init(struct mover_refs *r);
void mover_refs_fini(struct mover_refs *r);

void mover_refs_add(struct mover_refs *r, uint32_t seg, uint64_t qid);

/* NULL: there are none. Good until one is added to that segment, or dropped. */
const struct state_refs *mover_refs_of(const struct mover_refs *r, uint32_t seg);

/* Of segments that there are no more. Not before, for one that was to go may stay after all: then
 * what others say of its messages must be carried on as if nothing had been. */
void mover_refs_drop(struct mover_refs *r, struct segs *segs);

#endif
