/* Where mirrors ought to be: what a leader proposes about it, some queues at a time. And what
 * became of masters, for people. */
#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/pattern.h"
#include "base/text.h"
#include "io/clock.h"

#include <inttypes.h>

#define ASKED_WAIT_MS   20000u /* whoever has asked hears that it goes on */
#define APPLIED_WAIT_MS 2000u  /* for what was proposed; then it came to nothing */

void cluster_plan_init(struct cluster *c)
{
    c->plan.mirrors = mirror_plan_new(NULL, NULL);
    c->plan.balance = rebalance_plan_new();
    rebalance_plan_set_automatic(c->plan.balance, c->conf->cluster.rebalances);
}

void cluster_plan_fini(struct cluster *c)
{
    CHECK(c->plan.asked == NULL);
    mirror_plan_free(&c->plan.mirrors);
    rebalance_plan_free(&c->plan.balance);
    pattern_free(&c->plan.names);
}

void cluster_plan_look(struct cluster *c)
{
    mirror_plan_look(c->plan.mirrors);
}

/* ---- what became of masters ---- */

#define NAMES_TOLD 3u

/* Queues that an entry gave from one node to another, of what is shown at a time. */
struct moved {
    uint64_t index;
    uint64_t count;
    uint16_t from, to; /* the same: it begins anew there */
    bool is_forced;
    unsigned named;
    struct text names;
    char room[CLUSTER_TEXT_BYTES];
};

static void put_node(struct text *t, const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = meta_node_get(v, node);
    if (n != NULL)
        text_escaped(t, n->name);
    else
        text_put(t, "node %u", (unsigned)node);
}

static bool put_name(void *arg, const struct meta_queue *q)
{
    struct moved *m = arg;
    text_str(&m->names, m->named++ == 0 ? "'" : ", '");
    text_escaped(&m->names, meta_queue_name(q));
    text_char(&m->names, '\'');
    return m->named < NAMES_TOLD;
}

static void put_some_names(struct moved *m, const struct meta_version *v, uint32_t cohort)
{
    for (unsigned part = 0; part < META_PARTS && m->named < NAMES_TOLD; part++)
        (void)meta_cohort_each(v, cohort, part, put_name, m);
}

/* How long nothing has been heard of who had them; ourselves we always hear. */
static uint64_t silent_ms(const struct cluster *c, uint16_t node)
{
    const struct cluster_node *n = cluster_node_find(c, node);
    uint64_t now_ms = clock_mono_ms();
    return n != NULL && n->heard_ms != 0 && n->heard_ms < now_ms ? now_ms - n->heard_ms : 0;
}

static void count_moved(struct cluster *c, const struct moved *m)
{
    if (m->from == m->to)
        return;
    c->plan.move_count++;
    c->plan.moved_count += m->count;
}

/* To promote somebody who was not in sync is to lose what he lacks: that is never silent. */
static void tell_moved(struct cluster *c, const struct moved *m)
{
    count_moved(c, m);
    const struct meta_version *v = meta_current(c->meta);
    char room[CLUSTER_TEXT_BYTES];
    struct text t = text_over(room, sizeof room);
    text_put(&t, "%" PRIu64 " queue%s %s ", m->count, m->count == 1 ? "" : "s",
             m->from != m->to ? "moved from" : "began anew on");
    put_node(&t, v, m->from);
    if (m->from != m->to) {
        text_str(&t, " to ");
        put_node(&t, v, m->to);
    }
    const char *more = m->count > m->named ? ", ..." : "";
    if (m->is_forced)
        log_error("cluster", c->name,
                  "%s, which was not in sync: messages that it lacks are lost: %s%s epoch=%" PRIu64
                  " silent_ms=%" PRIu64,
                  room, m->room, more, m->index, silent_ms(c, m->from));
    else
        log_info("cluster", c->name, "%s: %s%s epoch=%" PRIu64 " silent_ms=%" PRIu64, room, m->room,
                 more, m->index, silent_ms(c, m->from));
}

static bool is_of(const struct moved *m, const struct meta_effect *e)
{
    return m->index == e->index && m->from == e->node_was && m->to == e->node &&
           m->is_forced == ((e->how & META_HOW_FORCED) != 0);
}

static void add_moved(struct moved *m, const struct meta_version *v, const struct meta_effect *e)
{
    bool is_one = e->kind == META_QUEUE_PLACED;
    m->count += is_one ? 1 : e->count;
    if (!is_one)
        put_some_names(m, v, e->cohort);
    else if (m->named < NAMES_TOLD)
        (void)put_name(m, e->queue);
}

static bool is_move(const struct meta_effect *e)
{
    return (e->kind == META_QUEUE_PLACED || e->kind == META_COHORT_PLACED) &&
           (e->how & META_HOW_MASTER) != 0 && e->index != 0;
}

/* All that one entry did between two nodes is one line, as long as nothing else comes between. */
static void tell_of_masters(struct cluster *c, const struct meta_effect *effects, size_t count)
{
    const struct meta_version *v = meta_current(c->meta);
    struct moved m = { 0 };
    for (size_t i = 0; i < count; i++) {
        const struct meta_effect *e = &effects[i];
        if (!is_move(e))
            continue;
        if (m.count != 0 && !is_of(&m, e)) {
            tell_moved(c, &m);
            m.count = 0;
        }
        if (m.count == 0) {
            m = (struct moved){ .index = e->index,
                                .from = e->node_was,
                                .to = e->node,
                                .is_forced = (e->how & META_HOW_FORCED) != 0 };
            m.names = text_over(m.room, sizeof m.room);
        }
        add_moved(&m, v, e);
    }
    if (m.count != 0)
        tell_moved(c, &m);
}

void cluster_plan_shown(struct cluster *c, const struct meta_effect *effects, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (effects[i].kind == META_POLICIES_CHANGED || effects[i].kind == META_NODES_CHANGED)
            cluster_plan_look(c);
    tell_of_masters(c, effects, count);
}

/* ---- what is proposed ---- */

/* A plan is made on a version that shows what came of the last one. */
static bool shows_the_last(const struct cluster *c, uint64_t now_ms)
{
    return c->apply.applied >= c->plan.index || now_ms - c->plan.sent_ms > APPLIED_WAIT_MS;
}

static void sent(struct cluster *c, uint64_t now_ms)
{
    c->plan.index = raft_last(c->raft.core);
    c->plan.sent_ms = now_ms;
}

/* True: something was proposed. */
static bool plan_mirrors(struct cluster *c, uint64_t now_ms)
{
    struct mirror_plan *p = c->plan.mirrors;
    size_t count;
    if (!mirror_plan_is_due(p, now_ms))
        return false;
    const struct meta_cmd *cmds = mirror_plan_turn(p, meta_current(c->meta), now_ms, &count);
    for (size_t i = 0; i < count; i++)
        cluster_drive_once(c, &cmds[i]);
    return count != 0;
}

static bool plan_balance(struct cluster *c, uint64_t now_ms)
{
    const struct meta_cmd *cmd =
        rebalance_plan_turn(c->plan.balance, meta_current(c->meta), now_ms);
    if (cmd != NULL)
        cluster_drive_once(c, cmd);
    return cmd != NULL;
}

static void answer_asked(struct cluster *c, const char *why)
{
    struct cluster_ask *a = c->plan.asked;
    c->plan.asked = NULL;
    if (a == NULL)
        return;
    a->is_under_way = rebalance_plan_is_busy(c->plan.balance);
    if (why != NULL)
        err_set(&a->err, ERR_REFUSED, "%s", why);
    cluster_answer(a, why == NULL);
}

void cluster_plan_stop(struct cluster *c)
{
    answer_asked(c, "the node stops");
}

void cluster_plan_tick(struct cluster *c, uint64_t now_ms)
{
    bool leads = c->leader == c->identity.node && c->leader != 0;
    if (!leads)
        answer_asked(c, "another node leads the cluster since, and nothing more is moved");
    if (!leads || !c->is_ready || cluster_apply_is_behind(c) || !shows_the_last(c, now_ms))
        return;
    if (plan_mirrors(c, now_ms) || plan_balance(c, now_ms))
        sent(c, now_ms);
    if (!rebalance_plan_is_busy(c->plan.balance) || now_ms - c->plan.asked_ms > ASKED_WAIT_MS)
        answer_asked(c, NULL);
}

void cluster_plan_rebalance(struct cluster *c, struct cluster_ask *a)
{
    struct pattern_error why;
    struct slice text = slice_str(a->target);
    struct pattern *names = text.len != 0 ? pattern_new(text, &why) : NULL;
    if (text.len != 0 && names == NULL) {
        err_set(&a->err, ERR_RESOLVE, "'%s' is no pattern: %s", a->target, why.text);
        cluster_answer(a, false);
    } else if (c->leader != c->identity.node || rebalance_plan_is_busy(c->plan.balance)) {
        err_set(&a->err, ERR_LIMIT, "%s",
                c->leader == c->identity.node ? "queues are being rebalanced already"
                                              : "this node does not lead the cluster");
        pattern_free(&names);
        cluster_answer(a, false);
    } else {
        pattern_free(&c->plan.names);
        c->plan.names = names;
        c->plan.asked = a;
        c->plan.asked_ms = clock_mono_ms();
        rebalance_plan_ask(c->plan.balance, names);
    }
}

bool cluster_plan_may_drain(const struct cluster *c)
{
    return rebalance_plan_may_drain(meta_current(c->meta), c->identity.node);
}
