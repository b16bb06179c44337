#include "store/space.h"

bool space_see(struct space *sp, uint64_t free_bytes, uint64_t total_bytes, uint64_t limit_bytes)
{
    bool was_low = sp->is_low;
    sp->free_bytes = free_bytes;
    sp->total_bytes = total_bytes;
    sp->limit_bytes = limit_bytes;
    sp->is_low = free_bytes < limit_bytes;
    return sp->is_low != was_low;
}

uint32_t space_next_ms(const struct space *sp)
{
    if (sp->is_low)
        return SPACE_LOOK_LEAST_MS;
    uint64_t ms = (sp->free_bytes - sp->limit_bytes) / (SPACE_FILL_RATE / 1000);
    if (ms < SPACE_LOOK_LEAST_MS)
        return SPACE_LOOK_LEAST_MS;
    return ms < SPACE_LOOK_MOST_MS ? (uint32_t)ms : SPACE_LOOK_MOST_MS;
}
