#include "gossip/gossip.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "gossip/gossip_state.h"

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

struct gossip *gossip_new(const struct gossip_conf *conf, struct slice record, uint64_t now_us)
{
    CHECK(conf->id != 0 && record.len <= GOSSIP_RECORD_MAX);
    struct gossip *g = mem_zalloc(sizeof *g);
    struct gossip_conf *c = &g->conf;
    *c = *conf;
    c->period_us = or_default(c->period_us, 200 * 1000);
    c->ack_us = or_default(c->ack_us, 60 * 1000);
    c->tick_us = or_default(c->tick_us, 50 * 1000);
    c->sync_us = or_default(c->sync_us, 2 * 1000 * 1000);
    c->dead_keep_us = or_default(c->dead_keep_us, 3600ull * 1000 * 1000);
    c->left_keep_us = or_default(c->left_keep_us, 60ull * 1000 * 1000);
    CHECK(c->ack_us < c->period_us);
    rng_init(&g->rng, c->seed);

    struct gossip_effects *none = mem_zalloc(sizeof *none);
    g->now_us = now_us;
    g->self = members_add(g, c->id, none);
    mem_free(none);
    g->self->pub.inc = (uint64_t)c->boot << 32;
    member_set_record(g->self, record, g->self->pub.inc);
    spread_begin(g, &g->self->word);
    /* Not all at once, when all are started at once. */
    g->next_probe_us = now_us + rng_below(&g->rng, c->period_us);
    g->next_sync_us = now_us + rng_below(&g->rng, c->sync_us);
    g->ring_at = c->id;
    g->wake_at_us = now_us;
    return g;
}

void gossip_free(struct gossip **g)
{
    if (*g == NULL)
        return;
    members_free_all(*g);
    mem_free(*g);
    *g = NULL;
}

/* ---- packets ----------------------------------------------------------------------------------
 */

static void take_items(struct gossip *g, struct wire *w, struct gossip_effects *out)
{
    struct gossip_item item;
    enum gossip_take t = gossip_item_take(w, &item);
    for (; t == GOSSIP_TAKE_ITEM; t = gossip_item_take(w, &item)) {
        /* Three for one item at most, and some for the timers. */
        if (out->change_count + 16 > GOSSIP_CHANGES_MAX)
            return; /* hints: what is lost here comes with the next comparison */
        words_take(g, &item, out);
    }
    g->figures.packets_bad += t == GOSSIP_TAKE_BAD;
}

static void take_packet(struct gossip *g, const struct gossip_event *ev, struct gossip_effects *out)
{
    struct wire w = wire_over(ev->bytes);
    struct gossip_head h;
    if (ev->from == g->conf.id || ev->from == 0)
        return;
    if (!gossip_head_take(&w, &h)) {
        g->figures.packets_bad++;
        return;
    }
    take_items(g, &w, out);
    switch (h.kind) {
    case GOSSIP_PING: /* one meant for who had our address before us is not ours to answer */
        if (h.target == g->conf.id)
            spread_send(g, ev->from, &(struct gossip_head){ .kind = GOSSIP_ACK, .seq = h.seq },
                        out);
        return;
    case GOSSIP_ACK:
    case GOSSIP_NACK:
        probe_heard(g, &h, out);
        return;
    case GOSSIP_PING_REQ:
        probe_help(g, ev->from, &h, out);
        return;
    case GOSSIP_ITEMS:
        return;
    }
    UNREACHABLE("packet kind");
}

/* ---- time -------------------------------------------------------------------------------------
 */

/* We did not run for a while: whoever seemed silent may have answered meanwhile. */
static void stood_still(struct gossip *g, uint64_t us)
{
    probe_stood_still(g, us);
    for (size_t i = 0; i < g->count; i++)
        if (g->members[i]->pub.state == GOSSIP_SUSPECT)
            g->members[i]->suspect_us += us;
    g->doubt += g->doubt < GOSSIP_DOUBT_MAX;
}

static void sync_sometimes(struct gossip *g, struct gossip_effects *out)
{
    if (g->now_us < g->next_sync_us)
        return;
    g->next_sync_us = g->now_us + g->conf.sync_us;
    members_expire(g, out);
    probe_dead(g, out);
    uint64_t at = g->members[rng_below(&g->rng, g->count)]->pub.id;
    const struct member *m = members_after(g, &at, member_is_there);
    out->sync_with = m != NULL ? m->pub.id : 0;
}

static uint64_t wake(const struct gossip *g)
{
    uint64_t at = probe_wake(g);
    for (size_t i = 0; i < g->count; i++) {
        const struct member *m = g->members[i];
        uint64_t end = m->pub.state == GOSSIP_SUSPECT ? words_deadline(g, m) : UINT64_MAX;
        at = end < at ? end : at;
    }
    if (g->pending != 0 && members_there(g) > 1 && g->next_tick_us < at)
        at = g->next_tick_us;
    at = g->next_sync_us < at ? g->next_sync_us : at;
    return at > g->now_us ? at : g->now_us + 1;
}

static void run_time(struct gossip *g, struct gossip_effects *out)
{
    probe_run(g, out);
    words_judge(g, out);
    sync_sometimes(g, out);
    spread_tick(g, out);
}

static void leave(struct gossip *g, struct gossip_effects *out)
{
    g->has_left = true;
    g->self->pub.state = GOSSIP_LEFT;
    g->self->by = g->conf.id;
    spread_goodbye(g, out);
}

void gossip_step(struct gossip *g, const struct gossip_event *ev, struct gossip_effects *out)
{
    CHECK(ev->now_us >= g->now_us);
    out->send_count = out->change_count = 0;
    out->tcp_ping = out->sync_with = 0;
    out->wake_at_us = UINT64_MAX;
    if (g->has_left)
        return;
    g->now_us = ev->now_us;
    if (g->now_us > g->wake_at_us + g->conf.period_us)
        stood_still(g, g->now_us - g->wake_at_us);

    switch (ev->kind) {
    case GOSSIP_EV_TIME:
        break;
    case GOSSIP_EV_PACKET:
        take_packet(g, ev, out);
        break;
    case GOSSIP_EV_SYNC: {
        struct wire w = wire_over(ev->bytes);
        take_items(g, &w, out);
        break;
    }
    case GOSSIP_EV_TCP_PONG:
        probe_answered(g, ev->seq);
        break;
    case GOSSIP_EV_RECORD:
        member_set_record(g->self, ev->bytes, g->self->pub.inc);
        words_raise_self(g, g->self->pub.inc, out);
        break;
    case GOSSIP_EV_PULSE:
        words_own_pulse(g, &ev->pulse);
        break;
    case GOSSIP_EV_RUMOUR:
        words_rumour(g, &ev->rumour, true, out);
        break;
    case GOSSIP_EV_LEAVE:
        leave(g, out);
        return;
    case GOSSIP_EV_FORGET: {
        struct member *m = members_find(g, ev->from);
        if (m != NULL && m != g->self)
            members_remove(g, m, out);
        break;
    }
    }
    run_time(g, out);
    g->wake_at_us = out->wake_at_us = wake(g);
}

/* ---- comparing --------------------------------------------------------------------------------
 */

bool gossip_sync_write(const struct gossip *g, size_t *at, struct wire_out *w)
{
    if (*at >= g->count)
        return false;
    for (; *at < g->count; (*at)++) {
        const struct member *m = g->members[*at];
        struct gossip_word word = spread_word_of(m, true);
        uint8_t *mark = w->at;
        if (!gossip_word_put(w, &word))
            break;
        if (m->pub.pulse.seq != 0 && !gossip_pulse_put(w, m->pub.id, &m->pub.pulse)) {
            w->at = mark; /* both or none */
            break;
        }
    }
    return true;
}

/* ---- looking ----------------------------------------------------------------------------------
 */

size_t gossip_member_count(const struct gossip *g)
{
    return g->count;
}

const struct gossip_member *gossip_member_at(const struct gossip *g, size_t index)
{
    CHECK(index < g->count);
    return &g->members[index]->pub;
}

const struct gossip_member *gossip_member(const struct gossip *g, uint64_t id)
{
    const struct member *m = members_find(g, id);
    return m != NULL ? &m->pub : NULL;
}

void gossip_figures(const struct gossip *g, struct gossip_figures *out)
{
    *out = g->figures;
    for (size_t i = 0; i < g->count; i++)
        out->members[(unsigned)g->members[i]->pub.state]++;
    out->doubt = g->doubt;
    out->pending = g->pending;
}

void gossip_check(const struct gossip *g)
{
    size_t pending = 0;
    CHECK(g->count >= 1 && g->count <= GOSSIP_MEMBERS_MAX && g->doubt <= GOSSIP_DOUBT_MAX);
    for (size_t i = 0; i < g->count; i++) {
        const struct member *m = g->members[i];
        CHECK(i == 0 || g->members[i - 1]->pub.id < m->pub.id);
        CHECK(m->record_inc <= m->pub.inc);
        CHECK(m->accuser_count <= CONFIRMATIONS_MAX + 1);
        pending += (size_t)(m->word.left != 0) + (size_t)(m->beat.left != 0);
    }
    for (size_t i = 0; i < RUMOUR_SLOTS; i++)
        pending += g->rumours[i].spread.left != 0;
    CHECK(pending == g->pending);
    CHECK(members_find(g, g->conf.id) == g->self);
    CHECK(g->has_left || g->self->pub.state == GOSSIP_ALIVE);
    CHECK(g->order_at <= g->order_count);
}
