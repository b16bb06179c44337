/*
 * vacate: a session leaves a broker that is being drained, before that sends its clients away.
 *
 * The broker's masters have gone to other nodes by then, and consumers went after them (shift).
 * What is left there is settled: deliveries as the client comes to it; confirms and answers while
 * the client is held for a moment, since one that always publishes would never have all of them.
 * Then the connection is closed in order: the answer says that the broker has dealt with all that
 * was said before. Its channels go on elsewhere, and the client hears nothing. When it ends without
 * that answer it is lost as any other, with what was under way.
 *
 * Who keeps deliveries, has exclusive queues there or does what cannot be followed stays until the
 * broker closes; and so do all when no other server can take them.
 */
#ifndef WARREN_VACATE_H
#define WARREN_VACATE_H

#include <stdbool.h>
#include <stdint.h>

struct session;
struct upstream;

#define VACATE_RETRY_MS 200u

/* A client is held so long at most, and goes on for as long before it is held again. */
#define VACATE_HOLD_MS 1000u

/* A broker may be drained, or have said something. */
void vacate_look(struct session *s);

/* After how many ms to call again; UINT64_MAX: never. */
uint64_t vacate_tick(struct session *s);

/* Is the client to wait? */
bool vacate_holds(const struct session *s);

/* The upstream that is being left has answered the goodbye: its channels leave it. */
void vacate_gone(struct session *s, const struct upstream *u);

#endif
