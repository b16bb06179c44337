#include "mirrored_handed.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/meta_node.h"
#include "hosted.h"
#include "mirror_link/mirror_links.h"
#include "model/queue_copy.h"

#include <inttypes.h>

#define HANDED_MAX      ((size_t)64 * 1024) /* that are out; of more nothing is said */
#define EARLY_FIRST     ((size_t)64)
#define HANDED_WAIT_MS  2000u /* for the former master's word */
#define HANDED_GRACE_MS 3000u /* for those who hold something to claim it */
#define LOG_BURST       10u
#define LOG_MS          1000u

struct early {
    uint64_t qseq;
    enum port_settle how;
};

struct mirrored_handed {
    struct hosted *hosted;
    struct loop_timer timer;
    uint64_t epoch; /* that of the former master, once it has said something */
    bool is_awaited;
    bool is_whole;    /* all was said */
    bool is_given_up; /* nothing more will be */
    bool is_held;
    uint64_t *positions; /* rising; held, when is_held */
    bool *is_taken;      /* of each: claimed or settled */
    size_t count, cap;
    size_t left; /* not taken */
    struct mirror_starts fresh;
    struct early *early; /* settled before they are held, HANDED_MAX at most; others go back */
    size_t early_count, early_cap;
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
    if (to == 0 || to == broker_node(s->broker) || room > HANDED_MAX)
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
    mirror_starts_fini(&d->fresh);
    mem_free(d->positions);
    mem_free(d->is_taken);
    mem_free(d->early);
    mem_free(d);
}

static void add(struct mirrored_handed *d, uint64_t qseq)
{
    if (d->count == d->cap) {
        d->cap = d->cap != 0 ? 2 * d->cap : 64;
        d->positions = mem_realloc(d->positions, d->cap * sizeof *d->positions);
    }
    d->positions[d->count++] = qseq;
}

/* It is another node's word: more than may be said is not believed. */
static bool add_runs(struct mirrored_handed *d, const struct mirror_record *r)
{
    for (uint32_t i = 0; i < r->run_count; i++) {
        if (r->runs[i].last - r->runs[i].first >= HANDED_MAX - d->count)
            return false;
        if (d->count != 0 && r->runs[i].first <= d->positions[d->count - 1])
            return false;
        for (uint64_t n = 0; n <= r->runs[i].last - r->runs[i].first; n++)
            add(d, r->runs[i].first + n);
    }
    return true;
}

/* What a master said that was followed by another one since means nothing. */
static void forget_older(struct hosted *h, uint64_t epoch)
{
    const struct mirrored_handed *d = h->mirrored->handed;
    if (d != NULL && d->epoch != 0 && d->epoch != epoch)
        mirrored_handed_forget(h);
}

void mirrored_handed_take(struct hosted *h, const struct mirror_record *r)
{
    forget_older(h, r->epoch);
    struct mirrored_handed *d = need(h);
    d->epoch = r->epoch;
    if (d->is_whole || d->is_given_up)
        return;
    d->is_given_up = !add_runs(d, r);
    if (!d->is_given_up && (r->flags & MIRROR_HANDED_LAST) == 0)
        return;
    if (!d->is_given_up)
        mirror_starts_copy(&d->fresh, r->starts);
    d->is_whole = !d->is_given_up;
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
    return d != NULL && d->is_awaited && (d->is_whole || d->is_given_up);
}

bool mirrored_handed_awaits(struct hosted *h)
{
    forget_older(h, mirror_history_epoch(&h->mirrored->copy->history));
    struct mirrored_handed *d = h->mirrored->handed;
    if (d != NULL && (d->is_whole || d->is_given_up))
        return false;
    if (!may_be_said(h))
        return false;
    d = need(h);
    if (!d->is_awaited)
        loop_timer_start(&d->timer, HANDED_WAIT_MS);
    d->is_awaited = true;
    return true;
}

void mirrored_handed_leads_not(struct hosted *h)
{
    const struct mirrored_handed *d = h->mirrored->handed;
    if (d != NULL && d->is_awaited)
        mirrored_handed_forget(h);
}

static void unsee(uint64_t next_new, void *arg)
{
    struct mirrored_handed *d = arg;
    queue_unseen(&d->hosted->queue, mirror_starts_of(&d->fresh, next_new));
}

static bool is_out(const struct hosted *h, uint64_t qseq)
{
    return queue_is_out(&h->queue, qseq);
}

void mirrored_handed_hold(struct hosted *h)
{
    struct mirrored_handed *d = h->mirrored->handed;
    if (d == NULL || !d->is_whole)
        return;
    loop_timer_stop(&d->timer);
    queue_starts(&h->queue, unsee, d);
    d->is_taken = mem_zalloc((d->count + 1) * sizeof *d->is_taken);
    d->left = queue_hold(&h->queue, d->positions, d->count);
    if (d->left != d->count)
        for (size_t i = 0; i < d->count; i++)
            d->is_taken[i] = !is_out(h, d->positions[i]);
    d->is_held = true;
}

/* ---- claimed, settled, or nobody's ------------------------------------------------------------
 */

/* False: it is not held (any more). */
static bool take(struct mirrored_handed *d, uint64_t qseq)
{
    size_t low = 0, high = d->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (d->positions[middle] < qseq)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == d->count || d->positions[low] != qseq || d->is_taken[low])
        return false;
    d->is_taken[low] = true;
    d->left--;
    return true;
}

static bool holds(const struct hosted *h)
{
    const struct mirrored_handed *d = h->mirrored != NULL ? h->mirrored->handed : NULL;
    return d != NULL && d->is_held;
}

void mirrored_handed_claim(struct hosted *h, struct consumer *c, uint64_t *positions,
                           uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!holds(h) || !take(h->mirrored->handed, positions[i])) {
            positions[i] = PORT_NO_POSITION;
            continue;
        }
        queue_adopt(&h->queue, c);
    }
    if (holds(h) && h->mirrored->handed->left == 0)
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

static void keep_early(struct mirrored_handed *d, uint64_t qseq, enum port_settle how)
{
    if (d->early_count == HANDED_MAX)
        return;
    if (d->early_count == d->early_cap) {
        d->early_cap = d->early_cap != 0 ? 2 * d->early_cap : EARLY_FIRST;
        d->early = mem_realloc(d->early, d->early_cap * sizeof *d->early);
    }
    d->early[d->early_count++] = (struct early){ qseq, how };
}

void mirrored_handed_settle(struct hosted *h, uint64_t qseq, enum port_settle how)
{
    struct mirrored_queue *mq = h->mirrored;
    if (mq == NULL)
        return;
    if (mq->state != MIRRORED_MASTER)
        keep_early(need(h), qseq, how);
    else if (holds(h) && take(mq->handed, qseq)) {
        settle(h, qseq, how);
        if (mq->handed->left == 0)
            mirrored_handed_forget(h);
    }
}

static void give_back_rest(struct hosted *h)
{
    struct mirrored_handed *d = h->mirrored->handed;
    for (size_t i = 0; i < d->count; i++)
        if (!d->is_taken[i])
            settle(h, d->positions[i], PORT_REQUEUE_SEEN);
    mirrored_handed_forget(h);
    port_settled(h->shard);
}

void mirrored_handed_began(struct hosted *h)
{
    struct mirrored_handed *d = h->mirrored->handed;
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->early_count; i++)
        if (d->is_held && take(d, d->early[i].qseq))
            settle(h, d->early[i].qseq, d->early[i].how);
    d->early_count = 0;
    if (!d->is_held || d->left == 0)
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
    if (d->is_held) {
        tell(h, "messages that were out when a queue was moved here go back: nobody claims them",
             d->left);
        give_back_rest(h);
        return;
    }
    tell(h,
         "a queue's former master does not say what is out with consumers: all that may be is "
         "redelivered",
         d->count);
    d->is_given_up = true;
    mirrored_is_due(h);
}
