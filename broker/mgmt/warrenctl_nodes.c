/* ping, status and their like: the node as a whole. */
#include "mgmt/warrenctl_print.h"
#include "mgmt/warrenctl_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

static const struct warrenctl_command rows[] = {
    { .name = "cluster_status",
      .group = WARRENCTL_CLUSTER,
      .usage = "[--timeout <timeout>]",
      .help = "Displays all the nodes in the cluster grouped by node type, together with the "
              "currently running nodes",
      .run = cluster_status },
    { .name = "ping",
      .group = WARRENCTL_MONITORING,
      .usage = "[--timeout <timeout>]",
      .help = "Checks that the node OS process is up, registered with EPMD and CLI tools can "
              "authenticate with it",
      .run = ping },
    { .name = "status",
      .group = WARRENCTL_MONITORING,
      .usage = "[--unit <unit>] [--timeout <timeout>]",
      .help = "Displays status of a node",
      .options = { "unit=" },
      .run = status },
};

const struct warrenctl_table warrenctl_nodes = { rows, ARRAY_COUNT(rows) };
