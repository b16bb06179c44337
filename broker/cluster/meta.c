#include "cluster/meta.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_state.h"

#define GARBAGE_FIRST ((size_t)64)

/* What one publication left behind: handed to retire as one thing. */
struct meta_garbage {
    size_t count;
    size_t cap;
    void *ptrs[];
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

static void garbage_free(void *ptr)
{
    struct meta_garbage *g = ptr;
    for (size_t i = 0; i < g->count; i++)
        mem_free(g->ptrs[i]);
    mem_free(g);
}

/* From an edit: keep it until the next publication. Everything here is mem_free's to free. */
static void collect(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    struct meta *m = arg;
    CHECK(free_fn == mem_free);
    struct meta_garbage *g = m->garbage;
    if (g == NULL || g->count == g->cap) {
        size_t cap = g != NULL ? g->cap * 2 : GARBAGE_FIRST;
        size_t count = g != NULL ? g->count : 0;
        g = mem_realloc(g, sizeof *g + cap * sizeof(void *));
        g->cap = cap;
        g->count = count;
        m->garbage = g;
    }
    g->ptrs[g->count++] = ptr;
}

static size_t vhost_bytes(const struct meta_vhost *vh)
{
    return sizeof *vh + vh->name_bytes;
}

void meta_vhost_drop(struct meta *m, const struct meta_vhost *vh)
{
    pmap_edit_drop(&m->edit, vh, vhost_bytes(vh), vh->tag);
}

struct meta_vhost *meta_vhost_own(struct meta *m, uint64_t vhost_id)
{
    const struct meta_vhost *vh = meta_vhost_get(&m->draft, vhost_id);
    CHECK(vh != NULL);
    if (vh->tag == m->edit.tag)
        return (struct meta_vhost *)(uintptr_t)vh;
    struct meta_vhost *copy = pmap_edit_alloc(&m->edit, vhost_bytes(vh));
    memcpy(copy, vh, vhost_bytes(vh));
    copy->tag = m->edit.tag;
    pmap_set(&m->draft.vhosts, &m->kinds.vhosts, &m->edit, copy);
    pmap_set(&m->draft.vhosts_by_name, &m->kinds.vhosts_by_name, &m->edit, copy);
    meta_vhost_drop(m, vh);
    return copy;
}

/* ---- life ---- */

struct meta *meta_new(const struct meta_setup *setup)
{
    CHECK(setup->shard_count >= 1 && setup->retire != NULL);
    struct meta *m = mem_zalloc(sizeof *m);
    m->shard_count = setup->shard_count;
    m->retire = setup->retire;
    m->retire_arg = setup->retire_arg;
    meta_kinds_init(&m->kinds, setup->hash_seed);
    pmap_edit_init(&m->edit, collect, m);
    m->draft.kinds = &m->kinds;
    shown_init(&m->current, NULL);
    m->is_changed = true;
    meta_publish(m);
    return m;
}

void meta_free(struct meta **meta)
{
    struct meta *m = *meta;
    meta_drop_all(m);
    CHECK(m->edit.made == m->edit.gone && m->edit.bytes == 0);
    if (m->garbage != NULL)
        garbage_free(m->garbage);
    mem_free((void *)(uintptr_t)m->published);
    mem_free(m);
    *meta = NULL;
}

const struct meta_version *meta_current(const struct meta *meta)
{
    return shown_get(&meta->current);
}

void meta_publish(struct meta *m)
{
    if (!m->is_changed)
        return;
    m->draft.number++;
    if (m->routes_changed)
        m->draft.routes = m->draft.number;
    struct meta_version *v = mem_dup(&m->draft, sizeof m->draft);
    const struct meta_version *before = m->published;
    struct meta_garbage *garbage = m->garbage;
    pmap_edit_seal(&m->edit);
    m->published = v;
    m->garbage = NULL;
    m->is_changed = false;
    m->routes_changed = false;

    /* Only now can nobody come to the old things any more; whoever holds them is waited for. */
    shown_set(&m->current, v);
    if (garbage != NULL)
        m->retire(m->retire_arg, garbage, garbage_free);
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

static void result_clear(struct meta_result *r)
{
    r->refusal.code = 0;
    r->refusal.text[0] = '\0';
    r->queue = NULL;
    r->id = 0;
    r->effect_count = 0;
}

/* ---- vhosts ---- */

static const struct {
    const char *name;
    enum meta_exchange_type type;
    bool internal;
} predeclared[] = {
    { "", META_DIRECT, false },
    { "amq.direct", META_DIRECT, false },
    { "amq.fanout", META_FANOUT, false },
    { "amq.topic", META_TOPIC, false },
    { "amq.match", META_HEADERS, false },
    { "amq.headers", META_HEADERS, false },
    { "amq.rabbitmq.trace", META_TOPIC, true },
};

void meta_vhost_add(struct meta *m, struct slice name)
{
    CHECK(name.len <= META_NAME_MAX);
    struct meta_vhost *vh = pmap_edit_alloc(&m->edit, sizeof *vh + name.len);
    *vh = (struct meta_vhost){ .vhost_id = ++m->last_id,
                               .tag = m->edit.tag,
                               .name_bytes = (uint8_t)name.len };
    if (name.len != 0)
        memcpy(vh->name, name.ptr, name.len);
    pmap_set(&m->draft.vhosts, &m->kinds.vhosts, &m->edit, vh);
    pmap_set(&m->draft.vhosts_by_name, &m->kinds.vhosts_by_name, &m->edit, vh);
    for (size_t i = 0; i < ARRAY_COUNT(predeclared); i++) {
        struct meta_cmd cmd = { .op = META_EXCHANGE_DECLARE,
                                .vhost_id = vh->vhost_id,
                                .name = slice_str(predeclared[i].name) };
        cmd.exchange_declare.type = slice_str(meta_exchange_type_name(predeclared[i].type));
        cmd.exchange_declare.durable = true;
        cmd.exchange_declare.internal = predeclared[i].internal;
        meta_exchange_add(m, &cmd);
    }
}

/* Queues before exchanges, because most bindings go with them. */
void meta_vhost_delete(struct meta *m, uint64_t vhost_id, struct meta_result *out)
{
    struct meta_vhost *vh = meta_vhost_own(m, vhost_id);
    struct pmap queues = vh->queues;
    meta_queues_delete(m, &queues, out);
    while (vh->exchanges.count != 0) {
        struct pmap_iter it;
        pmap_iter(&it, &vh->exchanges);
        const struct meta_exchange *x = pmap_next(&it);
        uint64_t xid = x->def->xid;
        meta_exchange_delete(m, x);
        meta_unbind_destination(m, xid);
    }
    struct slice name = meta_vhost_name(vh);
    pmap_del(&m->draft.vhosts, &m->kinds.vhosts, &m->edit, meta_hash_id(&m->kinds.vhosts, vhost_id),
             &vhost_id);
    pmap_del(&m->draft.vhosts_by_name, &m->kinds.vhosts_by_name, &m->edit,
             meta_hash_name(&m->kinds.vhosts_by_name, name), &name);
    meta_vhost_drop(m, vh);
}

/* ---- commands ---- */

static enum meta_verdict vhost_check(const struct meta_version *v, const struct meta_cmd *cmd,
                                     struct meta_result *out)
{
    const struct meta_vhost *vh = meta_vhost_find(v, cmd->name);
    if (vh != NULL)
        out->id = vh->vhost_id;
    return (vh == NULL) == (cmd->op == META_VHOST_ADD) ? META_CHANGE : META_DONE;
}

static enum meta_verdict owner_check(const struct meta_version *v, const struct meta_cmd *cmd)
{
    const struct pmap_kind *kind = &v->kinds->owners;
    bool owns = pmap_get(&v->owners, kind, meta_hash_id(kind, cmd->conn), &cmd->conn) != NULL;
    return owns ? META_CHANGE : META_DONE;
}

/* A connection can outlive its vhost. */
static enum meta_verdict no_vhost(struct meta_result *out)
{
    struct text t = meta_refuse(&out->refusal, AMQP_NOT_ALLOWED);
    text_str(&t, "vhost not found");
    return META_REFUSED;
}

static enum meta_verdict check(const struct meta_version *v, const struct meta_cmd *cmd,
                               struct meta_result *out)
{
    if (cmd->op == META_VHOST_ADD || cmd->op == META_VHOST_DELETE)
        return vhost_check(v, cmd, out);
    if (cmd->op == META_OWNER_GONE)
        return owner_check(v, cmd);
    const struct meta_vhost *vh = meta_vhost_get(v, cmd->vhost_id);
    if (vh == NULL)
        return no_vhost(out);
    switch (cmd->op) {
    case META_EXCHANGE_DECLARE:
    case META_EXCHANGE_DELETE:
        return meta_exchange_check(v, vh, cmd, out);
    case META_QUEUE_DECLARE:
    case META_QUEUE_DELETE:
        return meta_queue_check(v, vh, cmd, out);
    case META_BIND:
    case META_UNBIND:
        return meta_binding_check(v, vh, cmd, out);
    case META_VHOST_ADD:
    case META_VHOST_DELETE:
    case META_OWNER_GONE:
        break;
    }
    UNREACHABLE("command");
}

enum meta_verdict meta_check(const struct meta_version *v, const struct meta_cmd *cmd,
                             struct meta_result *out)
{
    result_clear(out);
    out->verdict = check(v, cmd, out);
    return out->verdict;
}

static void change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    uint64_t found = out->id;
    const struct meta_exchange *x;
    switch (cmd->op) {
    case META_VHOST_ADD:
        meta_vhost_add(m, cmd->name);
        out->id = meta_vhost_find(&m->draft, cmd->name)->vhost_id;
        return;
    case META_VHOST_DELETE:
        meta_vhost_delete(m, found, out);
        return;
    case META_EXCHANGE_DECLARE:
        meta_exchange_add(m, cmd);
        out->id = m->last_id;
        return;
    case META_EXCHANGE_DELETE:
        x = meta_exchange_find(&m->draft, meta_vhost_get(&m->draft, cmd->vhost_id), cmd->name);
        meta_exchange_delete(m, x);
        meta_unbind_destination(m, found);
        return;
    case META_QUEUE_DECLARE:
        meta_queue_add(m, cmd, out);
        return;
    case META_QUEUE_DELETE:
        meta_queue_delete(m, out->queue, out);
        out->queue = NULL;
        return;
    case META_BIND:
        meta_bind(m, cmd);
        return;
    case META_UNBIND:
        meta_unbind(m, cmd);
        return;
    case META_OWNER_GONE:
        meta_owner_gone(m, cmd->conn, out);
        return;
    }
    UNREACHABLE("command");
}

enum meta_verdict meta_apply(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    if (meta_check(&m->draft, cmd, out) != META_CHANGE)
        return out->verdict;
    change(m, cmd, out);
    m->is_changed = true;
    out->verdict = META_DONE;
    return META_DONE;
}
