/* The times of design 4.6, of the core as it is: one-way latency 0.15 to 0.85 ms. */
#include "sim_gossip.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "sim_gossip_world.h"

#include <stdio.h>
#include <stdlib.h>

#define MS      ((uint64_t)1000)
#define S       (1000 * MS)
#define LIFE_US (20 * S)

struct sample {
    uint64_t *us;
    size_t count;
};

struct trial {
    struct gw *w;
    unsigned members;
    unsigned dead; /* the one that crashed; `members`: none yet */
    uint64_t crash_us, first_us;
    uint64_t false_deaths;
};

static void on_heard(unsigned member, const struct gossip_change *c, void *arg)
{
    struct trial *t = arg;
    if (c->kind != GOSSIP_MEMBER_CHANGED || c->id == member + 1)
        return;
    unsigned of = (unsigned)c->id - 1;
    if (gw_view(t->w, member, of) != GOSSIP_DEAD)
        return;
    if (of != t->dead)
        t->false_deaths++;
    else if (t->first_us == 0)
        t->first_us = gw_now_us(t->w) - t->crash_us;
}

static bool all_know(const struct trial *t)
{
    for (unsigned i = 0; i < t->members; i++)
        if (i != t->dead && gw_view(t->w, i, t->dead) < GOSSIP_DEAD)
            return false;
    return true;
}

static unsigned reached(const struct trial *t, uint64_t ver)
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->members; i++)
        n += gw_rumour_of(t->w, i, 0) == ver;
    return n;
}

static void run(struct gw *w, uint64_t us)
{
    CHECK(gw_run(w, gw_now_us(w) + us));
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* In ms. */
static double share(struct sample *s, unsigned percent)
{
    qsort(s->us, s->count, sizeof *s->us, by_size);
    return s->count == 0 ? 0 : (double)s->us[(s->count - 1) * percent / 100] / 1000;
}

static void note(struct sample *s, uint64_t us)
{
    s->us[s->count++] = us;
}

struct row {
    struct sample first, all, half, news;
    uint64_t false_deaths, packets, life_us;
};

/* Life, with news now and then; then one crashes. */
static void one_trial(struct row *row, unsigned members, unsigned loss_permille, uint64_t seed)
{
    struct gw_plan plan = {
        .members = members, .least_us = 150, .most_us = 850, .loss_permille = loss_permille
    };
    struct trial t = { .w = gw_new(seed, &plan, NULL, NULL), .members = members, .dead = members };
    gw_on_heard(t.w, on_heard, &t);
    for (unsigned i = 0; i < members; i++)
        gw_start(t.w, i);
    run(t.w, 5 * S);
    uint64_t packets = gw_packets(t.w), start = gw_now_us(t.w);
    run(t.w, LIFE_US + gw_below(t.w, 1 * S));
    row->packets += (gw_packets(t.w) - packets) / members;
    row->life_us += gw_now_us(t.w) - start;

    uint64_t told = gw_now_us(t.w), half = 0;
    gw_rumour(t.w, (unsigned)gw_below(t.w, members), 0, 1);
    while (reached(&t, 1) < members) {
        run(t.w, MS / 4);
        if (half == 0 && 2 * reached(&t, 1) > members)
            half = gw_now_us(t.w) - told;
        if (gw_now_us(t.w) - told > 10 * S)
            break; /* a rumour has no second way: then it is as bad as that */
    }
    note(&row->news, gw_now_us(t.w) - told);
    note(&row->half, half);
    run(t.w, 2 * S + gw_below(t.w, 1 * S));

    t.dead = (unsigned)gw_below(t.w, members);
    t.crash_us = gw_now_us(t.w);
    gw_crash(t.w, t.dead);
    while (!all_know(&t))
        run(t.w, MS);
    note(&row->first, t.first_us);
    note(&row->all, gw_now_us(t.w) - t.crash_us);
    row->false_deaths += t.false_deaths;
    gw_free(&t.w);
}

void sim_gossip_figures(unsigned trials)
{
    static const struct {
        unsigned members, loss_permille;
    } rows[] = { { 3, 0 },   { 3, 200 },  { 5, 0 },   { 5, 200 },   { 10, 50 },  { 10, 200 },
                 { 30, 50 }, { 30, 200 }, { 100, 0 }, { 100, 100 }, { 100, 200 } };
    printf("nodes  loss | a crash is seen first, p50 / p99 ms | by all p50 / p99 | "
           "news reaches all p50 / p99 (half) | false deaths | packets/s a node\n");
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        unsigned n = rows[i].members >= 100 ? (trials + 3) / 4 : trials;
        uint64_t *room = mem_array((size_t)n * 4, sizeof *room);
        struct row row = { .first = { room, 0 },
                           .all = { room + n, 0 },
                           .half = { room + 2 * n, 0 },
                           .news = { room + 3 * n, 0 } };
        for (unsigned k = 0; k < n; k++)
            one_trial(&row, rows[i].members, rows[i].loss_permille, 1000 * i + k + 1);
        double hours = (double)row.life_us * rows[i].members / 3.6e9;
        printf("%5u %4u%% | %6.0f / %6.0f | %6.0f / %6.0f | %5.0f / %5.0f (%3.0f) | "
               "%llu in %.1f node-hours | %.0f\n",
               rows[i].members, rows[i].loss_permille / 10, share(&row.first, 50),
               share(&row.first, 99), share(&row.all, 50), share(&row.all, 99),
               share(&row.news, 50), share(&row.news, 99), share(&row.half, 50),
               (unsigned long long)row.false_deaths, hours,
               (double)row.packets * 1e6 / (double)row.life_us);
        mem_free(room);
    }
}
