/*
 * split: a client's channel with a leg at each of several brokers (driver of leg_map).
 *
 * In a backend that routes by queues' masters a channel that consumes or gets from queues of
 * several masters has a leg at each of them; what it publishes and declares stays on the first one.
 * leg_map says what each side is to hear, and this file says it:
 *
 *  - From the first consume or get on the map is kept. While there is one leg it only counts, and
 *    frames pass by reference as on any other channel.
 *  - A further leg is hunted for when a consume or get names a queue of another master
 * (place_hunt); if there is none to be had, the broker of the first leg serves it, by a hop.
 *  - With several legs the client's methods are judged one by one. Deliveries get other numbers, in
 *    a copy of the method's frame; bodies pass by reference.
 *  - Messages of several brokers must not mix on the client's channel: an upstream whose next frame
 *    is for it is held while another leg is in the middle of a message, and speaks next.
 *  - When one leg fails, its broker is answered, the others are closed, and the client is told when
 *    they have answered: what it had of them is back in the queues then. Its own channel.close goes
 *    to all legs and is answered when all have answered.
 */
#ifndef WARREN_SPLIT_H
#define WARREN_SPLIT_H

#include "leg_map.h"
#include "run.h"

struct session;
struct channel;
struct leg;
struct upstream;
struct split;

/* Its legs but the main one go, without a word. A channel without any is allowed. */
void split_free(struct session *s, struct channel *c);

/* NULL: there is none of this number. */
struct leg *split_leg(const struct channel *c, unsigned number);
struct leg *split_leg_at(const struct channel *c, const struct upstream *u);

/* Is the client to have an answer from there, or the end of a message before that? */
bool split_owes(const struct channel *c, const struct upstream *u);

/* Consumers that wait to be subscribed again. */
unsigned split_astray_count(const struct channel *c);

/* Several, which are being closed. */
bool split_is_ending(const struct channel *c);

/* ---- what the client says -------------------------------------------------------------------- */

/* One leg, and a consume or get: PASS, HOMELESS or HELD. */
enum run_pass split_wish(struct session *s, struct channel *c, struct slice payload);

/* One leg, and any method but publish, channel.close and close-ok passes. */
void split_follow(struct session *s, struct channel *c, struct slice payload);

/* Several, and any method but publish: PASS (to *to), DROP, SEEN_TO, HOMELESS or HELD. */
enum run_pass split_client(struct session *s, struct channel *c, const struct run_frame *f,
                           struct upstream **to);

/* They are ending, and any frame: PASS, LAST (then close_main follows), DROP or SPLIT. */
enum run_pass split_ending(struct channel *c, const struct run_frame *f, struct upstream **to);
void split_close_main(struct channel *c);

/* ---- what a broker says ---------------------------------------------------------------------- */

/* Octets that stand elsewhere in a payload than the broker said. */
struct split_patch {
    size_t at;
    uint8_t octets[8];
};

/* May the leg speak now? PASS; HELD: its upstream is paused; SPLIT: it never may. */
enum run_pass split_turn(struct session *s, struct channel *c, const struct leg *leg);

/* One leg, and any method of its broker's passes. */
void split_count(struct session *s, struct channel *c, struct slice payload);

/* Several, and a method of the leg's: PASS, NUMBER, DROP or SPLIT. */
enum run_pass split_broker(struct session *s, struct channel *c, struct leg *leg,
                           struct slice payload, struct split_patch *patch);

/* The frame for which one of the above said SPLIT, when what came before it has gone to the client.
 * The channel, or the session, may be over then. */
void split_judge(struct session *s, struct upstream *u, const struct run_frame *f);

/* A header or body: PASS, LAST (then say_owed follows) or DROP. */
enum run_pass split_content(struct session *s, struct channel *c, const struct leg *leg);

/* The message is over, and has gone to the client. */
void split_say_owed(struct session *s, struct channel *c);

/* ---- legs that come and go ------------------------------------------------------------------- */

/* What was hunted for is found, or what there is instead: the leg there, or the main one. */
struct leg *split_attach(struct session *s, struct channel *c, struct upstream *u);

/* The leg is gone, and its end cannot be hidden (recover.h). The channel may be over then. */
void split_lose(struct session *s, struct channel *c, struct leg *leg, const char *why);

#endif
