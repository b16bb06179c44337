/* Where mirrors ought to be: what a leader proposes about it, some queues at a time. And what
 * became of masters, for people. */
#include "cluster/cluster_inner.h"

#include "base/text.h"

#include <inttypes.h>

#define APPLIED_WAIT_MS 2000u /* for what was proposed; then it came to nothing */

void cluster_plan_init(struct cluster *c)
{
    c->plan.mirrors = mirror_plan_new(NULL, NULL);
}

void cluster_plan_fini(struct cluster *c)
{
    mirror_plan_free(&c->plan.mirrors);
}

void cluster_plan_look(struct cluster *c)
{
    mirror_plan_look(c->plan.mirrors);
}

/* ---- what became of masters ---- */

static void put_node(struct text *t, const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = meta_node_get(v, node);
    if (n != NULL)
        text_escaped(t, n->name);
    else
        text_put(t, "node %u", (unsigned)node);
}

static void put_queues(struct text *t, const struct meta_effect *e)
{
    if (e->kind == META_COHORT_PLACED) {
        text_put(t, "%" PRIu64 " queues", e->count);
        return;
    }
    text_str(t, "the queue '");
    text_escaped(t, meta_queue_name(e->queue));
    text_char(t, '\'');
}

/* To promote somebody who was not in sync is to lose what he lacks: that is never silent. */
static void tell_of_master(const struct cluster *c, const struct meta_effect *e)
{
    const struct meta_version *v = meta_current(c->meta);
    char room[CLUSTER_TEXT_BYTES];
    struct text t = text_over(room, sizeof room);
    bool moved = e->node != e->node_was;
    put_queues(&t, e);
    if (moved) {
        text_str(&t, " moved from ");
        put_node(&t, v, e->node_was);
        text_str(&t, " to ");
    } else {
        text_str(&t, " began anew on ");
    }
    put_node(&t, v, e->node);
    if ((e->how & META_HOW_FORCED) != 0)
        log_error("cluster", c->name,
                  "%s, which was not in sync: messages that it lacks are lost epoch=%" PRIu64, room,
                  e->index);
    else
        log_info("cluster", c->name, "%s epoch=%" PRIu64, room, e->index);
}

void cluster_plan_shown(struct cluster *c, const struct meta_effect *effects, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct meta_effect *e = &effects[i];
        bool is_placed = e->kind == META_QUEUE_PLACED || e->kind == META_COHORT_PLACED;
        if (e->kind == META_POLICIES_CHANGED || e->kind == META_NODES_CHANGED)
            cluster_plan_look(c);
        if (is_placed && (e->how & META_HOW_MASTER) != 0 && e->index != 0)
            tell_of_master(c, e);
    }
}

/* ---- what is proposed ---- */

/* A plan is made on a version that shows what came of the last one. */
static bool shows_the_last(const struct cluster *c, uint64_t now_ms)
{
    return c->apply.applied >= c->plan.index || now_ms - c->plan.sent_ms > APPLIED_WAIT_MS;
}

void cluster_plan_tick(struct cluster *c, uint64_t now_ms)
{
    struct cluster_plan *p = &c->plan;
    bool leads = c->leader == c->identity.node && c->leader != 0;
    if (!leads || !c->is_ready || cluster_apply_is_behind(c) || !shows_the_last(c, now_ms) ||
        !mirror_plan_is_due(p->mirrors, now_ms))
        return;
    size_t count;
    const struct meta_cmd *cmds =
        mirror_plan_turn(p->mirrors, meta_current(c->meta), now_ms, &count);
    for (size_t i = 0; i < count; i++)
        cluster_drive_once(c, &cmds[i]);
    if (count != 0) {
        p->index = raft_last(c->raft.core);
        p->sent_ms = now_ms;
    }
}
