/*
 * requeue_quarantined: messages of a queue are published again, and leave the quarantine when they
 * are as safe in their queue as what is confirmed.
 *
 *   plan:  which, and under what numbers          the quarantine's thread
 *   turn:  drop what was taken, read the next     the quarantine's thread
 *          publish them, wait for the answers     a shard (requeue.h)
 *
 * If the node ends between the two halves of a turn its messages are still there, and are published
 * once more when somebody asks for it: under the same numbers, so that a master that has them takes
 * them no second time. A number is only good if none before it of its producer is still to come,
 * for a queue that has the later one would call the earlier one a duplicate: a message that is to
 * overtake another one gets a number of its own.
 */
#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "mgmt/ctl_change.h"
#include "mgmt/ctl_peers.h"
#include "mgmt/ctl_quarantine.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_json.h"
#include "quarantined.h"
#include "requeue.h"

#include <inttypes.h>
#include <stdlib.h>

/* Of one request: whoever asked is told how far it went, and asks for the rest. */
#define TURNS_MAX 64u

struct planned {
    uint64_t qid; /* whose file it is in */
    uint64_t id;
    struct lane_number as;
    bool is_chosen;
};

struct ctl_requeue {
    LIST_ENTRY(ctl_requeue) entry;
    struct work_job work;
    struct ctl *ctl;
    struct quarantined *in;
    struct http_request *request;
    char *vhost;
    char *queue;
    struct ctl_quarantine_ids ids;
    bool is_planned;
    struct planned *plan;
    size_t plan_count;
    size_t plan_cap;
    size_t at; /* of them: the next */
    unsigned turns;
    struct requeue *batch;
    uint64_t batch_from; /* whose file it is in */
    uint64_t count;      /* that were taken, and dropped */
    uint64_t left;
    bool is_good;
    char why[256];
    struct err err;
    json_t *answers;
};

static void say_why(struct ctl_requeue *q, const char *why)
{
    struct text t = text_over(q->why, sizeof q->why);
    text_str(&t, why);
}

/* ---- the plan ---------------------------------------------------------------------------------
 */

struct planning {
    struct ctl_requeue *q;
    struct ctl_quarantine_file file;
};

/* What has no number gets one, that of its place in the file. */
static void plan_one(const struct quarantine_known *m, void *arg)
{
    const struct planning *p = arg;
    struct ctl_requeue *q = p->q;
    if (q->plan_count == q->plan_cap) {
        q->plan_cap = q->plan_cap != 0 ? 2 * q->plan_cap : 256;
        q->plan = mem_realloc(q->plan, q->plan_cap * sizeof *q->plan);
    }
    q->plan[q->plan_count++] = (struct planned){ .qid = p->file.qid,
                                                 .id = m->id,
                                                 .as = { m->pid != 0 ? m->pid : p->file.number,
                                                         m->pid != 0 ? m->seq : m->id },
                                                 .is_chosen = ctl_quarantine_has(&q->ids, m->id) };
}

static int by_number(const void *a, const void *b)
{
    const struct planned *x = *(struct planned *const *)a, *y = *(struct planned *const *)b;
    if (x->as.pid != y->as.pid)
        return x->as.pid > y->as.pid ? 1 : -1;
    return (x->as.seq > y->as.seq) - (x->as.seq < y->as.seq);
}

/* Those of one producer, by their numbers: as long as all are chosen and come in that order they
 * keep them. */
static void give_numbers(struct planned **some, size_t count, uint64_t file)
{
    uint64_t last = 0;
    bool is_in_order = true;
    for (size_t i = 0; i < count; i++) {
        struct planned *p = some[i];
        is_in_order = is_in_order && p->is_chosen && p->id > last;
        last = p->id;
        if (!is_in_order)
            p->as = (struct lane_number){ hash_u64(file ^ hash_u64(p->id)) | 1, 1 };
    }
}

static void plan_file(struct ctl_requeue *q, const struct ctl_quarantine_file *file)
{
    size_t from = q->plan_count;
    quarantine_index(quarantined_files(q->in), file->qid, plan_one, &(struct planning){ q, *file });
    size_t count = q->plan_count - from;
    struct planned **order = mem_array(count + 1, sizeof(struct planned *));
    for (size_t i = 0; i < count; i++)
        order[i] = &q->plan[from + i];
    qsort(order, count, sizeof(struct planned *), by_number);
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && order[end]->as.pid == order[i]->as.pid;)
            end++;
        give_numbers(&order[i], end - i, file->number);
    }
    mem_free(order);
}

static void plan(struct ctl_requeue *q)
{
    struct ctl_quarantine_files files;
    size_t count = 0;
    ctl_quarantine_find(quarantined_files(q->in), slice_str(q->vhost), slice_str(q->queue), &files);
    for (size_t i = 0; i < files.count; i++)
        plan_file(q, &files.items[i]);
    mem_free(files.items);
    for (size_t i = 0; i < q->plan_count; i++)
        if (q->plan[i].is_chosen)
            q->plan[count++] = q->plan[i];
    q->plan_count = count;
    q->is_planned = true;
}

/* ---- a turn -----------------------------------------------------------------------------------
 */

/* What was taken leaves. What was not is the end of it: others would overtake. */
static void drop_taken(struct ctl_requeue *q)
{
    uint64_t ids[REQUEUE_MAX], count = 0;
    size_t n = 0;
    if (q->batch == NULL)
        return;
    for (unsigned i = 0; i < q->batch->count; i++)
        if (q->batch->items[i].is_taken)
            ids[n++] = q->batch->items[i].id;
    q->is_good =
        n == 0 || quarantine_drop(quarantined_files(q->in), q->batch_from, ids, n, &count, &q->err);
    if (!q->is_good)
        say_why(q, q->err.text);
    else if (n < q->batch->count)
        say_why(q, "the queue does not take them: it is full, or has no master now");
    q->is_good = q->is_good && n == q->batch->count;
    q->count += count;
    quarantined_count(q->in, QUARANTINED_requeued, count);
    quarantined_changed(q->in);
    requeue_free(&q->batch);
}

struct reading {
    struct ctl_requeue *q;
    size_t bytes;
};

/* Somebody may have dropped one meanwhile. */
static bool read_one(const struct quarantine_message *m, void *arg)
{
    struct reading *r = arg;
    struct ctl_requeue *q = r->q;
    while (q->at < q->plan_count && q->plan[q->at].qid == q->batch_from &&
           q->plan[q->at].id < m->id)
        q->at++;
    if (q->at == q->plan_count || q->plan[q->at].qid != q->batch_from)
        return false;
    if (q->plan[q->at].id != m->id)
        return true;
    bool fits = q->batch->count == 0 || r->bytes + m->body.len <= REQUEUE_BYTES;
    if (!fits || q->batch->count == REQUEUE_MAX)
        return false;
    struct requeue_one *one = &q->batch->items[q->batch->count++];
    one->id = m->id;
    one->as = q->plan[q->at++].as;
    one->message = requeue_message(m, slice_str(ctl_node_name(q->ctl)));
    r->bytes += m->body.len;
    return true;
}

static void read_next(struct ctl_requeue *q)
{
    while (q->is_good && q->at < q->plan_count && (q->batch == NULL || q->batch->count == 0)) {
        size_t at = q->at;
        if (q->batch == NULL)
            q->batch = mem_zalloc(sizeof *q->batch);
        q->batch_from = q->plan[at].qid;
        q->is_good = quarantine_read(quarantined_files(q->in), q->batch_from, q->plan[at].id,
                                     read_one, &(struct reading){ q, 0 }, &q->err);
        if (!q->is_good)
            say_why(q, q->err.text);
        while (q->batch->count == 0 && q->at < q->plan_count && q->plan[q->at].qid == q->batch_from)
            q->at++; /* none of this file is there any more */
    }
    if (q->batch != NULL && q->batch->count == 0)
        requeue_free(&q->batch);
}

/* On the quarantine's thread. */
static void run(struct work_job *job)
{
    struct ctl_requeue *q = CONTAINER_OF(job, struct ctl_requeue, work);
    q->is_good = true;
    if (!q->is_planned)
        plan(q);
    drop_taken(q);
    if (q->is_good && q->turns < TURNS_MAX)
        read_next(q);
}

/* ---- the management's thread ------------------------------------------------------------------
 */

static void free_requeue(struct ctl_requeue *q)
{
    requeue_free(&q->batch);
    mem_free(q->vhost);
    mem_free(q->queue);
    mem_free(q->ids.items);
    mem_free(q->plan);
    json_decref(q->answers);
    mem_free(q);
}

static void tell(const struct ctl_requeue *q)
{
    char room[1200];
    struct text t = text_over(room, sizeof room);
    text_str(&t, "queue=\"");
    text_escaped(&t, slice_str(q->queue));
    text_str(&t, "\" vhost=\"");
    text_escaped(&t, slice_str(q->vhost));
    log_info("quarantine", ctl_node_name(q->ctl),
             "messages of the quarantine were published again %s\" count=%" PRIu64 " left=%" PRIu64,
             room, q->count, q->left);
}

static void end(struct ctl_requeue *q)
{
    json_t *o = json_object(), *one;
    const char *node;
    LIST_REMOVE(q, entry);
    q->left = q->plan_count - q->count;
    if (q->count != 0)
        tell(q);
    json_object_foreach(q->answers, node, one)
    {
        q->count += (uint64_t)json_integer_value(json_object_get(one, "count"));
        q->left += (uint64_t)json_integer_value(json_object_get(one, "left"));
        if (q->why[0] == '\0' && json_is_string(json_object_get(one, "why")))
            say_why(q, json_string_value(json_object_get(one, "why")));
    }
    json_out_put_u64(o, "count", q->count);
    json_out_put_u64(o, "left", q->left);
    if (q->why[0] != '\0')
        json_out_put_str(o, "why", q->why);
    if (q->answers != NULL)
        json_out_put(o, "missing", ctl_quarantine_missing(q->ctl, q->answers));
    ctl_reply(q->request, o);
    free_requeue(q);
}

static void turn(struct ctl_requeue *q);

static void on_published(struct requeue *r)
{
    turn(r->arg);
}

/* By its name: one that was deleted may have been made again. */
static const struct meta_queue *queue_of(const struct ctl_requeue *q)
{
    const struct meta_version *v = broker_meta(q->ctl->broker);
    const struct meta_vhost *vh = meta_vhost_find(v, slice_str(q->vhost));
    return vh != NULL ? meta_queue_find(v, vh, slice_str(q->queue)) : NULL;
}

static void publish(struct ctl_requeue *q)
{
    const struct meta_queue *to = queue_of(q);
    const struct broker *b = q->ctl->broker;
    if (to == NULL) {
        say_why(q, "the queue is not there any more");
        end(q);
        return;
    }
    q->batch->qid = to->qid;
    q->batch->shard = broker_shard(b, (uint32_t)(to->qid % broker_shard_count(b)));
    q->batch->reply_to = q->ctl->loop;
    q->batch->done = on_published;
    q->batch->arg = q;
    requeue_send(q->batch);
}

static void on_turn(struct work_job *job)
{
    struct ctl_requeue *q = CONTAINER_OF(job, struct ctl_requeue, work);
    q->turns++;
    if (job->cancelled)
        say_why(q, "the node is being stopped");
    if (job->cancelled || q->batch == NULL)
        end(q);
    else
        publish(q);
}

static void turn(struct ctl_requeue *q)
{
    work_job_init(&q->work, run, on_turn);
    if (quarantined_submit(q->in, q->ctl->loop, &q->work, &q->err))
        return;
    say_why(q, q->err.text);
    end(q);
}

static bool is_under_way(const struct ctl *c, const struct ctl_requeue *q)
{
    const struct ctl_requeue *other;
    LIST_FOREACH (other, &c->requeues, entry)
        if (slice_eq(slice_str(other->vhost), slice_str(q->vhost)) &&
            slice_eq(slice_str(other->queue), slice_str(q->queue)))
            return true;
    return false;
}

/* Two at a time would publish the same. */
static void begin(struct ctl_requeue *q)
{
    if (is_under_way(q->ctl, q)) {
        say_why(q, "messages of this queue are being put back already");
        LIST_INSERT_HEAD(&q->ctl->requeues, q, entry);
        end(q);
        return;
    }
    LIST_INSERT_HEAD(&q->ctl->requeues, q, entry);
    turn(q);
}

static void on_others(json_t *answers, void *arg)
{
    struct ctl_requeue *q = arg;
    q->answers = json_incref(answers);
    begin(q);
}

static char *text_of(const json_t *args, const char *name)
{
    const char *text = json_string_value(json_object_get(args, name));
    return mem_strdup(text != NULL ? text : "");
}

void ctl_serve_requeue_quarantined(struct ctl *c, struct http_request *r, json_t *args)
{
    if (!ctl_quarantine_check(c, r, args))
        return;
    struct ctl_requeue *q = mem_zalloc(sizeof *q);
    q->ctl = c;
    q->in = ctl_quarantine_of(c);
    q->request = r;
    q->vhost = text_of(args, "vhost");
    q->queue = text_of(args, "queue");
    ctl_quarantine_ids(c, args, &q->ids);
    if (queue_of(q) == NULL) {
        ctl_refuse_queue(r, args);
        free_requeue(q);
    } else if (ctl_is_local(r)) {
        begin(q);
    } else {
        ctl_round(c, "requeue_quarantined", args, on_others, q);
    }
}
