#include "proxy_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "door.h"
#include "greeting.h"
#include "io/clock.h"
#include "io/handover.h"
#include "rabbits.h"
#include "sizing.h"

#include <signal.h>
#include <string.h>

#define TICK_MS 1000u

/* The mail by which a worker is woken; at most one is under way. */
struct wake {
    struct mail mail;
    struct worker *worker;
    struct shared posted;
    struct shared moved; /* 1: queues, too, may be elsewhere */
};

/* ---- words from workers ---------------------------------------------------------------------- */

static void on_wake(struct mail *mail)
{
    struct wake *w = CONTAINER_OF(mail, struct wake, mail);
    shared_set(&w->posted, 0);
    if (shared_swap(&w->moved, 0) != 0)
        worker_moved(w->worker);
    worker_wake(w->worker);
}

void proxy_wake_all(void *arg)
{
    struct proxy *p = arg;
    for (unsigned i = 0; i < p->worker_count; i++) {
        if (shared_swap(&p->wakes[i].posted, 1) == 0)
            mailbox_post(p->workers[i].loop, &p->wakes[i].mail);
    }
}

static void on_moved(void *arg)
{
    struct proxy *p = arg;
    for (unsigned i = 0; i < p->worker_count; i++)
        shared_set(&p->wakes[i].moved, 1);
    proxy_wake_all(p);
}

static void on_heard(const struct server_live *server, void *arg)
{
    struct proxy *p = arg;
    checkers_poke(&p->checkers, server);
}

static void on_suspect(struct mail *mail)
{
    struct proxy *p = CONTAINER_OF(mail, struct proxy, suspect_mail);
    shared_set(&p->suspect_posted, 0);
    checkers_poke_suspected(&p->checkers);
    rabbits_poke(p->rabbits);
}

static void suspect(void *control, struct server_live *server)
{
    struct proxy *p = control;
    shared_set(&server->suspected, 1);
    if (shared_swap(&p->suspect_posted, 1) == 0)
        mailbox_post(p->loop, &p->suspect_mail);
}

static void on_left(struct mail *mail)
{
    struct proxy *p = CONTAINER_OF(mail, struct proxy, left_mail);
    shared_set(&p->left_posted, 0);
    if (p->state != PROXY_RUNNING)
        proxy_stop_if_alone(p);
}

static void left(void *control)
{
    struct proxy *p = control;
    if (shared_get(&p->process.draining) != 0 && shared_swap(&p->left_posted, 1) == 0)
        mailbox_post(p->loop, &p->left_mail);
}

/* ---- checkers -------------------------------------------------------------------------------- */

static void on_server_change(void *arg)
{
    const struct proxy *p = arg;
    observer_look(p->observer); /* it may have another address */
    rabbits_look(p->rabbits);
    rabbits_poke(p->rabbits);
    proxy_wake_all(arg);
}

static void on_found(const struct server *server, void *arg)
{
    struct proxy *p = arg;
    checkers_add(&p->checkers, server);
}

static const struct observer_calls observer_calls = { on_moved, on_found, on_heard };
static const struct discover_calls rabbit_calls = { on_moved, on_found, on_heard };

/* ---- each second ----------------------------------------------------------------------------- */

static bool somebody_waits(const struct proxy *p)
{
    for (unsigned i = 0; i < p->snapshot->frontend_count; i++) {
        if (shared_get(&p->snapshot->frontends[i].live->paused) != 0)
            return true;
    }
    for (unsigned i = 0; i < p->snapshot->backend_count; i++) {
        if (shared_get(&p->snapshot->backends[i].live->qcur) != 0)
            return true;
    }
    return false;
}

static void tick_backend(struct proxy *p, const struct backend *b)
{
    struct backend_live *l = b->live;
    live_traffic_tick(&l->traffic);
    for (unsigned i = 0; i < backend_server_count(b); i++)
        live_traffic_tick(&b->servers[i].live->traffic);
    bool up = backend_usable_count(b) != 0;
    if (up == l->was_up)
        return;
    uint64_t now = loop_now_ms(p->loop);
    if (up)
        l->down_ms += now - l->changed_ms;
    else
        l->downs++;
    l->was_up = up;
    l->changed_ms = now;
    if (up)
        log_info("backend", b->conf->name, "can serve again");
    else
        log_error("backend", b->conf->name, "has no server available");
}

static void on_tick(void *arg)
{
    struct proxy *p = arg;
    for (unsigned i = 0; i < p->snapshot->frontend_count; i++)
        live_traffic_tick(&p->snapshot->frontends[i].live->traffic);
    for (unsigned i = 0; i < p->snapshot->backend_count; i++)
        tick_backend(p, &p->snapshot->backends[i]);
    struct view_totals totals = view_totals(&p->view);
    live_rate_tick(&p->view.published, totals.published);
    live_rate_tick(&p->view.delivered, totals.delivered);
    epoch_reclaim(p->epoch);
    if (somebody_waits(p)) /* should a word to them have been missed, this is when they get it */
        proxy_wake_all(p);
    loop_timer_start(&p->tick, TICK_MS);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void poke(void *control, const struct server *s)
{
    struct proxy *p = control;
    checkers_poke(&p->checkers, s->live);
}

static void hand_over(void *control, struct handover_out *out)
{
    struct proxy *p = control;
    pages_hand_over(p->pages, out);
    if (p->admin != NULL)
        handover_add(out, admin_listener(p->admin));
}

static void handed_over(void *control, pid_t heir)
{
    struct proxy *p = control;
    p->heir = heir;
}

static bool visit_own_paths(struct order *o, struct worker *w)
{
    (void)o;
    doors_own_paths(w);
    return true;
}

static void on_paths_owned(struct order *o)
{
    (void)o;
}

/* We serve: the process whose place we take is to end. Were the paths of its sockets ours before, a
 * start that fails would remove them, and nobody could reach it any more. */
static void finish_handover(struct proxy *p)
{
    if (p->process.inherited == NULL)
        return;
    handover_finish(p->process.inherited);
    handover_free(&p->process.inherited);
    pages_own_paths(p->pages);
    if (p->admin != NULL)
        listener_own_path(admin_listener(p->admin));
    order_send(&p->own_order, p->loop, p->workers, p->worker_count, visit_own_paths,
               on_paths_owned);
}

static bool open_view(struct proxy *p, struct err *err)
{
    const struct global_conf *g = &p->snapshot->conf->global;
    p->view = (struct view){
        .loop = p->loop,
        .snapshot = p->snapshot,
        .process = &p->process,
        .observer = p->observer,
        .rabbits = p->rabbits,
        .workers = p->workers,
        .worker_count = p->worker_count,
        .started_ms = clock_mono_ms(),
        .started_wall_ms = clock_wall_ms(),
        .hand_over = hand_over,
        .handed_over = handed_over,
        .poke = poke,
    };
    p->pages = pages_open(&p->view, p->snapshot, NULL, err);
    if (p->pages == NULL)
        return false;
    pages_commit(p->pages, &(struct pages *){ NULL });
    if (g->socket_path == NULL)
        return true;
    p->admin = admin_open(&p->view, g->socket_path, g->socket_mode, err);
    return p->admin != NULL;
}

static bool add_worker(struct proxy *p, struct err *err)
{
    char name[32];
    struct text t = text_over(name, sizeof name);
    text_put(&t, "worker%u", p->worker_count);
    struct loop *loop = loop_new(name, err);
    if (loop == NULL)
        return false;
    loop_join_epoch(loop, p->epoch);
    struct worker *w = &p->workers[p->worker_count];
    struct wake *wake = &p->wakes[p->worker_count];
    worker_init(w, p->worker_count, loop, &p->process, clock_mono_us() + p->worker_count);
    *wake = (struct wake){ .mail.fn = on_wake, .worker = w };
    p->worker_count++;
    return true;
}

static bool start(struct proxy *p, struct err *err)
{
    unsigned count = sizing_threads(p->snapshot->conf);
    if (p->process.inherited != NULL) /* each socket has a thread that looks at it, and no other */
        count = handover_most(p->process.inherited);
    p->workers = mem_array(count, sizeof *p->workers);
    p->wakes = mem_array(count, sizeof *p->wakes);
    for (unsigned i = 0; i < count; i++) {
        if (!add_worker(p, err))
            return false;
    }
    for (unsigned i = 0; i < count; i++) {
        struct worker *w = &p->workers[i];
        if (!doors_open(w, p->snapshot, i != 0 ? &p->workers[0] : NULL, count > 1, err))
            return false;
        doors_commit(w, p->snapshot);
    }
    return open_view(p, err);
}

static void init_process(struct proxy *p)
{
    p->process.greeting = greeting_conf();
    p->process.conns_limit = sizing_clients(p->snapshot->conf);
    p->process.wake = proxy_wake_all;
    p->process.suspect = suspect;
    p->process.left = left;
    p->process.control = p;
    p->suspect_mail.fn = on_suspect;
    p->left_mail.fn = on_left;
}

static bool read_cookie(const struct snapshot *s, struct cookie *out, struct err *err)
{
    const char *path = s->conf->global.cookie_file;
    return path == NULL || cookie_read(path, out, err) || err_context(err, "cookie-file");
}

bool proxy_check(struct proxy_conf **conf, struct err *err)
{
    struct cookie cookie = { .len = 0 };
    struct snapshot *s = snapshot_new(conf, NULL, 0, err);
    bool ok = s != NULL && read_cookie(s, &cookie, err);
    cookie_wipe(&cookie);
    snapshot_unref(&s);
    return ok;
}

void proxy_warn_all(const struct proxy_conf *conf)
{
    for (size_t i = 0; i < conf->warnings.count; i++)
        log_warn("conf", "-", "%s", conf->warnings.items[i]);
}

struct proxy *proxy_new(struct proxy_conf **conf, struct handover **inherited, struct err *err)
{
    struct proxy *p = mem_zalloc(sizeof *p);
    p->process.inherited = *inherited;
    *inherited = NULL;
    p->epoch = epoch_new();
    p->loop = loop_new("control", err);
    proxy_warn_all(*conf);
    p->snapshot = snapshot_new(conf, NULL, clock_mono_ms(), err);
    if (p->loop == NULL || p->snapshot == NULL)
        goto fail;
    init_process(p);
    if (!read_cookie(p->snapshot, &p->cookie, err))
        goto fail;
    p->process.cookie = cookie_slice(&p->cookie);
    p->checkers =
        (struct checkers){ p->loop, p->epoch, p->process.cookie, on_server_change, p, NULL, 0 };
    if (!observer_open(p->loop, p->epoch, &p->snapshot->conf->global, p->process.inherited != NULL,
                       p->process.cookie, &observer_calls, p, &p->observer, err))
        goto fail;
    p->rabbits = rabbits_new(p->loop, p->epoch, &rabbit_calls, p);
    loop_timer_init(&p->tick, p->loop, on_tick, p);
    loop_timer_init(&p->drain, p->loop, proxy_drain_over, p);
    if (start(p, err))
        return p;
fail:
    proxy_free(&p);
    return NULL;
}

static void on_first_turn(void *arg)
{
    struct proxy *p = arg;
    observer_follow(p->observer, p->snapshot);
    rabbits_follow(p->rabbits, p->snapshot);
    checkers_start(&p->checkers, p->snapshot);
    loop_timer_start(&p->tick, TICK_MS);
    log_info("proxy", "-", "warren-proxy %s runs threads=%u maxconn=%llu", WARREN_VERSION,
             p->worker_count, (unsigned long long)p->process.conns_limit);
    finish_handover(p);
}

static bool watch_signals(struct proxy *p, struct err *err)
{
    return loop_on_signal(p->loop, SIGHUP, proxy_reload, p, err) &&
           loop_on_signal(p->loop, SIGUSR2, proxy_reload, p, err) &&
           loop_on_signal(p->loop, SIGUSR1, proxy_soft_stop, p, err) &&
           loop_on_signal(p->loop, SIGTERM, proxy_terminate, p, err) &&
           loop_on_signal(p->loop, SIGINT, proxy_terminate, p, err);
}

static bool run_workers(struct proxy *p, struct err *err)
{
    for (unsigned i = 0; i < p->worker_count; i++) {
        if (!loop_start(p->workers[i].loop, err))
            return false;
        p->running_count++;
    }
    return true;
}

bool proxy_run(struct proxy *p, struct err *err)
{
    struct loop_task first;
    loop_task_init(&first, on_first_turn, p);
    if (!watch_signals(p, err) || !run_workers(p, err))
        return false;
    loop_again(p->loop, &first);
    loop_run(p->loop);
    log_info("proxy", "-", "stopped");
    return true;
}

static void free_worker(struct worker *w, bool running)
{
    struct loop *loop = w->loop;
    if (running) {
        loop_stop(loop);
        loop_join(loop);
    } else {
        doors_close(w);
    }
    loop_free(&loop);
    worker_fini(w);
}

void proxy_free(struct proxy **proxy)
{
    struct proxy *p = *proxy;
    *proxy = NULL;
    for (unsigned i = 0; i < p->worker_count; i++)
        free_worker(&p->workers[i], i < p->running_count);
    pages_free(&p->pages);
    admin_close(&p->admin);
    handover_free(&p->process.inherited);
    observer_close(&p->observer);
    rabbits_free(&p->rabbits);
    if (p->loop != NULL) {
        loop_timer_fini(&p->tick);
        loop_timer_fini(&p->drain);
    }
    loop_free(&p->loop);
    snapshot_unref(&p->snapshot);
    epoch_free(&p->epoch);
    mem_free(p->workers);
    mem_free(p->wakes);
    cookie_wipe(&p->cookie);
    mem_free(p);
}
