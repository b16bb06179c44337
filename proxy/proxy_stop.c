#include "base/log.h"
#include "door.h"
#include "proxy_inner.h"

#define GOODBYE_MS 5000u /* for clients to answer our close */

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
void proxy_stop(struct proxy *p)
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

static bool visit_leave_doors(struct order *o, struct worker *w)
{
    (void)o;
    doors_leave(w);
    return true;
}

static bool visit_goodbye(struct order *o, struct worker *w)
{
    (void)o;
    worker_goodbye(w, "the proxy is shutting down");
    return true;
}

void proxy_stop_if_alone(struct proxy *p)
{
    /* Guests first: one who comes in meanwhile is a client before he is a guest no more. */
    if (shared_get(&p->process.guests) == 0 && shared_get(&p->process.conns) == 0)
        proxy_stop(p);
}

static void on_doors_closed(struct order *o)
{
    proxy_stop_if_alone(CONTAINER_OF(o, struct proxy, close_order));
}

static void on_goodbye_said(struct order *o)
{
    struct proxy *p = CONTAINER_OF(o, struct proxy, goodbye_order);
    if (p->state == PROXY_STOPPED)
        return;
    p->state = PROXY_GOODBYE;
    loop_timer_start(&p->drain, GOODBYE_MS);
    proxy_stop_if_alone(p);
}

void proxy_drain_over(void *arg)
{
    struct proxy *p = arg;
    if (p->state == PROXY_GOODBYE) {
        log_warn("proxy", "-", "stopped before all had said goodbye sessions=%llu",
                 (unsigned long long)shared_get(&p->process.conns));
        proxy_stop(p);
        return;
    }
    log_info("proxy", "-", "drain has taken long enough, closing sessions=%llu",
             (unsigned long long)shared_get(&p->process.conns));
    order_send(&p->goodbye_order, p->loop, p->workers, p->worker_count, visit_goodbye,
               on_goodbye_said);
}

/* A reload opens and closes doors itself: it is taken to its end first. Whoever asks twice for an
 * end has it at once. */
static bool waits_for_reload(struct proxy *p, loop_fn fn)
{
    if (p->change == NULL)
        return false;
    if (p->after_change == proxy_terminate && fn == proxy_terminate)
        proxy_stop(p);
    p->after_change = fn;
    return true;
}

static void drain(struct proxy *p)
{
    p->state = PROXY_DRAINING;
    shared_set(&p->process.draining, 1);
    order_send(&p->close_order, p->loop, p->workers, p->worker_count, visit_leave_doors,
               on_doors_closed);
}

void proxy_terminate(void *arg)
{
    struct proxy *p = arg;
    uint64_t drain_ms = p->snapshot->conf->global.timeout_drain_ms;
    if (p->is_soft) {
        p->is_soft = false;
        log_info("proxy", "-", "draining goes on sessions=%llu timeout=%llus",
                 (unsigned long long)shared_get(&p->process.conns),
                 (unsigned long long)(drain_ms / 1000));
        loop_timer_start(&p->drain, drain_ms);
        return;
    }
    if (p->state != PROXY_RUNNING) {
        log_info("proxy", "-", "stopping at once");
        proxy_stop(p);
        return;
    }
    if (waits_for_reload(p, proxy_terminate))
        return;
    log_info("proxy", "-", "draining sessions=%llu timeout=%llus",
             (unsigned long long)shared_get(&p->process.conns),
             (unsigned long long)(drain_ms / 1000));
    drain(p);
    loop_timer_start(&p->drain, drain_ms);
}

/* As HAProxy's: whoever is here may stay as long as he likes. */
void proxy_soft_stop(void *arg)
{
    struct proxy *p = arg;
    if (p->state != PROXY_RUNNING)
        return;
    if (waits_for_reload(p, proxy_soft_stop))
        return;
    log_info("proxy", "-", "draining sessions=%llu timeout=none",
             (unsigned long long)shared_get(&p->process.conns));
    if (handover_is_alive(p->heir)) { /* pages and commands are the new process's */
        pages_free(&p->pages);
        admin_close(&p->admin);
    }
    p->is_soft = true;
    drain(p);
}
