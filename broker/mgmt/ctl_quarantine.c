/* What nodes have in quarantine, listed and dropped: list_quarantined, drop_quarantined. What the
 * other nodes have of it is asked of them. */
#include "mgmt/ctl_quarantine.h"
#include "base/mem.h"
#include "cluster/meta_node.h"
#include "mgmt/ctl_change.h"
#include "mgmt/ctl_peers.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_json.h"
#include "quarantined.h"
#include "storage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROWS_MAX 1000u /* messages that a node shows of a queue: they are read for that */

/* ---- what all three have ---------------------------------------------------------------------
 */

struct quarantined *ctl_quarantine_of(const struct ctl *c)
{
    return storage_quarantine(broker_storage(c->broker));
}

static bool read_id(const char *text, uint16_t self, uint64_t *id)
{
    char *end = NULL;
    unsigned long long node = strtoull(text, &end, 10);
    if (end == text || *end != '-')
        return false;
    const char *of = end + 1;
    *id = strtoull(of, &end, 10);
    return end != of && *end == '\0' && node == self;
}

void ctl_quarantine_ids(const struct ctl *c, const json_t *args, struct ctl_quarantine_ids *out)
{
    const json_t *list = json_object_get(args, "ids"), *one;
    size_t i;
    *out = (struct ctl_quarantine_ids){ .are_all = json_array_size(list) == 0 };
    out->items = mem_array(json_array_size(list) + 1, sizeof *out->items);
    json_array_foreach(list, i, one)
    {
        const char *text = json_string_value(one);
        if (text != NULL && read_id(text, broker_node(c->broker), &out->items[out->count]))
            out->count++;
    }
}

bool ctl_quarantine_has(const struct ctl_quarantine_ids *ids, uint64_t id)
{
    for (size_t i = 0; i < ids->count; i++)
        if (ids->items[i] == id)
            return true;
    return ids->are_all;
}

/* Of whatever node. */
static bool may_be_id(const char *text)
{
    const char *dash = strchr(text, '-');
    return dash != NULL && dash != text && dash[1] != '\0' &&
           strspn(text, "0123456789") == (size_t)(dash - text) &&
           strspn(dash + 1, "0123456789") == strlen(dash + 1);
}

bool ctl_quarantine_check(const struct ctl *c, struct http_request *r, const json_t *args)
{
    const json_t *one;
    size_t i;
    if (ctl_quarantine_of(c) == NULL) {
        ctl_refuse(r, "try_again", "the node has not read its disk yet: try again");
        return false;
    }
    json_array_foreach(json_object_get(args, "ids"), i, one)
    {
        if (json_string_value(one) != NULL && may_be_id(json_string_value(one)))
            continue;
        ctl_refuse(r, "bad_data", "an id is as list_quarantined shows it: NODE-NUMBER");
        return false;
    }
    return true;
}

struct finding {
    struct slice vhost, queue;
    struct ctl_quarantine_files *out;
};

static void on_file(const struct quarantine_queue *q, void *arg)
{
    struct finding *f = arg;
    if (!slice_eq(q->vhost, f->vhost) || !slice_eq(q->name, f->queue))
        return;
    f->out->items = mem_realloc(f->out->items, (f->out->count + 1) * sizeof *f->out->items);
    f->out->items[f->out->count++] = (struct ctl_quarantine_file){ q->qid, q->number };
}

static int by_qid(const void *a, const void *b)
{
    const struct ctl_quarantine_file *x = a, *y = b;
    return (x->qid > y->qid) - (x->qid < y->qid);
}

void ctl_quarantine_find(struct quarantine *from, struct slice vhost, struct slice queue,
                         struct ctl_quarantine_files *out)
{
    struct finding f = { vhost, queue, out };
    *out = (struct ctl_quarantine_files){ 0 };
    quarantine_list(from, on_file, &f);
    if (out->count != 0)
        qsort(out->items, out->count, sizeof *out->items, by_qid);
}

/* Nodes that may have something and have not answered. */
json_t *ctl_quarantine_missing(const struct ctl *c, const json_t *answers)
{
    const struct meta_version *v = broker_meta(c->broker);
    json_t *out = json_array();
    for (size_t i = 0; i < meta_node_count(v); i++) {
        const struct meta_node *n = meta_node_at(v, i);
        char name[META_NAME_MAX + 1];
        struct text t = text_over(name, sizeof name);
        text_slice(&t, n->name);
        if (n->node != broker_node(c->broker) && n->type != META_NODE_WITNESS &&
            json_object_get(answers, name) == NULL)
            json_array_append_new(out, json_out_text(n->name));
    }
    return out;
}

/* ---- on the quarantine's thread --------------------------------------------------------------
 */

/* A command that needs nobody but the files. */
struct task {
    struct work_job work;
    struct quarantined *in;
    struct http_request *request;
    bool is_drop;
    char *vhost;
    char *queue; /* list_quarantined: NULL: of all queues */
    struct ctl_quarantine_ids ids;
    char node[META_NAME_MAX + 1];
    uint16_t self;
    /* what was found */
    json_t *rows;
    uint64_t more;
    uint64_t count;
    bool is_good;
    struct err err;
    /* the others' */
    struct ctl *ctl;
    json_t *answers;
};

static json_t *moment(uint64_t ms)
{
    char room[32];
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (gmtime_r(&s, &tm) == NULL || strftime(room, sizeof room, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return json_integer((json_int_t)(ms / 1000));
    return json_string(room);
}

static void list_queue(const struct quarantine_queue *q, void *arg)
{
    struct task *t = arg;
    if (!slice_is(q->vhost, t->vhost))
        return;
    json_array_append_new(t->rows, json_pack("[o, s, I, I, o, o]", json_out_text(q->name), t->node,
                                             (json_int_t)q->messages, (json_int_t)q->bytes,
                                             moment(q->first_ms), moment(q->last_ms)));
}

static bool list_message(const struct quarantine_message *m, void *arg)
{
    struct task *t = arg;
    char id[48];
    snprintf(id, sizeof id, "%u-%" PRIu64, (unsigned)t->self, m->id);
    json_array_append_new(t->rows, json_pack("[s, s, o, I, o, o, I, b]", id, t->node,
                                             moment(m->when_ms), (json_int_t)m->epoch,
                                             json_out_text(m->exchange), json_out_text(m->key),
                                             (json_int_t)m->body.len, (int)m->persistent));
    return json_array_size(t->rows) < ROWS_MAX;
}

static void count_one(const struct quarantine_known *m, void *arg)
{
    (void)m;
    ++*(uint64_t *)arg;
}

static bool list_messages(struct task *t, struct quarantine *from, uint64_t qid)
{
    quarantine_index(from, qid, count_one, &t->more);
    return json_array_size(t->rows) >= ROWS_MAX ||
           quarantine_read(from, qid, 0, list_message, t, &t->err);
}

static bool drop_of(struct task *t, struct quarantine *from, uint64_t qid)
{
    uint64_t count;
    bool is_good = t->ids.are_all
                       ? quarantine_drop_all(from, qid, &count, &t->err)
                       : quarantine_drop(from, qid, t->ids.items, t->ids.count, &count, &t->err);
    t->count += count;
    return is_good;
}

static void run(struct work_job *job)
{
    struct task *t = CONTAINER_OF(job, struct task, work);
    struct quarantine *from = quarantined_files(t->in);
    struct ctl_quarantine_files files;
    t->is_good = true;
    if (t->queue == NULL) {
        quarantine_list(from, list_queue, t);
        return;
    }
    ctl_quarantine_find(from, slice_str(t->vhost), slice_str(t->queue), &files);
    for (size_t i = 0; i < files.count && t->is_good; i++)
        t->is_good = t->is_drop ? drop_of(t, from, files.items[i].qid)
                                : list_messages(t, from, files.items[i].qid);
    mem_free(files.items);
    t->more -= json_array_size(t->rows) < t->more ? json_array_size(t->rows) : t->more;
    if (t->is_drop)
        quarantined_changed(t->in);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void free_task(struct task *t)
{
    mem_free(t->vhost);
    mem_free(t->queue);
    mem_free(t->ids.items);
    json_decref(t->rows);
    json_decref(t->answers);
    mem_free(t);
}

static int by_first_two(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int order =
        strcmp(json_string_value(json_array_get(x, 0)), json_string_value(json_array_get(y, 0)));
    return order != 0 ? order
                      : strcmp(json_string_value(json_array_get(x, 1)),
                               json_string_value(json_array_get(y, 1)));
}

/* Queues by name; messages stay in the order of each node. */
static json_t *in_order(json_t *rows)
{
    size_t count = json_array_size(rows), i;
    json_t **items = mem_array(count + 1, sizeof(json_t *)), *row, *out = json_array();
    json_array_foreach(rows, i, row) items[i] = row;
    qsort(items, count, sizeof(json_t *), by_first_two);
    for (i = 0; i < count; i++)
        json_array_append(out, items[i]);
    mem_free(items);
    json_decref(rows);
    return out;
}

static void reply(struct task *t)
{
    json_t *o = json_object(), *one;
    const char *node;
    json_object_foreach(t->answers, node, one)
    {
        json_array_extend(t->rows, json_object_get(one, "rows"));
        t->count += (uint64_t)json_integer_value(json_object_get(one, "count"));
        t->more += (uint64_t)json_integer_value(json_object_get(one, "more"));
    }
    if (t->queue == NULL)
        t->rows = in_order(t->rows);
    json_out_put(o, "rows", json_incref(t->rows));
    json_out_put_u64(o, "count", t->count);
    json_out_put_u64(o, "more", t->more);
    if (t->answers != NULL)
        json_out_put(o, "missing", ctl_quarantine_missing(t->ctl, t->answers));
    ctl_reply(t->request, o);
}

static void on_done(struct work_job *job)
{
    struct task *t = CONTAINER_OF(job, struct task, work);
    if (job->cancelled) {
        ctl_refuse(t->request, "try_again", "the node is being stopped");
    } else if (!t->is_good) {
        ctl_refuse(t->request, "refused", t->err.text);
    } else {
        if (t->is_drop)
            quarantined_count(t->in, QUARANTINED_dropped, t->count);
        reply(t);
    }
    free_task(t);
}

static void begin(struct task *t, struct loop *loop)
{
    work_job_init(&t->work, run, on_done);
    if (quarantined_submit(t->in, loop, &t->work, &t->err))
        return;
    ctl_refuse(t->request, "try_again", t->err.text);
    free_task(t);
}

static void on_others(json_t *answers, void *arg)
{
    struct task *t = arg;
    t->answers = json_incref(answers);
    begin(t, t->ctl->loop);
}

static char *text_of(const json_t *args, const char *name)
{
    const char *text = json_string_value(json_object_get(args, name));
    return text != NULL ? mem_strdup(text) : NULL;
}

/* A queue need not be there any more, nor its vhost. */
static void serve(struct ctl *c, struct http_request *r, json_t *args, bool is_drop)
{
    if (!ctl_quarantine_check(c, r, args))
        return;
    struct task *t = mem_zalloc(sizeof *t);
    t->in = ctl_quarantine_of(c);
    t->request = r;
    t->is_drop = is_drop;
    t->vhost = text_of(args, "vhost");
    t->queue = text_of(args, "queue");
    t->rows = json_array();
    t->ctl = c;
    t->self = broker_node(c->broker);
    snprintf(t->node, sizeof t->node, "%s", ctl_node_name(c));
    ctl_quarantine_ids(c, args, &t->ids);
    if (t->vhost == NULL || (is_drop && t->queue == NULL)) {
        ctl_refuse(r, "bad_data", "a vhost and a queue are to be named");
        free_task(t);
    } else if (ctl_is_local(r)) {
        begin(t, c->loop);
    } else {
        ctl_round(c, is_drop ? "drop_quarantined" : "list_quarantined", args, on_others, t);
    }
}

void ctl_serve_list_quarantined(struct ctl *c, struct http_request *r, json_t *args)
{
    serve(c, r, args, false);
}

void ctl_serve_drop_quarantined(struct ctl *c, struct http_request *r, json_t *args)
{
    serve(c, r, args, true);
}
