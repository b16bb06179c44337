#include "cluster/meta_dump.h"

#include "base/check.h"
#include "base/mutation.h"
#include "cluster/meta_cohort.h"
#include "cluster/meta_entry.h"
#include "cluster/meta_items.h"
#include "cluster/meta_limits.h"

#include <stdio.h>

struct dump {
    const struct meta_version *version;
    meta_dump_fn each;
    void *arg;
    const struct meta_vhost *vhost;
};

static bool say(const struct dump *d, const struct meta_cmd *cmd, uint64_t first_id)
{
    return d->each(d->arg, cmd, first_id);
}

static struct meta_cmd in_vhost(const struct dump *d, enum meta_op op, struct slice name)
{
    return (struct meta_cmd){ .op = op, .vhost_id = d->vhost->vhost_id, .name = name };
}

/* Call `fn` for each item of a map. */
#define EACH(d, map, type, fn)                                                                     \
    do {                                                                                           \
        struct pmap_iter it;                                                                       \
        pmap_iter(&it, (map));                                                                     \
        for (const type *item; (item = pmap_next(&it)) != NULL;)                                   \
            if (!fn((d), item))                                                                    \
                return false;                                                                      \
        return true;                                                                               \
    } while (0)

/* ---- of the whole ---- */

static bool say_user(const struct dump *d, const struct meta_user *u)
{
    char limits[128];
    int len = snprintf(limits, sizeof limits, "{\"%s\":%lld,\"%s\":%lld}",
                       meta_user_limit_names.names[0], (long long)u->max_connections,
                       meta_user_limit_names.names[1], (long long)u->max_channels);
    struct meta_cmd cmd = { .op = META_USER_PUT, .name = u->name };
    cmd.user.hash = u->hash;
    cmd.user.hashing = u->hashing;
    cmd.user.tags = u->tags;
    cmd.user.limits = slice_of(limits, (size_t)len);
    cmd.user.has_hash = cmd.user.has_tags = cmd.user.has_limits = true;
    return say(d, &cmd, u->user_id);
}

static bool say_users(const struct dump *d)
{
    EACH(d, &d->version->users, struct meta_user, say_user);
}

static bool say_global(const struct dump *d, const struct meta_parameter *p)
{
    struct meta_cmd cmd = { .op = META_GLOBAL_PARAMETER_PUT, .name = p->name };
    cmd.parameter.value = p->value;
    return say(d, &cmd, 0);
}

static bool say_globals(const struct dump *d)
{
    EACH(d, &d->version->global_parameters, struct meta_parameter, say_global);
}

/* ---- of the cluster ---- */

static bool say_node(const struct dump *d, const struct meta_node *n)
{
    struct meta_cmd cmd = { .op = META_KEPT_NODE, .name = n->name };
    cmd.node.node = n->node;
    cmd.node.inc = n->inc;
    cmd.node.type = n->type;
    cmd.node.state = n->state;
    cmd.node.place = n->place;
    cmd.node.since = n->since;
    cmd.node.mirrors = n->mirrors;
    cmd.node.cluster_address = n->cluster_address;
    cmd.node.amqp_address = n->amqp_address;
    cmd.node.management_address = n->management_address;
    return say(d, &cmd, 0);
}

static bool say_nodes(const struct dump *d)
{
    for (size_t i = 0; i < meta_node_count(d->version); i++)
        if (!say_node(d, meta_node_at(d->version, i)))
            return false;
    return true;
}

static bool say_origin(const struct dump *d, const struct meta_origin *o)
{
    struct meta_cmd cmd = { .op = META_KEPT_ORIGIN, .qid = o->op };
    cmd.kept_origin.node = o->node;
    cmd.kept_origin.inc = o->inc;
    return say(d, &cmd, 0);
}

static bool say_origins(const struct dump *d)
{
    for (size_t i = 0; i < meta_origin_count(d->version); i++)
        if (!say_origin(d, meta_origin_at(d->version, i)))
            return false;
    return true;
}

static bool say_state(const struct dump *d)
{
    const struct meta_version *v = d->version;
    struct meta_cmd cmd = { .op = META_KEPT_STATE, .qid = v->last_id };
    cmd.name = slice_of(v->cluster_id, sizeof v->cluster_id);
    cmd.kept_state.index = v->index;
    cmd.kept_state.last_node = v->last_node;
    cmd.kept_state.is_frozen = v->is_frozen;
    return say(d, &cmd, 0);
}

/* ---- of a vhost ---- */

static bool say_vhost(const struct dump *d)
{
    const struct meta_vhost *vh = d->vhost;
    struct meta_cmd cmd = { .op = META_VHOST_PUT, .name = meta_vhost_name(vh) };
    cmd.vhost.description = vh->description;
    cmd.vhost.tags = vh->tags;
    cmd.vhost.tracing = vh->tracing;
    cmd.vhost.has_description = cmd.vhost.has_tags = cmd.vhost.has_tracing = true;
    return say(d, &cmd, vh->vhost_id);
}

/* After the queues: some may have been declared before it was set, without a type. */
static bool say_default_type(const struct dump *d)
{
    const struct meta_vhost *vh = d->vhost;
    struct meta_cmd cmd = { .op = META_VHOST_PUT, .name = meta_vhost_name(vh) };
    cmd.vhost.default_queue_type = vh->default_queue_type;
    cmd.vhost.has_default_queue_type = true;
    return vh->default_queue_type.len == 0 || say(d, &cmd, 0);
}

/* Those that come with the vhost have ids that follow its own. */
static bool is_predeclared(const struct meta_exchange_def *x)
{
    struct slice name = meta_exchange_name(x);
    return name.len == 0 || slice_starts(name, "amq.");
}

static bool say_exchange(const struct dump *d, const struct meta_exchange *x)
{
    const struct meta_exchange_def *def = x->def;
    if (is_predeclared(def))
        return true;
    struct meta_cmd cmd = in_vhost(d, META_EXCHANGE_DECLARE, meta_exchange_name(def));
    cmd.exchange_declare.type = slice_str(meta_exchange_type_name(def->type));
    cmd.exchange_declare.args = meta_exchange_args(def);
    cmd.exchange_declare.durable = def->durable;
    cmd.exchange_declare.auto_delete = def->auto_delete;
    cmd.exchange_declare.internal = def->internal;
    return say(d, &cmd, def->xid);
}

static bool say_exchanges(const struct dump *d)
{
    EACH(d, &d->vhost->exchanges, struct meta_exchange, say_exchange);
}

/* A queue's own record: with the epoch and ver that count for it. */
static bool say_placement(const struct dump *d, const struct meta_queue *q)
{
    uint8_t room[META_REPLICAS_MAX * META_REPLICA_ITEM_BYTES];
    struct wire_out w = wire_out_over(room, sizeof room);
    const struct meta_placed *p = meta_placed_get(d->version, q->qid);
    if (p == NULL)
        return true;
    const struct meta_cohort *c = meta_cohort_get(d->version, p->cohort);
    for (unsigned i = 0; i < c->count; i++)
        meta_replica_put(&w, &c->replicas[i]);
    CHECK(!w.overflow);
    struct meta_cmd cmd = { .op = META_KEPT_PLACEMENT, .qid = q->qid };
    cmd.kept_placement.replicas = wire_out_slice(&w);
    cmd.kept_placement.epoch = meta_placed_epoch(p, c);
    cmd.kept_placement.ver = MUTATION(META_VER_NOT_KEPT) ? p->ver : meta_placed_ver(p, c);
    cmd.kept_placement.is_damaged = (c->flags & META_RECORD_DAMAGED) != 0;
    cmd.kept_placement.always_on_failure = (c->flags & META_RECORD_ALWAYS_ON_FAILURE) != 0;
    cmd.kept_placement.always_on_shutdown = (c->flags & META_RECORD_ALWAYS_ON_SHUTDOWN) != 0;
    return say(d, &cmd, 0);
}

static bool say_queue(const struct dump *d, const struct meta_queue *q)
{
    struct meta_cmd cmd = in_vhost(d, META_KEPT_QUEUE, meta_queue_name(q));
    cmd.qid = q->qid;
    cmd.conn = q->owner;
    cmd.kept_queue.args = meta_queue_args(q);
    cmd.kept_queue.durable = q->durable;
    cmd.kept_queue.auto_delete = q->auto_delete;
    cmd.kept_queue.node = q->node;
    cmd.kept_queue.epoch = q->epoch;
    return say(d, &cmd, 0) && say_placement(d, q);
}

static bool say_queues(const struct dump *d)
{
    EACH(d, &d->vhost->queues, struct meta_queue, say_queue);
}

static bool say_binding(void *arg, const struct meta_binding *b)
{
    const struct dump *d = arg;
    struct meta_cmd cmd = in_vhost(d, META_BIND, slice_of(NULL, 0));
    cmd.bind.source = meta_exchange_name(b->source);
    cmd.bind.destination = meta_binding_to_name(b);
    cmd.bind.key = meta_binding_key(b);
    cmd.bind.args = meta_binding_args(b);
    cmd.bind.to_exchange = b->to_exchange;
    return say(d, &cmd, 0);
}

static bool say_bindings_from(struct dump *d, const struct meta_exchange *x)
{
    return meta_bindings_from(x, say_binding, d);
}

static bool say_bindings(struct dump *d)
{
    EACH(d, &d->vhost->exchanges, struct meta_exchange, say_bindings_from);
}

static bool say_permission(const struct dump *d, const struct meta_permission *p)
{
    struct meta_cmd cmd = in_vhost(d, META_PERMISSION_PUT, slice_of(NULL, 0));
    cmd.permission.user = p->user;
    cmd.permission.configure = p->configure.text;
    cmd.permission.write = p->write.text;
    cmd.permission.read = p->read.text;
    return say(d, &cmd, 0);
}

static bool say_permissions(const struct dump *d)
{
    EACH(d, &d->vhost->permissions, struct meta_permission, say_permission);
}

static bool say_topic_permission(const struct dump *d, const struct meta_topic_permission *p)
{
    struct meta_cmd cmd = in_vhost(d, META_TOPIC_PERMISSION_PUT, slice_of(NULL, 0));
    cmd.topic_permission.user = p->user;
    cmd.topic_permission.exchange = p->exchange;
    cmd.topic_permission.write = p->write.text;
    cmd.topic_permission.read = p->read.text;
    return say(d, &cmd, 0);
}

static bool say_topic_permissions(const struct dump *d)
{
    EACH(d, &d->vhost->topic_permissions, struct meta_topic_permission, say_topic_permission);
}

static bool say_policy_of(const struct dump *d, const struct meta_policy *p, bool is_operator)
{
    struct meta_cmd cmd = in_vhost(d, META_POLICY_PUT, p->name);
    cmd.policy.pattern = p->pattern.text;
    cmd.policy.definition = p->definition;
    cmd.policy.apply_to = slice_str(meta_apply_to_name(p->apply_to));
    cmd.policy.priority = p->priority;
    cmd.policy.is_operator = is_operator;
    return say(d, &cmd, 0);
}

static bool say_policies_in(const struct dump *d, const struct meta_policy_order *o,
                            bool is_operator)
{
    for (size_t i = 0; o != NULL && i < o->count; i++)
        if (!say_policy_of(d, o->policies[i], is_operator))
            return false;
    return true;
}

static bool say_policies(const struct dump *d)
{
    return say_policies_in(d, d->vhost->policy_order, false) &&
           say_policies_in(d, d->vhost->operator_order, true);
}

static bool say_parameter(const struct dump *d, const struct meta_parameter *p)
{
    struct meta_cmd cmd = in_vhost(d, META_PARAMETER_PUT, p->name);
    cmd.parameter.component = p->component;
    cmd.parameter.value = p->value;
    return say(d, &cmd, 0);
}

static bool say_parameters(const struct dump *d)
{
    EACH(d, &d->vhost->parameters, struct meta_parameter, say_parameter);
}

/* Policies come before the exchanges whose alternates they name, and limits after the queues, of
 * which there may be more than they allow now. */
static bool say_vhost_contents(struct dump *d, const struct meta_vhost *vh)
{
    d->vhost = vh;
    return say_vhost(d) && say_policies(d) && say_exchanges(d) && say_queues(d) &&
           say_bindings(d) && say_permissions(d) && say_topic_permissions(d) &&
           say_default_type(d) && say_parameters(d);
}

static bool say_vhosts(struct dump *d)
{
    EACH(d, &d->version->vhosts, struct meta_vhost, say_vhost_contents);
}

bool meta_dump(const struct meta_version *v, meta_dump_fn each, void *arg)
{
    struct dump d = { .version = v, .each = each, .arg = arg };
    return say_globals(&d) && say_users(&d) && say_nodes(&d) && say_origins(&d) && say_vhosts(&d) &&
           say_state(&d);
}
