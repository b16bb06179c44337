#include "sim_meta.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_items.h"
#include "cluster/meta_mirrors.h"
#include "cluster/mirror_plan.h"
#include "ids.h"
#include "sim_meta_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NODES_AT_ONCE 6u
#define OPS_MAX       600u /* of one incarnation */
#define NAMES         12u
#define STEPS         1500u

/* What a node has asked for in its present incarnation; the first op is in ops[1]. */
struct asker {
    uint16_t node; /* 0: none */
    uint32_t inc;
    uint16_t mirrors;
    uint64_t op_count;
    uint64_t sent; /* in order, at least once */
    struct meta_cmd ops[OPS_MAX + 1];
};

/* Names and arguments that commands borrow, for the whole history. */
struct words {
    char queues[NAMES][8];
    char exchanges[NAMES][8];
    char nodes[MW_NODES][8];
    uint8_t locators[3][48];
    struct slice locator_args[4];
};

struct run {
    struct mw *w;
    struct rng rng;
    struct asker askers[NODES_AT_ONCE];
    struct words words;
    unsigned node_names;
    uint64_t vhost;
    bool restarts, forgets; /* faults that this seed has */
    bool places;            /* its queues have mirrors */
};

static uint64_t below(struct run *r, uint64_t n)
{
    return rng_below(&r->rng, n);
}

static void make_words(struct words *w)
{
    static const char *const ways[] = { "client-local", "random", "min-masters" };
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(w->queues[i], sizeof w->queues[i], "q%u", i);
        snprintf(w->exchanges[i], sizeof w->exchanges[i], "x%u", i);
    }
    for (unsigned i = 0; i < MW_NODES; i++)
        snprintf(w->nodes[i], sizeof w->nodes[i], "n%u", i);
    for (unsigned i = 0; i < ARRAY_COUNT(ways); i++) {
        struct wire_out out = wire_out_over(w->locators[i], sizeof w->locators[i]);
        amqp_table_put_longstr(&out, "x-queue-master-locator", slice_str(ways[i]));
        CHECK(!out.overflow);
        w->locator_args[i] = wire_out_slice(&out);
    }
}

/* ---- what clients ask for ---- */

static struct slice some_queue(struct run *r)
{
    return slice_str(r->words.queues[below(r, NAMES)]);
}

static struct slice some_exchange(struct run *r)
{
    return slice_str(r->words.exchanges[below(r, NAMES)]);
}

static void declare_queue(struct run *r, struct meta_cmd *c)
{
    c->op = META_QUEUE_DECLARE;
    c->name = some_queue(r);
    c->queue_declare.args = r->words.locator_args[below(r, 4)];
    c->queue_declare.durable = below(r, 2) == 0;
    c->queue_declare.auto_delete = below(r, 5) == 0;
    c->queue_declare.exclusive = below(r, 5) == 0;
}

static void declare_exchange(struct run *r, struct meta_cmd *c)
{
    static const char *const types[] = { "direct", "fanout", "topic" };
    c->op = META_EXCHANGE_DECLARE;
    c->name = some_exchange(r);
    c->exchange_declare.type = slice_str(types[below(r, 3)]);
    c->exchange_declare.durable = below(r, 2) == 0;
    c->exchange_declare.auto_delete = below(r, 3) == 0;
}

static void bind(struct run *r, struct meta_cmd *c)
{
    static const char *const keys[] = { "", "a", "a.*", "#" };
    c->op = below(r, 4) == 0 ? META_UNBIND : META_BIND;
    c->bind.source = some_exchange(r);
    c->bind.to_exchange = below(r, 4) == 0;
    c->bind.destination = c->bind.to_exchange ? some_exchange(r) : some_queue(r);
    c->bind.key = slice_str(keys[below(r, 4)]);
}

static void set_policy(struct run *r, struct meta_cmd *c)
{
    static const char *const definitions[] = {
        "{\"queue-master-locator\":\"client-local\"}",
        "{\"queue-master-locator\":\"random\"}",
        "{\"alternate-exchange\":\"x1\"}",
        "{\"ha-mode\":\"all\"}",
        "{\"ha-mode\":\"exactly\",\"ha-params\":2,\"ha-promote-on-failure\":\"always\"}",
        "{\"ha-mode\":\"nodes\",\"ha-params\":[\"n0\"],\"ha-promote-on-shutdown\":\"always\"}",
        "{\"ha-mode\":\"nodes\",\"ha-params\":[\"n0\",\"n2\"]}"
    };
    c->op = below(r, 3) == 0 ? META_POLICY_CLEAR : META_POLICY_PUT;
    c->name = slice_str(below(r, 2) == 0 ? "p" : "p2");
    c->policy.pattern = slice_str(below(r, 2) == 0 ? "1$" : "");
    c->policy.definition = slice_str(definitions[below(r, ARRAY_COUNT(definitions))]);
    c->policy.priority = (int64_t)below(r, 3);
}

static void set_user(struct run *r, struct meta_cmd *c)
{
    static const enum meta_op ops[] = { META_USER_PUT, META_USER_DELETE, META_PERMISSION_PUT,
                                        META_GLOBAL_PARAMETER_PUT };
    c->op = ops[below(r, 4)];
    c->name = slice_str("u");
    if (c->op == META_PERMISSION_PUT)
        c->permission.user = slice_str("u");
    else if (c->op == META_GLOBAL_PARAMETER_PUT)
        c->parameter.value = slice_str(below(r, 2) == 0 ? "1" : "{\"a\":2}");
}

static struct meta_cmd some_wish(struct run *r, uint16_t node)
{
    struct meta_cmd c = { .vhost_id = r->vhost };
    c.conn = id_make(node, (uint32_t)below(r, 2), 1 + below(r, 2));
    switch (below(r, 10)) {
    case 0:
    case 1:
    case 2:
    case 3:
        declare_queue(r, &c);
        break;
    case 4:
        c.op = META_QUEUE_DELETE;
        c.name = some_queue(r);
        break;
    case 5:
        declare_exchange(r, &c);
        break;
    case 6:
    case 7:
        bind(r, &c);
        break;
    case 8:
        c.op = META_OWNER_GONE;
        break;
    default:
        if (below(r, 2) == 0)
            set_policy(r, &c);
        else
            set_user(r, &c);
        break;
    }
    return c;
}

/* ---- on their way ---- */

static void ask(struct run *r, struct asker *a)
{
    if (a->op_count < OPS_MAX)
        a->ops[++a->op_count] = some_wish(r, a->node);
}

static void send(struct run *r, const struct asker *a, uint64_t op)
{
    mw_append(r->w, &(struct meta_envelope){ a->node, a->inc, op, a->ops[op] });
}

/* The next one; or all again from the first that was not applied, as after a change of leader; or
 * any, as when one was lost on its way or comes twice. */
static void send_some(struct run *r, struct asker *a)
{
    const struct meta_origin *o = meta_origin_get(mw_shown(r->w), a->node);
    uint64_t applied = o != NULL && o->inc == a->inc ? o->op : 0;
    if (a->op_count == 0)
        return;
    switch (below(r, 6)) {
    case 0:
        send(r, a, 1 + below(r, a->op_count));
        return;
    case 1:
        a->sent = applied;
        return;
    default:
        if (a->sent < a->op_count)
            send(r, a, ++a->sent);
        return;
    }
}

/* ---- what becomes of nodes ---- */

static void say_as_leader(struct run *r, const struct meta_cmd *c)
{
    mw_append(r->w, &(struct meta_envelope){ .cmd = *c });
}

static struct meta_cmd node_command(enum meta_op op, uint16_t node, uint32_t inc)
{
    struct meta_cmd c = { .op = op };
    c.node.node = node;
    c.node.inc = inc;
    return c;
}

/* Its number is known when the entry was applied by anybody. */
static void add_node(struct run *r, struct asker *a)
{
    struct meta_cmd c = { .op = META_NODE_ADD, .name = slice_str(r->words.nodes[r->node_names]) };
    if (r->node_names == MW_NODES - 2)
        return;
    c.node.place = ++r->node_names;
    c.node.type = r->node_names == 1 ? META_NODE_DISC : (enum meta_node_type)below(r, 3);
    say_as_leader(r, &c);
    mw_apply(r->w, mw_first(r->w), UINT64_MAX);
    const struct meta_node *n = meta_node_find(mw_shown(r->w), c.name);
    if (n == NULL)
        return; /* refused: it would be the first, and no disc node */
    memset(a, 0, sizeof *a);
    a->node = n->node;
}

/* Its new incarnation is made known by itself or by the leader. */
static void start_node(struct run *r, struct asker *a)
{
    a->inc++;
    a->op_count = a->sent = 0;
    a->mirrors = (uint16_t)below(r, 4);
    struct meta_cmd up = node_command(META_NODE_UP, a->node, a->inc);
    up.node.mirrors = a->mirrors;
    up.node.lost_data = below(r, 6) == 0;
    if (below(r, 2) == 0)
        a->ops[++a->op_count] = up;
    else
        say_as_leader(r, &up);
}

static void forget_node(struct run *r, struct asker *a)
{
    struct meta_cmd c = node_command(META_NODE_REMOVE, a->node, 0);
    say_as_leader(r, &c);
    mw_apply(r->w, mw_first(r->w), UINT64_MAX);
    if (meta_node_get(mw_shown(r->w), a->node) == NULL)
        a->node = 0;
}

/* What a leader says may be old: of an incarnation that was. */
static void say_of_node(struct run *r, const struct asker *a)
{
    static const enum meta_op ops[] = { META_NODE_DOWN,   META_NODE_DOWN,    META_NODE_UP,
                                        META_NODE_UP,     META_NODE_STOPPED, META_NODE_STOPPED,
                                        META_NODE_DRAIN,  META_NODE_TYPE,    META_NODE_UNWELL,
                                        META_NODE_UNWELL, META_NODE_UNWELL,  META_NODE_WELL };
    uint32_t inc = a->inc != 0 && below(r, 4) == 0 ? a->inc - 1 : a->inc;
    struct meta_cmd c = node_command(ops[below(r, ARRAY_COUNT(ops))], a->node, inc);
    c.node.mirrors = c.op == META_NODE_UP ? a->mirrors : 0;
    if (c.op == META_NODE_TYPE)
        c.node.type = (enum meta_node_type)below(r, 3);
    say_as_leader(r, &c);
}

static void trouble(struct run *r, struct asker *a)
{
    if (a->node == 0)
        add_node(r, a);
    else if (a->inc == 0 || (r->restarts && below(r, 4) == 0))
        start_node(r, a);
    else if (r->forgets && below(r, 8) == 0)
        forget_node(r, a);
    else
        say_of_node(r, a);
}

/* ---- what becomes of placements ---- */

#define ITEMS_AT_ONCE 4u

/* As far as the one has seen that is furthest; NULL: there is none. */
static const struct meta_queue *some_placement(struct run *r, struct meta_placement *p)
{
    const struct meta_version *v = mw_shown(r->w);
    const struct meta_vhost *vh = meta_vhost_get(v, r->vhost);
    const struct meta_queue *q = vh != NULL ? meta_queue_find(v, vh, some_queue(r)) : NULL;
    if (q != NULL)
        meta_placement_of(v, q, p);
    return q;
}

static uint16_t some_node(struct run *r)
{
    uint16_t node = r->askers[below(r, NODES_AT_ONCE)].node;
    return node != 0 ? node : 1;
}

static uint32_t inc_of(const struct run *r, uint16_t node)
{
    const struct meta_node *n = meta_node_get(mw_shown(r->w), node);
    return n != NULL ? n->inc : 0;
}

/* Mostly what it says; else it is old, or from nowhere. */
static uint64_t mostly(struct run *r, uint64_t number)
{
    return below(r, 8) != 0 ? number : number - below(r, 2);
}

/* Somebody who holds it, by preference. */
static uint16_t some_replica(struct run *r, const struct meta_placement *p)
{
    return below(r, 5) != 0 ? meta_placement_replica(p, (unsigned)below(r, p->count))->node
                            : some_node(r);
}

static void put_isr_item(struct run *r, struct wire_out *w, const struct meta_queue *q,
                         const struct meta_placement *p)
{
    uint16_t node = some_replica(r, p);
    bool in_sync = meta_placement_is_in_sync(p, node);
    meta_isr_item_put(w, &(struct meta_isr_item){ .qid = q->qid,
                                                  .epoch = mostly(r, p->epoch),
                                                  .ver = mostly(r, p->ver),
                                                  .node = node,
                                                  .inc = (uint32_t)mostly(r, inc_of(r, node)),
                                                  .adds = below(r, 4) != 0 ? !in_sync : in_sync });
}

static struct slice some_items(struct run *r, enum meta_op op, struct wire_out *w)
{
    for (unsigned i = 0; i <= below(r, ITEMS_AT_ONCE); i++) {
        struct meta_placement p;
        const struct meta_queue *q = some_placement(r, &p);
        if (q == NULL)
            continue;
        if (op == META_ISR_CHANGE)
            put_isr_item(r, w, q, &p);
        else if (op == META_MASTER_MOVE)
            meta_move_item_put(
                w, &(struct meta_move_item){ q->qid, mostly(r, p.epoch), some_replica(r, &p) });
        else if (op == META_NODE_DAMAGED)
            wire_put_u64(w, q->qid);
        else
            meta_set_item_put(w, &(struct meta_set_item){ q->qid, mostly(r, p.ver) });
    }
    CHECK(!w->overflow);
    return wire_out_slice(w);
}

/* A number may come twice, or be nobody's. */
static struct slice some_nodes(struct run *r, struct wire_out *w)
{
    for (unsigned i = 0; i < NODES_AT_ONCE; i++)
        if (r->askers[i].node != 0 && below(r, 4) != 0)
            wire_put_u16(w, below(r, 30) != 0 ? r->askers[i].node : some_node(r));
    CHECK(!w->overflow);
    return wire_out_slice(w);
}

static void place(struct run *r)
{
    static const enum meta_op ops[] = { META_ISR_CHANGE,    META_ISR_CHANGE,   META_ISR_CHANGE,
                                        META_REPLICAS_SET,  META_REPLICAS_SET, META_MASTER_MOVE,
                                        META_FORCE_PROMOTE, META_PAIR_LAG,     META_NODE_DAMAGED };
    uint8_t items[ITEMS_AT_ONCE * 2 * META_ISR_ITEM_BYTES], nodes[64];
    struct wire_out to = wire_out_over(items, sizeof items);
    struct wire_out to_nodes = wire_out_over(nodes, sizeof nodes);
    struct meta_cmd c = { .op = ops[below(r, ARRAY_COUNT(ops))] };
    struct meta_placement p;
    const struct meta_queue *q = some_placement(r, &p);
    if (c.op == META_ISR_CHANGE) {
        c.isr_change.items = some_items(r, c.op, &to);
    } else if (c.op == META_MASTER_MOVE) {
        c.master_move.items = some_items(r, c.op, &to);
    } else if (c.op == META_REPLICAS_SET) {
        c.replicas_set.items = some_items(r, c.op, &to);
        c.replicas_set.nodes = some_nodes(r, &to_nodes);
        c.replicas_set.always_on_failure = below(r, 3) == 0;
        c.replicas_set.always_on_shutdown = below(r, 3) == 0;
    } else if (c.op == META_FORCE_PROMOTE) {
        c.qid = q != NULL ? q->qid : 0;
        c.force_promote.node = q != NULL ? some_replica(r, &p) : 1;
        c.force_promote.epoch = q != NULL && below(r, 2) == 0 ? mostly(r, p.epoch) : 0;
    } else if (c.op == META_NODE_DAMAGED) {
        c.node_damaged.node = some_node(r);
        c.node_damaged.inc = (uint32_t)mostly(r, inc_of(r, c.node_damaged.node));
        if (below(r, 2) == 0)
            c.node_damaged.items = some_items(r, c.op, &to);
    } else {
        c.pair_lag.master = some_node(r);
        c.pair_lag.mirror = some_node(r);
        c.pair_lag.master_inc = (uint32_t)mostly(r, inc_of(r, c.pair_lag.master));
        c.pair_lag.mirror_inc = (uint32_t)mostly(r, inc_of(r, c.pair_lag.mirror));
    }
    say_as_leader(r, &c);
}

static void freeze_or_thaw(struct run *r)
{
    struct meta_cmd c = { .op = below(r, 2) == 0 ? META_CLUSTER_FREEZE : META_CLUSTER_THAW };
    say_as_leader(r, &c);
}

/* ---- the whole ---- */

static void step(struct run *r)
{
    struct asker *a = &r->askers[below(r, NODES_AT_ONCE)];
    unsigned what = (unsigned)below(r, 26);
    if (what >= 20 && r->places)
        what == 20 && below(r, 2) == 0 ? freeze_or_thaw(r) : place(r);
    else if (what < 2 || a->node == 0)
        trouble(r, a);
    else if (what < 9)
        ask(r, a);
    else if (what < 16)
        send_some(r, a);
    else if (what < 19)
        mw_apply(r->w, (unsigned)below(r, MW_REPLICAS), 1 + below(r, 30));
    else
        mw_snapshot(r->w, (unsigned)below(r, MW_REPLICAS), (unsigned)below(r, MW_REPLICAS));
}

static void begin(struct run *r)
{
    struct meta_cmd form = { .op = META_CLUSTER_FORM, .name = slice_str("0123456789abcdef") };
    struct meta_cmd vhost = { .op = META_VHOST_ADD, .name = slice_str("/") };
    form.qid = below(r, 2) * 1000;
    say_as_leader(r, &form);
    say_as_leader(r, &vhost);
    mw_apply(r->w, 0, UINT64_MAX);
    r->vhost = meta_vhost_find(mw_shown(r->w), slice_str("/"))->vhost_id;
    add_node(r, &r->askers[0]);
    start_node(r, &r->askers[0]);
}

/* Everybody is up, and sends what was not applied, in order. False: that did not suffice. */
static bool heal(struct run *r)
{
    for (unsigned i = 0; i < NODES_AT_ONCE; i++) {
        struct asker *a = &r->askers[i];
        if (a->node == 0)
            continue;
        if (a->inc == 0)
            start_node(r, a);
        struct meta_cmd up = node_command(META_NODE_UP, a->node, a->inc);
        struct meta_cmd well = node_command(META_NODE_WELL, a->node, a->inc);
        up.node.mirrors = a->mirrors;
        say_as_leader(r, &up);
        say_as_leader(r, &well);
        mw_apply(r->w, mw_first(r->w), UINT64_MAX);
        const struct meta_origin *o = meta_origin_get(mw_shown(r->w), a->node);
        for (uint64_t op = o->op + 1; op <= a->op_count && !mw_is_full(r->w); op++)
            send(r, a, op);
        mw_apply(r->w, mw_first(r->w), UINT64_MAX);
        o = meta_origin_get(mw_shown(r->w), a->node);
        if (mw_is_well(r->w) && !mw_is_full(r->w) && (o->inc != a->inc || o->op != a->op_count))
            return false;
    }
    return true;
}

/* ---- when all is well, mirrors are where they ought to be ---- */

#define PLAN_TURNS 60u

/* What a master does whose mirror has caught up. */
static void bring_up_to_date(struct run *r, const struct meta_queue *q)
{
    uint8_t room[META_ISR_ITEM_BYTES];
    struct meta_placement p;
    meta_placement_of(mw_shown(r->w), q, &p);
    for (unsigned i = 1; i < p.count && p.state == META_PLACED_RUNNING; i++) {
        const struct meta_replica *replica = meta_placement_replica(&p, i);
        if (replica->inc != 0 || mw_is_full(r->w))
            continue;
        struct wire_out to = wire_out_over(room, sizeof room);
        meta_isr_item_put(&to, &(struct meta_isr_item){ .qid = q->qid,
                                                        .epoch = p.epoch,
                                                        .ver = p.ver,
                                                        .node = replica->node,
                                                        .inc = inc_of(r, replica->node),
                                                        .adds = true });
        struct meta_cmd c = { .op = META_ISR_CHANGE };
        c.isr_change.items = wire_out_slice(&to);
        say_as_leader(r, &c);
        return; /* ver is another one now */
    }
}

static const char *what_is_amiss(const struct meta_version *v, const struct meta_queue *q)
{
    struct meta_mirror_view view = { .version = v };
    struct meta_mirror_rule rule;
    struct meta_placement p;
    struct meta_wanted wanted;
    meta_mirror_rule_of(v, q, &rule);
    meta_placement_of(v, q, &p);
    if (p.state != META_PLACED_RUNNING || q->owner != 0)
        return NULL;
    meta_mirrors_wanted(&view, &p, &rule, &wanted);
    if (wanted.kept != wanted.count)
        return "a mirror is missing";
    if (p.count != wanted.count)
        return "a mirror is where it ought not to be";
    return p.isr_count == p.count ? NULL : "a mirror is never in sync";
}

/* NULL: each queue that runs has its mirrors, and they are in sync. */
static const char *plan(struct run *r)
{
    struct mirror_plan *p = mirror_plan_new(NULL, NULL);
    struct pmap_iter it;
    uint64_t now_ms = 1;
    const char *why = NULL;
    for (unsigned i = 0; i < PLAN_TURNS && !mw_is_full(r->w); i++, now_ms += 500) {
        size_t count;
        const struct meta_cmd *cmds = mirror_plan_turn(p, mw_shown(r->w), now_ms, &count);
        for (size_t k = 0; k < count && !mw_is_full(r->w); k++)
            say_as_leader(r, &cmds[k]);
        mw_apply(r->w, mw_first(r->w), UINT64_MAX);
        pmap_iter(&it, &mw_shown(r->w)->queues);
        for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
            bring_up_to_date(r, q);
        mw_apply(r->w, mw_first(r->w), UINT64_MAX);
    }
    pmap_iter(&it, &mw_shown(r->w)->queues);
    for (const struct meta_queue *q; why == NULL && (q = pmap_next(&it)) != NULL;)
        why = what_is_amiss(mw_shown(r->w), q);
    mirror_plan_free(&p);
    return mw_is_full(r->w) ? NULL : why;
}

bool sim_meta_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct run *r = mem_zalloc(sizeof *r);
    memset(out, 0, sizeof *out);
    rng_init(&r->rng, seed);
    make_words(&r->words);
    r->w = mw_new(seed, trace, arg, out);
    r->restarts = below(r, 2) == 0;
    r->forgets = below(r, 2) == 0;
    r->places = below(r, 4) != 0;
    begin(r);
    for (unsigned i = 0; i < STEPS && mw_is_well(r->w) && !mw_is_full(r->w); i++)
        step(r);
    bool healed = heal(r);
    const char *amiss = healed && mw_is_well(r->w) ? plan(r) : NULL;
    if (mw_is_well(r->w))
        mw_settle(r->w);
    bool ok = mw_is_well(r->w) && healed && amiss == NULL;
    if (amiss != NULL && mw_is_well(r->w))
        snprintf(out->why, sizeof out->why, "when all is well, %s", amiss);
    if (!healed && mw_is_well(r->w))
        snprintf(out->why, sizeof out->why, "what a living node asks for is never applied");
    mw_free(&r->w);
    mem_free(r);
    return ok;
}
