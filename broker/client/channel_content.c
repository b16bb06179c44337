#include "amqp/amqp_frame.h"
#include "base/check.h"
#include "client/channel.h"

#define BODY_IN_PLACE_BYTES ((size_t)16 * 1024) /* a short content is sent in one piece */
#define METHOD_ROOM         ((size_t)1024)      /* names and numbers of a method with content */
#define HEADER_FIXED        ((size_t)12)        /* class, weight and body size */
#define HEADER_ROOM         ((size_t)64)

/* Small enough to be copied, with its frames, into the output in one go? */
static bool is_small(const struct channel *ch, const struct message *msg)
{
    return !message_is_in_parts(msg) &&
           (size_t)msg->body_bytes + msg->props_bytes <= BODY_IN_PLACE_BYTES &&
           msg->body_bytes <= connection_frame_max(ch->conn) - AMQP_FRAME_OVERHEAD;
}

/* ---- in one piece ------------------------------------------------------------------------------
 */

/* The innermost loop of the broker: the room is measured once, so nothing is checked on the way. */

static uint8_t *put_u32(uint8_t *at, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static uint8_t *put_u64(uint8_t *at, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static uint8_t *put_bytes(uint8_t *at, struct slice s)
{
    if (s.len != 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static uint8_t *put_head(uint8_t *at, enum amqp_frame_type type, uint16_t channel, size_t payload)
{
    *at++ = (uint8_t)type;
    *at++ = (uint8_t)(channel >> 8);
    *at++ = (uint8_t)channel;
    return put_u32(at, (uint32_t)payload);
}

/* Header and body of a small message. */
static uint8_t *put_message(uint8_t *at, uint16_t channel, const struct message *msg)
{
    at = put_head(at, AMQP_FRAME_HEADER, channel, HEADER_FIXED + msg->props_bytes);
    at = put_u32(at, AMQP_CLASS_BASIC << 16); /* and the weight, always 0 */
    at = put_u64(at, msg->body_bytes);
    at = put_bytes(at, message_props(msg));
    *at++ = AMQP_FRAME_END;
    if (msg->body_bytes == 0)
        return at;
    at = put_head(at, AMQP_FRAME_BODY, channel, (size_t)msg->body_bytes);
    at = put_bytes(at, message_body(msg));
    *at++ = AMQP_FRAME_END;
    return at;
}

static size_t message_frames_bytes(const struct message *msg)
{
    size_t header = AMQP_FRAME_OVERHEAD + HEADER_FIXED + msg->props_bytes;
    return msg->body_bytes == 0 ? header : header + AMQP_FRAME_OVERHEAD + (size_t)msg->body_bytes;
}

static void deliver_small(struct channel *ch, struct slice tag, uint64_t delivery_tag,
                          bool redelivered, const struct message *msg)
{
    size_t payload = 4 + 1 + tag.len + 8 + 1 + msg->names_bytes;
    size_t total = AMQP_FRAME_OVERHEAD + payload + message_frames_bytes(msg);
    uint8_t *start = stream_reserve(ch->conn->stream, total);
    uint8_t *at = put_head(start, AMQP_FRAME_METHOD, ch->number, payload);
    at = put_u32(at, AMQP_BASIC_DELIVER);
    *at++ = (uint8_t)tag.len;
    at = put_bytes(at, tag);
    at = put_u64(at, delivery_tag);
    *at++ = redelivered;
    at = put_bytes(at, message_names(msg));
    *at++ = AMQP_FRAME_END;
    at = put_message(at, ch->number, msg);
    CHECK((size_t)(at - start) == total);
    stream_commit(ch->conn->stream, total);
}

static void put_small(struct channel *ch, const struct amqp_method *m, const struct message *msg)
{
    size_t room = METHOD_ROOM + message_frames_bytes(msg);
    uint8_t *start = stream_reserve(ch->conn->stream, room);
    struct wire_out w = wire_out_over(start, METHOD_ROOM);
    amqp_frame_put_method(&w, ch->number, m);
    CHECK(!w.overflow);
    uint8_t *at = put_message(start + wire_out_len(&w), ch->number, msg);
    stream_commit(ch->conn->stream, (size_t)(at - start));
}

/* ---- in pieces ---------------------------------------------------------------------------------
 */

/* The seven octets before a payload that is not built in one piece with them. */
static void put_frame_head(struct channel *ch, enum amqp_frame_type type, size_t payload)
{
    put_head(stream_reserve(ch->conn->stream, AMQP_FRAME_HEAD), type, ch->number, payload);
    stream_commit(ch->conn->stream, AMQP_FRAME_HEAD);
}

static void put_frame_end(struct channel *ch)
{
    *stream_reserve(ch->conn->stream, 1) = AMQP_FRAME_END;
    stream_commit(ch->conn->stream, 1);
}

/* Somewhere inside a body in parts. */
struct spot {
    uint32_t part;
    size_t skip; /* octets of the part that come before it */
};

/* The next octets of the body; returns where the ones behind them begin. */
static struct spot put_parts(struct stream *s, const struct message *msg, struct spot at,
                             size_t octets)
{
    while (octets != 0) {
        struct buf *block = message_more(msg)->parts[at.part];
        struct slice run = slice_head(slice_from(buf_slice(block), at.skip), octets);
        stream_write_shared(s, block, run);
        octets -= run.len;
        at.skip += run.len;
        if (at.skip == block->len_bytes)
            at = (struct spot){ at.part + 1, 0 };
    }
    return at;
}

/* Body frames as long as the client takes them, however long those were that brought it. */
static void put_body(struct channel *ch, const struct message *msg)
{
    struct stream *s = ch->conn->stream;
    size_t most = connection_frame_max(ch->conn) - AMQP_FRAME_OVERHEAD;
    struct spot at = { 0, 0 };
    for (uint64_t done = 0; done < msg->body_bytes;) {
        size_t n = msg->body_bytes - done < most ? (size_t)(msg->body_bytes - done) : most;
        put_frame_head(ch, AMQP_FRAME_BODY, n);
        if (message_is_in_parts(msg))
            at = put_parts(s, msg, at, n);
        else
            stream_write(s, slice_head(slice_from(message_body(msg), (size_t)done), n));
        put_frame_end(ch);
        done += n;
    }
}

static void put_large(struct channel *ch, const struct amqp_method *m, const struct message *msg)
{
    struct stream *s = ch->conn->stream;
    struct slice props = message_props(msg);
    channel_send(ch, m);
    put_frame_head(ch, AMQP_FRAME_HEADER, HEADER_FIXED + props.len);
    struct wire_out w = wire_out_over(stream_reserve(s, HEADER_ROOM), HEADER_ROOM);
    wire_put_u32(&w, AMQP_CLASS_BASIC << 16); /* and the weight, always 0 */
    wire_put_u64(&w, msg->body_bytes);
    stream_commit(s, wire_out_len(&w));
    stream_write(s, props);
    put_frame_end(ch);
    put_body(ch, msg);
}

void channel_put_content(struct channel *ch, const struct amqp_method *m, struct message *msg)
{
    if (ch->conn->stream == NULL)
        return;
    if (is_small(ch, msg))
        put_small(ch, m, msg);
    else
        put_large(ch, m, msg);
}

void channel_put_delivery(struct channel *ch, struct slice tag, uint64_t delivery_tag,
                          bool redelivered, struct message *msg)
{
    if (ch->conn->stream == NULL)
        return;
    if (LIKELY(is_small(ch, msg))) {
        deliver_small(ch, tag, delivery_tag, redelivered, msg);
        return;
    }
    struct amqp_method m = { .id = AMQP_BASIC_DELIVER,
                             .basic_deliver = { tag, delivery_tag, redelivered,
                                                message_exchange(msg), message_key(msg) } };
    put_large(ch, &m, msg);
}
