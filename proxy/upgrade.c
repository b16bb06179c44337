#include "upgrade.h"

#include "base/log.h"
#include "base/mem.h"
#include "door.h"
#include "order.h"

struct upgrade {
    struct order order;
    const struct view *view;
    struct handover_out out;
    char *path;
    admin_done_fn done;
    void *arg;
};

static bool visit(struct order *o, struct worker *w)
{
    struct upgrade *u = CONTAINER_OF(o, struct upgrade, order);
    struct door *d;
    TAILQ_FOREACH (d, &w->doors, entry)
        handover_add(&u->out, d->listener);
    return true;
}

static void on_gathered(struct order *o)
{
    struct upgrade *u = CONTAINER_OF(o, struct upgrade, order);
    struct text answer;
    struct err err;
    text_init(&answer, ERR_TEXT_MAX + 1);
    u->view->hand_over(u->view->process->control, &u->out);
    unsigned count = u->out.count;
    if (handover_send(&u->out, u->path, &err)) {
        u->view->handed_over(u->view->process->control, u->out.heir);
        log_info("proxy", "-", "another process has what we listen at sockets=%u pid=%ld", count,
                 (long)u->out.heir);
    } else {
        log_error("proxy", "-", "not handed over: %s", err.text);
        text_put(&answer, "%s\n", err.text);
    }
    u->done(&answer, u->arg);
    text_fini(&answer);
    mem_free(u->path);
    mem_free(u);
}

void upgrade_start(const struct view *v, const char *path, admin_done_fn done, void *arg)
{
    struct upgrade *u = mem_zalloc(sizeof *u);
    u->view = v;
    u->path = mem_strdup(path);
    u->done = done;
    u->arg = arg;
    order_send(&u->order, v->loop, v->workers, v->worker_count, visit, on_gathered);
}
