/*
 * leg_map_kit: methods as octets.
 */
#ifndef WARREN_TESTS_LEG_MAP_KIT_H
#define WARREN_TESTS_LEG_MAP_KIT_H

#include "amqp/amqp_method.h"
#include "expect.h"

struct bytes {
    uint8_t room[512];
    size_t len;
};

static inline struct slice view(const struct bytes *b)
{
    return slice_of(b->room, b->len);
}

static inline struct bytes encode(const struct amqp_method *m)
{
    struct bytes b;
    struct wire_out w = wire_out_over(b.room, sizeof b.room);
    amqp_method_encode(&w, m);
    cr_assert(not(w.overflow));
    b.len = wire_out_len(&w);
    return b;
}

#endif
