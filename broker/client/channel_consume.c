#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel_claim.h"
#include "client/channel_consumer.h"
#include "client/consume_args.h"
#include "client/late_answer.h"
#include "client/reply_to.h"
#include "control.h"
#include "io/random.h"

#include <inttypes.h>

/* Tags are the client's to choose: the seed keeps it from choosing some that collide. */
static unsigned hash_of(const struct channel *ch, struct slice tag)
{
    return (unsigned)hash_bytes(tag, ch->conn->shard->hash_seed);
}

static struct channel_consumer *find_tag(struct channel *ch, struct slice tag)
{
    struct channel_consumer *cc;
    HASH_FIND_BYHASHVALUE(hh, ch->by_tag, tag.ptr, tag.len, hash_of(ch, tag), cc);
    return cc;
}

void channel_consumer_is_fed(struct channel *ch, struct channel_consumer *cc)
{
    TAILQ_REMOVE(&ch->starved, cc, starved_entry);
    cc->starved = false;
}

void channel_consumer_unreserve(struct channel *ch, struct channel_consumer *cc)
{
    ch->reserved -= cc->reserved;
    cc->reserved = 0;
}

static void forget(struct channel *ch, struct channel_consumer *cc)
{
    channel_consumer_unreserve(ch, cc);
    HASH_DEL(ch->by_tag, cc);
    idmap_take(&ch->consumers, cc->id);
    if (cc->starved)
        channel_consumer_is_fed(ch, cc);
    mem_free(cc->args);
    mem_free(cc);
}

/* ---- room ---- */

/* For one with so many places of its own. */
static bool has_room(const struct channel *ch, uint32_t own)
{
    return (ch->channel_prefetch == 0 || ch->held + ch->reserved - own < ch->channel_prefetch) &&
           ch->conn->stream != NULL && !stream_is_full(ch->conn->stream);
}

/* A channel at its own limit is fed when something is settled; one whose socket is full, when that
 * has room again. */
static void wait_for_room(struct channel *ch)
{
    struct connection *c = ch->conn;
    if (ch->in_hungry || c->stream == NULL || !stream_is_full(c->stream))
        return;
    ch->in_hungry = true;
    TAILQ_INSERT_TAIL(&c->hungry, ch, hungry_entry);
}

/* Remember whom to wake when there is room again. */
static void starve(struct channel *ch, struct channel_consumer *cc)
{
    if (!cc->starved) {
        cc->starved = true;
        TAILQ_INSERT_TAIL(&ch->starved, cc, starved_entry);
    }
    wait_for_room(ch);
}

bool channel_has_room(struct channel *ch, uint64_t consumer)
{
    if (LIKELY(has_room(ch, 0)))
        return true;
    struct channel_consumer *cc = idmap_get(&ch->consumers, consumer);
    CHECK(cc != NULL);
    starve(ch, cc);
    return false;
}

/* A queue of this shard asks before each message. One of another shard is told how many it may
 * send, and has their places until it did: else the way it has to go would always let the queues
 * of this shard come first. Half of what is left, so that the next one gets some too. */
static void wake(struct channel *ch, struct channel_consumer *cc)
{
    if (cc->where != ch->conn->shard->index) {
        channel_consumer_unreserve(ch, cc);
        cc->credit = PORT_ANY;
        if (ch->channel_prefetch != 0) {
            uint64_t left = ch->channel_prefetch - ch->held - ch->reserved;
            cc->credit = cc->reserved = (uint32_t)(left + 1) / 2;
            ch->reserved += cc->reserved;
        }
    }
    port_wake(ch->conn->shard, cc->where, cc->id, cc->credit);
}

/* Each of the starved once, while there is room; who finds none is starved again by the queue. */
void channel_feed(struct channel *ch)
{
    struct channel_consumer *last = TAILQ_LAST(&ch->starved, channel_consumer_list);
    struct channel_consumer *cc = NULL;
    while (cc != last && has_room(ch, 0) && (cc = TAILQ_FIRST(&ch->starved)) != NULL) {
        channel_consumer_is_fed(ch, cc);
        wake(ch, cc);
    }
    if (!TAILQ_EMPTY(&ch->starved))
        wait_for_room(ch);
}

/* The places it had are for others. */
static void forget_and_feed(struct channel *ch, struct channel_consumer *cc)
{
    bool had_places = cc->reserved != 0;
    forget(ch, cc);
    if (had_places)
        channel_feed(ch);
}

/* ---- delivering ---- */

static uint32_t now_ds(const struct channel *ch)
{
    return (uint32_t)(loop_now_ms(ch->conn->shard->loop) / 100);
}

static void deliver(struct channel *ch, const struct channel_consumer *cc,
                    const struct port_handed *as, struct message *m, bool redelivered)
{
    uint64_t tag =
        cc->no_ack ? unacked_skip(&ch->unacked)
                   : unacked_add(&ch->unacked, &(struct unacked_entry){ .qid = cc->qid,
                                                                        .qseq = as->tag,
                                                                        .consumer = cc->id,
                                                                        .where = cc->where,
                                                                        .at_ds = now_ds(ch),
                                                                        .position = as->position,
                                                                        .known = as->known });
    ch->held += !cc->no_ack;
    channel_put_delivery(ch, slice_of(cc->tag, cc->tag_bytes), tag, redelivered, m);
    if (cc->no_ack)
        channel_count(ch, delivered_auto, 1);
    else
        channel_count(ch, delivered_manual, 1);
    if (redelivered)
        channel_count(ch, redelivered, 1);
}

void channel_deliver(struct channel *ch, uint64_t consumer, uint64_t qseq, struct message *m,
                     bool redelivered)
{
    const struct channel_consumer *cc = idmap_get(&ch->consumers, consumer);
    CHECK(cc != NULL);
    struct port_handed as = { qseq, qseq, channel_meta(ch)->index };
    deliver(ch, cc, &as, m, redelivered);
}

/* One that has none left says nothing more before it is woken. */
static void use_credit(struct channel *ch, struct channel_consumer *cc)
{
    if (cc->credit == PORT_ANY)
        return;
    if (cc->reserved != 0) {
        cc->reserved--;
        ch->reserved--;
    }
    if (--cc->credit == 0) {
        starve(ch, cc);
        channel_feed(ch);
    }
}

bool channel_offer(struct channel *ch, uint64_t consumer, const struct port_handed *as,
                   struct message *m, bool redelivered)
{
    struct channel_consumer *cc = idmap_get(&ch->consumers, consumer);
    if (cc == NULL || cc->refusing)
        return false;
    if (!has_room(ch, cc->reserved)) {
        cc->refusing = true;
        starve(ch, cc);
        return false;
    }
    deliver(ch, cc, as, m, redelivered);
    use_credit(ch, cc);
    return true;
}

void channel_on_resumed(struct channel *ch, uint64_t consumer)
{
    struct channel_consumer *cc = idmap_get(&ch->consumers, consumer);
    if (cc != NULL)
        cc->refusing = false;
}

void channel_on_served(struct channel *ch, uint64_t consumer)
{
    struct channel_consumer *cc = idmap_get(&ch->consumers, consumer);
    if (cc == NULL || cc->reserved == 0)
        return;
    channel_consumer_unreserve(ch, cc);
    channel_feed(ch);
}

/* The client learns it: its queue is gone. */
void channel_consumer_cancelled(struct channel *ch, struct channel_consumer *cc)
{
    if ((ch->conn->hs.capabilities & AMQP_CAP_CONSUMER_CANCEL_NOTIFY) != 0)
        channel_send(ch, &(struct amqp_method){
                             .id = AMQP_BASIC_CANCEL,
                             .basic_cancel = { slice_of(cc->tag, cc->tag_bytes), true } });
    forget_and_feed(ch, cc);
}

/* Whoever deletes its own queue hears first that it is deleted, and then of its consumer. */
void channel_on_cancelled(struct channel *ch, uint64_t consumer)
{
    const struct pending *p = &ch->pending;
    struct channel_consumer *cc = idmap_get(&ch->consumers, consumer);
    if (cc == NULL || cc->cancelled)
        return;
    if (p->method == AMQP_QUEUE_DELETE && p->qid == cc->qid) {
        cc->cancelled = true;
        ch->orphans++;
        return;
    }
    channel_consumer_cancelled(ch, cc);
}

void channel_tell_orphans(struct channel *ch, uint64_t qid)
{
    struct channel_consumer *cc;
    struct channel_consumer *next;
    if (ch->orphans == 0)
        return;
    ch->orphans = 0;
    HASH_ITER (hh, ch->by_tag, cc, next) {
        if (cc->cancelled && cc->qid == qid)
            channel_consumer_cancelled(ch, cc);
    }
}

/* ---- consume and cancel ---- */

uint8_t channel_choose_tag(struct slice given, uint8_t *out)
{
    if (given.len != 0) {
        memcpy(out, given.ptr, given.len);
        return (uint8_t)given.len;
    }
    static const char prefix[] = "amq.ctag-";
    uint8_t chance[16];
    char name[META_GEN_NAME_BYTES];
    random_octets(chance, sizeof chance);
    meta_gen_name(chance, name); /* "amq.gen-" and 22 octets */
    size_t skip = sizeof "amq.gen-" - 1;
    memcpy(out, prefix, sizeof prefix - 1);
    memcpy(out + sizeof prefix - 1, name + skip, META_GEN_NAME_BYTES - skip);
    return (uint8_t)(sizeof prefix - 1 + META_GEN_NAME_BYTES - skip);
}

static bool args_are_right(struct channel *ch, const struct meta_queue *q, struct slice args,
                           struct consume_args *out)
{
    struct meta_refusal why;
    const struct meta_vhost *vh = channel_vhost(ch, channel_meta(ch));
    if (consume_args_read(vh, q, args, out, &why))
        return true;
    channel_refuse(ch, &why, AMQP_BASIC_CONSUME);
    return false;
}

/* Replicas of a queue count for themselves, not for a channel. */
static bool suits_prefetch(struct channel *ch, const struct meta_queue *q)
{
    if (LIKELY(ch->channel_prefetch == 0) || !meta_queue_is_quorum(q))
        return true;
    struct slice vhost = meta_vhost_name(channel_vhost(ch, channel_meta(ch)));
    channel_error(ch, AMQP_NOT_IMPLEMENTED, AMQP_BASIC_CONSUME,
                  "queue '%.*s' in vhost '%.*s' does not support global qos",
                  SLICE_ARG(meta_queue_name(q)), SLICE_ARG(vhost));
    return false;
}

static void take_consume(struct channel *ch, const struct amqp_basic_consume *m)
{
    if (m->consumer_tag.len != 0 && find_tag(ch, m->consumer_tag) != NULL) {
        channel_error(ch, AMQP_NOT_ALLOWED, AMQP_BASIC_CONSUME,
                      "attempt to reuse consumer tag '%.*s'", SLICE_ARG(m->consumer_tag));
        return;
    }
    if (UNLIKELY(slice_is(m->queue, REPLY_TO_NAME))) {
        channel_reply_consume(ch, m);
        return;
    }
    const struct meta_queue *q = channel_open_queue(ch, m->queue, AMQP_BASIC_CONSUME);
    struct consume_args args;
    if (q == NULL || !suits_prefetch(ch, q) || !args_are_right(ch, q, m->arguments, &args))
        return;
    struct channel_consumer *cc = mem_zalloc(sizeof *cc);
    cc->tag_bytes = channel_choose_tag(m->consumer_tag, cc->tag);
    cc->id = shard_new_id(ch->conn->shard);
    cc->qid = q->qid;
    cc->where = port_where(ch->conn->shard, q);
    cc->no_ack = m->no_ack;
    cc->args_bytes = (uint32_t)m->arguments.len;
    if (m->arguments.len != 0)
        cc->args = mem_dup(m->arguments.ptr, m->arguments.len);
    cc->exclusive = m->exclusive;
    cc->priority = args.priority;
    cc->cancel_on_failover = args.cancel_on_ha_failover;
    cc->prefetch = m->no_ack ? 0 : ch->prefetch;
    cc->credit = PORT_ANY;
    unsigned hash = hash_of(ch, slice_of(cc->tag, cc->tag_bytes));
    HASH_ADD_BYHASHVALUE(hh, ch->by_tag, tag, cc->tag_bytes, hash, cc);
    idmap_put(&ch->consumers, cc->id, cc);
    channel_begin(ch, AMQP_BASIC_CONSUME);
    ch->pending.nowait = m->nowait;
    ch->pending.consumer = cc;
    channel_ask(ch, q,
                &(struct port_request){ .op = PORT_CONSUME,
                                        .consumer = cc->id,
                                        .priority = args.priority,
                                        .prefetch = m->no_ack ? 0 : ch->prefetch,
                                        .no_ack = m->no_ack,
                                        .exclusive = m->exclusive });
}

/* The name of a queue for error texts; it may be gone. */
static void refuse_by_verdict(struct channel *ch, uint64_t qid, uint32_t method,
                              enum port_verdict verdict)
{
    const struct meta_version *v = channel_meta(ch);
    const struct meta_vhost *vh = channel_vhost(ch, v);
    const struct meta_queue *q = meta_queue_get(v, qid);
    struct slice name = q != NULL ? meta_queue_name(q) : slice_str("");
    struct slice vhost = slice_of(vh->name, vh->name_bytes);
    if (verdict == PORT_EXCLUSIVE)
        channel_error(ch, AMQP_ACCESS_REFUSED, method,
                      "queue '%.*s' in vhost '%.*s' in exclusive use", SLICE_ARG(name),
                      SLICE_ARG(vhost));
    else if (verdict == PORT_NODE_DOWN)
        channel_refuse_lost(ch, qid, method);
    else
        channel_error(ch, AMQP_NOT_FOUND, method, "no queue '%.*s' in vhost '%.*s'",
                      SLICE_ARG(name), SLICE_ARG(vhost));
}

static void on_consumed(struct channel *ch, const struct port_request *r)
{
    struct channel_consumer *cc = ch->pending.consumer;
    bool nowait = ch->pending.nowait;
    ch->pending.consumer = NULL;
    channel_done(ch);
    cc->where = r->where; /* it may have been asked again elsewhere: there it is settled with */
    cc->timeout_ms = r->consumer_timeout_ms;
    if (r->verdict != PORT_OK) {
        forget(ch, cc);
        refuse_by_verdict(ch, r->qid, AMQP_BASIC_CONSUME, r->verdict);
        return;
    }
    if (!nowait)
        channel_send(
            ch, &(struct amqp_method){ .id = AMQP_BASIC_CONSUME_OK,
                                       .basic_consume_ok = { slice_of(cc->tag, cc->tag_bytes) } });
}

static void say_cancelled(struct channel *ch)
{
    const struct pending *p = &ch->pending;
    if (!p->nowait)
        channel_send(
            ch, &(struct amqp_method){ .id = AMQP_BASIC_CANCEL_OK,
                                       .basic_cancel_ok = { slice_of(p->name, p->name_bytes) } });
    channel_done(ch);
}

static void take_cancel(struct channel *ch, const struct amqp_basic_cancel *m)
{
    if (channel_reply_cancel(ch, m))
        return;
    struct channel_consumer *cc = find_tag(ch, m->consumer_tag);
    channel_begin(ch, AMQP_BASIC_CANCEL);
    ch->pending.nowait = m->nowait;
    ch->pending.name_bytes = (uint8_t)m->consumer_tag.len;
    if (m->consumer_tag.len != 0)
        memcpy(ch->pending.name, m->consumer_tag.ptr, m->consumer_tag.len);
    if (cc == NULL) {
        say_cancelled(ch);
        return;
    }
    cc->cancelled = true;
    ch->pending.consumer = cc;
    ch->pending.qid = cc->qid;
    ch->pending.where = cc->where;
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){ .op = PORT_CANCEL,
                                .qid = cc->qid,
                                .where = cc->where,
                                .from = channel_ref(ch),
                                .consumer = cc->id };
    port_ask(ch->conn->shard, &r);
}

static void on_cancel_answer(struct channel *ch, const struct port_request *r)
{
    struct channel_consumer *cc = ch->pending.consumer;
    ch->pending.consumer = NULL;
    forget_and_feed(ch, cc);
    if (r->is_unused)
        channel_delete_queue(ch, r->qid); /* the answer comes when it is gone */
    else
        say_cancelled(ch);
}

void channel_on_cancel_deleted(struct channel *ch)
{
    say_cancelled(ch);
}

/* ---- get ---- */

static void take_get(struct channel *ch, const struct amqp_basic_get *m)
{
    const struct meta_queue *q = channel_open_queue(ch, m->queue, AMQP_BASIC_GET);
    if (q == NULL)
        return;
    channel_begin(ch, AMQP_BASIC_GET);
    ch->pending.no_ack = m->no_ack;
    channel_ask(ch, q, &(struct port_request){ .op = PORT_GET, .no_ack = m->no_ack });
}

static void on_got(struct channel *ch, struct port_request *r)
{
    bool no_ack = ch->pending.no_ack;
    channel_done(ch);
    if (r->verdict != PORT_OK) {
        refuse_by_verdict(ch, r->qid, AMQP_BASIC_GET, r->verdict);
        return;
    }
    if (r->message == NULL) {
        channel_count(ch, got_empty, 1);
        channel_send(ch, &(struct amqp_method){ .id = AMQP_BASIC_GET_EMPTY });
        return;
    }
    uint64_t tag =
        no_ack ? unacked_skip(&ch->unacked)
               : unacked_add(&ch->unacked, &(struct unacked_entry){ .qid = r->qid,
                                                                    .qseq = r->qseq,
                                                                    .where = r->where,
                                                                    .at_ds = now_ds(ch),
                                                                    .position = UNACKED_NOWHERE,
                                                                    .known = r->known });
    struct amqp_method ok = { .id = AMQP_BASIC_GET_OK,
                              .basic_get_ok = { tag, r->redelivered, message_exchange(r->message),
                                                message_key(r->message),
                                                r->messages < UINT32_MAX ? (uint32_t)r->messages
                                                                         : UINT32_MAX } };
    channel_put_content(ch, &ok, r->message);
    if (no_ack)
        channel_count(ch, got_auto, 1);
    else
        channel_count(ch, got_manual, 1);
    if (r->redelivered)
        channel_count(ch, redelivered, 1);
    shard_message_drop(ch->conn->shard, &r->message);
}

void channel_on_consume_answer(struct channel *ch, struct port_request *r)
{
    if (r->op == PORT_CONSUME)
        on_consumed(ch, r);
    else if (r->op == PORT_CANCEL)
        on_cancel_answer(ch, r);
    else
        on_got(ch, r);
}

/* ---- settling ---- */

void channel_settle(struct channel *ch, const struct unacked_entry *e, enum port_settle how)
{
    if (how == PORT_ACK)
        channel_count(ch, acked, 1);
    ch->held -= e->consumer != 0;
    if (UNLIKELY(e->where == CHANNEL_CLAIMING))
        channel_settle_claimed(ch, e, how);
    else {
        port_settle(ch->conn->shard, e, how);
        channel_tx_settled_at(ch, e->qid, e->where, e->known);
    }
}

/* Those that wait longest come before the queues that were settled with: a consumer that is handed
 * the next message whenever it settles one would keep the others from their share of a limit. */
void channel_settled(struct channel *ch)
{
    if (ch->channel_prefetch != 0)
        channel_feed(ch);
    port_settled(ch->conn->shard);
}

/* Now, or with the commit. */
static void settle_or_keep(struct channel *ch, uint64_t tag, const struct unacked_entry *e,
                           enum port_settle how)
{
    if (UNLIKELY(ch->tx != NULL))
        channel_tx_settle(ch, tag, e, how);
    else
        channel_settle(ch, e, how);
}

/* As RabbitMQ: `multiple` needs the very tag to be open too, but for 0, which means all. */
static void settle_tags(struct channel *ch, uint64_t tag, bool multiple, enum port_settle how,
                        uint32_t method)
{
    struct unacked_entry e;
    if (multiple && tag == 0)
        tag = ch->unacked.next - 1;
    else if (!unacked_is_open(&ch->unacked, tag)) {
        channel_error(ch, AMQP_PRECONDITION_FAILED, method, "unknown delivery tag %" PRIu64, tag);
        return;
    }
    if (multiple) {
        uint64_t oldest;
        while ((oldest = unacked_oldest(&ch->unacked, tag)) != 0 &&
               unacked_take(&ch->unacked, oldest, &e))
            settle_or_keep(ch, oldest, &e, how);
    } else if (unacked_take(&ch->unacked, tag, &e)) {
        settle_or_keep(ch, tag, &e, how);
    }
    channel_settled(ch);
}

void channel_requeue_all(struct channel *ch, enum port_settle how)
{
    struct unacked_entry e;
    while (unacked_take_oldest(&ch->unacked, UINT64_MAX, &e))
        channel_settle(ch, &e, how);
}

static void take_recover(struct channel *ch, uint32_t method, bool requeue)
{
    if (!requeue) {
        channel_error(ch, AMQP_NOT_IMPLEMENTED, method, "requeue=false");
        return;
    }
    channel_requeue_all(ch, PORT_REQUEUE);
    port_settled(ch->conn->shard);
    if (method == AMQP_BASIC_RECOVER)
        late_answer_send(ch->conn, ch->number,
                         &(struct amqp_method){ .id = AMQP_BASIC_RECOVER_OK });
    channel_feed(ch);
}

/* ---- prefetch ---- */

/* RabbitMQ's reading: not global is for consumers to come, global is for the channel (see its
 * documentation of consumer prefetch); and what is said for consumers lifts what was said for the
 * channel. */
static void take_qos(struct channel *ch, const struct amqp_basic_qos *m)
{
    if (m->prefetch_size != 0) {
        channel_error(ch, AMQP_NOT_IMPLEMENTED, AMQP_BASIC_QOS, "prefetch_size!=0 (%u)",
                      (unsigned)m->prefetch_size);
        return;
    }
    ch->channel_prefetch = m->global ? m->prefetch_count : 0;
    if (!m->global)
        ch->prefetch = m->prefetch_count;
    channel_send(ch, &(struct amqp_method){ .id = AMQP_BASIC_QOS_OK });
    channel_feed(ch);
}

/* Of AMQP 1.0: nothing here has credit in that sense. */
static void take_credit(struct channel *ch, const struct amqp_basic_credit *m)
{
    if (find_tag(ch, m->consumer_tag) == NULL)
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_BASIC_CREDIT,
                      "unknown consumer tag '%.*s'", SLICE_ARG(m->consumer_tag));
    else
        channel_error(ch, AMQP_NOT_IMPLEMENTED, AMQP_BASIC_CREDIT, "credit for consumers");
}

bool channel_take_consume(struct channel *ch, const struct amqp_method *m)
{
    if (m->id == AMQP_BASIC_ACK)
        settle_tags(ch, m->basic_ack.delivery_tag, m->basic_ack.multiple, PORT_ACK, m->id);
    else if (m->id == AMQP_BASIC_NACK)
        settle_tags(ch, m->basic_nack.delivery_tag, m->basic_nack.multiple,
                    m->basic_nack.requeue ? PORT_REQUEUE : PORT_DROP, m->id);
    else if (m->id == AMQP_BASIC_REJECT)
        settle_tags(ch, m->basic_reject.delivery_tag, false,
                    m->basic_reject.requeue ? PORT_REQUEUE : PORT_DROP, m->id);
    else if (m->id == AMQP_BASIC_CONSUME)
        take_consume(ch, &m->basic_consume);
    else if (m->id == AMQP_BASIC_CANCEL)
        take_cancel(ch, &m->basic_cancel);
    else if (m->id == AMQP_BASIC_GET)
        take_get(ch, &m->basic_get);
    else if (m->id == AMQP_BASIC_QOS)
        take_qos(ch, &m->basic_qos);
    else if (m->id == AMQP_BASIC_CREDIT)
        take_credit(ch, &m->basic_credit);
    else if (m->id == AMQP_BASIC_RECOVER)
        take_recover(ch, m->id, m->basic_recover.requeue);
    else if (m->id == AMQP_BASIC_RECOVER_ASYNC)
        take_recover(ch, m->id, m->basic_recover_async.requeue);
    else
        return false;
    return true;
}

/* The channel ends: its consumers go without a word. One whose consume or cancel is under way is
 * given up by port.c when the answer finds nobody. */
void channel_release_consumers(struct channel *ch)
{
    struct channel_consumer *cc;
    struct channel_consumer *next;
    struct channel_consumer *under_way = ch->pending.consumer;
    HASH_ITER (hh, ch->by_tag, cc, next) {
        if (cc != under_way)
            port_abandon(ch->conn->shard, cc->where, cc->qid, cc->id);
        forget(ch, cc);
    }
    ch->pending.consumer = NULL;
}

void channel_each_consumer(const struct channel *ch, channel_consumer_fn each, void *arg)
{
    size_t at = 0;
    const struct channel_consumer *cc;
    while ((cc = idmap_next(&ch->consumers, &at)) != NULL)
        each(&(struct channel_consumer_view){ .id = cc->id,
                                              .tag = slice_of(cc->tag, cc->tag_bytes),
                                              .arguments = slice_of(cc->args, cc->args_bytes),
                                              .qid = cc->qid,
                                              .where = cc->where,
                                              .no_ack = cc->no_ack,
                                              .exclusive = cc->exclusive,
                                              .prefetch = cc->prefetch },
             arg);
}

struct slice channel_consumer_tag(const struct channel *ch, uint64_t consumer)
{
    const struct channel_consumer *cc = idmap_get(&ch->consumers, consumer);
    return cc != NULL ? slice_of(cc->tag, cc->tag_bytes) : slice_str("");
}

/* ---- what is not acknowledged in time ---- */

void channel_judge_age(struct channel *ch, uint64_t timeout_ms)
{
    const struct unacked_entry *e = unacked_first(&ch->unacked);
    if (e == NULL || ch->state != CHANNEL_OPEN)
        return;
    const struct channel_consumer *cc =
        e->consumer != 0 ? idmap_get(&ch->consumers, e->consumer) : NULL;
    if (cc != NULL && cc->timeout_ms >= 0)
        timeout_ms = (uint64_t)cc->timeout_ms;
    uint64_t age_ms = (uint64_t)(now_ds(ch) - e->at_ds) * 100;
    if (timeout_ms == 0 || age_ms <= timeout_ms)
        return;
    enum content_stage stage = ch->content.stage;
    uint64_t left_bytes = ch->content.left_bytes;
    channel_error(ch, AMQP_PRECONDITION_FAILED, 0,
                  "delivery acknowledgement on channel %u timed out. Timeout value used: %" PRIu64
                  " ms. This timeout value can be configured, see consumers doc guide to learn "
                  "more",
                  (unsigned)ch->number, timeout_ms);
    if (stage != CONTENT_NONE)
        channel_pass_over_rest(ch, stage, left_bytes);
}
