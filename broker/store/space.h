/*
 * space: whether the disk has room, and when to look again. Pure.
 *
 * A disk that fills at SPACE_FILL_RATE reaches the limit just after the next look, wherever it
 * stands now, so that what comes in between is small beside the limit.
 */
#ifndef WARREN_SPACE_H
#define WARREN_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#define SPACE_LOOK_LEAST_MS 100u
#define SPACE_LOOK_MOST_MS  1000u
#define SPACE_FILL_RATE     ((uint64_t)1 << 30) /* octets a second */

struct space {
    uint64_t free_bytes;
    uint64_t total_bytes;
    uint64_t limit_bytes;
    bool is_low;
};

/* What was seen. True when it has become low, or is not low any more. */
bool space_see(struct space *sp, uint64_t free_bytes, uint64_t total_bytes, uint64_t limit_bytes);

/* In how long to look again. */
uint32_t space_next_ms(const struct space *sp);

#endif
