#include "mirrored_handed.h"

#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/meta_node.h"
#include "hosted.h"
#include "mirror/mirror_handed.h"
#include "mirror_link/mirror_links.h"
#include "model/queue_copy.h"

#include <inttypes.h>

#define HANDED_WAIT_MS  2000u /* for the former master's word */
#define HANDED_GRACE_MS 3000u /* for those who hold something to claim it */
#define LOG_BURST       10u
#define LOG_MS          1000u

struct mirrored_handed {
    struct hosted *hosted;
    struct loop_timer timer;
    struct mirror_handed word; /* and what became of it */
};

/* ---- the master that was ----------------------------------------------------------------------
 */

static void add_fresh(uint64_t next_fresh, void *arg)
{
    mirror_starts_raise(arg, next_fresh);
}

void mirrored_hand_over(struct hosted *h, uint16_t to)
{
    struct shard *s = h->shard;
    struct mirror_starts fresh = { 0 };
    size_t room = (size_t)queue_unacked(&h->queue);
    if (to == 0 || to == broker_node(s->broker) || room > MIRROR_HANDED_MAX)
        return;
    uint64_t *out = mem_array(room + 1, sizeof *out);
    size_t count = queue_list_out(&h->queue, out, room);
    queue_fresh(&h->queue, add_fresh, &fresh);
    if (mirror_master_hand_over(s->mirrored->m, h->mirrored->lead, to, out, count, &fresh))
        mirror_links_soon(s);
    mirror_starts_fini(&fresh);
    mem_free(out);
}

/* ---- the next one -----------------------------------------------------------------------------
 */

static void on_timer(void *arg);

static struct mirrored_handed *need(struct hosted *h)
{
    struct mirrored_queue *mq = h->mirrored;
    if (mq->handed != NULL)
        return mq->handed;
    mq->handed = mem_zalloc(sizeof *mq->handed);
    mq->handed->hosted = h;
    loop_timer_init(&mq->handed->timer, h->shard->loop, on_timer, mq->handed);
    return mq->handed;
}

void mirrored_handed_forget(struct hosted *h)
{
    struct mirrored_handed *d = h->mirrored->handed;
    h->mirrored->handed = NULL;
    if (d == NULL)
        return;
    loop_timer_fini(&d->timer);
    mirror_handed_fini(&d->word);
    mem_free(d);
}

/* What a master said that was followed by another one since means nothing. */
static void forget_older(struct hosted *h, uint64_t epoch)
{
    const struct mirrored_handed *d = h->mirrored->handed;
    if (d != NULL && mirror_handed_is_of_another(&d->word, epoch))
        mirrored_handed_forget(h);
}

void mirrored_handed_take(struct hosted *h, const struct mirror_record *r)
{
    forget_older(h, r->epoch);
    struct mirrored_handed *d = need(h);
    if (!mirror_handed_hear(&d->word, r))
        return;
    loop_timer_stop(&d->timer);
    mirrored_is_due(h);
}

/* One that stops in an order gives its queues away with the entry that says so, and is there yet.
 */
static bool is_there(const struct meta_node *n)
{
    return n != NULL && (meta_node_is_serving(n) || n->state == META_NODE_IS_STOPPED);
}

/* The node that was the master is there, and what it says reaches this copy. */
static bool may_be_said(const struct hosted *h)
{
    const struct mirrored_queue *mq = h->mirrored;
    const struct meta_node *n = meta_node_get(broker_meta(h->shard->broker), mq->earlier);
    return mq->earlier != 0 && mq->earlier != broker_node(h->shard->broker) && is_there(n) &&
           mq->copy->source != NULL && mirror_links_source_node(mq->copy->source) == mq->earlier;
}

bool mirrored_handed_is_decided(const struct hosted *h)
{
    const struct mirrored_handed *d = h->mirrored->handed;
    return d != NULL && d->word.is_awaited && mirror_handed_is_decided(&d->word);
}

bool mirrored_handed_awaits(struct hosted *h)
{
    forget_older(h, mirror_history_epoch(&h->mirrored->copy->history));
    struct mirrored_handed *d = h->mirrored->handed;
    if (d != NULL && mirror_handed_is_decided(&d->word))
        return false;
    if (!may_be_said(h))
        return false;
    d = need(h);
    bool was_awaited = d->word.is_awaited, is_awaited = mirror_handed_await(&d->word);
    if (is_awaited && !was_awaited)
        loop_timer_start(&d->timer, HANDED_WAIT_MS);
    return is_awaited;
}

void mirrored_handed_leads_not(struct hosted *h)
{
    const struct mirrored_handed *d = h->mirrored->handed;
    if (d != NULL && d->word.is_awaited)
        mirrored_handed_forget(h);
}

static void unsee(uint64_t next_new, void *arg)
{
    struct mirrored_handed *d = arg;
    queue_unseen(&d->hosted->queue, mirror_starts_of(&d->word.fresh, next_new));
}

/* What is not there any more is nobody's. */
static void pass_over_those_gone(struct hosted *h, struct mirror_handed *word)
{
    for (size_t i = 0; i < word->count; i++)
        if (!queue_is_out(&h->queue, word->positions[i]))
            (void)mirror_handed_take(word, word->positions[i]);
}

void mirrored_handed_hold(struct hosted *h)
{
    struct mirrored_handed *d = h->mirrored->handed;
    if (d == NULL || !mirror_handed_hold(&d->word))
        return;
    loop_timer_stop(&d->timer);
    queue_starts(&h->queue, unsee, d);
    if (queue_hold(&h->queue, d->word.positions, d->word.count) != d->word.count)
        pass_over_those_gone(h, &d->word);
}

/* ---- claimed, settled, or nobody's ------------------------------------------------------------
 */

static bool holds(const struct hosted *h)
{
    const struct mirrored_handed *d = h->mirrored != NULL ? h->mirrored->handed : NULL;
    return d != NULL && d->word.is_held;
}

void mirrored_handed_claim(struct hosted *h, struct consumer *c, uint64_t *positions,
                           uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!holds(h) || !mirror_handed_take(&h->mirrored->handed->word, positions[i])) {
            positions[i] = PORT_NO_POSITION;
            continue;
        }
        queue_adopt(&h->queue, c);
    }
    if (holds(h) && h->mirrored->handed->word.left == 0)
        mirrored_handed_forget(h);
}

static void settle(struct hosted *h, uint64_t qseq, enum port_settle how)
{
    struct shard *s = h->shard;
    port_settle(
        s,
        &(struct unacked_entry){
            .qid = h->queue.qid, .qseq = qseq, .where = s->index, .known = h->mirrored->since },
        how);
}

void mirrored_handed_settle(struct hosted *h, uint64_t qseq, enum port_settle how)
{
    struct mirrored_queue *mq = h->mirrored;
    if (mq == NULL)
        return;
    if (mq->state != MIRRORED_MASTER)
        mirror_handed_put_early(&need(h)->word, qseq, (uint8_t)how);
    else if (holds(h) && mirror_handed_take(&mq->handed->word, qseq)) {
        settle(h, qseq, how);
        if (mq->handed->word.left == 0)
            mirrored_handed_forget(h);
    }
}

static void give_back_rest(struct hosted *h)
{
    uint64_t qseq;
    while (mirror_handed_next_left(&h->mirrored->handed->word, &qseq))
        settle(h, qseq, PORT_REQUEUE_SEEN);
    mirrored_handed_forget(h);
    port_settled(h->shard);
}

void mirrored_handed_began(struct hosted *h)
{
    struct mirrored_handed *d = h->mirrored->handed;
    uint64_t qseq;
    uint8_t how;
    if (d == NULL)
        return;
    while (mirror_handed_next_early(&d->word, &qseq, &how))
        settle(h, qseq, (enum port_settle)how);
    if (!d->word.is_held || d->word.left == 0)
        mirrored_handed_forget(h);
    else
        loop_timer_start(&d->timer, HANDED_GRACE_MS);
    port_settled(h->shard);
}

static void tell(const struct hosted *h, const char *what, size_t count)
{
    struct shard *s = h->shard;
    unsigned left_out;
    if (log_rate_ok(&s->mirrored->handed_told, LOG_BURST, LOG_MS, &left_out))
        log_warn("mirror", broker_name(s->broker), "%s qid=%" PRIu64 " count=%zu left_out=%u", what,
                 h->queue.qid, count, left_out);
}

static void on_timer(void *arg)
{
    struct mirrored_handed *d = arg;
    struct hosted *h = d->hosted;
    if (d->word.is_held) {
        tell(h, "messages that were out when a queue was moved here go back: nobody claims them",
             d->word.left);
        give_back_rest(h);
        return;
    }
    tell(h,
         "a queue's former master does not say what is out with consumers: all that may be is "
         "redelivered",
         d->word.count);
    mirror_handed_give_up(&d->word);
    mirrored_is_due(h);
}
