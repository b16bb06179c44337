#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "cluster/meta_state.h"

#define LIMITS_COMPONENT "vhost-limits"
#define LIMITS_NAME      "limits"

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

/* ---- memory ---- */

static size_t vhost_bytes(const struct meta_vhost *vh)
{
    return sizeof *vh + vh->name_bytes;
}

static size_t words_bytes(const struct meta_vhost *vh)
{
    return vh->description.len + vh->tags.len + vh->default_queue_type.len;
}

void meta_vhost_drop(struct meta *m, const struct meta_vhost *vh)
{
    pmap_edit_drop(&m->edit, vh, vhost_bytes(vh), vh->tag);
}

static void words_drop(struct meta *m, const struct meta_vhost *vh)
{
    if (vh->words != NULL)
        pmap_edit_drop(&m->edit, vh->words, words_bytes(vh), 0);
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

#define DROP_ALL(m, map, type, drop)                                                               \
    do {                                                                                           \
        struct pmap_iter it;                                                                       \
        pmap_iter(&it, (map));                                                                     \
        for (const type *thing; (thing = pmap_next(&it)) != NULL;)                                 \
            drop((m), thing);                                                                      \
        pmap_clear((map), &(m)->edit);                                                             \
    } while (0)

void meta_vhost_contents_drop(struct meta *m, struct meta_vhost *vh)
{
    m->policy_count -= vh->policies.count + vh->operator_policies.count;
    DROP_ALL(m, &vh->permissions, struct meta_permission, meta_permission_drop);
    DROP_ALL(m, &vh->topic_permissions, struct meta_topic_permission, meta_topic_permission_drop);
    DROP_ALL(m, &vh->policies, struct meta_policy, meta_policy_drop);
    DROP_ALL(m, &vh->operator_policies, struct meta_policy, meta_policy_drop);
    DROP_ALL(m, &vh->parameters, struct meta_parameter, meta_parameter_drop);
    meta_policy_order_drop(m, vh->policy_order);
    meta_policy_order_drop(m, vh->operator_order);
    vh->policy_order = NULL;
    vh->operator_order = NULL;
    words_drop(m, vh);
    vh->words = NULL;
}

/* ---- checks ---- */

static bool queue_type_is_known(const struct meta_cmd *cmd, struct meta_refusal *why)
{
    struct slice type = cmd->vhost.default_queue_type;
    if (!cmd->vhost.has_default_queue_type || type.len == 0 || slice_is(type, "classic") ||
        slice_is(type, "quorum"))
        return true;
    struct text t = meta_refuse(why, 400);
    text_str(&t, "invalid_queue_type");
    return false;
}

static bool words_fit(const struct meta_cmd *cmd, struct meta_refusal *why)
{
    if (cmd->name.len <= META_NAME_MAX && cmd->vhost.description.len <= META_TEXT_MAX &&
        cmd->vhost.tags.len <= META_TAGS_MAX)
        return true;
    struct text t = meta_refuse(why, 400);
    text_str(&t, "the name, the description or the tags of the virtual host are too long");
    return false;
}

static enum meta_verdict put_check(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                                   struct meta_result *out)
{
    if (!words_fit(cmd, &out->refusal))
        return META_REFUSED;
    if (cmd->op == META_VHOST_ADD)
        return vh == NULL ? META_CHANGE : META_DONE;
    return queue_type_is_known(cmd, &out->refusal) ? META_CHANGE : META_REFUSED;
}

enum meta_verdict meta_vhost_check(const struct meta_version *v, const struct meta_vhost *none,
                                   const struct meta_cmd *cmd, struct meta_result *out)
{
    CHECK(none == NULL);
    const struct meta_vhost *vh = meta_vhost_find(v, cmd->name);
    if (vh != NULL)
        out->id = vh->vhost_id;
    if (cmd->op == META_VHOST_DELETE)
        return vh != NULL ? META_CHANGE : META_DONE;
    return put_check(vh, cmd, out);
}

/* ---- changes ---- */

static void predeclare(struct meta *m, uint64_t vhost_id)
{
    for (size_t i = 0; i < ARRAY_COUNT(predeclared); i++) {
        struct meta_cmd cmd = { .op = META_EXCHANGE_DECLARE,
                                .vhost_id = vhost_id,
                                .name = slice_str(predeclared[i].name) };
        cmd.exchange_declare.type = slice_str(meta_exchange_type_name(predeclared[i].type));
        cmd.exchange_declare.durable = true;
        cmd.exchange_declare.internal = predeclared[i].internal;
        meta_exchange_add(m, &cmd);
    }
}

static uint64_t vhost_add(struct meta *m, struct slice name)
{
    CHECK(name.len <= META_NAME_MAX);
    struct meta_vhost *vh = pmap_edit_alloc(&m->edit, sizeof *vh + name.len);
    *vh = (struct meta_vhost){ .vhost_id = ++m->draft.last_id,
                               .tag = m->edit.tag,
                               .max_connections = META_NO_LIMIT,
                               .max_queues = META_NO_LIMIT,
                               .name_bytes = (uint8_t)name.len };
    if (name.len != 0)
        memcpy(vh->name, name.ptr, name.len);
    pmap_set(&m->draft.vhosts, &m->kinds.vhosts, &m->edit, vh);
    pmap_set(&m->draft.vhosts_by_name, &m->kinds.vhosts_by_name, &m->edit, vh);
    m->draft.things += meta_digest_vhost(vh);
    uint64_t id = vh->vhost_id;
    predeclare(m, id);
    m->rights_changed = true;
    return id;
}

static void set_words(struct meta *m, struct meta_vhost *vh, const struct meta_cmd *cmd)
{
    struct meta_vhost before = *vh;
    if (cmd->vhost.has_description)
        vh->description = cmd->vhost.description;
    if (cmd->vhost.has_tags)
        vh->tags = cmd->vhost.tags;
    if (cmd->vhost.has_default_queue_type)
        vh->default_queue_type = cmd->vhost.default_queue_type;
    size_t bytes = words_bytes(vh);
    uint8_t *words = bytes != 0 ? pmap_edit_alloc(&m->edit, bytes) : NULL;
    uint8_t *at = words;
    vh->description = meta_put_word(&at, vh->description);
    vh->tags = meta_put_word(&at, vh->tags);
    vh->default_queue_type = meta_put_word(&at, vh->default_queue_type);
    vh->words = words;
    words_drop(m, &before);
}

void meta_vhost_put(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    if (out->id == 0)
        out->id = vhost_add(m, cmd->name);
    if (cmd->op == META_VHOST_ADD)
        return;
    struct meta_vhost *vh = meta_vhost_own(m, out->id);
    m->draft.things -= meta_digest_vhost(vh);
    set_words(m, vh, cmd);
    if (cmd->vhost.has_tracing)
        vh->tracing = cmd->vhost.tracing;
    m->draft.things += meta_digest_vhost(vh);
}

static void exchanges_drop(struct meta *m, struct pmap *exchanges)
{
    struct pmap_iter it;
    pmap_iter(&it, exchanges);
    for (const struct meta_exchange *x; (x = pmap_next(&it)) != NULL;) {
        struct meta_exchange last = *x;
        meta_bindings_drop(m, &last);
        meta_destination_drop(m, x->def->xid);
        meta_exchange_drop(m, x);
        m->exchange_count--;
    }
    pmap_clear(exchanges, &m->edit);
}

/* All at once: nothing that goes is kept in order on the way, since bindings never leave a vhost. A
 * vhost may hold a million of them. The sets of bindings go before the bindings that they hold. */
void meta_vhost_delete(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    uint64_t vhost_id = out->id;
    struct meta_vhost *vh = meta_vhost_own(m, vhost_id);
    m->draft.things -= meta_digest_vhost(vh);
    meta_vhost_queues_drop(m, &vh->queues, out);
    exchanges_drop(m, &vh->exchanges);
    m->routes_changed = true;
    meta_vhost_contents_drop(m, vh);
    struct slice name = meta_vhost_name(vh);
    pmap_del(&m->draft.vhosts, &m->kinds.vhosts, &m->edit, meta_hash_id(&m->kinds.vhosts, vhost_id),
             &vhost_id);
    pmap_del(&m->draft.vhosts_by_name, &m->kinds.vhosts_by_name, &m->edit,
             meta_hash_name(&m->kinds.vhosts_by_name, name), &name);
    meta_vhost_drop(m, vh);
    m->rights_changed = true;
    meta_tell(out, &(struct meta_effect){
                       .kind = META_VHOST_DELETED, .vhost_id = vhost_id, .name = cmd->name });
}
