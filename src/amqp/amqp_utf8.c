#include "amqp/amqp_utf8.h"

#include "base/wire.h"

/* How many octets follow this first one; -1 when none begins like it. */
static int followers(uint8_t first)
{
    if (first < 0x80)
        return 0;
    if (first >= 0xC2 && first < 0xE0)
        return 1;
    if (first >= 0xE0 && first < 0xF0)
        return 2;
    if (first >= 0xF0 && first < 0xF8)
        return 3;
    return -1;
}

/* E0 80..9F and F0 80..8F would spell what fits in fewer octets. */
static bool is_too_long(uint8_t first, uint8_t second)
{
    return (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
}

bool amqp_utf8_check_all(struct slice s)
{
    struct wire w = wire_over(s);
    while (wire_left(&w) != 0) {
        uint8_t first = wire_u8(&w);
        int more = followers(first);
        if (more < 0)
            return false;
        for (int i = 0; i < more; i++) {
            uint8_t next = wire_u8(&w); /* 0 at the end: never a follower */
            if ((next & 0xC0) != 0x80 || (i == 0 && is_too_long(first, next)))
                return false;
        }
    }
    return true;
}
