/* A vhost's limits are, as in RabbitMQ, a parameter, "vhost-limits" by component and "limits" by
 * name; whatever sets that parameter sets them. */
#include "cluster/meta_limits.h"

#include "base/check.h"
#include "cluster/meta_parameter.h"
#include "cluster/meta_state.h"

const struct meta_limit_names meta_vhost_limit_names = { META_LIMITS_NAME,
                                                         { "max-connections", "max-queues" } };
const struct meta_limit_names meta_user_limit_names = { "user-limits",
                                                        { "max-connections", "max-channels" } };

void meta_limits_take(const json_t *object, const struct meta_limit_names *names,
                      int64_t values[META_LIMITS_COUNT])
{
    for (unsigned i = 0; i < META_LIMITS_COUNT; i++) {
        const json_t *v = json_object_get(object, names->names[i]);
        if (v != NULL)
            values[i] = json_integer_value(v) >= 0 ? json_integer_value(v) : META_NO_LIMIT;
    }
}

static bool is_known(const struct meta_limit_names *names, const char *key)
{
    for (unsigned i = 0; i < META_LIMITS_COUNT; i++)
        if (strcmp(names->names[i], key) == 0)
            return true;
    return false;
}

/* Those that nobody knows come first. */
static bool all_are_known(const json_t *object, const struct meta_limit_names *names,
                          struct text *t)
{
    json_t *others = json_object();
    struct meta_json_iter it;
    const json_t *value;
    meta_json_iter(&it, object);
    for (const char *key; (key = meta_json_next(&it, &value)) != NULL;)
        if (!is_known(names, key))
            json_object_set(others, key, (json_t *)(uintptr_t)value);
    meta_json_iter_fini(&it);
    bool ok = json_object_size(others) == 0;
    if (!ok) {
        text_str(t, "Unrecognised terms ");
        meta_json_put_pairs(t, others);
        text_put(t, " in %s\n", names->what);
    }
    json_decref(others);
    return ok;
}

bool meta_limits_suit(const json_t *value, const struct meta_limit_names *names, struct text *t)
{
    if (!json_is_object(value)) {
        text_put(t, "%s not a list ", names->what);
        meta_json_put_term(t, value);
        text_char(t, '\n');
        return false;
    }
    bool ok = all_are_known(value, names, t);
    for (unsigned i = META_LIMITS_COUNT; i-- > 0;) {
        const json_t *v = json_object_get(value, names->names[i]);
        if (v == NULL || json_is_integer(v))
            continue;
        text_put(t, "%s should be a number, actually was ", names->names[i]);
        meta_json_put_term(t, v);
        text_char(t, '\n');
        ok = false;
    }
    return ok;
}

bool meta_user_limits_read(struct slice json, int64_t values[META_LIMITS_COUNT],
                           struct meta_refusal *why)
{
    json_t *value = meta_json_read(json, why);
    if (value == NULL)
        return false;
    struct text t = meta_refuse(why, 400);
    bool ok = meta_limits_suit(value, &meta_user_limit_names, &t);
    if (ok)
        meta_limits_take(value, &meta_user_limit_names, values);
    else
        why->text[t.len - 1] = '\0'; /* the end of its last line */
    json_decref(value);
    return ok;
}

/* ---- of a vhost ---- */

static const struct meta_parameter *current(const struct meta_version *v,
                                            const struct meta_vhost *vh)
{
    return meta_parameter_find(v, vh, slice_str(META_LIMITS_COMPONENT),
                               slice_str(META_LIMITS_NAME));
}

/* What the parameter is to become: a new JSON value, or NULL when it is to be cleared. */
static json_t *changed(const struct meta_parameter *now, const struct meta_cmd *cmd)
{
    struct meta_refusal why;
    json_t *there = now != NULL ? meta_json_read(now->value, &why) : json_object();
    CHECK(there != NULL);
    if (cmd->op == META_VHOST_LIMITS_CLEAR) {
        json_object_deln(there, (const char *)cmd->limits.limit.ptr, cmd->limits.limit.len);
        return there;
    }
    json_t *given = meta_json_read_object(cmd->limits.definition, &why);
    if (cmd->limits.merge) {
        json_object_update(there, given);
        json_decref(given);
        return there;
    }
    json_decref(there);
    return given;
}

enum meta_verdict meta_vhost_limits_check(const struct meta_version *v, const struct meta_vhost *vh,
                                          const struct meta_cmd *cmd, struct meta_result *out)
{
    struct meta_cmd as_parameter = { .op = META_PARAMETER_PUT, .vhost_id = cmd->vhost_id };
    as_parameter.name = slice_str(META_LIMITS_NAME);
    as_parameter.parameter.component = slice_str(META_LIMITS_COMPONENT);
    as_parameter.parameter.value = cmd->limits.definition;
    if (cmd->op == META_VHOST_LIMITS_CLEAR) {
        if (cmd->limits.limit.len != 0 && current(v, vh) == NULL)
            return META_DONE;
        as_parameter.op = META_PARAMETER_CLEAR;
    }
    return meta_parameter_check(v, vh, &as_parameter, out);
}

void meta_vhost_limits_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    (void)out;
    const struct meta_vhost *vh = meta_vhost_get(&m->draft, cmd->vhost_id);
    struct meta_parameter_id id = { slice_str(META_LIMITS_COMPONENT), slice_str(META_LIMITS_NAME) };
    if (cmd->op == META_VHOST_LIMITS_CLEAR && cmd->limits.limit.len == 0) {
        meta_parameter_clear(m, cmd->vhost_id, &id);
        return;
    }
    json_t *value = changed(current(&m->draft, vh), cmd);
    meta_parameter_put(m, cmd->vhost_id, &id, value);
    json_decref(value);
}
