/*
 * mirror_history: where what a replica holds of a queue comes from, and how much of it agrees with
 * what a new master holds.
 *
 * Each master of a queue has an *epoch*, which begins at the next positions that its first holder
 * had (`starts`, one for each priority). Positions of an epoch are given by one master alone and
 * travel in their order, so two replicas that both have had an epoch agree up to where the first of
 * them left it:
 *
 *     master    e1 --------------> e3 ----->          cut: the replica's e2, and e1 behind the
 *     replica   e1 --------> e2 --->                  earlier of the two ends of e1
 *
 * A replica is *whole* when it has had all that its master has had. While it is not, its `base`
 * says up to where it was when it last was: nothing behind that was ever confirmed on its account.
 * If it must lead all the same it goes back there, for what lies behind may have holes, and then
 * the last number of a producer would say nothing. Pure; one thread.
 */
#ifndef WARREN_MIRROR_HISTORY_H
#define WARREN_MIRROR_HISTORY_H

#include "base/wire.h"
#include "mirror/producers.h"

/* A position names its priority in the uppermost octet (see qstore.h). */
#define MIRROR_PRIORITY_SHIFT 56u
static inline uint64_t mirror_priority_base(uint64_t position)
{
    return position >> MIRROR_PRIORITY_SHIFT << MIRROR_PRIORITY_SHIFT;
}

static inline uint64_t mirror_priority_last(unsigned priority)
{
    return (uint64_t)priority << MIRROR_PRIORITY_SHIFT |
           (((uint64_t)1 << MIRROR_PRIORITY_SHIFT) - 1);
}

/* For each priority that was ever used the next position, in order. Zeros are none. */
#define MIRROR_STARTS_MAX 256u
struct mirror_starts {
    uint64_t *items;
    uint32_t count;
};

void mirror_starts_fini(struct mirror_starts *s);
void mirror_starts_copy(struct mirror_starts *to, const struct mirror_starts *from);

/* Of the priority that this position is of: positions below it come before. */
uint64_t mirror_starts_of(const struct mirror_starts *s, uint64_t position);
static inline bool mirror_starts_has(const struct mirror_starts *s, uint64_t position)
{
    return position < mirror_starts_of(s, position);
}

/* Its priority's next position is this one at least. */
void mirror_starts_raise(struct mirror_starts *s, uint64_t next);
/* In each priority the lower of the two. */
void mirror_starts_lower(struct mirror_starts *s, const struct mirror_starts *than);
/* In no priority above. */
bool mirror_starts_within(const struct mirror_starts *s, const struct mirror_starts *of);

struct mirror_epoch {
    uint64_t epoch;
    struct mirror_starts starts;
    struct producers producers; /* as they were then; none if they were too many to be kept */
};

#define MIRROR_EPOCHS_MAX          16u
#define MIRROR_EPOCH_PRODUCERS_MAX 256u /* kept of each but the newest epoch */

/* Zeros are a queue that nothing is known of: whole, and empty. */
struct mirror_history {
    struct mirror_epoch *epochs; /* eldest first */
    uint32_t count;
    bool is_partial; /* not whole: base means something */
    struct mirror_starts base;
    struct producers base_producers;
    struct producers now; /* of all that is here */
};

void mirror_history_fini(struct mirror_history *h);
void mirror_history_copy(struct mirror_history *to, const struct mirror_history *from);

/* Where the newest begins; there is one. */
static inline const struct mirror_starts *mirror_history_starts(const struct mirror_history *h)
{
    return &h->epochs[h->count - 1].starts;
}

/* The newest; 0: none. */
uint64_t mirror_history_epoch(const struct mirror_history *h);

/* This replica's own epoch begins; `next` are its next positions. Positions that it gives from now
 * on are not below the epoch's starts, which may be higher. */
void mirror_history_begin(struct mirror_history *h, uint64_t epoch,
                          const struct mirror_starts *next);

/* A master with this history is followed from now on. True: what is here at or behind *cut is to
 * go. *cut is the caller's. */
MUST_CHECK bool mirror_history_join(struct mirror_history *h, const struct mirror_history *master,
                                    const struct mirror_starts *next, struct mirror_starts *cut);

/* A message of this producer has come to a position here. */
void mirror_history_saw(struct mirror_history *h, uint64_t position, uint64_t pid, uint64_t seq);

/* All that the master has had is here. */
void mirror_history_whole(struct mirror_history *h, const struct producers *master_now);

/* This replica is to lead. True: what is here at or behind *cut is to go. */
MUST_CHECK bool mirror_history_back(struct mirror_history *h, struct mirror_starts *cut);

/* ---- as octets, for the wire and for the journal ------------------------------------------------
 */

size_t mirror_starts_size(const struct mirror_starts *s);
void mirror_starts_put(struct wire_out *w, const struct mirror_starts *s);
MUST_CHECK bool mirror_starts_take(struct wire *w, struct mirror_starts *out);
size_t producers_size(const struct producers *p);
void producers_put(struct wire_out *w, const struct producers *p);
MUST_CHECK bool producers_take(struct wire *w, struct producers *out);

/* `all`: also what is beside the epochs. False: malformed; *out is empty then. */
size_t mirror_history_size(const struct mirror_history *h, bool all);
void mirror_history_put(struct wire_out *w, const struct mirror_history *h, bool all);
MUST_CHECK bool mirror_history_take(struct wire *w, bool all, struct mirror_history *out);

#endif
