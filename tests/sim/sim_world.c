#include "sim_world.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "io/clock.h"
#include "io/epoch.h"
#include "io/loop_event.h"
#include "io/random.h"
#include "io/work.h"
#include "sim_fiber.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define WALL_START UINT64_C(1700000000000000)

struct grave {
    void *ptr;
    void (*free_fn)(void *);
};

struct event {
    TAILQ_ENTRY(event) entry;
    struct loop_timer *timer;
    uint64_t at_us; /* UINT64_MAX: it does not run */
};

TAILQ_HEAD(task_list, loop_task);

struct loop {
    TAILQ_ENTRY(loop) entry;
    char name[16];
    struct mail *first_mail;
    struct mail *last_mail;
    size_t mail_count;
    struct task_list again;
    struct task_list turn_end;
    TAILQ_HEAD(, event) timers;
    struct grave *graves;
    size_t grave_count;
    size_t grave_room;
    struct epoch *epoch;
    struct epoch_reader *reader;
    struct event_base *base; /* for whoever asks; nothing ever comes from it */
    struct work_pool *resolver;
    TAILQ_HEAD(, loop_orphan) orphans;
    uint64_t now_us;
    bool in_turn;
    bool running;
    bool stopping;
};

static struct {
    struct rng chance;
    TAILQ_HEAD(, loop) loops;
    uint64_t now_us;
    unsigned interleave;
    bool starves;
    const struct loop *starved; /* for now: hardly ever runs while somebody else could */
    void (*trace)(const char *line, void *arg);
    void *trace_arg;
    bool is_on;
} world;

static struct loop *current;

void sim_world_begin(uint64_t seed)
{
    CHECK(!world.is_on);
    rng_init(&world.chance, seed);
    TAILQ_INIT(&world.loops);
    world.now_us = 1000000;
    world.interleave = 0;
    world.starves = false;
    world.starved = NULL;
    world.is_on = true;
}

void sim_world_end(void)
{
    CHECK(world.is_on && TAILQ_EMPTY(&world.loops) && sim_work_is_idle());
    world.is_on = false;
    world.trace = NULL;
}

void sim_world_trace(void (*fn)(const char *line, void *arg), void *arg)
{
    world.trace = fn;
    world.trace_arg = arg;
}

void sim_world_say(const char *fmt, ...)
{
    if (world.trace == NULL)
        return;
    char line[256];
    va_list args;
    va_start(args, fmt);
    int n = snprintf(line, sizeof line, "%" PRIu64 ".%06" PRIu64 " ", world.now_us / 1000000,
                     world.now_us % 1000000);
    (void)vsnprintf(line + n, sizeof line - (size_t)n, fmt, args);
    va_end(args);
    world.trace(line, world.trace_arg);
}

uint64_t sim_world_now_us(void)
{
    return world.now_us;
}

void sim_world_pass(uint64_t us)
{
    world.now_us += us;
}

void sim_world_interleave(unsigned per_mille)
{
    world.interleave = per_mille;
}

void sim_world_starve(bool on)
{
    world.starves = on;
    world.starved = NULL;
}

uint64_t sim_world_below(uint64_t bound)
{
    return rng_below(&world.chance, bound);
}

/* ---- clock, random ----------------------------------------------------------------------------
 */

uint64_t clock_mono_us(void)
{
    return world.now_us;
}

uint64_t clock_boot_us(void)
{
    return clock_mono_us();
}

uint64_t clock_mono_ms(void)
{
    return world.now_us / 1000;
}

uint64_t clock_wall_ms(void)
{
    return (WALL_START + world.now_us) / 1000;
}

uint64_t clock_thread_cpu_us(void)
{
    return world.now_us;
}

/* ---- loops ------------------------------------------------------------------------------------
 */

struct loop *loop_new(const char *name, struct err *err)
{
    (void)err;
    struct loop *l = mem_zalloc(sizeof *l);
    (void)snprintf(l->name, sizeof l->name, "%s", name);
    TAILQ_INIT(&l->again);
    TAILQ_INIT(&l->turn_end);
    TAILQ_INIT(&l->timers);
    TAILQ_INIT(&l->orphans);
    l->now_us = world.now_us;
    TAILQ_INSERT_TAIL(&world.loops, l, entry);
    return l;
}

static void free_graves(struct loop *l)
{
    for (size_t i = 0; i < l->grave_count; i++)
        l->graves[i].free_fn(l->graves[i].ptr);
    l->grave_count = 0;
}

static void deliver_mail(struct loop *l)
{
    struct mail *m = l->first_mail;
    l->first_mail = l->last_mail = NULL;
    while (m != NULL) {
        struct mail *next = m->next;
        m->fn(m);
        l->mail_count--;
        m = next;
    }
}

void loop_free(struct loop **lp)
{
    struct loop *l = *lp;
    if (l == NULL)
        return;
    CHECK(!l->running && !l->in_turn);
    struct loop *was = current;
    current = l;
    work_pool_free(&l->resolver);
    while (l->first_mail != NULL)
        deliver_mail(l);
    free_graves(l);
    current = was;
    CHECK(TAILQ_EMPTY(&l->again) && TAILQ_EMPTY(&l->turn_end) && TAILQ_EMPTY(&l->timers));
    if (l->reader != NULL)
        epoch_leave(l->epoch, &l->reader);
    if (l->base != NULL)
        event_base_free(l->base);
    TAILQ_REMOVE(&world.loops, l, entry);
    mem_free(l->graves);
    mem_free(l);
    *lp = NULL;
}

static void run_again_tasks(struct loop *l)
{
    struct loop_task mark = { .queued = true };
    TAILQ_INSERT_TAIL(&l->again, &mark, entry);
    struct loop_task *t;
    while ((t = TAILQ_FIRST(&l->again)) != &mark) {
        TAILQ_REMOVE(&l->again, t, entry);
        t->queued = false;
        t->fn(t->arg);
    }
    TAILQ_REMOVE(&l->again, &mark, entry);
}

static void run_turn_end_tasks(struct loop *l)
{
    struct loop_task *t;
    while ((t = TAILQ_FIRST(&l->turn_end)) != NULL) {
        TAILQ_REMOVE(&l->turn_end, t, entry);
        t->queued = false;
        t->fn(t->arg);
    }
}

static struct event *due_timer(const struct loop *l)
{
    struct event *e, *first = NULL;
    TAILQ_FOREACH (e, &l->timers, entry)
        if (e->at_us <= world.now_us && (first == NULL || e->at_us < first->at_us))
            first = e;
    return first;
}

static void run_timers(struct loop *l)
{
    struct event *e;
    for (int n = 0; n < 64 && (e = due_timer(l)) != NULL; n++) {
        e->at_us = UINT64_MAX;
        e->timer->fn(e->timer->arg);
    }
}

static void run_turn(struct loop *l)
{
    struct loop *was = current;
    CHECK(!l->in_turn);
    current = l;
    l->in_turn = true;
    l->now_us = world.now_us;
    if (l->reader != NULL)
        epoch_online(l->epoch, l->reader);
    run_timers(l);
    deliver_mail(l);
    run_again_tasks(l);
    run_turn_end_tasks(l);
    free_graves(l);
    l->in_turn = false;
    if (l->reader != NULL)
        epoch_offline(l->reader);
    if (l->stopping) {
        l->stopping = false;
        l->running = false;
    }
    current = was;
}

static bool is_ready(const struct loop *l)
{
    return l->running && !l->in_turn &&
           (l->stopping || l->first_mail != NULL || !TAILQ_EMPTY(&l->again) ||
            due_timer(l) != NULL);
}

static size_t loops_ready(void)
{
    size_t count = 0;
    struct loop *l;
    TAILQ_FOREACH (l, &world.loops, entry)
        count += is_ready(l);
    return count;
}

static struct loop *ready_loop(size_t index)
{
    struct loop *l;
    TAILQ_FOREACH (l, &world.loops, entry)
        if (is_ready(l) && index-- == 0)
            break;
    return l;
}

/* Another one starves, or none. */
static void change_starved(void)
{
    size_t count = loops_ready();
    world.starved = count != 0 && rng_chance(&world.chance, 700)
                        ? ready_loop(rng_below(&world.chance, count))
                        : NULL;
}

/* Which of `count`, of whom those from `loops_from` on are loops. */
static size_t pick_one(size_t count, size_t loops_from)
{
    size_t pick = rng_below(&world.chance, count);
    if (!world.starves)
        return pick;
    if (rng_chance(&world.chance, 10))
        change_starved();
    for (int n = 0; n < 4 && pick >= loops_from && ready_loop(pick - loops_from) == world.starved;
         n++)
        pick = rng_below(&world.chance, count);
    return pick;
}

/* One of those that could run now; false: there is none. */
static bool run_somebody(void)
{
    CHECK(!sim_fiber_is_current());
    sim_work_reap();
    size_t fibers = sim_fiber_ready(), jobs = sim_work_ready();
    size_t count = fibers + jobs + loops_ready();
    if (count == 0)
        return false;

    struct loop *was = current;
    size_t pick = pick_one(count, fibers + jobs);
    world.now_us += 1 + rng_below(&world.chance, 20);
    if (pick < fibers) {
        current = NULL;
        sim_fiber_run(pick);
    } else if (pick < fibers + jobs) {
        sim_work_begin(pick - fibers);
    } else {
        run_turn(ready_loop(pick - fibers - jobs));
    }
    current = was;
    return true;
}

static bool jump_to_next_timer(void)
{
    uint64_t at_us = UINT64_MAX;
    struct loop *l;
    TAILQ_FOREACH (l, &world.loops, entry) {
        struct event *e;
        if (!l->running || l->in_turn)
            continue;
        TAILQ_FOREACH (e, &l->timers, entry)
            at_us = e->at_us < at_us ? e->at_us : at_us;
    }
    uint64_t fiber_at_us = sim_fiber_next_us();
    at_us = fiber_at_us < at_us ? fiber_at_us : at_us;
    if (at_us == UINT64_MAX)
        return false;
    world.now_us = at_us > world.now_us ? at_us : world.now_us;
    return true;
}

bool sim_world_step(void)
{
    return run_somebody() || jump_to_next_timer();
}

void sim_world_settle(unsigned most)
{
    while (most-- != 0 && run_somebody())
        ;
}

void sim_world_yield(void)
{
    if (world.is_on && sim_fiber_is_current() && rng_chance(&world.chance, world.interleave))
        sim_fiber_give_way();
}

void loop_run(struct loop *l)
{
    CHECK(current == NULL);
    l->running = true;
    while (l->running)
        CHECK(sim_world_step());
}

bool loop_start(struct loop *l, struct err *err)
{
    (void)err;
    CHECK(!l->running);
    l->running = true;
    return true;
}

void loop_join(struct loop *l)
{
    CHECK(!l->in_turn);
    while (l->running)
        CHECK(sim_world_step());
}

bool loop_settle(struct loop *l)
{
    CHECK(!l->running && current == NULL);
    current = l;
    bool busy = l->first_mail != NULL || !TAILQ_EMPTY(&l->again) || !TAILQ_EMPTY(&l->turn_end) ||
                l->grave_count != 0;
    deliver_mail(l);
    run_again_tasks(l);
    run_turn_end_tasks(l);
    free_graves(l);
    current = NULL;
    return busy;
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}

bool loop_is_current(const struct loop *l)
{
    return current == l;
}

const char *loop_name(const struct loop *l)
{
    return l->name;
}

uint64_t loop_now_us(const struct loop *l)
{
    return l->now_us;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return l->now_us / 1000;
}

void loop_join_epoch(struct loop *l, struct epoch *epoch)
{
    CHECK(l->epoch == NULL);
    l->epoch = epoch;
    l->reader = epoch_join(epoch);
}

/* ---- tasks, timers, mail ----------------------------------------------------------------------
 */

void loop_task_init(struct loop_task *t, loop_fn fn, void *arg)
{
    *t = (struct loop_task){ .fn = fn, .arg = arg };
}

static void queue_task(struct task_list *list, struct loop_task *t, bool at_turn_end)
{
    if (t->queued)
        return;
    t->queued = true;
    t->at_turn_end = at_turn_end;
    TAILQ_INSERT_TAIL(list, t, entry);
}

void loop_again(struct loop *l, struct loop_task *t)
{
    queue_task(&l->again, t, false);
}

void loop_at_turn_end(struct loop *l, struct loop_task *t)
{
    queue_task(&l->turn_end, t, true);
}

void loop_first_at_turn_end(struct loop *l, struct loop_task *t)
{
    if (t->queued)
        return;
    queue_task(&l->turn_end, t, true);
    TAILQ_REMOVE(&l->turn_end, t, entry);
    TAILQ_INSERT_HEAD(&l->turn_end, t, entry);
}

void loop_task_cancel(struct loop *l, struct loop_task *t)
{
    if (!t->queued)
        return;
    if (t->at_turn_end)
        TAILQ_REMOVE(&l->turn_end, t, entry);
    else
        TAILQ_REMOVE(&l->again, t, entry);
    t->queued = false;
}

void loop_timer_init(struct loop_timer *t, struct loop *loop, loop_fn fn, void *arg)
{
    *t = (struct loop_timer){ .loop = loop, .fn = fn, .arg = arg };
}

void loop_timer_start(struct loop_timer *t, uint64_t after_ms)
{
    if (t->event == NULL) {
        t->event = mem_zalloc(sizeof *t->event);
        t->event->timer = t;
        TAILQ_INSERT_TAIL(&t->loop->timers, t->event, entry);
    }
    t->event->at_us = world.now_us + after_ms * 1000;
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->event != NULL)
        t->event->at_us = UINT64_MAX;
}

bool loop_timer_is_running(const struct loop_timer *t)
{
    return t->event != NULL && t->event->at_us != UINT64_MAX;
}

void loop_timer_fini(struct loop_timer *t)
{
    if (t->event == NULL)
        return;
    TAILQ_REMOVE(&t->loop->timers, t->event, entry);
    mem_free(t->event);
    t->event = NULL;
}

void loop_bury(struct loop *l, void *ptr, void (*free_fn)(void *))
{
    if (l->grave_count == l->grave_room) {
        l->grave_room = l->grave_room * 2 + 16;
        l->graves = mem_realloc(l->graves, l->grave_room * sizeof *l->graves);
    }
    l->graves[l->grave_count++] = (struct grave){ ptr, free_fn };
}

bool loop_on_signal(struct loop *l, int signo, loop_fn fn, void *arg, struct err *err)
{
    (void)l;
    (void)signo;
    (void)fn;
    (void)arg;
    (void)err;
    return true;
}

void mailbox_post(struct loop *to, struct mail *mail)
{
    CHECK(mail->fn != NULL);
    mail->next = NULL;
    if (to->first_mail == NULL)
        to->first_mail = mail;
    else
        to->last_mail->next = mail;
    to->last_mail = mail;
    to->mail_count++;
}

size_t mailbox_depth(const struct loop *l)
{
    return l->mail_count;
}

/* ---- what other modules of src/io ask of a loop -----------------------------------------------
 */

struct event_base *loop_base(struct loop *l)
{
    if (l->base == NULL)
        l->base = event_base_new();
    return l->base;
}

void loop_turn_begin(struct loop *l)
{
    (void)l;
}

struct buf *loop_block_in(struct loop *l)
{
    (void)l;
    return buf_new(LOOP_BLOCK_BYTES);
}

struct buf *loop_block_out(struct loop *l)
{
    (void)l;
    return buf_new(LOOP_BLOCK_OUT_BYTES);
}

void loop_orphan_add(struct loop *l, struct loop_orphan *o, void (*end_fn)(struct loop_orphan *))
{
    o->end_fn = end_fn;
    TAILQ_INSERT_TAIL(&l->orphans, o, entry);
}

void loop_orphan_remove(struct loop *l, struct loop_orphan *o)
{
    TAILQ_REMOVE(&l->orphans, o, entry);
}

void loop_set_resolver(struct loop *l, struct work_pool *pool)
{
    l->resolver = pool;
}

struct work_pool *loop_resolver(const struct loop *l)
{
    return l->resolver;
}
