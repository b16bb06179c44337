/*
 * port_reply: from a publish to the channel that an address of direct reply-to stands for, on
 * whatever shard that is. See client/reply_to.h.
 *
 * An answer is not stored anywhere: it reaches a channel that consumes under this very address, or
 * nobody. Answers to one channel keep their order. All calls on the thread of the shard named
 * first.
 */
#ifndef WARREN_PORT_REPLY_H
#define WARREN_PORT_REPLY_H

#include "client/reply_to.h"

/* Bring it a message, borrowed. False when it is on its way to another shard: then
 * connection_on_forwarded tells the publisher's connection when it has arrived. */
bool port_reply(struct shard *s, const struct reply_address *to, struct message *m,
                const struct port_channel_ref *from);

/* Is there such a channel? channel_on_reply_known answers, perhaps before this returns. */
void port_reply_ask(struct shard *s, const struct reply_address *to,
                    const struct port_channel_ref *from);

#endif
