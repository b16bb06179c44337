/*
 * bench_admin: the connection that declares queues before a run, and counts and deletes them after
 * it. Main loop.
 *
 * A job is a list of methods, made one by one, each with one answer; some are under way at once.
 * When it is done, or the connection failed, on_done is called from the loop.
 */
#ifndef WARREN_BENCH_ADMIN_H
#define WARREN_BENCH_ADMIN_H

#include "bench_conn.h"
#include "bench_plan.h"

enum bench_admin_job {
    BENCH_ADMIN_NONE,
    BENCH_ADMIN_DECLARE, /* exchange, queues (emptied), bindings */
    BENCH_ADMIN_COUNT,   /* messages left in each queue */
    BENCH_ADMIN_DELETE,
    BENCH_ADMIN_CLOSE
};

/* why is NULL when all went well. */
typedef void (*bench_admin_fn)(enum bench_admin_job job, const struct err *why, void *arg);

struct bench_admin {
    const struct bench_plan *plan;
    bench_admin_fn on_done;
    void *arg;
    struct bench_conn conn;
    enum bench_admin_job job;
    bool used; /* it was connected once */
    bool broken;
    unsigned tries; /* of this job that cost the connection */
    uint64_t sent;
    uint64_t answered;
    uint64_t total;
    uint32_t *left; /* [queue], after BENCH_ADMIN_COUNT */
};

void bench_admin_init(struct bench_admin *a, const struct bench_plan *plan, struct loop *loop,
                      struct tls_ctx *tls, bench_admin_fn on_done, void *arg);
void bench_admin_fini(struct bench_admin *a);

/* Connects when it is not connected yet. One job at a time. */
void bench_admin_do(struct bench_admin *a, enum bench_admin_job job);

#endif
