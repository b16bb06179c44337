#include "gossip_moved.h"

#include "base/mem.h"
#include "broker.h"
#include "io/loop.h"

#define TURN_QUEUES 2000u /* told in one turn, and a part of a cohort more */

struct gossip_moved {
    struct broker *broker;
    struct gossip_moved_calls calls;
    void *arg;
    struct loop_task task;
    uint32_t *cohorts;
    size_t count, room;
    size_t at; /* the one that is being told... */
    unsigned part;
    uint64_t told; /* in this turn */
};

static bool tell(void *arg, const struct meta_queue *q)
{
    struct gossip_moved *m = arg;
    m->told++;
    m->calls.tell(m->arg, q);
    return true;
}

static void on_turn(void *arg)
{
    struct gossip_moved *m = arg;
    const struct meta_version *v = broker_meta(m->broker);
    for (m->told = 0; m->at < m->count && m->told < TURN_QUEUES;) {
        meta_cohort_each(v, m->cohorts[m->at], m->part, tell, m);
        m->part = (m->part + 1) % META_PARTS;
        m->at += m->part == 0;
    }
    if (m->at < m->count) {
        loop_again(broker_loop(m->broker), &m->task);
        return;
    }
    gossip_moved_forget(m);
    m->calls.told(m->arg);
}

struct gossip_moved *gossip_moved_new(struct broker *b, const struct gossip_moved_calls *calls,
                                      void *arg)
{
    struct gossip_moved *m = mem_zalloc(sizeof *m);
    m->broker = b;
    m->calls = *calls;
    m->arg = arg;
    loop_task_init(&m->task, on_turn, m);
    return m;
}

void gossip_moved_free(struct gossip_moved **m)
{
    gossip_moved_forget(*m);
    mem_free((*m)->cohorts);
    mem_free(*m);
    *m = NULL;
}

void gossip_moved_add(struct gossip_moved *m, uint32_t cohort)
{
    if (m->count == m->room) {
        m->room = m->room != 0 ? m->room * 2 : 16;
        m->cohorts = mem_realloc(m->cohorts, m->room * sizeof *m->cohorts);
    }
    m->cohorts[m->count++] = cohort;
    loop_again(broker_loop(m->broker), &m->task);
}

bool gossip_moved_is_under_way(const struct gossip_moved *m)
{
    return m->count != 0;
}

void gossip_moved_forget(struct gossip_moved *m)
{
    loop_task_cancel(broker_loop(m->broker), &m->task);
    m->count = m->at = 0;
    m->part = 0;
}
