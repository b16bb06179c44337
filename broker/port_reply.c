#include "port_reply.h"

#include "base/mem.h"
#include "broker.h"
#include "client/channel_port.h"
#include "model/message.h"
#include "remote/remote.h"

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

static uint16_t node_of(const struct reply_address *a)
{
    return node_of_id(a->channel.connection);
}

static bool is_of_this_node(const struct shard *s, const struct reply_address *a)
{
    return node_of(a) == broker_node(s->broker);
}

/* The shard of an address; NULL when it names none of ours. */
static struct shard *shard_of(const struct shard *s, const struct reply_address *a)
{
    uint32_t index = shard_of_id(a->channel.connection);
    if (!is_of_this_node(s, a))
        return NULL;
    return index < broker_shard_count(s->broker) ? broker_shard(s->broker, index) : NULL;
}

static void tell_known(struct shard *s, const struct port_channel_ref *from, bool known)
{
    if (remote_is_session(from)) {
        remote_on_reply_known(s, from, known);
        return;
    }
    struct channel *ch = channel_find(s, from);
    if (ch != NULL)
        channel_on_reply_known(ch, known);
}

static void on_back(struct mail *mail)
{
    struct reply_mail *r = CONTAINER_OF(mail, struct reply_mail, mail);
    if (r->octets == 0)
        tell_known(r->from, &r->sender, r->known);
    else if (remote_is_session(&r->sender))
        remote_on_taken(r->from, &r->sender);
    else
        connection_on_forwarded(r->from, r->sender.connection, r->octets);
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
    if (!is_of_this_node(s, to) && !remote_is_session(from))
        return !remote_reply(s, node_of(to), to, m, from);
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
    if (!is_of_this_node(s, to) && !remote_is_session(from)) {
        if (!remote_reply_ask(s, node_of(to), to, from))
            tell_known(s, from, false);
        return;
    }
    struct shard *there = shard_of(s, to);
    if (there == NULL || there == s) {
        tell_known(s, from, there != NULL && channel_takes_replies(s, to));
        return;
    }
    send(&(struct reply_mail){ .from = s, .to = there, .address = *to, .sender = *from });
}
