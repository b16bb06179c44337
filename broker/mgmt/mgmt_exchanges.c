#include "base/mem.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>

/* The default exchange has no name; in a path it is called so. */
#define DEFAULT_NAME "amq.default"

/* A binding, or the one that every queue has to the default exchange without anybody saying so. */
struct row {
    struct slice vhost;
    struct slice source;
    struct slice destination;
    struct slice key;
    struct slice args;
    bool to_exchange;
};

/* What a request looks at, within a turn. */
struct gathering {
    const struct meta_vhost *vh; /* the present one */
    uint64_t to;                 /* to this destination alone; 0: to all */
    struct row *rows;
    size_t count;
    size_t cap;
};

static void refuse_too_many(struct http_request *r, const char *what)
{
    char room[160];
    struct text t = text_over(room, sizeof room);
    text_put(&t,
             "more than %u %s, which one answer has no room for: ask for those of one vhost, "
             "exchange or queue",
             MGMT_LIST_MAX, what);
    mgmt_refuse(r, 400, "bad_request", room);
}

/* ---- exchanges ---- */

static json_t *exchange(const struct meta_vhost *vh, const struct meta_exchange *x)
{
    const struct meta_exchange_def *d = x->def;
    json_t *o = json_object();
    mgmt_json_put(o, "name", mgmt_json_text(meta_exchange_name(d)));
    mgmt_json_put(o, "vhost", mgmt_json_text(meta_vhost_name(vh)));
    mgmt_json_put_str(o, "type", meta_exchange_type_name(d->type));
    mgmt_json_put_bool(o, "durable", d->durable);
    mgmt_json_put_bool(o, "auto_delete", d->auto_delete);
    mgmt_json_put_bool(o, "internal", d->internal);
    mgmt_json_put(o, "arguments", mgmt_json_table(meta_exchange_args(d)));
    return o;
}

static int compare_exchanges(const void *left, const void *right)
{
    const struct meta_exchange *const *a = left;
    const struct meta_exchange *const *b = right;
    return slice_cmp(meta_exchange_name((*a)->def), meta_exchange_name((*b)->def));
}

static void add_exchanges(const struct meta_vhost *vh, json_t *all)
{
    const struct meta_exchange **list = mem_array(vh->exchanges.count + 1, sizeof *list);
    size_t count = 0;
    struct pmap_iter it;
    pmap_iter(&it, &vh->exchanges);
    const struct meta_exchange *x;
    while ((x = pmap_next(&it)) != NULL)
        list[count++] = x;
    qsort(list, count, sizeof *list, compare_exchanges);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, exchange(vh, list[i]));
    mem_free(list);
}

static const struct meta_exchange *exchange_at(struct mgmt_http *m, struct http_request *r,
                                               const struct meta_vhost *vh, unsigned n)
{
    struct mgmt_name name;
    if (!mgmt_path_name(r, n, &name))
        return NULL;
    struct slice s = mgmt_name_slice(&name);
    return meta_exchange_find(broker_meta(m->broker), vh,
                              slice_is(s, DEFAULT_NAME) ? slice_str("") : s);
}

/* ---- bindings ---- */

static json_t *binding(const struct row *b)
{
    char room[3 * META_NAME_MAX + 32];
    struct text key = text_over(room, sizeof room);
    mgmt_json_properties_key(b->key, b->args, &key);
    json_t *o = json_object();
    mgmt_json_put(o, "source", mgmt_json_text(b->source));
    mgmt_json_put(o, "vhost", mgmt_json_text(b->vhost));
    mgmt_json_put(o, "destination", mgmt_json_text(b->destination));
    mgmt_json_put_str(o, "destination_type", b->to_exchange ? "exchange" : "queue");
    mgmt_json_put(o, "routing_key", mgmt_json_text(b->key));
    mgmt_json_put(o, "arguments", mgmt_json_table(b->args));
    mgmt_json_put(o, "properties_key", mgmt_json_text(text_view(&key)));
    return o;
}

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left;
    const struct row *b = right;
    int order = slice_cmp(a->vhost, b->vhost);
    if (order == 0)
        order = slice_cmp(a->source, b->source);
    if (order == 0)
        order = slice_cmp(a->destination, b->destination);
    if (order == 0)
        order = slice_cmp(a->key, b->key);
    return order != 0 ? order : slice_cmp(a->args, b->args);
}

/* False when it is one too many. */
static bool add_row(struct gathering *g, const struct row *row)
{
    if (g->count == g->cap) {
        g->cap = g->cap != 0 ? g->cap * 2 : 64;
        g->rows = mem_realloc(g->rows, g->cap * sizeof *g->rows);
    }
    g->rows[g->count++] = *row;
    return g->count <= MGMT_LIST_MAX;
}

static bool on_binding(void *arg, const struct meta_binding *b)
{
    struct gathering *g = arg;
    if (g->to != 0 && g->to != (b->to_exchange ? b->exchange->xid : b->queue->qid))
        return true;
    return add_row(g, &(struct row){
                          .vhost = meta_vhost_name(g->vh),
                          .source = meta_exchange_name(b->source),
                          .destination = b->to_exchange ? meta_exchange_name(b->exchange)
                                                        : meta_queue_name(b->queue),
                          .key = meta_binding_key(b),
                          .args = meta_binding_args(b),
                          .to_exchange = b->to_exchange,
                      });
}

static bool add_default(struct gathering *g, const struct meta_queue *q)
{
    return add_row(g, &(struct row){ .vhost = meta_vhost_name(g->vh),
                                     .source = slice_str(""),
                                     .destination = meta_queue_name(q),
                                     .key = meta_queue_name(q) });
}

static bool add_all_defaults(struct gathering *g)
{
    struct pmap_iter it;
    pmap_iter(&it, &g->vh->queues);
    const struct meta_queue *q;
    while ((q = pmap_next(&it)) != NULL) {
        if ((g->to == 0 || g->to == q->qid) && !add_default(g, q))
            return false;
    }
    return true;
}

static bool add_from(struct gathering *g, const struct meta_exchange *x)
{
    return x->def->name_bytes == 0 ? add_all_defaults(g) : meta_bindings_from(x, on_binding, g);
}

static bool add_to(struct gathering *g, const struct meta_version *v, uint64_t id)
{
    const struct meta_queue *q = meta_queue_get(v, id);
    return (q == NULL || add_default(g, q)) && meta_bindings_to(v, id, on_binding, g);
}

static bool add_vhost(struct gathering *g)
{
    struct pmap_iter it;
    pmap_iter(&it, &g->vh->exchanges);
    const struct meta_exchange *x;
    while ((x = pmap_next(&it)) != NULL) {
        if (!add_from(g, x))
            return false;
    }
    return true;
}

static void reply_bindings(struct http_request *r, struct gathering *g)
{
    struct mgmt_list list;
    if (g->count > MGMT_LIST_MAX) {
        refuse_too_many(r, "bindings");
    } else if (mgmt_list_of(r, &list)) {
        if (g->count > 1)
            qsort(g->rows, g->count, sizeof *g->rows, compare_rows);
        json_t *all = json_array();
        for (size_t i = 0; i < g->count; i++)
            json_array_append_new(all, binding(&g->rows[i]));
        mgmt_reply_list(r, &list, all);
    }
    mem_free(g->rows);
}

void mgmt_reply_bindings_to(struct mgmt_http *m, struct http_request *r,
                            const struct meta_vhost *vh, uint64_t id)
{
    struct gathering g = { .vh = vh };
    (void)add_to(&g, broker_meta(m->broker), id);
    reply_bindings(r, &g);
}

/* ---- /api/exchanges[/VHOST[/NAME[/bindings/(source|destination)]]] ---- */

static bool path_is(const struct http_request *r, unsigned n, const char *word)
{
    struct mgmt_name name;
    return mgmt_path_name(r, n, &name) && slice_is(mgmt_name_slice(&name), word);
}

static void serve_one(struct mgmt_http *m, struct http_request *r, const struct mgmt_list *list,
                      const struct meta_vhost *vh)
{
    const struct meta_exchange *x = exchange_at(m, r, vh, 3);
    unsigned len = mgmt_path_len(r);
    bool is_sub = len == 6 && path_is(r, 4, "bindings");
    if (x != NULL && len == 4) {
        mgmt_reply_object(r, list, exchange(vh, x));
    } else if (x != NULL && is_sub && path_is(r, 5, "source")) {
        struct gathering g = { .vh = vh };
        (void)add_from(&g, x);
        reply_bindings(r, &g);
    } else if (x != NULL && is_sub && path_is(r, 5, "destination")) {
        mgmt_reply_bindings_to(m, r, vh, x->def->xid);
    } else {
        mgmt_not_found(r);
    }
}

static void list_exchanges(struct http_request *r, const struct mgmt_list *list,
                           const struct meta_vhost *const *vhosts, size_t count)
{
    uint64_t exchanges = 0;
    for (size_t i = 0; i < count; i++)
        exchanges += vhosts[i]->exchanges.count;
    if (exchanges > MGMT_LIST_MAX) {
        refuse_too_many(r, "exchanges");
        return;
    }
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++)
        add_exchanges(vhosts[i], all);
    mgmt_reply_list(r, list, all);
}

void mgmt_serve_exchanges(struct mgmt_http *m, struct http_request *r)
{
    struct mgmt_list list;
    const struct meta_vhost **vhosts;
    size_t count;
    if (!mgmt_list_of(r, &list) || !mgmt_vhosts_at(m, r, 2, &vhosts, &count))
        return;
    if (mgmt_path_len(r) > 3)
        serve_one(m, r, &list, vhosts[0]);
    else
        list_exchanges(r, &list, vhosts, count);
    mem_free(vhosts);
}

/* ---- /api/bindings[/VHOST[/e/SOURCE/(q|e)/DESTINATION]] ---- */

static uint64_t destination_at(struct mgmt_http *m, struct http_request *r,
                               const struct meta_vhost *vh)
{
    struct mgmt_name name;
    if (path_is(r, 5, "e")) {
        const struct meta_exchange *x = exchange_at(m, r, vh, 6);
        return x != NULL ? x->def->xid : 0;
    }
    if (!path_is(r, 5, "q") || !mgmt_path_name(r, 6, &name))
        return 0;
    const struct meta_queue *q =
        meta_queue_find(broker_meta(m->broker), vh, mgmt_name_slice(&name));
    return q != NULL ? q->qid : 0;
}

static void serve_pair(struct mgmt_http *m, struct http_request *r, const struct meta_vhost *vh)
{
    bool is_pair = mgmt_path_len(r) == 7 && path_is(r, 3, "e");
    const struct meta_exchange *x = is_pair ? exchange_at(m, r, vh, 4) : NULL;
    uint64_t to = x != NULL ? destination_at(m, r, vh) : 0;
    if (to == 0) {
        mgmt_not_found(r);
        return;
    }
    struct gathering g = { .vh = vh, .to = to };
    (void)add_from(&g, x);
    reply_bindings(r, &g);
}

void mgmt_serve_bindings(struct mgmt_http *m, struct http_request *r)
{
    const struct meta_vhost **vhosts;
    size_t count;
    if (!mgmt_vhosts_at(m, r, 2, &vhosts, &count))
        return;
    if (mgmt_path_len(r) > 3) {
        serve_pair(m, r, vhosts[0]);
    } else {
        struct gathering g = { 0 };
        bool room = true;
        for (size_t i = 0; room && i < count; i++) {
            g.vh = vhosts[i];
            room = add_vhost(&g);
        }
        reply_bindings(r, &g);
    }
    mem_free(vhosts);
}
