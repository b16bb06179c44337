#include "model/queue.h"

#include "base/check.h"

/* However long a queue and however fast its consumers, others have their turn after so many. */
#define RUN_MAX 4096u

/* Until it goes on, so many may go out for each that comes in: publishers alone must not make a
 * queue longer whose consumers have room. */
#define RUN_FOR_ONE 2u

void queue_init(struct queue *q, uint64_t qid, const struct queue_ops *ops)
{
    CHECK(ops->release != NULL && ops->go_on != NULL);
    *q = (struct queue){ .qid = qid, .ops = ops };
    qindex_init(&q->index);
    TAILQ_INIT(&q->waiting);
    TAILQ_INIT(&q->resting);
}

static void release(struct message *m, void *arg)
{
    const struct queue_ops *ops = arg;
    ops->release(m, ops->arg);
}

void queue_fini(struct queue *q)
{
    CHECK(q->consumer_count == 0);
    qindex_fini(&q->index, release, (void *)(uintptr_t)q->ops);
}

/* ---- consumers --------------------------------------------------------------------------------
 */

static void put_to_rest(struct queue *q, struct consumer *c)
{
    TAILQ_REMOVE(&q->waiting, c, entry);
    TAILQ_INSERT_TAIL(&q->resting, c, entry);
    c->waiting = false;
}

static bool has_room(struct consumer *c)
{
    return (c->prefetch == 0 || c->out < c->prefetch) && c->ops->has_room(c);
}

/* Whose turn it is; those without room are put aside on the way. */
static struct consumer *next_consumer(struct queue *q)
{
    struct consumer *c;
    while ((c = TAILQ_FIRST(&q->waiting)) != NULL) {
        if (has_room(c))
            return c;
        put_to_rest(q, c);
    }
    return NULL;
}

static void end_of_turn(struct queue *q, struct consumer *c)
{
    if (TAILQ_NEXT(c, entry) == NULL)
        return; /* alone */
    TAILQ_REMOVE(&q->waiting, c, entry);
    TAILQ_INSERT_TAIL(&q->waiting, c, entry);
}

enum queue_consume_verdict queue_consume(struct queue *q, struct consumer *c)
{
    CHECK(c->queue == NULL && c->ops != NULL);
    if (q->has_exclusive || (c->exclusive && q->consumer_count != 0))
        return QUEUE_CONSUME_EXCLUSIVE;
    c->queue = q;
    c->out = 0;
    c->waiting = true;
    TAILQ_INSERT_TAIL(&q->waiting, c, entry);
    q->consumer_count++;
    q->has_exclusive = c->exclusive;
    q->had_consumers = true;
    return QUEUE_CONSUME_OK;
}

void queue_cancel(struct consumer *c)
{
    struct queue *q = c->queue;
    CHECK(q != NULL && q->consumer_count > 0);
    if (c->waiting)
        TAILQ_REMOVE(&q->waiting, c, entry);
    else
        TAILQ_REMOVE(&q->resting, c, entry);
    q->consumer_count--;
    if (c->exclusive)
        q->has_exclusive = false;
    c->queue = NULL;
}

struct consumer *queue_any_consumer(const struct queue *q)
{
    struct consumer *c = TAILQ_FIRST(&q->waiting);
    return c != NULL ? c : TAILQ_FIRST(&q->resting);
}

void queue_wake(struct consumer *c)
{
    struct queue *q = c->queue;
    if (q == NULL || c->waiting)
        return;
    TAILQ_REMOVE(&q->resting, c, entry);
    TAILQ_INSERT_TAIL(&q->waiting, c, entry);
    c->waiting = true;
}

/* ---- handing out ------------------------------------------------------------------------------
 */

static void hand_out(struct queue *q, struct consumer *c)
{
    uint64_t qseq;
    struct qentry *e = qindex_take(&q->index, &qseq);
    q->delivered++;
    q->redelivered += e->redelivered;
    c->out += !c->no_ack;
    c->ops->deliver(c, qseq, e->message, e->redelivered);
    if (c->no_ack)
        release(qindex_settle(&q->index, qseq), (void *)(uintptr_t)q->ops);
}

/* Returns how many. */
static unsigned hand_out_some(struct queue *q, unsigned most)
{
    unsigned n = 0;
    q->running = true;
    for (; n < most && !queue_is_empty(q); n++) {
        struct consumer *c = next_consumer(q);
        if (c == NULL)
            break;
        hand_out(q, c);
        end_of_turn(q, c);
    }
    q->running = false;
    return n;
}

void queue_run(struct queue *q)
{
    if (q->running || q->goes_on || hand_out_some(q, RUN_MAX) < RUN_MAX || queue_is_empty(q))
        return;
    q->goes_on = true;
    q->ops->go_on(q, q->ops->arg);
}

void queue_go_on(struct queue *q)
{
    q->goes_on = false;
    queue_run(q);
}

/* Nothing waits and a consumer has room: the message goes by without being stored, or is stored as
 * out already. */
static bool pass_on(struct queue *q, struct message **m)
{
    struct consumer *c = queue_is_empty(q) && !q->running ? next_consumer(q) : NULL;
    if (c == NULL)
        return false;
    q->delivered++;
    if (c->no_ack) {
        c->ops->deliver(c, 0, *m, false);
        release(*m, (void *)(uintptr_t)q->ops);
        *m = NULL;
    } else {
        struct message *borrowed = *m;
        uint64_t qseq = qindex_push_out(&q->index, m);
        c->out++;
        c->ops->deliver(c, qseq, borrowed, false);
    }
    end_of_turn(q, c);
    return true;
}

void queue_publish(struct queue *q, struct message **m)
{
    q->published++;
    if (!pass_on(q, m)) {
        qindex_push(&q->index, m);
        if (q->goes_on && !q->running)
            hand_out_some(q, RUN_FOR_ONE);
        else
            queue_run(q);
    }
}

struct message *queue_get(struct queue *q, bool no_ack, uint64_t *qseq, bool *redelivered)
{
    if (queue_is_empty(q))
        return NULL;
    struct qentry *e = qindex_take(&q->index, qseq);
    struct message *m = e->message;
    *redelivered = e->redelivered;
    q->delivered++;
    q->redelivered += e->redelivered;
    if (no_ack)
        m = qindex_settle(&q->index, *qseq);
    return m;
}

/* ---- settling ---------------------------------------------------------------------------------
 */

/* One less is out with the consumer: it may have room again. */
static void give_back(struct consumer *c)
{
    if (c == NULL)
        return;
    CHECK(c->out > 0);
    c->out--;
    queue_wake(c);
}

bool queue_ack(struct queue *q, uint64_t qseq, struct consumer *c)
{
    if (qindex_out(&q->index, qseq) == NULL)
        return false;
    give_back(c);
    q->acked++;
    release(qindex_settle(&q->index, qseq), (void *)(uintptr_t)q->ops);
    return true;
}

bool queue_requeue(struct queue *q, uint64_t qseq, struct consumer *c, bool redelivered)
{
    if (qindex_out(&q->index, qseq) == NULL)
        return false;
    give_back(c);
    qindex_requeue(&q->index, qseq, redelivered);
    return true;
}

uint64_t queue_purge(struct queue *q)
{
    return qindex_purge(&q->index, release, (void *)(uintptr_t)q->ops);
}
