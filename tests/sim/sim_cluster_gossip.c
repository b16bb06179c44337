#include "sim_cluster_gossip.h"

#include "base/check.h"
#include "base/mem.h"
#include "gossip/gossip.h"

#include <string.h>

#define DIGEST_EVERY 16u /* entries */
#define HEAD_BYTES   11u
#define JOIN_CHANCE  50u /* of 1000, at each look: somebody that is not known is looked for */

enum frame { FRAME_PACKET, FRAME_SYNC_ASK, FRAME_SYNC, FRAME_PING, FRAME_PONG, FRAME_COUNT };

struct gnode {
    struct gossip *core; /* NULL: it is down */
    uint64_t wake_us;
    struct gossip_pulse pulse;
};

struct sim_cluster_gossip {
    struct gnode nodes[SIM_NODES + 1];
    struct gossip_effects fx;
};

struct sim_cluster_gossip *sim_cluster_gossip_new(void)
{
    return mem_zalloc(sizeof(struct sim_cluster_gossip));
}

void sim_cluster_gossip_crash(struct sim_cluster_gossip *g, unsigned node)
{
    if (g->nodes[node].core != NULL)
        gossip_free(&g->nodes[node].core);
}

void sim_cluster_gossip_free(struct sim_cluster_gossip **gossip)
{
    struct sim_cluster_gossip *g = *gossip;
    *gossip = NULL;
    for (unsigned i = 1; i <= SIM_NODES; i++)
        sim_cluster_gossip_crash(g, i);
    mem_free(g);
}

/* ---- the net ---- */

/* Over TCP nothing is lost but with the way, both ways. */
static void send(struct sim_raft *w, unsigned from, unsigned to, enum frame kind, uint32_t seq,
                 uint32_t boot, struct slice bytes)
{
    const struct sim_chances *c = &w->chance;
    bool is_packet = kind == FRAME_PACKET;
    bool is_lost = is_packet && c->lose != 0 && rng_chance(&w->rng, c->lose);
    if (is_lost || w->is_cut[from][to] || (!is_packet && w->is_cut[to][from]))
        return;
    struct buf *b = buf_new(HEAD_BYTES + bytes.len);
    struct wire_out out = wire_out_over(b->data, b->cap_bytes);
    wire_put_u8(&out, (uint8_t)kind);
    wire_put_u16(&out, (uint16_t)from);
    wire_put_u32(&out, seq);
    wire_put_u32(&out, boot);
    wire_put_bytes(&out, bytes);
    CHECK(!out.overflow);
    b->len_bytes = (uint32_t)wire_out_len(&out);
    int64_t delay = 20 + (int64_t)rng_below(&w->rng, (uint64_t)c->delay_us);
    if (c->late != 0 && rng_chance(&w->rng, c->late))
        delay += (int64_t)rng_below(&w->rng, (uint64_t)c->late_us);
    sim_raft_net_later(w, delay,
                       &(struct sim_raft_act){
                           .kind = SIM_GOSSIP, .node = (uint16_t)to, .chunk = { .bytes = b } });
}

static void send_all(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned from, unsigned to,
                     enum frame kind)
{
    uint8_t room[GOSSIP_SYNC_MAX];
    size_t at = 0;
    for (;;) {
        struct wire_out o = wire_out_over(room, sizeof room);
        if (!gossip_sync_write(g->nodes[from].core, &at, &o))
            return;
        send(w, from, to, kind, 0, w->nodes[from].boot, wire_out_slice(&o));
        kind = FRAME_SYNC; /* one part asks for the answer */
    }
}

/* ---- the core's driver ---- */

static void hear(struct sim_raft *w, unsigned node, const struct gossip_change *c)
{
    if (c->kind == GOSSIP_DIGESTS_DIFFER)
        sim_raft_fail(w, "%u hears that %u and %u differ after %d", node, (unsigned)c->id,
                      (unsigned)c->other, (int)c->inc);
    if (c->kind == GOSSIP_CONFLICT)
        sim_raft_fail(w, "%u takes itself for two", node);
}

static void step(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned node,
                 struct gossip_event ev)
{
    struct gnode *n = &g->nodes[node];
    uint32_t boot = w->nodes[node].boot;
    ev.now_us = (uint64_t)sim_raft_node_clock(w, node);
    gossip_step(n->core, &ev, &g->fx);
    for (unsigned i = 0; i < g->fx.send_count; i++) {
        const struct gossip_send *s = &g->fx.sends[i];
        send(w, node, (unsigned)s->to, FRAME_PACKET, 0, boot, slice_of(s->bytes, s->len));
    }
    if (g->fx.tcp_ping != 0)
        send(w, node, (unsigned)g->fx.tcp_ping, FRAME_PING, g->fx.tcp_ping_seq, boot,
             slice_of(NULL, 0));
    if (g->fx.sync_with != 0)
        send_all(w, g, node, (unsigned)g->fx.sync_with, FRAME_SYNC_ASK);
    n->wake_us = g->fx.wake_at_us;
    for (unsigned i = 0; i < g->fx.change_count; i++)
        hear(w, node, &g->fx.changes[i]);
}

void sim_cluster_gossip_on_frame(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned node,
                                 const struct buf *frame)
{
    struct wire in = wire_over(buf_slice(frame));
    uint8_t kind = wire_u8(&in);
    uint16_t from = wire_u16(&in);
    uint32_t seq = wire_u32(&in), boot = wire_u32(&in);
    struct slice bytes = wire_take(&in, wire_left(&in));
    CHECK(!in.ran_out && kind < FRAME_COUNT);
    switch ((enum frame)kind) {
    case FRAME_PACKET:
        step(w, g, node,
             (struct gossip_event){ .kind = GOSSIP_EV_PACKET, .from = from, .bytes = bytes });
        return;
    case FRAME_SYNC_ASK:
        send_all(w, g, node, from, FRAME_SYNC);
        step(w, g, node,
             (struct gossip_event){ .kind = GOSSIP_EV_SYNC, .from = from, .bytes = bytes });
        return;
    case FRAME_SYNC:
        step(w, g, node,
             (struct gossip_event){ .kind = GOSSIP_EV_SYNC, .from = from, .bytes = bytes });
        return;
    case FRAME_PING:
        send(w, node, from, FRAME_PONG, seq, boot, slice_of(NULL, 0));
        return;
    case FRAME_PONG:
        if (boot == w->nodes[node].boot)
            step(w, g, node,
                 (struct gossip_event){ .kind = GOSSIP_EV_TCP_PONG, .from = from, .seq = seq });
        return;
    case FRAME_COUNT:
        break;
    }
    UNREACHABLE("frame");
}

void sim_cluster_gossip_look(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned node)
{
    struct gnode *n = &g->nodes[node];
    unsigned other = 1 + (unsigned)rng_below(&w->rng, SIM_NODES);
    if ((uint64_t)sim_raft_node_clock(w, node) >= n->wake_us)
        step(w, g, node, (struct gossip_event){ .kind = GOSSIP_EV_TIME });
    if (other != node && rng_chance(&w->rng, JOIN_CHANCE) && gossip_member(n->core, other) == NULL)
        send_all(w, g, node, other, FRAME_SYNC_ASK);
}

void sim_cluster_gossip_applied(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned node,
                                uint64_t index, uint64_t checksum)
{
    struct gnode *n = &g->nodes[node];
    n->pulse.meta_index = index;
    if (index % DIGEST_EVERY != 0)
        return;
    n->pulse.digest_index = index;
    n->pulse.digest = checksum;
    step(w, g, node, (struct gossip_event){ .kind = GOSSIP_EV_PULSE, .pulse = n->pulse });
}

void sim_cluster_gossip_start(struct sim_raft *w, struct sim_cluster_gossip *g, unsigned node)
{
    struct gnode *n = &g->nodes[node];
    struct gossip_conf conf = { .id = node, .boot = w->nodes[node].boot, .seed = rng_u64(&w->rng) };
    uint8_t record = (uint8_t)node;
    uint64_t now_us = (uint64_t)sim_raft_node_clock(w, node);
    *n = (struct gnode){ .core = gossip_new(&conf, slice_of(&record, 1), now_us) };
}

bool sim_cluster_gossip_is_well(const struct sim_raft *w, const struct sim_cluster_gossip *g)
{
    for (unsigned i = 1; i <= SIM_NODES; i++)
        for (unsigned k = 1; k <= SIM_NODES; k++) {
            if (w->nodes[i].raft == NULL || w->nodes[k].raft == NULL)
                continue;
            const struct gossip_member *m = gossip_member(g->nodes[i].core, k);
            if (m == NULL || m->state != GOSSIP_ALIVE)
                return false;
        }
    return true;
}
