/*
 * mirror_pace: how much of what is old goes to a mirror at a time.
 *
 * What a mirror lacks goes in slices between what is published meanwhile, and the next one leaves
 * when the one before was received: so what is published waits behind one slice at most, here, on
 * the way and there. A slice is as long as its round trip takes hardly longer than that of a short
 * one: it grows while that holds, and shrinks when it does not. One thread.
 */
#ifndef WARREN_MIRROR_PACE_H
#define WARREN_MIRROR_PACE_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

#define MIRROR_PACE_LEAST ((uint64_t)16 * 1024) /* octets of a slice, on any stream */
/* So much longer may the round trip take, or by a quarter: long ways vary by more. */
#define MIRROR_PACE_SLACK_US 200u

struct mirror_pace {
    uint64_t slice; /* octets of the next one */
    uint64_t most;
    uint64_t said; /* octets of the one that is being said, or is under way */
    uint64_t last; /* its last position */
    bool is_away;
    uint64_t left_us;
    /* The shortest round trip of late: of this while, and of the one before. */
    uint64_t least_us[2];
    uint64_t while_us; /* since when this one lasts; 0: there was none */
};

void mirror_pace_init(struct mirror_pace *p, uint64_t most);

/* The session is over. */
void mirror_pace_reset(struct mirror_pace *p);

static inline bool mirror_pace_has_room(const struct mirror_pace *p)
{
    return !p->is_away && p->said < p->slice;
}

void mirror_pace_said(struct mirror_pace *p, uint64_t pos, uint64_t bytes);

/* The turn's end. True: a slice leaves, and that it was received is to be told. */
MUST_CHECK bool mirror_pace_leaves(struct mirror_pace *p, uint64_t now_us);

/* All up to here was received. Moments are 0 where nobody tells them. */
void mirror_pace_received(struct mirror_pace *p, uint64_t pos, uint64_t now_us);

#endif
