#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel_port.h"
#include "client/returning.h"
#include "cluster/meta_node.h"
#include "control.h"
#include "doorway.h"
#include "hosted.h"
#include "port_lane.h"
#include "port_reply.h"
#include "remote/remote_carry.h"
#include "remote/remote_inner.h"
#include "remote/remote_lane.h"

/* A fence of the other side: so many shards have not answered yet. */
struct remote_fence {
    bool is_lost; /* one of them has lost what it was told */
    struct remote_request *request;
    uint32_t token;
    uint32_t waiting;
};

static struct shard *shard_of(const struct remote_session *ss)
{
    return ss->all->shard;
}

/* How it appears to queues. What is asked by it may carry a number, in the incarnation. */
static struct port_channel_ref ref_of(const struct remote_session *ss, uint32_t token)
{
    return (struct port_channel_ref){ .connection = ss->id, .incarnation = token };
}

static struct remote_session *find(const struct shard *s, const struct port_channel_ref *ref)
{
    return s->remotes != NULL ? idmap_get(&s->remotes->sessions, ref->connection) : NULL;
}

/* ---- what it does here ------------------------------------------------------------------------
 */

/* Mostly the same one as before. */
static const struct meta_queue *find_queue(struct remote_session *ss, uint64_t qid)
{
    const struct meta_version *v = broker_meta(shard_of(ss)->broker);
    if (LIKELY(ss->seen == v && ss->seen_number == v->number && ss->queue != NULL &&
               ss->queue->qid == qid))
        return ss->queue;
    const struct meta_queue *q = meta_queue_get(v, qid);
    if (q != NULL && meta_queue_master(v, q) != broker_node(shard_of(ss)->broker))
        q = NULL;
    ss->seen = v;
    ss->seen_number = v->number;
    ss->queue = q;
    return q;
}

static bool knows(void *arg, uint64_t qid)
{
    return qid <= broker_meta(shard_of(arg)->broker)->last_id;
}

/* Who waits may be gone when the word comes. */
struct known_word {
    struct control_wait wait; /* first: control frees it */
    struct shard *shard;
    uint64_t session;
};

static void on_known(struct mail *mail)
{
    struct known_word *k = CONTAINER_OF(mail, struct known_word, wait.mail);
    struct shard *s = k->shard;
    struct remote_session *ss = find(s, &(struct port_channel_ref){ .connection = k->session });
    mem_free(k);
    if (ss == NULL)
        return;
    ledger_begin(s->ledger);
    if (!remote_server_known(ss->server))
        link_give_up(ss->link);
}

static void await(const struct remote_session *ss, uint64_t qid, uint64_t index)
{
    struct known_word *k = mem_zalloc(sizeof *k);
    k->wait = (struct control_wait){
        .id = qid, .index = index, .reply_to = shard_of(ss)->loop, .done = on_known
    };
    k->shard = shard_of(ss);
    k->session = ss->id;
    struct control_wait *w = &k->wait;
    control_await(broker_control(shard_of(ss)->broker), &w);
}

static void await_known(void *arg, uint64_t qid)
{
    await(arg, qid, 0);
}

static void await_applied(void *arg, uint64_t index)
{
    await(arg, 0, index);
}

static bool has_applied(void *arg, uint64_t index)
{
    return index <= broker_meta(shard_of(arg)->broker)->index;
}

/* To a queue that this node mastered once it stays true that it does not, in that epoch. */
static enum port_published publish_from(struct remote_session *ss, uint64_t qid, struct message **m,
                                        uint64_t number, const struct port_origin *origin)
{
    struct shard *s = shard_of(ss);
    struct port_channel_ref ref = ref_of(ss, 0);
    const struct meta_queue *q = find_queue(ss, qid);
    if (q != NULL)
        return port_publish_from(s, q, m, &ref, number, origin);
    shard_message_drop(s, m);
    return meta_queue_get(broker_meta(s->broker), qid) != NULL ? PORT_MOVED : PORT_TAKEN;
}

/* One that is gone has no need of it. Another node masters it since it was sent, if it is there:
 * then it is taken on, as what is published here is, or refused. */
static enum port_published publish_past(struct remote_session *ss, uint64_t qid, struct message **m,
                                        uint64_t number)
{
    struct shard *s = shard_of(ss);
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), qid);
    struct port_channel_ref ref = ref_of(ss, 0);
    if (q != NULL && remote_carries(s, q))
        return port_publish(s, q, m, &ref, number);
    shard_message_drop(s, m);
    return q != NULL ? PORT_REFUSED : PORT_TAKEN;
}

static enum port_published publish(void *arg, uint64_t qid, struct message **m, uint64_t number,
                                   const struct port_origin *origin)
{
    if (origin->pid != 0)
        return publish_from(arg, qid, m, number, origin);

    struct remote_session *ss = arg;
    const struct meta_queue *q = find_queue(ss, qid);
    struct port_channel_ref ref = ref_of(ss, 0);
    if (UNLIKELY(q == NULL))
        return publish_past(ss, qid, m, number);
    return port_publish(shard_of(ss), q, m, &ref, number);
}

static bool published(void *arg, uint64_t number)
{
    struct remote_session *ss = arg;
    struct port_channel_ref ref = ref_of(ss, 0);
    return port_published(shard_of(ss), &ref, number);
}

static bool find_where(void *arg, uint64_t qid, uint32_t *where)
{
    const struct meta_queue *q = find_queue(arg, qid);
    if (q != NULL)
        *where = q->shard;
    return q != NULL;
}

static bool is_elsewhere(void *arg, uint64_t qid)
{
    return meta_queue_get(broker_meta(shard_of(arg)->broker), qid) != NULL;
}

/* It was done before this node knew more of who masters what. */
static void answer_fence(struct remote_session *ss, struct remote_fence *f)
{
    f->request->request.verdict = f->is_lost ? PORT_NODE_DOWN : PORT_OK;
    f->request->request.messages = broker_meta(shard_of(ss)->broker)->index;
    remote_server_on_answer(ss->server, f->request);
    mem_free(f->request);
    mem_free(f);
}

/* All shards of this node: which of them it concerns nobody has kept. */
static void ask_fence(struct remote_session *ss, struct remote_request *r)
{
    struct remote_fence *f = mem_alloc(sizeof *f);
    uint32_t token = (uint32_t)++ss->all->next_token;
    struct port_channel_ref ref = ref_of(ss, token);
    *f = (struct remote_fence){ .request = r, .token = token };
    f->waiting = port_fence_all(shard_of(ss), &ref, r->request.durable);
    if (f->waiting != 0) {
        idmap_put(&ss->fences, token, f);
        return;
    }
    answer_fence(ss, f);
}

static void ask(void *arg, struct remote_request *r)
{
    struct remote_session *ss = arg;
    if (r->request.op == PORT_FENCE) {
        ask_fence(ss, r);
        return;
    }
    r->request.from = ref_of(ss, 0);
    struct port_request *request = &r->request;
    port_ask(shard_of(ss), &request);
}

static void settle(void *arg, const struct unacked_entry *e, enum port_settle how)
{
    port_settle(shard_of(arg), e, how);
}

/* It may have been moved on, or not have come yet to where this node knows of it. */
static void settle_moved(void *arg, uint64_t qid, uint64_t qseq, enum port_settle how)
{
    struct shard *s = shard_of(arg);
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), qid);
    if (q != NULL)
        port_settle_handed(s, q->shard, qid, qseq, how);
}

static void settled(void *arg)
{
    port_settled(shard_of(arg));
}

static void wake(void *arg, uint32_t where, uint64_t consumer, uint32_t credit)
{
    port_wake(shard_of(arg), where, consumer, credit);
}

static void abandon(void *arg, uint32_t where, uint64_t qid, uint64_t consumer)
{
    port_abandon(shard_of(arg), where, qid, consumer);
}

static void returned(void *arg, const struct remote_delivery *d)
{
    port_return(shard_of(arg), d->where,
                &(struct deliver_item){ .kind = DELIVER_MESSAGE,
                                        .qid = d->qid,
                                        .qseq = d->qseq,
                                        .consumer = d->consumer,
                                        .bytes = d->bytes,
                                        .known = d->known,
                                        .auto_ack = d->auto_ack,
                                        .refused = d->refused,
                                        .seen = d->seen });
}

static void returned_all(void *arg)
{
    port_return_here(shard_of(arg));
}

static bool reply(void *arg, const struct reply_address *to, struct message *m)
{
    struct remote_session *ss = arg;
    struct port_channel_ref ref = ref_of(ss, 0);
    return port_reply(shard_of(ss), to, m, &ref);
}

static void reply_ask(void *arg, const struct reply_address *to, uint32_t token)
{
    struct remote_session *ss = arg;
    struct port_channel_ref ref = ref_of(ss, token);
    port_reply_ask(shard_of(ss), to, &ref);
}

static void delete_queue(void *arg, uint64_t qid)
{
    shard_delete_queue(shard_of(arg), qid);
}

static void give_back(void *arg, struct unacked *u)
{
    returnings_add(shard_of(arg)->returnings, u);
}

/* An alarm, or the disk does not keep up: they are charged for what they have sent, and stop. */
static bool is_short(void *arg)
{
    struct shard *s = shard_of(arg);
    return broker_has_alarm(s->broker) || ledger_is_behind(s->ledger);
}

static void made(void *arg, struct message *m)
{
    shard_message_made(shard_of(arg), m);
}

static void count(void *arg, int64_t octets)
{
    shard_count_bytes(shard_of(arg), octets);
}

static const struct remote_server_ops server_ops = {
    .knows = knows,
    .await_known = await_known,
    .has_applied = has_applied,
    .await_applied = await_applied,
    .publish = publish,
    .published = published,
    .find = find_where,
    .is_elsewhere = is_elsewhere,
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

/* ---- the link ---------------------------------------------------------------------------------
 */

static void send_frame(void *arg, struct buf *block, struct slice bytes, bool more)
{
    struct remote_session *ss = arg;
    remote_send(ss->link, block, bytes, more);
}

static bool is_full(void *arg)
{
    return link_is_full(((struct remote_session *)arg)->link);
}

static void soon(void *arg)
{
    struct remote_session *ss = arg;
    if (ss->is_due)
        return;
    ss->is_due = true;
    TAILQ_INSERT_TAIL(&ss->all->due_sessions, ss, due_entry);
    loop_at_turn_end(shard_of(ss)->loop, &ss->all->flush_task);
}

static void drop(void *arg, struct message **m)
{
    shard_message_drop(shard_of(arg), m);
}

static void free_session(void *ptr)
{
    mem_free(ptr);
}

static void drop_fences(struct remote_session *ss)
{
    for (struct remote_fence *f; (f = idmap_first(&ss->fences)) != NULL; mem_free(f)) {
        idmap_take(&ss->fences, f->token);
        mem_free(f->request);
    }
    idmap_fini(&ss->fences);
}

static void take_apart(struct remote_session *ss)
{
    idmap_take(&ss->all->sessions, ss->id);
    if (ss->is_due)
        TAILQ_REMOVE(&ss->all->due_sessions, ss, due_entry);
    drop_fences(ss);
    remote_server_free(&ss->server);
    remote_end_link(ss->all, ss->node, &ss->link);
    loop_bury(shard_of(ss)->loop, ss, free_session);
}

static void lose(struct remote_session *ss)
{
    remote_server_lost(ss->server);
    take_apart(ss);
}

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    struct remote_session *ss = arg;
    ledger_begin(shard_of(ss)->ledger);
    if (!remote_server_take(ss->server, f->payload, f->type == REMOTE_FRAME_MORE))
        link_give_up(l);
}

static void on_room(struct link *l, void *arg)
{
    struct remote_session *ss = arg;
    (void)l;
    remote_server_on_room(ss->server);
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    struct remote_session *ss = arg;
    (void)l;
    log_warn("remote", broker_name(shard_of(ss)->broker),
             "channels of another node are gone: what they held goes back node=%u shard=%u: %s%s%s",
             (unsigned)ss->node, shard_of(ss)->index, link_loss_text(why),
             err != NULL && err->text[0] != '\0' ? ": " : "", err != NULL ? err->text : "");
    lose(ss);
}

static enum link_refusal judge(const struct link_peer *peer, void *arg)
{
    const struct remotes *r = arg;
    const struct meta_version *v = broker_meta(r->shard->broker);
    if (meta_node_get(v, peer->id.node) != NULL)
        return LINK_REFUSED_NONE;
    return peer->id.node > v->last_node ? LINK_REFUSED_BUSY : LINK_REFUSED_NOT_MEMBER;
}

static void on_link(struct link *l, const struct link_peer *peer, void *arg)
{
    static const struct link_handlers handlers = { .on_frame = on_frame,
                                                   .on_room = on_room,
                                                   .on_lost = on_lost };
    struct remotes *r = arg;
    struct remote_session *ss = mem_zalloc(sizeof *ss);
    ss->all = r;
    ss->id = shard_new_id(r->shard);
    ss->node = peer->id.node;
    ss->link = l;
    idmap_init(&ss->fences);
    ss->server = remote_server_new(
        &server_ops, ss, &(struct remote_pipe){ send_frame, is_full, soon, drop, ss }, ss->id);
    idmap_put(&r->sessions, ss->id, ss);
    link_set_owner(l, &handlers, ss);
}

struct link_hall *remote_open_hall(struct remotes *r)
{
    static const struct link_hall_handlers handlers = { .judge = judge, .on_link = on_link };
    CHECK(r->hall == NULL);
    r->hall = link_hall_new(
        r->shard->loop, doorway_node(broker_doorway(r->shard->broker)),
        &(struct link_hall_options){ .class = LINK_BULK, .resume_ms = LINK_RESUME_MS }, &handlers,
        r);
    return r->hall;
}

void remote_flush_sessions(struct remotes *r)
{
    struct remote_session *ss;
    while ((ss = TAILQ_FIRST(&r->due_sessions)) != NULL) {
        TAILQ_REMOVE(&r->due_sessions, ss, due_entry);
        ss->is_due = false;
        remote_server_flush(ss->server);
    }
}

void remote_close_sessions(struct remotes *r)
{
    for (struct remote_session *ss; (ss = idmap_first(&r->sessions)) != NULL;)
        take_apart(ss);
}

/* None can be added meanwhile. */
static void lose_those(struct remotes *r,
                       bool (*is_meant)(const struct remote_session *ss, uint16_t node),
                       uint16_t node)
{
    struct remote_session *ss;
    do {
        size_t at = 0;
        while ((ss = idmap_next(&r->sessions, &at)) != NULL && !is_meant(ss, node))
            ;
        if (ss != NULL)
            lose(ss);
    } while (ss != NULL);
}

static bool is_of(const struct remote_session *ss, uint16_t node)
{
    return ss->node == node;
}

static bool is_broken(const struct remote_session *ss, uint16_t node)
{
    (void)node;
    return !link_is_connected(ss->link);
}

void remote_lose_sessions(struct remotes *r, uint16_t node)
{
    lose_those(r, is_of, node);
}

void remote_lose_broken_sessions(struct remotes *r)
{
    lose_those(r, is_broken, 0);
}

void remote_go_on(struct shard *s)
{
    size_t at = 0;
    if (!remote_is_used(s))
        return;
    for (struct remote_session *ss; (ss = idmap_next(&s->remotes->sessions, &at)) != NULL;)
        remote_server_go_on(ss->server);
}

bool remote_is_used(const struct shard *s)
{
    return s->remotes != NULL && s->remotes->sessions.count != 0;
}

/* ---- what comes for it ------------------------------------------------------------------------
 */

bool remote_session_lives(struct shard *s, const struct port_channel_ref *ref)
{
    const struct remote_session *ss = find(s, ref);
    return ss != NULL && !ss->server->is_lost;
}

void remote_on_published(struct shard *s, const struct port_channel_ref *ref, uint64_t number,
                         bool ok)
{
    struct remote_session *ss = find(s, ref);
    struct remote_lane *lane = ss == NULL ? remote_carry_lane(s, ref) : NULL;
    if (ss != NULL)
        remote_server_on_published(ss->server, number, ok);
    else if (lane != NULL)
        remote_lane_on_answers(lane, number, 1, 1, ok);
}

void remote_on_publish_moved(struct shard *s, const struct port_channel_ref *ref, uint64_t number,
                             uint64_t qid)
{
    struct remote_session *ss = find(s, ref);
    struct remote_lane *lane = ss == NULL ? remote_carry_lane(s, ref) : NULL;
    if (ss != NULL) {
        remote_server_on_publish_moved(ss->server, number, qid);
    } else if (lane != NULL) {
        remote_lane_on_moved(lane, number, qid);
        remote_lane_on_answers(lane, number, 1, 1, true);
    }
}

void remote_on_durable(struct shard *s, const struct port_channel_ref *ref, uint64_t first,
                       uint32_t number_count)
{
    struct remote_session *ss = find(s, ref);
    struct remote_lane *lane = ss == NULL ? remote_carry_lane(s, ref) : NULL;
    if (ss != NULL)
        remote_server_on_durable(ss->server, first, number_count);
    else if (lane != NULL)
        remote_lane_on_answers(lane, first, number_count, 1, true);
}

void remote_on_taken(struct shard *s, const struct port_channel_ref *ref)
{
    struct remote_session *ss = find(s, ref);
    if (ss != NULL)
        remote_server_on_taken(ss->server, 1);
}

void remote_on_answer(struct shard *s, struct port_request *r)
{
    struct remote_session *ss = find(s, &r->from);
    CHECK(ss != NULL);
    remote_server_on_answer(ss->server, CONTAINER_OF(r, struct remote_request, request));
}

void remote_on_fenced(struct shard *s, const struct port_channel_ref *ref, bool is_lost)
{
    struct remote_session *ss = find(s, ref);
    struct remote_fence *f = ss != NULL ? idmap_get(&ss->fences, ref->incarnation) : NULL;
    if (f == NULL)
        return;
    f->is_lost = f->is_lost || is_lost;
    if (--f->waiting != 0)
        return;
    idmap_take(&ss->fences, f->token);
    answer_fence(ss, f);
}

void remote_on_reply_known(struct shard *s, const struct port_channel_ref *ref, bool known)
{
    struct remote_session *ss = find(s, ref);
    if (ss != NULL)
        remote_server_on_reply_known(ss->server, ref->incarnation, known);
}

bool remote_on_delivery(struct shard *s, const struct port_channel_ref *ref,
                        const struct remote_delivery *d, struct message *m)
{
    struct remote_session *ss = find(s, ref);
    return ss != NULL && !ss->server->is_lost && remote_server_deliver(ss->server, d, m);
}

void remote_on_resumed(struct shard *s, const struct port_channel_ref *ref, uint64_t consumer)
{
    struct remote_session *ss = find(s, ref);
    if (ss != NULL)
        remote_server_on_resumed(ss->server, consumer);
}

void remote_on_served(struct shard *s, const struct port_channel_ref *ref, uint64_t consumer)
{
    struct remote_session *ss = find(s, ref);
    if (ss != NULL)
        remote_server_on_served(ss->server, consumer);
}

void remote_on_cancelled(struct shard *s, const struct port_channel_ref *ref, uint64_t consumer)
{
    struct remote_session *ss = find(s, ref);
    if (ss != NULL)
        remote_server_on_cancelled(ss->server, consumer);
}

void remote_on_consumer_moved(struct shard *s, const struct port_channel_ref *ref,
                              uint64_t consumer)
{
    struct remote_session *ss = find(s, ref);
    if (ss != NULL)
        remote_server_on_consumer_moved(ss->server, consumer);
}
