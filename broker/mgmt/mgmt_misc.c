#include "base/mem.h"
#include "cluster/meta_policy.h"
#include "mgmt/mgmt_export.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_page.h"

#define CLUSTER_NAME_MAX ((size_t)1 << 20)

static const char *const methods[] = {
    [HTTP_GET] = "GET", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE"
};

/* The page logs in by itself and asks this node alone; what names of queues hold stays text. */
void mgmt_serve_page(struct mgmt_call *c)
{
    http_reply_header(c->r, "Cache-Control", "no-cache");
    http_reply_header(c->r, "Content-Security-Policy",
                      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                      "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'");
    mgmt_reply_octets(c, 200, "text/html; charset=utf-8",
                      slice_of(mgmt_page_html, mgmt_page_html_len));
}

void mgmt_serve_index(struct mgmt_call *c)
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
    json_out_put(o, "name", json_out_text(name));
    json_out_put(o, "tags", u != NULL ? mgmt_json_words(u->tags) : json_array());
    mgmt_reply(c, 200, o);
}

void mgmt_serve_auth_methods(struct mgmt_call *c)
{
    json_t *o = json_object();
    json_out_put_bool(o, "enable_uaa", false);
    json_out_put_str(o, "uaa_client_id", "");
    json_out_put_str(o, "uaa_location", "");
    mgmt_reply(c, 200, o);
}

json_t *mgmt_cluster_name(const struct mgmt_http *m)
{
    struct text t;
    text_init(&t, CLUSTER_NAME_MAX);
    meta_cluster_name(broker_meta(m->broker), &t);
    json_t *name = json_out_text(text_view(&t));
    text_fini(&t);
    return name;
}

void mgmt_serve_cluster_name(struct mgmt_call *c)
{
    mgmt_reply(c, 200, json_pack("{s:o}", "name", mgmt_cluster_name(c->m)));
}

void mgmt_serve_cluster_name_put(struct mgmt_call *c)
{
    static const char *const needed[] = { "name", NULL };
    struct meta_cmd cmd = { .op = META_GLOBAL_PARAMETER_PUT, .name = slice_str("cluster_name") };
    struct slice name = { NULL, 0 };
    if (!mgmt_read_body_with(c, needed) || !mgmt_member_text(c, "name", &name))
        return;
    char *text = json_dumps(json_object_get(c->body, "name"), JSON_ENCODE_ANY);
    cmd.parameter.value = slice_str(text);
    mgmt_change(c, &cmd, 204);
    mem_free(text);
}

void mgmt_serve_auth_attempts(struct mgmt_call *c)
{
    if (!mgmt_is_this_node(c, 0)) {
        mgmt_not_found(c);
        return;
    }
    struct mgmt_counts n;
    mgmt_counts_read(c->m->broker, &n);
    json_t *all = json_array();
    const struct {
        const char *protocol;
        uint64_t ok, refused;
    } rows[] = { { "amqp091", n.auth_ok, n.auth_refused },
                 { "http", c->m->logins, c->m->logins_refused } };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        json_t *o = json_object();
        json_out_put_str(o, "protocol", rows[i].protocol);
        json_out_put_u64(o, "auth_attempts", rows[i].ok + rows[i].refused);
        json_out_put_u64(o, "auth_attempts_failed", rows[i].refused);
        json_out_put_u64(o, "auth_attempts_succeeded", rows[i].ok);
        json_array_append_new(all, o);
    }
    mgmt_reply_list(c, all);
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
