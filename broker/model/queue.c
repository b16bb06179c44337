#include "model/queue.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "model/queue_inner.h"

/* However long a queue and however fast its consumers, others have their turn after so many. */
#define RUN_MAX 4096u

/* Until it goes on, so many may go out for each that comes in: publishers alone must not make a
 * queue longer whose consumers have room. */
#define RUN_FOR_ONE 2u

/* So many may wait to be shown, however short the queue is to be. */
#define HELD_MOST 1024u

/* While fewer are in memory at the head and others are away, these are wanted. */
#define STOCK_LOW 512u

#define NEVER     UINT64_MAX

static void release(const struct queue *q, struct message *m)
{
    q->ops->release(m, q->ops->arg);
}

/* ---- leaving ----------------------------------------------------------------------------------
 */

static void on_freed(const struct qentry *e, void *arg)
{
    struct queue *q = arg;
    if (e->seg != 0)
        q->ops->freed(q, e, q->ops->arg);
    if (!e->absent)
        release(q, e->message);
}

static void on_freed_run(const struct qrun *r, void *arg)
{
    struct queue *q = arg;
    q->ops->freed_run(q, r, q->ops->arg);
}

static void on_gone_range(uint64_t first, uint64_t last, void *arg)
{
    struct queue *q = arg;
    if (q->ops->gone_range != NULL)
        q->ops->gone_range(q, first, last, q->ops->arg);
}

struct qsink queue_sink(struct queue *q)
{
    return (
        struct qsink){ .range = on_gone_range, .entry = on_freed, .run = on_freed_run, .arg = q };
}

/* Somebody is to know what becomes of it. */
static bool is_told(const struct queue *q, const struct qentry *e)
{
    return e->seg != 0 || UNLIKELY(q->is_mirrored);
}

/* It was taken out of the store. */
static void leave(struct queue *q, uint64_t qseq, const struct qentry *e)
{
    if (is_told(q, e))
        q->ops->gone(q, qseq, e, q->ops->arg);
    release(q, e->message);
}

bool queue_may_serve(struct queue *q)
{
    return LIKELY(!q->is_mirrored) || q->ops->may_serve == NULL ||
           q->ops->may_serve(q, q->ops->arg);
}

static void ask_to_go_on(struct queue *q)
{
    if (q->goes_on)
        return;
    q->goes_on = true;
    q->ops->go_on(q, q->ops->arg);
}

/* ---- time -------------------------------------------------------------------------------------
 */

/* The head is needed and not in memory. Until it is there is nothing to wake up for. */
static void want(struct queue *q)
{
    q->waits = true;
    q->ops->want(q, q->ops->arg);
}

/* NEVER when nobody knows: it is wanted then. */
static uint64_t head_expires_ms(struct queue *q)
{
    uint64_t qseq;
    uint64_t at = 0;
    struct qentry *e;
    if (!q->has_timed)
        return NEVER;
    switch (qstore_head(&q->store, &qseq, &e)) {
    case QHEAD_EMPTY:
        break;
    case QHEAD_HERE:
    case QHEAD_ABSENT:
        at = qstore_expires_ms(&q->store, qseq);
        break;
    case QHEAD_IN_RUN:
        want(q);
        break;
    }
    return at != 0 ? at : NEVER;
}

static uint64_t unused_at_ms(const struct queue *q)
{
    return q->settings->expires_ms >= 0 && q->consumer_count == 0
               ? q->used_at_ms + (uint64_t)q->settings->expires_ms
               : NEVER;
}

/* Ask to be woken when the next thing is due, unless that is so already. */
static void note_time(struct queue *q)
{
    if (LIKELY(!q->has_timed && q->settings->expires_ms < 0) || q->is_copy)
        return;
    uint64_t head = q->goes_on || q->waits ? NEVER : head_expires_ms(q);
    uint64_t unused = unused_at_ms(q);
    uint64_t at = head < unused ? head : unused;
    if (at >= q->wake_at_ms)
        return;
    q->wake_at_ms = at;
    q->ops->wake_at(q, at, q->ops->arg);
}

void queue_use(struct queue *q, uint64_t now_ms)
{
    q->used_at_ms = now_ms;
    note_time(q);
}

/* ---- consumers --------------------------------------------------------------------------------
 */

static bool has_room(struct consumer *c)
{
    return (c->prefetch == 0 || c->out < c->prefetch) && c->ops->has_room(c);
}

/* Whose turn it is; those without room are put aside on the way. */
static struct consumer *next_consumer(struct queue *q)
{
    struct consumer *c;
    if (UNLIKELY(q->is_single)) {
        c = q->active;
        if (c == NULL || !c->waiting || has_room(c))
            return c != NULL && c->waiting ? c : NULL;
        turns_rest(&q->turns, c);
        return NULL;
    }
    while ((c = turns_first(&q->turns)) != NULL) {
        if (has_room(c))
            return c;
        turns_rest(&q->turns, c);
    }
    return NULL;
}

/* The one that is active alone keeps its place among those that may follow it. */
static void end_of_turn(struct queue *q, struct consumer *c)
{
    if (TAILQ_NEXT(c, entry) != NULL && !q->is_single)
        turns_next(&q->turns, c);
}

enum queue_consume_verdict queue_consume(struct queue *q, struct consumer *c)
{
    CHECK(c->queue == NULL && c->ops != NULL);
    bool single = q->settings->single_active;
    if (q->has_exclusive || (c->exclusive && (single || q->consumer_count != 0)))
        return QUEUE_CONSUME_EXCLUSIVE;
    c->queue = q;
    c->out = 0;
    turns_add(&q->turns, c);
    q->consumer_count++;
    q->has_exclusive = c->exclusive;
    q->had_consumers = true;
    if (single && q->active == NULL)
        q->active = c;
    return QUEUE_CONSUME_OK;
}

void queue_cancel(struct consumer *c, uint64_t now_ms)
{
    struct queue *q = c->queue;
    CHECK(q != NULL && q->consumer_count > 0);
    turns_remove(&q->turns, c);
    q->consumer_count--;
    if (c->exclusive)
        q->has_exclusive = false;
    if (q->active == c)
        q->active = turns_first(&q->turns);
    c->queue = NULL;
    queue_use(q, now_ms);
}

struct consumer *queue_any_consumer(const struct queue *q)
{
    return turns_any(&q->turns);
}

void queue_wake(struct consumer *c)
{
    if (c->queue != NULL && !c->waiting)
        turns_wake(&c->queue->turns, c);
}

/* ---- leaving at the head ----------------------------------------------------------------------
 */

static void die(struct queue *q, uint64_t qseq, enum queue_death why)
{
    const struct qentry was = qstore_settle(&q->store, qseq);
    q->ops->dead(q, was.message, why, qseq, &was, q->ops->arg);
}

/* The head can be handed out. If not, it will be, later. */
static bool head_is_here(struct queue *q)
{
    uint64_t qseq;
    struct qentry *e;
    if (LIKELY(q->store.counts.away.count == 0) || qstore_head(&q->store, &qseq, &e) == QHEAD_HERE)
        return true;
    want(q);
    return false;
}

static bool head_may_be_shown(struct queue *q)
{
    uint64_t qseq;
    struct qentry *e;
    if (LIKELY(!q->is_mirrored) || q->ops->may_show == NULL)
        return true;
    (void)qstore_head(&q->store, &qseq, &e);
    return q->ops->may_show(q, qseq, q->ops->arg);
}

/* False: it would have to be dead-lettered (or counted) and is away. It is wanted then. */
static bool head_dies(struct queue *q, enum queue_death why)
{
    uint64_t qseq;
    struct qentry *e;
    enum qhead head = qstore_head(&q->store, &qseq, &e);
    if (UNLIKELY(head == QHEAD_IN_RUN || (head == QHEAD_ABSENT && q->settings->has_dlx))) {
        want(q);
        return false;
    }
    const struct qentry was = qstore_shift(&q->store, &qseq);
    q->ops->dead(q, was.absent ? NULL : was.message, why, qseq, &was, q->ops->arg);
    return true;
}

static bool is_above(uint64_t value, int64_t limit)
{
    return limit >= 0 && value > (uint64_t)limit;
}

static bool is_too_long(const struct queue *q)
{
    const struct qcount *ready = &q->store.counts.ready;
    return is_above(ready->count, q->settings->max_length) ||
           is_above(ready->bytes, q->settings->max_length_bytes);
}

/* What a consumer has room for would be gone if it might be shown already: it is not too much. */
static bool is_excused(const struct queue *q)
{
    return q->is_held && q->store.counts.ready.count < HELD_MOST;
}

/* Drop what is too much, up to `most`. False when there is more; what is away is waited for. */
static bool shorten(struct queue *q, unsigned most)
{
    if (LIKELY(q->is_plain) || q->settings->overflow != QUEUE_DROP_HEAD || is_excused(q))
        return true;
    for (unsigned n = 0; is_too_long(q); n++) {
        if (n == most)
            return false;
        if (!head_dies(q, QUEUE_MAXLEN))
            return true;
    }
    return true;
}

/* Would this message be too much for a queue that refuses instead of dropping? */
static bool refuses(const struct queue *q, const struct message *m)
{
    const struct qcount *ready = &q->store.counts.ready;
    return q->settings->overflow != QUEUE_DROP_HEAD && !is_excused(q) &&
           (is_above(ready->count + 1, q->settings->max_length) ||
            is_above(ready->bytes + m->body_bytes, q->settings->max_length_bytes));
}

/* Drop what has expired at the head. False when there is more; what is away is waited for. */
static bool expire(struct queue *q, uint64_t now_ms)
{
    for (unsigned n = 0; head_expires_ms(q) <= now_ms; n++) {
        if (n == RUN_MAX)
            return false;
        if (!head_dies(q, QUEUE_EXPIRED))
            return true;
    }
    return true;
}

/* ---- handing out ------------------------------------------------------------------------------
 */

static void deliver(struct queue *q, struct consumer *c, uint64_t qseq, const struct qentry *e,
                    uint32_t returns)
{
    if (LIKELY(returns == 0)) {
        c->ops->deliver(c, qseq, e->message, e->redelivered);
        return;
    }
    struct message *m = q->ops->counted(e->message, returns, q->ops->arg);
    c->ops->deliver(c, qseq, m, e->redelivered);
    release(q, m);
}

/* Those of a quorum queue say how often they came back. */
static uint32_t head_returns(const struct queue *q)
{
    uint64_t qseq;
    struct qentry *e;
    if (LIKELY(!q->settings->is_quorum))
        return 0;
    (void)qstore_head(&q->store, &qseq, &e);
    return qstore_returns(&q->store, qseq);
}

static void hand_out(struct queue *q, struct consumer *c)
{
    uint64_t qseq;
    uint32_t returns = head_returns(q);
    struct qentry e = c->no_ack ? qstore_shift(&q->store, &qseq) : *qstore_take(&q->store, &qseq);
    q->delivered++;
    q->redelivered += e.redelivered;
    c->out += !c->no_ack;
    deliver(q, c, qseq, &e, returns);
    if (c->no_ack)
        leave(q, qseq, &e);
    else if (is_told(q, &e))
        q->ops->out(q, qseq, q->ops->arg);
}

/* Hand out, and drop what has expired, `most` of both. False when there is more; what is away is
 * waited for. */
static bool hand_out_some(struct queue *q, uint64_t now_ms, unsigned most)
{
    unsigned n = 0;
    q->running = true;
    q->is_held = false;
    for (; n < most && !queue_is_empty(q); n++) {
        bool is_handed_out = MUTATION(EXPIRED_HANDED_OUT) && next_consumer(q) != NULL;
        if (UNLIKELY(q->has_timed) && head_expires_ms(q) <= now_ms && !is_handed_out) {
            if (!head_dies(q, QUEUE_EXPIRED))
                break;
            continue;
        }
        struct consumer *c = next_consumer(q);
        if (c == NULL || !head_is_here(q) || !queue_may_serve(q))
            break;
        if (!head_may_be_shown(q)) {
            q->is_held = true;
            break;
        }
        hand_out(q, c);
        end_of_turn(q, c);
    }
    q->running = false;
    if (q->store.counts.ready.count + q->store.counts.out.count == 0)
        q->has_timed = false;
    if (UNLIKELY(q->store.counts.away.count != 0) && n != 0 && qstore_is_low(&q->store, STOCK_LOW))
        q->ops->want(q, q->ops->arg);
    return n < most || queue_is_empty(q);
}

/* False when there is more. What was held is too much when nobody has room for it any more. */
static bool run_some(struct queue *q, uint64_t now_ms, unsigned most)
{
    bool was_held = q->is_held;
    return shorten(q, most) && hand_out_some(q, now_ms, most) && (!was_held || shorten(q, most));
}

void queue_run(struct queue *q, uint64_t now_ms)
{
    if (q->running || q->goes_on || q->is_copy || !queue_may_serve(q))
        return;
    q->waits = false;
    if (!run_some(q, now_ms, RUN_MAX))
        ask_to_go_on(q);
    note_time(q);
}

void queue_go_on(struct queue *q, uint64_t now_ms)
{
    q->goes_on = false;
    queue_run(q, now_ms);
    if (queue_sweep(q))
        ask_to_go_on(q);
}

bool queue_on_time(struct queue *q, uint64_t now_ms)
{
    q->wake_at_ms = NEVER;
    if (q->is_copy || !queue_may_serve(q))
        return false; /* when it is to lead, or may be served, the moment is asked for again */
    queue_run(q, now_ms);
    if (unused_at_ms(q) <= now_ms)
        return true;
    note_time(q);
    return false;
}

/* ---- publishing -------------------------------------------------------------------------------
 */

/* What the message itself and the queue say of how long it may wait, the less counts. */
struct arrival {
    uint64_t expires_ms; /* the moment, 0: never */
    uint8_t priority;
};

static struct arrival judge(const struct queue *q, const struct message *m, uint64_t now_ms)
{
    uint64_t ttl_ms = MESSAGE_NO_TTL;
    struct arrival a = { 0, 0 };
    if (message_props_matter(m))
        message_read_props(m, &ttl_ms, &a.priority);
    if (q->settings->message_ttl_ms >= 0 && (uint64_t)q->settings->message_ttl_ms < ttl_ms)
        ttl_ms = (uint64_t)q->settings->message_ttl_ms;
    if (ttl_ms != MESSAGE_NO_TTL)
        a.expires_ms = now_ms + ttl_ms;
    return a;
}

/* The same where others are told of all that becomes of a message: it has a position, if only for a
 * moment, by which they know it. */
static void pass_on_told(struct queue *q, struct consumer *c, struct message **m, struct arrival a,
                         struct queue_put *put)
{
    struct message *borrowed = *m;
    q->has_timed |= a.expires_ms != 0;
    put->qseq = qstore_push_out(&q->store, m, a.priority, a.expires_ms);
    put->expires_ms = a.expires_ms;
    c->out += !c->no_ack;
    c->ops->deliver(c, put->qseq, borrowed, false);
    if (c->no_ack) {
        const struct qentry was = qstore_settle(&q->store, put->qseq);
        leave(q, put->qseq, &was);
    } else {
        q->ops->out(q, put->qseq, q->ops->arg);
    }
}

/* Nothing waits and this consumer has room: the message goes by without being stored, or is stored
 * as out already. */
static enum queue_publish_verdict pass_on(struct queue *q, struct consumer *c, struct message **m,
                                          struct arrival a, struct queue_put *put)
{
    struct message *borrowed = *m;
    enum queue_publish_verdict verdict =
        c->no_ack && LIKELY(!q->is_mirrored) ? QUEUE_PASSED : QUEUE_KEPT;
    q->delivered++;
    if (UNLIKELY(q->is_mirrored)) {
        pass_on_told(q, c, m, a, put);
    } else if (c->no_ack) {
        *m = NULL;
        c->ops->deliver(c, 0, borrowed, false);
        release(q, borrowed);
    } else {
        q->has_timed |= a.expires_ms != 0;
        put->qseq = qstore_push_out(&q->store, m, a.priority, a.expires_ms);
        put->expires_ms = a.expires_ms;
        c->out++;
        c->ops->deliver(c, put->qseq, borrowed, false);
    }
    end_of_turn(q, c);
    return verdict;
}

static void keep(struct queue *q, struct message **m, struct arrival a, uint64_t now_ms,
                 struct queue_put *put)
{
    bool is_more = q->is_held && !queue_is_empty(q); /* it was asked already if that may be shown */
    q->has_timed |= a.expires_ms != 0;
    put->qseq = qstore_push(&q->store, m, a.priority, a.expires_ms);
    put->expires_ms = a.expires_ms;
    if (is_more && q->is_plain && !q->has_timed)
        return;
    if (q->goes_on && !q->running) {
        (void)run_some(q, now_ms, RUN_FOR_ONE);
    } else {
        queue_run(q, now_ms);
    }
}

static void refuse(struct queue *q, struct message **m)
{
    struct message *refused = *m;
    *m = NULL;
    if (q->settings->overflow == QUEUE_REJECT_PUBLISH_DLX)
        q->ops->dead(q, refused, QUEUE_MAXLEN, 0, NULL, q->ops->arg);
    else
        release(q, refused);
}

/* One that is not to wait at all cannot wait for mirrors either. */
static bool may_pass(struct queue *q, struct arrival a, uint64_t now_ms)
{
    return LIKELY(!q->is_mirrored) || q->ops->may_pass == NULL ||
           (a.expires_ms != 0 && a.expires_ms <= now_ms) || q->ops->may_pass(q, q->ops->arg);
}

enum queue_publish_verdict queue_publish(struct queue *q, struct message **m, uint64_t now_ms,
                                         struct queue_put *put)
{
    struct arrival a = { 0, 0 };
    if (UNLIKELY(!q->is_plain || message_props_matter(*m))) {
        if (refuses(q, *m)) {
            refuse(q, m);
            return QUEUE_REFUSED;
        }
        a = judge(q, *m, now_ms);
    }
    q->published++;
    struct consumer *c =
        queue_is_empty(q) && !q->running && queue_may_serve(q) ? next_consumer(q) : NULL;
    if (c != NULL && may_pass(q, a, now_ms))
        return pass_on(q, c, m, a, put);
    q->is_held = q->is_held || c != NULL;
    if (UNLIKELY(q->settings->message_ttl_ms == 0 && !q->settings->has_dlx)) {
        q->ops->dead(q, *m, QUEUE_EXPIRED, 0, NULL, q->ops->arg);
        *m = NULL;
        return QUEUE_PASSED;
    }
    keep(q, m, a, now_ms, put);
    return QUEUE_KEPT;
}

enum queue_placed queue_set_place(struct queue *q, uint64_t qseq, struct place place)
{
    const struct qentry *e = qstore_set_place(&q->store, qseq, place);
    if (e == NULL)
        return QUEUE_PLACED_GONE;
    return e->state == QENTRY_OUT ? QUEUE_PLACED_OUT : QUEUE_PLACED_READY;
}

enum queue_get_verdict queue_get(struct queue *q, bool no_ack, uint64_t now_ms,
                                 struct queue_got *out)
{
    queue_use(q, now_ms);
    if (!expire(q, now_ms))
        return QUEUE_GET_LATER;
    if (queue_is_empty(q))
        return QUEUE_GET_EMPTY;
    if (!head_is_here(q) || !head_may_be_shown(q))
        return QUEUE_GET_AWAY;
    struct qentry *e = qstore_take(&q->store, &out->qseq);
    out->redelivered = e->redelivered;
    q->delivered++;
    q->redelivered += e->redelivered;
    out->message =
        q->settings->is_quorum /* here RabbitMQ says it the first time too */
            ? q->ops->counted(e->message, qstore_returns(&q->store, out->qseq), q->ops->arg)
            : message_ref(e->message);
    if (no_ack) {
        const struct qentry was = qstore_settle(&q->store, out->qseq);
        leave(q, out->qseq, &was);
    } else if (is_told(q, e)) {
        q->ops->out(q, out->qseq, q->ops->arg);
    }
    (void)expire(q, now_ms); /* so that what is told to be left is alive */
    note_time(q);
    return QUEUE_GOT;
}

const struct message *queue_head(const struct queue *q)
{
    uint64_t qseq;
    struct qentry *e;
    return qstore_head(&q->store, &qseq, &e) == QHEAD_HERE ? e->message : NULL;
}

/* ---- settling ---------------------------------------------------------------------------------
 */

/* One less is out with the consumer: it may have room again, if it was its own limit that kept it
 * from more. Else its turn is its channel's to give, which may have others that wait longer. */
static void give_back(struct consumer *c)
{
    if (c == NULL)
        return;
    CHECK(c->out > 0);
    if (c->out-- == c->prefetch)
        queue_wake(c);
}

bool queue_ack(struct queue *q, uint64_t qseq, struct consumer *c)
{
    const struct qentry was = qstore_settle(&q->store, qseq);
    if (was.state == QENTRY_NONE)
        return false;
    give_back(c);
    q->acked++;
    leave(q, qseq, &was);
    return true;
}

bool queue_reject(struct queue *q, uint64_t qseq, struct consumer *c)
{
    if (qstore_out(&q->store, qseq) == NULL)
        return false;
    give_back(c);
    q->acked++;
    die(q, qseq, QUEUE_REJECTED);
    return true;
}

static void note_return(struct queue *q, uint64_t qseq, const struct qentry *e, uint32_t returns)
{
    qstore_set_returns(&q->store, qseq, returns);
    if (is_told(q, e))
        q->ops->returned(q, qseq, returns, q->ops->arg);
}

bool queue_requeue(struct queue *q, uint64_t qseq, struct consumer *c, bool redelivered)
{
    const struct qentry *e = qstore_out(&q->store, qseq);
    if (e == NULL)
        return false;
    give_back(c);
    if (redelivered && q->settings->is_quorum) {
        uint32_t returns = qstore_returns(&q->store, qseq) + 1;
        if (is_above(returns, q->settings->delivery_limit)) {
            die(q, qseq, QUEUE_DELIVERY_LIMIT);
            return true;
        }
        note_return(q, qseq, e, returns);
    }
    qstore_requeue(&q->store, qseq, redelivered);
    return true;
}

/* Its record names the old position: it is written anew. */
static void goes_last(struct queue *q, uint64_t qseq, const struct qentry *e)
{
    struct queue_item item = { .message = e->message,
                               .expires_ms = qstore_expires_ms(&q->store, qseq),
                               .returns = qstore_returns(&q->store, qseq) + 1,
                               .redelivered = true };
    const struct qentry was = *e;
    qstore_set_returns(&q->store, qseq, item.returns);
    bool is_wanted = is_told(q, &was);
    if (is_wanted)
        q->ops->gone(q, qseq, &was, q->ops->arg);
    item.qseq = qstore_requeue_last(&q->store, qseq);
    if (is_wanted)
        (void)qstore_set_place(&q->store, item.qseq, q->ops->again(q, &item, q->ops->arg));
}

bool queue_return(struct queue *q, uint64_t qseq, struct consumer *c)
{
    if (LIKELY(!q->settings->is_quorum || q->settings->delivery_limit >= 0))
        return queue_requeue(q, qseq, c, true);
    const struct qentry *e = qstore_out(&q->store, qseq);
    if (e == NULL)
        return false;
    give_back(c);
    goes_last(q, qseq, e);
    return true;
}

uint64_t queue_purge(struct queue *q)
{
    const struct qsink to = queue_sink(q);
    uint64_t n = qstore_purge(&q->store, &to);
    if (n != 0) {
        q->has_buried = true;
        ask_to_go_on(q);
    }
    return n;
}
