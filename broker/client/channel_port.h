/*
 * channel_port: what port.c calls on a channel. Implemented by channel.c and its neighbours.
 */
#ifndef WARREN_CHANNEL_PORT_H
#define WARREN_CHANNEL_PORT_H

#include "port.h"

/* The channel that is meant, or NULL when it is gone (or another one has its number by now). */
struct channel *channel_find(struct shard *s, const struct port_channel_ref *ref);

/* May the consumer be handed one more message now? */
bool channel_has_room(struct channel *ch, uint64_t consumer);

/* Send one to the client. The message is borrowed. */
void channel_deliver(struct channel *ch, uint64_t consumer, uint64_t qseq, struct message *m,
                     bool redelivered);

/* The same from another shard, where room was not asked for: false when it cannot be taken now.
 * Then everything for this consumer is refused until channel_on_resumed, so that order is kept. */
MUST_CHECK bool channel_offer(struct channel *ch, uint64_t consumer, const struct port_handed *as,
                              struct message *m, bool redelivered);
void channel_on_resumed(struct channel *ch, uint64_t consumer);

/* Of what it was woken for, the consumer has got all there is now. */
void channel_on_served(struct channel *ch, uint64_t consumer);

void channel_on_answer(struct channel *ch, struct port_request *r);
/* `ok` is false when a queue refused it. */
void channel_on_published(struct channel *ch, uint64_t number, bool ok);
/* `count` publishes, the first with this number, are safe in queues that took them. */
void channel_on_durable(struct channel *ch, uint64_t first, uint32_t count);

/* One of those that port_fence asked has done what it was told, or that is lost. The channel may be
 * gone. */
void channel_on_fenced(struct shard *s, const struct port_channel_ref *ref, bool is_lost);

/* An answer for whoever consumes under this address of direct reply-to; the message is borrowed. */
struct reply_address;
void channel_reply(struct shard *s, const struct reply_address *to, struct message *m);
bool channel_takes_replies(struct shard *s, const struct reply_address *to);
void channel_on_reply_known(struct channel *ch, bool known);

/* The queue of this consumer is gone. */
void channel_on_cancelled(struct channel *ch, uint64_t consumer);

/* The queue of this consumer goes on, but not where it was: it is carried over to there, unless it
 * wants to be cancelled then. It is subscribed by a request that is `carried`, whose answer comes
 * by the second; the third: is it still wanted? */
void channel_on_moved(struct channel *ch, uint64_t consumer);
void channel_on_carried(struct channel *ch, struct port_request *r);
bool channel_has_consumer(const struct channel *ch, uint64_t consumer);

/* The same of a channel that has ended meanwhile: what it had said of its claims is said now, and
 * the rest goes back. False: it had none. port_settled follows. */
MUST_CHECK bool channel_claims_end(struct shard *s, const struct port_request *r);

/* A forwarded publish has been taken by its queue: its connection may go on. */
void connection_on_forwarded(struct shard *s, uint64_t connection, uint64_t octets);

#endif
