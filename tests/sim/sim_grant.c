#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "sim_grant_inner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sg_say(struct world *w, const char *fmt, ...)
{
    char line[300];
    if (w->trace == NULL)
        return;
    int at = snprintf(line, sizeof line, "%9.3f ", (double)w->now_us / 1000);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line + at, sizeof line - (size_t)at, fmt, args);
    va_end(args);
    w->trace(line, w->trace_arg);
}

void sg_fail(struct world *w, const char *fmt, ...)
{
    if (w->has_failed)
        return;
    w->has_failed = true;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(w->report->why, sizeof w->report->why, fmt, args);
    va_end(args);
    sg_say(w, "FAIL %s", w->report->why);
}

uint64_t sg_below(struct world *w, uint64_t n)
{
    return rng_below(&w->rng, n);
}

bool sg_happens(struct world *w, unsigned chance)
{
    return chance != 0 && !w->is_healed && rng_chance(&w->rng, chance);
}

uint16_t sg_some_node(struct world *w)
{
    return (uint16_t)(1 + sg_below(w, w->log.nodes));
}

const struct gl_state *sg_view(const struct world *w, const struct node *n)
{
    return &w->log.states[n->applied];
}

/* ---- clocks and what is to come ---- */

static int64_t real_clock(const struct world *w, const struct node *n)
{
    return n->clock_base_us + w->now_us + w->now_us * n->rate_ppm / 1000000;
}

/* What its code takes for the time. */
int64_t sg_clock_of(const struct world *w, const struct node *n)
{
    if (MUTATION(GRANT_CACHED_TIME) && w->now_us <= n->turn_end_us)
        return n->turn_us;
    return real_clock(w, n);
}

bool sg_is_awake(const struct world *w, const struct node *n)
{
    return n->core != NULL && n->paused_until_us <= w->now_us;
}

void sg_later(struct world *w, int64_t delay_us, const struct act *a)
{
    for (size_t i = 0; i < ACTS; i++)
        if (!w->is_used[i]) {
            w->is_used[i] = true;
            w->acts[i] = *a;
            heap_push(&w->heap, (uint64_t)(w->now_us + delay_us), i);
            return;
        }
}

int64_t sg_delay(struct world *w)
{
    int64_t us = 50 + (int64_t)sg_below(w, 2 * MS);
    return sg_happens(w, w->chance.late) ? us + (int64_t)sg_below(w, (uint64_t)w->chance.late_us)
                                         : us;
}

void sg_send(struct world *w, const struct act *a)
{
    if (w->is_cut[a->from][a->to] || sg_happens(w, w->chance.lose))
        return;
    sg_later(w, sg_delay(w), a);
    if (sg_happens(w, w->chance.twice))
        sg_later(w, sg_delay(w), a);
}

/* ---- processes ---- */

/* Its way to the log is cut; that to other nodes may be good. */
static void deafen(struct world *w, struct node *n)
{
    n->deaf_until_us =
        w->now_us +
        (int64_t)sg_below(w, sg_below(w, 2) == 0 ? (uint64_t)w->chance.deaf_us : 600 * MS);
    n->was_deaf = true;
}

/* What it has applied was on its disk, or is what a snapshot of its has. */
static void start(struct world *w, uint16_t node)
{
    struct node *n = &w->nodes[node];
    n->inc++;
    uint64_t back = 1 + sg_below(w, sg_below(w, 2) == 0 ? 20 : n->applied + 1);
    n->applied = n->inc == 1 ? 1 : n->applied - sg_below(w, n->applied < back ? n->applied : back);
    if (w->chance.deaf != 0 && !w->is_healed && sg_below(w, 3) == 0)
        deafen(w, n);
    n->core = grant_new(node, n->inc, n->applied, n->inc == 1, sg_clock_of(w, n));
    n->board = grant_board_new();
    n->paused_until_us = 0;
    n->is_apply_due = false;
    memset(n->queues, 0, sizeof n->queues);
    sg_tell_nodes(w, node, NULL);
    w->report->restarts++;
    sg_say(w, "%u starts, %u, at %d", node, n->inc, (int)n->applied);
    sg_later(w, 1, &(struct act){ .kind = ACT_LOOK, .to = node, .inc = n->inc });
}

/* Who is told that nobody listens there knows the process that was, or one before it. */
static void crash(struct world *w, uint16_t node)
{
    struct node *n = &w->nodes[node];
    sg_say(w, "%u crashes", node);
    grant_free(&n->core);
    grant_board_free(&n->board);
    n->turn_end_us = -1;
    if (sg_happens(w, w->chance.gone))
        sg_say_down(w, node);
    for (uint16_t i = 1; i <= w->log.nodes; i++) {
        struct node *other = &w->nodes[i];
        if (i == node || !sg_is_awake(w, other) || w->is_cut[i][node] || w->is_cut[node][i] ||
            !sg_happens(w, w->chance.gone))
            continue;
        sg_later(w, sg_delay(w),
                 &(struct act){ .kind = ACT_GONE,
                                .to = i,
                                .from = node,
                                .inc = other->inc,
                                .gone_inc = sg_view(w, other)->inc[node] });
    }
}

static void pause(struct world *w, struct node *n)
{
    n->turn_us = sg_clock_of(w, n);
    n->paused_until_us = w->now_us + (int64_t)sg_below(w, (uint64_t)w->chance.pause_us);
    n->turn_end_us = n->paused_until_us + 1;
}

/* ---- faults ---- */

static void cut(struct world *w)
{
    uint16_t a = sg_some_node(w), b = sg_some_node(w);
    bool is_one_way = sg_happens(w, w->chance.one_way);
    bool is_alone = sg_below(w, 3) == 0;
    for (uint16_t i = 1; i <= w->log.nodes; i++) {
        if (i == a || (!is_alone && i != b))
            continue;
        w->is_cut[a][i] = true;
        w->is_cut[i][a] = w->is_cut[i][a] || !is_one_way;
    }
}

static void some_fault(struct world *w)
{
    uint16_t node = sg_some_node(w);
    struct node *n = &w->nodes[node];
    if (n->core == NULL) {
        if (sg_below(w, 3) == 0)
            start(w, node);
        else if (sg_below(w, 2) == 0)
            sg_say_down(w, node);
        return;
    }
    if (sg_happens(w, w->chance.pause) && sg_is_awake(w, n))
        pause(w, n);
    bool is_first = node == 1 || !w->chance.is_lopsided;
    if (is_first && sg_happens(w, w->chance.deaf))
        deafen(w, n);
    if (sg_happens(w, w->chance.down))
        sg_say_down(w, node);
    if (sg_happens(w, w->chance.broken) && sg_is_awake(w, n))
        sg_later(w, sg_delay(w),
                 &(struct act){
                     .kind = ACT_BROKEN, .to = node, .from = sg_some_node(w), .inc = n->inc });
    if (sg_happens(w, w->chance.cut))
        cut(w);
    else if (sg_below(w, 12) == 0)
        memset(w->is_cut, 0, sizeof w->is_cut);
    if ((node != 1 || !w->chance.is_lopsided) && sg_happens(w, w->chance.crash))
        crash(w, node);
}

/* ---- time ---- */

static void act(struct world *w, const struct act *a)
{
    struct grant_event ev = { .node = a->from };
    switch (a->kind) {
    case ACT_COMMAND:
        if (!gl_is_full(&w->log))
            gl_append(&w->log, &a->command);
        sg_check_members(w);
        return;
    case ACT_APPLY:
        sg_apply(w, a->to);
        return;
    case ACT_LOOK:
        sg_look(w, a->to);
        return;
    case ACT_ASK:
        ev.kind = GRANT_EV_ASK;
        ev.ask = a->ask;
        break;
    case ACT_ANSWER:
        ev.kind = GRANT_EV_ANSWER;
        ev.answer = a->answer;
        break;
    case ACT_GONE:
        ev.kind = GRANT_EV_GONE;
        ev.member.inc = a->gone_inc;
        break;
    case ACT_BROKEN:
        ev.kind = GRANT_EV_BROKEN;
        break;
    }
    sg_step(w, a->to, &ev);
}

static void run_until(struct world *w, int64_t end_us)
{
    const struct heap_item *top;
    while (!w->has_failed && (top = heap_min(&w->heap)) != NULL && (int64_t)top->key < end_us) {
        struct heap_item item = heap_pop(&w->heap);
        struct act a = w->acts[item.value];
        const struct node *n = &w->nodes[a.to];
        w->is_used[item.value] = false;
        if (w->now_us < (int64_t)item.key)
            w->now_us = (int64_t)item.key;
        if (a.to != 0 && (n->core == NULL || (a.inc != 0 && a.inc != n->inc)))
            continue;
        if (a.to != 0 && !sg_is_awake(w, n)) {
            sg_later(w, n->paused_until_us - w->now_us, &a);
            continue;
        }
        act(w, &a);
        w->report->steps++;
        sg_check(w);
    }
    w->now_us = end_us;
    sg_check(w);
}

/* ---- the whole ---- */

static unsigned some(struct world *w, unsigned most)
{
    return sg_below(w, 2) == 0 ? 0 : 1 + (unsigned)sg_below(w, most);
}

/* One master after the other, faster than some nodes learn of it. */
static void draw_haste(struct world *w)
{
    w->chance.down = 50 + (unsigned)sg_below(w, 300);
    w->chance.deaf = 50 + (unsigned)sg_below(w, 200);
    w->chance.jump = 500;
    w->chance.add = 500;
    w->chance.gone = 900;
    w->chance.move = (unsigned)sg_below(w, 100);
    w->chance.crash = 20 + (unsigned)sg_below(w, 80);
    w->chance.lose = w->chance.strike = w->chance.cut = w->chance.pause = 0;
    w->chance.lag_us = 50 * MS;
}

/* Two nodes, of which one does not hear for long what the other one is told, serves by, and has
 * forgotten when it starts again. */
static void draw_relapse(struct world *w)
{
    gl_init(&w->log, 2);
    w->chance = (struct chances){ .crash = 20 + (unsigned)sg_below(w, 60),
                                  .deaf = 10 + (unsigned)sg_below(w, 60),
                                  .move = 20 + (unsigned)sg_below(w, 60),
                                  .add = 300,
                                  .strike = 20 + (unsigned)sg_below(w, 60),
                                  .late_us = 1,
                                  .lag_us = 20 * MS,
                                  .pause_us = 1,
                                  .deaf_us = 5000 * MS,
                                  .is_lopsided = true };
}

static void draw(struct world *w)
{
    w->chance = (struct chances){
        .lose = some(w, 100),
        .twice = some(w, 100),
        .late = some(w, 200),
        .jump = some(w, 600),
        .crash = some(w, 30),
        .pause = some(w, 100),
        .cut = some(w, 100),
        .one_way = some(w, 1000),
        .move = some(w, 60),
        .strike = some(w, 30),
        .add = 20 + (unsigned)sg_below(w, 500),
        .down = some(w, 60),
        .broken = some(w, 50),
        .gone = 300 + (unsigned)sg_below(w, 700),
        .deaf = some(w, 100),
        .deaf_us = 3000 * MS,
        .late_us = 1 + (int64_t)sg_below(w, 1500 * MS),
        .lag_us = 1 + (int64_t)sg_below(w, 1000 * MS),
        .pause_us = 1 + (int64_t)sg_below(w, 2000 * MS),
    };
    switch (sg_below(w, 6)) {
    case 0:
    case 1:
        draw_haste(w);
        break;
    case 2:
        draw_relapse(w);
        break;
    default:
        break;
    }
    for (uint16_t i = 1; i <= w->log.nodes; i++) {
        struct node *n = &w->nodes[i];
        n->clock_base_us = (int64_t)sg_below(w, 1u << 30);
        n->rate_ppm = (int64_t)sg_below(w, 200001) - 100000;
        n->turn_end_us = -1;
        n->lag_us = 1 + sg_below(w, sg_below(w, 2) == 0 ? 2 * MS : (uint64_t)w->chance.lag_us);
    }
}

static void heal(struct world *w)
{
    w->is_healed = true;
    memset(w->is_cut, 0, sizeof w->is_cut);
    for (uint16_t i = 1; i <= w->log.nodes; i++) {
        w->nodes[i].paused_until_us = w->nodes[i].deaf_until_us = 0;
        w->nodes[i].turn_end_us = -1;
        if (w->nodes[i].core == NULL)
            start(w, i);
    }
    sg_say(w, "all is healed");
}

static void expect_life(struct world *w)
{
    run_until(w, w->now_us + 5000 * MS);
    for (unsigned i = 0; i < GL_QUEUES && !w->has_failed && !gl_is_full(&w->log); i++) {
        unsigned servers = 0;
        for (uint16_t k = 1; k <= w->log.nodes; k++)
            servers += sg_may_serve(w, k, i);
        if (servers == 0)
            sg_fail(w, "queue %u is not served again", i);
    }
}

bool sim_grant_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct world *w = mem_zalloc(sizeof *w);
    memset(out, 0, sizeof *out);
    w->report = out;
    w->trace = trace;
    w->trace_arg = arg;
    rng_init(&w->rng, seed);
    heap_init(&w->heap);
    gl_init(&w->log, 2 + (unsigned)sg_below(w, 1 + sg_below(w, GL_NODES - 1)));
    draw(w);
    for (uint16_t i = 1; i <= w->log.nodes; i++)
        start(w, i);
    int64_t end_us = w->now_us + (2000 + (int64_t)sg_below(w, 10000)) * MS;
    uint64_t pace_us = 2 * MS + sg_below(w, 60 * MS);
    while (w->now_us < end_us && !w->has_failed) {
        run_until(w, w->now_us + 1 + (int64_t)sg_below(w, 2 * pace_us));
        if (!w->has_failed)
            some_fault(w);
    }
    heal(w);
    if (!w->has_failed)
        expect_life(w);
    for (uint16_t i = 1; i <= w->log.nodes; i++) {
        grant_free(&w->nodes[i].core);
        grant_board_free(&w->nodes[i].board);
    }
    heap_fini(&w->heap);
    bool ok = !w->has_failed;
    mem_free(w);
    return ok;
}
