#include "io/work.h"

#include "base/check.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define NAME_MAX_BYTES 16 /* what the kernel keeps of a thread's name */
#define THREADS_MAX    64u
#define GIVE_WAY_NICE  5 /* a third of what others get, where there is not enough for all */

struct work_thread {
    struct work_pool *pool;
    struct work_job *job; /* NULL: it waits for one */
    pthread_t id;
    bool is_detached; /* nobody waits for its end: it holds a reference to the pool */
};

struct work_pool {
    atomic_size_t refs; /* its maker's, and one of each job that is not back yet */
    char name[NAME_MAX_BYTES];
    pthread_mutex_t lock;
    pthread_cond_t wanted; /* a job was added, or the pool ends */
    TAILQ_HEAD(, work_job) waiting;
    size_t waiting_count;
    size_t waiting_max;
    bool ending;
    bool gives_way;
    unsigned idle_count;
    unsigned thread_count;
    unsigned threads_max;
    struct work_thread threads[THREADS_MAX];
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

/* True when the pool ended meanwhile and has nobody left who could take the job back. */
static bool finish(struct work_thread *t, struct work_job *job)
{
    struct work_pool *p = t->pool;
    t->job = NULL;
    if (job->state != WORK_LOST) {
        give_back(job);
        return false;
    }
    pthread_mutex_unlock(&p->lock);
    job->lost(job);
    pool_unref(p); /* the job's reference, then the thread's own */
    pool_unref(p);
    return true;
}

static void *thread_main(void *arg)
{
    struct work_thread *t = arg;
    struct work_pool *p = t->pool;
    pthread_setname_np(pthread_self(), p->name);
    if (p->gives_way) /* of this thread alone; to ask for less is never refused */
        (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + GIVE_WAY_NICE);
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (TAILQ_EMPTY(&p->waiting) && !p->ending) {
            p->idle_count++;
            pthread_cond_wait(&p->wanted, &p->lock);
            p->idle_count--;
        }
        if (p->ending)
            break;
        struct work_job *job = t->job = take_first(p);
        pthread_mutex_unlock(&p->lock);
        job->run(job);
        pthread_mutex_lock(&p->lock);
        if (finish(t, job))
            return NULL;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* The lock is held. Without a single thread nothing would ever run; with some, it only takes
 * longer. */
static bool add_thread(struct work_pool *p, struct err *err)
{
    struct work_thread *t = &p->threads[p->thread_count];
    sigset_t all, was;
    t->pool = p;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int e = pthread_create(&t->id, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (e == 0)
        p->thread_count++;
    else if (p->thread_count == 0)
        return err_set(err, ERR_SYSTEM, "thread %s: %s", p->name, strerror(e));
    return true;
}

struct work_pool *work_pool_new(const char *name, unsigned threads_max, size_t waiting_max)
{
    CHECK(threads_max >= 1 && threads_max <= THREADS_MAX && waiting_max >= 1);
    struct work_pool *p = mem_zalloc(sizeof *p);
    atomic_init(&p->refs, 1);
    snprintf(p->name, sizeof p->name, "%s", name);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wanted, NULL);
    TAILQ_INIT(&p->waiting);
    p->waiting_max = waiting_max;
    p->threads_max = threads_max;
    return p;
}

/* The lock is held. */
static void let_go_of_the_lost(struct work_pool *p)
{
    for (unsigned i = 0; i < p->thread_count; i++) {
        struct work_thread *t = &p->threads[i];
        if (t->job == NULL || t->job->lost == NULL)
            continue;
        t->job->state = WORK_LOST;
        t->is_detached = true;
        atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
        pthread_detach(t->id);
    }
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
    let_go_of_the_lost(p);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++)
        if (!p->threads[i].is_detached)
            pthread_join(p->threads[i].id, NULL);
    pthread_mutex_lock(&p->lock);
    while (!TAILQ_EMPTY(&p->waiting)) {
        struct work_job *job = take_first(p);
        job->cancelled = true;
        give_back(job);
    }
    pthread_mutex_unlock(&p->lock);
    pool_unref(p);
}

void work_pool_give_way(struct work_pool *pool)
{
    CHECK(pool->thread_count == 0);
    pool->gives_way = true;
}

void work_job_init(struct work_job *job, work_fn run, work_fn done)
{
    CHECK(run != NULL && done != NULL);
    *job = (struct work_job){ .run = run, .done = done, .mail = { .fn = on_done_mail } };
}

static bool goes_on(const struct work_pool *p, struct err *err)
{
    return !p->ending || err_set(err, ERR_LIMIT, "%s: it takes no jobs any more", p->name);
}

static bool has_room(const struct work_pool *p, struct err *err)
{
    return p->waiting_count < p->waiting_max ||
           err_set(err, ERR_LIMIT, "%s: %zu jobs are waiting already", p->name, p->waiting_max);
}

/* One for each job that waits, as far as there may be. */
static bool has_hands(struct work_pool *p, struct err *err)
{
    return p->idle_count > p->waiting_count || p->thread_count == p->threads_max ||
           add_thread(p, err);
}

bool work_submit(struct work_pool *p, struct loop *loop, struct work_job *job, struct err *err)
{
    CHECK(job->run != NULL && job->state == WORK_IDLE);
    job->pool = p;
    job->loop = loop;
    job->cancelled = false;
    pthread_mutex_lock(&p->lock);
    bool ok = goes_on(p, err) && has_room(p, err) && has_hands(p, err);
    if (ok) {
        job->state = WORK_WAITING;
        TAILQ_INSERT_TAIL(&p->waiting, job, entry);
        p->waiting_count++;
        atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&p->lock);
    /* Not before: the thread may have the processor at once, and would wait for the lock. The pool
     * is there, its owner's reference does not end before this returns. */
    if (ok)
        pthread_cond_signal(&p->wanted);
    return ok;
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
