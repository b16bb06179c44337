/* Channels, as far as they have to do with queues of the other node. */
#include "base/check.h"
#include "base/mem.h"
#include "sim_far_world.h"

#include <inttypes.h>

#define CHARGED_MAX ((uint64_t)256 * 1024) /* a channel publishes no more meanwhile */

static struct far_channel *find(struct far_world *w, const struct port_channel_ref *ref)
{
    for (unsigned i = 0; i < FAR_CHANNELS; i++) {
        struct far_channel *ch = &w->channels[i];
        if (ch->ref.connection == ref->connection && ch->ref.incarnation == ref->incarnation)
            return ch;
    }
    return NULL;
}

static struct far_consumer *find_consumer(struct far_channel *ch, uint64_t id)
{
    for (unsigned q = 0; q < FAR_QUEUES; q++) {
        if (ch->consumers[q].id == id)
            return &ch->consumers[q];
    }
    return NULL;
}

static unsigned index_of(const struct far_world *w, uint64_t connection)
{
    unsigned i = 0;
    while (i < FAR_CHANNELS && w->channels[i].ref.connection != connection)
        i++;
    return i;
}

/* ---- what comes back --------------------------------------------------------------------------
 */

static void check_confirmed(struct far_world *w, uint32_t id)
{
    const struct far_message *m = &w->messages[id];
    for (unsigned q = 0; q < FAR_QUEUES; q++) {
        const struct far_copy *c = &m->copy[q];
        if (c->qid == 0 || c->state == FAR_GONE)
            continue;
        if (c->state == FAR_ABSENT || c->state == FAR_REFUSED || !c->is_durable)
            (void)far_fail(w, "message %u is confirmed, and not safe in queue %u", id, q);
    }
}

static bool has_refused(const struct far_message *m)
{
    for (unsigned q = 0; q < FAR_QUEUES; q++) {
        if (m->copy[q].state == FAR_REFUSED)
            return true;
    }
    return false;
}

static void answered(struct far_world *w, unsigned channel, uint32_t incarnation, uint64_t number,
                     uint32_t copies, bool ok)
{
    for (uint32_t id = 1; id <= w->message_count; id++) {
        struct far_message *m = &w->messages[id];
        if (m->channel != channel || m->incarnation != incarnation || m->number != number)
            continue;
        far_say(w, "message %u is %s", id, ok ? "confirmed" : "not confirmed");
        if (m->answered != 0)
            (void)far_fail(w, "message %u is answered again", id);
        if (copies != m->copies)
            (void)far_fail(w, "message %u is answered for %u queues, not %u", id, copies,
                           m->copies);
        if (!ok && !w->is_losing && !has_refused(m))
            (void)far_fail(w, "message %u is not confirmed, and nobody refused it", id);
        m->answered++;
        m->is_confirmed = ok;
        if (ok)
            check_confirmed(w, id);
        return;
    }
    (void)far_fail(w, "publish %" PRIu64 " of channel %u is answered, and there was none", number,
                   channel);
}

static void on_published(void *arg, const struct port_channel_ref *from, uint64_t first,
                         uint32_t count, uint32_t copies, bool ok)
{
    struct far_world *w = arg;
    for (uint32_t i = 0; i < count; i++)
        answered(w, index_of(w, from->connection), from->incarnation, first + i, copies, ok);
}

static void on_taken(void *arg, uint64_t connection, uint64_t octets)
{
    struct far_world *w = arg;
    unsigned i = index_of(w, connection);
    struct far_channel *ch = &w->channels[i];
    if (octets > ch->charged) {
        (void)far_fail(w, "channel %u gets back more than it was charged", i);
        return;
    }
    ch->charged -= octets;
    if (w->is_losing)
        return;
    /* Whose it was is not told: the eldest are. How many is what counts. */
    if (w->client->taken > w->sessions[w->session_count - 1]->took)
        (void)far_fail(w, "more is told to be taken than was");
}

static void hold(struct far_world *w, unsigned channel, unsigned queue, uint32_t message,
                 uint64_t tag)
{
    CHECK(w->held_count < FAR_HELD_MAX);
    w->held[w->held_count++] = (struct far_held){ tag, w->client->life, channel, queue, message };
}

/* A channel has it now: it must be its to have. */
static struct far_copy *shown(struct far_world *w, unsigned queue, uint32_t id, bool redelivered,
                              bool no_ack)
{
    struct far_copy *c = &w->messages[id].copy[queue];
    if (c->was_shown && !redelivered && !no_ack)
        (void)far_fail(w, "message %u is shown again, and does not say so", id);
    c->was_shown = true;
    c->is_settled = false;
    return c;
}

static bool is_held(const struct far_world *w, unsigned queue, uint32_t id)
{
    for (unsigned i = 0; i < w->held_count; i++) {
        const struct far_held *h = &w->held[i];
        if (h->message == id && h->queue == queue && h->life == w->client->life)
            return true;
    }
    return false;
}

static void got(struct far_world *w, struct far_channel *ch, struct port_request *r)
{
    unsigned q = far_place(w, r->qid);
    uint32_t id = far_message_id(w, r->message);
    if (id == 0) {
        (void)far_fail(w, "what was got is not what was published");
        return;
    }
    if (q == FAR_QUEUES)
        return; /* deleted meanwhile */
    if (is_held(w, q, id))
        (void)far_fail(w, "message %u is got, and somebody has it", id);
    (void)shown(w, q, id, r->redelivered, r->no_ack);
    if (!r->no_ack)
        hold(w, (unsigned)(ch - w->channels), q, id, r->qseq);
}

/* What was said before a fence is done. */
static void check_fenced(struct far_world *w, const struct far_channel *ch)
{
    for (uint32_t id = 1; id <= ch->messages_before; id++) {
        const struct far_message *m = &w->messages[id];
        for (unsigned q = 0; q < FAR_QUEUES; q++) {
            const struct far_copy *c = &m->copy[q];
            bool is_ours = &w->channels[m->channel] == ch && m->life == w->client->life;
            if (is_ours && c->qid != 0 && c->state == FAR_ABSENT)
                (void)far_fail(w, "message %u is not there behind a fence", id);
            if (c->is_settled && c->settle_number <= ch->settles_before && c->state == FAR_OUT &&
                w->queues[q].qid == c->qid && w->has_link && c->session == w->session_count - 1)
                (void)far_fail(w, "message %u of queue %u is not settled behind a fence", id, q);
        }
    }
}

static void on_answer(void *arg, struct port_request *r)
{
    struct far_world *w = arg;
    struct far_channel *ch = find(w, &r->from);
    if (ch == NULL || !ch->is_pending || ch->pending != r->op)
        (void)far_fail(w, "an answer that nobody waits for");
    else if ((r->verdict == PORT_NODE_DOWN) != w->is_losing)
        (void)far_fail(w, "the other node is called down, and is not, or the other way");
    far_say(w, "request %d is answered: %d", (int)r->op, (int)r->verdict);
    if (!w->has_failed) {
        ch->is_pending = false;
        struct far_consumer *c = r->consumer != 0 ? find_consumer(ch, r->consumer) : NULL;
        if (r->op == PORT_CONSUME && c != NULL && r->verdict == PORT_OK)
            c->is_active = true;
        if (c != NULL && ((r->op == PORT_CONSUME && r->verdict != PORT_OK) || r->op == PORT_CANCEL))
            *c = (struct far_consumer){ 0 };
        if (r->message != NULL)
            got(w, ch, r);
        if (r->op == PORT_DELETE && r->verdict == PORT_OK)
            far_plan_deletion(w, r->qid);
        if (r->op == PORT_FENCE && r->verdict == PORT_OK)
            check_fenced(w, ch);
    }
    if (r->message != NULL)
        far_drop_here(w, &r->message);
    mem_free(r);
}

static bool has_room(const struct far_channel *ch)
{
    return !ch->is_full && (ch->prefetch == 0 || ch->held < ch->prefetch);
}

/* One that the same consumer was handed before, did not take, and has not got since. */
static void check_overtaken(struct far_world *w, unsigned q, uint32_t id, uint64_t consumer)
{
    const struct far_queue *queue = &w->queues[q];
    uint64_t serial = w->messages[id].copy[q].serial;
    for (uint32_t i = 0; i < queue->count && queue->ids[i] != id; i++) {
        const struct far_copy *c = &w->messages[queue->ids[i]].copy[q];
        bool was_before = c->turned_by == consumer && c->serial < serial;
        if (was_before && (c->state == FAR_READY || c->state == FAR_OUT))
            (void)far_fail(w, "message %u overtakes message %u", id, queue->ids[i]);
    }
}

static void check_offer(struct far_world *w, struct far_consumer *c, unsigned q, uint32_t id)
{
    const struct far_copy *copy = &w->messages[id].copy[q];
    if (copy->state != FAR_OUT || copy->consumer != c->id)
        (void)far_fail(w, "message %u comes, and its queue did not hand it out so", id);
    if (copy->serial <= c->last_serial)
        (void)far_fail(w, "message %u comes out of order", id);
    if (is_held(w, q, id))
        (void)far_fail(w, "message %u comes, and somebody has it", id);
    if (c->allowed == 0)
        (void)far_fail(w, "consumer %" PRIu64 " is given more than it asked for", c->id);
    check_overtaken(w, q, id, c->id);
    c->last_serial = copy->serial;
    c->allowed -= c->allowed != UINT64_MAX;
}

static bool on_offer(void *arg, const struct port_channel_ref *to, uint64_t consumer,
                     const struct port_handed *as, struct message *m, bool redelivered)
{
    struct far_world *w = arg;
    struct far_channel *ch = find(w, to);
    struct far_consumer *c = ch != NULL ? find_consumer(ch, consumer) : NULL;
    uint32_t id = far_message_id(w, m);
    if (id == 0)
        return far_fail(w, "what is delivered is not what was published");
    if (c == NULL)
        return false;
    unsigned q = far_place(w, c->qid);
    if (q == FAR_QUEUES)
        return false; /* deleted, and its consumers hear of it */
    if (c->is_refusing || !has_room(ch)) {
        far_say(w, "message %u of queue %u is refused by consumer %" PRIu64, id, q, c->id);
        c->is_starved |= !c->is_refusing;
        c->is_refusing = true;
        w->messages[id].copy[q].turned_by = c->id;
        return false;
    }
    far_say(w, "message %u of queue %u comes to consumer %" PRIu64, id, q, consumer);
    check_offer(w, c, q, id);
    (void)shown(w, q, id, redelivered, c->no_ack);
    if (!c->no_ack) {
        hold(w, (unsigned)(ch - w->channels), q, id, as->tag);
        ch->held++;
    }
    return true;
}

static struct far_consumer *known_consumer(struct far_world *w, const struct port_channel_ref *to,
                                           uint64_t consumer)
{
    struct far_channel *ch = find(w, to);
    struct far_consumer *c = ch != NULL ? find_consumer(ch, consumer) : NULL;
    return c;
}

static void on_resumed(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    struct far_consumer *c = known_consumer(arg, to, consumer);
    if (c == NULL)
        return;
    c->is_refusing = false;
    c->allowed = c->credit == PORT_ANY ? UINT64_MAX : c->credit;
}

static void on_served(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    struct far_consumer *c = known_consumer(arg, to, consumer);
    if (c != NULL)
        c->is_starved |= !c->is_refusing;
}

static void on_cancelled(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    struct far_world *w = arg;
    struct far_consumer *c = known_consumer(w, to, consumer);
    if (c == NULL)
        return;
    if (!w->is_losing && far_place(w, c->qid) != FAR_QUEUES)
        (void)far_fail(w, "consumer %" PRIu64 " is cancelled, and its queue is there", consumer);
    *c = (struct far_consumer){ 0 };
}

static void on_reply_known(void *arg, const struct port_channel_ref *from, bool known)
{
    (void)from, (void)known;
    (void)far_fail(arg, "nobody asked for a channel");
}

static void on_count(void *arg, int64_t octets)
{
    ((struct far_world *)arg)->counted += octets;
}

static void on_publish_moved(void *arg, const struct port_channel_ref *from, uint64_t number,
                             uint64_t qid)
{
    (void)from, (void)number, (void)qid;
    (void)far_fail(arg, "nobody publishes to a mirrored queue");
}

/* With its session: nobody carries it over here. */
static void on_consumer_moved(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    struct far_world *w = arg;
    struct far_consumer *c = known_consumer(w, to, consumer);
    if (!w->is_losing)
        (void)far_fail(w, "consumer %" PRIu64 " is to be carried, and its session is there",
                       consumer);
    if (c != NULL)
        *c = (struct far_consumer){ 0 };
}

const struct remote_client_ops far_client_ops = {
    .published = on_published,
    .publish_moved = on_publish_moved,
    .taken = on_taken,
    .answer = on_answer,
    .offer = on_offer,
    .resumed = on_resumed,
    .served = on_served,
    .cancelled = on_cancelled,
    .consumer_moved = on_consumer_moved,
    .reply_known = on_reply_known,
    .count = on_count,
};

/* ---- what channels do -------------------------------------------------------------------------
 */

static size_t some_body(struct far_world *w)
{
    if (w->is_homely && far_one_in(w, 2))
        return REMOTE_KEPT_LEAST + far_below(w, 2000);
    if (w->is_heavy && !w->is_ending)
        return far_one_in(w, 3) ? 200000 + far_below(w, 400000) : far_below(w, 40000);
    return far_one_in(w, 12) ? REMOTE_INLINE_BYTES - 100 + far_below(w, 200000) : far_below(w, 100);
}

static void publish(struct far_world *w, struct far_channel *ch)
{
    if (ch->charged > CHARGED_MAX * (w->is_heavy ? 16 : 1) || w->message_count == FAR_MESSAGES_MAX)
        return;
    uint32_t id = ++w->message_count;
    struct far_message *m = &w->messages[id];
    *m = (struct far_message){ .channel = (unsigned)(ch - w->channels),
                               .incarnation = ch->ref.incarnation,
                               .number = ch->confirms ? ++ch->next_number : 0,
                               .body_bytes = some_body(w) };
    unsigned mask = w->is_homely && !far_one_in(w, 8)
                        ? 1u << far_below(w, FAR_QUEUES)
                        : 1 + (unsigned)far_below(w, (1u << FAR_QUEUES) - 1);
    struct message *one = far_message(w, id);
    w->counted += (int64_t)message_cost_bytes(one);
    m->octets = message_cost_bytes(one);
    m->session = far_session(w)->index;
    m->life = w->client->life;
    far_say(w, "channel %u publishes message %u to %x", m->channel, id, mask);
    for (unsigned q = 0; q < FAR_QUEUES; q++) {
        if ((mask >> q & 1) == 0)
            continue;
        struct message *ref = message_ref(one);
        m->copies++;
        m->copy[q].qid = w->queues[q].qid;
        remote_client_publish(w->client, w->queues[q].qid, &ref, &ch->ref, m->number);
    }
    ch->charged += m->octets * m->copies;
    remote_client_published(w->client);
    far_drop_here(w, &one);
    w->out->messages++;
}

static void ask(struct far_world *w, struct far_channel *ch, enum port_op op, uint64_t qid,
                uint64_t consumer, bool no_ack)
{
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){
        .op = op, .qid = qid, .from = ch->ref, .consumer = consumer, .no_ack = no_ack
    };
    ch->is_pending = true;
    ch->pending = op;
    ch->pending_qid = qid;
    ch->messages_before = w->message_count;
    ch->settles_before = w->settles;
    (void)far_session(w);
    far_say(w, "channel %u asks %d of queue %" PRIu64, (unsigned)(ch - w->channels), (int)op, qid);
    remote_client_ask(w->client, &r);
}

static void consume_or_cancel(struct far_world *w, struct far_channel *ch, unsigned q)
{
    struct far_consumer *c = &ch->consumers[q];
    if (c->id == 0) {
        *c = (struct far_consumer){ .id = ++w->last_consumer,
                                    .qid = w->queues[q].qid,
                                    .no_ack = far_one_in(w, 4),
                                    .credit = PORT_ANY,
                                    .allowed = UINT64_MAX };
        ask(w, ch, PORT_CONSUME, c->qid, c->id, c->no_ack);
    } else if (far_one_in(w, 4)) {
        ask(w, ch, PORT_CANCEL, c->qid, c->id, false);
    }
}

static void settle_one(struct far_world *w, unsigned at, enum port_settle how)
{
    struct far_held h = w->held[at];
    struct far_channel *ch = &w->channels[h.channel];
    w->held[at] = w->held[--w->held_count];
    ch->held -= ch->held != 0;
    if (h.life != w->client->life)
        return; /* without any effect */
    struct far_copy *c = &w->messages[h.message].copy[h.queue];
    c->is_settled = true;
    c->how = how;
    c->settle_number = ++w->settles;
    far_say(w, "channel %u settles message %u of queue %u: %d", h.channel, h.message, h.queue,
            (int)how);
    remote_client_settle(w->client, h.tag, how);
}

static void settle_some(struct far_world *w, unsigned channel)
{
    static const enum port_settle hows[] = { PORT_ACK, PORT_ACK, PORT_ACK, PORT_DROP,
                                             PORT_REQUEUE };
    enum port_settle how = hows[far_below(w, 5)];
    unsigned most = 1 + (unsigned)far_below(w, 6);
    for (unsigned i = 0; i < w->held_count && most != 0; i++) {
        if (w->held[i].channel != channel || far_one_in(w, 3))
            continue;
        settle_one(w, i, how);
        most--;
        i--;
    }
}

/* It closes, and is opened again. */
static void reopen(struct far_world *w, struct far_channel *ch)
{
    unsigned channel = (unsigned)(ch - w->channels);
    for (unsigned q = 0; q < FAR_QUEUES; q++) {
        struct far_consumer *c = &ch->consumers[q];
        if (c->id != 0)
            remote_client_abandon(w->client, c->qid, c->id);
        *c = (struct far_consumer){ 0 };
    }
    for (unsigned i = 0; i < w->held_count; i++) {
        if (w->held[i].channel == channel)
            settle_one(w, i--, PORT_REQUEUE_SEEN);
    }
    ch->ref.incarnation++;
    ch->next_number = 0;
    ch->confirms = far_one_in(w, 2);
    ch->prefetch = far_one_in(w, 2) ? 1 + (unsigned)far_below(w, 5) : 0;
    ch->held = 0;
}

void far_channel_acts(struct far_world *w)
{
    unsigned i = (unsigned)far_below(w, FAR_CHANNELS);
    struct far_channel *ch = &w->channels[i];
    unsigned q = (unsigned)far_below(w, FAR_QUEUES);
    uint64_t qid = w->queues[q].qid;
    if (ch->is_pending)
        return;
    switch (far_below(w, 20)) {
    case 0:
        ch->is_full = far_one_in(w, 3);
        return;
    case 1:
        ask(w, ch, PORT_GET, qid, 0, far_one_in(w, 3));
        return;
    case 2:
        ask(w, ch, PORT_FENCE, 0, 0, false);
        return;
    case 3:
        ask(w, ch, far_one_in(w, 6) ? PORT_PURGE : PORT_COUNT, qid, 0, false);
        return;
    case 4:
        if (far_one_in(w, 8))
            ask(w, ch, PORT_DELETE, qid, 0, false);
        return;
    case 5:
        if (far_one_in(w, 4))
            reopen(w, ch);
        return;
    case 6:
    case 7:
        consume_or_cancel(w, ch, q);
        return;
    case 8:
    case 9:
    case 10:
    case 11:
        settle_some(w, i);
        return;
    default:
        publish(w, ch);
        return;
    }
}

bool far_channels_wake(struct far_world *w)
{
    bool any = false;
    for (unsigned i = 0; i < FAR_CHANNELS * FAR_QUEUES; i++) {
        struct far_channel *ch = &w->channels[i / FAR_QUEUES];
        struct far_consumer *c = &ch->consumers[i % FAR_QUEUES];
        if (!c->is_active || !c->is_starved || !has_room(ch))
            continue;
        c->is_starved = false;
        c->credit = ch->prefetch != 0 ? ch->prefetch - ch->held : PORT_ANY;
        if (!c->is_refusing) /* what it was allowed before may be on its way */
            c->allowed = c->credit == PORT_ANY || c->allowed == UINT64_MAX ? UINT64_MAX
                                                                           : c->allowed + c->credit;
        far_say(w, "consumer %" PRIu64 " is woken for %u", c->id, c->credit);
        remote_client_wake(w->client, c->id, c->credit);
        any = true;
    }
    return any;
}

void far_lose(struct far_world *w)
{
    if (!w->has_link)
        return;
    struct far_session *s = w->sessions[w->session_count - 1];
    far_say(w, "session %u is over", s->index);
    w->has_link = false;
    s->asker_is_gone = true;
    w->is_losing = true;
    remote_client_lost(w->client);
    w->is_losing = false;
    w->out->restarts++;
}

void far_channels_begin(struct far_world *w)
{
    for (unsigned i = 0; i < FAR_CHANNELS; i++) {
        w->channels[i].ref = (struct port_channel_ref){ (uint64_t)1 << 48 | (i + 1), 1, 1 };
        w->channels[i].confirms = i % 2 == 0;
        w->channels[i].prefetch = i / 2 % 2 * 3;
    }
}

/* In the end. */
void far_check_asker(struct far_world *w)
{
    for (unsigned i = 0; i < FAR_CHANNELS; i++) {
        if (w->channels[i].charged != 0)
            (void)far_fail(w, "channel %u is charged for ever", i);
        if (w->channels[i].is_pending)
            (void)far_fail(w, "channel %u waits for ever", i);
    }
    for (uint32_t id = 1; id <= w->message_count; id++) {
        if (w->messages[id].number != 0 && w->messages[id].answered == 0)
            (void)far_fail(w, "message %u is never answered", id);
    }
}
