#include "gossip_loose.h"

#include "amqp/amqp_table.h"
#include "base/mem.h"
#include "broker.h"
#include "io/loop.h"
#include "policy.h"

#define TURN_QUEUES 2000u /* looked at in one turn, and a part more */

struct gossip_loose {
    struct broker *broker;
    struct gossip_loose_calls calls;
    void *arg;
    struct loop_task task;
    unsigned part;
    uint64_t looked; /* in this turn */
};

bool gossip_loose_is(const struct meta_version *v, const struct meta_queue *q)
{
    struct amqp_field f;
    struct queue_settings s;
    if (q->auto_delete || q->owner != 0 ||
        amqp_table_find(meta_queue_args(q), "x-single-active-consumer", &f))
        return false;
    policy_settings(v, q, &s);
    return s.expires_ms == QUEUE_NO_LIMIT;
}

static bool look(void *arg, const struct meta_queue *q)
{
    struct gossip_loose *l = arg;
    l->looked++;
    l->calls.look(l->arg, q);
    return true;
}

static void on_turn(void *arg)
{
    struct gossip_loose *l = arg;
    const struct meta_version *v = broker_meta(l->broker);
    for (l->looked = 0; l->part < META_PARTS && l->looked < TURN_QUEUES; l->part++)
        (void)meta_queues_each(v, l->part, look, l);
    l->calls.looked(l->arg);
    if (l->part < META_PARTS)
        loop_again(broker_loop(l->broker), &l->task);
}

struct gossip_loose *gossip_loose_new(struct broker *b, const struct gossip_loose_calls *calls,
                                      void *arg)
{
    struct gossip_loose *l = mem_zalloc(sizeof *l);
    l->broker = b;
    l->calls = *calls;
    l->arg = arg;
    loop_task_init(&l->task, on_turn, l);
    return l;
}

void gossip_loose_free(struct gossip_loose **l)
{
    gossip_loose_forget(*l);
    mem_free(*l);
    *l = NULL;
}

void gossip_loose_again(struct gossip_loose *l)
{
    l->part = 0;
    loop_again(broker_loop(l->broker), &l->task);
}

void gossip_loose_forget(struct gossip_loose *l)
{
    loop_task_cancel(broker_loop(l->broker), &l->task);
}
