#include "remote/remote_server_inner.h"

#include "base/mutation.h"
#include "remote/remote_held.h"

#define PROMISED_FIRST 64u

struct remote_server *remote_server_new(const struct remote_server_ops *ops, void *arg,
                                        const struct remote_pipe *pipe, uint64_t id)
{
    CHECK(id != 0);
    struct remote_server *s = mem_zalloc(sizeof *s);
    s->id = id;
    s->ops = ops;
    s->arg = arg;
    remote_outbox_init(&s->out, pipe);
    remote_inbox_init(&s->in, ops->count, arg);
    remote_late_init(&s->late, ops->count, arg);
    confirm_init(&s->confirm);
    unacked_init(&s->unacked);
    remote_ring_init(&s->under_way, sizeof(struct remote_under_way));
    s->under_way_base = s->unacked.next;
    idmap_init(&s->consumers);
    TAILQ_INIT(&s->turned_away);
    idmap_init(&s->promised);
    s->promised_next = PROMISED_FIRST;
    return s;
}

static void free_all(struct idmap *m)
{
    size_t at = 0;
    for (void *value; (value = idmap_next(m, &at)) != NULL;)
        mem_free(value);
    idmap_fini(m);
}

void remote_server_free(struct remote_server **server)
{
    struct remote_server *s = *server;
    *server = NULL;
    if (s == NULL)
        return;
    remote_outbox_reset(&s->out);
    remote_drop_late(s);
    remote_inbox_reset(&s->in);
    confirm_fini(&s->confirm);
    unacked_fini(&s->unacked);
    remote_forget_under_way(s);
    free_all(&s->consumers);
    free_all(&s->promised);
    mem_free(s);
}

static void soon(struct remote_server *s)
{
    s->out.pipe.soon(s->out.pipe.arg);
}

/* ---- queues that were promised to go ----------------------------------------------------------
 *
 * A queue that may be deleted is gone for everybody as soon as it has said so, and whoever asked
 * then has the metadata delete it. Should the other side die in between, we do. Once the metadata
 * knows, there is nothing left to remember; that is looked for when there are twice as many. */

static void forget_those_gone(struct remote_server *s)
{
    struct idmap all = s->promised;
    idmap_init(&s->promised);
    size_t at = 0;
    for (uint64_t *qid; (qid = idmap_next(&all, &at)) != NULL;) {
        uint32_t where;
        if (s->ops->find(s->arg, *qid, &where))
            idmap_put(&s->promised, *qid, qid);
        else
            mem_free(qid);
    }
    idmap_fini(&all);
    s->promised_next = s->promised.count < PROMISED_FIRST ? PROMISED_FIRST : s->promised.count;
    s->promised_next *= 2;
}

static void promise(struct remote_server *s, uint64_t qid)
{
    if (idmap_get(&s->promised, qid) != NULL)
        return;
    if (s->promised.count >= s->promised_next)
        forget_those_gone(s);
    idmap_put(&s->promised, qid, mem_dup(&qid, sizeof qid));
}

static void keep_promises(struct remote_server *s)
{
    for (uint64_t *qid; (qid = idmap_first(&s->promised)) != NULL; mem_free(qid)) {
        idmap_take(&s->promised, *qid);
        uint32_t where;
        if (s->ops->find(s->arg, *qid, &where) && !MUTATION(REMOTE_PROMISE_FORGOTTEN))
            s->ops->delete_queue(s->arg, *qid);
    }
    idmap_fini(&s->promised);
}

/* ---- publishing -------------------------------------------------------------------------------
 */

struct shares {
    uint32_t away, refused, now;
    uint32_t awaited; /* of those that are there now */
};

static void say_moved(struct remote_server *s, uint64_t number, uint64_t qid)
{
    remote_say(s, 0, &(struct remote_record){ .op = REMOTE_MOVED, .number = number, .qid = qid });
}

static void publish_to(struct remote_server *s, const struct remote_record *r, struct message **m,
                       uint64_t number, struct shares *out)
{
    struct port_origin origin = { 0 };
    struct slice list = r->list;
    uint64_t qid;
    if (r->op == REMOTE_PUBLISH_OF)
        origin = (struct port_origin){ .pid = r->tag, .seq = r->number };
    while (remote_next_qid(&list, &qid)) {
        if (origin.pid != 0 && !remote_next_qid(&list, &origin.epoch))
            break; /* is_whole_list */
        struct message *one = list.len != 0 ? message_ref(*m) : *m;
        if (list.len == 0)
            *m = NULL;
        switch (s->ops->publish(s->arg, qid, &one, number, &origin)) {
        case PORT_LATER:
            out->away++;
            break;
        case PORT_REFUSED:
            out->refused++;
            break;
        case PORT_MOVED:
            say_moved(s, number, qid);
            out->now++;
            break;
        case PORT_AWAITED:
            out->awaited++;
            out->now++;
            break;
        case PORT_TAKEN:
            out->now++;
            break;
        }
    }
}

/* Whoever publishes with numbers waits for each. */
static bool is_whole(const struct remote_record *r)
{
    if (!r->has_content || r->list.len == 0)
        return false;
    return r->op == REMOTE_PUBLISH || (r->list.len % (2 * sizeof(uint64_t)) == 0 && r->tag != 0 &&
                                       (r->flags & REMOTE_AWAITED) != 0);
}

static struct message *message_of(struct remote_server *s, struct remote_record *r)
{
    if ((r->flags & REMOTE_KEPT) == 0)
        return remote_message(r);
    size_t one = (r->op == REMOTE_PUBLISH_OF ? 2 : 1) * sizeof(uint64_t);
    if (r->assembled != NULL || r->list.len != one)
        return NULL; /* such are not kept */
    s->kept_read += r->content.names.len + r->content.props.len + r->content.body.len;
    return remote_message_kept(r, s->id, s->kept_read);
}

bool remote_on_publish(struct remote_server *s, struct remote_record *r)
{
    struct message *m = is_whole(r) ? message_of(s, r) : NULL;
    if (m == NULL)
        return false;
    s->ops->made(s->arg, m);
    bool awaited = (r->flags & REMOTE_AWAITED) != 0;
    uint64_t number = awaited ? s->confirm.next : 0;
    struct shares n = { 0 };
    publish_to(s, r, &m, number, &n);
    bool waits = s->ops->published(s->arg, number);
    s->taken += n.refused + n.now + (MUTATION(REMOTE_TAKEN_EARLY) ? n.away : 0);
    if (awaited)
        confirm_begin(&s->confirm, n.away + n.refused + n.awaited + waits);
    if (awaited && waits && MUTATION(REMOTE_CONFIRM_EARLY))
        confirm_answer(&s->confirm, number, true);
    for (; awaited && n.refused != 0; n.refused--)
        confirm_answer(&s->confirm, number, MUTATION(REMOTE_REFUSAL_CONFIRMED));
    soon(s);
    return true;
}

void remote_server_on_published(struct remote_server *s, uint64_t number, bool ok)
{
    if (s->is_lost)
        return;
    confirm_answer(&s->confirm, number, ok);
    soon(s);
}

void remote_server_on_publish_moved(struct remote_server *s, uint64_t number, uint64_t qid)
{
    if (s->is_lost)
        return;
    say_moved(s, number, qid);
    confirm_answer(&s->confirm, number, true); /* the others have taken it, or say otherwise */
    soon(s);
}

void remote_server_on_durable(struct remote_server *s, uint64_t first, uint32_t count)
{
    if (s->is_lost)
        return;
    for (uint32_t i = 0; i < count; i++)
        confirm_answer(&s->confirm, first + i, true);
    soon(s);
}

void remote_server_on_taken(struct remote_server *s, uint64_t copies)
{
    s->taken += copies;
    if (!s->is_lost)
        soon(s);
}

/* Confirms as they are being said: ranges of single ones, and how far all are. */
struct saying {
    struct remote_server *server;
    bool ok;
    uint64_t upto;
    uint64_t run_first;
    uint32_t run_count;
    struct wire_out w;
    uint8_t room[256 * REMOTE_RANGE_BYTES];
};

static void say_confirms(struct saying *y)
{
    if (y->upto == 0 && wire_out_len(&y->w) == 0)
        return;
    remote_say(y->server, 0,
               &(struct remote_record){ .op = y->ok ? REMOTE_CONFIRM : REMOTE_NACK,
                                        .number = y->upto,
                                        .list = wire_out_slice(&y->w) });
    y->upto = 0;
    y->w = wire_out_over(y->room, sizeof y->room);
}

static void end_run(struct saying *y)
{
    if (y->run_count == 0)
        return;
    wire_put_u64(&y->w, y->run_first);
    wire_put_u32(&y->w, y->run_count);
    y->run_count = 0;
    if (y->w.at == y->w.end)
        say_confirms(y);
}

static void add_confirm(uint64_t number, bool multiple, bool ok, void *arg)
{
    struct saying *y = arg;
    if (ok != y->ok) {
        end_run(y);
        say_confirms(y);
        y->ok = ok;
    }
    if (multiple) {
        y->upto = number;
    } else if (y->run_count != 0 && y->run_first + y->run_count == number) {
        y->run_count++;
    } else {
        end_run(y);
        y->run_first = number;
        y->run_count = 1;
    }
}

static void say_published(struct remote_server *s)
{
    if (s->taken != s->told_taken && !s->ops->is_short(s->arg)) {
        remote_say(s, 0, &(struct remote_record){ .op = REMOTE_TAKEN, .number = s->taken });
        s->told_taken = s->taken;
    }
    if (!confirm_is_due(&s->confirm))
        return;
    struct saying y = { .server = s, .ok = true };
    y.w = wire_out_over(y.room, sizeof y.room);
    confirm_tell(&s->confirm, add_confirm, &y);
    end_run(&y);
    say_confirms(&y);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static bool is_request(const struct remote_record *r)
{
    return r->kind <= PORT_FENCE;
}

static void add_consumer(struct remote_server *s, const struct port_request *r,
                         const struct port_channel_ref *channel)
{
    struct remote_subscription *c = mem_alloc(sizeof *c);
    *c = (struct remote_subscription){ .id = r->consumer,
                                       .qid = r->qid,
                                       .where = r->where,
                                       .channel = remote_channel_key(channel),
                                       .credit = PORT_ANY };
    idmap_put(&s->consumers, c->id, c);
}

static void refuse_request(struct remote_server *s, const struct remote_record *r)
{
    remote_say(s, remote_channel_key(&r->channel),
               &(struct remote_record){ .op = REMOTE_ANSWER,
                                        .token = r->token,
                                        .verdict = s->ops->is_elsewhere(s->arg, r->qid)
                                                       ? PORT_ELSEWHERE
                                                       : PORT_NO_QUEUE });
}

bool remote_on_ask(struct remote_server *s, const struct remote_record *r)
{
    uint32_t where = 0;
    uint32_t claims;
    if (!is_request(r) || !remote_held_count(r, &claims))
        return false;
    enum port_op op = (enum port_op)r->kind;
    if (op == PORT_CONSUME && idmap_get(&s->consumers, r->consumer) != NULL)
        return false;
    if (op != PORT_FENCE && !s->ops->find(s->arg, r->qid, &where)) {
        refuse_request(s, r);
        return true;
    }
    struct remote_request *q = mem_zalloc(sizeof *q + claims * sizeof(uint64_t));
    *q = (struct remote_request){ .request = { .op = op,
                                               .qid = r->qid,
                                               .where = where,
                                               .consumer = r->consumer,
                                               .client = r->channel,
                                               .prefetch = r->count,
                                               .priority = (int64_t)r->signed_number,
                                               .no_ack = (r->flags & REMOTE_NO_ACK) != 0,
                                               .exclusive = (r->flags & REMOTE_EXCLUSIVE) != 0,
                                               .if_unused = (r->flags & REMOTE_IF_UNUSED) != 0,
                                               .durable = (r->flags & REMOTE_DURABLE) != 0,
                                               .if_empty = (r->flags & REMOTE_IF_EMPTY) != 0 },
                                  .token = r->token,
                                  .channel = r->channel };
    q->request.claim_count = claims;
    q->request.claims = (uint64_t *)(void *)(q + 1);
    remote_held_take(r->list, q->request.claims, claims);
    if (op == PORT_CONSUME)
        add_consumer(s, &q->request, &r->channel);
    s->ops->ask(s->arg, q);
    return true;
}

/* The tag of what a get has brought; it is taken as soon as it is said. */
static uint64_t tag_of_got(struct remote_server *s, const struct port_request *r)
{
    return r->message == NULL || r->no_ack
               ? 0
               : remote_add_under_way(
                     s,
                     &(struct remote_delivery){
                         .qid = r->qid, .qseq = r->qseq, .where = r->where, .known = r->known },
                     true);
}

/* They are out with the session from now on, as if they had been handed to it here. The first one's
 * tag: those that are not its have one, too. */
static uint64_t tags_of_claims(struct remote_server *s, const struct port_request *r)
{
    uint64_t first = s->unacked.next;
    for (uint32_t i = 0; i < r->claim_count && r->verdict == PORT_OK; i++)
        (void)remote_add_under_way(
            s,
            &(struct remote_delivery){ .qid = r->qid,
                                       .qseq = r->claims[i],
                                       .consumer = r->consumer,
                                       .where = r->where,
                                       .known = r->known,
                                       .auto_ack = r->claims[i] == PORT_NO_POSITION },
            true);
    return first;
}

static void mind_consumer(struct remote_server *s, const struct port_request *r)
{
    if ((r->op == PORT_CONSUME && r->verdict != PORT_OK) || r->op == PORT_CANCEL)
        remote_forget_consumer(s, r->consumer);
}

void remote_server_on_answer(struct remote_server *s, struct remote_request *q)
{
    struct port_request *r = &q->request;
    CHECK(!s->is_lost);
    if (r->verdict == PORT_OK && (r->op == PORT_DELETE || (r->op == PORT_CANCEL && r->is_unused)))
        promise(s, r->qid);
    mind_consumer(s, r);
    struct remote_record answer = { .op = REMOTE_ANSWER,
                                    .flags = (uint8_t)((r->redelivered ? REMOTE_REDELIVERED : 0) |
                                                       (r->is_unused ? REMOTE_UNUSED : 0)),
                                    .verdict = (uint8_t)r->verdict,
                                    .token = q->token,
                                    .count = r->consumers,
                                    .number = r->messages,
                                    .signed_number = (uint64_t)r->consumer_timeout_ms,
                                    .message = r->message };
    if (UNLIKELY(r->claim_count != 0)) {
        answer.tag = tags_of_claims(s, r);
        remote_held_answer(&s->out, remote_channel_key(&q->channel), &answer, r);
    } else {
        answer.tag = tag_of_got(s, r);
        remote_say(s, remote_channel_key(&q->channel), &answer);
    }
    if (r->message != NULL)
        s->out.pipe.drop(s->out.pipe.arg, &r->message);
}

/* ---- direct reply-to --------------------------------------------------------------------------
 */

static struct reply_address address_of(const struct remote_record *r)
{
    struct reply_address a = { .channel = r->channel };
    memcpy(a.secret, r->secret, sizeof a.secret);
    return a;
}

bool remote_on_reply(struct remote_server *s, struct remote_record *r)
{
    struct message *m = r->has_content ? remote_message(r) : NULL;
    if (m == NULL)
        return false;
    s->ops->made(s->arg, m);
    struct reply_address to = address_of(r);
    if (s->ops->reply(s->arg, &to, m))
        remote_server_on_taken(s, 1);
    s->out.pipe.drop(s->out.pipe.arg, &m);
    return true;
}

void remote_on_reply_ask(struct remote_server *s, const struct remote_record *r)
{
    struct reply_address to = address_of(r);
    s->ops->reply_ask(s->arg, &to, r->token);
}

void remote_server_on_reply_known(struct remote_server *s, uint32_t token, bool known)
{
    remote_say(s, 0,
               &(struct remote_record){
                   .op = REMOTE_REPLY_KNOWN, .flags = known ? REMOTE_YES : 0, .token = token });
}

/* ---- this node ends ---------------------------------------------------------------------------
 */

/* Another node masters its queue, and its consumer has not been told yet. */
static bool is_moving(const struct remote_server *s, const struct remote_subscription *c)
{
    uint32_t where;
    return !s->ops->find(s->arg, c->qid, &where) && s->ops->is_elsewhere(s->arg, c->qid);
}

static bool moves_any(const struct remote_server *s)
{
    size_t at = 0;
    for (const struct remote_subscription *c; (c = idmap_next(&s->consumers, &at)) != NULL;)
        if (is_moving(s, c))
            return true;
    return false;
}

bool remote_server_leave(struct remote_server *s)
{
    if (s->is_lost || s->has_left)
        return true;
    if (!s->is_leaving && !moves_any(s) && !remote_outbox_holds_any(&s->out)) {
        s->is_leaving = true;
        remote_say(s, 0, &(struct remote_record){ .op = REMOTE_LEAVING });
        soon(s);
    }
    return false;
}

bool remote_on_left(struct remote_server *s)
{
    s->has_left = s->is_leaving;
    return s->has_left;
}

/* ---- the turn's end ---------------------------------------------------------------------------
 */

void remote_server_go_on(struct remote_server *s)
{
    if (!s->is_lost && s->taken != s->told_taken)
        soon(s);
}

void remote_server_flush(struct remote_server *s)
{
    if (s->is_lost)
        return;
    say_published(s);
    uint32_t owed = remote_inbox_owes(&s->in);
    if (owed != 0)
        remote_say(s, 0, &(struct remote_record){ .op = REMOTE_PARTS_TAKEN, .count = owed });
    remote_outbox_flush(&s->out);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

void remote_server_lost(struct remote_server *s)
{
    if (s->is_lost)
        return;
    s->is_lost = true;
    remote_outbox_reset(&s->out);
    remote_drop_late(s);
    remote_inbox_reset(&s->in);
    confirm_fini(&s->confirm);
    remote_abandon_all(s);
    remote_return_all(s);
    if (!MUTATION(REMOTE_UNACKED_STAYS))
        s->ops->give_back(s->arg, &s->unacked);
    unacked_fini(&s->unacked);
    keep_promises(s);
    s->ops->settled(s->arg);
}
