/* A member's driver: its clock, its disk, its state machine. */
#include "base/check.h"
#include "base/mem.h"
#include "sim_cluster.h"
#include "sim_group.h"

#include <string.h>

#define MILLION        1000000
#define SNAPSHOT_BYTES 16u /* the machine's index and its digest, in two chunks */

/* ---- its clock ---- */

int64_t sim_raft_node_clock(const struct sim_raft *w, unsigned node)
{
    const struct sim_raft_node *n = &w->nodes[node];
    return n->clock_at_us + (w->now_us - n->begun_us) * (MILLION + n->rate_ppm) / MILLION;
}

int64_t sim_raft_node_when(const struct sim_raft *w, unsigned node, int64_t at_us)
{
    const struct sim_raft_node *n = &w->nodes[node];
    int64_t rate = MILLION + n->rate_ppm;
    return n->begun_us + ((at_us - n->clock_at_us) * MILLION + rate - 1) / rate;
}

bool sim_raft_node_is_awake(const struct sim_raft *w, unsigned node)
{
    return w->nodes[node].raft != NULL && w->nodes[node].paused_until_us <= w->now_us;
}

/* ---- its life ---- */

void sim_raft_node_start(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    struct raft_setup setup = w->setup;
    struct raft_start start;
    CHECK(n->raft == NULL && n->boot + 1 < SIM_BOOTS_MAX);
    n->clock_at_us = (int64_t)rng_below(&w->rng, 1u << 30);
    n->begun_us = w->now_us;
    n->paused_until_us = 0;
    raft_store_start(&n->store, &start);
    start.now_us = sim_raft_node_clock(w, node);
    setup.node = (uint16_t)node;
    setup.boot = ++n->boot;
    setup.seed = rng_u64(&w->rng);
    n->machine = n->store.machine;
    n->applied_of[n->boot] = n->machine.index;
    n->commit = n->store.snapshot.index;
    n->taking_index = 0;
    n->is_apply_due = n->is_restoring = false;
    n->counted_count = 0;
    n->granted_term = n->transfer_term = 0;
    n->disk_us = w->now_us;
    n->raft = raft_new(&setup, &start);
    if (w->group != NULL)
        sim_group_start(w, node);
    w->report->restarts++;
    sim_raft_say(w, "%u starts, boot %u, term %d, last %d%s", node, n->boot,
                 (int)raft_term(n->raft), (int)raft_last(n->raft),
                 raft_is_recovering(n->raft) ? ", recovering" : "");
    sim_raft_node_count_all(w, node);
}

void sim_raft_node_crash(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    size_t parts = 0;
    for (size_t i = 0; i < n->write_count; i++)
        parts += raft_store_parts(n->writes[i]);
    size_t kept = (size_t)rng_below(&w->rng, parts + 1);
    for (size_t i = 0; i < n->write_count; i++) {
        size_t of_this = raft_store_parts(n->writes[i]);
        raft_store_write(&n->store, n->writes[i], kept < of_this ? kept : of_this);
        kept -= kept < of_this ? kept : of_this;
        raft_write_free(&n->writes[i]);
    }
    n->write_count = 0;
    if (w->group != NULL)
        sim_group_crash(w, node);
    raft_effects_clear(&n->fx);
    raft_free(&n->raft);
    sim_raft_say(w, "%u crashes", node);
}

/* ---- its disk ---- */

static void write_later(struct sim_raft *w, unsigned node, struct raft_write *write)
{
    struct sim_raft_node *n = &w->nodes[node];
    int64_t delay = 10 + (int64_t)rng_below(&w->rng, (uint64_t)w->chance.disk_us);
    if (w->chance.slow_disk != 0 && rng_chance(&w->rng, w->chance.slow_disk))
        delay += (int64_t)rng_below(&w->rng, 400000);
    CHECK(n->write_count < SIM_PENDING_MAX);
    if (n->disk_us < w->now_us)
        n->disk_us = w->now_us;
    n->disk_us += delay;
    n->writes[n->write_count] = write;
    n->write_at_us[n->write_count++] = n->disk_us;
    sim_raft_net_later(
        w, n->disk_us - w->now_us,
        &(struct sim_raft_act){ .kind = SIM_WRITTEN, .node = (uint16_t)node, .boot = n->boot });
}

static void on_written(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    uint64_t number = 0;
    while (n->write_count != 0 && n->write_at_us[0] <= w->now_us) {
        number = n->writes[0]->number;
        raft_store_write(&n->store, n->writes[0], raft_store_parts(n->writes[0]));
        raft_write_free(&n->writes[0]);
        n->write_count--;
        memmove(n->writes, n->writes + 1, n->write_count * sizeof n->writes[0]);
        memmove(n->write_at_us, n->write_at_us + 1, n->write_count * sizeof n->write_at_us[0]);
    }
    if (number != 0)
        sim_raft_node_step(w, node,
                           &(struct raft_event){ .kind = RAFT_EV_WRITTEN, .number = number });
}

/* ---- its state machine ---- */

static void apply(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    uint64_t upto = raft_commit(n->raft);
    n->is_apply_due = false;
    if (n->is_restoring) {
        n->machine = n->restored;
        n->is_restoring = false;
        sim_raft_check_applied(w, node);
        if (w->group != NULL && !w->has_failed)
            sim_group_restore(w, node, n->restored_id);
    } else if (upto <= n->machine.index) {
        return;
    }
    while (n->machine.index < upto && !w->has_failed) {
        const struct raft_entry *e = raft_entry_at(n->raft, n->machine.index + 1);
        raft_machine_apply(&n->machine, e);
        sim_raft_check_applied(w, node);
        if (w->group != NULL && !w->has_failed)
            sim_group_apply(w, node, e);
    }
    sim_raft_node_step(w, node,
                       &(struct raft_event){ .kind = RAFT_EV_APPLIED, .index = n->machine.index });
}

static void apply_later(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    if (n->is_apply_due)
        return;
    n->is_apply_due = true;
    int64_t delay = w->chance.has_slow_apply ? (int64_t)rng_below(&w->rng, 20000) : 0;
    sim_raft_net_later(
        w, delay,
        &(struct sim_raft_act){ .kind = SIM_APPLY, .node = (uint16_t)node, .boot = n->boot });
}

static void restore(struct sim_raft *w, unsigned node, const struct raft_snapshot *s)
{
    struct sim_raft_node *n = &w->nodes[node];
    if (n->is_restoring || n->store.received.index != s->index)
        sim_raft_fail(w, "%u restores another snapshot than it received", node);
    n->restored = n->store.received;
    n->restored_id = s->id;
    n->is_restoring = true;
    n->commit = s->index;
    sim_raft_say(w, "%u restores a snapshot of %d", node, (int)s->index);
    apply_later(w, node);
}

/* ---- snapshots ---- */

bool sim_raft_node_snapshot(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    struct raft_snapshot s = { .index = n->machine.index,
                               .id = rng_u64(&w->rng),
                               .bytes = SNAPSHOT_BYTES };
    if (n->is_restoring || raft_durable(n->raft) < s.index || s.index <= n->store.snapshot.index ||
        s.index < raft_log(n->raft)->base)
        return false;
    raft_config_at(n->raft, s.index, &s);
    raft_store_keep_snapshot(&n->store, &s, &n->machine);
    if (w->group != NULL)
        sim_group_save(w, node, s.id);
    sim_raft_say(w, "%u makes a snapshot of %d", node, (int)s.index);
    sim_raft_node_step(w, node, &(struct raft_event){ .kind = RAFT_EV_SNAPSHOT, .snapshot = s });
    return true;
}

static void read_chunk(struct sim_raft *w, unsigned node, const struct raft_effect *e)
{
    const struct raft_store *s = &w->nodes[node].store;
    struct sim_raft_act act = { .kind = SIM_CHUNK_READ,
                                .node = (uint16_t)node,
                                .boot = w->nodes[node].boot,
                                .chunk = { .node = e->need.node, .snapshot = s->snapshot } };
    bool is_same = e->need.index == s->snapshot.index && e->need.id == s->snapshot.id;
    uint64_t values[2] = { s->machine.index, s->machine.digest };
    act.chunk.offset = is_same ? e->need.offset : 0;
    if (s->snapshot.index != 0)
        act.chunk.bytes = act.chunk.offset == SNAPSHOT_BYTES
                              ? buf_new(0)
                              : buf_copy(slice_of(&values[act.chunk.offset / 8], 8));
    sim_raft_net_later(w, (int64_t)rng_below(&w->rng, 2000), &act);
}

static void take_chunk(struct sim_raft *w, unsigned node, const struct raft_msg *m)
{
    struct sim_raft_node *n = &w->nodes[node];
    const struct raft_msg_install *i = &m->install;
    if (n->taking_index != i->snapshot.index || n->taking_id != i->snapshot.id) {
        n->taking_index = i->snapshot.index;
        n->taking_id = i->snapshot.id;
        n->taking_next = 0;
    }
    if (i->offset == n->taking_next && i->chunk->len_bytes == 8) {
        uint64_t *into = i->offset == 0 ? &n->store.received.index : &n->store.received.digest;
        memcpy(into, i->chunk->data, 8);
        n->taking_next += 8;
    }
    sim_raft_net_later(
        w, (int64_t)rng_below(&w->rng, 2000),
        &(struct sim_raft_act){ .kind = SIM_CHUNK_TAKEN,
                                .node = (uint16_t)node,
                                .boot = n->boot,
                                .taken = { .index = n->taking_index,
                                           .id = n->taking_id,
                                           .next = n->taking_next,
                                           .is_complete = n->taking_next == SNAPSHOT_BYTES } });
}

/* ---- what the core wants ---- */

static void carry_out(struct sim_raft *w, unsigned node, struct raft_effect *e)
{
    switch (e->kind) {
    case RAFT_DO_WRITE:
        write_later(w, node, e->write);
        e->write = NULL;
        return;
    case RAFT_DO_SEND:
        sim_raft_net_send(w, e->msg);
        e->msg = NULL;
        return;
    case RAFT_DO_RESTORE:
        restore(w, node, e->snapshot);
        return;
    case RAFT_DO_COMMIT:
        apply_later(w, node);
        return;
    case RAFT_DO_NEED_CHUNK:
        read_chunk(w, node, e);
        return;
    case RAFT_DO_TAKE_CHUNK:
        take_chunk(w, node, e->msg);
        return;
    case RAFT_DO_NONE:
    case RAFT_DO_ROLE:
    case RAFT_DO_CONFIG:
    case RAFT_DO_ACCEPTED:
    case RAFT_DO_REFUSED:
    case RAFT_DO_LOST:
    case RAFT_DO_READ_READY:
    case RAFT_DO_READ_LOST:
    case RAFT_DO_ALL_APPLIED:
    case RAFT_DO_WHOLE:
        return;
    }
    UNREACHABLE("raft effect");
}

static void step_once(struct sim_raft *w, unsigned node, struct raft_event *ev)
{
    struct sim_raft_node *n = &w->nodes[node];
    ev->now_us = sim_raft_node_clock(w, node);
    sim_raft_check_before(w, node, ev);
    raft_step(n->raft, ev, &n->fx);
    w->report->steps++;
    for (size_t i = 0; i < n->fx.count && !w->has_failed; i++)
        sim_raft_check_effect(w, node, &n->fx.list[i]);
    for (size_t i = 0; i < n->fx.count; i++)
        carry_out(w, node, &n->fx.list[i]);
    raft_effects_clear(&n->fx);
    sim_raft_check_after(w, node, ev);
}

void sim_raft_node_step(struct sim_raft *w, unsigned node, struct raft_event *ev)
{
    if (w->has_failed)
        return;
    ev->has_more = rng_below(&w->rng, 16) == 0;
    bool has_more = ev->has_more;
    step_once(w, node, ev);
    if (has_more && !w->has_failed)
        step_once(w, node, &(struct raft_event){ .kind = RAFT_EV_TIME });
}

/* Who is up, as a driver knows it from the metadata. */
void sim_raft_node_count_all(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    n->counted_count = 0;
    for (unsigned i = 1; i <= SIM_NODES; i++)
        if (w->nodes[i].raft != NULL)
            n->counted[n->counted_count++] = (struct raft_counted){ (uint16_t)i, w->nodes[i].boot };
    sim_raft_node_step(
        w, node,
        &(struct raft_event){ .kind = RAFT_EV_COUNTED,
                              .counted = { .nodes = n->counted, .count = n->counted_count } });
}

/* ---- what was put off ---- */

static void do_act(struct sim_raft *w, const struct sim_raft_act *a)
{
    switch (a->kind) {
    case SIM_DELIVER:
        sim_raft_node_step(w, a->node,
                           &(struct raft_event){ .kind = RAFT_EV_MESSAGE, .msg = a->msg });
        return;
    case SIM_WRITTEN:
        on_written(w, a->node);
        return;
    case SIM_APPLY:
        apply(w, a->node);
        return;
    case SIM_CHUNK_READ:
        sim_raft_node_step(w, a->node,
                           &(struct raft_event){ .kind = RAFT_EV_CHUNK_READ, .chunk = a->chunk });
        return;
    case SIM_CHUNK_TAKEN:
        sim_raft_node_step(w, a->node,
                           &(struct raft_event){ .kind = RAFT_EV_CHUNK_TAKEN, .taken = a->taken });
        return;
    case SIM_OPS:
        sim_group_on_ops(w, a->node, a->chunk.node, a->chunk.bytes);
        return;
    case SIM_GRANT:
        sim_cluster_on_frame(w, a->node, a->chunk.bytes);
        return;
    case SIM_GONE:
        sim_cluster_on_gone(w, a->node, a->chunk.bytes);
        return;
    case SIM_LOOK:
        sim_cluster_look(w, a->node);
        return;
    case SIM_GOSSIP:
        sim_cluster_on_gossip(w, a->node, a->chunk.bytes);
        return;
    case SIM_NOTHING:
        return;
    }
    UNREACHABLE("act");
}

void sim_raft_node_act(struct sim_raft *w, const struct sim_raft_act *act)
{
    const struct sim_raft_node *n = &w->nodes[act->node];
    bool is_message = act->kind == SIM_DELIVER || act->kind == SIM_GRANT || act->kind == SIM_GOSSIP;
    bool is_for_any = is_message && act->boot == 0;
    bool is_void = n->raft == NULL || (!is_for_any && act->boot != n->boot);
    if (!is_void && n->paused_until_us > w->now_us) {
        /* A process that is stopped finds all of it when it goes on, in order. */
        sim_raft_net_later(w, n->paused_until_us - w->now_us, act);
        return;
    }
    if (!is_void)
        do_act(w, act);
    struct sim_raft_act done = *act;
    if (done.msg != NULL) {
        raft_msg_fini(done.msg);
        mem_free(done.msg);
    }
    buf_unref(&done.chunk.bytes);
}
