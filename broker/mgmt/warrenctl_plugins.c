/* warren-plugins: RabbitMQ's plugin names, and what of them is built in. Nothing is switched on or
 * off: what is built in is there always, and what is not cannot be had. */
#include "mgmt/warrenctl_print.h"

#include <stdio.h>
#include <string.h>

static const struct plugin {
    const char *name;
    bool built_in;
} plugins[] = {
    { "rabbitmq_amqp1_0", false },
    { "rabbitmq_auth_backend_cache", false },
    { "rabbitmq_auth_backend_http", false },
    { "rabbitmq_auth_backend_ldap", false },
    { "rabbitmq_auth_backend_oauth2", false },
    { "rabbitmq_auth_mechanism_ssl", true },
    { "rabbitmq_consistent_hash_exchange", true },
    { "rabbitmq_event_exchange", false },
    { "rabbitmq_federation", false },
    { "rabbitmq_federation_management", false },
    { "rabbitmq_jms_topic_exchange", false },
    { "rabbitmq_management", true },
    { "rabbitmq_management_agent", true },
    { "rabbitmq_mqtt", false },
    { "rabbitmq_peer_discovery_aws", false },
    { "rabbitmq_peer_discovery_common", false },
    { "rabbitmq_peer_discovery_consul", false },
    { "rabbitmq_peer_discovery_etcd", false },
    { "rabbitmq_peer_discovery_k8s", false },
    { "rabbitmq_prometheus", true },
    { "rabbitmq_random_exchange", false },
    { "rabbitmq_recent_history_exchange", false },
    { "rabbitmq_sharding", false },
    { "rabbitmq_shovel", false },
    { "rabbitmq_shovel_management", false },
    { "rabbitmq_stomp", false },
    { "rabbitmq_stream", false },
    { "rabbitmq_stream_management", false },
    { "rabbitmq_top", false },
    { "rabbitmq_tracing", false },
    { "rabbitmq_trust_store", false },
    { "rabbitmq_web_dispatch", true },
    { "rabbitmq_web_mqtt", false },
    { "rabbitmq_web_mqtt_examples", false },
    { "rabbitmq_web_stomp", false },
    { "rabbitmq_web_stomp_examples", false },
};

#define NAME_WIDTH 33

static const struct plugin *plugin_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(plugins); i++) {
        if (strcmp(plugins[i].name, name) == 0)
            return &plugins[i];
    }
    return NULL;
}

/* ---- list ---- */

static bool is_listed(const struct warrenctl *w, const struct plugin *p)
{
    bool enabled_only =
        warrenctl_option(w, "enabled") != NULL || warrenctl_option(w, "implicitly-enabled") != NULL;
    const char *pattern = w->arg_count != 0 ? w->args[0] : "";
    return (p->built_in || !enabled_only) &&
           (strcmp(pattern, ".*") == 0 || strstr(p->name, pattern) != NULL);
}

static json_t *as_json(const struct warrenctl *w)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(plugins); i++) {
        if (is_listed(w, &plugins[i]))
            json_array_append_new(
                list, json_pack("{s:s, s:s, s:b, s:s}", "name", plugins[i].name, "enabled",
                                plugins[i].built_in ? "enabled" : "not_enabled", "running",
                                plugins[i].built_in, "version", WARREN_VERSION));
    }
    return json_pack("{s:s, s:o}", "format", "normal", "plugins", list);
}

static int list(struct warrenctl *w)
{
    bool minimal = warrenctl_option(w, "minimal") != NULL;
    if (w->formatter == WARRENCTL_JSON) {
        json_t *o = as_json(w);
        warrenctl_print_json(o);
        json_decref(o);
        return EX_OK;
    }
    if (warrenctl_is_chatty(w)) {
        printf("Listing plugins with pattern \"%s\" ...\n", w->arg_count != 0 ? w->args[0] : ".*");
        if (!minimal)
            printf(" Configured: E = explicitly enabled; e = implicitly enabled\n"
                   " | Status: * = running on %s\n |/\n",
                   w->node);
    }
    for (size_t i = 0; i < ARRAY_COUNT(plugins); i++) {
        const struct plugin *p = &plugins[i];
        if (!is_listed(w, p))
            continue;
        if (minimal)
            puts(p->name);
        else
            printf("[%s] %-*s %s\n", p->built_in ? "E*" : "  ", NAME_WIDTH, p->name,
                   WARREN_VERSION);
    }
    return EX_OK;
}

/* ---- enable and disable ---- */

static void print_configured(const struct warrenctl *w)
{
    puts("The following plugins have been configured:");
    for (size_t i = 0; i < ARRAY_COUNT(plugins); i++) {
        if (plugins[i].built_in)
            printf("  %s\n", plugins[i].name);
    }
    printf("Applying plugin configuration to %s...\nPlugin configuration unchanged.\n", w->node);
}

/* All must be known. 0: they are. */
static int check_known(const struct warrenctl *w)
{
    char room[2048];
    struct text unknown = text_over(room, sizeof room);
    for (unsigned i = 0; i < w->arg_count; i++) {
        if (plugin_of(w->args[i]) == NULL)
            text_put(&unknown, "%s:%s", unknown.len != 0 ? ", " : "", w->args[i]);
    }
    return unknown.len == 0 ? EX_OK
                            : warrenctl_fail(w, EX_SOFTWARE, "{:plugins_not_found, [%s]}", room);
}

static void print_asked(const struct warrenctl *w, const char *doing)
{
    if (!warrenctl_is_chatty(w))
        return;
    printf("%s plugins on node %s:\n", doing, w->node);
    for (unsigned i = 0; i < w->arg_count; i++)
        puts(w->args[i]);
}

static int enable(struct warrenctl *w)
{
    print_asked(w, "Enabling");
    int status = check_known(w);
    if (status != EX_OK)
        return status;
    for (unsigned i = 0; i < w->arg_count; i++) {
        if (!plugin_of(w->args[i])->built_in)
            return warrenctl_fail(
                w, EX_UNAVAILABLE,
                "%s: Warren does not have it. Built in, and always enabled, are: '%s list -e'",
                w->args[i], w->program);
    }
    if (warrenctl_is_chatty(w))
        print_configured(w);
    return EX_OK;
}

/* What is not there is disabled; what is built in stays, which nobody should believe gone. */
static int disable(struct warrenctl *w)
{
    print_asked(w, "Disabling");
    int status = check_known(w);
    if (status != EX_OK)
        return status;
    for (unsigned i = 0; i < w->arg_count; i++) {
        if (plugin_of(w->args[i])->built_in)
            return warrenctl_fail(w, EX_UNAVAILABLE,
                                  "%s is built in and cannot be disabled; [listen] management = "
                                  "none closes the management's port",
                                  w->args[i]);
    }
    if (warrenctl_is_chatty(w))
        print_configured(w);
    return EX_OK;
}

static int set(struct warrenctl *w)
{
    return enable(w);
}

static int is_enabled(struct warrenctl *w)
{
    int status = check_known(w);
    for (unsigned i = 0; status == EX_OK && i < w->arg_count; i++) {
        if (warrenctl_is_chatty(w))
            printf("Asking node %s if plugin %s is enabled...\n", w->node, w->args[i]);
        if (!plugin_of(w->args[i])->built_in)
            return warrenctl_fail(w, EX_UNAVAILABLE, "Plugin %s is not enabled on node %s.",
                                  w->args[i], w->node);
        if (warrenctl_is_chatty(w))
            printf("Plugin %s is enabled on node %s\n", w->args[i], w->node);
    }
    return status;
}

static int directories(struct warrenctl *w)
{
    if (warrenctl_is_chatty(w))
        printf("Listing plugin directories used by node %s\n", w->node);
    puts("Plugin archives directory: (none: what there is is built in)");
    return EX_OK;
}

static const struct warrenctl_command rows[] = {
    { .name = "directories",
      .group = WARRENCTL_MONITORING,
      .usage = "[--offline] [--online]",
      .help = "Shows where RabbitMQ would keep plugins: here they are built in",
      .options = { "online" },
      .run = directories },
    { .name = "disable",
      .group = WARRENCTL_PLUGINS,
      .most = -1,
      .least = 1,
      .usage = "<plugin1> [ <plugin2>] | --all [--offline] [--online]",
      .help = "Accepted for scripts: nothing can be switched off",
      .options = { "online", "all" },
      .run = disable },
    { .name = "enable",
      .group = WARRENCTL_PLUGINS,
      .most = -1,
      .least = 1,
      .usage = "<plugin1> [ <plugin2>] | --all [--offline] [--online]",
      .help = "Succeeds when all those plugins are built in",
      .options = { "online", "all" },
      .run = enable },
    { .name = "is_enabled",
      .group = WARRENCTL_MONITORING,
      .most = -1,
      .least = 1,
      .usage = "<plugin1> [ <plugin2>] [--offline] [--online]",
      .help = "Fails when one of those plugins is not built in",
      .options = { "online" },
      .run = is_enabled },
    { .name = "list",
      .group = WARRENCTL_PLUGINS,
      .most = 1,
      .usage = "[pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]",
      .help = "Lists RabbitMQ's plugins and which of them are built in",
      .options = { "verbose", "minimal", "enabled", "implicitly-enabled" },
      .run = list },
    { .name = "set",
      .group = WARRENCTL_PLUGINS,
      .most = -1,
      .usage = "[<plugin> ...] [--offline] [--online]",
      .help = "Succeeds when all those plugins are built in; nothing else is switched off",
      .options = { "online" },
      .run = set },
};

const struct warrenctl_table warrenctl_plugins = { rows, ARRAY_COUNT(rows) };
