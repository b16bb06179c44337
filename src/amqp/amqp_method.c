#include "amqp/amqp_method.h"

#include "amqp/amqp_frame.h"
#include "base/check.h"

enum amqp_decode amqp_method_decode(struct slice payload, struct amqp_method *out)
{
    struct wire w = wire_over(payload);
    uint32_t id = wire_u32(&w);
    if (w.ran_out)
        return AMQP_DECODE_BAD;

    struct slice fields = wire_rest(&w);
    switch (id) {
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    case AMQP_##NAME:                                                                              \
        out->id = AMQP_##NAME;                                                                     \
        return amqp_##name##_decode(fields, &out->name);
        AMQP_METHODS(X)
#undef X
    default: /* a number from the wire, not one of our enums */
        return AMQP_DECODE_UNKNOWN;
    }
}

/* Octets as Erlang prints them, which is how RabbitMQ's users know this message. */
static void put_octets(struct text *out, struct slice s)
{
    text_str(out, "<<");
    for (size_t i = 0; i < s.len && !out->cut; i++)
        text_put(out, i == 0 ? "%u" : ",%u", (unsigned)s.ptr[i]);
    text_str(out, ">>");
}

void amqp_decode_why(enum amqp_decode verdict, struct slice payload, struct text *out)
{
    switch (verdict) {
    case AMQP_DECODE_OK:
        return;
    case AMQP_DECODE_UNKNOWN:
        text_put(out, "unknown method %u of class %u",
                 (unsigned)amqp_method_number(amqp_method_peek(payload)),
                 (unsigned)amqp_method_class(amqp_method_peek(payload)));
        return;
    case AMQP_DECODE_BAD:
        if (payload.len < 4) {
            amqp_frame_describe(
                &(struct amqp_frame){ .type = AMQP_FRAME_METHOD, .payload = payload }, out);
            text_str(out, ": unknown_frame");
            return;
        }
        text_str(out, "cannot decode ");
        put_octets(out, slice_from(payload, 4));
        return;
    case AMQP_DECODE_BAD_UTF8:
        text_str(out, "Malformed UTF-8 in shortstr");
        return;
    }
    UNREACHABLE("decode verdict");
}

uint32_t amqp_decode_culprit(enum amqp_decode verdict, struct slice payload)
{
    return verdict == AMQP_DECODE_BAD && payload.len >= 4 ? amqp_method_peek(payload) : 0;
}

void amqp_method_encode(struct wire_out *w, const struct amqp_method *m)
{
    switch (m->id) {
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    case AMQP_##NAME:                                                                              \
        amqp_##name##_write(w, &m->name);                                                          \
        return;
        AMQP_METHODS(X)
#undef X
    }
    UNREACHABLE("method id");
}

const char *amqp_method_name(uint32_t id)
{
    switch (id) {
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    case AMQP_##NAME:                                                                              \
        return text;
        AMQP_METHODS(X)
#undef X
    default:
        return "unknown";
    }
}

/* 0 for what we do not know, else an enum amqp_sender. */
static unsigned senders(uint32_t id)
{
    switch (id) {
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    case AMQP_##NAME:                                                                              \
        return AMQP_SENT_BY_##sender;
        AMQP_METHODS(X)
#undef X
    default:
        return 0;
    }
}

bool amqp_method_is_known(uint32_t id)
{
    return senders(id) != 0;
}

bool amqp_method_is_sent_by(uint32_t id, enum amqp_sender side)
{
    return (senders(id) & (unsigned)side) == (unsigned)side;
}

bool amqp_method_answers(enum amqp_method_id answer, enum amqp_method_id request)
{
#define X(REQUEST, ANSWER)                                                                         \
    if (request == AMQP_##REQUEST && answer == AMQP_##ANSWER)                                      \
        return true;
    AMQP_ANSWERS(X)
#undef X
    return false;
}

bool amqp_method_is_answer(enum amqp_method_id id)
{
#define X(REQUEST, ANSWER)                                                                         \
    if (id == AMQP_##ANSWER)                                                                       \
        return true;
    AMQP_ANSWERS(X)
#undef X
    return false;
}

const char *amqp_reply_name(unsigned code)
{
    switch (code) {
#define X(name, number, closes)                                                                    \
    case number:                                                                                   \
        return #name;
        AMQP_REPLY_CODES(X)
#undef X
    default:
        return "UNKNOWN";
    }
}

bool amqp_reply_closes_connection(unsigned code)
{
    enum { NOTHING, CHANNEL, CONNECTION };
    switch (code) {
#define X(name, number, closes)                                                                    \
    case number:                                                                                   \
        return (closes) == CONNECTION;
        AMQP_REPLY_CODES(X)
#undef X
    default:
        return true;
    }
}

struct slice amqp_reply_text(char room[AMQP_REPLY_TEXT_MAX + 1], unsigned code, const char *fmt,
                             ...)
{
    struct text t = text_over(room, AMQP_REPLY_TEXT_MAX + 1);
    if (code != AMQP_REPLY_SUCCESS)
        text_put(&t, "%s - ", amqp_reply_name(code));

    va_list args;
    va_start(args, fmt);
    text_vput(&t, fmt, args);
    va_end(args);

    if (!t.cut)
        return slice_of(room, t.len);

    /* Never in the middle of a character: clients decode this text, and some are strict. */
    size_t at = AMQP_REPLY_TEXT_MAX - 3;
    while (at > 0 && ((uint8_t)room[at] & 0xC0) == 0x80)
        at--;
    memcpy(room + at, "...", 4);
    return slice_of(room, at + 3);
}
