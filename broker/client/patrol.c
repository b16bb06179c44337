#include "client/patrol.h"

#include "base/mem.h"
#include "broker.h"
#include "client/channel.h"
#include "live.h"

#define EVERY_MS           1000u
#define CONNECTIONS_A_TURN 256u

struct patrol {
    struct shard *shard;
    struct loop_timer timer;
    struct loop_task task;
    size_t at; /* in the map of connections; one that grows meanwhile may show some twice, or some
                  not before the next round */
};

static void look_at(struct connection *c, uint64_t timeout_ms)
{
    for (uint32_t n = 1; c->channel_count != 0 && n < c->channel_cap; n++) {
        struct channel *ch = connection_channel(c, (uint16_t)n);
        if (ch != NULL)
            channel_judge_age(ch, timeout_ms);
    }
}

/* The connections are named first: to judge them may end one, which changes the map. */
static void on_slice(void *arg)
{
    struct patrol *p = arg;
    struct shard *s = p->shard;
    uint64_t ids[CONNECTIONS_A_TURN];
    unsigned count = 0;
    const struct connection *next;
    while (count < CONNECTIONS_A_TURN && (next = idmap_next(&s->connections, &p->at)) != NULL)
        ids[count++] = next->id;
    for (unsigned i = 0; i < count; i++) {
        struct connection *c = connection_find(s, ids[i]);
        if (c != NULL && c->stream != NULL)
            look_at(c, broker_live(s->broker)->conf->limits.consumer_timeout_ms);
    }
    if (count == CONNECTIONS_A_TURN)
        loop_again(s->loop, &p->task);
}

static void on_timer(void *arg)
{
    struct patrol *p = arg;
    p->at = 0;
    loop_again(p->shard->loop, &p->task);
    loop_timer_start(&p->timer, EVERY_MS);
}

struct patrol *patrol_new(struct shard *s)
{
    struct patrol *p = mem_zalloc(sizeof *p);
    p->shard = s;
    loop_timer_init(&p->timer, s->loop, on_timer, p);
    loop_task_init(&p->task, on_slice, p);
    loop_timer_start(&p->timer, EVERY_MS);
    return p;
}

void patrol_free(struct patrol **patrol)
{
    struct patrol *p = *patrol;
    *patrol = NULL;
    loop_task_cancel(p->shard->loop, &p->task);
    loop_timer_fini(&p->timer);
    mem_free(p);
}
