#include "mgmt/mgmt_inner.h"

static const char *const methods[] = {
    [HTTP_GET] = "GET", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE"
};

void mgmt_serve_page(struct mgmt_call *c)
{
    struct text t;
    text_init(&t, (size_t)64 * 1024);
    text_put(&t, "Warren %s, node %s\n\n", WARREN_VERSION, mgmt_conf(c->m)->node.name);
    text_str(&t,
             "The management HTTP API, with RabbitMQ's paths and fields.\nBelow /api a user and "
             "password are asked for (basic authentication).\n\n");
    const struct mgmt_route *route;
    for (size_t i = 0; (route = mgmt_route_at(i)) != NULL; i++)
        text_put(&t, "  %-6s %-58s %s\n", methods[route->method], route->path,
                 route->help != NULL ? route->help : "");
    mgmt_reply_octets(c, 200, "text/plain; charset=utf-8", text_view(&t));
    text_fini(&t);
}

void mgmt_serve_whoami(struct mgmt_call *c)
{
    struct slice name = slice_of(c->user.name, c->user.name_len);
    const struct meta_user *u = meta_user_find(mgmt_meta(c), name);
    json_t *o = json_object();
    mgmt_json_put(o, "name", mgmt_json_text(name));
    mgmt_json_put(o, "tags", u != NULL ? mgmt_json_words(u->tags) : json_array());
    mgmt_reply(c, 200, o);
}

void mgmt_serve_auth_methods(struct mgmt_call *c)
{
    json_t *o = json_object();
    mgmt_json_put_bool(o, "enable_uaa", false);
    mgmt_json_put_str(o, "uaa_client_id", "");
    mgmt_json_put_str(o, "uaa_location", "");
    mgmt_reply(c, 200, o);
}

void mgmt_serve_cluster_name(struct mgmt_call *c)
{
    mgmt_reply(c, 200, json_pack("{s:s}", "name", mgmt_conf(c->m)->node.name));
}

void mgmt_serve_extensions(struct mgmt_call *c)
{
    mgmt_reply(c, 200, json_array());
}

/* What RabbitMQ 3.10 had behind flags, and what is always so here. */
void mgmt_serve_feature_flags(struct mgmt_call *c)
{
    static const char *const flags[][2] = {
        { "classic_mirrored_queue_version", "Support setting version for classic mirrored queues" },
        { "drop_unroutable_metric", "Count unroutable publishes to be dropped in stats" },
        { "empty_basic_get_metric", "Count AMQP `basic.get` on empty queues in stats" },
        { "implicit_default_bindings",
          "Default bindings are now implicit, instead of being stored in the database" },
        { "maintenance_mode_status", "Maintenance mode status" },
        { "quorum_queue", "Support queues of type `quorum`" },
        { "user_limits", "Configure connection and channel limits for a user" },
        { "virtual_host_metadata", "Virtual host metadata (description, tags, etc)" },
    };
    json_t *all = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", flags[i][0],
                                             "desc", flags[i][1], "doc_url", "", "state", "enabled",
                                             "stability", "stable", "provided_by", "rabbit"));
    mgmt_reply_list(c, all);
}

/* All masters are where they can be. */
void mgmt_serve_rebalance(struct mgmt_call *c)
{
    mgmt_reply_empty(c, 204);
}
