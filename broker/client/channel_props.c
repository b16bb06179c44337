#include "amqp/amqp_props.h"
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"
#include "client/channel.h"
#include "client/connection_login.h"
#include "client/expiration.h"
#include "port_reply.h"

#include <stdlib.h>

/* What the properties of a message ask for, besides being stored: further routing keys (CC and
 * BCC), an address for answers, and to be judged. In RabbitMQ's order, and in its words. */

/* ---- further keys
 * ------------------------------------------------------------------------------------------------
 */

/* Kept from one publish to the next. */
struct channel_keys {
    struct slice *more; /* good until the content goes */
    size_t more_count;
    size_t more_cap;
    struct reply_address *replies;
    size_t reply_count;
    size_t reply_cap;
};

void channel_keys_free(struct channel *ch)
{
    if (ch->keys == NULL)
        return;
    mem_free(ch->keys->more);
    mem_free(ch->keys->replies);
    mem_free(ch->keys);
    ch->keys = NULL;
}

static struct channel_keys *keys_of(struct channel *ch)
{
    if (ch->keys == NULL)
        ch->keys = mem_zalloc(sizeof *ch->keys);
    return ch->keys;
}

size_t channel_more_keys(const struct channel *ch, const struct slice **keys)
{
    *keys = ch->keys != NULL ? ch->keys->more : NULL;
    return ch->keys != NULL ? ch->keys->more_count : 0;
}

static void add_key(struct channel_keys *k, struct slice key)
{
    if (k->more_count == k->more_cap) {
        k->more_cap = k->more_cap != 0 ? k->more_cap * 2 : 8;
        k->more = mem_realloc(k->more, k->more_cap * sizeof *k->more);
    }
    k->more[k->more_count++] = key;
}

/* False when the header is no list: the channel was closed. */
static bool take_keys(struct channel *ch, struct slice headers, const char *name)
{
    struct amqp_field f;
    if (!amqp_table_find(headers, name, &f))
        return true;
    if (f.type != AMQP_FIELD_ARRAY) {
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_BASIC_PUBLISH,
                      "invalid message: {unacceptable_type_in_header,\"%s\",%s}", name,
                      amqp_field_type_name(f.type));
        return false;
    }
    struct amqp_table_iter it = amqp_array_iter_init(f.bytes);
    struct slice key;
    while (amqp_table_iter_next(&it, &f))
        if (amqp_field_as_longstr(&f, &key))
            add_key(ch->keys, key);
    return true;
}

/* ---- answers
 * ------------------------------------------------------------------------------------------------
 */

static void add_reply(struct channel_keys *k, struct slice key)
{
    struct reply_address a;
    if (!reply_to_read(key, &a))
        return;
    if (k->reply_count == k->reply_cap) {
        k->reply_cap = k->reply_cap != 0 ? k->reply_cap * 2 : 4;
        k->replies = mem_realloc(k->replies, k->reply_cap * sizeof *k->replies);
    }
    k->replies[k->reply_count++] = a;
}

static int compare(const void *a, const void *b)
{
    return reply_to_compare(a, b);
}

/* Only the default exchange knows the addresses, as it knows the names of queues. */
static void find_replies(struct channel *ch)
{
    struct channel_keys *k = ch->keys;
    if (ch->content.exchange.len != 0)
        return;
    add_reply(k, ch->content.key);
    for (size_t i = 0; i < k->more_count; i++)
        add_reply(k, k->more[i]);
    if (k->reply_count > 1)
        qsort(k->replies, k->reply_count, sizeof *k->replies, compare);
}

void channel_send_replies(struct channel *ch, struct message *m)
{
    const struct channel_keys *k = ch->keys;
    struct port_channel_ref from = channel_ref(ch);
    for (size_t i = 0; k != NULL && i < k->reply_count; i++) {
        bool again = i != 0 && compare(&k->replies[i - 1], &k->replies[i]) == 0;
        if (!again && !port_reply(ch->conn->shard, &k->replies[i], m, &from))
            ch->conn->forwarded_bytes += message_cost_bytes(m);
    }
}

/* ---- properties that change on the way
 * ------------------------------------------------------------------------------------------------
 */

/* The table without its first field of that name; `out` has room for all of it. */
static size_t copy_without(struct slice table, const char *name, uint8_t *out)
{
    struct amqp_table_iter it = amqp_table_iter_init(table);
    struct amqp_field f;
    uint8_t *to = out;
    bool gone = false;
    const uint8_t *from = it.w.at;
    while (amqp_table_iter_next(&it, &f)) {
        size_t len = (size_t)(it.w.at - from);
        if (!gone && slice_is(f.name, name)) {
            gone = true;
        } else {
            memcpy(to, from, len);
            to += len;
        }
        from = it.w.at;
    }
    return (size_t)(to - out);
}

static void rewrite(struct channel *ch, const struct amqp_props *p)
{
    struct content *ct = &ch->content;
    size_t room = ct->props.len + REPLY_TO_ADDRESS_BYTES;
    uint8_t *out = mem_alloc(room);
    struct wire_out w = wire_out_over(out, room);
    amqp_props_encode(&w, p);
    CHECK(!w.overflow && ct->rewritten == NULL);
    ct->rewritten = out;
    ct->props = slice_of(out, wire_out_len(&w));
}

/* The asker's own address instead of the word for it, and no BCC. */
static void put_on_the_way(struct channel *ch, struct amqp_props *p)
{
    struct amqp_field f;
    bool asks = slice_is(p->reply_to, REPLY_TO_NAME);
    bool has_bcc = amqp_table_find(p->headers, "BCC", &f);
    uint8_t *headers = has_bcc ? mem_alloc(p->headers.len) : NULL;
    if (asks)
        p->reply_to = channel_reply_name(ch);
    if (has_bcc)
        p->headers = slice_of(headers, copy_without(p->headers, "BCC", headers));
    if (asks || has_bcc)
        rewrite(ch, p);
    mem_free(headers);
}

/* ---- judging
 * ------------------------------------------------------------------------------------------------
 */

/* All that is asked before the message itself is looked at. */
static bool exchange_is_open(struct channel *ch)
{
    const struct content *ct = &ch->content;
    struct meta_refusal why;
    if (!channel_may_publish(ch, ct->exchange))
        return false;
    if (exchange_may_publish(channel_meta(ch), ch->conn->vhost_id, ct->exchange, &why))
        return channel_may_topic(ch, ACCESS_WRITE, ct->exchange, ct->key, AMQP_BASIC_PUBLISH);
    channel_refuse(ch, &why, AMQP_BASIC_PUBLISH);
    return false;
}

static bool reply_to_is_right(struct channel *ch, const struct amqp_props *p)
{
    if (ch->reply != NULL || !slice_is(p->reply_to, REPLY_TO_NAME))
        return true;
    channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_BASIC_PUBLISH,
                  "fast reply consumer does not exist");
    return false;
}

/* Whoever names a user in a message must be that user, or may be anybody; an expiration is a
 * number. */
static bool claims_are_right(struct channel *ch, const struct amqp_props *p)
{
    char room[EXPIRATION_FAULT_MAX];
    const char *fault =
        amqp_props_has(p, AMQP_PROP_expiration) ? expiration_fault(p->expiration, room) : NULL;
    if (amqp_props_has(p, AMQP_PROP_user_id) && !connection_may_claim(ch->conn, p->user_id))
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_BASIC_PUBLISH,
                      "user_id property set to '%.*s' but authenticated user was '%s'",
                      SLICE_ARG(p->user_id), ch->conn->user);
    else if (fault != NULL)
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_BASIC_PUBLISH,
                      "invalid expiration '%.*s': %s", SLICE_ARG(p->expiration), fault);
    else
        return true;
    return false;
}

static bool mode_is_known(struct channel *ch, const struct amqp_props *p)
{
    if (!amqp_props_has(p, AMQP_PROP_delivery_mode) ||
        (p->delivery_mode != 0 && p->delivery_mode <= AMQP_DELIVERY_PERSISTENT))
        return true;
    channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_BASIC_PUBLISH,
                  "invalid message: {delivery_mode_unknown,%u}", (unsigned)p->delivery_mode);
    return false;
}

bool channel_take_props(struct channel *ch, bool exchange_is_known)
{
    if (ch->content.immediate) {
        channel_error(ch, AMQP_NOT_IMPLEMENTED, AMQP_BASIC_PUBLISH, "immediate=true");
        return false;
    }
    struct amqp_props p;
    bool ok = amqp_props_decode(ch->content.props, &p);
    CHECK(ok);
    struct channel_keys *k = keys_of(ch);
    k->more_count = k->reply_count = 0;
    if ((!exchange_is_known && !exchange_is_open(ch)) || !reply_to_is_right(ch, &p) ||
        !claims_are_right(ch, &p) || !take_keys(ch, p.headers, "CC") ||
        !take_keys(ch, p.headers, "BCC") || !mode_is_known(ch, &p))
        return false;
    find_replies(ch);
    put_on_the_way(ch, &p);
    return true;
}
