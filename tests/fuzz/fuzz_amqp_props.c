/*
 * A content header: decoded, encoded, decoded; peeking must see what decoding sees.
 */
#include "amqp/amqp_props.h"
#include "base/check.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct amqp_props *p, const struct amqp_props_brief *brief)
{
    CHECK(brief->flags == p->flags);
    CHECK(brief->delivery_mode == p->delivery_mode && brief->priority == p->priority);
    CHECK(slice_eq(brief->headers, p->headers));
    CHECK(slice_eq(brief->expiration, p->expiration) && slice_eq(brief->user_id, p->user_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct amqp_header h;
    if (!amqp_header_decode(slice_of(data, size), &h))
        return 0;

    struct amqp_props p, again;
    struct amqp_props_brief brief;
    bool good = amqp_props_decode(h.props, &p);
    CHECK(amqp_props_peek(h.props, &brief) == good);
    if (!good)
        return 0;
    compare(&p, &brief);

    uint8_t *room = malloc(h.props.len);
    CHECK(room != NULL);
    struct wire_out w = wire_out_over(room, h.props.len);
    amqp_props_encode(&w, &p);
    CHECK(!w.overflow && wire_out_len(&w) == h.props.len);
    CHECK(slice_eq(slice_from(wire_out_slice(&w), 2), slice_from(h.props, 2)));
    CHECK(amqp_props_decode(wire_out_slice(&w), &again) && again.flags == p.flags);
    free(room);
    return 0;
}
