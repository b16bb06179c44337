#include "cluster/mirror_plan.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "cluster/meta_items.h"
#include "cluster/meta_mirrors.h"

#include <stdlib.h>
#include <string.h>

#define SETS_MAX 64u /* of replicas, that are told in one turn; what is over waits */

/* A set of replicas and who gets it. */
struct set {
    uint16_t nodes[META_REPLICAS_MAX];
    unsigned count;
    bool on_failure, on_shutdown;
    struct meta_set_item *items;
    size_t item_count, item_room;
};

struct candidate {
    const struct meta_queue *queue;
    uint64_t size;
};

struct seen_down {
    uint16_t node;
    uint64_t since_ms;
};

struct mirror_plan {
    mirror_plan_size_fn size_of;
    void *arg;
    unsigned part;     /* the next one to look at */
    unsigned left;     /* parts to look at until the round is over */
    bool waits;        /* something could not be done in this round */
    bool counts;       /* some queue wants a number of replicas */
    uint64_t round_ms; /* the next round, when something waits */
    uint64_t moved_ms; /* when it last went on to another part, or did something */
    struct seen_down down[META_NODES_MAX];
    size_t down_count;
    /* this turn's */
    const struct meta_version *version;
    uint64_t now_ms;
    uint64_t under_way[META_NODES_MAX]; /* by place in the list of nodes */
    bool is_full;                       /* a node takes no more, or there are too many sets */
    struct candidate *candidates;
    size_t candidate_count, candidate_room;
    struct set sets[SETS_MAX];
    size_t set_count;
    struct meta_move_item *moves;
    size_t move_count, move_room;
    struct meta_cmd cmds[SETS_MAX + 1];
    uint8_t *octets;
};

/* ---- life ---- */

struct mirror_plan *mirror_plan_new(mirror_plan_size_fn size_of, void *arg)
{
    struct mirror_plan *p = mem_zalloc(sizeof *p);
    p->size_of = size_of;
    p->arg = arg;
    p->left = META_PARTS;
    return p;
}

void mirror_plan_free(struct mirror_plan **plan)
{
    struct mirror_plan *p = *plan;
    for (size_t i = 0; i < SETS_MAX; i++)
        mem_free(p->sets[i].items);
    mem_free(p->candidates);
    mem_free(p->moves);
    mem_free(p->octets);
    mem_free(p);
    *plan = NULL;
}

void mirror_plan_look(struct mirror_plan *p)
{
    p->left = META_PARTS;
    p->round_ms = 0;
}

/* ---- nodes ---- */

static size_t place_of(const struct mirror_plan *p, uint16_t node)
{
    for (size_t i = 0; i < meta_node_count(p->version); i++)
        if (meta_node_at(p->version, i)->node == node)
            return i;
    return META_NODES_MAX;
}

static uint64_t under_way(void *arg, uint16_t node)
{
    const struct mirror_plan *p = arg;
    size_t place = place_of(p, node);
    return place < META_NODES_MAX ? p->under_way[place] : 0;
}

static bool takes_more(const struct mirror_plan *p, uint16_t node)
{
    uint64_t joining = meta_node_mirror_count(p->version, node) -
                       meta_node_in_sync_count(p->version, node) +
                       under_way((void *)(uintptr_t)p, node);
    return joining < MIRROR_PLAN_JOINING;
}

static bool is_fit(const struct mirror_plan *p, uint16_t node)
{
    const struct meta_node *n = meta_node_get(p->version, node);
    return n != NULL && meta_node_is_fit(n);
}

static bool has_been_down(void *arg, uint16_t node, uint32_t for_ms)
{
    const struct mirror_plan *p = arg;
    for (size_t i = 0; i < p->down_count; i++)
        if (p->down[i].node == node)
            return p->now_ms - p->down[i].since_ms >= for_ms;
    return false;
}

static void watch_nodes(struct mirror_plan *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->down_count; i++)
        if (!is_fit(p, p->down[i].node) && meta_node_get(p->version, p->down[i].node) != NULL)
            p->down[kept++] = p->down[i];
    p->down_count = kept;
    for (size_t i = 0; i < meta_node_count(p->version); i++) {
        const struct meta_node *n = meta_node_at(p->version, i);
        size_t k = 0;
        while (k < p->down_count && p->down[k].node != n->node)
            k++;
        if (!meta_node_is_fit(n) && k == p->down_count)
            p->down[p->down_count++] = (struct seen_down){ n->node, p->now_ms };
    }
}

/* Without any of these there is nothing that mirrors could be put onto, or taken from. */
static bool has_work(const struct meta_version *v)
{
    for (size_t i = 0; i < meta_node_count(v); i++)
        if (meta_node_at(v, i)->mirrors != 0)
            return true;
    return v->placed.count != 0;
}

/* ---- what is found ---- */

static struct set *set_like(struct mirror_plan *p, const struct set *s)
{
    for (size_t i = 0; i < p->set_count; i++) {
        struct set *have = &p->sets[i];
        if (have->count == s->count && have->on_failure == s->on_failure &&
            have->on_shutdown == s->on_shutdown && have->item_count < META_BATCH_MAX &&
            memcmp(have->nodes, s->nodes, s->count * sizeof *s->nodes) == 0)
            return have;
    }
    if (p->set_count == SETS_MAX)
        return NULL;
    struct set *fresh = &p->sets[p->set_count++];
    memcpy(fresh->nodes, s->nodes, s->count * sizeof *s->nodes);
    fresh->count = s->count;
    fresh->on_failure = s->on_failure;
    fresh->on_shutdown = s->on_shutdown;
    fresh->item_count = 0;
    return fresh;
}

static bool give(struct mirror_plan *p, const struct meta_queue *q,
                 const struct meta_placement *placement, const struct set *wanted)
{
    struct set *s = set_like(p, wanted);
    if (s == NULL) {
        p->is_full = true;
        return false;
    }
    if (s->item_count == s->item_room) {
        s->item_room = s->item_room != 0 ? s->item_room * 2 : 16;
        s->items = mem_realloc(s->items, s->item_room * sizeof *s->items);
    }
    s->items[s->item_count++] = (struct meta_set_item){ q->qid, placement->ver };
    return true;
}

static void move_to(struct mirror_plan *p, const struct meta_queue *q,
                    const struct meta_placement *placement, uint16_t node)
{
    if (p->move_count == META_BATCH_MAX) {
        p->is_full = true;
        return;
    }
    if (p->move_count == p->move_room) {
        p->move_room = p->move_room != 0 ? p->move_room * 2 : 16;
        p->moves = mem_realloc(p->moves, p->move_room * sizeof *p->moves);
    }
    p->moves[p->move_count++] = (struct meta_move_item){ q->qid, placement->epoch, node };
}

/* ---- one queue ---- */

struct look {
    const struct meta_queue *queue;
    struct meta_placement placement;
    struct meta_mirror_rule rule;
    struct meta_wanted wanted;
};

static bool is_wanted(const struct look *l, uint16_t node)
{
    for (unsigned i = 0; i < l->wanted.count; i++)
        if (l->wanted.nodes[i] == node)
            return true;
    return false;
}

/* All that hold it now, with the flags that it is to have. */
static struct set present(const struct look *l)
{
    struct set s = { .on_failure = l->rule.always_on_failure,
                     .on_shutdown = l->rule.always_on_shutdown };
    for (unsigned i = 0; i < l->placement.count; i++)
        s.nodes[s.count++] = meta_placement_replica(&l->placement, i)->node;
    return s;
}

/* Somebody who is up and not in sync yet. */
static bool is_joining(const struct mirror_plan *p, const struct look *l, bool among_wanted)
{
    for (unsigned i = 1; i < l->placement.count; i++) {
        const struct meta_replica *r = meta_placement_replica(&l->placement, i);
        if (r->inc == 0 && is_fit(p, r->node) && (!among_wanted || is_wanted(l, r->node)))
            return true;
    }
    return false;
}

/* True: nothing else is to be done about it now. */
static bool add_some(struct mirror_plan *p, struct look *l)
{
    struct set s = present(l);
    bool adds = false;
    if (l->wanted.kept == l->wanted.count)
        return false;
    if (is_joining(p, l, true) && !l->rule.sync_is_manual) {
        p->waits = true;
        return true;
    }
    for (unsigned i = l->wanted.kept; i < l->wanted.count; i++) {
        uint16_t node = l->wanted.nodes[i];
        if (!takes_more(p, node) || s.count == META_REPLICAS_MAX) {
            p->is_full = true;
            continue;
        }
        s.nodes[s.count++] = node;
        adds = true;
        if (!l->rule.sync_is_manual)
            break;
    }
    p->waits = true; /* for it to be in sync, and for what comes then */
    if (!adds || !give(p, l->queue, &l->placement, &s))
        return true;
    for (unsigned i = l->placement.count; i < s.count; i++)
        p->under_way[place_of(p, s.nodes[i])]++;
    return true;
}

static bool remove_some(struct mirror_plan *p, struct look *l)
{
    struct set s = { .on_failure = l->rule.always_on_failure,
                     .on_shutdown = l->rule.always_on_shutdown };
    for (unsigned i = 0; i < l->placement.count; i++) {
        uint16_t node = meta_placement_replica(&l->placement, i)->node;
        if (i == 0 || is_wanted(l, node))
            s.nodes[s.count++] = node;
    }
    if (s.count == l->placement.count || MUTATION(META_PLAN_KEEPS_OTHERS))
        return false;
    if (is_joining(p, l, true) && !l->rule.sync_is_manual)
        p->waits = true;
    else
        give(p, l->queue, &l->placement, &s);
    return true;
}

/* The master is where it ought not to be: somebody who ought to takes over. */
static bool move_away(struct mirror_plan *p, const struct look *l)
{
    const struct meta_node *master = meta_node_get(p->version, l->placement.master);
    if (l->rule.mode != META_MIRROR_NODES || master == NULL ||
        meta_mirror_is_named(&l->rule, master))
        return false;
    for (unsigned i = 1; i < l->placement.count; i++) {
        const struct meta_replica *r = meta_placement_replica(&l->placement, i);
        const struct meta_node *n = meta_node_get(p->version, r->node);
        if (r->inc == 0 || n == NULL || n->state != META_NODE_IS_UP ||
            !meta_mirror_is_named(&l->rule, n))
            continue;
        move_to(p, l->queue, &l->placement, r->node);
        p->waits = true; /* for the old one to go */
        return true;
    }
    return false;
}

static bool set_flags(struct mirror_plan *p, const struct look *l)
{
    struct set s = present(l);
    if (l->placement.count == 1 || (s.on_failure == l->placement.always_on_failure &&
                                    s.on_shutdown == l->placement.always_on_shutdown))
        return false;
    give(p, l->queue, &l->placement, &s);
    return true;
}

static void look_at(struct mirror_plan *p, const struct meta_queue *q)
{
    struct meta_mirror_view view = {
        .version = p->version, .is_gone = has_been_down, .under_way = under_way, .arg = p
    };
    struct look l = { .queue = q };
    meta_mirror_rule_of(p->version, q, &l.rule);
    meta_placement_of(p->version, q, &l.placement);
    if ((l.rule.mode == META_MIRROR_NONE && l.placement.count == 1) || q->owner != 0)
        return;
    p->counts = p->counts || l.rule.mode == META_MIRROR_EXACTLY;
    if (l.placement.state != META_PLACED_RUNNING)
        return; /* nobody could be brought up to date; it is looked at when its master is up */
    meta_mirrors_wanted(&view, &l.placement, &l.rule, &l.wanted);
    bool done = move_away(p, &l) || add_some(p, &l) || remove_some(p, &l);
    if (!done)
        set_flags(p, &l);
}

/* ---- a turn ---- */

static bool gather(void *arg, const struct meta_queue *q)
{
    struct mirror_plan *p = arg;
    if (p->candidate_count == p->candidate_room) {
        p->candidate_room = p->candidate_room != 0 ? p->candidate_room * 2 : 256;
        p->candidates = mem_realloc(p->candidates, p->candidate_room * sizeof *p->candidates);
    }
    uint64_t size = p->size_of != NULL ? p->size_of(p->arg, q) : 0;
    p->candidates[p->candidate_count++] = (struct candidate){ q, size };
    return true;
}

static int by_size(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->queue->qid < y->queue->qid ? -1 : x->queue->qid > y->queue->qid;
}

static size_t put_nodes(struct mirror_plan *p, size_t at, const struct set *s)
{
    struct wire_out w = wire_out_over(p->octets + at, s->count * META_NODE_ITEM_BYTES);
    for (unsigned i = 0; i < s->count; i++)
        wire_put_u16(&w, s->nodes[i]);
    CHECK(!w.overflow);
    return at + wire_out_len(&w);
}

static size_t put_items(struct mirror_plan *p, size_t at, const struct set *s)
{
    struct wire_out w = wire_out_over(p->octets + at, s->item_count * META_SET_ITEM_BYTES);
    for (size_t i = 0; i < s->item_count; i++)
        meta_set_item_put(&w, &s->items[i]);
    CHECK(!w.overflow);
    return at + wire_out_len(&w);
}

static size_t put_moves(struct mirror_plan *p, size_t at)
{
    struct wire_out w = wire_out_over(p->octets + at, p->move_count * META_MOVE_ITEM_BYTES);
    for (size_t i = 0; i < p->move_count; i++)
        meta_move_item_put(&w, &p->moves[i]);
    CHECK(!w.overflow);
    return at + wire_out_len(&w);
}

static size_t commands_of(struct mirror_plan *p)
{
    size_t room = p->move_count * META_MOVE_ITEM_BYTES, at = 0, count = 0;
    for (size_t i = 0; i < p->set_count; i++)
        room +=
            p->sets[i].count * META_NODE_ITEM_BYTES + p->sets[i].item_count * META_SET_ITEM_BYTES;
    mem_free(p->octets);
    p->octets = mem_alloc(room + 1);
    for (size_t i = 0; i < p->set_count; i++) {
        const struct set *s = &p->sets[i];
        struct meta_cmd *c = &p->cmds[count++];
        *c = (struct meta_cmd){ .op = META_REPLICAS_SET };
        size_t nodes = at, items = put_nodes(p, at, s);
        at = put_items(p, items, s);
        c->replicas_set.nodes = slice_of(p->octets + nodes, items - nodes);
        c->replicas_set.items = slice_of(p->octets + items, at - items);
        c->replicas_set.always_on_failure = s->on_failure;
        c->replicas_set.always_on_shutdown = s->on_shutdown;
    }
    if (p->move_count != 0) {
        struct meta_cmd *c = &p->cmds[count++];
        *c = (struct meta_cmd){ .op = META_MASTER_MOVE };
        size_t moves = at;
        at = put_moves(p, at);
        c->master_move.items = slice_of(p->octets + moves, at - moves);
    }
    CHECK(at == room);
    return count;
}

static void begin_turn(struct mirror_plan *p, const struct meta_version *v, uint64_t now_ms)
{
    p->version = v;
    p->now_ms = now_ms;
    p->candidate_count = p->set_count = p->move_count = 0;
    p->is_full = false;
    memset(p->under_way, 0, sizeof p->under_way);
    p->moved_ms = p->moved_ms != 0 ? p->moved_ms : now_ms;
    watch_nodes(p);
}

static void begin_round(struct mirror_plan *p)
{
    p->left = META_PARTS;
    p->round_ms = 0;
    p->moved_ms = p->now_ms;
}

/* The round is over: when is the next one? */
static void end_round(struct mirror_plan *p)
{
    if (p->waits)
        p->round_ms = p->now_ms + MIRROR_PLAN_AGAIN_MS;
    else if (p->counts && p->down_count != 0)
        p->round_ms = p->now_ms + MIRROR_PLAN_LOOK_MS;
    p->waits = p->counts = false;
}

bool mirror_plan_is_due(const struct mirror_plan *p, uint64_t now_ms)
{
    return p->left != 0 || (p->round_ms != 0 && now_ms >= p->round_ms);
}

/* The parts that were looked at are done with, unless a node takes no more: then they are looked at
 * again, until it does or has not for long. */
static void go_on(struct mirror_plan *p, unsigned parts, bool did_something)
{
    bool is_stuck = p->is_full && p->now_ms - p->moved_ms < MIRROR_PLAN_STUCK_MS;
    if (did_something || !p->is_full)
        p->moved_ms = p->now_ms;
    if (is_stuck)
        return;
    p->waits = p->waits || p->is_full;
    p->moved_ms = p->now_ms;
    p->part = (p->part + parts) % META_PARTS;
    p->left -= parts;
    if (p->left == 0)
        end_round(p);
}

const struct meta_cmd *mirror_plan_turn(struct mirror_plan *p, const struct meta_version *v,
                                        uint64_t now_ms, size_t *count)
{
    *count = 0;
    begin_turn(p, v, now_ms);
    if (!mirror_plan_is_due(p, now_ms))
        return p->cmds;
    if (p->left == 0)
        begin_round(p);
    if (!has_work(v)) {
        p->left = 0;
        return p->cmds;
    }
    unsigned parts = 0;
    if (MUTATION(META_PLAN_NOT_ROUND) && p->left > META_PARTS / 2)
        p->left = META_PARTS / 2;
    while (parts < p->left && p->candidate_count < MIRROR_PLAN_QUEUES)
        meta_queues_each(v, (p->part + parts++) % META_PARTS, gather, p);
    if (p->candidate_count != 0)
        qsort(p->candidates, p->candidate_count, sizeof *p->candidates, by_size);
    for (size_t i = 0; i < p->candidate_count; i++)
        look_at(p, p->candidates[i].queue);
    *count = commands_of(p);
    go_on(p, parts, *count != 0);
    return p->cmds;
}
