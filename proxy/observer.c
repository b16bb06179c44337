#include "observer.h"

#include "asker.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind_addr.h"
#include "discover.h"
#include "failovers.h"
#include "gossip/gossip_book.h"
#include "gossip/location_sub.h"
#include "io/clock.h"
#include "io/host.h"
#include "link/link_door.h"

#include <string.h>

#define NEWS_MS 100u /* between words about queues that are new; moves are told at once */
#define LOOK_MS 20u  /* after a move: all queues are counted then, however many moves there were */

struct observer {
    struct loop *loop;
    struct observer_calls calls;
    void *arg;
    char name[LINK_NAME_MAX];
    char at[64]; /* the port as others are told */
    struct link_node *node;
    struct link_door *door;
    struct gossip_net *net;
    struct location_sub *sub;
    struct asker *asker;
    struct atlas *atlas;
    struct discover *discover;
    struct inquiry *inquiries[OBSERVER_INQUIRIES_MAX]; /* NULL: none */
    size_t asked_first;                                /* which member, the next time */
    uint64_t moves;                                    /* of the atlas, as they were told */
    struct loop_timer news;
    struct failovers failovers;
    struct loop_timer look;
    uint64_t first_move_ms; /* since the last look */
    uint64_t last_move_ms;
};

/* ---- from gossip ------------------------------------------------------------------------------
 */

static void copy(struct slice from, char *room, size_t size)
{
    struct text t = text_over(room, size);
    text_escaped(&t, from);
}

static enum live_hearsay hearsay_of(enum gossip_state state)
{
    switch (state) {
    case GOSSIP_ALIVE:
        return LIVE_HEARSAY_ALIVE;
    case GOSSIP_SUSPECT:
        return LIVE_HEARSAY_SUSPECT;
    case GOSSIP_DEAD:
        return LIVE_HEARSAY_DEAD;
    case GOSSIP_LEFT:
        return LIVE_HEARSAY_LEFT;
    }
    UNREACHABLE("state");
}

/* Where it takes AMQP: as its record says; without a host there, where it is seen. */
static void read_place(const struct observer *o, uint64_t id, struct slice amqp, struct node *out)
{
    char host[GOSSIP_NET_HOST_MAX];
    uint16_t port;
    struct gossip_place at;
    if (amqp.len == 0 || !gossip_place_read(amqp, &at))
        return;
    out->port = at.port;
    if (at.host[0] != '\0')
        copy(slice_str(at.host), out->host, sizeof out->host);
    else if (gossip_net_place(o->net, id, host, &port))
        copy(slice_str(host), out->host, sizeof out->host);
}

/* A broker, with a number as the metadata have it. */
static void hear(const struct observer *o, uint64_t id, const struct gossip_member *m)
{
    struct gossip_info info;
    struct node n = { .number = (uint16_t)id };
    if (id > UINT16_MAX)
        return;
    if (m == NULL) {
        nodes_remove(discover_nodes(o->discover), n.number);
        return;
    }
    if (!gossip_net_info(m, &info) || info.role != GOSSIP_ROLE_BROKER)
        return;
    n.is_ours = true;
    n.hearsay = hearsay_of(m->state);
    n.is_draining = (m->pulse.load.flags & GOSSIP_LOAD_DRAINING) != 0;
    copy(info.name, n.name, sizeof n.name);
    read_place(o, id, info.amqp, &n);
    nodes_put(discover_nodes(o->discover), &n);
}

/* Masters may have gone, or have moved. */
static void look_soon(struct observer *o)
{
    o->last_move_ms = loop_now_ms(o->loop);
    if (loop_timer_is_running(&o->look))
        return;
    o->first_move_ms = o->last_move_ms;
    loop_timer_start(&o->look, LOOK_MS);
}

static void on_member(uint64_t id, const struct gossip_member *m, void *arg)
{
    struct observer *o = arg;
    hear(o, id, m);
    look_soon(o);
    if (o->sub != NULL)
        location_sub_member(o->sub, id, m);
}

static void on_pulse(const struct gossip_member *m, void *arg)
{
    hear(arg, m->id, m);
}

static void on_rumour(const struct gossip_rumour *r, void *arg)
{
    const struct observer *o = arg;
    location_sub_rumour(o->sub, r);
}

static void on_cluster(const uint8_t cluster[GOSSIP_CLUSTER_BYTES], void *arg)
{
    struct observer *o = arg;
    nodes_clear(discover_nodes(o->discover)); /* their numbers are those of another cluster */
    failovers_forget_nodes(&o->failovers, loop_now_ms(o->loop));
    location_sub_cluster(o->sub, cluster);
    asker_clear(o->asker);
}

/* ---- what is made of it -----------------------------------------------------------------------
 */

static void on_news(void *arg)
{
    struct observer *o = arg;
    o->calls.moved(o->arg);
}

static void on_look(void *arg)
{
    struct observer *o = arg;
    struct atlas_master *masters = mem_array(LOCATION_NODES_MAX, sizeof *masters);
    size_t count = atlas_masters(o->atlas, masters, LOCATION_NODES_MAX);
    failovers_look(&o->failovers, masters, count, discover_nodes(o->discover), o->first_move_ms,
                   o->last_move_ms, clock_wall_ms());
    mem_free(masters);
}

static void on_table(void *arg)
{
    struct observer *o = arg;
    atlas_follow(o->atlas, location_sub_table(o->sub), location_sub_key(o->sub));
    uint64_t moves = atlas_moves(o->atlas);
    if (moves != o->moves) {
        o->calls.moved(o->arg);
        look_soon(o);
    } else if (!loop_timer_is_running(&o->news)) {
        loop_timer_start(&o->news, NEWS_MS);
    }
    o->moves = moves;
}

static void on_moved(void *arg)
{
    const struct observer *o = arg;
    o->calls.moved(o->arg);
}

static void on_found(const struct server *server, void *arg)
{
    const struct observer *o = arg;
    o->calls.found(server, o->arg);
}

static void on_heard(const struct server_live *server, void *arg)
{
    const struct observer *o = arg;
    o->calls.heard(server, o->arg);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void set_seeds(struct observer *o, const struct global_conf *conf)
{
    const char *places[GOSSIP_PLACES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < conf->gossip_seeds.count && count < GOSSIP_PLACES_MAX; i++)
        places[count++] = conf->gossip_seeds.items[i].text;
    gossip_net_set_places(o->net, places, count);
}

static bool open_node(struct observer *o, struct slice cookie, struct err *err)
{
    struct link_identity self = { .node = 0 };
    char host[LINK_NAME_MAX / 2];
    struct text name = text_over(o->name, sizeof o->name);
    host_short_name(host, sizeof host);
    text_put(&name, "proxy@%s", host);
    memcpy(self.name, o->name, sizeof self.name);
    o->node = link_node_new(cookie, &self, err);
    return o->node != NULL;
}

/* Talks by TCP and packets by UDP, on one number; told to others without a host unless one is
 * named, since where we are seen from is what they can reach. */
static bool listen_at(struct observer *o, const struct conf_address *where, bool takes_over,
                      struct sock_addr *at, struct err *err)
{
    const struct bind_conf b = { .at = *where, .where = "[global] gossip" };
    struct text told = text_over(o->at, sizeof o->at);
    if (!bind_addr(&b, at, err))
        return false;
    o->door = link_door_new(o->loop);
    uint16_t port = link_door_listen(o->door, at, err);
    if (port == 0 && takes_over) { /* the old process has it until its last client has gone */
        log_info("gossip", o->name, "at another port for now: %s", err->text);
        sock_addr_set_port(at, 0);
        port = link_door_listen(o->door, at, err);
    }
    if (port == 0)
        return err_context(err, "[global] gossip");
    sock_addr_set_port(at, port);
    if (strlen(where->host) < 40 && strcmp(where->host, "*") != 0)
        text_put(&told, strchr(where->host, ':') != NULL ? "[%s]" : "%s", where->host);
    text_put(&told, ":%u", port);
    return true;
}

static bool open_net(struct observer *o, struct epoch *epoch, const struct sock_addr *at,
                     struct slice cookie, struct err *err)
{
    o->net = gossip_net_new(
        &(struct gossip_net_setup){
            .loop = o->loop,
            .link_node = o->node,
            .cookie = cookie,
            .inc = 1, /* its number is another one each time */
            .role = GOSSIP_ROLE_PROXY,
            .name = o->name,
            .version = WARREN_VERSION,
            .cluster_at = o->at,
            .at = *at,
            .handlers = { .on_member = on_member,
                          .on_pulse = on_pulse,
                          .on_rumour = on_rumour,
                          .on_cluster = on_cluster },
            .arg = o,
        },
        err);
    if (o->net == NULL)
        return err_context(err, "[global] gossip");
    struct link_hall *hall = gossip_net_hall(o->net);
    link_door_serve(o->door, LINK_FEED, &hall, 1);
    o->sub = location_sub_new(o->loop, o->node, o->net, cookie, on_table, o);
    o->asker = asker_new(o->loop, epoch, o->sub);
    atlas_set_leads(o->atlas, asker_leads(o->asker));
    return true;
}

bool observer_open(struct loop *loop, struct epoch *epoch, const struct global_conf *conf,
                   bool takes_over, struct slice cookie, const struct observer_calls *calls,
                   void *arg, struct observer **out, struct err *err)
{
    struct sock_addr at;
    char where[SOCK_ADDR_TEXT_MAX];
    *out = NULL;
    if (conf->gossip.kind == CONF_ADDRESS_NONE)
        return true;
    struct observer *o = mem_zalloc(sizeof *o);
    o->loop = loop;
    o->calls = *calls;
    o->arg = arg;
    o->atlas = atlas_new(epoch);
    o->discover = discover_new(loop, NULL, epoch, o->atlas,
                               &(struct discover_calls){ on_moved, on_found, on_heard }, o);
    loop_timer_init(&o->news, loop, on_news, o);
    loop_timer_init(&o->look, loop, on_look, o);
    if (!open_node(o, cookie, err) || !listen_at(o, &conf->gossip, takes_over, &at, err) ||
        !open_net(o, epoch, &at, cookie, err)) {
        observer_close(&o);
        return false;
    }
    set_seeds(o, conf);
    log_info("gossip", o->name, "takes part at=%s seeds=%zu", sock_addr_text(&at, where),
             conf->gossip_seeds.count);
    *out = o;
    return true;
}

void observer_close(struct observer **op)
{
    struct observer *o = *op;
    if (o == NULL)
        return;
    *op = NULL;
    loop_timer_fini(&o->news);
    loop_timer_fini(&o->look);
    for (unsigned i = 0; i < OBSERVER_INQUIRIES_MAX; i++)
        inquiry_free(&o->inquiries[i]);
    while (loop_settle(o->loop)) /* what workers had asked for; they are gone */
        ;
    asker_free(&o->asker);
    location_sub_free(&o->sub);
    discover_free(&o->discover);
    atlas_retire(&o->atlas);
    if (o->net != NULL) {
        gossip_net_leave(o->net);
        link_door_serve(o->door, LINK_FEED, NULL, 0);
        gossip_net_free(&o->net);
    }
    if (o->door != NULL)
        link_door_free(&o->door);
    while (loop_settle(o->loop)) /* what the door had handed on; the hall itself */
        ;
    if (o->node != NULL)
        link_node_free(&o->node);
    mem_free(o);
}

void observer_reload(struct observer *o, const struct global_conf *was,
                     const struct global_conf *now)
{
    const char *a = was->gossip.text != NULL ? was->gossip.text : "";
    const char *b = now->gossip.text != NULL ? now->gossip.text : "";
    if (strcmp(a, b) != 0)
        log_warn("proxy", "-", "[global] gossip changes with the next start only");
    if (o != NULL)
        set_seeds(o, now);
}

void observer_follow(struct observer *o, struct snapshot *s)
{
    if (o != NULL)
        discover_follow(o->discover, s);
}

void observer_look(struct observer *o)
{
    if (o != NULL)
        discover_look(o->discover);
}

/* ---- asking ----------------------------------------------------------------------------------
 */

static bool may_answer(const struct gossip_member *m)
{
    struct gossip_info info;
    return m->state == GOSSIP_ALIVE && gossip_net_info(m, &info) && info.role == GOSSIP_ROLE_BROKER;
}

/* Another one first each time: one that gossips and yet does not answer is not asked for ever. */
static size_t choose_places(struct observer *o, struct inquiry_place *places)
{
    size_t all = gossip_net_count(o->net), count = 0;
    o->asked_first++;
    for (size_t i = 0; i < all && count < INQUIRY_PLACES_MAX; i++) {
        const struct gossip_member *m = gossip_net_member(o->net, (o->asked_first + i) % all);
        count += may_answer(m) &&
                 gossip_net_place(o->net, m->id, places[count].host, &places[count].port);
    }
    return count;
}

bool observer_inquire(struct observer *o, struct slice path, inquiry_fn fn, void *arg,
                      struct err *err)
{
    struct inquiry_place places[INQUIRY_PLACES_MAX];
    unsigned free = 0;
    if (o == NULL)
        return err_set(err, ERR_CONFIG, "brokers are known by gossip, and there is none");
    while (free < OBSERVER_INQUIRIES_MAX && o->inquiries[free] != NULL)
        free++;
    if (free == OBSERVER_INQUIRIES_MAX)
        return err_set(err, ERR_LIMIT, "brokers are being asked for others already");
    size_t count = choose_places(o, places);
    if (count == 0)
        return err_set(err, ERR_IO, "gossip knows of no broker that is alive");
    inquiry_start(o->loop, o->node, places, count, path, fn, arg, &o->inquiries[free]);
    return true;
}

/* ---- looking ----------------------------------------------------------------------------------
 */

const struct failovers *observer_failovers(const struct observer *o)
{
    return o != NULL ? &o->failovers : NULL;
}

const struct gossip_net *observer_net(const struct observer *o)
{
    return o != NULL ? o->net : NULL;
}

void observer_show(const struct observer *o, struct text *out)
{
    if (o == NULL) {
        text_str(out, "No gossip: [global] gossip names no port.\n");
        return;
    }
    gossip_net_show(o->net, out);
    location_sub_show(o->sub, out);
}

void observer_metrics(const struct observer *o, struct text *out)
{
    struct gossip_net_figures f;
    if (o == NULL)
        return;
    gossip_net_figures(o->net, &f);
    gossip_net_metrics(&f, out);
    location_sub_metrics(o->sub, out);
    asker_metrics(o->asker, out);
}
