#include "port_reply.h"

#include "base/mem.h"
#include "broker.h"
#include "client/channel_port.h"
#include "model/message.h"

struct reply_mail {
    struct mail mail;
    struct shard *from;
    struct shard *to;
    struct reply_address address;
    struct port_channel_ref sender;
    struct message *message; /* a reference; NULL: it is only asked for */
    uint64_t octets;
    bool known;
};

/* The shard of an address; NULL when it names none of ours. */
static struct shard *shard_of(const struct shard *s, const struct reply_address *a)
{
    uint32_t index = shard_of_id(a->channel.connection);
    if (node_of_id(a->channel.connection) != broker_node(s->broker))
        return NULL;
    return index < broker_shard_count(s->broker) ? broker_shard(s->broker, index) : NULL;
}

static void on_back(struct mail *mail)
{
    struct reply_mail *r = CONTAINER_OF(mail, struct reply_mail, mail);
    if (r->octets != 0) {
        connection_on_forwarded(r->from, r->sender.connection, r->octets);
    } else {
        struct channel *ch = channel_find(r->from, &r->sender);
        if (ch != NULL)
            channel_on_reply_known(ch, r->known);
    }
    mem_free(r);
}

static void on_arrival(struct mail *mail)
{
    struct reply_mail *r = CONTAINER_OF(mail, struct reply_mail, mail);
    if (r->message != NULL) {
        channel_reply(r->to, &r->address, r->message);
        shard_message_drop(r->to, &r->message);
    } else {
        r->known = channel_takes_replies(r->to, &r->address);
    }
    r->mail.fn = on_back;
    mailbox_post(r->from->loop, &r->mail);
}

static void send(const struct reply_mail *given)
{
    struct reply_mail *r = mem_dup(given, sizeof *given);
    r->mail.fn = on_arrival;
    mailbox_post(r->to->loop, &r->mail);
}

bool port_reply(struct shard *s, const struct reply_address *to, struct message *m,
                const struct port_channel_ref *from)
{
    struct shard *there = shard_of(s, to);
    if (there == NULL)
        return true;
    if (there == s) {
        channel_reply(s, to, m);
        return true;
    }
    send(&(struct reply_mail){ .from = s,
                               .to = there,
                               .address = *to,
                               .sender = *from,
                               .message = message_ref(m),
                               .octets = message_cost_bytes(m) });
    return false;
}

void port_reply_ask(struct shard *s, const struct reply_address *to,
                    const struct port_channel_ref *from)
{
    struct shard *there = shard_of(s, to);
    if (there == NULL || there == s) {
        bool known = there != NULL && channel_takes_replies(s, to);
        channel_on_reply_known(channel_find(s, from), known);
        return;
    }
    send(&(struct reply_mail){ .from = s, .to = there, .address = *to, .sender = *from });
}
