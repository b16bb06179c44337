/* /metrics/per-object and /metrics/detailed: a line for each queue, family after family. */
#include "base/check.h"
#include "base/mem.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_metrics.h"
#include "stats/stats_text.h"

#include <inttypes.h>
#include <string.h>

enum group { GROUP_COARSE = 1, GROUP_CONSUMERS = 2, GROUP_METRICS = 4 };

typedef uint64_t (*value_fn)(const struct mgmt_queue *f);

#define X(name, kind, group, value, help)                                                          \
    static uint64_t value_of_##name(const struct mgmt_queue *f)                                    \
    {                                                                                              \
        (void)f;                                                                                   \
        return (uint64_t)(value);                                                                  \
    }
MGMT_QUEUE_FAMILIES(X)
#undef X

#define TYPE_GAUGE   "gauge"
#define TYPE_COUNTER "counter"

static const struct family {
    const char *name;
    const char *type;
    const char *help;
    unsigned group;
    value_fn value;
} families[] = {
#define X(metric, kind, in_group, value, text)                                                     \
    { #metric, TYPE_##kind, text, GROUP_##in_group, value_of_##metric },
    MGMT_QUEUE_FAMILIES(X)
#undef X
};

struct row {
    uint64_t qid;
    uint32_t shard;
};

struct metrics {
    struct mgmt_call *call;
    const char *prefix;
    unsigned groups;
    struct row *rows;
    size_t count;
    size_t family;
    size_t at;
    bool is_asking;
    struct text out;
    struct loop_task next;
};

static void end(struct metrics *x)
{
    struct mgmt_call *c = x->call;
    http_reply_piece(c->r, text_view(&x->out));
    http_reply_end(c->r);
    loop_task_cancel(c->m->loop, &x->next);
    text_fini(&x->out);
    mem_free(x->rows);
    mem_free(x);
    mgmt_call_end(c);
}

static void on_room(void *arg)
{
    struct metrics *x = arg;
    if (!x->is_asking)
        loop_again(x->call->m->loop, &x->next);
}

/* A name within quotes. */
static void put_label(struct text *t, struct slice s)
{
    char room[3 * META_NAME_MAX + 1];
    struct text clean = text_over(room, sizeof room);
    text_utf8(&clean, s);
    for (size_t i = 0; i < clean.len; i++) {
        if (room[i] == '"' || room[i] == '\\')
            text_char(t, '\\');
        text_char(t, room[i]);
    }
}

static void put_line(struct metrics *x, const struct family *f, const struct mgmt_queue *figures)
{
    const struct meta_version *v = mgmt_meta(x->call);
    const struct meta_queue *q = figures->found ? meta_queue_get(v, figures->qid) : NULL;
    if (q == NULL)
        return;
    text_put(&x->out, "%s%s{vhost=\"", x->prefix, f->name);
    put_label(&x->out, meta_vhost_name(meta_vhost_get(v, q->vhost_id)));
    text_str(&x->out, "\",queue=\"");
    put_label(&x->out, meta_queue_name(q));
    text_put(&x->out, "\"} %" PRIu64 "\n", f->value(figures));
}

static void on_figures(struct mgmt_ask *a, void *arg)
{
    struct metrics *x = arg;
    size_t count;
    const struct mgmt_queue *figures = mgmt_ask_queue_list(a, &count);
    for (size_t i = 0; i < count; i++)
        put_line(x, &families[x->family], &figures[i]);
    x->at += count;
    x->is_asking = false;
    http_reply_piece(x->call->r, text_view(&x->out));
    text_clear(&x->out);
    loop_again(x->call->m->loop, &x->next);
}

static void ask(struct metrics *x)
{
    size_t count = x->count - x->at < MGMT_PIECE_ROWS ? x->count - x->at : MGMT_PIECE_ROWS;
    struct mgmt_queue *wanted = mem_array(count + 1, sizeof *wanted);
    for (size_t i = 0; i < count; i++)
        wanted[i] = (struct mgmt_queue){ .qid = x->rows[x->at + i].qid,
                                         .node = broker_node(x->call->m->broker),
                                         .shard = x->rows[x->at + i].shard };
    x->is_asking = true;
    mgmt_ask_queues(x->call->m->broker, x->call->m->loop, NULL, &wanted, count, on_figures, x);
}

/* To the next family that is wanted; false: there is none. */
static bool begin_family(struct metrics *x)
{
    while (x->family < ARRAY_COUNT(families) &&
           (x->count == 0 || (families[x->family].group & x->groups) == 0))
        x->family++;
    if (x->family == ARRAY_COUNT(families))
        return false;
    const struct family *f = &families[x->family];
    if (x->at == 0)
        text_put(&x->out, "# TYPE %s%s %s\n# HELP %s%s %s\n", x->prefix, f->name, f->type,
                 x->prefix, f->name, f->help);
    return true;
}

static void on_next(void *arg)
{
    struct metrics *x = arg;
    if (http_reply_is_gone(x->call->r)) {
        end(x);
        return;
    }
    if (http_reply_is_full(x->call->r))
        return; /* on_room */
    if (x->at != 0 && x->at == x->count) {
        x->at = 0;
        x->family++;
    }
    if (begin_family(x))
        ask(x);
    else
        end(x);
}

/* The queues of the vhosts that ?vhost= names; of all, when it names none. */
static void choose(struct metrics *x)
{
    const struct meta_version *v = mgmt_meta(x->call);
    char name[META_NAME_MAX + 1];
    struct text t = text_over(name, sizeof name);
    bool is_one = http_request_query(x->call->r, "vhost", &t);
    const struct meta_vhost *vh = is_one ? meta_vhost_find(v, text_view(&t)) : NULL;
    const struct pmap *map = vh != NULL ? &vh->queues : &v->queues;
    size_t room = is_one && vh == NULL ? 0 : map->count;
    x->rows = mem_array(room + 1, sizeof *x->rows);
    struct pmap_iter it;
    pmap_iter(&it, map);
    const struct meta_queue *q;
    while (x->count < room && (q = pmap_next(&it)) != NULL)
        x->rows[x->count++] = (struct row){ q->qid, q->shard };
}

static struct metrics *metrics_new(struct mgmt_call *c, const char *prefix, unsigned groups)
{
    struct metrics *x = mem_zalloc(sizeof *x);
    x->call = c;
    x->prefix = prefix;
    x->groups = groups;
    text_init(&x->out, SIZE_MAX / 2);
    loop_task_init(&x->next, on_next, x);
    choose(x);
    return x;
}

static void start(struct metrics *x)
{
    http_reply_begin(x->call->r, 200, STATS_TEXT_PROMETHEUS_TYPE, on_room, x);
    loop_again(x->call->m->loop, &x->next);
}

static void on_others(struct mgmt_call *c, const struct text *all)
{
    if (all->cut) {
        mgmt_metrics_too_many(c);
        return;
    }
    struct metrics *x = metrics_new(c, "rabbitmq_", GROUP_COARSE | GROUP_CONSUMERS | GROUP_METRICS);
    text_slice(&x->out, text_view(all));
    start(x);
}

void mgmt_serve_metrics_per_object(struct mgmt_call *c)
{
    mgmt_ask_metrics(c, false, on_others);
}

/* ?family=queue_coarse_metrics&family=queue_metrics: the names may stand anywhere. */
static unsigned groups_of(const struct mgmt_call *c)
{
    static const struct {
        const char *word;
        unsigned group;
    } known[] = { { "queue_coarse_metrics", GROUP_COARSE },
                  { "queue_consumer_count", GROUP_CONSUMERS },
                  { "queue_metrics", GROUP_METRICS } };
    unsigned groups = 0;
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        if (http_request_query_has(c->r, "family", known[i].word))
            groups |= known[i].group;
    }
    return groups;
}

void mgmt_serve_metrics_detailed(struct mgmt_call *c)
{
    start(metrics_new(c, "rabbitmq_detailed_", groups_of(c)));
}
