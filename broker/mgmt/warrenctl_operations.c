/* Connections and queues that are acted upon, what can be set while the node runs, and what only an
 * Erlang node could do. */
#include "base/mem.h"
#include "base/units.h"
#include "io/password.h"
#include "mgmt/warrenctl_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- connections ---- */

/* How many were closed, or -1: *status says what to exit with. */
static json_int_t close_them(struct warrenctl *w, json_t *args, int *status)
{
    json_t *o = warrenctl_ask(w, "close_connections", args, status);
    json_int_t closed = o != NULL ? json_integer_value(json_object_get(o, "closed")) : -1;
    json_decref(o);
    return closed;
}

static int close_connection(struct warrenctl *w)
{
    int status;
    const char *pid = w->args[0];
    warrenctl_banner(w, "Closing connection %s, reason: %s...", pid, w->args[1]);
    if (pid[0] != '<') {
        status = warrenctl_connect(w);
        warrenctl_say_banner(w);
        return status != EX_OK ? status
                               : warrenctl_fail(w, EX_UNAVAILABLE,
                                                "Error:\n{:invalid_pid_syntax, \"%s\"}", pid);
    }
    json_int_t closed =
        close_them(w, json_pack("{s:s, s:s}", "pid", pid, "reason", w->args[1]), &status);
    return closed < 0 ? status : EX_OK;
}

static int close_all_connections(struct warrenctl *w)
{
    int status;
    bool global = warrenctl_option(w, "global") != NULL;
    const char *limit = warrenctl_option(w, "limit");
    uint64_t most = 0;
    if (limit != NULL && !units_u64(slice_str(limit), &most))
        return warrenctl_fail_usage(w, EX_DATAERR, "Bad argument: limit");
    json_t *args = json_pack("{s:s, s:I}", "reason", w->args[0], "limit", (json_int_t)most);
    if (global) {
        warrenctl_banner(w, "Closing all connections to node %s, reason: %s...", w->node,
                         w->args[0]);
    } else {
        warrenctl_banner(w, "Closing all connections in vhost %s, reason: %s...", w->vhost,
                         w->args[0]);
        json_object_set_new(args, "vhost", json_string(w->vhost));
    }
    json_int_t closed = close_them(w, args, &status);
    if (closed >= 0 && warrenctl_is_chatty(w))
        printf("Closed %" JSON_INTEGER_FORMAT " connections\n", closed);
    return closed < 0 ? status : EX_OK;
}

static int close_all_user_connections(struct warrenctl *w)
{
    int status;
    warrenctl_banner(w, "Closing connections of user %s, reason: %s...", w->args[0], w->args[1]);
    json_int_t closed =
        close_them(w, json_pack("{s:s, s:s}", "user", w->args[0], "reason", w->args[1]), &status);
    return closed < 0 ? status : EX_OK;
}

/* ---- queues ---- */

static int purge_queue(struct warrenctl *w)
{
    warrenctl_banner(w, "Purging queue '%s' in vhost '%s' ...", w->args[0], w->vhost);
    return warrenctl_do(w, "purge_queue",
                        json_pack("{s:s, s:s}", "vhost", w->vhost, "queue", w->args[0]));
}

static int delete_queue(struct warrenctl *w)
{
    bool unused = warrenctl_option(w, "if-unused") != NULL;
    bool empty = warrenctl_option(w, "if-empty") != NULL;
    warrenctl_banner(w, "Deleting queue '%s' on vhost '%s' %s%s%s...", w->args[0], w->vhost,
                     empty ? "if queue is empty " : "", empty && unused ? "and " : "",
                     unused ? "if queue is unused " : "");
    int status;
    json_t *o = warrenctl_ask(w, "delete_queue",
                              json_pack("{s:s, s:s, s:b, s:b}", "vhost", w->vhost, "queue",
                                        w->args[0], "if_unused", unused, "if_empty", empty),
                              &status);
    if (o != NULL && warrenctl_is_chatty(w))
        printf("Queue was successfully deleted with %" JSON_INTEGER_FORMAT " ready messages\n",
               json_integer_value(json_object_get(o, "messages")));
    json_decref(o);
    return status;
}

/* ---- settings ---- */

static int set_log_level(struct warrenctl *w)
{
    static const struct {
        const char *name; /* RabbitMQ's */
        const char *level;
    } known[] = { { "debug", "debug" }, { "info", "info" },   { "warning", "warn" },
                  { "warn", "warn" },   { "error", "error" }, { "critical", "error" },
                  { "none", "error" },  { "trace", "trace" } };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        if (strcmp(known[i].name, w->args[0]) != 0)
            continue;
        warrenctl_banner(w, "Setting log level to \"%s\" ...", w->args[0]);
        return warrenctl_do(w, "set_log_level", json_pack("{s:s}", "level", known[i].level));
    }
    return warrenctl_fail(
        w, EX_UNAVAILABLE,
        "level %s is not supported. Try one of debug, info, warning, error, critical, none",
        w->args[0]);
}

/* "0.4"; false: no number at all. */
static bool read_fraction(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0';
}

/* "2GB", "512MiB", "1000". RabbitMQ's kB, MB and GB are decimal, and k, M, G and KiB binary. */
static bool read_octets(const char *text, uint64_t *out)
{
    static const struct {
        const char *unit;
        uint64_t octets;
    } units[] = { { "", 1 },
                  { "k", 1024 },
                  { "kB", 1000 },
                  { "KB", 1000 },
                  { "kb", 1000 },
                  { "kiB", 1024 },
                  { "KiB", 1024 },
                  { "kib", 1024 },
                  { "M", 1048576 },
                  { "MB", 1000000 },
                  { "mb", 1000000 },
                  { "MiB", 1048576 },
                  { "mib", 1048576 },
                  { "G", 1073741824 },
                  { "GB", 1000000000 },
                  { "gb", 1000000000 },
                  { "GiB", 1073741824 },
                  { "gib", 1073741824 },
                  { "T", UINT64_C(1) << 40 },
                  { "TB", UINT64_C(1000000000000) },
                  { "TiB", UINT64_C(1) << 40 } };
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (!units_u64(slice_of(text, digits), &number))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (strcmp(text + digits, units[i].unit) == 0) {
            *out = number * units[i].octets;
            return number <= UINT64_MAX / units[i].octets;
        }
    }
    return false;
}

static int set_memory(struct warrenctl *w, json_t *args, const char *shown, const char *unit)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK) {
        json_decref(args);
        return status;
    }
    warrenctl_banner(w, "Setting memory threshold on %s to %s%s ...", w->node_name, shown, unit);
    return warrenctl_do(w, "set_memory_limit", args);
}

static int set_vm_memory_high_watermark(struct warrenctl *w)
{
    double fraction;
    uint64_t octets;
    if (strcmp(w->args[0], "absolute") == 0) {
        if (w->arg_count < 2)
            return warrenctl_fail_usage(w, EX_USAGE, "not enough arguments.");
        if (!read_octets(w->args[1], &octets))
            return warrenctl_fail_usage(w, EX_DATAERR, "Bad argument.");
        return set_memory(w, json_pack("{s:I}", "octets", (json_int_t)octets), w->args[1],
                          " bytes");
    }
    if (w->arg_count > 1)
        return warrenctl_fail_usage(w, EX_USAGE, "too many arguments.");
    if (!read_fraction(w->args[0], &fraction))
        return warrenctl_fail_usage(w, EX_DATAERR, "Bad argument.");
    if (!(fraction >= 0.0 && fraction <= 1.0))
        return warrenctl_fail_usage(
            w, EX_DATAERR, "Bad argument: The threshold should be a fraction between 0.0 and 1.0");
    return set_memory(w, json_pack("{s:f}", "fraction", fraction), w->args[0], "");
}

static int set_disk(struct warrenctl *w, json_t *args, const char *shown, const char *unit)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK) {
        json_decref(args);
        return status;
    }
    warrenctl_banner(w, "Setting disk free limit on %s to %s%s ...", w->node_name, shown, unit);
    return warrenctl_do(w, "set_disk_limit", args);
}

static int set_disk_free_limit(struct warrenctl *w)
{
    double fraction;
    uint64_t octets;
    if (strcmp(w->args[0], "mem_relative") == 0) {
        if (w->arg_count < 2)
            return warrenctl_fail_usage(w, EX_USAGE, "not enough arguments.");
        if (!read_fraction(w->args[1], &fraction) || !(fraction >= 0.0 && fraction < 1000.0))
            return warrenctl_fail_usage(w, EX_DATAERR, "Bad argument.");
        return set_disk(w, json_pack("{s:f}", "fraction", fraction), w->args[1],
                        " times the total RAM");
    }
    if (w->arg_count > 1)
        return warrenctl_fail_usage(w, EX_USAGE, "too many arguments.");
    if (!read_octets(w->args[0], &octets))
        return warrenctl_fail_usage(w, EX_DATAERR, "Bad argument.");
    return set_disk(w, json_pack("{s:I}", "octets", (json_int_t)octets), w->args[0], " bytes");
}

/* ---- what needs no node ---- */

/* As definitions want it. */
static int hash_password(struct warrenctl *w)
{
    struct password_hash hash;
    char text[PASSWORD_TEXT_MAX];
    password_make(PASSWORD_SHA256, 0, slice_str(w->args[0]), &hash);
    if (!password_to_text(password_hash_slice(&hash), text, sizeof text))
        return warrenctl_fail(w, EX_SOFTWARE, "the hash is too long");
    puts(text);
    return EX_OK;
}

/* ---- what is RabbitMQ's or Erlang's own ---- */

static int feature_flags(struct warrenctl *w)
{
    static const char *const columns[] = { "name", "state" };
    /* What they stand for is there; tools look for them. */
    static const char *const flags[] = {
        "classic_mirrored_queue_version",
        "drop_unroutable_metric",
        "empty_basic_get_metric",
        "implicit_default_bindings",
        "maintenance_mode_status",
        "quorum_queue",
        "user_limits",
        "virtual_host_metadata",
    };
    warrenctl_banner(w, "Listing feature flags ...");
    int status = warrenctl_do(w, "ping", json_object());
    if (status != EX_OK)
        return status;
    struct warrenctl_rows rows;
    warrenctl_rows_begin(&rows, w, columns, ARRAY_COUNT(columns), true);
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        json_t *row = json_pack("[s, s]", flags[i], "enabled");
        warrenctl_rows_add(&rows, row);
        json_decref(row);
    }
    warrenctl_rows_end(&rows);
    return EX_OK;
}

static int enable_feature_flag(struct warrenctl *w)
{
    if (strcmp(w->args[0], "all") == 0)
        warrenctl_banner(w, "Enabling all feature flags ...");
    else
        warrenctl_banner(w, "Enabling feature flag \"%s\" ...", w->args[0]);
    return warrenctl_do(w, "ping", json_object());
}

/* Memory goes back as soon as it is not needed. */
static int force_gc(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Will ask all processes on node %s to schedule a full sweep GC",
                     w->node_name);
    return warrenctl_do(w, "ping", json_object());
}

static int node_health_check(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Checking health of node %s ...", w->node_name);
    json_t *o = warrenctl_ask(w, "status", json_object(), &status);
    if (o == NULL)
        return status;
    bool well = json_array_size(json_object_get(o, "alarms")) == 0;
    json_decref(o);
    if (!well)
        return warrenctl_fail(w, EX_UNAVAILABLE, "resource alarm(s) in effect");
    if (warrenctl_is_chatty(w))
        puts("Health check passed");
    return EX_OK;
}

static int erlang_only(struct warrenctl *w)
{
    return warrenctl_fail(w, EX_UNAVAILABLE,
                          "%s works on an Erlang node's inside, and Warren is no Erlang program; "
                          "see '%s help' for what there is",
                          w->command->name, w->program);
}

static int encoding(struct warrenctl *w)
{
    return warrenctl_fail(w, EX_UNAVAILABLE,
                          "%s is for encrypted values in Erlang configuration files, which Warren "
                          "does not have: secrets lie in files of their own (cookie-file, key)",
                          w->command->name);
}

static const struct warrenctl_command rows[] = {
    { .name = "close_all_connections",
      .group = WARRENCTL_OPERATIONS,
      .least = 1,
      .most = 1,
      .usage = "[--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay "
               "<delay>] <explanation>",
      .help = "Closes the clients of a virtual host, or all clients, and tells them the reason",
      .options = { "global", "limit=", "per-connection-delay=" },
      .run = close_all_connections },
    { .name = "close_all_user_connections",
      .group = WARRENCTL_OPERATIONS,
      .least = 2,
      .most = 2,
      .usage = "<username> <explanation>",
      .help = "Closes the clients of a user, and tells them the reason",
      .run = close_all_user_connections },
    { .name = "close_connection",
      .group = WARRENCTL_OPERATIONS,
      .least = 2,
      .most = 2,
      .usage = "<connection pid> <explanation>",
      .help = "Closes one client, by the pid that list_connections shows, and tells it the reason",
      .run = close_connection },
    { .name = "decode",
      .group = WARRENCTL_CONFIGURATION,
      .most = -1,
      .usage = "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]",
      .help = "Reads an encrypted value of a RabbitMQ configuration: not there, Warren has none",
      .options = { "cipher=", "hash=", "iterations=" },
      .run = encoding },
    { .name = "delete_queue",
      .group = WARRENCTL_QUEUES,
      .least = 1,
      .most = 1,
      .usage = "<queue_name> [--if-empty|-e] [--if-unused|-u] [--timeout <timeout>]",
      .help = "Deletes a queue, unless it is used or has messages and that was excluded",
      .options = { "if-empty", "if-unused" },
      .run = delete_queue },
    { .name = "enable_feature_flag",
      .group = WARRENCTL_FEATURE_FLAGS,
      .least = 1,
      .most = 1,
      .usage = "<all | feature_flag>",
      .help = "Accepted for scripts: all that this version can do is enabled",
      .run = enable_feature_flag },
    { .name = "encode",
      .group = WARRENCTL_CONFIGURATION,
      .most = -1,
      .usage = "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]",
      .help = "Makes an encrypted value for a RabbitMQ configuration: not there, Warren has none",
      .options = { "cipher=", "hash=", "iterations=" },
      .run = encoding },
    { .name = "eval",
      .group = WARRENCTL_OPERATIONS,
      .most = -1,
      .usage = "<expression>",
      .help = "Runs Erlang inside a RabbitMQ: not there",
      .run = erlang_only },
    { .name = "eval_file",
      .group = WARRENCTL_OPERATIONS,
      .most = -1,
      .usage = "<file path>",
      .help = "Runs a file of Erlang inside a RabbitMQ: not there",
      .run = erlang_only },
    { .name = "exec",
      .group = WARRENCTL_OPERATIONS,
      .most = -1,
      .usage = "<expression>",
      .help = "Runs Elixir inside rabbitmqctl: not there",
      .run = erlang_only },
    { .name = "force_gc",
      .group = WARRENCTL_OPERATIONS,
      .usage = "[--timeout <timeout>]",
      .help = "Accepted for scripts: memory goes back as soon as it is not needed",
      .run = force_gc },
    { .name = "hash_password",
      .group = WARRENCTL_USERS,
      .least = 1,
      .most = 1,
      .usage = "<cleartext_password>",
      .help = "Hashes a password as definitions hold it",
      .run = hash_password },
    { .name = "list_ciphers",
      .group = WARRENCTL_MONITORING,
      .usage = "",
      .help = "Lists ciphers for encode: not there",
      .run = encoding },
    { .name = "list_feature_flags",
      .group = WARRENCTL_FEATURE_FLAGS,
      .most = -1,
      .usage = "[<column> ...] [--timeout <timeout>]",
      .help = "Lists RabbitMQ's feature flags that hold here",
      .run = feature_flags },
    { .name = "list_hashes",
      .group = WARRENCTL_MONITORING,
      .usage = "",
      .help = "Lists hashes for encode: not there",
      .run = encoding },
    { .name = "node_health_check",
      .group = WARRENCTL_DEPRECATED,
      .usage = "[--timeout <timeout>]",
      .help = "Fails when an alarm is in effect; the check_ commands say more",
      .run = node_health_check },
    { .name = "purge_queue",
      .group = WARRENCTL_QUEUES,
      .least = 1,
      .most = 1,
      .usage = "<queue> [--timeout <timeout>]",
      .help = "Removes the messages of a queue that are ready",
      .run = purge_queue },
    { .name = "schema_info",
      .group = WARRENCTL_MONITORING,
      .most = -1,
      .usage = "[--no-table-headers] [<column> ...]",
      .help = "Lists the tables of a RabbitMQ's database: not there",
      .run = erlang_only },
    { .name = "set_disk_free_limit",
      .group = WARRENCTL_CONFIGURATION,
      .least = 1,
      .most = 2,
      .usage = "<disk_limit> | mem_relative <fraction>",
      .help = "Sets how much of the disk must stay free: with less, publishers are blocked",
      .run = set_disk_free_limit },
    { .name = "set_log_level",
      .group = WARRENCTL_CONFIGURATION,
      .least = 1,
      .most = 1,
      .usage = "<log_level>",
      .help = "Sets how much the node logs, until it restarts or reloads",
      .run = set_log_level },
    { .name = "set_vm_memory_high_watermark",
      .group = WARRENCTL_CONFIGURATION,
      .least = 1,
      .most = 2,
      .usage = "<fraction> | absolute <value>",
      .help = "Sets how much memory messages may take before publishers wait",
      .run = set_vm_memory_high_watermark },
};

const struct warrenctl_table warrenctl_operations = { rows, ARRAY_COUNT(rows) };
