#include "bench_run.h"

#include "base/check.h"
#include "base/sm.h"
#include "bench_admin.h"
#include "bench_proc.h"
#include "bench_verdict.h"
#include "bench_worker.h"
#include "io/clock.h"

#include <signal.h>

#define DRAIN_POLL_MS 20u
#define QUIET_MS      500u /* after what may come twice, so much silence is the end */

#define PHASES(X)                                                                                  \
    X(DECLARING, TO(CONNECTING) | TO(CLOSING))                                                     \
    X(CONNECTING, TO(WARMING) | TO(CLOSING))                                                       \
    X(WARMING, TO(MEASURING) | TO(CLOSING))                                                        \
    X(MEASURING, TO(STOPPING) | TO(CLOSING))                                                       \
    X(STOPPING, TO(DRAINING) | TO(CLOSING))                                                        \
    X(DRAINING, TO(CLOSING))                                                                       \
    X(CLOSING, TO(COUNTING) | TO(DELETING) | TO(LEAVING) | TO(DONE))                               \
    X(COUNTING, TO(DELETING) | TO(LEAVING) | TO(DONE))                                             \
    X(DELETING, TO(LEAVING) | TO(DONE))                                                            \
    X(LEAVING, TO(DONE))                                                                           \
    X(DONE, 0)

enum phase {
#define X(name, moves) PHASE_##name,
    PHASES(X)
#undef X
};

#define TO(name) SM_BIT(PHASE_##name)
static const struct sm_row rows[] = {
#define X(name, moves) { #name, moves },
    PHASES(X)
#undef X
};
#undef TO

/* In the order in which they are served when several are wanted. */
enum purpose { FOR_BEGIN, FOR_INTERVAL, FOR_END, FOR_DRAIN, PURPOSES };

/* The sum of all workers at one moment. */
struct snapshot {
    uint64_t at_us;
    uint64_t server_cpu_us;
    struct bench_figures figures;
};

struct run {
    const struct bench_plan *plan;
    const struct bench_options *o;
    struct tls_ctx *tls;
    bench_interval_fn on_interval;
    void *arg;
    struct bench_result *result;
    enum phase phase;
    bool failed;
    struct err failure;
    struct loop *loop;
    struct bench_admin admin;
    struct mem_budget ids;
    struct bench_progress progress;
    struct bench_worker *workers;
    unsigned workers_count;
    unsigned workers_started;
    unsigned waiting; /* answers to the call that moves the phase on */
    uint64_t go_us;
    uint64_t stopped_us; /* the last publisher */
    unsigned publishing; /* workers */
    unsigned wanted; /* a bit for each purpose; the lowest one is under way when some are waiting */
    enum purpose purpose;
    unsigned snapshots_waiting;
    struct snapshot now;
    struct snapshot begin;
    struct snapshot end;
    struct snapshot last; /* the interval's */
    struct loop_timer phase_timer;
    struct loop_timer interval_timer;
    uint64_t drained; /* what had come at the last look */
    uint64_t quiet_since_us;
};

static void fail(struct run *r, const struct err *why);
static void clean_up(struct run *r);

static void move(struct run *r, enum phase to)
{
    sm_move(rows, &r->phase, to);
}

static void call_all(struct run *r, enum bench_op op)
{
    r->waiting = r->workers_started;
    for (unsigned i = 0; i < r->workers_started; i++)
        bench_worker_call(&r->workers[i], op, r->go_us, false);
}

/* ---- snapshots ----------------------------------------------------------------------------------
 */

/* One round for the first purpose that is wanted. */
static void ask_workers(struct run *r)
{
    struct err err;
    r->purpose = (enum purpose)__builtin_ctz(r->wanted);
    r->wanted &= r->wanted - 1;
    r->now = (struct snapshot){ 0 };
    if (!bench_proc_sum(bench_proc_cpu_us, r->o->pids, r->o->pids_count, &r->now.server_cpu_us,
                        &err)) {
        fail(r, &err);
        return;
    }
    r->snapshots_waiting = r->workers_count;
    for (unsigned i = 0; i < r->workers_count; i++)
        bench_worker_call(&r->workers[i], BENCH_OP_SNAPSHOT, 0, r->purpose == FOR_BEGIN);
}

/* Ask all workers for their figures, now or when the round that is under way is over. */
static void take_snapshot(struct run *r, enum purpose purpose)
{
    r->wanted |= 1u << purpose;
    if (r->snapshots_waiting == 0)
        ask_workers(r);
}

static void show_interval(struct run *r)
{
    const struct bench_figures *f = &r->now.figures, *l = &r->last.figures;
    struct bench_interval i = {
        .at_s = (double)(r->now.at_us - r->go_us) / 1e6,
        .seconds = (double)(r->now.at_us - r->last.at_us) / 1e6,
        .published = f->published - l->published,
        .confirmed = f->confirmed - l->confirmed,
        .received = f->deliveries.received - l->deliveries.received,
        .server_cpu_us = r->now.server_cpu_us - r->last.server_cpu_us,
    };
    r->last = r->now;
    if (i.seconds > 0)
        r->on_interval(&i, r->plan, r->arg);
}

static void begin_closing(struct run *r)
{
    move(r, PHASE_CLOSING);
    call_all(r, BENCH_OP_CLOSE);
}

/* Has all come, or nothing for so long that nothing will? */
static void look_at_drain(struct run *r)
{
    const struct bench_figures *f = &r->now.figures;
    bool doubts = f->resent != 0 || f->deliveries.redelivered != 0 || f->deliveries.duplicated != 0;
    if (f->deliveries.received != r->drained)
        r->quiet_since_us = r->now.at_us;
    r->drained = f->deliveries.received;
    uint64_t quiet_ms = (r->now.at_us - r->quiet_since_us) / 1000u;
    bool all = f->deliveries.unique >= f->expected;
    if (quiet_ms >= r->o->drain_ms || (all && (!doubts || quiet_ms >= QUIET_MS))) {
        r->end = r->o->messages != 0 ? r->now : r->end;
        begin_closing(r);
    } else {
        loop_timer_start(&r->phase_timer, DRAIN_POLL_MS);
    }
}

static void stop_publishing(struct run *r)
{
    move(r, PHASE_STOPPING);
    for (unsigned i = 0; i < r->workers_count && r->publishing != 0; i++)
        bench_worker_call(&r->workers[i], BENCH_OP_STOP, 0, false);
    if (r->publishing != 0)
        loop_timer_start(&r->phase_timer, r->o->drain_ms);
}

static void begin_draining(struct run *r)
{
    move(r, PHASE_DRAINING);
    r->quiet_since_us = clock_mono_us();
    take_snapshot(r, FOR_DRAIN);
}

static void use_snapshot(struct run *r, enum purpose purpose)
{
    switch (purpose) {
    case FOR_INTERVAL:
        show_interval(r);
        return;
    case FOR_BEGIN:
        r->begin = r->now;
        move(r, PHASE_MEASURING);
        if (r->o->messages == 0)
            loop_timer_start(&r->phase_timer, r->o->duration_ms);
        return;
    case FOR_END:
        r->end = r->now;
        stop_publishing(r);
        if (r->publishing == 0)
            begin_draining(r);
        return;
    case FOR_DRAIN:
        look_at_drain(r);
        return;
    case PURPOSES:
        break;
    }
    UNREACHABLE("snapshot's purpose");
}

static void take_figures(struct run *r, const struct bench_call *call)
{
    bench_figures_add(&r->now.figures, &call->figures);
    r->now.at_us += call->at_us;
    if (--r->snapshots_waiting != 0)
        return;
    r->now.at_us /= r->workers_count;
    if (r->phase < PHASE_CLOSING)
        use_snapshot(r, r->purpose);
    if (r->wanted != 0 && r->snapshots_waiting == 0 && r->phase < PHASE_CLOSING)
        ask_workers(r);
}

/* ---- phases -------------------------------------------------------------------------------------
 */

static void begin_publishing(struct run *r)
{
    struct err err;
    move(r, PHASE_WARMING);
    r->go_us = clock_mono_us();
    r->last.at_us = r->go_us;
    if (!bench_proc_sum(bench_proc_cpu_us, r->o->pids, r->o->pids_count, &r->last.server_cpu_us,
                        &err)) {
        fail(r, &err);
        return;
    }
    r->publishing = r->workers_count;
    if (r->o->messages != 0)
        take_snapshot(r, FOR_BEGIN);
    else
        loop_timer_start(&r->phase_timer, r->o->warm_up_ms);
    for (unsigned i = 0; i < r->workers_count; i++)
        bench_worker_call(&r->workers[i], BENCH_OP_GO, r->go_us, false);
    if (r->o->interval_ms != 0)
        loop_timer_start(&r->interval_timer, r->o->interval_ms);
}

/* A worker's publishers have all stopped. */
static void publishing_ended(struct run *r, const struct bench_call *call)
{
    r->publishing--;
    if (call->worker->publishers_count != 0)
        r->stopped_us = call->at_us;
    if (r->publishing != 0 || r->phase >= PHASE_DRAINING)
        return;
    bool only_consuming = r->o->publishers == 0;
    if (r->phase == PHASE_STOPPING) {
        begin_draining(r);
    } else if (!only_consuming && r->phase == PHASE_MEASURING) {
        move(r, PHASE_STOPPING);
        begin_draining(r);
    }
}

static void closed(struct run *r)
{
    for (unsigned i = 0; i < r->workers_started; i++)
        bench_worker_join(&r->workers[i]);
    r->workers_started = 0;
    for (unsigned i = 0; i < r->workers_count; i++)
        for (uint32_t j = 0; j < r->workers[i].publishers_count; j++)
            r->result->unconfirmed += bench_publisher_excuse_open(&r->workers[i].publishers[j]);
    if (!r->failed && !r->admin.broken) {
        move(r, PHASE_COUNTING);
        r->quiet_since_us = clock_mono_us();
        bench_admin_do(&r->admin, BENCH_ADMIN_COUNT);
    } else {
        clean_up(r);
    }
}

static void on_answer(struct bench_worker *w, const struct bench_call *call, void *arg)
{
    (void)w;
    struct run *r = arg;
    switch (call->op) {
    case BENCH_OP_SNAPSHOT:
        take_figures(r, call);
        return;
    case BENCH_OP_GO:
        publishing_ended(r, call);
        return;
    case BENCH_OP_CONNECT:
        if (--r->waiting == 0 && r->phase == PHASE_CONNECTING)
            begin_publishing(r);
        return;
    case BENCH_OP_CLOSE:
        if (--r->waiting == 0)
            closed(r);
        return;
    case BENCH_OP_STOP:
    case BENCH_OPS:
        return;
    }
    UNREACHABLE("worker's call");
}

static void done(struct run *r)
{
    move(r, PHASE_DONE);
    loop_stop(r->loop);
}

static void leave(struct run *r)
{
    if (r->admin.broken || !r->admin.used) {
        done(r);
        return;
    }
    move(r, PHASE_LEAVING);
    bench_admin_do(&r->admin, BENCH_ADMIN_CLOSE);
}

static void clean_up(struct run *r)
{
    if (r->o->no_declare || r->o->keep || r->admin.broken || !r->admin.used) {
        leave(r);
        return;
    }
    move(r, PHASE_DELETING);
    bench_admin_do(&r->admin, BENCH_ADMIN_DELETE);
}

static void fail(struct run *r, const struct err *why)
{
    if (r->failed || r->phase >= PHASE_CLOSING)
        return;
    r->failed = true;
    r->failure = *why;
    loop_timer_stop(&r->phase_timer);
    loop_timer_stop(&r->interval_timer);
    begin_closing(r);
    if (r->workers_started == 0)
        closed(r);
}

static void on_worker_failed(struct bench_worker *w, const struct err *why, void *arg)
{
    (void)w;
    fail(arg, why);
}

static const struct bench_worker_handlers worker_handlers = { on_answer, on_worker_failed };

static void begin_connecting(struct run *r)
{
    struct err err;
    move(r, PHASE_CONNECTING);
    for (unsigned i = 0; i < r->workers_count; i++) {
        if (!bench_worker_start(&r->workers[i], &err)) {
            fail(r, &err);
            return;
        }
        r->workers_started++;
    }
    call_all(r, BENCH_OP_CONNECT);
}

/* ---- the end ------------------------------------------------------------------------------------
 */

/* A queue may still be taking in what was sent last. */
static void counted(struct run *r)
{
    uint64_t waited_ms = (clock_mono_us() - r->quiet_since_us) / 1000u;
    uint64_t missing = bench_verdict_short(r->plan, r->workers, r->workers_count, r->admin.left);
    if (missing != 0 && waited_ms < r->o->drain_ms) {
        loop_timer_start(&r->phase_timer, DRAIN_POLL_MS);
        return;
    }
    clean_up(r);
}

static void on_admin_done(enum bench_admin_job job, const struct err *why, void *arg)
{
    struct run *r = arg;
    if (why != NULL) {
        if (r->phase < PHASE_CLOSING)
            fail(r, why);
        else
            done(r);
        return;
    }
    switch (job) {
    case BENCH_ADMIN_DECLARE:
        begin_connecting(r);
        return;
    case BENCH_ADMIN_COUNT:
        if (r->phase == PHASE_DECLARING)
            begin_connecting(r);
        else
            counted(r);
        return;
    case BENCH_ADMIN_DELETE:
        leave(r);
        return;
    case BENCH_ADMIN_CLOSE:
        done(r);
        return;
    case BENCH_ADMIN_NONE:
        break;
    }
    UNREACHABLE("admin's job");
}

/* ---- timers and signals -------------------------------------------------------------------------
 */

static void on_phase_timer(void *arg)
{
    struct run *r = arg;
    switch (r->phase) {
    case PHASE_WARMING:
        take_snapshot(r, FOR_BEGIN);
        return;
    case PHASE_MEASURING:
        take_snapshot(r, FOR_END);
        return;
    case PHASE_STOPPING: /* confirms did not come */
        begin_draining(r);
        return;
    case PHASE_DRAINING:
        take_snapshot(r, FOR_DRAIN);
        return;
    case PHASE_COUNTING:
        bench_admin_do(&r->admin, BENCH_ADMIN_COUNT);
        return;
    case PHASE_DECLARING: /* the loop runs now */
        bench_admin_do(&r->admin, r->o->no_declare ? BENCH_ADMIN_COUNT : BENCH_ADMIN_DECLARE);
        return;
    case PHASE_CONNECTING:
    case PHASE_CLOSING:
    case PHASE_DELETING:
    case PHASE_LEAVING:
    case PHASE_DONE:
        return;
    }
    UNREACHABLE("phase");
}

static void on_interval_timer(void *arg)
{
    struct run *r = arg;
    if (r->phase > PHASE_MEASURING)
        return;
    loop_timer_start(&r->interval_timer, r->o->interval_ms);
    take_snapshot(r, FOR_INTERVAL);
}

/* Stop now, and tell what there is to tell. */
static void on_interrupt(void *arg)
{
    struct run *r = arg;
    struct err why;
    err_set(&why, ERR_REFUSED, "interrupted");
    if (r->phase == PHASE_MEASURING && r->o->messages == 0)
        loop_timer_start(&r->phase_timer, 0);
    else if (r->phase == PHASE_MEASURING)
        stop_publishing(r);
    else
        fail(r, &why);
}

/* ---- the figures --------------------------------------------------------------------------------
 */

/* Subtract what had been counted when the measured part began; timings began anew there. */
static void subtract(struct bench_figures *f, const struct bench_figures *begin)
{
    f->published -= begin->published;
    f->published_bytes -= begin->published_bytes;
    f->resent -= begin->resent;
    f->confirmed -= begin->confirmed;
    f->nacked -= begin->nacked;
    f->acks -= begin->acks;
    f->deliveries.received -= begin->deliveries.received;
    f->deliveries.body_bytes -= begin->deliveries.body_bytes;
}

static void add_up(struct run *r)
{
    struct bench_result *out = r->result;
    bench_figures_add(&out->measured, &r->end.figures);
    subtract(&out->measured, &r->begin.figures);
    out->publish_s = (double)(r->end.at_us - r->begin.at_us) / 1e6;
    out->receive_s = out->publish_s;
    if (r->o->messages != 0) {
        uint64_t last_us = r->end.figures.last_delivery_us;
        out->publish_s = (double)(r->stopped_us - r->go_us) / 1e6;
        out->receive_s = last_us > r->go_us ? (double)(last_us - r->go_us) / 1e6 : 0;
    }
    out->server_cpu_us = r->end.server_cpu_us - r->begin.server_cpu_us;
    out->bench_cpu_us = r->end.figures.cpu_us - r->begin.figures.cpu_us;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

/* Publishers over the first half of the threads, consumers over the rest; one thread has both. */
static bool make_workers(struct run *r, struct err *err)
{
    uint32_t n = r->o->threads;
    uint32_t first_half = n / 2;
    bool shared = n == 1 || r->o->publishers == 0 || r->o->consumers == 0;
    r->workers = mem_array(n, sizeof *r->workers);
    for (uint32_t i = 0; i < n; i++) {
        struct bench_worker_share p = { 0 }, c = { 0 };
        if (shared) {
            p = c = (struct bench_worker_share){ i, n };
        } else if (i < first_half) {
            p = (struct bench_worker_share){ i, first_half };
        } else {
            c = (struct bench_worker_share){ i - first_half, n - first_half };
        }
        if (!bench_worker_init(&r->workers[i], r->plan, i, p, c, r->loop, r->tls, &r->ids,
                               &r->progress, &worker_handlers, r, err))
            return false;
        r->workers_count++;
    }
    return true;
}

static void free_all(struct run *r)
{
    for (unsigned i = 0; i < r->workers_count; i++)
        bench_worker_fini(&r->workers[i]);
    mem_free(r->workers);
    bench_progress_fini(&r->progress);
    bench_admin_fini(&r->admin);
    loop_timer_fini(&r->phase_timer);
    loop_timer_fini(&r->interval_timer);
    loop_free(&r->loop);
}

static bool run_loop(struct run *r, struct err *err)
{
    const struct bench_options *o = r->o;
    if (!make_workers(r, err) || !loop_on_signal(r->loop, SIGINT, on_interrupt, r, err) ||
        !loop_on_signal(r->loop, SIGTERM, on_interrupt, r, err) ||
        !bench_proc_sum(bench_proc_rss_bytes, o->pids, o->pids_count, &r->result->server_rss_before,
                        err))
        return false;
    loop_timer_start(&r->phase_timer, 0);
    loop_run(r->loop);
    if (r->failed) {
        *err = r->failure;
        return false;
    }
    add_up(r);
    bench_verdict(r->plan, r->workers, r->workers_count, r->admin.broken ? NULL : r->admin.left,
                  r->result);
    return bench_proc_sum(bench_proc_rss_bytes, o->pids, o->pids_count,
                          &r->result->server_rss_after, err);
}

bool bench_run(const struct bench_plan *plan, struct tls_ctx *tls, bench_interval_fn on_interval,
               void *arg, struct bench_result *out, struct err *err)
{
    struct run *r = mem_zalloc(sizeof *r);
    *out = (struct bench_result){ 0 };
    r->plan = plan;
    r->o = plan->options;
    r->tls = tls;
    r->on_interval = on_interval;
    r->arg = arg;
    r->result = out;
    mem_budget_init(&r->ids, "ids", (size_t)plan->options->ids_bytes);
    r->loop = loop_new("bench", err);
    bool ok = r->loop != NULL;
    if (ok) {
        bench_progress_init(&r->progress, plan);
        bench_admin_init(&r->admin, plan, r->loop, tls, on_admin_done, r);
        loop_timer_init(&r->phase_timer, r->loop, on_phase_timer, r);
        loop_timer_init(&r->interval_timer, r->loop, on_interval_timer, r);
        ok = run_loop(r, err);
        free_all(r);
    }
    mem_free(r);
    return ok;
}
