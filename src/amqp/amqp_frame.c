#include "amqp/amqp_frame.h"

/* Enough of a payload to recognise it by. */
#define SNIPPET_LEN 16u

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7E || s.ptr[i] == '"' || s.ptr[i] == '\\')
            return false;
    return s.len != 0;
}

/* all octets = <<1,2>>, or first 16 octets = <<"in plain text...">>, after RabbitMQ's fashion. */
static void put_snippet(struct text *out, struct slice payload)
{
    text_put(out, "%s octets = <<", payload.len <= SNIPPET_LEN ? "all" : "first 16");
    struct slice shown = slice_head(payload, SNIPPET_LEN);
    if (is_plain(shown))
        text_put(out, "\"%.*s\"", SLICE_ARG(shown));
    for (size_t i = 0; i < shown.len && !is_plain(shown); i++)
        text_put(out, i == 0 ? "%u" : ",%u", (unsigned)shown.ptr[i]);
    text_str(out, ">>");
}

void amqp_frame_why(struct slice in, uint32_t max, struct text *out)
{
    struct amqp_frame_head head;
    enum amqp_cut verdict = amqp_frame_peek(in, max, &head);
    struct slice rest = slice_from(in, AMQP_FRAME_HEAD);
    bool too_large = amqp_frame_type_is_known(head.type) && verdict == AMQP_CUT_BAD;
    text_put(out, "type %u, ", (unsigned)head.type);
    put_snippet(out, slice_head(rest, too_large ? 0 : head.size)); /* judged before it is read */
    if (!amqp_frame_type_is_known(head.type))
        text_str(out, ": unknown_frame");
    else if (too_large)
        text_put(out, ": {frame_too_large,%u,%u}", head.size, max - AMQP_FRAME_OVERHEAD);
    else if (rest.len > head.size)
        text_put(out, ": {invalid_frame_end_marker,%u}", (unsigned)rest.ptr[head.size]);
}

void amqp_frame_describe(const struct amqp_frame *f, struct text *out)
{
    text_put(out, "type %u, ", (unsigned)f->type);
    put_snippet(out, f->payload);
    if (amqp_frame_is_broken_heartbeat(f))
        text_str(out, ": unknown_frame");
}

enum amqp_cut amqp_protocol_header_cut(struct slice in)
{
    static const char forms[][AMQP_PROTOCOL_HEADER_LEN + 1] = {
        AMQP_PROTOCOL_HEADER, /* 0-9-1 */
        "AMQP\x01\x01\0\x09", /* 0-9 */
    };
    struct slice seen = slice_head(in, AMQP_PROTOCOL_HEADER_LEN);
    for (size_t i = 0; i < ARRAY_COUNT(forms); i++)
        if (slice_eq(seen, slice_of(forms[i], seen.len)))
            return seen.len == AMQP_PROTOCOL_HEADER_LEN ? AMQP_CUT_FRAME : AMQP_CUT_MORE;
    return AMQP_CUT_BAD;
}

void amqp_protocol_header_put(struct wire_out *w)
{
    wire_put_bytes(w, slice_of(AMQP_PROTOCOL_HEADER, AMQP_PROTOCOL_HEADER_LEN));
}

void amqp_frame_put_method(struct wire_out *w, uint16_t channel, const struct amqp_method *m)
{
    size_t start = wire_out_len(w);
    amqp_frame_begin(w, AMQP_FRAME_METHOD, channel);
    amqp_method_encode(w, m);
    amqp_frame_end(w, start);
}
