/* The register: cluster/meta, the state machine itself, given what was proposed in any order. What
 * it says of placements after each entry is kept, for those who see it late. */
#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_items.h"
#include "sim_mirror_inner.h"

#include <stdio.h>

/* Nobody reads beside us. */
static void free_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

static struct meta_placement placement(const struct smr *w, unsigned queue)
{
    const struct meta_version *v = meta_current(w->meta);
    const struct meta_queue *q = meta_queue_get(v, w->qids[queue]);
    struct meta_placement p;
    CHECK(q != NULL);
    meta_placement_of(v, q, &p);
    return p;
}

static void see_queue(const struct smr *w, unsigned queue, struct smr_placement *out)
{
    struct meta_placement p = placement(w, queue);
    *out = (struct smr_placement){ .epoch = p.epoch,
                                   .ver = p.ver,
                                   .master = (uint8_t)(p.master - 1),
                                   .master_inc = p.master_inc };
    for (unsigned i = 0; i < p.count; i++) {
        const struct meta_replica *r = meta_placement_replica(&p, i);
        out->is_in_sync[r->node - 1] = r->inc != 0;
        out->inc[r->node - 1] = r->inc;
    }
}

static void see(const struct smr *w, struct smr_state *s)
{
    const struct meta_version *v = meta_current(w->meta);
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct meta_node *n = meta_node_get(v, (uint16_t)(i + 1));
        s->inc[i] = n->inc;
        s->is_up[i] = meta_node_is_serving(n);
    }
    for (unsigned q = 0; q < w->queue_count; q++)
        see_queue(w, q, &s->queues[q]);
}

static void apply(struct smr *w, const struct meta_cmd *cmd)
{
    (void)meta_apply(w->meta, cmd, &w->result); /* what is refused is an answer, too */
    meta_publish(w->meta);
}

/* ---- commands ---- */

static void change_isr(struct smr *w, const struct meta_isr_item *item)
{
    uint8_t room[META_ISR_ITEM_BYTES];
    struct wire_out out = wire_out_over(room, sizeof room);
    struct meta_cmd cmd = { .op = META_ISR_CHANGE };
    meta_isr_item_put(&out, item);
    cmd.isr_change.items = wire_out_slice(&out);
    apply(w, &cmd);
}

static void move_master(struct smr *w, const struct meta_move_item *item)
{
    uint8_t room[META_MOVE_ITEM_BYTES];
    struct wire_out out = wire_out_over(room, sizeof room);
    struct meta_cmd cmd = { .op = META_MASTER_MOVE };
    meta_move_item_put(&out, item);
    cmd.master_move.items = wire_out_slice(&out);
    apply(w, &cmd);
}

static void change_node(struct smr *w, enum meta_op op, unsigned node, uint32_t inc)
{
    struct meta_cmd cmd = { .op = op };
    cmd.node.node = (uint16_t)(node + 1);
    cmd.node.inc = inc;
    cmd.node.mirrors = op == META_NODE_UP ? 1 : 0;
    apply(w, &cmd);
}

static void lag(struct smr *w, const struct smr_proposal *c)
{
    struct meta_cmd cmd = { .op = META_PAIR_LAG };
    cmd.pair_lag.master = (uint16_t)(c->of + 1);
    cmd.pair_lag.master_inc = c->of_inc;
    cmd.pair_lag.mirror = (uint16_t)(c->node + 1);
    cmd.pair_lag.mirror_inc = c->inc;
    apply(w, &cmd);
}

/* ---- the beginning: all are up, and all have all queues ---- */

static void add_node(struct smr *w, unsigned node)
{
    char name[16];
    snprintf(name, sizeof name, "n%u", node + 1);
    struct meta_cmd cmd = { .op = META_NODE_ADD, .name = slice_str(name) };
    cmd.node.type = META_NODE_DISC;
    apply(w, &cmd);
    CHECK(w->result.id == node + 1);
    change_node(w, META_NODE_UP, node, 1);
}

static void declare(struct smr *w, unsigned queue)
{
    char name[16];
    snprintf(name, sizeof name, "q%u", queue);
    struct meta_cmd cmd = {
        .op = META_QUEUE_DECLARE, .vhost_id = w->vhost_id, .conn = 1, .name = slice_str(name)
    };
    cmd.queue_declare.durable = true;
    apply(w, &cmd);
    CHECK(w->result.verdict == META_DONE);
    w->qids[queue] = w->result.id;
}

static void set_replicas(struct smr *w, unsigned queue, unsigned first)
{
    uint8_t item[META_SET_ITEM_BYTES], nodes[SMR_NODES * META_NODE_ITEM_BYTES];
    struct wire_out out = wire_out_over(item, sizeof item);
    struct wire_out to = wire_out_over(nodes, sizeof nodes);
    struct meta_cmd cmd = { .op = META_REPLICAS_SET };
    meta_set_item_put(&out, &(struct meta_set_item){ w->qids[queue], placement(w, queue).ver });
    for (unsigned i = 0; i < w->node_count; i++)
        wire_put_u16(&to, (uint16_t)((first + i) % w->node_count + 1));
    cmd.replicas_set.items = wire_out_slice(&out);
    cmd.replicas_set.nodes = wire_out_slice(&to);
    apply(w, &cmd);
    CHECK(w->result.verdict == META_DONE);
}

static void begin_queue(struct smr *w, unsigned queue)
{
    unsigned first = (unsigned)smr_below(w, w->node_count);
    declare(w, queue);
    set_replicas(w, queue, first);
    for (unsigned i = 0; i < w->node_count; i++) {
        struct meta_placement p = placement(w, queue);
        change_isr(w, &(struct meta_isr_item){ w->qids[queue], p.epoch, p.ver, 1, (uint16_t)(i + 1),
                                               true });
    }
    struct meta_placement p = placement(w, queue);
    move_master(w, &(struct meta_move_item){ w->qids[queue], p.epoch, (uint16_t)(first + 1) });
    p = placement(w, queue);
    CHECK(p.master == first + 1 && p.isr_count == w->node_count && p.ver <= SMR_BEGINNING);
}

void smr_meta_init(struct smr *w)
{
    w->meta =
        meta_new(&(struct meta_setup){ .hash_seed = 1, .shard_count = 1, .retire = free_now });
    meta_result_init(&w->result);
    apply(w, &(struct meta_cmd){ .op = META_VHOST_ADD, .name = slice_str("/") });
    w->vhost_id = w->result.id;
    for (unsigned i = 0; i < w->node_count; i++)
        add_node(w, i);
    for (unsigned q = 0; q < w->queue_count; q++)
        begin_queue(w, q);
    see(w, &w->log[0]);
    w->log_count = 1;
}

void smr_meta_fini(struct smr *w)
{
    meta_result_fini(&w->result);
    meta_free(&w->meta);
}

/* ---- the entries ---- */

void smr_meta_propose(struct smr *w, const struct smr_proposal *p)
{
    if (w->flight_count < SMR_FLIGHT)
        w->flight[w->flight_count++] = *p; /* else it is lost, and said again */
}

static void decide(struct smr *w, const struct smr_proposal *c)
{
    uint16_t node = (uint16_t)(c->node + 1);
    switch (c->what) {
    case SMR_ISR:
        change_isr(w, &(struct meta_isr_item){ w->qids[c->queue], c->epoch, c->ver, c->inc, node,
                                               c->adds });
        return;
    case SMR_LAG:
        lag(w, c);
        return;
    case SMR_MOVE:
        move_master(w, &(struct meta_move_item){ w->qids[c->queue], c->epoch, node });
        return;
    case SMR_DOWN:
        change_node(w, META_NODE_DOWN, c->node, c->inc);
        return;
    case SMR_UP:
        change_node(w, META_NODE_UP, c->node, c->inc);
        return;
    }
    UNREACHABLE("proposal");
}

void smr_meta_decide(struct smr *w)
{
    if (w->flight_count == 0 || w->log_count == SMR_ENTRIES)
        return;
    unsigned which = (unsigned)smr_below(w, w->flight_count);
    struct smr_proposal c = w->flight[which];
    w->flight[which] = w->flight[--w->flight_count];
    const struct smr_state *was = smr_head(w);
    decide(w, &c);
    struct smr_state *s = &w->log[w->log_count++];
    see(w, s);
    for (unsigned q = 0; q < w->queue_count; q++)
        if (s->queues[q].ver != was->queues[q].ver)
            smr_say(w, "%zu: queue %u: epoch %u, master %u, in sync %u%u%u%u", w->log_count - 1, q,
                    (unsigned)s->queues[q].epoch, s->queues[q].master, s->queues[q].is_in_sync[0],
                    s->queues[q].is_in_sync[1], s->queues[q].is_in_sync[2],
                    s->queues[q].is_in_sync[3]);
}
