#include "retired.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/work.h"

#include <sys/queue.h>

#define THINGS_PER_TURN 2048u
#define STATES_MAX      4u /* that wait to be taken apart; more are at once */

struct burden {
    TAILQ_ENTRY(burden) entry;
    struct work_job job;
    struct retired *all;
    struct meta *state; /* NULL: there is none, or it is taken apart */
    struct meta_garbage *garbage;
};

struct retired {
    struct loop *loop;
    struct epoch *epoch;
    struct work_pool *pool; /* NULL: stopped */
    struct loop_task task;
    TAILQ_HEAD(, burden) burdens; /* being freed, the first one now */
    size_t waits;
};

static void on_turn(void *arg);

struct retired *retired_new(struct loop *loop, struct epoch *epoch)
{
    struct retired *r = mem_zalloc(sizeof *r);
    r->loop = loop;
    r->epoch = epoch;
    r->pool = work_pool_new("retired", 1, STATES_MAX);
    work_pool_give_way(r->pool);
    loop_task_init(&r->task, on_turn, r);
    TAILQ_INIT(&r->burdens);
    return r;
}

/* ---- in turns ---- */

static void free_burden(struct burden *b)
{
    while (b->garbage != NULL)
        meta_garbage_free_some(&b->garbage, THINGS_PER_TURN);
    b->all->waits--;
    mem_free(b);
}

static void on_turn(void *arg)
{
    struct retired *r = arg;
    struct burden *b = TAILQ_FIRST(&r->burdens);
    meta_garbage_free_some(&b->garbage, THINGS_PER_TURN);
    mem_gather();
    if (b->garbage == NULL) {
        TAILQ_REMOVE(&r->burdens, b, entry);
        free_burden(b);
    }
    if (TAILQ_EMPTY(&r->burdens))
        mem_give_back();
    else
        loop_again(r->loop, &r->task);
}

static void free_in_turns(struct burden *b)
{
    struct retired *r = b->all;
    if (r->pool == NULL || b->garbage == NULL) {
        free_burden(b);
        return;
    }
    TAILQ_INSERT_TAIL(&r->burdens, b, entry);
    loop_again(r->loop, &r->task);
}

/* ---- a state ---- */

static void take_apart(struct work_job *job)
{
    struct burden *b = CONTAINER_OF(job, struct burden, job);
    b->garbage = meta_take_apart(&b->state);
}

static void on_taken_apart(struct work_job *job)
{
    struct burden *b = CONTAINER_OF(job, struct burden, job);
    if (b->state != NULL) /* the pool has ended before its turn */
        take_apart(job);
    free_in_turns(b);
}

/* ---- from the epoch: nobody reads it any more ---- */

static void on_unread(void *ptr)
{
    struct burden *b = ptr;
    struct err busy;
    work_job_init(&b->job, take_apart, on_taken_apart);
    if (b->state == NULL)
        free_in_turns(b);
    else if (b->all->pool == NULL || !work_submit(b->all->pool, b->all->loop, &b->job, &busy))
        on_taken_apart(&b->job);
}

static void retire(struct retired *r, struct meta *state, struct meta_garbage *garbage)
{
    struct burden *b = mem_zalloc(sizeof *b);
    b->all = r;
    b->state = state;
    b->garbage = garbage;
    r->waits++;
    epoch_retire(r->epoch, b, on_unread);
}

size_t retired_waits(const struct retired *r)
{
    return r->waits;
}

void retired_thing(void *retired, void *ptr, void (*free_fn)(void *ptr))
{
    epoch_retire(((struct retired *)retired)->epoch, ptr, free_fn);
}

void retired_garbage(void *retired, struct meta_garbage *garbage)
{
    retire(retired, NULL, garbage);
}

void retired_state(void *retired, struct meta *state)
{
    retire(retired, state, NULL);
}

/* ---- the end ---- */

void retired_stop(struct retired *r)
{
    if (r == NULL)
        return;
    work_pool_free(&r->pool);
    loop_task_cancel(r->loop, &r->task);
    for (struct burden *b; (b = TAILQ_FIRST(&r->burdens)) != NULL; free_burden(b))
        TAILQ_REMOVE(&r->burdens, b, entry);
}

void retired_free(struct retired **retired)
{
    struct retired *r = *retired;
    *retired = NULL;
    if (r == NULL)
        return;
    CHECK(r->pool == NULL && r->waits == 0);
    mem_free(r);
}
