/* Time, the net between the members, and its faults. */
#include "base/check.h"
#include "base/mem.h"
#include "raft/raft_wire.h"
#include "sim_raft_inner.h"

void sim_raft_net_init(struct sim_raft *w)
{
    heap_init(&w->queue);
}

static void drop_act(struct sim_raft_act *a)
{
    if (a->msg != NULL) {
        raft_msg_fini(a->msg);
        mem_free(a->msg);
    }
    buf_unref(&a->chunk.bytes);
}

void sim_raft_net_fini(struct sim_raft *w)
{
    while (heap_min(&w->queue) != NULL)
        drop_act(&w->acts[heap_pop(&w->queue).value & 0xffffffffu]);
    heap_fini(&w->queue);
    mem_free(w->acts);
    mem_free(w->free_acts);
}

static uint64_t place(struct sim_raft *w)
{
    if (w->free_count != 0)
        return w->free_acts[--w->free_count];
    if (w->act_count == w->act_room) {
        w->act_room = w->act_room * 2 + 256;
        w->acts = mem_realloc(w->acts, w->act_room * sizeof *w->acts);
        w->free_acts = mem_realloc(w->free_acts, w->act_room * sizeof *w->free_acts);
    }
    return w->act_count++;
}

void sim_raft_net_later(struct sim_raft *w, int64_t delay_us, const struct sim_raft_act *act)
{
    uint64_t at = place(w);
    w->acts[at] = *act;
    heap_push(&w->queue, (uint64_t)(w->now_us + delay_us), at);
}

bool sim_raft_net_next(struct sim_raft *w, int64_t end_us, struct sim_raft_act *out)
{
    const struct heap_item *top = heap_min(&w->queue);
    if (top == NULL || (int64_t)top->key >= end_us)
        return false;
    struct heap_item item = heap_pop(&w->queue);
    if (w->now_us < (int64_t)item.key)
        w->now_us = (int64_t)item.key;
    *out = w->acts[item.value];
    w->free_acts[w->free_count++] = item.value;
    return true;
}

/* ---- messages ---- */

static struct raft_msg *through_the_wire(struct raft_msg *m)
{
    size_t size = raft_wire_size(m);
    uint8_t *room = mem_alloc(size);
    struct wire_out out = wire_out_over(room, size);
    raft_wire_put(&out, m);
    CHECK(!out.overflow);
    raft_msg_fini(m);
    bool is_taken = raft_wire_take(wire_out_slice(&out), m);
    CHECK(is_taken);
    mem_free(room);
    return m;
}

static void deliver_later(struct sim_raft *w, struct raft_msg *m)
{
    const struct sim_chances *c = &w->chance;
    int64_t delay = 20 + (int64_t)rng_below(&w->rng, (uint64_t)c->delay_us);
    if (c->late != 0 && rng_chance(&w->rng, c->late))
        delay += (int64_t)rng_below(&w->rng, (uint64_t)c->late_us);
    int64_t *last = &w->arrives_us[m->from][m->to];
    if (c->is_fifo && w->now_us + delay < *last)
        delay = *last - w->now_us;
    *last = w->now_us + delay;
    sim_raft_net_later(w, delay,
                       &(struct sim_raft_act){ .kind = SIM_DELIVER, .node = m->to, .msg = m });
}

void sim_raft_net_send(struct sim_raft *w, struct raft_msg *m)
{
    const struct sim_chances *c = &w->chance;
    if (c->is_wired)
        m = through_the_wire(m);
    if (w->is_cut[m->from][m->to] || (c->lose != 0 && rng_chance(&w->rng, c->lose))) {
        raft_msg_fini(m);
        mem_free(m);
        return;
    }
    if (c->twice != 0 && rng_chance(&w->rng, c->twice)) {
        struct raft_msg *copy = mem_alloc(sizeof *copy);
        raft_msg_copy(copy, m);
        deliver_later(w, copy);
    }
    deliver_later(w, m);
}

/* ---- cuts ---- */

void sim_raft_net_heal(struct sim_raft *w)
{
    for (unsigned a = 1; a <= SIM_NODES; a++)
        for (unsigned b = 1; b <= SIM_NODES; b++)
            w->is_cut[a][b] = false;
}

static void cut_pair(struct sim_raft *w, unsigned a, unsigned b)
{
    bool is_one_way = w->chance.one_way != 0 && rng_chance(&w->rng, w->chance.one_way);
    bool forth = !is_one_way || rng_below(&w->rng, 2) == 0;
    w->is_cut[a][b] = w->is_cut[a][b] || forth;
    w->is_cut[b][a] = w->is_cut[b][a] || !is_one_way || !forth;
}

static void cut_groups(struct sim_raft *w, unsigned side)
{
    for (unsigned a = 1; a <= SIM_NODES; a++)
        for (unsigned b = a + 1; b <= SIM_NODES; b++)
            if (((side >> a) & 1) != ((side >> b) & 1))
                cut_pair(w, a, b);
}

static unsigned some_node(struct sim_raft *w)
{
    return 1 + (unsigned)rng_below(&w->rng, SIM_NODES);
}

void sim_raft_net_cut(struct sim_raft *w)
{
    unsigned bridge = some_node(w), side = (unsigned)rng_below(&w->rng, 1u << (SIM_NODES + 1));
    switch (rng_below(&w->rng, 5)) {
    case 0: /* two sides */
        cut_groups(w, side);
        break;
    case 1: /* one alone */
        cut_groups(w, 1u << bridge);
        break;
    case 2: /* two sides that both reach one node */
        cut_groups(w, side);
        for (unsigned a = 1; a <= SIM_NODES; a++)
            w->is_cut[a][bridge] = w->is_cut[bridge][a] = false;
        break;
    case 3: /* a ring */
        for (unsigned a = 1; a <= SIM_NODES; a++)
            for (unsigned b = a + 1; b <= SIM_NODES; b++)
                if (b - a != 1 && !(a == 1 && b == SIM_NODES))
                    cut_pair(w, a, b);
        break;
    default: /* single links */
        for (unsigned i = 0; i < 5; i++) {
            unsigned a = some_node(w), b = some_node(w);
            if (a != b)
                cut_pair(w, a, b);
        }
        break;
    }
    sim_raft_say(w, "the net is cut");
}
