/* Policies: their place in a vhost, and which of them counts for what. What their definitions may
 * say is for meta_policy_keys. */
#include "cluster/meta_policy.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_policy_keys.h"
#include "cluster/meta_state.h"

#include <stdlib.h>

static const char *const apply_to_names[] = {
    [META_APPLY_QUEUES] = "queues",
    [META_APPLY_EXCHANGES] = "exchanges",
    [META_APPLY_ALL] = "all",
};

const char *meta_apply_to_name(enum meta_apply_to to)
{
    CHECK((unsigned)to < ARRAY_COUNT(apply_to_names));
    return apply_to_names[to];
}

static bool apply_to_find(struct slice name, enum meta_apply_to *out)
{
    *out = META_APPLY_ALL;
    if (name.len == 0)
        return true;
    for (unsigned i = 0; i < ARRAY_COUNT(apply_to_names); i++) {
        if (!slice_is(name, apply_to_names[i]))
            continue;
        *out = (enum meta_apply_to)i;
        return true;
    }
    return false;
}

/* ---- which one counts ---- */

const struct meta_policy *meta_policy_find(const struct meta_version *v,
                                           const struct meta_vhost *vh, struct slice name,
                                           bool is_operator)
{
    const struct pmap_kind *kind = &v->kinds->policies;
    const struct pmap *map = is_operator ? &vh->operator_policies : &vh->policies;
    return pmap_get(map, kind, meta_hash_name(kind, name), &name);
}

/* `not_for` are the keys that a thing of this kind cannot follow: a policy with one of them is, as
 * a whole, not for it. */
static const struct meta_policy *first_match(const struct meta_policy *const *list, size_t count,
                                             struct slice name, enum meta_apply_to to,
                                             uint32_t not_for)
{
    for (size_t i = 0; i < count; i++) {
        const struct meta_policy *p = list[i];
        if ((p->apply_to == to || p->apply_to == META_APPLY_ALL) && (p->keys.has & not_for) == 0 &&
            meta_pattern_matches(&p->pattern, name))
            return p;
    }
    return NULL;
}

/* A queue may be asked about on a version that does not have its vhost yet, or any more. */
static const struct meta_policy *of_queue(const struct meta_version *v, const struct meta_queue *q,
                                          bool is_operator)
{
    const struct meta_vhost *vh = meta_vhost_get(v, q->vhost_id);
    const struct meta_policy_order *o = NULL;
    if (vh != NULL)
        o = is_operator ? vh->operator_order : vh->policy_order;
    if (o == NULL)
        return NULL;
    uint32_t not_for = meta_queue_is_quorum(q) ? META_NOT_FOR_QUORUM : META_NOT_FOR_CLASSIC;
    return first_match(o->policies, o->count, meta_queue_name(q), META_APPLY_QUEUES, not_for);
}

const struct meta_policy *meta_policy_of_queue(const struct meta_version *v,
                                               const struct meta_queue *q)
{
    return of_queue(v, q, false);
}

const struct meta_policy *meta_operator_policy_of_queue(const struct meta_version *v,
                                                        const struct meta_queue *q)
{
    return of_queue(v, q, true);
}

static const struct meta_policy *of_exchange(const struct meta_policy_order *o,
                                             const struct meta_exchange_def *def)
{
    if (o == NULL)
        return NULL;
    return first_match(o->policies, o->count, meta_exchange_name(def), META_APPLY_EXCHANGES, 0);
}

const struct meta_policy *meta_policy_of_exchange(const struct meta_version *v,
                                                  const struct meta_vhost *vh,
                                                  const struct meta_exchange_def *def)
{
    (void)v;
    return of_exchange(vh->policy_order, def);
}

const struct meta_policy *meta_operator_policy_of_exchange(const struct meta_version *v,
                                                           const struct meta_vhost *vh,
                                                           const struct meta_exchange_def *def)
{
    (void)v;
    return of_exchange(vh->operator_order, def);
}

static bool sets_alternates(const struct meta_policy_order *o)
{
    return o != NULL && o->alternate_count != 0;
}

/* A policy behind the last one that names an alternate need not be looked at. */
struct slice meta_policy_alternate(const struct meta_vhost *vh, const struct meta_exchange_def *d)
{
    const struct meta_policy_order *o = vh->policy_order;
    if (d->alternate.ptr != NULL || !sets_alternates(o))
        return d->alternate;
    const struct meta_policy *p = first_match(o->policies, o->alternate_count,
                                              meta_exchange_name(d), META_APPLY_EXCHANGES, 0);
    if (p == NULL || !meta_policy_has(&p->keys, META_KEY_ALTERNATE_EXCHANGE))
        return (struct slice){ NULL, 0 };
    return p->keys.alternate_exchange;
}

/* ---- checks ---- */

#define PATTERN_BAD "pattern should be regular expression but is invalid: "

static bool pattern_suits(struct slice pattern, struct text *t)
{
    struct pattern_error err;
    struct pattern *p = pattern_new(pattern, &err);
    if (p != NULL) {
        pattern_free(&p);
        return true;
    }
    text_str(t, PATTERN_BAD);
    meta_pattern_put_error(t, &err, sizeof PATTERN_BAD - 1);
    text_char(t, '\n');
    return false;
}

static bool apply_to_suits(struct slice name, struct text *t)
{
    enum meta_apply_to to;
    if (apply_to_find(name, &to))
        return true;
    text_str(t, "apply-to '");
    text_slice(t, name);
    text_str(t, "' unrecognised; should be 'queues', 'exchanges' or 'all'\n");
    return false;
}

static bool name_suits(struct slice name, struct meta_refusal *why)
{
    if (name.len <= META_NAME_MAX)
        return true;
    struct text t = meta_refuse(why, 400);
    text_str(&t, "the name of a policy has at most 255 octets");
    return false;
}

/* All that is wrong is told at once. */
static bool put_suits(const struct meta_cmd *cmd, struct meta_refusal *why)
{
    json_t *definition;
    if (!name_suits(cmd->name, why) ||
        (definition = meta_json_read_object(cmd->policy.definition, why)) == NULL)
        return false;
    struct text t = meta_refuse(why, 400);
    text_str(&t, "Validation failed\n\n");
    bool ok = meta_policy_keys_suit(definition, cmd->policy.is_operator, &t);
    ok = apply_to_suits(cmd->policy.apply_to, &t) && ok;
    ok = pattern_suits(cmd->policy.pattern, &t) && ok;
    json_decref(definition);
    return ok;
}

enum meta_verdict meta_policy_check(const struct meta_version *v, const struct meta_vhost *vh,
                                    const struct meta_cmd *cmd, struct meta_result *out)
{
    if (cmd->op == META_POLICY_PUT)
        return put_suits(cmd, &out->refusal) ? META_CHANGE : META_REFUSED;
    if (meta_policy_find(v, vh, cmd->name, cmd->policy.is_operator) != NULL)
        return META_CHANGE;
    struct text t = meta_refuse(&out->refusal, 404);
    text_str(&t, "Parameter does not exist");
    return META_REFUSED;
}

/* ---- changes ---- */

static size_t policy_bytes(const struct meta_policy *p)
{
    return sizeof *p + p->name.len + p->pattern.text.len + p->definition.len +
           meta_policy_words_bytes(&p->keys);
}

void meta_policy_drop(struct meta *m, const struct meta_policy *p)
{
    m->draft.things -= meta_digest_policy(p);
    meta_pattern_drop(m, &p->pattern, p->tag);
    pmap_edit_drop(&m->edit, p, policy_bytes(p), p->tag);
}

static const struct meta_policy *policy_make(struct meta *m, const struct meta_cmd *cmd)
{
    struct meta_refusal why;
    json_t *object = meta_json_read_object(cmd->policy.definition, &why);
    CHECK(object != NULL);
    struct text definition, nodes;
    text_init(&definition, (size_t)META_DEFINITION_MAX * 8);
    text_init(&nodes, (size_t)META_DEFINITION_MAX * 2);
    meta_json_put(&definition, object);
    struct meta_policy_keys keys;
    meta_policy_keys_take(object, &nodes, &keys);
    size_t words =
        cmd->name.len + cmd->policy.pattern.len + definition.len + meta_policy_words_bytes(&keys);
    struct meta_policy *p = pmap_edit_alloc(&m->edit, sizeof *p + words);
    *p = (struct meta_policy){ .vhost_id = cmd->vhost_id,
                               .tag = m->edit.tag,
                               .priority = cmd->policy.priority,
                               .is_operator = cmd->policy.is_operator,
                               .keys = keys };
    bool known = apply_to_find(cmd->policy.apply_to, &p->apply_to);
    CHECK(known);
    uint8_t *at = p->bytes;
    p->name = meta_put_word(&at, cmd->name);
    p->definition = meta_put_word(&at, text_view(&definition));
    meta_pattern_make(m, &p->pattern, meta_put_word(&at, cmd->policy.pattern), false);
    meta_policy_put_words(&p->keys, &at);
    text_fini(&definition);
    text_fini(&nodes);
    json_decref(object);
    m->draft.things += meta_digest_policy(p);
    return p;
}

/* ---- their order ---- */

static size_t order_bytes(const struct meta_policy_order *o)
{
    return sizeof *o + o->count * sizeof(const struct meta_policy *);
}

void meta_policy_order_drop(struct meta *m, const struct meta_policy_order *o)
{
    if (o != NULL)
        pmap_edit_drop(&m->edit, o, order_bytes(o), o->tag);
}

static int by_priority(const void *a, const void *b)
{
    const struct meta_policy *p = *(const struct meta_policy *const *)a;
    const struct meta_policy *q = *(const struct meta_policy *const *)b;
    if (p->priority != q->priority)
        return p->priority > q->priority ? -1 : 1;
    return slice_cmp(p->name, q->name);
}

static const struct meta_policy_order *order_make(struct meta *m, const struct pmap *policies)
{
    if (policies->count == 0)
        return NULL;
    struct meta_policy_order *o =
        pmap_edit_alloc(&m->edit, sizeof *o + policies->count * sizeof(const struct meta_policy *));
    *o = (struct meta_policy_order){ .tag = m->edit.tag, .count = policies->count };
    struct pmap_iter it;
    pmap_iter(&it, policies);
    for (size_t i = 0; i < o->count; i++)
        o->policies[i] = pmap_next(&it);
    qsort(o->policies, o->count, sizeof(const struct meta_policy *), by_priority);
    for (size_t i = 0; i < o->count; i++)
        if (meta_policy_has(&o->policies[i]->keys, META_KEY_ALTERNATE_EXCHANGE))
            o->alternate_count = i + 1;
    return o;
}

static void reorder(struct meta *m, struct meta_vhost *vh, bool is_operator)
{
    const struct meta_policy_order **order = is_operator ? &vh->operator_order : &vh->policy_order;
    meta_policy_order_drop(m, *order);
    *order = order_make(m, is_operator ? &vh->operator_policies : &vh->policies);
}

/* ---- alternate exchanges ---- */

/* An exchange keeps its alternate at hand for routing, so it must be found again for all of them;
 * those that do not change are left alone. `alternate` may point into a policy that goes. */
static void find_alternates(struct meta *m, struct meta_vhost *vh)
{
    struct pmap exchanges = vh->exchanges;
    size_t count = exchanges.count;
    const struct meta_exchange_def **defs =
        mem_array(count + 1, sizeof(const struct meta_exchange_def *));
    struct pmap_iter it;
    size_t changed = 0;
    pmap_iter(&it, &exchanges);
    for (const struct meta_exchange *x; (x = pmap_next(&it)) != NULL;)
        if (meta_policy_alternate(vh, x->def).ptr != x->alternate.ptr)
            defs[changed++] = x->def;
    for (size_t i = 0; i < changed; i++)
        meta_exchange_own(m, defs[i])->alternate = meta_policy_alternate(vh, defs[i]);
    mem_free(defs);
    m->routes_changed = true;
}

void meta_policy_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    bool is_operator = cmd->policy.is_operator;
    const struct pmap_kind *kind = &m->kinds.policies;
    struct meta_vhost *vh = meta_vhost_own(m, cmd->vhost_id);
    struct pmap *map = is_operator ? &vh->operator_policies : &vh->policies;
    bool alternates = sets_alternates(vh->policy_order);
    const struct meta_policy *old;
    if (cmd->op == META_POLICY_PUT)
        old = pmap_set(map, kind, &m->edit, policy_make(m, cmd));
    else
        old = pmap_del(map, kind, &m->edit, meta_hash_name(kind, cmd->name), &cmd->name);
    m->policy_count += (uint64_t)(cmd->op == META_POLICY_PUT) - (uint64_t)(old != NULL);
    reorder(m, vh, is_operator);
    if (!is_operator && (alternates || sets_alternates(vh->policy_order)))
        find_alternates(m, vh);
    if (old != NULL)
        meta_policy_drop(m, old);
    meta_tell(out,
              &(struct meta_effect){ .kind = META_POLICIES_CHANGED, .vhost_id = cmd->vhost_id });
}
