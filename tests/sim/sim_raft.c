#include "sim_raft.h"

#include "base/check.h"
#include "base/mem.h"
#include "sim_cluster.h"
#include "sim_group.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MS        1000
#define WORKS_MAX 20000 /* about so many times something is wanted: fewer than SIM_INDEX_MAX */

void sim_raft_say(struct sim_raft *w, const char *fmt, ...)
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

void sim_raft_fail(struct sim_raft *w, const char *fmt, ...)
{
    if (w->has_failed)
        return;
    w->has_failed = true;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(w->report->why, sizeof w->report->why, fmt, args);
    va_end(args);
}

/* ---- what the seed decides ---- */

static unsigned some(struct rng *r, unsigned most)
{
    return rng_below(r, 2) == 0 ? 0 : 1 + (unsigned)rng_below(r, most);
}

/* Each fault exists in half of the seeds, so that rare things meet each other undisturbed. */
static void draw_chances(struct sim_raft *w)
{
    struct rng *r = &w->rng;
    w->chance = (struct sim_chances){
        .lose = some(r, 200),
        .twice = some(r, 100),
        .late = some(r, 100),
        .cut = some(r, 60),
        .one_way = some(r, 1000),
        .crash = some(r, 60),
        .pause = some(r, 40),
        .damage = some(r, 300),
        .slow_disk = some(r, 50),
        .change = some(r, 100),
        .transfer = some(r, 40),
        .snapshot = some(r, 150),
        .read = some(r, 200),
        .gone = some(r, 50),
        .propose = 200 + (unsigned)rng_below(r, 700),
        .delay_us = 100 + (int64_t)rng_below(r, 3000),
        .late_us = 1 + (int64_t)rng_below(r, 300 * MS),
        .disk_us = 50 + (int64_t)rng_below(r, 4000),
        .is_fifo = rng_below(r, 2) == 0,
        .is_wired = rng_below(r, 8) == 0,
        .has_slow_apply = rng_below(r, 2) == 0,
    };
}

static void draw_setup(struct sim_raft *w)
{
    struct rng *r = &w->rng;
    raft_setup_default(&w->setup);
    w->setup.heartbeat_us = 20 * MS + (int64_t)rng_below(r, 30 * MS);
    w->setup.election_min_us = w->setup.heartbeat_us * (2 + (int64_t)rng_below(r, 4));
    w->setup.election_max_us = w->setup.election_min_us * 2;
    w->setup.append_bytes = 1 + (uint32_t)rng_below(r, 2000);
    w->setup.window_bytes = 1 + (uint32_t)rng_below(r, 10000);
    w->setup.window_count = 1 + (uint32_t)rng_below(r, 20);
    w->setup.writes_max = 1 + (uint32_t)rng_below(r, RAFT_WRITES_MAX);
    w->setup.tail_bytes = rng_below(r, 2) == 0 ? 0 : rng_below(r, 3000);
    if (rng_below(r, 4) == 0)
        w->setup.log_bytes_max = (w->cluster != NULL ? 5000u : 500u) + rng_below(r, 5000);
}

static void make_group(struct sim_raft *w)
{
    struct raft_config c = { 0 };
    w->voters_at_first = 1 + (unsigned)rng_below(&w->rng, SIM_NODES - 1);
    for (unsigned i = 1; i <= w->voters_at_first; i++) {
        enum raft_part part = i > 1 && rng_below(&w->rng, 8) == 0 ? RAFT_WITNESS : RAFT_VOTER;
        CHECK(raft_config_set(&c, (uint16_t)i, part));
    }
    struct raft_entry e[2] = {
        { .index = 1, .term = 1, .kind = RAFT_CONFIG, .bytes = raft_config_buf(&c) },
        { .index = 2, .term = 1, .kind = RAFT_COMMAND, .bytes = NULL },
    };
    struct raft_write write = { .has_hard = true, .hard = { .term = 1 }, .entries = e, .count = 1 };
    if (w->group != NULL) {
        e[1].bytes = sim_group_first_entry();
        write.count = 2;
    }
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        struct sim_raft_node *n = &w->nodes[i];
        raft_store_init(&n->store);
        raft_effects_init(&n->fx);
        n->rate_ppm = (int32_t)rng_below(&w->rng, 100001) - 50000;
        if (w->cluster != NULL)
            n->rate_ppm *= 2; /* as far as grants may be led astray */
        if (i <= w->voters_at_first)
            raft_store_write(&n->store, &write, raft_store_parts(&write));
    }
    buf_unref(&e[0].bytes);
    buf_unref(&e[1].bytes);
    for (unsigned i = 1; i <= SIM_NODES; i++)
        sim_raft_node_start(w, i);
}

/* ---- faults ---- */

static unsigned leader(const struct sim_raft *w)
{
    unsigned found = 0;
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        const struct raft *r = w->nodes[i].raft;
        if (r != NULL && raft_role(r) == RAFT_LEADER &&
            (found == 0 || raft_term(r) > raft_term(w->nodes[found].raft)))
            found = i;
    }
    return found;
}

static bool happens(struct sim_raft *w, unsigned chance)
{
    return chance != 0 && rng_chance(&w->rng, chance);
}

static unsigned some_node(struct sim_raft *w)
{
    return 1 + (unsigned)rng_below(&w->rng, SIM_NODES);
}

/* At most one at a time, and never one of two voters: what is lost twice is lost. */
static void damage(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    struct raft_store *s = &n->store;
    for (unsigned i = 1; i <= SIM_NODES; i++)
        if (!w->nodes[i].store.is_whole || w->nodes[i].store.hard.is_recovering)
            return;
    if (s->count == 0 || w->voters_at_first < 3)
        return;
    uint64_t last = s->base + s->count;
    if (last > n->had)
        n->had = last;
    n->had_acked = n->acked;
    n->had_term = n->acked_term;
    raft_store_damage(s, last - rng_below(&w->rng, s->count < 20 ? s->count : 20));
    w->report->damages++;
    sim_raft_say(w, "%u lost its entries behind %d of %d", node, (int)(s->base + s->count),
                 (int)last);
}

static void restart(struct sim_raft *w, unsigned node, bool loses)
{
    struct sim_raft_node *n = &w->nodes[node];
    if (node == SIM_RAM_NODE) {
        raft_store_fini(&n->store);
        raft_store_init(&n->store);
    } else if (loses) {
        damage(w, node);
    }
    if (w->is_healed || n->boot + 2 < SIM_BOOTS_MAX)
        sim_raft_node_start(w, node);
}

/* Once more, while words to its former life are under way. */
static void hit_again(struct sim_raft *w)
{
    unsigned node = w->mended;
    w->mended = 0;
    if (w->nodes[node].raft == NULL || w->chance.damage == 0 || rng_below(&w->rng, 4) != 0)
        return;
    sim_raft_node_crash(w, node);
    restart(w, node, true);
}

static void some_fault(struct sim_raft *w)
{
    unsigned node = some_node(w);
    if (w->mended != 0)
        hit_again(w);
    if (leader(w) != 0 && rng_below(&w->rng, 4) == 0)
        node = leader(w);
    struct sim_raft_node *n = &w->nodes[node];
    if (n->raft == NULL) {
        if (rng_below(&w->rng, 4) == 0)
            restart(w, node, happens(w, w->chance.damage));
        return;
    }
    if (happens(w, w->chance.crash)) {
        sim_raft_node_crash(w, node);
    } else if (happens(w, w->chance.pause)) {
        n->paused_until_us = w->now_us + (int64_t)rng_below(&w->rng, 1500 * MS);
        sim_raft_say(w, "%u is stopped", node);
    }
    if (happens(w, w->chance.cut))
        sim_raft_net_cut(w);
    else if (rng_below(&w->rng, 20) == 0)
        sim_raft_net_heal(w);
}

/* ---- clients ---- */

/* A node that is awake, since the caller knows that one is. */
static unsigned some_awake(struct sim_raft *w)
{
    unsigned node = some_node(w);
    while (!sim_raft_node_is_awake(w, node))
        node = node % SIM_NODES + 1;
    return node;
}

static void propose(struct sim_raft *w, unsigned node)
{
    struct buf *commands[5];
    size_t count = 1 + (size_t)rng_below(&w->rng, ARRAY_COUNT(commands));
    for (size_t i = 0; i < count; i++) {
        commands[i] = buf_new(8 + (size_t)rng_below(&w->rng, 40));
        commands[i]->len_bytes = commands[i]->cap_bytes;
        memset(commands[i]->data, 'c', commands[i]->len_bytes);
        memcpy(commands[i]->data, &w->proposed, 8);
        w->proposed++;
    }
    sim_raft_node_step(w, node,
                       &(struct raft_event){ .kind = RAFT_EV_PROPOSE,
                                             .propose = { .commands = commands, .count = count } });
    for (size_t i = 0; i < count; i++)
        buf_unref(&commands[i]);
    w->report->messages += count;
}

static void change(struct sim_raft *w, unsigned node)
{
    unsigned whom = some_node(w);
    struct raft_change c = { .node = (uint16_t)whom, .is_removal = rng_below(&w->rng, 4) == 0 };
    c.part = (enum raft_part)(RAFT_LEARNER + rng_below(&w->rng, 3));
    if (whom == SIM_RAM_NODE)
        c.part = RAFT_LEARNER;
    sim_raft_node_step(w, node, &(struct raft_event){ .kind = RAFT_EV_CHANGE, .change = c });
}

static void tell_gone(struct sim_raft *w, unsigned node)
{
    unsigned other = some_node(w);
    enum raft_event_kind kind =
        w->nodes[other].raft == NULL ? RAFT_EV_PEER_GONE : RAFT_EV_PEER_OPEN;
    sim_raft_node_step(w, node, &(struct raft_event){ .kind = kind, .node = (uint16_t)other });
}

static void some_work(struct sim_raft *w)
{
    unsigned node = some_node(w);
    /* Most of the work is the leader's. */
    for (unsigned i = 1; i <= SIM_NODES && rng_below(&w->rng, 8) != 0; i++)
        if (w->nodes[i].raft != NULL && raft_role(w->nodes[i].raft) == RAFT_LEADER)
            node = i;
    if (!sim_raft_node_is_awake(w, node))
        return;
    if (w->group != NULL)
        sim_group_work(w, some_awake(w));
    else if (happens(w, w->chance.propose) && w->proposed < 2500)
        propose(w, node);
    if (happens(w, w->chance.change))
        change(w, node);
    if (happens(w, w->chance.transfer))
        sim_raft_node_step(w, node,
                           &(struct raft_event){ .kind = RAFT_EV_TRANSFER,
                                                 .node = (uint16_t)rng_below(&w->rng, SIM_NODES) });
    if (happens(w, w->chance.read) && w->read_count < SIM_READS_MAX)
        sim_raft_node_step(w, node,
                           &(struct raft_event){ .kind = RAFT_EV_READ, .token = w->read_count++ });
    if (happens(w, w->chance.gone))
        tell_gone(w, node);
    if (rng_below(&w->rng, 8) == 0)
        sim_raft_node_count_all(w, node);
    unsigned other = some_node(w);
    if ((happens(w, w->chance.snapshot) || w->setup.log_bytes_max < 10000) &&
        sim_raft_node_is_awake(w, other))
        (void)sim_raft_node_snapshot(w, other);
}

/* ---- time ---- */

/* The member whose clock wants to be heard next, and when. */
static unsigned next_timer(const struct sim_raft *w, int64_t *at_us)
{
    unsigned first = 0;
    *at_us = INT64_MAX;
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        const struct sim_raft_node *n = &w->nodes[i];
        if (n->raft == NULL || raft_deadline_us(n->raft) == INT64_MAX)
            continue;
        int64_t at = sim_raft_node_when(w, i, raft_deadline_us(n->raft));
        if (at < n->paused_until_us)
            at = n->paused_until_us;
        if (at < *at_us) {
            *at_us = at;
            first = i;
        }
    }
    return first;
}

static void run_until(struct sim_raft *w, int64_t end_us)
{
    while (!w->has_failed) {
        int64_t timer_us;
        unsigned node = next_timer(w, &timer_us);
        struct sim_raft_act act;
        if (sim_raft_net_next(w, timer_us < end_us ? timer_us + 1 : end_us, &act)) {
            sim_raft_node_act(w, &act);
            continue;
        }
        if (node == 0 || timer_us >= end_us)
            break;
        if (w->now_us < timer_us)
            w->now_us = timer_us;
        sim_raft_node_step(w, node, &(struct raft_event){ .kind = RAFT_EV_TIME });
    }
    w->now_us = end_us;
}

/* ---- the end: all is well again ---- */

static void heal(struct sim_raft *w)
{
    w->is_healed = true;
    sim_raft_net_heal(w);
    w->chance.lose = w->chance.twice = w->chance.late = w->chance.slow_disk = 0;
    w->chance.damage = 0;
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        w->nodes[i].paused_until_us = 0;
        if (w->nodes[i].raft == NULL)
            restart(w, i, false);
    }
    sim_raft_say(w, "all is healed");
}

/* A witness may lead until it has handed over; the log may be full until there is a snapshot. */
static bool all_have(struct sim_raft *w, unsigned by, uint64_t index)
{
    const struct raft_config *c = raft_config(w->nodes[by].raft);
    for (uint32_t i = 0; i < c->count; i++) {
        const struct sim_raft_node *n = &w->nodes[c->members[i].node];
        if (n->raft == NULL || n->machine.index < index || raft_is_recovering(n->raft))
            return false;
        if (w->group != NULL && !sim_group_is_done(w, c->members[i].node))
            return false;
    }
    return w->cluster == NULL || sim_cluster_is_served(w, by);
}

/* Nobody else can be elected while one that recovers would have to vote: not to be mended here. */
static bool is_hopeless(const struct sim_raft *w)
{
    for (unsigned i = 1; i <= SIM_NODES; i++)
        if (w->nodes[i].raft != NULL && raft_is_recovering(w->nodes[i].raft))
            return leader(w) == 0;
    return false;
}

/* A while, after which all that are up do what is to be done; snapshots, too, since without them a
 * log that is full stays so. */
static void go_on(struct sim_raft *w)
{
    run_until(w, w->now_us + w->setup.election_max_us / 2);
    for (unsigned i = 1; i <= SIM_NODES && !w->has_failed; i++)
        if (w->nodes[i].raft != NULL)
            (void)sim_raft_node_snapshot(w, i);
    for (unsigned i = 1; w->group != NULL && i <= SIM_NODES && !w->has_failed; i++)
        if (w->nodes[i].raft != NULL)
            sim_group_work(w, i);
}

static void expect_life(struct sim_raft *w)
{
    uint64_t goal = 0;
    for (int round = 0; round < 200 && !w->has_failed; round++) {
        go_on(w);
        unsigned by = leader(w);
        if (by == 0 || w->has_failed)
            continue;
        if (goal != 0 && raft_commit(w->nodes[by].raft) >= goal && all_have(w, by, goal))
            return;
        /* What another leader had taken may be lost. */
        if (goal == 0 || round % 8 == 0) {
            uint64_t last = raft_last(w->nodes[by].raft);
            if (w->group == NULL)
                propose(w, by);
            else
                sim_group_say_nothing(w, by);
            if (!w->has_failed && raft_last(w->nodes[by].raft) > last)
                goal = last + 1;
        }
    }
    if (!is_hopeless(w))
        sim_raft_fail(w, "it does not come to life again: leader %u", leader(w));
}

/* The others can still agree on something. */
static bool may_be_absent(const struct sim_raft *w, unsigned by, unsigned node)
{
    const struct raft_config *c = raft_config(w->nodes[by].raft);
    const struct raft_member *m = raft_config_find(c, (uint16_t)node);
    return m == NULL || m->part == RAFT_LEARNER || raft_config_voters(c) >= 3;
}

static bool may_all_restart(const struct sim_raft *w)
{
    for (unsigned i = 1; i <= SIM_NODES; i++)
        if (w->nodes[i].boot + 1 >= SIM_BOOTS_MAX)
            return false;
    return true;
}

static void expect_the_rest(struct sim_raft *w, unsigned absent)
{
    for (int round = 0; round < 200 && !w->has_failed; round++) {
        go_on(w);
        unsigned by = leader(w);
        if (by != 0 && !w->has_failed && sim_cluster_serves_the_rest(w, by))
            return;
    }
    sim_raft_fail(w, "what others than %u have is not served while it is away", absent);
}

/* An operator stops them all: as many as come to say so before they end. */
static void stop_together(struct sim_raft *w)
{
    for (unsigned stage = 0; stage < 2 && !w->has_failed; stage++) {
        sim_cluster_want_to_stop(w, stage == 0);
        for (int round = 0; round < 20 && !w->has_failed; round++)
            go_on(w);
    }
}

/* All nodes end at once, and one of them is away for a while. */
static void end_all(struct sim_raft *w)
{
    unsigned by = leader(w), absent = some_node(w);
    bool is_wanted = rng_below(&w->rng, 2) == 0;
    if (by == 0 || !may_be_absent(w, by, absent) || !may_all_restart(w))
        return;
    sim_raft_say(w, "all %s, and %u is away", is_wanted ? "are stopped" : "lose their power",
                 absent);
    if (is_wanted)
        stop_together(w);
    if (w->has_failed)
        return;
    sim_cluster_cut_off(w, by, absent); /* meanwhile one may have been taken for down */
    for (unsigned i = 1; i <= SIM_NODES; i++)
        sim_raft_node_crash(w, i);
    for (unsigned i = 1; i <= SIM_NODES; i++)
        if (i != absent)
            restart(w, i, false);
    expect_the_rest(w, absent);
    if (w->has_failed)
        return;
    restart(w, absent, false);
    expect_life(w);
}

static void tell_state(struct sim_raft *w)
{
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        const struct raft *r = w->nodes[i].raft;
        if (r == NULL)
            continue;
        sim_raft_say(w, "%u: %s term %d leader %u, log %d..%d, durable %d, commit %d, applied %d%s",
                     i, raft_role_name(raft_role(r)), (int)raft_term(r), raft_leader(r),
                     (int)raft_log(r)->base, (int)raft_last(r), (int)raft_durable(r),
                     (int)raft_commit(r), (int)w->nodes[i].machine.index,
                     raft_is_recovering(r) ? ", recovering" : "");
        for (unsigned k = 1; k <= SIM_NODES; k++) {
            struct raft_peer_state p;
            const struct raft_member *m = raft_config_find(raft_config(r), (uint16_t)k);
            if (m != NULL && raft_peer_state(r, (uint16_t)k, &p))
                sim_raft_say(w, "   %u: part %d, match %d, heard %d us ago%s%s", k, (int)m->part,
                             (int)p.match, (int)(sim_raft_node_clock(w, i) - p.heard_us),
                             p.is_recovering ? ", recovering" : "",
                             p.is_fetching ? ", fetching" : "");
        }
    }
}

enum depth { RAFT_ALONE, AND_GROUP, AND_CLUSTER };

static bool run(uint64_t seed, enum depth depth, sim_say_fn trace, void *arg,
                struct sim_report *out)
{
    struct sim_raft *w = mem_zalloc(sizeof *w);
    *out = (struct sim_report){ 0 };
    w->report = out;
    w->trace = trace;
    w->trace_arg = arg;
    w->committed = mem_array(SIM_INDEX_MAX, sizeof *w->committed);
    w->known = mem_array(SIM_KNOWN_MAX, sizeof *w->known);
    rng_init(&w->rng, seed);
    sim_raft_net_init(w);
    if (depth >= AND_GROUP)
        w->group = sim_group_new(w);
    if (depth == AND_CLUSTER)
        w->cluster = sim_cluster_new();
    draw_setup(w);
    draw_chances(w);
    make_group(w);
    int64_t end = (2 + (int64_t)rng_below(&w->rng, 30)) * w->setup.election_max_us;
    int64_t pace = 1 + (int64_t)rng_below(&w->rng, 20 * MS);
    if (pace < end / WORKS_MAX)
        pace = end / WORKS_MAX;
    while (w->now_us < end && !w->has_failed) {
        run_until(w, w->now_us + 1 + (int64_t)rng_below(&w->rng, (uint64_t)(2 * pace)));
        if (!w->has_failed)
            some_work(w);
        if (!w->has_failed)
            some_fault(w);
    }
    if (!w->has_failed)
        heal(w);
    expect_life(w);
    if (w->cluster != NULL && !w->has_failed)
        end_all(w);
    if (w->has_failed)
        tell_state(w);
    for (unsigned i = 1; i <= SIM_NODES; i++) {
        if (w->nodes[i].raft != NULL)
            sim_raft_node_crash(w, i);
        raft_store_fini(&w->nodes[i].store);
        raft_effects_fini(&w->nodes[i].fx);
    }
    sim_raft_net_fini(w);
    sim_group_free(&w->group);
    sim_cluster_free(&w->cluster);
    mem_free(w->committed);
    mem_free(w->known);
    bool ok = !w->has_failed;
    mem_free(w);
    return ok;
}

bool sim_raft_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    return run(seed, RAFT_ALONE, trace, arg, out);
}

bool sim_group_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    return run(seed, AND_GROUP, trace, arg, out);
}

bool sim_cluster_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    return run(seed, AND_CLUSTER, trace, arg, out);
}
