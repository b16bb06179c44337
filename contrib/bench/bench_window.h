/*
 * bench_window: what was published on a confirm channel and is not confirmed yet.
 *
 * Delivery tags count from 1 on each channel; the window maps them to the publisher's messages and
 * the moments they were due and sent. When a connection is gone, the window lists what to send
 * again, in order, and starts over at tag 1. One thread.
 */
#ifndef WARREN_BENCH_WINDOW_H
#define WARREN_BENCH_WINDOW_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct bench_window_entry {
    uint64_t message;
    uint64_t due_us;
    uint64_t sent_us;
    bool settled; /* by an ack of its own, while an earlier one is still open */
};

struct bench_window {
    struct bench_window_entry *entries; /* ring, by tag */
    uint32_t mask;
    uint32_t limit;
    uint64_t first_tag; /* the oldest that is open */
    uint64_t next_tag;
    uint32_t open; /* not settled */
};

/* An entry was settled; `acked` or nacked. It is good for the call. */
typedef void (*bench_window_fn)(void *arg, const struct bench_window_entry *e, bool acked);

void bench_window_init(struct bench_window *w, uint32_t limit);
void bench_window_fini(struct bench_window *w);

/* How many more may be published. What is settled out of order still takes its place. */
static inline uint32_t bench_window_room(const struct bench_window *w)
{
    return w->limit - (uint32_t)(w->next_tag - w->first_tag);
}

static inline void bench_window_push(struct bench_window *w, uint64_t message, uint64_t due_us,
                                     uint64_t sent_us)
{
    w->entries[w->next_tag++ & w->mask] =
        (struct bench_window_entry){ message, due_us, sent_us, false };
    w->open++;
}

/* An ack or nack came; tag 0 with `multiple` means all. False when the tag was never published or
 * is settled: the server is wrong. */
MUST_CHECK bool bench_window_settle(struct bench_window *w, uint64_t tag, bool multiple, bool acked,
                                    bench_window_fn fn, void *arg);

/* The channel is gone: copy the open entries, oldest first, into `out` (room for `limit`), and
 * start over. Returns how many. */
uint32_t bench_window_reset(struct bench_window *w, struct bench_window_entry *out);

#endif
