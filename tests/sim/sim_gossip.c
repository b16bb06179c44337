#include "sim_gossip.h"

#include "base/check.h"
#include "sim_gossip_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MS        ((uint64_t)1000)
#define S         (1000 * MS)

#define SETTLE_US (25 * S) /* when all is well, so long may it take until all agree */
#define NEWS_US   (1 * S)  /* and so long until news has reached all */

/* Which faults a seed has: rare combinations are not to be thinned out by common ones. */
struct faults {
    bool crashes, leaves, pauses, cuts, splits, rates;
    bool only_loss; /* and few members: nobody may be declared dead */
};

struct run {
    struct gw *w;
    unsigned members;
    struct faults has;
    uint64_t next_ver, next_index;
    struct sim_report *report;
};

static bool draw(struct rng *r)
{
    return rng_below(r, 2) == 0;
}

static void draw_plan(struct rng *r, struct gw_plan *p, struct faults *f)
{
    static const uint64_t keeps[] = { 0, 0, 0, 20 * S };
    *f = (struct faults){ .only_loss = rng_below(r, 4) == 0 };
    if (!f->only_loss)
        *f = (struct faults){ draw(r), draw(r), draw(r), draw(r), draw(r), draw(r), false };
    *p = (struct gw_plan){
        .members = (unsigned)(f->only_loss ? 3 + rng_below(r, 3) : 2 + rng_below(r, 9)),
        .least_us = 150,
        .most_us = draw(r) ? 850 : 150 + rng_below(r, 20 * MS),
        .loss_permille = draw(r) ? 0 : (unsigned)rng_below(r, f->only_loss ? 201 : 400),
        .double_permille = draw(r) ? 0 : (unsigned)rng_below(r, 200),
        .late_permille = draw(r) ? 0 : (unsigned)rng_below(r, 300),
        .late_us = f->only_loss ? 20 * MS : 1 + rng_below(r, 3 * S),
        .dead_keep_us = keeps[rng_below(r, 4)],
        .is_checked = true,
    };
    if (!f->only_loss)
        return;
    p->most_us = 850;
    if (rng_below(r, 4) == 0) { /* a wall that lets nothing through but TCP */
        p->loss_permille = 1000;
        p->has_good_tcp = true;
    }
}

/* ---- faults -----------------------------------------------------------------------------------
 */

/* All ways between two sides, in one direction or both. */
static void split(struct run *r)
{
    unsigned mask = (unsigned)gw_below(r->w, 1u << r->members);
    bool is_one_way = gw_below(r->w, 3) == 0, is_cut = gw_below(r->w, 3) != 0;
    for (unsigned a = 0; a < r->members; a++)
        for (unsigned b = 0; b < r->members; b++) {
            bool crosses = ((mask >> a) & 1) > ((mask >> b) & 1);
            if (crosses) {
                gw_cut(r->w, a, b, is_cut);
                gw_cut(r->w, b, a, is_cut && !is_one_way);
            }
        }
}

static void some_fault(struct run *r)
{
    unsigned member = (unsigned)gw_below(r->w, r->members);
    bool is_up = gw_is_up(r->w, member);
    switch (gw_below(r->w, 6)) {
    case 0:
        if (r->has.crashes && is_up)
            gw_crash(r->w, member);
        return;
    case 1:
        if (r->has.leaves && is_up && gw_below(r->w, 3) == 0)
            gw_leave(r->w, member);
        return;
    case 2:
        if (r->has.pauses && is_up)
            gw_pause(r->w, member,
                     gw_below(r->w, 2) != 0 ? gw_below(r->w, 1 * S) : gw_below(r->w, 20 * S));
        return;
    case 3:
        if (r->has.cuts)
            gw_cut(r->w, member, (unsigned)gw_below(r->w, r->members), gw_below(r->w, 2) != 0);
        return;
    case 4:
        if (r->has.splits)
            split(r);
        return;
    default:
        if (r->has.rates)
            gw_rate(r->w, member, (unsigned)(900 + gw_below(r->w, 201)));
        return;
    }
}

static void some_news(struct run *r)
{
    unsigned member = (unsigned)gw_below(r->w, r->members);
    if (gw_below(r->w, 2) != 0)
        gw_pulse(r->w, member, ++r->next_index);
    else
        gw_rumour(r->w, member, gw_below(r->w, GW_KEYS), ++r->next_ver);
}

static bool live(struct run *r, uint64_t until_us)
{
    while (gw_now_us(r->w) < until_us) {
        if (!gw_run(r->w, gw_now_us(r->w) + gw_below(r->w, 400 * MS)))
            return false;
        some_news(r);
        if (gw_below(r->w, 3) == 0)
            some_fault(r);
        unsigned member = (unsigned)gw_below(r->w, r->members);
        if (!gw_is_up(r->w, member) && gw_below(r->w, 4) == 0) {
            gw_start(r->w, member);
            r->report->restarts++;
        }
    }
    return true;
}

/* ---- when all is well again -------------------------------------------------------------------
 */

/* Those who live know each other, up to a suspicion when `may_suspect`; and, with `and_gone`, know
 * that the others are gone. */
static bool has_agreed(const struct run *r, bool may_suspect, bool and_gone, unsigned *who,
                       unsigned *of)
{
    for (*who = 0; *who < r->members; (*who)++)
        for (*of = 0; gw_is_up(r->w, *who) && *of < r->members; (*of)++) {
            enum gossip_state s = gw_view(r->w, *who, *of);
            if (gw_is_up(r->w, *of) ? s > (may_suspect ? GOSSIP_SUSPECT : GOSSIP_ALIVE)
                                    : and_gone && s < GOSSIP_DEAD)
                return false;
        }
    return true;
}

static bool settles(struct run *r)
{
    unsigned who, of;
    uint64_t end = gw_now_us(r->w) + SETTLE_US;
    while (!has_agreed(r, false, true, &who, &of)) {
        if (gw_now_us(r->w) >= end)
            return gw_fail(r->w, "%u still thinks of %u that it is %s", who, of,
                           gossip_state_text(gw_view(r->w, who, of)));
        if (!gw_run(r->w, gw_now_us(r->w) + 100 * MS))
            return false;
    }
    return true;
}

/* They agree, and nothing happens: so it stays, but for a suspicion when packets are lost, and for
 * the gone of whom somebody hears for the first time by a late word; and news reaches all in time.
 */
static bool stays(struct run *r)
{
    unsigned who, of, teller = (unsigned)gw_below(r->w, r->members);
    if (!gw_run(r->w, gw_now_us(r->w) + 5 * S))
        return false;
    if (!has_agreed(r, true, false, &who, &of))
        return gw_fail(r->w, "%u does not think any more of %u what all knew", who, of);
    if (!settles(r))
        return false;
    if (!gw_is_up(r->w, teller))
        return true;
    gw_rumour(r->w, teller, 1, ++r->next_ver);
    if (!gw_run(r->w, gw_now_us(r->w) + NEWS_US))
        return false;
    for (who = 0; who < r->members; who++)
        if (gw_is_up(r->w, who) && gw_rumour_of(r->w, who, 1) != r->next_ver)
            return gw_fail(r->w, "news did not reach %u", who);
    return true;
}

/* ---- one history ------------------------------------------------------------------------------
 */

static void on_heard(unsigned member, const struct gossip_change *c, void *arg)
{
    struct run *r = arg;
    r->report->messages++;
    if (r->has.only_loss && c->kind == GOSSIP_MEMBER_CHANGED && c->id != member + 1 &&
        gw_view(r->w, member, (unsigned)c->id - 1) >= GOSSIP_DEAD)
        (void)gw_fail(r->w, "%u declared %u dead, though only packets were lost", member,
                      (unsigned)c->id - 1);
}

bool sim_gossip_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct rng rng;
    struct gw_plan plan;
    struct run r = { .report = out };
    *out = (struct sim_report){ 0 };
    rng_init(&rng, seed ^ 0x60551Fu);
    draw_plan(&rng, &plan, &r.has);
    r.members = plan.members;
    r.w = gw_new(rng_u64(&rng), &plan, trace, arg);
    gw_on_heard(r.w, on_heard, &r);
    for (unsigned i = 0; i < plan.members; i++)
        gw_start(r.w, i);

    bool ok = live(&r, 10 * S + gw_below(r.w, 30 * S));
    if (ok) {
        gw_heal(r.w);
        gw_lose(r.w, plan.loss_permille > 50 ? 50 : plan.loss_permille);
        ok = settles(&r) && stays(&r);
    }
    out->steps = gw_steps(r.w);
    if (!ok)
        memcpy(out->why, gw_why(r.w), sizeof out->why);
    gw_free(&r.w);
    return ok;
}
