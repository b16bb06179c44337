#include "bench_idle.h"

#include "base/check.h"
#include "base/mem.h"
#include "bench_conn.h"
#include "bench_proc.h"
#include "io/clock.h"

#include <signal.h>

#define SETTLE_MS 500u /* after the last is open, before memory is read: buffers are let go */

enum phase { OPENING, SETTLING, HOLDING, CLOSING };

struct idle {
    const struct bench_options *o;
    struct tls_ctx *tls;
    struct bench_idle_result *out;
    struct loop *loop;
    struct bench_conn *conns;
    enum phase phase;
    uint32_t started;
    uint32_t ready;
    uint32_t closed;
    uint64_t since_us;
    uint64_t cpu_us;
    struct loop_timer timer;
    bool failed;
    struct err failure;
};

static void stop(struct idle *s, const struct err *why)
{
    if (why != NULL && !s->failed) {
        s->failed = true;
        s->failure = *why;
    }
    loop_stop(s->loop);
}

static double seconds_since(const struct idle *s)
{
    return (double)(clock_mono_us() - s->since_us) / 1e6;
}

/* How much CPU the server has used since the last look. */
static uint64_t cpu_since(struct idle *s)
{
    uint64_t now = 0, was = s->cpu_us;
    struct err err;
    if (!bench_proc_sum(bench_proc_cpu_us, s->o->pids, s->o->pids_count, &now, &err))
        stop(s, &err);
    s->cpu_us = now;
    return now - was;
}

static void read_rss(struct idle *s, uint64_t *out)
{
    struct err err;
    if (!bench_proc_sum(bench_proc_rss_bytes, s->o->pids, s->o->pids_count, out, &err))
        stop(s, &err);
}

static void start_one(struct idle *s)
{
    if (s->started < s->o->connections && s->phase == OPENING)
        bench_conn_start(&s->conns[s->started++]);
}

static void close_all(struct idle *s)
{
    s->phase = CLOSING;
    for (uint32_t i = 0; i < s->started; i++)
        bench_conn_close(&s->conns[i]);
}

static void on_ready(struct bench_conn *c, void *arg)
{
    (void)c;
    struct idle *s = arg;
    if (s->phase != OPENING)
        return; /* one that was lost is back */
    if (++s->ready < s->o->connections) {
        start_one(s);
        return;
    }
    s->out->opened = s->ready;
    s->out->open_s = seconds_since(s);
    s->out->server_cpu_open_us = cpu_since(s);
    s->phase = SETTLING;
    loop_timer_start(&s->timer, SETTLE_MS);
}

static void on_down(struct bench_conn *c, const struct err *why, void *arg)
{
    (void)c;
    (void)why;
    struct idle *s = arg;
    s->out->lost++;
}

static void on_failed(struct bench_conn *c, const struct err *why, void *arg)
{
    (void)c;
    struct idle *s = arg;
    if (s->phase == OPENING)
        stop(s, why);
    else
        s->out->lost++;
}

static void on_closed(struct bench_conn *c, void *arg)
{
    (void)c;
    struct idle *s = arg;
    if (++s->closed == s->started)
        loop_timer_start(&s->timer, SETTLE_MS);
}

static const struct bench_conn_handlers handlers = {
    .on_ready = on_ready,
    .on_down = on_down,
    .on_failed = on_failed,
    .on_closed = on_closed,
};

static void begin(struct idle *s)
{
    for (uint32_t i = 0; i < s->o->connections; i++)
        bench_conn_init(&s->conns[i], s->loop,
                        &(struct bench_conn_options){
                            .options = s->o,
                            .tls = s->tls,
                            .first_host = i,
                            .channels = (uint16_t)s->o->channels,
                            .handlers = &handlers,
                            .arg = s,
                        });
    (void)cpu_since(s);
    read_rss(s, &s->out->server_rss_before);
    s->since_us = clock_mono_us();
    for (uint32_t i = 0; i < s->o->connecting; i++)
        start_one(s);
}

static void on_timer(void *arg)
{
    struct idle *s = arg;
    switch (s->phase) {
    case OPENING:
        begin(s);
        return;
    case SETTLING:
        s->phase = HOLDING;
        read_rss(s, &s->out->server_rss_held);
        (void)cpu_since(s);
        s->since_us = clock_mono_us();
        loop_timer_start(&s->timer, s->o->duration_ms);
        return;
    case HOLDING:
        s->out->hold_s = seconds_since(s);
        s->out->server_cpu_hold_us = cpu_since(s);
        close_all(s);
        return;
    case CLOSING:
        read_rss(s, &s->out->server_rss_after);
        stop(s, NULL);
        return;
    }
    UNREACHABLE("idle phase");
}

static void on_interrupt(void *arg)
{
    struct idle *s = arg;
    struct err why;
    err_set(&why, ERR_REFUSED, "interrupted");
    stop(s, &why);
}

static void end(struct idle *s)
{
    for (uint32_t i = 0; i < s->o->connections; i++)
        bench_conn_fini(&s->conns[i]);
    mem_free(s->conns);
    loop_timer_fini(&s->timer);
    loop_free(&s->loop);
}

bool bench_idle(const struct bench_options *o, struct tls_ctx *tls, struct bench_idle_result *out,
                struct err *err)
{
    struct idle s = { .o = o, .tls = tls, .out = out };
    *out = (struct bench_idle_result){ 0 };
    s.loop = loop_new("bench", err);
    if (s.loop == NULL)
        return false;
    s.conns = mem_array(o->connections, sizeof *s.conns);
    loop_timer_init(&s.timer, s.loop, on_timer, &s);
    loop_timer_start(&s.timer, 0);
    if (!loop_on_signal(s.loop, SIGINT, on_interrupt, &s, &s.failure) ||
        !loop_on_signal(s.loop, SIGTERM, on_interrupt, &s, &s.failure))
        s.failed = true;
    else
        loop_run(s.loop);
    end(&s);
    if (s.failed)
        *err = s.failure;
    return !s.failed;
}
