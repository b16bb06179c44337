/*
 * shift: consumers go after the masters of their queues, when those were moved by plan.
 *
 * Their deliveries would take a hop from then on. So a consumer is cancelled at the broker that it
 * is at, and is astray when that has answered: recover subscribes it at the new master. What it was
 * delivered before stays outstanding where it came from, and the client settles it there; its limit
 * holds for both places together. The client hears nothing of that.
 *
 * Others could gain by a consumer that is not there for a moment: a queue would go with its last
 * one, or an exclusive one would lose its right. Those stay, and take the hop; whether a queue is
 * such a one its broker says (LOCATION_LOOSE).
 *
 * One that came back with less than its limit, since its client kept what it had, is subscribed
 * anew in the same way when that is settled, and its limit keeps it from more. No broker lets a
 * limit grow while deliveries are out: it has the whole one again when it has nothing for a moment.
 * So its client is given the time for that, once, which it took for what it kept before. If it
 * keeps something still, the consumer comes back with the rest. It is not away again then, but for
 * a round trip: when nothing is outstanding of it, or when its client has all that it may have
 * there and settles nothing. That one may wait for more, which it has a right to, before it does.
 */
#ifndef WARREN_SHIFT_H
#define WARREN_SHIFT_H

#include <stdint.h>

/* How often it is looked again while one cannot be asked to move yet. */
#define SHIFT_RETRY_MS 500u

/* How often a consumer whose client does not wait is taken off for its whole limit, after it has
 * moved. */
#define SHIFT_TOPS_MAX 2u

/* How long it is away at most for that, when its client settles nothing. */
#define SHIFT_PATIENCE_MAX_MS 10000u

struct session;

/* Masters may have moved. */
void shift_look(struct session *s);

/* A consumer is there with less than its limit. */
void shift_wish(struct session *s);

/* After how many ms to call again; UINT64_MAX: never. */
uint64_t shift_tick(struct session *s);

#endif
