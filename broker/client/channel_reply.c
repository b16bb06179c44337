#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/channel.h"
#include "io/random.h"
#include "port_reply.h"

/* Answers to a client that does not read them are lost beyond this, as nothing else can be done
 * with them: no queue holds them, and who answers must not wait for who does not listen. */
#define UNREAD_MAX ((size_t)16 * 1024 * 1024)

/* A channel that consumes from amq.rabbitmq.reply-to. */
struct channel_reply_consumer {
    struct reply_address address;
    bool lost; /* an answer was lost, and said so */
    uint8_t tag_bytes;
    uint8_t tag[UINT8_MAX];
    uint8_t name[REPLY_TO_ADDRESS_BYTES];
};

struct slice channel_reply_name(const struct channel *ch)
{
    return ch->reply != NULL ? slice_of(ch->reply->name, sizeof ch->reply->name)
                             : slice_of(NULL, 0);
}

static bool is_tag(const struct channel_reply_consumer *rc, struct slice tag)
{
    return slice_eq(slice_of(rc->tag, rc->tag_bytes), tag);
}

/* ---- consuming
 * ------------------------------------------------------------------------------------------------
 */

static struct channel_reply_consumer *make(const struct channel *ch, struct slice tag)
{
    struct channel_reply_consumer *rc = mem_zalloc(sizeof *rc);
    rc->address.channel = channel_ref(ch);
    random_octets(rc->address.secret, sizeof rc->address.secret);
    reply_to_write(&rc->address, rc->name);
    rc->tag_bytes = channel_choose_tag(tag, rc->tag);
    return rc;
}

void channel_reply_consume(struct channel *ch, const struct amqp_basic_consume *m)
{
    if (!m->no_ack || ch->reply != NULL) {
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_BASIC_CONSUME,
                      m->no_ack ? "reply consumer already set"
                                : "reply consumer cannot acknowledge");
        return;
    }
    ch->reply = make(ch, m->consumer_tag);
    if (!m->nowait)
        channel_send(ch, &(struct amqp_method){ .id = AMQP_BASIC_CONSUME_OK,
                                                .basic_consume_ok = { slice_of(
                                                    ch->reply->tag, ch->reply->tag_bytes) } });
}

bool channel_reply_cancel(struct channel *ch, const struct amqp_basic_cancel *m)
{
    if (ch->reply == NULL || !is_tag(ch->reply, m->consumer_tag))
        return false;
    channel_reply_end(ch);
    if (!m->nowait)
        channel_send(ch, &(struct amqp_method){ .id = AMQP_BASIC_CANCEL_OK,
                                                .basic_cancel_ok = { m->consumer_tag } });
    return true;
}

void channel_reply_end(struct channel *ch)
{
    mem_free(ch->reply);
    ch->reply = NULL;
}

/* ---- answers come
 * ------------------------------------------------------------------------------------------------
 */

/* The channel of the address, if it consumes under it. */
static struct channel *channel_of(struct shard *s, const struct reply_address *to)
{
    struct channel *ch = channel_find(s, &to->channel);
    bool is_it = ch != NULL && ch->reply != NULL && reply_to_same_secret(&ch->reply->address, to);
    return is_it ? ch : NULL;
}

bool channel_takes_replies(struct shard *s, const struct reply_address *to)
{
    return channel_of(s, to) != NULL;
}

static void lose(struct channel *ch)
{
    shard_count(ch->conn->shard, replies_lost, 1);
    if (!ch->reply->lost)
        log_warn("channel", ch->conn->user,
                 "answers are lost: the client does not read them number=%u", ch->number);
    ch->reply->lost = true;
}

/* As RabbitMQ, an answer shows the next delivery tag and does not use it up. */
void channel_reply(struct shard *s, const struct reply_address *to, struct message *m)
{
    struct channel *ch = channel_of(s, to);
    if (ch == NULL || ch->conn->stream == NULL)
        return;
    if (stream_pending(ch->conn->stream) > UNREAD_MAX) {
        lose(ch);
        return;
    }
    ch->reply->lost = false;
    shard_count(s, delivered_auto, 1);
    channel_put_delivery(ch, slice_of(ch->reply->tag, ch->reply->tag_bytes), ch->unacked.next,
                         false, m);
}

/* ---- is somebody there?
 * ------------------------------------------------------------------------------------------------
 */

bool channel_reply_declare(struct channel *ch, struct slice name)
{
    if (LIKELY(!slice_starts(name, REPLY_TO_NAME)))
        return false;
    struct reply_address address;
    if (slice_is(name, REPLY_TO_NAME)) {
        channel_on_reply_known(ch, true);
    } else if (reply_to_read(name, &address)) {
        struct port_channel_ref from = channel_ref(ch);
        port_reply_ask(ch->conn->shard, &address, &from);
    } else {
        channel_on_reply_known(ch, false);
    }
    return true;
}
