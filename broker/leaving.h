/*
 * leaving: the last words of other nodes' channels, when this node stops in an order.
 *
 * Its mirrored queues are given away by the entry that says that it is stopped, and whoever uses
 * them hears of it a moment later. What was settled in between is on its way here. So all sessions
 * are asked to say what they have to say (REMOTE_LEAVING); that goes on to the next masters, which
 * hold what is out for those who settle it (mirrored_handed.h). Without this messages that were
 * acknowledged would come back, redelivered.
 *
 *                       each shard, in rounds:
 *     control thread ---> asks its sessions, passes on what they say, ---> done
 *                         looks whether that is out
 *
 * What a session says may be about a queue of another shard, which hears of it at the turn's end:
 * hence more than one round. Each shard looks again until it is so, for LEAVING_MS together; after
 * that whoever has not answered is left.
 */
#ifndef WARREN_LEAVING_H
#define WARREN_LEAVING_H

struct broker;
struct leaving;

/* On the control thread; the shards run. `done` comes there, once. */
struct leaving *leaving_begin(struct broker *b, void (*done)(void *arg), void *arg);

/* When no loop runs any more; NULL is fine. */
void leaving_free(struct leaving **leaving);

#endif
