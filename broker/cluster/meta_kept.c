/* What a snapshot says of nodes and queues: they are made as they were, with all that was decided
 * about them, and not decided anew. A snapshot may be damaged or foreign in spite of its checksums:
 * what would break what we count on is refused. */
#include "base/check.h"
#include "base/mutation.h"
#include "cluster/meta_cohort.h"
#include "cluster/meta_items.h"

static enum meta_verdict refused(struct meta_result *out, const char *what)
{
    struct text t = meta_refuse(&out->refusal, 400);
    text_str(&t, what);
    out->verdict = META_REFUSED;
    return META_REFUSED;
}

enum meta_verdict meta_kept_check(const struct meta_version *v, const struct meta_vhost *vh,
                                  const struct meta_cmd *cmd, struct meta_result *out)
{
    (void)v;
    (void)vh;
    (void)cmd;
    return refused(out, "this is said by snapshots alone");
}

void meta_kept_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    (void)m;
    (void)cmd;
    (void)out;
    UNREACHABLE("refused by meta_kept_check");
}

static const char *keep_node(struct meta *m, const struct meta_cmd *cmd)
{
    if (cmd->node.node == 0 || cmd->name.len == 0 || cmd->name.len > META_NAME_MAX ||
        meta_node_count(&m->draft) == META_NODES_MAX)
        return "a node that cannot be";
    if (meta_node_get(&m->draft, cmd->node.node) != NULL ||
        meta_node_find(&m->draft, cmd->name) != NULL)
        return "a node that is there already";
    meta_node_put(m, &(struct meta_node){ .place = cmd->node.place,
                                          .since = cmd->node.since,
                                          .inc = cmd->node.inc,
                                          .node = cmd->node.node,
                                          .type = cmd->node.type,
                                          .state = cmd->node.state,
                                          .mirrors = cmd->node.mirrors,
                                          .name = cmd->name,
                                          .cluster_address = cmd->node.cluster_address,
                                          .amqp_address = cmd->node.amqp_address,
                                          .management_address = cmd->node.management_address });
    meta_origin_set(m, &(struct meta_origin){ .node = cmd->node.node, .inc = cmd->node.inc });
    if (m->draft.last_node < cmd->node.node)
        m->draft.last_node = cmd->node.node;
    return NULL;
}

static const char *keep_origin(struct meta *m, const struct meta_cmd *cmd)
{
    const struct meta_node *n = meta_node_get(&m->draft, cmd->kept_origin.node);
    if (n == NULL || n->inc != cmd->kept_origin.inc)
        return "operations of a node that is not there";
    if (!MUTATION(META_OPS_NOT_KEPT))
        meta_origin_set(m, &(struct meta_origin){ n->node, n->inc, cmd->qid });
    return NULL;
}

/* An exclusive queue has one owner, and neither outlives the other. */
static bool queue_can_be(const struct meta_cmd *cmd)
{
    return cmd->qid != 0 && cmd->qid <= UINT64_MAX / 2 && cmd->kept_queue.node != 0 &&
           cmd->name.len <= META_NAME_MAX && (cmd->conn == 0 || !cmd->kept_queue.durable);
}

static const char *keep_queue(struct meta *m, const struct meta_cmd *cmd)
{
    const struct meta_vhost *vh = meta_vhost_get(&m->draft, cmd->vhost_id);
    if (!queue_can_be(cmd))
        return "a queue that cannot be";
    if (vh == NULL)
        return "a queue of no vhost";
    if (!meta_id_is_free(m, cmd->qid) || meta_queue_find(&m->draft, vh, cmd->name) != NULL)
        return "a queue that is there already";
    meta_queue_put(m,
                   &(struct meta_queue){ .qid = cmd->qid,
                                         .vhost_id = cmd->vhost_id,
                                         .owner = cmd->conn,
                                         .epoch = cmd->kept_queue.epoch,
                                         .node = cmd->kept_queue.node,
                                         .durable = cmd->kept_queue.durable,
                                         .auto_delete = cmd->kept_queue.auto_delete },
                   cmd->name, cmd->kept_queue.args);
    meta_skip_ids(m, cmd->qid);
    return NULL;
}

static uint8_t kept_flags(const struct meta_cmd *cmd, const struct meta_queue *q)
{
    return (uint8_t)((q->durable ? META_RECORD_LASTS : 0) |
                     (cmd->kept_placement.is_damaged ? META_RECORD_DAMAGED : 0) |
                     (cmd->kept_placement.always_on_failure ? META_RECORD_ALWAYS_ON_FAILURE : 0) |
                     (cmd->kept_placement.always_on_shutdown ? META_RECORD_ALWAYS_ON_SHUTDOWN : 0));
}

/* False: a replica on no node, or twice on one, or both in sync and not. */
static bool take_replicas(const struct meta *m, struct slice list, struct meta_record *r)
{
    struct wire w = wire_over(list);
    if (!meta_items_suit(list, META_REPLICA_ITEM_BYTES) ||
        list.len / META_REPLICA_ITEM_BYTES > META_REPLICAS_MAX)
        return false;
    r->count = 0;
    while (wire_left(&w) != 0) {
        struct meta_replica replica = meta_replica_take(&w);
        if (replica.node == 0 || meta_record_find(r, replica.node) >= 0 ||
            (replica.inc != 0 && replica.left != 0) ||
            (meta_node_count(&m->draft) != 0 && meta_node_get(&m->draft, replica.node) == NULL))
            return false;
        meta_record_add(r, &replica);
    }
    return r->replicas[0].inc != 0;
}

static const char *keep_placement(struct meta *m, const struct meta_cmd *cmd)
{
    const struct meta_queue *q = meta_queue_get(&m->draft, cmd->qid);
    uint64_t epoch = cmd->kept_placement.epoch, ver = cmd->kept_placement.ver;
    struct meta_record r;
    if (q == NULL || meta_placed_get(&m->draft, q->qid) != NULL)
        return "a placement of no queue, or of one that has one";
    if (!take_replicas(m, cmd->kept_placement.replicas, &r) || epoch > ver || ver == 0 ||
        ver > UINT64_MAX / 2)
        return "a placement that cannot be";
    r.flags = kept_flags(cmd, q);
    meta_placed_put(m, q, &r, epoch, ver);
    return NULL;
}

static const char *keep_state(struct meta *m, const struct meta_cmd *cmd)
{
    if (cmd->name.len != sizeof m->draft.cluster_id || cmd->qid < m->draft.last_id ||
        cmd->qid > UINT64_MAX / 2 || cmd->kept_state.last_node < m->draft.last_node)
        return "less than what is there";
    memcpy(m->draft.cluster_id, cmd->name.ptr, sizeof m->draft.cluster_id);
    m->draft.last_id = cmd->qid;
    m->draft.last_node = cmd->kept_state.last_node;
    m->draft.index = cmd->kept_state.index;
    m->draft.is_frozen = cmd->kept_state.is_frozen;
    return NULL;
}

enum meta_verdict meta_keep(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    const char *why = cmd->op == META_KEPT_NODE        ? keep_node(m, cmd)
                      : cmd->op == META_KEPT_ORIGIN    ? keep_origin(m, cmd)
                      : cmd->op == META_KEPT_QUEUE     ? keep_queue(m, cmd)
                      : cmd->op == META_KEPT_PLACEMENT ? keep_placement(m, cmd)
                                                       : keep_state(m, cmd);
    m->is_changed = true;
    return why != NULL ? refused(out, why) : META_DONE;
}
