/*
 * bench_worker: a thread with its publishers and consumers, steered from the main loop by calls.
 *
 * A call travels as mail to the worker's loop and comes back as mail to the main loop when what it
 * asked for is done: all connections are ready, all publishers have stopped, and so on. What a
 * worker counts is its own; a snapshot copies it into the call. At most one call of each kind is
 * under way. What goes wrong for good is reported once, by on_failed, on the main loop.
 */
#ifndef WARREN_BENCH_WORKER_H
#define WARREN_BENCH_WORKER_H

#include "bench_consumer.h"
#include "bench_publisher.h"
#include "io/mailbox.h"
#include "io/ticker.h"

enum bench_op {
    BENCH_OP_CONNECT,  /* answered when all are ready */
    BENCH_OP_GO,       /* publish from `start_us` on; answered when all publishers have stopped */
    BENCH_OP_STOP,     /* publish nothing new; answered at once, BENCH_OP_GO when it is done */
    BENCH_OP_SNAPSHOT, /* answered at once, with figures */
    BENCH_OP_CLOSE,    /* answered when all connections are closed */
    BENCH_OPS
};

struct bench_worker;

struct bench_call {
    struct mail mail;
    struct bench_worker *worker;
    enum bench_op op;
    bool under_way;
    uint64_t start_us;
    bool reset; /* SNAPSHOT: begin timings and pauses anew after the copy */
    uint64_t at_us;
    struct bench_figures figures;
};

struct bench_worker_handlers {
    void (*on_answer)(struct bench_worker *w, const struct bench_call *call, void *arg);
    void (*on_failed)(struct bench_worker *w, const struct err *why, void *arg);
};

struct bench_worker {
    const struct bench_plan *plan;
    struct loop *loop;
    struct loop *main_loop;
    const struct bench_worker_handlers *handlers;
    void *arg;
    struct bench_publisher *publishers;
    uint32_t publishers_count;
    struct bench_consumer *consumers;
    uint32_t consumers_count;
    struct bench_track track;
    struct bench_figures figures;
    struct ticker *ticker;
    uint32_t connecting_next; /* of publishers, then consumers: the next one to connect */
    uint32_t ready;
    uint32_t stopped;
    uint32_t closed;
    struct bench_call calls[BENCH_OPS];
    struct mail failure_mail;
    bool failed;
    struct err failure;
};

/* Publishers first_publisher, + step, ... and consumers likewise, over a loop made here. On the
 * main thread; the worker starts with bench_worker_start. */
struct bench_worker_share {
    uint32_t first;
    uint32_t step; /* 0: none */
};
MUST_CHECK bool bench_worker_init(struct bench_worker *w, const struct bench_plan *plan,
                                  unsigned number, struct bench_worker_share publishers,
                                  struct bench_worker_share consumers, struct loop *main_loop,
                                  struct tls_ctx *tls, struct mem_budget *ids,
                                  struct bench_progress *progress,
                                  const struct bench_worker_handlers *handlers, void *arg,
                                  struct err *err);
MUST_CHECK bool bench_worker_start(struct bench_worker *w, struct err *err);

/* Main thread. The call comes back through on_answer. */
void bench_worker_call(struct bench_worker *w, enum bench_op op, uint64_t start_us, bool reset);

/* Stop the thread and wait for it; its tracker and excuses may then be read. */
void bench_worker_join(struct bench_worker *w);
void bench_worker_fini(struct bench_worker *w);

#endif
