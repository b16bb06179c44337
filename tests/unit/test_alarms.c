/* broker/alarms: what is short on other nodes, and whose word counts. */
#include "alarms.h"

#include "broker_inner.h"
#include "gossip_node.h"
#include "meta_nodes.h"

#include "expect.h"

/* A broker of which nothing is there but what alarms need. */
struct house {
    struct world w;
    struct broker b;
};

static void house_init(struct house *h)
{
    static char name[] = "rabbit@here";
    world_init(&h->w, 7);
    world_nodes(&h->w, 3);
    h->b = (struct broker){ .meta = h->w.meta, .name = name };
}

static void set(struct house *h, const struct alarm *list, size_t count)
{
    alarms_set_elsewhere(&h->b, list, count);
}

Test(alarms, others_are_kept_with_what_they_are_short_of)
{
    struct house h;
    struct alarm list[] = { { 2, BROKER_ALARM_MEMORY }, { 3, BROKER_ALARM_DISK } };
    struct alarm out[ALARMS_MAX];
    house_init(&h);
    cr_expect(zero(sz, alarms_elsewhere(&h.b, out)));
    cr_expect(not(broker_has_alarm(&h.b)));

    set(&h, list, 2);
    cr_assert(eq(sz, alarms_elsewhere(&h.b, out), 2));
    cr_expect(eq(uint, out[0].node, 2));
    cr_expect(eq(uint, out[0].what, BROKER_ALARM_MEMORY));
    cr_expect(eq(uint, out[1].node, 3));
    cr_expect(eq(uint, out[1].what, BROKER_ALARM_DISK));
    cr_expect(broker_has_alarm(&h.b));
    cr_expect(zero(uint, broker_alarms(&h.b)), "its own are others");
    cr_expect(eq(str, (char *)broker_alarm_text(&h.b), "low on memory & disk"));

    set(&h, list + 1, 1);
    cr_assert(eq(sz, alarms_elsewhere(&h.b, out), 1));
    cr_expect(eq(uint, out[0].node, 3));
    cr_expect(eq(str, (char *)broker_alarm_text(&h.b), "low on disk"));
    set(&h, NULL, 0);
    cr_expect(zero(sz, alarms_elsewhere(&h.b, out)));
    cr_expect(not(broker_has_alarm(&h.b)));
    world_fini(&h.w);
}

Test(alarms, there_is_room_for_every_node)
{
    struct house h;
    struct alarm list[ALARMS_MAX], out[ALARMS_MAX];
    house_init(&h);
    for (size_t i = 0; i < ALARMS_MAX; i++)
        list[i] = (struct alarm){ (uint16_t)(UINT16_MAX - i), BROKER_ALARM_MEMORY };
    set(&h, list, ALARMS_MAX);
    cr_assert(eq(sz, alarms_elsewhere(&h.b, out), ALARMS_MAX));
    cr_expect(eq(uint, out[0].node, UINT16_MAX));
    cr_expect(eq(uint, out[ALARMS_MAX - 1].node, UINT16_MAX - ALARMS_MAX + 1));
    world_fini(&h.w);
}

Test(alarms, a_nodes_own_and_those_of_others_count_both)
{
    struct house h;
    house_init(&h);
    set(&h, &(struct alarm){ 2, BROKER_ALARM_MEMORY }, 1);
    atomic_store(&h.b.alarms, BROKER_ALARM_DISK);
    set(&h, NULL, 0);
    cr_expect(broker_has_alarm(&h.b));
    cr_expect(eq(str, (char *)broker_alarm_text(&h.b), "low on disk"));
    world_fini(&h.w);
}

static unsigned said(const struct world *w, uint64_t id, uint32_t boot, enum gossip_state state)
{
    struct gossip_member m = { .id = id, .inc = (uint64_t)boot << 32, .state = state };
    m.pulse.boot = boot;
    m.pulse.seq = 1;
    m.pulse.load.flags = GOSSIP_LOAD_ALARM_MEMORY | GOSSIP_LOAD_ALARM_DISK;
    return gossip_node_alarms(now(w), &m);
}

Test(alarms, only_the_word_of_a_process_that_lives_counts)
{
    struct world w;
    const unsigned both = BROKER_ALARM_MEMORY | BROKER_ALARM_DISK;
    world_init(&w, 7);
    world_nodes(&w, 2);
    must(&w, node_cmd(META_NODE_UP, 2, 5));
    cr_expect(eq(uint, said(&w, 2, 5, GOSSIP_ALIVE), both));
    cr_expect(eq(uint, said(&w, 2, 5, GOSSIP_SUSPECT), both), "nobody knows yet");
    cr_expect(zero(uint, said(&w, 2, 5, GOSSIP_DEAD)));
    cr_expect(zero(uint, said(&w, 2, 5, GOSSIP_LEFT)));
    cr_expect(zero(uint, said(&w, 2, 4, GOSSIP_ALIVE)), "an earlier start of it");
    cr_expect(zero(uint, said(&w, 9, 5, GOSSIP_ALIVE)), "no member of the cluster");
    cr_expect(zero(uint, said(&w, (uint64_t)1 << 63 | 2, 5, GOSSIP_ALIVE)), "a proxy");

    must(&w, node_cmd(META_NODE_DRAIN, 2, 5));
    cr_expect(eq(uint, said(&w, 2, 5, GOSSIP_ALIVE), both), "its queues are served");
    must(&w, node_cmd(META_NODE_STOPPED, 2, 5));
    cr_expect(zero(uint, said(&w, 2, 5, GOSSIP_ALIVE)));
    must(&w, node_cmd(META_NODE_UP, 2, 5));
    cr_expect(eq(uint, said(&w, 2, 5, GOSSIP_ALIVE), both));
    must(&w, node_cmd(META_NODE_DOWN, 2, 5));
    cr_expect(zero(uint, said(&w, 2, 5, GOSSIP_ALIVE)));
    world_fini(&w);
}
