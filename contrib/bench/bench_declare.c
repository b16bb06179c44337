#include "bench_declare.h"

#include "base/check.h"
#include "base/mem.h"
#include "bench_conn.h"
#include "bench_proc.h"
#include "io/clock.h"

#include <inttypes.h>
#include <signal.h>

#define ARGUMENTS_MAX ((size_t)1024)

/*
 *   CONNECTING --> WARMING --> MEASURING --> ENDING --> CLEANING --> LEAVING
 *            \________________/^                  \________________/^        */
enum phase { CONNECTING, WARMING, MEASURING, ENDING, CLEANING, LEAVING };

/* One channel, and the request under way on it. */
struct lane {
    uint64_t number; /* of the queue */
    uint64_t since_us;
    bool waits;
    bool deletes;
};

struct client {
    struct declare *run;
    struct bench_conn conn;
    struct lane *lanes; /* of channels 1, 2, ... */
};

struct declare {
    const struct bench_plan *plan;
    const struct bench_options *o;
    struct bench_declare_result *out;
    struct loop *loop;
    struct client *clients;
    uint32_t ready;
    uint32_t left;
    uint32_t waiting; /* requests under way */
    enum phase phase;
    uint64_t next;    /* number of the next queue to declare */
    uint64_t cleaned; /* of those before `next`, at the end */
    uint64_t since_us;
    uint64_t server_cpu_us;
    uint64_t bench_cpu_us;
    uint8_t table[ARGUMENTS_MAX]; /* the arguments of all */
    struct slice arguments;
    struct loop_timer timer;
    bool failed;
    struct err failure;
};

/* The first failure ends everything. */
static void fail(struct declare *s, const struct err *why)
{
    if (!s->failed)
        s->failure = *why;
    s->failed = true;
    loop_stop(s->loop);
}

/* ---- requests -----------------------------------------------------------------------------------
 */

static struct slice name_of(const struct declare *s, uint64_t number, struct text *room)
{
    text_clear(room);
    text_put(room, "%s-%" PRIu64, s->plan->name, number);
    return text_view(room);
}

static void ask(struct client *c, uint16_t channel, uint64_t number, bool deletes)
{
    struct declare *s = c->run;
    struct lane *lane = &c->lanes[channel - 1];
    char octets[UINT8_MAX + 1];
    struct text room = text_over(octets, sizeof octets);
    struct amqp_method m = { .id = deletes ? AMQP_QUEUE_DELETE : AMQP_QUEUE_DECLARE };
    if (deletes) {
        m.queue_delete.queue = name_of(s, number, &room);
    } else {
        m.queue_declare.queue = name_of(s, number, &room);
        m.queue_declare.durable = s->o->durable;
        m.queue_declare.auto_delete = s->o->auto_delete;
        m.queue_declare.arguments = s->arguments;
    }
    *lane = (struct lane){ number, clock_mono_us(), true, deletes };
    s->waiting++;
    bench_conn_send(&c->conn, channel, &m);
}

static bool is_declaring(const struct declare *s)
{
    return s->phase == WARMING || s->phase == MEASURING;
}

/* The next request of a channel that has none, as the phase wants it. */
static void ask_next(struct client *c, uint16_t channel)
{
    struct declare *s = c->run;
    if (is_declaring(s) && (s->o->count == 0 || s->next < s->o->count))
        ask(c, channel, s->next++, false);
    else if (s->phase == CLEANING && s->cleaned < s->next)
        ask(c, channel, s->cleaned++, true);
}

static void ask_all(struct declare *s)
{
    for (uint32_t i = 0; i < s->o->clients; i++)
        for (uint32_t channel = 1; channel <= s->o->window; channel++)
            ask_next(&s->clients[i], (uint16_t)channel);
}

/* ---- the course ---------------------------------------------------------------------------------
 */

/* CPU used since the last look, by the server and by us. */
static void read_cpu(struct declare *s, uint64_t *server_us, uint64_t *bench_us)
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

static void measure(struct declare *s)
{
    uint64_t server_us, bench_us;
    read_cpu(s, &server_us, &bench_us);
    s->phase = MEASURING;
    s->since_us = clock_mono_us();
    if (s->o->count == 0)
        loop_timer_start(&s->timer, s->o->duration_ms);
}

static void end_measuring(struct declare *s)
{
    s->phase = ENDING;
    s->out->seconds = (double)(clock_mono_us() - s->since_us) / 1e6;
    read_cpu(s, &s->out->server_cpu_us, &s->out->bench_cpu_us);
}

static void leave(struct declare *s)
{
    s->phase = LEAVING;
    s->left = s->o->clients;
    for (uint32_t i = 0; i < s->o->clients; i++)
        bench_conn_close(&s->clients[i].conn);
}

static void clean(struct declare *s)
{
    s->phase = CLEANING;
    if (s->o->keep || s->o->delete_each)
        s->cleaned = s->next;
    ask_all(s);
    if (s->waiting == 0)
        leave(s);
}

/* All that was asked for is answered, and nothing more was asked. */
static void on_idle(struct declare *s)
{
    if (s->phase == MEASURING) /* it was a matter of a count */
        end_measuring(s);
    if (s->phase == ENDING)
        clean(s);
    else if (s->phase == CLEANING)
        leave(s);
}

static void start_clients(struct declare *s)
{
    for (uint32_t i = 0; i < s->o->clients; i++)
        bench_conn_start(&s->clients[i].conn);
}

static void on_timer(void *arg)
{
    struct declare *s = arg;
    if (s->phase == CONNECTING) /* the loop runs now */
        start_clients(s);
    else if (s->phase == WARMING)
        measure(s);
    else if (s->phase == MEASURING)
        end_measuring(s);
}

static void begin(struct declare *s)
{
    if (s->o->count != 0) {
        measure(s);
    } else {
        s->phase = WARMING;
        loop_timer_start(&s->timer, s->o->warm_up_ms);
    }
    ask_all(s);
}

/* ---- answers ------------------------------------------------------------------------------------
 */

static void note(struct declare *s, const struct lane *lane)
{
    bool measured = s->phase == MEASURING;
    uint64_t took_us = clock_mono_us() - lane->since_us;
    *(lane->deletes ? &s->out->deleted : &s->out->declared) += 1;
    if (measured) {
        *(lane->deletes ? &s->out->deletes : &s->out->declares) += 1;
        hist_record(lane->deletes ? &s->out->delete : &s->out->declare, took_us);
    }
}

static void take_answer(struct client *c, uint16_t channel, const struct amqp_method *m)
{
    struct declare *s = c->run;
    struct lane *lane = &c->lanes[channel - 1];
    char octets[UINT8_MAX + 1];
    struct text room = text_over(octets, sizeof octets);
    if (!lane->waits || m->id != (lane->deletes ? AMQP_QUEUE_DELETE_OK : AMQP_QUEUE_DECLARE_OK) ||
        (!lane->deletes && !slice_eq(m->queue_declare_ok.queue, name_of(s, lane->number, &room)))) {
        bench_conn_break(&c->conn, "%s of channel %u is not what was asked for",
                         amqp_method_name(m->id), channel);
        return;
    }
    note(s, lane);
    lane->waits = false;
    s->waiting--;
    if (!lane->deletes && s->o->delete_each)
        ask(c, channel, lane->number, true);
    else
        ask_next(c, channel);
    if (s->waiting == 0)
        on_idle(s);
}

static void take_frame(const struct amqp_frame *f, void *arg)
{
    struct client *c = arg;
    struct amqp_method m;
    if (f->type == AMQP_FRAME_METHOD && f->channel != 0 && f->channel <= c->run->o->window &&
        amqp_method_peek(f->payload) != AMQP_CHANNEL_CLOSE &&
        amqp_method_decode(f->payload, &m) == AMQP_DECODE_OK)
        take_answer(c, f->channel, &m);
    else
        bench_conn_take(&c->conn, f);
}

static size_t on_data(struct bench_conn *conn, struct slice in, void *arg)
{
    return bench_conn_cut(conn, in, take_frame, arg);
}

static void on_ready(struct bench_conn *conn, void *arg)
{
    (void)conn;
    struct client *c = arg;
    if (++c->run->ready == c->run->o->clients)
        begin(c->run);
}

static void on_failed(struct bench_conn *conn, const struct err *why, void *arg)
{
    (void)conn;
    struct client *c = arg;
    fail(c->run, why);
}

static void on_closed(struct bench_conn *conn, void *arg)
{
    (void)conn;
    struct client *c = arg;
    if (--c->run->left == 0)
        loop_stop(c->run->loop);
}

static const struct bench_conn_handlers handlers = {
    .on_ready = on_ready,
    .on_data = on_data,
    .on_failed = on_failed,
    .on_closed = on_closed,
};

static void on_interrupt(void *arg)
{
    struct err why;
    err_set(&why, ERR_REFUSED, "interrupted");
    fail(arg, &why);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void make_clients(struct declare *s, struct tls_ctx *tls)
{
    s->clients = mem_array(s->o->clients, sizeof *s->clients);
    for (uint32_t i = 0; i < s->o->clients; i++) {
        s->clients[i].run = s;
        s->clients[i].lanes = mem_array(s->o->window, sizeof *s->clients[i].lanes);
        bench_conn_init(&s->clients[i].conn, s->loop,
                        &(struct bench_conn_options){ .options = s->o,
                                                      .tls = tls,
                                                      .first_host = i,
                                                      .channels = (uint16_t)s->o->window,
                                                      .once = true,
                                                      .handlers = &handlers,
                                                      .arg = &s->clients[i] });
    }
}

static void free_all(struct declare *s)
{
    for (uint32_t i = 0; i < s->o->clients; i++) {
        bench_conn_fini(&s->clients[i].conn);
        mem_free(s->clients[i].lanes);
    }
    mem_free(s->clients);
    loop_timer_fini(&s->timer);
    loop_free(&s->loop);
}

bool bench_declare(const struct bench_plan *plan, struct tls_ctx *tls,
                   struct bench_declare_result *out, struct err *err)
{
    struct declare s = { .plan = plan, .o = plan->options, .out = out };
    *out = (struct bench_declare_result){ 0 };
    struct wire_out w = wire_out_over(s.table, sizeof s.table);
    bench_plan_queue_args(plan, &w);
    if (w.overflow)
        return err_set(err, ERR_USAGE, "--queue-arg: more than %zu octets", sizeof s.table);
    s.arguments = wire_out_slice(&w);
    s.loop = loop_new("bench", err);
    if (s.loop == NULL)
        return false;
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
