#include "sim_gossip_world.h"

#include "base/check.h"
#include "base/heap.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define JOIN_US  500000u /* somebody that is not known is looked for so often */
#define AGAIN_US 200000u /* TCP says again what was lost */

enum event_kind {
    EVENT_WAKE,
    EVENT_JOIN,
    EVENT_PACKET,
    EVENT_SYNC_ASK, /* answered with SYNC */
    EVENT_SYNC,
    EVENT_TCP_PING,
    EVENT_TCP_PONG,
};

struct event {
    enum event_kind kind;
    unsigned to, from;
    uint32_t boot; /* of `to`, for WAKE and JOIN; of the asking side for TCP */
    uint64_t wake; /* number of the wake-up: an older one does not count */
    uint32_t seq;
    size_t len;
    uint8_t bytes[];
};

/* The last that an observer knew of a member. */
struct seen {
    bool is_known;
    uint64_t inc;
    enum gossip_state state;
    uint32_t pulse_boot, pulse_seq;
};

struct node {
    struct gossip *core;
    uint32_t boot;
    uint64_t paused_until_us;
    uint64_t wake;
    uint64_t inc; /* the highest it ever had */
    /* its clock: at world time `base_us` it showed `local_us` */
    uint64_t base_us, local_us;
    unsigned rate;
    struct seen *seen;
    uint64_t heard[GW_KEYS];
};

struct gw {
    struct gw_plan plan;
    struct rng rng;
    struct heap heap;
    uint64_t now_us;
    uint64_t steps, packets;
    struct node nodes[GW_MEMBERS_MAX];
    bool cut[GW_MEMBERS_MAX][GW_MEMBERS_MAX];
    struct gossip_effects effects;
    gw_heard_fn heard;
    void *heard_arg;
    sim_say_fn trace;
    void *trace_arg;
    bool has_failed;
    char why[300];
};

PRINTF_LIKE(2, 3) static void say(struct gw *w, const char *fmt, ...)
{
    char text[256], line[300];
    va_list args;
    if (w->trace == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)snprintf(line, sizeof line, "%9.3f ms %s", (double)w->now_us / 1000, text);
    w->trace(line, w->trace_arg);
}

bool gw_fail(struct gw *w, const char *fmt, ...)
{
    if (w->has_failed)
        return false;
    char text[240];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    w->has_failed = true;
    (void)snprintf(w->why, sizeof w->why, "at %.3f s: %s", (double)w->now_us / 1e6, text);
    say(w, "FAIL %s", text);
    return false;
}

/* ---- clocks -----------------------------------------------------------------------------------
 */

static uint64_t local_time(const struct gw *w, const struct node *n)
{
    return n->local_us + (w->now_us - n->base_us) * n->rate / 1000;
}

static uint64_t world_time(const struct node *n, uint64_t local_us)
{
    return local_us <= n->local_us
               ? n->base_us
               : n->base_us + ((local_us - n->local_us) * 1000 + n->rate - 1) / n->rate;
}

void gw_rate(struct gw *w, unsigned member, unsigned permille)
{
    struct node *n = &w->nodes[member];
    n->local_us = local_time(w, n);
    n->base_us = w->now_us;
    n->rate = permille;
}

/* ---- events -----------------------------------------------------------------------------------
 */

static struct event *event_new(enum event_kind kind, unsigned to, unsigned from, struct slice bytes)
{
    struct event *e = mem_zalloc(sizeof *e + bytes.len);
    e->kind = kind;
    e->to = to;
    e->from = from;
    e->len = bytes.len;
    if (bytes.len != 0)
        memcpy(e->bytes, bytes.ptr, bytes.len);
    return e;
}

static void post(struct gw *w, uint64_t at_us, struct event *e)
{
    heap_push(&w->heap, at_us, (uint64_t)(uintptr_t)e);
}

static uint64_t way(struct gw *w)
{
    uint64_t us = w->plan.least_us + rng_below(&w->rng, w->plan.most_us - w->plan.least_us + 1);
    if (w->plan.late_permille != 0 && rng_chance(&w->rng, w->plan.late_permille))
        us += rng_below(&w->rng, w->plan.late_us);
    return us;
}

static void send_packet(struct gw *w, unsigned from, const struct gossip_send *s)
{
    unsigned to = (unsigned)s->to - 1;
    CHECK(to < w->plan.members);
    w->packets++;
    unsigned copies = 1 + rng_chance(&w->rng, w->plan.double_permille);
    for (unsigned i = 0; i < copies; i++)
        if (!w->cut[from][to] && !rng_chance(&w->rng, w->plan.loss_permille))
            post(w, w->now_us + way(w),
                 event_new(EVENT_PACKET, to, from, slice_of(s->bytes, s->len)));
}

/* There and back, with what TCP says again. */
static bool tcp_goes(const struct gw *w, unsigned a, unsigned b)
{
    return !w->cut[a][b] && !w->cut[b][a] && w->nodes[b].core != NULL;
}

static uint64_t tcp_way(struct gw *w)
{
    uint64_t us = 3 * way(w);
    while (!w->plan.has_good_tcp && rng_chance(&w->rng, w->plan.loss_permille))
        us += AGAIN_US;
    return us;
}

static void tcp_send(struct gw *w, enum event_kind kind, unsigned from, unsigned to, uint32_t seq,
                     uint32_t boot, struct slice bytes)
{
    if (!tcp_goes(w, from, to))
        return;
    struct event *e = event_new(kind, to, from, bytes);
    e->seq = seq;
    e->boot = boot;
    post(w, w->now_us + tcp_way(w), e);
}

static void tcp_ping(struct gw *w, unsigned from, unsigned to, uint32_t seq)
{
    unsigned loss = w->plan.has_good_tcp ? 0 : w->plan.loss_permille;
    if (!rng_chance(&w->rng, loss * loss / 1000 * loss / 1000))
        tcp_send(w, EVENT_TCP_PING, from, to, seq, w->nodes[from].boot, slice_of(NULL, 0));
}

static void send_all(struct gw *w, enum event_kind kind, unsigned from, unsigned to)
{
    uint8_t room[GOSSIP_SYNC_MAX];
    size_t at = 0;
    for (;;) {
        struct wire_out o = wire_out_over(room, sizeof room);
        if (!gossip_sync_write(w->nodes[from].core, &at, &o))
            return;
        tcp_send(w, kind, from, to, 0, 0, wire_out_slice(&o));
        kind = EVENT_SYNC; /* one part asks for the answer */
    }
}

/* ---- what must hold after each step -----------------------------------------------------------
 */

static void check_view(struct gw *w, unsigned member, unsigned other)
{
    struct node *n = &w->nodes[member];
    struct seen *s = &n->seen[other];
    const struct gossip_member *m = gossip_member(n->core, other + 1);
    if (m == NULL) {
        s->is_known = false; /* forgotten, which is allowed */
        return;
    }
    if (s->is_known && (m->inc < s->inc || (m->inc == s->inc && m->state < s->state)))
        (void)gw_fail(w, "%u took an old word about %u: %" PRIx64 " %s after %" PRIx64 " %s",
                      member, other, m->inc, gossip_state_text(m->state), s->inc,
                      gossip_state_text(s->state));
    if (s->is_known && (m->pulse.boot < s->pulse_boot ||
                        (m->pulse.boot == s->pulse_boot && m->pulse.seq < s->pulse_seq)))
        (void)gw_fail(w, "%u took an old pulse of %u: %u/%u after %u/%u", member, other,
                      m->pulse.boot, m->pulse.seq, s->pulse_boot, s->pulse_seq);
    if (m->inc > w->nodes[other].inc)
        (void)gw_fail(w, "%u knows of %u what it never said: %" PRIx64, member, other, m->inc);
    *s = (struct seen){ true, m->inc, m->state, m->pulse.boot, m->pulse.seq };
}

static void check_all(struct gw *w, unsigned member)
{
    struct node *n = &w->nodes[member];
    uint64_t own = gossip_member(n->core, member + 1)->inc;
    if (own < n->inc)
        (void)gw_fail(w, "%u fell back to %" PRIx64, member, own);
    n->inc = own;
    gossip_check(n->core);
    for (unsigned i = 0; i < w->plan.members; i++)
        if (i != member)
            check_view(w, member, i);
}

static void hear(struct gw *w, unsigned member, const struct gossip_change *c)
{
    struct node *n = &w->nodes[member];
    if (c->kind == GOSSIP_RUMOUR_HEARD) {
        uint64_t *heard = &n->heard[c->rumour.key % GW_KEYS];
        if (c->rumour.ver <= *heard)
            (void)gw_fail(w, "%u heard version %" PRIu64 " after %" PRIu64, member, c->rumour.ver,
                          *heard);
        *heard = c->rumour.ver;
    }
    if (c->kind == GOSSIP_CONFLICT)
        (void)gw_fail(w, "%u takes itself for two", member);
    if (c->kind == GOSSIP_MEMBER_CHANGED) {
        const struct gossip_member *m = gossip_member(n->core, c->id);
        if (m != NULL)
            say(w, "%u thinks of %u: %s %" PRIx64, member, (unsigned)c->id - 1,
                gossip_state_text(m->state), m->inc);
    }
    if (w->heard != NULL)
        w->heard(member, c, w->heard_arg);
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static void wake_at(struct gw *w, unsigned member, uint64_t local_us)
{
    struct node *n = &w->nodes[member];
    if (local_us == UINT64_MAX)
        return;
    struct event *e = event_new(EVENT_WAKE, member, member, slice_of(NULL, 0));
    uint64_t at = world_time(n, local_us);
    e->boot = n->boot;
    e->wake = ++n->wake;
    post(w, at > w->now_us ? at : w->now_us, e);
}

static void step(struct gw *w, unsigned member, struct gossip_event ev)
{
    struct node *n = &w->nodes[member];
    ev.now_us = local_time(w, n);
    gossip_step(n->core, &ev, &w->effects);
    w->steps++;
    for (unsigned i = 0; i < w->effects.send_count; i++)
        send_packet(w, member, &w->effects.sends[i]);
    if (w->effects.tcp_ping != 0)
        tcp_ping(w, member, (unsigned)w->effects.tcp_ping - 1, w->effects.tcp_ping_seq);
    if (w->effects.sync_with != 0)
        send_all(w, EVENT_SYNC_ASK, member, (unsigned)w->effects.sync_with - 1);
    wake_at(w, member, w->effects.wake_at_us);
    if (w->plan.is_checked)
        check_all(w, member);
    for (unsigned i = 0; i < w->effects.change_count; i++)
        hear(w, member, &w->effects.changes[i]);
}

static void join_later(struct gw *w, unsigned member)
{
    struct event *e = event_new(EVENT_JOIN, member, member, slice_of(NULL, 0));
    e->boot = w->nodes[member].boot;
    post(w, w->now_us + JOIN_US + rng_below(&w->rng, JOIN_US), e);
}

/* As the driver does with places of which it knows no member. */
static void join(struct gw *w, unsigned member)
{
    unsigned other = (unsigned)rng_below(&w->rng, w->plan.members);
    if (other != member && gossip_member(w->nodes[member].core, other + 1) == NULL)
        send_all(w, EVENT_SYNC_ASK, member, other);
    join_later(w, member);
}

static void handle(struct gw *w, struct event *e)
{
    struct node *n = &w->nodes[e->to];
    if (n->core == NULL)
        return;
    struct slice bytes = slice_of(e->bytes, e->len);
    switch (e->kind) {
    case EVENT_WAKE:
        if (e->boot == n->boot && e->wake == n->wake)
            step(w, e->to, (struct gossip_event){ .kind = GOSSIP_EV_TIME });
        return;
    case EVENT_JOIN:
        if (e->boot == n->boot)
            join(w, e->to);
        return;
    case EVENT_PACKET:
        step(
            w, e->to,
            (struct gossip_event){ .kind = GOSSIP_EV_PACKET, .from = e->from + 1, .bytes = bytes });
        return;
    case EVENT_SYNC_ASK:
        send_all(w, EVENT_SYNC, e->to, e->from);
        step(w, e->to,
             (struct gossip_event){ .kind = GOSSIP_EV_SYNC, .from = e->from + 1, .bytes = bytes });
        return;
    case EVENT_SYNC:
        step(w, e->to,
             (struct gossip_event){ .kind = GOSSIP_EV_SYNC, .from = e->from + 1, .bytes = bytes });
        return;
    case EVENT_TCP_PING:
        tcp_send(w, EVENT_TCP_PONG, e->to, e->from, e->seq, e->boot, slice_of(NULL, 0));
        return;
    case EVENT_TCP_PONG:
        if (e->boot == n->boot)
            step(w, e->to, (struct gossip_event){ .kind = GOSSIP_EV_TCP_PONG, .seq = e->seq });
        return;
    }
    UNREACHABLE("event");
}

bool gw_run(struct gw *w, uint64_t until_us)
{
    while (!w->has_failed) {
        const struct heap_item *next = heap_min(&w->heap);
        if (next == NULL || next->key > until_us)
            break;
        struct heap_item item = heap_pop(&w->heap);
        struct event *e = (struct event *)(uintptr_t)item.value;
        w->now_us = item.key > w->now_us ? item.key : w->now_us;
        if (w->nodes[e->to].paused_until_us > w->now_us) {
            post(w, w->nodes[e->to].paused_until_us, e); /* it waits in the kernel */
            continue;
        }
        handle(w, e);
        mem_free(e);
    }
    w->now_us = until_us > w->now_us && !w->has_failed ? until_us : w->now_us;
    return !w->has_failed;
}

/* ---- life and faults --------------------------------------------------------------------------
 */

struct gw *gw_new(uint64_t seed, const struct gw_plan *plan, sim_say_fn trace, void *arg)
{
    CHECK(plan->members >= 1 && plan->members <= GW_MEMBERS_MAX);
    struct gw *w = mem_zalloc(sizeof *w);
    w->plan = *plan;
    w->trace = trace;
    w->trace_arg = arg;
    rng_init(&w->rng, seed);
    heap_init(&w->heap);
    for (unsigned i = 0; i < plan->members; i++) {
        w->nodes[i].seen = mem_array(plan->members, sizeof(struct seen));
        w->nodes[i].rate = 1000;
    }
    return w;
}

void gw_free(struct gw **w)
{
    while (heap_min(&(*w)->heap) != NULL)
        mem_free((struct event *)(uintptr_t)heap_pop(&(*w)->heap).value);
    heap_fini(&(*w)->heap);
    for (unsigned i = 0; i < (*w)->plan.members; i++) {
        gossip_free(&(*w)->nodes[i].core);
        mem_free((*w)->nodes[i].seen);
    }
    mem_free(*w);
    *w = NULL;
}

void gw_start(struct gw *w, unsigned member)
{
    struct node *n = &w->nodes[member];
    char record[32];
    if (n->core != NULL)
        return;
    n->boot++;
    n->paused_until_us = 0;
    n->inc = (uint64_t)n->boot << 32;
    memset(n->seen, 0, w->plan.members * sizeof *n->seen);
    memset(n->heard, 0, sizeof n->heard);
    (void)snprintf(record, sizeof record, "member %u boot %u", member, n->boot);
    struct gossip_conf conf = { .id = member + 1,
                                .boot = n->boot,
                                .seed = rng_u64(&w->rng),
                                .dead_keep_us = w->plan.dead_keep_us };
    n->core = gossip_new(&conf, slice_str(record), local_time(w, n));
    say(w, "%u starts, boot %u", member, n->boot);
    wake_at(w, member, local_time(w, n));
    join(w, member);
}

void gw_crash(struct gw *w, unsigned member)
{
    say(w, "%u crashes", member);
    gossip_free(&w->nodes[member].core);
}

void gw_leave(struct gw *w, unsigned member)
{
    if (w->nodes[member].core == NULL || gw_is_paused(w, member))
        return;
    say(w, "%u leaves", member);
    step(w, member, (struct gossip_event){ .kind = GOSSIP_EV_LEAVE });
    gossip_free(&w->nodes[member].core);
}

void gw_pause(struct gw *w, unsigned member, uint64_t us)
{
    say(w, "%u stands still for %" PRIu64 " ms", member, us / 1000);
    w->nodes[member].paused_until_us = w->now_us + us;
}

void gw_cut(struct gw *w, unsigned from, unsigned to, bool is_cut)
{
    say(w, "from %u to %u: %s", from, to, is_cut ? "cut" : "open");
    w->cut[from][to] = is_cut;
}

void gw_heal(struct gw *w)
{
    say(w, "all is well again");
    memset(w->cut, 0, sizeof w->cut);
    w->plan.late_permille = 0;
    for (unsigned i = 0; i < w->plan.members; i++) {
        w->nodes[i].paused_until_us = 0;
        gw_rate(w, i, 1000);
    }
}

void gw_lose(struct gw *w, unsigned permille)
{
    w->plan.loss_permille = permille;
}

void gw_pulse(struct gw *w, unsigned member, uint64_t index)
{
    if (w->nodes[member].core != NULL && !gw_is_paused(w, member))
        step(w, member,
             (struct gossip_event){ .kind = GOSSIP_EV_PULSE, .pulse = { .meta_index = index } });
}

void gw_rumour(struct gw *w, unsigned member, uint64_t key, uint64_t ver)
{
    struct node *n = &w->nodes[member];
    if (n->core == NULL || gw_is_paused(w, member))
        return;
    n->heard[key % GW_KEYS] = ver > n->heard[key % GW_KEYS] ? ver : n->heard[key % GW_KEYS];
    step(w, member,
         (struct gossip_event){
             .kind = GOSSIP_EV_RUMOUR,
             .rumour = { .key = key, .ver = ver, .bytes = slice_str("a rumour of some length") } });
}

/* ---- looking ----------------------------------------------------------------------------------
 */

void gw_on_heard(struct gw *w, gw_heard_fn fn, void *arg)
{
    w->heard = fn;
    w->heard_arg = arg;
}

uint64_t gw_now_us(const struct gw *w)
{
    return w->now_us;
}

uint64_t gw_below(struct gw *w, uint64_t bound)
{
    return rng_below(&w->rng, bound);
}

const char *gw_why(const struct gw *w)
{
    return w->why;
}

uint64_t gw_steps(const struct gw *w)
{
    return w->steps;
}

uint64_t gw_packets(const struct gw *w)
{
    return w->packets;
}

bool gw_is_up(const struct gw *w, unsigned member)
{
    return w->nodes[member].core != NULL;
}

bool gw_is_paused(const struct gw *w, unsigned member)
{
    return w->nodes[member].paused_until_us > w->now_us;
}

enum gossip_state gw_view(const struct gw *w, unsigned member, unsigned other)
{
    const struct gossip_member *m = gossip_member(w->nodes[member].core, other + 1);
    return m != NULL ? m->state : GOSSIP_DEAD;
}

uint64_t gw_rumour_of(const struct gw *w, unsigned member, uint64_t key)
{
    return w->nodes[member].heard[key % GW_KEYS];
}

void gw_figures(const struct gw *w, unsigned member, struct gossip_figures *out)
{
    gossip_figures(w->nodes[member].core, out);
}
