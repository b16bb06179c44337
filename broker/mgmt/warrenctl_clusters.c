/* What makes, changes and repairs clusters. */
#include "mgmt/warrenctl_print.h"

#include <stdio.h>
#include <string.h>

/* Said at first, then done. */
static int carry_out(struct warrenctl *w, const char *what, json_t *args)
{
    int status = warrenctl_do(w, what, args);
    if (status == EX_OK)
        warrenctl_say_done(w);
    return status;
}

static int join(struct warrenctl *w, const char *others, const char *type)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Clustering node %s with %s ...", w->node_name, others);
    return carry_out(w, "join_cluster", json_pack("{s:s, s:s}", "node", others, "type", type));
}

static int join_cluster(struct warrenctl *w)
{
    bool is_ram = warrenctl_option(w, "ram") != NULL;
    if (is_ram && warrenctl_option(w, "disc") != NULL)
        return warrenctl_fail_usage(w, EX_USAGE, "--disc and --ram: one of them");
    return join(w, w->args[0], is_ram ? "ram" : "disc");
}

/* "rabbit@host" for "rabbit" of this host. */
static bool is_this_node(const struct warrenctl *w, const char *name)
{
    size_t len = strlen(name);
    return strcmp(name, w->node_name) == 0 ||
           (strchr(name, '@') == NULL && strncmp(name, w->node_name, len) == 0 &&
            w->node_name[len] == '@');
}

/* The form of RabbitMQ 2: all nodes are named, and who names itself among them is a disc node. */
static int cluster(struct warrenctl *w)
{
    char room[4096];
    struct text others = text_over(room, sizeof room);
    const char *type = "ram";
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    for (unsigned i = 0; i < w->arg_count; i++) {
        if (is_this_node(w, w->args[i]))
            type = "disc";
        else
            text_put(&others, "%s%s", others.len != 0 ? "," : "", w->args[i]);
    }
    if (others.cut)
        return warrenctl_fail_usage(w, EX_DATAERR, "so many nodes are no cluster");
    if (others.len != 0)
        return join(w, room, type);
    warrenctl_banner(w, "Clustering node %s with itself ...", w->node_name);
    return carry_out(w, "reset", json_object());
}

static int update_cluster_nodes(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "%s will seed %s on next start", w->args[0], w->node_name);
    return carry_out(w, "update_cluster_nodes", json_pack("{s:s}", "node", w->args[0]));
}

static int force_boot(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status == EX_OK)
        status = warrenctl_require_stopped(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Forcing boot for Mnesia dir: a majority of the voters is what a node "
                        "waits for, in any order: forget_cluster_node takes out those that are "
                        "gone for good");
    warrenctl_say_banner(w);
    return EX_OK;
}

static int forget_cluster_node(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Removing node %s from the cluster", w->args[0]);
    return carry_out(w, "forget_cluster_node", json_pack("{s:s}", "node", w->args[0]));
}

static int change_cluster_node_type(struct warrenctl *w)
{
    const char *type = w->args[0];
    bool known = strcmp(type, "disc") == 0 || strcmp(type, "disk") == 0 || strcmp(type, "ram") == 0;
    if (!known)
        return warrenctl_fail_usage(w, EX_DATAERR,
                                    "Bad argument: The node type must be either disc or ram.");
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    type = strcmp(type, "disk") == 0 ? "disc" : type;
    warrenctl_banner(w, "Turning %s into a %s node", w->node_name, type);
    return carry_out(w, "change_cluster_node_type", json_pack("{s:s}", "type", type));
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
    return carry_out(w, "stop_cluster", json_object());
}

/* ---- queues among nodes ---- */

static int sync_queue(struct warrenctl *w)
{
    warrenctl_banner(w, "Synchronising queue '%s' in vhost '%s' ...", w->args[0], w->vhost);
    return warrenctl_do(w, "sync_queue",
                        json_pack("{s:s, s:s}", "vhost", w->vhost, "queue", w->args[0]));
}

/* As rabbitmqctl: that there is nothing to stop is no error. */
static int cancel_sync_queue(struct warrenctl *w)
{
    int status;
    warrenctl_banner(w, "Stopping synchronising queue '%s' in vhost '%s' ...", w->args[0],
                     w->vhost);
    json_t *args = json_pack("{s:s, s:s}", "vhost", w->vhost, "queue", w->args[0]);
    json_t *o = warrenctl_ask(w, "cancel_sync_queue", args, &status);
    if (o != NULL && !json_is_true(json_object_get(o, "was_syncing")))
        puts("not_syncing");
    json_decref(o);
    return status;
}

/* A minute of moves is not waited for. */
static int rebalance(struct warrenctl *w)
{
    static const char *const columns[] = { "Node name", "Number of quorum queues",
                                           "Number of classic queues" };
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Rebalancing queues ...");
    json_t *args = json_pack("{s:s}", "pattern", w->arg_count != 0 ? w->args[0] : "");
    json_t *o = warrenctl_ask(w, "rebalance", args, &status);
    if (o == NULL)
        return status;
    struct warrenctl_rows rows;
    size_t i;
    const json_t *row;
    warrenctl_rows_begin(&rows, w, columns, ARRAY_COUNT(columns), true);
    json_array_foreach(json_object_get(o, "rows"), i, row) warrenctl_rows_add(&rows, row);
    warrenctl_rows_end(&rows);
    if (json_is_true(json_object_get(o, "is_under_way")) && warrenctl_is_chatty(w))
        puts("more of them are being moved, some in each second");
    json_decref(o);
    return EX_OK;
}

static int why_queue(struct warrenctl *w)
{
    int status;
    json_t *args = json_pack("{s:s, s:s}", "vhost", w->vhost, "queue", w->args[0]);
    json_t *q = warrenctl_ask(w, "find_queue", args, &status);
    if (q == NULL)
        return status;
    printf("queue '%s' in vhost '%s' %s\n", w->args[0], w->vhost,
           json_string_value(json_object_get(q, "why")));
    json_decref(q);
    return EX_OK;
}

static json_t *queue_and_node(const struct warrenctl *w)
{
    return json_pack("{s:s, s:s, s:s}", "vhost", w->vhost, "queue", w->args[0], "node", w->args[1]);
}

static int move_master(struct warrenctl *w)
{
    warrenctl_banner(w, "Moving the master of queue '%s' in vhost '%s' to %s ...", w->args[0],
                     w->vhost, w->args[1]);
    return warrenctl_do(w, "move_master", queue_and_node(w));
}

static int force_promote(struct warrenctl *w)
{
    warrenctl_banner(w, "Giving queue '%s' in vhost '%s' to %s, whatever is lost by it ...",
                     w->args[0], w->vhost, w->args[1]);
    json_t *args = queue_and_node(w);
    json_object_set_new(args, "master_is_dead",
                        json_boolean(warrenctl_option(w, "master-is-dead") != NULL));
    return warrenctl_do(w, "force_promote", args);
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
      .help = "Makes a RAM node of a disc node, from its next start on; the other way is "
              "reset and join_cluster --disc",
      .run = change_cluster_node_type },
    { .name = "cluster",
      .group = WARRENCTL_CLUSTER,
      .least = 1,
      .most = -1,
      .usage = "<node> ...",
      .help = "The old form of join_cluster, which names all nodes",
      .run = cluster },
    { .name = "force_boot",
      .group = WARRENCTL_CLUSTER,
      .usage = "",
      .help = "Says what a node waits for: a majority of the voters, in any order",
      .run = force_boot },
    { .name = "force_promote",
      .group = WARRENCTL_REPLICATION,
      .least = 2,
      .most = 2,
      .usage = "[--vhost <vhost>] [--master-is-dead] <queue> <node>",
      .help = "Makes a node the master of a queue, whatever is lost by it",
      .details = "--master-is-dead  The present master cannot be asked, and does not run any more. "
                 "Without it that has to be known to the cluster: a master that is only cut off "
                 "would serve its clients on, and what these are confirmed would be lost.",
      .options = { "master-is-dead" },
      .run = force_promote },
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
    { .name = "move_master",
      .group = WARRENCTL_REPLICATION,
      .least = 2,
      .most = 2,
      .usage = "[--vhost <vhost>] <queue> <node>",
      .help = "Moves the master of a queue to another node that is in sync",
      .run = move_master },
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
