/*
 * leg_map: how a client's one channel is spread over several brokers' (core).
 *
 * It is told what the client and the brokers say on the channel, method by method, and says what
 * each of them is to hear, so that the client sees one channel:
 *
 *  - Deliveries have numbers of their own on each leg, and the client sees them numbered through in
 *    the order in which they pass. Its acks, nacks and rejects are translated back; one with
 *    `multiple` becomes one for each leg that has something up to that number. A number that is not
 *    outstanding is refused here as a broker would: a broker would name its own.
 *  - What is published stays on the main leg, the first one, with everything else that has an order
 *    to it: declarations, bindings, confirms, whose numbers then are the client's. Consumers and
 *    gets may be on other legs.
 *  - basic.qos, recover, channel.flow and transactions are said to all legs, and answered to the
 *    client when all have answered. A limit of the whole channel (global) is divided: a channel
 * that has one gets no more legs, nor does one with transactions.
 *  - A client that asks on without waiting for answers waits here for the one before, since answers
 *    of several brokers would overtake each other.
 *
 * While there is one leg nothing is rewritten: it only keeps count, and gives up (is_fixed) when
 * the client does what cannot be followed without being asked; then the channel keeps its one leg,
 * which costs hops and no more. It knows neither queues nor servers: the caller says which leg is
 * at a queue's master. It does not write: the caller does.
 */
#ifndef WARREN_LEG_MAP_H
#define WARREN_LEG_MAP_H

#include "amqp/amqp_method.h"
#include "base/attr.h"
#include "base/slice.h"
#include "leg_consumers.h"
#include "leg_tags.h"

#include <stdbool.h>
#include <stdint.h>

#define LEG_MAP_MAIN          0u
#define LEG_MAP_KEPT_MAX      65536u   /* deliveries from the oldest outstanding on, with one leg */
#define LEG_MAP_SPLIT_MAX     1048576u /* ... and with several; then the channel is closed, 506 */
#define LEG_MAP_CONSUMERS_MAX 4096u

struct leg_map;

/* Of a channel that has one leg, no consumer and nothing outstanding so far, and whose client waits
 * for so many answers and has set this limit by consumer. */
struct leg_map *leg_map_new(unsigned pending, uint16_t prefetch);
void leg_map_free(struct leg_map **m); /* NULL is allowed */

/* One leg for ever: the map is of no use any more. */
bool leg_map_is_fixed(const struct leg_map *m);
bool leg_map_is_split(const struct leg_map *m);

/* May there be another leg, now or when the client has its answers? */
bool leg_map_may_grow(const struct leg_map *m);

/* May a consume or get that the client says now go to a leg that is not there yet? */
bool leg_map_may_add(const struct leg_map *m);

/* Another leg: its number. It is to hear of the limit by consumer before anything else. Only when
 * may_add. */
unsigned leg_map_add(struct leg_map *m);
unsigned leg_map_count(const struct leg_map *m);

/* ---- legs that go ---------------------------------------------------------------------------- */

/* Is an answer to come from the leg? */
bool leg_map_owes(const struct leg_map *m, unsigned leg);

bool leg_map_has_consumers(const struct leg_map *m);

/* The leg has consumers, or deliveries that are outstanding. */
bool leg_map_is_used(const struct leg_map *m, unsigned leg);

/* Nothing is in flight on the leg: no delivery is outstanding there, no answer is awaited, and its
 * consumers could be said again. What is published is not known here. */
bool leg_map_can_lose(const struct leg_map *m, unsigned leg);

/* The leg is gone, which could be lost: its consumers are astray. From now on the map is used as
 * with several legs. The number may be another's then, but for the main leg's: the caller promotes
 * another, or, when none is left, sees to it that there is one before the client says anything but
 * channel.close. */
void leg_map_lose(struct leg_map *m, unsigned leg);
void leg_map_promote(struct leg_map *m, unsigned leg);
void leg_map_restore(struct leg_map *m);

/* Consumers that are astray: the first one, or the next one. */
unsigned leg_map_astray_count(const struct leg_map *m);
struct leg_consumer *leg_map_astray(const struct leg_map *m, const struct leg_consumer *after);

/* The client was told that it is cancelled. */
void leg_map_drop_astray(struct leg_map *m, struct leg_consumer *c);

/* The caller says its consume (leg_consumer_method) at the leg, with this limit: what it began
 * with, or less (leg_map_held); the answer is SILENCE. */
void leg_map_say_again(struct leg_map *m, struct leg_consumer *c, unsigned leg, uint16_t limit);

/* ---- consumers that are taken off their legs ------------------------------------------------- */

/* All of them: the first one, or the next one. */
struct leg_consumer *leg_map_consumer(const struct leg_map *m, const struct leg_consumer *after);

/* Could it be at another leg? An exclusive one could lose its right on the way; and not what could
 * not be said again. */
bool leg_map_is_movable(const struct leg_map *m, const struct leg_consumer *c);

/* ... and now? Not while an answer is under way. */
bool leg_map_may_take_off(const struct leg_map *m, const struct leg_consumer *c);

/* The caller cancels it at its leg, and waits for the answer, which is SILENCE: then it is astray.
 * What it was delivered is settled where that came from. From now on the map is used as with
 * several legs. */
void leg_map_take_off(struct leg_map *m, struct leg_consumer *c);

/* How much is outstanding of it, wherever it came from. */
uint32_t leg_map_held(const struct leg_map *m, const struct leg_consumer *c);

/* ... and of what it was delivered since it was last said again; the client's number of the last of
 * those, or 0. It walks what is outstanding on the channel. */
uint32_t leg_map_held_there(const struct leg_map *m, const struct leg_consumer *c, uint64_t *last);

/* Is it there with less than its limit? */
bool leg_map_is_short(const struct leg_consumer *c);

/* ---- what the client says -------------------------------------------------------------------- */

enum leg_map_verdict {
    LEG_MAP_PASS,      /* as it is, to the leg `to` */
    LEG_MAP_ALL,       /* as it is, to all legs */
    LEG_MAP_SAY,       /* not as it is: `method` to the leg `to`, or to all if that is TO_ALL */
    LEG_MAP_SETTLE,    /* `settle` instead: none for legs that have nothing of it */
    LEG_MAP_WAIT,      /* not now: an answer is to come first. Nothing has changed */
    LEG_MAP_REFUSE,    /* close the channel: code, text */
    LEG_MAP_CANCELLED, /* answer the cancel `method`: its consumer was astray */
    LEG_MAP_NOTHING,   /* the same, and it waits for no answer */
};

#define LEG_MAP_TO_ALL LEG_MAP_LEGS_MAX

struct leg_map_settle {
    unsigned leg;
    struct amqp_method method;
};

struct leg_map_said {
    enum leg_map_verdict verdict;
    unsigned to;
    struct amqp_method method; /* its slices are those of the payload */
    struct leg_map_settle settle[LEG_MAP_LEGS_MAX];
    unsigned settle_count;
    enum amqp_reply_code code;
    char text[64];
};

/* Of all methods but channel.close and close-ok. `wish` is the leg at the master of the queue that
 * a consume or get names; the main leg if that is not known. What is broken goes to the main leg.
 */
void leg_map_client(struct leg_map *m, struct slice payload, unsigned wish,
                    struct leg_map_said *out);

/* The same with one leg, to which all passes. */
void leg_map_follow(struct leg_map *m, struct slice payload);

/* ---- what a broker says ---------------------------------------------------------------------- */

enum leg_map_heard {
    LEG_MAP_HEAR,    /* the client hears it as it is */
    LEG_MAP_NUMBER,  /* with the delivery tag `tag`, which stands at `tag_at` in the payload */
    LEG_MAP_SILENCE, /* it does not */
    LEG_MAP_BURST, /* more is outstanding than can be kept: with several, close the channel, 506 */
};

/* Of all methods but channel.close and close-ok, and of answers to what the proxy itself has said.
 */
enum leg_map_heard leg_map_broker(struct leg_map *m, unsigned leg, struct slice payload,
                                  uint64_t *tag, size_t *tag_at);

/* What must hold; for tests. */
void leg_map_check(const struct leg_map *m);

#endif
