/* A queue that is purged or deleted, whoever has it for itself alone: an operator asks. */
#include "amqp/amqp_spec.h"
#include "base/mem.h"
#include "cluster/cluster.h"
#include "cluster/meta_node.h"
#include "control.h"
#include "io/mailbox.h"
#include "mgmt/ctl_change.h"
#include "mgmt/ctl_peers.h"
#include "mgmt/mgmt_json.h"
#include "port.h"
#include "shard.h"

/* Asked of the queue's shard. */
struct asking {
    struct mail mail;
    struct ctl *ctl;
    struct http_request *request;
    struct shard *shard;
    struct port_request port;
};

/* How many messages it was about. */
static void tell_count(struct http_request *r, uint64_t messages)
{
    json_t *o = json_object();
    json_out_put_u64(o, "messages", messages);
    ctl_reply(r, o);
}

/* The queue is promised to be deleted: what is left is to forget it. */
static void on_forgotten(struct control_op *op)
{
    struct asking *a = op->arg;
    if (op->verdict != META_REFUSED)
        tell_count(a->request, a->port.messages);
    else
        ctl_refuse(a->request, op->refusal.code == AMQP_RESOURCE_ERROR ? "try_again" : "refused",
                   op->refusal.text);
    control_op_free(&op);
    mem_free(a);
}

static void forget(struct asking *a, const struct meta_queue *q)
{
    struct control_op *op = control_op_new(&(struct meta_cmd){
        .op = META_QUEUE_DELETE, .vhost_id = q->vhost_id, .conn = q->owner, .qid = q->qid });
    op->reply_to = a->ctl->loop;
    op->done = on_forgotten;
    op->arg = a;
    control_send(broker_control(a->ctl->broker), &op);
}

static void refuse(struct http_request *r, const struct port_request *p)
{
    switch (p->verdict) {
    case PORT_IN_USE:
        ctl_refuse(r, "no_such_queue", "Queue is in use");
        return;
    case PORT_NOT_EMPTY:
        ctl_refuse(r, "no_such_queue", "Queue is not empty");
        return;
    case PORT_OK:
    case PORT_NO_QUEUE:
    case PORT_EXCLUSIVE:
    case PORT_NODE_DOWN:
    case PORT_ELSEWHERE:
        break;
    }
    if (p->op == PORT_DELETE)
        ctl_refuse(r, "no_such_queue", "Queue not found");
    else
        ctl_refuse(r, "refused", "not_found");
}

static void on_answer(struct mail *mail)
{
    struct asking *a = CONTAINER_OF(mail, struct asking, mail);
    const struct meta_queue *q = meta_queue_get(broker_meta(a->ctl->broker), a->port.qid);
    if (a->port.verdict == PORT_OK && a->port.op == PORT_DELETE && q != NULL) {
        forget(a, q);
        return;
    }
    if (a->port.verdict == PORT_OK)
        tell_count(a->request, a->port.messages);
    else
        refuse(a->request, &a->port);
    mem_free(a);
}

static void on_ask(struct mail *mail)
{
    struct asking *a = CONTAINER_OF(mail, struct asking, mail);
    port_serve(a->shard, &a->port);
    a->mail.fn = on_answer;
    mailbox_post(a->ctl->loop, &a->mail);
}

/* What concerns its messages is its node's to do. True: it was passed on, or refused. */
static bool is_elsewhere(struct ctl *c, struct http_request *r, const char *command,
                         const json_t *args, const struct meta_queue *q)
{
    struct meta_refusal why;
    uint16_t master = meta_queue_master(broker_meta(c->broker), q);
    if (master == broker_node(c->broker))
        return false;
    if (!meta_queue_is_at_hand(broker_meta(c->broker), q, &why))
        ctl_refuse(r, "refused", why.text);
    else if (ctl_is_local(r))
        ctl_refuse(r, "refused", "the queue is on its way to another node: try again");
    else
        ctl_forward(c, r, master, command, args);
    return true;
}

static void ask(struct ctl *c, struct http_request *r, const char *command, const json_t *args,
                const struct port_request *what)
{
    const struct meta_version *v = broker_meta(c->broker);
    const struct meta_vhost *vh = meta_vhost_find(v, ctl_text(args, "vhost"));
    const struct meta_queue *q =
        vh != NULL ? meta_queue_find(v, vh, ctl_text(args, "queue")) : NULL;
    if (q == NULL) {
        refuse(r, &(struct port_request){ .op = what->op, .verdict = PORT_NO_QUEUE });
        return;
    }
    if (is_elsewhere(c, r, command, args, q))
        return;
    /* Asked before the queue is: what its node has promised to delete is gone. */
    struct meta_refusal why;
    if (what->op == PORT_DELETE && !cluster_may_change(broker_cluster(c->broker), &why)) {
        ctl_refuse(r, "try_again", why.text);
        return;
    }
    struct asking *a = mem_zalloc(sizeof *a);
    *a = (struct asking){ .mail = { NULL, on_ask }, .ctl = c, .request = r, .port = *what };
    a->shard = broker_shard(c->broker, q->shard);
    a->port.qid = q->qid;
    a->port.where = q->shard;
    a->port.asker = a->shard;
    mailbox_post(a->shard->loop, &a->mail);
}

void ctl_serve_delete_queue(struct ctl *c, struct http_request *r, json_t *args)
{
    ask(c, r, "delete_queue", args,
        &(struct port_request){ .op = PORT_DELETE,
                                .if_unused = json_is_true(json_object_get(args, "if_unused")),
                                .if_empty = json_is_true(json_object_get(args, "if_empty")) });
}

void ctl_serve_purge_queue(struct ctl *c, struct http_request *r, json_t *args)
{
    ask(c, r, "purge_queue", args, &(struct port_request){ .op = PORT_PURGE });
}
