/*
 * bench_progress: how far each publisher has come, for consumers on other threads.
 *
 * A publisher's messages are numbered; it says which it is about to send, and which were confirmed.
 * So a consumer can tell of a message that is confirmed that it was sent after something the
 * consumer saw, without a clock. Each publisher's thread says its own; anybody asks.
 */
#ifndef WARREN_BENCH_PROGRESS_H
#define WARREN_BENCH_PROGRESS_H

#include "bench_plan.h"

#include <stdatomic.h>

struct bench_progress {
    const struct bench_plan *plan;
    atomic_uint_fast64_t *begun;     /* by publisher: messages below this may be sent */
    atomic_uint_fast64_t *confirmed; /* by flow: one past the highest that is */
};

void bench_progress_init(struct bench_progress *p, const struct bench_plan *plan);
void bench_progress_fini(struct bench_progress *p);

/* Messages below `next` are about to be sent: said before the first octet of them is. */
static inline void bench_progress_begin(struct bench_progress *p, uint32_t publisher, uint64_t next)
{
    atomic_store(&p->begun[publisher], next);
}

static inline void bench_progress_confirm(struct bench_progress *p, uint32_t flow, uint64_t message)
{
    if (message >= atomic_load_explicit(&p->confirmed[flow], memory_order_relaxed))
        atomic_store(&p->confirmed[flow], message + 1);
}

/* Messages of this flow from this number on are sent after now. */
static inline uint64_t bench_progress_now(const struct bench_progress *p, uint32_t flow)
{
    return atomic_load(&p->begun[flow / p->plan->publisher_flows]);
}

/* One of the flow's messages from that number on is confirmed. */
static inline bool bench_progress_is_past(const struct bench_progress *p, uint32_t flow,
                                          uint64_t number)
{
    return atomic_load(&p->confirmed[flow]) > number;
}

#endif
