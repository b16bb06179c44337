/* What another node asks for its lists: figures that this node's shards know. */
#include "base/check.h"
#include "base/mem.h"
#include "mgmt/ctl_inner.h"
#include "mgmt/mgmt_totals.h"
#include "mgmt/mgmt_wire.h"
#include "shard.h"

/* The answer, whichever it is. */
struct figures {
    struct ctl *ctl;
    struct http_request *request;
    enum mgmt_wire_kind kind;
    bool with_lags;
};

static void on_found(struct mgmt_ask *a, void *arg)
{
    struct figures *f = arg;
    struct text out;
    size_t count;
    text_init(&out, SIZE_MAX / 2);
    switch (f->kind) {
    case MGMT_WIRE_QUEUES: {
        const struct mgmt_queue *q = mgmt_ask_queue_list(a, &count);
        mgmt_wire_put_queues(&out, q, count, f->with_lags, loop_now_ms(f->ctl->loop));
        break;
    }
    case MGMT_WIRE_TAGS: {
        const struct mgmt_queue *q = mgmt_ask_queue_list(a, &count);
        mgmt_wire_put_tags(&out, q, count);
        break;
    }
    case MGMT_WIRE_ACTIVITIES: {
        const struct mgmt_consumer *c = mgmt_ask_consumer_list(a, &count);
        mgmt_wire_put_activities(&out, c, count);
        break;
    }
    case MGMT_WIRE_CLIENTS:
        mgmt_ask_put_clients(a, &out);
        break;
    }
    http_reply(f->request, 200, "application/octet-stream", text_view(&out));
    text_fini(&out);
    mem_free(f);
}

static void ask_queues(struct figures *f, const struct mgmt_wire_question *q)
{
    struct broker *b = f->ctl->broker;
    const struct meta_version *v = broker_meta(b);
    struct mgmt_queue *wanted = mem_array(q->count + 1, sizeof *wanted);
    for (size_t i = 0; i < q->count; i++) {
        const struct meta_queue *one = meta_queue_get(v, q->ids[i]);
        wanted[i] = (struct mgmt_queue){ .qid = q->ids[i] };
        if (one != NULL && meta_queue_master(v, one) == broker_node(b)) {
            wanted[i].node = broker_node(b);
            wanted[i].shard = one->shard;
        }
    }
    mgmt_ask_queues(b, f->ctl->loop, NULL, &wanted, q->count, on_found, f);
}

static void ask_tags(struct figures *f, const struct mgmt_wire_question *q)
{
    size_t count = q->count / 3;
    struct mgmt_queue *wanted = mem_array(count + 1, sizeof *wanted);
    for (size_t i = 0; i < count; i++) {
        const uint64_t *ids = &q->ids[3 * i];
        wanted[i] = (struct mgmt_queue){ .lone = ids[2],
                                         .lone_channel = { .connection = ids[0],
                                                           .incarnation = (uint32_t)(ids[1] >> 16),
                                                           .number = (uint16_t)ids[1] } };
    }
    mgmt_ask_tags(f->ctl->broker, f->ctl->loop, &wanted, count, on_found, f);
}

static void ask_activities(struct figures *f, const struct mgmt_wire_question *q)
{
    struct broker *b = f->ctl->broker;
    const struct meta_version *v = broker_meta(b);
    size_t count = q->count / 2;
    struct mgmt_consumer *wanted = mem_array(count + 1, sizeof *wanted);
    for (size_t i = 0; i < count; i++) {
        const struct meta_queue *one = meta_queue_get(v, q->ids[2 * i]);
        wanted[i] = (struct mgmt_consumer){ .qid = q->ids[2 * i], .id = q->ids[2 * i + 1] };
        if (one != NULL && meta_queue_master(v, one) == broker_node(b)) {
            wanted[i].node = broker_node(b);
            wanted[i].shard = one->shard;
        }
    }
    mgmt_ask_activities(b, f->ctl->loop, &wanted, count, on_found, f);
}

static void on_totals(void *arg, const struct mgmt_totals *all, const struct mgmt_totals *vhosts,
                      size_t vhost_count)
{
    struct http_request *r = arg;
    struct text out;
    (void)all;
    text_init(&out, SIZE_MAX / 2);
    mgmt_totals_put(&out, vhosts, vhost_count);
    http_reply(r, 200, "application/octet-stream", text_view(&out));
    text_fini(&out);
}

void ctl_on_totals(struct http_request *r, void *arg)
{
    struct ctl *c = arg;
    http_hold(r);
    mgmt_ask_totals(c->broker, c->loop, NULL, on_totals, r);
}

void ctl_on_figures(struct http_request *r, void *arg)
{
    struct ctl *c = arg;
    struct mgmt_wire_question q;
    http_hold(r);
    if (!mgmt_wire_take_question(http_request_body(r), &q)) {
        http_reply(r, 400, NULL, slice_of(NULL, 0));
        return;
    }
    struct figures *f = mem_zalloc(sizeof *f);
    *f = (struct figures){ c, r, q.kind, q.what == MGMT_WIRE_WITH_LAGS };
    switch (q.kind) {
    case MGMT_WIRE_QUEUES:
        ask_queues(f, &q);
        break;
    case MGMT_WIRE_CLIENTS:
        mgmt_ask_clients(c->broker, c->loop, NULL, q.what, on_found, f);
        break;
    case MGMT_WIRE_TAGS:
        ask_tags(f, &q);
        break;
    case MGMT_WIRE_ACTIVITIES:
        ask_activities(f, &q);
        break;
    }
    mem_free(q.ids);
}
