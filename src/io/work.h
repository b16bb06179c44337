/*
 * work: a few threads for what blocks and must not block a loop: name lookups, file syncs,
 * password hashing.
 *
 * A job runs on one of the pool's threads, in the order of submission per pool, and comes back as
 * mail to the loop that submitted it. The number of jobs that wait is bounded. Things that may
 * block each other for long (a dead name server, a slow disk) get pools of their own.
 */
#ifndef WARREN_WORK_H
#define WARREN_WORK_H

#include "base/attr.h"
#include "base/err.h"
#include "io/loop.h"
#include "io/mailbox.h"

struct work_pool;
struct work_job;

typedef void (*work_fn)(struct work_job *job);

/* Embedded in the submitter's struct, which must stay until `done` runs. */
struct work_job {
    work_fn run;  /* on a thread of the pool; touches nothing of a loop */
    work_fn done; /* on the submitting loop, exactly once; the struct is the submitter's again */
    /* Optional, for what cannot be told how long it takes: if the job still runs when the pool
     * ends, nobody waits; `lost` follows on the pool's thread instead of `done`, and frees the
     * struct. Nobody else may touch the struct once the pool has ended. */
    work_fn lost;
    bool cancelled; /* read by `done`: work_cancel was called, or the pool ended */

    /* The pool's own. */
    enum { WORK_IDLE, WORK_WAITING, WORK_RUNNING, WORK_LOST } state;
    struct work_pool *pool;
    struct loop *loop;
    struct mail mail;
    TAILQ_ENTRY(work_job) entry;
};

/* At most `threads_max` threads, each made when it is needed first; at most `waiting_max` jobs
 * wait. `name` (copied) names the threads. Signals are never delivered to them. */
struct work_pool *work_pool_new(const char *name, unsigned threads_max, size_t waiting_max);

/* Its threads let others go first: for work that strangers can ask for. Before the first job. */
void work_pool_give_way(struct work_pool *pool);

/* Waits for the jobs that run and have no `lost`; those that wait come back cancelled. The loops
 * that submitted must not have been freed yet (they may have stopped: loop_free then delivers). A
 * job that ran in time may come back later than this; what its `done` submits is refused. NULL is
 * allowed. */
void work_pool_free(struct work_pool **pool);

void work_job_init(struct work_job *job, work_fn run, work_fn done);

/* On the loop's thread. False, and `done` will not be called, when too many wait or the pool has
 * ended (ERR_LIMIT), or the system refuses the first thread (ERR_SYSTEM). */
MUST_CHECK bool work_submit(struct work_pool *pool, struct loop *loop, struct work_job *job,
                            struct err *err);

/* On the thread that submitted, before `done` ran: the result is not wanted any more. A job that
 * waits will not run; one that runs cannot be stopped. In both cases `done` follows, later, from
 * the loop, and finds `cancelled` set. */
void work_cancel(struct work_job *job);

/* Jobs that wait for a thread. Any thread. */
size_t work_pool_waiting(struct work_pool *pool);

#endif
