#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/auth.h"
#include "mgmt/mgmt_inner.h"

#include <string.h>

#define PASSWORD_MAX    1024u
#define REFUSALS_LOGGED 50u /* a second */

#define GET             HTTP_GET
#define PUT             HTTP_PUT
#define POST            HTTP_POST
#define DELETE          HTTP_DELETE

/* Everything that is served, for the requests and for the page. Of two paths that fit, the first
 * one counts; lines of one path stand together. */
static const struct mgmt_route routes[] = {
    { "/", GET, mgmt_serve_page, MGMT_OPEN, "a page for people" },
    { "/api", GET, mgmt_serve_index, MGMT_OPEN, "this list" },
    { "/api/index.html", GET, mgmt_serve_index, MGMT_OPEN, NULL },
    { "/metrics", GET, mgmt_serve_metrics, MGMT_OPEN, "figures for Prometheus" },
    { "/metrics/per-object", GET, mgmt_serve_metrics_per_object, MGMT_OPEN, "for each queue" },
    { "/metrics/detailed", GET, mgmt_serve_metrics_detailed, MGMT_OPEN,
      "for each queue, what ?family= names" },

    { "/api/overview", GET, mgmt_serve_overview, MGMT_MANAGEMENT, "the node in short" },
    { "/api/whoami", GET, mgmt_serve_whoami, MGMT_MANAGEMENT, "who you are" },
    { "/api/auth", GET, mgmt_serve_auth_methods, MGMT_OPEN, "how to log in" },
    { "/api/cluster-name", GET, mgmt_serve_cluster_name, MGMT_MANAGEMENT, "the cluster's name" },
    { "/api/cluster-name", PUT, mgmt_serve_cluster_name_put, MGMT_ADMINISTRATOR, NULL },
    { "/api/extensions", GET, mgmt_serve_extensions, MGMT_MANAGEMENT, "none" },
    { "/api/feature-flags", GET, mgmt_serve_feature_flags, MGMT_ADMINISTRATOR, "all enabled" },
    { "/api/rebalance/queues", POST, mgmt_serve_rebalance, MGMT_ADMINISTRATOR,
      "spread the masters" },

    { "/api/definitions", GET, mgmt_serve_definitions, MGMT_ADMINISTRATOR,
      "all that is defined, to be kept or carried elsewhere" },
    { "/api/definitions", POST, mgmt_serve_definitions_post, MGMT_ADMINISTRATOR, NULL },
    { "/api/definitions/:name", GET, mgmt_serve_definitions_of_vhost, MGMT_ADMINISTRATOR,
      "what one vhost holds" },
    { "/api/definitions/:name", POST, mgmt_serve_definitions_of_vhost_post, MGMT_ADMINISTRATOR,
      NULL },
    { "/api/all-configuration", GET, mgmt_serve_definitions, MGMT_ADMINISTRATOR, NULL },
    { "/api/all-configuration", POST, mgmt_serve_definitions_post, MGMT_ADMINISTRATOR, NULL },

    { "/api/nodes", GET, mgmt_serve_nodes, MGMT_MONITORING, "nodes: memory, limits, alarms" },
    { "/api/nodes/:node", GET, mgmt_serve_node, MGMT_MONITORING, "one of them" },
    { "/api/nodes/:node/memory", GET, mgmt_serve_node_memory, MGMT_MONITORING, "what takes it" },
    { "/api/nodes/:node/memory/ets", GET, mgmt_serve_node_memory, MGMT_MONITORING, NULL },

    { "/api/healthchecks/node", GET, mgmt_serve_node_check, MGMT_MANAGEMENT, "is the node well?" },
    { "/api/healthchecks/node/:node", GET, mgmt_serve_node_check, MGMT_MANAGEMENT, NULL },
    { "/api/health/checks/alarms", GET, mgmt_serve_alarms, MGMT_MANAGEMENT,
      "is no alarm in effect?" },
    { "/api/health/checks/local-alarms", GET, mgmt_serve_local_alarms, MGMT_MANAGEMENT,
      "none on this node?" },
    { "/api/health/checks/certificate-expiration/:within/:unit", GET, mgmt_serve_certificates,
      MGMT_MANAGEMENT, "does no certificate end within days, weeks, months, years?" },
    { "/api/health/checks/port-listener/:port", GET, mgmt_serve_port_listener, MGMT_MANAGEMENT,
      "does somebody listen there?" },
    { "/api/health/checks/protocol-listener/:protocol", GET, mgmt_serve_protocol_listener,
      MGMT_MANAGEMENT, "is the protocol spoken?" },
    { "/api/health/checks/virtual-hosts", GET, mgmt_serve_vhosts_check, MGMT_MANAGEMENT,
      "do all vhosts run?" },
    { "/api/health/checks/node-is-mirror-sync-critical", GET, mgmt_serve_mirror_check,
      MGMT_MANAGEMENT, "would queues lose their last copy with this node?" },
    { "/api/health/checks/node-is-quorum-critical", GET, mgmt_serve_quorum_check, MGMT_MANAGEMENT,
      "or their majority?" },
    { "/api/aliveness-test/:vhost", GET, mgmt_serve_aliveness, MGMT_MANAGEMENT,
      "does a message go through a queue of this vhost?" },

    { "/api/vhosts", GET, mgmt_serve_vhosts, MGMT_MANAGEMENT, "virtual hosts" },
    { "/api/vhosts/:name", GET, mgmt_serve_vhost, MGMT_ADMINISTRATOR, "one of them" },
    { "/api/vhosts/:name", PUT, mgmt_serve_vhost_put, MGMT_ADMINISTRATOR, NULL },
    { "/api/vhosts/:name", DELETE, mgmt_serve_vhost_delete, MGMT_ADMINISTRATOR, NULL },
    { "/api/vhosts/:name/start/:node", POST, mgmt_serve_vhost_start, MGMT_ADMINISTRATOR, NULL },
    { "/api/vhosts/:vhost/connections", GET, mgmt_serve_connections_of_vhost, MGMT_MANAGEMENT,
      "its clients" },
    { "/api/vhosts/:vhost/channels", GET, mgmt_serve_channels_of_vhost, MGMT_MANAGEMENT,
      "their channels" },

    { "/api/queues", GET, mgmt_serve_queues, MGMT_MANAGEMENT, "queues and how full they are" },
    { "/api/queues/:vhost", GET, mgmt_serve_queues, MGMT_MANAGEMENT, NULL },
    { "/api/queues/:vhost/:name", GET, mgmt_serve_queue, MGMT_MANAGEMENT, "one of them" },
    { "/api/queues/:vhost/:name", PUT, mgmt_serve_queue_put, MGMT_MANAGEMENT, NULL },
    { "/api/queues/:vhost/:name", DELETE, mgmt_serve_queue_delete, MGMT_MANAGEMENT, NULL },
    { "/api/queues/:vhost/:name/bindings", GET, mgmt_serve_queue_bindings, MGMT_MANAGEMENT,
      "the bindings to it" },
    { "/api/queues/:vhost/:name/contents", DELETE, mgmt_serve_queue_purge, MGMT_MANAGEMENT,
      "remove what is ready" },
    { "/api/queues/:vhost/:name/actions", POST, mgmt_serve_queue_actions, MGMT_ADMINISTRATOR,
      "sync, cancel_sync" },
    { "/api/queues/:vhost/:name/get", POST, mgmt_serve_queue_get, MGMT_MANAGEMENT,
      "messages of it" },

    { "/api/exchanges", GET, mgmt_serve_exchanges, MGMT_MANAGEMENT, "exchanges" },
    { "/api/exchanges/:vhost", GET, mgmt_serve_exchanges, MGMT_MANAGEMENT, NULL },
    { "/api/exchanges/:vhost/:name", GET, mgmt_serve_exchange, MGMT_MANAGEMENT, "one of them" },
    { "/api/exchanges/:vhost/:name", PUT, mgmt_serve_exchange_put, MGMT_MANAGEMENT, NULL },
    { "/api/exchanges/:vhost/:name", DELETE, mgmt_serve_exchange_delete, MGMT_MANAGEMENT, NULL },
    { "/api/exchanges/:vhost/:name/bindings/source", GET, mgmt_serve_bindings_from, MGMT_MANAGEMENT,
      "the bindings from it" },
    { "/api/exchanges/:vhost/:name/bindings/destination", GET, mgmt_serve_bindings_to,
      MGMT_MANAGEMENT, "and to it" },
    { "/api/exchanges/:vhost/:name/publish", POST, mgmt_serve_exchange_publish, MGMT_MANAGEMENT,
      "publish a message" },

    { "/api/bindings", GET, mgmt_serve_bindings, MGMT_MANAGEMENT, "bindings" },
    { "/api/bindings/:vhost", GET, mgmt_serve_bindings, MGMT_MANAGEMENT, NULL },
    { "/api/bindings/:vhost/e/:source/:kind/:to", GET, mgmt_serve_bindings_between, MGMT_MANAGEMENT,
      "between an exchange and a queue (q) or an exchange (e)" },
    { "/api/bindings/:vhost/e/:source/:kind/:to", POST, mgmt_serve_binding_post, MGMT_MANAGEMENT,
      NULL },
    { "/api/bindings/:vhost/e/:source/:kind/:to/:props", GET, mgmt_serve_binding, MGMT_MANAGEMENT,
      "one of them" },
    { "/api/bindings/:vhost/e/:source/:kind/:to/:props", DELETE, mgmt_serve_binding_delete,
      MGMT_MANAGEMENT, NULL },

    { "/api/connections", GET, mgmt_serve_connections, MGMT_MANAGEMENT, "clients" },
    { "/api/connections/username/:user", GET, mgmt_serve_connections_of_user, MGMT_MANAGEMENT,
      "those of a user" },
    { "/api/connections/username/:user", DELETE, mgmt_serve_connections_of_user_delete,
      MGMT_MANAGEMENT, NULL },
    { "/api/connections/:name", GET, mgmt_serve_connection, MGMT_MANAGEMENT, "one of them" },
    { "/api/connections/:name", DELETE, mgmt_serve_connection_delete, MGMT_MANAGEMENT, NULL },
    { "/api/connections/:name/channels", GET, mgmt_serve_connection_channels, MGMT_MANAGEMENT,
      "its channels" },
    { "/api/channels", GET, mgmt_serve_channels, MGMT_MANAGEMENT, "channels" },
    { "/api/channels/:name", GET, mgmt_serve_channel, MGMT_MANAGEMENT, "one of them" },
    { "/api/consumers", GET, mgmt_serve_consumers, MGMT_MANAGEMENT, "consumers" },
    { "/api/consumers/:vhost", GET, mgmt_serve_consumers, MGMT_MANAGEMENT, NULL },

    { "/api/users", GET, mgmt_serve_users, MGMT_ADMINISTRATOR, "users" },

    { "/api/users/without-permissions", GET, mgmt_serve_users_without, MGMT_ADMINISTRATOR,
      "those who may enter no vhost" },

    { "/api/users/bulk-delete", POST, mgmt_serve_users_delete, MGMT_ADMINISTRATOR,
      "delete several" },

    { "/api/users/:user", GET, mgmt_serve_user, MGMT_ADMINISTRATOR, "one of them" },
    { "/api/users/:user", PUT, mgmt_serve_user_put, MGMT_ADMINISTRATOR, NULL },
    { "/api/users/:user", DELETE, mgmt_serve_user_delete, MGMT_ADMINISTRATOR, NULL },

    { "/api/users/:user/permissions", GET, mgmt_serve_permissions_of_user, MGMT_ADMINISTRATOR,
      "a user's permissions" },

    { "/api/users/:user/topic-permissions", GET, mgmt_serve_topic_permissions_of_user,
      MGMT_ADMINISTRATOR, "and at topic exchanges" },

    { "/api/user-limits", GET, mgmt_serve_user_limits, MGMT_MANAGEMENT, "limits of users" },

    { "/api/user-limits/:user", GET, mgmt_serve_user_limits, MGMT_MANAGEMENT, NULL },

    { "/api/user-limits/:user/:limit", PUT, mgmt_serve_user_limit_put, MGMT_ADMINISTRATOR, NULL },
    { "/api/user-limits/:user/:limit", DELETE, mgmt_serve_user_limit_delete, MGMT_ADMINISTRATOR,
      NULL },

    { "/api/permissions", GET, mgmt_serve_permissions, MGMT_ADMINISTRATOR, "who may do what" },

    { "/api/permissions/:name/:user", GET, mgmt_serve_permission, MGMT_ADMINISTRATOR,
      "one of them" },
    { "/api/permissions/:name/:user", PUT, mgmt_serve_permission_put, MGMT_ADMINISTRATOR, NULL },
    { "/api/permissions/:name/:user", DELETE, mgmt_serve_permission_delete, MGMT_ADMINISTRATOR,
      NULL },

    { "/api/topic-permissions", GET, mgmt_serve_topic_permissions, MGMT_ADMINISTRATOR,
      "at topic exchanges" },

    { "/api/topic-permissions/:name/:user", GET, mgmt_serve_topic_permission, MGMT_ADMINISTRATOR,
      "of one user" },
    { "/api/topic-permissions/:name/:user", PUT, mgmt_serve_topic_permission_put,
      MGMT_ADMINISTRATOR, NULL },
    { "/api/topic-permissions/:name/:user", DELETE, mgmt_serve_topic_permission_delete,
      MGMT_ADMINISTRATOR, NULL },

    { "/api/policies", GET, mgmt_serve_policies, MGMT_MANAGEMENT, "policies" },

    { "/api/policies/:vhost", GET, mgmt_serve_policies, MGMT_MANAGEMENT, NULL },

    { "/api/policies/:vhost/:name", GET, mgmt_serve_policy, MGMT_MANAGEMENT, "one of them" },
    { "/api/policies/:vhost/:name", PUT, mgmt_serve_policy_put, MGMT_POLICYMAKER, NULL },
    { "/api/policies/:vhost/:name", DELETE, mgmt_serve_policy_delete, MGMT_POLICYMAKER, NULL },

    { "/api/operator-policies", GET, mgmt_serve_policies, MGMT_MANAGEMENT,
      "policies of the operators" },

    { "/api/operator-policies/:vhost", GET, mgmt_serve_policies, MGMT_MANAGEMENT, NULL },

    { "/api/operator-policies/:vhost/:name", GET, mgmt_serve_policy, MGMT_ADMINISTRATOR,
      "one of them" },
    { "/api/operator-policies/:vhost/:name", PUT, mgmt_serve_policy_put, MGMT_ADMINISTRATOR, NULL },
    { "/api/operator-policies/:vhost/:name", DELETE, mgmt_serve_policy_delete, MGMT_ADMINISTRATOR,
      NULL },

    { "/api/parameters", GET, mgmt_serve_parameters, MGMT_POLICYMAKER, "parameters of vhosts" },

    { "/api/parameters/:component", GET, mgmt_serve_parameters, MGMT_POLICYMAKER, NULL },

    { "/api/parameters/:component/:name", GET, mgmt_serve_parameters, MGMT_POLICYMAKER, NULL },

    { "/api/parameters/:component/:name/:parameter", GET, mgmt_serve_parameter, MGMT_POLICYMAKER,
      "one of them" },
    { "/api/parameters/:component/:name/:parameter", PUT, mgmt_serve_parameter_put,
      MGMT_POLICYMAKER, NULL },
    { "/api/parameters/:component/:name/:parameter", DELETE, mgmt_serve_parameter_delete,
      MGMT_POLICYMAKER, NULL },

    { "/api/global-parameters", GET, mgmt_serve_global_parameters, MGMT_POLICYMAKER,
      "parameters of the cluster" },

    { "/api/global-parameters/:name", GET, mgmt_serve_global_parameter, MGMT_POLICYMAKER,
      "one of them" },
    { "/api/global-parameters/:name", PUT, mgmt_serve_global_parameter_put, MGMT_POLICYMAKER,
      NULL },
    { "/api/global-parameters/:name", DELETE, mgmt_serve_global_parameter_delete, MGMT_POLICYMAKER,
      NULL },

    { "/api/vhost-limits", GET, mgmt_serve_vhost_limits, MGMT_MANAGEMENT, "limits of vhosts" },

    { "/api/vhost-limits/:vhost", GET, mgmt_serve_vhost_limits, MGMT_MANAGEMENT, NULL },

    { "/api/vhost-limits/:vhost/:limit", PUT, mgmt_serve_vhost_limit_put, MGMT_ADMINISTRATOR,
      NULL },
    { "/api/vhost-limits/:vhost/:limit", DELETE, mgmt_serve_vhost_limit_delete, MGMT_ADMINISTRATOR,
      NULL },

    { "/api/vhosts/:name/permissions", GET, mgmt_serve_permissions_of_vhost, MGMT_ADMINISTRATOR,
      "who may enter" },

    { "/api/vhosts/:name/topic-permissions", GET, mgmt_serve_topic_permissions_of_vhost,
      MGMT_ADMINISTRATOR, NULL },

    { "/api/auth/attempts/:node", GET, mgmt_serve_auth_attempts, MGMT_MONITORING, "logins" },
};

const struct mgmt_route *mgmt_route_at(size_t index)
{
    return index < ARRAY_COUNT(routes) ? &routes[index] : NULL;
}

/* ---- which one ---- */

static struct slice next_segment(const char **at)
{
    const char *from = ++*at;
    *at = from + strcspn(from, "/");
    return slice_of(from, (size_t)(*at - from));
}

/* Names are short; how a binding is called has its key in it, escaped. */
static bool is_arg(struct slice word, struct slice given)
{
    return word.len != 0 && word.ptr[0] == ':' &&
           (given.len <= META_NAME_MAX || slice_is(word, ":props"));
}

/* Does the path fit, and what are its args? */
static bool fits(struct mgmt_call *c, const char *path)
{
    c->arg_count = 0;
    if (path[1] == '\0')
        return c->segment_count == 0;
    for (unsigned i = 0; i < c->segment_count; i++) {
        if (*path != '/')
            return false;
        struct slice word = next_segment(&path);
        struct slice given = c->segments[i];
        if (is_arg(word, given))
            c->args[c->arg_count++] = given;
        else if (!slice_eq(word, given))
            return false;
    }
    return *path == '\0';
}

static const struct mgmt_route *find_path(struct mgmt_call *c)
{
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (fits(c, routes[i].path))
            return &routes[i];
    }
    return NULL;
}

static const struct mgmt_route *next_of_path(const struct mgmt_route *route)
{
    const struct mgmt_route *next = route + 1;
    return next < routes + ARRAY_COUNT(routes) && strcmp(next->path, route->path) == 0 ? next
                                                                                       : NULL;
}

static enum http_method method_of(const struct mgmt_call *c)
{
    enum http_method method = http_request_method(c->r);
    return method == HTTP_HEAD ? HTTP_GET : method;
}

static const struct mgmt_route *of_method(const struct mgmt_route *route, enum http_method method)
{
    while (route != NULL && route->method != method)
        route = next_of_path(route);
    return route;
}

/* As RabbitMQ lists them. */
static void put_allow(struct mgmt_call *c, const struct mgmt_route *route)
{
    static const struct {
        enum http_method method;
        const char *text;
    } names[] = { { HTTP_GET, "HEAD, GET, " },
                  { HTTP_POST, "POST, " },
                  { HTTP_PUT, "PUT, " },
                  { HTTP_DELETE, "DELETE, " } };
    char room[64];
    struct text t = text_over(room, sizeof room);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (of_method(route, names[i].method) != NULL)
            text_str(&t, names[i].text);
    }
    text_str(&t, "OPTIONS");
    http_reply_header(c->r, "Allow", room);
}

/* ---- who may ---- */

static bool has_level(struct mgmt_call *c)
{
    static const char *const reasons[] = { [MGMT_OPEN] = "",
                                           [MGMT_MANAGEMENT] = "Not management user",
                                           [MGMT_POLICYMAKER] =
                                               "User not authorised to access object",
                                           [MGMT_MONITORING] = "Not monitor user",
                                           [MGMT_ADMINISTRATOR] = "Not administrator user" };
    enum mgmt_level level = c->route->level;
    if (mgmt_has_tag(c, MGMT_MANAGEMENT) && mgmt_has_tag(c, level))
        return true;
    mgmt_refuse_access(c, reasons[mgmt_has_tag(c, MGMT_MANAGEMENT) ? level : MGMT_MANAGEMENT]);
    return false;
}

/* The vhost that the path names, if it names one: it is there, and the user may enter. As with
 * RabbitMQ administrators may look at each of them; what they do in it takes permissions. */
static bool has_vhost(struct mgmt_call *c)
{
    const char *at = strstr(c->route->path, "/:vhost");
    if (at == NULL)
        return true;
    const struct meta_vhost *vh = meta_vhost_find(mgmt_meta(c), c->args[0]);
    if (vh == NULL) {
        if (c->route->method == HTTP_PUT || c->route->method == HTTP_POST)
            mgmt_refuse(c, 404, "not_found", "vhost_not_found");
        else
            mgmt_not_found(c);
        return false;
    }
    if (!mgmt_has_tag(c, MGMT_ADMINISTRATOR) && !mgmt_may_enter(c, vh)) {
        mgmt_refuse_access(c, "User not authorised to access virtual host");
        return false;
    }
    c->vhost_id = vh->vhost_id;
    return true;
}

/* The user is known, or need not be. */
static void go(struct mgmt_call *c)
{
    if (c->route->level == MGMT_OPEN || (has_level(c) && has_vhost(c)))
        c->route->fn(c);
}

/* ---- logging in ---- */

static void log_refusal(const struct mgmt_call *c, enum auth_verdict verdict)
{
    char where[SOCK_ADDR_TEXT_MAX];
    unsigned left_out = 0;
    if (!log_rate_ok(&c->m->refusals, REFUSALS_LOGGED, 1000, &left_out))
        return;
    if (left_out != 0)
        log_warn("mgmt", "-", "refused logins were not logged count=%u", left_out);
    log_warn("mgmt", sock_addr_text(http_request_peer(c->r), where), "login refused%s",
             auth_verdict_text(verdict));
}

/* As RabbitMQ: without credentials an empty 401, with wrong ones a reason. */
static void turn_away(struct mgmt_call *c, enum auth_verdict verdict)
{
    c->m->logins_refused++;
    log_refusal(c, verdict);
    if (verdict == AUTH_BUSY) {
        mgmt_refuse(c, 503, "service_unavailable", "Too many logins at a time");
        return;
    }
    http_reply_header(c->r, "WWW-Authenticate", "Basic realm=\"RabbitMQ Management\"");
    mgmt_refuse(c, 401, "not_authorized",
                verdict == AUTH_LOOPBACK_ONLY ? "User can only log in via localhost"
                                              : "Login failed");
}

static void on_verdict(void *arg, enum auth_verdict verdict)
{
    struct mgmt_call *c = arg;
    if (verdict != AUTH_OK) {
        turn_away(c, verdict);
        return;
    }
    c->m->logins++;
    /* Who has gone since he was let in has no tags any more. */
    if (!mgmt_user_named(&c->user, mgmt_meta(c), slice_of(c->user.name, c->user.name_len)))
        c->user.tags = 0;
    go(c);
}

static void log_in(struct mgmt_call *c)
{
    char password[PASSWORD_MAX];
    struct text u = text_over(c->user.name, sizeof c->user.name);
    struct text p = text_over(password, sizeof password);
    if (!http_request_basic_auth(c->r, &u, &p)) {
        http_reply_header(c->r, "WWW-Authenticate", "Basic realm=\"RabbitMQ Management\"");
        mgmt_reply_empty(c, 401);
        return;
    }
    c->user.name_len = u.len;
    c->login = (struct auth_wait){ .fn = on_verdict, .arg = c };
    enum auth_verdict verdict =
        auth_login(c->m->auth,
                   &(struct auth_ask){ mgmt_conf(c->m), text_view(&u), text_view(&p),
                                       http_request_peer(c->r) },
                   &c->login);
    explicit_bzero(password, sizeof password);
    if (verdict != AUTH_PENDING)
        on_verdict(c, verdict);
}

/* ---- entrances ---- */

/* Find what is asked for; false: it was answered. */
static bool find_route(struct mgmt_call *c)
{
    const struct mgmt_route *path = find_path(c);
    if (path == NULL) {
        mgmt_not_found(c);
        return false;
    }
    enum http_method method = method_of(c);
    c->route = of_method(path, method);
    if (c->route != NULL)
        return true;
    put_allow(c, path);
    mgmt_reply_empty(c, method == HTTP_OPTIONS ? 200 : 405);
    return false;
}

void mgmt_dispatch(struct mgmt_http *m, struct http_request *r, const struct mgmt_user *who)
{
    struct mgmt_call *c = mgmt_call_new(m, r);
    if (c == NULL || !find_route(c))
        return;
    c->user = *who;
    c->is_local = http_request_header(r, "Warren-Local") != NULL;
    go(c);
}

void mgmt_on_request(struct http_request *r, void *arg)
{
    struct mgmt_call *c = mgmt_call_new(arg, r);
    if (c == NULL || !find_route(c))
        return;
    if (c->route->level == MGMT_OPEN)
        go(c);
    else
        log_in(c);
}
