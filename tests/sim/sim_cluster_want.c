/* What masters and operators want. */
#include "base/mutation.h"
#include "cluster/meta_items.h"
#include "sim_cluster_inner.h"
#include "sim_group.h"

static void want_isr(struct sim_raft *w, unsigned node, struct sim_local *l, bool adds)
{
    const struct meta_version *v = sim_cluster_version(w, node);
    struct meta_placement p;
    uint8_t room[META_ISR_ITEM_BYTES];
    struct wire_out out = wire_out_over(room, sizeof room);
    meta_placement_of(v, meta_queue_get(v, l->qid), &p);
    const struct meta_replica *r =
        meta_placement_replica(&p, (unsigned)rng_below(&w->rng, p.count));
    const struct meta_node *m = meta_node_get(v, r->node);
    if (m == NULL || r->node == node || (r->inc == 0) != adds || l->proposed_count == SIM_NODES ||
        (adds && !l->has_begun && !MUTATION(GRANT_ADDED_BEFORE_BEGUN)))
        return;
    meta_isr_item_put(&out, &(struct meta_isr_item){ .qid = l->qid,
                                                     .epoch = p.epoch,
                                                     .ver = p.ver,
                                                     .inc = m->inc,
                                                     .node = r->node,
                                                     .adds = adds });
    struct meta_cmd cmd = { .op = META_ISR_CHANGE,
                            .isr_change = { .items = wire_out_slice(&out) } };
    if (!sim_group_want(w, node, &cmd) || !adds)
        return;
    l->proposed_ver = p.ver;
    l->proposed[l->proposed_count++] = r->node;
}

static void want_move(struct sim_raft *w, unsigned node, const struct sim_local *l)
{
    const struct meta_version *v = sim_cluster_version(w, node);
    struct meta_placement p;
    uint8_t room[META_MOVE_ITEM_BYTES];
    struct wire_out out = wire_out_over(room, sizeof room);
    meta_placement_of(v, meta_queue_get(v, l->qid), &p);
    const struct meta_replica *r =
        meta_placement_replica(&p, (unsigned)rng_below(&w->rng, p.count));
    meta_move_item_put(
        &out, &(struct meta_move_item){ .qid = l->qid, .epoch = p.epoch, .node = r->node });
    (void)sim_group_want(w, node,
                         &(struct meta_cmd){ .op = META_MASTER_MOVE,
                                             .master_move = { .items = wire_out_slice(&out) } });
}

static void want_replicas(struct sim_raft *w, unsigned node, const struct sim_local *l)
{
    const struct meta_version *v = sim_cluster_version(w, node);
    struct meta_placement p;
    uint8_t nodes[SIM_NODES * META_NODE_ITEM_BYTES], item[META_SET_ITEM_BYTES];
    struct wire_out out = wire_out_over(nodes, sizeof nodes);
    struct wire_out items = wire_out_over(item, sizeof item);
    meta_placement_of(v, meta_queue_get(v, l->qid), &p);
    for (unsigned i = 1; i <= SIM_NODES; i++)
        if (i == p.master || rng_below(&w->rng, 2) == 0)
            wire_put_u16(&out, (uint16_t)i);
    meta_set_item_put(&items, &(struct meta_set_item){ .qid = l->qid, .ver = p.ver });
    (void)sim_group_want(w, node,
                         &(struct meta_cmd){ .op = META_REPLICAS_SET,
                                             .replicas_set = { .nodes = wire_out_slice(&out),
                                                               .items = wire_out_slice(&items) } });
}

/* An operator gives a queue up to who has less of it, knowing that its master is dead: one that is
 * cut off alone would serve it, too. */
static void want_promotion(struct sim_raft *w, unsigned node, const struct sim_local *l)
{
    const struct meta_version *v = sim_cluster_version(w, node);
    struct meta_placement p;
    meta_placement_of(v, meta_queue_get(v, l->qid), &p);
    const struct meta_replica *r =
        meta_placement_replica(&p, (unsigned)rng_below(&w->rng, p.count));
    if (p.state == META_PLACED_DOWN && w->nodes[p.master].raft != NULL)
        return;
    struct meta_cmd cmd = { .op = META_FORCE_PROMOTE, .qid = l->qid };
    cmd.force_promote.node = r->node;
    cmd.force_promote.epoch = p.epoch;
    sim_raft_say(w, "%u is to get %d by force", r->node, (int)l->qid);
    (void)sim_group_want(w, node, &cmd);
}

/* One that is not served by anybody, if the first that comes to mind is. */
static const struct sim_local *some_waiting(struct sim_raft *w, const struct sim_cluster_node *n)
{
    const struct sim_local *l = &n->locals[rng_below(&w->rng, n->local_count)];
    const struct meta_version *v = sim_cluster_version(w, (unsigned)(n - w->cluster->nodes));
    struct meta_placement p;
    meta_placement_of(v, meta_queue_get(v, l->qid), &p);
    return p.state != META_PLACED_RUNNING ? l : NULL;
}

/* One that it masters, if there is any. */
static struct sim_local *some_local(struct sim_raft *w, struct sim_cluster_node *n)
{
    size_t from = (size_t)rng_below(&w->rng, n->local_count);
    for (size_t i = 0; i < n->local_count; i++) {
        struct sim_local *l = &n->locals[(from + i) % n->local_count];
        if (l->epoch != 0)
            return l;
    }
    return &n->locals[from];
}

void sim_cluster_want(struct sim_raft *w, unsigned node)
{
    struct sim_cluster_node *n = &w->cluster->nodes[node];
    struct meta_placement p;
    if (n->local_count == 0)
        return;
    const struct sim_local *waiting = some_waiting(w, n);
    if (waiting != NULL && rng_below(&w->rng, 4) == 0) {
        want_promotion(w, node, waiting);
        return;
    }
    struct sim_local *l = some_local(w, n);
    const struct meta_version *v = sim_cluster_version(w, node);
    meta_placement_of(v, meta_queue_get(v, l->qid), &p);
    unsigned what = (unsigned)rng_below(&w->rng, 8);
    if (p.count < 3 || what == 0)
        want_replicas(w, node, l);
    else if (what == 1)
        want_move(w, node, l);
    else if (l->epoch != 0)
        want_isr(w, node, l, what != 2);
}
