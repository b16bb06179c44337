/* What is said about members, and whether it counts. */
#include "base/check.h"
#include "base/hash.h"
#include "base/mutation.h"
#include "gossip/gossip_state.h"

#include <math.h>
#include <string.h>

#define PERIODS_LEAST                                                                              \
    3u /* a suspect has so many periods at least, and so many times that at most */
#define STRETCH 3u

void change(struct gossip_effects *out, const struct gossip_change *c)
{
    CHECK(out->change_count < GOSSIP_CHANGES_MAX);
    out->changes[out->change_count++] = *c;
}

static void changed(const struct member *m, struct gossip_effects *out)
{
    change(out, &(struct gossip_change){ .kind = GOSSIP_MEMBER_CHANGED, .id = m->pub.id });
}

/* ---- suspicion --------------------------------------------------------------------------------
 */

/* From STRETCH times the least, when nobody else suspects it, down to the least. */
uint64_t words_deadline(const struct gossip *g, const struct member *m)
{
    double n = (double)members_there(g);
    double scale = n > 10 ? log10(n) : 1;
    double least = PERIODS_LEAST * scale * (double)g->conf.period_us;
    double most = m->accusers_wanted != 0 ? STRETCH * least : least;
    double share =
        m->accusers_wanted != 0 ? log(m->accuser_count) / log(m->accusers_wanted + 1.0) : 1;
    return m->suspect_us + (uint64_t)(most - (most - least) * share);
}

/* In a cluster where too few could confirm it, nobody waits for them. */
static unsigned confirmations_wanted(const struct gossip *g)
{
    return members_there(g) >= CONFIRMATIONS_MAX + 2 ? CONFIRMATIONS_MAX : 0;
}

static void accused_first(struct gossip *g, struct member *m, uint64_t by)
{
    m->suspect_us = g->now_us;
    m->accusers[0] = by;
    m->accuser_count = 1;
    m->accusers_wanted = confirmations_wanted(g);
}

/* Somebody else found it silent too, on its own. */
static void accused_again(struct gossip *g, struct member *m, uint64_t by)
{
    for (unsigned i = 0; i < m->accuser_count; i++)
        if (m->accusers[i] == by)
            return;
    if (m->accuser_count > m->accusers_wanted)
        return;
    m->accusers[m->accuser_count++] = by;
    m->by = by;
    spread_begin(g, &m->word);
}

/* ---- words about ourselves --------------------------------------------------------------------
 */

void words_raise_self(struct gossip *g, uint64_t above, struct gossip_effects *out)
{
    struct member *self = g->self;
    uint64_t inc = above > self->pub.inc ? above : self->pub.inc;
    if (inc == UINT64_MAX)
        return;
    self->pub.inc = inc + 1;
    self->record_inc = self->pub.inc;
    spread_begin(g, &self->word);
    changed(self, out);
}

static void hear_of_self(struct gossip *g, const struct gossip_word *w, struct gossip_effects *out)
{
    const struct member *self = g->self;
    bool is_later = w->inc > self->pub.inc;
    bool is_ill = w->inc == self->pub.inc && w->state != GOSSIP_ALIVE;
    bool is_other =
        w->inc == self->pub.inc && w->record.len != 0 && !slice_eq(w->record, self->pub.record);
    if (g->has_left || MUTATION(GOSSIP_NO_REFUTATION))
        return;
    if (w->inc < self->pub.inc && w->state != GOSSIP_ALIVE)
        spread_begin(g, &g->self->word); /* we refuted it long ago, and it was not heard there */
    if (!is_later && !is_ill && !is_other)
        return;
    if (w->inc >> 32 > self->pub.inc >> 32)
        change(out, &(struct gossip_change){ .kind = GOSSIP_CONFLICT, .id = w->id, .inc = w->inc });
    if (w->state != GOSSIP_ALIVE) {
        g->figures.refutations++;
        g->doubt += g->doubt < GOSSIP_DOUBT_MAX;
        change(out, &(struct gossip_change){ .kind = GOSSIP_REFUTED, .id = w->by });
    }
    words_raise_self(g, w->inc, out);
}

/* ---- words about others -----------------------------------------------------------------------
 */

static void set_state(struct gossip *g, struct member *m, const struct gossip_word *w,
                      struct gossip_effects *out)
{
    bool was_there = member_is_there(m);
    if (m->pub.state != w->state)
        m->pub.since_us = g->now_us;
    m->pub.inc = w->inc;
    m->pub.state = w->state;
    m->by = w->by;
    if (w->state == GOSSIP_SUSPECT)
        accused_first(g, m, w->by);
    if (!was_there && member_is_there(m))
        probe_meet(g, m->pub.id);
    spread_begin(g, &m->word);
    changed(m, out);
}

/* A stranger counts when it is there, and says who it is: the dead are not passed on, else they
 * would never be forgotten. */
static struct member *meet(struct gossip *g, const struct gossip_word *w,
                           struct gossip_effects *out)
{
    if (w->record.len == 0 || (w->state != GOSSIP_ALIVE && w->state != GOSSIP_SUSPECT))
        return NULL;
    struct member *m = members_add(g, w->id, out);
    if (m != NULL) {
        member_set_record(m, w->record, w->inc);
        probe_meet(g, w->id);
        m->pub.state = GOSSIP_ALIVE;
        set_state(g, m, w, out);
    }
    return m;
}

static bool is_newer(const struct member *m, const struct gossip_word *w)
{
    if (MUTATION(GOSSIP_OLD_WORD_WINS))
        return w->inc != m->pub.inc || w->state != m->pub.state;
    return w->inc > m->pub.inc || (w->inc == m->pub.inc && w->state > m->pub.state);
}

static void take_word(struct gossip *g, const struct gossip_word *w, struct gossip_effects *out)
{
    if (w->id == g->conf.id) {
        hear_of_self(g, w, out);
        return;
    }
    struct member *m = members_find(g, w->id);
    if (m == NULL) {
        (void)meet(g, w, out);
        return;
    }
    bool has_news = w->record.len != 0 && w->inc > m->record_inc;
    if (has_news)
        member_set_record(m, w->record, w->inc);
    if (is_newer(m, w)) {
        set_state(g, m, w, out);
        return;
    }
    if (has_news)
        changed(m, out);
    if (w->inc == m->pub.inc && w->state == GOSSIP_SUSPECT && m->pub.state == GOSSIP_SUSPECT)
        accused_again(g, m, w->by);
    else if (w->inc != m->pub.inc || w->state != m->pub.state)
        g->figures.words_old++;
}

void words_suspect(struct gossip *g, struct member *m, struct gossip_effects *out)
{
    if (m->pub.state == GOSSIP_SUSPECT) {
        accused_again(g, m, g->conf.id);
        return;
    }
    CHECK(m->pub.state == GOSSIP_ALIVE);
    g->figures.suspicions++;
    set_state(g, m,
              &(struct gossip_word){
                  .id = m->pub.id, .inc = m->pub.inc, .state = GOSSIP_SUSPECT, .by = g->conf.id },
              out);
}

void words_judge(struct gossip *g, struct gossip_effects *out)
{
    for (size_t i = 0; i < g->count; i++) {
        struct member *m = g->members[i];
        if (m->pub.state != GOSSIP_SUSPECT || m == g->self || g->now_us < words_deadline(g, m))
            continue;
        g->figures.deaths++;
        set_state(g, m,
                  &(struct gossip_word){
                      .id = m->pub.id, .inc = m->pub.inc, .state = GOSSIP_DEAD, .by = g->conf.id },
                  out);
    }
}

/* ---- pulses -----------------------------------------------------------------------------------
 */

static bool is_later_pulse(const struct gossip_pulse *p, const struct gossip_pulse *than)
{
    if (MUTATION(GOSSIP_OLD_PULSE_WINS))
        return p->boot != than->boot || p->seq != than->seq;
    return p->boot > than->boot || (p->boot == than->boot && p->seq > than->seq);
}

/* The same index, and other metadata: that must never be. */
static void compare_digests(const struct gossip *g, const struct member *m,
                            struct gossip_effects *out)
{
    const struct gossip_pulse *p = &m->pub.pulse;
    for (size_t i = 0; i < g->count && p->digest_index != 0; i++) {
        const struct gossip_pulse *q = &g->members[i]->pub.pulse;
        if (q->digest_index != p->digest_index || q->digest == p->digest)
            continue;
        change(out, &(struct gossip_change){ .kind = GOSSIP_DIGESTS_DIFFER,
                                             .id = m->pub.id,
                                             .other = g->members[i]->pub.id,
                                             .inc = p->digest_index });
        return; /* one is enough to raise the alarm */
    }
}

static void take_pulse(struct gossip *g, uint64_t id, const struct gossip_pulse *p,
                       struct gossip_effects *out)
{
    struct member *m = members_find(g, id);
    if (m == NULL || m == g->self || p->seq == 0 || !is_later_pulse(p, &m->pub.pulse))
        return;
    m->pub.pulse = *p;
    spread_begin(g, &m->beat);
    change(out, &(struct gossip_change){ .kind = GOSSIP_PULSE_HEARD, .id = id });
    compare_digests(g, m, out);
}

void words_own_pulse(struct gossip *g, const struct gossip_pulse *p)
{
    uint32_t seq = g->self->pub.pulse.seq;
    g->self->pub.pulse = *p;
    g->self->pub.pulse.boot = g->conf.boot;
    g->self->pub.pulse.seq = seq + 1;
    spread_begin(g, &g->self->beat);
}

/* ---- rumours ----------------------------------------------------------------------------------
 */

/* Each key has one slot, and may lose it to another. What was in it could then not be told from
 * something new, so nothing as old as that counts any more: a rumour may get lost, but never comes
 * back. */
void words_rumour(struct gossip *g, const struct gossip_rumour *r, bool is_ours,
                  struct gossip_effects *out)
{
    struct rumour_slot *s = &g->rumours[hash_u64(r->key) % RUMOUR_SLOTS];
    bool is_same = s->is_used && s->key == r->key;
    if (is_same ? r->ver <= s->ver : r->ver <= g->rumour_floor) {
        if (!MUTATION(GOSSIP_OLD_RUMOUR_WINS) || (is_same && r->ver == s->ver))
            return;
    }
    if (s->is_used && !is_same && s->ver > g->rumour_floor)
        g->rumour_floor = s->ver;
    s->is_used = true;
    s->key = r->key;
    s->ver = r->ver;
    s->len = (uint8_t)r->bytes.len;
    if (r->bytes.len != 0)
        memcpy(s->bytes, r->bytes.ptr, r->bytes.len);
    spread_begin(g, &s->spread);
    if (!is_ours)
        change(out, &(struct gossip_change){ .kind = GOSSIP_RUMOUR_HEARD, .rumour = *r });
}

void words_take(struct gossip *g, const struct gossip_item *item, struct gossip_effects *out)
{
    switch (item->kind) {
    case GOSSIP_ITEM_WORD:
        take_word(g, &item->word, out);
        return;
    case GOSSIP_ITEM_PULSE:
        take_pulse(g, item->pulse_of, &item->pulse, out);
        return;
    case GOSSIP_ITEM_RUMOUR:
        words_rumour(g, &item->rumour, false, out);
        return;
    }
    UNREACHABLE("item kind");
}
