#include "cluster/cluster_inner.h"

#include "base/log.h"
#include "io/clock.h"

#define THAW_LOOK_MS 1000u

/* What it leads is known here. */
static bool sees_all(const struct cluster *c)
{
    return c->raft.core != NULL && c->leader == c->identity.node && c->leader != 0 &&
           c->apply.applied >= c->leading_from && !cluster_apply_is_behind(c);
}

static bool is_start(const struct meta_envelope *e)
{
    return e->cmd.op == META_NODE_UP && e->op == 1;
}

/* Until it has applied what it was elected with it knows neither queues nor nodes. */
bool cluster_arrive_may(struct cluster *c, struct slice ops)
{
    struct steward s = cluster_steward(c, clock_mono_ms());
    struct wire w = wire_over(ops);
    struct meta_envelope e;
    while (wire_left(&w) != 0 && meta_envelope_take(&w, &e))
        if (is_start(&e) && (!sees_all(c) || !steward_admits(&s, &e.cmd)))
            return false;
    return true;
}

void cluster_arrive_hold(struct cluster_node *n, struct slice ops)
{
    if (n->arrival == NULL)
        log_info("cluster", n->cluster->name,
                 "%s comes up when all who count as up have been heard of", n->name);
    buf_unref(&n->arrival);
    n->arrival = buf_copy(ops);
}

/* The next that is to be kept no longer; who is not led from here any more says it again. */
static struct buf *take_one(struct cluster *c, uint16_t *from)
{
    struct cluster_node *n;
    TAILQ_FOREACH (n, &c->links.nodes, entry) {
        struct buf *ops = n->arrival;
        if (ops == NULL ||
            (c->leader == c->identity.node && !cluster_arrive_may(c, buf_slice(ops))))
            continue;
        n->arrival = NULL;
        *from = n->id;
        return ops;
    }
    return NULL;
}

/* One after the other: what is proposed may be applied at once. */
void cluster_arrive_look(struct cluster *c)
{
    struct buf *ops;
    uint16_t from;
    while ((ops = take_one(c, &from)) != NULL) {
        if (c->leader == c->identity.node && !cluster_raft_propose(c, &ops, 1, from))
            log_debug("cluster", c->name, "the start of a node was not taken, it comes again");
        buf_unref(&ops);
    }
    if (!c->is_ready)
        cluster_propose_go_on(c);
}

/* ---- after all were stopped together ---- */

static bool may_have_to_thaw(const struct meta_version *v)
{
    if (v->is_frozen)
        return true;
    for (size_t i = 0; v->placed.count != 0 && i < meta_node_count(v); i++)
        if (meta_node_at(v, i)->state == META_NODE_IS_STOPPED)
            return true;
    return false;
}

void cluster_thaw_tick(struct cluster *c, uint64_t now_ms)
{
    const struct meta_version *v = meta_current(c->meta);
    struct cluster_thaw *t = &c->thaw;
    t->has_restarted = t->has_restarted && v->is_frozen;
    if (!sees_all(c) || !c->is_ready || !may_have_to_thaw(v)) {
        t->since_ms = 0;
        return;
    }
    if (t->since_ms == 0)
        t->since_ms = now_ms;
    struct steward s = cluster_steward(c, now_ms);
    struct steward_frost f = { .has_restarted = t->has_restarted,
                               .for_ms = now_ms - t->since_ms,
                               .grace_ms = c->conf->cluster.start_grace_ms };
    if (now_ms - t->said_ms < THAW_LOOK_MS)
        return;
    t->said_ms = now_ms;
    if (!steward_thaws(&s, &f))
        return;
    log_info("cluster", c->name, "the nodes that were stopped together go on");
    cluster_drive_once(c, &(struct meta_cmd){ .op = META_CLUSTER_THAW });
}
