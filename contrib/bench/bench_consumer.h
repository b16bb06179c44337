/*
 * bench_consumer: one connection that consumes one queue, acknowledges as asked, and looks at every
 * body. One loop.
 *
 * After a lost connection it consumes again; what was not acknowledged then comes back marked.
 */
#ifndef WARREN_BENCH_CONSUMER_H
#define WARREN_BENCH_CONSUMER_H

#include "bench_acks.h"
#include "bench_conn.h"
#include "bench_figures.h"
#include "bench_plan.h"
#include "bench_scan.h"

struct bench_consumer;

struct bench_consumer_handlers {
    void (*on_ready)(struct bench_consumer *c, void *arg); /* for the first time */
    void (*on_failed)(struct bench_consumer *c, const struct err *why, void *arg);
    void (*on_closed)(struct bench_consumer *c, void *arg);
};

/* Messages in a row that took the same time: recorded at once. */
struct bench_streak {
    uint64_t time_us;
    uint64_t intended_us;
    uint64_t count;
};

struct bench_consumer {
    const struct bench_plan *plan;
    uint32_t index;
    uint32_t queue;
    struct bench_figures *figures; /* of the thread, as is the tracker */
    struct bench_track *track;
    const struct bench_consumer_handlers *handlers;
    void *arg;
    struct bench_conn conn;
    struct bench_scan scan;
    struct bench_order order;
    struct bench_streak streak;
    struct buf *filler; /* NULL: bodies are not compared */
    bool was_ready;
    bool consuming;
    uint32_t unacked; /* since the last ack */
    uint64_t last_tag;
    bool judges_acks;
    struct bench_acks acks;
};

void bench_consumer_init(struct bench_consumer *c, const struct bench_plan *plan, uint32_t index,
                         struct loop *loop, struct tls_ctx *tls, struct bench_figures *figures,
                         struct bench_track *track, const struct bench_progress *progress,
                         const struct bench_consumer_handlers *handlers, void *arg);
void bench_consumer_fini(struct bench_consumer *c);

void bench_consumer_connect(struct bench_consumer *c);

/* Acknowledge what is left over, close; on_closed. */
void bench_consumer_close(struct bench_consumer *c);

#endif
