#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>

#define EFFECTS_KEPT_MAX ((size_t)1024) /* room for more is given back */
#define TURN_ENTRIES     512u           /* applied before others have their turn */
#define TURN_BYTES       ((size_t)512 * 1024)

static void on_more(void *arg);
static void on_turn_end(void *arg);

void cluster_apply_init(struct cluster *c)
{
    struct cluster_apply *a = &c->apply;
    meta_result_init(&a->result);
    loop_task_init(&a->more, on_more, c);
    loop_task_init(&a->turn_end, on_turn_end, c);
}

/* ---- effects ---- */

/* The entry may be gone when they are carried out. */
static void keep_effects(struct cluster_apply *a)
{
    size_t more = a->result.effect_count;
    if (a->effect_count + more > a->effect_cap) {
        a->effect_cap = (a->effect_count + more) * 2;
        a->effects = mem_realloc(a->effects, a->effect_cap * sizeof *a->effects);
    }
    for (size_t i = 0; i < more; i++) {
        struct meta_effect *e = &a->effects[a->effect_count++];
        *e = a->result.effects[i];
        if (e->name.len != 0)
            e->name.ptr = mem_dup(e->name.ptr, e->name.len);
    }
}

/* One that is told more than once is told once, but for others in between. */
static void tell_moves(struct cluster *c, uint64_t index)
{
    const struct cluster_apply *a = &c->apply;
    uint16_t from = 0, to = 0;
    for (size_t i = 0; i < a->result.effect_count; i++) {
        const struct meta_effect *e = &a->result.effects[i];
        bool is_placed = e->kind == META_QUEUE_PLACED || e->kind == META_COHORT_PLACED;
        if (!is_placed || e->node == e->node_was || (e->node_was == from && e->node == to))
            continue;
        from = e->node_was;
        to = e->node;
        cluster_grants_moved(c, from, to, index);
    }
}

static void drop_effects(struct cluster_apply *a)
{
    for (size_t i = 0; i < a->effect_count; i++)
        if (a->effects[i].name.len != 0)
            mem_free((void *)(uintptr_t)a->effects[i].name.ptr);
    a->effect_count = 0;
    if (a->effect_cap > EFFECTS_KEPT_MAX) {
        mem_free(a->effects);
        a->effects = NULL;
        a->effect_cap = 0;
    }
}

void cluster_apply_fini(struct cluster *c)
{
    struct cluster_apply *a = &c->apply;
    loop_task_cancel(c->loop, &a->more);
    loop_task_cancel(c->loop, &a->turn_end);
    drop_effects(a);
    mem_free(a->effects);
    a->effects = NULL;
    meta_result_fini(&a->result);
}

/* ---- showing ---- */

static bool nodes_have_changed(const struct cluster_apply *a)
{
    for (size_t i = 0; i < a->effect_count; i++)
        if (a->effects[i].kind == META_NODES_CHANGED)
            return true;
    return false;
}

/* What was applied becomes what readers see, and the shards hear of it. */
static void show(struct cluster *c)
{
    struct cluster_apply *a = &c->apply;
    bool nodes = nodes_have_changed(a);
    if (a->carries_out)
        c->setup.before_show(a->effects, a->effect_count, c->setup.arg);
    meta_publish(c->meta);
    if (a->carries_out)
        c->setup.after_show(a->effects, a->effect_count, c->setup.arg);
    cluster_ward_shown(c, a->effects, a->effect_count);
    cluster_plan_shown(c, a->effects, a->effect_count);
    drop_effects(a);
    if (nodes)
        cluster_nodes_changed(c);
}

/* ---- applying ---- */

static void apply_envelope(struct cluster *c, uint64_t index, const struct meta_envelope *e)
{
    struct cluster_apply *a = &c->apply;
    enum meta_applied applied = meta_apply_entry(c->meta, index, e, &a->result);
    if (applied != META_APPLIED)
        return;
    keep_effects(a);
    tell_moves(c, index);
    if (e->node == c->identity.node && e->inc == c->inc && e->node != 0)
        cluster_propose_applied(c, e->op, index, &a->result);
}

/* All nodes skip the same octets of an entry that none of them understands. */
static void apply_command(struct cluster *c, const struct raft_entry *entry)
{
    struct wire w = wire_over(raft_entry_slice(entry));
    while (wire_left(&w) != 0) {
        struct meta_envelope e;
        if (!meta_envelope_take(&w, &e)) {
            log_error(
                "cluster", c->name,
                "an entry that was agreed upon is not understood, and left out index=%" PRIu64,
                entry->index);
            return;
        }
        apply_envelope(c, entry->index, &e);
    }
}

/* The others may be ahead of this node's disk, and stay so for as long as there is something to do.
 * A snapshot is of what is on the disk: while one is wanted, what is applied waits for that. */
static uint64_t limit(const struct cluster *c)
{
    const struct cluster_apply *a = &c->apply;
    uint64_t durable = raft_durable(c->raft.core);
    if (durable >= a->committed || !cluster_raft_wants_snapshot(c))
        return a->committed;
    return durable > a->applied ? durable : a->applied;
}

static void apply_some(struct cluster *c)
{
    struct cluster_apply *a = &c->apply;
    uint64_t until = limit(c);
    size_t bytes = 0;
    for (unsigned n = 0; n < TURN_ENTRIES && bytes < TURN_BYTES && a->applied < until; n++) {
        const struct raft_entry *e = raft_entry_at(c->raft.core, a->applied + 1);
        if (e->kind == RAFT_COMMAND)
            apply_command(c, e);
        bytes += raft_entry_slice(e).len;
        a->applied++;
        if (a->applied % CLUSTER_CHECK_EVERY == 0 && c->setup.on_checked != NULL)
            c->setup.on_checked(a->applied, meta_checksum(c->meta), c->setup.arg);
    }
    show(c);
    cluster_grants_applied(c, a->applied, false);
    struct raft_event ev = { .kind = RAFT_EV_APPLIED, .index = a->applied };
    cluster_raft_step(c, &ev);
    cluster_propose_answer(c);
    cluster_raft_look_at_snapshot(c);
    a->awaits_disk = a->applied < a->committed && a->applied == limit(c);
    if (a->applied == a->committed)
        cluster_members_look(c);
    else if (!a->awaits_disk)
        loop_again(c->loop, &a->more);
}

static void on_more(void *arg)
{
    struct cluster *c = arg;
    if (c->raft.core != NULL && !c->raft.is_restoring && c->apply.applied < c->apply.committed)
        apply_some(c);
}

/* Behind what the links had been given before, and which their streams send at the end of this turn
 * in tasks that come into being there: the others apply while this node does, and not after it. */
static void on_turn_end(void *arg)
{
    struct cluster *c = arg;
    struct cluster_apply *a = &c->apply;
    a->is_behind_sends = !a->is_behind_sends;
    if (a->is_behind_sends)
        loop_at_turn_end(c->loop, &a->turn_end);
    else
        on_more(c);
}

void cluster_apply_committed(struct cluster *c, uint64_t index)
{
    struct cluster_apply *a = &c->apply;
    CHECK(index >= a->committed);
    bool is_at_it = a->applied < a->committed || c->raft.is_restoring;
    a->committed = index;
    if (!is_at_it)
        loop_at_turn_end(c->loop, &a->turn_end);
}

void cluster_apply_on_written(struct cluster *c)
{
    if (c->apply.awaits_disk)
        loop_again(c->loop, &c->apply.more);
}

bool cluster_apply_is_behind(const struct cluster *c)
{
    return c->apply.applied < c->apply.committed;
}

void cluster_apply_all(struct cluster *c, uint64_t index)
{
    c->apply.all_applied = index;
    cluster_propose_answer(c);
}

/* ---- the whole state at once ---- */

void cluster_apply_replace(struct cluster *c, struct meta **fresh, bool is_foreign)
{
    struct cluster_apply *a = &c->apply;
    CHECK(a->effect_count == 0);
    meta_publish(c->meta); /* this node may have got another number since */
    meta_compare(meta_current(c->meta), *fresh, is_foreign, &a->result);
    keep_effects(a);
    tell_moves(c, meta_index(*fresh));
    meta_replace(c->meta, fresh);
    show(c);
    cluster_nodes_changed(c);
}

void cluster_apply_restored(struct cluster *c, uint64_t index)
{
    struct cluster_apply *a = &c->apply;
    a->applied = index;
    a->awaits_disk = false;
    if (a->committed < index)
        a->committed = index;
    cluster_grants_applied(c, index, true);
    struct raft_event ev = { .kind = RAFT_EV_APPLIED, .index = index };
    cluster_raft_step(c, &ev);
    cluster_propose_skipped(c);
    if (a->applied < a->committed)
        loop_again(c->loop, &a->more);
    else
        cluster_members_look(c);
}
