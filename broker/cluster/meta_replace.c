#include "cluster/meta_replace.h"

#include "base/check.h"
#include "cluster/meta_state.h"

/* ---- what differs ---- */

struct compare {
    const struct meta_version *old;
    const struct meta_version *new;
    bool is_foreign;
    struct meta_result *out;
};

static bool same_queue(const struct meta_queue *a, const struct meta_queue *b)
{
    return a->qid == b->qid && a->vhost_id == b->vhost_id && a->owner == b->owner &&
           a->node == b->node && a->durable == b->durable && a->auto_delete == b->auto_delete &&
           slice_eq(meta_queue_name(a), meta_queue_name(b)) &&
           slice_eq(meta_queue_args(a), meta_queue_args(b));
}

/* Is the queue there in the other version, too? */
static bool is_in(const struct compare *c, const struct meta_version *v, const struct meta_queue *q)
{
    const struct meta_queue *other = c->is_foreign ? NULL : meta_queue_get(v, q->qid);
    return other != NULL && same_queue(q, other);
}

static void queues_gone(const struct compare *c)
{
    struct pmap_iter it;
    pmap_iter(&it, &c->old->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        if (!is_in(c, c->new, q))
            meta_tell_queue(c->out, META_QUEUE_DELETED, c->old, c->old->self, q);
}

static void queues_new(const struct compare *c)
{
    struct pmap_iter it;
    pmap_iter(&it, &c->new->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        if (!is_in(c, c->old, q))
            meta_tell_queue(c->out, META_QUEUE_CREATED, c->new, c->old->self, q);
}

static uint8_t how_placed(const struct meta_placement *was, const struct meta_placement *is)
{
    bool in_sync = was->state != is->state, others = was->count != is->count;
    for (unsigned i = 0; i < is->count; i++) {
        const struct meta_replica *now = meta_placement_replica(is, i);
        const struct meta_replica *then = meta_placement_find(was, now->node);
        others = others || then == NULL;
        in_sync = in_sync || (then != NULL ? then->inc : 0) != now->inc;
    }
    return (uint8_t)((was->master != is->master || was->epoch != is->epoch ? META_HOW_MASTER : 0) |
                     (in_sync ? META_HOW_IN_SYNC : 0) | (others ? META_HOW_REPLICAS : 0));
}

static void queues_placed(const struct compare *c)
{
    struct pmap_iter it;
    uint16_t self = c->old->self;
    pmap_iter(&it, &c->new->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;) {
        struct meta_placement was, is;
        if (!is_in(c, c->old, q))
            continue;
        meta_placement_of(c->old, q, &was);
        meta_placement_of(c->new, q, &is);
        if (was.cohort == NULL && is.cohort == NULL)
            continue; /* what its node has come to is told by NODES_CHANGED */
        if (was.epoch == is.epoch && was.ver == is.ver)
            continue;
        meta_tell(c->out, &(struct meta_effect){ .kind = META_QUEUE_PLACED,
                                                 .node = is.master,
                                                 .node_was = was.master,
                                                 .how = how_placed(&was, &is),
                                                 .was = meta_placement_role(&was, self),
                                                 .is = meta_placement_role(&is, self),
                                                 .shard = q->shard,
                                                 .qid = q->qid,
                                                 .vhost_id = q->vhost_id,
                                                 .queue = q });
    }
}

static void vhosts_gone(const struct compare *c)
{
    struct pmap_iter it;
    pmap_iter(&it, &c->old->vhosts);
    for (const struct meta_vhost *vh; (vh = pmap_next(&it)) != NULL;)
        if (c->is_foreign || meta_vhost_get(c->new, vh->vhost_id) == NULL)
            meta_tell(c->out, &(struct meta_effect){ .kind = META_VHOST_DELETED,
                                                     .vhost_id = vh->vhost_id,
                                                     .name = meta_vhost_name(vh) });
}

static const struct meta_user *user_in(const struct meta_version *v, const struct meta_user *u)
{
    const struct pmap_kind *kind = &v->kinds->users;
    return pmap_get(&v->users, kind, meta_hash_name(kind, u->name), &u->name);
}

static void users_gone(const struct compare *c)
{
    struct pmap_iter it;
    pmap_iter(&it, &c->old->users);
    for (const struct meta_user *u; (u = pmap_next(&it)) != NULL;) {
        const struct meta_user *other = user_in(c->new, u);
        if (c->is_foreign || other == NULL || other->user_id != u->user_id)
            meta_tell(c->out, &(struct meta_effect){ .kind = META_USER_DELETED,
                                                     .user_id = u->user_id,
                                                     .name = u->name });
    }
}

static bool same_policy(const struct meta_policy *a, const struct meta_policy *b)
{
    return a->priority == b->priority && a->apply_to == b->apply_to && slice_eq(a->name, b->name) &&
           slice_eq(a->pattern.text, b->pattern.text) && slice_eq(a->definition, b->definition);
}

static bool same_policies(const struct meta_policy_order *a, const struct meta_policy_order *b)
{
    size_t a_count = a != NULL ? a->count : 0, b_count = b != NULL ? b->count : 0;
    for (size_t i = 0; i < a_count && a_count == b_count; i++)
        if (!same_policy(a->policies[i], b->policies[i]))
            return false;
    return a_count == b_count;
}

/* Of a vhost that stays: what its queues are set to is to be asked again. */
static void policies_changed(const struct compare *c)
{
    struct pmap_iter it;
    pmap_iter(&it, &c->new->vhosts);
    for (const struct meta_vhost *vh; !c->is_foreign && (vh = pmap_next(&it)) != NULL;) {
        const struct meta_vhost *was = meta_vhost_get(c->old, vh->vhost_id);
        if (was != NULL && (!same_policies(was->policy_order, vh->policy_order) ||
                            !same_policies(was->operator_order, vh->operator_order)))
            meta_tell(c->out, &(struct meta_effect){ .kind = META_POLICIES_CHANGED,
                                                     .vhost_id = vh->vhost_id });
    }
}

static bool same_node(const struct meta_node *a, const struct meta_node *b)
{
    return a->inc == b->inc && a->state == b->state && a->type == b->type &&
           a->mirrors == b->mirrors && slice_eq(a->name, b->name) &&
           slice_eq(a->cluster_address, b->cluster_address) &&
           slice_eq(a->amqp_address, b->amqp_address) &&
           slice_eq(a->management_address, b->management_address);
}

/* What was under way to a node that was up is lost when that is down now, or has started since. */
static void nodes_changed(const struct compare *c)
{
    bool same = meta_node_count(c->old) == meta_node_count(c->new);
    for (size_t i = 0; i < meta_node_count(c->old); i++) {
        const struct meta_node *was = meta_node_at(c->old, i);
        const struct meta_node *is = c->is_foreign ? NULL : meta_node_get(c->new, was->node);
        same = same && is != NULL && same_node(was, is);
        if (was->node != c->old->self && meta_node_is_serving(was) &&
            (is == NULL || !meta_node_is_serving(is) || is->inc != was->inc))
            meta_tell(c->out, &(struct meta_effect){ .kind = META_NODE_LOST, .node = was->node });
    }
    if (!same)
        meta_tell(c->out, &(struct meta_effect){ .kind = META_NODES_CHANGED });
}

void meta_compare(const struct meta_version *old, const struct meta *fresh, bool is_foreign,
                  struct meta_result *out)
{
    struct compare c = { old, &fresh->draft, is_foreign, out };
    meta_result_clear(out);
    queues_gone(&c);
    vhosts_gone(&c);
    users_gone(&c);
    queues_new(&c);
    queues_placed(&c);
    policies_changed(&c);
    nodes_changed(&c);
}

/* ---- in its place ---- */

#define SWAP(type, a, b)                                                                           \
    do {                                                                                           \
        type swapped = (a);                                                                        \
        (a) = (b);                                                                                 \
        (b) = swapped;                                                                             \
    } while (0)

/* What was made by an edit is counted by it; and no node of either may pass for one of an edit that
 * is open. */
static void swap_edits(struct meta *m, struct meta *f)
{
    uint64_t tag = m->edit.tag > f->edit.tag ? m->edit.tag : f->edit.tag;
    SWAP(uint64_t, m->edit.made, f->edit.made);
    SWAP(uint64_t, m->edit.gone, f->edit.gone);
    SWAP(int64_t, m->edit.bytes, f->edit.bytes);
    m->edit.tag = f->edit.tag = tag + 1;
}

static void swap_contents(struct meta *m, struct meta *f)
{
    SWAP(struct meta_version, m->draft, f->draft);
    SWAP(uint64_t, m->draft.number, f->draft.number);
    SWAP(uint64_t, m->draft.routes, f->draft.routes);
    SWAP(uint64_t, m->draft.leads, f->draft.leads);
    SWAP(uint64_t, m->draft.rights, f->draft.rights);
    m->draft.kinds = &m->kinds;
    f->draft.kinds = &f->kinds;
    SWAP(uint64_t, m->exchange_count, f->exchange_count);
    SWAP(uint64_t, m->binding_count, f->binding_count);
    SWAP(uint64_t, m->policy_count, f->policy_count);
    SWAP(uint64_t, m->pattern_count, f->pattern_count);
}

void meta_replace(struct meta *m, struct meta **fresh)
{
    struct meta *f = *fresh;
    *fresh = NULL;
    CHECK(!m->is_changed && m->garbage == NULL && m->replaced == NULL);
    CHECK(f->kinds.queues.seed == m->kinds.queues.seed && f->shard_count == m->shard_count);
    swap_contents(m, f);
    swap_edits(m, f);
    m->is_changed = m->routes_changed = m->rights_changed = true;
    m->replaced = f;
}
