/*
 * leg_tags: the numbers of a channel's deliveries, which each of its legs counts for itself and the
 * client counts through.
 *
 * It keeps what is outstanding, from the oldest on, by the client's numbers, and counts it by
 * slots: a consumer has one, also when it moves from leg to leg. Within a transaction what the
 * client settles is out of its reach, and comes back with a rollback. Pure, but for memory.
 */
#ifndef WARREN_LEG_TAGS_H
#define WARREN_LEG_TAGS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEG_MAP_LEGS_MAX 8u
#define LEG_TAGS_SLOTS   8192u /* 0: nobody's */

/* A delivery by its leg's number; leg_tag 0: none. */
struct leg_tag {
    unsigned leg;
    uint64_t tag;
};

struct leg_tags_slot {
    bool is_taken;
    uint32_t held; /* outstanding */
};

struct leg_tags {
    uint64_t *ring; /* from `first` to `last`, by the client's numbers */
    size_t cap;     /* a power of two, or 0 */
    uint64_t first;
    uint64_t last;
    bool in_tx;
    uint64_t outstanding[LEG_MAP_LEGS_MAX]; /* of each leg, those of an open transaction included */
    struct leg_tags_slot *slots;
    unsigned slots_cap, slots_next;
};

void leg_tags_init(struct leg_tags *t);
void leg_tags_fini(struct leg_tags *t);

/* One that nobody has, and that nothing is outstanding of; 0: there is none left. It is given back
 * at once, whatever is outstanding of it. */
unsigned leg_tags_take_slot(struct leg_tags *t);
void leg_tags_leave_slot(struct leg_tags *t, unsigned slot);
uint32_t leg_tags_held(const struct leg_tags *t, unsigned slot);

/* ... of those behind the client's number `since`, and the last of them, or 0. It walks. */
uint32_t leg_tags_held_since(const struct leg_tags *t, unsigned slot, uint64_t since,
                             uint64_t *last);

/* The client's next number, t->last, is this delivery of the leg's, to whose the slot is. One that
 * is not outstanding only takes a number. False: more than `kept_max` would have to be kept. */
MUST_CHECK bool leg_tags_push(struct leg_tags *t, unsigned leg, unsigned slot, uint64_t leg_tag,
                              bool outstanding, size_t kept_max);

/* Can the client settle it? */
bool leg_tags_has(const struct leg_tags *t, uint64_t tag);

/* The client settles one, which is there. */
struct leg_tag leg_tags_settle(struct leg_tags *t, uint64_t tag);

/* The client settles all up to this one: of each leg the last one; those that have none say 0. */
void leg_tags_settle_upto(struct leg_tags *t, uint64_t upto, uint64_t last[LEG_MAP_LEGS_MAX]);

/* The transaction is over, and the next one begins. */
void leg_tags_end_tx(struct leg_tags *t, bool commit);

/* Nothing that the client could settle is outstanding any more. */
void leg_tags_forget(struct leg_tags *t);

/* The leg has another number, which nothing was of. */
void leg_tags_rename_leg(struct leg_tags *t, unsigned from, unsigned to);

/* What must hold; for tests. */
void leg_tags_check(const struct leg_tags *t);

#endif
