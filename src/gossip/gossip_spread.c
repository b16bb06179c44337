/* Who is told what: each piece of news travels on packets that go anyway, and on a few of its own,
 * so many times and no more, the newest first. */
#include "base/check.h"
#include "base/mutation.h"
#include "gossip/gossip_state.h"

#include <stdlib.h>

#define CANDIDATES_MAX (GOSSIP_MEMBERS_MAX * 2 + RUMOUR_SLOTS)

static unsigned sends_for(size_t members)
{
    unsigned digits = 0; /* of n + 1: ceil(log10) of anything but a power of ten */
    for (size_t n = members; n != 0; n /= 10)
        digits++;
    return 4 * digits > SENDS_LEAST ? 4 * digits : SENDS_LEAST;
}

void spread_begin(struct gossip *g, struct spread *s)
{
    g->pending += s->left == 0;
    s->left = sends_for(g->count);
    s->mark = ++g->next_mark;
}

void spread_drop(struct gossip *g, struct spread *s)
{
    g->pending -= s->left != 0;
    s->left = 0;
}

static void spend(struct gossip *g, struct spread *s)
{
    CHECK(s->left != 0);
    if (--s->left == 0)
        g->pending--;
}

struct gossip_word spread_word_of(const struct member *m, bool with_record)
{
    /* A record that belongs to an elder incarnation would be taken for one of this. */
    bool has = with_record && m->record_inc == m->pub.inc;
    return (struct gossip_word){ .id = m->pub.id,
                                 .inc = m->pub.inc,
                                 .state = m->pub.state,
                                 .by = m->by,
                                 .record = has ? m->pub.record : slice_of(NULL, 0) };
}

/* ---- filling a packet -------------------------------------------------------------------------
 */

struct candidate {
    struct spread *spread;
    struct member *word_of, *beat_of;
    struct rumour_slot *rumour;
};

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const struct candidate *)a)->spread->mark;
    uint64_t y = ((const struct candidate *)b)->spread->mark;
    return (x < y) - (x > y);
}

static size_t gather(struct gossip *g, struct candidate *all)
{
    size_t n = 0;
    for (size_t i = 0; i < g->count && n < g->pending; i++) {
        struct member *m = g->members[i];
        if (m->word.left != 0)
            all[n++] = (struct candidate){ .spread = &m->word, .word_of = m };
        if (m->beat.left != 0)
            all[n++] = (struct candidate){ .spread = &m->beat, .beat_of = m };
    }
    for (size_t i = 0; i < RUMOUR_SLOTS && n < g->pending; i++) {
        struct rumour_slot *s = &g->rumours[i];
        if (s->spread.left != 0)
            all[n++] = (struct candidate){ .spread = &s->spread, .rumour = s };
    }
    CHECK(n == g->pending);
    qsort(all, n, sizeof *all, newest_first);
    return n;
}

static bool put_candidate(struct wire_out *w, const struct candidate *c)
{
    if (c->word_of != NULL) {
        /* Who is there needs to be known; of the others everybody has the record already. */
        struct gossip_word word = spread_word_of(c->word_of, member_is_there(c->word_of));
        return gossip_word_put(w, &word);
    }
    if (c->beat_of != NULL)
        return gossip_pulse_put(w, c->beat_of->pub.id, &c->beat_of->pub.pulse);
    struct gossip_rumour r = { .key = c->rumour->key,
                               .ver = c->rumour->ver,
                               .bytes = slice_of(c->rumour->bytes, c->rumour->len) };
    return gossip_rumour_put(w, &r);
}

static void fill(struct gossip *g, struct wire_out *w, uint64_t except)
{
    struct candidate all[CANDIDATES_MAX];
    if (g->pending == 0)
        return;
    size_t n = gather(g, all);
    for (size_t i = 0; i < n && w->end - w->at > 16; i++) {
        bool is_told = all[i].word_of != NULL && all[i].word_of->pub.id == except;
        if (!is_told && put_candidate(w, &all[i]))
            spend(g, all[i].spread);
    }
}

/* The one who is doubted hears so first, whatever else there is to say: it alone can refute it. */
static bool tell_first(const struct gossip *g, uint64_t to, struct wire_out *w)
{
    const struct member *m = members_find(g, to);
    if (m == NULL || m->pub.state == GOSSIP_ALIVE || MUTATION(GOSSIP_SUSPECT_NOT_TOLD))
        return false;
    struct gossip_word word = spread_word_of(m, false);
    CHECK(gossip_word_put(w, &word));
    return true;
}

void spread_send(struct gossip *g, uint64_t to, const struct gossip_head *h,
                 struct gossip_effects *out)
{
    CHECK(to != g->conf.id);
    if (out->send_count == GOSSIP_SENDS_MAX)
        return;
    struct gossip_send *s = &out->sends[out->send_count++];
    struct wire_out w = wire_out_over(s->bytes, sizeof s->bytes);
    s->to = to;
    gossip_head_put(&w, h);
    bool is_told = tell_first(g, to, &w);
    fill(g, &w, is_told ? to : 0);
    CHECK(!w.overflow);
    s->len = wire_out_len(&w);
}

void spread_tick(struct gossip *g, struct gossip_effects *out)
{
    const struct gossip_head h = { .kind = GOSSIP_ITEMS };
    uint64_t first = 0;
    if (g->pending == 0 || g->now_us < g->next_tick_us)
        return;
    g->next_tick_us = g->now_us + g->conf.tick_us;
    for (unsigned i = 0; i < TICK_TARGETS && g->pending != 0; i++) {
        const struct member *m = members_after(g, &g->ring_at, member_is_there);
        if (m == NULL || m->pub.id == first)
            return;
        first = i == 0 ? m->pub.id : first;
        spread_send(g, m->pub.id, &h, out);
    }
}

void spread_goodbye(struct gossip *g, struct gossip_effects *out)
{
    const struct gossip_head h = { .kind = GOSSIP_ITEMS };
    uint64_t at = g->ring_at, first = 0;
    while (out->send_count < GOSSIP_SENDS_MAX) {
        const struct member *m = members_after(g, &at, member_is_there);
        if (m == NULL || m->pub.id == first)
            return;
        first = first == 0 ? m->pub.id : first;
        spread_begin(g, &g->self->word);
        spread_send(g, m->pub.id, &h, out);
    }
}
