/* Queues as far as the other node's channels use them: what port_consumer.c and model/queue.c do.
 */
#include "base/check.h"
#include "base/mem.h"
#include "remote/remote_kept.h"
#include "sim_far_world.h"

#include <inttypes.h>

#define WINDOW       64u
#define WINDOW_BYTES ((uint64_t)4 * 1024 * 1024)

struct far_session *far_alive(const struct far_world *w, unsigned session)
{
    struct far_session *s = w->sessions[session];
    return s->is_lost ? NULL : s;
}

struct far_mail *far_post(struct far_mails *to, const struct far_mail *m)
{
    struct far_mail *copy = mem_dup(m, sizeof *m);
    STAILQ_INSERT_TAIL(to, copy, entry);
    return copy;
}

/* That there is, and that has not said that it goes. */
struct far_queue *far_find(struct far_world *w, uint64_t qid)
{
    unsigned q = far_place(w, qid);
    bool is_known = q < FAR_QUEUES && qid <= w->known && w->queues[q].is_there;
    return is_known && !w->queues[q].is_deleting ? &w->queues[q] : NULL;
}

unsigned far_index(const struct far_world *w, const struct far_queue *q)
{
    return (unsigned)(q - w->queues);
}

struct far_copy *far_copy_at(struct far_world *w, struct far_queue *q, uint64_t qseq)
{
    CHECK(qseq != 0 && qseq <= q->count);
    return &w->messages[q->ids[qseq - 1]].copy[far_index(w, q)];
}

struct message *far_content(struct far_world *w, uint32_t id, unsigned q)
{
    struct far_copy *c = q < FAR_QUEUES ? &w->messages[id].copy[q] : NULL;
    bool is_there = c != NULL && c->message != NULL;
    if (is_there && !far_one_in(w, 8))
        return message_ref(c->message);
    if (is_there)
        far_drop_there(w, &c->message);
    struct message *m = far_message(w, id);
    w->counted_there += (int64_t)message_cost_bytes(m);
    return m;
}

void far_end_copy(struct far_world *w, struct far_copy *c, enum far_copy_state how)
{
    c->state = how;
    if (c->message != NULL)
        far_drop_there(w, &c->message);
}

void far_messages_free(struct far_world *w)
{
    for (uint32_t id = 1; id <= w->message_count; id++)
        for (unsigned q = 0; q < FAR_QUEUES; q++)
            if (w->messages[id].copy[q].message != NULL)
                far_drop_there(w, &w->messages[id].copy[q].message);
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

uint64_t far_first_ready(struct far_world *w, struct far_queue *q)
{
    for (uint32_t i = 0; i < q->count; i++) {
        if (far_copy_at(w, q, i + 1)->state == FAR_READY)
            return i + 1;
    }
    return 0;
}

/* Of the session's own shard. */
bool far_deliver(struct far_world *w, unsigned session, const struct remote_delivery *d,
                 uint32_t id)
{
    struct far_session *s = far_alive(w, session);
    unsigned q = far_place(w, d->qid);
    struct message *m = far_content(w, id, q);
    bool ok = s != NULL && remote_server_deliver(s->server, d, m);
    far_drop_there(w, &m);
    far_say(w, "message %u of queue %u is %s consumer %" PRIu64, id, q,
            ok ? "sent to" : "not taken for", d->consumer);
    if (!ok && q < FAR_QUEUES)
        w->messages[id].copy[q].turned_by = d->consumer;
    return ok;
}

/* What comes back to a queue here waits for the turn's end, or for far_return_here. */
void far_return_one(struct far_world *w, const struct remote_delivery *d)
{
    (void)far_post(d->where == HERE ? &w->returns_here : &w->to_queues,
                   &(struct far_mail){ .kind = FAR_RETURN, .qid = d->qid, .delivery = *d });
}

/* As in port_consumer.c. */
static uint32_t bytes_back(const struct far_world *w, const struct far_port_consumer *c,
                           const struct far_copy *copy, uint32_t id)
{
    const struct far_session *s = far_alive(w, c->session);
    return s != NULL && copy->message != NULL ? remote_kept_bytes_back(copy->message, s->server->id)
                                              : (uint32_t)w->messages[id].body_bytes;
}

static void hand_out(struct far_world *w, struct far_queue *q, struct far_port_consumer *c,
                     uint64_t qseq)
{
    struct far_copy *copy = far_copy_at(w, q, qseq);
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
                                 .where = far_index(w, q),
                                 .bytes = bytes_back(w, c, copy, id),
                                 .auto_ack = c->auto_ack,
                                 .redelivered = copy->may_be_seen };
    c->window_used++;
    c->window_bytes += d.bytes;
    c->credit -= c->credit != PORT_ANY;
    if (far_index(w, q) != HERE) {
        (void)far_post(&w->to_sessions, &(struct far_mail){ .kind = FAR_DELIVER,
                                                            .session = c->session,
                                                            .message = id,
                                                            .delivery = d });
    } else if (!far_deliver(w, c->session, &d, id)) {
        d.refused = true;
        far_return_one(w, &d);
    }
}

void far_run(struct far_world *w, struct far_queue *q)
{
    uint64_t qseq;
    struct far_port_consumer *c;
    while ((qseq = far_first_ready(w, q)) != 0 && (c = next_consumer(q)) != NULL)
        hand_out(w, q, c, qseq);
}

/* ---- consumers --------------------------------------------------------------------------------
 */

struct far_port_consumer *far_consumer_of(struct far_queue *q, uint64_t id)
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
        struct far_port_consumer *c = far_consumer_of(&w->queues[i], id);
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
    struct far_session *s = far_alive(w, c->session);
    if (far_index(w, q) != HERE)
        (void)far_post(
            &w->to_sessions,
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
    far_run(w, q);
    if (c->next_credit != PORT_ANY)
        say(w, q, c, FAR_SERVED);
}

void far_wake_consumer(struct far_world *w, uint64_t id, uint32_t credit)
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

void far_leave(struct far_world *w, uint64_t id)
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
    far_run(w, q);
}

/* ---- what comes back --------------------------------------------------------------------------
 */

static void take_back(struct far_world *w, const struct remote_delivery *d)
{
    struct far_queue *q =
        far_place(w, d->qid) < FAR_QUEUES ? &w->queues[far_place(w, d->qid)] : NULL;
    if (q == NULL)
        return;
    struct far_copy *copy = far_copy_at(w, q, d->qseq);
    far_say(w, "message %u of queue %u comes back: %d", q->ids[d->qseq - 1], far_index(w, q),
            d->refused);
    if (d->refused) {
        if (copy->state != FAR_OUT)
            (void)far_fail(w, "message %u comes back, and was not out", q->ids[d->qseq - 1]);
        copy->state = FAR_READY;
        copy->may_be_seen |= d->seen;
    } else if (d->auto_ack) {
        far_end_copy(w, copy, FAR_DONE);
    }
    far_run(w, q);
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
void far_take_returns(struct far_world *w, struct far_mails *from)
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
            far_leave(w, c->id);
        else if (c != NULL && c->woken)
            resume(w, q, c);
        mem_free(m);
    }
}

bool far_return_here(struct far_world *w)
{
    bool any = !STAILQ_EMPTY(&w->returns_here);
    far_take_returns(w, &w->returns_here);
    return any;
}

void far_settle_here(struct far_world *w, uint64_t qid, uint64_t qseq, unsigned session,
                     enum port_settle how, bool by_channel)
{
    unsigned p = far_place(w, qid);
    if (p == FAR_QUEUES)
        return;
    struct far_queue *q = &w->queues[p];
    struct far_copy *copy = far_copy_at(w, q, qseq);
    uint32_t id = q->ids[qseq - 1];
    if (copy->state != FAR_OUT || copy->session != session) {
        (void)far_fail(w, "message %u is settled, and is not out there", id);
        return;
    }
    if (by_channel && (!copy->is_settled || copy->how != how))
        (void)far_fail(w, "message %u is settled otherwise than its channel did", id);
    if (how == PORT_ACK || how == PORT_DROP)
        far_end_copy(w, copy, FAR_DONE);
    else
        copy->state = FAR_READY;
    copy->may_be_seen |= how == PORT_REQUEUE || how == PORT_REQUEUE_SEEN;
    copy->is_settled = false;
    q->has_back = true;
}

void far_run_those_back(struct far_world *w)
{
    for (unsigned i = 0; i < FAR_QUEUES; i++) {
        if (w->queues[i].has_back)
            far_run(w, &w->queues[i]);
        w->queues[i].has_back = false;
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
            (void)far_post(&w->to_sessions, &(struct far_mail){ .kind = FAR_CANCELLED,
                                                                .session = c->session,
                                                                .consumer = c->id });
    }
    for (uint32_t id = 1; id <= w->message_count; id++) {
        struct far_copy *c = &w->messages[id].copy[place];
        if (c->qid == qid && c->state != FAR_REFUSED)
            far_end_copy(w, c, FAR_GONE);
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
            if (far_first_ready(w, queue) != 0)
                (void)far_fail(w,
                               "consumer %" PRIu64 " of queue %u is forgotten: refused=%d woken=%d "
                               "credit=%u",
                               c->id, q, c->refused, c->woken, c->credit);
        }
    }
}
