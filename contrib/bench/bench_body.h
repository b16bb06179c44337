/*
 * bench_body: what a message of warren-bench says about itself, in the first octets of its body.
 *
 *      0        2                 8          11                16                24
 *      +--------+-----------------+-----------+-----------------+-----------------+
 *      |  run   |   time, 48 bit  | flow      |   sequence      |  intended time  |
 *      +--------+-----------------+-----------+-----------------+-----------------+
 *
 * Sixteen octets are enough to recognise a message and to time it: the run it belongs to, so that
 * what an earlier run left in a queue is not counted; microseconds of the monotonic clock; the flow
 * (a publisher's stream to one routing key), whose top bit says that the publisher has sent this id
 * before; and the sequence within the flow, from 0, without gaps. Twenty-four also hold the moment
 * at which a paced message was due. A paced message with fewer carries that moment in `time`: the
 * latency that counts is the one a user would see.
 */
#ifndef WARREN_BENCH_BODY_H
#define WARREN_BENCH_BODY_H

#include "base/slice.h"

#include <stdbool.h>

#define BENCH_BODY_MIN          16u
#define BENCH_BODY_INTENDED_MIN 24u
#define BENCH_BODY_FLOWS_MAX    (UINT32_C(1) << 23)
#define BENCH_BODY_SEQUENCE_MAX ((UINT64_C(1) << 40) - 1)
#define BENCH_BODY_TIME_MASK    ((UINT64_C(1) << 48) - 1)

struct bench_body {
    uint16_t run;
    bool resent;
    uint32_t flow;
    uint64_t sequence;
    uint64_t time_us;     /* modulo 2^48 */
    uint64_t intended_us; /* the same as time_us when the body has no room for it */
};

static inline void bench_body_put_u64(uint8_t *at, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(at, &v, sizeof v);
}

static inline uint64_t bench_body_u64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return __builtin_bswap64(v);
}

/* The two words of 16 octets, for who stamps many messages at once. */
static inline uint64_t bench_body_when(uint16_t run, uint64_t time_us)
{
    return (uint64_t)run << 48 | (time_us & BENCH_BODY_TIME_MASK);
}

static inline uint64_t bench_body_which(uint32_t flow, uint64_t sequence, bool resent)
{
    return (uint64_t)resent << 63 | (uint64_t)flow << 40 | sequence;
}

/* Write what fits into the first `len` octets of a body; at least BENCH_BODY_MIN. */
static inline void bench_body_write(uint8_t *at, size_t len, const struct bench_body *b)
{
    bool both = len >= BENCH_BODY_INTENDED_MIN;
    bench_body_put_u64(at, bench_body_when(b->run, both ? b->time_us : b->intended_us));
    bench_body_put_u64(at + 8, bench_body_which(b->flow, b->sequence, b->resent));
    if (both)
        bench_body_put_u64(at + 16, b->intended_us);
}

/* Read the first `len` octets of a body; false when they are too few. */
static inline bool bench_body_read(const uint8_t *at, size_t len, struct bench_body *out)
{
    if (len < BENCH_BODY_MIN)
        return false;
    uint64_t when = bench_body_u64(at);
    uint64_t which = bench_body_u64(at + 8);
    out->run = (uint16_t)(when >> 48);
    out->time_us = when & BENCH_BODY_TIME_MASK;
    out->resent = which >> 63 != 0;
    out->flow = (uint32_t)(which >> 40) & (BENCH_BODY_FLOWS_MAX - 1);
    out->sequence = which & BENCH_BODY_SEQUENCE_MAX;
    out->intended_us = out->time_us;
    if (len >= BENCH_BODY_INTENDED_MIN)
        out->intended_us = bench_body_u64(at + 16) & BENCH_BODY_TIME_MASK;
    return true;
}

/* From a moment in a body to `now_us`; 0 when the body is from the future. */
static inline uint64_t bench_body_age_us(uint64_t now_us, uint64_t then_us)
{
    uint64_t age = (now_us - then_us) & BENCH_BODY_TIME_MASK;
    return age >> 47 != 0 ? 0 : age;
}

#endif
