/* What befalls a node, or a pair of them, written into the cohorts that it concerns. Each cohort is
 * judged by itself, so that the order in which they are found, which differs from node to node,
 * decides nothing. */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "cluster/meta_cohort.h"
#include "cluster/meta_items.h"

#include <stdlib.h>

/* What is to become of a cohort's queues: the record has changed so, or they go. */
#define GOES 0x80u

static bool has_node(const struct meta_record *r, uint16_t node, unsigned *i)
{
    int at = meta_record_find(r, node);
    *i = (unsigned)at;
    return at >= 0;
}

static bool is_alone(const struct meta_record *r)
{
    return meta_record_in_sync(r) == 1 && !MUTATION(META_SOLE_STRUCK);
}

/* The only in-sync node gives way to one that is not. */
static uint8_t stand_in(const struct meta *m, struct meta_record *r, int next)
{
    uint16_t node = r->replicas[next].node;
    const struct meta_node *n = meta_node_get(&m->draft, node);
    meta_record_strike(r, 0, m->draft.index);
    unsigned i = (unsigned)meta_record_find(r, node);
    r->replicas[i].left = 0;
    r->replicas[i].inc = n != NULL && n->inc != 0 ? n->inc : 1;
    r->flags &= (uint8_t)~META_RECORD_DAMAGED;
    meta_record_promote(r, i);
    return META_HOW_MASTER | META_HOW_IN_SYNC | META_HOW_FORCED;
}

/* The node is down, or stops. Nobody is put in its place who lacks what was confirmed, unless the
 * queue's policy says so. */
static uint8_t of_gone(const struct meta *m, struct meta_record *r, const struct meta_fate *f)
{
    unsigned i;
    bool stops = f->kind == META_FATE_STOPPED;
    bool lasts = (r->flags & META_RECORD_LASTS) != 0;
    uint8_t always = stops ? META_RECORD_ALWAYS_ON_SHUTDOWN : META_RECORD_ALWAYS_ON_FAILURE;
    if (!has_node(r, f->node, &i) || r->replicas[i].inc == 0)
        return 0;
    if (stops && m->draft.is_frozen && lasts)
        return 0;
    if (!is_alone(r))
        return meta_record_in_sync(r) > 1 ? meta_record_leave(&m->draft, r, i, m->draft.index)
                                          : GOES;
    int next = (r->flags & always) != 0 ? meta_record_stand_in(&m->draft, r, f->node) : -1;
    if (next >= 0)
        return stand_in(m, r, next);
    return lasts ? 0 : GOES;
}

/* It stopped while all were to stop, and what it has is what the others have. */
static bool has_kept_its_place(const struct meta *m, uint16_t node)
{
    return meta_node_get(&m->draft, node)->state == META_NODE_IS_STOPPED;
}

/* Another process: what it had received and not written down is gone. */
static uint8_t of_anew(const struct meta *m, struct meta_record *r, const struct meta_fate *f)
{
    unsigned i;
    bool lost = f->kind != META_FATE_ANEW && !MUTATION(CLUSTER_LOST_IS_WHOLE);
    bool lasts = (r->flags & META_RECORD_LASTS) != 0;
    if (!has_node(r, f->node, &i) || (f->kind == META_FATE_DAMAGED && !lasts))
        return 0; /* what does not last was never on a disk */
    struct meta_replica *replica = &r->replicas[i];
    if (replica->inc == 0) {
        uint8_t how = lost && replica->left != 0 ? META_HOW_REPLICAS : 0;
        replica->left = lost ? 0 : replica->left;
        return how;
    }
    bool keeps = (lasts && !lost && has_kept_its_place(m, f->node)) ||
                 MUTATION(META_UP_KEEPS_ISR) || MUTATION(MIRROR_EPOCH_KEPT);
    if (meta_record_in_sync(r) > 1 && !keeps)
        return meta_record_leave(&m->draft, r, i,
                                 lost && !MUTATION(META_LOST_IS_ELIGIBLE) ? 0 : m->draft.index);
    if (meta_record_in_sync(r) == 1 && !lasts)
        return GOES;
    replica->inc = f->inc;
    if (lost)
        r->flags |= META_RECORD_DAMAGED;
    bool acts = i == 0 && !MUTATION(META_RESTART_KEEPS_EPOCH) && !MUTATION(MIRROR_EPOCH_KEPT);
    return acts ? META_HOW_IN_SYNC | META_HOW_MASTER : META_HOW_IN_SYNC;
}

/* It is no member any more. What it alone had goes, unless somebody has some of it: an operator has
 * said that it will not come back. */
static uint8_t of_removed(const struct meta *m, struct meta_record *r, const struct meta_fate *f)
{
    unsigned i;
    uint8_t how = META_HOW_REPLICAS;
    if (!has_node(r, f->node, &i))
        return 0;
    if (r->replicas[i].inc != 0 && meta_record_in_sync(r) > 1) {
        how |= meta_record_leave(&m->draft, r, i, m->draft.index);
    } else if (r->replicas[i].inc != 0) {
        int next = meta_record_stand_in(&m->draft, r, f->node);
        if (next < 0 && (r->flags & META_RECORD_LASTS) != 0)
            next = meta_record_eligible(r, f->node);
        if (next < 0)
            return GOES;
        how |= stand_in(m, r, next);
    }
    meta_record_remove(r, (unsigned)meta_record_find(r, f->node));
    return how;
}

static uint8_t of_lagging(const struct meta *m, struct meta_record *r, const struct meta_fate *f)
{
    unsigned i;
    if (r->replicas[0].node != f->master || !has_node(r, f->node, &i) || r->replicas[i].inc == 0)
        return 0;
    if (i == 0 && !MUTATION(META_LAG_TAKES_MASTER))
        return 0;
    return is_alone(r) ? 0 : meta_record_leave(&m->draft, r, i, m->draft.index);
}

static bool is_up(const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = meta_node_get(v, node);
    return n != NULL && meta_node_is_serving(n);
}

/* The next member that is not up, while another one is. */
static bool finds_absent(const struct meta_version *v, const struct meta_record *r, unsigned *i)
{
    bool somebody = false, absent = false;
    for (unsigned k = 0; k < r->count; k++) {
        if (r->replicas[k].inc == 0)
            continue;
        bool up = is_up(v, r->replicas[k].node);
        somebody = somebody || up;
        if (!up && !absent)
            *i = k;
        absent = absent || !up;
    }
    return somebody && absent;
}

static uint8_t of_thaw(const struct meta *m, struct meta_record *r)
{
    uint8_t how = 0;
    unsigned i = 0;
    while (finds_absent(&m->draft, r, &i))
        how |= meta_record_leave(&m->draft, r, i, m->draft.index);
    return how;
}

/* Is another one in sync that is there to stay, and well? */
static bool has_heir(const struct meta_version *v, const struct meta_record *r, uint16_t node)
{
    for (unsigned i = 0; i < r->count; i++) {
        const struct meta_node *n = meta_node_get(v, r->replicas[i].node);
        if (r->replicas[i].node != node && r->replicas[i].inc != 0 && n != NULL &&
            n->state == META_NODE_IS_UP)
            return true;
    }
    return false;
}

/* Who is slower than the others is waited for no longer, as long as one of them can go on. */
static uint8_t of_unwell(const struct meta *m, struct meta_record *r, const struct meta_fate *f)
{
    unsigned i;
    if (!has_node(r, f->node, &i) || r->replicas[i].inc == 0)
        return 0;
    if (!has_heir(&m->draft, r, f->node) && !MUTATION(META_UNWELL_ANYHOW))
        return 0;
    return is_alone(r) ? 0 : meta_record_leave(&m->draft, r, i, m->draft.index);
}

bool meta_unwell_is_due(const struct meta_version *v, const struct meta_node *n)
{
    struct pmap_iter it;
    pmap_iter(&it, &v->cohorts);
    if (n->state != META_NODE_IS_UNWELL)
        return false;
    for (const struct meta_cohort *c; (c = pmap_next(&it)) != NULL;) {
        struct meta_record r;
        unsigned i;
        meta_record_of_cohort(c, &r);
        if (has_node(&r, n->node, &i) && r.replicas[i].inc != 0 && has_heir(v, &r, n->node))
            return true;
    }
    return false;
}

bool meta_placed_may_move(const struct meta_version *v, uint16_t node)
{
    struct pmap_iter it;
    pmap_iter(&it, &v->cohorts);
    for (const struct meta_cohort *c; (c = pmap_next(&it)) != NULL;) {
        struct meta_record r;
        meta_record_of_cohort(c, &r);
        if (r.replicas[0].node == node && (r.flags & META_RECORD_DAMAGED) == 0 &&
            has_heir(v, &r, node))
            return true;
    }
    return false;
}

bool meta_thaw_is_due(const struct meta_version *v)
{
    struct pmap_iter it;
    pmap_iter(&it, &v->cohorts);
    for (const struct meta_cohort *c; (c = pmap_next(&it)) != NULL;) {
        struct meta_record r;
        unsigned i;
        meta_record_of_cohort(c, &r);
        if (finds_absent(v, &r, &i))
            return true;
    }
    return false;
}

static uint8_t judge(const struct meta *m, struct meta_record *r, const struct meta_fate *f)
{
    switch (f->kind) {
    case META_FATE_DOWN:
    case META_FATE_STOPPED:
        return of_gone(m, r, f);
    case META_FATE_ANEW:
    case META_FATE_LOST:
    case META_FATE_DAMAGED:
        return of_anew(m, r, f);
    case META_FATE_REMOVED:
        return of_removed(m, r, f);
    case META_FATE_LAGS:
        return of_lagging(m, r, f);
    case META_FATE_UNWELL:
        return of_unwell(m, r, f);
    case META_FATE_THAW:
        return of_thaw(m, r);
    }
    UNREACHABLE("fate");
}

/* ---- over all ---- */

static void delete_queues(struct meta *m, const struct meta_cohort *c, struct meta_result *out)
{
    struct pmap placed = c->queues;
    meta_placed_delete(m, &placed, out);
}

static uint32_t *cohort_ids(const struct meta *m, size_t *count)
{
    uint32_t *ids = mem_array(m->draft.cohorts.count + 1, sizeof *ids);
    struct pmap_iter it;
    *count = 0;
    pmap_iter(&it, &m->draft.cohorts);
    for (const struct meta_cohort *c; (c = pmap_next(&it)) != NULL;)
        ids[(*count)++] = c->id;
    return ids;
}

/* Queues without a record of their own have one from now on: that they are damaged. */
static void damage_own(struct meta *m, const struct meta_fate *f, struct meta_result *out)
{
    const struct meta_home *h = meta_home_find(&m->draft, f->node);
    size_t count = 0;
    if (h == NULL || h->lasting.count == 0)
        return;
    const struct meta_queue **list = mem_array(h->lasting.count, sizeof(const struct meta_queue *));
    struct pmap_iter it;
    pmap_iter(&it, &h->lasting);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        list[count++] = q;
    for (size_t i = 0; i < count; i++) {
        struct meta_record r;
        meta_record_of(&m->draft, list[i], &r);
        r.replicas[0].inc = f->inc;
        r.flags |= META_RECORD_DAMAGED;
        meta_placed_change(m, list[i], &r, META_HOW_IN_SYNC | META_HOW_MASTER, out);
    }
    mem_free(list);
}

void meta_fate(struct meta *m, const struct meta_fate *f, struct meta_result *out)
{
    size_t count;
    uint32_t *ids = cohort_ids(m, &count);
    for (size_t i = 0; i < count; i++) {
        const struct meta_cohort *c = meta_cohort_get(&m->draft, ids[i]);
        struct meta_record r;
        meta_record_of_cohort(c, &r);
        uint8_t how = judge(m, &r, f);
        if (how == GOES)
            delete_queues(m, c, out);
        else if (how != 0)
            meta_cohort_change(m, c, &r, how, out);
    }
    mem_free(ids);
    if (f->kind == META_FATE_LOST)
        damage_own(m, f, out);
}

/* ---- commands ---- */

static bool is_this(const struct meta_version *v, uint16_t node, uint32_t inc)
{
    const struct meta_node *n = meta_node_get(v, node);
    return n != NULL && n->inc == inc && inc != 0;
}

static enum meta_verdict damaged_check(const struct meta_version *v, const struct meta_cmd *cmd,
                                       struct meta_result *out)
{
    struct slice items = cmd->node_damaged.items;
    if (items.len != 0 && !meta_items_suit(items, META_QUEUE_ITEM_BYTES)) {
        struct text t = meta_refuse(&out->refusal, 400);
        text_str(&t, "a list of queues is none, or has too many of them");
        return META_REFUSED;
    }
    bool same = is_this(v, cmd->node_damaged.node, cmd->node_damaged.inc);
    return same ? META_CHANGE : META_DONE;
}

enum meta_verdict meta_fate_check(const struct meta_version *v, const struct meta_vhost *none,
                                  const struct meta_cmd *cmd, struct meta_result *out)
{
    CHECK(none == NULL);
    if (cmd->op == META_CLUSTER_FREEZE)
        return v->is_frozen ? META_DONE : META_CHANGE;
    if (cmd->op == META_CLUSTER_THAW)
        return META_CHANGE;
    if (cmd->op == META_NODE_DAMAGED)
        return damaged_check(v, cmd, out);
    CHECK(cmd->op == META_PAIR_LAG);
    bool same = is_this(v, cmd->pair_lag.master, cmd->pair_lag.master_inc) &&
                is_this(v, cmd->pair_lag.mirror, cmd->pair_lag.mirror_inc);
    return same ? META_CHANGE : META_DONE;
}

/* What is said of one queue alone. */
static void damage_queue(struct meta *m, uint64_t qid, const struct meta_fate *f,
                         struct meta_result *out)
{
    const struct meta_queue *q = meta_queue_get(&m->draft, qid);
    struct meta_record r;
    if (q == NULL || meta_placed_get(&m->draft, qid) == NULL)
        return;
    meta_record_of(&m->draft, q, &r);
    uint8_t how = of_anew(m, &r, f);
    if (how != 0)
        meta_placed_change(m, q, &r, how, out);
}

static void damage(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    struct meta_fate f = { .kind = META_FATE_DAMAGED,
                           .node = cmd->node_damaged.node,
                           .inc = cmd->node_damaged.inc };
    struct wire w = wire_over(cmd->node_damaged.items);
    if (wire_left(&w) == 0)
        meta_fate(m, &f, out);
    while (wire_left(&w) != 0)
        damage_queue(m, wire_u64(&w), &f, out);
}

void meta_fate_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    struct meta_fate f = { .kind = META_FATE_THAW };
    if (cmd->op == META_NODE_DAMAGED) {
        damage(m, cmd, out);
        return;
    }
    if (cmd->op == META_PAIR_LAG)
        f = (struct meta_fate){ .kind = META_FATE_LAGS,
                                .node = cmd->pair_lag.mirror,
                                .master = cmd->pair_lag.master };
    m->draft.is_frozen =
        cmd->op == META_PAIR_LAG ? m->draft.is_frozen : cmd->op == META_CLUSTER_FREEZE;
    if (cmd->op != META_CLUSTER_FREEZE)
        meta_fate(m, &f, out);
}
