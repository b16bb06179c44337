#include "gossip/gossip_net.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "gossip/gossip_inner.h"
#include "io/cookie.h"
#include "io/random.h"
#include "io/udp.h"

#define TIDY_MS      500u
#define PULSE_MS     50u
#define LOAD_MS      1000u
#define DEAD_KEEP_US (15ull * 60 * 1000 * 1000)

static bool is_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= bytes[i];
    return any == 0;
}

/* ---- the core's effects -----------------------------------------------------------------------
 */

static void send_one(struct gossip_net *n, const struct gossip_send *s)
{
    struct sock_addr to;
    uint8_t packet[GOSSIP_PACKET_MAX];
    if (!gossip_book_packets(n->book, s->to, &to)) {
        n->figures.unplaced++;
        return;
    }
    size_t len = gossip_seal_make(n->seal, slice_of(s->bytes, s->len), packet);
    n->figures.packets_out += udp_send(n->udp, &to, slice_of(packet, len));
}

static void on_changed(struct gossip_net *n, uint64_t id)
{
    const struct gossip_member *m = gossip_member(n->core, id);
    struct gossip_info info;
    if (m == NULL)
        return;
    if (id != n->id && gossip_info_read(m->record, &info))
        gossip_book_stated(n->book, id, info.cluster);
    if (id != n->id)
        gossip_net_say_state(n, m);
    if (n->setup.handlers.on_member != NULL)
        n->setup.handlers.on_member(id, m, n->setup.arg);
    n->is_untidy = true; /* it may have to be met */
}

static void on_change(struct gossip_net *n, const struct gossip_change *c)
{
    const struct gossip_net_handlers *h = &n->setup.handlers;
    switch (c->kind) {
    case GOSSIP_MEMBER_CHANGED:
        on_changed(n, c->id);
        return;
    case GOSSIP_MEMBER_FORGOTTEN:
        gossip_book_forget(n->book, c->id);
        gossip_seal_forget(n->seal, c->id);
        if (h->on_member != NULL)
            h->on_member(c->id, NULL, n->setup.arg);
        return;
    case GOSSIP_PULSE_HEARD:
        gossip_net_note_lag(n, gossip_member(n->core, c->id));
        if (h->on_pulse != NULL && gossip_member(n->core, c->id) != NULL)
            h->on_pulse(gossip_member(n->core, c->id), n->setup.arg);
        return;
    case GOSSIP_RUMOUR_HEARD:
        if (h->on_rumour != NULL)
            h->on_rumour(&c->rumour, n->setup.arg);
        return;
    case GOSSIP_DIGESTS_DIFFER:
        log_error("gossip", n->setup.name,
                  "two nodes have different metadata: report this one=%llu other=%llu index=%llu",
                  (unsigned long long)c->id, (unsigned long long)c->other,
                  (unsigned long long)c->inc);
        if (h->on_digests_differ != NULL)
            h->on_digests_differ(c->id, c->other, c->inc, n->setup.arg);
        return;
    case GOSSIP_REFUTED:
        log_info("gossip", n->setup.name, "others took this node for dead, and were told by=%llu",
                 (unsigned long long)c->id);
        return;
    case GOSSIP_CONFLICT:
        log_warn("gossip", n->setup.name,
                 "a later start of this node is, or was, around: is its data folder a copy? "
                 "number=%llu start=%llu",
                 (unsigned long long)c->id, (unsigned long long)(c->inc >> 32));
        return;
    }
    UNREACHABLE("change");
}

void gossip_net_feed(struct gossip_net *n, struct gossip_event ev)
{
    struct gossip_place place;
    if (n->core == NULL || n->has_left)
        return;
    uint64_t now = loop_now_us(n->setup.loop);
    ev.now_us = now > n->fed_us ? now : n->fed_us;
    n->fed_us = ev.now_us;
    struct gossip_effects *e = n->effects;
    gossip_step(n->core, &ev, e);
    for (unsigned i = 0; i < e->change_count; i++)
        on_change(n, &e->changes[i]);
    for (unsigned i = 0; i < e->send_count; i++)
        send_one(n, &e->sends[i]);
    if (e->tcp_ping != 0 && gossip_book_place(n->book, e->tcp_ping, &place))
        gossip_talks_ping(n->talks, e->tcp_ping, &place, e->tcp_ping_seq);
    if (e->sync_with != 0 && gossip_book_place(n->book, e->sync_with, &place))
        gossip_talks_sync(n->talks, e->sync_with, &place);
    if (e->wake_at_us == UINT64_MAX)
        return;
    uint64_t wait_us = e->wake_at_us > now ? e->wake_at_us - now : 0;
    loop_timer_start(&n->wake, (wait_us + 999) / 1000);
    if (n->is_untidy)
        loop_at_turn_end(n->setup.loop, &n->tidy_soon);
}

static void on_wake(void *arg)
{
    gossip_net_feed(arg, (struct gossip_event){ .kind = GOSSIP_EV_TIME });
}

/* ---- packets ----------------------------------------------------------------------------------
 */

static void on_packet(struct slice packet, const struct sock_addr *from, void *arg)
{
    struct gossip_net *n = arg;
    uint8_t room[GOSSIP_PAYLOAD_MAX];
    struct gossip_opening o;
    if (n->seal == NULL)
        return;
    enum gossip_opened got = gossip_seal_open(n->seal, packet, room, &o);
    if (got != GOSSIP_OPENED) {
        n->figures.dropped[got]++;
        /* It may be a new start of somebody: then a talk will tell. */
        if (got == GOSSIP_OPENED_STRANGER)
            gossip_net_meet(n, o.from);
        return;
    }
    n->figures.packets_in++;
    gossip_book_seen(n->book, o.from, from);
    gossip_net_feed(
        n, (struct gossip_event){ .kind = GOSSIP_EV_PACKET, .from = o.from, .bytes = o.payload });
}

/* ---- talks ------------------------------------------------------------------------------------
 */

static void our_greeting(struct gossip_greeting *out, void *arg)
{
    const struct gossip_net *n = arg;
    *out = (struct gossip_greeting){
        .id = n->id, .boot = n->boot, .counter = n->seal != NULL ? gossip_seal_counter(n->seal) : 0
    };
    memcpy(out->cluster, n->setup.cluster, sizeof out->cluster);
}

static void on_items(uint64_t from, struct slice items, void *arg)
{
    gossip_net_feed(arg,
                    (struct gossip_event){ .kind = GOSSIP_EV_SYNC, .from = from, .bytes = items });
}

static void on_pong(uint64_t from, uint32_t seq, void *arg)
{
    (void)from;
    gossip_net_feed(arg, (struct gossip_event){ .kind = GOSSIP_EV_TCP_PONG, .seq = seq });
}

static bool write_all(size_t *at, struct wire_out *w, void *arg)
{
    const struct gossip_net *n = arg;
    return n->core != NULL && gossip_sync_write(n->core, at, w);
}

static void on_other(struct link **l, const struct link_frame *first, void *arg)
{
    struct gossip_net *n = arg;
    if (n->setup.handlers.on_feed != NULL)
        n->setup.handlers.on_feed(l, first, n->setup.arg);
}

/* ---- pulses -----------------------------------------------------------------------------------
 */

static bool is_same_pulse(const struct gossip_pulse *a, const struct gossip_pulse *b)
{
    struct gossip_pulse x = *a, y = *b;
    x.boot = y.boot = x.seq = y.seq = 0;
    return memcmp(&x, &y, sizeof x) == 0;
}

static void on_pulse_time(void *arg)
{
    struct gossip_net *n = arg;
    struct gossip_pulse p;
    memset(&p, 0, sizeof p); /* compared octet by octet */
    loop_timer_start(&n->pulse, LOAD_MS);
    if (n->core == NULL || n->setup.handlers.pulse == NULL)
        return;
    n->setup.handlers.pulse(&p, n->setup.arg);
    n->pulse_us = loop_now_us(n->setup.loop);
    if (is_same_pulse(&p, &n->last_pulse))
        return;
    if (p.meta_index != n->last_pulse.meta_index)
        n->index_us = n->pulse_us;
    n->last_pulse = p;
    gossip_net_feed(n, (struct gossip_event){ .kind = GOSSIP_EV_PULSE, .pulse = p });
}

void gossip_net_touch(struct gossip_net *n)
{
    uint64_t since_ms = (loop_now_us(n->setup.loop) - n->pulse_us) / 1000;
    if (n->is_touched)
        return;
    n->is_touched = true;
    loop_timer_start(&n->touch, since_ms < PULSE_MS ? PULSE_MS - since_ms : 0);
}

static void on_touch_time(void *arg)
{
    struct gossip_net *n = arg;
    n->is_touched = false;
    on_pulse_time(n);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void write_record(const struct gossip_net *n, struct wire_out *w)
{
    const struct gossip_net_setup *s = &n->setup;
    gossip_info_write(w, &(struct gossip_info){
                             .role = s->role,
                             .protocol_least = GOSSIP_PROTOCOL,
                             .protocol_most = GOSSIP_PROTOCOL,
                             .boot = n->boot,
                             .name = slice_str(s->name),
                             .version = slice_str(s->version),
                             .amqp = slice_str(s->amqp != NULL ? s->amqp : ""),
                             .cluster = slice_str(s->cluster_at != NULL ? s->cluster_at : ""),
                             .management = slice_str(s->management != NULL ? s->management : ""),
                         });
}

/* From now on it takes part in this cluster; with another boot, since keys of packets depend on it
 * and no counter may be used twice. */
void gossip_net_adopt(struct gossip_net *n, const uint8_t cluster[GOSSIP_CLUSTER_BYTES])
{
    uint8_t record[GOSSIP_RECORD_MAX];
    struct wire_out w = wire_out_over(record, sizeof record);
    gossip_free(&n->core);
    gossip_seal_free(&n->seal);
    memcpy(n->setup.cluster, cluster, sizeof n->setup.cluster);
    n->boot = random_u64();
    struct gossip_seal_setup seal = { .cookie = cookie_slice(&n->cookie),
                                      .id = n->id,
                                      .boot = n->boot };
    memcpy(seal.cluster, cluster, sizeof seal.cluster);
    n->seal = gossip_seal_new(&seal);
    write_record(n, &w);
    CHECK(!w.overflow);
    n->core = gossip_new(
        &(struct gossip_conf){
            .id = n->id, .boot = n->setup.inc, .seed = random_u64(), .dead_keep_us = DEAD_KEEP_US },
        wire_out_slice(&w), loop_now_us(n->setup.loop));
    memset(&n->last_pulse, 0, sizeof n->last_pulse);
    loop_timer_start(&n->wake, 0);
    loop_timer_start(&n->pulse, 0);
}

static bool fits(const struct gossip_net *n, struct err *err)
{
    uint8_t record[GOSSIP_RECORD_MAX];
    struct wire_out w = wire_out_over(record, sizeof record);
    write_record(n, &w);
    return !w.overflow || err_set(err, ERR_CONFIG, "name and addresses are too long for gossip");
}

static const char *copy(const char *text)
{
    return mem_strdup(text != NULL ? text : "");
}

static void on_tidy(void *arg)
{
    struct gossip_net *n = arg;
    loop_timer_start(&n->tidy, TIDY_MS);
    gossip_net_tidy(n);
}

static void on_tidy_soon(void *arg)
{
    gossip_net_tidy(arg);
}

struct gossip_net *gossip_net_new(const struct gossip_net_setup *setup, struct err *err)
{
    static const struct gossip_talk_handlers talk = { .greeting = our_greeting,
                                                      .on_greeting = gossip_net_on_greeting,
                                                      .write = write_all,
                                                      .on_items = on_items,
                                                      .on_pong = on_pong,
                                                      .on_other = on_other };
    struct gossip_net *n = mem_zalloc(sizeof *n);
    CHECK(setup->cookie.len <= COOKIE_MAX);
    n->setup = *setup;
    n->setup.name = copy(setup->name);
    n->setup.version = copy(setup->version);
    n->setup.amqp = copy(setup->amqp);
    n->setup.cluster_at = copy(setup->cluster_at);
    n->setup.management = copy(setup->management);
    memcpy(n->cookie.bytes, setup->cookie.ptr, setup->cookie.len);
    n->cookie.len = setup->cookie.len;
    n->id = setup->node != 0 ? setup->node : random_u64() | (uint64_t)1 << 63;
    n->effects = mem_zalloc(sizeof *n->effects);
    n->book = gossip_book_new(setup->loop);
    n->talks = gossip_talks_new(setup->loop, setup->link_node, &talk, n);
    loop_timer_init(&n->wake, setup->loop, on_wake, n);
    loop_timer_init(&n->tidy, setup->loop, on_tidy, n);
    loop_timer_init(&n->pulse, setup->loop, on_pulse_time, n);
    loop_timer_init(&n->touch, setup->loop, on_touch_time, n);
    loop_task_init(&n->tidy_soon, on_tidy_soon, n);
    n->udp = fits(n, err) ? udp_new(setup->loop, &setup->at, on_packet, n, err) : NULL;
    if (n->udp == NULL) {
        gossip_net_free(&n);
        return NULL;
    }
    if (!is_zero(setup->cluster, sizeof setup->cluster))
        gossip_net_adopt(n, setup->cluster);
    loop_timer_start(&n->tidy, 0);
    return n;
}

void gossip_net_free(struct gossip_net **np)
{
    struct gossip_net *n = *np;
    if (n == NULL)
        return;
    *np = NULL;
    loop_timer_fini(&n->wake);
    loop_timer_fini(&n->tidy);
    loop_timer_fini(&n->pulse);
    loop_timer_fini(&n->touch);
    loop_task_cancel(n->setup.loop, &n->tidy_soon);
    gossip_talks_free(&n->talks);
    udp_free(&n->udp);
    gossip_book_free(&n->book);
    gossip_seal_free(&n->seal);
    gossip_free(&n->core);
    cookie_wipe(&n->cookie);
    mem_free((char *)(uintptr_t)n->setup.name);
    mem_free((char *)(uintptr_t)n->setup.version);
    mem_free((char *)(uintptr_t)n->setup.amqp);
    mem_free((char *)(uintptr_t)n->setup.cluster_at);
    mem_free((char *)(uintptr_t)n->setup.management);
    mem_free(n->effects);
    mem_free(n);
}

struct link_hall *gossip_net_hall(struct gossip_net *n)
{
    return gossip_talks_hall(n->talks);
}

const struct sock_addr *gossip_net_at(const struct gossip_net *n)
{
    return udp_addr(n->udp);
}

void gossip_net_rumour(struct gossip_net *n, const struct gossip_rumour *r)
{
    CHECK(r->bytes.len <= GOSSIP_RUMOUR_MAX);
    gossip_net_feed(n, (struct gossip_event){ .kind = GOSSIP_EV_RUMOUR, .rumour = *r });
}

void gossip_net_forget(struct gossip_net *n, uint64_t id)
{
    gossip_net_feed(n, (struct gossip_event){ .kind = GOSSIP_EV_FORGET, .from = id });
}

void gossip_net_leave(struct gossip_net *n)
{
    gossip_net_feed(n, (struct gossip_event){ .kind = GOSSIP_EV_LEAVE });
    n->has_left = true;
}
