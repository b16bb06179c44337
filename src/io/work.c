#include "io/work.h"

#include "base/check.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 16 /* what the kernel keeps of a thread's name */
#define THREADS_MAX    64u

struct work_pool {
    atomic_size_t refs; /* its maker's, and one of each job that is not back yet */
    char name[NAME_MAX_BYTES];
    pthread_mutex_t lock;
    pthread_cond_t wanted; /* a job was added, or the pool ends */
    TAILQ_HEAD(, work_job) waiting;
    size_t waiting_count;
    size_t waiting_max;
    bool ending;
    unsigned thread_count;
    pthread_t threads[THREADS_MAX];
};

/* A job may still be cancelled, on its loop, when its pool has ended already: the last one home
 * closes the door. */
static void pool_unref(struct work_pool *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_cond_destroy(&p->wanted);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

static void on_done_mail(struct mail *mail)
{
    struct work_job *job = CONTAINER_OF(mail, struct work_job, mail);
    CHECK(job->state == WORK_RUNNING);
    struct work_pool *p = job->pool;
    job->state = WORK_IDLE;
    job->pool = NULL;
    job->done(job);
    pool_unref(p);
}

/* The job leaves the pool: from here on it is its loop's. */
static void give_back(struct work_job *job)
{
    mailbox_post(job->loop, &job->mail);
}

static struct work_job *take_first(struct work_pool *p)
{
    struct work_job *job = TAILQ_FIRST(&p->waiting);
    TAILQ_REMOVE(&p->waiting, job, entry);
    p->waiting_count--;
    job->state = WORK_RUNNING;
    return job;
}

static void *thread_main(void *arg)
{
    struct work_pool *p = arg;
    pthread_setname_np(pthread_self(), p->name);
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (TAILQ_EMPTY(&p->waiting) && !p->ending)
            pthread_cond_wait(&p->wanted, &p->lock);
        if (p->ending)
            break;
        struct work_job *job = take_first(p);
        pthread_mutex_unlock(&p->lock);
        job->run(job);
        give_back(job);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static bool start_threads(struct work_pool *p, unsigned threads, struct err *err)
{
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int e = 0;
    while (p->thread_count < threads && e == 0) {
        e = pthread_create(&p->threads[p->thread_count], NULL, thread_main, p);
        p->thread_count += e == 0;
    }
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (e != 0)
        return err_set(err, ERR_SYSTEM, "thread %s: %s", p->name, strerror(e));
    return true;
}

struct work_pool *work_pool_new(const char *name, unsigned threads, size_t waiting_max,
                                struct err *err)
{
    CHECK(threads >= 1 && threads <= THREADS_MAX && waiting_max >= 1);
    struct work_pool *p = mem_zalloc(sizeof *p);
    atomic_init(&p->refs, 1);
    snprintf(p->name, sizeof p->name, "%s", name);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wanted, NULL);
    TAILQ_INIT(&p->waiting);
    p->waiting_max = waiting_max;
    if (!start_threads(p, threads, err))
        work_pool_free(&p);
    return p;
}

void work_pool_free(struct work_pool **pool)
{
    struct work_pool *p = *pool;
    *pool = NULL;
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->wanted);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    pthread_mutex_lock(&p->lock);
    while (!TAILQ_EMPTY(&p->waiting)) {
        struct work_job *job = take_first(p);
        job->cancelled = true;
        give_back(job);
    }
    pthread_mutex_unlock(&p->lock);
    pool_unref(p);
}

void work_job_init(struct work_job *job, work_fn run, work_fn done)
{
    CHECK(run != NULL && done != NULL);
    *job = (struct work_job){ .run = run, .done = done, .mail = { .fn = on_done_mail } };
}

bool work_submit(struct work_pool *p, struct loop *loop, struct work_job *job, struct err *err)
{
    CHECK(job->run != NULL && job->state == WORK_IDLE);
    job->pool = p;
    job->loop = loop;
    job->cancelled = false;
    pthread_mutex_lock(&p->lock);
    CHECK(!p->ending);
    bool has_room = p->waiting_count < p->waiting_max;
    if (has_room) {
        job->state = WORK_WAITING;
        TAILQ_INSERT_TAIL(&p->waiting, job, entry);
        p->waiting_count++;
        atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
        pthread_cond_signal(&p->wanted);
    }
    pthread_mutex_unlock(&p->lock);
    if (!has_room)
        return err_set(err, ERR_LIMIT, "%s: %zu jobs are waiting already", p->name, p->waiting_max);
    return true;
}

void work_cancel(struct work_job *job)
{
    struct work_pool *p = job->pool;
    CHECK(p != NULL); /* `done` has not run */
    bool was_waiting = false;
    pthread_mutex_lock(&p->lock);
    job->cancelled = true;
    if (job->state == WORK_WAITING) {
        TAILQ_REMOVE(&p->waiting, job, entry);
        p->waiting_count--;
        job->state = WORK_RUNNING; /* for the rest of its way as if it had run */
        was_waiting = true;
    }
    pthread_mutex_unlock(&p->lock);
    if (was_waiting)
        give_back(job);
}

size_t work_pool_waiting(struct work_pool *p)
{
    pthread_mutex_lock(&p->lock);
    size_t count = p->waiting_count;
    pthread_mutex_unlock(&p->lock);
    return count;
}
