#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel_port.h"
#include "port_lane.h"
#include "remote/remote.h"
#include "remote/remote_kept.h"
#include "remote/remote_server.h"

/* How many deliveries may be on their way to a consumer on another shard; and on another node,
 * which is farther: there how much, too, for each is a copy, but for those that are kept there. */
#define WINDOW       512u
#define WINDOW_AWAY  8192u
#define WINDOW_BYTES ((uint64_t)4 * 1024 * 1024)

static struct port_consumer *port_consumer_of(struct consumer *c)
{
    return CONTAINER_OF(c, struct port_consumer, base);
}

/* ---- to a channel on this shard
 * ------------------------------------------------------------------ */

static bool has_room_here(struct consumer *c)
{
    struct port_consumer *pc = port_consumer_of(c);
    return channel_has_room(pc->channel, pc->id);
}

static void deliver_here(struct consumer *c, uint64_t qseq, struct message *m, bool redelivered)
{
    struct port_consumer *pc = port_consumer_of(c);
    channel_deliver(pc->channel, pc->id, qseq, m, redelivered);
}

static const struct consumer_ops ops_here = { has_room_here, deliver_here };

/* ---- to a channel on another shard
 * --------------------------------------------------------------- */

static bool has_room_there(struct consumer *c)
{
    struct port_consumer *pc = port_consumer_of(c);
    if (pc->refused || pc->credit == 0)
        return false;
    if (LIKELY(!remote_is_session(&pc->ref)))
        return pc->window_used < WINDOW;
    return pc->window_used < WINDOW_AWAY && pc->window_bytes < WINDOW_BYTES;
}

static struct deliver_item *add_delivery(struct shard *s, uint32_t to)
{
    struct port_lane *lane = &s->lanes[to];
    if (lane->deliveries != NULL && lane->deliveries->count == BATCH_ITEMS)
        port_send_lane(lane);
    if (lane->deliveries == NULL) {
        lane->deliveries = mem_alloc(sizeof *lane->deliveries);
        lane->deliveries->from = s;
        lane->deliveries->to = broker_shard(s->broker, to);
        lane->deliveries->count = 0;
    }
    loop_first_at_turn_end(s->loop, &s->flush_task);
    return &lane->deliveries->items[lane->deliveries->count++];
}

/* To another node. False: its session does not want it. */
static bool forward(struct shard *s, const struct deliver_item *it, uint32_t from_shard,
                    struct message *m)
{
    return remote_on_delivery(s, &it->to,
                              &(struct remote_delivery){ .qid = it->qid,
                                                         .qseq = it->qseq,
                                                         .consumer = it->consumer,
                                                         .where = from_shard,
                                                         .bytes = it->bytes,
                                                         .known = it->known,
                                                         .auto_ack = it->auto_ack,
                                                         .redelivered = it->redelivered },
                              m);
}

static void forward_from_here(struct shard *s, struct deliver_item *it, struct message *m)
{
    if (forward(s, it, s->index, m))
        return;
    it->refused = true;
    port_return(s, s->index, it);
}

static bool is_session_here(const struct port_consumer *pc)
{
    return remote_is_session(&pc->ref) && shard_of_id(pc->ref.connection) == pc->shard->index;
}

static void deliver_there(struct consumer *c, uint64_t qseq, struct message *m, bool redelivered)
{
    struct port_consumer *pc = port_consumer_of(c);
    struct deliver_item it = {
        .kind = DELIVER_MESSAGE,
        .qid = pc->qid,
        .qseq = qseq,
        .consumer = pc->id,
        .to = pc->ref,
        .redelivered = redelivered,
        .known = broker_meta(pc->shard->broker)->index,
        .auto_ack = pc->auto_ack,
        .bytes = remote_kept_bytes_back(m, pc->ref.connection),
    };
    if (is_session_here(pc)) {
        forward_from_here(pc->shard, &it, m);
    } else {
        it.message = message_ref(m);
        *add_delivery(pc->shard, shard_of_id(pc->ref.connection)) = it;
    }
    pc->window_used++;
    pc->window_bytes += it.bytes;
    if (pc->credit != PORT_ANY)
        pc->credit--;
}

/* A word to its channel that keeps its place among the deliveries. */
static void say(struct port_consumer *pc, enum deliver_kind kind)
{
    if (is_session_here(pc)) {
        if (kind == DELIVER_RESUMED)
            remote_on_resumed(pc->shard, &pc->ref, pc->id);
        else
            remote_on_served(pc->shard, &pc->ref, pc->id);
        return;
    }
    *add_delivery(pc->shard, shard_of_id(pc->ref.connection)) =
        (struct deliver_item){ .kind = kind, .consumer = pc->id, .to = pc->ref };
}

static const struct consumer_ops ops_there = { has_room_there, deliver_there };

/* For a session, which sends it on. */
static void forward_item(struct shard *s, struct deliver_item *it, uint32_t from_shard)
{
    switch (it->kind) {
    case DELIVER_MESSAGE:
        it->refused = !forward(s, it, from_shard, it->message);
        if (!it->refused)
            it->kind = DELIVER_FORWARDED;
        shard_message_drop(s, &it->message);
        return;
    case DELIVER_RESUMED:
        remote_on_resumed(s, &it->to, it->consumer);
        return;
    case DELIVER_SERVED:
        remote_on_served(s, &it->to, it->consumer);
        return;
    case DELIVER_FORWARDED:
        break;
    }
    UNREACHABLE("delivery");
}

static void take_item(struct shard *s, struct deliver_item *it)
{
    struct channel *ch = channel_find(s, &it->to);
    switch (it->kind) {
    case DELIVER_MESSAGE:
        it->refused =
            ch == NULL ||
            !channel_offer(ch, it->consumer, &(struct port_handed){ it->qseq, it->qseq, it->known },
                           it->message, it->redelivered);
        shard_message_drop(s, &it->message);
        return;
    case DELIVER_RESUMED:
        if (ch != NULL)
            channel_on_resumed(ch, it->consumer);
        return;
    case DELIVER_SERVED:
        if (ch != NULL)
            channel_on_served(ch, it->consumer);
        return;
    case DELIVER_FORWARDED:
        break;
    }
    UNREACHABLE("delivery");
}

/* On the channel's shard. */
void port_on_deliveries(struct mail *mail)
{
    struct deliver_batch *b = CONTAINER_OF(mail, struct deliver_batch, mail);
    for (unsigned i = 0; i < b->count; i++) {
        if (remote_is_session(&b->items[i].to))
            forward_item(b->to, &b->items[i], b->from->index);
        else
            take_item(b->to, &b->items[i]);
    }
    b->mail.fn = port_on_deliveries_back;
    mailbox_post(b->from->loop, &b->mail);
}

void port_return(struct shard *s, uint32_t shard, const struct deliver_item *item)
{
    struct port_lane *lane = &s->lanes[shard];
    if (lane->returns != NULL && lane->returns->count == BATCH_ITEMS)
        port_send_lane(lane);
    if (lane->returns == NULL) {
        lane->returns = mem_alloc(sizeof *lane->returns);
        lane->returns->from = broker_shard(s->broker, shard);
        lane->returns->to = s;
        lane->returns->count = 0;
    }
    loop_first_at_turn_end(s->loop, &s->flush_task);
    lane->returns->items[lane->returns->count++] = *item;
}

/* Another node masters its queue, or did since. */
static void take_back_late(struct shard *s, const struct deliver_item *it, struct hosted *h)
{
    enum port_settle back = it->seen ? PORT_REQUEUE_SEEN : PORT_REQUEUE_UNSEEN;
    enum port_settle how = it->refused ? back : PORT_ACK;
    if (!it->refused && !it->auto_ack)
        return;
    if (h != NULL)
        port_settle_late(h, it->qseq, how);
    else
        port_settle_moved(s, it->qid, it->qseq, how);
}

static void take_back(struct shard *s, const struct deliver_item *it, struct port_consumer *pc)
{
    struct hosted *h = shard_hosted(s, it->qid);
    if (UNLIKELY(h == NULL || port_is_late(h, it->known))) {
        take_back_late(s, it, h);
        return;
    }
    struct queue *q = &h->queue;
    struct consumer *c = pc != NULL ? &pc->base : NULL;
    if (it->refused)
        queue_requeue(q, it->qseq, c, it->seen);
    else if (it->auto_ack)
        queue_ack(q, it->qseq, c);
    if (c != NULL)
        queue_wake(c);
    queue_run(q, loop_now_ms(s->loop));
}

/* Its channel has room again. What was on its way when it refused comes back refused too, so
 * nothing new may go before the last of that is here: the refusal would look like a new one that
 * nobody wakes it from, and later messages would overtake earlier ones. */
static void resume(struct port_consumer *pc)
{
    pc->woken = pc->refused && pc->window_used != 0;
    if (pc->woken)
        return;
    if (pc->refused)
        say(pc, DELIVER_RESUMED);
    pc->refused = false;
    pc->credit = pc->next_credit;
    queue_wake(&pc->base);
    queue_run(pc->base.queue, loop_now_ms(pc->shard->loop));
    if (pc->channel == NULL && pc->next_credit != PORT_ANY)
        say(pc, DELIVER_SERVED);
}

void port_on_deliveries_back(struct mail *mail)
{
    struct deliver_batch *b = CONTAINER_OF(mail, struct deliver_batch, mail);
    /* All marks first: a queue must not hand the next message to one that sent an earlier one back.
     */
    for (unsigned i = 0; i < b->count; i++) {
        struct port_consumer *pc = idmap_get(&b->from->consumers, b->items[i].consumer);
        if (pc == NULL || b->items[i].kind != DELIVER_MESSAGE)
            continue;
        CHECK(pc->window_used > 0);
        pc->window_used--;
        pc->window_bytes -= b->items[i].bytes;
        pc->refused = pc->refused || b->items[i].refused;
    }
    for (unsigned i = 0; i < b->count; i++) {
        if (b->items[i].kind == DELIVER_MESSAGE)
            take_back(b->from, &b->items[i], idmap_get(&b->from->consumers, b->items[i].consumer));
    }
    for (unsigned i = 0; i < b->count; i++) {
        struct port_consumer *pc = idmap_get(&b->from->consumers, b->items[i].consumer);
        if (pc != NULL && pc->leaving)
            port_abandon_here(b->from, pc->qid, pc->id);
        else if (pc != NULL && pc->woken)
            resume(pc);
    }
    port_settled(b->from);
    mem_free(b);
}

void port_return_here(struct shard *s)
{
    struct deliver_batch *b = s->lanes[s->index].returns;
    s->lanes[s->index].returns = NULL;
    if (b != NULL)
        port_on_deliveries_back(&b->mail);
}

/* ---- coming and going
 * ------------------------------------------------------------------------------ */

enum queue_consume_verdict port_consumer_add(struct shard *s, struct queue *q,
                                             const struct port_request *r)
{
    struct port_consumer *pc = mem_zalloc(sizeof *pc);
    bool here = shard_of_id(r->from.connection) == s->index && !remote_is_session(&r->from);
    pc->base.ops = here ? &ops_here : &ops_there;
    pc->base.priority = r->priority;
    pc->base.prefetch = r->prefetch;
    pc->base.no_ack = r->no_ack && here;
    pc->base.exclusive = r->exclusive;
    pc->auto_ack = r->no_ack && !here;
    pc->shard = s;
    pc->id = r->consumer;
    pc->qid = r->qid;
    pc->credit = pc->next_credit = PORT_ANY;
    pc->ref = r->from;
    pc->client = remote_is_session(&r->from) ? r->client : r->from;
    pc->channel = here ? channel_find(s, &r->from) : NULL;
    CHECK(!here || pc->channel != NULL);
    enum queue_consume_verdict verdict = queue_consume(q, &pc->base);
    if (verdict == QUEUE_CONSUME_OK)
        idmap_put(&s->consumers, pc->id, pc);
    else
        mem_free(pc);
    return verdict;
}

static void end_consumer(struct shard *s, struct port_consumer *pc)
{
    idmap_take(&s->consumers, pc->id);
    queue_cancel(&pc->base, loop_now_ms(s->loop));
    mem_free(pc);
}

bool port_consumer_remove(struct shard *s, uint64_t qid, uint64_t consumer)
{
    struct port_consumer *pc = idmap_get(&s->consumers, consumer);
    if (pc == NULL)
        return false;
    end_consumer(s, pc);
    struct hosted *h = shard_hosted(s, qid);
    if (h == NULL || !h->auto_delete || h->queue.consumer_count != 0)
        return false;
    hosted_promise(h);
    return true;
}

bool port_consumer_leave(struct shard *s, uint64_t consumer)
{
    struct port_consumer *pc = idmap_get(&s->consumers, consumer);
    if (pc == NULL || pc->window_used == 0)
        return false;
    pc->leaving = pc->refused = true;
    return true;
}

void port_consumer_wake(struct shard *s, uint64_t consumer, uint32_t credit)
{
    struct port_consumer *pc = idmap_get(&s->consumers, consumer);
    if (pc == NULL || pc->leaving)
        return;
    pc->next_credit = credit;
    resume(pc);
}

struct consumer *port_consumer_find(struct shard *s, uint64_t consumer)
{
    struct port_consumer *pc = consumer != 0 ? idmap_get(&s->consumers, consumer) : NULL;
    return pc != NULL ? &pc->base : NULL;
}

uint64_t port_active_consumer(const struct queue *q)
{
    return q->active != NULL ? port_consumer_of(q->active)->id : 0;
}

uint64_t port_lone_consumer(const struct queue *q, struct port_channel_ref *of)
{
    struct consumer *c = q->active;
    if (!q->is_single && q->has_exclusive)
        c = queue_any_consumer(q);
    if (c == NULL)
        return 0;
    *of = port_consumer_of(c)->client;
    return port_consumer_of(c)->id;
}

void port_tell_cancelled(struct shard *s, const struct port_channel_ref *to, uint64_t consumer)
{
    if (remote_is_session(to)) {
        remote_on_cancelled(s, to, consumer);
        return;
    }
    struct channel *ch = channel_find(s, to);
    if (ch != NULL)
        channel_on_cancelled(ch, consumer);
}

void port_tell_moved(struct shard *s, const struct port_channel_ref *to, uint64_t consumer)
{
    if (remote_is_session(to)) {
        remote_on_consumer_moved(s, to, consumer);
        return;
    }
    struct channel *ch = channel_find(s, to);
    if (ch != NULL)
        channel_on_moved(ch, consumer);
}

static void end_all(struct shard *s, struct queue *q, enum notice_kind why)
{
    struct consumer *c;
    while ((c = queue_any_consumer(q)) != NULL) {
        struct port_consumer *pc = port_consumer_of(c);
        struct port_channel_ref ref = pc->ref;
        uint64_t id = pc->id;
        end_consumer(s, pc);
        if (shard_of_id(ref.connection) != s->index) {
            struct notice_item *n = port_add_notice(s, shard_of_id(ref.connection));
            *n = (struct notice_item){ .kind = why, .consumer = id, .to = ref };
        } else if (why == NOTICE_MOVED) {
            port_tell_moved(s, &ref, id);
        } else {
            port_tell_cancelled(s, &ref, id);
        }
    }
}

void port_cancel_all(struct shard *s, struct queue *q)
{
    end_all(s, q, NOTICE_CANCELLED);
}

void port_move_all(struct shard *s, struct queue *q)
{
    end_all(s, q, NOTICE_MOVED);
}
