/*
 * producers: who has published what to a queue, so that nothing is taken twice, and who may.
 *
 * Each producer numbers what it publishes, rising; a queue keeps the last number (`seq`) it has
 * taken of each (`pid`): what comes with that or a lower one is there already. That is only sound
 * if a number never overtakes an earlier one: so each hop numbers what it passes on, too (`n`), on
 * a *path* that rises each time the producer begins anew. On a new path only n = 1 is taken, then
 * one after the other; after anything else that path is broken until the next one.
 *
 * Bounded: a queue forgets the producer that it has not heard of for longest. Pure; one thread.
 */
#ifndef WARREN_PRODUCERS_H
#define WARREN_PRODUCERS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRODUCERS_MAX 16384u /* of one queue */

struct producer {
    uint64_t pid;
    uint64_t seq;  /* the last */
    uint64_t used; /* when, by the count of what was taken */
};

/* Zeros are an empty one. */
struct producers {
    struct producer *items; /* by pid */
    uint32_t count;
    uint32_t cap;
    uint64_t clock;
};

void producers_fini(struct producers *p);
void producers_copy(struct producers *to, const struct producers *from);

/* The last number of this producer; 0: none is known. */
uint64_t producers_last(const struct producers *p, uint64_t pid);

/* This one was taken. A number below the last one changes nothing. */
void producers_saw(struct producers *p, uint64_t pid, uint64_t seq);

/* The producer has ended. */
void producers_forget(struct producers *p, uint64_t pid);

/* ---- paths -------------------------------------------------------------------------------------
 */

struct producer_path {
    uint64_t path; /* 0: none yet */
    uint64_t n;    /* the last that was taken on it */
    bool is_broken;
};

enum producer_verdict {
    PRODUCER_NEXT,   /* take it */
    PRODUCER_BROKEN, /* nothing more is taken on this path: say so */
    PRODUCER_LATE,   /* of a path that was left: say nothing */
};

MUST_CHECK enum producer_verdict producer_path_take(struct producer_path *p, uint64_t path,
                                                    uint64_t n);

/* Something of it could not be taken, or what was may be lost, since this node does not master the
 * queue any more in which it was: neither can what follows. */
void producer_path_break(struct producer_path *p);

#endif
