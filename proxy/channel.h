/*
 * channel: the client's half of one of its channels: what the client has said on it and still has
 * to say. The broker's half is its leg, which can go and be replaced while the channel stays.
 */
#ifndef WARREN_CHANNEL_H
#define WARREN_CHANNEL_H

#include "content.h"
#include "leg.h"
#include "place.h"
#include "publishes.h"

struct split;

/*
 *   OPENING -- open-ok --> OPEN
 *   both:  client closes -> CLOSING;  broker closes -> CLOSED
 *          CLOSING and CLOSED, when both sides close at once -> CROSSED -> whichever is left
 *   any:   the leg is gone and the session stays -> LOST: all is discarded until close-ok
 *   with several legs (split):  one fails -> ENDING, until the others are closed and the client is
 *          told -> LOST
 */
#define CHANNEL_STATES(X)                                                                          \
    X(OPENING, TO(OPEN) | TO(CLOSING) | TO(CLOSED) | TO(LOST))                                     \
    X(OPEN, TO(CLOSING) | TO(CLOSED) | TO(ENDING) | TO(LOST))                                      \
    X(CLOSING, TO(CROSSED) | TO(LOST))                                                             \
    X(CLOSED, TO(CROSSED) | TO(LOST))                                                              \
    X(CROSSED, TO(CLOSING) | TO(CLOSED) | TO(LOST))                                                \
    X(ENDING, TO(CLOSING) | TO(LOST))                                                              \
    X(LOST, 0)

enum channel_state {
#define X(name, moves) CHANNEL_##name,
    CHANNEL_STATES(X)
#undef X
};

struct channel {
    enum channel_state state;
    uint16_t number;
    struct leg *leg;        /* the main one; NULL: being looked for, none needed yet, or LOST */
    struct split *split;    /* several legs, or what it takes to have them; NULL: neither */
    bool is_spread;         /* there are several legs, or were: split numbers what passes */
    struct content publish; /* from the client */
    struct publishes publishes;
    uint32_t asked; /* the synchronous method that waits for its answer, or 0 */
    uint32_t owed;  /* answers that the client waits for */
    uint64_t opened_ms;
    struct place place; /* where its leg is to be */
};

/* Those on which the client can still do something. */
static inline bool channel_is_living(const struct channel *c)
{
    return c->state == CHANNEL_OPENING || c->state == CHANNEL_OPEN;
}

void channel_move(struct channel *c, enum channel_state to);
const char *channel_state_name(const struct channel *c);

#endif
