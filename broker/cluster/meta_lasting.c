/* What outlives the node: durable queues and exchanges, the bindings between them, and all that
 * nobody can make for a while only. */
#include "base/check.h"
#include "cluster/meta_state.h"

static bool exchange_lasts(const struct meta_version *v, const struct meta_vhost *vh,
                           struct slice name)
{
    const struct meta_exchange *x = meta_exchange_find(v, vh, name);
    return x != NULL && x->def->durable;
}

static bool queue_lasts(const struct meta_version *v, const struct meta_vhost *vh,
                        const struct meta_cmd *cmd)
{
    const struct meta_queue *q =
        cmd->qid != 0 ? meta_queue_get(v, cmd->qid) : meta_queue_find(v, vh, cmd->name);
    return q != NULL && q->durable;
}

static bool both_ends_last(const struct meta_version *v, const struct meta_vhost *vh,
                           const struct meta_cmd *cmd)
{
    if (!exchange_lasts(v, vh, cmd->bind.source))
        return false;
    if (cmd->bind.to_exchange)
        return exchange_lasts(v, vh, cmd->bind.destination);
    const struct meta_queue *q = meta_queue_find(v, vh, cmd->bind.destination);
    return q != NULL && q->durable;
}

bool meta_lasts(const struct meta_version *v, const struct meta_cmd *cmd)
{
    if (cmd->op > META_OWNER_GONE || cmd->op == META_VHOST_ADD || cmd->op == META_VHOST_DELETE)
        return true;
    if (cmd->op == META_QUEUE_DECLARE)
        return cmd->queue_declare.durable && !cmd->queue_declare.exclusive;
    if (cmd->op == META_EXCHANGE_DECLARE)
        return cmd->exchange_declare.durable;
    const struct meta_vhost *vh = meta_vhost_get(v, cmd->vhost_id);
    if (vh == NULL || cmd->op == META_OWNER_GONE)
        return false;
    if (cmd->op == META_QUEUE_DELETE)
        return queue_lasts(v, vh, cmd);
    if (cmd->op == META_EXCHANGE_DELETE)
        return exchange_lasts(v, vh, cmd->name);
    CHECK(cmd->op == META_BIND || cmd->op == META_UNBIND);
    return both_ends_last(v, vh, cmd);
}

bool meta_binding_lasts(const struct meta_binding *b)
{
    return b->source->durable && (b->to_exchange ? b->exchange->durable : b->queue->durable);
}
