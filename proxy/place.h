/*
 * place: which broker is to carry a client's channel, in a backend that routes by queues' masters.
 *
 * A channel is open for its client before any broker knows of it; its leg is opened with the first
 * method that needs a broker, at the master of the queue that the method names. What only prepares
 * the channel before that (basic.qos, confirm.select) is answered here, and told to the broker when
 * the leg is opened. Every broker serves every queue, so a wrong place costs a hop and no more; but
 * exclusive queues belong to the connection that declared them, whose upstream is remembered by the
 * queue's name.
 */
#ifndef WARREN_PLACE_H
#define WARREN_PLACE_H

#include "amqp/amqp_spec.h"
#include "base/attr.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct amqp_method;
struct session;
struct channel;
struct leg;
struct server;
struct upstream;

/* Exclusive queues that a session remembers. With more than that, all that it opens from then on
 * goes to the upstream that had the first of those that were left out. */
#define PLACE_OWNED_MAX 1024u

/* How operations go. */
#define PLACE_WAYS(X)                                                                              \
    X(STRAIGHT, "straight") /* to the queue's master */                                            \
    X(HOP, "hop")           /* to another broker, which passes it on */                            \
    X(UNKNOWN, "unknown")   /* no queue is named, or nobody knows where it is */

enum place_way {
#define X(name, word) PLACE_##name,
    PLACE_WAYS(X)
#undef X
        PLACE_WAY_COUNT
};

/* Longer methods than this are looked up each time. */
#define PLACE_MEMO_MAX 60u

/* A channel that publishes so often by a hop to one server goes there. */
#define PLACE_IN_TURN 8u

/* When a channel was last to follow its publishes. */
struct place_tries {
    uint64_t moves; /* masters had moved so often */
    uint32_t news;  /* and that often brokers had said otherwise where messages land */
    uint32_t at_s;
    bool any;
};

/* It goes again when masters have moved; and after its publishes to exchanges (`is_led`) when
 * brokers say otherwise, but then only once in a while. Their news come all the time, and a channel
 * that publishes to several masters, or one whose user is refused there, would come and go with
 * each of them. */
#define PLACE_REST_S 10u
MUST_CHECK bool place_may_try(struct place_tries *t, bool is_led, uint64_t moves, uint32_t news,
                              uint32_t now_s);

/* A channel's part of it. */
struct place {
    const struct server *at; /* a method that went there... */
    const struct server *to; /* ... is a publish that should have gone there; or NULL */
    uint64_t moves;          /* ... when masters had moved so often... */
    uint32_t news;           /* ... and leads, for one to an exchange (is_led)... */
    bool is_led;
    uint8_t memo_len;             /* 0: nothing is kept */
    uint8_t way;                  /* ... went this way */
    uint8_t memo[PLACE_MEMO_MAX]; /* the last publish's, whole */
    bool confirms;                /* confirm.select, for the leg that is to come */
    bool has_qos[2];              /* and basic.qos, also for further legs: by consumer, global */
    bool names_exclusive; /* an exclusive queue is declared whose name the broker makes up */
    bool has_tx;          /* tx.select: no further legs */
    bool is_stopped;      /* by channel.flow, which a new leg would not know */
    bool keeps_one;       /* nor if the client does what cannot be followed */
    bool has_published;
    bool has_nameless; /* a queue whose name the broker makes up, which can be meant without it */
    bool wants_move;   /* its publishes take a hop (follow.h)... */
    uint8_t in_turn;   /* ... so many to there one after the other, or more */
    uint16_t prefetch[2];
    struct place_tries tries;
};

/* Exclusive queues of a session, and where they are. */
struct place_owned {
    struct place_owned *next;
    struct upstream *upstream;
    uint8_t name_len;
    uint8_t name[];
};

/* The queue that a client's method uses by its name, with publishes through the default exchange
 * among them; empty when there is none. `payload` begins with the method's number. */
struct slice place_queue(struct slice payload);

/* channel.open: the client is answered. */
void place_open(struct session *s, struct channel *c);

/* A method on a channel that has no leg yet. True: it needs no broker, and was taken; *c may be
 * gone. */
bool place_prepare(struct session *s, struct channel **c, struct slice payload);

/* Look for the leg that this method needs, the first or a further one; it may be there at once. An
 * empty payload: any. A publish to an exchange other than the default is wanted where most of its
 * queues are, as far as brokers have said. */
void place_hunt(struct session *s, struct channel *c, struct slice payload);

/* Where a queue is used best: *owner when it belongs to one of the session's upstreams, else
 * *master. False: neither is known. */
bool place_find(const struct session *s, struct slice queue, struct upstream **owner,
                const struct server **master);

/* The first leg is there and the broker was sent channel.open: it hears what was prepared; and a
 * further leg, which only has consumers and gets. */
void place_tell(struct channel *c);
void place_tell_confirms(const struct channel *c); /* one that becomes the first leg */
void place_tell_further(const struct channel *c, struct leg *leg);

/* A consume of the client's, once more; it had another limit by consumer then, maybe. */
void place_tell_consume(const struct channel *c, struct leg *leg, const struct amqp_method *consume,
                        uint16_t prefetch);

/* Is this the leg's answer to something that the client was answered long ago? */
bool place_is_told(struct leg *leg, uint32_t id);

/* One of these methods of the client's passes; and a broker's queue.declare-ok. */
static inline bool place_is_noted(uint32_t id)
{
    return id == AMQP_QUEUE_DECLARE || id == AMQP_QUEUE_DELETE || id == AMQP_BASIC_QOS ||
           id == AMQP_TX_SELECT || id == AMQP_CONFIRM_SELECT || id == AMQP_CHANNEL_FLOW;
}
void place_note(struct session *s, struct channel *c, uint32_t id, struct slice fields);
void place_note_named(struct session *s, struct channel *c, struct slice fields);

/* The upstream is gone, and its exclusive queues with it; NULL: all are. */
void place_forget(struct session *s, const struct upstream *u);

/* Count an operation on a queue by its way: the client's publish, consume or get goes to u. */
void place_count(struct session *s, struct channel *c, const struct upstream *u,
                 struct slice payload);

const char *place_way_word(enum place_way way);

#endif
