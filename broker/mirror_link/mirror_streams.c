#include "mirror_link/mirror_streams.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/clock.h"
#include "mirror_link/mirror_streams_inner.h"

uint64_t mirror_streams_now(const struct mirror_streams *s)
{
    return loop_now_ms(s->setup.loop);
}

/* ---- writing ----------------------------------------------------------------------------------
 */

/* A link that has no session loses it, and says so by on_lost. */
static void send_frame(void *arg, struct slice head, struct buf *block, struct slice body)
{
    const struct mirror_pen *p = arg;
    if (*p->link != NULL)
        (void)link_send(*p->link, LINK_BULKY, MIRROR_FRAME_TYPE, head, block, body);
}

void mirror_pen_init(struct mirror_pen *p, struct mirror_streams *all, struct link **link)
{
    *p = (struct mirror_pen){ .all = all, .link = link };
    mirror_out_init(&p->out, send_frame, p);
}

struct mirror_out *mirror_pen_take(struct mirror_pen *p)
{
    if (p->is_due)
        return &p->out;
    if (p->is_held)
        TAILQ_REMOVE(&p->all->held, p, entry);
    p->is_held = false;
    p->is_due = true;
    TAILQ_INSERT_TAIL(&p->all->due, p, entry);
    mirror_streams_soon(p->all);
    return &p->out;
}

struct mirror_out *mirror_pen_take_late(struct mirror_pen *p)
{
    if (p->is_due || p->is_held)
        return &p->out;
    p->is_held = true;
    TAILQ_INSERT_TAIL(&p->all->held, p, entry);
    if (!loop_timer_is_running(&p->all->held_timer))
        loop_timer_start(&p->all->held_timer, MIRROR_HELD_MS);
    return &p->out;
}

static void on_held(void *arg)
{
    struct mirror_streams *s = arg;
    for (struct mirror_pen *p; (p = TAILQ_FIRST(&s->held)) != NULL;)
        (void)mirror_pen_take(p);
}

void mirror_pen_reset(struct mirror_pen *p)
{
    if (p->is_due)
        TAILQ_REMOVE(&p->all->due, p, entry);
    if (p->is_held)
        TAILQ_REMOVE(&p->all->held, p, entry);
    p->is_due = p->is_held = false;
    mirror_out_reset(&p->out);
}

/* ---- turns ------------------------------------------------------------------------------------
 */

static void on_flush(void *arg)
{
    struct mirror_streams *s = arg;
    struct mirror_pen *p;
    mirror_master_clock(s->setup.master, clock_mono_us());
    if (mirror_master_flush(s->setup.master, mirror_streams_now(s)))
        loop_again(s->setup.loop, &s->more_task);
    mirror_replica_flush(s->setup.replica);
    while ((p = TAILQ_FIRST(&s->due)) != NULL) {
        TAILQ_REMOVE(&s->due, p, entry);
        p->is_due = false;
        mirror_out_flush(&p->out);
    }
}

void mirror_streams_soon(struct mirror_streams *s)
{
    loop_at_turn_end(s->setup.loop, &s->flush_task);
}

void mirror_streams_begin(struct mirror_streams *s)
{
    s->setup.ops->begins(s->setup.arg);
    mirror_streams_soon(s);
}

static void on_more(void *arg)
{
    mirror_streams_begin(arg);
}

static void on_go_on(void *arg)
{
    mirror_incoming_go_on(arg);
}

/* From wherever it is called: what a core took may have asked for it. */
void mirror_streams_go_on(struct mirror_streams *s)
{
    if (s->incoming.count != 0)
        loop_again(s->setup.loop, &s->go_on_task);
}

bool mirror_streams_has_sources(const struct mirror_streams *s)
{
    return s->incoming.count != 0;
}

static void on_tick(void *arg)
{
    struct mirror_streams *s = arg;
    uint64_t now_ms = mirror_streams_now(s);
    mirror_streams_begin(s);
    mirror_master_tick(s->setup.master, now_ms);
    mirror_outgoing_tick(s, now_ms);
    if (s->outgoing.count != 0)
        loop_timer_start(&s->tick, MIRROR_TICK_MS);
}

void mirror_streams_watch(struct mirror_streams *s)
{
    if (!loop_timer_is_running(&s->tick))
        loop_timer_start(&s->tick, MIRROR_TICK_MS);
}

/* ---- figures ----------------------------------------------------------------------------------
 */

void mirror_streams_end_link(struct mirror_streams *s, uint16_t node, struct link **l)
{
    struct mirror_bygone *p = idmap_get(&s->past, node);
    if (p == NULL) {
        p = mem_zalloc(sizeof *p);
        p->node = node;
        idmap_put(&s->past, node, p);
    }
    link_figure_keep(&p->stats, *l);
    link_free(l);
}

void mirror_streams_each_link(struct mirror_streams *s, mirror_link_fn fn, void *arg)
{
    struct link_figure f;
    size_t at = 0;
    for (const struct mirror_bygone *p; (p = idmap_next(&s->past, &at)) != NULL;) {
        f = (struct link_figure){ .class = LINK_MIRROR, .stats = p->stats };
        fn(arg, p->node, &f);
    }
    at = 0;
    for (const struct mirror_outgoing *o; (o = idmap_next(&s->outgoing, &at)) != NULL;) {
        if (o->link == NULL)
            continue;
        f = link_figure_of(LINK_MIRROR, o->link);
        fn(arg, o->node, &f);
    }
    at = 0;
    for (const struct mirror_incoming *i; (i = idmap_next(&s->incoming, &at)) != NULL;) {
        f = link_figure_of(LINK_MIRROR, i->link);
        fn(arg, i->node, &f);
    }
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct mirror_streams *mirror_streams_new(const struct mirror_streams_setup *setup)
{
    struct mirror_streams *s = mem_zalloc(sizeof *s);
    s->setup = *setup;
    if (setup->idle_ms == 0)
        s->setup.idle_ms = MIRROR_STREAM_IDLE_MS;
    idmap_init(&s->outgoing);
    idmap_init(&s->incoming);
    idmap_init(&s->past);
    TAILQ_INIT(&s->due);
    TAILQ_INIT(&s->held);
    loop_task_init(&s->flush_task, on_flush, s);
    loop_task_init(&s->more_task, on_more, s);
    loop_task_init(&s->go_on_task, on_go_on, s);
    loop_timer_init(&s->tick, setup->loop, on_tick, s);
    loop_timer_init(&s->held_timer, setup->loop, on_held, s);
    return s;
}

void mirror_streams_close(struct mirror_streams *s)
{
    loop_task_cancel(s->setup.loop, &s->flush_task);
    loop_task_cancel(s->setup.loop, &s->more_task);
    loop_task_cancel(s->setup.loop, &s->go_on_task);
    loop_timer_stop(&s->tick);
    loop_timer_stop(&s->held_timer);
    mirror_incoming_close(s);
    mirror_outgoing_close(s);
    if (s->hall != NULL)
        link_hall_free(&s->hall);
}

void mirror_streams_free(struct mirror_streams **streams)
{
    struct mirror_streams *s = *streams;
    *streams = NULL;
    if (s == NULL)
        return;
    mirror_streams_close(s);
    for (struct mirror_bygone *p; (p = idmap_first(&s->past)) != NULL; mem_free(p))
        idmap_take(&s->past, p->node);
    for (struct mirror_outgoing *o; (o = idmap_first(&s->outgoing)) != NULL; mem_free(o))
        idmap_take(&s->outgoing, mirror_outgoing_key(o->node, o->shards, o->shard));
    idmap_fini(&s->past);
    idmap_fini(&s->incoming);
    idmap_fini(&s->outgoing);
    loop_timer_fini(&s->tick);
    loop_timer_fini(&s->held_timer);
    mem_free(s);
}
