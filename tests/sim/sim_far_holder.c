/* Queues and the shard that sessions are on, as far as the other node's channels use them: what
 * port.c, port_consumer.c and model/queue.c do, with the mail between two shards in the open. */
#include "base/check.h"
#include "base/mem.h"
#include "sim_far_world.h"

#include <inttypes.h>

#define HERE         0u /* the queue of the sessions' own shard */
#define WINDOW       64u
#define WINDOW_BYTES ((uint64_t)4 * 1024 * 1024)

static struct far_session *of(void *arg)
{
    return arg;
}

static struct far_session *alive(const struct far_world *w, unsigned session)
{
    struct far_session *s = w->sessions[session];
    return s->is_lost ? NULL : s;
}

static struct far_mail *post(struct far_mails *to, const struct far_mail *m)
{
    struct far_mail *copy = mem_dup(m, sizeof *m);
    STAILQ_INSERT_TAIL(to, copy, entry);
    return copy;
}

/* That there is, and that has not said that it goes. */
static struct far_queue *find(struct far_world *w, uint64_t qid)
{
    unsigned q = far_place(w, qid);
    bool is_known = q < FAR_QUEUES && qid <= w->known && w->queues[q].is_there;
    return is_known && !w->queues[q].is_deleting ? &w->queues[q] : NULL;
}

static unsigned place(const struct far_world *w, const struct far_queue *q)
{
    return (unsigned)(q - w->queues);
}

static struct far_copy *copy_at(struct far_world *w, struct far_queue *q, uint64_t qseq)
{
    CHECK(qseq != 0 && qseq <= q->count);
    return &w->messages[q->ids[qseq - 1]].copy[place(w, q)];
}

/* ---- handing out ------------------------------------------------------------------------------
 */

static bool has_room(const struct far_port_consumer *c)
{
    return c->id != 0 && !c->refused && !c->leaving && c->credit != 0 && c->window_used < WINDOW &&
           c->window_bytes < WINDOW_BYTES;
}

static struct far_port_consumer *next_consumer(struct far_queue *q)
{
    for (unsigned i = 0; i < FAR_CONSUMERS; i++) {
        struct far_port_consumer *c = &q->consumers[(q->turn + i) % FAR_CONSUMERS];
        if (!has_room(c))
            continue;
        q->turn = (unsigned)(c - q->consumers) + 1;
        return c;
    }
    return NULL;
}

static uint64_t first_ready(struct far_world *w, struct far_queue *q)
{
    for (uint32_t i = 0; i < q->count; i++) {
        if (copy_at(w, q, i + 1)->state == FAR_READY)
            return i + 1;
    }
    return 0;
}

/* Of the session's own shard. */
static bool deliver(struct far_world *w, unsigned session, const struct remote_delivery *d,
                    uint32_t id)
{
    struct far_session *s = alive(w, session);
    struct message *m = far_message(w, id);
    w->counted_there += (int64_t)message_cost_bytes(m);
    bool ok = s != NULL && remote_server_deliver(s->server, d, m);
    far_drop_there(w, &m);
    unsigned q = far_place(w, d->qid);
    far_say(w, "message %u of queue %u is %s consumer %" PRIu64, id, q,
            ok ? "sent to" : "not taken for", d->consumer);
    if (!ok && q < FAR_QUEUES)
        w->messages[id].copy[q].turned_by = d->consumer;
    return ok;
}

/* What comes back to a queue here waits for the turn's end, or for far_return_here. */
static void return_one(struct far_world *w, const struct remote_delivery *d)
{
    (void)post(d->where == HERE ? &w->returns_here : &w->to_queues,
               &(struct far_mail){ .kind = FAR_RETURN, .qid = d->qid, .delivery = *d });
}

static void hand_out(struct far_world *w, struct far_queue *q, struct far_port_consumer *c,
                     uint64_t qseq)
{
    struct far_copy *copy = copy_at(w, q, qseq);
    uint32_t id = q->ids[qseq - 1];
    copy->state = FAR_OUT;
    copy->session = c->session;
    copy->consumer = c->id;
    copy->serial = ++w->last_serial;
    copy->turned_by = 0;
    copy->is_settled = false; /* by whom it was lost with, perhaps, and that was lost, too */
    struct remote_delivery d = { .qid = q->qid,
                                 .qseq = qseq,
                                 .consumer = c->id,
                                 .where = place(w, q),
                                 .bytes = (uint32_t)w->messages[id].body_bytes,
                                 .auto_ack = c->auto_ack,
                                 .redelivered = copy->may_be_seen };
    c->window_used++;
    c->window_bytes += d.bytes;
    c->credit -= c->credit != PORT_ANY;
    if (place(w, q) != HERE) {
        (void)post(&w->to_sessions,
                   &(struct far_mail){
                       .kind = FAR_DELIVER, .session = c->session, .message = id, .delivery = d });
    } else if (!deliver(w, c->session, &d, id)) {
        d.refused = true;
        return_one(w, &d);
    }
}

static void run(struct far_world *w, struct far_queue *q)
{
    uint64_t qseq;
    struct far_port_consumer *c;
    while ((qseq = first_ready(w, q)) != 0 && (c = next_consumer(q)) != NULL)
        hand_out(w, q, c, qseq);
}

/* ---- consumers --------------------------------------------------------------------------------
 */

static struct far_port_consumer *consumer_of(struct far_queue *q, uint64_t id)
{
    for (unsigned i = 0; q != NULL && i < FAR_CONSUMERS; i++) {
        if (q->consumers[i].id == id)
            return &q->consumers[i];
    }
    return NULL;
}

static struct far_port_consumer *any_consumer(struct far_world *w, uint64_t id,
                                              struct far_queue **q)
{
    for (unsigned i = 0; i < FAR_QUEUES; i++) {
        struct far_port_consumer *c = consumer_of(&w->queues[i], id);
        if (c != NULL) {
            *q = &w->queues[i];
            return c;
        }
    }
    return NULL;
}

static void say(struct far_world *w, const struct far_queue *q, const struct far_port_consumer *c,
                enum far_mail_kind kind)
{
    struct far_session *s = alive(w, c->session);
    if (place(w, q) != HERE)
        (void)post(&w->to_sessions,
                   &(struct far_mail){ .kind = kind, .session = c->session, .consumer = c->id });
    else if (s != NULL && kind == FAR_RESUMED)
        remote_server_on_resumed(s->server, c->id);
    else if (s != NULL)
        remote_server_on_served(s->server, c->id);
}

static void resume(struct far_world *w, struct far_queue *q, struct far_port_consumer *c)
{
    c->woken = c->refused && c->window_used != 0;
    if (c->woken)
        return;
    if (c->refused)
        say(w, q, c, FAR_RESUMED);
    c->refused = false;
    c->credit = c->next_credit;
    run(w, q);
    if (c->next_credit != PORT_ANY)
        say(w, q, c, FAR_SERVED);
}

static void wake_consumer(struct far_world *w, uint64_t id, uint32_t credit)
{
    struct far_queue *q;
    struct far_port_consumer *c = any_consumer(w, id, &q);
    if (c == NULL || c->leaving)
        return;
    c->next_credit = credit;
    far_say(w, "consumer %" PRIu64 " goes on: refused=%d window=%u", id, c->refused,
            c->window_used);
    resume(w, q, c);
}

static void leave(struct far_world *w, uint64_t id)
{
    struct far_queue *q;
    struct far_port_consumer *c = any_consumer(w, id, &q);
    if (c == NULL)
        return;
    if (c->window_used != 0) {
        c->leaving = c->refused = true;
        return;
    }
    *c = (struct far_port_consumer){ 0 };
    run(w, q);
}

/* ---- what comes back --------------------------------------------------------------------------
 */

static void take_back(struct far_world *w, const struct remote_delivery *d)
{
    struct far_queue *q =
        far_place(w, d->qid) < FAR_QUEUES ? &w->queues[far_place(w, d->qid)] : NULL;
    if (q == NULL)
        return;
    struct far_copy *copy = copy_at(w, q, d->qseq);
    far_say(w, "message %u of queue %u comes back: %d", q->ids[d->qseq - 1], place(w, q),
            d->refused);
    if (d->refused) {
        if (copy->state != FAR_OUT)
            (void)far_fail(w, "message %u comes back, and was not out", q->ids[d->qseq - 1]);
        copy->state = FAR_READY;
        copy->may_be_seen |= d->seen;
    } else if (d->auto_ack) {
        copy->state = FAR_DONE;
    }
    run(w, q);
}

static void mark(struct far_world *w, const struct remote_delivery *d)
{
    struct far_queue *q;
    struct far_port_consumer *c = any_consumer(w, d->consumer, &q);
    if (c == NULL)
        return;
    if (c->window_used == 0 || c->window_bytes < d->bytes) {
        (void)far_fail(w, "more comes back of consumer %" PRIu64 " than it was handed", c->id);
        return;
    }
    c->window_used--;
    c->window_bytes -= d->bytes;
    c->refused |= d->refused;
}

/* All marks first, as in port_consumer.c: what comes back together is one batch. */
static void take_returns(struct far_world *w, struct far_mails *from)
{
    struct far_mails batch = STAILQ_HEAD_INITIALIZER(batch);
    struct far_mail *m;
    while ((m = STAILQ_FIRST(from)) != NULL && m->kind == FAR_RETURN) {
        STAILQ_REMOVE_HEAD(from, entry);
        STAILQ_INSERT_TAIL(&batch, m, entry);
        mark(w, &m->delivery);
    }
    STAILQ_FOREACH (m, &batch, entry)
        take_back(w, &m->delivery);
    while ((m = STAILQ_FIRST(&batch)) != NULL) {
        struct far_queue *q;
        struct far_port_consumer *c = any_consumer(w, m->delivery.consumer, &q);
        STAILQ_REMOVE_HEAD(&batch, entry);
        if (c != NULL && c->leaving)
            leave(w, c->id);
        else if (c != NULL && c->woken)
            resume(w, q, c);
        mem_free(m);
    }
}

bool far_return_here(struct far_world *w)
{
    bool any = !STAILQ_EMPTY(&w->returns_here);
    take_returns(w, &w->returns_here);
    return any;
}

static void settle_here(struct far_world *w, uint64_t qid, uint64_t qseq, unsigned session,
                        enum port_settle how, bool by_channel)
{
    unsigned p = far_place(w, qid);
    if (p == FAR_QUEUES)
        return;
    struct far_queue *q = &w->queues[p];
    struct far_copy *copy = copy_at(w, q, qseq);
    uint32_t id = q->ids[qseq - 1];
    if (copy->state != FAR_OUT || copy->session != session) {
        (void)far_fail(w, "message %u is settled, and is not out there", id);
        return;
    }
    if (by_channel && (!copy->is_settled || copy->how != how))
        (void)far_fail(w, "message %u is settled otherwise than its channel did", id);
    copy->state = how == PORT_ACK || how == PORT_DROP ? FAR_DONE : FAR_READY;
    copy->may_be_seen |= how == PORT_REQUEUE || how == PORT_REQUEUE_SEEN;
    copy->is_settled = false;
    q->has_back = true;
}

static void run_those_back(struct far_world *w)
{
    for (unsigned i = 0; i < FAR_QUEUES; i++) {
        if (w->queues[i].has_back)
            run(w, &w->queues[i]);
        w->queues[i].has_back = false;
    }
}

/* ---- publishing -------------------------------------------------------------------------------
 */

/* False: it refuses. */
static bool enqueue(struct far_session *s, struct far_queue *q, uint32_t id)
{
    struct far_world *w = s->w;
    struct far_copy *copy = &w->messages[id].copy[place(w, q)];
    uint64_t *last = &s->last_taken[w->messages[id].channel][place(w, q)];
    if (copy->state != FAR_ABSENT || copy->qid != q->qid)
        return far_fail(w, "message %u comes to queue %u again", id, place(w, q));
    if (id < *last)
        return far_fail(w, "message %u comes behind message %" PRIu64, id, *last);
    *last = id;
    if (far_one_in(w, 20)) {
        copy->state = FAR_REFUSED;
        return false;
    }
    copy->state = FAR_READY;
    q->ids[q->count++] = id;
    return true;
}

static void gone(struct far_world *w, uint32_t id, uint64_t qid)
{
    for (unsigned q = 0; q < FAR_QUEUES; q++) {
        if (w->messages[id].copy[q].qid == qid)
            w->messages[id].copy[q].state = FAR_GONE;
    }
}

static enum port_published publish(void *arg, uint64_t qid, struct message **m, uint64_t number)
{
    struct far_session *s = of(arg);
    struct far_world *w = s->w;
    uint32_t id = far_message_id(w, *m);
    far_drop_there(w, m);
    if (id == 0) {
        (void)far_fail(w, "what comes is not what was published");
        return PORT_TAKEN;
    }
    s->message_now = id;
    if (qid > w->known)
        (void)far_fail(w, "message %u is published to a queue that is not known yet", id);
    struct far_queue *q = find(w, qid);
    if (q == NULL) {
        gone(w, id, qid);
        s->took++;
        return PORT_TAKEN;
    }
    if (place(w, q) != HERE) {
        (void)post(&w->to_queues, &(struct far_mail){ .kind = FAR_PUBLISH,
                                                      .session = s->index,
                                                      .message = id,
                                                      .qid = qid,
                                                      .number = number });
        return PORT_LATER;
    }
    s->took++;
    if (!enqueue(s, q, id))
        return PORT_REFUSED;
    s->lines_now++;
    return PORT_TAKEN;
}

static void make_durable(struct far_world *w, uint32_t id, uint64_t qid)
{
    for (unsigned q = 0; q < FAR_QUEUES; q++) {
        if (w->messages[id].copy[q].qid == qid)
            w->messages[id].copy[q].is_durable = true;
    }
}

static void add_line(struct far_world *w, unsigned session, uint64_t number, uint32_t id,
                     uint64_t qid)
{
    if (w->line_first == w->line_count)
        w->line_first = w->line_count = 0;
    CHECK(w->line_count < FAR_MESSAGES_MAX * FAR_QUEUES);
    w->lines[w->line_count++] = (struct far_line){
        .session = session, .number = number, .message = id, .qids = { qid }, .count = 1
    };
}

static bool published(void *arg, uint64_t number)
{
    struct far_session *s = of(arg);
    struct far_world *w = s->w;
    bool any = s->lines_now != 0;
    s->lines_now = 0;
    run(w, &w->queues[HERE]);
    if (!any)
        return false;
    if (number == 0 || far_one_in(w, 3)) { /* nothing of it goes to the disk */
        make_durable(w, s->message_now, w->messages[s->message_now].copy[HERE].qid);
        return false;
    }
    add_line(w, s->index, number, s->message_now, w->messages[s->message_now].copy[HERE].qid);
    return true;
}

static void take_publish(struct far_world *w, const struct far_mail *m)
{
    struct far_session *s = w->sessions[m->session];
    struct far_queue *q = find(w, m->qid);
    bool ok = q == NULL || enqueue(s, q, m->message);
    bool is_told = m->number != 0 && (!ok || q == NULL || far_one_in(w, 3));
    s->took++;
    if (q == NULL)
        gone(w, m->message, m->qid);
    else if (ok && (is_told || m->number == 0))
        make_durable(w, m->message, m->qid);
    else if (ok)
        add_line(w, m->session, m->number, m->message, m->qid);
    if (q != NULL)
        run(w, q);
    (void)post(&w->to_sessions, &(struct far_mail){ .kind = FAR_PUBLISHED,
                                                    .session = m->session,
                                                    .number = m->number,
                                                    .ok = ok,
                                                    .is_told = is_told });
}

bool far_sync(struct far_world *w)
{
    if (w->line_first == w->line_count)
        return false;
    unsigned n = 1 + (unsigned)far_below(w, w->line_count - w->line_first);
    for (; n != 0; n--) {
        const struct far_line *l = &w->lines[w->line_first++];
        make_durable(w, l->message, l->qids[0]);
        struct far_session *s = alive(w, l->session);
        if (s != NULL)
            remote_server_on_durable(s->server, l->number, 1);
    }
    return true;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static enum port_verdict consume(struct far_world *w, struct far_queue *q, unsigned session,
                                 const struct port_request *r)
{
    if (consumer_of(q, r->consumer) != NULL)
        (void)far_fail(w, "consumer %" PRIu64 " comes twice", r->consumer);
    struct far_port_consumer *c = consumer_of(q, 0);
    if (c == NULL)
        return PORT_EXCLUSIVE;
    *c = (struct far_port_consumer){ .id = r->consumer,
                                     .session = session,
                                     .credit = PORT_ANY,
                                     .next_credit = PORT_ANY,
                                     .auto_ack = r->no_ack };
    return PORT_OK;
}

static void get(struct far_world *w, struct far_queue *q, unsigned session, struct port_request *r)
{
    uint64_t qseq = first_ready(w, q);
    if (qseq == 0)
        return;
    struct far_copy *copy = copy_at(w, q, qseq);
    copy->state = r->no_ack ? FAR_DONE : FAR_OUT;
    copy->session = session;
    copy->consumer = 0;
    copy->turned_by = 0;
    copy->is_settled = false; /* by whom it was lost with, perhaps, and that was lost, too */
    r->qseq = qseq;
    r->redelivered = copy->may_be_seen;
    r->message = far_message(w, q->ids[qseq - 1]);
    w->counted_there += (int64_t)message_cost_bytes(r->message);
}

static void purge(struct far_world *w, struct far_queue *q)
{
    for (uint64_t qseq; (qseq = first_ready(w, q)) != 0;)
        copy_at(w, q, qseq)->state = FAR_DONE;
}

static void serve(struct far_world *w, unsigned session, struct port_request *r)
{
    struct far_queue *q = find(w, r->qid);
    r->verdict = q != NULL ? PORT_OK : PORT_NO_QUEUE;
    if (q == NULL)
        return;
    switch (r->op) {
    case PORT_CONSUME:
        r->verdict = consume(w, q, session, r);
        return;
    case PORT_CANCEL: {
        struct far_port_consumer *c = consumer_of(q, r->consumer);
        if (c != NULL)
            *c = (struct far_port_consumer){ 0 };
        return;
    }
    case PORT_GET:
        get(w, q, session, r);
        return;
    case PORT_PURGE:
        purge(w, q);
        return;
    case PORT_DELETE:
        q->is_deleting = true;
        return;
    case PORT_COUNT:
        return;
    case PORT_FENCE:
        break;
    }
    UNREACHABLE("request");
}

/* Its session went while it was under way: what it was given goes back. */
static void nobody_waits(struct far_world *w, unsigned session, struct port_request *r)
{
    if (r->verdict == PORT_OK && r->op == PORT_CONSUME)
        leave(w, r->consumer);
    if (r->message != NULL) {
        far_drop_there(w, &r->message);
        if (!r->no_ack)
            settle_here(w, r->qid, r->qseq, session, PORT_REQUEUE_UNSEEN, false);
    }
    if (r->verdict == PORT_OK && r->op == PORT_DELETE)
        far_plan_deletion(w, r->qid);
    run_those_back(w);
}

static void answer(struct far_world *w, unsigned session, struct remote_request *r)
{
    struct far_session *s = alive(w, session);
    enum port_op op = r->request.op;
    struct far_queue *q = find(w, r->request.qid);
    if (s != NULL)
        remote_server_on_answer(s->server, r);
    else
        nobody_waits(w, session, &r->request);
    mem_free(r);
    if (q != NULL && (op == PORT_CONSUME || op == PORT_CANCEL))
        run(w, q);
}

static void ask(void *arg, struct remote_request *r)
{
    struct far_session *s = of(arg);
    struct far_world *w = s->w;
    if (r->request.op == PORT_FENCE || r->request.where != HERE) {
        (void)post(&w->to_queues,
                   &(struct far_mail){ .kind = r->request.op == PORT_FENCE ? FAR_FENCE : FAR_ASK,
                                       .session = s->index,
                                       .request = r });
        return;
    }
    serve(w, s->index, &r->request);
    answer(w, s->index, r);
}

/* ---- what the session calls -------------------------------------------------------------------
 */

static bool knows(void *arg, uint64_t qid)
{
    return qid <= of(arg)->w->known;
}

static void await_known(void *arg, uint64_t qid)
{
    (void)qid;
    of(arg)->awaits_known = true;
}

static bool find_where(void *arg, uint64_t qid, uint32_t *where)
{
    struct far_world *w = of(arg)->w;
    unsigned q = far_place(w, qid);
    bool ok = q < FAR_QUEUES && qid <= w->known && w->queues[q].is_there;
    if (ok)
        *where = q;
    return ok;
}

static void settle(void *arg, uint32_t where, uint64_t qid, uint64_t qseq, uint64_t consumer,
                   enum port_settle how)
{
    struct far_session *s = of(arg);
    if (where == HERE)
        settle_here(s->w, qid, qseq, s->index, how, true);
    else
        (void)post(&s->w->to_queues, &(struct far_mail){ .kind = FAR_SETTLE,
                                                         .session = s->index,
                                                         .qid = qid,
                                                         .qseq = qseq,
                                                         .consumer = consumer,
                                                         .how = how,
                                                         .ok = true });
}

static void settled(void *arg)
{
    run_those_back(of(arg)->w);
}

static void wake(void *arg, uint32_t where, uint64_t consumer, uint32_t credit)
{
    struct far_world *w = of(arg)->w;
    far_say(w, "consumer %" PRIu64 " is to go on", consumer);
    if (where == HERE)
        wake_consumer(w, consumer, credit);
    else
        (void)post(&w->to_queues,
                   &(struct far_mail){ .kind = FAR_WAKE, .consumer = consumer, .credit = credit });
}

static void abandon(void *arg, uint32_t where, uint64_t qid, uint64_t consumer)
{
    struct far_world *w = of(arg)->w;
    (void)qid;
    if (where == HERE)
        leave(w, consumer);
    else
        (void)post(&w->to_queues, &(struct far_mail){ .kind = FAR_ABANDON, .consumer = consumer });
}

static void returned(void *arg, const struct remote_delivery *d)
{
    return_one(of(arg)->w, d);
}

static void returned_all(void *arg)
{
    (void)far_return_here(of(arg)->w);
}

static bool reply(void *arg, const struct reply_address *to, struct message *m)
{
    (void)to, (void)m;
    return far_fail(of(arg)->w, "nobody sent a reply");
}

static void reply_ask(void *arg, const struct reply_address *to, uint32_t token)
{
    (void)to, (void)token;
    (void)far_fail(of(arg)->w, "nobody asked for a channel");
}

static void delete_queue(void *arg, uint64_t qid)
{
    far_plan_deletion(of(arg)->w, qid);
}

static void give_back(void *arg, struct unacked *u)
{
    struct far_session *s = of(arg);
    struct unacked_entry e;
    while (unacked_take_oldest(u, UINT64_MAX, &e)) {
        if (e.where == HERE)
            settle_here(s->w, e.qid, e.qseq, s->index, PORT_REQUEUE_SEEN, false);
        else
            (void)post(&s->w->to_queues, &(struct far_mail){ .kind = FAR_SETTLE,
                                                             .session = s->index,
                                                             .qid = e.qid,
                                                             .qseq = e.qseq,
                                                             .how = PORT_REQUEUE_SEEN });
    }
}

static bool is_short(void *arg)
{
    return of(arg)->w->is_short;
}

static void made(void *arg, struct message *m)
{
    of(arg)->w->counted_there += (int64_t)message_cost_bytes(m);
}

static void count(void *arg, int64_t octets)
{
    of(arg)->w->counted_there += octets;
}

const struct remote_server_ops far_server_ops = {
    .knows = knows,
    .await_known = await_known,
    .publish = publish,
    .published = published,
    .find = find_where,
    .ask = ask,
    .settle = settle,
    .settled = settled,
    .wake = wake,
    .abandon = abandon,
    .returned = returned,
    .returned_all = returned_all,
    .reply = reply,
    .reply_ask = reply_ask,
    .delete_queue = delete_queue,
    .give_back = give_back,
    .is_short = is_short,
    .made = made,
    .count = count,
};

/* ---- mail -------------------------------------------------------------------------------------
 */

static void to_queue(struct far_world *w, struct far_mail *m)
{
    switch ((unsigned)m->kind) {
    case FAR_PUBLISH:
        take_publish(w, m);
        return;
    case FAR_ASK:
    case FAR_FENCE:
        if (m->kind == FAR_ASK)
            serve(w, m->session, &m->request->request);
        else
            m->request->request.verdict = PORT_OK;
        (void)post(
            &w->to_sessions,
            &(struct far_mail){ .kind = FAR_ANSWER, .session = m->session, .request = m->request });
        return;
    case FAR_SETTLE:
        settle_here(w, m->qid, m->qseq, m->session, m->how, m->ok);
        run_those_back(w);
        return;
    case FAR_WAKE:
        wake_consumer(w, m->consumer, m->credit);
        return;
    case FAR_ABANDON:
        leave(w, m->consumer);
        return;
    default:
        UNREACHABLE("mail for queues");
    }
}

static void to_session(struct far_world *w, struct far_mail *m)
{
    struct far_session *s = alive(w, m->session);
    switch ((unsigned)m->kind) {
    case FAR_PUBLISHED:
        if (s != NULL && m->is_told)
            remote_server_on_published(s->server, m->number, m->ok);
        if (s != NULL)
            remote_server_on_taken(s->server, 1);
        return;
    case FAR_ANSWER:
        answer(w, m->session, m->request);
        return;
    case FAR_DELIVER:
        if (!deliver(w, m->session, &m->delivery, m->message)) {
            m->delivery.refused = true;
            return_one(w, &m->delivery);
        }
        return;
    case FAR_RESUMED:
        if (s != NULL)
            remote_server_on_resumed(s->server, m->consumer);
        return;
    case FAR_SERVED:
        if (s != NULL)
            remote_server_on_served(s->server, m->consumer);
        return;
    case FAR_CANCELLED:
        if (s != NULL)
            remote_server_on_cancelled(s->server, m->consumer);
        return;
    default:
        UNREACHABLE("mail for sessions");
    }
}

bool far_mail(struct far_world *w)
{
    bool back = far_one_in(w, 2);
    struct far_mails *all = back ? &w->to_sessions : &w->to_queues;
    if (STAILQ_EMPTY(all)) {
        back = !back;
        all = back ? &w->to_sessions : &w->to_queues;
    }
    struct far_mail *m = STAILQ_FIRST(all);
    if (m == NULL)
        return false;
    if (m->kind == FAR_RETURN) {
        take_returns(w, all);
        return true;
    }
    STAILQ_REMOVE_HEAD(all, entry);
    if (back)
        to_session(w, m);
    else
        to_queue(w, m);
    mem_free(m);
    return true;
}

void far_mails_free(struct far_world *w)
{
    struct far_mails *all[] = { &w->to_queues, &w->to_sessions, &w->returns_here };
    for (unsigned i = 0; i < 3; i++) {
        for (struct far_mail *m; (m = STAILQ_FIRST(all[i])) != NULL; mem_free(m)) {
            STAILQ_REMOVE_HEAD(all[i], entry);
            if (m->request != NULL && m->request->request.message != NULL)
                (void)message_unref(&m->request->request.message);
            mem_free(m->request);
        }
    }
}

/* ---- queues -----------------------------------------------------------------------------------
 */

static void declare(struct far_world *w, unsigned q)
{
    struct far_queue *queue = &w->queues[q];
    memset(queue, 0, sizeof *queue);
    queue->qid = ++w->last_qid;
    queue->is_there = true;
    for (unsigned i = 0; i < w->session_count; i++) {
        for (unsigned ch = 0; ch < FAR_CHANNELS; ch++)
            w->sessions[i]->last_taken[ch][q] = 0;
    }
}

void far_queues_begin(struct far_world *w)
{
    STAILQ_INIT(&w->to_queues);
    STAILQ_INIT(&w->to_sessions);
    STAILQ_INIT(&w->returns_here);
    for (unsigned q = 0; q < FAR_QUEUES; q++)
        declare(w, q);
    w->known = w->last_qid;
}

bool far_learn(struct far_world *w)
{
    if (w->known < w->last_qid)
        w->known++;
    bool any = false;
    for (unsigned i = 0; i < w->session_count; i++) {
        struct far_session *s = w->sessions[i];
        if (s->is_lost || !s->awaits_known || s->server->awaits > w->known)
            continue;
        s->awaits_known = false;
        any = true;
        if (!remote_server_known(s->server))
            (void)far_fail(w, "what waited for a queue is no record");
    }
    return any || w->known < w->last_qid;
}

void far_plan_deletion(struct far_world *w, uint64_t qid)
{
    for (unsigned i = 0; i < w->deletion_count; i++) {
        if (w->deletions[i] == qid)
            return;
    }
    if (far_place(w, qid) == FAR_QUEUES)
        return;
    CHECK(w->deletion_count < 64);
    w->deletions[w->deletion_count++] = qid;
}

/* It is gone, and another one is declared in its place. */
bool far_delete(struct far_world *w)
{
    if (w->deletion_count == 0)
        return false;
    uint64_t qid = w->deletions[--w->deletion_count];
    unsigned place = far_place(w, qid);
    if (place == FAR_QUEUES)
        return true;
    struct far_queue *q = &w->queues[place];
    far_say(w, "queue %" PRIu64 " is deleted", qid);
    for (unsigned i = 0; i < FAR_CONSUMERS; i++) {
        const struct far_port_consumer *c = &q->consumers[i];
        if (c->id != 0 && !c->leaving)
            (void)post(&w->to_sessions, &(struct far_mail){ .kind = FAR_CANCELLED,
                                                            .session = c->session,
                                                            .consumer = c->id });
    }
    for (uint32_t id = 1; id <= w->message_count; id++) {
        struct far_copy *c = &w->messages[id].copy[place];
        if (c->qid == qid && c->state != FAR_REFUSED)
            c->state = FAR_GONE;
        if (c->qid == qid)
            c->is_settled = false;
    }
    declare(w, place);
    return true;
}

void far_go_on(struct far_world *w)
{
    for (unsigned i = 0; i < w->session_count; i++) {
        if (!w->sessions[i]->is_lost)
            remote_server_go_on(w->sessions[i]->server);
    }
}

/* In the end: what is out is with the channel that has it. */
static void check_copy(struct far_world *w, uint32_t id, unsigned q)
{
    const struct far_message *m = &w->messages[id];
    const struct far_copy *c = &m->copy[q];
    bool is_held = false;
    if (c->qid == 0 || c->qid != w->queues[q].qid)
        return;
    for (unsigned i = 0; i < w->held_count; i++)
        is_held |=
            w->held[i].message == id && w->held[i].queue == q && w->held[i].life == w->client->life;
    if ((c->state == FAR_OUT) != is_held)
        (void)far_fail(w, "message %u is %s, and its queue thinks otherwise", id,
                       is_held ? "with a channel" : "with nobody");
    if (c->state == FAR_ABSENT && m->life == w->client->life && w->has_link)
        (void)far_fail(w, "message %u is lost", id);
}

void far_check_holder(struct far_world *w)
{
    for (uint32_t id = 1; id <= w->message_count; id++) {
        for (unsigned q = 0; q < FAR_QUEUES; q++)
            check_copy(w, id, q);
    }
    for (unsigned q = 0; q < FAR_QUEUES; q++) {
        struct far_queue *queue = &w->queues[q];
        if (queue->is_deleting)
            (void)far_fail(w, "queue %u was promised to go, and is there", q);
        for (unsigned i = 0; i < FAR_CONSUMERS; i++) {
            const struct far_port_consumer *c = &queue->consumers[i];
            if (c->id == 0)
                continue;
            if (w->sessions[c->session]->is_lost)
                (void)far_fail(w, "consumer %" PRIu64 " outlives its session", c->id);
            if (c->window_used != 0)
                (void)far_fail(w, "consumer %" PRIu64 ": something is under way for ever", c->id);
            if (first_ready(w, queue) != 0)
                (void)far_fail(w,
                               "consumer %" PRIu64 " of queue %u is forgotten: refused=%d woken=%d "
                               "credit=%u",
                               c->id, q, c->refused, c->woken, c->credit);
        }
    }
    if (w->counted_there != 0)
        (void)far_fail(w, "%" PRId64 " octets are counted for ever there", w->counted_there);
}
