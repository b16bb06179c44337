/* src/gossip/gossip_net: members in one process, over loopback: packets, talks, and the core. */
#include "gossip/gossip_net.h"
#include "link/link_door.h"
#include "link_kit.h"

#include <stdio.h>

#include "expect.h"

#define CLUSTER 7

struct house {
    struct link_node *node;
    struct link_door *door;
    struct gossip_net *net;
    char at[64];
    uint16_t port;
    size_t rumours;
};

static struct loop *loop;
static struct house houses[3];

static void on_rumour(const struct gossip_rumour *r, void *arg)
{
    struct house *h = arg;
    h->rumours += slice_is(r->bytes, "hear");
}

/* Node 0 is a proxy. */
static void open_house(struct house *h, uint16_t node, uint8_t cluster, uint32_t inc, uint16_t port)
{
    struct err err;
    char name[32];
    uint16_t tries = 0;
    (void)snprintf(name, sizeof name, node != 0 ? "rabbit%u@here" : "proxy@here", node);
    h->node = kit_link_node(KIT_COOKIE, cluster, node, inc, name);
    h->door = link_door_new(loop);
    h->rumours = 0;
    struct gossip_net_setup s = {
        .loop = loop,
        .link_node = h->node,
        .cookie = slice_str(KIT_COOKIE),
        .node = node,
        .inc = inc,
        .role = node != 0 ? GOSSIP_ROLE_BROKER : GOSSIP_ROLE_PROXY,
        .name = name,
        .version = "1",
        .amqp = node != 0 ? "here:5672" : "",
        .handlers = { .on_rumour = on_rumour },
        .arg = h,
    };
    s.cluster[0] = cluster;
    /* One port number for both kinds, which somebody else may have for packets. */
    do {
        cr_assert(sock_addr_ip("127.0.0.1", port, &s.at));
        h->port = link_door_listen(h->door, &s.at, &err);
        cr_assert(h->port != 0, "%s", err.text);
        (void)snprintf(h->at, sizeof h->at, node != 0 ? "127.0.0.1:%u" : ":%u", h->port);
        s.cluster_at = h->at;
        sock_addr_set_port(&s.at, h->port);
        h->net = gossip_net_new(&s, &err);
        if (h->net == NULL)
            link_door_free(&h->door), h->door = link_door_new(loop);
    } while (h->net == NULL && port == 0 && tries++ < 10);
    cr_assert(h->net != NULL, "%s", err.text);
    struct link_hall *hall = gossip_net_hall(h->net);
    link_door_serve(h->door, LINK_FEED, &hall, 1);
}

static void close_house(struct house *h)
{
    if (h->net == NULL)
        return;
    link_door_serve(h->door, LINK_FEED, NULL, 0);
    link_door_free(&h->door);
    gossip_net_free(&h->net);
}

static void end_house(struct house *h)
{
    if (h->node != NULL)
        link_node_free(&h->node);
}

static void seed(struct house *h, const struct house *at)
{
    char place[64];
    const char *places[] = { place };
    (void)snprintf(place, sizeof place, "127.0.0.1:%u", at->port);
    gossip_net_set_places(h->net, places, 1);
}

static void set_up(void)
{
    loop = kit_loop_new();
    memset(houses, 0, sizeof houses);
}

static void tear_down(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(houses); i++)
        close_house(&houses[i]);
    while (loop_settle(loop))
        ;
    for (size_t i = 0; i < ARRAY_COUNT(houses); i++)
        end_house(&houses[i]);
    loop_free(&loop);
}

static size_t alive(const struct house *h)
{
    size_t n = 0;
    for (size_t i = 0; h->net != NULL && i < gossip_net_count(h->net); i++)
        n += gossip_net_member(h->net, i)->state == GOSSIP_ALIVE;
    return n;
}

/* All who are open know so many, and hear each other's packets. */
struct wish {
    size_t alive;
    uint64_t packets;
};

static bool is_so(void *arg)
{
    const struct wish *w = arg;
    for (size_t i = 0; i < ARRAY_COUNT(houses); i++) {
        struct gossip_net_figures f;
        if (houses[i].net == NULL)
            continue;
        gossip_net_figures(houses[i].net, &f);
        if (alive(&houses[i]) != w->alive || f.packets_in < w->packets)
            return false;
    }
    return true;
}

TestSuite(gossip_net, .init = set_up, .fini = tear_down, .timeout = 300);

static void open_three(void)
{
    open_house(&houses[0], 1, CLUSTER, 1, 0);
    open_house(&houses[1], 2, CLUSTER, 1, 0);
    open_house(&houses[2], 0, 0, 1, 0);
    seed(&houses[1], &houses[0]);
    seed(&houses[2], &houses[1]);
    kit_until(loop, is_so, &(struct wish){ 3, 10 });
}

Test(gossip_net, two_brokers_and_a_proxy_find_each_other)
{
    uint8_t cluster[GOSSIP_CLUSTER_BYTES];
    struct gossip_net_figures f;
    char shown[4096];
    struct text t = text_over(shown, sizeof shown);
    open_three();
    cr_assert(gossip_net_cluster(houses[2].net, cluster));
    cr_expect(eq(u8, cluster[0], CLUSTER));
    gossip_net_figures(houses[0].net, &f);
    cr_expect(eq(u64, f.dropped[GOSSIP_OPENED_FALSE], 0));
    cr_expect(eq(sz, f.core.members[GOSSIP_ALIVE], 3));
    gossip_net_show(houses[2].net, &t);
    cr_expect(strstr(shown, "rabbit1@here broker alive since=") != NULL, "%s", shown);
    cr_expect(strstr(shown, "proxy@here proxy alive self") != NULL, "%s", shown);
    text_clear(&t);
    gossip_net_figures(houses[2].net, &f);
    gossip_net_metrics(&f, &t);
    cr_expect(strstr(shown, "warren_gossip_members{state=\"alive\"} 3\n") != NULL, "%s", shown);
}

static bool has_heard(void *arg)
{
    (void)arg;
    return houses[1].rumours != 0 && houses[2].rumours != 0;
}

Test(gossip_net, rumours_reach_all)
{
    open_three();
    gossip_net_rumour(houses[0].net,
                      &(struct gossip_rumour){ .key = 1, .ver = 1, .bytes = slice_str("hear") });
    kit_until(loop, has_heard, NULL);
}

Test(gossip_net, who_says_goodbye_is_gone_at_once)
{
    open_three();
    gossip_net_leave(houses[2].net);
    close_house(&houses[2]);
    kit_until(loop, is_so, &(struct wish){ 2, 0 });
    for (size_t i = 0; i < gossip_net_count(houses[0].net); i++)
        cr_expect(gossip_net_member(houses[0].net, i)->state != GOSSIP_DEAD);
}

Test(gossip_net, who_falls_silent_is_found_dead_and_its_next_start_is_believed)
{
    open_three();
    uint16_t port = houses[1].port;
    close_house(&houses[1]);
    kit_until(loop, is_so, &(struct wish){ 2, 0 });
    while (loop_settle(loop))
        ;
    end_house(&houses[1]);
    open_house(&houses[1], 2, CLUSTER, 2, port);
    seed(&houses[1], &houses[0]);
    kit_until(loop, is_so, &(struct wish){ 3, 20 });
}

static bool has_met(void *arg)
{
    (void)arg;
    return alive(&houses[0]) == 2 && alive(&houses[2]) == 2;
}

Test(gossip_net, another_cluster_is_not_listened_to)
{
    struct gossip_net_figures f;
    open_house(&houses[0], 1, CLUSTER, 1, 0);
    open_house(&houses[1], 2, CLUSTER + 1, 1, 0);
    seed(&houses[1], &houses[0]);
    open_house(&houses[2], 3, CLUSTER, 1, 0);
    seed(&houses[2], &houses[0]);
    kit_until(loop, has_met, NULL);
    gossip_net_figures(houses[1].net, &f);
    cr_expect(eq(u64, f.packets_in, 0));
    cr_expect(eq(sz, gossip_net_count(houses[1].net), 1));
}
