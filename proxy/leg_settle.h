/*
 * leg_settle: what a client says of deliveries: basic.ack, nack and reject as one shape.
 */
#ifndef WARREN_LEG_SETTLE_H
#define WARREN_LEG_SETTLE_H

#include "amqp/amqp_method.h"
#include "base/attr.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct leg_settle {
    uint32_t id;
    uint64_t tag;
    bool multiple;
    bool requeue;
};

static inline bool leg_settle_is(uint32_t id)
{
    return id == AMQP_BASIC_ACK || id == AMQP_BASIC_NACK || id == AMQP_BASIC_REJECT;
}

/* Of one of the three; false when it is broken. */
MUST_CHECK bool leg_settle_read(struct slice payload, struct leg_settle *out);

/* The same of another delivery. */
struct amqp_method leg_settle_method(const struct leg_settle *s, uint64_t tag);

#endif
