#include "bench_admin.h"

#include "base/check.h"
#include "base/mem.h"

#define CHANNEL   1u
#define AHEAD_MAX 64u /* requests under way */
#define TRIES_MAX 20u /* of one job: what it asks for is refused, not delayed */

/* Where the texts and tables of one request are composed. */
struct request {
    struct amqp_method method;
    char queue[256];
    char key[256];
    uint8_t table[1024];
};

/* ---- the jobs' requests -------------------------------------------------------------------------
 */

static bool has_exchange(const struct bench_admin *a)
{
    return a->plan->options->exchange != BENCH_EXCHANGE_DEFAULT;
}

static struct slice queue_name(const struct bench_admin *a, uint32_t queue, struct request *r)
{
    struct text t = text_over(r->queue, sizeof r->queue);
    bench_plan_queue(a->plan, queue, &t);
    return text_view(&t);
}

static void ask_exchange(const struct bench_admin *a, struct request *r)
{
    r->method.id = AMQP_EXCHANGE_DECLARE;
    struct amqp_exchange_declare *m = &r->method.exchange_declare;
    m->exchange = slice_str(a->plan->exchange);
    m->type = slice_str(bench_exchange_name(a->plan->options->exchange));
    m->durable = a->plan->options->durable;
}

static void ask_queue(const struct bench_admin *a, uint32_t queue, bool passive, struct request *r)
{
    struct wire_out w = wire_out_over(r->table, sizeof r->table);
    r->method.id = AMQP_QUEUE_DECLARE;
    struct amqp_queue_declare *m = &r->method.queue_declare;
    m->queue = queue_name(a, queue, r);
    m->passive = passive;
    m->durable = a->plan->options->durable;
    if (!passive)
        bench_plan_queue_args(a->plan, &w);
    m->arguments = wire_out_slice(&w);
}

static void ask_purge(const struct bench_admin *a, uint32_t queue, struct request *r)
{
    r->method.id = AMQP_QUEUE_PURGE;
    r->method.queue_purge.queue = queue_name(a, queue, r);
}

static void ask_binding(const struct bench_admin *a, uint64_t index, struct request *r)
{
    uint32_t each = bench_plan_bindings(a->plan);
    struct text key = text_over(r->key, sizeof r->key);
    struct wire_out w = wire_out_over(r->table, sizeof r->table);
    uint32_t queue = (uint32_t)(index / each);
    bench_plan_binding(a->plan, queue, (uint32_t)(index % each), &key, &w);
    r->method.id = AMQP_QUEUE_BIND;
    struct amqp_queue_bind *m = &r->method.queue_bind;
    m->queue = queue_name(a, queue, r);
    m->exchange = slice_str(a->plan->exchange);
    m->routing_key = text_view(&key);
    m->arguments = wire_out_slice(&w);
}

/* Request `i` of DECLARE: the exchange, then a declaration and a purge for each queue, then the
 * bindings. */
static void ask_declare(const struct bench_admin *a, uint64_t i, struct request *r)
{
    uint32_t queues = a->plan->options->queues;
    if (has_exchange(a)) {
        if (i == 0) {
            ask_exchange(a, r);
            return;
        }
        i--;
    }
    if (i >= 2u * (uint64_t)queues)
        ask_binding(a, i - 2u * (uint64_t)queues, r);
    else if (i % 2 == 0)
        ask_queue(a, (uint32_t)(i / 2), false, r);
    else
        ask_purge(a, (uint32_t)(i / 2), r);
}

static void ask_delete(const struct bench_admin *a, uint64_t i, struct request *r)
{
    if (i < a->plan->options->queues) {
        r->method.id = AMQP_QUEUE_DELETE;
        r->method.queue_delete.queue = queue_name(a, (uint32_t)i, r);
    } else {
        r->method.id = AMQP_EXCHANGE_DELETE;
        r->method.exchange_delete.exchange = slice_str(a->plan->exchange);
    }
}

static uint64_t requests(const struct bench_admin *a)
{
    uint64_t queues = a->plan->options->queues;
    switch (a->job) {
    case BENCH_ADMIN_DECLARE:
        return has_exchange(a) + 2 * queues + queues * bench_plan_bindings(a->plan);
    case BENCH_ADMIN_COUNT:
        return queues;
    case BENCH_ADMIN_DELETE:
        return has_exchange(a) + queues;
    case BENCH_ADMIN_NONE:
    case BENCH_ADMIN_CLOSE:
        return 0;
    }
    UNREACHABLE("admin's job");
}

static void send_one(struct bench_admin *a)
{
    struct request r = { 0 };
    uint64_t i = a->sent++;
    if (a->job == BENCH_ADMIN_DECLARE)
        ask_declare(a, i, &r);
    else if (a->job == BENCH_ADMIN_COUNT)
        ask_queue(a, (uint32_t)i, true, &r);
    else
        ask_delete(a, i, &r);
    bench_conn_send(&a->conn, CHANNEL, &r.method);
}

/* ---- running a job ------------------------------------------------------------------------------
 */

static void done(struct bench_admin *a, const struct err *why)
{
    enum bench_admin_job job = a->job;
    a->job = BENCH_ADMIN_NONE;
    if (job != BENCH_ADMIN_NONE)
        a->on_done(job, why, a->arg);
}

static void send_more(struct bench_admin *a)
{
    while (a->sent < a->total && a->sent - a->answered < AHEAD_MAX)
        send_one(a);
}

static void begin(struct bench_admin *a)
{
    a->sent = 0;
    a->answered = 0;
    a->total = requests(a);
    send_more(a);
}

/* An answer to the oldest request. */
static void take_answer(struct bench_admin *a, const struct amqp_method *m)
{
    if (m->id == AMQP_QUEUE_DECLARE_OK && a->job == BENCH_ADMIN_COUNT)
        a->left[a->answered] = m->queue_declare_ok.message_count;
    a->answered++;
    if (a->answered == a->total)
        done(a, NULL);
    else
        send_more(a);
}

static void take_frame(const struct amqp_frame *f, void *arg)
{
    struct bench_admin *a = arg;
    struct amqp_method m;
    if (f->type == AMQP_FRAME_METHOD && f->channel == CHANNEL && a->answered < a->sent &&
        amqp_method_peek(f->payload) != AMQP_CHANNEL_CLOSE &&
        amqp_method_decode(f->payload, &m) == AMQP_DECODE_OK && amqp_method_is_answer(m.id))
        take_answer(a, &m);
    else
        bench_conn_take(&a->conn, f);
}

static size_t on_data(struct bench_conn *c, struct slice in, void *arg)
{
    return bench_conn_cut(c, in, take_frame, arg);
}

static void on_ready(struct bench_conn *c, void *arg)
{
    (void)c;
    begin(arg);
}

static void on_failed(struct bench_conn *c, const struct err *why, void *arg)
{
    (void)c;
    struct bench_admin *a = arg;
    a->broken = true;
    done(a, why);
}

/* A queue that is gone costs the connection each time that it is asked for. */
static void on_down(struct bench_conn *c, const struct err *why, void *arg)
{
    struct bench_admin *a = arg;
    if (a->job != BENCH_ADMIN_NONE && !a->broken && ++a->tries == TRIES_MAX)
        on_failed(c, why, a);
}

static void on_closed(struct bench_conn *c, void *arg)
{
    (void)c;
    done(arg, NULL);
}

static const struct bench_conn_handlers conn_handlers = {
    .on_ready = on_ready,
    .on_data = on_data,
    .on_down = on_down,
    .on_failed = on_failed,
    .on_closed = on_closed,
};

void bench_admin_init(struct bench_admin *a, const struct bench_plan *plan, struct loop *loop,
                      struct tls_ctx *tls, bench_admin_fn on_done, void *arg)
{
    *a = (struct bench_admin){ .plan = plan, .on_done = on_done, .arg = arg };
    a->left = mem_array(plan->options->queues, sizeof *a->left);
    bench_conn_init(&a->conn, loop,
                    &(struct bench_conn_options){ .options = plan->options,
                                                  .tls = tls,
                                                  .channels = 1,
                                                  .handlers = &conn_handlers,
                                                  .arg = a });
}

void bench_admin_fini(struct bench_admin *a)
{
    bench_conn_fini(&a->conn);
    mem_free(a->left);
}

void bench_admin_do(struct bench_admin *a, enum bench_admin_job job)
{
    CHECK(a->job == BENCH_ADMIN_NONE && !a->broken);
    a->job = job;
    a->tries = 0;
    if (job == BENCH_ADMIN_CLOSE) {
        bench_conn_close(&a->conn);
    } else if (!a->used) {
        a->used = true;
        bench_conn_start(&a->conn);
    } else if (bench_conn_is_ready(&a->conn)) {
        begin(a);
    }
    /* Else it is reconnecting, and on_ready begins the job. */
}
