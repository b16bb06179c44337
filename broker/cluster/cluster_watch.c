#include "cluster/cluster_inner.h"

#include "base/log.h"
#include "base/text.h"
#include "io/clock.h"

#include <inttypes.h>
#include <stdio.h>

#define SAY_DOWN_AGAIN_MS 500u

/* ---- voters, for people ---- */

static const char *name_of(const struct cluster *c, uint16_t id, char room[CLUSTER_NAME_BYTES])
{
    const struct meta_node *m = meta_node_get(meta_current(c->meta), id);
    const struct cluster_node *n = cluster_node_find(c, id);
    struct text t = text_over(room, CLUSTER_NAME_BYTES);
    if (id == c->identity.node)
        text_str(&t, c->name);
    else if (m != NULL)
        text_slice(&t, m->name);
    else if (n != NULL && n->name[0] != '\0')
        text_str(&t, n->name);
    else
        text_put(&t, "node %u", id);
    return room;
}

static unsigned put_some(const struct cluster *c, struct text *t, bool linked)
{
    const struct raft_config *config = raft_config(c->raft.core);
    char room[CLUSTER_NAME_BYTES];
    unsigned count = 0;
    for (uint32_t i = 0; i < config->count; i++) {
        uint16_t id = config->members[i].node;
        if (config->members[i].part == RAFT_LEARNER || cluster_links_is_linked(c, id) != linked)
            continue;
        text_str(t, count++ != 0 ? ", " : "");
        text_str(t, name_of(c, id, room));
    }
    return count;
}

void cluster_put_voters(const struct cluster *c, struct text *t)
{
    if (c->raft.core == NULL || raft_config(c->raft.core)->count == 0) {
        text_str(t, "it has not heard from its cluster yet");
        return;
    }
    text_str(t, "voters reached: ");
    if (put_some(c, t, true) == 0)
        text_str(t, "none");
    text_str(t, "; missing: ");
    if (put_some(c, t, false) == 0)
        text_str(t, "none, an election is under way");
}

/* Who has heard nothing from its cluster yet knows by name whom it has met before. */
static unsigned put_known(const struct cluster *c, struct text *t)
{
    const struct cluster_node *n;
    char room[CLUSTER_NAME_BYTES];
    unsigned count = 0;
    TAILQ_FOREACH (n, &c->links.nodes, entry) {
        if (cluster_links_is_linked(c, n->id))
            continue;
        text_str(t, count++ != 0 ? ", " : "");
        text_str(t, name_of(c, n->id, room));
    }
    return count;
}

void cluster_put_missing(const struct cluster *c, struct text *t)
{
    bool is_told = c->raft.core != NULL && raft_config(c->raft.core)->count != 0;
    if ((is_told ? put_some(c, t, false) : put_known(c, t)) == 0)
        text_str(t, "a leader of the cluster");
}

/* ---- other nodes, as their leader sees them ---- */

static void say_down(struct cluster *c, struct cluster_node *n, const struct meta_node *m,
                     const char *why)
{
    uint64_t now_ms = clock_mono_ms();
    if (n->said_down_inc == m->inc && now_ms - n->said_down_ms < SAY_DOWN_AGAIN_MS)
        return;
    n->said_down_inc = m->inc;
    n->said_down_ms = now_ms;
    log_warn("cluster", c->name, "%s is taken for down: %s", n->name, why);
    struct meta_cmd cmd = { .op = META_NODE_DOWN };
    cmd.node.node = m->node;
    cmd.node.inc = m->inc;
    cluster_drive_once(c, &cmd);
}

static bool leads(const struct cluster *c)
{
    return c->raft.core != NULL && c->leader == c->identity.node && c->leader != 0;
}

static bool peer(const void *arg, uint16_t node, struct steward_peer *out)
{
    const struct cluster_node *n = cluster_node_find(arg, node);
    if (n != NULL)
        *out = (struct steward_peer){ .heard_ms = n->keepalive_ms,
                                      .is_leaving = n->is_leaving,
                                      .is_gone = n->is_gone };
    return n != NULL;
}

struct steward cluster_steward(const struct cluster *c, uint64_t now_ms)
{
    return (struct steward){ .version = meta_current(c->meta),
                             .config = raft_config(c->raft.core),
                             .self = c->identity.node,
                             .is_leaving = c->phase == CLUSTER_LEAVING,
                             .leading_ms = c->leading_ms,
                             .now_ms = now_ms,
                             .peer = peer,
                             .arg = c };
}

/* One whose part of the consensus has failed hears nobody any more, and can say nothing of them. */
static bool may_judge(const struct cluster *c)
{
    return leads(c) && !c->raft.has_failed;
}

/* What is said here may apply an entry at once: then the rest is looked at again. */
void cluster_watch_look(struct cluster *c, uint64_t now_ms)
{
    const struct meta_version *v = meta_current(c->meta);
    for (size_t i = 0; may_judge(c) && v == meta_current(c->meta) && i < meta_node_count(v); i++) {
        struct steward s = cluster_steward(c, now_ms);
        const struct meta_node *m = meta_node_at(v, i);
        const char *why = steward_is_down(&s, m);
        if (why != NULL)
            say_down(c, cluster_node_find(c, m->node), m, why);
    }
}

/* ---- itself ---- */

void cluster_watch_leader_changed(struct cluster *c, bool was_leader)
{
    char room[CLUSTER_NAME_BYTES];
    if (leads(c)) {
        c->leading_ms = clock_mono_ms();
        c->leading_from = raft_last(c->raft.core);
        cluster_plan_look(c);
        cluster_ward_begin(c);
        log_info("cluster", c->name, "this node leads the cluster term=%" PRIu64, c->term);
    } else if (c->leader != 0) {
        log_info("cluster", c->name, "%s leads the cluster term=%" PRIu64,
                 name_of(c, c->leader, room), c->term);
    } else {
        log_info("cluster", c->name, "%s term=%" PRIu64,
                 was_leader ? "this node does not lead the cluster any more"
                            : "no leader of the cluster is known",
                 c->term);
    }
    if (c->leader != 0 && c->is_cut_off) {
        c->is_cut_off = false;
        log_info("cluster", c->name, "the metadata can be changed again");
    }
    if (c->leader != 0 && !leads(c))
        cluster_links_send_keepalive(c, c->leader);
}

/* Links to a majority of the voters, itself among them: they can elect a leader. */
static bool sees_majority(const struct cluster *c)
{
    if (c->raft.core == NULL)
        return false;
    const struct raft_config *config = raft_config(c->raft.core);
    unsigned voters = 0, linked = 0;
    for (uint32_t i = 0; i < config->count; i++) {
        if (config->members[i].part == RAFT_LEARNER)
            continue;
        voters++;
        linked += cluster_links_is_linked(c, config->members[i].node);
    }
    return 2 * linked > voters;
}

/* An election takes longer than two of its timeouts where the machines are busy, and what is asked
 * for meanwhile waits, as long as anybody waits for the cluster at all. */
static void look_at_itself(struct cluster *c, uint64_t now_ms)
{
    char room[CLUSTER_TEXT_BYTES];
    if (c->is_cut_off || c->leaderless_ms == 0)
        return;
    uint64_t least_ms = sees_majority(c) ? CLUSTER_UNKNOWN_MS : CLUSTER_CUT_OFF_MS;
    if (now_ms - c->leaderless_ms < least_ms)
        return;
    c->is_cut_off = true;
    struct text t = text_over(room, sizeof room);
    cluster_put_voters(c, &t);
    if (c->is_ready)
        log_warn("cluster", c->name, "no majority, the metadata cannot be changed; %s", room);
    cluster_status_changed(c);
}

void cluster_watch_tick(struct cluster *c, uint64_t now_ms)
{
    if (c->leader != 0 && !leads(c))
        cluster_links_send_keepalive(c, c->leader);
    look_at_itself(c, now_ms);
}
