/* ping, status, stop_app and their like: the node as a whole. */
#include "base/mem.h"
#include "base/units.h"
#include "io/file.h"
#include "io/host.h"
#include "mgmt/warrenctl_link.h"
#include "mgmt/warrenctl_node.h"
#include "mgmt/warrenctl_print.h"
#include "mgmt/warrenctl_status.h"
#include "mgmt/warrenctl_wait.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PID_TEXT_MAX ((size_t)64)

static int ping(struct warrenctl *w)
{
    uint64_t timeout_s = w->timeout_is_given ? w->timeout_s : WARRENCTL_TIMEOUT_S;
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w,
                     "Will ping %s. This only checks if the OS process is running and registered "
                     "with epmd. Timeout: %" PRIu64 " ms.",
                     w->node_name, timeout_s * 1000u);
    status = warrenctl_do(w, "ping", json_object());
    if (status == EX_OK && !w->quiet && !w->silent)
        puts("Ping succeeded");
    return status;
}

static int status(struct warrenctl *w)
{
    int code = warrenctl_connect(w);
    if (code != EX_OK)
        return code;
    warrenctl_banner(w, "Status of node %s ...", w->node_name);
    json_t *o = warrenctl_ask(w, "status", json_object(), &code);
    if (o == NULL)
        return code;
    if (w->formatter == WARRENCTL_JSON)
        warrenctl_print_json(o);
    else
        warrenctl_print_status(o);
    json_decref(o);
    return EX_OK;
}

static int journal_status(struct warrenctl *w)
{
    int code = warrenctl_connect(w);
    if (code != EX_OK)
        return code;
    warrenctl_banner(w, "Status of the journal of node %s ...", w->node_name);
    json_t *o = warrenctl_ask(w, "journal_status", json_object(), &code);
    if (o == NULL)
        return code;
    if (w->formatter == WARRENCTL_JSON)
        warrenctl_print_json(o);
    else
        warrenctl_print_journal(o);
    json_decref(o);
    return EX_OK;
}

static int cluster_status(struct warrenctl *w)
{
    int code = warrenctl_connect(w);
    if (code != EX_OK)
        return code;
    warrenctl_banner(w, "Cluster status of node %s ...", w->node_name);
    json_t *o = warrenctl_ask(w, "cluster_status", json_object(), &code);
    if (o == NULL)
        return code;
    if (w->formatter == WARRENCTL_JSON)
        warrenctl_print_json(o);
    else
        warrenctl_print_cluster(o, w->formatter == WARRENCTL_ERLANG);
    json_decref(o);
    warrenctl_say_done(w);
    return EX_OK;
}

/* ---- the application ---- */

/* Say which node, then let it do so. */
static int order(struct warrenctl *w, const char *doing, const char *what)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "%s node %s ...", doing, w->node_name);
    status = warrenctl_do(w, what, json_object());
    if (status == EX_OK)
        warrenctl_say_done(w);
    return status;
}

static int stop_app(struct warrenctl *w)
{
    return order(w, "Stopping", "stop_app");
}

static int start_app(struct warrenctl *w)
{
    return order(w, "Starting", "start_app");
}

static int reset(struct warrenctl *w)
{
    return order(w, "Resetting", "reset");
}

static int force_reset(struct warrenctl *w)
{
    return order(w, "Forcefully resetting", "force_reset");
}

static int drain(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w,
                     "Will put node %s into maintenance mode. The node will no longer serve any "
                     "client traffic!",
                     w->node_name);
    return warrenctl_do(w, "drain", json_object());
}

static int revive(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w,
                     "Will put node %s back into normal operating mode. The node will again "
                     "serve client traffic!",
                     w->node_name);
    return warrenctl_do(w, "revive", json_object());
}

static int suspend_listeners(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w,
                     "Will suspend client connection listeners on node %s. The node will no "
                     "longer accept client connections!",
                     w->node_name);
    return warrenctl_do(w, "suspend_listeners", json_object());
}

static int resume_listeners(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w,
                     "Will resume client connection listeners on node %s. The node will now "
                     "accept client connections",
                     w->node_name);
    return warrenctl_do(w, "resume_listeners", json_object());
}

/* ---- the process ---- */

/* Until the process has ended. False: not in time. */
static bool wait_for_end(const struct warrenctl *w, uint64_t pid)
{
    struct warrenctl_wait t;
    warrenctl_wait_begin(&t, w->timeout_is_given ? w->timeout_s : 0);
    while (host_process_lives(pid)) {
        if (!warrenctl_wait_more(&t))
            return false;
    }
    return true;
}

/* The pid in a file; false: there is none, or it holds no pid. */
static bool read_pid(const char *path, uint64_t *pid)
{
    uint8_t *bytes;
    size_t len;
    struct err err;
    if (!file_read(path, PID_TEXT_MAX, &bytes, &len, &err))
        return false;
    while (len != 0 && (bytes[len - 1] == '\n' || bytes[len - 1] == ' '))
        len--;
    bool ok = units_u64(slice_of(bytes, len), pid) && *pid != 0 && *pid <= INT32_MAX;
    mem_free(bytes);
    return ok;
}

static int too_slow(const struct warrenctl *w)
{
    fflush(stdout);
    fprintf(stderr, "Error: operation %s on node %s timed out. Timeout value used: %" PRIu64 "\n",
            w->command->name, w->node_name[0] != '\0' ? w->node_name : w->node,
            w->timeout_s * 1000u);
    return EX_TEMPFAIL;
}

static int stop(struct warrenctl *w)
{
    uint64_t pid = 0;
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return warrenctl_option(w, "idempotent") != NULL ? EX_OK : status;
    if (w->arg_count != 0 && !read_pid(w->args[0], &pid))
        return warrenctl_fail(w, EX_DATAERR, "%s: no pid can be read from it", w->args[0]);
    warrenctl_banner(w, "Stopping and halting node %s ...", w->node_name);
    status = warrenctl_do(w, "stop", json_object());
    if (status != EX_OK || pid == 0)
        return status;
    return wait_for_end(w, pid) ? EX_OK : too_slow(w);
}

static int shutdown_node(struct warrenctl *w)
{
    int status;
    json_t *o = warrenctl_ask(w, "ping", json_object(), &status);
    if (o == NULL)
        return status;
    uint64_t pid = (uint64_t)json_integer_value(json_object_get(o, "pid"));
    json_decref(o);
    bool chatty = warrenctl_is_chatty(w), here = warrenctl_node_is_here(w);
    if (chatty)
        printf("Shutting down RabbitMQ node %s running at PID %" PRIu64 "\n", w->node_name, pid);
    status = warrenctl_do(w, "stop", json_object());
    if (status != EX_OK || !here)
        return status;
    if (chatty)
        printf("Waiting for PID %" PRIu64 " to terminate\n", pid);
    fflush(stdout);
    if (!wait_for_end(w, pid))
        return too_slow(w);
    if (chatty)
        printf("RabbitMQ node %s running at PID %" PRIu64 " successfully shut down\n", w->node_name,
               pid);
    return EX_OK;
}

/* ---- waiting for it ---- */

/* Does the application run there? Quietly; a node that is not there does not. */
static bool runs(struct warrenctl *w)
{
    struct err err;
    struct warrenctl_answer a;
    if (w->link == NULL && !warrenctl_node_connect(w, &err))
        return false;
    if (!warrenctl_link_ask(w->link, "POST", "/ctl/ping", slice_str("{}"), 5000, &a, &err)) {
        warrenctl_link_free(&w->link);
        return false;
    }
    json_error_t why;
    json_t *o = json_loadb(a.body.ptr, a.body.len, 0, &why);
    bool yes = json_is_true(json_object_get(o, "running"));
    struct text name = text_over(w->node_name, sizeof w->node_name);
    const char *told = json_string_value(json_object_get(o, "node"));
    text_str(&name, told != NULL ? told : w->node);
    json_decref(o);
    text_fini(&a.body);
    return yes;
}

static bool wait_until_it_runs(struct warrenctl *w, struct warrenctl_wait *t, uint64_t pid,
                               bool *ended)
{
    *ended = false;
    while (!runs(w)) {
        *ended = pid != 0 && !host_process_lives(pid);
        if (*ended || !warrenctl_wait_more(t))
            return false;
    }
    return true;
}

static int await_startup(struct warrenctl *w)
{
    struct warrenctl_wait t;
    bool ended;
    warrenctl_wait_begin(&t, w->timeout_is_given ? w->timeout_s : 300);
    return wait_until_it_runs(w, &t, 0, &ended) ? EX_OK : too_slow(w);
}

/* As the node sees it; 0: it does not answer. */
static uint64_t nodes_that_run(struct warrenctl *w)
{
    int status;
    json_t *o = warrenctl_ask(w, "cluster_status", json_object(), &status);
    uint64_t count = json_array_size(json_object_get(o, "running_nodes"));
    json_decref(o);
    return count;
}

static int await_online_nodes(struct warrenctl *w)
{
    uint64_t count, seconds = w->timeout_is_given ? w->timeout_s : 300;
    if (!units_u64(slice_str(w->args[0]), &count) || count == 0)
        return warrenctl_fail_usage(w, EX_DATAERR,
                                    "Bad argument: node count must be a positive integer");
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w,
                     "Will wait for at least %" PRIu64
                     " nodes to join the cluster of %s. Timeout: %" PRIu64 " seconds.",
                     count, w->node_name, seconds);
    warrenctl_say_banner(w);
    struct warrenctl_wait t;
    bool ended;
    warrenctl_wait_begin(&t, seconds);
    bool up = wait_until_it_runs(w, &t, 0, &ended);
    while (up && nodes_that_run(w) < count)
        up = warrenctl_wait_more(&t);
    if (up)
        return EX_OK;
    return warrenctl_fail(w, EX_SOFTWARE,
                          "Error: timed out while waiting. Not enough nodes joined %s's cluster.",
                          w->node_name);
}

static bool wait_for_pid_file(const char *path, struct warrenctl_wait *t, uint64_t *pid)
{
    while (!read_pid(path, pid)) {
        if (!warrenctl_wait_more(t))
            return false;
    }
    return true;
}

static int wait_for_node(struct warrenctl *w)
{
    const char *given = warrenctl_option(w, "pid");
    bool chatty = warrenctl_is_chatty(w), ended;
    uint64_t pid = 0;
    struct warrenctl_wait t;
    if ((given == NULL) == (w->arg_count == 0))
        return warrenctl_fail_usage(w, EX_USAGE, "%s",
                                    given != NULL ? "Cannot specify both pid and pidfile"
                                                  : "No pid or pidfile specified");
    if (given != NULL && (!units_u64(slice_str(given), &pid) || pid == 0 || pid > INT32_MAX))
        return warrenctl_fail_usage(w, EX_DATAERR, "Bad argument: pid");
    if (!w->timeout_is_given)
        w->timeout_s = 10;
    warrenctl_wait_begin(&t, w->timeout_s);
    if (given == NULL) {
        if (chatty)
            printf("Waiting for pid file '%s' to appear\n", w->args[0]);
        fflush(stdout);
        if (!wait_for_pid_file(w->args[0], &t, &pid))
            return too_slow(w);
        if (chatty)
            printf("pid is %" PRIu64 "\n", pid);
    }
    if (chatty)
        printf("Waiting for erlang distribution on node '%s' while OS process '%" PRIu64
               "' is running\n",
               w->node, pid);
    fflush(stdout);
    bool up = host_process_lives(pid) && wait_until_it_runs(w, &t, pid, &ended);
    if (!host_process_lives(pid))
        return warrenctl_fail(w, EX_UNAVAILABLE, "process_not_running");
    if (!up)
        return too_slow(w);
    if (chatty)
        printf("Waiting for applications 'rabbit_and_plugins' to start on node '%s'\n"
               "Applications 'rabbit_and_plugins' are running on node '%s'\n",
               w->node_name, w->node_name);
    return EX_OK;
}

/* ---- all that can be said ---- */

static void print_terms(const json_t *o)
{
    const char *section, *key;
    json_t *keys, *value;
    bool first = true;
    json_object_foreach((json_t *)(uintptr_t)o, section, keys)
    {
        printf("%s{'%s',[", first ? "[" : ",\n ", section);
        first = false;
        bool first_key = true;
        json_object_foreach(keys, key, value)
        {
            char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
            printf("%s\n     {'%s',%s}", first_key ? "" : ",", key, text);
            mem_free(text);
            first_key = false;
        }
        fputs("]}", stdout);
    }
    puts("]");
}

static int environment(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Application environment of node %s ...", w->node_name);
    json_t *o = warrenctl_ask(w, "environment", json_object(), &status);
    if (o == NULL)
        return status;
    if (w->formatter == WARRENCTL_JSON)
        warrenctl_print_json(o);
    else
        print_terms(o);
    json_decref(o);
    return EX_OK;
}

static int rotate_logs(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Rotating logs for node %s ...", w->node_name);
    return warrenctl_do(w, "rotate_logs", json_object());
}

static int run_other(struct warrenctl *w, const char *name)
{
    const struct warrenctl_command *was = w->command;
    w->command = warrenctl_command_find(w->tables, name);
    int status = w->command->run(w);
    w->command = was;
    return status;
}

static int report(struct warrenctl *w)
{
    static const char *const parts[] = {
        "status",           "cluster_status",         "environment",
        "list_connections", "list_channels",          "list_queues",
        "list_exchanges",   "list_bindings",          "list_permissions",
        "list_policies",    "list_global_parameters", "list_parameters"
    };
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    if (warrenctl_is_chatty(w))
        printf("Reporting server status of node %s ...\n", w->node_name);
    for (size_t i = 0; i < ARRAY_COUNT(parts) && status == EX_OK; i++) {
        putchar('\n');
        status = run_other(w, parts[i]);
    }
    return status;
}

static const struct warrenctl_command rows[] = {
    { .name = "await_online_nodes",
      .group = WARRENCTL_CLUSTER,
      .least = 1,
      .most = 1,
      .usage = "<count> [--timeout <timeout>]",
      .help = "Returns when so many nodes of the cluster run",
      .run = await_online_nodes },
    { .name = "await_startup",
      .group = WARRENCTL_NODES,
      .usage = "",
      .help = "Returns when the node serves clients",
      .run = await_startup },
    { .name = "cluster_status",
      .group = WARRENCTL_CLUSTER,
      .usage = "[--timeout <timeout>]",
      .help = "Shows the members of the cluster, their types, versions and alarms, and which of "
              "them run",
      .run = cluster_status },
    { .name = "drain",
      .group = WARRENCTL_NODES,
      .usage = "",
      .help = "Puts a node in maintenance mode: clients are sent away, and new ones not let in",
      .run = drain },
    { .name = "environment",
      .group = WARRENCTL_CONFIGURATION,
      .usage = "[--timeout <timeout>]",
      .help = "Shows every setting of the node and its value",
      .run = environment },
    { .name = "force_reset",
      .group = WARRENCTL_CLUSTER,
      .usage = "",
      .help = "Empties a stopped node, whatever the cluster says",
      .run = force_reset },
    { .name = "journal_status",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Shows the journal on disk: its size, what of it is alive, how long syncs take, and "
              "what the last start found",
      .run = journal_status },
    { .name = "ping",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Does the node answer, and does it know our cookie?",
      .run = ping },
    { .name = "report",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Shows everything that helps somebody else to help: status, settings, users, "
              "queues, clients",
      .run = report },
    { .name = "reset",
      .group = WARRENCTL_NODES,
      .usage = "",
      .help = "Empties a stopped node: definitions, users and messages go",
      .run = reset },
    { .name = "resume_listeners",
      .group = WARRENCTL_OPERATIONS,
      .usage = "[--timeout <timeout>]",
      .help = "Accepts clients again after suspend_listeners",
      .run = resume_listeners },
    { .name = "revive",
      .group = WARRENCTL_NODES,
      .usage = "",
      .help = "Takes a node out of maintenance mode",
      .run = revive },
    { .name = "rotate_logs",
      .group = WARRENCTL_NODES,
      .usage = "",
      .help = "Opens the log file again, after it was moved away",
      .run = rotate_logs },
    { .name = "shutdown",
      .group = WARRENCTL_NODES,
      .usage = "[--wait] [--timeout <timeout>]",
      .help = "Stops the node in an orderly way, and returns when its process has ended",
      .options = { "wait" },
      .run = shutdown_node },
    { .name = "start_app",
      .group = WARRENCTL_NODES,
      .usage = "",
      .help = "Serves clients again after stop_app",
      .run = start_app },
    { .name = "status",
      .group = WARRENCTL_MONITORING,
      .usage = "[--unit <unit>] [--timeout <timeout>]",
      .help = "Shows version, listeners, memory, limits and alarms of the node",
      .options = { "unit=" },
      .run = status },
    { .name = "stop",
      .group = WARRENCTL_NODES,
      .most = 1,
      .usage = "[--idempotent] [<pidfile>]",
      .help = "Stops the node in an orderly way; with the name of its pid file, returns when it "
              "has ended",
      .options = { "idempotent" },
      .run = stop },
    { .name = "stop_app",
      .group = WARRENCTL_NODES,
      .usage = "",
      .help = "Closes the clients and their listeners; the process stays, for reset, join_cluster "
              "and start_app",
      .run = stop_app },
    { .name = "suspend_listeners",
      .group = WARRENCTL_OPERATIONS,
      .usage = "[--timeout <timeout>]",
      .help = "Accepts no further clients; those that are there stay",
      .run = suspend_listeners },
    { .name = "wait",
      .group = WARRENCTL_NODES,
      .most = 1,
      .usage = "[<pidfile>] [--pid|-P <pid>] [--timeout <timeout>]",
      .help = "Returns when the node of that pid file serves clients",
      .options = { "pid=" },
      .run = wait_for_node },
};

const struct warrenctl_table warrenctl_nodes = { rows, ARRAY_COUNT(rows) };
