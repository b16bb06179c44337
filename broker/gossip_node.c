#include "gossip_node.h"

#include "alarms.h"
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/shared.h"
#include "base/shown.h"
#include "broker.h"
#include "doorway.h"
#include "gossip/location_pub.h"
#include "gossip_leads.h"
#include "gossip_moved.h"
#include "io/epoch.h"
#include "link/link_door.h"
#include "listen.h"
#include "live.h"
#include "shard.h"

#define RUMOURS_WINDOW_US 50000u /* so many rumours about queues in this time; the feed has all */
#define RUMOURS_MAX       40u
#define FIGURE_WORDS      (sizeof(struct gossip_net_figures) / sizeof(uint64_t))

_Static_assert(FIGURE_WORDS * sizeof(uint64_t) == sizeof(struct gossip_net_figures), "in words");

/* A queue that goes: told when it is gone. */
struct goner {
    uint64_t index, hash;
};

struct gossip_node {
    struct broker *broker;
    struct gossip_net *net; /* NULL: no part is taken */
    struct location_pub *pub;
    struct gossip_moved *moved;
    uint8_t cluster[GOSSIP_CLUSTER_BYTES];
    uint16_t node;
    uint32_t inc;
    uint64_t digest_index, digest;
    uint64_t leads;         /* of the version that proxies were answered by */
    struct route_out route; /* for answers to them */
    struct goner *goners;
    size_t goner_count, goner_room;
    uint64_t window_us; /* of rumours */
    unsigned window_count;
    struct epoch *epoch;
    struct gossip_proxies *proxies; /* shown: */
    struct shown shown;
    struct shared is_on;
    struct shared figures[FIGURE_WORDS]; /* for readers of other threads */
};

/* ---- proxies ----------------------------------------------------------------------------------
 */

static void put_text(struct slice s, char *room, size_t size)
{
    struct text t = text_over(room, size);
    text_escaped(&t, s);
}

/* False: it is none, or not there. */
static bool read_proxy(const struct gossip_net *net, const struct gossip_member *m,
                       struct gossip_proxy *out)
{
    struct gossip_info info;
    char host[GOSSIP_NET_HOST_MAX];
    uint16_t port;
    if ((m->state != GOSSIP_ALIVE && m->state != GOSSIP_SUSPECT) || !gossip_net_info(m, &info) ||
        info.role != GOSSIP_ROLE_PROXY)
        return false;
    memset(out, 0, sizeof *out); /* compared octet by octet */
    out->id = m->id;
    put_text(info.name, out->name, sizeof out->name);
    put_text(info.version, out->version, sizeof out->version);
    struct text at = text_over(out->address, sizeof out->address);
    if (gossip_net_place(net, m->id, host, &port))
        text_put(&at, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
    return true;
}

static struct gossip_proxies *gather_proxies(const struct gossip_net *net)
{
    size_t all = net != NULL ? gossip_net_count(net) : 0, count = 0;
    struct gossip_proxies *p = mem_zalloc(sizeof *p + all * sizeof *p->items);
    for (size_t i = 0; i < all; i++)
        count += read_proxy(net, gossip_net_member(net, i), &p->items[count]);
    p->count = count;
    return p;
}

static void free_proxies(void *p)
{
    mem_free(p);
}

static void show_proxies(struct gossip_node *g)
{
    struct gossip_proxies *was = g->proxies, *now = gather_proxies(g->net);
    if (was->count == now->count &&
        memcmp(was->items, now->items, now->count * sizeof *now->items) == 0) {
        mem_free(now);
        return;
    }
    g->proxies = now;
    shown_set(&g->shown, now);
    epoch_retire(g->epoch, was, free_proxies);
}

const struct gossip_proxies *gossip_node_proxies(const struct gossip_node *g)
{
    return shown_get(&g->shown);
}

/* ---- what it says of the node -----------------------------------------------------------------
 */

static void count_load(const struct broker *b, struct gossip_load *load)
{
    uint64_t limit = broker_memory_limit(b);
    for (uint32_t i = 0; i < broker_shard_count(b); i++) {
        struct shard *s = broker_shard(b, i);
        load->connections +=
            (uint32_t)(shard_counter(s, connections_opened) - shard_counter(s, connections_closed));
        load->channels +=
            (uint32_t)(shard_counter(s, channels_opened) - shard_counter(s, channels_closed));
    }
    uint64_t permille = limit != 0 ? broker_message_bytes(b) * 1000 / limit : 0;
    load->memory_permille = (uint16_t)(permille < 9999 ? permille : 9999);
    load->queues = (uint32_t)meta_node_queue_count(broker_meta(b), broker_node(b));
    unsigned alarms = broker_alarms(b);
    load->flags = (uint16_t)(((alarms & BROKER_ALARM_MEMORY) != 0 ? GOSSIP_LOAD_ALARM_MEMORY : 0) |
                             ((alarms & BROKER_ALARM_DISK) != 0 ? GOSSIP_LOAD_ALARM_DISK : 0) |
                             (broker_is_drained(b) ? GOSSIP_LOAD_DRAINING : 0));
}

static void say_pulse(struct gossip_pulse *out, void *arg)
{
    struct gossip_node *g = arg;
    struct gossip_net_figures f;
    uint64_t words[FIGURE_WORDS];
    out->meta_index = broker_meta(g->broker)->index;
    out->digest_index = g->digest_index;
    out->digest = g->digest;
    count_load(g->broker, &out->load);
    show_proxies(g); /* where they are may have been learned since */

    memset(&f, 0, sizeof f);
    gossip_net_figures(g->net, &f);
    memcpy(words, &f, sizeof words);
    for (size_t i = 0; i < FIGURE_WORDS; i++)
        shared_set(&g->figures[i], words[i]);
}

void gossip_node_metrics(const struct gossip_node *g, struct text *out)
{
    struct gossip_net_figures f;
    uint64_t words[FIGURE_WORDS];
    if (shared_get(&g->is_on) == 0)
        return;
    for (size_t i = 0; i < FIGURE_WORDS; i++)
        words[i] = shared_get(&g->figures[i]);
    memcpy(&f, words, sizeof f);
    gossip_net_metrics(&f, out);
}

/* ---- what others are short of ------------------------------------------------------------------
 */

unsigned gossip_node_alarms(const struct meta_version *v, const struct gossip_member *m)
{
    const struct meta_node *n = m->id <= UINT16_MAX ? meta_node_get(v, (uint16_t)m->id) : NULL;
    bool lives = m->state == GOSSIP_ALIVE || m->state == GOSSIP_SUSPECT;
    if (n == NULL || !meta_node_is_serving(n) || !lives || m->pulse.boot != n->inc)
        return 0;
    return ((m->pulse.load.flags & GOSSIP_LOAD_ALARM_MEMORY) != 0 ? BROKER_ALARM_MEMORY : 0u) |
           ((m->pulse.load.flags & GOSSIP_LOAD_ALARM_DISK) != 0 ? BROKER_ALARM_DISK : 0u);
}

static void look_at_alarms(struct gossip_node *g)
{
    const struct meta_version *v = broker_meta(g->broker);
    struct alarm list[ALARMS_MAX];
    size_t count = 0;
    for (size_t i = 0; g->net != NULL && i < gossip_net_count(g->net) && count < ALARMS_MAX; i++) {
        const struct gossip_member *m = gossip_net_member(g->net, i);
        unsigned what = m->id != g->node ? gossip_node_alarms(v, m) : 0;
        if (what != 0)
            list[count++] = (struct alarm){ (uint16_t)m->id, what };
    }
    alarms_set_elsewhere(g->broker, list, count);
}

static void on_member(uint64_t id, const struct gossip_member *m, void *arg)
{
    (void)id;
    (void)m;
    look_at_alarms(arg);
    show_proxies(arg);
}

static void on_pulse(const struct gossip_member *m, void *arg)
{
    (void)m;
    look_at_alarms(arg);
}

void gossip_node_touch(struct gossip_node *g)
{
    if (g != NULL && g->net != NULL)
        gossip_net_touch(g->net);
}

/* ---- where queues are -------------------------------------------------------------------------
 */

static void on_feed(struct link **l, const struct link_frame *first, void *arg)
{
    struct gossip_node *g = arg;
    if (!location_pub_take(g->pub, l, first))
        link_free(l);
}

/* A rumour travels on its own when a proxy's broker is slow; a flood of them helps nobody. */
static void on_change(const struct location_change *c, void *arg)
{
    struct gossip_node *g = arg;
    uint8_t room[LOCATION_RUMOUR_MAX];
    struct gossip_rumour r;
    uint64_t now = loop_now_us(broker_loop(g->broker));
    if (now - g->window_us > RUMOURS_WINDOW_US) {
        g->window_us = now;
        g->window_count = 0;
    }
    if (c->kind == LOCATION_CHANGE_PUT && g->window_count++ >= RUMOURS_MAX)
        return;
    r.bytes = slice_of(room, location_rumour_put(c, room, &r.key, &r.ver));
    gossip_net_rumour(g->net, &r);
}

static void on_ask(const struct location_ask *ask, struct location_leads *out, void *arg)
{
    struct gossip_node *g = arg;
    gossip_leads_find(broker_meta(g->broker), g->pub, ask, &g->route, out);
}

static void tell_routes(struct gossip_node *g)
{
    uint64_t leads = broker_meta(g->broker)->leads;
    if (leads == g->leads)
        return;
    g->leads = leads;
    location_pub_routes(g->pub);
}

static void tell_node(struct gossip_node *g, uint64_t index, uint16_t node)
{
    const struct meta_node *n = meta_node_get(broker_meta(g->broker), node);
    bool is_up = n != NULL && meta_node_is_serving(n);
    /* What it had that does not last went with it, or when it started anew. */
    location_pub_node(g->pub, index, node, is_up, is_up ? n->since : index);
}

/* May a consumer leave the queue for a moment, for another way to it? Not when the queue would go
 * with its last one, or count how long it has none, or give another one the turn. */
static bool is_loose(const struct meta_queue *q)
{
    struct amqp_field f;
    return !q->auto_delete && q->owner == 0 &&
           !amqp_table_find(meta_queue_args(q), "x-single-active-consumer", &f) &&
           !amqp_table_find(meta_queue_args(q), "x-expires", &f);
}

/* Where its master is. A queue that has no record of its own is where it was declared, whatever has
 * become of its node: that is told of the node. */
static void tell_queue(struct gossip_node *g, const struct meta_queue *q)
{
    const struct meta_version *v = broker_meta(g->broker);
    const struct meta_vhost *vh = meta_vhost_get(v, q->vhost_id);
    struct meta_placement p;
    if (vh == NULL)
        return;
    meta_placement_of(v, q, &p);
    uint64_t index = meta_placement_cohort(&p) != 0 ? p.epoch : q->epoch;
    location_pub_queue(g->pub, index != 0 ? index : 1, meta_vhost_name(vh), meta_queue_name(q),
                       p.master,
                       (q->durable ? 0 : (unsigned)LOCATION_TRANSIENT) |
                           (is_loose(q) ? (unsigned)LOCATION_LOOSE : 0));
}

static void tell_moved(void *arg, const struct meta_queue *q)
{
    tell_queue(arg, q);
}

/* Proxies hear that they know all there is when they do. */
static void tell_applied(void *arg)
{
    struct gossip_node *g = arg;
    if (gossip_moved_is_under_way(g->moved))
        return;
    location_pub_applied(g->pub, broker_meta(g->broker)->index);
    gossip_net_touch(g->net);
}

void gossip_node_replaced(struct gossip_node *g)
{
    const struct meta_version *v = broker_meta(g->broker);
    struct pmap_iter it;
    if (g->net == NULL)
        return;
    location_pub_reset(g->pub);
    gossip_moved_forget(g->moved);
    for (size_t i = 0; i < meta_node_count(v); i++)
        tell_node(g, v->index != 0 ? v->index : 1, meta_node_at(v, i)->node);
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        tell_queue(g, q);
    tell_applied(g);
}

/* The names of what goes are there only before. */
void gossip_node_before_show(struct gossip_node *g, const struct meta_effect *effects, size_t count)
{
    const struct meta_version *v = broker_meta(g->broker);
    g->goner_count = 0;
    for (size_t i = 0; i < count && g->net != NULL; i++) {
        const struct meta_effect *e = &effects[i];
        if (e->kind != META_QUEUE_DELETED)
            continue;
        const struct meta_vhost *vh = meta_vhost_get(v, e->queue->vhost_id);
        if (vh == NULL)
            continue; /* as young as its vhost: nobody has heard of either */
        if (g->goner_count == g->goner_room) {
            g->goner_room = g->goner_room != 0 ? g->goner_room * 2 : 16;
            g->goners = mem_realloc(g->goners, g->goner_room * sizeof *g->goners);
        }
        g->goners[g->goner_count++] =
            (struct goner){ e->index, location_pub_hash(g->pub, meta_vhost_name(vh),
                                                        meta_queue_name(e->queue)) };
    }
}

/* As other nodes have them: where they should be found. */
static void set_places(struct gossip_node *g)
{
    const struct meta_version *v = broker_meta(g->broker);
    char texts[GOSSIP_PLACES_MAX][GOSSIP_NET_HOST_MAX];
    const char *places[GOSSIP_PLACES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < meta_node_count(v) && count < GOSSIP_PLACES_MAX; i++) {
        const struct meta_node *n = meta_node_at(v, i);
        if (n->node == g->node || n->cluster_address.len == 0 ||
            n->cluster_address.len >= GOSSIP_NET_HOST_MAX)
            continue;
        struct text t = text_over(texts[count], sizeof texts[count]);
        text_slice(&t, n->cluster_address);
        places[count] = texts[count];
        count++;
    }
    gossip_net_set_places(g->net, places, count);
}

void gossip_node_after_show(struct gossip_node *g, const struct meta_effect *effects, size_t count)
{
    const struct meta_version *v = broker_meta(g->broker);
    bool are_others = false;
    if (g->net == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        if (effects[i].index == 0) { /* of no entry: what there was has been replaced */
            gossip_node_replaced(g);
            set_places(g);
            look_at_alarms(g);
            return;
        }
    for (size_t i = 0; i < g->goner_count; i++)
        location_pub_gone(g->pub, g->goners[i].index, g->goners[i].hash);
    for (size_t i = 0; i < count; i++) {
        const struct meta_effect *e = &effects[i];
        bool is_of_queue = e->kind == META_QUEUE_CREATED || e->kind == META_QUEUE_PLACED;
        const struct meta_queue *q = is_of_queue ? meta_queue_get(v, e->qid) : NULL;
        if (q != NULL)
            tell_queue(g, q);
        if (e->kind == META_COHORT_PLACED && (e->how & META_HOW_MASTER) != 0)
            gossip_moved_add(g->moved, e->cohort);
        if (e->kind != META_NODES_CHANGED)
            continue;
        tell_node(g, e->index, e->node);
        are_others = true;
        if (meta_node_get(v, e->node) == NULL)
            gossip_net_forget(g->net, e->node);
    }
    tell_applied(g);
    tell_routes(g);
    if (are_others) {
        set_places(g);
        look_at_alarms(g);
    }
}

void gossip_node_checked(struct gossip_node *g, uint64_t index, uint64_t checksum)
{
    g->digest_index = index;
    g->digest = checksum;
    if (g->net != NULL)
        gossip_net_touch(g->net);
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct gossip_node *gossip_node_new(struct broker *b, struct epoch *epoch)
{
    struct gossip_node *g = mem_zalloc(sizeof *g);
    g->broker = b;
    g->epoch = epoch;
    g->proxies = gather_proxies(NULL);
    shown_init(&g->shown, g->proxies);
    route_out_init(&g->route);
    return g;
}

void gossip_node_free(struct gossip_node **g)
{
    if (*g == NULL)
        return;
    gossip_node_stop(*g);
    mem_free((*g)->proxies);
    mem_free((*g)->goners);
    route_out_fini(&(*g)->route);
    mem_free(*g);
    *g = NULL;
}

void gossip_node_stop(struct gossip_node *g)
{
    if (g->net == NULL)
        return;
    shared_set(&g->is_on, 0);
    gossip_net_leave(g->net);
    link_door_serve(doorway_door(broker_doorway(g->broker)), LINK_FEED, NULL, 0);
    gossip_moved_free(&g->moved);
    location_pub_free(&g->pub);
    gossip_net_free(&g->net);
    look_at_alarms(g); /* of nobody any more */
    show_proxies(g);
}

static const char *copy(struct slice s, char *room, size_t size)
{
    struct text t = text_over(room, size);
    text_slice(&t, s);
    return room;
}

static bool open_net(struct gossip_node *g, const struct meta_node *self, struct err *err)
{
    struct broker *b = g->broker;
    char cluster_at[GOSSIP_NET_HOST_MAX], amqp[GOSSIP_NET_HOST_MAX];
    char management[GOSSIP_NET_HOST_MAX];
    const struct conf_addresses *at = &broker_live(b)->conf->listen.cluster;
    struct gossip_net_setup s = {
        .loop = broker_loop(b),
        .link_node = doorway_node(broker_doorway(b)),
        .cookie = broker_cookie(b),
        .node = g->node,
        .inc = g->inc,
        .role = self->type == META_NODE_WITNESS ? GOSSIP_ROLE_WITNESS : GOSSIP_ROLE_BROKER,
        .name = broker_name(b),
        .version = WARREN_VERSION,
        .amqp = copy(self->amqp_address, amqp, sizeof amqp),
        .cluster_at = copy(self->cluster_address, cluster_at, sizeof cluster_at),
        .management = copy(self->management_address, management, sizeof management),
        .handlers = { .on_member = on_member,
                      .on_pulse = on_pulse,
                      .pulse = say_pulse,
                      .on_feed = on_feed },
        .arg = g,
    };
    memcpy(s.cluster, g->cluster, sizeof s.cluster);
    if (at->count == 0 || !listen_address(&at->items[0], "cluster", &s.at, err))
        return false;
    sock_addr_set_port(&s.at, doorway_port(broker_doorway(b)));
    g->net = gossip_net_new(&s, err);
    return g->net != NULL;
}

bool gossip_node_start(struct gossip_node *g, struct err *err)
{
    struct broker *b = g->broker;
    const struct meta_version *v = broker_meta(b);
    const struct meta_node *self = meta_node_get(v, broker_node(b));
    if (self == NULL || doorway_port(broker_doorway(b)) == 0)
        return true; /* it has no cluster, or no port for one */
    if (g->net != NULL && self->node == g->node && self->inc == g->inc &&
        memcmp(g->cluster, v->cluster_id, sizeof g->cluster) == 0)
        return true;
    gossip_node_stop(g);
    memcpy(g->cluster, v->cluster_id, sizeof g->cluster);
    g->node = self->node;
    g->inc = self->inc;
    g->digest_index = g->digest = 0;
    if (!open_net(g, self, err))
        return err_context(err, "gossip");
    g->pub = location_pub_new(
        broker_loop(b), location_key(broker_cookie(b), slice_of(g->cluster, sizeof g->cluster)),
        on_change, g);
    location_pub_answer(g->pub, on_ask, g);
    g->moved = gossip_moved_new(b, &(struct gossip_moved_calls){ tell_moved, tell_applied }, g);
    struct link_hall *hall = gossip_net_hall(g->net);
    link_door_serve(doorway_door(broker_doorway(b)), LINK_FEED, &hall, 1);
    gossip_node_replaced(g);
    set_places(g);
    shared_set(&g->is_on, 1);
    return true;
}

const struct gossip_net *gossip_node_net(const struct gossip_node *g)
{
    return g->net;
}
