/* What a channel is told and a simulated client does not care about: it has always room, nobody
 * answers it, and it counts no octets. */
#include "client/channel_port.h"
#include "client/connection.h"

bool channel_has_room(struct channel *ch, uint64_t consumer)
{
    (void)ch;
    (void)consumer;
    return true;
}

void channel_on_resumed(struct channel *ch, uint64_t consumer)
{
    (void)ch;
    (void)consumer;
}

void channel_on_served(struct channel *ch, uint64_t consumer)
{
    (void)ch;
    (void)consumer;
}

void channel_reply(struct shard *s, const struct reply_address *to, struct message *m)
{
    (void)s;
    (void)to;
    (void)m;
}

bool channel_takes_replies(struct shard *s, const struct reply_address *to)
{
    (void)s;
    (void)to;
    return false;
}

void channel_on_reply_known(struct channel *ch, bool known)
{
    (void)ch;
    (void)known;
}

void connection_on_forwarded(struct shard *s, uint64_t connection, uint64_t octets)
{
    (void)s;
    (void)connection;
    (void)octets;
}
