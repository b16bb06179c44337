#include "sim_cluster.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "sim_cluster_inner.h"
#include "sim_group.h"

#include <string.h>

#define LOOK_US     20000
#define LOOKS_TOLD  5u /* from one keepalive to the next */
#define FRAME_BYTES 32u

enum { FRAME_ASK, FRAME_ANSWER, FRAME_KEEPALIVE };

struct sim_cluster *sim_cluster_new(void)
{
    struct sim_cluster *c = mem_zalloc(sizeof *c);
    c->gossip = sim_cluster_gossip_new();
    c->lead = sim_cluster_lead_new();
    return c;
}

static void forget(struct sim_cluster_node *n)
{
    grant_free(&n->core);
    grant_board_free(&n->board);
    n->local_count = 0;
}

void sim_cluster_free(struct sim_cluster **cluster)
{
    struct sim_cluster *c = *cluster;
    *cluster = NULL;
    if (c == NULL)
        return;
    for (unsigned i = 1; i <= SIM_NODES; i++)
        forget(&c->nodes[i]);
    sim_cluster_gossip_free(&c->gossip);
    sim_cluster_lead_free(&c->lead);
    mem_free(c);
}

const struct meta_version *sim_cluster_version(const struct sim_raft *w, unsigned node)
{
    return meta_current(sim_group_meta(w, node));
}

/* ---- the core's driver ---- */

/* `boot`: only to that process; 0: to whichever is there when it comes. */
static void send_octets(struct sim_raft *w, unsigned from, uint16_t to, uint32_t boot,
                        struct slice octets)
{
    const struct sim_chances *c = &w->chance;
    if (w->is_cut[from][to] || (c->lose != 0 && rng_chance(&w->rng, c->lose)))
        return;
    unsigned times = c->twice != 0 && rng_chance(&w->rng, c->twice) ? 2 : 1;
    for (unsigned i = 0; i < times; i++) {
        int64_t delay = 20 + (int64_t)rng_below(&w->rng, (uint64_t)c->delay_us);
        if (c->late != 0 && rng_chance(&w->rng, c->late))
            delay += (int64_t)rng_below(&w->rng, (uint64_t)c->late_us);
        sim_raft_net_later(w, delay,
                           &(struct sim_raft_act){ .kind = SIM_GRANT,
                                                   .node = to,
                                                   .boot = boot,
                                                   .chunk = { .bytes = buf_copy(octets) } });
    }
}

static void send_frame(struct sim_raft *w, unsigned from, const struct grant_effect *e)
{
    uint8_t room[FRAME_BYTES];
    struct wire_out out = wire_out_over(room, sizeof room);
    wire_put_u8(&out, e->kind == GRANT_DO_ASK ? FRAME_ASK : FRAME_ANSWER);
    wire_put_u16(&out, (uint16_t)from);
    if (e->kind == GRANT_DO_ASK)
        grant_put_ask(&out, &e->ask);
    else
        grant_put_answer(&out, &e->answer);
    CHECK(!out.overflow);
    send_octets(w, from, e->node, 0, wire_out_slice(&out));
}

/* On a link, which is one of two processes: the next one at that place does not hear it. Else it
 * would take who has been away since for one that is there. */
static void send_keepalive(struct sim_raft *w, unsigned from, uint16_t to)
{
    uint8_t room[FRAME_BYTES];
    struct wire_out out = wire_out_over(room, sizeof room);
    wire_put_u8(&out, FRAME_KEEPALIVE);
    wire_put_u16(&out, (uint16_t)from);
    send_octets(w, from, to, w->nodes[to].boot, wire_out_slice(&out));
}

static void step(struct sim_raft *w, unsigned node, const struct grant_event *ev)
{
    struct sim_cluster *c = w->cluster;
    struct sim_cluster_node *n = &c->nodes[node];
    struct grant_event timed = *ev;
    timed.now_us = sim_raft_node_clock(w, node);
    grant_step(n->core, &timed, &c->fx);
    for (size_t i = 0; i < c->fx.count; i++) {
        const struct grant_effect *e = &c->fx.list[i];
        switch (e->kind) {
        case GRANT_DO_ASK:
        case GRANT_DO_ANSWER:
            send_frame(w, node, e);
            break;
        case GRANT_DO_HOLD:
            grant_board_hold(n->board, e->node, e->hold.index, e->hold.until_us);
            break;
        case GRANT_DO_LOOK: /* it looks often enough */
            break;
        }
    }
}

static void tell_nodes(struct sim_raft *w, unsigned node)
{
    struct sim_cluster_node *n = &w->cluster->nodes[node];
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        const struct meta_node *m = meta_node_get(sim_cluster_version(w, node), (uint16_t)i);
        uint32_t inc = m != NULL ? m->inc : 0;
        if (i == node || inc == n->incs[i])
            continue;
        n->incs[i] = inc;
        n->has_lost[i] = inc != 0 && inc == w->cluster->lost[i];
        grant_board_know(n->board, (uint16_t)i);
        step(
            w, node,
            &(struct grant_event){ .kind = GRANT_EV_NODE, .node = (uint16_t)i, .member = { inc } });
    }
}

/* ---- queues at a node ---- */

struct sim_local *sim_cluster_local(struct sim_cluster_node *n, uint64_t qid)
{
    for (size_t i = 0; i < n->local_count; i++)
        if (n->locals[i].qid == qid)
            return &n->locals[i];
    return NULL;
}

bool sim_cluster_may_serve(struct sim_raft *w, unsigned node, const struct sim_local *l)
{
    const struct meta_version *v = sim_cluster_version(w, node);
    const struct meta_queue *q = meta_queue_get(v, l->qid);
    struct meta_placement p;
    uint16_t members[2 * SIM_NODES];
    size_t count = 0;
    if (l->epoch == 0 || !l->has_begun || q == NULL)
        return false;
    meta_placement_of(v, q, &p);
    for (unsigned i = 0; i < p.count; i++)
        if (meta_placement_replica(&p, i)->inc != 0)
            members[count++] = meta_placement_replica(&p, i)->node;
    for (size_t i = 0; i < l->proposed_count && !MUTATION(GRANT_OF_AGREED_ALONE); i++)
        members[count++] = l->proposed[i];
    return grant_board_may_serve(w->cluster->nodes[node].board, (uint16_t)node, l->epoch, members,
                                 count, sim_raft_node_clock(w, node));
}

/* What the placement says, this node is: only in an epoch that was given to this very process. */
static void reconcile(struct sim_raft *w, unsigned node, const struct meta_queue *q)
{
    struct sim_cluster_node *n = &w->cluster->nodes[node];
    struct sim_local *l = sim_cluster_local(n, q->qid);
    struct meta_placement p;
    meta_placement_of(sim_cluster_version(w, node), q, &p);
    bool is_new = l == NULL;
    if (is_new) {
        CHECK(n->local_count < SIM_LOCALS_MAX);
        l = &n->locals[n->local_count++];
        *l = (struct sim_local){ .qid = q->qid };
    }
    bool is_master =
        p.master == node && p.master_inc == w->nodes[node].boot && p.state != META_PLACED_DAMAGED;
    if (!is_master) {
        l->epoch = 0;
    } else if (l->epoch != p.epoch) {
        l->epoch = p.epoch;
        l->earlier = l->master;
        l->has_begun = false;
        sim_raft_say(w, "%u is the master of %d in epoch %d, after %u", node, (int)q->qid,
                     (int)p.epoch, l->earlier);
    }
    l->master = p.master;
    if (l->proposed_ver != p.ver || l->epoch == 0)
        l->proposed_count = 0;
}

static void look_at_queues(struct sim_raft *w, unsigned node)
{
    struct sim_cluster_node *n = &w->cluster->nodes[node];
    const struct meta_version *v = sim_cluster_version(w, node);
    struct pmap_iter it;
    for (size_t i = n->local_count; i-- > 0;)
        if (meta_queue_get(v, n->locals[i].qid) == NULL)
            n->locals[i] = n->locals[--n->local_count];
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        reconcile(w, node, q);
}

/* A queue that never had another master, nor another member, does not ask. */
static void begin(struct sim_raft *w, unsigned node, struct sim_local *l)
{
    const struct meta_version *v = sim_cluster_version(w, node);
    struct meta_placement p;
    meta_placement_of(v, meta_queue_get(v, l->qid), &p);
    int64_t at_us = p.cohort == NULL ? INT64_MIN
                                     : grant_begins_us(w->cluster->nodes[node].core, l->epoch,
                                                       &l->earlier, l->earlier != 0);
    if (at_us > sim_raft_node_clock(w, node))
        return;
    l->has_begun = true;
    sim_raft_say(w, "%u begins with %d, epoch %d", node, (int)l->qid, (int)l->epoch);
}

/* ---- what it applies ---- */

void sim_cluster_moved(struct sim_raft *w, unsigned node, uint64_t index,
                       const struct meta_result *r)
{
    for (size_t i = 0; i < r->effect_count; i++) {
        const struct meta_effect *e = &r->effects[i];
        bool is_placed = e->kind == META_QUEUE_PLACED || e->kind == META_COHORT_PLACED;
        if (is_placed && e->node != e->node_was)
            step(w, node,
                 &(struct grant_event){
                     .kind = GRANT_EV_MOVED, .node = e->node_was, .moved = { e->node, index } });
    }
}

void sim_cluster_applied(struct sim_raft *w, unsigned node, uint64_t index, bool has_skipped)
{
    const struct meta_node *self = meta_node_get(sim_cluster_version(w, node), (uint16_t)node);
    memset(w->cluster->nodes[node].has_lost, 0, sizeof w->cluster->nodes[node].has_lost);
    tell_nodes(w, node);
    step(w, node,
         &(struct grant_event){
             .kind = has_skipped ? GRANT_EV_JUMPED : GRANT_EV_APPLIED,
             .applied = { .index = index,
                          .is_up = self != NULL && self->inc == w->nodes[node].boot } });
    sim_cluster_check_applied(w, node, index, has_skipped);
    look_at_queues(w, node);
    sim_cluster_gossip_applied(w, w->cluster->gossip, node, index,
                               meta_checksum(sim_group_meta(w, node)));
    if (!w->has_failed)
        sim_cluster_check(w);
}

/* ---- a node looks after itself ---- */

struct needing {
    struct sim_raft *w;
    unsigned node;
};

static void on_needed(void *arg, uint16_t node, uint64_t epoch)
{
    const struct needing *x = arg;
    step(x->w, x->node,
         &(struct grant_event){ .kind = GRANT_EV_NEED, .node = node, .need = { epoch } });
}

static void look_later(struct sim_raft *w, unsigned node)
{
    sim_raft_net_later(w, LOOK_US,
                       &(struct sim_raft_act){
                           .kind = SIM_LOOK, .node = (uint16_t)node, .boot = w->nodes[node].boot });
}

void sim_cluster_look(struct sim_raft *w, unsigned node)
{
    struct sim_cluster_node *n = &w->cluster->nodes[node];
    struct needing x = { w, node };
    look_later(w, node);
    sim_cluster_gossip_look(w, w->cluster->gossip, node);
    grant_board_each_needed(n->board, on_needed, &x);
    step(w, node, &(struct grant_event){ .kind = GRANT_EV_TIME });
    for (size_t i = 0; i < n->local_count; i++) {
        struct sim_local *l = &n->locals[i];
        if (l->epoch != 0 && !l->has_begun)
            begin(w, node, l);
    }
    sim_cluster_check(w);
    uint16_t leader = raft_leader(w->nodes[node].raft);
    if (n->looks++ % LOOKS_TOLD != 0 || w->has_failed)
        return;
    if (leader != 0 && leader != node)
        send_keepalive(w, node, leader);
    sim_cluster_lead(w, w->cluster->lead, node);
}

void sim_cluster_on_frame(struct sim_raft *w, unsigned node, const struct buf *frame)
{
    struct wire in = wire_over(buf_slice(frame));
    uint8_t kind = wire_u8(&in);
    struct grant_event ev = { .kind = kind == FRAME_ASK ? GRANT_EV_ASK : GRANT_EV_ANSWER,
                              .node = wire_u16(&in) };
    sim_cluster_lead_heard(w, w->cluster->lead, node, ev.node, kind == FRAME_KEEPALIVE);
    if (kind == FRAME_KEEPALIVE)
        return;
    struct slice rest = wire_take(&in, wire_left(&in));
    bool is_taken =
        kind == FRAME_ASK ? grant_take_ask(rest, &ev.ask) : grant_take_answer(rest, &ev.answer);
    CHECK(is_taken);
    step(w, node, &ev);
    sim_cluster_check(w);
}

void sim_cluster_on_gossip(struct sim_raft *w, unsigned node, const struct buf *frame)
{
    sim_cluster_gossip_on_frame(w, w->cluster->gossip, node, frame);
}

void sim_cluster_on_gone(struct sim_raft *w, unsigned node, const struct buf *frame)
{
    struct wire in = wire_over(buf_slice(frame));
    struct grant_event ev = { .kind = GRANT_EV_GONE, .node = wire_u16(&in) };
    ev.member.inc = wire_u32(&in);
    sim_cluster_lead_gone(w->cluster->lead, node, ev.node);
    step(w, node, &ev);
    sim_cluster_check(w);
}

/* ---- lives ---- */

bool sim_cluster_has_lost(struct sim_raft *w, unsigned node)
{
    uint32_t boot = w->nodes[node].boot;
    bool may = !w->is_healed || w->cluster->absent == node;
    if (boot == 1 || !may || rng_below(&w->rng, 5) != 0)
        return false;
    w->cluster->lost[node] = boot;
    sim_raft_say(w, "%u has lost data", node);
    return true;
}

void sim_cluster_start(struct sim_raft *w, unsigned node)
{
    struct sim_cluster_node *n = &w->cluster->nodes[node];
    *n = (struct sim_cluster_node){ .board = grant_board_new() };
    n->core = grant_new((uint16_t)node, w->nodes[node].boot, w->nodes[node].machine.index,
                        w->nodes[node].boot == 1, sim_raft_node_clock(w, node));
    sim_cluster_gossip_start(w, w->cluster->gossip, node);
    sim_cluster_lead_start(w->cluster->lead, node);
    tell_nodes(w, node);
    look_at_queues(w, node);
    look_later(w, node);
}

/* A connection that is refused now was begun by who knows this process, or one before it. */
static void tell_gone(struct sim_raft *w, unsigned node, unsigned to)
{
    uint8_t room[8];
    struct wire_out out = wire_out_over(room, sizeof room);
    wire_put_u16(&out, (uint16_t)node);
    wire_put_u32(&out, w->cluster->nodes[to].incs[node]);
    sim_raft_net_later(
        w, 20 + (int64_t)rng_below(&w->rng, (uint64_t)(2 * w->chance.delay_us)),
        &(struct sim_raft_act){ .kind = SIM_GONE,
                                .node = (uint16_t)to,
                                .boot = w->nodes[to].boot,
                                .chunk = { .bytes = buf_copy(wire_out_slice(&out)) } });
}

void sim_cluster_crash(struct sim_raft *w, unsigned node)
{
    forget(&w->cluster->nodes[node]);
    sim_cluster_gossip_crash(w->cluster->gossip, node);
    for (unsigned i = 1; i <= SIM_NODES; i++)
        if (i != node && sim_raft_node_is_awake(w, i) && w->cluster->nodes[i].core != NULL &&
            !w->is_cut[i][node] && !w->is_cut[node][i] && rng_below(&w->rng, 4) != 0)
            tell_gone(w, node, i);
}

/* ---- in the end ---- */

bool sim_cluster_admits(struct sim_raft *w, unsigned node, struct slice ops)
{
    return sim_cluster_lead_admits(w, w->cluster->lead, node, ops);
}

/* It is durable, and a node other than that one is in sync for it. */
static bool is_elsewhere(const struct meta_version *v, const struct meta_queue *q, unsigned node)
{
    struct meta_placement p;
    meta_placement_of(v, q, &p);
    bool is_known = meta_placement_is_in_sync(&p, (uint16_t)node);
    return q->durable && p.state != META_PLACED_DAMAGED && p.isr_count > (is_known ? 1u : 0u);
}

void sim_cluster_cut_off(struct sim_raft *w, unsigned by, unsigned absent)
{
    const struct meta_version *v = sim_cluster_version(w, by);
    struct sim_cluster *c = w->cluster;
    struct pmap_iter it;
    pmap_iter(&it, &v->queues);
    c->rest_count = 0;
    c->absent = absent;
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        if (is_elsewhere(v, q, absent) && c->rest_count < SIM_LOCALS_MAX)
            c->rest[c->rest_count++] = q->qid;
}

void sim_cluster_want_to_stop(struct sim_raft *w, bool is_first)
{
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        struct meta_cmd stops = { .op = META_NODE_STOPPED };
        stops.node.node = (uint16_t)i;
        stops.node.inc = w->nodes[i].boot;
        if (!is_first)
            (void)sim_group_want(w, i, &stops);
        else if (i == 1)
            (void)sim_group_want(w, i, &(struct meta_cmd){ .op = META_CLUSTER_FREEZE });
    }
}

bool sim_cluster_serves_the_rest(struct sim_raft *w, unsigned by)
{
    const struct sim_cluster *c = w->cluster;
    const struct meta_version *v = sim_cluster_version(w, by);
    for (size_t i = 0; i < c->rest_count; i++) {
        struct meta_placement p;
        const struct meta_queue *q = meta_queue_get(v, c->rest[i]);
        if (q == NULL)
            return false;
        meta_placement_of(v, q, &p);
        if (p.state != META_PLACED_RUNNING)
            return false;
    }
    return sim_cluster_is_served(w, by);
}

bool sim_cluster_is_served(struct sim_raft *w, unsigned by)
{
    const struct meta_version *v = sim_cluster_version(w, by);
    struct pmap_iter it;
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;) {
        struct meta_placement p;
        meta_placement_of(v, q, &p);
        if (p.state != META_PLACED_RUNNING)
            continue;
        const struct sim_local *l = sim_cluster_local(&w->cluster->nodes[p.master], q->qid);
        if (l == NULL || !sim_cluster_may_serve(w, p.master, l))
            return false;
    }
    return sim_cluster_gossip_is_well(w, w->cluster->gossip);
}
