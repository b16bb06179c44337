/*
 * publishes: what a client has published on a channel without knowing yet what became of it.
 *
 * With confirms a message is settled when its confirm has passed. Without, it is when a question
 * that was asked behind it has been answered: the broker has taken it then, and more is never
 * promised. A channel whose messages are all settled can go on at another broker, which numbers its
 * confirms from 1 again. Pure, but for memory.
 */
#ifndef WARREN_PUBLISHES_H
#define WARREN_PUBLISHES_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Confirms that overtake an older one are remembered so far from it; what is beyond that is not
 * followed, and such a channel never goes on elsewhere. */
#define PUBLISHES_AHEAD_MAX 65536u

struct publishes {
    bool confirms;   /* since confirm.select */
    bool is_open;    /* without confirms: not settled */
    bool is_behind;  /* ... and nothing was asked since the last one */
    bool is_lost;    /* what is settled is not known any more */
    uint64_t said;   /* with confirms: messages */
    uint64_t upto;   /* all up to this one are settled */
    uint64_t before; /* those that were said to earlier brokers */
    uint64_t *ahead; /* a bit for each message behind `upto` that is settled, by its number */
    size_t cap;      /* bits: a power of two, or 0 */
};

void publishes_fini(struct publishes *p);

/* The client says confirm.select. */
static inline void publishes_select(struct publishes *p)
{
    p->confirms = true;
}

/* The client publishes. */
static inline void publishes_add(struct publishes *p)
{
    p->said += p->confirms;
    p->is_open |= !p->confirms;
    p->is_behind = true;
}

/* The client asks something of the broker that it publishes to; and has all its answers from
 * there. */
static inline void publishes_ask(struct publishes *p)
{
    p->is_behind = false;
}

static inline void publishes_answer(struct publishes *p)
{
    p->is_open &= p->is_behind;
}

/* The broker confirms, or refuses: the client's number for it. */
uint64_t publishes_settle(struct publishes *p, uint64_t tag, bool multiple);

/* Does the client know what became of all that it published? */
bool publishes_are_settled(const struct publishes *p);

/* They are settled, and what comes goes to another broker. */
void publishes_move(struct publishes *p);

#endif
