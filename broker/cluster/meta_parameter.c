/* Of the components that RabbitMQ knows without plugins only a vhost's limits are kept here:
 * policies have commands of their own, and what belongs to plugins is refused as it is there. */
#include "cluster/meta_parameter.h"

#include "base/check.h"
#include "cluster/meta_limits.h"
#include "cluster/meta_node.h"
#include "cluster/meta_state.h"

#define VALUE_TEXT_MAX ((size_t)1 << 20)

const struct meta_parameter *meta_parameter_find(const struct meta_version *v,
                                                 const struct meta_vhost *vh,
                                                 struct slice component, struct slice name)
{
    const struct pmap_kind *kind = &v->kinds->parameters;
    struct meta_pair pair = { component, name };
    return pmap_get(&vh->parameters, kind, meta_hash_pair(kind, &pair), &pair);
}

const struct meta_parameter *meta_global_parameter_find(const struct meta_version *v,
                                                        struct slice name)
{
    const struct pmap_kind *kind = &v->kinds->parameters;
    struct meta_pair pair = { { NULL, 0 }, name };
    return pmap_get(&v->global_parameters, kind, meta_hash_pair(kind, &pair), &pair);
}

void meta_cluster_name(const struct meta_version *v, struct text *out)
{
    const struct meta_parameter *p = meta_global_parameter_find(v, slice_str("cluster_name"));
    json_error_t why;
    json_t *name = p != NULL
                       ? json_loadb((const char *)p->value.ptr, p->value.len, JSON_DECODE_ANY, &why)
                       : NULL;
    if (json_is_string(name) && json_string_length(name) != 0)
        text_slice(out, slice_of(json_string_value(name), json_string_length(name)));
    else if (meta_node_count(v) != 0)
        text_slice(out, meta_node_at(v, 0)->name);
    json_decref(name);
}

/* ---- checks ---- */

static bool refuse(struct meta_refusal *why, unsigned code, const char *text)
{
    struct text t = meta_refuse(why, code);
    text_str(&t, text);
    return false;
}

static bool component_is_known(struct slice component, struct meta_refusal *why)
{
    if (slice_is(component, META_LIMITS_COMPONENT))
        return true;
    if (slice_is(component, "policy") || slice_is(component, "operator_policy"))
        return refuse(why, 400, "policies may not be set using this method");
    struct text t = meta_refuse(why, 400);
    text_str(&t, "Validation failed\n\ncomponent ");
    text_slice(&t, component);
    text_str(&t, " not found\n");
    return false;
}

static bool limits_suit(const struct meta_cmd *cmd, const json_t *value, struct meta_refusal *why)
{
    if (!slice_is(cmd->name, META_LIMITS_NAME))
        return refuse(why, 400, "the limits of a virtual host are called 'limits'");
    struct text t = meta_refuse(why, 400);
    text_str(&t, "Validation failed\n\n");
    return meta_limits_suit(value, &meta_vhost_limit_names, &t);
}

static bool names_fit(const struct meta_cmd *cmd, struct meta_refusal *why)
{
    if (cmd->name.len != 0 && cmd->name.len <= META_NAME_MAX &&
        cmd->parameter.component.len <= META_NAME_MAX)
        return true;
    return refuse(why, 400, "the name of a parameter has 1 to 255 octets");
}

static bool put_suits(const struct meta_cmd *cmd, struct meta_refusal *why)
{
    bool is_global = cmd->op == META_GLOBAL_PARAMETER_PUT;
    if (!names_fit(cmd, why) || (!is_global && !component_is_known(cmd->parameter.component, why)))
        return false;
    json_t *value = is_global ? meta_json_read(cmd->parameter.value, why)
                              : meta_json_read_object(cmd->parameter.value, why);
    if (value == NULL)
        return false;
    bool ok = is_global || limits_suit(cmd, value, why);
    json_decref(value);
    return ok;
}

enum meta_verdict meta_parameter_check(const struct meta_version *v, const struct meta_vhost *vh,
                                       const struct meta_cmd *cmd, struct meta_result *out)
{
    if (cmd->op == META_PARAMETER_PUT || cmd->op == META_GLOBAL_PARAMETER_PUT)
        return put_suits(cmd, &out->refusal) ? META_CHANGE : META_REFUSED;
    const struct meta_parameter *there =
        cmd->op == META_PARAMETER_CLEAR
            ? meta_parameter_find(v, vh, cmd->parameter.component, cmd->name)
            : meta_global_parameter_find(v, cmd->name);
    if (there != NULL)
        return META_CHANGE;
    refuse(&out->refusal, 404, "Parameter does not exist");
    return META_REFUSED;
}

/* ---- changes ---- */

static size_t parameter_bytes(const struct meta_parameter *p)
{
    return sizeof *p + p->component.len + p->name.len + p->value.len;
}

void meta_parameter_drop(struct meta *m, const struct meta_parameter *p)
{
    m->draft.things -= meta_digest_parameter(p);
    pmap_edit_drop(&m->edit, p, parameter_bytes(p), p->tag);
}

static const struct meta_parameter *make(struct meta *m, uint64_t vhost_id,
                                         const struct meta_parameter_id *id, const json_t *value)
{
    struct text t;
    text_init(&t, VALUE_TEXT_MAX);
    meta_json_put(&t, value);
    size_t words = id->component.len + id->name.len + t.len;
    struct meta_parameter *p = pmap_edit_alloc(&m->edit, sizeof *p + words);
    *p = (struct meta_parameter){ .vhost_id = vhost_id, .tag = m->edit.tag };
    uint8_t *at = p->bytes;
    p->component = meta_put_word(&at, id->component);
    p->name = meta_put_word(&at, id->name);
    p->value = meta_put_word(&at, text_view(&t));
    text_fini(&t);
    m->draft.things += meta_digest_parameter(p);
    return p;
}

/* A vhost's limits are read from where they are, not from the parameter. */
static void take_effect(struct meta_vhost *vh, const struct meta_parameter_id *id,
                        const json_t *value)
{
    if (!slice_is(id->component, META_LIMITS_COMPONENT))
        return;
    int64_t limits[META_LIMITS_COUNT] = { META_NO_LIMIT, META_NO_LIMIT };
    if (value != NULL)
        meta_limits_take(value, &meta_vhost_limit_names, limits);
    vh->max_connections = limits[0];
    vh->max_queues = limits[1];
}

static struct pmap *map_of(struct meta *m, struct meta_vhost *vh)
{
    return vh != NULL ? &vh->parameters : &m->draft.global_parameters;
}

void meta_parameter_put(struct meta *m, uint64_t vhost_id, const struct meta_parameter_id *id,
                        const json_t *value)
{
    struct meta_vhost *vh = id->component.len != 0 ? meta_vhost_own(m, vhost_id) : NULL;
    const void *old = pmap_set(map_of(m, vh), &m->kinds.parameters, &m->edit,
                               make(m, vh != NULL ? vhost_id : 0, id, value));
    if (old != NULL)
        meta_parameter_drop(m, old);
    if (vh != NULL)
        take_effect(vh, id, value);
}

void meta_parameter_clear(struct meta *m, uint64_t vhost_id, const struct meta_parameter_id *id)
{
    const struct pmap_kind *kind = &m->kinds.parameters;
    struct meta_vhost *vh = id->component.len != 0 ? meta_vhost_own(m, vhost_id) : NULL;
    struct meta_pair pair = { id->component, id->name };
    const void *gone = pmap_del(map_of(m, vh), kind, &m->edit, meta_hash_pair(kind, &pair), &pair);
    CHECK(gone != NULL);
    if (vh != NULL)
        take_effect(vh, id, NULL);
    meta_parameter_drop(m, gone);
}

void meta_parameter_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    bool is_global = cmd->op == META_GLOBAL_PARAMETER_PUT || cmd->op == META_GLOBAL_PARAMETER_CLEAR;
    struct meta_parameter_id id = { cmd->parameter.component, cmd->name };
    if (is_global)
        id.component = (struct slice){ NULL, 0 };
    if (cmd->op == META_PARAMETER_CLEAR || cmd->op == META_GLOBAL_PARAMETER_CLEAR) {
        meta_parameter_clear(m, cmd->vhost_id, &id);
        return;
    }
    json_t *value = is_global ? meta_json_read(cmd->parameter.value, &out->refusal)
                              : meta_json_read_object(cmd->parameter.value, &out->refusal);
    CHECK(value != NULL);
    meta_parameter_put(m, cmd->vhost_id, &id, value);
    json_decref(value);
}
