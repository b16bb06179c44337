#include "cluster/meta_placement.h"

#include "base/check.h"
#include "base/mutation.h"
#include "cluster/meta_cohort.h"

_Static_assert(META_PARTS == PMAP_PARTS, "parts of maps");

static bool is_served_by(const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = node == v->self ? NULL : meta_node_get(v, node);
    return node == v->self || (n != NULL && meta_node_is_serving(n));
}

static enum meta_placement_state state_of(const struct meta_version *v, uint8_t flags,
                                          uint16_t master)
{
    if ((flags & META_RECORD_DAMAGED) != 0)
        return META_PLACED_DAMAGED;
    return is_served_by(v, master) ? META_PLACED_RUNNING : META_PLACED_DOWN;
}

static unsigned in_sync_of(const struct meta_cohort *c)
{
    unsigned count = 0;
    for (unsigned i = 0; i < c->count; i++)
        count += c->replicas[i].inc != 0;
    return count;
}

void meta_placement_of(const struct meta_version *v, const struct meta_queue *q,
                       struct meta_placement *out)
{
    const struct meta_placed *p = meta_placed_get(v, q->qid);
    struct meta_record r;
    uint8_t flags = 0;
    if (p != NULL) {
        const struct meta_cohort *c = meta_cohort_get(v, p->cohort);
        *out = (struct meta_placement){ .epoch = meta_placed_epoch(p, c),
                                        .ver = meta_placed_ver(p, c),
                                        .cohort = c,
                                        .own = c->replicas[0],
                                        .count = c->count,
                                        .isr_count = in_sync_of(c) };
        flags = c->flags;
    } else {
        meta_record_of(v, q, &r);
        uint64_t epoch = meta_queue_epoch(v, q);
        *out = (struct meta_placement){
            .epoch = epoch, .ver = epoch, .own = r.replicas[0], .count = 1, .isr_count = 1
        };
    }
    out->master = out->own.node;
    out->master_inc = out->own.inc;
    out->state = state_of(v, flags, out->master);
    out->always_on_failure = (flags & META_RECORD_ALWAYS_ON_FAILURE) != 0;
    out->always_on_shutdown = (flags & META_RECORD_ALWAYS_ON_SHUTDOWN) != 0;
}

const struct meta_replica *meta_placement_replica(const struct meta_placement *p, unsigned i)
{
    CHECK(i < p->count);
    return p->cohort != NULL ? &p->cohort->replicas[i] : &p->own;
}

const struct meta_replica *meta_placement_find(const struct meta_placement *p, uint16_t node)
{
    for (unsigned i = 0; i < p->count; i++)
        if (meta_placement_replica(p, i)->node == node)
            return meta_placement_replica(p, i);
    return NULL;
}

bool meta_placement_is_in_sync(const struct meta_placement *p, uint16_t node)
{
    const struct meta_replica *r = meta_placement_find(p, node);
    return r != NULL && r->inc != 0;
}

enum meta_role meta_placement_role(const struct meta_placement *p, uint16_t node)
{
    if (node == p->master)
        return META_ROLE_MASTER;
    return meta_placement_find(p, node) != NULL ? META_ROLE_MIRROR : META_ROLE_NONE;
}

uint16_t meta_queue_master(const struct meta_version *v, const struct meta_queue *q)
{
    const struct meta_placed *p = meta_placed_get(v, q->qid);
    return LIKELY(p == NULL) ? q->node : meta_cohort_get(v, p->cohort)->replicas[0].node;
}

bool meta_queue_is_mirrored(const struct meta_version *v, const struct meta_queue *q)
{
    const struct meta_placed *p = meta_placed_get(v, q->qid);
    return UNLIKELY(p != NULL) && meta_cohort_get(v, p->cohort)->count > 1;
}

uint64_t meta_queue_epoch(const struct meta_version *v, const struct meta_queue *q)
{
    const struct meta_placed *p = meta_placed_get(v, q->qid);
    if (p != NULL)
        return meta_placed_epoch(p, meta_cohort_get(v, p->cohort));
    const struct meta_node *n = meta_node_get(v, q->node);
    return n != NULL && n->since > q->epoch ? n->since : q->epoch;
}

bool meta_queue_is_served(const struct meta_version *v, const struct meta_queue *q)
{
    if (LIKELY(v->unserved == 0 && v->damaged == 0))
        return true;
    const struct meta_placed *p = meta_placed_get(v, q->qid);
    if (p == NULL)
        return is_served_by(v, q->node);
    const struct meta_cohort *c = meta_cohort_get(v, p->cohort);
    bool is_whole = (c->flags & META_RECORD_DAMAGED) == 0 || MUTATION(META_DAMAGED_SERVES);
    return is_whole && is_served_by(v, c->replicas[0].node);
}

bool meta_queue_is_reached(const struct meta_version *v, const struct meta_queue *q)
{
    return LIKELY(meta_queue_is_served(v, q)) || meta_queue_is_mirrored(v, q);
}

/* ---- cohorts ---- */

uint32_t meta_placement_cohort(const struct meta_placement *p)
{
    return p->cohort != NULL ? p->cohort->id : 0;
}

bool meta_cohort_each(const struct meta_version *v, uint32_t cohort, unsigned part,
                      meta_placed_fn each, void *arg)
{
    CHECK(part < META_PARTS);
    const struct meta_cohort *c = meta_cohort_get(v, cohort);
    struct pmap_iter it;
    if (c == NULL)
        return true;
    pmap_iter_part(&it, &c->queues, &v->kinds->placed, part);
    for (const struct meta_placed *p; (p = pmap_next(&it)) != NULL;)
        if (!each(arg, p->queue))
            return false;
    return true;
}

bool meta_queues_each(const struct meta_version *v, unsigned part, meta_placed_fn each, void *arg)
{
    CHECK(part < META_PARTS);
    struct pmap_iter it;
    pmap_iter_part(&it, &v->queues, &v->kinds->queues, part);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        if (!each(arg, q))
            return false;
    return true;
}

uint64_t meta_cohort_count(const struct meta_version *v, uint32_t cohort)
{
    const struct meta_cohort *c = meta_cohort_get(v, cohort);
    return c != NULL ? c->queues.count : 0;
}
