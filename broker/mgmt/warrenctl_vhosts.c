/* Vhosts and their limits. */
#include "mgmt/warrenctl_print.h"

#include <stdio.h>
#include <string.h>

static json_t *named(const struct warrenctl *w)
{
    return json_pack("{s:s}", "vhost", w->args[0]);
}

static void set_given(struct warrenctl *w, json_t *args, const char *option, const char *name)
{
    const char *value = warrenctl_option(w, option);
    if (value != NULL)
        json_object_set_new(args, name, json_string(value));
}

static int add_vhost(struct warrenctl *w)
{
    warrenctl_banner(w, "Adding vhost \"%s\" ...", w->args[0]);
    json_t *args = named(w);
    set_given(w, args, "description", "description");
    set_given(w, args, "tags", "tags");
    set_given(w, args, "default-queue-type", "default_queue_type");
    return warrenctl_do(w, "add_vhost", args);
}

static int delete_vhost(struct warrenctl *w)
{
    warrenctl_banner(w, "Deleting vhost \"%s\" ...", w->args[0]);
    return warrenctl_do(w, "delete_vhost", named(w));
}

static int list_vhosts(struct warrenctl *w)
{
    static const char *const known[] = { "name",    "description",  "tags", "default_queue_type",
                                         "tracing", "cluster_state" };
    static const char *const shown[] = { "name" };
    const char *const *columns = w->arg_count != 0 ? w->args : shown;
    unsigned count = w->arg_count != 0 ? w->arg_count : 1;
    json_t *names = json_array();
    char room[1024];
    struct text bad = text_over(room, sizeof room);
    for (unsigned i = 0; i < count; i++) {
        unsigned at = 0;
        while (at < ARRAY_COUNT(known) && strcmp(known[at], columns[i]) != 0)
            at++;
        if (at == ARRAY_COUNT(known))
            text_put(&bad, "%s%s", bad.len != 0 ? "," : "", columns[i]);
        json_array_append_new(names, json_string(columns[i]));
    }
    if (bad.len != 0) {
        json_decref(names);
        return warrenctl_fail_usage(w, EX_USAGE, "Info key(s) %s are not supported", room);
    }
    warrenctl_banner(w, "Listing vhosts ...");
    return warrenctl_list_whole(w, "list_vhosts", json_pack("{s:o}", "columns", names), columns,
                                count);
}

static int set_vhost_tags(struct warrenctl *w)
{
    char shown[4096], tags[4096];
    struct text s = text_over(shown, sizeof shown), t = text_over(tags, sizeof tags);
    warrenctl_join(w->args + 1, w->arg_count - 1, ", ", &s);
    warrenctl_join(w->args + 1, w->arg_count - 1, ",", &t);
    if (t.cut)
        return warrenctl_fail(w, EX_DATAERR, "the tags are too long");
    warrenctl_banner(w, "Setting tags for virtual host \"%s\" to [%s] ...", w->args[0], shown);
    json_t *args = named(w);
    json_object_set_new(args, "tags", json_string(tags));
    return warrenctl_do(w, "change_vhost", args);
}

static int trace_on(struct warrenctl *w)
{
    return warrenctl_fail(
        w, EX_UNAVAILABLE,
        "this version cannot copy messages to amq.rabbitmq.trace; bind a queue of "
        "your own beside the one to be watched");
}

/* Nothing is being copied. */
static int trace_off(struct warrenctl *w)
{
    warrenctl_banner(w, "Stopping tracing for vhost \"%s\" ...", w->vhost);
    int status = warrenctl_do(w, "change_vhost",
                              json_pack("{s:s, s:b}", "vhost", w->vhost, "tracing", false));
    if (status == EX_OK && warrenctl_is_chatty(w))
        printf("Trace disabled for vhost %s\n", w->vhost);
    return status;
}

/* A vhost has no processes that could have failed: whoever is there, runs. */
static int restart_vhost(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Trying to restart vhost '%s' on node '%s' ...", w->vhost, w->node_name);
    status = warrenctl_do(w, "list_policies", json_pack("{s:s}", "vhost", w->vhost));
    if (status == EX_OK && warrenctl_is_chatty(w))
        printf("Vhost '%s' is already running on node '%s'\n", w->vhost, w->node_name);
    return status;
}

/* ---- limits ---- */

static int set_vhost_limits(struct warrenctl *w)
{
    int status;
    warrenctl_banner(w, "Setting vhost limits to \"%s\" for vhost \"%s\" ...", w->args[0],
                     w->vhost);
    if (!warrenctl_check_json(w, w->args[0], &status))
        return status;
    return warrenctl_do(w, "set_vhost_limits",
                        json_pack("{s:s, s:s}", "vhost", w->vhost, "definition", w->args[0]));
}

static int clear_vhost_limits(struct warrenctl *w)
{
    warrenctl_banner(w, "Clearing vhost \"%s\" limits ...", w->vhost);
    return warrenctl_do(w, "clear_vhost_limits", json_pack("{s:s}", "vhost", w->vhost));
}

static int list_vhost_limits(struct warrenctl *w)
{
    static const char *const columns[] = { "vhost", "limits" };
    if (warrenctl_option(w, "global") != NULL) {
        warrenctl_banner(w, "Listing limits for all vhosts ...");
        return warrenctl_list_whole(w, "list_vhost_limits", json_object(), columns,
                                    ARRAY_COUNT(columns));
    }
    warrenctl_banner(w, "Listing limits for vhost \"%s\" ...", w->vhost);
    int status;
    json_t *o =
        warrenctl_ask(w, "list_vhost_limits", json_pack("{s:s}", "vhost", w->vhost), &status);
    if (o == NULL)
        return status;
    if (json_object_size(o) != 0)
        warrenctl_print_json(o);
    else
        putchar('\n');
    json_decref(o);
    return EX_OK;
}

static const struct warrenctl_command rows[] = {
    { .name = "add_vhost",
      .group = WARRENCTL_VHOSTS,
      .least = 1,
      .most = 1,
      .usage = "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" "
               "--default-queue-type <quorum|classic|stream>]",
      .help = "Adds a virtual host",
      .options = { "description=", "tags=", "default-queue-type=" },
      .run = add_vhost },
    { .name = "clear_vhost_limits",
      .group = WARRENCTL_VHOSTS,
      .usage = "[--vhost <vhost>]",
      .help = "Removes the limits of a virtual host",
      .run = clear_vhost_limits },
    { .name = "delete_vhost",
      .group = WARRENCTL_VHOSTS,
      .least = 1,
      .most = 1,
      .usage = "<vhost>",
      .help = "Removes a virtual host with everything in it; its clients are closed",
      .run = delete_vhost },
    { .name = "list_vhost_limits",
      .group = WARRENCTL_VHOSTS,
      .usage = "[--vhost <vhost>] [--global] [--no-table-headers]",
      .help = "Lists the limits of virtual hosts",
      .options = { "global" },
      .run = list_vhost_limits },
    { .name = "list_vhosts",
      .group = WARRENCTL_ACCESS,
      .most = -1,
      .usage = "[--no-table-headers] [<column> ...] [--timeout <timeout>]",
      .help = "Lists the virtual hosts",
      .details = "<column>\n\tany of cluster_state, default_queue_type, description, name, "
                 "tags, tracing\n",
      .run = list_vhosts },
    { .name = "restart_vhost",
      .group = WARRENCTL_VHOSTS,
      .usage = "[--vhost <vhost>] [--timeout <timeout>]",
      .help = "Accepted for scripts: a virtual host does not fail on its own here",
      .run = restart_vhost },
    { .name = "set_vhost_limits",
      .group = WARRENCTL_VHOSTS,
      .least = 1,
      .most = 1,
      .usage = "[--vhost <vhost>] <definition>",
      .help = "Sets how many connections and queues a virtual host may have",
      .details =
          "<definition>\n\ta JSON object with max-connections, max-queues or both; -1: no limit\n",
      .run = set_vhost_limits },
    { .name = "set_vhost_tags",
      .group = WARRENCTL_VHOSTS,
      .least = 1,
      .most = -1,
      .usage = "<vhost> <tag> [...]",
      .help = "Sets the tags of a virtual host, which only describe it",
      .run = set_vhost_tags },
    { .name = "trace_off",
      .group = WARRENCTL_VHOSTS,
      .usage = "[--vhost <vhost>]",
      .help = "Accepted for scripts: no messages are copied to amq.rabbitmq.trace",
      .run = trace_off },
    { .name = "trace_on",
      .group = WARRENCTL_VHOSTS,
      .usage = "[--vhost <vhost>]",
      .help = "Would copy the messages of a virtual host to amq.rabbitmq.trace: not there",
      .run = trace_on },
};

const struct warrenctl_table warrenctl_vhosts = { rows, ARRAY_COUNT(rows) };
