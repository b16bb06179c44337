/* Vhosts, their limits, policies and parameters. */
#include "cluster/meta_node.h"
#include "mgmt/ctl_change.h"
#include "mgmt/mgmt_inner.h"

#include <string.h>

/* ---- vhosts ---- */

static void add_tag(void *arg, struct slice tag)
{
    json_array_append_new(arg, json_out_text(tag));
}

static json_t *vhost_value(const struct meta_vhost *vh, const char *column)
{
    if (strcmp(column, "name") == 0)
        return json_out_text(meta_vhost_name(vh));
    if (strcmp(column, "tracing") == 0)
        return json_boolean(vh->tracing);
    if (strcmp(column, "description") == 0)
        return json_out_text(vh->description);
    if (strcmp(column, "default_queue_type") == 0)
        return json_out_text(vh->default_queue_type.len != 0 ? vh->default_queue_type
                                                             : slice_str("classic"));
    if (strcmp(column, "cluster_state") == 0)
        return json_string("running");
    json_t *tags = json_array();
    meta_each_tag(vh->tags, add_tag, tags);
    return tags;
}

void ctl_serve_list_vhosts(struct ctl *c, struct http_request *r, json_t *args)
{
    const json_t *columns = json_object_get(args, "columns");
    json_t *rows = json_array();
    struct pmap_iter it;
    pmap_iter(&it, &broker_meta(c->broker)->vhosts);
    const struct meta_vhost *vh;
    while ((vh = pmap_next(&it)) != NULL) {
        json_t *row = json_array(), *column;
        size_t index;
        json_array_foreach(columns, index, column)
        {
            const char *name = json_string_value(column);
            json_array_append_new(row, vhost_value(vh, name != NULL ? name : "name"));
        }
        json_array_append_new(rows, row);
    }
    ctl_reply_rows(r, rows);
}

static void put_vhost(struct ctl *c, struct http_request *r, struct slice name, const json_t *args)
{
    struct meta_cmd cmd = { .op = META_VHOST_PUT, .name = name };
    cmd.vhost.description = ctl_text(args, "description");
    cmd.vhost.has_description = ctl_has(args, "description");
    cmd.vhost.tags = ctl_text(args, "tags");
    cmd.vhost.has_tags = ctl_has(args, "tags");
    cmd.vhost.default_queue_type = ctl_text(args, "default_queue_type");
    cmd.vhost.has_default_queue_type = ctl_has(args, "default_queue_type");
    cmd.vhost.tracing = json_is_true(json_object_get(args, "tracing"));
    cmd.vhost.has_tracing = ctl_has(args, "tracing");
    ctl_change(c, r, &cmd);
}

void ctl_serve_add_vhost(struct ctl *c, struct http_request *r, json_t *args)
{
    put_vhost(c, r, ctl_text(args, "vhost"), args);
}

/* Tags, tracing: of one that is there. */
void ctl_serve_change_vhost(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (ctl_vhost_of(c, r, args, &vh))
        put_vhost(c, r, meta_vhost_name(vh), args);
}

void ctl_serve_delete_vhost(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (ctl_vhost_of(c, r, args, &vh))
        ctl_change(c, r,
                   &(struct meta_cmd){ .op = META_VHOST_DELETE, .name = meta_vhost_name(vh) });
}

/* ---- limits ---- */

static json_t *limits_of(const struct meta_vhost *vh)
{
    json_t *o = json_object();
    if (vh->max_connections != META_NO_LIMIT)
        json_object_set_new(o, "max-connections", json_integer(vh->max_connections));
    if (vh->max_queues != META_NO_LIMIT)
        json_object_set_new(o, "max-queues", json_integer(vh->max_queues));
    return o;
}

void ctl_serve_set_vhost_limits(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (ctl_vhost_of(c, r, args, &vh))
        ctl_change(c, r,
                   &(struct meta_cmd){ .op = META_VHOST_LIMITS_PUT,
                                       .vhost_id = vh->vhost_id,
                                       .limits = { .definition = ctl_text(args, "definition") } });
}

void ctl_serve_clear_vhost_limits(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh = meta_vhost_find(broker_meta(c->broker), ctl_text(args, "vhost"));
    bool any =
        vh != NULL && (vh->max_connections != META_NO_LIMIT || vh->max_queues != META_NO_LIMIT);
    if (!any)
        ctl_refuse(r, "refused", "Parameter does not exist");
    else
        ctl_change(c, r,
                   &(struct meta_cmd){ .op = META_VHOST_LIMITS_CLEAR, .vhost_id = vh->vhost_id });
}

/* One vhost's, or, without a vhost, those of all that have any. */
void ctl_serve_list_vhost_limits(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (ctl_has(args, "vhost")) {
        if (ctl_vhost_of(c, r, args, &vh))
            ctl_reply(r, limits_of(vh));
        return;
    }
    json_t *rows = json_array();
    struct pmap_iter it;
    pmap_iter(&it, &broker_meta(c->broker)->vhosts);
    while ((vh = pmap_next(&it)) != NULL) {
        json_t *limits = limits_of(vh);
        if (json_object_size(limits) != 0)
            json_array_append_new(rows,
                                  json_pack("[o, O]", json_out_text(meta_vhost_name(vh)), limits));
        json_decref(limits);
    }
    ctl_reply_rows(r, rows);
}

/* ---- policies ---- */

static bool is_operator(const json_t *args)
{
    return json_is_true(json_object_get(args, "operator"));
}

void ctl_serve_set_policy(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (!ctl_vhost_of(c, r, args, &vh))
        return;
    struct meta_cmd cmd = { .op = META_POLICY_PUT,
                            .vhost_id = vh->vhost_id,
                            .name = ctl_text(args, "name") };
    cmd.policy.pattern = ctl_text(args, "pattern");
    cmd.policy.definition = ctl_text(args, "definition");
    cmd.policy.apply_to = ctl_text(args, "apply_to");
    cmd.policy.priority = json_integer_value(json_object_get(args, "priority"));
    cmd.policy.is_operator = is_operator(args);
    ctl_change(c, r, &cmd);
}

void ctl_serve_clear_policy(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh = meta_vhost_find(broker_meta(c->broker), ctl_text(args, "vhost"));
    if (vh == NULL) {
        ctl_refuse(r, "refused", "Parameter does not exist");
        return;
    }
    struct meta_cmd cmd = { .op = META_POLICY_CLEAR,
                            .vhost_id = vh->vhost_id,
                            .name = ctl_text(args, "name") };
    cmd.policy.is_operator = is_operator(args);
    ctl_change(c, r, &cmd);
}

void ctl_serve_list_policies(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (!ctl_vhost_of(c, r, args, &vh))
        return;
    json_t *rows = json_array();
    struct pmap_iter it;
    pmap_iter(&it, is_operator(args) ? &vh->operator_policies : &vh->policies);
    const struct meta_policy *p;
    while ((p = pmap_next(&it)) != NULL)
        json_array_append_new(rows,
                              json_pack("[o, o, o, s, o, I]", json_out_text(meta_vhost_name(vh)),
                                        json_out_text(p->name), json_out_text(p->pattern.text),
                                        meta_apply_to_name(p->apply_to),
                                        json_out_text(p->definition), (json_int_t)p->priority));
    ctl_reply_rows(r, rows);
}

/* ---- parameters ---- */

void ctl_serve_set_parameter(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (!ctl_vhost_of(c, r, args, &vh))
        return;
    ctl_change(c, r,
               &(struct meta_cmd){ .op = META_PARAMETER_PUT,
                                   .vhost_id = vh->vhost_id,
                                   .name = ctl_text(args, "name"),
                                   .parameter = { .component = ctl_text(args, "component"),
                                                  .value = ctl_text(args, "value") } });
}

void ctl_serve_clear_parameter(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (!ctl_vhost_of(c, r, args, &vh))
        return;
    ctl_change(c, r,
               &(struct meta_cmd){ .op = META_PARAMETER_CLEAR,
                                   .vhost_id = vh->vhost_id,
                                   .name = ctl_text(args, "name"),
                                   .parameter = { .component = ctl_text(args, "component") } });
}

void ctl_serve_list_parameters(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (!ctl_vhost_of(c, r, args, &vh))
        return;
    json_t *rows = json_array();
    struct pmap_iter it;
    pmap_iter(&it, &vh->parameters);
    const struct meta_parameter *p;
    while ((p = pmap_next(&it)) != NULL)
        json_array_append_new(rows, json_pack("[o, o, o]", json_out_text(p->component),
                                              json_out_text(p->name), json_out_text(p->value)));
    ctl_reply_rows(r, rows);
}

void ctl_serve_set_global_parameter(struct ctl *c, struct http_request *r, json_t *args)
{
    ctl_change(c, r,
               &(struct meta_cmd){ .op = META_GLOBAL_PARAMETER_PUT,
                                   .name = ctl_text(args, "name"),
                                   .parameter = { .value = ctl_text(args, "value") } });
}

void ctl_serve_clear_global_parameter(struct ctl *c, struct http_request *r, json_t *args)
{
    ctl_change(
        c, r,
        &(struct meta_cmd){ .op = META_GLOBAL_PARAMETER_CLEAR, .name = ctl_text(args, "name") });
}

void ctl_serve_list_global_parameters(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    json_t *rows = json_array();
    struct pmap_iter it;
    pmap_iter(&it, &broker_meta(c->broker)->global_parameters);
    const struct meta_parameter *p;
    while ((p = pmap_next(&it)) != NULL)
        json_array_append_new(rows,
                              json_pack("[o, o]", json_out_text(p->name), json_out_text(p->value)));
    ctl_reply_rows(r, rows);
}
