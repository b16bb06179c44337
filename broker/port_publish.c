#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "broker.h"
#include "client/channel_port.h"
#include "hosted.h"
#include "ledger.h"
#include "mirrored_lead.h"
#include "port_held.h"
#include "port_lane.h"
#include "posting.h"
#include "promise.h"
#include "remote/remote.h"
#include "remote/remote_carry.h"

/* Of a queue that other nodes have, too: it may have to wait, and what is kept is answered when
 * mirrors have it. */
static enum port_published publish_mirrored(struct shard *s, struct hosted *h, struct shard *asker,
                                            struct publish_item *it)
{
    enum port_published done = mirrored_publish(
        s, h, &it->message, &(struct lead_publish){ asker, &it->from, &it->origin, it->number });
    if (done == PORT_LATER)
        port_hold(h, asker, it);
    return done;
}

/* PORT_LATER and PORT_AWAITED: the queue answers. `awaited`: somebody wants to know when it is
 * durable. */
static enum port_published publish_here(struct shard *s, struct hosted *h, struct message **m,
                                        bool awaited)
{
    struct queue_put put;
    if (!ledger_wants(h, *m))
        return queue_publish(&h->queue, m, loop_now_ms(s->loop), &put) != QUEUE_REFUSED
                   ? PORT_TAKEN
                   : PORT_REFUSED;
    /* A reference more: the queue may be done with it before it is written down. */
    struct message *mine = message_ref(*m);
    enum queue_publish_verdict verdict = queue_publish(&h->queue, m, loop_now_ms(s->loop), &put);
    if (LIKELY(verdict == QUEUE_KEPT))
        ledger_add(s->ledger, h, &mine, &put, awaited);
    else
        shard_message_drop(s, &mine);
    return verdict != QUEUE_REFUSED ? PORT_TAKEN : PORT_REFUSED;
}

/* Dead letters are nobody's: who settles them afterwards is content when they are written. */
static bool is_awaited(const struct port_channel_ref *from, uint64_t number)
{
    return number != 0 && from->connection != 0;
}

/* ---- large messages: what is to be waited for is known later */

struct large_wait {
    struct shard *here;  /* that wrote it */
    struct shard *asker; /* that published it */
    struct port_channel_ref from;
    uint64_t number;
    uint32_t answers;
    uint64_t lsn;           /* of its record */
    struct lead_large *led; /* what mirrors have of it; NULL: nothing */
};

static void on_publishes_back(struct mail *mail);
static void tell_published(struct shard *s, const struct publish_item *it);

static struct publish_item answer_of(const struct large_wait *w, uint64_t lsn)
{
    return (struct publish_item){
        .number = w->number, .from = w->from, .lsn = lsn, .refused = lsn == UINT64_MAX
    };
}

static void tell_late(struct shard *s, const struct publish_item *it)
{
    if (it->from.connection == 0) {
        hosted_on_letter_published(s, it->number, it->refused ? DEAD_FAILED : DEAD_TAKEN);
        return;
    }
    if (!it->refused) {
        promise_publish(s->promises, PROMISE_LATE, it->lsn, &it->from, it->number);
        return;
    }
    tell_published(s, it); /* it will never be safe */
}

static void on_late_answers(struct mail *mail)
{
    struct publish_batch *b = CONTAINER_OF(mail, struct publish_batch, mail);
    for (unsigned i = 0; i < b->count; i++)
        tell_late(b->from, &b->items[i]);
    mem_free(b);
}

static void on_large_safe(void *arg, uint64_t lsn)
{
    struct large_wait *w = arg;
    if (lsn < w->lsn)
        lsn = w->lsn; /* another shard had the file written before */
    if (w->led != NULL)
        mirrored_lead_large_written(w->here, &w->led, lsn);
    struct publish_item it = answer_of(w, lsn);
    for (uint32_t left = w->number != 0 ? w->answers : 0; left != 0;) {
        if (w->asker == w->here) {
            tell_late(w->here, &it);
            left--;
            continue;
        }
        struct publish_batch *b = mem_alloc(sizeof *b);
        b->from = w->asker;
        b->count = left < BATCH_ITEMS ? left : BATCH_ITEMS;
        for (unsigned i = 0; i < b->count; i++)
            b->items[i] = it;
        left -= b->count;
        b->mail.fn = on_late_answers;
        mailbox_post(w->asker->loop, &b->mail);
    }
    mem_free(w);
}

static void on_large_failed(struct large_wait *w)
{
    if (w->led != NULL)
        mirrored_lead_large_written(w->here, &w->led, UINT64_MAX);
    mem_free(w);
}

static void write_large(struct shard *s, struct shard *asker, const struct port_channel_ref *from,
                        uint64_t number, uint32_t answers)
{
    struct large_wait *w = mem_alloc(sizeof *w);
    *w = (struct large_wait){
        .here = s, .asker = asker, .from = *from, .number = number, .answers = answers
    };
    if (UNLIKELY(s->is_led))
        w->led = mirrored_lead_write_large(s);
    w->lsn = ledger_write_large(s->ledger, on_large_safe, w);
    if (w->lsn == UINT64_MAX) /* the journal has failed: nobody is told anything any more */
        on_large_failed(w);
}

/* Its mirrors hear of it; those who wait for queues that have some are answered by these. */
static bool published_led(struct shard *s, const struct port_channel_ref *from, uint64_t number)
{
    bool is_owed = ledger_is_owed(s->ledger);
    uint64_t lsn = ledger_write(s->ledger);
    mirrored_lead_write(s, lsn);
    if (is_owed)
        promise_publish(s->promises, s->index, lsn, from, number);
    return is_owed;
}

static bool published_here(struct shard *s, const struct port_channel_ref *from, uint64_t number)
{
    if (UNLIKELY(ledger_has_large(s->ledger))) {
        bool is_owed = !s->is_led || ledger_is_owed(s->ledger);
        write_large(s, s, from, number, is_owed);
        return is_owed && number != 0;
    }
    if (UNLIKELY(s->is_led))
        return published_led(s, from, number);
    uint64_t lsn = ledger_write(s->ledger);
    if (lsn == 0 || !is_awaited(from, number))
        return false;
    promise_publish(s->promises, s->index, lsn, from, number);
    return true;
}

bool port_published(struct shard *s, const struct port_channel_ref *from, uint64_t number)
{
    if (UNLIKELY(s->publishing_away != 0))
        remote_published(s);
    bool waits = published_here(s, from, number);
    if (UNLIKELY(s->publishing_lane))
        remote_carry_published(s); /* what is for mirrored queues is a record of its own */
    return waits;
}

static struct publish_item *add_publish(struct shard *s, uint32_t to)
{
    struct port_lane *lane = &s->lanes[to];
    /* Settlements gathered earlier stay ahead of what comes now. */
    if (lane->publishes != NULL && lane->publishes->count == BATCH_ITEMS)
        port_send_lane(lane);
    if (lane->publishes == NULL) {
        lane->publishes = mem_alloc(sizeof *lane->publishes);
        lane->publishes->from = s;
        lane->publishes->to = broker_shard(s->broker, to);
        lane->publishes->count = 0;
    }
    loop_first_at_turn_end(s->loop, &s->flush_task);
    return &lane->publishes->items[lane->publishes->count++];
}

static void publish_there(struct shard *s, const struct meta_queue *to, struct message **m,
                          const struct port_channel_ref *from, uint64_t number,
                          const struct port_origin *origin)
{
    *add_publish(s, to->shard) = (struct publish_item){
        .message = *m,
        .qid = to->qid,
        .number = number,
        .octets = message_cost_bytes(*m),
        .from = *from,
        .origin = *origin,
    };
    *m = NULL;
    if (to->shard == s->index)
        port_send_lane(
            &s->lanes[to->shard]); /* before the queue is there, or later ones overtake */
}

/* Who publishes knows already that it has mirrors: then the look at it that brings that about,
 * which is on its way, is taken now. */
static void become_mirrored(struct shard *s, const struct hosted *h)
{
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), h->queue.qid);
    if (h->mirrored == NULL && q != NULL)
        mirrored_reconcile(s, q);
}

/* It is not gone, but mastered by another node since. */
static bool is_elsewhere(const struct shard *s, uint64_t qid)
{
    return meta_queue_get(broker_meta(s->broker), qid) != NULL;
}

/* Who keeps what it publishes, as lanes and dead letters are, sends it there; who does not is to
 * hear that it is not taken. */
static enum port_published not_here(const struct publish_item *it)
{
    bool is_kept = it->origin.pid != 0 || it->from.connection == 0;
    return is_kept ? PORT_MOVED : PORT_REFUSED;
}

static enum port_published publish_one(struct shard *s, struct shard *asker, struct hosted *h,
                                       struct publish_item *it)
{
    if (UNLIKELY(h == NULL || h->deleting)) { /* the queue went while it was on its way */
        shard_message_drop(s, &it->message);
        return h == NULL && is_elsewhere(s, it->qid) ? not_here(it) : PORT_TAKEN;
    }
    if (it->origin.pid != 0)
        become_mirrored(s, h);
    if (UNLIKELY(h->mirrored != NULL))
        return publish_mirrored(s, h, asker, it);
    return publish_here(s, h, &it->message, is_awaited(&it->from, it->number));
}

static enum port_published publish_led(struct shard *s, struct hosted *h, struct message **m,
                                       const struct port_channel_ref *from, uint64_t number,
                                       const struct port_origin *origin)
{
    struct publish_item it = { .message = *m,
                               .qid = h->queue.qid,
                               .number = number,
                               .octets = message_cost_bytes(*m),
                               .from = *from,
                               .origin = *origin };
    *m = NULL;
    return publish_one(s, s, h, &it);
}

enum port_published port_publish_from(struct shard *s, const struct meta_queue *to,
                                      struct message **m, const struct port_channel_ref *from,
                                      uint64_t number, const struct port_origin *origin)
{
    CHECK(number != 0 && origin->pid != 0);
    struct hosted *h = port_find_here(s, to->shard, to->qid);
    if (h != NULL)
        return publish_led(s, h, m, from, number, origin);
    publish_there(s, to, m, from, number, origin);
    return PORT_LATER;
}

enum port_published port_publish(struct shard *s, const struct meta_queue *to, struct message **m,
                                 const struct port_channel_ref *from, uint64_t number)
{
    static const struct port_origin none = { 0 };
    if (UNLIKELY(remote_carries(s, to))) {
        remote_carry_publish(s, to, m, from, number);
        return PORT_LATER;
    }
    struct hosted *h = port_find_here(s, to->shard, to->qid);
    if (LIKELY(h != NULL && h->mirrored == NULL)) {
        enum port_published done = publish_here(s, h, m, is_awaited(from, number));
        return MUTATION(REFUSED_CONFIRMED) ? PORT_TAKEN : done;
    }
    uint16_t master = meta_queue_master(broker_meta(s->broker), to);
    if (master != broker_node(s->broker)) { /* what is here of it is that of a former mirror */
        remote_publish(s, master, to->qid, m, from, number);
        return PORT_LATER;
    }
    if (h != NULL) {
        enum port_published done = publish_led(s, h, m, from, number, &none);
        return done != PORT_MOVED ? done : PORT_REFUSED;
    }
    publish_there(s, to, m, from, number, &none);
    return PORT_LATER;
}

/* Does it wait for the record? */
static bool is_written(const struct publish_item *it)
{
    return !it->refused && !it->moved && !it->is_awaited;
}

/* Items from..to - 1 are one message: each waits for its record. */
static void write_down(struct publish_batch *b, unsigned from, unsigned to)
{
    uint32_t taken = 0;
    for (unsigned i = from; i < to; i++)
        taken += is_written(&b->items[i]);
    bool is_large = ledger_has_large(b->to->ledger);
    if (UNLIKELY(is_large))
        write_large(b->to, b->from, &b->items[from].from, b->items[from].number, taken);
    uint64_t lsn = is_large ? 0 : ledger_write(b->to->ledger);
    if (UNLIKELY(b->to->is_led))
        mirrored_lead_write(b->to, lsn);
    for (unsigned i = from; i < to; i++) {
        b->items[i].lsn = is_written(&b->items[i]) ? lsn : 0;
        b->items[i].is_late = is_large && is_written(&b->items[i]);
    }
}

static void note_done(struct publish_item *it, enum port_published done)
{
    it->refused = done == PORT_REFUSED;
    it->moved = done == PORT_MOVED;
    it->is_parked = done == PORT_LATER;
    it->is_awaited = it->is_parked || done == PORT_AWAITED;
}

void port_send_publishes_back(struct publish_batch *b)
{
    b->mail.fn = on_publishes_back;
    mailbox_post(b->from->loop, &b->mail);
}

void port_on_publishes(struct mail *mail)
{
    struct publish_batch *b = CONTAINER_OF(mail, struct publish_batch, mail);
    unsigned first = 0;
    for (unsigned i = 0; i < b->count; i++) {
        struct publish_item *it = &b->items[i];
        bool is_last = i + 1 == b->count || b->items[i + 1].message != it->message;
        note_done(it, publish_one(b->to, b->from, shard_kept(b->to, it->qid), it));
        if (!is_last)
            continue;
        write_down(b, first, i + 1);
        first = i + 1;
    }
    port_send_publishes_back(b);
}

void port_tell_published(struct shard *s, const struct port_channel_ref *to, uint64_t qid,
                         uint64_t number, enum port_published how)
{
    tell_published(s, &(struct publish_item){ .qid = qid,
                                              .number = number,
                                              .from = *to,
                                              .refused = how == PORT_REFUSED,
                                              .moved = how == PORT_MOVED });
}

static void tell_published(struct shard *s, const struct publish_item *it)
{
    if (it->moved) {
        remote_on_publish_moved(s, &it->from, it->number, it->qid);
        return;
    }
    if (remote_is_session(&it->from)) {
        remote_on_published(s, &it->from, it->number, !it->refused);
        return;
    }
    port_tell_publisher(s, &it->from, it->number, it->refused ? DEAD_REFUSED : DEAD_TAKEN);
}

void port_tell_publisher(struct shard *s, const struct port_channel_ref *to, uint64_t number,
                         enum dead_fate fate)
{
    struct channel *ch = channel_find(s, to);
    if (LIKELY(ch != NULL))
        channel_on_published(ch, number, fate == DEAD_TAKEN);
    else
        postings_on_published(s, to, number, fate);
}

void port_tell_durable(struct shard *s, const struct port_channel_ref *to, uint64_t first,
                       uint32_t count)
{
    if (remote_is_session(to)) {
        remote_on_durable(s, to, first, count);
        return;
    }
    struct channel *ch = channel_find(s, to);
    if (LIKELY(ch != NULL)) {
        channel_on_durable(ch, first, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        postings_on_published(s, to, first + i, DEAD_TAKEN);
}

static void on_publishes_back(struct mail *mail)
{
    struct publish_batch *b = CONTAINER_OF(mail, struct publish_batch, mail);
    struct shard *s = b->from;
    for (unsigned i = 0; i < b->count; i++) {
        const struct publish_item *it = &b->items[i];
        if (it->is_late || it->is_awaited) /* another batch tells, or its queue does */
            (void)0;
        else if (it->number != 0 && it->from.connection == 0)
            hosted_on_letter_published(s, it->number, it->moved ? DEAD_LOST : DEAD_TAKEN);
        else if (it->number != 0 && it->lsn != 0)
            promise_publish(s->promises, b->to->index, it->lsn, &it->from, it->number);
        else if (it->number != 0)
            tell_published(s, it);
        if (it->is_parked) /* it is not taken yet */
            continue;
        if (remote_is_session(&it->from))
            remote_on_taken(s, &it->from);
        else
            connection_on_forwarded(s, it->from.connection, it->octets);
    }
    mem_free(b);
}
