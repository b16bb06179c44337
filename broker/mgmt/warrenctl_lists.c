/* list_queues and its like: what the node streams. */
#include "base/mem.h"
#include "mgmt/ctl_columns.h"
#include "mgmt/warrenctl_link.h"
#include "mgmt/warrenctl_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX 64u

#define X(name)     #name,
static const char *const queue_columns[] = { CTL_QUEUE_COLUMNS(X) NULL };
static const char *const exchange_columns[] = { CTL_EXCHANGE_COLUMNS(X) NULL };
static const char *const binding_columns[] = { CTL_BINDING_COLUMNS(X) NULL };
static const char *const connection_columns[] = { CTL_CONNECTION_COLUMNS(X) NULL };
static const char *const channel_columns[] = { CTL_CHANNEL_COLUMNS(X) NULL };
static const char *const consumer_columns[] = { CTL_CONSUMER_COLUMNS(X) NULL };
#undef X

/* What is listed, and how rabbitmqctl announces it. */
struct kind {
    const char *what;
    const char *const *columns;
    const char *const *shown; /* when none are asked for */
    const char *banner;       /* before the vhost, if it is of one */
    const char *ends;         /* behind it */
    bool of_vhost;
    bool says_timeout;
    bool is_placed; /* on nodes: some may be asked for */
};

static const char *const queues_shown[] = { "name", "messages", NULL };
static const char *const exchanges_shown[] = { "name", "type", NULL };
static const char *const connections_shown[] = { "user", "peer_host", "peer_port", "state", NULL };
static const char *const channels_shown[] = { "pid", "user", "consumer_count",
                                              "messages_unacknowledged", NULL };

static const struct kind queues = { .what = "queues",
                                    .columns = queue_columns,
                                    .shown = queues_shown,
                                    .banner = "Listing queues for vhost",
                                    .ends = " ...",
                                    .of_vhost = true,
                                    .says_timeout = true,
                                    .is_placed = true };
static const struct kind exchanges = { .what = "exchanges",
                                       .columns = exchange_columns,
                                       .shown = exchanges_shown,
                                       .banner = "Listing exchanges for vhost",
                                       .ends = " ...",
                                       .of_vhost = true };
static const struct kind bindings = { .what = "bindings",
                                      .columns = binding_columns,
                                      .shown = binding_columns,
                                      .banner = "Listing bindings for vhost",
                                      .ends = "...",
                                      .of_vhost = true };
static const struct kind connections = { .what = "connections",
                                         .columns = connection_columns,
                                         .shown = connections_shown,
                                         .banner = "Listing connections" };
static const struct kind channels = { .what = "channels",
                                      .columns = channel_columns,
                                      .shown = channels_shown,
                                      .banner = "Listing channels" };

static const char *const consumers_shown[] = { "queue_name",     "channel_pid",
                                               "consumer_tag",   "ack_required",
                                               "prefetch_count", "active",
                                               "arguments",      NULL };
static const struct kind consumers = { .what = "consumers",
                                       .columns = consumer_columns,
                                       .shown = consumers_shown,
                                       .banner = "Listing consumers in vhost",
                                       .ends = " ...",
                                       .of_vhost = true };

/* ---- columns ---- */

static unsigned count_of(const char *const *list)
{
    unsigned n = 0;
    while (list[n] != NULL)
        n++;
    return n;
}

static bool is_among(const char *const *list, const char *name)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, name) == 0)
            return true;
    }
    return false;
}

/* Those that were asked for; "a b" and "a,b" are two. False: some are not known, listed in `bad`.
 */
static bool choose_columns(const struct warrenctl *w, const struct kind *k, struct text *words,
                           const char **out, unsigned *count, struct text *bad)
{
    *count = 0;
    for (unsigned i = 0; i < w->arg_count; i++) {
        text_slice(words, slice_str(w->args[i]));
        text_char(words, ' ');
    }
    char *at = words->ptr;
    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, " ,");
        char *next = at[len] != '\0' ? at + len + 1 : at + len;
        at[len] = '\0';
        if (len != 0 && (!is_among(k->columns, at) || *count == COLUMNS_MAX))
            text_put(bad, "%s%s", bad->len != 0 ? "," : "", at);
        else if (len != 0)
            out[(*count)++] = at;
        at = next;
    }
    if (w->arg_count == 0) {
        *count = count_of(k->shown);
        for (unsigned i = 0; i < *count; i++)
            out[i] = k->shown[i];
    }
    return bad->len == 0;
}

/* ---- pieces ---- */

/* Erlang's tuples have no counterpart in JSON. */
static void shape_row(const struct warrenctl_rows *r, json_t *row)
{
    for (unsigned i = 0; r->w->formatter != WARRENCTL_JSON && i < r->column_count; i++) {
        if (strcmp(r->columns[i], "protocol") == 0)
            json_array_set_new(row, i, json_string("{0,9,1}"));
    }
}

static bool print_piece(struct warrenctl_rows *r, struct slice lines)
{
    while (lines.len != 0) {
        const uint8_t *end = memchr(lines.ptr, '\n', lines.len);
        size_t len = end != NULL ? (size_t)(end - lines.ptr) : lines.len;
        json_error_t why;
        json_t *row = json_loadb((const char *)lines.ptr, len, 0, &why);
        if (row == NULL)
            return false;
        shape_row(r, row);
        warrenctl_rows_add(r, row);
        json_decref(row);
        lines = slice_from(lines, len + 1);
    }
    return true;
}

/* Which queues, as rabbitmqctl reads its options: --local goes before the others, and both of those
 * are all. NULL: all. */
static const char *which_of(const struct warrenctl *w)
{
    bool online = warrenctl_option(w, "online") != NULL;
    if (warrenctl_option(w, "local") != NULL)
        return "local";
    if (online == w->offline)
        return NULL;
    return online ? "online" : "offline";
}

static json_t *request_of(const struct warrenctl *w, const struct kind *k,
                          const char *const *columns, unsigned count)
{
    json_t *o = json_object(), *names = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(names, json_string(columns[i]));
    json_object_set_new(o, "what", json_string(k->what));
    json_object_set_new(o, "columns", names);
    if (k->of_vhost)
        json_object_set_new(o, "vhost", json_string(w->vhost));
    if (k->is_placed && which_of(w) != NULL)
        json_object_set_new(o, "which", json_string(which_of(w)));
    return o;
}

static int print_all(struct warrenctl *w, json_t *request, const char *const *columns,
                     unsigned count)
{
    struct warrenctl_answer a;
    int status = warrenctl_ask_raw(w, "list", request, &a);
    if (status != EX_OK)
        return status;
    struct warrenctl_rows rows;
    warrenctl_rows_begin(&rows, w, columns, count, false);
    for (;;) {
        bool ok = print_piece(&rows, text_view(&a.body));
        uint64_t list = a.list;
        text_fini(&a.body);
        if (!ok)
            return warrenctl_fail(w, EX_SOFTWARE, "the node's answer cannot be read");
        if (list == 0)
            break;
        status = warrenctl_ask_raw(w, "more", json_pack("{s:I}", "list", (json_int_t)list), &a);
        if (status != EX_OK)
            return status;
    }
    warrenctl_rows_end(&rows);
    return EX_OK;
}

static int list(struct warrenctl *w, const struct kind *k)
{
    const char *columns[COLUMNS_MAX];
    unsigned count;
    struct text words, bad;
    text_init(&words, 65536);
    text_init(&bad, 65536);
    int status;
    if (!choose_columns(w, k, &words, columns, &count, &bad)) {
        status = warrenctl_fail_usage(w, EX_USAGE, "Info key(s) %s are not supported", bad.ptr);
    } else {
        if (k->says_timeout)
            warrenctl_banner(w, "Timeout: %" PRIu64 ".0 seconds ...",
                             w->timeout_is_given ? w->timeout_s : WARRENCTL_TIMEOUT_S);
        if (k->of_vhost)
            warrenctl_banner(w, "%s %s%s", k->banner, w->vhost, k->ends);
        else
            warrenctl_banner(w, "%s ...", k->banner);
        status = print_all(w, request_of(w, k, columns, count), columns, count);
    }
    text_fini(&words);
    text_fini(&bad);
    return status;
}

/* ---- the commands ---- */

static int list_queues(struct warrenctl *w)
{
    int status = list(w, &queues);
    if (status == EX_OK)
        warrenctl_say_done(w);
    return status;
}

static int list_exchanges(struct warrenctl *w)
{
    return list(w, &exchanges);
}

static int list_bindings(struct warrenctl *w)
{
    return list(w, &bindings);
}

static int list_connections(struct warrenctl *w)
{
    return list(w, &connections);
}

static int list_channels(struct warrenctl *w)
{
    return list(w, &channels);
}

static int list_consumers(struct warrenctl *w)
{
    return list(w, &consumers);
}

/* A shard that does not answer would let list_queues wait: whoever answers, answers for all. */
static int list_unresponsive_queues(struct warrenctl *w)
{
    warrenctl_banner(w, "Listing unresponsive queues for vhost %s ...", w->vhost);
    int status = warrenctl_do(w, "ping", json_object());
    if (status == EX_OK && w->formatter == WARRENCTL_JSON)
        puts("[\n]");
    return status;
}

static const struct warrenctl_command rows[] = {
    { .name = "list_bindings",
      .group = WARRENCTL_MONITORING,
      .most = -1,
      .usage = "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]",
      .help = "Lists the bindings of a virtual host",
      .run = list_bindings },
    { .name = "list_channels",
      .group = WARRENCTL_MONITORING,
      .most = -1,
      .usage = "[--no-table-headers] [<column> ...]",
      .help = "Lists the channels of the node's clients",
      .run = list_channels },
    { .name = "list_connections",
      .group = WARRENCTL_MONITORING,
      .most = -1,
      .usage = "[--no-table-headers] [<column> ...] [--timeout <timeout>]",
      .help = "Lists the connections of the node's clients",
      .run = list_connections },
    { .name = "list_consumers",
      .group = WARRENCTL_MONITORING,
      .most = -1,
      .usage = "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]",
      .help = "Lists who consumes from the queues of a virtual host",
      .run = list_consumers },
    { .name = "list_exchanges",
      .group = WARRENCTL_MONITORING,
      .most = -1,
      .usage = "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]",
      .help = "Lists the exchanges of a virtual host",
      .run = list_exchanges },
    { .name = "list_queues",
      .group = WARRENCTL_MONITORING,
      .most = -1,
      .usage = "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, "
               "...] [--timeout <timeout>]",
      .help = "Lists the queues of a virtual host, with the columns asked for",
      .options = { "online", "local" },
      .run = list_queues },
    { .name = "list_unresponsive_queues",
      .group = WARRENCTL_MONITORING,
      .most = -1,
      .usage = "[--local] [--queue-timeout <queue-timeout>] [<column> ...] [--no-table-headers] "
               "[--timeout <timeout>]",
      .help = "Lists the queues that do not answer within the timeout",
      .options = { "local", "queue-timeout=", "all" },
      .run = list_unresponsive_queues },
};

const struct warrenctl_table warrenctl_lists = { rows, ARRAY_COUNT(rows) };
