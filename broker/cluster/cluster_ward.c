/* Who does not keep up with the others: what a leader proposes about it, and what people are told.
 */
#include "cluster/cluster_inner.h"

#include "base/text.h"
#include "cluster/meta_placement.h"
#include "io/clock.h"

#include <inttypes.h>

void cluster_ward_init(struct cluster *c)
{
    c->ward = ward_new();
}

void cluster_ward_fini(struct cluster *c)
{
    ward_free(&c->ward);
}

void cluster_ward_begin(struct cluster *c)
{
    ward_begin(c->ward);
}

/* ---- what is proposed ---- */

static bool is_judged(const struct meta_node *m)
{
    return m->type != META_NODE_WITNESS &&
           (m->state == META_NODE_IS_UP || m->state == META_NODE_IS_UNWELL);
}

static struct ward_node as_seen(const struct cluster *c, const struct meta_node *m, uint64_t now_ms)
{
    const struct meta_version *v = meta_current(c->meta);
    const struct cluster_node *n = cluster_node_find(c, m->node);
    struct ward_node seen = { .node = m->node,
                              .is_unwell = m->state == META_NODE_IS_UNWELL,
                              .is_due = meta_unwell_is_due(v, m) };
    struct cluster_strain strain = { 0 };
    if (m->node == c->identity.node) {
        strain = c->strain;
        seen.is_heard = true;
    } else if (n != NULL && n->keepalive_ms > c->leading_ms && !n->is_gone) {
        strain = n->strain;
        seen.is_heard = now_ms - n->keepalive_ms < STEWARD_SILENT_MS;
    }
    seen.disk_ms = strain.disk_ms;
    seen.loop_ms = strain.loop_ms;
    return seen;
}

static void say(struct cluster *c, const struct ward_node *n)
{
    const struct meta_node *m = meta_node_get(meta_current(c->meta), n->node);
    struct meta_cmd cmd = { .op = n->word == WARD_WELL ? META_NODE_WELL : META_NODE_UNWELL };
    char room[CLUSTER_NAME_BYTES];
    struct text name = text_over(room, sizeof room);
    text_escaped(&name, m->name);
    if (n->word == WARD_UNWELL && !n->is_unwell)
        log_warn("cluster", c->name,
                 "%s is taken for unwell: it does not keep up with the others disk_ms=%" PRIu32
                 " loop_ms=%" PRIu32,
                 room, n->disk_ms, n->loop_ms);
    cmd.node.node = m->node;
    cmd.node.inc = m->inc;
    cluster_drive_once(c, &cmd);
}

void cluster_ward_tick(struct cluster *c, uint64_t now_ms)
{
    const struct meta_version *v = meta_current(c->meta);
    struct ward_node nodes[META_NODES_MAX];
    size_t count = 0;
    bool leads = c->leader == c->identity.node && c->leader != 0;
    if (c->setup.strain != NULL)
        c->setup.strain(&c->strain, c->setup.arg);
    if (!leads || !c->is_ready || cluster_apply_is_behind(c))
        return;
    for (size_t i = 0; i < meta_node_count(v); i++)
        if (is_judged(meta_node_at(v, i)))
            nodes[count++] = as_seen(c, meta_node_at(v, i), now_ms);
    ward_turn(c->ward, nodes, count, now_ms);
    /* What is said may be agreed upon at once, and the version another one then. */
    for (size_t i = 0; i < count; i++)
        if (nodes[i].word != WARD_NOTHING && meta_node_get(meta_current(c->meta), nodes[i].node))
            say(c, &nodes[i]);
}

/* ---- what came of it ---- */

static bool was_unwell(const struct cluster_unwell *u, uint16_t node)
{
    for (size_t i = 0; i < u->count; i++)
        if (u->nodes[i] == node)
            return true;
    return false;
}

static void tell(struct cluster *c, const struct meta_node *m, bool is_unwell)
{
    char room[CLUSTER_NAME_BYTES];
    struct text name = text_over(room, sizeof room);
    text_escaped(&name, m->name);
    if (is_unwell)
        log_warn("cluster", c->name, "%s does not keep up, the others go on without it", room);
    else if (m->state == META_NODE_IS_UP)
        log_info("cluster", c->name, "%s keeps up again", room);
    c->unwell.times += is_unwell;
}

void cluster_ward_shown(struct cluster *c, const struct meta_effect *effects, size_t count)
{
    const struct meta_version *v = meta_current(c->meta);
    struct cluster_unwell now = { .times = 0 };
    bool has_changed = false;
    for (size_t i = 0; i < count; i++)
        has_changed = has_changed || effects[i].kind == META_NODES_CHANGED;
    if (!has_changed)
        return;
    for (size_t i = 0; i < meta_node_count(v); i++) {
        const struct meta_node *m = meta_node_at(v, i);
        bool is = m->state == META_NODE_IS_UNWELL, was = was_unwell(&c->unwell, m->node);
        if (is != was)
            tell(c, m, is);
        if (is)
            now.nodes[now.count++] = m->node;
    }
    now.times = c->unwell.times;
    c->unwell = now;
}
