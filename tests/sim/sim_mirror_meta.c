/* The register: what cluster/meta does for placements, as far as safety rests on it. */
#include "base/mutation.h"
#include "sim_mirror_inner.h"

void smr_meta_init(struct smr *w)
{
    struct smr_state *s = &w->log[0];
    w->log_count = 1;
    for (unsigned i = 0; i < w->node_count; i++) {
        s->inc[i] = 1;
        s->is_up[i] = true;
    }
    for (unsigned q = 0; q < w->queue_count; q++) {
        struct smr_placement *p = &s->queues[q];
        unsigned first = (unsigned)smr_below(w, w->node_count);
        *p = (struct smr_placement){ .epoch = 1, .ver = 1, .master_inc = 1 };
        p->master = (uint8_t)first;
        for (unsigned i = 0; i < w->node_count; i++) {
            unsigned node = (first + i) % w->node_count;
            p->order[i] = (uint8_t)node;
            p->is_in_sync[node] = true;
            p->inc[node] = 1;
        }
    }
}

void smr_meta_propose(struct smr *w, const struct smr_proposal *p)
{
    if (w->flight_count < SMR_FLIGHT)
        w->flight[w->flight_count++] = *p; /* else it is lost, and said again */
}

static unsigned in_sync_count(const struct smr *w, const struct smr_placement *p)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->node_count; i++)
        count += p->is_in_sync[i];
    return count;
}

/* The eldest that is up, else the eldest. */
static uint8_t successor(const struct smr *w, const struct smr_state *s,
                         const struct smr_placement *p)
{
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < w->node_count; i++)
            if (p->is_in_sync[p->order[i]] && (pass == 1 || s->is_up[p->order[i]]))
                return p->order[i];
    return p->master;
}

static void make_last(const struct smr *w, struct smr_placement *p, unsigned node)
{
    unsigned at = 0;
    while (p->order[at] != node)
        at++;
    for (; at + 1 < w->node_count; at++)
        p->order[at] = p->order[at + 1];
    p->order[w->node_count - 1] = (uint8_t)node;
}

static void appoint(struct smr_placement *p, unsigned node, uint64_t index)
{
    p->master = (uint8_t)node;
    p->master_inc = p->inc[node];
    p->epoch = p->ver = index;
}

static void strike(const struct smr *w, struct smr_state *s, struct smr_placement *p, unsigned node,
                   uint64_t index)
{
    p->is_in_sync[node] = false;
    make_last(w, p, node);
    p->ver = index;
    if (p->master == node)
        appoint(p, successor(w, s, p), index);
}

static void node_down(const struct smr *w, struct smr_state *s, const struct smr_proposal *c,
                      uint64_t index)
{
    if (s->inc[c->node] != c->inc || !s->is_up[c->node])
        return;
    s->is_up[c->node] = false;
    for (unsigned q = 0; q < w->queue_count; q++) {
        struct smr_placement *p = &s->queues[q];
        if (p->is_in_sync[c->node] && in_sync_count(w, p) > 1)
            strike(w, s, p, c->node, index);
    }
}

static void node_up(const struct smr *w, struct smr_state *s, const struct smr_proposal *c,
                    uint64_t index)
{
    if (c->inc < s->inc[c->node])
        return;
    s->is_up[c->node] = true;
    if (c->inc == s->inc[c->node])
        return;
    s->inc[c->node] = c->inc;
    for (unsigned q = 0; q < w->queue_count; q++) {
        struct smr_placement *p = &s->queues[q];
        if (!p->is_in_sync[c->node])
            continue;
        if (MUTATION(MIRROR_EPOCH_KEPT)) {
            p->inc[c->node] = c->inc;
            p->master_inc = p->inc[p->master];
        } else if (in_sync_count(w, p) > 1) {
            strike(w, s, p, c->node, index);
        } else {
            p->inc[c->node] = c->inc;
            appoint(p, c->node, index);
        }
    }
}

static void isr_change(const struct smr *w, struct smr_state *s, const struct smr_proposal *c,
                       uint64_t index)
{
    struct smr_placement *p = &s->queues[c->queue];
    if (p->epoch != c->epoch || p->ver != c->ver)
        return;
    p->ver = index;
    if (!c->adds) {
        if (p->is_in_sync[c->node] && p->master != c->node)
            strike(w, s, p, c->node, index);
        return;
    }
    if (p->is_in_sync[c->node] || !s->is_up[c->node] || s->inc[c->node] != c->inc ||
        !s->is_up[p->master])
        return;
    p->is_in_sync[c->node] = true;
    p->inc[c->node] = c->inc;
}

static void pair_lag(const struct smr *w, struct smr_state *s, const struct smr_proposal *c,
                     uint64_t index)
{
    for (unsigned q = 0; q < w->queue_count; q++) {
        struct smr_placement *p = &s->queues[q];
        if (p->master == c->of && p->is_in_sync[c->node] && c->node != c->of)
            strike(w, s, p, c->node, index);
    }
}

static void master_move(struct smr_state *s, const struct smr_proposal *c, uint64_t index)
{
    struct smr_placement *p = &s->queues[c->queue];
    if (p->epoch == c->epoch && p->is_in_sync[c->node] && s->is_up[c->node] && p->master != c->node)
        appoint(p, c->node, index);
}

void smr_meta_decide(struct smr *w)
{
    if (w->flight_count == 0 || w->log_count == SMR_ENTRIES)
        return;
    unsigned which = (unsigned)smr_below(w, w->flight_count);
    struct smr_proposal c = w->flight[which];
    w->flight[which] = w->flight[--w->flight_count];
    struct smr_state *s = &w->log[w->log_count];
    uint64_t index = 1 + w->log_count;
    *s = *smr_head(w);
    w->log_count++;
    switch (c.what) {
    case SMR_ISR:
        isr_change(w, s, &c, index);
        break;
    case SMR_LAG:
        pair_lag(w, s, &c, index);
        break;
    case SMR_MOVE:
        master_move(s, &c, index);
        break;
    case SMR_DOWN:
        node_down(w, s, &c, index);
        break;
    case SMR_UP:
        node_up(w, s, &c, index);
        break;
    }
    for (unsigned q = 0; q < w->queue_count; q++)
        if (s->queues[q].ver == index)
            smr_say(w, "%zu: queue %u: epoch %u, master %u, in sync %u%u%u%u", w->log_count - 1, q,
                    (unsigned)s->queues[q].epoch, s->queues[q].master, s->queues[q].is_in_sync[0],
                    s->queues[q].is_in_sync[1], s->queues[q].is_in_sync[2],
                    s->queues[q].is_in_sync[3]);
}
