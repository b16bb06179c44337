/*
 * bench_acks: what a consumer has acknowledged, and which of it is long enough ago to be relied on.
 *
 * AMQP has no answer to an acknowledgement: whether the broker kept it is never told. So an
 * acknowledgement counts as kept when its connection still spoke some time after it was sent; those
 * under way when a connection broke count as unknown. One consumer, one thread.
 */
#ifndef WARREN_BENCH_ACKS_H
#define WARREN_BENCH_ACKS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_acks_entry {
    uint64_t sequence;
    uint32_t flow;
    uint32_t sent_ms; /* when it was acknowledged; set when it is */
};

struct bench_acks {
    struct bench_acks_entry *entries; /* ring: first .. acked - 1 are, acked .. end - 1 are not */
    size_t cap;                       /* a power of two, or 0 */
    size_t first;
    size_t acked;
    size_t end;
    uint64_t ripe_ms;
};

/* An acknowledgement is ripe `ripe_ms` after it was sent. */
void bench_acks_init(struct bench_acks *a, uint64_t ripe_ms);
void bench_acks_fini(struct bench_acks *a);

/* A message was delivered, in the order of tags. */
void bench_acks_took(struct bench_acks *a, uint32_t flow, uint64_t sequence);

/* All that was delivered so far is acknowledged. */
void bench_acks_sent(struct bench_acks *a, uint64_t now_ms);

/* Takes the oldest that is ripe at `now_ms`; false when there is none. */
MUST_CHECK bool bench_acks_ripe(struct bench_acks *a, uint64_t now_ms, uint32_t *flow,
                                uint64_t *sequence);

/* The connection is lost: what was not ripe never will be. */
void bench_acks_drop(struct bench_acks *a);

#endif
