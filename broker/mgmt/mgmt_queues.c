#include "base/mem.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>

/* ---- one queue ---- */

static void put_messages(json_t *o, const struct mgmt_queue *f)
{
    mgmt_json_put_u64(o, "messages", f->ready + f->unacked);
    mgmt_json_put_u64(o, "messages_ready", f->ready);
    mgmt_json_put_u64(o, "messages_unacknowledged", f->unacked);
    mgmt_json_put_u64(o, "messages_ram", f->ready + f->unacked);
    mgmt_json_put_u64(o, "messages_ready_ram", f->ready);
    mgmt_json_put_u64(o, "messages_unacknowledged_ram", f->unacked);
    mgmt_json_put_u64(o, "message_bytes", f->ready_bytes + f->unacked_bytes);
    mgmt_json_put_u64(o, "message_bytes_ready", f->ready_bytes);
    mgmt_json_put_u64(o, "message_bytes_unacknowledged", f->unacked_bytes);
    mgmt_json_put_u64(o, "message_bytes_ram", f->ready_bytes + f->unacked_bytes);
    json_t *stats = json_object();
    mgmt_json_put_u64(stats, "publish", f->published);
    mgmt_json_put_u64(stats, "deliver_get", f->delivered);
    mgmt_json_put_u64(stats, "redeliver", f->redelivered);
    mgmt_json_put(o, "message_stats", stats);
}

static json_t *queue(const struct mgmt_http *m, const struct meta_version *v,
                     const struct meta_queue *q, const struct mgmt_queue *f)
{
    json_t *o = json_object();
    mgmt_json_put(o, "name", mgmt_json_text(meta_queue_name(q)));
    mgmt_json_put(o, "vhost", mgmt_json_text(meta_vhost_name(meta_vhost_get(v, q->vhost_id))));
    mgmt_json_put_bool(o, "durable", q->durable);
    mgmt_json_put_bool(o, "auto_delete", q->auto_delete);
    mgmt_json_put_bool(o, "exclusive", q->owner != 0);
    mgmt_json_put(o, "arguments", mgmt_json_table(meta_queue_args(q)));
    mgmt_json_put_str(o, "type", "classic");
    mgmt_json_put_str(o, "state", "running");
    mgmt_json_put_str(o, "node", mgmt_conf(m)->node.name);
    mgmt_json_put(o, "policy", json_null());
    mgmt_json_put(o, "operator_policy", json_null());
    mgmt_json_put(o, "effective_policy_definition", json_object());
    mgmt_json_put_u64(o, "consumers", f->consumers);
    mgmt_json_put_u64(o, "memory", f->memory_bytes);
    put_messages(o, f);
    return o;
}

/* ---- what was found ---- */

static json_t *queues(const struct mgmt_http *m, const struct mgmt_ask *a)
{
    const struct meta_version *v = broker_meta(m->broker);
    size_t count;
    const struct mgmt_queue *f = mgmt_ask_queue_list(a, &count);
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct meta_queue *q = f[i].found ? meta_queue_get(v, f[i].qid) : NULL;
        if (q != NULL)
            json_array_append_new(all, queue(m, v, q, &f[i]));
    }
    return all;
}

static void on_found(struct mgmt_ask *a, void *arg)
{
    struct mgmt_wait *w = arg;
    json_t *all = queues(w->m, a);
    if (w->is_single && json_array_size(all) == 0) {
        json_decref(all);
        mgmt_not_found(w->r);
    } else if (w->is_single) {
        mgmt_reply_object(w->r, &w->list, json_incref(json_array_get(all, 0)));
        json_decref(all);
    } else if (w->is_part) {
        mgmt_reply(w->r, 200, mgmt_list_page(&w->list, &all, w->total, w->filtered));
    } else {
        mgmt_reply_list(w->r, &w->list, all);
    }
    mgmt_wait_free(&w);
}

/* ---- which ones ---- */

struct choice {
    const struct meta_queue **queues;
    size_t count;
};

static int compare_names(const void *left, const void *right)
{
    const struct meta_queue *const *a = left;
    const struct meta_queue *const *b = right;
    return slice_cmp(meta_queue_name(*a), meta_queue_name(*b));
}

/* All queues of these vhosts, by vhost and name. */
static struct choice choose(const struct meta_vhost *const *vhosts, size_t vhost_count)
{
    size_t count = 0;
    for (size_t i = 0; i < vhost_count; i++)
        count += vhosts[i]->queues.count;
    struct choice c = { mem_array(count + 1, sizeof(struct meta_queue *)), 0 };
    for (size_t i = 0; i < vhost_count; i++) {
        size_t first = c.count;
        struct pmap_iter it;
        pmap_iter(&it, &vhosts[i]->queues);
        const struct meta_queue *q;
        while ((q = pmap_next(&it)) != NULL)
            c.queues[c.count++] = q;
        qsort(c.queues + first, c.count - first, sizeof *c.queues, compare_names);
    }
    return c;
}

/* A page in the order of names needs the figures of its own queues alone. False: refused. */
static bool cut_page(struct mgmt_wait *w, struct choice *c, struct mgmt_complaint *why)
{
    if (w->list.page == 0 || w->list.sort[0] != '\0' || w->list.reverse)
        return true;
    struct mgmt_filter *f;
    if (!mgmt_filter_new(&w->list, &f, why))
        return false;
    w->is_part = true;
    w->total = c->count;
    for (size_t i = 0; i < c->count; i++) {
        if (mgmt_filter_takes(f, meta_queue_name(c->queues[i])))
            c->queues[w->filtered++] = c->queues[i];
    }
    mgmt_filter_free(&f);
    size_t first, count;
    if (!mgmt_list_range(&w->list, w->filtered, &first, &count, why))
        return false;
    for (size_t i = 0; i < count; i++)
        c->queues[i] = c->queues[first + i];
    c->count = count;
    return true;
}

static bool is_too_long(const struct choice *c, struct mgmt_complaint *why)
{
    if (c->count <= MGMT_LIST_MAX)
        return false;
    why->error = "bad_request";
    struct text t = text_over(why->reason, sizeof why->reason);
    text_put(&t,
             "%zu queues, and one answer has room for %u: ask for pages (page, page_size), "
             "not sorted by another column than the name",
             c->count, MGMT_LIST_MAX);
    return true;
}

static void ask(struct mgmt_wait *w, const struct choice *c)
{
    struct mgmt_queue *wanted = mem_array(c->count + 1, sizeof *wanted);
    for (size_t i = 0; i < c->count; i++)
        wanted[i] = (struct mgmt_queue){ .qid = c->queues[i]->qid, .shard = c->queues[i]->shard };
    mgmt_ask_queues(w->m->broker, w->m->loop, &wanted, c->count, on_found, w);
}

static void list_queues(struct mgmt_wait *w, const struct meta_vhost *const *vhosts, size_t count)
{
    struct mgmt_complaint why;
    struct choice c = choose(vhosts, count);
    if (cut_page(w, &c, &why) && !is_too_long(&c, &why)) {
        ask(w, &c);
    } else {
        mgmt_refuse(w->r, 400, why.error, why.reason);
        mgmt_wait_free(&w);
    }
    mem_free(c.queues);
}

static const struct meta_queue *named(struct mgmt_http *m, struct http_request *r,
                                      const struct meta_vhost *vh)
{
    struct mgmt_name name;
    if (!mgmt_path_name(r, 3, &name))
        return NULL;
    return meta_queue_find(broker_meta(m->broker), vh, mgmt_name_slice(&name));
}

/* /api/queues/VHOST/NAME[/bindings] */
static void serve_one(struct mgmt_http *m, struct http_request *r, const struct mgmt_list *list,
                      const struct meta_vhost *vh)
{
    const struct meta_queue *q = named(m, r, vh);
    struct mgmt_name sub;
    bool is_bindings = mgmt_path_len(r) == 5 && mgmt_path_name(r, 4, &sub) &&
                       slice_is(mgmt_name_slice(&sub), "bindings");
    if (q == NULL || (mgmt_path_len(r) > 4 && !is_bindings)) {
        mgmt_not_found(r);
        return;
    }
    if (is_bindings) {
        mgmt_reply_bindings_to(m, r, vh, q->qid);
        return;
    }
    struct mgmt_wait *w = mgmt_wait_new(m, r, list);
    if (w == NULL)
        return;
    w->is_single = true;
    ask(w, &(struct choice){ &q, 1 });
}

void mgmt_serve_queues(struct mgmt_http *m, struct http_request *r)
{
    struct mgmt_list list;
    const struct meta_vhost **vhosts;
    size_t count;
    if (!mgmt_list_of(r, &list) || !mgmt_vhosts_at(m, r, 2, &vhosts, &count))
        return;
    struct mgmt_wait *w;
    if (mgmt_path_len(r) > 3)
        serve_one(m, r, &list, vhosts[0]);
    else if ((w = mgmt_wait_new(m, r, &list)) != NULL)
        list_queues(w, vhosts, count);
    mem_free(vhosts);
}
