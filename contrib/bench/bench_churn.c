#include "bench_churn.h"

#include "amqp/amqp_props.h"
#include "base/check.h"
#include "base/mem.h"
#include "bench_admin.h"
#include "bench_body.h"
#include "bench_proc.h"
#include "io/clock.h"

#include <signal.h>

#define CHANNEL      1u
#define PUBLISH_ROOM ((size_t)1024)

enum phase { DECLARING, WARMING, MEASURING, ENDING, COUNTING, LEAVING };

struct client {
    struct churn *churn;
    struct bench_conn conn;
    bool confirmed;
    uint64_t since_us;
};

struct churn {
    const struct bench_plan *plan;
    const struct bench_options *o;
    struct bench_churn_result *out;
    struct loop *loop;
    struct bench_admin admin;
    struct client *clients;
    uint32_t running;
    enum phase phase;
    uint64_t sequence;
    uint64_t since_us;
    uint64_t server_cpu_us;
    uint64_t bench_cpu_us;
    struct loop_timer timer;
    bool failed;
    struct err failure;
};

/* The first failure ends everything: no order is kept. */
static void fail(struct churn *s, const struct err *why)
{
    if (!s->failed)
        s->failure = *why;
    s->failed = true;
    loop_stop(s->loop);
}

/* ---- a client's cycle ---------------------------------------------------------------------------
 */

static void begin_cycle(struct client *c)
{
    c->since_us = clock_mono_us();
    c->confirmed = false;
    bench_conn_start(&c->conn);
}

static void publish(struct client *c)
{
    struct churn *s = c->churn;
    char room[UINT8_MAX + 1];
    struct text queue = text_over(room, sizeof room);
    bench_plan_queue(s->plan, 0, &queue);
    uint8_t body[BENCH_BODY_MIN];
    struct bench_body ids = { .run = s->plan->run, .sequence = s->sequence++ };
    ids.time_us = ids.intended_us = clock_mono_us();
    bench_body_write(body, sizeof body, &ids);

    struct stream *to = bench_conn_stream(&c->conn);
    struct wire_out w = wire_out_over(stream_reserve(to, PUBLISH_ROOM), PUBLISH_ROOM);
    struct amqp_method m = { .id = AMQP_BASIC_PUBLISH };
    m.basic_publish.routing_key = text_view(&queue);
    amqp_frame_put_method(&w, CHANNEL, &m);
    amqp_frame_put_header(&w, CHANNEL, sizeof body, AMQP_PROPS_NONE);
    amqp_frame_put_body(&w, CHANNEL, slice_of(body, sizeof body));
    CHECK(!w.overflow);
    stream_commit(to, wire_out_len(&w));
}

static void take_frame(const struct amqp_frame *f, void *arg)
{
    struct client *c = arg;
    uint32_t id =
        f->type == AMQP_FRAME_METHOD && f->channel == CHANNEL ? amqp_method_peek(f->payload) : 0;
    if (id == AMQP_CONFIRM_SELECT_OK) {
        publish(c);
    } else if (id == AMQP_BASIC_ACK && !c->confirmed) {
        c->confirmed = true;
        c->churn->out->confirmed++;
        bench_conn_close(&c->conn);
    } else {
        bench_conn_take(&c->conn, f);
    }
}

static size_t on_data(struct bench_conn *conn, struct slice in, void *arg)
{
    return bench_conn_cut(conn, in, take_frame, arg);
}

static void on_ready(struct bench_conn *conn, void *arg)
{
    (void)arg;
    bench_conn_send(conn, CHANNEL, &(struct amqp_method){ .id = AMQP_CONFIRM_SELECT });
}

static void on_failed(struct bench_conn *conn, const struct err *why, void *arg)
{
    (void)conn;
    struct client *c = arg;
    fail(c->churn, why);
}

static void end_if_last(struct churn *s)
{
    if (--s->running != 0)
        return;
    s->phase = COUNTING;
    bench_admin_do(&s->admin, BENCH_ADMIN_COUNT);
}

static void on_closed(struct bench_conn *conn, void *arg)
{
    (void)conn;
    struct client *c = arg;
    struct churn *s = c->churn;
    if (s->phase == MEASURING) {
        hist_record(&s->out->cycle, clock_mono_us() - c->since_us);
        s->out->cycles++;
    }
    if (s->phase < ENDING)
        begin_cycle(c);
    else
        end_if_last(s);
}

static const struct bench_conn_handlers handlers = {
    .on_ready = on_ready,
    .on_data = on_data,
    .on_failed = on_failed,
    .on_closed = on_closed,
};

/* ---- the course ---------------------------------------------------------------------------------
 */

/* CPU used since the last look, by the server and by us. */
static void read_cpu(struct churn *s, uint64_t *server_us, uint64_t *bench_us)
{
    struct err err;
    uint64_t server = 0, bench = clock_thread_cpu_us();
    if (!bench_proc_sum(bench_proc_cpu_us, s->o->pids, s->o->pids_count, &server, &err))
        fail(s, &err);
    *server_us = server - s->server_cpu_us;
    *bench_us = bench - s->bench_cpu_us;
    s->server_cpu_us = server;
    s->bench_cpu_us = bench;
}

static void on_timer(void *arg)
{
    struct churn *s = arg;
    uint64_t server_us, bench_us;
    if (s->phase == DECLARING) { /* the loop runs now */
        bench_admin_do(&s->admin, s->o->no_declare ? BENCH_ADMIN_COUNT : BENCH_ADMIN_DECLARE);
        return;
    }
    read_cpu(s, &server_us, &bench_us);
    if (s->phase == WARMING) {
        s->phase = MEASURING;
        s->since_us = clock_mono_us();
        loop_timer_start(&s->timer, s->o->duration_ms);
    } else if (s->phase == MEASURING) {
        s->phase = ENDING;
        s->out->seconds = (double)(clock_mono_us() - s->since_us) / 1e6;
        s->out->server_cpu_us = server_us;
        s->out->bench_cpu_us = bench_us;
    }
}

static void begin(struct churn *s)
{
    s->phase = WARMING;
    s->running = s->o->clients;
    loop_timer_start(&s->timer, s->o->warm_up_ms);
    for (uint32_t i = 0; i < s->o->clients; i++)
        begin_cycle(&s->clients[i]);
}

static void on_admin_done(enum bench_admin_job job, const struct err *why, void *arg)
{
    struct churn *s = arg;
    if (why != NULL) {
        fail(s, why);
        return;
    }
    switch (job) {
    case BENCH_ADMIN_DECLARE:
        begin(s);
        return;
    case BENCH_ADMIN_COUNT:
        if (s->phase == DECLARING) {
            begin(s);
            return;
        }
        s->out->left = s->admin.left[0];
        s->phase = LEAVING;
        bench_admin_do(&s->admin,
                       s->o->keep || s->o->no_declare ? BENCH_ADMIN_CLOSE : BENCH_ADMIN_DELETE);
        return;
    case BENCH_ADMIN_DELETE:
        bench_admin_do(&s->admin, BENCH_ADMIN_CLOSE);
        return;
    case BENCH_ADMIN_CLOSE:
        loop_stop(s->loop);
        return;
    case BENCH_ADMIN_NONE:
        break;
    }
    UNREACHABLE("admin's job");
}

static void on_interrupt(void *arg)
{
    struct err why;
    err_set(&why, ERR_REFUSED, "interrupted");
    fail(arg, &why);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void make_clients(struct churn *s, struct tls_ctx *tls)
{
    s->clients = mem_array(s->o->clients, sizeof *s->clients);
    for (uint32_t i = 0; i < s->o->clients; i++) {
        s->clients[i].churn = s;
        bench_conn_init(&s->clients[i].conn, s->loop,
                        &(struct bench_conn_options){ .options = s->o,
                                                      .tls = tls,
                                                      .first_host = i,
                                                      .channels = 1,
                                                      .once = true,
                                                      .handlers = &handlers,
                                                      .arg = &s->clients[i] });
    }
}

static void free_all(struct churn *s)
{
    for (uint32_t i = 0; i < s->o->clients; i++)
        bench_conn_fini(&s->clients[i].conn);
    mem_free(s->clients);
    bench_admin_fini(&s->admin);
    loop_timer_fini(&s->timer);
    loop_free(&s->loop);
}

bool bench_churn(const struct bench_plan *plan, struct tls_ctx *tls, struct bench_churn_result *out,
                 struct err *err)
{
    struct churn s = { .plan = plan, .o = plan->options, .out = out };
    *out = (struct bench_churn_result){ 0 };
    s.loop = loop_new("bench", err);
    if (s.loop == NULL)
        return false;
    bench_admin_init(&s.admin, plan, s.loop, tls, on_admin_done, &s);
    loop_timer_init(&s.timer, s.loop, on_timer, &s);
    make_clients(&s, tls);
    if (!loop_on_signal(s.loop, SIGINT, on_interrupt, &s, &s.failure) ||
        !loop_on_signal(s.loop, SIGTERM, on_interrupt, &s, &s.failure)) {
        s.failed = true;
    } else {
        loop_timer_start(&s.timer, 0);
        loop_run(s.loop);
    }
    free_all(&s);
    if (s.failed)
        *err = s.failure;
    return !s.failed;
}
