#include "order.h"

#include "base/check.h"

static void on_home(struct mail *mail)
{
    struct order *o = CONTAINER_OF(mail, struct order, mail);
    CHECK(loop_is_current(o->control));
    o->done(o);
}

static void on_worker(struct mail *mail)
{
    struct order *o = CONTAINER_OF(mail, struct order, mail);
    struct worker *w = &o->workers[o->at];
    CHECK(loop_is_current(w->loop));
    bool go_on = o->visit(o, w);
    o->at++;
    if (go_on && o->at < o->worker_count) {
        mailbox_post(o->workers[o->at].loop, &o->mail);
        return;
    }
    o->mail.fn = on_home;
    mailbox_post(o->control, &o->mail);
}

void order_send(struct order *o, struct loop *control, struct worker *workers,
                unsigned worker_count, order_visit_fn visit, order_done_fn done)
{
    CHECK(loop_is_current(control) && worker_count > 0);
    o->control = control;
    o->workers = workers;
    o->worker_count = worker_count;
    o->at = 0;
    o->visit = visit;
    o->done = done;
    o->mail.fn = on_worker;
    mailbox_post(workers[0].loop, &o->mail);
}
