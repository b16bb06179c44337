#include "cluster/steward.h"

#include "base/mutation.h"

/* ---- who is there ---- */

bool steward_is_alive(const struct steward *s, const struct meta_node *m)
{
    struct steward_peer p;
    if (m->node == s->self)
        return true;
    return s->peer(s->arg, m->node, &p) && !p.is_gone && s->now_ms - p.heard_ms < STEWARD_SILENT_MS;
}

static bool is_leaving(const struct steward *s, const struct meta_node *m)
{
    struct steward_peer p;
    if (m->node == s->self)
        return s->is_leaving;
    return s->peer(s->arg, m->node, &p) && p.is_leaving;
}

/* To this leader, which has not listened for longer than it leads. */
static bool is_silent(const struct steward *s, const struct steward_peer *p)
{
    uint64_t heard_ms = p->heard_ms > s->leading_ms ? p->heard_ms : s->leading_ms;
    return s->now_ms - heard_ms > STEWARD_SILENT_MS;
}

const char *steward_is_down(const struct steward *s, const struct meta_node *m)
{
    struct steward_peer p;
    if (m->node == s->self || !meta_node_is_serving(m) || !s->peer(s->arg, m->node, &p))
        return NULL;
    if (p.is_gone)
        return "its link broke, and nothing listens on its port";
    if (is_silent(s, &p))
        return "it has not been heard of for a second";
    return NULL;
}

/* ---- who may come up ---- */

static bool is_awaited(const struct steward *s, const struct meta_node *m)
{
    struct steward_peer p;
    return m->node != s->self && m->type != META_NODE_WITNESS && meta_node_is_serving(m) &&
           s->peer(s->arg, m->node, &p) && p.heard_ms <= s->leading_ms;
}

/* A node that was never up has nothing that could be struck. */
static bool is_new_process(const struct steward *s, const struct meta_cmd *cmd)
{
    const struct meta_node *m = meta_node_get(s->version, cmd->node.node);
    return cmd->op == META_NODE_UP && m != NULL && m->inc != 0 && cmd->node.inc > m->inc;
}

bool steward_admits(const struct steward *s, const struct meta_cmd *cmd)
{
    const struct meta_version *v = s->version;
    if (v->placed.count == 0 || !is_new_process(s, cmd) || MUTATION(CLUSTER_UP_AT_ONCE))
        return true;
    for (size_t i = 0; i < meta_node_count(v); i++)
        if (meta_node_at(v, i)->node != cmd->node.node && is_awaited(s, meta_node_at(v, i)))
            return false;
    return true;
}

/* ---- after all were stopped ---- */

static bool is_somebody_stopped(const struct meta_version *v)
{
    for (size_t i = 0; i < meta_node_count(v); i++)
        if (meta_node_at(v, i)->state == META_NODE_IS_STOPPED)
            return true;
    return false;
}

/* What was stopped goes on when all are there again, or after a while without the others; and who
 * kept its place then is struck when that is of use. */
bool steward_thaws(const struct steward *s, const struct steward_frost *f)
{
    if (MUTATION(CLUSTER_STAYS_FROZEN))
        return false;
    if (!s->version->is_frozen)
        return f->for_ms >= f->grace_ms && meta_thaw_is_due(s->version);
    if (!f->has_restarted)
        return f->for_ms >= STEWARD_FROZEN_MS;
    return f->for_ms >= f->grace_ms || !is_somebody_stopped(s->version);
}

/* ---- who has which part ---- */

/* It counts as stopped, and is not there: a new leader may be one of several that come back, and
 * waits for the others to say so. */
static bool stays_away(const struct steward *s, const struct meta_node *m)
{
    struct steward_peer p;
    bool is_stopped = m->node != s->self && m->state == META_NODE_IS_STOPPED;
    return is_stopped && (!s->peer(s->arg, m->node, &p) || p.is_gone || is_silent(s, &p));
}

/* The part that a node is to have, when it now has `part`. A voter that is down stays one: it may
 * hold what the others need. Who stops in an orderly way does not, as long as another one votes;
 * but when all stop, any majority of them may be the first to come back. Its own vote may be what
 * gives its masters away: it has it until that is agreed. */
static enum raft_part part_of(const struct steward *s, const struct meta_node *m,
                              enum raft_part part)
{
    enum raft_part vote = m->type == META_NODE_WITNESS ? RAFT_WITNESS : RAFT_VOTER;
    uint32_t voters = raft_config_voters(s->config);
    if (m->type == META_NODE_RAM)
        return RAFT_LEARNER;
    if (part != RAFT_LEARNER) {
        bool has_stopped = is_leaving(s, m) && !meta_node_is_serving(m);
        bool goes = has_stopped || stays_away(s, m);
        return goes && voters > 1 && !s->version->is_frozen ? RAFT_LEARNER : vote;
    }
    bool may = meta_node_is_serving(m) && !is_leaving(s, m) && steward_is_alive(s, m) &&
               voters < STEWARD_VOTERS_MAX;
    return may ? vote : RAFT_LEARNER;
}

static bool wish_for(const struct steward *s, const struct meta_node *m, struct steward_wish *out)
{
    const struct raft_member *member = raft_config_find(s->config, m->node);
    *out = (struct steward_wish){ STEWARD_CHANGE, m->node, RAFT_LEARNER };
    if (member == NULL)
        return true;
    out->part = part_of(s, m, member->part);
    if (m->node == s->self && out->part == RAFT_LEARNER)
        out->act = STEWARD_HAND_OVER;
    return out->part != member->part;
}

static bool wish_for_stranger(const struct steward *s, uint16_t node, struct steward_wish *out)
{
    bool is_self = node == s->self && raft_config_voters(s->config) > 1;
    *out =
        (struct steward_wish){ is_self ? STEWARD_HAND_OVER : STEWARD_REMOVE, node, RAFT_LEARNER };
    return meta_node_get(s->version, node) == NULL;
}

/* Those first that the node table has no more. */
bool steward_next(const struct steward *s, size_t *at, struct steward_wish *out)
{
    size_t members = s->config->count, nodes = meta_node_count(s->version);
    if (nodes == 0)
        return false;
    while (*at < members + nodes) {
        size_t i = (*at)++;
        if (i < members ? wish_for_stranger(s, s->config->members[i].node, out)
                        : wish_for(s, meta_node_at(s->version, i - members), out))
            return true;
    }
    return false;
}
