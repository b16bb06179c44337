#include "cluster/rebalance_plan.h"

#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_items.h"

#include <string.h>

#define PARTS_PER_TURN  64u
#define QUEUES_PER_TURN 20000u /* of those that drain; all parts may be looked at then */
#define QUEUES_MIN      2u     /* so many above the average are not worth a move */

struct share {
    uint16_t node;
    bool takes; /* it is up, and not about to go */
    uint64_t masters;
};

struct rebalance_plan {
    const struct pattern *names; /* of an operator's wish; NULL: all */
    bool is_asked, is_automatic;
    unsigned part;
    unsigned idle;       /* parts without a move, one behind the other */
    uint64_t settled_ms; /* since when all nodes are up; 0: they are not */
    uint64_t second_ms;  /* when the second began that is under way... */
    unsigned moved;      /* ...and moves in it */
    /* this turn's */
    const struct meta_version *version;
    bool spreads; /* and not only what is draining moves */
    unsigned looked;
    struct share shares[META_NODES_MAX];
    size_t share_count;
    uint64_t average;
    struct meta_move_item moves[REBALANCE_DRAINED + REBALANCE_PER_SECOND];
    unsigned move_count;
    uint8_t octets[(REBALANCE_DRAINED + REBALANCE_PER_SECOND) * META_MOVE_ITEM_BYTES];
    struct meta_cmd cmd;
};

struct rebalance_plan *rebalance_plan_new(void)
{
    return mem_zalloc(sizeof(struct rebalance_plan));
}

void rebalance_plan_free(struct rebalance_plan **p)
{
    mem_free(*p);
    *p = NULL;
}

void rebalance_plan_ask(struct rebalance_plan *p, const struct pattern *names)
{
    p->names = names;
    p->is_asked = true;
    p->idle = 0;
}

void rebalance_plan_set_automatic(struct rebalance_plan *p, bool is_automatic)
{
    p->is_automatic = is_automatic;
}

bool rebalance_plan_is_busy(const struct rebalance_plan *p)
{
    return p->is_asked;
}

/* ---- who has how many ---- */

static void share_out(struct rebalance_plan *p)
{
    uint64_t sum = 0;
    size_t takers = 0;
    p->share_count = 0;
    for (size_t i = 0; i < meta_node_count(p->version); i++) {
        const struct meta_node *n = meta_node_at(p->version, i);
        if (n->type == META_NODE_WITNESS || !meta_node_is_serving(n))
            continue;
        struct share *s = &p->shares[p->share_count++];
        *s = (struct share){ .node = n->node,
                             .takes = n->state == META_NODE_IS_UP,
                             .masters = meta_node_queue_count(p->version, n->node) };
        sum += s->masters;
        takers += s->takes;
    }
    p->average = takers != 0 ? (sum + takers - 1) / takers : 0;
}

static struct share *share_of(struct rebalance_plan *p, uint16_t node)
{
    for (size_t i = 0; i < p->share_count; i++)
        if (p->shares[i].node == node)
            return &p->shares[i];
    return NULL;
}

static bool has_too_many(const struct rebalance_plan *p, const struct share *s)
{
    return s->masters > p->average + p->average / 10 && s->masters >= p->average + QUEUES_MIN;
}

static bool is_uneven(const struct rebalance_plan *p)
{
    for (size_t i = 0; i < p->share_count; i++)
        if (has_too_many(p, &p->shares[i]))
            return true;
    return false;
}

static bool all_are_up(const struct meta_version *v)
{
    for (size_t i = 0; i < meta_node_count(v); i++)
        if (meta_node_at(v, i)->state != META_NODE_IS_UP)
            return false;
    return true;
}

/* ---- one queue ---- */

/* Of the nodes that are in sync for it the one with the fewest, if it has fewer than so many. */
static struct share *taker_of(struct rebalance_plan *p, const struct meta_placement *placement,
                              uint64_t most)
{
    struct share *best = NULL;
    for (unsigned i = 1; i < placement->count; i++) {
        const struct meta_replica *r = meta_placement_replica(placement, i);
        struct share *s = r->inc != 0 ? share_of(p, r->node) : NULL;
        if (s != NULL && s->takes && s->masters < most &&
            (best == NULL || s->masters < best->masters))
            best = s;
    }
    return best;
}

static void move(struct rebalance_plan *p, const struct meta_queue *q,
                 const struct meta_placement *placement, struct share *from, struct share *to)
{
    p->moves[p->move_count++] = (struct meta_move_item){ q->qid, placement->epoch, to->node };
    from->masters--;
    to->masters++;
}

static bool is_meant(const struct rebalance_plan *p, const struct meta_queue *q)
{
    return !p->is_asked || p->names == NULL || pattern_matches(p->names, meta_queue_name(q));
}

static bool look_at(void *arg, const struct meta_queue *q)
{
    struct rebalance_plan *p = arg;
    struct meta_placement placement;
    p->looked++;
    meta_placement_of(p->version, q, &placement);
    struct share *from = share_of(p, placement.master), *to = NULL;
    if (from == NULL || placement.isr_count < 2 || placement.state != META_PLACED_RUNNING)
        return true;
    bool spreads = from->takes && p->spreads && has_too_many(p, from) && is_meant(p, q);
    if (!from->takes)
        to = taker_of(p, &placement, UINT64_MAX);
    else if (spreads)
        to = taker_of(p, &placement, p->average);
    if (to == NULL)
        return true;
    move(p, q, &placement, from, to);
    p->moved += spreads;
    p->spreads = p->spreads && p->moved < REBALANCE_PER_SECOND;
    return p->move_count < REBALANCE_DRAINED;
}

/* ---- a turn ---- */

static bool may_begin(struct rebalance_plan *p, uint64_t now_ms)
{
    if (!all_are_up(p->version))
        p->settled_ms = 0;
    else if (p->settled_ms == 0)
        p->settled_ms = now_ms;
    bool is_settled = p->settled_ms != 0 && now_ms - p->settled_ms >= REBALANCE_SETTLED_MS;
    return p->is_asked || (p->is_automatic && is_settled);
}

static bool has_moves_left(struct rebalance_plan *p, uint64_t now_ms)
{
    if (now_ms - p->second_ms >= 1000) {
        p->second_ms = now_ms;
        p->moved = 0;
    }
    return p->moved < REBALANCE_PER_SECOND;
}

static void look(struct rebalance_plan *p, unsigned parts)
{
    for (unsigned i = 0; i < parts && p->looked < QUEUES_PER_TURN; i++) {
        unsigned before = p->move_count;
        if (!meta_queues_each(p->version, p->part, look_at, p))
            return; /* there is more in this part */
        p->part = (p->part + 1) % META_PARTS;
        p->idle = p->move_count != before ? 0 : p->idle + 1;
    }
}

static const struct meta_cmd *command_of(struct rebalance_plan *p)
{
    if (p->move_count == 0)
        return NULL;
    struct wire_out w = wire_out_over(p->octets, sizeof p->octets);
    for (unsigned i = 0; i < p->move_count; i++)
        meta_move_item_put(&w, &p->moves[i]);
    CHECK(!w.overflow);
    p->cmd = (struct meta_cmd){ .op = META_MASTER_MOVE };
    p->cmd.master_move.items = wire_out_slice(&w);
    return &p->cmd;
}

bool rebalance_plan_may_drain(const struct meta_version *v, uint16_t node)
{
    return meta_node_queue_count(v, node) != 0 && meta_placed_may_move(v, node);
}

static bool somebody_drains(const struct meta_version *v)
{
    for (size_t i = 0; v->placed.count != 0 && i < meta_node_count(v); i++) {
        const struct meta_node *n = meta_node_at(v, i);
        if (n->state == META_NODE_IS_DRAINING && rebalance_plan_may_drain(v, n->node))
            return true;
    }
    return false;
}

/* A whole round in which nothing moved: nothing can be moved that is to be. */
static void end_round(struct rebalance_plan *p)
{
    if (p->idle < META_PARTS)
        return;
    p->is_asked = false;
    p->idle = 0;
}

const struct meta_cmd *rebalance_plan_turn(struct rebalance_plan *p, const struct meta_version *v,
                                           uint64_t now_ms)
{
    bool drains = somebody_drains(v);
    p->version = v;
    p->move_count = p->looked = 0;
    bool may_spread = may_begin(p, now_ms);
    p->spreads = may_spread && has_moves_left(p, now_ms);
    if (!drains && !p->spreads)
        return NULL;
    share_out(p);
    if (drains || is_uneven(p))
        look(p, drains ? META_PARTS : PARTS_PER_TURN);
    else
        p->idle = META_PARTS;
    if (may_spread)
        end_round(p);
    return command_of(p);
}
