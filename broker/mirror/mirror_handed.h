/*
 * mirror_handed: a planned move at the next master: what its former one says is out with consumers,
 * and who takes which of that. A core.
 *
 * The word comes in parts (MIRROR_HANDED), behind all else that the former master has said of the
 * queue. It counts when it is whole, and of the epoch that this copy has followed; else it is as
 * after a failover. Once the queue leads here, each position that was said is held until it is
 * *taken*: by a consumer that claims it, by a settlement of it, or, when the time for that is over,
 * by the queue itself. None is taken twice. Settlements that come before it leads are kept until
 * then.
 *
 * It knows neither queue nor clock: its caller waits, hands out and settles.
 */
#ifndef WARREN_MIRROR_HANDED_H
#define WARREN_MIRROR_HANDED_H

#include "base/attr.h"
#include "mirror/mirror_wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIRROR_HANDED_MAX ((size_t)64 * 1024) /* that are out; of more nothing is said */

struct mirror_handed_early;

struct mirror_handed { /* zeros: nothing was said */
    uint64_t epoch;    /* that of the former master, once it has said something */
    bool is_awaited;
    bool is_whole;    /* all was said */
    bool is_given_up; /* nothing more will be */
    bool is_held;
    uint64_t *positions; /* rising; held, when is_held */
    bool *is_taken;      /* of each */
    size_t count, cap;
    size_t left; /* not taken */
    size_t next; /* of those that nobody has taken */
    struct mirror_starts fresh;
    struct mirror_handed_early *early; /* MIRROR_HANDED_MAX at most; others go back */
    size_t early_count, early_cap, early_next;
};

void mirror_handed_fini(struct mirror_handed *d);

/* A part of the word of the former master. True: it is decided by that. */
MUST_CHECK bool mirror_handed_hear(struct mirror_handed *d, const struct mirror_record *r);

/* What was heard is of another epoch than the one that this copy has followed: it means nothing. */
MUST_CHECK bool mirror_handed_is_of_another(const struct mirror_handed *d, uint64_t epoch);

/* All was said, or will not be. */
static inline bool mirror_handed_is_decided(const struct mirror_handed *d)
{
    return d->is_whole || d->is_given_up;
}

/* The queue is to lead here, and the former master can say its word. True: it is waited for, until
 * it is decided or mirror_handed_give_up; then it is asked again. */
MUST_CHECK bool mirror_handed_await(struct mirror_handed *d);
void mirror_handed_give_up(struct mirror_handed *d);

/* The queue leads here and has handed out nothing. False: nothing is known. Else what was said is
 * held, and nothing at or behind `fresh` was ever handed out. */
MUST_CHECK bool mirror_handed_hold(struct mirror_handed *d);

/* It is claimed, settled, or not there. False: it is not held, or not any more. */
bool mirror_handed_take(struct mirror_handed *d, uint64_t position);

/* It was settled, `how` is the caller's, and the queue does not lead here yet. */
void mirror_handed_put_early(struct mirror_handed *d, uint64_t position, uint8_t how);
/* The next one of those that is held: it is taken by that. False: there is none any more. */
MUST_CHECK bool mirror_handed_next_early(struct mirror_handed *d, uint64_t *position, uint8_t *how);

/* The time to claim is over: the next one that nobody has taken, and it is taken by that. */
MUST_CHECK bool mirror_handed_next_left(struct mirror_handed *d, uint64_t *position);

#endif
