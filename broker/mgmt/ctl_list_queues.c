/* list_queues: RabbitMQ's columns, and mirror_lag. */
#include "base/mem.h"
#include "mgmt/ctl_columns.h"
#include "mgmt/ctl_lister.h"
#include "mgmt/mgmt_effective.h"
#include "mgmt/mgmt_inner.h"

#include <inttypes.h>
#include <stdlib.h>

/* A queue, within a turn. */
struct row {
    const struct ctl *ctl;
    const struct meta_version *v;
    const struct meta_queue *q;
    const struct mgmt_queue *f;
    struct ctl_row *out;
};

/* ---- columns ---- */

#define NUMBER(name, value)                                                                        \
    static void put_##name(const struct row *r)                                                    \
    {                                                                                              \
        ctl_row_u64(r->out, (value));                                                              \
    }
#define BOOLEAN(name, value)                                                                       \
    static void put_##name(const struct row *r)                                                    \
    {                                                                                              \
        ctl_row_bool(r->out, (value));                                                             \
    }
#define WORD(name, value)                                                                          \
    static void put_##name(const struct row *r)                                                    \
    {                                                                                              \
        ctl_row_str(r->out, (value));                                                              \
    }
/* What a queue of one node has not. */
#define EMPTY(name)                                                                                \
    static void put_##name(const struct row *r)                                                    \
    {                                                                                              \
        ctl_row_str(r->out, "");                                                                   \
    }

static void put_name(const struct row *r)
{
    ctl_row_slice(r->out, meta_queue_name(r->q));
}

static void put_vhost(const struct row *r)
{
    const struct meta_vhost *vh = meta_vhost_get(r->v, r->q->vhost_id);
    ctl_row_slice(r->out, meta_vhost_name(vh));
}

static void put_arguments(const struct row *r)
{
    ctl_row_table(r->out, meta_queue_args(r->q));
}

static void put_pid(const struct row *r)
{
    char room[CTL_PID_MAX];
    struct text t = text_over(room, sizeof room);
    ctl_pid_of_queue(r->ctl, r->q, &t);
    ctl_row_slice(r->out, text_view(&t));
}

static void put_owner_pid(const struct row *r)
{
    char room[CTL_PID_MAX];
    struct text t = text_over(room, sizeof room);
    ctl_pid_of_connection(r->ctl, r->q->owner, &t);
    ctl_row_slice(r->out, text_view(&t));
}

/* RabbitMQ shows the exclusive consumer alone, and not which of several is active. */
static bool has_exclusive_consumer(const struct row *r)
{
    return r->f->lone != 0 && !r->f->lone_is_active;
}

static void put_exclusive_consumer_pid(const struct row *r)
{
    char room[CTL_PID_MAX];
    struct text t = text_over(room, sizeof room);
    if (has_exclusive_consumer(r))
        ctl_pid_of_channel(r->ctl, r->f->lone_channel.connection, r->f->lone_channel.number, &t);
    ctl_row_slice(r->out, text_view(&t));
}

static void put_exclusive_consumer_tag(const struct row *r)
{
    bool any = has_exclusive_consumer(r);
    ctl_row_slice(r->out, slice_of(r->f->lone_tag, any ? r->f->lone_tag_bytes : 0));
}

static void put_head_message_timestamp(const struct row *r)
{
    if (r->f->has_timestamp)
        ctl_row_u64(r->out, r->f->head_timestamp);
    else
        ctl_row_str(r->out, "");
}

/* ---- where it is ---- */

static void put_leader(const struct row *r)
{
    uint16_t master = meta_queue_master(r->v, r->q);
    ctl_row_slice(r->out, meta_queue_is_quorum(r->q) ? mgmt_node_name(r->ctl->mgmt, master)
                                                     : slice_str(""));
}

/* A quorum queue's members are nodes. */
static void put_nodes(const struct row *r, bool online)
{
    json_t *nodes = mgmt_replicas(r->ctl->mgmt, r->v, r->q, online);
    char *text = json_dumps(nodes, JSON_COMPACT);
    ctl_row_json(r->out, meta_queue_is_quorum(r->q) ? text : "\"\"");
    mem_free(text);
    json_decref(nodes);
}

static void put_members(const struct row *r)
{
    put_nodes(r, false);
}

/* Those of a classic queue are processes, the master not among them; what is not up has none. */
static void put_mirrors(const struct row *r, bool in_sync)
{
    struct meta_placement p;
    struct text t;
    unsigned count = 0;
    bool is_mirrored = mgmt_is_mirrored(r->v, r->q);
    meta_placement_of(r->v, r->q, &p);
    text_init(&t, (size_t)META_REPLICAS_MAX * META_NAME_MAX * 2);
    for (unsigned i = 1; i < p.count && is_mirrored; i++) {
        const struct meta_replica *replica = meta_placement_replica(&p, i);
        if (!mgmt_is_mirror(r->v, replica, in_sync))
            continue;
        text_str(&t, count++ == 0 ? "[" : ", ");
        ctl_pid_of_replica(r->ctl, r->q, replica->node, &t);
    }
    if (is_mirrored)
        text_str(&t, count == 0 ? "[]" : "]");
    ctl_row_slice(r->out, text_view(&t));
    text_fini(&t);
}

static void put_slave_pids(const struct row *r)
{
    put_mirrors(r, false);
}

static void put_synchronised_slave_pids(const struct row *r)
{
    put_mirrors(r, true);
}

static void put_mirror_pids(const struct row *r)
{
    put_mirrors(r, false);
}

static void put_synchronised_mirror_pids(const struct row *r)
{
    put_mirrors(r, true);
}

/* RabbitMQ has no such thing: mirrors that lack something, and how many messages at most. */
static void put_mirror_lag(const struct row *r)
{
    struct text t;
    bool is_mirrored = mgmt_is_mirrored(r->v, r->q);
    text_init(&t, (size_t)MIRRORED_LAGS_MAX * META_NAME_MAX * 2);
    for (unsigned i = 0; i < r->f->lag_count && is_mirrored; i++) {
        text_str(&t, i == 0 ? "[{" : ", {");
        text_slice(&t, mgmt_node_name(r->ctl->mgmt, r->f->lags[i].node));
        text_put(&t, ", %" PRIu64 "}", r->f->lags[i].messages);
    }
    if (is_mirrored)
        text_str(&t, r->f->lag_count == 0 ? "[]" : "]");
    ctl_row_slice(r->out, text_view(&t));
    text_fini(&t);
}

static void put_online(const struct row *r)
{
    put_nodes(r, true);
}

/* Consumers take what comes as fast as it comes, as far as is known. */
static void put_consumer_capacity(const struct row *r)
{
    ctl_row_json(r->out, r->f->consumers != 0 ? "1.0" : "0");
}

static void put_consumer_utilisation(const struct row *r)
{
    put_consumer_capacity(r);
}

static void put_policy(const struct row *r)
{
    const struct meta_policy *p = meta_policy_of_queue(r->v, r->q);
    ctl_row_slice(r->out, p != NULL ? p->name : slice_str(""));
}

static void put_operator_policy(const struct row *r)
{
    const struct meta_policy *p = meta_operator_policy_of_queue(r->v, r->q);
    ctl_row_slice(r->out, p != NULL ? p->name : slice_str(""));
}

static void put_effective_policy_definition(const struct row *r)
{
    json_t *o = mgmt_effective_definition(meta_policy_of_queue(r->v, r->q),
                                          meta_operator_policy_of_queue(r->v, r->q));
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    ctl_row_str(r->out, text);
    mem_free(text);
    json_decref(o);
}

/* {syncing, messages so far}, as RabbitMQ has it. */
static void put_state(const struct row *r)
{
    char room[64];
    struct text t = text_over(room, sizeof room);
    if (r->f->found && r->f->syncing)
        text_put(&t, "{syncing, %" PRIu64 "}", r->f->sync_messages);
    else
        text_str(&t, r->f->found ? "running" : "down");
    ctl_row_slice(r->out, text_view(&t));
}

BOOLEAN(durable, r->q->durable)
BOOLEAN(auto_delete, r->q->auto_delete)
BOOLEAN(exclusive, r->q->owner != 0)
NUMBER(messages, r->f->ready + r->f->unacked)
NUMBER(messages_ready, r->f->ready)
NUMBER(messages_unacknowledged, r->f->unacked)
NUMBER(messages_ram, r->f->ready + r->f->unacked - r->f->paged_out)
NUMBER(messages_ready_ram, r->f->ready - r->f->paged_out)
NUMBER(messages_unacknowledged_ram, r->f->unacked)
NUMBER(messages_paged_out, r->f->paged_out)
NUMBER(messages_persistent, r->q->durable ? r->f->persistent : 0)
NUMBER(message_bytes, r->f->ready_bytes + r->f->unacked_bytes)
NUMBER(message_bytes_ready, r->f->ready_bytes)
NUMBER(message_bytes_unacknowledged, r->f->unacked_bytes)
NUMBER(message_bytes_ram, r->f->ready_bytes + r->f->unacked_bytes - r->f->paged_out_bytes)
NUMBER(message_bytes_paged_out, r->f->paged_out_bytes)
NUMBER(message_bytes_persistent, r->q->durable ? r->f->persistent_bytes : 0)
NUMBER(disk_reads, r->f->disk_reads)
NUMBER(disk_writes, r->f->disk_writes)
NUMBER(consumers, r->f->consumers)
NUMBER(memory, r->f->memory_bytes)
WORD(type, meta_queue_is_quorum(r->q) ? "quorum" : "classic")

static const char *const names[] = {
#define X(name) #name,
    CTL_QUEUE_COLUMNS(X)
#undef X
};

static void (*const puts_of[])(const struct row *r) = {
#define X(name) put_##name,
    CTL_QUEUE_COLUMNS(X)
#undef X
};

/* ---- rows ---- */

static int compare_ids(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* In the order in which they were declared: the same on all nodes. */
static void begin(struct ctl_list *l)
{
    const struct meta_version *v = broker_meta(l->ctl->broker);
    const struct meta_vhost *vh = l->vhost_id != 0 ? meta_vhost_get(v, l->vhost_id) : NULL;
    const struct pmap *queues = vh != NULL ? &vh->queues : &v->queues;
    l->ids = mem_array(queues->count + 1, sizeof *l->ids);
    struct pmap_iter it;
    pmap_iter(&it, queues);
    const struct meta_queue *q;
    while ((q = pmap_next(&it)) != NULL) {
        if (l->which != CTL_LOCAL || meta_queue_master(v, q) == broker_node(l->ctl->broker))
            l->ids[l->count++] = q->qid;
    }
    qsort(l->ids, l->count, sizeof *l->ids, compare_ids);
}

static void on_found(struct mgmt_ask *a, void *arg)
{
    struct ctl_list *l = arg;
    const struct meta_version *v = broker_meta(l->ctl->broker);
    struct text rows = ctl_list_rows();
    size_t count;
    const struct mgmt_queue *f = mgmt_ask_queue_list(a, &count);
    for (size_t i = 0; i < count; i++) {
        const struct meta_queue *q = meta_queue_get(v, f[i].qid);
        if (q == NULL || !mgmt_is_shown(l->ctl->broker, v, q, f[i].found) ||
            (f[i].found && l->which == CTL_OFFLINE) || (!f[i].found && l->which == CTL_ONLINE))
            continue;
        struct ctl_row out;
        struct row r = { l->ctl, v, q, &f[i], &out };
        ctl_row_begin(&out, &rows);
        for (unsigned c = 0; c < l->column_count; c++)
            puts_of[l->columns[c]](&r);
        ctl_row_end(&out);
    }
    ctl_list_reply(l, &rows);
}

static void piece(struct ctl_list *l)
{
    const struct meta_version *v = broker_meta(l->ctl->broker);
    size_t count, wanted = 0;
    const uint64_t *ids = ctl_list_next(l, &count);
    struct mgmt_queue *queues = mem_array(count + 1, sizeof *queues);
    for (size_t i = 0; i < count; i++) {
        const struct meta_queue *q = meta_queue_get(v, ids[i]);
        if (q != NULL)
            queues[wanted++] = (struct mgmt_queue){ .qid = q->qid,
                                                    .node = meta_queue_master(v, q),
                                                    .shard = q->shard };
    }
    mgmt_ask_queues(l->ctl->broker, l->ctl->loop, mgmt_http_peers(l->ctl->mgmt), &queues, wanted,
                    on_found, l);
}

const struct ctl_lister ctl_lister_queues = {
    .what = "queues",
    .columns = names,
    .column_count = ARRAY_COUNT(names),
    .begin = begin,
    .piece = piece,
};
