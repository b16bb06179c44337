/* Policies, operator policies, parameters. */
#include "base/mem.h"
#include "mgmt/warrenctl_print.h"

#include <stdlib.h>
#include <string.h>

/* ---- policies ---- */

/* False: it is no number, and *status is what to exit with. */
static bool read_priority(const struct warrenctl *w, long long *out, int *status)
{
    const char *text = warrenctl_option(w, "priority");
    char *end;
    *out = 0;
    if (text == NULL)
        return true;
    *out = strtoll(text, &end, 10);
    if (*end == '\0' && end != text)
        return true;
    *status = warrenctl_fail_usage(w, EX_USAGE,
                                   "Invalid options for this command:\n--priority : %s", text);
    return false;
}

static int set(struct warrenctl *w, const char *kind, bool is_operator)
{
    long long priority;
    int status;
    if (!read_priority(w, &priority, &status))
        return status;
    warrenctl_banner(w,
                     "Setting %s \"%s\" for pattern \"%s\" to \"%s\" with priority \"%lld\" for "
                     "vhost \"%s\" ...",
                     kind, w->args[0], w->args[1], w->args[2], priority, w->vhost);
    if (!warrenctl_check_json(w, w->args[2], &status))
        return status;
    const char *apply_to = warrenctl_option(w, "apply-to");
    json_t *args = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:b}", "vhost", w->vhost, "name",
                             w->args[0], "pattern", w->args[1], "definition", w->args[2],
                             "apply_to", apply_to != NULL ? apply_to : "all", "priority",
                             (json_int_t)priority, "operator", is_operator);
    return warrenctl_do(w, "set_policy", args);
}

static int clear(struct warrenctl *w, const char *kind, bool is_operator)
{
    warrenctl_banner(w, "Clearing %s \"%s\" on vhost \"%s\" ...", kind, w->args[0], w->vhost);
    return warrenctl_do(w, "clear_policy",
                        json_pack("{s:s, s:s, s:b}", "vhost", w->vhost, "name", w->args[0],
                                  "operator", is_operator));
}

static int list(struct warrenctl *w, const char *kind, bool is_operator)
{
    static const char *const columns[] = { "vhost",    "name",       "pattern",
                                           "apply-to", "definition", "priority" };
    warrenctl_banner(w, "Listing %s for vhost \"%s\" ...", kind, w->vhost);
    return warrenctl_list_whole(w, "list_policies",
                                json_pack("{s:s, s:b}", "vhost", w->vhost, "operator", is_operator),
                                columns, ARRAY_COUNT(columns));
}

static int set_policy(struct warrenctl *w)
{
    return set(w, "policy", false);
}

static int clear_policy(struct warrenctl *w)
{
    return clear(w, "policy", false);
}

static int list_policies(struct warrenctl *w)
{
    return list(w, "policies", false);
}

static int set_operator_policy(struct warrenctl *w)
{
    return set(w, "operator policy override", true);
}

static int clear_operator_policy(struct warrenctl *w)
{
    return clear(w, "operator policy", true);
}

static int list_operator_policies(struct warrenctl *w)
{
    return list(w, "operator policy overrides", true);
}

/* ---- parameters ---- */

static int set_parameter(struct warrenctl *w)
{
    int status;
    warrenctl_banner(
        w, "Setting runtime parameter \"%s\" for component \"%s\" to \"%s\" in vhost \"%s\" ...",
        w->args[1], w->args[0], w->args[2], w->vhost);
    if (!warrenctl_check_json(w, w->args[2], &status))
        return status;
    return warrenctl_do(w, "set_parameter",
                        json_pack("{s:s, s:s, s:s, s:s}", "vhost", w->vhost, "component",
                                  w->args[0], "name", w->args[1], "value", w->args[2]));
}

static int clear_parameter(struct warrenctl *w)
{
    warrenctl_banner(w,
                     "Clearing runtime parameter \"%s\" for component \"%s\" on vhost \"%s\" ...",
                     w->args[1], w->args[0], w->vhost);
    return warrenctl_do(w, "clear_parameter",
                        json_pack("{s:s, s:s, s:s}", "vhost", w->vhost, "component", w->args[0],
                                  "name", w->args[1]));
}

static int list_parameters(struct warrenctl *w)
{
    static const char *const columns[] = { "component", "name", "value" };
    warrenctl_banner(w, "Listing runtime parameters for vhost \"%s\" ...", w->vhost);
    return warrenctl_list_whole(w, "list_parameters", json_pack("{s:s}", "vhost", w->vhost),
                                columns, ARRAY_COUNT(columns));
}

static int set_global_parameter(struct warrenctl *w)
{
    int status;
    warrenctl_banner(w, "Setting global runtime parameter \"%s\" to \"%s\" ...", w->args[0],
                     w->args[1]);
    if (!warrenctl_check_json(w, w->args[1], &status))
        return status;
    return warrenctl_do(w, "set_global_parameter",
                        json_pack("{s:s, s:s}", "name", w->args[0], "value", w->args[1]));
}

static int clear_global_parameter(struct warrenctl *w)
{
    warrenctl_banner(w, "Clearing global runtime parameter \"%s\" ...", w->args[0]);
    return warrenctl_do(w, "clear_global_parameter", json_pack("{s:s}", "name", w->args[0]));
}

static int list_global_parameters(struct warrenctl *w)
{
    static const char *const columns[] = { "name", "value" };
    warrenctl_banner(w, "Listing global runtime parameters ...");
    return warrenctl_list_whole(w, "list_global_parameters", json_object(), columns,
                                ARRAY_COUNT(columns));
}

static int set_cluster_name(struct warrenctl *w)
{
    warrenctl_banner(w, "Setting cluster name to %s ...", w->args[0]);
    json_t *name = json_string(w->args[0]);
    char *text = json_dumps(name, JSON_ENCODE_ANY);
    json_decref(name);
    int status = warrenctl_do(w, "set_global_parameter",
                              json_pack("{s:s, s:s}", "name", "cluster_name", "value", text));
    mem_free(text);
    return status;
}

#define POLICY_DETAILS                                                                             \
    "<pattern>\n\ta regular expression: the policy is for the names that it finds itself in\n\n"   \
    "<definition>\n\ta JSON object, such as {\"max-length\": 1000}\n\n"                            \
    "--priority <priority>\n\tof several policies that match, the one with the highest number "    \
    "counts; 0 if not given\n\n"                                                                   \
    "--apply-to <queues | exchanges | all>\n\tall if not given\n"
#define POLICY_USAGE                                                                               \
    "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> "          \
    "<definition>"

static const struct warrenctl_command rows[] = {
    { .name = "clear_global_parameter",
      .group = WARRENCTL_PARAMETERS,
      .least = 1,
      .most = 1,
      .usage = "<name>",
      .help = "Removes a parameter of the whole cluster",
      .run = clear_global_parameter },
    { .name = "clear_operator_policy",
      .group = WARRENCTL_POLICIES,
      .least = 1,
      .most = 1,
      .usage = "[--vhost <vhost>] <name>",
      .help = "Removes an operator policy",
      .run = clear_operator_policy },
    { .name = "clear_parameter",
      .group = WARRENCTL_PARAMETERS,
      .least = 2,
      .most = 2,
      .usage = "[--vhost <vhost>] <component_name> <name>",
      .help = "Removes a parameter of a virtual host",
      .run = clear_parameter },
    { .name = "clear_policy",
      .group = WARRENCTL_POLICIES,
      .least = 1,
      .most = 1,
      .usage = "[--vhost <vhost>] <name>",
      .help = "Removes a policy",
      .run = clear_policy },
    { .name = "list_global_parameters",
      .group = WARRENCTL_PARAMETERS,
      .usage = "[--no-table-headers] [--timeout <timeout>]",
      .help = "Lists the parameters of the whole cluster",
      .run = list_global_parameters },
    { .name = "list_operator_policies",
      .group = WARRENCTL_POLICIES,
      .usage = "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]",
      .help = "Lists the operator policies of a virtual host",
      .run = list_operator_policies },
    { .name = "list_parameters",
      .group = WARRENCTL_PARAMETERS,
      .usage = "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]",
      .help = "Lists the parameters of a virtual host",
      .run = list_parameters },
    { .name = "list_policies",
      .group = WARRENCTL_POLICIES,
      .usage = "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]",
      .help = "Lists the policies of a virtual host",
      .run = list_policies },
    { .name = "set_cluster_name",
      .group = WARRENCTL_CONFIGURATION,
      .least = 1,
      .most = 1,
      .usage = "<name>",
      .help = "Gives the cluster a name, which clients and the management API show",
      .run = set_cluster_name },
    { .name = "set_global_parameter",
      .group = WARRENCTL_PARAMETERS,
      .least = 2,
      .most = 2,
      .usage = "<name> <value>",
      .help = "Sets a parameter of the whole cluster, a JSON value",
      .run = set_global_parameter },
    { .name = "set_operator_policy",
      .group = WARRENCTL_POLICIES,
      .least = 3,
      .most = 3,
      .usage = POLICY_USAGE,
      .help = "Sets limits for the queues that match, beyond which no policy and no argument gets",
      .details = POLICY_DETAILS,
      .options = { "priority=", "apply-to=" },
      .run = set_operator_policy },
    { .name = "set_parameter",
      .group = WARRENCTL_PARAMETERS,
      .least = 3,
      .most = 3,
      .usage = "[--vhost <vhost>] <component_name> <name> <value>",
      .help = "Sets a parameter of a virtual host, a JSON value",
      .run = set_parameter },
    { .name = "set_policy",
      .group = WARRENCTL_POLICIES,
      .least = 3,
      .most = 3,
      .usage = POLICY_USAGE,
      .help = "Sets how queues and exchanges behave whose names match a pattern",
      .details = POLICY_DETAILS,
      .options = { "priority=", "apply-to=" },
      .run = set_policy },
};

const struct warrenctl_table warrenctl_policies = { rows, ARRAY_COUNT(rows) };
