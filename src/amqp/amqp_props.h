/*
 * amqp_props: content headers, and the properties of a message in them.
 *
 *     +-------+--------+-----------+ +-------+---------------------------+
 *     | class | weight | body size | | flags | values of the set flags   |     (4.2.6.1)
 *     | u16   | u16, 0 | u64       | | u16   |                           |
 *     +-------+--------+-----------+ +-------+---------------------------+
 *                                     `------ raw properties ----------'
 *
 * A broker keeps raw properties as they came, as RabbitMQ does, and peeks for the few that concern
 * it. As RabbitMQ does, the two lowest flags are ignored and octets behind the last value refused.
 * Nothing is allocated or copied. Stateless; any thread.
 */
#ifndef WARREN_AMQP_PROPS_H
#define WARREN_AMQP_PROPS_H

#include "amqp/amqp_spec.h"
#include "base/attr.h"
#include "base/slice.h"
#include "base/wire.h"

#define AMQP_DELIVERY_PERSISTENT 2u

/* The raw properties of a message that has none. */
#define AMQP_PROPS_NONE ((struct slice){ (const uint8_t *)"\0\0", 2 })

enum amqp_prop {
#define F(kind, name, bit) AMQP_PROP_##name = 1 << (bit),
    AMQP_PROPERTIES(F)
#undef F
};
#define AMQP_PROP_ALL 0xFFFCu

/* ---- the header frame ---- */

struct amqp_header {
    uint16_t class_id;
    uint16_t weight;
    uint64_t body_size; /* octets */
    struct slice props; /* raw, borrowed from the payload; not judged yet */
};

/* False when the payload is too short to be one. Class, weight and size are the caller's to judge:
 * RabbitMQ answers another class or a weight with 505. */
MUST_CHECK static inline bool amqp_header_decode(struct slice payload, struct amqp_header *out)
{
    struct wire w = wire_over(payload);
    out->class_id = wire_u16(&w);
    out->weight = wire_u16(&w);
    out->body_size = wire_u64(&w);
    out->props = wire_rest(&w);
    return !w.ran_out && out->props.len >= 2;
}

/* ---- all properties ---- */

#define AMQP_PROP_C_u8       uint8_t
#define AMQP_PROP_C_u64      uint64_t
#define AMQP_PROP_C_shortstr struct slice
#define AMQP_PROP_C_table    struct slice

struct amqp_props {
    uint16_t flags; /* AMQP_PROP_...: which of the members are there */
#define F(kind, name, bit) AMQP_PROP_C_##kind name;
    AMQP_PROPERTIES(F)
#undef F
};

static inline bool amqp_props_has(const struct amqp_props *p, enum amqp_prop which)
{
    return (p->flags & which) != 0;
}

/* Decode raw properties; members that are not there are zero. False when they are malformed, a
 * broken headers table included. */
MUST_CHECK bool amqp_props_decode(struct slice raw, struct amqp_props *out);

/* Write flags and the values they announce; w overflows when they do not fit. */
void amqp_props_encode(struct wire_out *w, const struct amqp_props *p);

/* ---- only what a broker looks at on each publish ---- */

struct amqp_props_brief {
    uint16_t flags;
    uint8_t delivery_mode; /* 0 when absent, and so on */
    uint8_t priority;
    struct slice headers; /* well formed; CC and BCC would be in here */
    struct slice expiration;
    struct slice user_id;
};

bool amqp_props_peek_all(struct slice raw, struct amqp_props_brief *out);

/* The same verdict as amqp_props_decode, and cheaper for messages with few properties. */
MUST_CHECK static inline bool amqp_props_peek(struct slice raw, struct amqp_props_brief *out)
{
    /* No properties, or nothing but the delivery mode: what most publishers send. */
    *out = (struct amqp_props_brief){ 0 };
    if (raw.len == 2 && raw.ptr[0] == 0 && (raw.ptr[1] & 0xFC) == 0)
        return true;
    if (raw.len == 3 && raw.ptr[0] == AMQP_PROP_delivery_mode >> 8 && (raw.ptr[1] & 0xFC) == 0) {
        out->flags = AMQP_PROP_delivery_mode;
        out->delivery_mode = raw.ptr[2];
        return true;
    }
    return amqp_props_peek_all(raw, out);
}

#endif
