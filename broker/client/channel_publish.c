#include "amqp/amqp_props.h"
#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel.h"
#include "client/reply_to.h"
#include "live.h"

#include <inttypes.h>

/* Messages with one of these are looked at by channel_props.c. */
#define LOOK_CLOSER                                                                                \
    (AMQP_PROP_user_id | AMQP_PROP_expiration | AMQP_PROP_headers | AMQP_PROP_reply_to)

#define PART_BYTES ((size_t)16 * 1024) /* the least block of a body that comes in parts */

/* ---- content comes in
 * -------------------------------------------------------------------------------------- */

/* A header or body frame that is not the one that is due, in RabbitMQ's words. */
static void unexpected(struct channel *ch)
{
    switch (ch->content.stage) {
    case CONTENT_NONE:
        connection_error(ch->conn, AMQP_UNEXPECTED_FRAME, 0,
                         "expected method frame, got non method frame instead");
        return;
    case CONTENT_HEADER:
        connection_error(ch->conn, AMQP_UNEXPECTED_FRAME, AMQP_BASIC_PUBLISH,
                         "expected content header for class 60, got non content header frame "
                         "instead");
        return;
    case CONTENT_BODY:
        connection_error(ch->conn, AMQP_UNEXPECTED_FRAME, AMQP_BASIC_PUBLISH,
                         "expected content body, got non content body frame instead");
        return;
    }
    UNREACHABLE("content stage");
}

void channel_take_publish(struct channel *ch, const struct amqp_basic_publish *m)
{
    struct content *ct = &ch->content;
    ct->immediate = m->immediate;
    ct->look_closer =
        m->immediate || (m->exchange.len == 0 && m->routing_key.len == REPLY_TO_ADDRESS_BYTES);
    ct->stage = CONTENT_HEADER;
    ch->conn->contents++;
    ct->mandatory = m->mandatory;
    ct->exchange = m->exchange;
    ct->key = m->routing_key;
    if (!ch->in_assembling) {
        ch->in_assembling = true;
        TAILQ_INSERT_TAIL(&ch->conn->assembling, ch, assembling_entry);
    }
}

/* What is being sent takes memory as what has been sent does: watermarks see both. */
static void hold(struct channel *ch, size_t octets)
{
    ch->content.held_bytes += octets;
    shard_count_bytes(ch->conn->shard, (int64_t)octets);
}

static void reset_content(struct channel *ch)
{
    struct content *ct = &ch->content;
    if (UNLIKELY(ct->held_bytes != 0)) {
        shard_count_bytes(ch->conn->shard, -(int64_t)ct->held_bytes);
        ct->held_bytes = 0;
    }
    if (ct->stage != CONTENT_NONE)
        ch->conn->contents--;
    if (UNLIKELY(ct->parked != NULL || ct->rewritten != NULL)) {
        mem_free(ct->parked);
        mem_free(ct->rewritten);
        ct->parked = ct->rewritten = NULL;
    }
    ct->parts = NULL;
    ct->part_count = ct->part_cap = 0;
    ct->stage = CONTENT_NONE;
}

void channel_drop_content(struct channel *ch)
{
    struct content *ct = &ch->content;
    for (uint32_t i = 0; i < ct->part_count; i++)
        buf_unref(&ct->parts[i]);
    mem_free(ct->parts);
    reset_content(ch);
}

static struct slice move(uint8_t **at, struct slice s)
{
    uint8_t *to = *at;
    if (s.len != 0)
        memcpy(to, s.ptr, s.len);
    *at += s.len;
    return slice_of(to, s.len);
}

void channel_park(struct channel *ch)
{
    struct content *ct = &ch->content;
    if (ct->stage == CONTENT_NONE)
        return;
    size_t props = ct->stage == CONTENT_BODY ? ct->props.len : 0;
    uint8_t *room = mem_alloc(ct->exchange.len + ct->key.len + props);
    hold(ch, ct->exchange.len + ct->key.len + props);
    uint8_t *at = room;
    ct->exchange = move(&at, ct->exchange);
    ct->key = move(&at, ct->key);
    if (ct->stage == CONTENT_BODY)
        ct->props = move(&at, ct->props);
    mem_free(ct->parked);
    ct->parked = room;
}

static void publish(struct channel *ch, struct slice body);

/* Of the message that is being sent, and of a kind that can be. */
static bool header_is_due(struct channel *ch, const struct amqp_header *h)
{
    if (ch->content.stage != CONTENT_HEADER || h->weight != 0)
        unexpected(ch);
    else if (h->class_id != AMQP_CLASS_BASIC)
        connection_error(ch->conn, AMQP_UNEXPECTED_FRAME, AMQP_BASIC_PUBLISH,
                         "expected content header for class 60, got one for class %u instead",
                         (unsigned)h->class_id);
    else
        return true;
    return false;
}

static bool header_is_good(struct channel *ch, const struct amqp_header *h,
                           struct amqp_props_brief *brief)
{
    uint64_t max = ch->conn->live->conf->limits.max_message_bytes;
    if (!amqp_props_peek(h->props, brief))
        connection_error(ch->conn, AMQP_FRAME_ERROR, AMQP_BASIC_PUBLISH, "malformed properties");
    else if (h->body_size > max)
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_BASIC_PUBLISH,
                      "message size %" PRIu64 " is larger than configured max size %" PRIu64,
                      h->body_size, max);
    else
        return true;
    return false;
}

static bool ask_a_closer_look(const struct amqp_props_brief *brief)
{
    return (brief->flags & LOOK_CLOSER) != 0 || brief->delivery_mode > AMQP_DELIVERY_PERSISTENT ||
           ((brief->flags & AMQP_PROP_delivery_mode) != 0 && brief->delivery_mode == 0);
}

static void begin_body(struct channel *ch, const struct amqp_header *h,
                       const struct amqp_props_brief *brief)
{
    struct content *ct = &ch->content;
    ct->props = h->props;
    ct->persistent = brief->delivery_mode == AMQP_DELIVERY_PERSISTENT;
    if (brief->flags != 0 && ask_a_closer_look(brief))
        ct->look_closer = true;
    ct->body_bytes = ct->left_bytes = h->body_size;
    ct->stage = CONTENT_BODY;
    ct->overrun = false;
    if (ct->parked != NULL && !ch->in_assembling) {
        /* The names were parked in an earlier turn; the properties may have to be, at its end. */
        ch->in_assembling = true;
        TAILQ_INSERT_TAIL(&ch->conn->assembling, ch, assembling_entry);
    }
    if (h->body_size == 0)
        publish(ch, slice_of(NULL, 0));
}

void channel_pass_over_rest(struct channel *ch, enum content_stage stage, uint64_t left_bytes)
{
    CHECK(ch->state == CHANNEL_CLOSING && stage != CONTENT_NONE);
    channel_pass_over_publish(ch);
    ch->content.stage = stage;
    ch->content.left_bytes = left_bytes;
    ch->content.overrun = false;
}

void channel_take_header(struct channel *ch, const struct amqp_frame *f)
{
    struct amqp_header h;
    struct amqp_props_brief brief;
    if (!amqp_header_decode(f->payload, &h))
        connection_unknown_frame(ch->conn, f);
    else if (!header_is_due(ch, &h))
        return;
    else if (header_is_good(ch, &h, &brief))
        begin_body(ch, &h, &brief);
    else if (connection_is_open(ch->conn) && h.body_size != 0)
        channel_pass_over_rest(ch, CONTENT_BODY,
                               h.body_size); /* what was refused by its head comes all the same */
}

/* ---- the same on a channel that we have closed
 * ---------------------------------------------------------------------------------------------- */

/* Nothing is kept, but the order of frames must be right all the same. */
void channel_pass_over_publish(struct channel *ch)
{
    ch->content.stage = CONTENT_HEADER;
    ch->conn->contents++;
}

void channel_pass_over_header(struct channel *ch, const struct amqp_frame *f)
{
    struct content *ct = &ch->content;
    struct amqp_header h;
    if (!amqp_header_decode(f->payload, &h)) {
        connection_unknown_frame(ch->conn, f);
    } else if (header_is_due(ch, &h)) {
        ct->left_bytes = h.body_size;
        ct->overrun = false;
        ct->stage = CONTENT_BODY;
        if (h.body_size == 0)
            channel_drop_content(ch);
    }
}

void channel_pass_over_body(struct channel *ch, const struct amqp_frame *f)
{
    struct content *ct = &ch->content;
    if (ct->stage != CONTENT_BODY) {
        unexpected(ch);
        return;
    }
    ct->overrun = ct->overrun || f->payload.len > ct->left_bytes;
    if (!ct->overrun)
        ct->left_bytes -= f->payload.len;
    if (ct->left_bytes == 0)
        channel_drop_content(ch);
}

/* ---- content comes in, its body
 * ---------------------------------------------------------------------------------------------- */

static void add_part(struct channel *ch, size_t cap_bytes)
{
    struct content *ct = &ch->content;
    if (ct->part_count == ct->part_cap) {
        ct->part_cap = ct->part_cap != 0 ? ct->part_cap * 2 : 4;
        ct->parts = mem_realloc(ct->parts, ct->part_cap * sizeof(struct buf *));
    }
    ct->parts[ct->part_count++] = buf_new(cap_bytes);
    hold(ch, sizeof(struct buf *) + sizeof(struct buf) + cap_bytes);
}

static void append(struct buf *b, struct slice bytes)
{
    memcpy(b->data + b->len_bytes, bytes.ptr, bytes.len);
    b->len_bytes += (uint32_t)bytes.len;
}

/* Short frames share a block: a body that comes octet by octet takes no more than another. */
static void keep_part(struct channel *ch, struct slice bytes)
{
    struct content *ct = &ch->content;
    if (ct->part_count != 0) {
        struct buf *last = ct->parts[ct->part_count - 1];
        struct slice fits = slice_head(bytes, last->cap_bytes - last->len_bytes);
        if (fits.len != 0)
            append(last, fits);
        bytes = slice_from(bytes, fits.len);
    }
    if (bytes.len == 0)
        return;
    uint64_t rest = bytes.len + ct->left_bytes;
    size_t room = rest < PART_BYTES ? (size_t)rest : PART_BYTES;
    add_part(ch, bytes.len > room ? bytes.len : room);
    append(ct->parts[ct->part_count - 1], bytes);
}

/* As in RabbitMQ such a body never ends: whatever follows it that is no body is out of place. But
 * nothing of it is kept. */
static void overrun(struct channel *ch)
{
    struct content *ct = &ch->content;
    ct->overrun = true;
    for (uint32_t i = 0; i < ct->part_count; i++)
        buf_unref(&ct->parts[i]);
    ct->part_count = 0;
}

void channel_take_body(struct channel *ch, const struct amqp_frame *f)
{
    struct content *ct = &ch->content;
    if (UNLIKELY(ct->stage != CONTENT_BODY)) {
        unexpected(ch);
        return;
    }
    if (UNLIKELY(f->payload.len > ct->left_bytes || ct->overrun)) {
        overrun(ch);
        return;
    }
    ct->left_bytes -= f->payload.len;
    if (LIKELY(ct->left_bytes == 0 && ct->part_count == 0)) {
        publish(ch, f->payload);
        return;
    }
    if (UNLIKELY(broker_is_exhausted(ch->conn->shard->broker))) {
        connection_error(ch->conn, AMQP_RESOURCE_ERROR, AMQP_BASIC_PUBLISH,
                         "no memory left for the rest of the message");
        return;
    }
    keep_part(ch, f->payload);
    if (ct->left_bytes == 0)
        publish(ch, slice_of(NULL, 0));
}

/* ---- routing
 * ---------------------------------------------------------------------------------------------- */

static bool is_kept(const struct route_kept *k, const struct meta_version *v,
                    const struct content *ct)
{
    return k != NULL && k->version == v->number && k->names[0] == ct->exchange.len &&
           k->names_bytes == 2 + ct->exchange.len + ct->key.len &&
           (ct->exchange.len == 0 ||
            memcmp(k->names + 1, ct->exchange.ptr, ct->exchange.len) == 0) &&
           (ct->key.len == 0 ||
            memcmp(k->names + 2 + ct->exchange.len, ct->key.ptr, ct->key.len) == 0);
}

static void keep_route(struct channel *ch, const struct meta_version *v, const struct content *ct)
{
    if (ch->kept == NULL)
        ch->kept = mem_zalloc(sizeof *ch->kept);
    struct route_kept *k = ch->kept;
    k->version = 0;
    if (ch->route.count > ROUTE_KEPT_QUEUES)
        return;
    k->names[0] = (uint8_t)ct->exchange.len;
    k->names[1 + ct->exchange.len] = (uint8_t)ct->key.len;
    if (ct->exchange.len != 0)
        memcpy(k->names + 1, ct->exchange.ptr, ct->exchange.len);
    if (ct->key.len != 0)
        memcpy(k->names + 2 + ct->exchange.len, ct->key.ptr, ct->key.len);
    k->names_bytes = (uint16_t)(2 + ct->exchange.len + ct->key.len);
    k->count = (uint8_t)ch->route.count;
    for (size_t i = 0; i < ch->route.count; i++)
        k->queues[i] = ch->route.queues[i];
    k->version = v->number;
}

/* Fills *queues and *count; false when the channel was closed. */
static bool route(struct channel *ch, const struct meta_version *v,
                  const struct meta_queue *const **queues, size_t *count)
{
    const struct content *ct = &ch->content;
    const struct slice *more_keys = NULL;
    size_t more_count = UNLIKELY(ct->look_closer) ? channel_more_keys(ch, &more_keys) : 0;
    if (LIKELY(more_count == 0 && is_kept(ch->kept, v, ct))) {
        *queues = ch->kept->queues;
        *count = ch->kept->count;
        return true;
    }
    if (!channel_may_publish(ch, ct->exchange))
        return false;
    if (!ch->route_ready) {
        route_out_init(&ch->route);
        ch->route_ready = true;
    }
    struct amqp_props_brief brief;
    struct meta_refusal why;
    bool ok = amqp_props_peek(ct->props, &brief);
    CHECK(ok);
    struct route_in in = { .vhost_id = ch->conn->vhost_id,
                           .exchange = ct->exchange,
                           .key = ct->key,
                           .more_keys = more_keys,
                           .more_count = more_count,
                           .headers = brief.headers,
                           .props = ct->props };
    if (!exchange_route(v, &in, &ch->route, &why)) {
        channel_refuse(ch, &why, AMQP_BASIC_PUBLISH);
        return false;
    }
    if (!channel_may_topic(ch, ACCESS_WRITE, ct->exchange, ct->key, AMQP_BASIC_PUBLISH))
        return false;
    if (more_count == 0 && ch->route.by_names)
        keep_route(ch, v, ct);
    *queues = (const struct meta_queue *const *)ch->route.queues;
    *count = ch->route.count;
    return true;
}

/* ---- publishing
 * -------------------------------------------------------------------------------------------- */

static struct message *make_message(struct channel *ch, struct slice body)
{
    struct content *ct = &ch->content;
    struct message *m = ct->part_count == 0
                            ? message_new(ct->exchange, ct->key, ct->props, body, ct->persistent)
                            : message_new_parts(ct->exchange, ct->key, ct->props, ct->parts,
                                                ct->part_count, ct->body_bytes, ct->persistent);
    shard_message_made(ch->conn->shard, m);
    reset_content(ch);
    return m;
}

static void confirms_are_due(struct channel *ch)
{
    if (ch->in_confirming || !confirm_is_due(&ch->confirm))
        return;
    ch->in_confirming = true;
    TAILQ_INSERT_TAIL(&ch->conn->confirming, ch, confirming_entry);
    connection_at_turn_end(ch->conn);
}

void channel_return(struct channel *ch, struct message *m)
{
    channel_count(ch, returned, 1);
    struct amqp_method ret = { .id = AMQP_BASIC_RETURN,
                               .basic_return = { AMQP_NO_ROUTE, slice_str("NO_ROUTE"),
                                                 message_exchange(m), message_key(m) } };
    channel_put_content(ch, &ret, m);
}

/* One reference for each queue; the last one is ours to give. */
static void hand_over(struct channel *ch, struct message *m, const struct meta_queue *const *queues,
                      size_t count)
{
    struct shard *s = ch->conn->shard;
    struct port_channel_ref from = channel_ref(ch);
    uint64_t number = ch->confirms ? ch->confirm.next : 0;
    size_t cost = message_cost_bytes(m);
    uint32_t away = 0, awaited = 0, refused = 0;
    for (size_t i = 0; i < count; i++) {
        struct message *one = i + 1 < count ? message_ref(m) : m;
        enum port_published done = port_publish(s, queues[i], &one, &from, number);
        away += done == PORT_LATER;
        awaited += done == PORT_AWAITED;
        refused += done == PORT_REFUSED;
    }
    bool waits = port_published(s, &from, number);
    if (ch->confirms)
        confirm_begin(&ch->confirm, away + awaited + refused + waits);
    for (; UNLIKELY(refused != 0) && ch->confirms; refused--)
        confirm_answer(&ch->confirm, number, false);
    ch->conn->forwarded_bytes += away * cost;
}

static void publish(struct channel *ch, struct slice body)
{
    struct shard *s = ch->conn->shard;
    const struct meta_queue *const *queues;
    size_t count;
    bool look_closer = ch->content.look_closer;
    if (UNLIKELY(look_closer) &&
        !channel_take_props(ch, is_kept(ch->kept, channel_meta(ch), &ch->content)))
        return;
    if (!route(ch, channel_meta(ch), &queues, &count))
        return;
    ch->conn->copies += count;
    bool mandatory = ch->content.mandatory;
    struct message *m = make_message(ch, body);
    channel_count(ch, published, 1);
    if (UNLIKELY(look_closer))
        channel_send_replies(ch, m);
    if (UNLIKELY(ch->tx != NULL)) {
        channel_tx_publish(ch, &m, queues, count, mandatory);
        return;
    }
    if (LIKELY(count != 0)) {
        hand_over(ch, m, queues, count);
    } else {
        channel_count(ch, unroutable, 1);
        if (mandatory)
            channel_return(ch, m);
        if (ch->confirms)
            confirm_begin(&ch->confirm, 0);
        shard_message_drop(s, &m);
    }
    if (ch->confirms) {
        shard_count(s, published_confirm, 1);
        confirms_are_due(ch);
    }
}

/* ---- confirms
 * --------------------------------------------------------------------------------------------- */

void channel_on_published(struct channel *ch, uint64_t number, bool ok)
{
    if (UNLIKELY(ch->tx != NULL)) {
        channel_tx_on_published(ch, ok);
        return;
    }
    confirm_answer(&ch->confirm, number, ok);
    confirms_are_due(ch);
}

void channel_on_durable(struct channel *ch, uint64_t first, uint32_t count)
{
    if (UNLIKELY(ch->tx != NULL)) {
        channel_tx_on_durable(ch, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        confirm_answer(&ch->confirm, first + i, true);
    confirms_are_due(ch);
}

static void tell(uint64_t number, bool multiple, bool ok, void *arg)
{
    struct channel *ch = arg;
    struct amqp_method m = { .id = ok ? AMQP_BASIC_ACK : AMQP_BASIC_NACK };
    if (ok)
        m.basic_ack = (struct amqp_basic_ack){ number, multiple };
    else
        m.basic_nack =
            (struct amqp_basic_nack){ number, multiple, true }; /* requeue, as RabbitMQ */
    channel_send(ch, &m);
}

void channel_tell_confirms(struct channel *ch)
{
    if (!ch->confirms || ch->conn->stream == NULL)
        return;
    uint64_t before = ch->confirm.told;
    confirm_tell(&ch->confirm, tell, ch);
    channel_count(ch, confirmed, ch->confirm.told - before);
}
