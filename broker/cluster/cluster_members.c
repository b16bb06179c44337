#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "io/clock.h"

#include <inttypes.h>

#define SAY_AGAIN_MS 1000u

static bool leads(const struct cluster *c)
{
    return c->raft.core != NULL && c->leader == c->identity.node && c->leader != 0;
}

/* ---- who votes: the leader's work, one change at a time ----------------------------------------
 */

/* 0: to whoever is ahead. */
static void hand_over(struct cluster *c, uint16_t to)
{
    uint64_t now_ms = clock_mono_ms();
    if (now_ms - c->handed_over_ms < SAY_AGAIN_MS)
        return;
    c->handed_over_ms = now_ms;
    struct raft_event ev = { .kind = RAFT_EV_TRANSFER, .node = to };
    cluster_raft_step(c, &ev);
}

/* True: a change is under way, and no other may begin. */
static bool change(struct cluster *c, uint16_t node, bool is_removal, enum raft_part part)
{
    static const char *const parts[] = { "", "a learner", "a voter", "a witness" };
    enum raft_refusal why = cluster_raft_change(c, node, is_removal, part);
    if (why == RAFT_REFUSED_NONE)
        log_info("cluster", c->name, "node %u becomes %s", node,
                 is_removal ? "no member any more" : parts[part]);
    return why != RAFT_REFUSED_NOT_CAUGHT_UP && why != RAFT_REFUSED_NO_MAJORITY &&
           why != RAFT_REFUSED_NOTHING && why != RAFT_REFUSED_LAST_VOTER &&
           why != RAFT_REFUSED_NO_ROOM;
}

static bool carry_out(struct cluster *c, const struct steward_wish *wish)
{
    switch (wish->act) {
    case STEWARD_HAND_OVER:
        hand_over(c, 0); /* the next leader does it */
        return true;
    case STEWARD_CHANGE:
        return change(c, wish->node, false, wish->part);
    case STEWARD_REMOVE:
        return change(c, wish->node, true, wish->part);
    }
    UNREACHABLE("wish");
}

static void reconcile(struct cluster *c, uint64_t now_ms)
{
    struct steward_wish wish;
    size_t at = 0;
    if (!leads(c) || c->apply.applied < c->leading_from || cluster_apply_is_behind(c))
        return;
    struct steward s = cluster_steward(c, now_ms);
    while (steward_next(&s, &at, &wish))
        if (carry_out(c, &wish))
            return;
}

/* ---- its own coming and going ------------------------------------------------------------------
 */

static void put_addresses(const struct cluster *c, struct meta_cmd *cmd)
{
    cmd->node.cluster_address = slice_str(c->address);
    cmd->node.amqp_address = slice_str(c->setup.amqp_address);
    cmd->node.management_address = slice_str(c->setup.management_address);
}

static struct meta_cmd own_cmd(const struct cluster *c, enum meta_op op)
{
    struct meta_cmd cmd = { .op = op };
    cmd.node.node = c->identity.node;
    cmd.node.inc = c->inc;
    if (op == META_NODE_UP) {
        put_addresses(c, &cmd);
        cmd.node.mirrors = (uint16_t)c->setup.meta_setup->shard_count;
    }
    return cmd;
}

enum meta_node_type cluster_meta_type(enum broker_node_type type)
{
    switch (type) {
    case BROKER_NODE_DISC:
        return META_NODE_DISC;
    case BROKER_NODE_RAM:
        return META_NODE_RAM;
    case BROKER_NODE_WITNESS:
        return META_NODE_WITNESS;
    }
    UNREACHABLE("type");
}

void cluster_members_fill_add(const struct cluster *c, struct meta_cmd *cmd)
{
    *cmd = (struct meta_cmd){ .op = META_NODE_ADD, .name = slice_str(c->name) };
    cmd->node.type = cluster_meta_type(c->type);
    cmd->node.place = c->place;
    put_addresses(c, cmd);
}

/* The first of its operations. */
void cluster_members_begin(struct cluster *c)
{
    struct meta_cmd cmd = own_cmd(c, META_NODE_UP);
    CHECK(c->propose.last_op == 0);
    cluster_propose_own(c, &cmd);
    c->said_ms = clock_mono_ms();
}

static enum cluster_app app_of(const struct cluster *c)
{
    return c->phase == CLUSTER_READY ? c->app : CLUSTER_APP_STOPPED;
}

bool cluster_app_is_told(const struct cluster *c, const struct meta_node *self)
{
    switch (app_of(c)) {
    case CLUSTER_APP_RUNS:
        return self->state == META_NODE_IS_UP || self->state == META_NODE_IS_UNWELL;
    case CLUSTER_APP_DRAINED:
        return self->state == META_NODE_IS_DRAINING;
    case CLUSTER_APP_STOPPED:
        return !meta_node_is_serving(self);
    }
    UNREACHABLE("application");
}

/* The table is to say what is so: it runs, is drained, or its application is stopped. Whoever was
 * taken for down is up before it is draining again. */
static void look_at_itself(struct cluster *c, uint64_t now_ms)
{
    const struct meta_node *m = meta_node_get(meta_current(c->meta), c->identity.node);
    if (!c->is_ready || m == NULL || cluster_app_is_told(c, m) ||
        now_ms - c->said_ms < SAY_AGAIN_MS)
        return;
    c->said_ms = now_ms;
    bool stops = app_of(c) == CLUSTER_APP_STOPPED;
    bool is_up = m->state == META_NODE_IS_UP || m->state == META_NODE_IS_UNWELL;
    bool drains = app_of(c) == CLUSTER_APP_DRAINED && is_up;
    struct meta_cmd cmd = own_cmd(c, stops    ? META_NODE_STOPPED
                                     : drains ? META_NODE_DRAIN
                                              : META_NODE_UP);
    if (stops || drains)
        cluster_propose_own(c, &cmd);
    else
        cluster_drive_once(c, &cmd); /* a node that is not up has nothing to say for itself */
}

/* Whoever is to be taken away, or does not keep up, does not lead, as long as another voter can
 * that stays. */
static void look_whether_to_lead(struct cluster *c, uint64_t now_ms)
{
    const struct meta_version *v = meta_current(c->meta);
    const struct meta_node *self = meta_node_get(v, c->identity.node);
    const struct cluster_node *best = NULL;
    struct steward s = cluster_steward(c, now_ms);
    bool strains = c->strain.disk_ms >= WARD_STALLED_MS / 2;
    if (!leads(c) || self == NULL ||
        (self->state != META_NODE_IS_DRAINING && self->state != META_NODE_IS_UNWELL && !strains))
        return;
    for (size_t i = 0; i < meta_node_count(v); i++) {
        const struct meta_node *m = meta_node_at(v, i);
        const struct cluster_node *n = cluster_node_find(c, m->node);
        const struct raft_member *member = raft_config_find(raft_config(c->raft.core), m->node);
        if (n != NULL && m->state == META_NODE_IS_UP && steward_is_alive(&s, m) && member != NULL &&
            (!strains || n->strain.disk_ms <= c->strain.disk_ms / WARD_TIMES) &&
            member->part == RAFT_VOTER && (best == NULL || n->applied > best->applied))
            best = n;
    }
    if (best != NULL)
        hand_over(c, best->id);
}

static void become_ready(struct cluster *c)
{
    c->is_ready = true;
    c->phase = CLUSTER_READY;
    cluster_status_changed(c);
    log_info("cluster", c->name, "in the cluster as node %u of %zu index=%" PRIu64,
             c->identity.node, meta_node_count(meta_current(c->meta)), c->apply.applied);
    if (c->was_member)
        cluster_seek_look_at_seeds(c);
    c->was_member = false;
    c->thaw.has_restarted = meta_current(c->meta)->is_frozen;
    c->setup.on_ready(c->setup.arg);
}

static void look_whether_ready(struct cluster *c)
{
    const struct meta_node *m = meta_node_get(meta_current(c->meta), c->identity.node);
    if (!c->is_ready && c->phase == CLUSTER_WAITING && m != NULL && m->inc == c->inc &&
        !cluster_apply_is_behind(c))
        become_ready(c);
}

/* Another node says that the cluster has forgotten this one. */
void cluster_members_disowned(struct cluster *c, const struct cluster_node *by)
{
    if (cluster_orders_disowned(c) || c->is_ready || c->phase == CLUSTER_REMOVED)
        return;
    c->phase = CLUSTER_REMOVED;
    log_error("cluster", c->name,
              "%s says that this node was removed from the cluster: 'warrenctl force_reset' makes "
              "it a new one, which may join again",
              by->name);
    cluster_status_changed(c);
    cluster_wait_told(c); /* somebody has to say that */
}

/* ---- leaving the voters before an orderly stop ---- */

static bool has_left(const struct cluster *c)
{
    const struct raft_config *config = raft_config(c->raft.core);
    const struct raft_member *self = raft_config_find(config, c->identity.node);
    const struct meta_node *m = meta_node_get(meta_current(c->meta), c->identity.node);
    bool votes = self != NULL && self->part != RAFT_LEARNER;
    bool is_told = m == NULL || m->state == META_NODE_IS_STOPPED;
    bool may_vote = raft_config_voters(config) == 1 || meta_current(c->meta)->is_frozen;
    return (!votes || may_vote) && is_told;
}

/* ---- a disc node that is to be a RAM node ---- */

/* Once no vote of its counts, whatever becomes of the leader: from the next start on nothing but
 * its identity is read or kept. Until then it writes what it need not. */
static void look_at_type(struct cluster *c)
{
    const struct meta_node *m = meta_node_get(meta_current(c->meta), c->identity.node);
    const struct raft_member *self = raft_config_find(raft_config(c->raft.core), c->identity.node);
    bool is_agreed = raft_log_config_index(raft_log(c->raft.core)) <= raft_commit(c->raft.core);
    struct err err;
    if (c->identity.is_ram || m == NULL || m->type != META_NODE_RAM || self == NULL ||
        self->part != RAFT_LEARNER || !is_agreed)
        return;
    c->identity.is_ram = true;
    if (!raft_identity_write(c->setup.disk, &c->identity, &err))
        cluster_raft_fail(c, &err);
    else
        log_info("cluster", c->name, "a RAM node from the next start on");
}

static void on_look(void *arg)
{
    struct cluster *c = arg;
    uint64_t now_ms = clock_mono_ms();
    if (c->raft.core == NULL)
        return;
    cluster_first_look(c);
    look_whether_ready(c);
    cluster_watch_look(c, now_ms);
    cluster_arrive_look(c);
    reconcile(c, now_ms);
    look_at_type(c);
    look_at_itself(c, now_ms);
    look_whether_to_lead(c, now_ms);
    cluster_drive_look(c, now_ms);
    cluster_orders_look(c, now_ms);
    cluster_app_look(c);
    if (c->leave_fn != NULL && (c->is_cut_off || has_left(c)))
        cluster_left(c);
}

/* At the turn's end: what was applied, and who is where, may ask for something. */
void cluster_members_look(struct cluster *c)
{
    loop_at_turn_end(c->loop, &c->look);
}

void cluster_members_init(struct cluster *c)
{
    loop_task_init(&c->look, on_look, c);
}

void cluster_members_tick(struct cluster *c, uint64_t now_ms)
{
    cluster_members_look(c);
    if (c->leave_fn != NULL && now_ms - c->leaving_ms > c->leave_within_ms) {
        log_warn("cluster", c->name, "the cluster did not take this node's leave in time");
        cluster_left(c);
    }
}
