/* The shard that sessions are on: what port.c does for them, with the mail between two shards in
 * the open. */
#include "base/check.h"
#include "base/mem.h"
#include "sim_far_world.h"

#include <inttypes.h>

static struct far_session *of(void *arg)
{
    return arg;
}

/* ---- publishing -------------------------------------------------------------------------------
 */

/* False: it refuses. */
static bool enqueue(struct far_session *s, struct far_queue *q, uint32_t id)
{
    struct far_world *w = s->w;
    struct far_copy *copy = &w->messages[id].copy[far_index(w, q)];
    uint64_t *last = &s->last_taken[w->messages[id].channel][far_index(w, q)];
    if (copy->state != FAR_ABSENT || copy->qid != q->qid)
        return far_fail(w, "message %u comes to queue %u again", id, far_index(w, q));
    if (id < *last)
        return far_fail(w, "message %u comes behind message %" PRIu64, id, *last);
    *last = id;
    if (far_one_in(w, 20)) {
        far_end_copy(w, copy, FAR_REFUSED);
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
            far_end_copy(w, &w->messages[id].copy[q], FAR_GONE);
    }
}

/* The queue has it in memory, mostly; but where much is to be under way, what comes back by name
 * would be too little. */
static void take_content(struct far_world *w, uint32_t id, uint64_t qid, struct message **m)
{
    unsigned q = far_place(w, qid);
    struct far_copy *c = q < FAR_QUEUES ? &w->messages[id].copy[q] : NULL;
    bool stays = far_one_in(w, 4) == w->is_heavy;
    if (c == NULL || c->qid != qid || c->message != NULL || !stays) {
        far_drop_there(w, m);
        return;
    }
    c->message = *m;
    *m = NULL;
}

static enum port_published publish(void *arg, uint64_t qid, struct message **m, uint64_t number,
                                   const struct port_origin *origin)
{
    (void)origin;
    struct far_session *s = of(arg);
    struct far_world *w = s->w;
    uint32_t id = far_message_id(w, *m);
    if (id == 0) {
        far_drop_there(w, m);
        (void)far_fail(w, "what comes is not what was published");
        return PORT_TAKEN;
    }
    take_content(w, id, qid, m);
    s->message_now = id;
    if (qid > w->known)
        (void)far_fail(w, "message %u is published to a queue that is not known yet", id);
    struct far_queue *q = far_find(w, qid);
    if (q == NULL) {
        gone(w, id, qid);
        s->took++;
        return PORT_TAKEN;
    }
    if (far_index(w, q) != HERE) {
        (void)far_post(&w->to_queues, &(struct far_mail){ .kind = FAR_PUBLISH,
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
    far_run(w, &w->queues[HERE]);
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
    struct far_queue *q = far_find(w, m->qid);
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
        far_run(w, q);
    (void)far_post(&w->to_sessions, &(struct far_mail){ .kind = FAR_PUBLISHED,
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
        struct far_session *s = far_alive(w, l->session);
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
    if (far_consumer_of(q, r->consumer) != NULL)
        (void)far_fail(w, "consumer %" PRIu64 " comes twice", r->consumer);
    struct far_port_consumer *c = far_consumer_of(q, 0);
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
    uint64_t qseq = far_first_ready(w, q);
    if (qseq == 0)
        return;
    struct far_copy *copy = far_copy_at(w, q, qseq);
    r->message = far_content(w, q->ids[qseq - 1], far_index(w, q));
    if (r->no_ack)
        far_end_copy(w, copy, FAR_DONE);
    else
        copy->state = FAR_OUT;
    copy->session = session;
    copy->consumer = 0;
    copy->turned_by = 0;
    copy->is_settled = false; /* by whom it was lost with, perhaps, and that was lost, too */
    r->qseq = qseq;
    r->redelivered = copy->may_be_seen;
}

static void purge(struct far_world *w, struct far_queue *q)
{
    for (uint64_t qseq; (qseq = far_first_ready(w, q)) != 0;)
        far_end_copy(w, far_copy_at(w, q, qseq), FAR_DONE);
}

static void serve(struct far_world *w, unsigned session, struct port_request *r)
{
    struct far_queue *q = far_find(w, r->qid);
    r->verdict = q != NULL ? PORT_OK : PORT_NO_QUEUE;
    if (q == NULL)
        return;
    switch (r->op) {
    case PORT_CONSUME:
        r->verdict = consume(w, q, session, r);
        return;
    case PORT_CANCEL: {
        struct far_port_consumer *c = far_consumer_of(q, r->consumer);
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
        far_leave(w, r->consumer);
    if (r->message != NULL) {
        far_drop_there(w, &r->message);
        if (!r->no_ack)
            far_settle_here(w, r->qid, r->qseq, session, PORT_REQUEUE_UNSEEN, false);
    }
    if (r->verdict == PORT_OK && r->op == PORT_DELETE)
        far_plan_deletion(w, r->qid);
    far_run_those_back(w);
}

static void answer(struct far_world *w, unsigned session, struct remote_request *r)
{
    struct far_session *s = far_alive(w, session);
    enum port_op op = r->request.op;
    struct far_queue *q = far_find(w, r->request.qid);
    if (s != NULL)
        remote_server_on_answer(s->server, r);
    else
        nobody_waits(w, session, &r->request);
    mem_free(r);
    if (q != NULL && (op == PORT_CONSUME || op == PORT_CANCEL))
        far_run(w, q);
}

static void ask(void *arg, struct remote_request *r)
{
    struct far_session *s = of(arg);
    struct far_world *w = s->w;
    if (r->request.op == PORT_FENCE || r->request.where != HERE) {
        (void)far_post(&w->to_queues, &(struct far_mail){
                                          .kind = r->request.op == PORT_FENCE ? FAR_FENCE : FAR_ASK,
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

static void settle(void *arg, const struct unacked_entry *e, enum port_settle how)
{
    struct far_session *s = of(arg);
    if (e->where == HERE)
        far_settle_here(s->w, e->qid, e->qseq, s->index, how, true);
    else
        (void)far_post(&s->w->to_queues, &(struct far_mail){ .kind = FAR_SETTLE,
                                                             .session = s->index,
                                                             .qid = e->qid,
                                                             .qseq = e->qseq,
                                                             .consumer = e->consumer,
                                                             .how = how,
                                                             .ok = true });
}

static void settled(void *arg)
{
    far_run_those_back(of(arg)->w);
}

static void wake(void *arg, uint32_t where, uint64_t consumer, uint32_t credit)
{
    struct far_world *w = of(arg)->w;
    far_say(w, "consumer %" PRIu64 " is to go on", consumer);
    if (where == HERE)
        far_wake_consumer(w, consumer, credit);
    else
        (void)far_post(
            &w->to_queues,
            &(struct far_mail){ .kind = FAR_WAKE, .consumer = consumer, .credit = credit });
}

static void abandon(void *arg, uint32_t where, uint64_t qid, uint64_t consumer)
{
    struct far_world *w = of(arg)->w;
    (void)qid;
    if (where == HERE)
        far_leave(w, consumer);
    else
        (void)far_post(&w->to_queues,
                       &(struct far_mail){ .kind = FAR_ABANDON, .consumer = consumer });
}

static void returned(void *arg, const struct remote_delivery *d)
{
    far_return_one(of(arg)->w, d);
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
            far_settle_here(s->w, e.qid, e.qseq, s->index, PORT_REQUEUE_SEEN, false);
        else
            (void)far_post(&s->w->to_queues, &(struct far_mail){ .kind = FAR_SETTLE,
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

static bool has_applied(void *arg, uint64_t index)
{
    (void)arg, (void)index;
    return true;
}

static void await_applied(void *arg, uint64_t index)
{
    (void)index;
    (void)far_fail(of(arg)->w, "nobody publishes to a mirrored queue");
}

static bool is_elsewhere(void *arg, uint64_t qid)
{
    (void)arg, (void)qid;
    return false;
}

/* No queue is moved here. */
static void settle_moved(void *arg, uint64_t qid, uint64_t qseq, enum port_settle how)
{
    (void)how;
    (void)far_fail(of(arg)->w,
                   "position %" PRIu64 " of queue %" PRIu64 " is settled as one that was moved",
                   qseq, qid);
}

const struct remote_server_ops far_server_ops = {
    .knows = knows,
    .await_known = await_known,
    .has_applied = has_applied,
    .await_applied = await_applied,
    .is_elsewhere = is_elsewhere,
    .publish = publish,
    .published = published,
    .find = find_where,
    .ask = ask,
    .settle = settle,
    .settle_moved = settle_moved,
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
        (void)far_post(
            &w->to_sessions,
            &(struct far_mail){ .kind = FAR_ANSWER, .session = m->session, .request = m->request });
        return;
    case FAR_SETTLE:
        far_settle_here(w, m->qid, m->qseq, m->session, m->how, m->ok);
        far_run_those_back(w);
        return;
    case FAR_WAKE:
        far_wake_consumer(w, m->consumer, m->credit);
        return;
    case FAR_ABANDON:
        far_leave(w, m->consumer);
        return;
    default:
        UNREACHABLE("mail for queues");
    }
}

static void to_session(struct far_world *w, struct far_mail *m)
{
    struct far_session *s = far_alive(w, m->session);
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
        if (!far_deliver(w, m->session, &m->delivery, m->message)) {
            m->delivery.refused = true;
            far_return_one(w, &m->delivery);
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
        far_take_returns(w, all);
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
