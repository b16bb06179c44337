/* Who is asked whether it is there, who helps to ask, and what no answer means. */
#include "base/check.h"
#include "base/mutation.h"
#include "gossip/gossip_state.h"

static uint64_t stretched(const struct gossip *g, uint64_t us)
{
    return us * (g->doubt + 1);
}

/* ---- rounds -----------------------------------------------------------------------------------
 */

static void swap(uint64_t *a, uint64_t *b)
{
    uint64_t x = *a;
    *a = *b;
    *b = x;
}

static void new_round(struct gossip *g)
{
    g->order_count = g->order_at = 0;
    for (size_t i = 0; i < g->count; i++)
        if (g->members[i] != g->self && member_is_there(g->members[i]))
            g->order[g->order_count++] = g->members[i]->pub.id;
    for (size_t i = g->order_count; i > 1; i--)
        swap(&g->order[i - 1], &g->order[rng_below(&g->rng, i)]);
}

void probe_meet(struct gossip *g, uint64_t id)
{
    if (g->order_count == GOSSIP_MEMBERS_MAX)
        return; /* the next round has it */
    size_t at = g->order_at + rng_below(&g->rng, g->order_count - g->order_at + 1);
    g->order[g->order_count] = id;
    swap(&g->order[g->order_count++], &g->order[at]);
}

static struct member *next_target(struct gossip *g)
{
    for (int rounds = 0; rounds < 2; rounds++) {
        while (g->order_at < g->order_count) {
            struct member *m = members_find(g, g->order[g->order_at++]);
            if (m != NULL && m != g->self && member_is_there(m))
                return m;
        }
        new_round(g);
    }
    return NULL;
}

/* ---- one probe --------------------------------------------------------------------------------
 */

static void begin(struct gossip *g, struct gossip_effects *out)
{
    struct member *m = next_target(g);
    g->next_probe_us = g->now_us + g->conf.period_us;
    if (m == NULL)
        return;
    g->figures.probes++;
    g->probe = (struct probe){ .is_on = true,
                               .target = m->pub.id,
                               .seq = ++g->next_seq,
                               .start_us = g->now_us,
                               .ask_at_us = g->now_us + stretched(g, g->conf.ack_us),
                               .end_us = g->now_us + stretched(g, g->conf.period_us) };
    spread_send(
        g, m->pub.id,
        &(struct gossip_head){ .kind = GOSSIP_PING, .seq = g->probe.seq, .target = m->pub.id },
        out);
}

/* Others may reach it, and TCP gets through where single packets are lost. */
static void ask_others(struct gossip *g, struct gossip_effects *out)
{
    struct probe *p = &g->probe;
    uint64_t helpers[GOSSIP_MEMBERS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < g->count; i++) {
        const struct member *m = g->members[i];
        if (m != g->self && m->pub.id != p->target && m->pub.state == GOSSIP_ALIVE)
            helpers[n++] = m->pub.id;
    }
    p->is_asked = true;
    for (; n != 0 && p->helpers < HELPERS; p->helpers++) {
        size_t at = rng_below(&g->rng, n);
        spread_send(
            g, helpers[at],
            &(struct gossip_head){ .kind = GOSSIP_PING_REQ, .seq = p->seq, .target = p->target },
            out);
        helpers[at] = helpers[--n];
    }
    if (MUTATION(GOSSIP_NO_TCP_PING))
        return;
    out->tcp_ping = p->target;
    out->tcp_ping_seq = p->seq;
}

static void fail(struct gossip *g, struct gossip_effects *out)
{
    struct probe *p = &g->probe;
    struct member *m = members_find(g, p->target);
    p->is_on = false;
    g->figures.probes_failed++;
    /* A helper that can hear us says at least that it got no answer either. When they are silent,
     * too, it is rather we who are ill. */
    unsigned more = p->helpers == 0 ? 1 : p->helpers - p->nacks;
    g->doubt = g->doubt + more < GOSSIP_DOUBT_MAX ? g->doubt + more : GOSSIP_DOUBT_MAX;
    if (m != NULL && member_is_there(m))
        words_suspect(g, m, out);
}

void probe_answered(struct gossip *g, uint32_t seq)
{
    struct probe *p = &g->probe;
    if (!p->is_on || p->seq != seq)
        return;
    p->is_on = false;
    g->doubt -= g->doubt != 0;
    g->next_probe_us = p->start_us + g->conf.period_us;
}

/* ---- for others -------------------------------------------------------------------------------
 */

void probe_help(struct gossip *g, uint64_t origin, const struct gossip_head *h,
                struct gossip_effects *out)
{
    struct relay *free = NULL;
    for (unsigned i = 0; i < RELAYS_MAX && free == NULL; i++)
        free = g->relays[i].origin == 0 ? &g->relays[i] : NULL;
    if (free == NULL || members_find(g, h->target) == NULL || h->target == g->conf.id)
        return;
    *free = (struct relay){ .origin = origin,
                            .origin_seq = h->seq,
                            .seq = ++g->next_seq,
                            .end_us = g->now_us + g->conf.ack_us };
    spread_send(g, h->target,
                &(struct gossip_head){ .kind = GOSSIP_PING, .seq = free->seq, .target = h->target },
                out);
}

static void relay_end(struct gossip *g, struct relay *r, enum gossip_packet_kind kind,
                      struct gossip_effects *out)
{
    struct gossip_head h = { .kind = kind, .seq = r->origin_seq };
    uint64_t origin = r->origin;
    r->origin = 0;
    spread_send(g, origin, &h, out);
}

void probe_heard(struct gossip *g, const struct gossip_head *h, struct gossip_effects *out)
{
    if (h->kind == GOSSIP_NACK) {
        g->probe.nacks +=
            g->probe.is_on && g->probe.seq == h->seq && g->probe.nacks < g->probe.helpers;
        return;
    }
    probe_answered(g, h->seq);
    for (unsigned i = 0; i < RELAYS_MAX; i++)
        if (g->relays[i].origin != 0 && g->relays[i].seq == h->seq)
            relay_end(g, &g->relays[i], GOSSIP_ACK, out);
}

/* ---- the dead ---------------------------------------------------------------------------------
 */

static bool is_dead(const struct member *m)
{
    return m->pub.state == GOSSIP_DEAD;
}

/* After a partition each side takes the other for dead, and somebody must say the first word. */
void probe_dead(struct gossip *g, struct gossip_effects *out)
{
    uint64_t first = 0;
    for (unsigned i = 0; i < DEAD_PINGS && !MUTATION(GOSSIP_DEAD_FOR_EVER); i++) {
        const struct member *m = members_after(g, &g->dead_at, is_dead);
        if (m == NULL || m->pub.id == first)
            return;
        first = i == 0 ? m->pub.id : first;
        spread_send(
            g, m->pub.id,
            &(struct gossip_head){ .kind = GOSSIP_PING, .seq = ++g->next_seq, .target = m->pub.id },
            out);
    }
}

/* ---- time -------------------------------------------------------------------------------------
 */

void probe_run(struct gossip *g, struct gossip_effects *out)
{
    struct probe *p = &g->probe;
    if (p->is_on && !p->is_asked && g->now_us >= p->ask_at_us)
        ask_others(g, out);
    if (p->is_on && g->now_us >= p->end_us)
        fail(g, out);
    if (!p->is_on && g->now_us >= g->next_probe_us)
        begin(g, out);
    for (unsigned i = 0; i < RELAYS_MAX; i++)
        if (g->relays[i].origin != 0 && g->now_us >= g->relays[i].end_us)
            relay_end(g, &g->relays[i], GOSSIP_NACK, out);
}

uint64_t probe_wake(const struct gossip *g)
{
    const struct probe *p = &g->probe;
    uint64_t at = !p->is_on ? g->next_probe_us : p->is_asked ? p->end_us : p->ask_at_us;
    for (unsigned i = 0; i < RELAYS_MAX; i++)
        if (g->relays[i].origin != 0 && g->relays[i].end_us < at)
            at = g->relays[i].end_us;
    return at;
}

void probe_stood_still(struct gossip *g, uint64_t us)
{
    struct probe *p = &g->probe;
    p->ask_at_us += us;
    p->end_us += us;
    for (unsigned i = 0; i < RELAYS_MAX; i++)
        g->relays[i].origin = 0;
}
