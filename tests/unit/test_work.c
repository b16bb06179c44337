#include "base/err.h"
#include "base/mem.h"
#include "io/resolve.h"
#include "io/work.h"
#include "io_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/resource.h>

TestSuite(work, .timeout = 300);
TestSuite(resolve, .timeout = 300);

/* A job that says when it began and then waits until it is let go. */
struct job {
    struct work_job work;
    sem_t *began, *go;
    pthread_t thread;
    bool ran;
    size_t *done_count;
    unsigned place; /* in which order it came back */
    bool was_cancelled;
};

static void job_run(struct work_job *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    j->thread = pthread_self();
    j->ran = true;
    if (j->began != NULL)
        sem_post(j->began);
    if (j->go != NULL)
        sem_wait(j->go);
}

static void job_done(struct work_job *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    j->was_cancelled = w->cancelled;
    j->place = (unsigned)++*j->done_count;
}

static void job_init(struct job *j, size_t *done_count, sem_t *began, sem_t *go)
{
    *j = (struct job){ .began = began, .go = go, .done_count = done_count };
    work_job_init(&j->work, job_run, job_done);
}

static struct work_pool *pool_of(unsigned threads, size_t waiting_max)
{
    return work_pool_new("pool", threads, waiting_max);
}

static void note_nice(struct work_job *w)
{
    CONTAINER_OF(w, struct job, work)->place = (unsigned)getpriority(PRIO_PROCESS, 0);
    CONTAINER_OF(w, struct job, work)->ran = true;
}

static void note_done(struct work_job *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    ++*j->done_count;
}

Test(work, gives_way_when_told_to)
{
    int before = getpriority(PRIO_PROCESS, 0);
    struct loop *loop = kit_loop_new();
    struct work_pool *pool = pool_of(1, 1);
    struct job job;
    size_t done = 0;
    struct err err;
    work_pool_give_way(pool);
    job_init(&job, &done, NULL, NULL);
    work_job_init(&job.work, note_nice, note_done);
    cr_assert(work_submit(pool, loop, &job.work, &err));
    kit_until_count(loop, &done, 1);
    cr_expect(eq(int, (int)job.place, before < 14 ? before + 5 : 19));
    cr_expect(eq(int, getpriority(PRIO_PROCESS, 0), before), "nobody else does");
    work_pool_free(&pool);
    loop_free(&loop);
}

Test(work, runs_elsewhere_and_comes_back_in_order)
{
    struct loop *loop = kit_loop_new();
    struct work_pool *pool = pool_of(1, 100);
    struct job jobs[100];
    size_t done = 0;
    struct err err;
    for (size_t i = 0; i < ARRAY_COUNT(jobs); i++) {
        job_init(&jobs[i], &done, NULL, NULL);
        cr_assert(work_submit(pool, loop, &jobs[i].work, &err), "%s", err.text);
    }
    kit_until_count(loop, &done, ARRAY_COUNT(jobs));
    for (size_t i = 0; i < ARRAY_COUNT(jobs); i++) {
        cr_expect(jobs[i].ran && !jobs[i].was_cancelled);
        cr_expect(not(pthread_equal(jobs[i].thread, pthread_self())));
        cr_expect(eq(uint, jobs[i].place, (unsigned)i + 1));
    }
    work_pool_free(&pool);
    loop_free(&loop);
}

Test(work, refuses_more_than_may_wait)
{
    struct loop *loop = kit_loop_new();
    struct work_pool *pool = pool_of(1, 1);
    sem_t began, go;
    sem_init(&began, 0, 0);
    sem_init(&go, 0, 0);
    size_t done = 0;
    struct job running, waiting, refused;
    struct err err;
    job_init(&running, &done, &began, &go);
    job_init(&waiting, &done, NULL, NULL);
    job_init(&refused, &done, NULL, NULL);
    cr_assert(work_submit(pool, loop, &running.work, &err));
    sem_wait(&began);
    cr_assert(work_submit(pool, loop, &waiting.work, &err));
    cr_assert(not(work_submit(pool, loop, &refused.work, &err)));
    cr_assert(eq(int, err.code, ERR_LIMIT));
    cr_assert(eq(sz, work_pool_waiting(pool), 1));
    sem_post(&go);
    kit_until_count(loop, &done, 2);
    kit_turns(loop, 5);
    cr_expect(eq(sz, done, 2));
    cr_expect(not(refused.ran));
    /* Room again. */
    cr_assert(work_submit(pool, loop, &refused.work, &err));
    kit_until_count(loop, &done, 3);
    work_pool_free(&pool);
    loop_free(&loop);
}

Test(work, cancels_what_waits_and_marks_what_runs)
{
    struct loop *loop = kit_loop_new();
    struct work_pool *pool = pool_of(1, 10);
    sem_t began, go;
    sem_init(&began, 0, 0);
    sem_init(&go, 0, 0);
    size_t done = 0;
    struct job running, waiting, last;
    struct err err;
    job_init(&running, &done, &began, &go);
    job_init(&waiting, &done, NULL, NULL);
    job_init(&last, &done, NULL, NULL);
    cr_assert(work_submit(pool, loop, &running.work, &err));
    sem_wait(&began);
    cr_assert(work_submit(pool, loop, &waiting.work, &err));
    cr_assert(work_submit(pool, loop, &last.work, &err));
    work_cancel(&waiting.work);
    work_cancel(&running.work);
    cr_expect(eq(sz, done, 0), "never from inside the call");
    kit_until_count(loop, &done, 1);
    cr_expect(waiting.was_cancelled && !waiting.ran);
    sem_post(&go);
    kit_until_count(loop, &done, 3);
    cr_expect(running.was_cancelled && running.ran);
    cr_expect(last.ran && !last.was_cancelled);
    work_pool_free(&pool);
    loop_free(&loop);
}

Test(work, gives_everything_back_when_it_ends)
{
    struct loop *loop = kit_loop_new();
    struct work_pool *pool = pool_of(1, 10);
    sem_t began, go;
    sem_init(&began, 0, 0);
    sem_init(&go, 0, 0);
    size_t done = 0;
    struct job running, waiting;
    struct err err;
    job_init(&running, &done, &began, &go);
    job_init(&waiting, &done, NULL, NULL);
    cr_assert(work_submit(pool, loop, &running.work, &err));
    sem_wait(&began);
    cr_assert(work_submit(pool, loop, &waiting.work, &err));
    sem_post(&go);
    work_pool_free(&pool);
    /* Its end is told by mail, and may be asked for after the pool has gone. */
    work_cancel(&running.work);
    loop_free(&loop);
    cr_expect(eq(sz, done, 2));
    cr_expect(running.was_cancelled && running.ran);
}

static void run_at_once(struct work_job *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    j->ran = true;
}

struct chain {
    struct work_job work;
    struct loop *loop;
    struct work_pool *pool; /* as its user remembers it */
    sem_t *began;
    bool refused;
};

static void chain_run(struct work_job *w)
{
    sem_post(CONTAINER_OF(w, struct chain, work)->began);
}

/* The next in line, as who serves a line of jobs does it. */
static void chain_done(struct work_job *w)
{
    struct chain *c = CONTAINER_OF(w, struct chain, work);
    struct err err;
    c->refused = !work_submit(c->pool, c->loop, w, &err);
    cr_expect(c->refused && err.code == ERR_LIMIT);
}

Test(work, refuses_what_comes_after_its_end)
{
    struct loop *loop = kit_loop_new();
    sem_t began;
    sem_init(&began, 0, 0);
    struct chain c = { .loop = loop, .pool = pool_of(1, 1), .began = &began };
    struct err err;
    work_job_init(&c.work, chain_run, chain_done);
    cr_assert(work_submit(c.pool, loop, &c.work, &err), "%s", err.text);
    sem_wait(&began);
    struct work_pool *pool = c.pool;
    work_pool_free(&pool);
    loop_free(&loop); /* delivers */
    cr_expect(c.refused && !c.work.cancelled);
    sem_destroy(&began);
}

Test(work, serves_many_loops_at_once)
{
    enum { ROUNDS = 200, LANES = 16 };
    struct loop *loop = kit_loop_new();
    struct work_pool *pool = pool_of(4, LANES);
    struct job jobs[LANES];
    struct err err;
    for (int round = 0; round < ROUNDS; round++) {
        size_t done = 0;
        for (size_t i = 0; i < LANES; i++) {
            job_init(&jobs[i], &done, NULL, NULL);
            jobs[i].work.run = run_at_once;
            cr_assert(work_submit(pool, loop, &jobs[i].work, &err), "%s", err.text);
            if (i % 3 == 0)
                work_cancel(&jobs[i].work);
        }
        kit_until_count(loop, &done, LANES);
        for (size_t i = 0; i < LANES; i++)
            cr_assert(eq(int, jobs[i].was_cancelled, i % 3 == 0));
    }
    work_pool_free(&pool);
    loop_free(&loop);
}

/* Nobody waits for a thread that waits for a name server, say. */
static sem_t has_begun, may_end, is_lost;

static void run_long(struct work_job *w)
{
    (void)w;
    sem_post(&has_begun);
    sem_wait(&may_end);
}

static void never_done(struct work_job *w)
{
    (void)w;
    cr_assert(false, "its loop has gone");
}

static void on_lost(struct work_job *w)
{
    mem_free(CONTAINER_OF(w, struct job, work));
    sem_post(&is_lost);
}

Test(work, lets_go_of_what_takes_too_long)
{
    struct loop *loop = kit_loop_new();
    struct work_pool *pool = pool_of(2, 10);
    sem_init(&has_begun, 0, 0);
    sem_init(&may_end, 0, 0);
    sem_init(&is_lost, 0, 0);
    size_t done = 0;
    struct job usual, *slow = mem_zalloc(sizeof *slow);
    struct err err;
    job_init(&usual, &done, NULL, NULL);
    work_job_init(&slow->work, run_long, never_done);
    slow->work.lost = on_lost;
    cr_assert(work_submit(pool, loop, &slow->work, &err), "%s", err.text);
    sem_wait(&has_begun);
    cr_assert(work_submit(pool, loop, &usual.work, &err), "%s", err.text);
    work_cancel(&slow->work);
    work_pool_free(&pool);
    loop_free(&loop);
    cr_expect(eq(sz, done, 1), "what waited or ran as usual has come home");
    sem_post(&may_end);
    sem_wait(&is_lost);
}

/* ---- names ---------------------------------------------------------------------------------- */

struct asked {
    bool told;
    struct resolve_answer answer;
    struct err why;
};

static void on_told(const struct resolve_answer *a, const struct err *why, void *arg)
{
    struct asked *q = arg;
    cr_assert(not(q->told), "told twice");
    q->told = true;
    q->answer = *a;
    cr_assert(eq(int, a->count == 0, why != NULL));
    if (why != NULL)
        q->why = *why;
}

static struct asked ask(struct loop *loop, const char *host)
{
    struct asked q = { .told = false };
    struct resolve *r = resolve_start(loop, host, 5672, on_told, &q);
    cr_assert(r != NULL && !q.told);
    kit_until_set(loop, &q.told);
    return q;
}

Test(resolve, answers_literal_addresses_without_a_pool)
{
    static const char *const hosts[] = { "10.1.2.3", "::1" };
    struct loop *loop = kit_loop_new();
    for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
        struct asked q = ask(loop, hosts[i]);
        char room[SOCK_ADDR_TEXT_MAX];
        cr_assert(eq(uint, q.answer.count, 1));
        cr_expect(eq(str, (char *)sock_addr_host(&q.answer.addrs[0], room), (char *)hosts[i]));
        cr_expect(eq(u16, sock_addr_port(&q.answer.addrs[0]), 5672));
    }
    loop_free(&loop);
}

/* A name to the resolver, since it is no dotted quad, and known to every system: a bare one has no
 * /etc/hosts, and hence no localhost. */
#define LOCAL_NAME "127.1"

Test(resolve, finds_a_local_name_once)
{
    struct loop *loop = kit_loop_new();
    struct asked q = ask(loop, LOCAL_NAME);
    cr_assert(ge(uint, q.answer.count, 1), "%s", q.why.text);
    for (unsigned i = 0; i < q.answer.count; i++) {
        cr_expect(sock_addr_is_loopback(&q.answer.addrs[i]));
        cr_expect(eq(u16, sock_addr_port(&q.answer.addrs[i]), 5672));
        for (unsigned k = 0; k < i; k++)
            cr_expect(not(sock_addr_eq(&q.answer.addrs[i], &q.answer.addrs[k])));
    }
    loop_free(&loop);
}

/* ".invalid" never exists (RFC 6761, 6.4); the second is no name at all. */
Test(resolve, says_which_name_is_unknown)
{
    static const char *const hosts[] = { "nowhere.invalid", "two words" };
    struct loop *loop = kit_loop_new();
    for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
        struct asked q = ask(loop, hosts[i]);
        cr_expect(eq(uint, q.answer.count, 0));
        cr_expect(eq(int, q.why.code, ERR_RESOLVE));
        cr_expect(strstr(q.why.text, hosts[i]) != NULL, "%s", q.why.text);
    }
    loop_free(&loop);
}

Test(resolve, tells_nothing_after_a_cancel)
{
    static const char *const hosts[] = { "127.0.0.1", LOCAL_NAME };
    struct loop *loop = kit_loop_new();
    for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
        struct asked q = { .told = false };
        struct resolve *r = resolve_start(loop, hosts[i], 1, on_told, &q);
        resolve_cancel(&r);
        cr_assert(r == NULL);
        /* Whatever was under way has come home when another answer is there. */
        (void)ask(loop, LOCAL_NAME);
        cr_expect(not(q.told));
    }
    loop_free(&loop);
}

Test(resolve, is_cancelled_before_its_loop_ends)
{
    for (int i = 0; i < 50; i++) {
        struct loop *loop = kit_loop_new();
        struct asked q = { .told = false };
        struct resolve *r[8];
        for (size_t k = 0; k < ARRAY_COUNT(r); k++)
            r[k] = resolve_start(loop, LOCAL_NAME, 1, on_told, &q);
        for (size_t k = 0; k < ARRAY_COUNT(r); k++)
            resolve_cancel(&r[k]);
        loop_free(&loop);
        cr_expect(not(q.told));
    }
}

Test(resolve, says_that_too_many_wait)
{
    enum { COUNT = 1000 };
    static struct asked asked[COUNT];
    struct loop *loop = kit_loop_new();
    for (size_t i = 0; i < COUNT; i++)
        cr_assert(resolve_start(loop, LOCAL_NAME, 1, on_told, &asked[i]) != NULL);
    size_t found = 0, refused = 0;
    for (size_t i = 0; i < COUNT; i++) {
        kit_until_set(loop, &asked[i].told);
        found += asked[i].answer.count != 0;
        refused += asked[i].answer.count == 0 && asked[i].why.code == ERR_LIMIT;
        if (asked[i].answer.count == 0)
            cr_expect(strstr(asked[i].why.text, LOCAL_NAME) != NULL, "%s", asked[i].why.text);
    }
    cr_expect(eq(sz, found + refused, COUNT));
    cr_expect(ge(sz, found, 256));
    cr_expect(gt(sz, refused, 0));
    loop_free(&loop);
}
