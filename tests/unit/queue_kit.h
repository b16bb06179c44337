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

static inline uint64_t kit_number(const struct message *m)
{
    uint64_t number;
    memcpy(&number, message_body(m).ptr, sizeof number);
    return number;
}

#endif
