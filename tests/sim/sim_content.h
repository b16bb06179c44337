/*
 * sim_content: what a simulated message consists of, all from one number.
 */
#ifndef WARREN_SIM_CONTENT_H
#define WARREN_SIM_CONTENT_H

#include "base/slice.h"

#define SIM_NAMES_BYTES 10u /* no exchange, and the number as routing key */
#define SIM_PROPS_MAX   40u

static inline void sim_fill(uint8_t *out, size_t len, uint64_t content, uint64_t salt)
{
    uint64_t x = content * UINT64_C(0x9E3779B97F4A7C15) + salt;
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = (uint8_t)(x >> (8 * (i % 8)));
    }
}

static inline void sim_names(uint8_t out[SIM_NAMES_BYTES], uint64_t content)
{
    out[0] = 0;
    out[1] = 8;
    memcpy(out + 2, &content, sizeof content);
}

/* No properties (two zeros), as often as not; else some octets that only the store sees. */
static inline size_t sim_props_bytes(uint64_t content)
{
    return content % 2 == 0 ? 2 : 2 + (size_t)(content / 2 % (SIM_PROPS_MAX - 2));
}

static inline void sim_props(uint8_t *out, uint64_t content)
{
    memset(out, 0, 2);
    sim_fill(out + 2, sim_props_bytes(content) - 2, content, 1);
}

static inline bool sim_is_body(struct slice body, uint64_t content)
{
    uint8_t want[256];
    uint64_t x = content * UINT64_C(0x9E3779B97F4A7C15) + 2;
    for (size_t at = 0; at < body.len; at += 8) {
        size_t n = body.len - at < 8 ? body.len - at : 8;
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        for (size_t i = 0; i < n; i++)
            want[i] = (uint8_t)(x >> (8 * i));
        if (memcmp(body.ptr + at, want, n) != 0)
            return false;
    }
    return true;
}

#endif
