#include "base/log.h"
#include "base/mem.h"
#include "door.h"
#include "proxy_inner.h"
#include "rabbits.h"

#include <string.h>

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

static void change_over(struct change *c)
{
    struct proxy *p = c->proxy;
    p->change = NULL;
    pages_cancel(&c->pages);
    admin_close(&c->admin);
    snapshot_unref(&c->snapshot);
    mem_free(c);
    if (p->stop_wanted) {
        proxy_stop(p);
    } else if (p->after_change != NULL) {
        loop_fn fn = p->after_change;
        p->after_change = NULL;
        fn(p);
    } else if (p->reload_again) {
        p->reload_again = false;
        proxy_reload(p);
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
    snapshot_take_effect(c->snapshot, p->snapshot, loop_now_ms(p->loop));
    snapshot_unref(&p->snapshot);
    p->snapshot = snapshot_ref(c->snapshot);
    p->view.snapshot = p->snapshot;
    log_set_level((enum log_level)p->snapshot->conf->global.log_level);
    observer_follow(p->observer, p->snapshot);
    rabbits_follow(p->rabbits, p->snapshot);
    checkers_start(&p->checkers, p->snapshot);
    proxy_wake_all(p);
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

static bool is_same(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

/* What is bound and started stays as it is; whoever changed it should know. */
static void warn_of(const struct global_conf *was, const struct global_conf *now)
{
    const struct {
        const char *key;
        bool is_other;
    } keys[] = {
        { "nbthread", now->nbthread != was->nbthread },
        { "maxconn", now->maxconn != was->maxconn },
        { "cookie-file", !is_same(now->cookie_file, was->cookie_file) },
        { "log: the target", !is_same(now->log_target, was->log_target) },
        { "stats-socket: the mode",
          is_same(now->socket_path, was->socket_path) && now->socket_mode != was->socket_mode },
    };
    for (unsigned i = 0; i < ARRAY_COUNT(keys); i++)
        if (keys[i].is_other)
            log_warn("proxy", "-", "[global] %s changes with the next start only", keys[i].key);
}

static struct snapshot *load_again(struct proxy *p, struct err *err)
{
    struct proxy_conf *conf = proxy_conf_load(p->snapshot->conf->path, err);
    if (conf == NULL)
        return NULL;
    warn_of(&p->snapshot->conf->global, &conf->global);
    observer_reload(p->observer, &p->snapshot->conf->global, &conf->global);
    proxy_warn_all(conf);
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

void proxy_reload(void *arg)
{
    struct proxy *p = arg;
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
