/*
 * lock: mutual exclusion, a bell to wait for under it, and a thread, for the few places where
 * threads share what no mailbox can carry: the journal's memory, the table of segments.
 *
 * What is done under a lock is short and never blocks, unless its owner says so. Waiting for a bell
 * gives the lock back meanwhile, as condition variables do; a bell may ring for nothing, so whoever
 * waits asks again.
 */
#ifndef WARREN_LOCK_H
#define WARREN_LOCK_H

#include "base/attr.h"
#include "base/err.h"

#include <pthread.h>
#include <stdint.h>

struct lock {
    pthread_mutex_t mutex;
};

struct bell {
    pthread_cond_t cond;
};

void lock_init(struct lock *l);
void lock_fini(struct lock *l);

static inline void lock_take(struct lock *l)
{
    pthread_mutex_lock(&l->mutex);
}

static inline void lock_give(struct lock *l)
{
    pthread_mutex_unlock(&l->mutex);
}

void bell_init(struct bell *b);
void bell_fini(struct bell *b);

/* The lock is taken, before and after. With `until_us` (of clock_mono_us; 0: for ever) no longer
 * than that. */
void bell_wait(struct bell *b, struct lock *l, uint64_t until_us);

/* Wake one who waits. The lock may be taken or not. */
void bell_ring(struct bell *b);

/* A thread that is no loop. It takes no signals; `name` is cut to what the kernel keeps. */
struct thread;

MUST_CHECK struct thread *thread_start(const char *name, void (*run)(void *arg), void *arg,
                                       struct err *err);
/* Wait for its end. *t becomes NULL; NULL is allowed. */
void thread_join(struct thread **t);

#endif
