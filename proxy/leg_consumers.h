/*
 * leg_consumers: the consumers of a channel, each at one of its legs, and what it takes to
 * subscribe them again.
 *
 * A consumer whose leg is gone is astray: it is at no leg, and the client still has it. It keeps
 * the fields of its consume for that. Pure, but for memory.
 */
#ifndef WARREN_LEG_CONSUMERS_H
#define WARREN_LEG_CONSUMERS_H

#include "amqp/amqp_method.h"
#include "base/attr.h"
#include "base/slice.h"
#include "leg_tags.h"

#include <stdbool.h>
#include <stdint.h>

/* Of a consume: the queue's name and the arguments. One with more, or that reads a
 * stream from an offset, cannot go astray. */
#define LEG_CONSUMERS_KEPT_MAX 4096u

#define LEG_CONSUMERS_ASTRAY   LEG_MAP_LEGS_MAX

struct server;

struct leg_consumer {
    struct leg_consumer *next; /* in the order of their consumes */
    uint8_t leg;               /* or ASTRAY */
    bool no_ack, no_local, exclusive;
    bool is_named;     /* else the broker is about to make up its name */
    bool is_told;      /* a consume of ours is under way: its answer is not the client's */
    bool is_going;     /* so is a cancel: it will be astray */
    bool is_bereft;    /* it is astray since its leg was lost */
    uint16_t prefetch; /* the limit by consumer that it began with */
    uint16_t given;    /* ... and what its leg was told, less what is outstanding elsewhere */
    uint16_t slot;     /* by which its deliveries are counted (leg_tags); 0: they are not */
    uint64_t since;    /* the client's last number when it was last said again */

    /* The caller's (shift, recover) */
    uint32_t seen;             /* what was outstanding... */
    uint64_t seen_last;        /* ... the client's number of the last of it... */
    uint64_t seen_ms;          /* ... and since when */
    uint64_t patience_ms;      /* how long that keeps it from coming back */
    uint64_t off_ms;           /* when it was taken off its leg, until it is said again; or 0 */
    const struct server *from; /* ... of which server, if it is to be at another; or NULL */
    uint64_t from_moves;       /* ... when masters had moved so often */
    uint64_t short_ms;         /* when it first came back with less than its limit */
    unsigned tops;             /* how often it was taken off since, for the whole limit */

    uint8_t tag_len;
    uint8_t tag[UINT8_MAX];
    uint8_t queue_len;
    uint16_t arguments_len;
    uint8_t *kept; /* the queue and then the arguments; NULL: it cannot be said again */
};

struct leg_consumers {
    struct leg_consumer *first;
    struct leg_consumer *recent; /* that was looked for; or NULL */
    unsigned count;
    unsigned astray;
    unsigned at[LEG_MAP_LEGS_MAX];
    bool had_ack, had_no_ack; /* of this kind there were ever some */
};

void leg_consumers_init(struct leg_consumers *l);
void leg_consumers_fini(struct leg_consumers *l);

/* NULL: there is none of that name. The second is quick when the same are looked for again. */
struct leg_consumer *leg_consumers_find(const struct leg_consumers *l, struct slice tag);
struct leg_consumer *leg_consumers_seek(struct leg_consumers *l, struct slice tag);

struct leg_consumer *leg_consumers_add(struct leg_consumers *l, unsigned leg,
                                       const struct amqp_basic_consume *q, uint16_t prefetch);

/* NULL is allowed. */
void leg_consumers_drop(struct leg_consumers *l, struct leg_consumer *c);

/* A name that nobody has is one that the broker made up for the oldest that has none there. */
void leg_consumers_learn_name(struct leg_consumers *l, unsigned leg, struct slice tag);

/* Could all that are at the leg be said again? */
bool leg_consumers_can_leave(const struct leg_consumers *l, unsigned leg);

/* They go astray; and are at another leg. */
void leg_consumers_leave(struct leg_consumers *l, unsigned leg);
void leg_consumers_leave_one(struct leg_consumers *l, struct leg_consumer *c);
void leg_consumers_rename_leg(struct leg_consumers *l, unsigned from, unsigned to);

/* One that is astray is about to be said again there; its consume, whose slices are its own. */
void leg_consumers_settle(struct leg_consumers *l, struct leg_consumer *c, unsigned leg);
struct amqp_basic_consume leg_consumer_method(const struct leg_consumer *c);

static inline struct slice leg_consumer_tag(const struct leg_consumer *c)
{
    return slice_of(c->tag, c->tag_len);
}

static inline struct slice leg_consumer_queue(const struct leg_consumer *c)
{
    return slice_of(c->kept, c->queue_len);
}

/* What must hold; for tests. */
void leg_consumers_check(const struct leg_consumers *l);

#endif
