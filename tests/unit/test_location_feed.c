/* src/gossip/location_pub, location_sub: a broker feeds a proxy over a link. */
#include "gossip/location_pub.h"
#include "gossip/location_sub.h"
#include "link/link_door.h"
#include "link_kit.h"

#include <stdio.h>

#include "expect.h"

#define KEY_COOKIE slice_str(KIT_COOKIE)

static struct loop *loop;
static uint8_t cluster[GOSSIP_CLUSTER_BYTES] = { 7 };

/* Two brokers that apply the same log, and a proxy. */
struct broker {
    struct link_node *node;
    struct link_door *door;
    struct gossip_net *net;
    struct location_pub *pub;
    char at[64];
    uint64_t index;
} brokers[2];

static struct {
    struct link_node *node;
    struct gossip_net *net;
    struct location_sub *sub;
} proxy;

static void on_feed(struct link **l, const struct link_frame *first, void *arg)
{
    struct broker *b = arg;
    if (!location_pub_take(b->pub, l, first))
        link_free(l);
}

static void say_index(struct gossip_pulse *out, void *arg)
{
    out->meta_index = ((struct broker *)arg)->index;
}

static void on_rumour(const struct gossip_rumour *r, void *arg)
{
    (void)arg;
    location_sub_rumour(proxy.sub, r);
}

static void on_member(uint64_t id, const struct gossip_member *m, void *arg)
{
    (void)arg;
    if (proxy.sub != NULL)
        location_sub_member(proxy.sub, id, m);
}

static void on_cluster(const uint8_t found[GOSSIP_CLUSTER_BYTES], void *arg)
{
    (void)arg;
    location_sub_cluster(proxy.sub, found);
}

static void tell_all(const struct location_change *c, void *arg)
{
    struct broker *b = arg;
    uint8_t room[LOCATION_RUMOUR_MAX];
    struct gossip_rumour r;
    r.bytes = slice_of(room, location_rumour_put(c, room, &r.key, &r.ver));
    gossip_net_rumour(b->net, &r);
}

static void open_broker(struct broker *b, uint16_t number)
{
    struct err err;
    struct gossip_net_setup s = { .loop = loop,
                                  .cookie = KEY_COOKIE,
                                  .node = number,
                                  .inc = 1,
                                  .role = GOSSIP_ROLE_BROKER,
                                  .name = "broker",
                                  .version = "1",
                                  .handlers = { .pulse = say_index, .on_feed = on_feed },
                                  .arg = b };
    memcpy(s.cluster, cluster, sizeof cluster);
    b->node = kit_link_node(KIT_COOKIE, cluster[0], number, 1, "rabbit@here");
    b->door = link_door_new(loop);
    cr_assert(sock_addr_ip("127.0.0.1", 0, &s.at));
    uint16_t port = link_door_listen(b->door, &s.at, &err);
    (void)snprintf(b->at, sizeof b->at, "127.0.0.1:%u", port);
    s.cluster_at = b->at;
    s.link_node = b->node;
    sock_addr_set_port(&s.at, port);
    b->net = gossip_net_new(&s, &err);
    cr_assert(b->net != NULL, "%s", err.text);
    b->pub = location_pub_new(loop, location_key(KEY_COOKIE, slice_of(cluster, sizeof cluster)),
                              tell_all, b);
    struct link_hall *hall = gossip_net_hall(b->net);
    link_door_serve(b->door, LINK_FEED, &hall, 1);
}

static void close_broker(struct broker *b)
{
    if (b->net == NULL)
        return;
    link_door_serve(b->door, LINK_FEED, NULL, 0);
    link_door_free(&b->door);
    location_pub_free(&b->pub);
    gossip_net_free(&b->net);
}

static void open_proxy(void)
{
    struct err err;
    const char *places[] = { brokers[0].at, brokers[1].at };
    struct gossip_net_setup s = {
        .loop = loop,
        .cookie = KEY_COOKIE,
        .role = GOSSIP_ROLE_PROXY,
        .inc = 1,
        .name = "proxy",
        .version = "1",
        .handlers = { .on_rumour = on_rumour, .on_member = on_member, .on_cluster = on_cluster },
    };
    proxy.node = kit_link_node(KIT_COOKIE, 0, 0, 1, "proxy@here");
    s.link_node = proxy.node;
    cr_assert(sock_addr_ip("127.0.0.1", 0, &s.at));
    proxy.net = gossip_net_new(&s, &err);
    cr_assert(proxy.net != NULL, "%s", err.text);
    proxy.sub = location_sub_new(loop, proxy.node, proxy.net, KEY_COOKIE, NULL, NULL);
    gossip_net_set_places(proxy.net, places, brokers[1].net != NULL ? 2 : 1);
}

static void set_up(void)
{
    loop = kit_loop_new();
    memset(brokers, 0, sizeof brokers);
    memset(&proxy, 0, sizeof proxy);
}

static void tear_down(void)
{
    location_sub_free(&proxy.sub);
    gossip_net_free(&proxy.net);
    for (unsigned i = 0; i < 2; i++)
        close_broker(&brokers[i]);
    while (loop_settle(loop))
        ;
    for (unsigned i = 0; i < 2; i++)
        if (brokers[i].node != NULL)
            link_node_free(&brokers[i].node);
    if (proxy.node != NULL)
        link_node_free(&proxy.node);
    loop_free(&loop);
}

TestSuite(location_feed, .init = set_up, .fini = tear_down, .timeout = 300);

static struct slice name_of(uint64_t i)
{
    static char room[32];
    (void)snprintf(room, sizeof room, "queue %llu", (unsigned long long)i);
    return slice_str(room);
}

/* One entry of the log: queues first .. last are at this node. */
static void declare(struct broker *b, uint64_t first, uint64_t last, uint16_t node)
{
    b->index++;
    for (uint64_t i = first; i <= last; i++)
        location_pub_queue(b->pub, b->index, slice_str("/"), name_of(i), node,
                           i % 2 == 0 ? 0 : LOCATION_TRANSIENT);
    location_pub_applied(b->pub, b->index);
    gossip_net_touch(b->net);
}

/* The proxy knows what a broker knows. */
static bool is_told(void *arg)
{
    const struct broker *b = arg;
    const struct location_table *here = location_sub_table(proxy.sub);
    const struct location_table *there = location_pub_table(b->pub);
    if (location_index(here) != location_index(there))
        return false;
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++)
        cr_assert(eq(u64, location_bucket_digest(here, i), location_bucket_digest(there, i)));
    return true;
}

Test(location_feed, a_snapshot_then_changes)
{
    struct location_sub_figures f;
    open_broker(&brokers[0], 1);
    for (uint64_t i = 0; i < 100; i++)
        declare(&brokers[0], i * 200, i * 200 + 199, (uint16_t)(1 + i % 3));
    open_proxy();
    kit_until(loop, is_told, &brokers[0]);
    for (uint64_t i = 0; i < 100; i++)
        declare(&brokers[0], i * 300, i * 300 + 5, 2);
    brokers[0].index++;
    location_pub_gone(brokers[0].pub, brokers[0].index,
                      location_pub_hash(brokers[0].pub, slice_str("/"), name_of(7)));
    location_pub_node(brokers[0].pub, brokers[0].index, 3, false, brokers[0].index);
    location_pub_applied(brokers[0].pub, brokers[0].index);
    kit_until(loop, is_told, &brokers[0]);
    location_sub_figures(proxy.sub, &f);
    cr_expect(eq(u64, f.snapshots, 1));
    cr_expect(f.changes >= 600, "%llu", (unsigned long long)f.changes);
    cr_expect(eq(u64, f.gaps, 0));
}

Test(location_feed, of_two_words_in_one_entry_the_last_counts)
{
    struct location l;
    bool is_up;
    open_broker(&brokers[0], 1);
    struct broker *b = &brokers[0];
    b->index++;
    location_pub_queue(b->pub, b->index, slice_str("/"), slice_str("q"), 1, 0);
    location_pub_gone(b->pub, b->index, location_pub_hash(b->pub, slice_str("/"), slice_str("q")));
    location_pub_queue(b->pub, b->index, slice_str("/"), slice_str("q"), 2, LOCATION_LOOSE);
    location_pub_node(b->pub, b->index, 2, false, b->index);
    location_pub_node(b->pub, b->index, 2, true, 0);
    location_pub_applied(b->pub, b->index);
    uint64_t key = location_key(KEY_COOKIE, slice_of(cluster, sizeof cluster));
    cr_assert(location_find(location_pub_table(b->pub),
                            location_hash(key, slice_str("/"), slice_str("q")), &l, &is_up));
    cr_expect(eq(u16, l.node, 2));
    cr_expect(is_up);
}

/* Told by one broker until that is gone, then by the other: what was missed alone is told. */
Test(location_feed, another_broker_goes_on_where_the_first_stopped)
{
    struct location_sub_figures f;
    for (uint16_t i = 0; i < 2; i++)
        open_broker(&brokers[i], (uint16_t)(i + 1));
    for (uint64_t i = 0; i < 50; i++)
        for (unsigned k = 0; k < 2; k++)
            declare(&brokers[k], i * 20, i * 20 + 19, 1);
    open_proxy();
    kit_until(loop, is_told, &brokers[0]);
    location_sub_figures(proxy.sub, &f);
    unsigned feeder = (unsigned)f.feeder - 1;
    cr_assert(feeder < 2);
    close_broker(&brokers[feeder]);
    for (uint64_t i = 0; i < 50; i++)
        declare(&brokers[1 - feeder], i * 30, i * 30 + 3, 2);
    kit_until(loop, is_told, &brokers[1 - feeder]);
    location_sub_figures(proxy.sub, &f);
    cr_expect(eq(u64, f.snapshots, 1), "no second one was needed");
}

/* More happened than a broker keeps: a snapshot of what differs. */
Test(location_feed, a_broker_that_was_made_anew_sends_what_differs)
{
    struct location_sub_figures f;
    open_broker(&brokers[0], 1);
    struct broker *b = &brokers[0];
    for (uint64_t i = 0; i < 100; i++)
        declare(b, i * 100, i * 100 + 99, 1);
    open_proxy();
    kit_until(loop, is_told, b);
    location_sub_figures(proxy.sub, &f);
    uint64_t whole = f.bytes;
    location_pub_reset(b->pub);
    for (uint64_t i = 0; i < 100; i++)
        for (uint64_t k = i * 100; k < i * 100 + 100; k++)
            location_pub_queue(b->pub, k == 5 ? 101 : i + 1, slice_str("/"), name_of(k),
                               k == 5 ? 2 : 1, k % 2 == 0 ? 0 : LOCATION_TRANSIENT);
    location_pub_applied(b->pub, b->index = 101);
    kit_until(loop, is_told, b);
    location_sub_figures(proxy.sub, &f);
    cr_expect(eq(u64, f.snapshots, 2));
    cr_expect(f.bytes - whole < whole / 4, "%llu of %llu", (unsigned long long)(f.bytes - whole),
              (unsigned long long)whole);
}

/* ---- where messages land ---- */

static struct {
    struct location_leads leads;
    unsigned answers, routes;
} heard;

static void on_leads(const struct location_leads *l, void *arg)
{
    (void)arg;
    heard.leads = *l;
    heard.answers++;
}

static void on_routes(void *arg)
{
    (void)arg;
    heard.routes++;
}

/* To as many queues as the key has letters; a key of none leads to one, as any other does. */
static void lead(const struct location_ask *ask, struct location_leads *out, void *arg)
{
    const struct broker *b = arg;
    cr_assert(slice_is(ask->vhost, "/"));
    cr_assert(slice_is(ask->exchange, "x"));
    out->any_key = ask->key.len == 0;
    out->count = (uint8_t)(out->any_key ? 1 : ask->key.len);
    for (unsigned i = 0; i < out->count; i++)
        out->hashes[i] = location_pub_hash(b->pub, ask->vhost, name_of(i));
}

static bool is_answered(void *arg)
{
    return heard.answers == *(const unsigned *)arg;
}

static bool is_told_of_routes(void *arg)
{
    return heard.routes == *(const unsigned *)arg;
}

/* Links are used on their loop alone. */
struct asking {
    struct loop_task task;
    struct location_ask ask;
    bool is_sent, done;
};

static void on_asking(void *arg)
{
    struct asking *a = arg;
    a->is_sent = location_sub_ask(proxy.sub, &a->ask);
    a->done = true;
}

static bool ask(uint64_t id, const char *key)
{
    struct asking a = { .ask = { id, slice_str("/"), slice_str("x"), slice_str(key) } };
    loop_task_init(&a.task, on_asking, &a);
    loop_again(loop, &a.task);
    kit_until_set(loop, &a.done);
    return a.is_sent;
}

static void open_both(void)
{
    memset(&heard, 0, sizeof heard);
    open_broker(&brokers[0], 1);
    open_proxy();
    location_sub_listen(proxy.sub, &(struct location_sub_leads){ on_leads, on_routes, NULL });
    cr_expect(ask(1, "early") == false, "there is nobody to ask");
    kit_until(loop, is_told_of_routes, &(unsigned){ 1 });
}

Test(location_feed, a_proxy_asks_where_messages_land)
{
    char most[LOCATION_LEADS_QUEUES + 1] = { 0 };
    open_both();
    location_pub_answer(brokers[0].pub, lead, &brokers[0]);
    cr_assert(ask(7, "ab"));
    kit_until(loop, is_answered, &(unsigned){ 1 });
    cr_expect(eq(u64, heard.leads.id, 7));
    cr_expect(eq(u8, heard.leads.count, 2));
    cr_expect(heard.leads.any_key == false);
    cr_expect(eq(u64, heard.leads.hashes[1],
                 location_pub_hash(brokers[0].pub, slice_str("/"), name_of(1))));
    cr_assert(ask(8, ""));
    kit_until(loop, is_answered, &(unsigned){ 2 });
    cr_expect(heard.leads.any_key);
    memset(most, 'x', LOCATION_LEADS_QUEUES);
    cr_assert(ask(9, most));
    kit_until(loop, is_answered, &(unsigned){ 3 });
    cr_expect(eq(u8, heard.leads.count, LOCATION_LEADS_QUEUES));
}

/* Once for each time it asked, however often they change; and who never asked hears nothing. */
Test(location_feed, who_has_asked_hears_that_routes_have_changed)
{
    open_both();
    location_pub_answer(brokers[0].pub, lead, &brokers[0]);
    location_pub_routes(brokers[0].pub);
    cr_assert(ask(1, "a"));
    kit_until(loop, is_answered, &(unsigned){ 1 });
    cr_expect(eq(u32, heard.routes, 1), "nothing had been asked");
    for (unsigned i = 0; i < 3; i++)
        location_pub_routes(brokers[0].pub);
    kit_until(loop, is_told_of_routes, &(unsigned){ 2 });
    cr_assert(ask(2, "b"));
    kit_until(loop, is_answered, &(unsigned){ 2 });
    cr_expect(eq(u32, heard.routes, 2));
}

/* Many questions at once; and how many of them each turn answers, and when. */
#define MANY 4000u
static struct {
    struct loop_task ask, tick;
    size_t key_len;
    unsigned most; /* to be sent */
    unsigned sent;
    unsigned now, peak; /* answers of a turn */
    unsigned answers;
    uint64_t at_ms[MANY];
    bool done;
} many;

static void on_tick(void *arg)
{
    (void)arg;
    many.peak = many.now > many.peak ? many.now : many.peak;
    many.now = 0;
    loop_again(loop, &many.tick);
}

static void on_many(void *arg)
{
    char key[256] = { 0 };
    (void)arg;
    memset(key, 'k', many.key_len);
    struct location_ask a = { 1, slice_str("/"), slice_str("x"), slice_str(key) };
    while (many.sent < many.most && location_sub_ask(proxy.sub, &a))
        many.sent++;
    many.done = true;
}

static void lead_counted(const struct location_ask *ask, struct location_leads *out, void *arg)
{
    (void)ask;
    (void)arg;
    out->any_key = true;
    many.now++;
    if (many.answers < MANY)
        many.at_ms[many.answers++] = loop_now_ms(loop);
}

static bool are_all_done(void *arg)
{
    struct location_pub_figures f;
    (void)arg;
    location_pub_figures(brokers[0].pub, &f);
    return many.done && heard.answers + f.passed_over == many.sent;
}

static void ask_many(unsigned most, size_t key_len)
{
    memset(&many, 0, sizeof many);
    many.most = most;
    many.key_len = key_len;
    open_both();
    location_pub_answer(brokers[0].pub, lead_counted, NULL);
    loop_task_init(&many.ask, on_many, NULL);
    loop_task_init(&many.tick, on_tick, NULL);
    loop_again(loop, &many.tick);
    loop_again(loop, &many.ask);
    kit_until(loop, are_all_done, NULL);
    loop_task_cancel(loop, &many.tick);
}

Test(location_feed, a_turn_answers_a_few_and_the_others_have_theirs_later)
{
    ask_many(200, 10);
    cr_expect(eq(u32, many.sent, 200));
    cr_expect(eq(u32, heard.answers, 200));
    cr_expect(many.peak > 0 && many.peak <= LOCATION_PUB_ANSWERS, "%u", many.peak);
}

Test(location_feed, questions_that_are_too_many_are_passed_over)
{
    ask_many(MANY, 255);
    cr_expect(heard.answers < many.sent, "%u of %u", heard.answers, many.sent);
    cr_expect(heard.answers >= LOCATION_PUB_ASKED / 512, "%u", heard.answers);
    cr_expect(many.peak <= LOCATION_PUB_ANSWERS, "%u", many.peak);
}

/* However many turns come one after the other: of any three windows two are apart by a whole one.
 */
Test(location_feed, a_window_of_time_answers_so_many)
{
    const unsigned apart = 2 * LOCATION_PUB_WINDOW_ANSWERS;
    ask_many(1000, 1);
    cr_expect(eq(u32, many.answers, 1000));
    for (unsigned i = 0; i + apart < many.answers; i++)
        cr_assert(many.at_ms[i + apart] - many.at_ms[i] >= LOCATION_PUB_WINDOW_MS, "from %u on", i);
}

/* As one of an older release is. */
Test(location_feed, a_broker_that_does_not_answer_feeds_on)
{
    open_both();
    cr_assert(ask(1, "a"));
    declare(&brokers[0], 1, 9, 1);
    kit_until(loop, is_told, &brokers[0]);
    cr_expect(eq(u32, heard.answers, 0));
}
