#include "method_out.h"

#include "base/check.h"

/* What the fixed fields of any method take, its strings and tables not counted. */
#define FIXED_MAX 256u

static size_t fields_max(const struct amqp_method *m)
{
    if (m->id == AMQP_CONNECTION_START_OK)
        return m->connection_start_ok.client_properties.len + m->connection_start_ok.response.len +
               m->connection_start_ok.mechanism.len + m->connection_start_ok.locale.len;
    if (m->id == AMQP_CONNECTION_START)
        return m->connection_start.server_properties.len + m->connection_start.mechanisms.len +
               m->connection_start.locales.len;
    if (m->id == AMQP_CONNECTION_UPDATE_SECRET)
        return m->connection_update_secret.new_secret.len + m->connection_update_secret.reason.len;
    if (m->id == AMQP_BASIC_CONSUME)
        return (size_t)2 * UINT8_MAX + m->basic_consume.arguments.len;
    return (size_t)2 * UINT8_MAX;
}

void method_out(struct stream *s, uint16_t channel, const struct amqp_method *m)
{
    size_t room = AMQP_FRAME_OVERHEAD + FIXED_MAX + fields_max(m);
    CHECK(room <= STREAM_RESERVE_MAX);
    uint8_t *at = stream_reserve(s, room);
    struct wire_out w = wire_out_over(at, room);
    amqp_frame_put_method(&w, channel, m);
    CHECK(!w.overflow);
    stream_commit(s, wire_out_len(&w));
}

void method_out_heartbeat(struct stream *s)
{
    stream_write(s, slice_of(AMQP_HEARTBEAT_FRAME, AMQP_HEARTBEAT_FRAME_LEN));
}

void method_out_close(struct stream *s, uint16_t channel, uint16_t code, struct slice text,
                      uint32_t cause)
{
    text = slice_head(text, UINT8_MAX);
    struct amqp_method m = { .id = AMQP_CONNECTION_CLOSE };
    if (channel != 0) {
        m.id = AMQP_CHANNEL_CLOSE;
        m.channel_close.reply_code = code;
        m.channel_close.reply_text = text;
        m.channel_close.class_id = amqp_method_class(cause);
        m.channel_close.method_id = amqp_method_number(cause);
    } else {
        m.connection_close.reply_code = code;
        m.connection_close.reply_text = text;
        m.connection_close.class_id = amqp_method_class(cause);
        m.connection_close.method_id = amqp_method_number(cause);
    }
    method_out(s, channel, &m);
}

void method_out_bare(struct stream *s, uint16_t channel, enum amqp_method_id id)
{
    struct amqp_method m = { .id = id };
    method_out(s, channel, &m);
}
