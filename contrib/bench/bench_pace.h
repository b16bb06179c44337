/*
 * bench_pace: when each message is due, for a publisher with a rate.
 *
 * Message n is due at start + n / rate, however late the ones before it were: a server that stalls
 * does not slow the schedule down, and latency from the due moment shows what a user would have
 * waited (no "coordinated omission"). Publishers of one rate are spread over the interval.
 */
#ifndef WARREN_BENCH_PACE_H
#define WARREN_BENCH_PACE_H

#include <stdint.h>

struct bench_pace {
    uint64_t start_us;
    uint64_t rate; /* messages a second, at least 1 */
};

static inline void bench_pace_init(struct bench_pace *p, uint64_t now_us, uint64_t rate,
                                   uint32_t index, uint32_t count)
{
    p->rate = rate;
    p->start_us = now_us + UINT64_C(1000000) * index / count / rate;
}

/* When message n is due. Whole seconds apart, so that nothing overflows in a run of years. */
static inline uint64_t bench_pace_due_us(const struct bench_pace *p, uint64_t n)
{
    return p->start_us + n / p->rate * 1000000u + n % p->rate * 1000000u / p->rate;
}

/* How many messages are due by now, from the first on. */
static inline uint64_t bench_pace_count(const struct bench_pace *p, uint64_t now_us)
{
    if (now_us < p->start_us)
        return 0;
    uint64_t us = now_us - p->start_us;
    uint64_t n = us / 1000000u * p->rate + us % 1000000u * p->rate / 1000000u;
    /* Both roundings go down: the next one may be due in this very microsecond. */
    while (bench_pace_due_us(p, n) <= now_us)
        n++;
    return n;
}

#endif
