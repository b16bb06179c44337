/*
 * queue_kit: numbered messages, and how many of them are alive.
 */
#ifndef WARREN_TESTS_QUEUE_KIT_H
#define WARREN_TESTS_QUEUE_KIT_H

#include "model/message.h"

#include <string.h>

static inline struct message *kit_message(uint64_t number)
{
    return message_new(slice_str("x"), slice_str("key"), slice_of("\0\0", 2),
                       slice_of(&number, sizeof number), false);
}

/* With a priority, and an expiration unless that is NULL. */
static inline struct message *kit_message_with(uint64_t number, uint8_t priority,
                                               const char *expiration)
{
    uint8_t room[64];
    struct wire_out w = wire_out_over(room, sizeof room);
    struct amqp_props props = { .flags = AMQP_PROP_priority, .priority = priority };
    if (expiration != NULL) {
        props.flags |= AMQP_PROP_expiration;
        props.expiration = slice_str(expiration);
    }
    amqp_props_encode(&w, &props);
    return message_new(slice_str("x"), slice_str("key"), wire_out_slice(&w),
                       slice_of(&number, sizeof number), false);
}

static inline uint64_t kit_number(const struct message *m)
{
    uint64_t number;
    memcpy(&number, message_body(m).ptr, sizeof number);
    return number;
}

#endif
