/* What nodes have in quarantine: list_quarantined, requeue_quarantined, drop_quarantined. */
#include "base/mem.h"
#include "mgmt/warrenctl.h"
#include "mgmt/warrenctl_print.h"

#include <inttypes.h>
#include <stdio.h>

static json_t *args_of(const struct warrenctl *w)
{
    json_t *args = json_pack("{s:s}", "vhost", w->vhost), *ids = json_array();
    if (w->arg_count != 0)
        json_object_set_new(args, "queue", json_string(w->args[0]));
    for (unsigned i = 1; i < w->arg_count; i++)
        json_array_append_new(ids, json_string(w->args[i]));
    json_object_set_new(args, "ids", ids);
    return args;
}

static uint64_t number(const json_t *o, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(o, name));
}

/* What is there of nodes that are away is not known: a list without it must not look complete. */
static void tell_missing(const json_t *o)
{
    const json_t *name;
    size_t i;
    json_array_foreach(json_object_get(o, "missing"), i, name)
        fprintf(stderr, "Warning: %s does not answer: what it has in quarantine is left out\n",
                json_string_value(name));
}

static void print(const struct warrenctl *w, const json_t *o, const char *const *columns,
                  unsigned count)
{
    struct warrenctl_rows rows;
    const json_t *row;
    size_t i;
    warrenctl_rows_begin(&rows, w, columns, count, false);
    json_array_foreach(json_object_get(o, "rows"), i, row) warrenctl_rows_add(&rows, row);
    warrenctl_rows_end(&rows);
    if (number(o, "more") != 0)
        fprintf(stderr, "Warning: there are %" PRIu64 " more, which are not shown\n",
                number(o, "more"));
    tell_missing(o);
}

static int list_quarantined(struct warrenctl *w)
{
    static const char *const of_queues[] = { "name", "node", "messages", "bytes", "first", "last" };
    static const char *const of_one[] = { "id",       "node",        "since",      "epoch",
                                          "exchange", "routing_key", "body_bytes", "persistent" };
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    if (w->arg_count != 0)
        warrenctl_banner(w,
                         "Listing messages of queue '%s' in vhost '%s' that are in quarantine "
                         "...",
                         w->args[0], w->vhost);
    else
        warrenctl_banner(w, "Listing queues of vhost '%s' with messages in quarantine ...",
                         w->vhost);
    json_t *o = warrenctl_ask(w, "list_quarantined", args_of(w), &status);
    if (o == NULL)
        return status;
    if (w->arg_count != 0)
        print(w, o, of_one, ARRAY_COUNT(of_one));
    else
        print(w, o, of_queues, ARRAY_COUNT(of_queues));
    json_decref(o);
    return EX_OK;
}

/* A node puts back a bounded number at a time: as long as that goes on it is asked for more. */
static int requeue_quarantined(struct warrenctl *w)
{
    uint64_t count = 0, left = 0, now = 0;
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Putting messages back into queue '%s' in vhost '%s' ...", w->args[0],
                     w->vhost);
    json_t *o = NULL;
    do {
        json_decref(o);
        o = warrenctl_ask(w, "requeue_quarantined", args_of(w), &status);
        if (o == NULL)
            return status;
        now = number(o, "count");
        left = number(o, "left");
        count += now;
    } while (left != 0 && now != 0 && json_object_get(o, "why") == NULL);
    if (warrenctl_is_chatty(w))
        printf("%" PRIu64 " messages were put back\n", count);
    tell_missing(o);
    const char *why = json_string_value(json_object_get(o, "why"));
    if (why != NULL)
        status = warrenctl_fail(w, EX_TEMPFAIL,
                                "%" PRIu64 " messages of queue '%s' stay in quarantine: %s", left,
                                w->args[0], why);
    json_decref(o);
    return status;
}

static int drop_quarantined(struct warrenctl *w)
{
    int status = warrenctl_connect(w);
    if (status != EX_OK)
        return status;
    warrenctl_banner(w, "Dropping messages of queue '%s' in vhost '%s' that are in quarantine ...",
                     w->args[0], w->vhost);
    json_t *o = warrenctl_ask(w, "drop_quarantined", args_of(w), &status);
    if (o == NULL)
        return status;
    if (warrenctl_is_chatty(w))
        printf("%" PRIu64 " messages were dropped\n", number(o, "count"));
    tell_missing(o);
    json_decref(o);
    return EX_OK;
}

static const struct warrenctl_command rows[] = {
    { .name = "drop_quarantined",
      .group = WARRENCTL_REPLICATION,
      .least = 1,
      .most = -1,
      .usage = "[--vhost <vhost>] <queue> [<id> ...]",
      .help = "Drops what nodes have of a queue in quarantine, or these messages of it",
      .run = drop_quarantined },
    { .name = "list_quarantined",
      .group = WARRENCTL_REPLICATION,
      .most = 1,
      .usage = "[--vhost <vhost>] [<queue>]",
      .help = "Lists queues with messages that a node took while it was cut off and nobody else "
              "has; or those messages of one",
      .run = list_quarantined },
    { .name = "requeue_quarantined",
      .group = WARRENCTL_REPLICATION,
      .least = 1,
      .most = -1,
      .usage = "[--vhost <vhost>] <queue> [<id> ...]",
      .help = "Publishes what nodes have of a queue in quarantine into it, or these messages",
      .run = requeue_quarantined },
};

const struct warrenctl_table warrenctl_quarantine = { rows, ARRAY_COUNT(rows) };
