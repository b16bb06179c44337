#include "proxy.h"

#include "admin.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "checkers.h"
#include "door.h"
#include "greeting.h"
#include "io/clock.h"
#include "io/cookie.h"
#include "observer.h"
#include "order.h"
#include "pages.h"
#include "rabbits.h"
#include "sizing.h"
#include "view.h"

#include <signal.h>
#include <string.h>

#define TICK_MS    1000u
#define GOODBYE_MS 5000u /* for clients to answer our close */

/*
 *   RUNNING -- TERM --> DRAINING -- all gone --> STOPPED
 *      |                    |
 *      +--- at once --------+------ TERM again, or timeout-drain and the goodbyes --> STOPPED
 */
enum proxy_state { PROXY_RUNNING, PROXY_DRAINING, PROXY_GOODBYE, PROXY_STOPPED };

/* A reload on its way: doors are opened everywhere before anything is changed. */
struct change {
    struct order order;
    struct proxy *proxy;
    struct snapshot *snapshot; /* a reference */
    struct pages *pages;
    struct admin *admin; /* NULL: as before, or none */
    bool keeps_admin;
    struct err err;
    bool failed;
};

struct proxy {
    struct loop *loop;
    struct epoch *epoch;
    enum proxy_state state;
    struct process process;
    struct cookie cookie;      /* empty: none */
    struct observer *observer; /* NULL: no gossip */
    struct rabbits *rabbits;
    struct snapshot *snapshot;
    struct view view;
    struct pages *pages;
    struct admin *admin; /* NULL: no runtime socket */
    struct worker *workers;
    unsigned worker_count;
    struct checkers checkers;
    struct change *change; /* NULL: none under way */
    bool reload_again;     /* asked for while one was under way */
    bool stop_wanted;      /* the same */
    unsigned running_count;
    struct order close_order;
    struct order goodbye_order;
    struct order end_order;
    struct loop_timer tick;
    struct loop_timer drain;

    struct mail wake_mail; /* posted to ourselves */
    struct shared wake_posted;
    struct mail suspect_mail;
    struct shared suspect_posted;
    struct mail left_mail;
    struct shared left_posted;
    struct wake *wakes; /* one a worker */
};

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

static void wake_all(void *arg)
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
    wake_all(p);
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

static void stop_if_alone(struct proxy *p);

static void on_left(struct mail *mail)
{
    struct proxy *p = CONTAINER_OF(mail, struct proxy, left_mail);
    shared_set(&p->left_posted, 0);
    if (p->state != PROXY_RUNNING)
        stop_if_alone(p);
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
    wake_all(arg);
}

static void on_found(const struct server *server, void *arg)
{
    struct proxy *p = arg;
    checkers_add(&p->checkers, server);
}

static const struct observer_calls observer_calls = { on_moved, on_found, on_heard };
static const struct discover_calls rabbit_calls = { on_moved, on_found, on_heard };

/* ---- reload ---------------------------------------------------------------------------------- */

static bool visit_commit(struct order *o, struct worker *w)
{
    doors_commit(w, CONTAINER_OF(o, struct change, order)->snapshot);
    return true;
}

static bool visit_cancel(struct order *o, struct worker *w)
{
    (void)o;
    doors_cancel(w);
    return true;
}

static bool visit_open(struct order *o, struct worker *w)
{
    struct change *c = CONTAINER_OF(o, struct change, order);
    c->failed = !doors_open(w, c->snapshot, w->index != 0 ? &o->workers[0] : NULL,
                            o->worker_count > 1, &c->err);
    return !c->failed;
}

static void reload(struct proxy *p);
static void stop(struct proxy *p);

static void change_over(struct change *c)
{
    struct proxy *p = c->proxy;
    p->change = NULL;
    pages_cancel(&c->pages);
    admin_close(&c->admin);
    snapshot_unref(&c->snapshot);
    mem_free(c);
    if (p->stop_wanted) {
        stop(p);
    } else if (p->reload_again) {
        p->reload_again = false;
        reload(p);
    }
}

static void on_cancelled(struct order *o)
{
    struct change *c = CONTAINER_OF(o, struct change, order);
    log_error("proxy", "-", "not reloaded: %s", c->err.text);
    change_over(c);
}

static void on_committed(struct order *o)
{
    struct change *c = CONTAINER_OF(o, struct change, order);
    struct proxy *p = c->proxy;
    checkers_stop(&p->checkers);
    pages_commit(c->pages, &p->pages);
    p->pages = c->pages;
    c->pages = NULL;
    if (!c->keeps_admin) {
        admin_close(&p->admin);
        p->admin = c->admin;
        c->admin = NULL;
    }
    snapshot_unref(&p->snapshot);
    p->snapshot = snapshot_ref(c->snapshot);
    p->view.snapshot = p->snapshot;
    observer_follow(p->observer, p->snapshot);
    rabbits_follow(p->rabbits, p->snapshot);
    checkers_start(&p->checkers, p->snapshot);
    wake_all(p);
    log_info("proxy", "-", "reloaded file=%s", p->snapshot->conf->path);
    change_over(c);
}

static void on_opened(struct order *o)
{
    struct change *c = CONTAINER_OF(o, struct change, order);
    struct proxy *p = c->proxy;
    if (c->failed)
        order_send(o, p->loop, p->workers, p->worker_count, visit_cancel, on_cancelled);
    else
        order_send(o, p->loop, p->workers, p->worker_count, visit_commit, on_committed);
}

static void warn_all(const struct proxy_conf *conf)
{
    for (size_t i = 0; i < conf->warnings.count; i++)
        log_warn("conf", "-", "%s", conf->warnings.items[i]);
}

static struct snapshot *load_again(struct proxy *p, struct err *err)
{
    struct proxy_conf *conf = proxy_conf_load(p->snapshot->conf->path, err);
    if (conf == NULL)
        return NULL;
    if (conf->global.nbthread != p->snapshot->conf->global.nbthread)
        log_warn("proxy", "-", "nbthread changes with the next start only");
    if (conf->global.maxconn != p->snapshot->conf->global.maxconn)
        log_warn("proxy", "-", "[global] maxconn changes with the next start only");
    observer_reload(p->observer, &p->snapshot->conf->global, &conf->global);
    warn_all(conf);
    return snapshot_new(&conf, p->snapshot, loop_now_ms(p->loop), err);
}

/* What the control loop itself listens at. */
static bool open_own(struct proxy *p, struct change *c)
{
    const struct global_conf *g = &c->snapshot->conf->global;
    const char *now = p->admin != NULL ? admin_path(p->admin) : "";
    c->keeps_admin = strcmp(g->socket_path != NULL ? g->socket_path : "", now) == 0;
    if (!c->keeps_admin && g->socket_path != NULL) {
        c->admin = admin_open(&p->view, g->socket_path, g->socket_mode, &c->err);
        if (c->admin == NULL)
            return false;
    }
    c->pages = pages_open(&p->view, c->snapshot, p->pages, &c->err);
    return c->pages != NULL;
}

static void reload(struct proxy *p)
{
    struct err err;
    if (p->state != PROXY_RUNNING)
        return;
    if (p->change != NULL) {
        p->reload_again = true;
        return;
    }
    if (!log_reopen(&err))
        log_error("proxy", "-", "the log is not opened again: %s", err.text);
    struct snapshot *s = load_again(p, &err);
    if (s == NULL) {
        log_error("proxy", "-", "not reloaded, the old configuration stays: %s", err.text);
        return;
    }
    p->change = mem_zalloc(sizeof *p->change);
    p->change->proxy = p;
    p->change->snapshot = s;
    if (open_own(p, p->change)) {
        order_send(&p->change->order, p->loop, p->workers, p->worker_count, visit_open, on_opened);
        return;
    }
    log_error("proxy", "-", "not reloaded: %s", p->change->err.text);
    change_over(p->change);
}

static void on_reload(void *arg)
{
    reload(arg);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static bool visit_end(struct order *o, struct worker *w)
{
    (void)o;
    doors_close(w);
    worker_end_all(w);
    return true;
}

static void on_ended(struct order *o)
{
    struct proxy *p = CONTAINER_OF(o, struct proxy, end_order);
    checkers_stop(&p->checkers);
    pages_free(&p->pages);
    admin_close(&p->admin);
    loop_stop(p->loop);
}

/* Orders visit the workers one behind the other, so when this one is home all earlier ones are. A
 * reload consists of several, so its end is waited for. */
static void stop(struct proxy *p)
{
    if (p->state == PROXY_STOPPED)
        return;
    if (p->change != NULL) {
        p->stop_wanted = true;
        return;
    }
    p->state = PROXY_STOPPED;
    order_send(&p->end_order, p->loop, p->workers, p->worker_count, visit_end, on_ended);
}

static bool visit_close_doors(struct order *o, struct worker *w)
{
    (void)o;
    doors_close(w);
    return true;
}

static bool visit_goodbye(struct order *o, struct worker *w)
{
    (void)o;
    worker_goodbye(w, "the proxy is shutting down");
    return true;
}

static void stop_if_alone(struct proxy *p)
{
    if (shared_get(&p->process.conns) == 0)
        stop(p);
}

static void on_doors_closed(struct order *o)
{
    stop_if_alone(CONTAINER_OF(o, struct proxy, close_order));
}

static void on_goodbye_said(struct order *o)
{
    struct proxy *p = CONTAINER_OF(o, struct proxy, goodbye_order);
    if (p->state == PROXY_STOPPED)
        return;
    p->state = PROXY_GOODBYE;
    loop_timer_start(&p->drain, GOODBYE_MS);
    stop_if_alone(p);
}

static void on_drain_timer(void *arg)
{
    struct proxy *p = arg;
    if (p->state == PROXY_GOODBYE) {
        log_warn("proxy", "-", "stopped before all had said goodbye sessions=%llu",
                 (unsigned long long)shared_get(&p->process.conns));
        stop(p);
        return;
    }
    log_info("proxy", "-", "drain has taken long enough, closing sessions=%llu",
             (unsigned long long)shared_get(&p->process.conns));
    order_send(&p->goodbye_order, p->loop, p->workers, p->worker_count, visit_goodbye,
               on_goodbye_said);
}

static void on_terminate(void *arg)
{
    struct proxy *p = arg;
    if (p->state != PROXY_RUNNING) {
        log_info("proxy", "-", "stopping at once");
        stop(p);
        return;
    }
    p->state = PROXY_DRAINING;
    shared_set(&p->process.draining, 1);
    uint64_t drain_ms = p->snapshot->conf->global.timeout_drain_ms;
    log_info("proxy", "-", "draining sessions=%llu timeout=%llus",
             (unsigned long long)shared_get(&p->process.conns),
             (unsigned long long)(drain_ms / 1000));
    order_send(&p->close_order, p->loop, p->workers, p->worker_count, visit_close_doors,
               on_doors_closed);
    loop_timer_start(&p->drain, drain_ms);
}

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
    epoch_reclaim(p->epoch);
    if (somebody_waits(p)) /* should a word to them have been missed, this is when they get it */
        wake_all(p);
    loop_timer_start(&p->tick, TICK_MS);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void poke(void *control, const struct server *s)
{
    struct proxy *p = control;
    checkers_poke(&p->checkers, s->live);
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
    p->process.conns_limit = sizing_clients(p->snapshot->conf->global.maxconn);
    p->process.wake = wake_all;
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

struct proxy *proxy_new(struct proxy_conf **conf, struct err *err)
{
    struct proxy *p = mem_zalloc(sizeof *p);
    p->epoch = epoch_new();
    p->loop = loop_new("control", err);
    warn_all(*conf);
    p->snapshot = snapshot_new(conf, NULL, clock_mono_ms(), err);
    if (p->loop == NULL || p->snapshot == NULL)
        goto fail;
    init_process(p);
    if (!read_cookie(p->snapshot, &p->cookie, err))
        goto fail;
    p->process.cookie = cookie_slice(&p->cookie);
    p->checkers =
        (struct checkers){ p->loop, p->epoch, p->process.cookie, on_server_change, p, NULL, 0 };
    if (!observer_open(p->loop, p->epoch, &p->snapshot->conf->global, p->process.cookie,
                       &observer_calls, p, &p->observer, err))
        goto fail;
    p->rabbits = rabbits_new(p->loop, p->epoch, &rabbit_calls, p);
    loop_timer_init(&p->tick, p->loop, on_tick, p);
    loop_timer_init(&p->drain, p->loop, on_drain_timer, p);
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
}

static bool watch_signals(struct proxy *p, struct err *err)
{
    return loop_on_signal(p->loop, SIGHUP, on_reload, p, err) &&
           loop_on_signal(p->loop, SIGUSR2, on_reload, p, err) &&
           loop_on_signal(p->loop, SIGTERM, on_terminate, p, err) &&
           loop_on_signal(p->loop, SIGINT, on_terminate, p, err);
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
