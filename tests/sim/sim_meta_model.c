#include "sim_meta_model.h"

#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_cohort.h"
#include "cluster/meta_items.h"

#include <string.h>

struct held {
    uint16_t node;
    bool in_sync;
    uint32_t inc;
    uint64_t left;
};

struct mq {
    uint64_t qid, epoch, ver;
    bool durable, shared, damaged, goes;
    bool placed;                  /* it has a record of its own */
    bool on_failure, on_shutdown; /* somebody is promoted always */
    unsigned count;
    struct held held[MODEL_NODES]; /* the master, then the eldest first */
};

struct model {
    struct mq queues[MODEL_QUEUES];
    unsigned count;
    bool is_frozen;
    const struct model_node *nodes;
    uint64_t index;
};

struct model *model_new(void)
{
    return mem_zalloc(sizeof(struct model));
}

void model_free(struct model **m)
{
    mem_free(*m);
    *m = NULL;
}

/* ---- a queue's record ---- */

static unsigned members(const struct mq *q)
{
    unsigned n = 0;
    for (unsigned i = 0; i < q->count; i++)
        n += q->held[i].in_sync;
    return n;
}

static int place_of(const struct mq *q, uint16_t node)
{
    for (unsigned i = 0; i < q->count; i++)
        if (q->held[i].node == node)
            return (int)i;
    return -1;
}

static struct held take_out(struct mq *q, int at)
{
    struct held h = q->held[at];
    memmove(&q->held[at], &q->held[at + 1], (q->count - (unsigned)at - 1) * sizeof h);
    q->count--;
    return h;
}

static void put_first(struct mq *q, struct held h)
{
    memmove(&q->held[1], &q->held[0], q->count * sizeof h);
    q->held[0] = h;
    q->count++;
}

static void changed(const struct model *m, struct mq *q, bool master)
{
    q->ver = m->index;
    if (master)
        q->epoch = m->index;
}

static void out_of_sync(struct mq *q, uint16_t node, uint64_t left)
{
    struct held h = take_out(q, place_of(q, node));
    h.in_sync = false;
    h.inc = 0;
    h.left = left;
    q->held[q->count++] = h;
}

static bool is_fit(const struct model_node *n)
{
    return n->is_up && !n->is_unwell;
}

/* The first place was the master's: the eldest comes next who is in sync, up and well, else who is
 * in sync and up, else who is in sync. */
static void succeed(const struct model *m, struct mq *q)
{
    int next = -1;
    for (unsigned i = q->count; i-- != 0;)
        if (q->held[i].in_sync)
            next = (int)i;
    for (unsigned i = q->count; i-- != 0;)
        if (q->held[i].in_sync && m->nodes[q->held[i].node].is_up)
            next = (int)i;
    for (unsigned i = q->count; i-- != 0;)
        if (q->held[i].in_sync && is_fit(&m->nodes[q->held[i].node]))
            next = (int)i;
    CHECK(next >= 0);
    put_first(q, take_out(q, next));
}

static void leave(const struct model *m, struct mq *q, uint16_t node, uint64_t left)
{
    bool was_master = q->held[0].node == node;
    out_of_sync(q, node, left);
    if (was_master)
        succeed(m, q);
    changed(m, q, was_master);
}

static bool promote_other(const struct model *m, struct mq *q, uint16_t node, bool needs_up)
{
    int best = -1;
    for (unsigned i = 0; i < q->count; i++) {
        const struct held *h = &q->held[i];
        if (h->in_sync || h->node == node || (needs_up ? !m->nodes[h->node].is_up : h->left == 0))
            continue;
        if (best < 0 || h->left > q->held[best].left)
            best = (int)i;
    }
    if (best < 0)
        return false;
    struct held next = take_out(q, best);
    out_of_sync(q, node, m->index);
    next.in_sync = true;
    next.inc = m->nodes[next.node].inc != 0 ? m->nodes[next.node].inc : 1;
    next.left = 0;
    put_first(q, next);
    q->damaged = false;
    changed(m, q, true);
    return true;
}

/* ---- nodes ---- */

static void node_gone(const struct model *m, struct mq *q, uint16_t node, bool stops)
{
    int at = place_of(q, node);
    if (at < 0 || !q->held[at].in_sync || (stops && m->is_frozen && q->durable))
        return;
    if (members(q) > 1)
        leave(m, q, node, m->index);
    else if (!((stops ? q->on_shutdown : q->on_failure) && promote_other(m, q, node, true)))
        q->goes = !q->durable;
}

static void node_anew(const struct model *m, struct mq *q, uint16_t node, uint32_t inc, bool lost)
{
    int at = place_of(q, node);
    if (at < 0)
        return;
    if (!q->held[at].in_sync) {
        if (lost && q->held[at].left != 0) {
            q->held[at].left = 0;
            changed(m, q, false);
        }
        return;
    }
    bool stays = q->durable && !lost && m->nodes[node].is_stopped;
    if (members(q) > 1 && !stays) {
        leave(m, q, node, lost ? 0 : m->index);
    } else if (members(q) == 1 && !q->durable) {
        q->goes = true;
    } else {
        q->held[at].inc = inc;
        q->damaged = q->damaged || lost;
        changed(m, q, at == 0);
    }
}

static void node_removed(const struct model *m, struct mq *q, uint16_t node)
{
    int at = place_of(q, node);
    if (at < 0)
        return;
    if (q->held[at].in_sync && members(q) > 1)
        leave(m, q, node, m->index);
    else if (q->held[at].in_sync && !promote_other(m, q, node, true) &&
             !(q->durable && promote_other(m, q, node, false)))
        q->goes = true;
    if (q->goes)
        return;
    take_out(q, place_of(q, node));
    changed(m, q, false);
}

static void thaw(const struct model *m, struct mq *q)
{
    for (unsigned i = 0; i < q->count; i++) {
        bool other = false;
        for (unsigned k = 0; k < q->count; k++)
            other = other || (q->held[k].in_sync && m->nodes[q->held[k].node].is_up);
        if (!q->held[i].in_sync || m->nodes[q->held[i].node].is_up || !other)
            continue;
        leave(m, q, q->held[i].node, m->index);
        i = UINT32_MAX; /* they have moved */
    }
}

/* It gives way to whoever is up, well, and there to stay. */
static void unwell(const struct model *m, struct mq *q, uint16_t node)
{
    int at = place_of(q, node);
    bool other = false;
    for (unsigned i = 0; i < q->count; i++) {
        const struct model_node *n = &m->nodes[q->held[i].node];
        other = other ||
                (q->held[i].node != node && q->held[i].in_sync && is_fit(n) && !n->is_draining);
    }
    if (at >= 0 && q->held[at].in_sync && other)
        leave(m, q, node, m->index);
}

static void lag(const struct model *m, struct mq *q, const struct meta_cmd *cmd)
{
    int at = place_of(q, cmd->pair_lag.mirror);
    if (q->held[0].node == cmd->pair_lag.master && at > 0 && q->held[at].in_sync)
        leave(m, q, cmd->pair_lag.mirror, m->index);
}

/* ---- single queues ---- */

static struct mq *find(struct model *m, uint64_t qid)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->queues[i].qid == qid)
            return &m->queues[i];
    return NULL;
}

static void isr_item(struct model *m, const struct meta_isr_item *it)
{
    struct mq *q = find(m, it->qid);
    if (q == NULL || q->epoch != it->epoch || q->ver != it->ver)
        return;
    int at = place_of(q, it->node);
    const struct model_node *n = it->node < MODEL_NODES ? &m->nodes[it->node] : NULL;
    changed(m, q, false);
    if (it->adds && at >= 0 && !q->held[at].in_sync && is_fit(n) && n->inc == it->inc &&
        m->nodes[q->held[0].node].is_up && !q->damaged) {
        q->held[at] = (struct held){ it->node, true, it->inc, 0 };
    } else if (!it->adds && at > 0 && q->held[at].in_sync) {
        out_of_sync(q, it->node, m->index);
    }
}

static void move_item(struct model *m, const struct meta_move_item *it)
{
    struct mq *q = find(m, it->qid);
    int at = q != NULL ? place_of(q, it->node) : -1;
    if (at <= 0 || q->epoch != it->epoch || !q->held[at].in_sync || q->damaged ||
        !is_fit(&m->nodes[it->node]))
        return;
    put_first(q, take_out(q, at));
    changed(m, q, true);
}

static bool names(struct slice nodes, uint16_t node)
{
    for (struct wire w = wire_over(nodes); wire_left(&w) != 0;)
        if (wire_u16(&w) == node)
            return true;
    return false;
}

static void set_item(struct model *m, const struct meta_cmd *cmd, const struct meta_set_item *it)
{
    struct mq *q = find(m, it->qid);
    struct slice nodes = cmd->replicas_set.nodes;
    if (q == NULL || !q->shared || q->ver != it->ver || !names(nodes, q->held[0].node))
        return;
    bool differs = q->on_failure != cmd->replicas_set.always_on_failure ||
                   q->on_shutdown != cmd->replicas_set.always_on_shutdown;
    q->on_failure = cmd->replicas_set.always_on_failure;
    q->on_shutdown = cmd->replicas_set.always_on_shutdown;
    for (unsigned i = 1; i < q->count;) {
        if (names(nodes, q->held[i].node)) {
            i++;
            continue;
        }
        take_out(q, (int)i);
        differs = true;
    }
    for (struct wire w = wire_over(nodes); wire_left(&w) != 0;) {
        uint16_t node = wire_u16(&w);
        if (place_of(q, node) >= 0 || m->nodes[node].mirrors == 0)
            continue;
        q->held[q->count++] = (struct held){ .node = node };
        differs = true;
    }
    if (differs)
        changed(m, q, false);
}

static void force(struct model *m, const struct meta_cmd *cmd)
{
    struct mq *q = find(m, cmd->qid);
    uint16_t node = cmd->force_promote.node;
    bool damaged = q->damaged;
    int at = place_of(q, node);
    struct held next = { node, true, m->nodes[node].inc, 0 };
    if (at >= 0)
        take_out(q, at);
    put_first(q, next);
    for (unsigned i = 1; i < q->count;) {
        if (!q->held[i].in_sync) {
            i++;
            continue;
        }
        out_of_sync(q, q->held[i].node, damaged ? 0 : m->index);
        i = 1;
    }
    q->damaged = false;
    changed(m, q, true);
}

static void single(struct model *m, const struct meta_cmd *cmd)
{
    struct wire w;
    if (cmd->op == META_ISR_CHANGE)
        for (w = wire_over(cmd->isr_change.items); wire_left(&w) != 0;) {
            struct meta_isr_item it = meta_isr_item_take(&w);
            isr_item(m, &it);
        }
    else if (cmd->op == META_MASTER_MOVE)
        for (w = wire_over(cmd->master_move.items); wire_left(&w) != 0;) {
            struct meta_move_item it = meta_move_item_take(&w);
            move_item(m, &it);
        }
    else if (cmd->op == META_REPLICAS_SET)
        for (w = wire_over(cmd->replicas_set.items); wire_left(&w) != 0;) {
            struct meta_set_item it = meta_set_item_take(&w);
            set_item(m, cmd, &it);
        }
    else
        force(m, cmd);
}

/* ---- following ---- */

/* Was the command about this incarnation, and is it anything new? */
static bool concerns(const struct model *m, const struct meta_cmd *cmd)
{
    const struct model_node *n = &m->nodes[cmd->node.node];
    bool same = n->is_there && n->inc == cmd->node.inc && n->inc != 0;
    if (cmd->op == META_NODE_REMOVE)
        return n->is_there;
    if (cmd->op == META_NODE_UP)
        return n->is_there && cmd->node.inc > n->inc;
    return same && n->is_up;
}

static bool falls_ill(const struct model *m, const struct meta_cmd *cmd)
{
    return concerns(m, cmd) && !m->nodes[cmd->node.node].is_draining;
}

/* Did a node find that it lost something of this queue? */
static bool is_damaged_by(const struct model *m, const struct mq *q, const struct meta_cmd *cmd)
{
    const struct model_node *n = &m->nodes[cmd->node_damaged.node];
    struct wire w = wire_over(cmd->node_damaged.items);
    bool names_it = wire_left(&w) == 0;
    while (wire_left(&w) != 0)
        names_it = wire_u64(&w) == q->qid || names_it;
    return n->is_there && n->inc == cmd->node_damaged.inc && n->inc != 0 && q->placed &&
           q->durable && names_it;
}

static bool pair_is_there(const struct model *m, const struct meta_cmd *cmd)
{
    const struct model_node *a = &m->nodes[cmd->pair_lag.master];
    const struct model_node *b = &m->nodes[cmd->pair_lag.mirror];
    return a->is_there && b->is_there && a->inc == cmd->pair_lag.master_inc && a->inc != 0 &&
           b->inc == cmd->pair_lag.mirror_inc && b->inc != 0;
}

void model_follow(struct model *m, const struct model_node *nodes, uint64_t index,
                  const struct meta_cmd *cmd)
{
    m->nodes = nodes;
    m->index = index;
    for (unsigned i = 0; i < m->count; i++) {
        struct mq *q = &m->queues[i];
        if ((cmd->op == META_NODE_DOWN || cmd->op == META_NODE_STOPPED) && concerns(m, cmd))
            node_gone(m, q, cmd->node.node, cmd->op == META_NODE_STOPPED);
        else if (cmd->op == META_NODE_UP && concerns(m, cmd))
            node_anew(m, q, cmd->node.node, cmd->node.inc, cmd->node.lost_data);
        else if (cmd->op == META_NODE_UNWELL && falls_ill(m, cmd))
            unwell(m, q, cmd->node.node);
        else if (cmd->op == META_NODE_DAMAGED && is_damaged_by(m, q, cmd))
            node_anew(m, q, cmd->node_damaged.node, cmd->node_damaged.inc, true);
        else if (cmd->op == META_NODE_REMOVE && concerns(m, cmd))
            node_removed(m, q, cmd->node.node);
        else if (cmd->op == META_PAIR_LAG && pair_is_there(m, cmd))
            lag(m, q, cmd);
        else if (cmd->op == META_CLUSTER_THAW)
            thaw(m, q);
    }
    if (cmd->op == META_CLUSTER_FREEZE || cmd->op == META_CLUSTER_THAW)
        m->is_frozen = cmd->op == META_CLUSTER_FREEZE;
    if (cmd->op == META_ISR_CHANGE || cmd->op == META_MASTER_MOVE || cmd->op == META_REPLICAS_SET ||
        cmd->op == META_FORCE_PROMOTE)
        single(m, cmd);
}

/* ---- comparing ---- */

static const char *take_over(struct model *m, const struct model_node *nodes,
                             const struct meta_version *v, const struct meta_queue *q)
{
    struct meta_placement p;
    meta_placement_of(v, q, &p);
    CHECK(m->count < MODEL_QUEUES);
    struct mq *to = &m->queues[m->count++];
    *to = (struct mq){ .qid = q->qid,
                       .durable = q->durable,
                       .shared = q->owner == 0,
                       .count = p.count,
                       .epoch = p.epoch,
                       .ver = p.ver };
    const struct meta_placed *placed = meta_placed_get(v, q->qid);
    to->placed = placed != NULL;
    uint8_t flags = placed != NULL ? meta_cohort_get(v, placed->cohort)->flags : 0;
    to->on_failure = (flags & META_RECORD_ALWAYS_ON_FAILURE) != 0;
    to->on_shutdown = (flags & META_RECORD_ALWAYS_ON_SHUTDOWN) != 0;
    for (unsigned i = 0; i < p.count; i++) {
        const struct meta_replica *r = meta_placement_replica(&p, i);
        to->held[i] = (struct held){ r->node, r->inc != 0, r->inc, r->left };
        if (r->inc == 0 || r->left != 0 || r->inc != nodes[r->node].inc)
            return "a new queue has a mirror that is not in sync";
        if (i != 0 && (!nodes[r->node].is_up || nodes[r->node].mirrors == 0))
            return "a new queue has a mirror that cannot be";
    }
    if (q->owner != 0 && p.count != 1)
        return "an exclusive queue has mirrors";
    return p.epoch == v->index && p.ver == v->index ? NULL : "a new queue is old";
}

static const char *compare_queue(const struct mq *q, const struct meta_version *v)
{
    struct meta_placement p;
    meta_placement_of(v, meta_queue_get(v, q->qid), &p);
    if (p.count != q->count || p.isr_count != members(q))
        return "a queue has other replicas";
    for (unsigned i = 0; i < q->count; i++) {
        const struct meta_replica *r = meta_placement_replica(&p, i);
        const struct held *h = &q->held[i];
        if (r->node != h->node || (r->inc != 0) != h->in_sync)
            return i == 0 ? "a queue has another master" : "replicas are in another order";
        if (r->inc != h->inc)
            return "a replica is in sync as another incarnation";
        if (r->left != h->left)
            return "a replica has left at another time";
    }
    if (p.epoch != q->epoch)
        return "a queue has another epoch";
    if (p.ver != q->ver)
        return "a queue has another ver";
    bool runs = meta_queue_is_served(v, meta_queue_get(v, q->qid));
    if (q->damaged != (p.state == META_PLACED_DAMAGED) || (q->damaged && runs))
        return "a queue is damaged, or is not";
    return NULL;
}

static bool deletes(enum meta_op op)
{
    return op == META_QUEUE_DELETE || op == META_OWNER_GONE || op == META_VHOST_DELETE;
}

const char *model_compare(struct model *m, const struct model_node *nodes,
                          const struct meta_version *v, const struct meta_cmd *cmd)
{
    const char *why = NULL;
    for (unsigned i = 0; i < m->count;) {
        struct mq *q = &m->queues[i];
        bool is_there = meta_queue_get(v, q->qid) != NULL;
        if (is_there && q->goes)
            return "a queue stays that nobody has";
        if (!is_there && !q->goes && !deletes(cmd->op))
            return "a queue goes that somebody has";
        if (!is_there)
            *q = m->queues[--m->count];
        else if ((why = compare_queue(q, v)) != NULL)
            return why;
        else
            m->queues[i++].placed = meta_placed_get(v, q->qid) != NULL;
    }
    struct pmap_iter it;
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; why == NULL && (q = pmap_next(&it)) != NULL;)
        if (find(m, q->qid) == NULL)
            why = cmd->op == META_QUEUE_DECLARE ? take_over(m, nodes, v, q)
                                                : "a queue out of nowhere";
    return why;
}
