/* What makes, changes and repairs clusters. A node is a cluster of its own as yet: what that
 * answers is answered, the rest is refused with the reason. */
#include "mgmt/warrenctl_print.h"

#include <stdio.h>
#include <string.h>

#define NO_CLUSTERS                                                                                \
    "this version does not form clusters yet: every node is a cluster of its own (%s stays alone)"

static int refuse(const struct warrenctl *w)
{
    fflush(stdout);
    fputs("Error: ", stderr);
    fprintf(stderr, NO_CLUSTERS "\n", w->node_name);
    return EX_UNAVAILABLE;
}

/* Connected, and the application is not in the way. */
static int when_stopped(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    return status != EX_OK ? status : warrenctl_require_stopped(w);
}

static int join(struct warrenctl *w, const char *other)
{
    int status = when_stopped(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Clustering node %s with %s ...", w->node_name, other);
    warrenctl_say_banner(w);
    return refuse(w);
}

static int join_cluster(struct warrenctl *w)
{
    return join(w, w->args[0]);
}

/* The form of RabbitMQ 2: all nodes are named. */
static int cluster(struct warrenctl *w)
{
    char room[4096];
    struct text others = text_over(room, sizeof room);
    warrenctl_join(w->args, w->arg_count, " ", &others);
    return join(w, room);
}

static int update_cluster_nodes(struct warrenctl *w)
{
    int status = when_stopped(w);
    return status != EX_OK ? status : refuse(w);
}

static int force_boot(struct warrenctl *w)
{
    int status = when_stopped(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Forcing boot for Mnesia dir: there is nobody to wait for, start_app is "
                        "enough");
    warrenctl_say_banner(w);
    return EX_OK;
}

static int forget_cluster_node(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Removing node %s from the cluster", w->args[0]);
    warrenctl_say_banner(w);
    return warrenctl_fail(w, EX_UNAVAILABLE,
                          "{:not_a_cluster_node, 'The node selected is not in the cluster.'}");
}

static int change_cluster_node_type(struct warrenctl *w)
{
    const char *type = w->args[0];
    bool known = strcmp(type, "disc") == 0 || strcmp(type, "disk") == 0 || strcmp(type, "ram") == 0;
    if (!known)
        return warrenctl_fail_usage(w, EX_DATAERR,
                                    "Bad argument: The node type must be either disc or ram.");
    int status = when_stopped(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Turning %s into a %s node", w->node_name,
                     strcmp(type, "disk") == 0 ? "disc" : type);
    warrenctl_say_banner(w);
    return warrenctl_fail(w, EX_UNAVAILABLE,
                          "{:not_clustered, 'Non-clustered nodes can only be disc nodes.'}");
}

static int rename_cluster_node(struct warrenctl *w)
{
    return warrenctl_fail(w, EX_UNAVAILABLE,
                          "a node is renamed by [node] name and moving its folder, while it is "
                          "stopped; in a cluster it cannot be");
}

static int stop_cluster(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Stopping all nodes of the cluster of %s ...", w->node_name);
    status = warrenctl_do(w, "stop", json_object());
    if (status == EX_OK)
        warrenctl_say_done(w);
    return status;
}

/* ---- queues among nodes ---- */

/* The queue's node, or what to exit with. */
static int find_queue(struct warrenctl *w)
{
    return warrenctl_do(w, "find_queue",
                        json_pack("{s:s, s:s}", "vhost", w->vhost, "queue", w->args[0]));
}

static int sync_queue(struct warrenctl *w)
{
    warrenctl_banner(w, "Synchronising queue '%s' in vhost '%s' ...", w->args[0], w->vhost);
    int status = find_queue(w);
    return status != EX_OK ? status : warrenctl_fail(w, EX_UNAVAILABLE, "not_mirrored");
}

static int cancel_sync_queue(struct warrenctl *w)
{
    warrenctl_banner(w, "Stopping synchronising queue '%s' in vhost '%s' ...", w->args[0],
                     w->vhost);
    int status = find_queue(w);
    return status != EX_OK ? status : warrenctl_fail(w, EX_UNAVAILABLE, "not_mirrored");
}

static int rebalance(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Rebalancing queues ...");
    status = warrenctl_do(w, "ping", json_object());
    if (status == EX_OK && warrenctl_is_chatty(w))
        printf("%s is the only node: all queues are where they can be\n", w->node_name);
    return status;
}

static int why_queue(struct warrenctl *w)
{
    int status = find_queue(w);
    if (status == EX_OK)
        printf("queue '%s' in vhost '%s' is served by %s, the only node\n", w->args[0], w->vhost,
               w->node_name);
    return status;
}

/* To the node where it is, nothing has to be moved. */
static int to_node(struct warrenctl *w)
{
    int status = find_queue(w);
    if (status != EX_OK)
        return status;
    if (strcmp(w->args[1], w->node_name) == 0)
        return EX_OK;
    return refuse(w);
}

static int list_quarantined(struct warrenctl *w)
{
    static const char *const columns[] = { "id", "messages", "reason" };
    int status = w->arg_count != 0 ? find_queue(w) : EX_OK;
    if (status != EX_OK)
        return status;
    struct warrenctl_rows rows;
    warrenctl_rows_begin(&rows, w, columns, ARRAY_COUNT(columns), false);
    warrenctl_rows_end(&rows);
    return EX_OK;
}

static int quarantined(struct warrenctl *w)
{
    int status = find_queue(w);
    if (status != EX_OK || w->arg_count == 1)
        return status;
    return warrenctl_fail(w, EX_DATAERR, "%s: nothing of queue '%s' is in quarantine", w->args[1],
                          w->args[0]);
}

static const struct warrenctl_command rows[] = {
    { .name = "cancel_sync_queue",
      .group = WARRENCTL_REPLICATION,
      .least = 1,
      .most = 1,
      .usage = "[--vhost <vhost>] <queue>",
      .help = "Ends the synchronisation of a mirrored queue that is under way",
      .run = cancel_sync_queue },
    { .name = "change_cluster_node_type",
      .group = WARRENCTL_CLUSTER,
      .least = 1,
      .most = 1,
      .usage = "<disc | ram>",
      .help = "Makes a disc node of a RAM node, or the other way round",
      .run = change_cluster_node_type },
    { .name = "cluster",
      .group = WARRENCTL_CLUSTER,
      .least = 1,
      .most = -1,
      .usage = "<node> ...",
      .help = "The old form of join_cluster, which names all nodes",
      .run = cluster },
    { .name = "drop_quarantined",
      .group = WARRENCTL_REPLICATION,
      .least = 1,
      .most = -1,
      .usage = "[--vhost <vhost>] <queue> [<id> ...]",
      .help = "Drops what a queue has in quarantine",
      .run = quarantined },
    { .name = "force_boot",
      .group = WARRENCTL_CLUSTER,
      .usage = "",
      .help = "Lets the next start go on without the nodes that it would wait for",
      .run = force_boot },
    { .name = "force_promote",
      .group = WARRENCTL_REPLICATION,
      .least = 2,
      .most = 2,
      .usage = "[--vhost <vhost>] <queue> <node>",
      .help = "Makes a node the master of a queue, whatever is lost by it",
      .run = to_node },
    { .name = "forget_cluster_node",
      .group = WARRENCTL_CLUSTER,
      .least = 1,
      .most = 1,
      .usage = "[--offline] <existing_cluster_member>",
      .help = "Takes another node out of the cluster",
      .run = forget_cluster_node },
    { .name = "join_cluster",
      .group = WARRENCTL_CLUSTER,
      .least = 1,
      .most = 1,
      .usage = "[--disc|--ram] <existing_cluster_member>",
      .help = "Makes the node a member of the cluster that another node belongs to",
      .options = { "disc", "ram" },
      .run = join_cluster },
    { .name = "list_quarantined",
      .group = WARRENCTL_REPLICATION,
      .most = 1,
      .usage = "[--vhost <vhost>] [<queue>]",
      .help = "Lists what queues have in quarantine",
      .run = list_quarantined },
    { .name = "move_master",
      .group = WARRENCTL_REPLICATION,
      .least = 2,
      .most = 2,
      .usage = "[--vhost <vhost>] <queue> <node>",
      .help = "Moves the master of a queue to another node",
      .run = to_node },
    { .name = "rebalance",
      .group = WARRENCTL_REPLICATION,
      .most = 1,
      .usage = "[<pattern>]",
      .help = "Spreads the masters of queues over the nodes",
      .run = rebalance },
    { .name = "rename_cluster_node",
      .group = WARRENCTL_CLUSTER,
      .least = 2,
      .most = -1,
      .usage = "<oldnode1> <newnode1> [oldnode2] [newnode2] ...",
      .help = "Changes names of nodes in what the node has stored",
      .run = rename_cluster_node },
    { .name = "requeue_quarantined",
      .group = WARRENCTL_REPLICATION,
      .least = 1,
      .most = -1,
      .usage = "[--vhost <vhost>] <queue> [<id> ...]",
      .help = "Puts back what a queue has in quarantine",
      .run = quarantined },
    { .name = "stop_cluster",
      .group = WARRENCTL_CLUSTER,
      .usage = "",
      .help = "Stops every node of the cluster",
      .run = stop_cluster },
    { .name = "sync_queue",
      .group = WARRENCTL_REPLICATION,
      .least = 1,
      .most = 1,
      .usage = "[--vhost <vhost>] <queue>",
      .help = "Brings the mirrors of a queue up to date",
      .run = sync_queue },
    { .name = "update_cluster_nodes",
      .group = WARRENCTL_CLUSTER,
      .least = 1,
      .most = 1,
      .usage = "<seed_node>",
      .help = "Tells the node whom to ask for the members of its cluster",
      .run = update_cluster_nodes },
    { .name = "why_queue",
      .group = WARRENCTL_REPLICATION,
      .least = 1,
      .most = 1,
      .usage = "[--vhost <vhost>] <queue>",
      .help = "Tells where a queue is served, or what it waits for",
      .run = why_queue },
};

const struct warrenctl_table warrenctl_clusters = { rows, ARRAY_COUNT(rows) };
