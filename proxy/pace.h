/*
 * pace: how fast a client may publish: the `messages` and `bytes` of a frontend's `limit` lines.
 *
 * Each message takes its place in the line of its source, its user and its vhost (quota.h), and
 * the session's next message waits until that place is due: nothing more of the client is read
 * meanwhile, so that TCP slows it down, and heartbeats go on. No message is held in its middle.
 */
#ifndef WARREN_PACE_H
#define WARREN_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct run_frame;
struct session;

/* The client is in: is there anything to do for it? */
void pace_start(struct session *s);

/* A message is about to begin with this frame. True: not now; the client is held. */
bool pace_holds(struct session *s, const struct run_frame *f);

/* How much of the frame counts: of messages, for only they can be held. A consumer's
 * acknowledgements would have its publishers pay for what nobody slows down. */
size_t pace_octets(const struct session *s, const struct run_frame *f);

/* One has begun; so much that counts was taken from the client. */
void pace_published(struct session *s);
void pace_taken(struct session *s, size_t octets);

/* Goes on if it is time; after how many ms to call again, UINT64_MAX for never. */
uint64_t pace_tick(struct session *s);

#endif
