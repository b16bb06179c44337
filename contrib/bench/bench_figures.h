/*
 * bench_figures: what one thread has counted and timed, to be copied whole and added up.
 *
 * Rates come from the difference of two copies. Histograms hold microseconds.
 */
#ifndef WARREN_BENCH_FIGURES_H
#define WARREN_BENCH_FIGURES_H

#include "bench_track.h"
#include "stats/hist.h"

/* Each twice: from the moment a message was sent, and from the moment it was due. */
enum bench_timing {
    BENCH_LATENCY, /* publisher to consumer */
    BENCH_LATENCY_DUE,
    BENCH_CONFIRM, /* publisher to broker and back */
    BENCH_CONFIRM_DUE,
    BENCH_TIMINGS
};

struct bench_figures {
    uint64_t published;
    uint64_t published_bytes; /* of bodies */
    uint64_t expected;        /* deliveries that must follow from what was published */
    uint64_t resent;
    uint64_t confirmed;
    uint64_t nacked;
    uint64_t returned;
    uint64_t acks; /* methods sent */
    uint64_t reconnects;
    uint64_t blocked;               /* times that a publisher was */
    struct bench_counts deliveries; /* duplicates between threads show in the merged tracker only */
    uint64_t last_delivery_us;      /* when, 0: none yet */
    uint64_t last_confirm_us;
    uint64_t delivery_gap_us; /* the longest pause between two */
    uint64_t confirm_gap_us;
    uint64_t cpu_us; /* of the thread */
    struct hist timings[BENCH_TIMINGS];
};

/* `count` messages took `us`. */
static inline void bench_figures_time(struct bench_figures *f, enum bench_timing which, uint64_t us,
                                      uint64_t count)
{
    hist_record_many(&f->timings[which], us, count);
}

/* Something arrived: the pause since the last is looked at. */
static inline void bench_figures_gap(uint64_t *last_us, uint64_t *gap_us, uint64_t now_us)
{
    if (*last_us != 0 && now_us > *last_us && now_us - *last_us > *gap_us)
        *gap_us = now_us - *last_us;
    *last_us = now_us;
}

/* Add another thread's; the gaps, and the times of the last, are the larger of both. */
void bench_figures_add(struct bench_figures *into, const struct bench_figures *from);

#endif
