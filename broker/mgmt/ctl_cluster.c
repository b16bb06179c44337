/* Who belongs to the cluster: join_cluster, reset, forget_cluster_node and their like. */
#include "amqp/amqp_spec.h"
#include "base/mem.h"
#include "cluster/cluster.h"
#include "cluster/meta_node.h"
#include "control.h"
#include "mgmt/ctl_change.h"
#include "mgmt/ctl_peers.h"
#include "mgmt/mgmt_http.h"
#include "service.h"

#include <string.h>

static const char *code_of(const struct err *err)
{
    if (err->code == ERR_LIMIT)
        return "try_again";
    return err->code == ERR_RESOLVE ? "bad_data" : "refused";
}

static void on_done(struct cluster_ask *a)
{
    struct http_request *r = a->arg;
    if (a->ok)
        ctl_done(r);
    else
        ctl_refuse(r, code_of(&a->err), a->err.text);
    mem_free(a);
}

static struct cluster_ask *ask_new(const struct ctl *c, struct http_request *r,
                                   enum cluster_order order)
{
    struct cluster_ask *a = mem_zalloc(sizeof *a);
    a->order = order;
    a->reply_to = c->loop;
    a->done = on_done;
    a->arg = r;
    return a;
}

static void send(const struct ctl *c, struct cluster_ask *a)
{
    cluster_send(broker_cluster(c->broker), &a);
}

/* False: it is none that fits, and that is answered. */
static bool target_of(struct http_request *r, const json_t *args, struct cluster_ask *a)
{
    struct text t = text_over(a->target, sizeof a->target);
    text_slice(&t, ctl_text(args, "node"));
    if (t.len != 0 && !t.cut)
        return true;
    ctl_refuse(r, "bad_data", t.cut ? "the names of the nodes are too long" : "no node is named");
    mem_free(a);
    return false;
}

static enum broker_node_type type_of(const json_t *args)
{
    return slice_is(ctl_text(args, "type"), "ram") ? BROKER_NODE_RAM : BROKER_NODE_DISC;
}

void ctl_serve_join_cluster(struct ctl *c, struct http_request *r, json_t *args)
{
    struct cluster_ask *a = ask_new(c, r, CLUSTER_JOIN);
    if (!target_of(r, args, a))
        return;
    a->type = type_of(args);
    send(c, a);
}

void ctl_serve_change_cluster_node_type(struct ctl *c, struct http_request *r, json_t *args)
{
    if (meta_node_count(broker_meta(c->broker)) < 2 && type_of(args) != BROKER_NODE_DISC) {
        ctl_refuse(r, "refused", "{:not_clustered, 'Non-clustered nodes can only be disc nodes.'}");
        return;
    }
    struct cluster_ask *a = ask_new(c, r, CLUSTER_CHANGE_TYPE);
    a->type = type_of(args);
    send(c, a);
}

void ctl_serve_forget_cluster_node(struct ctl *c, struct http_request *r, json_t *args)
{
    if (meta_node_find(broker_meta(c->broker), ctl_text(args, "node")) == NULL) {
        ctl_refuse(r, "refused",
                   "{:not_a_cluster_node, 'The node selected is not in the cluster.'}");
        return;
    }
    struct cluster_ask *a = ask_new(c, r, CLUSTER_FORGET);
    if (target_of(r, args, a))
        send(c, a);
}

void ctl_serve_reset(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    send(c, ask_new(c, r, CLUSTER_RESET));
}

void ctl_serve_force_reset(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    send(c, ask_new(c, r, CLUSTER_FORCE_RESET));
}

/* A node learns of the others by itself and keeps their addresses; what is named must be one. */
void ctl_serve_update_cluster_nodes(struct ctl *c, struct http_request *r, json_t *args)
{
    struct slice name = ctl_text(args, "node");
    if (meta_node_find(broker_meta(c->broker), name) != NULL) {
        ctl_done(r);
        return;
    }
    char room[META_TEXT_MAX];
    struct text t = text_over(room, sizeof room);
    text_put(&t,
             "%.*s is not in the cluster of this node: join_cluster makes it a member of "
             "another one",
             SLICE_ARG(name));
    ctl_refuse(r, "refused", room);
}

/* ---- stop_cluster ---- */

/*
 * So that all nodes have the same afterwards, and any of them may be the first to start:
 *
 *   1  The cluster is frozen: who stops from now on stays in sync.
 *   2  Each node closes its clients and says that its application is stopped, while all of them
 *      are there to agree on it; this one last.
 *   3  Their processes end, this one's last.
 */
struct stopping {
    struct ctl *ctl;
    struct http_request *request;
    size_t count;
    uint16_t nodes[MGMT_PEERS_MAX]; /* the others that were up */
};

static void on_others_stopping(json_t *answers, void *arg)
{
    struct stopping *s = arg;
    (void)answers; /* who did not answer was logged */
    ctl_serve_stop(s->ctl, s->request, NULL);
    mem_free(s);
}

static void stop_processes(struct stopping *s)
{
    json_t *args = json_object();
    ctl_round_of(s->ctl, s->nodes, s->count, "stop", args, on_others_stopping, s);
    json_decref(args);
}

static void on_app_stopped(struct service_ask *a)
{
    stop_processes(a->arg); /* if it was refused, its end says the same a little later */
    mem_free(a);
}

static void on_others_app_stopped(json_t *answers, void *arg)
{
    struct stopping *s = arg;
    struct service_ask *a = mem_zalloc(sizeof *a);
    (void)answers;
    a->order = SERVICE_STOP_APP;
    a->reply_to = s->ctl->loop;
    a->done = on_app_stopped;
    a->arg = s;
    service_send(broker_service(s->ctl->broker), &a);
}

static void stop_apps(struct stopping *s)
{
    json_t *args = json_object();
    s->count = mgmt_peers_list(mgmt_http_peers(s->ctl->mgmt), s->nodes, MGMT_PEERS_MAX);
    ctl_round_of(s->ctl, s->nodes, s->count, "stop_app", args, on_others_app_stopped, s);
    json_decref(args);
}

static void on_frozen(struct control_op *op)
{
    struct stopping *s = op->arg;
    if (op->verdict != META_REFUSED) {
        stop_apps(s);
    } else {
        char room[META_TEXT_MAX * 2];
        struct text t = text_over(room, sizeof room);
        text_put(&t, "%s; 'warrenctl stop' stops one node", op->refusal.text);
        ctl_refuse(s->request, op->refusal.code == AMQP_RESOURCE_ERROR ? "try_again" : "refused",
                   room);
        mem_free(s);
    }
    control_op_free(&op);
}

void ctl_serve_stop_cluster(struct ctl *c, struct http_request *r, json_t *args)
{
    struct stopping *s = mem_zalloc(sizeof *s);
    struct control_op *op = control_op_new(&(struct meta_cmd){ .op = META_CLUSTER_FREEZE });
    (void)args;
    s->ctl = c;
    s->request = r;
    op->reply_to = c->loop;
    op->done = on_frozen;
    op->arg = s;
    control_send(broker_control(c->broker), &op);
}
