#include "cluster/meta_mirrors.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "cluster/meta_cohort.h"

#include <string.h>

/* ---- the rule ---- */

static bool can_hold(const struct meta_node *n)
{
    return n->mirrors != 0 && n->type != META_NODE_WITNESS;
}

/* A majority of those that there are, of five at most. */
static void quorum_rule(const struct meta_version *v, const struct meta_queue *q,
                        struct meta_mirror_rule *out)
{
    int64_t group =
        amqp_table_i64(meta_queue_args(q), "x-quorum-initial-group-size", META_QUORUM_NODES);
    int64_t there = 0;
    for (size_t i = 0; i < meta_node_count(v); i++)
        there += can_hold(meta_node_at(v, i));
    if (group > there)
        group = there;
    out->mode = META_MIRROR_EXACTLY;
    out->count = (uint32_t)(group / 2 + 1);
}

/* False: it has no argument that says anything. */
static bool args_rule(const struct meta_queue *q, struct meta_mirror_rule *out)
{
    struct slice args = meta_queue_args(q);
    struct slice word = amqp_table_longstr(args, "x-ha-policy");
    struct amqp_field f;
    int64_t count;
    if (word.len == 0)
        return false;
    if (slice_is(word, "all")) {
        out->mode = META_MIRROR_ALL;
    } else if (slice_is(word, "nodes") && amqp_table_find(args, "x-ha-policy-params", &f) &&
               f.type == AMQP_FIELD_ARRAY) {
        out->mode = META_MIRROR_NODES;
        out->args_names = f.bytes;
    } else if (slice_is(word, "exactly") && amqp_table_find(args, "x-ha-policy-params", &f) &&
               amqp_field_as_i64(&f, &count) && count > 0) {
        out->mode = META_MIRROR_EXACTLY;
        out->count = count > META_REPLICAS_MAX ? META_REPLICAS_MAX : (uint32_t)count;
    }
    return true;
}

static uint32_t at_most(int64_t number, uint32_t most)
{
    return number > most ? most : (uint32_t)number;
}

static void mode_of_policy(const struct meta_policy_keys *k, struct meta_mirror_rule *out)
{
    if (slice_is(k->ha_mode, "all")) {
        out->mode = META_MIRROR_ALL;
    } else if (slice_is(k->ha_mode, "exactly")) {
        out->mode = META_MIRROR_EXACTLY;
        out->count = at_most(k->ha_count, META_REPLICAS_MAX);
    } else if (slice_is(k->ha_mode, "nodes")) {
        out->mode = META_MIRROR_NODES;
        out->names = k->ha_nodes;
    }
}

static void settings_of_policy(const struct meta_policy_keys *k, struct meta_mirror_rule *out)
{
    out->sync_is_manual = !slice_is(k->ha_sync_mode, "automatic");
    out->always_on_failure = slice_is(k->ha_promote_on_failure, "always");
    out->always_on_shutdown = slice_is(k->ha_promote_on_shutdown, "always");
    if (meta_policy_has(k, META_KEY_HA_SYNC_BATCH_SIZE))
        out->sync_batch = at_most(k->ha_sync_batch_size, UINT32_MAX);
    if (meta_policy_has(k, META_KEY_HA_MIN_IN_SYNC))
        out->min_in_sync = at_most(k->ha_min_in_sync, META_REPLICAS_MAX);
    if (meta_policy_has(k, META_KEY_HA_REPLACE_AFTER))
        out->replace_after_ms = at_most(k->ha_replace_after, UINT32_MAX);
}

void meta_mirror_rule_of(const struct meta_version *v, const struct meta_queue *q,
                         struct meta_mirror_rule *out)
{
    *out = (struct meta_mirror_rule){ .min_in_sync = 1,
                                      .sync_batch = META_SYNC_BATCH_DEFAULT,
                                      .replace_after_ms = META_REPLACE_AFTER_MS };
    if (q->owner != 0)
        return;
    if (meta_queue_is_quorum(q)) {
        quorum_rule(v, q, out);
        return;
    }
    const struct meta_policy *p = meta_policy_of_queue(v, q);
    bool has_policy = p != NULL && meta_policy_has(&p->keys, META_KEY_HA_MODE);
    if (has_policy)
        settings_of_policy(&p->keys, out);
    if (!args_rule(q, out) && has_policy)
        mode_of_policy(&p->keys, out);
}

/* ---- names ---- */

static bool is_a_line_of(struct slice lines, struct slice name)
{
    while (lines.len != 0) {
        const uint8_t *end = memchr(lines.ptr, '\n', lines.len);
        size_t len = end != NULL ? (size_t)(end - lines.ptr) : lines.len;
        if (slice_eq(slice_of(lines.ptr, len), name))
            return true;
        lines = slice_from(lines, end != NULL ? len + 1 : len);
    }
    return false;
}

static bool is_an_item_of(struct slice array, struct slice name)
{
    struct amqp_table_iter it = amqp_array_iter_init(array);
    struct amqp_field f;
    struct slice word;
    while (amqp_table_iter_next(&it, &f))
        if (amqp_field_as_longstr(&f, &word) && slice_eq(word, name))
            return true;
    return false;
}

bool meta_mirror_is_named(const struct meta_mirror_rule *rule, const struct meta_node *n)
{
    return is_a_line_of(rule->names, n->name) || is_an_item_of(rule->args_names, n->name);
}

/* ---- who ought to ---- */

static bool is_wanted(const struct meta_wanted *w, uint16_t node)
{
    for (unsigned i = 0; i < w->count; i++)
        if (w->nodes[i] == node)
            return true;
    return false;
}

static void want(struct meta_wanted *w, uint16_t node)
{
    CHECK(w->count < META_REPLICAS_MAX);
    w->nodes[w->count++] = node;
}

static bool may_be_new(const struct meta_node *n)
{
    return n->state == META_NODE_IS_UP && can_hold(n);
}

static bool is_gone(const struct meta_mirror_view *view, const struct meta_mirror_rule *rule,
                    uint16_t node)
{
    const struct meta_node *n = meta_node_get(view->version, node);
    return n == NULL || (!meta_node_is_fit(n) && view->is_gone != NULL &&
                         view->is_gone(view->arg, node, rule->replace_after_ms));
}

static uint64_t load_of(const struct meta_mirror_view *view, uint16_t node)
{
    uint64_t there =
        meta_node_queue_count(view->version, node) + meta_node_mirror_count(view->version, node);
    return there + (view->under_way != NULL ? view->under_way(view->arg, node) : 0);
}

static const struct meta_node *emptiest(const struct meta_mirror_view *view,
                                        const struct meta_wanted *w)
{
    const struct meta_node *best = NULL;
    uint64_t least = 0;
    for (size_t i = 0; i < meta_node_count(view->version); i++) {
        const struct meta_node *n = meta_node_at(view->version, i);
        if (!may_be_new(n) || is_wanted(w, n->node))
            continue;
        uint64_t load = load_of(view, n->node);
        if (best != NULL && load >= least)
            continue;
        best = n;
        least = load;
    }
    return best;
}

/* Those that are in sync before those that are not, the eldest first. */
static void keep_some(const struct meta_mirror_view *view, const struct meta_placement *p,
                      const struct meta_mirror_rule *rule, bool in_sync, struct meta_wanted *out)
{
    for (unsigned i = 1; i < p->count && out->count < rule->count; i++) {
        const struct meta_replica *r = meta_placement_replica(p, i);
        if ((r->inc != 0) == in_sync && !is_gone(view, rule, r->node))
            want(out, r->node);
    }
}

static void want_exactly(const struct meta_mirror_view *view, const struct meta_placement *p,
                         const struct meta_mirror_rule *rule, struct meta_wanted *out)
{
    const struct meta_node *n;
    keep_some(view, p, rule, true, out);
    keep_some(view, p, rule, false, out);
    out->kept = out->count;
    while (out->count < rule->count && (n = emptiest(view, out)) != NULL)
        want(out, n->node);
}

static bool suits(const struct meta_mirror_rule *rule, const struct meta_node *n)
{
    return rule->mode == META_MIRROR_ALL || meta_mirror_is_named(rule, n);
}

static void want_those(const struct meta_mirror_view *view, const struct meta_placement *p,
                       const struct meta_mirror_rule *rule, struct meta_wanted *out)
{
    const struct meta_version *v = view->version;
    for (unsigned i = 1; i < p->count; i++) {
        const struct meta_node *n = meta_node_get(v, meta_placement_replica(p, i)->node);
        if (n != NULL && suits(rule, n))
            want(out, n->node);
    }
    out->kept = out->count;
    for (size_t i = 0; i < meta_node_count(v); i++) {
        const struct meta_node *n = meta_node_at(v, i);
        if (may_be_new(n) && suits(rule, n) && !is_wanted(out, n->node))
            want(out, n->node);
    }
}

void meta_mirrors_wanted(const struct meta_mirror_view *view, const struct meta_placement *p,
                         const struct meta_mirror_rule *rule, struct meta_wanted *out)
{
    out->count = 0;
    want(out, p->master);
    out->kept = 1;
    switch (rule->mode) {
    case META_MIRROR_NONE:
        return;
    case META_MIRROR_EXACTLY:
        want_exactly(view, p, rule, out);
        return;
    case META_MIRROR_ALL:
    case META_MIRROR_NODES:
        want_those(view, p, rule, out);
        return;
    }
    UNREACHABLE("mode of mirroring");
}

/* ---- from the beginning ---- */

void meta_mirrors_begin(struct meta *m, const struct meta_queue *q)
{
    struct meta_mirror_view view = { .version = &m->draft };
    struct meta_mirror_rule rule;
    struct meta_placement p;
    struct meta_wanted wanted;
    struct meta_record r;
    meta_mirror_rule_of(&m->draft, q, &rule);
    if (LIKELY(rule.mode == META_MIRROR_NONE))
        return;
    meta_placement_of(&m->draft, q, &p);
    meta_mirrors_wanted(&view, &p, &rule, &wanted);
    if (wanted.count == 1)
        return;
    meta_record_of(&m->draft, q, &r);
    r.flags |= (uint8_t)((rule.always_on_failure ? META_RECORD_ALWAYS_ON_FAILURE : 0) |
                         (rule.always_on_shutdown ? META_RECORD_ALWAYS_ON_SHUTDOWN : 0));
    for (unsigned i = 1; i < wanted.count; i++) {
        uint32_t inc = meta_node_get(&m->draft, wanted.nodes[i])->inc;
        meta_record_add(&r, &(struct meta_replica){ .inc = inc, .node = wanted.nodes[i] });
    }
    meta_placed_put(m, q, &r, m->draft.index, m->draft.index);
}
