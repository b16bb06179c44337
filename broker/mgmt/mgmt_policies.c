/* Policies, operator policies, parameters and the limits of vhosts. */
#include "base/mem.h"
#include "mgmt/mgmt_export.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>
#include <string.h>

/* ---- as JSON ---- */

json_t *mgmt_json_parsed(struct slice text)
{
    json_t *v =
        json_loadb((const char *)text.ptr, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    return v != NULL ? v : json_null();
}

static json_t *policy(const struct meta_vhost *vh, const struct meta_policy *p)
{
    json_t *o = json_object();
    json_out_put(o, "vhost", json_out_text(meta_vhost_name(vh)));
    json_out_put(o, "name", json_out_text(p->name));
    json_out_put(o, "pattern", json_out_text(p->pattern.text));
    json_out_put_str(o, "apply-to", meta_apply_to_name(p->apply_to));
    json_out_put(o, "definition", mgmt_json_parsed(p->definition));
    json_out_put(o, "priority", json_integer(p->priority));
    return o;
}

static int compare_names(const void *left, const void *right)
{
    json_t *const *a = left;
    json_t *const *b = right;
    int order =
        mgmt_list_compare(json_object_get(*a, "component"), json_object_get(*b, "component"));
    return order != 0 ? order
                      : mgmt_list_compare(json_object_get(*a, "name"), json_object_get(*b, "name"));
}

static void append_sorted(json_t *all, json_t **items, size_t count)
{
    qsort(items, count, sizeof *items, compare_names);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, items[i]);
}

void mgmt_policies_json(json_t *all, const struct meta_vhost *vh, bool is_operator)
{
    const struct pmap *map = is_operator ? &vh->operator_policies : &vh->policies;
    json_t **items = mem_array(map->count + 1, sizeof(json_t *));
    size_t count = 0;
    struct pmap_iter it;
    pmap_iter(&it, map);
    const struct meta_policy *p;
    while ((p = pmap_next(&it)) != NULL)
        items[count++] = policy(vh, p);
    append_sorted(all, items, count);
    mem_free(items);
}

static json_t *parameter(const struct meta_vhost *vh, const struct meta_parameter *p)
{
    json_t *o = json_object();
    if (vh != NULL) {
        json_out_put(o, "vhost", json_out_text(meta_vhost_name(vh)));
        json_out_put(o, "component", json_out_text(p->component));
    }
    json_out_put(o, "name", json_out_text(p->name));
    json_out_put(o, "value", mgmt_json_parsed(p->value));
    return o;
}

/* Of one component, or, with an empty name, of all. */
static void add_parameters(json_t *all, const struct meta_vhost *vh, const struct pmap *map,
                           struct slice component)
{
    json_t **items = mem_array(map->count + 1, sizeof(json_t *));
    size_t count = 0;
    struct pmap_iter it;
    pmap_iter(&it, map);
    const struct meta_parameter *p;
    while ((p = pmap_next(&it)) != NULL) {
        if (component.len == 0 || slice_eq(component, p->component))
            items[count++] = parameter(vh, p);
    }
    append_sorted(all, items, count);
    mem_free(items);
}

void mgmt_parameters_json(json_t *all, const struct meta_vhost *vh)
{
    add_parameters(all, vh, &vh->parameters, slice_str(""));
}

json_t *mgmt_global_parameters_json(const struct meta_version *v)
{
    json_t *all = json_array();
    add_parameters(all, NULL, &v->global_parameters, slice_str(""));
    return all;
}

/* ---- policies ---- */

static bool is_operator(const struct mgmt_call *c)
{
    return slice_is(c->segments[1], "operator-policies");
}

void mgmt_serve_policies(struct mgmt_call *c)
{
    size_t count;
    const struct meta_vhost **vhosts = mgmt_vhosts(c, &count);
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++)
        mgmt_policies_json(all, vhosts[i], is_operator(c));
    mem_free(vhosts);
    mgmt_reply_list(c, all);
}

static const struct meta_policy *policy_named(const struct mgmt_call *c,
                                              const struct meta_vhost *vh)
{
    return vh != NULL ? meta_policy_find(mgmt_meta(c), vh, mgmt_arg(c, 1), is_operator(c)) : NULL;
}

void mgmt_serve_policy(struct mgmt_call *c)
{
    const struct meta_vhost *vh = mgmt_vhost(c);
    const struct meta_policy *p = policy_named(c, vh);
    if (p != NULL)
        mgmt_reply_object(c, policy(vh, p));
    else
        mgmt_not_found(c);
}

/* "priority should be a number, actually was ..." */
static bool read_priority(struct mgmt_call *c, int64_t *out)
{
    const json_t *v = json_object_get(c->body, "priority");
    *out = 0;
    if (v == NULL || json_is_null(v))
        return true;
    if (json_is_number(v)) {
        *out = json_is_integer(v) ? json_integer_value(v) : (int64_t)json_real_value(v);
        return true;
    }
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    mgmt_bad_request(c,
                     "Validation failed\n\npriority should be a number, actually was "
                     "&lt;&lt;%s&gt;&gt;\n",
                     text);
    mem_free(text);
    return false;
}

void mgmt_serve_policy_put(struct mgmt_call *c)
{
    static const char *const needed[] = { "pattern", "definition", NULL };
    struct meta_cmd cmd = { .op = META_POLICY_PUT,
                            .vhost_id = c->vhost_id,
                            .name = mgmt_arg(c, 1) };
    if (!mgmt_read_body_with(c, needed) || !mgmt_member_text(c, "pattern", &cmd.policy.pattern) ||
        !mgmt_member_text(c, "apply-to", &cmd.policy.apply_to) ||
        !read_priority(c, &cmd.policy.priority))
        return;
    char *text = json_dumps(json_object_get(c->body, "definition"), JSON_COMPACT | JSON_ENCODE_ANY);
    cmd.policy.definition = slice_str(text);
    cmd.policy.is_operator = is_operator(c);
    c->is_html = !is_operator(c);
    mgmt_change(c, &cmd, policy_named(c, mgmt_vhost(c)) != NULL ? 204 : 201);
    mem_free(text);
}

void mgmt_serve_policy_delete(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_POLICY_CLEAR,
                            .vhost_id = c->vhost_id,
                            .name = mgmt_arg(c, 1) };
    cmd.policy.is_operator = is_operator(c);
    if (policy_named(c, mgmt_vhost(c)) == NULL)
        mgmt_not_found(c);
    else
        mgmt_change(c, &cmd, 204);
}

/* ---- parameters: /api/parameters/COMPONENT/VHOST/NAME ---- */

static const struct meta_vhost *vhost_of_parameter(const struct mgmt_call *c)
{
    return meta_vhost_find(mgmt_meta(c), mgmt_arg(c, 1));
}

/* A policymaker sees and changes those of vhosts that he may enter; false: it was refused. */
static bool may_see_parameters(struct mgmt_call *c)
{
    const struct meta_vhost *vh = vhost_of_parameter(c);
    if (vh == NULL || mgmt_has_tag(c, MGMT_ADMINISTRATOR) || mgmt_may_enter(c, vh))
        return true;
    mgmt_refuse_access(c, "User not authorised to access object");
    return false;
}

/* Operator policies are parameters to RabbitMQ, policies of users are not. */
static void add_all_parameters(json_t *all, const struct meta_vhost *vh, struct slice component)
{
    static const char word[] = "operator_policy";
    size_t index;
    json_t *p;
    add_parameters(all, vh, &vh->parameters, component);
    if (component.len != 0 && !slice_is(component, word))
        return;
    json_t *policies = json_array();
    mgmt_policies_json(policies, vh, true);
    json_array_foreach(policies, index, p)
    {
        json_t *o = json_object();
        json_out_put(o, "vhost", json_incref(json_object_get(p, "vhost")));
        json_out_put_str(o, "component", word);
        json_out_put(o, "name", json_incref(json_object_get(p, "name")));
        json_object_del(p, "vhost");
        json_object_del(p, "name");
        json_out_put(o, "value", json_incref(p));
        json_array_append_new(all, o);
    }
    json_decref(policies);
}

static void serve_parameters_of_vhost(struct mgmt_call *c)
{
    const struct meta_vhost *vh = vhost_of_parameter(c);
    if (vh == NULL) {
        mgmt_not_found(c);
        return;
    }
    if (!may_see_parameters(c))
        return;
    json_t *all = json_array();
    add_all_parameters(all, vh, mgmt_arg(c, 0));
    mgmt_reply_list(c, all);
}

void mgmt_serve_parameters(struct mgmt_call *c)
{
    if (c->arg_count > 1) {
        serve_parameters_of_vhost(c);
        return;
    }
    size_t count;
    const struct meta_vhost **vhosts = mgmt_vhosts(c, &count);
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++)
        add_all_parameters(all, vhosts[i], mgmt_arg(c, 0));
    mem_free(vhosts);
    mgmt_reply_list(c, all);
}

static const struct meta_parameter *parameter_named(const struct mgmt_call *c,
                                                    const struct meta_vhost *vh)
{
    return vh != NULL ? meta_parameter_find(mgmt_meta(c), vh, mgmt_arg(c, 0), mgmt_arg(c, 2))
                      : NULL;
}

void mgmt_serve_parameter(struct mgmt_call *c)
{
    if (!may_see_parameters(c))
        return;
    const struct meta_vhost *vh = vhost_of_parameter(c);
    const struct meta_parameter *p = parameter_named(c, vh);
    if (p != NULL)
        mgmt_reply_object(c, parameter(vh, p));
    else
        mgmt_not_found(c);
}

/* The member "value" as text, or NULL: answered. To be freed. */
static char *value_text(struct mgmt_call *c)
{
    static const char *const needed[] = { "value", NULL };
    if (!mgmt_read_body_with(c, needed))
        return NULL;
    return json_dumps(json_object_get(c->body, "value"), JSON_COMPACT | JSON_ENCODE_ANY);
}

void mgmt_serve_parameter_put(struct mgmt_call *c)
{
    const struct meta_vhost *vh = vhost_of_parameter(c);
    struct meta_cmd cmd = { .op = META_PARAMETER_PUT, .name = mgmt_arg(c, 2) };
    if (vh == NULL) {
        mgmt_refuse(c, 404, "not_found", "vhost_not_found");
        return;
    }
    if (!may_see_parameters(c))
        return;
    if (slice_is(mgmt_arg(c, 0), "policy")) {
        mgmt_bad_request(c, "policies may not be set using this method");
        return;
    }
    char *value = value_text(c);
    if (value == NULL)
        return;
    cmd.vhost_id = vh->vhost_id;
    cmd.parameter.component = mgmt_arg(c, 0);
    cmd.parameter.value = slice_str(value);
    mgmt_change(c, &cmd, parameter_named(c, vh) != NULL ? 204 : 201);
    mem_free(value);
}

void mgmt_serve_parameter_delete(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_PARAMETER_CLEAR, .name = mgmt_arg(c, 2) };
    if (!may_see_parameters(c))
        return;
    const struct meta_vhost *vh = vhost_of_parameter(c);
    if (parameter_named(c, vh) == NULL) {
        mgmt_not_found(c);
        return;
    }
    cmd.vhost_id = vh->vhost_id;
    cmd.parameter.component = mgmt_arg(c, 0);
    mgmt_change(c, &cmd, 204);
}

/* ---- global ones ---- */

void mgmt_serve_global_parameters(struct mgmt_call *c)
{
    mgmt_reply_list(c, mgmt_global_parameters_json(mgmt_meta(c)));
}

void mgmt_serve_global_parameter(struct mgmt_call *c)
{
    const struct meta_parameter *p = meta_global_parameter_find(mgmt_meta(c), mgmt_arg(c, 0));
    if (p != NULL)
        mgmt_reply_object(c, parameter(NULL, p));
    else
        mgmt_not_found(c);
}

void mgmt_serve_global_parameter_put(struct mgmt_call *c)
{
    bool is_there = meta_global_parameter_find(mgmt_meta(c), mgmt_arg(c, 0)) != NULL;
    struct meta_cmd cmd = { .op = META_GLOBAL_PARAMETER_PUT, .name = mgmt_arg(c, 0) };
    char *value = value_text(c);
    if (value == NULL)
        return;
    cmd.parameter.value = slice_str(value);
    mgmt_change(c, &cmd, is_there ? 204 : 201);
    mem_free(value);
}

void mgmt_serve_global_parameter_delete(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_GLOBAL_PARAMETER_CLEAR, .name = mgmt_arg(c, 0) };
    if (meta_global_parameter_find(mgmt_meta(c), mgmt_arg(c, 0)) == NULL)
        mgmt_not_found(c);
    else
        mgmt_change(c, &cmd, 204);
}

/* ---- limits of vhosts ---- */

static json_t *limits_of(const struct meta_vhost *vh)
{
    json_t *o = json_object();
    if (vh->max_connections != META_NO_LIMIT)
        json_out_put(o, "max-connections", json_integer(vh->max_connections));
    if (vh->max_queues != META_NO_LIMIT)
        json_out_put(o, "max-queues", json_integer(vh->max_queues));
    return o;
}

void mgmt_serve_vhost_limits(struct mgmt_call *c)
{
    size_t count;
    const struct meta_vhost **vhosts = mgmt_vhosts(c, &count);
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *limits = limits_of(vhosts[i]);
        if (json_object_size(limits) != 0)
            json_array_append_new(all, json_pack("{s:o, s:O}", "vhost",
                                                 json_out_text(meta_vhost_name(vhosts[i])), "value",
                                                 limits));
        json_decref(limits);
    }
    mem_free(vhosts);
    mgmt_reply_list(c, all);
}

char *mgmt_limit_definition(struct mgmt_call *c)
{
    static const char *const needed[] = { "value", NULL };
    char name[META_NAME_MAX + 1];
    struct text t = text_over(name, sizeof name);
    if (!mgmt_read_body_with(c, needed))
        return NULL;
    text_slice(&t, mgmt_arg(c, 1));
    json_t *o = json_pack("{s:O}", name, json_object_get(c->body, "value"));
    char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (text == NULL)
        mgmt_not_found(c); /* a name that is no text */
    return text;
}

void mgmt_serve_vhost_limit_put(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_VHOST_LIMITS_PUT, .vhost_id = c->vhost_id };
    char *definition = mgmt_limit_definition(c);
    if (definition == NULL)
        return;
    cmd.limits.definition = slice_str(definition);
    cmd.limits.merge = true;
    mgmt_change(c, &cmd, 204);
    mem_free(definition);
}

void mgmt_serve_vhost_limit_delete(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_VHOST_LIMITS_CLEAR, .vhost_id = c->vhost_id };
    cmd.limits.limit = mgmt_arg(c, 1);
    mgmt_change(c, &cmd, 204);
}
