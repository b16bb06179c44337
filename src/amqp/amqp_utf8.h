/*
 * amqp_utf8: are these octets UTF-8, as RabbitMQ asks of names?
 *
 * Like RabbitMQ's check it refuses forms that are longer than needed and lets surrogates pass.
 */
#ifndef WARREN_AMQP_UTF8_H
#define WARREN_AMQP_UTF8_H

#include "base/slice.h"

/* For what is not plain ASCII; amqp_utf8_check calls it. */
bool amqp_utf8_check_all(struct slice s);

static inline bool amqp_utf8_check(struct slice s)
{
    uint64_t seen = 0;
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t eight;
        memcpy(&eight, s.ptr + i, 8);
        seen |= eight;
    }
    for (; i < s.len; i++)
        seen |= s.ptr[i];
    return (seen & 0x8080808080808080u) == 0 || amqp_utf8_check_all(s);
}

#endif
