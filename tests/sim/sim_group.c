#include "sim_group.h"

#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_dump.h"
#include "cluster/meta_entry.h"
#include "cluster/meta_node.h"
#include "cluster/meta_replace.h"
#include "sim_cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OPS_MAX          8u /* that one node waits for */
#define IMAGES_MAX       65536u
#define AGAIN_US         200000
#define NAMES            12u
#define NAMES_OF_CLUSTER 3u /* few, so that much happens to each */
#define OP_BYTES_MAX     512u

struct asker {
    struct meta *meta; /* NULL: the node is down */
    struct buf *ops[OPS_MAX];
    size_t count;
    uint64_t first; /* number of ops[0] */
    uint64_t sent;
    uint16_t sent_to;
    uint64_t sent_term;
    int64_t progress_us;
};

struct image {
    uint64_t id;
    struct buf *bytes;
};

struct sim_group {
    struct asker askers[SIM_NODES + 1];
    struct image images[IMAGES_MAX];
    size_t image_count;
    uint64_t checksums[SIM_INDEX_MAX]; /* after the entry; 0: nobody has applied it */
    struct meta_result result;
};

static void retire_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

static struct meta *new_meta(unsigned node)
{
    return meta_new(&(struct meta_setup){ .hash_seed = node * 7919u,
                                          .shard_count = 1 + node % 3,
                                          .node = (uint16_t)node,
                                          .retire = retire_now });
}

struct sim_group *sim_group_new(struct sim_raft *w)
{
    (void)w;
    struct sim_group *g = mem_zalloc(sizeof *g);
    meta_result_init(&g->result);
    return g;
}

static void forget(struct asker *a)
{
    for (size_t i = 0; i < a->count; i++)
        buf_unref(&a->ops[i]);
    a->count = 0;
    if (a->meta != NULL)
        meta_free(&a->meta);
}

void sim_group_free(struct sim_group **group)
{
    struct sim_group *g = *group;
    if (g == NULL)
        return;
    for (unsigned i = 1; i <= SIM_NODES; i++)
        forget(&g->askers[i]);
    for (size_t i = 0; i < g->image_count; i++)
        buf_unref(&g->images[i].bytes);
    meta_result_fini(&g->result);
    mem_free(g);
    *group = NULL;
}

/* ---- operations ---- */

static void put(struct wire_out *w, uint16_t node, uint32_t inc, uint64_t op,
                const struct meta_cmd *cmd)
{
    struct meta_envelope e = { .node = node, .inc = inc, .op = op, .cmd = *cmd };
    meta_envelope_put(w, &e);
    CHECK(!w->overflow);
}

static struct buf *operation(uint16_t node, uint32_t inc, uint64_t op, const struct meta_cmd *cmd)
{
    uint8_t room[OP_BYTES_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    put(&w, node, inc, op, cmd);
    return buf_copy(wire_out_slice(&w));
}

static struct slice text(const char *t)
{
    return slice_of(t, strlen(t));
}

struct buf *sim_group_first_entry(void)
{
    static const char id[META_CLUSTER_ID_BYTES] = "simulated group";
    uint8_t room[4096];
    struct wire_out w = wire_out_over(room, sizeof room);
    put(&w, 0, 0, 0,
        &(struct meta_cmd){
            .op = META_CLUSTER_FORM, .name = slice_of(id, sizeof id), .qid = 1000 });
    put(&w, 0, 0, 0, &(struct meta_cmd){ .op = META_VHOST_ADD, .name = text("/") });
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "n%u", i);
        struct meta_cmd add = { .op = META_NODE_ADD, .name = text(name) };
        add.node.type = i == SIM_RAM_NODE ? META_NODE_RAM : META_NODE_DISC;
        put(&w, 0, 0, 0, &add);
    }
    return buf_copy(wire_out_slice(&w));
}

static struct meta_cmd node_cmd(const struct sim_raft *w, enum meta_op op, unsigned node,
                                uint32_t inc)
{
    struct meta_cmd cmd = { .op = op };
    cmd.node.node = (uint16_t)node;
    cmd.node.inc = inc;
    if (op == META_NODE_UP && w->cluster != NULL)
        cmd.node.mirrors = (uint16_t)(1 + node % 3);
    return cmd;
}

bool sim_group_want(struct sim_raft *w, unsigned node, const struct meta_cmd *cmd)
{
    struct asker *a = &w->group->askers[node];
    if (a->count == OPS_MAX)
        return false;
    a->ops[a->count] = operation((uint16_t)node, w->nodes[node].boot, a->first + a->count, cmd);
    a->count++;
    return true;
}

struct meta *sim_group_meta(const struct sim_raft *w, unsigned node)
{
    return w->group->askers[node].meta;
}

static void want_something(struct sim_raft *w, unsigned node)
{
    const struct meta_version *v = meta_current(w->group->askers[node].meta);
    const struct meta_vhost *vh = meta_vhost_find(v, text("/"));
    if (vh == NULL)
        return;
    char name[8];
    (void)snprintf(name, sizeof name, "q%u",
                   (unsigned)rng_below(&w->rng, w->cluster != NULL ? NAMES_OF_CLUSTER : NAMES));
    struct meta_cmd cmd = { .vhost_id = vh->vhost_id, .name = text(name), .conn = node };
    switch (rng_below(&w->rng, w->cluster != NULL ? 30 : 5)) {
    case 0:
        cmd.op = META_QUEUE_DELETE;
        break;
    case 1:
        cmd.op = META_EXCHANGE_DECLARE;
        cmd.exchange_declare.type = text("fanout");
        cmd.exchange_declare.durable = rng_below(&w->rng, 2) == 0;
        break;
    case 2:
        cmd.op = META_BIND;
        cmd.bind.source = cmd.bind.destination = text(name);
        cmd.name = slice_of(NULL, 0);
        break;
    default:
        cmd.op = META_QUEUE_DECLARE;
        cmd.queue_declare.durable = rng_below(&w->rng, 2) == 0;
        break;
    }
    (void)sim_group_want(w, node, &cmd);
}

/* ---- sending them ---- */

void sim_group_on_ops(struct sim_raft *w, unsigned node, unsigned from, struct buf *ops)
{
    if (w->cluster != NULL && !sim_cluster_admits(w, node, buf_slice(ops)))
        return; /* it comes again */
    sim_raft_node_step(w, node,
                       &(struct raft_event){
                           .kind = RAFT_EV_PROPOSE,
                           .propose = { .commands = &ops, .count = 1, .from = (uint16_t)from } });
}

static void send(struct sim_raft *w, unsigned from, uint16_t to, struct buf *ops)
{
    const struct sim_chances *c = &w->chance;
    if (to == from) {
        sim_group_on_ops(w, from, from, ops);
        return;
    }
    if (w->is_cut[from][to] || (c->lose != 0 && rng_chance(&w->rng, c->lose)))
        return;
    unsigned times = c->twice != 0 && rng_chance(&w->rng, c->twice) ? 2 : 1;
    for (unsigned i = 0; i < times; i++)
        sim_raft_net_later(
            w, 20 + (int64_t)rng_below(&w->rng, (uint64_t)(2 * c->delay_us)),
            &(struct sim_raft_act){ .kind = SIM_OPS,
                                    .node = to,
                                    .boot = w->nodes[to].boot,
                                    .chunk = { .node = (uint16_t)from, .bytes = buf_ref(ops) } });
}

static void send_on(struct sim_raft *w, unsigned node)
{
    struct asker *a = &w->group->askers[node];
    const struct raft *r = w->nodes[node].raft;
    uint16_t leader = raft_leader(r);
    if (leader == 0 || a->count == 0)
        return;
    if (leader != a->sent_to || raft_term(r) != a->sent_term ||
        w->now_us - a->progress_us > AGAIN_US) {
        a->sent = a->first - 1;
        a->sent_to = leader;
        a->sent_term = raft_term(r);
        a->progress_us = w->now_us;
    }
    size_t from = (size_t)(a->sent + 1 - a->first), bytes = 0;
    for (size_t i = from; i < a->count; i++)
        bytes += a->ops[i]->len_bytes;
    if (bytes == 0)
        return;
    struct buf *all = buf_new(bytes);
    for (size_t i = from; i < a->count; i++) {
        memcpy(all->data + all->len_bytes, a->ops[i]->data, a->ops[i]->len_bytes);
        all->len_bytes += a->ops[i]->len_bytes;
    }
    a->sent = a->first + a->count - 1;
    send(w, node, leader, all);
    buf_unref(&all);
}

/* Nobody's: the leader says who is down, and who is not says that it is up. */
static void tell_of_nodes(struct sim_raft *w, unsigned node)
{
    const struct meta_version *v = meta_current(w->group->askers[node].meta);
    const struct meta_node *self = meta_node_get(v, (uint16_t)node);
    const struct raft *r = w->nodes[node].raft;
    struct buf *b = NULL;
    if (self != NULL && self->inc == w->nodes[node].boot && self->state == META_NODE_IS_DOWN &&
        raft_leader(r) != 0) {
        struct meta_cmd up = node_cmd(w, META_NODE_UP, node, self->inc);
        b = operation(0, 0, 0, &up);
        send(w, node, raft_leader(r), b);
    }
    buf_unref(&b);
    if (w->has_failed || w->is_healed || raft_role(r) != RAFT_LEADER)
        return;
    unsigned other = 1 + (unsigned)rng_below(&w->rng, SIM_NODES);
    const struct meta_node *m = meta_node_get(v, (uint16_t)other);
    if (m == NULL || other == node || (w->nodes[other].raft != NULL && rng_below(&w->rng, 8) != 0))
        return;
    sim_group_say(w, node, META_NODE_DOWN, other, m->inc);
}

void sim_group_say(struct sim_raft *w, unsigned node, enum meta_op op, unsigned about, uint32_t inc)
{
    struct meta_cmd cmd = node_cmd(w, op, about, inc);
    struct buf *b = operation(0, 0, 0, &cmd);
    sim_group_on_ops(w, node, node, b);
    buf_unref(&b);
}

void sim_group_say_nothing(struct sim_raft *w, unsigned node)
{
    sim_group_say(w, node, META_NODE_DOWN, 1, 0);
}

void sim_group_work(struct sim_raft *w, unsigned node)
{
    bool wants = !w->is_healed && rng_below(&w->rng, 2) == 0;
    if (wants && w->cluster != NULL && rng_below(&w->rng, 4) != 0)
        sim_cluster_want(w, node);
    else if (wants)
        want_something(w, node);
    send_on(w, node);
    if (!w->has_failed && rng_below(&w->rng, 4) == 0)
        tell_of_nodes(w, node);
}

bool sim_group_is_done(struct sim_raft *w, unsigned node)
{
    return w->group->askers[node].count == 0;
}

/* ---- applying them ---- */

static void check_sum(struct sim_raft *w, unsigned node, uint64_t index)
{
    const struct asker *a = &w->group->askers[node];
    uint64_t sum = meta_checksum(a->meta) | 1, *known = &w->group->checksums[index];
    if (*known == 0)
        *known = sum;
    if (*known != sum)
        sim_raft_fail(w, "the metadata of %u are others after %" PRIu64, node, index);
}

/* Operations up to this one are done. */
static void done_up_to(struct asker *a, uint64_t op)
{
    while (a->count != 0 && a->first <= op) {
        buf_unref(&a->ops[0]);
        a->count--;
        memmove(a->ops, a->ops + 1, a->count * sizeof a->ops[0]);
        a->first++;
    }
}

static void apply_one(struct sim_raft *w, unsigned node, uint64_t index,
                      const struct meta_envelope *e)
{
    struct asker *a = &w->group->askers[node];
    enum meta_applied applied = meta_apply_entry(a->meta, index, e, &w->group->result);
    if (w->cluster != NULL && applied == META_APPLIED)
        sim_cluster_moved(w, node, index, &w->group->result);
    if (applied != META_APPLIED || e->node != node || e->inc != w->nodes[node].boot)
        return;
    if (a->count == 0 || e->op != a->first)
        sim_raft_fail(w, "operation %" PRIu64 " of %u is applied out of its order", e->op, node);
    done_up_to(a, e->op);
    a->progress_us = w->now_us;
    w->report->messages++;
}

void sim_group_apply(struct sim_raft *w, unsigned node, const struct raft_entry *entry)
{
    struct wire in = wire_over(raft_entry_slice(entry));
    struct meta_envelope e;
    while (entry->kind == RAFT_COMMAND && !w->has_failed && wire_left(&in) != 0) {
        bool is_taken = meta_envelope_take(&in, &e);
        CHECK(is_taken);
        apply_one(w, node, entry->index, &e);
    }
    meta_publish(w->group->askers[node].meta);
    check_sum(w, node, entry->index);
    if (w->cluster != NULL && !w->has_failed)
        sim_cluster_applied(w, node, entry->index, false);
}

/* ---- snapshots ---- */

struct saving {
    uint8_t *bytes;
    size_t len;
    size_t room;
};

static bool put_command(void *arg, const struct meta_cmd *cmd, uint64_t first_id)
{
    struct saving *s = arg;
    size_t size = meta_wire_size(cmd);
    if (s->len + size > s->room) {
        s->room = (s->len + size) * 2;
        s->bytes = mem_realloc(s->bytes, s->room);
    }
    struct wire_out w = wire_out_over(s->bytes + s->len, size);
    meta_wire_put(&w, cmd, first_id);
    CHECK(!w.overflow);
    s->len += size;
    return true;
}

void sim_group_save(struct sim_raft *w, unsigned node, uint64_t id)
{
    struct sim_group *g = w->group;
    struct saving s = { 0 };
    bool ok = meta_dump(meta_current(g->askers[node].meta), put_command, &s);
    CHECK(ok && g->image_count < IMAGES_MAX);
    g->images[g->image_count++] = (struct image){ id, buf_copy(slice_of(s.bytes, s.len)) };
    mem_free(s.bytes);
}

static const struct buf *image_of(const struct sim_group *g, uint64_t id)
{
    for (size_t i = g->image_count; i-- > 0;)
        if (g->images[i].id == id)
            return g->images[i].bytes;
    UNREACHABLE("image");
}

void sim_group_restore(struct sim_raft *w, unsigned node, uint64_t id)
{
    struct sim_group *g = w->group;
    struct asker *a = &g->askers[node];
    struct wire in = wire_over(buf_slice(image_of(g, id)));
    struct meta *fresh = new_meta(node), *old = a->meta;
    bool is_running = old != NULL; /* else it starts */
    while (wire_left(&in) != 0 && !w->has_failed) {
        struct meta_cmd cmd;
        uint64_t first_id;
        if (!meta_wire_take(&in, &cmd, &first_id) ||
            meta_replay(fresh, &cmd, first_id, &g->result) == META_REFUSED)
            sim_raft_fail(w, "%u cannot read a snapshot: %s", node, g->result.refusal.text);
    }
    meta_publish(fresh);
    a->meta = fresh;
    if (is_running && w->cluster != NULL) {
        meta_compare(meta_current(old), fresh, false, &g->result);
        sim_cluster_moved(w, node, w->nodes[node].machine.index, &g->result);
    }
    if (is_running)
        meta_free(&old);
    if (w->has_failed)
        return;
    uint64_t index = w->nodes[node].machine.index;
    check_sum(w, node, index);
    if (w->cluster != NULL && is_running)
        sim_cluster_applied(w, node, index, true);
    uint32_t inc;
    uint64_t op;
    if (meta_last_op(a->meta, (uint16_t)node, &inc, &op) && inc == w->nodes[node].boot)
        done_up_to(a, op);
}

/* ---- lives ---- */

void sim_group_start(struct sim_raft *w, unsigned node)
{
    struct asker *a = &w->group->askers[node];
    const struct raft_snapshot *s = &w->nodes[node].store.snapshot;
    *a = (struct asker){ .first = 1, .progress_us = w->now_us };
    if (s->index != 0)
        sim_group_restore(w, node, s->id);
    else
        a->meta = new_meta(node);
    struct meta_cmd up = node_cmd(w, META_NODE_UP, node, w->nodes[node].boot);
    up.node.lost_data = w->cluster != NULL && sim_cluster_has_lost(w, node);
    (void)sim_group_want(w, node, &up);
    if (w->cluster != NULL)
        sim_cluster_start(w, node);
}

void sim_group_crash(struct sim_raft *w, unsigned node)
{
    forget(&w->group->askers[node]);
    if (w->cluster != NULL)
        sim_cluster_crash(w, node);
}
