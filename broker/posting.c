#include "posting.h"

#include "base/check.h"
#include "base/mem.h"
#include "remote/remote_lane.h"
#include "shard.h"

_Static_assert(POSTING_WAIT_MS > LANE_WAIT_MS, "who waits for a master is told so");

/* Of a shard: shard.postings. Few at a time: a request of the management holds one. */
struct postings {
    struct shard *shard;
    TAILQ_HEAD(posting_list, posting) waiting; /* by number, and so by age */
    struct port_channel_ref ref;               /* how they appear to queues */
    struct loop_timer timer;                   /* for the oldest */
    uint64_t last_number;
    bool is_over; /* nothing is published any more */
};

static void on_time(void *arg);

/* A number that is not 0 makes it no session, see remote_is_session. */
static struct postings *need(struct shard *s)
{
    if (s->postings != NULL)
        return s->postings;
    struct postings *all = s->postings = mem_zalloc(sizeof *all);
    all->shard = s;
    all->ref = (struct port_channel_ref){ .connection = shard_new_id(s), .number = 1 };
    TAILQ_INIT(&all->waiting);
    loop_timer_init(&all->timer, s->loop, on_time, all);
    return all;
}

/* ---- answers ---- */

static void end(struct postings *all, struct posting *p)
{
    TAILQ_REMOVE(&all->waiting, p, entry);
    p->done(p);
}

static void answer(struct postings *all, struct posting *p, enum dead_fate fate)
{
    if (fate > p->worst)
        p->worst = fate;
    if (--p->left == 0)
        end(all, p);
}

/* Those that come after it was given up find nothing. */
void postings_on_published(struct shard *s, const struct port_channel_ref *to, uint64_t number,
                           enum dead_fate fate)
{
    struct postings *all = s->postings;
    struct posting *p;
    if (all == NULL || to->connection != all->ref.connection)
        return;
    TAILQ_FOREACH (p, &all->waiting, entry) {
        if (p->number != number)
            continue;
        answer(all, p, fate);
        return;
    }
}

/* ---- time ---- */

static void set_timer(struct postings *all)
{
    const struct posting *p = TAILQ_FIRST(&all->waiting);
    if (p == NULL || loop_timer_is_running(&all->timer))
        return;
    uint64_t age_ms = loop_now_ms(all->shard->loop) - p->since_ms;
    loop_timer_start(&all->timer, age_ms < POSTING_WAIT_MS ? POSTING_WAIT_MS - age_ms : 0);
}

static void give_up(struct postings *all, struct posting *p)
{
    p->worst = DEAD_LOST;
    end(all, p);
}

static void on_time(void *arg)
{
    struct postings *all = arg;
    uint64_t now_ms = loop_now_ms(all->shard->loop);
    struct posting *p;
    while ((p = TAILQ_FIRST(&all->waiting)) != NULL && now_ms - p->since_ms >= POSTING_WAIT_MS)
        give_up(all, p);
    set_timer(all);
}

/* ---- publishing ---- */

/* As a channel that confirms does. */
static void hand_over(struct postings *all, struct posting *p, struct message *m,
                      const struct meta_queue *const *to, size_t count)
{
    struct shard *s = all->shard;
    for (size_t i = 0; i < count; i++) {
        struct message *one = message_ref(m);
        enum port_published done = port_publish(s, to[i], &one, &all->ref, p->number);
        p->left += done == PORT_LATER || done == PORT_AWAITED;
        if (done == PORT_REFUSED && p->worst < DEAD_REFUSED)
            p->worst = DEAD_REFUSED;
    }
    p->left += port_published(s, &all->ref, p->number);
}

void posting_send(struct shard *s, struct posting *p, struct message **m,
                  const struct meta_queue *const *to, size_t count)
{
    struct postings *all = need(s);
    p->number = ++all->last_number;
    p->since_ms = loop_now_ms(s->loop);
    p->left = 1;
    p->worst = all->is_over ? DEAD_LOST : DEAD_TAKEN;
    TAILQ_INSERT_TAIL(&all->waiting, p, entry);
    if (!all->is_over)
        hand_over(all, p, *m, to, count);
    shard_message_drop(s, m);
    answer(all, p, DEAD_TAKEN);
    set_timer(all);
}

/* ---- the end ---- */

void postings_end(struct shard *s)
{
    struct postings *all = need(s);
    struct posting *p;
    all->is_over = true;
    loop_timer_stop(&all->timer);
    while ((p = TAILQ_FIRST(&all->waiting)) != NULL)
        give_up(all, p);
}

void postings_free(struct shard *s)
{
    struct postings *all = s->postings;
    s->postings = NULL;
    if (all == NULL)
        return;
    CHECK(TAILQ_EMPTY(&all->waiting));
    loop_timer_fini(&all->timer);
    mem_free(all);
}
