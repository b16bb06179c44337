#include "port.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "broker.h"
#include "client/channel_port.h"
#include "control.h"
#include "ledger.h"
#include "port_lane.h"
#include "promise.h"
#include "remote/remote.h"

static void on_flush(void *arg);

void port_init(struct shard *s, uint32_t shard_count)
{
    s->lanes = mem_array(shard_count, sizeof *s->lanes);
    STAILQ_INIT(&s->to_run);
    loop_task_init(&s->flush_task, on_flush, s);
}

void port_fini(struct shard *s)
{
    loop_task_cancel(s->loop, &s->flush_task);
    for (uint32_t i = 0; i < broker_shard_count(s->broker); i++) {
        struct port_lane *lane = &s->lanes[i];
        CHECK(lane->publishes == NULL && lane->deliveries == NULL);
        mem_free(lane->notices);
        mem_free(lane->returns);
    }
    mem_free(s->lanes);
    s->lanes = NULL;
}

uint32_t port_where(struct shard *s, const struct meta_queue *q)
{
    uint16_t master = meta_queue_master(broker_meta(s->broker), q);
    return master == broker_node(s->broker) ? q->shard : remote_where(s, master);
}

static bool is_here(const struct shard *s, uint32_t shard)
{
    return s->index == shard;
}

/* The queue, if it can be called. One of this shard that the metadata shows is not here before the
 * mail that brings it was read: what is for it follows as mail. */
static struct hosted *find_here(const struct shard *s, uint32_t shard, uint64_t qid)
{
    return is_here(s, shard) ? idmap_get(&s->queues, qid) : NULL;
}

/* ---- sending
 * ---------------------------------------------------------------------------------------- */

static void on_publishes(struct mail *mail);
static void on_publishes_back(struct mail *mail);
static void on_notices(struct mail *mail);

void port_send_lane(struct port_lane *lane)
{
    if (lane->returns != NULL) {
        struct deliver_batch *b = lane->returns;
        lane->returns = NULL;
        b->mail.fn = port_on_deliveries_back;
        mailbox_post(b->from->loop, &b->mail);
    }
    if (lane->notices != NULL) {
        struct notice_batch *b = lane->notices;
        lane->notices = NULL;
        b->mail.fn = on_notices;
        mailbox_post(b->to->loop, &b->mail);
    }
    if (lane->publishes != NULL) {
        struct publish_batch *b = lane->publishes;
        lane->publishes = NULL;
        b->mail.fn = on_publishes;
        mailbox_post(b->to->loop, &b->mail);
    }
    if (lane->deliveries != NULL) {
        struct deliver_batch *b = lane->deliveries;
        lane->deliveries = NULL;
        b->mail.fn = port_on_deliveries;
        mailbox_post(b->to->loop, &b->mail);
    }
}

static void on_flush(void *arg)
{
    struct shard *s = arg;
    for (uint32_t i = 0; i < broker_shard_count(s->broker); i++)
        port_send_lane(&s->lanes[i]);
}

struct notice_item *port_add_notice(struct shard *s, uint32_t to)
{
    struct port_lane *lane = &s->lanes[to];
    if (lane->notices != NULL && lane->notices->count == BATCH_ITEMS) {
        lane->notices->has_more = true;
        port_send_lane(lane);
    }
    if (lane->notices == NULL) {
        lane->notices = mem_alloc(sizeof *lane->notices);
        lane->notices->to = broker_shard(s->broker, to);
        lane->notices->count = 0;
        lane->notices->has_more = false;
    }
    loop_first_at_turn_end(s->loop, &s->flush_task);
    return &lane->notices->items[lane->notices->count++];
}

/* ---- publishing
 * --------------------------------------------------------------------------------------- */

/* False when the queue is full. `awaited`: somebody wants to know when it is durable. */
static bool publish_here(struct shard *s, struct hosted *h, struct message **m, bool awaited)
{
    struct queue_put put;
    if (UNLIKELY(h == NULL || h->deleting)) {
        shard_message_drop(s, m); /* the queue went while the message was on its way */
        return true;
    }
    if (!ledger_wants(h, *m))
        return queue_publish(&h->queue, m, loop_now_ms(s->loop), &put) != QUEUE_REFUSED;
    /* A reference more: the queue may be done with it before it is written down. */
    struct message *mine = message_ref(*m);
    enum queue_publish_verdict verdict = queue_publish(&h->queue, m, loop_now_ms(s->loop), &put);
    if (LIKELY(verdict == QUEUE_KEPT))
        ledger_add(s->ledger, h, &mine, &put, awaited);
    else
        shard_message_drop(s, &mine);
    return verdict != QUEUE_REFUSED;
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
    uint64_t lsn; /* of its record */
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

static void write_large(struct shard *s, struct shard *asker, const struct port_channel_ref *from,
                        uint64_t number, uint32_t answers)
{
    struct large_wait *w = mem_alloc(sizeof *w);
    *w = (struct large_wait){
        .here = s, .asker = asker, .from = *from, .number = number, .answers = answers
    };
    w->lsn = ledger_write_large(s->ledger, on_large_safe, w);
    if (w->lsn == UINT64_MAX)
        mem_free(w); /* the journal has failed: nobody is told anything any more */
}

bool port_published(struct shard *s, const struct port_channel_ref *from, uint64_t number)
{
    if (UNLIKELY(s->publishing_away != 0))
        remote_published(s);
    if (UNLIKELY(ledger_has_large(s->ledger))) {
        write_large(s, s, from, number, 1);
        return number != 0;
    }
    uint64_t lsn = ledger_write(s->ledger);
    if (lsn == 0 || !is_awaited(from, number))
        return false;
    promise_publish(s->promises, s->index, lsn, from, number);
    return true;
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

enum port_published port_publish(struct shard *s, const struct meta_queue *to, struct message **m,
                                 const struct port_channel_ref *from, uint64_t number)
{
    struct hosted *h = find_here(s, to->shard, to->qid);
    if (LIKELY(h != NULL))
        return publish_here(s, h, m, is_awaited(from, number)) || MUTATION(REFUSED_CONFIRMED)
                   ? PORT_TAKEN
                   : PORT_REFUSED;
    if (to->node != broker_node(s->broker)) {
        remote_publish(s, to, m, from, number);
        return PORT_LATER;
    }
    *add_publish(s, to->shard) = (struct publish_item){
        .message = *m,
        .qid = to->qid,
        .number = number,
        .octets = message_cost_bytes(*m),
        .from = *from,
    };
    *m = NULL;
    if (is_here(s, to->shard))
        port_send_lane(
            &s->lanes[to->shard]); /* before the queue is there, or later ones overtake */
    return PORT_LATER;
}

/* Items from..to - 1 are one message: each waits for its record. */
static void write_down(struct publish_batch *b, unsigned from, unsigned to)
{
    uint32_t taken = 0;
    for (unsigned i = from; i < to; i++)
        taken += !b->items[i].refused;
    bool is_large = ledger_has_large(b->to->ledger);
    if (UNLIKELY(is_large))
        write_large(b->to, b->from, &b->items[from].from, b->items[from].number, taken);
    uint64_t lsn = is_large ? 0 : ledger_write(b->to->ledger);
    for (unsigned i = from; i < to; i++) {
        b->items[i].lsn = b->items[i].refused ? 0 : lsn;
        b->items[i].is_late = is_large && !b->items[i].refused;
    }
}

static void on_publishes(struct mail *mail)
{
    struct publish_batch *b = CONTAINER_OF(mail, struct publish_batch, mail);
    unsigned first = 0;
    for (unsigned i = 0; i < b->count; i++) {
        struct publish_item *it = &b->items[i];
        bool is_last = i + 1 == b->count || b->items[i + 1].message != it->message;
        it->refused = !publish_here(b->to, shard_hosted(b->to, it->qid), &it->message,
                                    is_awaited(&it->from, it->number));
        if (!is_last)
            continue;
        write_down(b, first, i + 1);
        first = i + 1;
    }
    b->mail.fn = on_publishes_back;
    mailbox_post(b->from->loop, &b->mail);
}

static void tell_published(struct shard *s, const struct publish_item *it)
{
    if (remote_is_session(&it->from)) {
        remote_on_published(s, &it->from, it->number, !it->refused);
        return;
    }
    struct channel *ch = channel_find(s, &it->from);
    if (ch != NULL)
        channel_on_published(ch, it->number, !it->refused);
}

static void on_publishes_back(struct mail *mail)
{
    struct publish_batch *b = CONTAINER_OF(mail, struct publish_batch, mail);
    struct shard *s = b->from;
    for (unsigned i = 0; i < b->count; i++) {
        const struct publish_item *it = &b->items[i];
        if (it->is_late) /* another batch tells */
            (void)0;
        else if (it->number != 0 && it->from.connection == 0)
            hosted_on_letter_published(s, it->number, DEAD_TAKEN);
        else if (it->number != 0 && it->lsn != 0)
            promise_publish(s->promises, b->to->index, it->lsn, &it->from, it->number);
        else if (it->number != 0)
            tell_published(s, it);
        if (remote_is_session(&it->from))
            remote_on_taken(s, &it->from);
        else
            connection_on_forwarded(s, it->from.connection, it->octets);
    }
    mem_free(b);
}

/* ---- settling, and other word that needs no answer
 * ------------------------------------------------ */

/* With port_settled. */
static void run_later(struct shard *s, struct hosted *h)
{
    if (h->will_run)
        return;
    h->will_run = true;
    STAILQ_INSERT_TAIL(&s->to_run, h, run_entry);
}

static void settle_here(struct shard *s, uint64_t qid, uint64_t qseq, uint64_t consumer,
                        enum port_settle how)
{
    struct hosted *h = shard_hosted(s, qid);
    if (h == NULL)
        return;
    struct queue *q = &h->queue;
    struct consumer *c = port_consumer_find(s, consumer);
    switch (how) {
    case PORT_ACK:
        queue_ack(q, qseq, c);
        break;
    case PORT_DROP:
        queue_reject(q, qseq, c);
        break;
    case PORT_REQUEUE:
        queue_return(q, qseq, c);
        break;
    case PORT_REQUEUE_SEEN:
    case PORT_REQUEUE_UNSEEN:
        queue_requeue(q, qseq, c, how == PORT_REQUEUE_SEEN);
        break;
    }
    run_later(s, h);
}

void port_settled(struct shard *s)
{
    struct hosted *h;
    while ((h = STAILQ_FIRST(&s->to_run)) != NULL) {
        STAILQ_REMOVE_HEAD(&s->to_run, run_entry);
        h->will_run = false;
        queue_run(&h->queue, loop_now_ms(s->loop));
    }
}

void port_settle(struct shard *s, uint32_t where, uint64_t qid, uint64_t qseq, uint64_t consumer,
                 enum port_settle how)
{
    if (port_where_node(where) != 0) {
        remote_settle(s, where, qseq, how);
        return;
    }
    s->lanes[where].is_touched = true;
    if (is_here(s, where)) {
        settle_here(s, qid, qseq, consumer, how);
        return;
    }
    *port_add_notice(s, where) = (struct notice_item){
        .kind = NOTICE_SETTLE, .how = how, .qid = qid, .qseq = qseq, .consumer = consumer
    };
}

void port_wake(struct shard *s, uint32_t where, uint64_t consumer, uint32_t credit)
{
    if (port_where_node(where) != 0)
        remote_wake(s, where, consumer, credit);
    else if (is_here(s, where))
        port_consumer_wake(s, consumer, credit);
    else
        *port_add_notice(s, where) =
            (struct notice_item){ .kind = NOTICE_WAKE, .consumer = consumer, .credit = credit };
}

void port_abandon_here(struct shard *s, uint64_t qid, uint64_t consumer)
{
    if (port_consumer_leave(s, consumer))
        return;
    if (port_consumer_remove(s, qid, consumer)) {
        shard_delete_queue(s, qid);
        return;
    }
    struct hosted *h = shard_hosted(s, qid);
    if (h != NULL)
        run_later(s, h);
}

void port_abandon(struct shard *s, uint32_t where, uint64_t qid, uint64_t consumer)
{
    if (port_where_node(where) != 0) {
        remote_abandon(s, where, qid, consumer);
        return;
    }
    s->lanes[where].is_touched = true;
    if (is_here(s, where))
        port_abandon_here(s, qid, consumer);
    else
        *port_add_notice(s, where) =
            (struct notice_item){ .kind = NOTICE_ABANDON, .qid = qid, .consumer = consumer };
}

static void on_notice(struct shard *s, const struct notice_item *n)
{
    switch (n->kind) {
    case NOTICE_SETTLE:
        settle_here(s, n->qid, n->qseq, n->consumer, n->how);
        return;
    case NOTICE_WAKE:
        port_consumer_wake(s, n->consumer, n->credit);
        return;
    case NOTICE_ABANDON:
        port_abandon_here(s, n->qid, n->consumer);
        return;
    case NOTICE_CANCELLED:
        port_tell_cancelled(s, &n->to, n->consumer);
        return;
    }
    UNREACHABLE("notice");
}

static void on_notices(struct mail *mail)
{
    struct notice_batch *b = CONTAINER_OF(mail, struct notice_batch, mail);
    for (unsigned i = 0; i < b->count; i++)
        on_notice(b->to, &b->items[i]);
    if (!b->has_more)
        port_settled(b->to);
    mem_free(b);
}

/* ---- requests
 * ---------------------------------------------------------------------------------------- */

static void get_one(struct shard *s, struct queue *q, struct port_request *r)
{
    struct queue_got got;
    switch (queue_get(q, r->no_ack, loop_now_ms(s->loop), &got)) {
    case QUEUE_GET_LATER:
        r->later = true;
        return;
    case QUEUE_GET_AWAY:
        r->away = true;
        return;
    case QUEUE_GOT:
        r->message = got.message;
        r->qseq = got.qseq;
        r->redelivered = got.redelivered;
        break;
    case QUEUE_GET_EMPTY:
        break;
    }
    r->messages = queue_ready(q);
}

static void count(struct shard *s, struct queue *q, struct port_request *r)
{
    queue_use(q, loop_now_ms(s->loop));
    r->messages = queue_ready(q);
    r->consumers = q->consumer_count;
}

static enum port_verdict delete_one(struct hosted *h, struct port_request *r)
{
    if (r->if_unused && h->queue.consumer_count != 0)
        return PORT_IN_USE;
    if (r->if_empty && !queue_is_empty(&h->queue))
        return PORT_NOT_EMPTY;
    r->messages = queue_ready(&h->queue);
    hosted_promise(h);
    return PORT_OK;
}

static bool is_gone(struct shard *s, const struct port_channel_ref *ref)
{
    return remote_is_session(ref) ? !remote_session_lives(s, ref) : channel_find(s, ref) == NULL;
}

static enum port_verdict consume(struct shard *s, struct hosted *h, struct port_request *r)
{
    r->consumer_timeout_ms = h->settings.consumer_timeout_ms;
    if (is_here(s, shard_of_id(r->from.connection)) && is_gone(s, &r->from))
        return PORT_NO_QUEUE; /* it asked by mail, and went meanwhile */
    return port_consumer_add(s, &h->queue, r) == QUEUE_CONSUME_OK ? PORT_OK : PORT_EXCLUSIVE;
}

static enum port_verdict serve(struct shard *s, struct port_request *r)
{
    struct hosted *h = shard_hosted(s, r->qid);
    if (h == NULL)
        return PORT_NO_QUEUE;
    switch (r->op) {
    case PORT_CONSUME:
        return consume(s, h, r);
    case PORT_CANCEL:
        r->is_unused = port_consumer_remove(s, r->qid, r->consumer);
        return PORT_OK;
    case PORT_GET:
        get_one(s, &h->queue, r);
        return PORT_OK;
    case PORT_PURGE:
        r->messages = queue_purge(&h->queue);
        return PORT_OK;
    case PORT_DELETE:
        return delete_one(h, r);
    case PORT_COUNT:
        count(s, &h->queue, r);
        return PORT_OK;
    case PORT_FENCE: /* of no queue */
        return PORT_NO_QUEUE;
    }
    UNREACHABLE("port op");
}

void port_serve(struct shard *s, struct port_request *r)
{
    CHECK(is_here(s, r->where) && r->op != PORT_CONSUME);
    r->verdict = serve(s, r);
}

/* The channel went while its request was under way: what it was given goes back. */
static void nobody_waits(struct shard *s, struct port_request *r)
{
    if (r->verdict == PORT_OK && r->op == PORT_CONSUME)
        port_abandon(s, r->where, r->qid, r->consumer);
    if (r->op == PORT_GET && r->message != NULL) {
        shard_message_drop(s, &r->message);
        if (!r->no_ack)
            port_settle(s, r->where, r->qid, r->qseq, 0, PORT_REQUEUE_UNSEEN);
    }
    port_settled(s);
    if (r->verdict == PORT_OK && (r->op == PORT_DELETE || (r->op == PORT_CANCEL && r->is_unused)))
        shard_delete_queue(s, r->qid);
}

static void on_fenced(struct shard *s, const struct port_channel_ref *ref)
{
    if (remote_is_session(ref))
        remote_on_fenced(s, ref);
    else
        channel_on_fenced(s, ref);
}

void port_answered(struct shard *s, struct port_request *r)
{
    if (r->op == PORT_FENCE)
        on_fenced(s, &r->from);
    else if (is_gone(s, &r->from))
        nobody_waits(s, r);
    else if (remote_is_session(&r->from))
        remote_on_answer(s, r);
    else
        channel_on_answer(channel_find(s, &r->from), r);
    CHECK(r->message == NULL);
    mem_free(r);
}

/* After the client has its answer: deliveries to a new consumer may start, or to one that takes the
 * place of one that was active alone. */
static void follow_up(struct shard *s, enum port_op op, uint64_t qid)
{
    struct queue *q = op == PORT_CONSUME || op == PORT_CANCEL ? shard_queue(s, qid) : NULL;
    if (q != NULL)
        queue_run(q, loop_now_ms(s->loop));
}

static void on_answer_back(struct mail *mail)
{
    struct port_request *r = CONTAINER_OF(mail, struct port_request, mail);
    port_answered(r->asker, r);
}

/* A queue that is to hand out messages waits until the journal knows that they may have been shown;
 * a fence for what came before it. */
static uint64_t lsn_to_wait_for(struct shard *s, struct port_request *r)
{
    if (r->op == PORT_FENCE && r->durable) {
        r->durable = false; /* once */
        return ledger_fence(s->ledger);
    }
    if (r->op != PORT_CONSUME && r->op != PORT_GET)
        return 0;
    struct hosted *h = shard_hosted(s, r->qid);
    return h != NULL ? ledger_expect_out(s->ledger, h) : 0;
}

static bool waits_for_journal(struct shard *s, struct port_request *r)
{
    uint64_t lsn = lsn_to_wait_for(s, r);
    if (LIKELY(lsn == 0))
        return false;
    r->mail.fn = port_on_request;
    promise_mail(s->promises, lsn, &r->mail);
    return true;
}

void port_on_request(struct mail *mail)
{
    struct port_request *r = CONTAINER_OF(mail, struct port_request, mail);
    struct shard *s = broker_shard(r->asker->broker, r->where);
    enum port_op op = r->op;
    uint64_t qid = r->qid;
    if (waits_for_journal(s, r))
        return;
    r->later = r->away = false;
    r->verdict = serve(s, r);
    if (UNLIKELY(r->later || r->away)) {
        r->mail.fn = port_on_request; /* its channel waits for the answer */
        if (r->away)
            hosted_post_when_loaded(shard_hosted(s, qid), &r->mail);
        else
            mailbox_post(s->loop, &r->mail);
        return;
    }
    if (r->asker == s) {
        port_answered(s, r);
    } else {
        port_send_lane(&s->lanes[r->asker->index]); /* deliveries before it stay before it */
        r->mail.fn = on_answer_back;
        mailbox_post(r->asker->loop, &r->mail);
    }
    follow_up(s, op, qid);
}

void port_drop_waiting(struct mail **list)
{
    for (struct mail *m = *list, *next; m != NULL; m = next) {
        next = m->next;
        mem_free(CONTAINER_OF(m, struct port_request, mail));
    }
    *list = NULL;
}

void port_ask(struct shard *s, struct port_request **request)
{
    struct port_request *r = *request;
    *request = NULL;
    r->asker = s;
    if (port_where_node(r->where) != 0) {
        remote_ask(s, &r);
        return;
    }
    if (find_here(s, r->where, r->qid) == NULL) {
        port_send_lane(&s->lanes[r->where]); /* what the channel sent before arrives before */
        r->mail.fn = port_on_request;
        mailbox_post(broker_shard(s->broker, r->where)->loop, &r->mail);
        return;
    }
    port_on_request(&r->mail);
}
