/* Where queues are among the nodes, and where an operator wants them: find_queue, move_master,
 * force_promote, sync_queue, cancel_sync_queue, rebalance. */
#include "amqp/amqp_spec.h"
#include "base/mem.h"
#include "cluster/cluster.h"
#include "cluster/meta_items.h"
#include "cluster/meta_node.h"
#include "control.h"
#include "hosted.h"
#include "io/mailbox.h"
#include "mgmt/ctl_change.h"
#include "mgmt/ctl_peers.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_json.h"
#include "mirrored_lead.h"
#include "shard.h"

static bool queue_of(struct ctl *c, struct http_request *r, const json_t *args,
                     const struct meta_queue **out)
{
    const struct meta_vhost *vh;
    if (!ctl_vhost_of(c, r, args, &vh))
        return false;
    *out = meta_queue_find(broker_meta(c->broker), vh, ctl_text(args, "queue"));
    if (*out == NULL)
        ctl_refuse_queue(r, args);
    return *out != NULL;
}

static bool is_up(const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = meta_node_get(v, node);
    return n != NULL && meta_node_is_serving(n);
}

/* ---- why a queue is not served ---- */

enum whom { IN_SYNC, BEHIND };

static unsigned put_nodes(const struct ctl *c, struct text *t, const struct meta_placement *p,
                          enum whom whom, const char *before)
{
    unsigned count = 0;
    for (unsigned i = 0; i < p->count; i++) {
        const struct meta_replica *r = meta_placement_replica(p, i);
        if ((r->inc != 0) != (whom == IN_SYNC))
            continue;
        text_str(t, count++ == 0 ? before : ", ");
        text_slice(t, mgmt_node_name(c->mgmt, r->node));
    }
    return count;
}

/* Others do without these while that lasts, so a queue that is on them may wait or have fewer
 * mirrors. */
static void put_unwell(const struct ctl *c, struct text *t, const struct meta_version *v,
                       const struct meta_placement *p)
{
    unsigned count = 0;
    for (unsigned i = 0; i < p->count; i++) {
        const struct meta_replica *r = meta_placement_replica(p, i);
        const struct meta_node *n = meta_node_get(v, r->node);
        if (n == NULL || n->state != META_NODE_IS_UNWELL)
            continue;
        text_str(t, count++ == 0 ? "; unwell, since it does not keep up: " : ", ");
        text_slice(t, mgmt_node_name(c->mgmt, r->node));
    }
}

static void put_waits(const struct ctl *c, struct text *t, const struct meta_placement *p)
{
    struct slice master = mgmt_node_name(c->mgmt, p->master);
    if (p->state == META_PLACED_DAMAGED)
        text_put(t, "is damaged: %.*s was the only node that was in sync, and has lost messages",
                 SLICE_ARG(master));
    else if (p->isr_count > 1)
        (void)put_nodes(c, t, p, IN_SYNC, "waits for the first of these nodes to be there: ");
    else if (p->count == 1)
        text_put(t, "has its only copy on %.*s, and waits for that node", SLICE_ARG(master));
    else
        text_put(t, "waits for %.*s, the only node that was in sync", SLICE_ARG(master));
    if (p->isr_count == 1 && put_nodes(c, t, p, BEHIND, "; not in sync: ") != 0)
        text_str(t, "; 'warrenctl force_promote QUEUE NODE' gives it to one of these, and what "
                    "that one lacks is lost");
    else if (p->state == META_PLACED_DAMAGED)
        text_put(t, "; 'warrenctl force_promote QUEUE %.*s' serves what is left",
                 SLICE_ARG(master));
}

static void put_why(const struct ctl *c, struct text *t, const struct meta_version *v,
                    const struct meta_queue *q, const struct meta_placement *p)
{
    struct slice master = mgmt_node_name(c->mgmt, p->master);
    if (!meta_queue_is_served(v, q)) {
        put_waits(c, t, p);
    } else {
        text_put(t, "is served by %.*s", SLICE_ARG(master));
        if (p->isr_count > 1)
            (void)put_nodes(c, t, p, IN_SYNC, "; in sync: ");
        (void)put_nodes(c, t, p, BEHIND, "; not in sync: ");
    }
    put_unwell(c, t, v, p);
}

void ctl_serve_find_queue(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_queue *q;
    struct meta_placement p;
    struct text why;
    if (!queue_of(c, r, args, &q))
        return;
    const struct meta_version *v = broker_meta(c->broker);
    meta_placement_of(v, q, &p);
    text_init(&why, (size_t)META_REPLICAS_MAX * META_NAME_MAX + 1024);
    put_why(c, &why, v, q, &p);
    json_t *o = json_object();
    json_out_put(o, "node", json_out_text(mgmt_node_name(c->mgmt, p.master)));
    json_out_put_bool(o, "is_served", meta_queue_is_served(v, q));
    json_out_put_bool(o, "is_mirrored", p.count > 1);
    json_out_put(o, "why", json_out_text(text_view(&why)));
    text_fini(&why);
    ctl_reply(r, o);
}

/* ---- another master ---- */

struct moving {
    struct ctl *ctl;
    struct http_request *request;
    uint64_t qid;
    uint16_t node;
};

/* A change that came before it makes it void. */
static void on_moved(struct control_op *op)
{
    struct moving *m = op->arg;
    const struct meta_version *v = broker_meta(m->ctl->broker);
    const struct meta_queue *q = meta_queue_get(v, m->qid);
    if (op->verdict == META_REFUSED)
        ctl_refuse(m->request, op->refusal.code == AMQP_RESOURCE_ERROR ? "try_again" : "refused",
                   op->refusal.text);
    else if (q == NULL)
        ctl_refuse(m->request, "refused", "not_found");
    else if (meta_queue_master(v, q) != m->node)
        ctl_refuse(m->request, "try_again",
                   "the queue has changed meanwhile, and was not moved: try again");
    else
        ctl_done(m->request);
    control_op_free(&op);
    mem_free(m);
}

static void send(struct ctl *c, struct http_request *r, const struct meta_queue *q, uint16_t node,
                 const struct meta_cmd *cmd)
{
    struct moving *m = mem_zalloc(sizeof *m);
    *m = (struct moving){ c, r, q->qid, node };
    struct control_op *op = control_op_new(cmd);
    op->reply_to = c->loop;
    op->done = on_moved;
    op->arg = m;
    control_send(broker_control(c->broker), &op);
}

/* The queue and the node that the arguments name; false: that is answered. */
static bool both_of(struct ctl *c, struct http_request *r, const json_t *args,
                    const struct meta_queue **q, const struct meta_node **n)
{
    char room[META_TEXT_MAX];
    struct text t = text_over(room, sizeof room);
    struct slice name = ctl_text(args, "node");
    if (!queue_of(c, r, args, q))
        return false;
    *n = meta_node_find(broker_meta(c->broker), name);
    text_str(&t, "the node ");
    text_utf8(&t, name);
    text_str(&t, " is not a member of the cluster");
    if (*n == NULL)
        ctl_refuse(r, "refused", room);
    return *n != NULL;
}

/* NULL: it can be moved there at once. */
static const char *why_not(const struct meta_version *v, const struct meta_placement *p,
                           uint16_t node)
{
    if (meta_placement_find(p, node) == NULL)
        return "has no copy there: a policy makes mirrors";
    if (!meta_placement_is_in_sync(p, node))
        return "has a mirror there that is not in sync; sync_queue brings it up to date";
    if (!is_up(v, node))
        return "has a mirror there, and that node is not up";
    return p->state == META_PLACED_DAMAGED ? "is damaged" : NULL;
}

static void refuse_move(struct http_request *r, const struct meta_queue *q,
                        const struct meta_node *n, const char *why)
{
    char room[META_TEXT_MAX * 2];
    struct text t = text_over(room, sizeof room);
    text_str(&t, "queue '");
    text_utf8(&t, meta_queue_name(q));
    text_put(&t, "' cannot be moved to %.*s: it %s", SLICE_ARG(n->name), why);
    ctl_refuse(r, "refused", room);
}

void ctl_serve_move_master(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_version *v = broker_meta(c->broker);
    const struct meta_queue *q;
    const struct meta_node *n;
    struct meta_placement p;
    if (!both_of(c, r, args, &q, &n))
        return;
    meta_placement_of(v, q, &p);
    if (p.master == n->node) {
        ctl_done(r);
        return;
    }
    const char *why = why_not(v, &p, n->node);
    if (why != NULL) {
        refuse_move(r, q, n, why);
        return;
    }
    uint8_t room[META_MOVE_ITEM_BYTES];
    struct wire_out w = wire_out_over(room, sizeof room);
    meta_move_item_put(&w, &(struct meta_move_item){ q->qid, p.epoch, n->node });
    struct meta_cmd cmd = { .op = META_MASTER_MOVE };
    cmd.master_move.items = wire_out_slice(&w);
    send(c, r, q, n->node, &cmd);
}

/* A node that is only cut off goes on serving what it has alone: nobody else's leave is needed for
 * that. So it is to be known that its process is gone, or that it has stopped, or that it will hear
 * of this. */
static bool may_serve_on(const struct ctl *c, uint16_t node)
{
    const struct meta_node *n = meta_node_get(broker_meta(c->broker), node);
    const struct cluster_status *s = cluster_status(broker_cluster(c->broker));
    if (n == NULL || n->state != META_NODE_IS_DOWN)
        return false;
    for (size_t i = 0; i < s->count; i++)
        if (s->peers[i].id == node)
            return !s->peers[i].is_gone;
    return true;
}

static void refuse_second(const struct ctl *c, struct http_request *r, const struct meta_queue *q,
                          uint16_t master)
{
    char room[META_TEXT_MAX * 2];
    struct text t = text_over(room, sizeof room);
    text_str(&t, "queue '");
    text_utf8(&t, meta_queue_name(q));
    text_put(
        &t,
        "' may still be served by %.*s, which is down, but not known to be dead: if it is only "
        "cut off, what its clients are confirmed from now on would be lost; stop it, and say "
        "--master-is-dead",
        SLICE_ARG(mgmt_node_name(c->mgmt, master)));
    ctl_refuse(r, "refused", room);
}

void ctl_serve_force_promote(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_queue *q;
    const struct meta_node *n;
    struct meta_placement p;
    if (!both_of(c, r, args, &q, &n))
        return;
    meta_placement_of(broker_meta(c->broker), q, &p);
    if (p.master != n->node && p.state == META_PLACED_DOWN && may_serve_on(c, p.master) &&
        !json_is_true(json_object_get(args, "master_is_dead"))) {
        refuse_second(c, r, q, p.master);
        return;
    }
    struct meta_cmd cmd = { .op = META_FORCE_PROMOTE, .qid = q->qid };
    cmd.force_promote.node = n->node;
    cmd.force_promote.epoch = p.epoch;
    send(c, r, q, n->node, &cmd);
}

/* ---- what mirrors lack ---- */

/* Asked of the queue's shard, where its master is. */
struct syncing {
    struct mail mail;
    struct ctl *ctl;
    struct http_request *request;
    struct shard *shard;
    uint64_t qid;
    bool is_cancel;
    bool is_done;
};

static void on_synced(struct mail *mail)
{
    struct syncing *y = CONTAINER_OF(mail, struct syncing, mail);
    if (y->is_cancel) {
        json_t *o = json_object();
        json_out_put_bool(o, "was_syncing", y->is_done);
        ctl_reply(y->request, o);
    } else if (y->is_done) {
        ctl_done(y->request);
    } else {
        ctl_refuse(y->request, "refused", "not_mirrored");
    }
    mem_free(y);
}

static void on_sync(struct mail *mail)
{
    struct syncing *y = CONTAINER_OF(mail, struct syncing, mail);
    struct hosted *h = shard_hosted(y->shard, y->qid);
    if (h != NULL)
        y->is_done = y->is_cancel ? mirrored_cancel_sync(h) : mirrored_sync(h);
    y->mail.fn = on_synced;
    mailbox_post(y->ctl->loop, &y->mail);
}

static void sync_queue(struct ctl *c, struct http_request *r, const char *command, json_t *args)
{
    const struct meta_version *v = broker_meta(c->broker);
    const struct meta_queue *q;
    struct meta_refusal why;
    if (!queue_of(c, r, args, &q))
        return;
    uint16_t master = meta_queue_master(v, q);
    if (!meta_queue_is_at_hand(v, q, &why)) {
        ctl_refuse(r, "refused", why.text);
    } else if (master != broker_node(c->broker) && ctl_is_local(r)) {
        ctl_refuse(r, "try_again", "the queue is on its way to another node: try again");
    } else if (master != broker_node(c->broker)) {
        ctl_forward(c, r, master, command, args);
    } else {
        struct syncing *y = mem_zalloc(sizeof *y);
        *y = (struct syncing){ { NULL, on_sync },
                               c,
                               r,
                               broker_shard(c->broker, q->shard),
                               q->qid,
                               slice_is(slice_str(command), "cancel_sync_queue"),
                               false };
        mailbox_post(y->shard->loop, &y->mail);
    }
}

void ctl_serve_sync_queue(struct ctl *c, struct http_request *r, json_t *args)
{
    sync_queue(c, r, "sync_queue", args);
}

void ctl_serve_cancel_sync_queue(struct ctl *c, struct http_request *r, json_t *args)
{
    sync_queue(c, r, "cancel_sync_queue", args);
}

/* ---- rebalance ---- */

/* In the words of rabbitmq-queues. */
static json_t *shares(const struct ctl *c)
{
    const struct meta_version *v = broker_meta(c->broker);
    uint64_t quorum[META_NODES_MAX] = { 0 }, classic[META_NODES_MAX] = { 0 };
    struct pmap_iter it;
    json_t *rows = json_array();
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        for (size_t i = 0; i < meta_node_count(v); i++)
            if (meta_node_at(v, i)->node == meta_queue_master(v, q))
                ++*(meta_queue_is_quorum(q) ? &quorum[i] : &classic[i]);
    for (size_t i = 0; i < meta_node_count(v); i++)
        if (meta_node_at(v, i)->type != META_NODE_WITNESS)
            json_array_append_new(rows,
                                  json_pack("[o, I, I]", json_out_text(meta_node_at(v, i)->name),
                                            (json_int_t)quorum[i], (json_int_t)classic[i]));
    return rows;
}

struct balancing {
    struct ctl *ctl;
    struct http_request *request;
};

static const char *code_of(const struct err *err)
{
    if (err->code == ERR_LIMIT)
        return "try_again";
    return err->code == ERR_RESOLVE ? "bad_data" : "refused";
}

static void on_balanced(struct cluster_ask *a)
{
    struct balancing *b = a->arg;
    if (a->ok) {
        json_t *o = json_object();
        json_out_put(o, "rows", shares(b->ctl));
        json_out_put_bool(o, "is_under_way", a->is_under_way);
        ctl_reply(b->request, o);
    } else {
        ctl_refuse(b->request, code_of(&a->err), a->err.text);
    }
    mem_free(b);
    mem_free(a);
}

/* Who leads the cluster does it. */
void ctl_serve_rebalance(struct ctl *c, struct http_request *r, json_t *args)
{
    uint16_t leader = cluster_status(broker_cluster(c->broker))->leader;
    if (leader == 0) {
        ctl_refuse(r, "try_again", "the cluster has no leader now");
        return;
    }
    if (leader != broker_node(c->broker) && !ctl_is_local(r)) {
        ctl_forward(c, r, leader, "rebalance", args);
        return;
    }
    struct cluster_ask *a = mem_zalloc(sizeof *a);
    struct balancing *b = mem_zalloc(sizeof *b);
    struct text t = text_over(a->target, sizeof a->target);
    text_slice(&t, ctl_text(args, "pattern"));
    *b = (struct balancing){ c, r };
    a->order = CLUSTER_REBALANCE;
    a->reply_to = c->loop;
    a->done = on_balanced;
    a->arg = b;
    cluster_send(broker_cluster(c->broker), &a);
}
