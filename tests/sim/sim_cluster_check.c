#include "base/check.h"
#include "sim_cluster_inner.h"

#include <inttypes.h>

/* Without a way to a member: a grant, by the slowest clock, and no more. */
#define ALONE_US (GRANT_LENGTH_US * 10 / 9 + 1000)

/* ---- after each step ---- */

static struct sim_served *served_of(struct sim_cluster *c, uint64_t qid)
{
    size_t at = (size_t)qid & (SIM_SERVED_MAX - 1);
    while (c->served[at].qid != 0 && c->served[at].qid != qid)
        at = (at + 1) & (SIM_SERVED_MAX - 1);
    if (c->served[at].qid == 0) {
        CHECK(++c->served_count < SIM_SERVED_MAX);
        c->served[at].qid = qid;
    }
    return &c->served[at];
}

static void check_server(struct sim_raft *w, unsigned node, const struct sim_local *l)
{
    struct sim_served *s = served_of(w->cluster, l->qid);
    uint32_t boot = w->nodes[node].boot;
    if (s->step == w->cluster->step)
        sim_raft_fail(w, "%u and %u may serve queue %" PRIu64, s->node, node, l->qid);
    if (l->epoch < s->epoch)
        sim_raft_fail(w, "%u may serve queue %" PRIu64 " in epoch %" PRIu64 " after %" PRIu64, node,
                      l->qid, l->epoch, s->epoch);
    if (l->epoch == s->epoch && (s->node != node || s->boot != boot))
        sim_raft_fail(w, "two processes serve queue %" PRIu64 " in epoch %" PRIu64, l->qid,
                      l->epoch);
    *s = (struct sim_served){ l->qid, l->epoch, w->cluster->step, node, boot };
}

static void look_at_ways(struct sim_raft *w)
{
    for (unsigned a = 1; a <= SIM_NODES; a++)
        for (unsigned b = a + 1; b <= SIM_NODES; b++) {
            int64_t *since = &w->cluster->cut_us[a][b];
            if (!w->is_cut[a][b] && !w->is_cut[b][a])
                *since = 0;
            else if (*since == 0)
                *since = w->now_us;
        }
}

/* The cut was seen late, if anything. */
static void check_ways(struct sim_raft *w, unsigned node, const struct sim_local *l)
{
    const struct meta_version *v = sim_cluster_version(w, node);
    struct meta_placement p;
    meta_placement_of(v, meta_queue_get(v, l->qid), &p);
    for (unsigned i = 0; i < p.count; i++) {
        const struct meta_replica *r = meta_placement_replica(&p, i);
        if (r->inc == 0 || r->node == node)
            continue;
        int64_t since =
            r->node < node ? w->cluster->cut_us[r->node][node] : w->cluster->cut_us[node][r->node];
        if (since != 0 && w->now_us - since > ALONE_US)
            sim_raft_fail(w, "%u serves queue %" PRIu64 " without a way to %u", node, l->qid,
                          r->node);
    }
}

void sim_cluster_check(struct sim_raft *w)
{
    w->cluster->step++;
    look_at_ways(w);
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        const struct sim_cluster_node *n = &w->cluster->nodes[i];
        for (size_t k = 0; n->core != NULL && k < n->local_count; k++) {
            if (!sim_cluster_may_serve(w, i, &n->locals[k]))
                continue;
            check_server(w, i, &n->locals[k]);
            check_ways(w, i, &n->locals[k]);
        }
    }
}

/* ---- after an entry ---- */

/* What a process had that is gone is not what its successor has. */
static void check_members(struct sim_raft *w, unsigned node)
{
    const struct meta_version *v = sim_cluster_version(w, node);
    struct pmap_iter it;
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;) {
        struct meta_placement p;
        meta_placement_of(v, q, &p);
        for (unsigned i = 0; p.cohort != NULL && i < p.count; i++) {
            const struct meta_replica *r = meta_placement_replica(&p, i);
            const struct meta_node *m = meta_node_get(v, r->node);
            if (r->inc != 0 && (m == NULL || m->inc != r->inc))
                sim_raft_fail(w, "%u has restarted, and is in sync with %" PRIu64, r->node, q->qid);
        }
    }
}

/* The entry of this index has made it the master, which it was not: it was declared or promoted by
 * force behind the node's start, whose operation the same entry has. */
static bool has_come_to(struct sim_raft *w, unsigned node, const struct meta_queue *q,
                        const struct meta_placement *p, uint64_t index)
{
    const struct sim_local *l = sim_cluster_local(&w->cluster->nodes[node], q->qid);
    return p->epoch == index && (l == NULL || l->master != p->master);
}

/* I16: the entry by which a node comes up that has lost data leaves it in no in-sync set of a queue
 * that is served. It may be taken in again later, when it was told all. */
static void check_lost(struct sim_raft *w, unsigned node, uint64_t index)
{
    struct sim_cluster_node *n = &w->cluster->nodes[node];
    const struct meta_version *v = sim_cluster_version(w, node);
    struct pmap_iter it;
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;) {
        struct meta_placement p;
        meta_placement_of(v, q, &p);
        if (p.state != META_PLACED_RUNNING || has_come_to(w, node, q, &p, index))
            continue;
        for (unsigned i = 0; i < p.count; i++) {
            const struct meta_replica *r = meta_placement_replica(&p, i);
            if (r->inc != 0 && n->has_lost[r->node])
                sim_raft_fail(w, "%u has lost data, and is in sync with %" PRIu64, r->node, q->qid);
        }
    }
}

void sim_cluster_check_applied(struct sim_raft *w, unsigned node, uint64_t index, bool has_skipped)
{
    check_members(w, node);
    if (!has_skipped)
        check_lost(w, node, index);
}
