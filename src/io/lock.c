#include "io/lock.h"

#include "base/check.h"
#include "base/mem.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME_BYTES 16 /* what the kernel keeps of a thread's name */

void lock_init(struct lock *l)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    /* What is done under it takes less than going to sleep: whoever finds it taken looks again for
     * a while. */
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    CHECK(pthread_mutex_init(&l->mutex, &attr) == 0);
    pthread_mutexattr_destroy(&attr);
}

void lock_fini(struct lock *l)
{
    CHECK(pthread_mutex_destroy(&l->mutex) == 0);
}

void bell_init(struct bell *b)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    CHECK(pthread_cond_init(&b->cond, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

void bell_fini(struct bell *b)
{
    CHECK(pthread_cond_destroy(&b->cond) == 0);
}

void bell_wait(struct bell *b, struct lock *l, uint64_t until_us)
{
    if (until_us == 0) {
        pthread_cond_wait(&b->cond, &l->mutex);
        return;
    }
    struct timespec until = { .tv_sec = (time_t)(until_us / 1000000),
                              .tv_nsec = (long)(until_us % 1000000) * 1000 };
    pthread_cond_timedwait(&b->cond, &l->mutex, &until);
}

void bell_ring(struct bell *b)
{
    pthread_cond_signal(&b->cond);
}

/* ---- threads -------------------------------------------------------------------------------- */

struct thread {
    pthread_t id;
    char name[NAME_BYTES];
    void (*run)(void *arg);
    void *arg;
};

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    pthread_setname_np(pthread_self(), t->name);
    t->run(t->arg);
    return NULL;
}

struct thread *thread_start(const char *name, void (*run)(void *arg), void *arg, struct err *err)
{
    struct thread *t = mem_zalloc(sizeof *t);
    sigset_t all, was;
    snprintf(t->name, sizeof t->name, "%s", name);
    t->run = run;
    t->arg = arg;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int e = pthread_create(&t->id, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (e == 0)
        return t;
    (void)err_set(err, ERR_SYSTEM, "thread %s: %s", name, strerror(e));
    mem_free(t);
    return NULL;
}

void thread_join(struct thread **thread)
{
    struct thread *t = *thread;
    *thread = NULL;
    if (t == NULL)
        return;
    pthread_join(t->id, NULL);
    mem_free(t);
}
