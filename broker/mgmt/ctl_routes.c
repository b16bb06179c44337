/* Below /ctl: a command a path, its arguments as a JSON object in the body of a POST. */
#include "base/check.h"
#include "base/mem.h"
#include "cluster/cluster.h"
#include "io/http_text.h"
#include "live.h"
#include "mgmt/ctl_inner.h"
#include "mgmt/mgmt_call.h"
#include "mgmt/mgmt_http.h"
#include "mgmt/mgmt_json.h"

#include <string.h>
#include <unistd.h>

#define JSON_TYPE "application/json"

void ctl_serve_ping(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    json_t *o = json_object();
    json_out_put_str(o, "node", ctl_node_name(c));
    json_out_put_str(o, "version", WARREN_VERSION);
    json_out_put_u64(o, "pid", (uint64_t)getpid());
    json_out_put_bool(o, "running", broker_app_is_running(c->broker));
    ctl_reply(r, o);
}

static const struct ctl_route {
    const char *name;
    ctl_fn fn;
} routes[] = {
#define X(name) { #name, ctl_serve_##name },
    CTL_COMMANDS(X)
#undef X
};

/* ---- answers ---- */

static void reply(struct http_request *r, int status, json_t *value)
{
    CHECK(value != NULL);
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
    CHECK(text != NULL);
    json_decref(value);
    http_reply(r, status, JSON_TYPE, slice_str(text));
    mem_free(text); /* jansson's memory is ours, see json_set_alloc_funcs */
}

void ctl_reply(struct http_request *r, json_t *value)
{
    reply(r, 200, value);
}

void ctl_refuse(struct http_request *r, const char *code, const char *detail)
{
    json_t *o = json_object();
    json_out_put_str(o, "error", code);
    /* Lines and all, where it is fit to be shown. */
    json_t *text = json_string(detail);
    json_out_put(o, "detail", text != NULL ? text : json_out_text(slice_str(detail)));
    reply(r, 400, o);
}

void ctl_done(struct http_request *r)
{
    reply(r, 200, json_object());
}

/* ---- requests ---- */

static bool is_among(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

/* Whoever waits for others says so. */
static bool is_about_waiting(const struct ctl *c, const char *name)
{
    return strcmp(name, "cluster_status") == 0 &&
           cluster_status(broker_cluster(c->broker))->phase != CLUSTER_READY;
}

/* Most commands are about what the application knows; some want it out of the way. */
static bool fits_state(const struct ctl *c, struct http_request *r, const char *name)
{
    static const char *const either[] = {
        "drain",         "forget_cluster_node", "ping", "revive",   "rotate_logs",
        "set_log_level", "start_app",           "stop", "stop_app", "stop_cluster"
    };
    static const char *const stopped[] = { "change_cluster_node_type", "force_reset",
                                           "join_cluster", "reset", "update_cluster_nodes" };
    bool runs = broker_app_is_running(c->broker);
    if (is_among(either, ARRAY_COUNT(either), name) || is_about_waiting(c, name) ||
        runs != is_among(stopped, ARRAY_COUNT(stopped), name))
        return true;
    ctl_refuse(r, runs ? "app_running" : "app_stopped", "");
    return false;
}

static const struct ctl_route *route_of(const char *path)
{
    static const char prefix[] = "/ctl/";
    if (strncmp(path, prefix, sizeof prefix - 1) != 0)
        return NULL;
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (strcmp(routes[i].name, path + sizeof prefix - 1) == 0)
            return &routes[i];
    }
    return NULL;
}

static void on_request(struct http_request *r, void *arg)
{
    const struct ctl_route *route = route_of(http_request_path(r));
    http_hold(r);
    if (route == NULL) {
        ctl_refuse(r, "unknown_command", "this version of the node does not know the command");
        return;
    }
    if (!fits_state(arg, r, route->name))
        return;
    struct slice body = http_request_body(r);
    json_error_t why;
    json_t *args =
        body.len != 0 ? json_loadb((const char *)body.ptr, body.len, 0, &why) : json_object();
    if (json_is_object(args))
        route->fn(arg, r, args);
    else
        ctl_refuse(r, "bad_request", "the body is no JSON object");
    json_decref(args);
}

/* Another node asks in the name of a user; whoever names none may do anything. False: there is no
 * such user, and that is answered. */
static bool is_in_the_name_of(const struct ctl *c, struct http_request *r, struct mgmt_user *out)
{
    const char *header = http_request_header(r, "Warren-User");
    if (header == NULL) {
        mgmt_user_operator(out);
        return true;
    }
    char room[META_NAME_MAX + 1];
    struct text name = text_over(room, sizeof room);
    if (http_base64_decode(slice_str(header), &name) &&
        mgmt_user_named(out, broker_meta(c->broker), text_view(&name)))
        return true;
    http_reply(r, 401, NULL, slice_of(NULL, 0));
    return false;
}

/* The management API, for somebody who has shown that he may do anything. */
static void on_api(struct http_request *r, void *arg)
{
    const struct ctl *c = arg;
    struct mgmt_user who;
    if (!broker_app_is_running(c->broker)) {
        ctl_refuse(r, "app_stopped", "");
        return;
    }
    if (is_in_the_name_of(c, r, &who))
        mgmt_dispatch(c->mgmt, r, &who);
}

void ctl_add_routes(struct ctl *c)
{
    http_route(c->server, "/api/...", HTTP_ALLOW_ANY, on_api, c);
    http_route(c->server, "/figures", HTTP_ALLOW(HTTP_POST), ctl_on_figures, c);
    http_route(c->server, "/figures/totals", HTTP_ALLOW(HTTP_POST), ctl_on_totals, c);
    http_route(c->server, "/ctl/...", HTTP_ALLOW(HTTP_POST), on_request, c);
}
