/*
 * What warrenctl's list_... commands read: lines of JSON, a piece of the list a request.
 *
 * POST /ctl/list {"what": ..., "vhost": ..., "columns": [...]} answers the first piece, and says in
 * Warren-List which list goes on: POST /ctl/more {"list": N} has the next one. So a list of any
 * length is held as the ids of its rows alone, and is read as fast as its reader reads. Of queues
 * "which" may ask for some: local, online, offline.
 */
#include "base/check.h"
#include "base/mem.h"
#include "io/mailbox.h"
#include "mgmt/ctl_lister.h"
#include "shard.h"

#include <inttypes.h>
#include <string.h>

#define LISTS_MAX    16u
#define LIST_IDLE_MS 60000u
#define PIECE_ROWS   1000u
#define PIECE_MAX    ((size_t)256 * 1024 * 1024) /* one destination may have a million bindings */
#define LIST_TYPE    "application/x-ndjson"
#define LIST_HEADER  "Warren-List"

static const struct ctl_lister *const listers[] = {
    &ctl_lister_queues,      &ctl_lister_exchanges, &ctl_lister_bindings,
    &ctl_lister_connections, &ctl_lister_channels,  &ctl_lister_consumers,
};

/* ---- life of a list ---- */

static void free_list(struct ctl_list *l)
{
    LIST_REMOVE(l, entry);
    l->ctl->list_count--;
    loop_timer_fini(&l->idle);
    mem_free(l->ids);
    loop_bury(l->ctl->loop, l, mem_free);
}

static void on_idle(void *arg)
{
    free_list(arg);
}

void ctl_lists_free(struct ctl *c)
{
    struct ctl_list *l, *after;
    for (l = LIST_FIRST(&c->lists); l != NULL; l = after) {
        after = LIST_NEXT(l, entry);
        if (l->request == NULL)
            free_list(l); /* else its answer ends it */
    }
}

static struct ctl_list *list_new(struct ctl *c, const struct ctl_lister *how)
{
    struct ctl_list *l = mem_zalloc(sizeof *l);
    l->ctl = c;
    l->how = how;
    l->number = ++c->last_list;
    loop_timer_init(&l->idle, c->loop, on_idle, l);
    LIST_INSERT_HEAD(&c->lists, l, entry);
    c->list_count++;
    return l;
}

/* ---- a piece ---- */

void ctl_list_reply(struct ctl_list *l, struct text *rows)
{
    struct http_request *r = l->request;
    l->request = NULL;
    if (rows->cut) {
        ctl_refuse(r, "too_long", "a row is too long");
        free_list(l);
    } else {
        char number[32];
        struct text t = text_over(number, sizeof number);
        text_put(&t, "%" PRIu64, l->number);
        bool more = l->at < l->count && l->ctl->server != NULL;
        if (more)
            http_reply_header(r, LIST_HEADER, number);
        http_reply(r, 200, LIST_TYPE, text_view(rows));
        if (more)
            loop_timer_start(&l->idle, LIST_IDLE_MS);
        else
            free_list(l);
    }
    text_fini(rows);
}

void ctl_list_refuse(struct ctl_list *l, const char *code, const char *detail)
{
    ctl_refuse(l->request, code, detail);
    l->request = NULL;
    free_list(l);
}

struct text ctl_list_rows(void)
{
    struct text t;
    text_init(&t, PIECE_MAX);
    return t;
}

const uint64_t *ctl_list_next(struct ctl_list *l, size_t *count)
{
    const uint64_t *first = l->ids + l->at;
    *count = l->count - l->at < PIECE_ROWS ? l->count - l->at : PIECE_ROWS;
    l->at += *count;
    return first;
}

static void go_on(struct ctl_list *l, struct http_request *r)
{
    loop_timer_stop(&l->idle);
    l->request = r;
    l->how->piece(l);
}

/* ---- requests ---- */

static bool read_columns(struct ctl_list *l, const json_t *columns)
{
    size_t index;
    json_t *item;
    json_array_foreach(columns, index, item)
    {
        const char *name = json_string_value(item);
        unsigned at = 0;
        while (at < l->how->column_count &&
               (name == NULL || strcmp(l->how->columns[at], name) != 0))
            at++;
        if (at == l->how->column_count || l->column_count == CTL_COLUMNS_MAX)
            return false;
        l->columns[l->column_count++] = at;
    }
    return l->column_count != 0;
}

/* All of a vhost's, or everybody's. False when there is no such vhost: then the list is empty, as
 * RabbitMQ has it. */
static bool find_vhost(struct ctl_list *l, const json_t *args)
{
    const char *name = json_string_value(json_object_get(args, "vhost"));
    if (name == NULL)
        return true;
    const struct meta_vhost *vh = meta_vhost_find(broker_meta(l->ctl->broker), slice_str(name));
    l->vhost_id = vh != NULL ? vh->vhost_id : 0;
    return vh != NULL;
}

static bool read_which(struct ctl_list *l, const json_t *which)
{
    static const char *const words[] = {
        [CTL_LOCAL] = "local", [CTL_ONLINE] = "online", [CTL_OFFLINE] = "offline"
    };
    const char *said = json_string_value(which);
    for (unsigned i = CTL_LOCAL; said != NULL && i < ARRAY_COUNT(words); i++) {
        if (strcmp(said, words[i]) == 0)
            l->which = (enum ctl_which)i;
    }
    return which == NULL || l->which != CTL_ALL;
}

static const struct ctl_lister *lister_of(const char *what)
{
    for (size_t i = 0; what != NULL && i < ARRAY_COUNT(listers); i++) {
        if (strcmp(listers[i]->what, what) == 0)
            return listers[i];
    }
    return NULL;
}

void ctl_serve_list(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct ctl_lister *how = lister_of(json_string_value(json_object_get(args, "what")));
    if (how == NULL || c->list_count == LISTS_MAX) {
        ctl_refuse(r, how == NULL ? "bad_request" : "too_many", "lists");
        return;
    }
    struct ctl_list *l = list_new(c, how);
    l->request = r;
    if (!read_columns(l, json_object_get(args, "columns"))) {
        ctl_list_refuse(l, "bad_request", "a column is not known");
    } else if (!read_which(l, json_object_get(args, "which"))) {
        ctl_list_refuse(l, "bad_request", "which: local, online or offline");
    } else if (!find_vhost(l, args)) {
        struct text none = ctl_list_rows();
        ctl_list_reply(l, &none);
    } else {
        if (how->begin != NULL)
            how->begin(l);
        go_on(l, r);
    }
}

void ctl_serve_more(struct ctl *c, struct http_request *r, json_t *args)
{
    json_int_t number = json_integer_value(json_object_get(args, "list"));
    struct ctl_list *l;
    LIST_FOREACH (l, &c->lists, entry) {
        if (l->number == (uint64_t)number && l->request == NULL) {
            go_on(l, r);
            return;
        }
    }
    ctl_refuse(r, "bad_request", "the list is not there any more");
}
