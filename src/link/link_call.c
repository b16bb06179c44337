#include "link/link_call.h"

#include "base/check.h"
#include "base/mem.h"
#include "link/link_inner.h"

struct link_call {
    struct link *l; /* one that never comes up: its stream is given away before */
    const struct link_call_handlers *handlers;
    void *arg;
    struct loop_timer timer;
};

void link_call_free(struct link_call **call)
{
    struct link_call *c = *call;
    *call = NULL;
    if (c == NULL)
        return;
    struct loop *loop = c->l->loop;
    loop_timer_fini(&c->timer);
    link_free(&c->l);
    loop_bury(loop, c, mem_free);
}

static void fail(struct link_call *c, enum link_trouble what, enum link_refusal refusal,
                 const struct err *err)
{
    const struct link_call_handlers *handlers = c->handlers;
    void *arg = c->arg;
    link_call_free(&c);
    handlers->on_failed(what, refusal, err, arg);
}

static void on_trouble(struct link *l, enum link_trouble what, enum link_refusal refusal,
                       const struct err *err, void *arg)
{
    (void)l;
    fail(arg, what, refusal, err);
}

static void on_timer(void *arg)
{
    struct err err;
    (void)err_set(&err, ERR_LIMIT, "it did not answer in time");
    fail(arg, LINK_TROUBLE_CONNECT, LINK_REFUSED_NONE, &err);
}

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    (void)l, (void)f, (void)arg;
    UNREACHABLE("a call has no frames");
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    (void)l, (void)why, (void)err, (void)arg;
    UNREACHABLE("a call has no session");
}

static const struct link_handlers call_handlers = { .on_frame = on_frame,
                                                    .on_lost = on_lost,
                                                    .on_trouble = on_trouble };

static void on_proven(struct link *l, struct stream **s)
{
    struct link_call *c = l->arg;
    const struct link_call_handlers *handlers = c->handlers;
    void *arg = c->arg;
    const struct link_peer peer = l->peer;
    link_call_free(&c);
    handlers->on_stream(s, &peer, arg);
}

struct link_call *link_call(struct loop *loop, struct link_node *node,
                            const struct link_options *options, uint64_t timeout_ms,
                            const struct link_call_handlers *handlers, void *arg)
{
    CHECK(options->class == LINK_CTL);
    struct link_call *c = mem_zalloc(sizeof *c);
    struct link_options o = { .class = options->class,
                              .host = options->host,
                              .port = options->port,
                              .name = options->name,
                              .node = options->node };
    c->handlers = handlers;
    c->arg = arg;
    c->l = link_dial_once(loop, node, &o, &call_handlers, c, on_proven);
    loop_timer_init(&c->timer, loop, on_timer, c);
    loop_timer_start(&c->timer, timeout_ms);
    return c;
}
