#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel.h"
#include "cluster/cluster.h"
#include "control.h"
#include "io/random.h"

static void say_ok(struct channel *ch, uint32_t method);

static const struct meta_vhost *vhost_of(const struct channel *ch)
{
    return channel_vhost(ch, channel_meta(ch));
}

/* ---- changes of the metadata
 * ----------------------------------------------------------------------------- */

static void on_changed(struct control_op *op);

static void send_command(struct channel *ch, const struct meta_cmd *cmd)
{
    struct control_op *op = control_op_new(cmd);
    op->reply_to = ch->conn->shard->loop;
    op->done = on_changed;
    op->shard = ch->conn->shard;
    op->channel = channel_ref(ch);
    control_send(broker_control(ch->conn->shard->broker), &op);
}

/* A queue is there: how much is in it? One that has gone since it was looked up, by another
 * thread's doing, is declared again: who hears that it is declared may use it. */
static void ask_counts(struct channel *ch, uint64_t qid)
{
    const struct meta_queue *q = meta_queue_get(channel_meta(ch), qid);
    const struct control_op *declare = ch->pending.declare;
    if (q == NULL && declare != NULL) {
        send_command(ch, &declare->cmd);
    } else if (q != NULL && (!ch->pending.nowait || declare != NULL)) {
        channel_ask(ch, q, &(struct port_request){ .op = PORT_COUNT });
    } else {
        ch->pending.messages = 0;
        say_ok(ch, AMQP_QUEUE_DECLARE); /* nobody asks, or it was only looked for */
    }
}

static void succeeded(struct channel *ch, uint64_t id)
{
    uint32_t method = ch->pending.method;
    if (method == AMQP_QUEUE_DECLARE)
        ask_counts(ch, id);
    else if (method == AMQP_BASIC_CANCEL)
        channel_on_cancel_deleted(ch);
    else
        say_ok(ch, method);
}

static void refused(struct channel *ch, const struct meta_refusal *why)
{
    uint32_t method = ch->pending.method;
    channel_done(ch);
    channel_refuse(ch, why, method);
}

/* To delete what somebody else has for itself by now is done, as far as the client can tell. */
static bool is_refused(const struct control_op *op)
{
    return op->verdict == META_REFUSED &&
           (op->cmd.op != META_QUEUE_DELETE || op->refusal.code == AMQP_RESOURCE_ERROR);
}

/* A queue that goes with its last consumer is gone for everybody, and its node sees to the rest
 * when there is a majority again. */
static void on_changed(struct control_op *op)
{
    struct channel *ch = channel_find(op->shard, &op->channel);
    if (ch != NULL && is_refused(op) && ch->pending.method != AMQP_BASIC_CANCEL)
        refused(ch, &op->refusal);
    else if (ch != NULL && op->is_made)
        say_ok(ch, ch->pending.method); /* there was nothing in it yet, nor a consumer */
    else if (ch != NULL)
        succeeded(ch, op->id);
    control_op_free(&op);
}

/* The one refusal that comes before rights are looked at: there is no such type of exchange. */
static bool is_unknown_type(const struct meta_result *r, enum meta_verdict verdict)
{
    return verdict == META_REFUSED && r->refusal.code == AMQP_COMMAND_INVALID;
}

/* Answer from what is known, or ask the control thread. */
static void carry_on(struct channel *ch, const struct meta_cmd *cmd)
{
    struct meta_result result;
    meta_result_init(&result);
    enum meta_verdict verdict = meta_check(channel_meta(ch), cmd, &result);
    struct meta_refusal why;
    if (!is_unknown_type(&result, verdict) && !channel_may_command(ch, cmd, &why)) {
        refused(ch, &why);
        meta_result_fini(&result);
        return;
    }
    switch (verdict) {
    case META_REFUSED:
        refused(ch, &result.refusal);
        break;
    case META_DONE:
        succeeded(ch, result.id);
        break;
    case META_CHANGE:
        send_command(ch, cmd);
        break;
    }
    meta_result_fini(&result);
}

void channel_delete_queue(struct channel *ch, uint64_t qid)
{
    send_command(ch, &(struct meta_cmd){ .op = META_QUEUE_DELETE,
                                         .vhost_id = ch->conn->vhost_id,
                                         .conn = ch->conn->id,
                                         .qid = qid });
}

/* ---- answers
 * ------------------------------------------------------------------------------------------------
 */

static void say_queue_declared(struct channel *ch, uint32_t messages, uint32_t consumers)
{
    const struct pending *p = &ch->pending;
    mem_free(ch->last_queue);
    ch->last_queue = mem_dup(p->name, p->name_bytes);
    ch->last_queue_bytes = p->name_bytes;
    if (!p->nowait)
        channel_send(ch,
                     &(struct amqp_method){ .id = AMQP_QUEUE_DECLARE_OK,
                                            .queue_declare_ok = { slice_of(p->name, p->name_bytes),
                                                                  messages, consumers } });
    channel_done(ch);
}

/* X(request, answer) of what is answered with nothing but "ok". */
#define PLAIN_ANSWERS(X)                                                                           \
    X(EXCHANGE_DECLARE, EXCHANGE_DECLARE_OK)                                                       \
    X(EXCHANGE_DELETE, EXCHANGE_DELETE_OK)                                                         \
    X(EXCHANGE_BIND, EXCHANGE_BIND_OK)                                                             \
    X(EXCHANGE_UNBIND, EXCHANGE_UNBIND_OK)                                                         \
    X(QUEUE_BIND, QUEUE_BIND_OK)                                                                   \
    X(QUEUE_UNBIND, QUEUE_UNBIND_OK)

static void say_ok(struct channel *ch, uint32_t method)
{
    struct amqp_method m = { 0 };
    if (method == AMQP_QUEUE_DECLARE) {
        say_queue_declared(ch, 0, 0);
        return;
    }
#define X(request, answer)                                                                         \
    if (method == AMQP_##request)                                                                  \
        m.id = AMQP_##answer;
    PLAIN_ANSWERS(X)
#undef X
    if (method == AMQP_QUEUE_DELETE) {
        m.id = AMQP_QUEUE_DELETE_OK;
        m.queue_delete_ok.message_count = ch->pending.messages;
    } else if (method == AMQP_QUEUE_PURGE) {
        m.id = AMQP_QUEUE_PURGE_OK;
        m.queue_purge_ok.message_count = ch->pending.messages;
    }
    CHECK(m.id != 0);
    if (!ch->pending.nowait)
        channel_send(ch, &m);
    channel_done(ch);
    channel_tell_orphans(ch, ch->pending.qid);
}

/* A channel that consumes under an address of direct reply-to looks like a queue with a consumer.
 */
void channel_on_reply_known(struct channel *ch, bool known)
{
    struct meta_refusal why;
    if (known) {
        say_queue_declared(ch, 0, 1);
        return;
    }
    meta_no_queue(vhost_of(ch), slice_of(ch->pending.name, ch->pending.name_bytes), &why);
    refused(ch, &why);
}

static uint32_t count_of(uint64_t n)
{
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void refuse_delete(struct channel *ch, uint64_t qid, const char *why)
{
    const struct meta_vhost *vh = vhost_of(ch);
    const struct meta_queue *q = meta_queue_get(channel_meta(ch), qid);
    struct slice name = q != NULL ? meta_queue_name(q) : slice_str("");
    channel_done(ch);
    channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_QUEUE_DELETE,
                  "queue '%.*s' in vhost '%.*s' %s", SLICE_ARG(name), vh->name_bytes,
                  (const char *)vh->name, why);
}

static void give_up_lost(struct channel *ch, uint64_t qid)
{
    uint32_t method = ch->pending.method;
    channel_done(ch);
    channel_refuse_lost(ch, qid, method);
}

static void on_delete_answer(struct channel *ch, const struct port_request *r)
{
    switch (r->verdict) {
    case PORT_OK:
        channel_delete_queue(ch, r->qid);
        return;
    case PORT_IN_USE:
        refuse_delete(ch, r->qid, "in use");
        return;
    case PORT_NOT_EMPTY:
        refuse_delete(ch, r->qid, "not empty");
        return;
    case PORT_NODE_DOWN:
    case PORT_ELSEWHERE: /* port.c makes one of the other */
        give_up_lost(ch, r->qid);
        return;
    case PORT_NO_QUEUE: /* somebody else was quicker */
    case PORT_EXCLUSIVE:
        say_ok(ch, AMQP_QUEUE_DELETE);
        return;
    }
    UNREACHABLE("port verdict");
}

/* It is about to be deleted, or went with its node. */
static bool is_going(const struct channel *ch, const struct port_request *r)
{
    return r->verdict == PORT_NO_QUEUE ||
           (r->verdict == PORT_NODE_DOWN && meta_queue_get(channel_meta(ch), r->qid) == NULL);
}

void channel_on_topology_answer(struct channel *ch, struct port_request *r)
{
    ch->pending.messages = count_of(r->messages);
    if (r->op == PORT_COUNT && is_going(ch, r) && ch->pending.declare != NULL)
        send_command(ch, &ch->pending.declare->cmd); /* there will be another one */
    else if (r->verdict == PORT_NODE_DOWN)
        give_up_lost(ch, r->qid);
    else if (r->op == PORT_COUNT)
        say_queue_declared(ch, ch->pending.messages, r->consumers);
    else if (r->op == PORT_DELETE)
        on_delete_answer(ch, r);
    else
        say_ok(ch, AMQP_QUEUE_PURGE);
}

/* ---- requests
 * -----------------------------------------------------------------------------------------------
 */

static void begin(struct channel *ch, uint32_t method, bool nowait)
{
    channel_begin(ch, method);
    ch->pending.nowait = nowait;
    ch->pending.messages = 0;
}

static struct meta_cmd command(const struct channel *ch, enum meta_op op, struct slice name)
{
    return (struct meta_cmd){
        .op = op, .vhost_id = ch->conn->vhost_id, .conn = ch->conn->id, .name = name
    };
}

static void take_exchange_declare(struct channel *ch, const struct amqp_exchange_declare *m)
{
    uint8_t room[META_NAME_MAX];
    struct meta_cmd cmd = command(ch, META_EXCHANGE_DECLARE, meta_strip_name(m->exchange, room));
    cmd.exchange_declare.type = m->type;
    cmd.exchange_declare.args = m->arguments;
    cmd.exchange_declare.passive = m->passive;
    cmd.exchange_declare.durable = m->durable;
    cmd.exchange_declare.auto_delete = m->auto_delete;
    cmd.exchange_declare.internal = m->internal;
    begin(ch, AMQP_EXCHANGE_DECLARE, m->nowait);
    carry_on(ch, &cmd);
}

static void take_exchange_delete(struct channel *ch, const struct amqp_exchange_delete *m)
{
    uint8_t room[META_NAME_MAX];
    struct meta_cmd cmd = command(ch, META_EXCHANGE_DELETE, meta_strip_name(m->exchange, room));
    cmd.exchange_delete.if_unused = m->if_unused;
    begin(ch, AMQP_EXCHANGE_DELETE, m->nowait);
    carry_on(ch, &cmd);
}

static void take_queue_declare(struct channel *ch, const struct amqp_queue_declare *m)
{
    uint8_t room[META_NAME_MAX];
    char made[META_GEN_NAME_BYTES];
    struct slice name = meta_strip_name(m->queue, room);
    bool server_named = name.len == 0 && !m->passive;
    if (server_named) {
        uint8_t chance[16];
        random_octets(chance, sizeof chance);
        meta_gen_name(chance, made);
        name = slice_of(made, sizeof made);
    }
    struct meta_cmd cmd = command(ch, META_QUEUE_DECLARE, name);
    cmd.queue_declare.args = m->arguments;
    cmd.queue_declare.passive = m->passive;
    cmd.queue_declare.durable = m->durable;
    cmd.queue_declare.auto_delete = m->auto_delete;
    cmd.queue_declare.exclusive = m->exclusive;
    cmd.queue_declare.server_named = server_named;
    shard_count(ch->conn->shard, queues_declared, 1);
    begin(ch, AMQP_QUEUE_DECLARE, m->nowait);
    ch->pending.name_bytes = (uint8_t)name.len;
    if (name.len != 0)
        memcpy(ch->pending.name, name.ptr, name.len);
    if (channel_reply_declare(ch, name))
        return;
    if (!m->passive)
        ch->pending.declare = control_op_new(&cmd);
    if (m->exclusive && !m->passive)
        ch->conn->owns_queues = true;
    carry_on(ch, &cmd);
}

struct bind_request {
    uint32_t method;
    enum meta_op op;
    struct slice source;
    struct slice destination;
    struct slice key;
    struct slice args;
    bool to_exchange;
    bool nowait;
};

static void bind(struct channel *ch, const struct bind_request *r)
{
    uint8_t room[META_NAME_MAX];
    uint8_t more_room[META_NAME_MAX];
    struct slice destination = meta_strip_name(r->destination, room);
    struct slice key = r->key;
    if (!r->to_exchange) {
        if (destination.len == 0 && key.len == 0)
            key = slice_of(ch->last_queue, ch->last_queue_bytes); /* 1.7.2.3.4 */
        if (!channel_queue_name(ch, destination, r->method, &destination))
            return;
    }
    struct meta_cmd cmd = command(ch, r->op, slice_of(NULL, 0));
    cmd.bind.source = meta_strip_name(r->source, more_room);
    cmd.bind.destination = destination;
    cmd.bind.key = key;
    cmd.bind.args = r->args;
    cmd.bind.to_exchange = r->to_exchange;
    begin(ch, r->method, r->nowait);
    carry_on(ch, &cmd);
}

static void take_queue_purge(struct channel *ch, const struct amqp_queue_purge *m)
{
    const struct meta_queue *q = channel_open_queue(ch, m->queue, AMQP_QUEUE_PURGE);
    if (q == NULL)
        return;
    begin(ch, AMQP_QUEUE_PURGE, m->nowait);
    channel_ask(ch, q, &(struct port_request){ .op = PORT_PURGE });
}

/* Whether a queue's replicas can be asked on which condition it may go. */
static bool suits_conditions(struct channel *ch, const struct meta_queue *q,
                             const struct amqp_queue_delete *m)
{
    if ((!m->if_unused && !m->if_empty) || !meta_queue_is_quorum(q))
        return true;
    channel_error(ch, AMQP_NOT_IMPLEMENTED, AMQP_QUEUE_DELETE,
                  "cannot delete queue '%.*s' in vhost '%.*s'. queue.delete operations with %s "
                  "flag set are not supported by quorum queues",
                  SLICE_ARG(meta_queue_name(q)), SLICE_ARG(meta_vhost_name(vhost_of(ch))),
                  m->if_unused ? "if-unused" : "if-empty");
    return false;
}

/* Asked before the queue is: what its node has promised to delete is gone. */
static bool may_change_metadata(struct channel *ch, uint32_t method)
{
    struct meta_refusal why;
    if (cluster_may_change(broker_cluster(ch->conn->shard->broker), &why))
        return true;
    channel_refuse(ch, &why, method);
    return false;
}

/* A queue that is not there is deleted already. */
static void take_queue_delete(struct channel *ch, const struct amqp_queue_delete *m)
{
    uint8_t room[META_NAME_MAX];
    struct slice name;
    if (!channel_queue_name(ch, meta_strip_name(m->queue, room), AMQP_QUEUE_DELETE, &name))
        return;
    if (!channel_may(ch, ACCESS_CONFIGURE, ACCESS_QUEUE, name, AMQP_QUEUE_DELETE))
        return;
    const struct meta_version *v = channel_meta(ch);
    const struct meta_queue *q = meta_queue_find(v, vhost_of(ch), name);
    struct meta_refusal why;
    if (q != NULL &&
        (!meta_queue_is_at_hand(v, q, &why) || !meta_queue_is_open_to(v, q, ch->conn->id, &why))) {
        channel_refuse(ch, &why, AMQP_QUEUE_DELETE);
        return;
    }
    if (q != NULL && (!suits_conditions(ch, q, m) || !may_change_metadata(ch, AMQP_QUEUE_DELETE)))
        return;
    begin(ch, AMQP_QUEUE_DELETE, m->nowait);
    if (q == NULL)
        say_ok(ch, AMQP_QUEUE_DELETE);
    else
        channel_ask(ch, q,
                    &(struct port_request){
                        .op = PORT_DELETE, .if_unused = m->if_unused, .if_empty = m->if_empty });
}

bool channel_take_topology(struct channel *ch, const struct amqp_method *m)
{
    if (m->id == AMQP_EXCHANGE_DECLARE)
        take_exchange_declare(ch, &m->exchange_declare);
    else if (m->id == AMQP_EXCHANGE_DELETE)
        take_exchange_delete(ch, &m->exchange_delete);
    else if (m->id == AMQP_EXCHANGE_BIND)
        bind(ch,
             &(struct bind_request){ m->id, META_BIND, m->exchange_bind.source,
                                     m->exchange_bind.destination, m->exchange_bind.routing_key,
                                     m->exchange_bind.arguments, true, m->exchange_bind.nowait });
    else if (m->id == AMQP_EXCHANGE_UNBIND)
        bind(ch, &(struct bind_request){
                     m->id, META_UNBIND, m->exchange_unbind.source, m->exchange_unbind.destination,
                     m->exchange_unbind.routing_key, m->exchange_unbind.arguments, true,
                     m->exchange_unbind.nowait });
    else if (m->id == AMQP_QUEUE_DECLARE)
        take_queue_declare(ch, &m->queue_declare);
    else if (m->id == AMQP_QUEUE_BIND)
        bind(ch, &(struct bind_request){ m->id, META_BIND, m->queue_bind.exchange,
                                         m->queue_bind.queue, m->queue_bind.routing_key,
                                         m->queue_bind.arguments, false, m->queue_bind.nowait });
    else if (m->id == AMQP_QUEUE_UNBIND)
        bind(ch, &(struct bind_request){ m->id, META_UNBIND, m->queue_unbind.exchange,
                                         m->queue_unbind.queue, m->queue_unbind.routing_key,
                                         m->queue_unbind.arguments, false, false });
    else if (m->id == AMQP_QUEUE_PURGE)
        take_queue_purge(ch, &m->queue_purge);
    else if (m->id == AMQP_QUEUE_DELETE)
        take_queue_delete(ch, &m->queue_delete);
    else
        return false;
    return true;
}
