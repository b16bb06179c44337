#include "leg_settle.h"

bool leg_settle_read(struct slice payload, struct leg_settle *out)
{
    struct slice fields = slice_from(payload, 4);
    struct amqp_method m;
    *out = (struct leg_settle){ .id = amqp_method_peek(payload) };
    switch (out->id) {
    case AMQP_BASIC_ACK:
        if (amqp_basic_ack_decode(fields, &m.basic_ack) != AMQP_DECODE_OK)
            return false;
        out->tag = m.basic_ack.delivery_tag;
        out->multiple = m.basic_ack.multiple;
        return true;
    case AMQP_BASIC_NACK:
        if (amqp_basic_nack_decode(fields, &m.basic_nack) != AMQP_DECODE_OK)
            return false;
        out->tag = m.basic_nack.delivery_tag;
        out->multiple = m.basic_nack.multiple;
        out->requeue = m.basic_nack.requeue;
        return true;
    default:
        if (amqp_basic_reject_decode(fields, &m.basic_reject) != AMQP_DECODE_OK)
            return false;
        out->tag = m.basic_reject.delivery_tag;
        out->requeue = m.basic_reject.requeue;
        return true;
    }
}

struct amqp_method leg_settle_method(const struct leg_settle *s, uint64_t tag)
{
    struct amqp_method m = { .id = (enum amqp_method_id)s->id };
    switch (s->id) {
    case AMQP_BASIC_ACK:
        m.basic_ack.delivery_tag = tag;
        m.basic_ack.multiple = s->multiple;
        return m;
    case AMQP_BASIC_NACK:
        m.basic_nack.delivery_tag = tag;
        m.basic_nack.multiple = s->multiple;
        m.basic_nack.requeue = s->requeue;
        return m;
    default:
        m.basic_reject.delivery_tag = tag;
        m.basic_reject.requeue = s->requeue;
        return m;
    }
}
