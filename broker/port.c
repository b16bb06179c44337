#include "port.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "broker.h"
#include "client/channel_port.h"
#include "control.h"
#include "ledger.h"
#include "mirrored_handed.h"
#include "mirrored_lead.h"
#include "port_lane.h"
#include "promise.h"
#include "remote/remote.h"
#include "remote/remote_carry.h"

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

struct hosted *port_find_here(const struct shard *s, uint32_t shard, uint64_t qid)
{
    return is_here(s, shard) ? idmap_get(&s->queues, qid) : NULL;
}

/* ---- sending
 * ---------------------------------------------------------------------------------------- */

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
        b->mail.fn = port_on_publishes;
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

/* That it goes back, since whoever held it is gone, is not said: its holder may claim it. */
static bool is_said_of_moved(enum port_settle how)
{
    return how != PORT_FORGET && how != PORT_REQUEUE_SEEN;
}

bool port_is_late(const struct hosted *h, uint64_t known)
{
    return UNLIKELY(h->mirrored != NULL) && known < h->mirrored->since;
}

void port_settle_late(struct hosted *h, uint64_t qseq, enum port_settle how)
{
    if (is_said_of_moved(how))
        mirrored_handed_settle(h, qseq, how);
}

static void settle_here(struct shard *s, const struct unacked_entry *e, enum port_settle how)
{
    struct hosted *h = shard_hosted(s, e->qid);
    if (UNLIKELY(h == NULL)) {
        port_settle_moved(s, e->qid, e->qseq, how);
        return;
    }
    if (UNLIKELY(port_is_late(h, e->known))) {
        port_settle_late(h, e->qseq, how);
        return;
    }
    struct queue *q = &h->queue;
    struct consumer *c = port_consumer_find(s, e->consumer);
    switch (how) {
    case PORT_ACK:
        queue_ack(q, e->qseq, c);
        break;
    case PORT_DROP:
        queue_reject(q, e->qseq, c);
        break;
    case PORT_REQUEUE:
        queue_return(q, e->qseq, c);
        break;
    case PORT_REQUEUE_SEEN:
    case PORT_REQUEUE_UNSEEN:
        queue_requeue(q, e->qseq, c, how == PORT_REQUEUE_SEEN);
        break;
    case PORT_FORGET:
        return;
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

void port_settle(struct shard *s, const struct unacked_entry *e, enum port_settle how)
{
    if (port_where_node(e->where) != 0) {
        remote_settle(s, e->where, e->qseq, how);
        return;
    }
    s->lanes[e->where].is_touched = true;
    if (is_here(s, e->where)) {
        settle_here(s, e, how);
        return;
    }
    *port_add_notice(s, e->where) = (struct notice_item){ .kind = NOTICE_SETTLE,
                                                          .how = how,
                                                          .qid = e->qid,
                                                          .qseq = e->qseq,
                                                          .consumer = e->consumer,
                                                          .known = e->known };
}

static void settle_handed(struct shard *s, uint64_t qid, uint64_t qseq, enum port_settle how)
{
    struct hosted *h = shard_kept(s, qid);
    if (h != NULL)
        mirrored_handed_settle(h, qseq, how);
}

void port_settle_moved(struct shard *s, uint64_t qid, uint64_t qseq, enum port_settle how)
{
    const struct meta_version *v = broker_meta(s->broker);
    const struct meta_queue *q = meta_queue_get(v, qid);
    uint16_t master = q != NULL ? meta_queue_master(v, q) : 0;
    if (!is_said_of_moved(how) || master == 0)
        return;
    if (master != broker_node(s->broker))
        remote_settle_moved(s, master, qid, qseq, how);
    else
        settle_handed(s, qid, qseq, how); /* it is back here, and about to lead */
}

void port_settle_handed(struct shard *s, uint32_t where, uint64_t qid, uint64_t qseq,
                        enum port_settle how)
{
    CHECK(port_where_node(where) == 0);
    if (is_here(s, where))
        settle_handed(s, qid, qseq, how);
    else
        *port_add_notice(s, where) = (struct notice_item){
            .kind = NOTICE_SETTLE_HANDED, .how = how, .qid = qid, .qseq = qseq
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
        settle_here(
            s,
            &(struct unacked_entry){
                .qid = n->qid, .qseq = n->qseq, .consumer = n->consumer, .known = n->known },
            n->how);
        return;
    case NOTICE_SETTLE_HANDED:
        settle_handed(s, n->qid, n->qseq, n->how);
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
    case NOTICE_MOVED:
        port_tell_moved(s, &n->to, n->consumer);
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
    if (port_consumer_add(s, &h->queue, r) != QUEUE_CONSUME_OK)
        return PORT_EXCLUSIVE;
    if (UNLIKELY(r->claim_count != 0))
        mirrored_handed_claim(h, port_consumer_find(s, r->consumer), r->claims, r->claim_count);
    return PORT_OK;
}

/* It is gone, or another node masters it by now. */
static enum port_verdict none_here(struct shard *s, const struct port_request *r)
{
    const struct hosted *h = idmap_get(&s->queues, r->qid);
    bool is_promised = h != NULL && h->deleting;
    return r->op == PORT_FENCE || is_promised ||
                   meta_queue_get(broker_meta(s->broker), r->qid) == NULL
               ? PORT_NO_QUEUE
               : PORT_ELSEWHERE;
}

static enum port_verdict serve(struct shard *s, struct port_request *r)
{
    struct hosted *h = shard_hosted(s, r->qid);
    if (h == NULL)
        return none_here(s, r);
    r->known = broker_meta(s->broker)->index;
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

/* Of what an answer has brought. */
static void settle_answered(struct shard *s, const struct port_request *r, uint64_t qseq,
                            enum port_settle how)
{
    port_settle(s,
                &(struct unacked_entry){ .qid = r->qid,
                                         .qseq = qseq,
                                         .consumer = r->consumer,
                                         .where = r->where,
                                         .known = r->known },
                how);
}

/* A channel's are as it has said; what was another node's comes back to it. */
static void give_back_claims(struct shard *s, const struct port_request *r)
{
    if (channel_claims_end(s, r) || r->verdict != PORT_OK)
        return;
    bool is_away = port_where_node(r->where) != 0;
    for (uint32_t i = 0; i < r->claim_count; i++)
        if (r->claims[i] != PORT_NO_POSITION)
            settle_answered(s, r, is_away ? r->claim_tag + i : r->claims[i], PORT_REQUEUE_SEEN);
}

/* The channel went while its request was under way: what it was given goes back. */
static void nobody_waits(struct shard *s, struct port_request *r)
{
    if (UNLIKELY(r->claim_count != 0))
        give_back_claims(s, r);
    if (r->verdict == PORT_OK && r->op == PORT_CONSUME)
        port_abandon(s, r->where, r->qid, r->consumer);
    if (r->op == PORT_GET && r->message != NULL) {
        shard_message_drop(s, &r->message);
        if (!r->no_ack)
            settle_answered(s, r, r->qseq, PORT_REQUEUE_UNSEEN);
    }
    port_settled(s);
    if (r->verdict == PORT_OK && (r->op == PORT_DELETE || (r->op == PORT_CANCEL && r->is_unused)))
        shard_delete_queue(s, r->qid);
}

/* One that found no master in time is as one whose node is down. */
static void tell_answer(struct shard *s, struct port_request *r)
{
    struct channel *ch = channel_find(s, &r->from);
    if (r->verdict == PORT_ELSEWHERE)
        r->verdict = PORT_NODE_DOWN;
    if (r->carried)
        channel_on_carried(ch, r);
    else
        channel_on_answer(ch, r);
}

void port_answered(struct shard *s, struct port_request *r)
{
    if (r->op == PORT_FENCE)
        port_fence_answered(s, r);
    else if (is_gone(s, &r->from))
        nobody_waits(s, r);
    else if (UNLIKELY(remote_carry_wants(s, r))) {
        remote_carry_ask(s, &r);
        return;
    } else if (remote_is_session(&r->from))
        remote_on_answer(s, r);
    else
        tell_answer(s, r);
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

/* A fence waits for what came before it. */
static bool waits_for_done(struct shard *s, struct port_request *r)
{
    if (r->op != PORT_FENCE || !r->durable)
        return false;
    r->durable = false; /* once */
    r->mail.fn = port_on_request;
    return port_fence_waits(s, &r->mail, &r->is_lost);
}

/* A queue that is to hand out messages waits until the journal knows that they may have been shown.
 */
static bool waits_for_journal(struct shard *s, struct port_request *r)
{
    if (r->op != PORT_CONSUME && r->op != PORT_GET)
        return waits_for_done(s, r);
    struct hosted *h = shard_hosted(s, r->qid);
    uint64_t lsn = h != NULL ? ledger_expect_out(s->ledger, h) : 0;
    if (LIKELY(lsn == 0))
        return false;
    r->mail.fn = port_on_request;
    promise_mail(s->promises, lsn, &r->mail);
    return true;
}

/* Of a queue that other nodes have, too: until it is known who masters it, or until it may be
 * served. */
static bool waits_for_role(struct shard *s, struct port_request *r)
{
    struct hosted *h = shard_kept(s, r->qid);
    if (LIKELY(h == NULL || h->mirrored == NULL) || !mirrored_must_wait(h, r->op))
        return false;
    r->mail.fn = port_on_request;
    hosted_post_when_loaded(h, &r->mail);
    return true;
}

void port_on_request(struct mail *mail)
{
    struct port_request *r = CONTAINER_OF(mail, struct port_request, mail);
    struct shard *s = broker_shard(r->asker->broker, r->where);
    enum port_op op = r->op;
    uint64_t qid = r->qid;
    if (waits_for_journal(s, r) || waits_for_role(s, r))
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

struct port_request *port_request_new(uint32_t claims)
{
    CHECK(claims <= PORT_CLAIMS_MAX);
    struct port_request *r = mem_zalloc(sizeof *r + claims * sizeof *r->claims);
    r->claims = claims != 0 ? (uint64_t *)(void *)(r + 1) : NULL;
    r->claim_count = claims;
    return r;
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
        r->known = broker_meta(s->broker)->index; /* its master is of an epoch that began before */
        remote_ask(s, &r);
        return;
    }
    if (port_find_here(s, r->where, r->qid) == NULL) {
        port_send_lane(&s->lanes[r->where]); /* what the channel sent before arrives before */
        r->mail.fn = port_on_request;
        mailbox_post(broker_shard(s->broker, r->where)->loop, &r->mail);
        return;
    }
    port_on_request(&r->mail);
}
