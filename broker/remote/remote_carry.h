/*
 * remote_carry: clients of this shard keep what they have with a mirrored queue when another node
 * becomes its master: because the one that was has died, or was told to give it away.
 *
 *   publishes   remote_lane.h keeps them and sends them again, to whichever shard or node it is
 *   consumers   are subscribed again there (channel_on_moved asks), by a new id; what they hold is
 *               theirs there, too, if the move was planned (mirrored_handed.h). Else it is handed
 *               out again by the new master, their acknowledgements of it mean nothing
 *   requests    that found no master, or were lost with it, are asked again
 *
 * The latter two wait for a master for as long as publishes do, then they are answered that its
 * node is down. Part of remote.h; on the shard's thread.
 */
#ifndef WARREN_REMOTE_CARRY_H
#define WARREN_REMOTE_CARRY_H

#include "port.h"

struct remote_carry;
struct remote_lane;

struct remote_carry *remote_carry_new(struct shard *s);
void remote_carry_free(struct remote_carry **c);

/* Does it concern this queue: has it mirrors, or had it some when something was published that is
 * not answered? */
bool remote_carries(const struct shard *s, const struct meta_queue *q);

/* As port_publish, for those; channel_on_published tells. And once the message is with all its
 * queues. */
void remote_carry_publish(struct shard *s, const struct meta_queue *to, struct message **m,
                          const struct port_channel_ref *from, uint64_t number);
void remote_carry_published(struct shard *s);

/* A message that a producer had published to this queue under that number, and that was in
 * quarantine since: once more, whether the queue has mirrors or not. The answer is a letter's of
 * this number. Takes the reference; it is published when this returns. */
struct lane_number;
void remote_carry_requeue(struct shard *s, const struct meta_queue *to, struct message **m,
                          uint64_t number, const struct lane_number *as);

/* A request of a channel here came back: is it to be asked again? Then that is done. */
MUST_CHECK bool remote_carry_wants(const struct shard *s, const struct port_request *r);
void remote_carry_ask(struct shard *s, struct port_request **r);

/* A session with another node has ended. */
void remote_carry_on_lost(struct shard *s, uint16_t node);

/* The lane stands for a session of its own: is it this one? It is told as a session would be. */
struct remote_lane *remote_carry_lane(const struct shard *s, const struct port_channel_ref *ref);

void remote_carry_look(struct shard *s);
void remote_carry_flush(struct shard *s);

#endif
