#include "remote/remote_client.h"

#include "base/check.h"
#include "base/mutation.h"
#include "remote/remote_client_inner.h"
#include "remote/remote_held.h"

#define LETTERS_MANY_BYTES ((uint64_t)8 * 1024 * 1024)

/* Channels that are nobody's keep their order, too: dead letters; and all that is for mirrored
 * queues, whosever it is, since it is numbered as one. */
#define LETTERS_KEY UINT64_MAX
#define LANE_KEY    (UINT64_MAX - 1)

void remote_client_init_life(struct remote_client *c)
{
    remote_ring_init(&c->charges, sizeof(struct remote_charge));
    remote_ring_init(&c->awaited, sizeof(struct remote_awaited));
    c->awaited_base = 1;
    idmap_init(&c->unsent);
    c->taken = c->published = c->letter_bytes = c->said = c->done = 0;
    idmap_init(&c->asks);
    idmap_init(&c->consumers);
    idmap_init(&c->consumed);
    remote_kept_init(&c->kept);
    c->took.count = c->sent_back.count = c->settles.count = 0;
}

/* Numbers on the link are by the order in which publishes arrive. */
static void on_left(void *arg, uint64_t mark)
{
    struct remote_client *c = arg;
    struct remote_unsent *u = idmap_take(&c->unsent, mark);
    CHECK(u != NULL);
    struct remote_awaited *a = remote_ring_add(&c->awaited);
    *a = u->awaited;
    mem_free(u);
}

struct remote_client *remote_client_new(const struct remote_client_ops *ops, void *arg,
                                        const struct remote_pipe *pipe)
{
    struct remote_client *c = mem_zalloc(sizeof *c);
    c->ops = ops;
    c->arg = arg;
    c->life = 1;
    remote_outbox_init(&c->out, pipe);
    remote_outbox_tell_left(&c->out, on_left, c);
    remote_inbox_init(&c->in, ops->count, arg);
    remote_client_init_life(c);
    return c;
}

static void drop_message(struct remote_client *c, struct message **m)
{
    c->out.pipe.drop(c->out.pipe.arg, m);
}

void remote_client_free_all(struct idmap *m)
{
    size_t at = 0;
    for (void *value; (value = idmap_next(m, &at)) != NULL;)
        mem_free(value);
    idmap_fini(m);
}

static void free_asks(struct remote_client *c)
{
    size_t at = 0;
    for (struct remote_asked *a; (a = idmap_next(&c->asks, &at)) != NULL;)
        mem_free(a->request);
    remote_client_free_all(&c->asks);
}

void remote_client_free(struct remote_client **client)
{
    struct remote_client *c = *client;
    *client = NULL;
    if (c == NULL)
        return;
    if (c->message != NULL)
        drop_message(c, &c->message);
    remote_outbox_reset(&c->out);
    remote_inbox_reset(&c->in);
    remote_ring_fini(&c->charges);
    remote_ring_fini(&c->awaited);
    free_asks(c);
    remote_client_free_all(&c->unsent);
    remote_client_free_all(&c->consumers);
    remote_client_free_all(&c->consumed);
    remote_kept_reset(&c->kept, c->out.pipe.drop, c->out.pipe.arg);
    mem_free(c);
}

/* ---- runs of tags -----------------------------------------------------------------------------
 */

/* In the order in which their effects must come: what was taken was so before it was settled. */
static void say_gathered(struct remote_client *c)
{
    remote_runs_say(&c->took, &c->out, REMOTE_TOOK, PORT_ACK);
    remote_runs_say(&c->sent_back, &c->out, REMOTE_SENT_BACK, PORT_ACK);
    remote_runs_say(&c->settles, &c->out, REMOTE_SETTLE, c->settle_how);
}

static void gather(struct remote_client *c, struct remote_runs *runs, uint64_t tag)
{
    if (!remote_runs_add(runs, tag)) {
        say_gathered(c);
        bool fits = remote_runs_add(runs, tag);
        CHECK(fits); /* there are none now */
    }
    c->out.pipe.soon(c->out.pipe.arg);
}

void remote_client_settle(struct remote_client *c, uint64_t tag, enum port_settle how)
{
    if (how != c->settle_how && c->settles.count != 0 && !MUTATION(REMOTE_SETTLED_ALIKE))
        say_gathered(c);
    c->said++;
    c->settle_how = how;
    gather(c, &c->settles, tag);
}

void remote_client_settle_moved(struct remote_client *c, uint64_t qid, uint64_t qseq,
                                enum port_settle how)
{
    uint8_t room[REMOTE_RANGE_BYTES];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, qseq);
    wire_put_u32(&w, 1);
    say_gathered(c);
    c->said++;
    remote_outbox_put(&c->out, 0,
                      &(struct remote_record){ .op = REMOTE_SETTLE_MOVED,
                                               .kind = (uint8_t)how,
                                               .qid = qid,
                                               .list = wire_out_slice(&w) });
}

void remote_client_flush(struct remote_client *c)
{
    say_gathered(c);
    uint32_t owed = remote_inbox_owes(&c->in);
    if (owed != 0)
        remote_outbox_put(&c->out, 0,
                          &(struct remote_record){ .op = REMOTE_PARTS_TAKEN, .count = owed });
    remote_outbox_flush(&c->out);
}

/* ---- publishing -------------------------------------------------------------------------------
 */

static uint64_t key_of(const struct port_channel_ref *from)
{
    return from->connection != 0 ? remote_channel_key(from) : LETTERS_KEY;
}

/* Of what is being published. */
static uint64_t key_of_publish(const struct remote_client *c)
{
    return UNLIKELY(c->origin.pid != 0) ? LANE_KEY : key_of(&c->from);
}

static void charge(struct remote_client *c, uint64_t connection, uint64_t octets, uint64_t copies)
{
    struct remote_ring *ring = &c->charges;
    struct remote_charge *last = ring->count != 0 ? remote_ring_at(ring, ring->count - 1) : NULL;
    if (connection == 0)
        c->letter_bytes += octets * copies;
    if (last != NULL && last->connection == connection && last->octets == octets) {
        last->copies += copies;
        return;
    }
    struct remote_charge *new = remote_ring_add(ring);
    *new = (struct remote_charge){ connection, octets, copies };
}

/* Its mark. Mostly it leaves at once, and then nothing is kept but its place in the ring. */
static uint64_t await(struct remote_client *c)
{
    struct remote_awaited a = { c->from, c->number, c->qid_count };
    if (c->number == 0)
        return 0;
    bool at_once = !remote_outbox_holds_any(&c->out) && !remote_outbox_is_large(c->message);
    if (LIKELY(at_once) || MUTATION(REMOTE_NUMBER_BEFORE_LEFT)) {
        *(struct remote_awaited *)remote_ring_add(&c->awaited) = a;
        return 0;
    }
    struct remote_unsent *u = mem_alloc(sizeof *u);
    *u = (struct remote_unsent){ ++c->last_mark, a };
    idmap_put(&c->unsent, u->mark, u);
    return u->mark;
}

/* To a queue that hands out to this side. One that goes to several of them may be handed out more
 * than once at a time; one that waits in the outbox would be counted out of its order. */
static bool may_come_back(struct remote_client *c)
{
    if (LIKELY(c->consumed.count == 0) || c->qid_count != 1 ||
        (remote_outbox_holds(&c->out, key_of_publish(c)) && !MUTATION(REMOTE_KEPT_OUT_OF_ORDER)))
        return false;
    struct wire w = wire_over(slice_of(c->qids, sizeof(uint64_t)));
    return idmap_get(&c->consumed, wire_u64(&w)) != NULL && remote_kept_wants(&c->kept, c->message);
}

void remote_client_published(struct remote_client *c)
{
    if (c->message == NULL)
        return;
    c->said++;
    charge(c, c->payer, message_cost_bytes(c->message), c->qid_count);
    c->published += c->qid_count;
    uint64_t mark = await(c);
    bool is_kept = may_come_back(c);
    if (is_kept)
        remote_kept_add(&c->kept, c->message, c->published);
    remote_outbox_put(
        &c->out, key_of_publish(c),
        &(struct remote_record){
            .op = c->origin.pid != 0 ? REMOTE_PUBLISH_OF : REMOTE_PUBLISH,
            .mark = mark,
            .flags = (uint8_t)((c->number != 0 ? REMOTE_AWAITED : 0) | (is_kept ? REMOTE_KEPT : 0)),
            .tag = c->origin.pid,
            .number = c->origin.seq,
            .list = slice_of(c->qids, c->list_count * sizeof(uint64_t)),
            .message = c->message });
    c->qid_count = c->list_count = 0;
    drop_message(c, &c->message);
}

static bool is_same(const struct port_channel_ref *a, const struct port_channel_ref *b)
{
    return a->connection == b->connection && a->incarnation == b->incarnation &&
           a->number == b->number;
}

/* Can it not be said with what is being published? */
static bool begins_anew(const struct remote_client *c, const struct message *m,
                        const struct port_channel_ref *from, const struct port_origin *origin)
{
    return c->message != NULL &&
           (c->message != m || c->list_count + 2 > REMOTE_QIDS_MAX || !is_same(&c->from, from) ||
            c->origin.pid != origin->pid || c->origin.seq != origin->seq);
}

static void add_number(struct remote_client *c, uint64_t number)
{
    struct wire_out w = wire_out_over(c->qids + c->list_count * sizeof number, sizeof number);
    wire_put_u64(&w, number);
    c->list_count++;
}

void remote_client_publish_from(struct remote_client *c, uint64_t qid, struct message **m,
                                const struct port_channel_ref *from, uint64_t number,
                                const struct port_origin *origin, uint64_t payer)
{
    if (begins_anew(c, *m, from, origin))
        remote_client_published(c);
    add_number(c, qid);
    if (origin->pid != 0)
        add_number(c, origin->epoch);
    c->qid_count++;
    c->number = number;
    c->from = *from;
    c->origin = *origin;
    c->payer = origin->pid != 0 && payer == 0 ? REMOTE_PAID : payer;
    if (c->message == NULL) {
        c->message = *m;
        *m = NULL;
        c->out.pipe.soon(c->out.pipe.arg);
    } else {
        drop_message(c, m);
    }
}

void remote_client_publish(struct remote_client *c, uint64_t qid, struct message **m,
                           const struct port_channel_ref *from, uint64_t number)
{
    static const struct port_origin none = { 0 };
    remote_client_publish_from(c, qid, m, from, number, &none, from->connection);
}

void remote_client_reply(struct remote_client *c, const struct reply_address *to, struct message *m,
                         const struct port_channel_ref *from)
{
    c->said++;
    charge(c, from->connection, message_cost_bytes(m), 1);
    struct remote_record r = { .op = REMOTE_REPLY, .channel = to->channel, .message = m };
    memcpy(r.secret, to->secret, sizeof r.secret);
    remote_outbox_put(&c->out, key_of(from), &r);
}

bool remote_client_has_many_letters(const struct remote_client *c)
{
    return c->letter_bytes > LETTERS_MANY_BYTES;
}

/* ---- what becomes of it -----------------------------------------------------------------------
 */

static void on_taken(struct remote_client *c, uint64_t taken)
{
    uint64_t left = taken - c->taken;
    c->taken = taken;
    remote_kept_taken(&c->kept, taken, c->out.pipe.drop, c->out.pipe.arg);
    while (left != 0 && c->charges.count != 0) {
        struct remote_charge *first = remote_ring_at(&c->charges, 0);
        uint64_t n = left < first->copies ? left : first->copies;
        uint64_t connection = first->connection;
        uint64_t octets = n * first->octets;
        left -= n;
        first->copies -= n;
        if (first->copies == 0)
            remote_ring_drop_first(&c->charges);
        if (connection == 0)
            c->letter_bytes -= octets;
        if (connection != REMOTE_PAID)
            c->ops->taken(c->arg, connection, octets);
    }
}

void remote_client_tell(struct remote_client *c, struct remote_told *t)
{
    if (t->count != 0)
        c->ops->published(c->arg, &t->from, t->first, t->count, t->copies, t->ok);
    t->count = 0;
}

void remote_client_add_told(struct remote_client *c, struct remote_told *t,
                            const struct remote_awaited *a)
{
    if (t->count != 0 && (t->first + t->count != a->number || t->copies != a->copies ||
                          !is_same(&t->from, &a->from)))
        remote_client_tell(c, t);
    if (t->count == 0) {
        t->from = a->from;
        t->first = a->number;
        t->copies = a->copies;
    }
    t->count++;
}

static void answer_one(struct remote_client *c, struct remote_told *t, uint64_t number)
{
    struct remote_awaited *a = remote_ring_at(&c->awaited, (size_t)(number - c->awaited_base));
    if (a->copies != 0)
        remote_client_add_told(c, t, a);
    if (!MUTATION(REMOTE_CONFIRM_AGAIN))
        a->copies = 0;
}

/* Those that were answered before are passed over. */
static void answer_awaited(struct remote_client *c, struct remote_told *t, uint64_t first,
                           uint64_t last)
{
    uint64_t end = c->awaited_base + c->awaited.count;
    if (first < c->awaited_base)
        first = c->awaited_base;
    for (uint64_t n = first; n <= last && n < end; n++)
        answer_one(c, t, n);
    const struct remote_awaited *a;
    while (c->awaited.count != 0 && (a = remote_ring_at(&c->awaited, 0))->copies == 0) {
        remote_ring_drop_first(&c->awaited);
        c->awaited_base++;
    }
}

static void on_confirm(struct remote_client *c, const struct remote_record *r)
{
    struct remote_told t = { .ok = r->op == REMOTE_CONFIRM };
    if (t.ok && r->number != 0)
        answer_awaited(c, &t, 0, r->number);
    struct slice list = r->list;
    struct remote_run run;
    while (remote_next_range(&list, &run.first, &run.count))
        answer_awaited(c, &t, run.first, run.first + run.count - 1);
    remote_client_tell(c, &t);
}

static void on_publish_moved(struct remote_client *c, const struct remote_record *r)
{
    if (r->number < c->awaited_base || r->number - c->awaited_base >= c->awaited.count)
        return;
    const struct remote_awaited *a =
        remote_ring_at(&c->awaited, (size_t)(r->number - c->awaited_base));
    struct port_channel_ref from = a->from;
    if (a->copies != 0)
        c->ops->publish_moved(c->arg, &from, a->number, r->qid);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static struct remote_asked *add_asked(struct remote_client *c, const struct port_channel_ref *from)
{
    struct remote_asked *a = mem_zalloc(sizeof *a);
    do
        c->last_token++;
    while (c->last_token == 0 || idmap_get(&c->asks, c->last_token) != NULL);
    a->token = c->last_token;
    a->from = *from;
    a->said = remote_outbox_holds_any(&c->out) ? 0 : c->said; /* others may be held up */
    idmap_put(&c->asks, a->token, a);
    return a;
}

static struct remote_asked *take_asked(struct remote_client *c, uint32_t token)
{
    return idmap_take(&c->asks, token);
}

static void add_consumer(struct remote_client *c, const struct port_request *r)
{
    struct remote_subscriber *s = mem_alloc(sizeof *s);
    *s = (struct remote_subscriber){ r->consumer, r->qid, r->from };
    idmap_put(&c->consumers, s->id, s);
    struct remote_consumed *q = idmap_get(&c->consumed, s->qid);
    if (q == NULL) {
        q = mem_zalloc(sizeof *q);
        q->qid = s->qid;
        idmap_put(&c->consumed, q->qid, q);
    }
    q->consumers++;
}

static void forget_consumer(struct remote_client *c, uint64_t id)
{
    struct remote_subscriber *s = idmap_take(&c->consumers, id);
    struct remote_consumed *q = s != NULL ? idmap_get(&c->consumed, s->qid) : NULL;
    if (q != NULL && --q->consumers == 0)
        mem_free(idmap_take(&c->consumed, s->qid));
    mem_free(s);
}

static uint8_t flags_of(const struct port_request *r)
{
    return (uint8_t)((r->no_ack ? REMOTE_NO_ACK : 0) | (r->exclusive ? REMOTE_EXCLUSIVE : 0) |
                     (r->if_unused ? REMOTE_IF_UNUSED : 0) | (r->durable ? REMOTE_DURABLE : 0) |
                     (r->if_empty ? REMOTE_IF_EMPTY : 0));
}

/* A request stays behind what its channel has published, to mirrored queues too. */
static uint64_t key_of_ask(const struct remote_client *c, const struct port_channel_ref *from)
{
    uint64_t own = key_of(from);
    return remote_outbox_holds(&c->out, LANE_KEY) && !remote_outbox_holds(&c->out, own) ? LANE_KEY
                                                                                        : own;
}

void remote_client_ask(struct remote_client *c, struct port_request **request)
{
    struct port_request *r = *request;
    *request = NULL;
    remote_client_published(c);
    if (!MUTATION(REMOTE_ASK_OVERTAKES))
        say_gathered(c); /* what the channel said before arrives before */
    struct remote_asked *a = add_asked(c, &r->from);
    a->request = r;
    if (r->op == PORT_CONSUME)
        add_consumer(c, r);
    struct remote_record ask = { .op = REMOTE_ASK,
                                 .flags = flags_of(r),
                                 .kind = (uint8_t)r->op,
                                 .token = a->token,
                                 .qid = r->qid,
                                 .consumer = r->consumer,
                                 .count = r->prefetch,
                                 .signed_number = (uint64_t)r->priority,
                                 .channel = r->from };
    if (UNLIKELY(r->claim_count != 0))
        remote_held_ask(&c->out, key_of_ask(c, &r->from), &ask, r);
    else
        remote_outbox_put(&c->out, key_of_ask(c, &r->from), &ask);
}

static void fill_answer(struct port_request *r, struct remote_record *from)
{
    r->verdict = (enum port_verdict)from->verdict;
    r->messages = from->number;
    r->consumers = from->count;
    r->consumer_timeout_ms = (int64_t)from->signed_number;
    r->is_unused = (from->flags & REMOTE_UNUSED) != 0;
    r->redelivered = (from->flags & REMOTE_REDELIVERED) != 0;
    r->qseq = from->tag;
}

/* A consumer that could not be, or is no longer. */
static void mind_consumer(struct remote_client *c, const struct port_request *r)
{
    if ((r->op == PORT_CONSUME && r->verdict != PORT_OK) || r->op == PORT_CANCEL)
        forget_consumer(c, r->consumer);
}

static bool on_answer(struct remote_client *c, struct remote_record *from)
{
    struct remote_asked *a = take_asked(c, from->token);
    struct port_request *r = a != NULL ? a->request : NULL;
    if (r == NULL)
        return false;
    if (r->op == PORT_FENCE && a->said > c->done)
        c->done = a->said;
    mem_free(a);
    fill_answer(r, from);
    if (from->op == REMOTE_ANSWER_HELD)
        remote_held_answered(r, from);
    if (from->has_content && r->op == PORT_GET) {
        r->message = remote_message(from);
        CHECK(r->message != NULL);
        c->ops->count(c->arg, (int64_t)message_cost_bytes(r->message));
    }
    mind_consumer(c, r);
    c->ops->answer(c->arg, r);
    return true;
}

void remote_client_reply_ask(struct remote_client *c, const struct reply_address *to,
                             const struct port_channel_ref *from)
{
    struct remote_asked *a = add_asked(c, from);
    struct remote_record r = { .op = REMOTE_REPLY_ASK, .token = a->token, .channel = to->channel };
    memcpy(r.secret, to->secret, sizeof r.secret);
    remote_outbox_put(&c->out, key_of(from), &r);
}

static bool on_reply_known(struct remote_client *c, const struct remote_record *r)
{
    struct remote_asked *a = take_asked(c, r->token);
    if (a == NULL || a->request != NULL)
        return false;
    struct port_channel_ref from = a->from;
    mem_free(a);
    c->ops->reply_known(c->arg, &from, (r->flags & REMOTE_YES) != 0);
    return true;
}

bool remote_client_is_done(const struct remote_client *c)
{
    return c->said == c->done && c->message == NULL;
}

/* ---- consumers --------------------------------------------------------------------------------
 */

void remote_client_wake(struct remote_client *c, uint64_t consumer, uint32_t credit)
{
    say_gathered(c);
    remote_outbox_put(
        &c->out, 0,
        &(struct remote_record){ .op = REMOTE_WAKE, .consumer = consumer, .count = credit });
}

void remote_client_abandon(struct remote_client *c, uint64_t qid, uint64_t consumer)
{
    say_gathered(c);
    c->said++;
    forget_consumer(c, consumer);
    remote_outbox_put(
        &c->out, 0,
        &(struct remote_record){ .op = REMOTE_ABANDON, .qid = qid, .consumer = consumer });
}

/* False: it goes back. */
static bool offer(struct remote_client *c, const struct remote_subscriber *s,
                  const struct remote_record *r, struct message *m)
{
    bool taken = s != NULL && m != NULL &&
                 c->ops->offer(c->arg, &s->channel, r->consumer,
                               &(struct port_handed){ r->tag, r->signed_number, 0 }, m,
                               (r->flags & REMOTE_REDELIVERED) != 0);
    if (taken || !MUTATION(REMOTE_SENT_BACK_NOT_SAID))
        gather(c, taken ? &c->took : &c->sent_back, r->tag);
    return taken;
}

static void on_delivery(struct remote_client *c, struct remote_record *r)
{
    const struct remote_subscriber *s = idmap_get(&c->consumers, r->consumer);
    struct message *m = s != NULL ? remote_message(r) : NULL;
    if (LIKELY(m != NULL))
        c->ops->count(c->arg, (int64_t)message_cost_bytes(m));
    (void)offer(c, s, r, m);
    if (LIKELY(m != NULL))
        drop_message(c, &m);
}

/* One of our own has come back. False: there is none of that name. */
static bool on_delivery_of_kept(struct remote_client *c, const struct remote_record *r)
{
    struct message *m = remote_kept_find(&c->kept, r->number);
    if (m == NULL)
        return false;
    if (offer(c, idmap_get(&c->consumers, r->consumer), r, m))
        remote_kept_drop_found(&c->kept, c->out.pipe.drop, c->out.pipe.arg);
    return true;
}

typedef void (*consumer_fn)(void *arg, const struct port_channel_ref *to, uint64_t consumer);

static void tell_consumer(struct remote_client *c, uint64_t consumer, consumer_fn fn)
{
    const struct remote_subscriber *s = idmap_get(&c->consumers, consumer);
    if (s == NULL)
        return;
    struct port_channel_ref to = s->channel;
    fn(c->arg, &to, consumer);
}

/* It has none over there any more. */
static void end_consumer(struct remote_client *c, uint64_t consumer, consumer_fn fn)
{
    const struct remote_subscriber *s = idmap_get(&c->consumers, consumer);
    if (s == NULL)
        return;
    struct port_channel_ref to = s->channel;
    forget_consumer(c, consumer);
    fn(c->arg, &to, consumer);
}

/* The other node ends when it has read this: what is gathered goes before it. */
static void on_leaving(struct remote_client *c)
{
    say_gathered(c);
    remote_outbox_put(&c->out, 0, &(struct remote_record){ .op = REMOTE_LEFT });
    c->out.pipe.soon(c->out.pipe.arg);
}

/* ---- frames -----------------------------------------------------------------------------------
 */

static bool on_record(struct remote_client *c, struct remote_record *r)
{
    switch ((unsigned)r->op) {
    case REMOTE_DELIVER:
        if (!r->has_content)
            return false;
        on_delivery(c, r);
        return true;
    case REMOTE_DELIVER_KEPT:
        return on_delivery_of_kept(c, r);
    case REMOTE_TAKEN:
        on_taken(c, r->number);
        return true;
    case REMOTE_CONFIRM:
    case REMOTE_NACK:
        on_confirm(c, r);
        return true;
    case REMOTE_ANSWER:
    case REMOTE_ANSWER_HELD:
        return on_answer(c, r);
    case REMOTE_RESUMED:
        tell_consumer(c, r->consumer, c->ops->resumed);
        return true;
    case REMOTE_SERVED:
        tell_consumer(c, r->consumer, c->ops->served);
        return true;
    case REMOTE_CANCELLED:
        end_consumer(c, r->consumer, c->ops->cancelled);
        return true;
    case REMOTE_CONSUMER_MOVED:
        end_consumer(c, r->consumer, c->ops->consumer_moved);
        return true;
    case REMOTE_MOVED:
        on_publish_moved(c, r);
        return true;
    case REMOTE_LEAVING:
        on_leaving(c);
        return true;
    case REMOTE_REPLY_KNOWN:
        return on_reply_known(c, r);
    case REMOTE_PARTS_TAKEN:
        remote_outbox_on_parts_taken(&c->out, r->count);
        return true;
    default:
        return false; /* for who answers */
    }
}

bool remote_client_take(struct remote_client *c, struct slice frame)
{
    struct wire w = wire_over(frame);
    struct remote_record r;
    enum remote_next next;
    while ((next = remote_inbox_next(&c->in, &w, &r)) == REMOTE_RECORD) {
        bool ok = on_record(c, &r);
        if (r.assembled != NULL)
            (void)message_unref(&r.assembled); /* was not counted */
        if (!ok)
            return false;
    }
    if (c->in.parts_taken != 0)
        c->out.pipe.soon(c->out.pipe.arg);
    return next == REMOTE_END;
}
