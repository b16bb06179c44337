#include "sim_mirror.h"

#include "base/check.h"
#include "base/mem.h"
#include "sim_mirror_inner.h"
#include "sim_world.h"

#include <stdarg.h>
#include <stdio.h>

#define STEPS_LEAST 200u
#define STEPS_MORE  500u
#define HEAL_ROUNDS 3000u

void smr_say(struct smr *w, const char *fmt, ...)
{
    char line[300];
    va_list args;
    if (w->trace == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    w->trace(line, w->trace_arg);
}

void smr_fail(struct smr *w, const char *fmt, ...)
{
    va_list args;
    if (w->has_failed)
        return;
    w->has_failed = true;
    va_start(args, fmt);
    (void)vsnprintf(w->report->why, sizeof w->report->why, fmt, args);
    va_end(args);
    smr_say(w, "FAILED: %s", w->report->why);
}

/* ---- what the seed decides ---- */

static unsigned some(struct smr *w, unsigned most)
{
    return smr_below(w, 2) == 0 ? 0 : 1 + (unsigned)smr_below(w, most);
}

/* Each fault exists in half of the seeds, so that rare things meet each other undisturbed. */
static void draw(struct smr *w)
{
    struct smr_chances *c = &w->chance;
    w->node_count = 2 + (unsigned)smr_below(w, SMR_NODES - 1);
    w->queue_count = 1 + (unsigned)smr_below(w, SMR_QUEUES);
    w->producer_count = 1 + (unsigned)smr_below(w, SMR_PRODUCERS);
    *c = (struct smr_chances){
        .deliver = 100 + (unsigned)smr_below(w, 300),
        .sync = 20 + (unsigned)smr_below(w, 60),
        .view = 10 + (unsigned)smr_below(w, 60),
        .decide = 10 + (unsigned)smr_below(w, 40),
        .publish = 30 + (unsigned)smr_below(w, 100),
        .settle = some(w, 40),
        .produce = 60 + (unsigned)smr_below(w, 100),
        .connect = 10 + (unsigned)smr_below(w, 30),
        .tick = 5 + (unsigned)smr_below(w, 20),
        .crash = some(w, 6),
        .restart = 5 + (unsigned)smr_below(w, 20),
        .pause = some(w, 6),
        .turn = some(w, 10),
        .cut = some(w, 10),
        .notice = 5 + (unsigned)smr_below(w, 20),
        .down = some(w, 8),
        .expel = some(w, 8),
        .move = some(w, 6),
        .later_1000 = some(w, 300),
        .partial_1000 = some(w, 500),
        .torn_1000 = some(w, 900),
    };
    c->total = c->deliver + c->sync + c->view + c->decide + c->publish + c->settle + c->produce +
               c->connect + c->tick + c->crash + c->restart + c->pause + c->turn + c->cut +
               c->notice + c->down + c->expel + c->move;
    mirror_setup_default(&w->setup);
    w->setup.syncs = 1 + (unsigned)smr_below(w, 3);
    w->setup.lag_ms = 300 + smr_below(w, 3000);
    w->setup.hold_ms = 1 + smr_below(w, 2000);
    w->setup.hold_max_ms = 4000;
    w->setup.window_bytes = smr_below(w, 3) == 0 ? 300 + smr_below(w, 3000) : 1000000;
    for (unsigned pid = 1; pid <= w->producer_count; pid++) {
        w->producers[pid].is_persistent = smr_below(w, 4) != 0;
        w->producers[pid].first_open = 1;
        w->producers[pid].path = 1;
    }
}

/* In calm histories nothing breaks and nobody is slow: moves are not noticed. */
static void draw_takers(struct smr *w)
{
    struct smr_chances *c = &w->chance;
    unsigned more[] = { 100 + (unsigned)smr_below(w, 300), 2 + (unsigned)smr_below(w, 12) };
    c->take = more[0];
    c->settle += more[1] * 4;
    c->move += more[1];
    c->total += more[0] + 5 * more[1];
    for (unsigned pid = 1; pid <= w->producer_count; pid++)
        w->producers[pid].is_persistent = true;
    w->is_calm = smr_below(w, 3) == 0;
    if (!w->is_calm)
        return;
    c->total -= c->crash + c->pause + c->cut + c->down + c->expel;
    c->crash = c->pause = c->cut = c->down = c->expel = 0;
    w->setup.lag_ms = UINT32_MAX;
    w->setup.window_bytes = 1000000;
}

/* ---- steps ---- */

static void deliver(struct smr *w)
{
    unsigned first = (unsigned)smr_below(w, w->node_count * w->node_count);
    for (unsigned i = 0; i < w->node_count * w->node_count; i++) {
        unsigned which = (first + i) % (w->node_count * w->node_count);
        unsigned from = which / w->node_count, to = which % w->node_count;
        if (from != to && smr_link_deliver(&w->links[from][to]))
            return;
    }
}

static void view(struct smr *w, struct smr_node *n)
{
    if (n->view + 1 == w->log_count)
        return;
    n->view += 1 + (size_t)smr_below(w, w->log_count - 1 - n->view);
    smr_node_look(n);
    if (smr_below(w, 2) == 0)
        smr_node_activate(n);
    smr_node_flush(n);
}

static void tick(struct smr *w, struct smr_node *n)
{
    smr_node_activate(n);
    mirror_master_tick(n->master, w->now_ms);
    smr_node_load(n);
    if (w->has_takers)
        smr_hand_tick(n);
}

static void restart(struct smr *w, struct smr_node *n)
{
    w->report->restarts++;
    smr_node_start(w, n->number);
    smr_say(w, "node %u starts, inc %u", n->number, n->inc);
}

static void declare_down(struct smr *w, const struct smr_node *n)
{
    smr_meta_propose(w, &(struct smr_proposal){ .what = SMR_DOWN,
                                                .node = n->number,
                                                .inc = smr_head(w)->inc[n->number] });
}

static void propose_up(struct smr *w, const struct smr_node *n)
{
    const struct smr_state *s = smr_head(w);
    if (n->is_alive && (!s->is_up[n->number] || s->inc[n->number] != n->inc))
        smr_meta_propose(
            w, &(struct smr_proposal){ .what = SMR_UP, .node = n->number, .inc = n->inc });
}

static void expel(struct smr *w, struct smr_node *n)
{
    struct mirror_queue *q = n->queues[smr_below(w, w->queue_count)].master;
    if (q != NULL)
        mirror_master_expel(n->master, q, (uint16_t)(1 + smr_below(w, w->node_count)), w->now_ms);
    smr_node_flush(n);
}

/* The move before is over: its next master leads, and all have all. */
static bool is_settled(const struct smr *w, unsigned queue)
{
    const struct smr_placement *p = &smr_head(w)->queues[queue];
    const struct mirror_queue *m = w->nodes[p->master].queues[queue].master;
    struct mirror_progress how = { .is_whole = true };
    if (m == NULL || !m->is_active || m->epoch != p->epoch)
        return false;
    for (unsigned i = 0; i < m->pair_count && how.is_whole; i++)
        mirror_queue_progress(m, i, &how);
    return how.is_whole;
}

static void move(struct smr *w)
{
    unsigned q = (unsigned)smr_below(w, w->queue_count);
    if (w->is_calm && !is_settled(w, q))
        return;
    smr_meta_propose(w, &(struct smr_proposal){ .what = SMR_MOVE,
                                                .queue = (uint8_t)q,
                                                .node = (uint8_t)smr_below(w, w->node_count),
                                                .epoch = smr_head(w)->queues[q].epoch });
}

static void sync_some(struct smr *w, struct smr_node *n)
{
    if (n->disk.count != n->disk.durable)
        smr_node_sync(n, rng_chance(&w->rng, w->chance.partial_1000));
}

static void break_link(struct smr *w, unsigned a, unsigned b)
{
    smr_link_break(&w->links[a][b]);
    if (smr_below(w, 2) == 0)
        smr_link_break(&w->links[b][a]);
    smr_line_clear(&w->passed[a][b]);
    if (w->has_takers && smr_below(w, 2) == 0)
        smr_taker_lose(w, a);
    smr_producer_lose(w, 1 + (unsigned)smr_below(w, w->producer_count), a);
}

static void step(struct smr *w)
{
    const struct smr_chances *c = &w->chance;
    unsigned a = (unsigned)smr_below(w, w->node_count);
    unsigned b = (a + 1 + (unsigned)smr_below(w, w->node_count - 1)) % w->node_count;
    unsigned pid = 1 + (unsigned)smr_below(w, w->producer_count);
    unsigned dice = (unsigned)smr_below(w, c->total);
    struct smr_node *n = &w->nodes[a];
    w->now_ms += smr_below(w, 12);
    for (unsigned i = 0; i < w->node_count; i++) {
        w->nodes[i].paused -= w->nodes[i].paused != 0;
        if (w->nodes[i].busy != 0 && --w->nodes[i].busy == 0 && w->nodes[i].is_alive)
            smr_node_flush(&w->nodes[i]);
    }
#define IS(name) (dice < c->name || (dice -= c->name, false))
    if (IS(deliver))
        deliver(w);
    else if (IS(produce))
        (void)smr_producer_deliver(w, pid, a);
    else if (IS(publish))
        smr_produce(w, pid);
    else if (IS(decide))
        smr_meta_decide(w);
    else if (IS(restart)) {
        if (!n->is_alive)
            restart(w, n);
        propose_up(w, n);
    } else if (IS(down))
        declare_down(w, n);
    else if (IS(move))
        move(w);
    else if (IS(take))
        smr_takers_step(w);
    else if (IS(cut))
        break_link(w, a, b);
    else if (IS(notice))
        smr_link_notice(&w->links[a][b]);
    else if (IS(connect)) {
        smr_link_connect(&w->links[a][b]);
        if (smr_below(w, 2) == 0)
            smr_producer_look(w, pid);
        else if (smr_below(w, 4) == 0)
            smr_producer_again(w, pid);
    } else if (!smr_is_awake(n))
        return;
    else if (IS(sync))
        sync_some(w, n);
    else if (IS(view))
        view(w, n);
    else if (IS(settle)) {
        smr_node_settle(n, (unsigned)smr_below(w, w->queue_count));
        smr_node_flush(n);
    } else if (IS(tick))
        tick(w, n);
    else if (IS(crash)) {
        w->has_crashed = true;
        smr_node_crash(w, a);
        if (smr_below(w, 2) == 0)
            declare_down(w, n);
    } else if (IS(pause))
        n->paused = 1 + (unsigned)smr_below(w, 60);
    else if (IS(turn))
        n->busy = 1 + (unsigned)smr_below(w, 40);
    else
        expel(w, n);
#undef IS
}

/* ---- the end ---- */

static void heal_round(struct smr *w)
{
    w->now_ms += 50;
    while (w->flight_count != 0)
        smr_meta_decide(w);
    for (unsigned i = 0; i < w->node_count; i++) {
        w->nodes[i].paused = 0;
        if (!w->nodes[i].is_alive)
            restart(w, &w->nodes[i]);
        propose_up(w, &w->nodes[i]);
    }
    for (unsigned i = 0; i < w->node_count; i++) {
        struct smr_node *n = &w->nodes[i];
        while (n->view + 1 != w->log_count)
            view(w, n);
        tick(w, n);
        smr_node_sync(n, false);
        for (unsigned k = 0; k < w->node_count; k++) {
            struct smr_link *l = &w->links[i][k];
            if (k == i)
                continue;
            while (l->stale != NULL || (l->is_broken && (l->is_up || l->source != NULL)))
                smr_link_notice(l);
            smr_link_connect(l);
            while (smr_link_deliver(l))
                ;
        }
    }
    for (unsigned pid = 1; pid <= w->producer_count; pid++) {
        while (w->producers[pid].view + 1 != w->log_count)
            smr_producer_look(w, pid);
        for (unsigned i = 0; i < w->node_count; i++)
            while (smr_producer_deliver(w, pid, i))
                ;
    }
    if (w->has_takers)
        smr_takers_heal(w);
}

static bool heal(struct smr *w)
{
    w->is_healing = true;
    smr_say(w, "all is healed");
    for (unsigned i = 0; w->is_calm && i < w->node_count; i++)
        smr_hand_wait_anew(&w->nodes[i]);
    for (unsigned i = 0; i < HEAL_ROUNDS && !w->has_failed; i++) {
        heal_round(w);
        if (smr_check_is_quiet(w) && (!w->has_takers || smr_takers_are_quiet(w)))
            return true;
        if (i % 8 == 7)
            for (unsigned pid = 1; pid <= w->producer_count; pid++)
                if (w->producers[pid].first_open <= w->producers[pid].seq)
                    smr_producer_again(w, pid);
    }
    return false;
}

static void fini(struct smr *w)
{
    for (unsigned i = 0; i < w->node_count; i++)
        smr_node_fini(w, i);
    for (unsigned i = 0; i < w->node_count; i++)
        for (unsigned k = 0; k < w->node_count; k++) {
            smr_line_fini(&w->links[i][k].forth);
            smr_line_fini(&w->links[i][k].back);
        }
    for (unsigned pid = 1; pid <= w->producer_count; pid++)
        for (unsigned i = 0; i < w->node_count; i++) {
            smr_line_fini(&w->producers[pid].to[i]);
            smr_line_fini(&w->producers[pid].from[i]);
        }
    smr_takers_fini(w);
    smr_meta_fini(w);
    mem_free(w->log);
    mem_free(w);
}

static bool run(uint64_t seed, bool has_takers, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct smr *w = mem_zalloc(sizeof *w);
    *out = (struct sim_report){ 0 };
    w->report = out;
    w->trace = trace;
    w->trace_arg = arg;
    w->log = mem_alloc(SMR_ENTRIES * sizeof *w->log);
    w->log[0] = (struct smr_state){ 0 };
    rng_init(&w->rng, seed);
    sim_world_begin(seed);
    draw(w);
    w->has_takers = has_takers;
    if (has_takers)
        draw_takers(w);
    smr_meta_init(w);
    for (unsigned i = 0; i < w->node_count; i++)
        for (unsigned k = 0; k < w->node_count; k++)
            smr_link_init(w, i, k);
    for (unsigned i = 0; i < w->node_count; i++)
        smr_node_init(w, i);
    for (unsigned i = 0; i < w->node_count; i++)
        smr_node_start(w, i);
    unsigned steps = STEPS_LEAST + (unsigned)smr_below(w, STEPS_MORE);
    for (; out->steps < steps && !w->has_failed; out->steps++)
        step(w);
    bool is_quiet = !w->has_failed && heal(w);
    if (!is_quiet)
        smr_fail(w, "it does not come to rest");
    else
        smr_check_end(w);
    bool ok = !w->has_failed;
    fini(w);
    sim_world_end();
    return ok;
}

bool sim_mirror_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    return run(seed, false, trace, arg, out);
}

bool sim_hand_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    return run(seed, true, trace, arg, out);
}
