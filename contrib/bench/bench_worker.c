#include "bench_worker.h"

#include "base/check.h"
#include "io/clock.h"

#include <stdio.h>

#define TICK_MIN_US 100u /* a faster rate is sent in small groups */

/* ---- answers ------------------------------------------------------------------------------------
 */

static struct bench_call *call_of(struct mail *mail)
{
    return CONTAINER_OF(mail, struct bench_call, mail);
}

/* On the main loop. */
static void on_answered(struct mail *mail)
{
    struct bench_call *call = call_of(mail);
    struct bench_worker *w = call->worker;
    call->under_way = false;
    w->handlers->on_answer(w, call, w->arg);
}

static void answer(struct bench_worker *w, enum bench_op op)
{
    struct bench_call *call = &w->calls[op];
    CHECK(call->under_way);
    call->at_us = clock_mono_us();
    call->mail.fn = on_answered;
    mailbox_post(w->main_loop, &call->mail);
}

/* On the main loop. */
static void on_failure(struct mail *mail)
{
    struct bench_worker *w = CONTAINER_OF(mail, struct bench_worker, failure_mail);
    w->handlers->on_failed(w, &w->failure, w->arg);
}

static void fail(struct bench_worker *w, const struct err *why)
{
    if (w->failed)
        return;
    w->failed = true;
    w->failure = *why;
    w->failure_mail.fn = on_failure;
    mailbox_post(w->main_loop, &w->failure_mail);
}

/* ---- connecting ---------------------------------------------------------------------------------
 */

static uint32_t connections(const struct bench_worker *w)
{
    return w->publishers_count + w->consumers_count;
}

static void connect_next(struct bench_worker *w)
{
    if (w->connecting_next == connections(w))
        return;
    uint32_t i = w->connecting_next++;
    if (i < w->publishers_count)
        bench_publisher_connect(&w->publishers[i]);
    else
        bench_consumer_connect(&w->consumers[i - w->publishers_count]);
}

static void one_ready(struct bench_worker *w)
{
    w->ready++;
    connect_next(w);
    if (w->ready == connections(w))
        answer(w, BENCH_OP_CONNECT);
}

static void connect_all(struct bench_worker *w)
{
    for (uint32_t i = 0; i < w->plan->options->connecting; i++)
        connect_next(w);
    if (connections(w) == 0)
        answer(w, BENCH_OP_CONNECT);
}

/* ---- publishing ---------------------------------------------------------------------------------
 */

static void one_stopped(struct bench_worker *w)
{
    if (++w->stopped < w->publishers_count)
        return;
    ticker_stop(w->ticker);
    answer(w, BENCH_OP_GO);
}

static void on_tick(void *arg)
{
    struct bench_worker *w = arg;
    for (uint32_t i = 0; i < w->publishers_count; i++)
        bench_publisher_fill(&w->publishers[i]);
}

/* One tick for each message that is due, as far as that is sensible. */
static uint64_t tick_us(const struct bench_worker *w)
{
    uint64_t us = UINT64_C(1000000) / (w->plan->options->rate * w->publishers_count);
    return us < TICK_MIN_US ? TICK_MIN_US : us;
}

static void go(struct bench_worker *w, uint64_t start_us)
{
    if (w->publishers_count == 0) {
        answer(w, BENCH_OP_GO);
        return;
    }
    for (uint32_t i = 0; i < w->publishers_count; i++)
        bench_publisher_go(&w->publishers[i], start_us);
    if (w->plan->options->rate != 0 && w->stopped < w->publishers_count)
        ticker_start(w->ticker, start_us, tick_us(w));
}

/* ---- the other calls ----------------------------------------------------------------------------
 */

static void snapshot(struct bench_worker *w, struct bench_call *call)
{
    call->figures = (struct bench_figures){ 0 };
    w->figures.deliveries = w->track.counts;
    w->figures.cpu_us = clock_thread_cpu_us();
    bench_figures_add(&call->figures, &w->figures);
    if (call->reset) {
        for (unsigned i = 0; i < BENCH_TIMINGS; i++)
            hist_clear(&w->figures.timings[i]);
        w->figures.delivery_gap_us = 0;
        w->figures.confirm_gap_us = 0;
    }
    answer(w, BENCH_OP_SNAPSHOT);
}

static void one_closed(struct bench_worker *w)
{
    if (++w->closed == w->connecting_next)
        answer(w, BENCH_OP_CLOSE);
}

static void close_all(struct bench_worker *w)
{
    uint32_t started = w->connecting_next;
    for (uint32_t i = 0; i < started; i++) {
        if (i < w->publishers_count)
            bench_publisher_close(&w->publishers[i]);
        else
            bench_consumer_close(&w->consumers[i - w->publishers_count]);
    }
    if (started == 0)
        answer(w, BENCH_OP_CLOSE);
}

/* On the worker's loop. */
static void on_call(struct mail *mail)
{
    struct bench_call *call = call_of(mail);
    struct bench_worker *w = call->worker;
    switch (call->op) {
    case BENCH_OP_CONNECT:
        connect_all(w);
        return;
    case BENCH_OP_GO:
        go(w, call->start_us);
        return;
    case BENCH_OP_STOP:
        for (uint32_t i = 0; i < w->publishers_count; i++)
            bench_publisher_stop(&w->publishers[i]);
        answer(w, BENCH_OP_STOP);
        return;
    case BENCH_OP_SNAPSHOT:
        snapshot(w, call);
        return;
    case BENCH_OP_CLOSE:
        close_all(w);
        return;
    case BENCH_OPS:
        break;
    }
    UNREACHABLE("worker's call");
}

void bench_worker_call(struct bench_worker *w, enum bench_op op, uint64_t start_us, bool reset)
{
    struct bench_call *call = &w->calls[op];
    CHECK(!call->under_way);
    call->under_way = true;
    call->worker = w;
    call->op = op;
    call->start_us = start_us;
    call->reset = reset;
    call->mail.fn = on_call;
    mailbox_post(w->loop, &call->mail);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void on_publisher_ready(struct bench_publisher *p, void *arg)
{
    (void)p;
    one_ready(arg);
}

static void on_publisher_stopped(struct bench_publisher *p, void *arg)
{
    (void)p;
    one_stopped(arg);
}

static void on_publisher_failed(struct bench_publisher *p, const struct err *why, void *arg)
{
    (void)p;
    fail(arg, why);
}

static void on_publisher_closed(struct bench_publisher *p, void *arg)
{
    (void)p;
    one_closed(arg);
}

static const struct bench_publisher_handlers publisher_handlers = {
    .on_ready = on_publisher_ready,
    .on_stopped = on_publisher_stopped,
    .on_failed = on_publisher_failed,
    .on_closed = on_publisher_closed,
};

static void on_consumer_ready(struct bench_consumer *c, void *arg)
{
    (void)c;
    one_ready(arg);
}

static void on_consumer_failed(struct bench_consumer *c, const struct err *why, void *arg)
{
    (void)c;
    fail(arg, why);
}

static void on_consumer_closed(struct bench_consumer *c, void *arg)
{
    (void)c;
    one_closed(arg);
}

static const struct bench_consumer_handlers consumer_handlers = {
    .on_ready = on_consumer_ready,
    .on_failed = on_consumer_failed,
    .on_closed = on_consumer_closed,
};

static uint32_t share_count(struct bench_worker_share s, uint32_t all)
{
    return s.step == 0 || s.first >= all ? 0 : (all - s.first + s.step - 1) / s.step;
}

bool bench_worker_init(struct bench_worker *w, const struct bench_plan *plan, unsigned number,
                       struct bench_worker_share publishers, struct bench_worker_share consumers,
                       struct loop *main_loop, struct tls_ctx *tls, struct mem_budget *ids,
                       struct bench_progress *progress,
                       const struct bench_worker_handlers *handlers, void *arg, struct err *err)
{
    const struct bench_options *o = plan->options;
    char name[16];
    *w = (struct bench_worker){
        .plan = plan, .main_loop = main_loop, .handlers = handlers, .arg = arg
    };
    (void)snprintf(name, sizeof name, "bench-%u", number);
    w->loop = loop_new(name, err);
    if (w->loop == NULL)
        return false;
    w->ticker = ticker_new(w->loop, on_tick, w, err);
    if (w->ticker == NULL) {
        loop_free(&w->loop);
        return false;
    }
    w->publishers_count = share_count(publishers, o->publishers);
    w->consumers_count = share_count(consumers, o->consumers);
    w->publishers = mem_array(w->publishers_count, sizeof *w->publishers);
    w->consumers = mem_array(w->consumers_count, sizeof *w->consumers);
    bench_track_init(&w->track, w->consumers_count != 0 ? o->queues : 0, plan->flows, ids);
    for (uint32_t i = 0; i < w->publishers_count; i++)
        bench_publisher_init(&w->publishers[i], plan, publishers.first + i * publishers.step,
                             w->loop, tls, ids, &w->figures, progress, &publisher_handlers, w);
    for (uint32_t i = 0; i < w->consumers_count; i++)
        bench_consumer_init(&w->consumers[i], plan, consumers.first + i * consumers.step, w->loop,
                            tls, &w->figures, &w->track, progress, &consumer_handlers, w);
    return true;
}

bool bench_worker_start(struct bench_worker *w, struct err *err)
{
    return loop_start(w->loop, err);
}

void bench_worker_join(struct bench_worker *w)
{
    loop_stop(w->loop);
    loop_join(w->loop);
}

void bench_worker_fini(struct bench_worker *w)
{
    for (uint32_t i = 0; i < w->publishers_count; i++)
        bench_publisher_fini(&w->publishers[i]);
    for (uint32_t i = 0; i < w->consumers_count; i++)
        bench_consumer_fini(&w->consumers[i]);
    ticker_free(&w->ticker);
    bench_track_fini(&w->track);
    mem_free(w->publishers);
    mem_free(w->consumers);
    loop_free(&w->loop);
}
