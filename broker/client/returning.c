#include "client/returning.h"

#include "base/mem.h"
#include "port.h"

#define SLICE 2048u

struct returning {
    struct unacked unacked;
    STAILQ_ENTRY(returning) entry;
};

struct returnings {
    struct shard *shard;
    STAILQ_HEAD(, returning) waiting;
    struct loop_task task;
};

static void drop_first(struct returnings *all)
{
    struct returning *r = STAILQ_FIRST(&all->waiting);
    STAILQ_REMOVE_HEAD(&all->waiting, entry);
    unacked_fini(&r->unacked);
    mem_free(r);
}

static void on_slice(void *arg)
{
    struct returnings *all = arg;
    struct returning *r = STAILQ_FIRST(&all->waiting);
    struct unacked_entry e;
    unsigned n = 0;
    while (n < SLICE && unacked_take_oldest(&r->unacked, UINT64_MAX, &e)) {
        e.consumer = 0; /* it is gone */
        port_settle(all->shard, &e, PORT_REQUEUE_SEEN);
        n++;
    }
    port_settled(all->shard);
    if (n < SLICE)
        drop_first(all);
    if (!STAILQ_EMPTY(&all->waiting))
        loop_again(all->shard->loop, &all->task);
}

struct returnings *returnings_new(struct shard *s)
{
    struct returnings *all = mem_zalloc(sizeof *all);
    all->shard = s;
    STAILQ_INIT(&all->waiting);
    loop_task_init(&all->task, on_slice, all);
    return all;
}

void returnings_free(struct returnings **returnings)
{
    struct returnings *all = *returnings;
    *returnings = NULL;
    loop_task_cancel(all->shard->loop, &all->task);
    while (!STAILQ_EMPTY(&all->waiting))
        drop_first(all);
    mem_free(all);
}

void returnings_add(struct returnings *all, struct unacked *u)
{
    struct returning *r = mem_alloc(sizeof *r);
    r->unacked = *u;
    unacked_init(u);
    STAILQ_INSERT_TAIL(&all->waiting, r, entry);
    loop_again(all->shard->loop, &all->task);
}
