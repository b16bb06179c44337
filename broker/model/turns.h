/*
 * turns: whose turn it is among the consumers of a queue.
 *
 * Those that may be able to take a message wait, the others rest. Of those that wait the ones with
 * the highest priority come first, and among these they take turns. The usual consumers have
 * priority 0, whose list costs nothing to find; other priorities have lists made while somebody
 * waits in them. One thread.
 */
#ifndef WARREN_TURNS_H
#define WARREN_TURNS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct consumer;
struct turn_list;

TAILQ_HEAD(consumer_list, consumer);

struct turns {
    struct consumer_list plain; /* wait, with priority 0 */
    struct consumer_list resting;
    struct turn_list **others; /* wait, with another one; the highest first */
    size_t other_count;
    size_t other_cap;
};

/* In place: it does not move afterwards. */
void turns_init(struct turns *t);
void turns_fini(struct turns *t); /* no consumer is left */

/* Comes as the last of its priority, waiting; goes. */
void turns_add(struct turns *t, struct consumer *c);
void turns_remove(struct turns *t, struct consumer *c);

/* The one whose turn it is, or NULL when none waits. */
struct consumer *turns_first_of_any(const struct turns *t);
static inline struct consumer *turns_first(const struct turns *t)
{
    return LIKELY(t->other_count == 0) ? TAILQ_FIRST(&t->plain) : turns_first_of_any(t);
}

/* It waits and had its turn: to the end of its priority. */
void turns_next(struct turns *t, struct consumer *c);

/* It waits, and rests from now on; it rests, and waits from now on. */
void turns_rest(struct turns *t, struct consumer *c);
void turns_wake(struct turns *t, struct consumer *c);

/* Any of all. */
struct consumer *turns_any(const struct turns *t);

#endif
