#include "sim_cluster_lead.h"

#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_entry.h"
#include "cluster/steward.h"
#include "sim_group.h"

#define AGAIN_US 500000 /* the leader says again that a node is down, or that all go on */

struct lnode {
    bool was_leader;
    int64_t leading_us;
    uint64_t leading_from;
    int64_t frozen_us; /* it leads since then, and all had been stopped together; 0: no */
    int64_t thawed_us; /* it has said that they go on */
    bool was_free;     /* it was up before they were stopped */
    struct {
        int64_t heard_us;
        int64_t said_us; /* that it is down */
        bool is_gone;
    } peers[SIM_NODES + 1];
};

struct sim_cluster_lead {
    struct lnode nodes[SIM_NODES + 1];
};

struct sim_cluster_lead *sim_cluster_lead_new(void)
{
    return mem_zalloc(sizeof(struct sim_cluster_lead));
}

void sim_cluster_lead_free(struct sim_cluster_lead **l)
{
    mem_free(*l);
    *l = NULL;
}

void sim_cluster_lead_start(struct sim_cluster_lead *l, unsigned node)
{
    l->nodes[node] = (struct lnode){ 0 };
}

void sim_cluster_lead_heard(struct sim_raft *w, struct sim_cluster_lead *l, unsigned node,
                            unsigned of, bool is_keepalive)
{
    l->nodes[node].peers[of].is_gone = false;
    if (is_keepalive)
        l->nodes[node].peers[of].heard_us = sim_raft_node_clock(w, node);
}

void sim_cluster_lead_gone(struct sim_cluster_lead *l, unsigned node, unsigned other)
{
    l->nodes[node].peers[other].is_gone = true;
}

static bool peer(const void *arg, uint16_t node, struct steward_peer *out)
{
    const struct lnode *n = arg;
    *out = (struct steward_peer){ .heard_ms = (uint64_t)n->peers[node].heard_us / 1000,
                                  .is_gone = n->peers[node].is_gone };
    return true;
}

static void say_who_is_down(struct sim_raft *w, struct lnode *n, unsigned node,
                            const struct steward *s)
{
    int64_t now_us = sim_raft_node_clock(w, node);
    uint32_t downs[SIM_NODES + 1] = { 0 };
    for (size_t i = 0; i < meta_node_count(s->version); i++) {
        const struct meta_node *m = meta_node_at(s->version, i);
        if (steward_is_down(s, m) == NULL || now_us - n->peers[m->node].said_us < AGAIN_US)
            continue;
        n->peers[m->node].said_us = now_us;
        downs[m->node] = m->inc;
    }
    for (unsigned i = 1; i <= SIM_NODES; i++)
        if (downs[i] != 0)
            sim_group_say(w, node, META_NODE_DOWN, i, downs[i]);
}

static void carry_out(struct sim_raft *w, unsigned node, const struct steward_wish *wish)
{
    struct raft_event ev = { .kind = RAFT_EV_TRANSFER };
    if (wish->act != STEWARD_HAND_OVER)
        ev = (struct raft_event){ .kind = RAFT_EV_CHANGE,
                                  .change = { .node = wish->node,
                                              .is_removal = wish->act == STEWARD_REMOVE,
                                              .part = wish->part } };
    sim_raft_node_step(w, node, &ev);
}

/* One that is refused must not stand in the way of the others: any of them comes first. */
static void wish_something(struct sim_raft *w, unsigned node, const struct steward *s)
{
    struct steward_wish wish, some = { 0 };
    size_t at = 0, count = 0;
    while (steward_next(s, &at, &wish))
        if (rng_below(&w->rng, ++count) == 0)
            some = wish;
    if (count != 0)
        carry_out(w, node, &some);
}

/* It leads, and has applied what it was elected with. */
static bool leads(struct sim_raft *w, struct lnode *n, unsigned node)
{
    const struct raft *r = w->nodes[node].raft;
    bool is_leader = raft_role(r) == RAFT_LEADER;
    if (is_leader && !n->was_leader) {
        n->leading_us = sim_raft_node_clock(w, node);
        n->leading_from = raft_last(r);
    }
    n->was_leader = is_leader;
    uint64_t applied = w->nodes[node].machine.index;
    return is_leader && applied >= n->leading_from && applied >= raft_commit(r);
}

static struct steward steward_of(struct sim_raft *w, const struct lnode *n, unsigned node)
{
    return (struct steward){ .version = meta_current(sim_group_meta(w, node)),
                             .config = raft_config(w->nodes[node].raft),
                             .self = (uint16_t)node,
                             .leading_ms = (uint64_t)n->leading_us / 1000,
                             .now_ms = (uint64_t)sim_raft_node_clock(w, node) / 1000,
                             .peer = peer,
                             .arg = n };
}

bool sim_cluster_lead_admits(struct sim_raft *w, struct sim_cluster_lead *l, unsigned node,
                             struct slice ops)
{
    struct lnode *n = &l->nodes[node];
    bool sees_all = leads(w, n, node);
    struct steward s = steward_of(w, n, node);
    struct wire in = wire_over(ops);
    while (wire_left(&in) != 0) {
        struct meta_envelope e;
        bool is_taken = meta_envelope_take(&in, &e);
        CHECK(is_taken);
        bool is_start = e.cmd.op == META_NODE_UP && e.op == 1;
        if (is_start && (!sees_all || !steward_admits(&s, &e.cmd)))
            return false;
    }
    return true;
}

static void say_that_all_go_on(struct sim_raft *w, struct lnode *n, unsigned node,
                               const struct steward *s)
{
    const struct meta_node *self = meta_node_get(s->version, (uint16_t)node);
    int64_t now_us = sim_raft_node_clock(w, node);
    bool is_up = self != NULL && self->inc == w->nodes[node].boot && meta_node_is_serving(self);
    n->was_free = n->was_free || (is_up && !s->version->is_frozen);
    if (!is_up || !(s->version->is_frozen || meta_thaw_is_due(s->version))) {
        n->frozen_us = 0;
        return;
    }
    if (n->frozen_us == 0)
        n->frozen_us = now_us;
    struct steward_frost f = { .has_restarted = !n->was_free,
                               .for_ms = (uint64_t)(now_us - n->frozen_us) / 1000,
                               .grace_ms = SIM_CLUSTER_GRACE_MS };
    if (now_us - n->thawed_us < AGAIN_US || !steward_thaws(s, &f))
        return;
    n->thawed_us = now_us;
    sim_group_say(w, node, META_CLUSTER_THAW, 0, 0);
}

void sim_cluster_lead(struct sim_raft *w, struct sim_cluster_lead *l, unsigned node)
{
    struct lnode *n = &l->nodes[node];
    if (!leads(w, n, node))
        return;
    struct steward s = steward_of(w, n, node);
    say_who_is_down(w, n, node, &s);
    if (!w->has_failed)
        say_that_all_go_on(w, n, node, &s);
    if (!w->has_failed)
        wish_something(w, node, &s);
}
