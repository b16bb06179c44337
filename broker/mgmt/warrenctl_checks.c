/* rabbitmq-diagnostics' questions, which others' health checks ask. */
#include "mgmt/warrenctl_link.h"
#include "mgmt/warrenctl_print.h"
#include "mgmt/warrenctl_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_MS 5000u

/* ---- what is asked ---- */

/* The node's status, after saying what it is asked; NULL: *status says what to exit with. */
static json_t *status_of(struct warrenctl *w, const char *asking, const char *ends, int *status)
{
    *status = warrenctl_connect(w);
    if (*status != EX_OK)
        return NULL;
    warrenctl_banner(w, "%s %s%s...", asking, w->node_name, ends);
    return warrenctl_ask(w, "status", json_object(), status);
}

/* Does the application run? 1 or 0, or -1: *status says what to exit with. */
static int runs(struct warrenctl *w, const char *asking, const char *ends, int *status)
{
    *status = warrenctl_connect(w);
    if (*status != EX_OK)
        return -1;
    warrenctl_banner(w, "%s %s %s...", asking, w->node_name, ends);
    json_t *o = warrenctl_ask(w, "ping", json_object(), status);
    int yes = o == NULL ? -1 : json_is_true(json_object_get(o, "running"));
    json_decref(o);
    return yes;
}

static void say(const struct warrenctl *w, const char *fmt, const char *what)
{
    if (!warrenctl_is_chatty(w))
        return;
    const char *at = strstr(fmt, "%s");
    fwrite(fmt, 1, (size_t)(at - fmt), stdout);
    printf("%s%s\n", what, at + 2);
}

/* ---- is it up? ---- */

#define RUNS "RabbitMQ on node %s is fully booted and running"
#define RUNS_NOT                                                                                   \
    "RabbitMQ on node %s is not running or has not fully booted yet (check with "                  \
    "is_booting)"

static int check_running(struct warrenctl *w)
{
    int status;
    int yes = runs(w, "Checking if RabbitMQ is running on node", "", &status);
    if (yes < 0)
        return status;
    if (yes == 0)
        return warrenctl_fail(w, EX_UNAVAILABLE, RUNS_NOT, w->node_name);
    say(w, RUNS, w->node_name);
    return EX_OK;
}

static int is_running(struct warrenctl *w)
{
    int status;
    int yes = runs(w, "Asking node", "for its status ", &status);
    if (yes >= 0)
        say(w, yes != 0 ? RUNS : RUNS_NOT, w->node_name);
    return yes >= 0 ? EX_OK : status;
}

/* Whoever answers is there already. */
static int is_booting(struct warrenctl *w)
{
    int status;
    if (runs(w, "Asking node", "for its boot status ", &status) < 0)
        return status;
    say(w,
        "RabbitMQ on node %s is fully booted (check with is_running), stopped or has not started "
        "booting yet",
        w->node_name);
    return EX_OK;
}

static int server_version(struct warrenctl *w)
{
    int status;
    json_t *o = status_of(w, "Asking node", " for its RabbitMQ version", &status);
    if (o != NULL)
        puts(json_string_value(json_object_get(o, "rabbitmq_version")));
    json_decref(o);
    return status;
}

/* ---- alarms ---- */

#define ALARM_LINES_MAX ((size_t)256 * 1024) /* more than all nodes of a cluster can fill */

/* `which`: what the node says of itself, or of all, see ctl_status.c. */
static int alarms_of(struct warrenctl *w, const char *which, const char *none, bool is_check)
{
    int status;
    json_t *o = status_of(w, "Asking node",
                          is_check ? " to report any local resource alarms "
                                   : " to report any known resource alarms ",
                          &status);
    if (o == NULL)
        return status;
    struct text lines;
    text_init(&lines, ALARM_LINES_MAX);
    size_t index;
    json_t *alarm;
    json_array_foreach(json_object_get(o, which), index, alarm)
    {
        text_str(&lines, index != 0 ? "\n" : "");
        warrenctl_alarm_text(alarm, &lines);
    }
    json_decref(o);
    if (lines.len == 0)
        say(w, none, w->node_name);
    else if (is_check)
        status = warrenctl_fail(w, EX_UNAVAILABLE, "Node %s reported alarms:\n%s", w->node_name,
                                lines.ptr);
    else
        puts(lines.ptr);
    text_fini(&lines);
    return status;
}

static int alarms(struct warrenctl *w)
{
    return alarms_of(w, "cluster_alarms", "Node %s reported no alarms, local or clusterwide",
                     false);
}

static int check_alarms(struct warrenctl *w)
{
    return alarms_of(w, "cluster_alarms", "Node %s reported no alarms, local or clusterwide", true);
}

static int check_local_alarms(struct warrenctl *w)
{
    return alarms_of(w, "alarms", "Node %s reported no local alarms", true);
}

/* ---- listeners ---- */

static int listeners(struct warrenctl *w)
{
    int status;
    json_t *o = status_of(w, "Asking node", " to report its protocol listeners ", &status);
    if (o == NULL)
        return status;
    json_t *list = json_object_get(o, "listeners");
    if (w->formatter == WARRENCTL_JSON) {
        json_t *out = json_pack("{s:O}", "listeners", list);
        warrenctl_print_json(out);
        json_decref(out);
    } else {
        warrenctl_print_listeners(list);
    }
    json_decref(o);
    return EX_OK;
}

/* Ports or protocols, between commas. */
static void put_listeners(const json_t *list, const char *member, struct text *out)
{
    size_t index;
    json_t *l;
    json_array_foreach(list, index, l)
    {
        text_str(out, index != 0 ? ", " : "");
        warrenctl_put_value(out, json_object_get(l, member));
    }
}

static bool has_listener(const json_t *list, const char *member, const char *wanted)
{
    size_t index;
    json_t *l;
    json_array_foreach(list, index, l)
    {
        char room[64];
        struct text t = text_over(room, sizeof room);
        warrenctl_put_value(&t, json_object_get(l, member));
        if (strcmp(room, wanted) == 0)
            return true;
    }
    return false;
}

static int check_listener(struct warrenctl *w, const char *member, const char *asked,
                          const char *kind, const char *others)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Asking node %s if there's an active listener %s %s ...", w->node_name,
                     asked, w->args[0]);
    json_t *o = warrenctl_ask(w, "status", json_object(), &status);
    if (o == NULL)
        return status;
    const json_t *list = json_object_get(o, "listeners");
    char room[1024];
    struct text found = text_over(room, sizeof room);
    put_listeners(list, member, &found);
    bool there = has_listener(list, member, w->args[0]);
    json_decref(o);
    if (!there)
        return warrenctl_fail(w, EX_UNAVAILABLE,
                              "No listener %s %s is active on node %s. Found listeners %s: %s",
                              kind, w->args[0], w->node_name, others, room);
    if (warrenctl_is_chatty(w))
        printf("A listener %s %s is running on node %s.\n", kind, w->args[0], w->node_name);
    return EX_OK;
}

static int check_port_listener(struct warrenctl *w)
{
    return check_listener(w, "port", "on port", "for port", "that use the following ports");
}

static int check_protocol_listener(struct warrenctl *w)
{
    return check_listener(w, "protocol", "for protocol", "for protocol",
                          "for the following protocols");
}

/* Can we connect to what it says it listens on? An interface of all is this one's host. */
static bool answers(const struct warrenctl *w, const json_t *l, struct err *err)
{
    const char *interface = json_string_value(json_object_get(l, "interface"));
    const char *at = strchr(w->node_name, '@');
    const char *host = at != NULL ? at + 1 : "localhost";
    struct warrenctl_target t = {
        .shown = w->node_name,
        .host = interface == NULL || interface[0] == '[' ? host : interface,
        .port = (uint16_t)json_integer_value(json_object_get(l, "port")),
    };
    struct warrenctl_link *link = warrenctl_link_new(&t, CONNECT_MS, err);
    bool ok = link != NULL;
    warrenctl_link_free(&link);
    return ok || err_context(err, "port %u", (unsigned)t.port);
}

static int connect_all(struct warrenctl *w, const json_t *list)
{
    size_t index;
    json_t *l;
    struct err err;
    char room[1024];
    struct text ports = text_over(room, sizeof room);
    json_array_foreach(list, index, l)
    {
        if (!answers(w, l, &err))
            return warrenctl_fail(w, EX_UNAVAILABLE,
                                  "Connection to ports of the following listeners on node %s "
                                  "failed: %s",
                                  w->node_name, err.text);
    }
    put_listeners(list, "port", &ports);
    if (warrenctl_is_chatty(w))
        printf("Successfully connected to ports %s on node %s.\n", room, w->node_name);
    return EX_OK;
}

static int check_port_connectivity(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Testing TCP connections to all active listeners on node %s ...",
                     w->node_name);
    json_t *o = warrenctl_ask(w, "status", json_object(), &status);
    if (o != NULL)
        status = connect_all(w, json_object_get(o, "listeners"));
    json_decref(o);
    return status;
}

/* ---- the rest ---- */

static int check_virtual_hosts(struct warrenctl *w)
{
    int status;
    json_t *o = status_of(w, "Checking if all vhosts are running on node", " ", &status);
    json_decref(o);
    if (o != NULL)
        say(w, "Node %s reported all vhosts as running", w->node_name);
    return status;
}

/* RabbitMQ's exit status and first words; queues by their names. */
static int tell_critical(struct warrenctl *w, const json_t *o)
{
    size_t index;
    json_t *q, *list = json_object_get(o, "queues");
    json_int_t count = json_integer_value(json_object_get(o, "count"));
    struct text names;
    text_init(&names, SIZE_MAX / 2);
    json_array_foreach(list, index, q)
        text_put(&names, "\n%s in virtual host '%s'", json_string_value(json_object_get(q, "name")),
                 json_string_value(json_object_get(q, "virtual_host")));
    if ((size_t)count > json_array_size(list))
        text_put(&names, "\n... and %" JSON_INTEGER_FORMAT " more",
                 count - (json_int_t)json_array_size(list));
    int status = warrenctl_fail(w, EX_UNAVAILABLE,
                                "Node %s reported %" JSON_INTEGER_FORMAT
                                " queues of which no other node that is up has a copy in sync:%.*s",
                                w->node_name, count, SLICE_ARG(text_view(&names)));
    text_fini(&names);
    return status;
}

static int check_critical(struct warrenctl *w, const char *of, bool quorum)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Checking if node %s is critical for %s ...", w->node_name, of);
    json_t *o = warrenctl_ask(w, "critical", json_pack("{s:b}", "quorum", quorum), &status);
    if (o == NULL)
        return status;
    if (json_is_true(json_object_get(o, "is_alone")))
        say(w,
            "Node %s seems to be the only one in a single node cluster, the check does not apply",
            w->node_name);
    else if (json_integer_value(json_object_get(o, "count")) != 0)
        status = tell_critical(w, o);
    else
        say(w, "Node %s reported no queues that only it could serve", w->node_name);
    json_decref(o);
    return status;
}

static int check_quorum(struct warrenctl *w)
{
    return check_critical(w, "quorum of any quorum queues", true);
}

static int check_mirrors(struct warrenctl *w)
{
    return check_critical(w, "data safety of any classic mirrored queues", false);
}

static int memory_breakdown(struct warrenctl *w)
{
    int status;
    json_t *o = status_of(w, "Reporting memory breakdown on node", "", &status);
    if (o == NULL)
        return status;
    if (w->formatter == WARRENCTL_JSON)
        warrenctl_print_json(json_object_get(o, "memory"));
    else
        warrenctl_print_memory(json_object_get(o, "memory"));
    json_decref(o);
    return EX_OK;
}

static const struct warrenctl_command rows[] = {
    { .name = "alarms",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Lists the alarms that are in effect",
      .run = alarms },
    { .name = "check_alarms",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Fails when any alarm is in effect, here or elsewhere in the cluster",
      .run = check_alarms },
    { .name = "check_if_node_is_mirror_sync_critical",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Health check: would queues be lost without this node?",
      .run = check_mirrors },
    { .name = "check_if_node_is_quorum_critical",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Health check: would queues be without a majority without this node?",
      .run = check_quorum },
    { .name = "check_local_alarms",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Fails when an alarm of this node is in effect",
      .run = check_local_alarms },
    { .name = "check_port_connectivity",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Connects to every listener of the node, and fails when one does not answer",
      .options = { "address=" },
      .run = check_port_connectivity },
    { .name = "check_port_listener",
      .group = WARRENCTL_MONITORING,
      .least = 1,
      .most = 1,
      .usage = "<port> [--timeout <timeout>]",
      .help = "Fails when nothing listens on that port of the node",
      .run = check_port_listener },
    { .name = "check_protocol_listener",
      .group = WARRENCTL_MONITORING,
      .least = 1,
      .most = 1,
      .usage = "<protocol> [--timeout <timeout>]",
      .help = "Fails when nothing on the node listens for that protocol",
      .run = check_protocol_listener },
    { .name = "check_running",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Fails when the broker does not serve clients (after stop_app, for example)",
      .run = check_running },
    { .name = "check_virtual_hosts",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Fails when a virtual host of the node does not run",
      .run = check_virtual_hosts },
    { .name = "is_booting",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Is the node on its way to serving clients?",
      .run = is_booting },
    { .name = "is_running",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Does the node serve clients?",
      .run = is_running },
    { .name = "listeners",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Lists what the node listens on: addresses, ports, protocols",
      .run = listeners },
    { .name = "memory_breakdown",
      .group = WARRENCTL_MONITORING,
      .usage = "[--unit <unit>] [--timeout <timeout>]",
      .help = "Shows what takes how much of the node's memory",
      .options = { "unit=" },
      .run = memory_breakdown },
    { .name = "server_version",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Shows the version of the node",
      .run = server_version },
};

const struct warrenctl_table warrenctl_checks = { rows, ARRAY_COUNT(rows) };
