#include "sim_world.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/crew.h"
#include "io/random.h"
#include "io/work.h"
#include "sim_fiber.h"

/* A pool whose threads are taken in turn by whoever steps the world. */
struct work_pool {
    TAILQ_ENTRY(work_pool) entry;
    TAILQ_HEAD(, work_job) waiting;
    size_t waiting_count;
    size_t waiting_max;
    unsigned busy; /* jobs that run */
    unsigned threads_max;
    size_t refs; /* its maker's, and one of each job that is not back yet */
    bool ending;
};

/* A job that runs. */
struct running {
    TAILQ_ENTRY(running) entry;
    struct sim_fiber *fiber;
    struct work_pool *pool;
    struct work_job *job;
};

static TAILQ_HEAD(, work_pool) pools = TAILQ_HEAD_INITIALIZER(pools);
static TAILQ_HEAD(, running) runnings = TAILQ_HEAD_INITIALIZER(runnings);

static void pool_unref(struct work_pool *p)
{
    if (--p->refs == 0)
        mem_free(p);
}

static void on_done_mail(struct mail *mail)
{
    struct work_job *job = CONTAINER_OF(mail, struct work_job, mail);
    struct work_pool *p = job->pool;
    job->state = WORK_IDLE;
    job->pool = NULL;
    job->done(job);
    pool_unref(p);
}

static bool can_run(const struct work_pool *p)
{
    return !TAILQ_EMPTY(&p->waiting) && p->busy < p->threads_max;
}

size_t sim_work_ready(void)
{
    size_t count = 0;
    struct work_pool *p;
    TAILQ_FOREACH (p, &pools, entry)
        count += can_run(p);
    return count;
}

static struct work_job *take_first(struct work_pool *p)
{
    struct work_job *job = TAILQ_FIRST(&p->waiting);
    TAILQ_REMOVE(&p->waiting, job, entry);
    p->waiting_count--;
    job->state = WORK_RUNNING;
    return job;
}

static void run_job(void *arg)
{
    struct running *r = arg;
    r->job->run(r->job);
    r->pool->busy--;
    mailbox_post(r->job->loop, &r->job->mail);
}

void sim_work_begin(size_t index)
{
    struct work_pool *p;
    TAILQ_FOREACH (p, &pools, entry)
        if (can_run(p) && index-- == 0)
            break;
    struct running *r = mem_zalloc(sizeof *r);
    r->pool = p;
    r->job = take_first(p);
    p->busy++;
    r->fiber = sim_fiber_new(run_job, r);
    TAILQ_INSERT_TAIL(&runnings, r, entry);
}

void sim_work_reap(void)
{
    struct running *r, *next;
    for (r = TAILQ_FIRST(&runnings); r != NULL; r = next) {
        next = TAILQ_NEXT(r, entry);
        if (!sim_fiber_has_ended(r->fiber))
            continue;
        TAILQ_REMOVE(&runnings, r, entry);
        sim_fiber_free(&r->fiber);
        mem_free(r);
    }
}

bool sim_work_is_idle(void)
{
    sim_work_reap();
    return TAILQ_EMPTY(&pools) && TAILQ_EMPTY(&runnings);
}

struct work_pool *work_pool_new(const char *name, unsigned threads_max, size_t waiting_max)
{
    (void)name;
    CHECK(threads_max >= 1 && waiting_max >= 1);
    struct work_pool *p = mem_zalloc(sizeof *p);
    p->threads_max = threads_max;
    p->waiting_max = waiting_max;
    p->refs = 1;
    TAILQ_INIT(&p->waiting);
    TAILQ_INSERT_TAIL(&pools, p, entry);
    return p;
}

void work_pool_free(struct work_pool **pool)
{
    struct work_pool *p = *pool;
    *pool = NULL;
    if (p == NULL)
        return;
    p->ending = true;
    while (p->busy != 0)
        CHECK(sim_world_step());
    while (!TAILQ_EMPTY(&p->waiting)) {
        struct work_job *job = take_first(p);
        job->cancelled = true;
        mailbox_post(job->loop, &job->mail);
    }
    TAILQ_REMOVE(&pools, p, entry);
    pool_unref(p);
}

void work_pool_give_way(struct work_pool *pool)
{
    (void)pool;
}

void work_job_init(struct work_job *job, work_fn run, work_fn done)
{
    *job = (struct work_job){ .run = run, .done = done, .mail = { .fn = on_done_mail } };
}

bool work_submit(struct work_pool *p, struct loop *loop, struct work_job *job, struct err *err)
{
    CHECK(job->run != NULL && job->state == WORK_IDLE);
    if (p->ending || p->waiting_count == p->waiting_max)
        return err_set(err, ERR_LIMIT, "the pool takes no more");
    job->pool = p;
    job->loop = loop;
    job->cancelled = false;
    job->state = WORK_WAITING;
    TAILQ_INSERT_TAIL(&p->waiting, job, entry);
    p->waiting_count++;
    p->refs++;
    return true;
}

void work_cancel(struct work_job *job)
{
    struct work_pool *p = job->pool;
    CHECK(p != NULL);
    job->cancelled = true;
    if (job->state != WORK_WAITING)
        return;
    TAILQ_REMOVE(&p->waiting, job, entry);
    p->waiting_count--;
    job->state = WORK_RUNNING;
    mailbox_post(job->loop, &job->mail);
}

size_t work_pool_waiting(struct work_pool *p)
{
    return p->waiting_count;
}

/* ---- random -----------------------------------------------------------------------------------
 */

void random_octets(void *into, size_t octets)
{
    uint8_t *at = into;
    for (size_t i = 0; i < octets; i++)
        at[i] = (uint8_t)sim_world_below(256);
}

uint64_t random_u64(void)
{
    uint64_t v;
    random_octets(&v, sizeof v);
    return v;
}

/* ---- src/io/crew ------------------------------------------------------------------------------
 */

void crew_run(unsigned threads, size_t count, crew_fn each, void *arg)
{
    (void)threads;
    for (size_t i = 0; i < count; i++)
        each(i, arg);
}
