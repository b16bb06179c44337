#include "cluster/meta.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_state.h"

#define GARBAGE_FIRST    ((size_t)64)
#define GARBAGE_MANY     ((size_t)4096) /* takes a millisecond to free */
#define EFFECTS_KEPT_MAX ((size_t)1024) /* room for more is given back with the next use */

/* What one publication left behind: handed to retire as one thing. */
struct meta_garbage {
    size_t count;
    size_t cap;
    struct {
        void *ptr;
        void (*free_fn)(void *ptr);
    } things[];
};

/* ---- reading ---- */

const struct meta_vhost *meta_vhost_find(const struct meta_version *v, struct slice name)
{
    const struct pmap_kind *kind = &v->kinds->vhosts_by_name;
    return pmap_get(&v->vhosts_by_name, kind, meta_hash_name(kind, name), &name);
}

const struct meta_vhost *meta_vhost_get(const struct meta_version *v, uint64_t vhost_id)
{
    const struct pmap_kind *kind = &v->kinds->vhosts;
    return pmap_get(&v->vhosts, kind, meta_hash_id(kind, vhost_id), &vhost_id);
}

const struct meta_exchange *meta_exchange_find(const struct meta_version *v,
                                               const struct meta_vhost *vh, struct slice name)
{
    const struct pmap_kind *kind = &v->kinds->exchanges;
    return pmap_get(&vh->exchanges, kind, meta_hash_name(kind, name), &name);
}

const struct meta_queue *meta_queue_find(const struct meta_version *v, const struct meta_vhost *vh,
                                         struct slice name)
{
    const struct pmap_kind *kind = &v->kinds->queue_names;
    return pmap_get(&vh->queues, kind, meta_hash_name(kind, name), &name);
}

const struct meta_queue *meta_queue_get(const struct meta_version *v, uint64_t qid)
{
    const struct pmap_kind *kind = &v->kinds->queues;
    return pmap_get(&v->queues, kind, meta_hash_id(kind, qid), &qid);
}

const void *meta_by_key(const struct meta_version *v, const struct meta_exchange *x,
                        struct slice key)
{
    const struct pmap_kind *kind = &v->kinds->by_key;
    return pmap_get(&x->by_key, kind, meta_hash_name(kind, key), &key);
}

const struct topic_kinds *meta_topic_kinds(const struct meta_version *v)
{
    return &v->kinds->topic;
}

static bool each_in_map(const struct pmap *m, meta_binding_fn each, void *arg)
{
    struct pmap_iter it;
    pmap_iter(&it, m);
    for (const void *b; (b = pmap_next(&it)) != NULL;)
        if (!each(arg, b))
            return false;
    return true;
}

static bool each_at(const void *binding_or_set, meta_binding_fn each, void *arg)
{
    const struct meta_binding_set *set = binding_or_set;
    return meta_is_set(binding_or_set) ? each_in_map(&set->bindings, each, arg)
                                       : each(arg, binding_or_set);
}

struct topic_each_arg {
    meta_binding_fn each;
    void *arg;
};

static bool each_in_topic(void *arg, const void *item)
{
    struct topic_each_arg *a = arg;
    return a->each(a->arg, item);
}

bool meta_bindings_from(const struct meta_exchange *x, meta_binding_fn each, void *arg)
{
    if (x->def->type == META_TOPIC)
        return topic_each(x->topic, each_in_topic, &(struct topic_each_arg){ each, arg });
    if (x->def->type != META_DIRECT)
        return each_in_map(&x->all, each, arg);
    struct pmap_iter it;
    pmap_iter(&it, &x->by_key);
    for (const void *at; (at = pmap_next(&it)) != NULL;)
        if (!each_at(at, each, arg))
            return false;
    return true;
}

bool meta_bindings_to(const struct meta_version *v, uint64_t id, meta_binding_fn each, void *arg)
{
    const struct pmap_kind *kind = &v->kinds->destinations;
    const void *at = pmap_get(&v->destinations, kind, meta_hash_id(kind, id), &id);
    return at == NULL || each_at(at, each, arg);
}

/* ---- memory ---- */

void meta_garbage_free_some(struct meta_garbage **garbage, size_t most)
{
    struct meta_garbage *g = *garbage;
    for (size_t n = 0; g->count != 0 && n < most; n++) {
        g->count--;
        g->things[g->count].free_fn(g->things[g->count].ptr);
    }
    if (g->count != 0)
        return;
    *garbage = NULL;
    mem_free(g);
}

static void garbage_free(void *ptr)
{
    struct meta_garbage *g = ptr;
    while (g != NULL)
        meta_garbage_free_some(&g, SIZE_MAX);
}

void meta_collect(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    struct meta *m = arg;
    struct meta_garbage *g = m->garbage;
    if (g == NULL || g->count == g->cap) {
        size_t cap = g != NULL ? g->cap * 2 : GARBAGE_FIRST;
        size_t count = g != NULL ? g->count : 0;
        g = mem_realloc(g, sizeof *g + cap * sizeof g->things[0]);
        g->cap = cap;
        g->count = count;
        m->garbage = g;
    }
    g->things[g->count].ptr = ptr;
    g->things[g->count++].free_fn = free_fn;
}

/* ---- life ---- */

struct meta *meta_new(const struct meta_setup *setup)
{
    CHECK(setup->shard_count >= 1 && setup->retire != NULL);
    struct meta *m = mem_zalloc(sizeof *m);
    m->shard_count = setup->shard_count;
    m->self = setup->node != 0 ? setup->node : 1;
    m->retire = setup->retire;
    m->retire_garbage = setup->retire_garbage;
    m->retire_state = setup->retire_state;
    m->retire_arg = setup->retire_arg;
    meta_kinds_init(&m->kinds, setup->hash_seed);
    pmap_edit_init(&m->edit, meta_collect, m);
    m->draft.kinds = &m->kinds;
    shown_init(&m->current, NULL);
    m->is_changed = true;
    meta_publish(m);
    return m;
}

struct meta_garbage *meta_take_apart(struct meta **meta)
{
    struct meta *m = *meta;
    meta_drop_all(m);
    CHECK(m->draft.things == 0);
    CHECK(m->edit.made == m->edit.gone && m->edit.bytes == 0 && m->pattern_count == 0);
    struct meta_garbage *garbage = m->garbage;
    if (m->replaced != NULL)
        meta_free(&m->replaced);
    mem_free((void *)(uintptr_t)m->published);
    mem_free(m);
    *meta = NULL;
    return garbage;
}

void meta_free(struct meta **meta)
{
    garbage_free(meta_take_apart(meta));
}

static void retire_garbage(const struct meta *m, struct meta_garbage *garbage)
{
    if (garbage->count >= GARBAGE_MANY && m->retire_garbage != NULL)
        m->retire_garbage(m->retire_arg, garbage);
    else
        m->retire(m->retire_arg, garbage, garbage_free);
}

static void replaced_free(void *ptr)
{
    struct meta *m = ptr;
    meta_free(&m);
}

static void retire_state(const struct meta *m, struct meta *state)
{
    if (m->retire_state != NULL)
        m->retire_state(m->retire_arg, state);
    else
        m->retire(m->retire_arg, state, replaced_free);
}

const struct meta_version *meta_current(const struct meta *meta)
{
    return shown_get(&meta->current);
}

void meta_publish(struct meta *m)
{
    if (!m->is_changed && !m->is_another)
        return;
    m->draft.number++;
    if (m->routes_changed)
        m->draft.leads = m->draft.number;
    if (m->routes_changed || m->queues_changed)
        m->draft.routes = m->draft.number;
    if (m->rights_changed)
        m->draft.rights = m->draft.number;
    struct meta_version *v = mem_dup(&m->draft, sizeof m->draft);
    v->self = m->self;
    const struct meta_version *before = m->published;
    struct meta_garbage *garbage = m->garbage;
    struct meta *replaced = m->replaced;
    pmap_edit_seal(&m->edit);
    m->published = v;
    m->garbage = NULL;
    m->replaced = NULL;
    m->is_changed = false;
    m->is_another = false;
    m->routes_changed = false;
    m->queues_changed = false;
    m->rights_changed = false;

    /* Only now can nobody come to the old things any more; whoever holds them is waited for. */
    shown_set(&m->current, v);
    if (garbage != NULL)
        retire_garbage(m, garbage);
    if (replaced != NULL)
        retire_state(m, replaced);
    if (before != NULL)
        m->retire(m->retire_arg, (void *)(uintptr_t)before, mem_free);
}

struct meta_stats meta_stats(const struct meta *m)
{
    return (struct meta_stats){
        .vhost_count = m->draft.vhosts.count,
        .exchange_count = m->exchange_count,
        .queue_count = m->draft.queues.count,
        .binding_count = m->binding_count,
        .user_count = m->draft.users.count,
        .policy_count = m->policy_count,
        .bytes = m->edit.bytes,
        .blocks = m->edit.made - m->edit.gone,
        .waiting = m->garbage != NULL ? m->garbage->count : 0,
    };
}

/* ---- results ---- */

void meta_result_init(struct meta_result *r)
{
    *r = (struct meta_result){ .verdict = META_DONE };
}

void meta_result_fini(struct meta_result *r)
{
    mem_free(r->effects);
    *r = (struct meta_result){ .verdict = META_DONE };
}

void meta_tell(struct meta_result *r, const struct meta_effect *effect)
{
    if (r->effect_count == r->effect_cap) {
        r->effect_cap = r->effect_cap != 0 ? r->effect_cap * 2 : 4;
        r->effects = mem_realloc(r->effects, r->effect_cap * sizeof *r->effects);
    }
    r->effects[r->effect_count++] = *effect;
}

void meta_result_clear(struct meta_result *r)
{
    r->verdict = META_DONE;
    r->refusal.code = 0;
    r->refusal.text[0] = '\0';
    r->queue = NULL;
    r->id = 0;
    r->effect_count = 0;
    if (r->effect_cap > EFFECTS_KEPT_MAX) {
        mem_free(r->effects);
        r->effects = NULL;
        r->effect_cap = 0;
    }
}

/* ---- commands ---- */

/* A connection can outlive its vhost. */
static enum meta_verdict no_vhost(struct meta_result *out)
{
    struct text t = meta_refuse(&out->refusal, AMQP_NOT_ALLOWED);
    text_str(&t, "vhost not found");
    return META_REFUSED;
}

typedef enum meta_verdict (*check_fn)(const struct meta_version *v, const struct meta_vhost *vh,
                                      const struct meta_cmd *cmd, struct meta_result *out);
typedef void (*change_fn)(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out);

static enum meta_verdict owner_check(const struct meta_version *v, const struct meta_vhost *vh,
                                     const struct meta_cmd *cmd, struct meta_result *out)
{
    (void)vh;
    (void)out;
    const struct pmap_kind *kind = &v->kinds->owners;
    bool owns = pmap_get(&v->owners, kind, meta_hash_id(kind, cmd->conn), &cmd->conn) != NULL;
    return owns ? META_CHANGE : META_DONE;
}

/* Who judges a command and who carries it out. */
static const struct {
    bool in_vhost; /* it is about what a vhost holds, and the vhost must be there */
    check_fn check;
    change_fn change;
} commands[] = {
    [META_VHOST_ADD] = { false, meta_vhost_check, meta_vhost_put },
    [META_VHOST_PUT] = { false, meta_vhost_check, meta_vhost_put },
    [META_VHOST_DELETE] = { false, meta_vhost_check, meta_vhost_delete },
    [META_VHOST_LIMITS_PUT] = { true, meta_vhost_limits_check, meta_vhost_limits_change },
    [META_VHOST_LIMITS_CLEAR] = { true, meta_vhost_limits_check, meta_vhost_limits_change },
    [META_EXCHANGE_DECLARE] = { true, meta_exchange_check, meta_exchange_change },
    [META_EXCHANGE_DELETE] = { true, meta_exchange_check, meta_exchange_change },
    [META_QUEUE_DECLARE] = { true, meta_queue_check, meta_queue_change },
    [META_QUEUE_DELETE] = { true, meta_queue_check, meta_queue_change },
    [META_BIND] = { true, meta_binding_check, meta_binding_change },
    [META_UNBIND] = { true, meta_binding_check, meta_binding_change },
    [META_OWNER_GONE] = { false, owner_check, meta_owner_gone },
    [META_USER_PUT] = { false, meta_user_check, meta_user_change },
    [META_USER_DELETE] = { false, meta_user_check, meta_user_change },
    [META_USER_LIMITS_PUT] = { false, meta_user_check, meta_user_change },
    [META_USER_LIMITS_CLEAR] = { false, meta_user_check, meta_user_change },
    [META_PERMISSION_PUT] = { true, meta_permission_check, meta_permission_change },
    [META_PERMISSION_CLEAR] = { true, meta_permission_check, meta_permission_change },
    [META_TOPIC_PERMISSION_PUT] = { true, meta_permission_check, meta_permission_change },
    [META_TOPIC_PERMISSION_CLEAR] = { true, meta_permission_check, meta_permission_change },
    [META_POLICY_PUT] = { true, meta_policy_check, meta_policy_change },
    [META_POLICY_CLEAR] = { true, meta_policy_check, meta_policy_change },
    [META_PARAMETER_PUT] = { true, meta_parameter_check, meta_parameter_change },
    [META_PARAMETER_CLEAR] = { true, meta_parameter_check, meta_parameter_change },
    [META_GLOBAL_PARAMETER_PUT] = { false, meta_parameter_check, meta_parameter_change },
    [META_GLOBAL_PARAMETER_CLEAR] = { false, meta_parameter_check, meta_parameter_change },
    [META_ISR_CHANGE] = { false, meta_placing_check, meta_placing_change },
    [META_MASTER_MOVE] = { false, meta_placing_check, meta_placing_change },
    [META_REPLICAS_SET] = { false, meta_placing_check, meta_placing_change },
    [META_FORCE_PROMOTE] = { false, meta_placing_check, meta_placing_change },
    [META_PAIR_LAG] = { false, meta_fate_check, meta_fate_change },
    [META_NODE_DAMAGED] = { false, meta_fate_check, meta_fate_change },
    [META_CLUSTER_FREEZE] = { false, meta_fate_check, meta_fate_change },
    [META_CLUSTER_THAW] = { false, meta_fate_check, meta_fate_change },
    [META_CLUSTER_FORM] = { false, meta_cluster_check, meta_cluster_change },
    [META_NODE_ADD] = { false, meta_node_check, meta_node_change },
    [META_NODE_REMOVE] = { false, meta_node_check, meta_node_change },
    [META_NODE_UP] = { false, meta_node_check, meta_node_change },
    [META_NODE_DOWN] = { false, meta_node_check, meta_node_change },
    [META_NODE_STOPPED] = { false, meta_node_check, meta_node_change },
    [META_NODE_DRAIN] = { false, meta_node_check, meta_node_change },
    [META_NODE_UNWELL] = { false, meta_node_check, meta_node_change },
    [META_NODE_WELL] = { false, meta_node_check, meta_node_change },
    [META_NODE_TYPE] = { false, meta_node_check, meta_node_change },
    [META_KEPT_NODE] = { false, meta_kept_check, meta_kept_change },
    [META_KEPT_ORIGIN] = { false, meta_kept_check, meta_kept_change },
    [META_KEPT_QUEUE] = { false, meta_kept_check, meta_kept_change },
    [META_KEPT_PLACEMENT] = { false, meta_kept_check, meta_kept_change },
    [META_KEPT_STATE] = { false, meta_kept_check, meta_kept_change },
};

static enum meta_verdict check(const struct meta_version *v, const struct meta_cmd *cmd,
                               struct meta_result *out)
{
    CHECK((unsigned)cmd->op < ARRAY_COUNT(commands));
    const struct meta_vhost *vh = NULL;
    if (commands[cmd->op].in_vhost) {
        vh = meta_vhost_get(v, cmd->vhost_id);
        if (vh == NULL)
            return no_vhost(out);
    }
    return commands[cmd->op].check(v, vh, cmd, out);
}

enum meta_verdict meta_check(const struct meta_version *v, const struct meta_cmd *cmd,
                             struct meta_result *out)
{
    meta_result_clear(out);
    out->verdict = check(v, cmd, out);
    return out->verdict;
}

enum meta_verdict meta_apply(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    m->draft.index++;
    m->origin = 0;
    return meta_carry_out(m, cmd, out);
}

enum meta_verdict meta_carry_out(struct meta *m, const struct meta_cmd *cmd,
                                 struct meta_result *out)
{
    if (meta_check(&m->draft, cmd, out) != META_CHANGE)
        return out->verdict;
    commands[cmd->op].change(m, cmd, out);
    m->is_changed = true;
    out->verdict = META_DONE;
    return META_DONE;
}

/* ---- once more ---- */

static bool gives_ids(enum meta_op op)
{
    return op == META_VHOST_ADD || op == META_VHOST_PUT || op == META_EXCHANGE_DECLARE ||
           op == META_QUEUE_DECLARE || op == META_USER_PUT;
}

/* What a damaged or foreign log might say must not break what we count on. */
bool meta_id_is_free(const struct meta *m, uint64_t first_id)
{
    if (first_id > m->draft.last_id)
        return first_id <= UINT64_MAX / 2;
    return meta_queue_get(&m->draft, first_id) == NULL &&
           meta_vhost_get(&m->draft, first_id) == NULL;
}

static bool is_replayable(const struct meta *m, const struct meta_cmd *cmd, uint64_t first_id,
                          struct meta_refusal *why)
{
    if (cmd->op == META_OWNER_GONE ||
        (cmd->op == META_QUEUE_DECLARE && cmd->queue_declare.exclusive)) {
        struct text t = meta_refuse(why, AMQP_INTERNAL_ERROR);
        text_str(&t, "what belongs to a connection does not outlive it");
        return false;
    }
    if (!gives_ids(cmd->op) || meta_id_is_free(m, first_id))
        return true;
    struct text t = meta_refuse(why, AMQP_INTERNAL_ERROR);
    text_put(&t, "id %llu is taken", (unsigned long long)first_id);
    return false;
}

enum meta_verdict meta_replay(struct meta *m, const struct meta_cmd *cmd, uint64_t first_id,
                              struct meta_result *out)
{
    meta_result_clear(out);
    if (cmd->op >= META_KEPT_NODE)
        return meta_keep(m, cmd, out);
    if (!is_replayable(m, cmd, first_id, &out->refusal)) {
        out->verdict = META_REFUSED;
        return META_REFUSED;
    }
    uint64_t last_id = m->draft.last_id;
    uint32_t unserved = m->draft.unserved, damaged = m->draft.damaged;
    if (gives_ids(cmd->op) && first_id != 0)
        m->draft.last_id = first_id - 1;
    if (cmd->op == META_BIND)
        m->draft.unserved = m->draft.damaged = 0; /* it was bound before its queue was */
    m->replays = true;
    enum meta_verdict verdict = meta_apply(m, cmd, out);
    m->replays = false;
    if (cmd->op == META_BIND) {
        m->draft.unserved = unserved;
        m->draft.damaged = damaged;
    }
    meta_skip_ids(m, last_id);
    return verdict;
}

void meta_skip_ids(struct meta *m, uint64_t id)
{
    if (m->draft.last_id < id)
        m->draft.last_id = id;
}

void meta_set_node(struct meta *m, uint16_t node)
{
    CHECK(node != 0);
    m->is_another = m->is_another || m->self != node;
    m->self = node;
}

uint64_t meta_last_id(const struct meta *m)
{
    return m->draft.last_id;
}
