/*
 * leg_map_inner: what the files of leg_map share. Internal to leg_map.
 *
 *     leg_map.c       what the client says, and the brokers
 *     leg_map_legs.c  legs that come and go, and consumers that change theirs
 */
#ifndef WARREN_LEG_MAP_INNER_H
#define WARREN_LEG_MAP_INNER_H

#include "leg_map.h"

#define GETS_MAX 64u

struct leg_state {
    unsigned recovers; /* recover-ok that are to come: what it delivers before that is not ours */
    unsigned going;    /* cancel-ok that are to come to cancels of ours */
};

struct leg_map {
    struct leg_state legs[LEG_MAP_LEGS_MAX];
    unsigned leg_count; /* numbers that are, or were, taken */
    unsigned present;   /* a bit for each leg that is there */
    bool is_fixed;
    bool is_limited; /* as a whole: no more legs, until the limit is lifted */
    bool has_tx;     /* no more legs */
    struct leg_tags tags;

    struct leg_consumers consumers;
    uint16_t prefetch; /* by consumer, for those that come */

    unsigned pending; /* answers that the client waits for, with one leg */
    uint64_t gets;    /* gets among them: 1 for those with acks, the oldest in the lowest bit */
    unsigned gets_count;
    uint32_t asked;      /* with several: the question, or 0 */
    unsigned asked_legs; /* a bit for each leg that has not answered */
    bool asked_quietly;  /* the client does not wait for it */
};

static inline bool leg_map_is_present(const struct leg_map *m, unsigned leg)
{
    return (m->present >> leg & 1) != 0;
}

/* NULL is allowed. */
void leg_map_drop_consumer(struct leg_map *m, struct leg_consumer *c);

/* The leg's next answer to a cancel is one to ours. */
static inline bool leg_map_is_taking_off(const struct leg_map *m, unsigned leg)
{
    return m->legs[leg].going != 0;
}

/* ... and has come: the consumer is astray. */
void leg_map_taken_off(struct leg_map *m, unsigned leg, struct slice tag);

#endif
