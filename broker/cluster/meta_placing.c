/* Commands that change the placement of single queues, many in one: each item is judged by itself,
 * and one that does not count leaves the others alone. */
#include "base/check.h"
#include "base/mutation.h"
#include "cluster/meta_cohort.h"
#include "cluster/meta_items.h"

#define CONFLICT 409u

static bool is_fit(const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = meta_node_get(v, node);
    return n != NULL && meta_node_is_fit(n);
}

static bool is_serving(const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = meta_node_get(v, node);
    return n != NULL && meta_node_is_serving(n);
}

/* ---- checks ---- */

static enum meta_verdict refused(struct meta_result *out, unsigned code, const char *what)
{
    struct text t = meta_refuse(&out->refusal, code);
    text_str(&t, what);
    return META_REFUSED;
}

static enum meta_verdict items_check(struct slice items, size_t bytes, struct meta_result *out)
{
    return meta_items_suit(items, bytes)
               ? META_CHANGE
               : refused(out, 400, "a list of queues is none, or has too many of them");
}

static bool is_in(struct slice nodes, uint16_t node)
{
    struct wire w = wire_over(nodes);
    while (wire_left(&w) != 0)
        if (wire_u16(&w) == node)
            return true;
    return false;
}

static enum meta_verdict set_check(const struct meta_version *v, const struct meta_cmd *cmd,
                                   struct meta_result *out)
{
    struct slice nodes = cmd->replicas_set.nodes;
    struct wire w = wire_over(nodes);
    if (!meta_items_suit(nodes, META_NODE_ITEM_BYTES) ||
        nodes.len / META_NODE_ITEM_BYTES > META_REPLICAS_MAX)
        return refused(out, 400, "a set of replicas has from one to 255 nodes");
    while (wire_left(&w) != 0) {
        struct slice before = slice_head(nodes, nodes.len - wire_left(&w));
        uint16_t node = wire_u16(&w);
        const struct meta_node *n = meta_node_get(v, node);
        if (n == NULL || n->type == META_NODE_WITNESS || is_in(before, node))
            return refused(out, CONFLICT, "a set of replicas has a node that cannot be in it");
    }
    return items_check(cmd->replicas_set.items, META_SET_ITEM_BYTES, out);
}

static enum meta_verdict promote_check(const struct meta_version *v, const struct meta_cmd *cmd,
                                       struct meta_result *out)
{
    const struct meta_queue *q = meta_queue_get(v, cmd->qid);
    const struct meta_node *n = meta_node_get(v, cmd->force_promote.node);
    struct meta_placement p;
    if (q == NULL)
        return refused(out, 404, "the queue is not there");
    out->queue = q;
    meta_placement_of(v, q, &p);
    if (cmd->force_promote.epoch != 0 && cmd->force_promote.epoch != p.epoch)
        return refused(out, CONFLICT, "the queue has another master since");
    if (n == NULL || !meta_node_is_host(n))
        return refused(out, CONFLICT, "the node is not up, or has no queues");
    if (n->mirrors == 0 && n->node != p.master)
        return refused(out, CONFLICT, "the node cannot take over queues of others");
    if (p.state == META_PLACED_RUNNING)
        return refused(out, CONFLICT, "the queue is running: move_master moves it without a loss");
    return META_CHANGE;
}

enum meta_verdict meta_placing_check(const struct meta_version *v, const struct meta_vhost *none,
                                     const struct meta_cmd *cmd, struct meta_result *out)
{
    CHECK(none == NULL);
    if (cmd->op == META_ISR_CHANGE)
        return items_check(cmd->isr_change.items, META_ISR_ITEM_BYTES, out);
    if (cmd->op == META_MASTER_MOVE)
        return items_check(cmd->master_move.items, META_MOVE_ITEM_BYTES, out);
    if (cmd->op == META_REPLICAS_SET)
        return set_check(v, cmd, out);
    CHECK(cmd->op == META_FORCE_PROMOTE);
    return promote_check(v, cmd, out);
}

/* ---- the in-sync set ---- */

static bool may_add(const struct meta_version *v, const struct meta_placement *p,
                    const struct meta_record *r, const struct meta_isr_item *item)
{
    const struct meta_node *n = meta_node_get(v, item->node);
    int i = meta_record_find(r, item->node);
    bool is_it = n != NULL && (n->inc == item->inc || MUTATION(META_ADD_ANY_INC)) && item->inc != 0;
    bool is_led = p->state != META_PLACED_DAMAGED &&
                  (is_serving(v, p->master) || MUTATION(META_ADD_WITHOUT_MASTER));
    bool is_fit =
        is_it && (meta_node_is_fit(n) || (meta_node_is_serving(n) && MUTATION(META_ADD_UNWELL)));
    return i >= 0 && r->replicas[i].inc == 0 && is_fit && is_led;
}

/* What becomes of the record, which is as it was if the item is refused: then only ver rises. */
static uint8_t change_in_sync(const struct meta_version *v, const struct meta_placement *p,
                              struct meta_record *r, const struct meta_isr_item *item)
{
    int i = meta_record_find(r, item->node);
    if (item->adds && may_add(v, p, r, item)) {
        r->replicas[i] = (struct meta_replica){ .inc = item->inc, .node = item->node };
        return META_HOW_IN_SYNC;
    }
    if (item->adds || i <= 0 || r->replicas[i].inc == 0)
        return 0;
    return meta_record_leave(v, r, (unsigned)i, v->index);
}

static void in_sync_item(struct meta *m, const struct meta_isr_item *item, struct meta_result *out)
{
    const struct meta_queue *q = meta_queue_get(&m->draft, item->qid);
    struct meta_placement p;
    struct meta_record r;
    if (q == NULL)
        return;
    meta_placement_of(&m->draft, q, &p);
    if ((p.epoch != item->epoch || p.ver != item->ver) && !MUTATION(META_ISR_OLD_VER))
        return;
    meta_record_of(&m->draft, q, &r);
    uint8_t how = change_in_sync(&m->draft, &p, &r, item);
    if (how != 0 || !MUTATION(META_REFUSED_VER_STAYS))
        meta_placed_change(m, q, &r, how, out);
}

/* ---- the master ---- */

static void move_item(struct meta *m, const struct meta_move_item *item, struct meta_result *out)
{
    const struct meta_queue *q = meta_queue_get(&m->draft, item->qid);
    struct meta_placement p;
    struct meta_record r;
    if (q == NULL)
        return;
    meta_placement_of(&m->draft, q, &p);
    meta_record_of(&m->draft, q, &r);
    int i = meta_record_find(&r, item->node);
    bool is_member = i > 0 && (r.replicas[i].inc != 0 || MUTATION(META_MOVE_TO_OUTSIDER));
    if (!is_member || (p.epoch != item->epoch && !MUTATION(META_MOVE_OLD_EPOCH)) ||
        !is_fit(&m->draft, item->node) || p.state == META_PLACED_DAMAGED)
        return;
    if (r.replicas[i].inc == 0)
        r.replicas[i] = (struct meta_replica){ .inc = 1, .node = item->node };
    meta_record_promote(&r, (unsigned)i);
    meta_placed_change(m, q, &r, META_HOW_MASTER, out);
}

/* ---- the replicas ---- */

static uint8_t drop_others(struct meta_record *r, struct slice nodes)
{
    uint8_t how = 0;
    for (unsigned i = r->count; i-- != 1;) {
        if (is_in(nodes, r->replicas[i].node))
            continue;
        how |= META_HOW_REPLICAS | (r->replicas[i].inc != 0 ? META_HOW_IN_SYNC : 0);
        meta_record_remove(r, i);
    }
    return how;
}

static uint8_t add_new(const struct meta_version *v, struct meta_record *r, struct slice nodes)
{
    uint8_t how = 0;
    struct wire w = wire_over(nodes);
    while (wire_left(&w) != 0) {
        uint16_t node = wire_u16(&w);
        bool can = meta_node_get(v, node)->mirrors != 0 || MUTATION(META_REPLICA_ANYWHERE);
        if (meta_record_find(r, node) >= 0 || !can)
            continue;
        meta_record_add(r, &(struct meta_replica){ .node = node });
        how |= META_HOW_REPLICAS;
    }
    return how;
}

static void set_item(struct meta *m, const struct meta_cmd *cmd, const struct meta_set_item *item,
                     struct meta_result *out)
{
    const struct meta_queue *q = meta_queue_get(&m->draft, item->qid);
    struct slice nodes = cmd->replicas_set.nodes;
    struct meta_placement p;
    struct meta_record r;
    if (q == NULL || q->owner != 0)
        return;
    meta_placement_of(&m->draft, q, &p);
    if ((p.ver != item->ver && !MUTATION(META_SET_OLD_VER)) || !is_in(nodes, p.master))
        return;
    meta_record_of(&m->draft, q, &r);
    uint8_t flags = (uint8_t)(r.flags & (META_RECORD_LASTS | META_RECORD_DAMAGED));
    if (cmd->replicas_set.always_on_failure)
        flags |= META_RECORD_ALWAYS_ON_FAILURE;
    if (cmd->replicas_set.always_on_shutdown)
        flags |= META_RECORD_ALWAYS_ON_SHUTDOWN;
    bool others = flags != r.flags;
    r.flags = flags;
    uint8_t how = drop_others(&r, nodes);
    how |= add_new(&m->draft, &r, nodes);
    if (how != 0 || others)
        meta_placed_change(m, q, &r, how, out);
}

/* ---- an operator's word ---- */

static void force_promote(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    const struct meta_queue *q = out->queue;
    const struct meta_node *n = meta_node_get(&m->draft, cmd->force_promote.node);
    uint8_t how = META_HOW_MASTER | META_HOW_IN_SYNC;
    struct meta_record r;
    meta_record_of(&m->draft, q, &r);
    int i = meta_record_find(&r, n->node);
    if (i < 0) {
        meta_record_add(&r, &(struct meta_replica){ .node = n->node });
        i = (int)r.count - 1;
        how |= META_HOW_REPLICAS;
    }
    if (r.replicas[i].inc == 0 || (r.flags & META_RECORD_DAMAGED) != 0)
        how |= META_HOW_FORCED;
    r.replicas[i] = (struct meta_replica){ .inc = n->inc, .node = n->node };
    meta_record_promote(&r, (unsigned)i);
    bool was_damaged = (r.flags & META_RECORD_DAMAGED) != 0;
    for (unsigned k = 1; k < r.count; k++) {
        if (r.replicas[k].inc == 0)
            continue;
        meta_record_strike(&r, k, was_damaged ? 0 : m->draft.index);
        k = 0; /* the others have moved up */
    }
    r.flags &= (uint8_t)~META_RECORD_DAMAGED;
    meta_placed_change(m, q, &r, how, out);
}

void meta_placing_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    struct wire w;
    if (cmd->op == META_FORCE_PROMOTE) {
        force_promote(m, cmd, out);
        out->queue = NULL;
    } else if (cmd->op == META_ISR_CHANGE) {
        for (w = wire_over(cmd->isr_change.items); wire_left(&w) != 0;) {
            struct meta_isr_item item = meta_isr_item_take(&w);
            in_sync_item(m, &item, out);
        }
    } else if (cmd->op == META_MASTER_MOVE) {
        for (w = wire_over(cmd->master_move.items); wire_left(&w) != 0;) {
            struct meta_move_item item = meta_move_item_take(&w);
            move_item(m, &item, out);
        }
    } else {
        for (w = wire_over(cmd->replicas_set.items); wire_left(&w) != 0;) {
            struct meta_set_item item = meta_set_item_take(&w);
            set_item(m, cmd, &item, out);
        }
    }
}
