/*
 * confirm: publisher confirms of one channel: which publishes are safe, and how to say so with few
 * acknowledgements.
 *
 * Each publish gets the next number and waits for as many queues as it was routed to. What is done
 * is told in batches: one multiple ack up to the oldest that still waits, single ones for those
 * that were done behind it, nacks one by one. Every number is answered exactly once. Pure; one
 * thread.
 */
#ifndef WARREN_CONFIRM_H
#define WARREN_CONFIRM_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct confirm_slot;

struct confirm {
    uint64_t next;              /* the number of the next publish; the first is 1 */
    uint64_t base;              /* the oldest not yet done; slots are for base .. next - 1 */
    uint64_t owed;              /* the newest below base that was not answered singly */
    uint64_t told;              /* all up to here have been answered */
    struct confirm_slot *slots; /* a ring; only when something waits */
    size_t cap;
    size_t head;
    uint64_t *single; /* done behind one that waits, or failed: told one by one */
    size_t single_count;
    size_t single_cap;
};

void confirm_init(struct confirm *c);
void confirm_fini(struct confirm *c);

/* A publish that waits for `targets` answers (0: it is done at once). Returns its number. */
uint64_t confirm_begin(struct confirm *c, uint32_t targets);

/* One answer for it: `ok` false makes it a nack in the end. */
void confirm_answer(struct confirm *c, uint64_t number, bool ok);

/* Something to tell? */
static inline bool confirm_is_due(const struct confirm *c)
{
    return c->owed > c->told || c->single_count != 0;
}

/* Publishes that wait. */
static inline uint64_t confirm_waiting(const struct confirm *c)
{
    return c->next - c->base;
}

/* Tell all that is due, through `tell`: ack or nack of `number`, `multiple` for all untold ones up
 * to it. */
typedef void (*confirm_fn)(uint64_t number, bool multiple, bool ok, void *arg);
void confirm_tell(struct confirm *c, confirm_fn tell, void *arg);

#endif
