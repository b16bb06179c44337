/*
 * split_inner: what split and recover have in common.
 */
#ifndef WARREN_SPLIT_INNER_H
#define WARREN_SPLIT_INNER_H

#include "split.h"

struct server;

#define SPLIT_NONE LEG_MAP_LEGS_MAX

/* Why the channel ends: what the client is told when all legs are closed. */
struct split_why {
    uint16_t code;
    uint32_t cause;
    size_t len;
    uint8_t text[UINT8_MAX];
};

struct split {
    struct leg_map *map;
    struct leg *legs[LEG_MAP_LEGS_MAX]; /* by the map's numbers; the first is the channel's own */
    unsigned speaker; /* whose message the client is in the middle of, with several legs; or NONE */
    unsigned wish;    /* where the consume or get goes that a leg was hunted for, or NONE */
    struct split_why why;

    /* Said when the message is over that the client is in the middle of. */
    bool owes_cancel_ok;
    uint8_t cancelled_len; /* ... for this consumer */
    uint8_t cancelled[UINT8_MAX];
    bool owes_cancels; /* to consumers that wished it so (recover) */

    /* recover's */
    bool is_hunting;             /* for consumers that are astray... */
    const struct server *hunted; /* ... and whose queue is there; NULL: nobody knows where */
    const struct server *lost;   /* where the last leg was that went... */
    uint64_t lost_moves;         /* ... when masters had moved so often... */
    uint64_t lost_ms;            /* ... and when it was */
};

/* Is the client in the middle of a message? Nothing else is said on the channel then. */
bool split_is_speaking(const struct channel *c);

/* Out of the channel, but not of the map. */
void split_drop_leg(struct session *s, struct channel *c, struct leg *leg);

/* The channel's leg at the upstream, or at the server, or NULL. */
struct leg *split_leg_to(const struct channel *c, const struct upstream *owner,
                         const struct server *master);

/* As a whole: then it gets no more legs. */
bool split_is_limited(const struct channel *c);

#endif
