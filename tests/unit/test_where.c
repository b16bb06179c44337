/* proxy/where, discover, nodes: which server of a backend is which node, and masters a queue. */
#include "where.h"

#include "base/mem.h"
#include "discover.h"
#include "io_kit.h"
#include "leads.h"
#include "worker.h"

#include <stdio.h>
#include <string.h>

#include "expect.h"

static const char conf_text[] = "[global]\n"
                                "[backend rabbits]\n"
                                "balance = queue-master\n"
                                "server = rabbit1 10.0.0.1:5672 check\n"
                                "server = other 10.0.0.2:5672 check\n"
                                "server = by-name rabbit3.example:5673 check\n"
                                "[backend blind]\n"
                                "server = rabbit1 10.0.0.1:5672 check\n"
                                "[frontend in]\n"
                                "bind = :5672\n"
                                "default_backend = rabbits\n";

static struct loop *loop;
static struct epoch *epoch;
static struct location_table *table;
static struct atlas *atlas;
static struct discover *discover;
static struct snapshot *snapshot;
static struct worker worker;
static unsigned moved, found, heard;

static void on_moved(void *arg)
{
    (void)arg;
    moved++;
}

static void on_found(const struct server *server, void *arg)
{
    (void)arg;
    (void)server;
    found++;
}

static void on_heard(const struct server_live *server, void *arg)
{
    (void)server;
    (void)arg;
    heard++;
}

static struct snapshot *load(const char *text, const struct snapshot *before)
{
    struct err err;
    struct proxy_conf *conf = proxy_conf_load_text("test", slice_str(text), &err);
    cr_assert(conf != NULL, "%s", err.text);
    struct snapshot *s = snapshot_new(&conf, before, 0, &err);
    cr_assert(s != NULL, "%s", err.text);
    return s;
}

static void set_address(const char *server, const char *ip)
{
    struct sock_addr a;
    cr_assert(sock_addr_ip(ip, 5672, &a));
    const struct server *s = backend_server(snapshot_backend(snapshot, "rabbits"), server);
    mem_free((void *)(uintptr_t)shared_swap(&s->live->address,
                                            (uint64_t)(uintptr_t)mem_dup(&a, sizeof a)));
}

static void set_up(void)
{
    loop = kit_loop_new();
    epoch = epoch_new();
    loop_join_epoch(loop, epoch);
    table = location_new();
    atlas = atlas_new(epoch);
    discover = discover_new(loop, NULL, epoch, atlas,
                            &(struct discover_calls){ on_moved, on_found, on_heard }, NULL);
    snapshot = load(conf_text, NULL);
    worker = (struct worker){ .loop = loop };
    set_address("rabbit1", "10.0.0.1");
    set_address("other", "10.0.0.2");
    moved = found = heard = 0;
    discover_follow(discover, snapshot);
}

static void tear_down(void)
{
    discover_free(&discover);
    snapshot_unref(&snapshot);
    atlas_retire(&atlas);
    loop_free(&loop);
    epoch_free(&epoch);
    location_free(&table);
}

TestSuite(where, .init = set_up, .fini = tear_down, .timeout = 300);

static void hear(uint16_t number, const char *name, const char *host, uint16_t port,
                 enum live_hearsay hearsay)
{
    struct node n = { .number = number, .hearsay = hearsay, .port = port };
    (void)snprintf(n.name, sizeof n.name, "%s", name);
    (void)snprintf(n.host, sizeof n.host, "%s", host);
    nodes_put(discover_nodes(discover), &n);
    kit_turns(loop, 2);
}

static void put(const char *queue, uint64_t ver, uint16_t node)
{
    cr_assert(
        location_put(table, &(struct location){ location_hash(1, slice_str("/"), slice_str(queue)),
                                                ver, node, 0 }));
    atlas_follow(atlas, table, 1);
}

static void put_node(uint16_t node, bool is_up, uint64_t ver)
{
    cr_assert(location_put_node(table, &(struct location_node){ node, is_up, ver, 0 }));
    atlas_follow(atlas, table, 1);
}

/* Looked for on the worker's loop, as it must be. */
struct look {
    struct loop_task task;
    const char *backend, *queue;
    enum where word;
    const char *server;
    bool done;
};

static void on_look(void *arg)
{
    struct look *k = arg;
    const struct server *s;
    const struct backend *b = snapshot_backend(snapshot, k->backend);
    k->word = where_look(&worker, b, slice_str("/"), slice_str(k->queue), &s);
    k->server = s != NULL ? s->conf->name : "-";
    cr_expect(where_find(&worker, b, slice_str("/"), slice_str(k->queue), &s) ==
              (k->word != WHERE_UNKNOWN));
    k->done = true;
}

static struct look look(const char *backend, const char *queue)
{
    struct look k = { .backend = backend, .queue = queue };
    loop_task_init(&k.task, on_look, &k);
    loop_again(loop, &k.task);
    kit_until_set(loop, &k.done);
    return k;
}

static void expect(const char *queue, enum where word, const char *server)
{
    struct look k = look("rabbits", queue);
    cr_expect(k.word == word, "%s is %d", queue, (int)k.word);
    cr_expect(eq(str, (char *)(uintptr_t)k.server, (char *)(uintptr_t)server), "%s", queue);
}

Test(where, servers_are_nodes_by_their_address_and_else_by_their_name)
{
    put_node(1, true, 1);
    put_node(2, true, 1);
    put_node(3, true, 1);
    put("a", 2, 1);
    put("b", 3, 2);
    put("c", 4, 3);
    expect("a", WHERE_UNKNOWN, "-");

    /* The address decides: the server called rabbit1 is the node 2. */
    hear(2, "rabbit2@h", "10.0.0.1", 5672, LIVE_HEARSAY_ALIVE);
    cr_expect(eq(uint, moved, 1));
    cr_expect(eq(uint, heard, 1));
    expect("b", WHERE_AT, "rabbit1");
    hear(1, "other@h", "192.168.7.7", 5672, LIVE_HEARSAY_ALIVE); /* as it knows itself */
    expect("a", WHERE_AT, "other");
    hear(3, "x@h", "Rabbit3.example", 5673, LIVE_HEARSAY_ALIVE); /* as the configuration writes */
    expect("c", WHERE_AT, "by-name");
    expect("d", WHERE_UNKNOWN, "-");
    cr_expect(look("blind", "a").word == WHERE_UNKNOWN, "it does not route by master");
    cr_expect(eq(uint, moved, 3));

    const struct backend *b = snapshot_backend(snapshot, "rabbits");
    cr_expect(eq(u32, where_node_of(b, backend_server(b, "other")), 1));
}

Test(where, a_node_of_no_server_is_unknown)
{
    put_node(4, true, 1);
    put("a", 2, 4);
    hear(4, "rabbit4@h", "10.0.0.4", 5672, LIVE_HEARSAY_ALIVE);
    expect("a", WHERE_UNKNOWN, "-");
    cr_expect(eq(uint, moved, 0));
}

Test(where, what_befalls_a_node_is_seen)
{
    put_node(1, true, 1);
    put("a", 2, 1);
    hear(1, "n1@h", "10.0.0.1", 5672, LIVE_HEARSAY_ALIVE);
    expect("a", WHERE_AT, "rabbit1");
    const struct backend *b = snapshot_backend(snapshot, "rabbits");
    uint64_t moves = where_moves(b);
    put_node(1, false, 3);
    expect("a", WHERE_DOWN, "rabbit1");
    cr_expect(lt(u64, moves, where_moves(b)));

    unsigned before = heard;
    hear(1, "n1@h", "10.0.0.1", 5672, LIVE_HEARSAY_DEAD);
    cr_expect(eq(uint, heard, before + 1), "its server is to be checked");
    hear(1, "n1@h", "10.0.0.1", 5672, LIVE_HEARSAY_DEAD);
    cr_expect(eq(uint, heard, before + 1), "nothing new");
    nodes_remove(discover_nodes(discover), 1);
    kit_turns(loop, 2);
    expect("a", WHERE_UNKNOWN, "-");
}

Test(where, a_reload_keeps_what_is_known)
{
    put_node(1, true, 1);
    put("a", 2, 1);
    hear(1, "n1@h", "10.0.0.1", 5672, LIVE_HEARSAY_ALIVE);
    struct snapshot *was = snapshot;
    snapshot = load(conf_text, was);
    discover_follow(discover, snapshot);
    snapshot_unref(&was);
    kit_turns(loop, 2);
    expect("a", WHERE_AT, "rabbit1");

    /* One that does not route by master any more. */
    was = snapshot;
    snapshot = load("[backend rabbits]\nserver = rabbit1 10.0.0.1:5672\n[frontend in]\n"
                    "bind = :5672\ndefault_backend = rabbits\n",
                    was);
    discover_follow(discover, snapshot);
    snapshot_unref(&was);
    kit_turns(loop, 2);
    expect("a", WHERE_UNKNOWN, "-");
}

static const char found_text[] = "[global]\ngossip = :25672\ngossip-seed = a:1\ncookie-file = c\n"
                                 "[backend rabbits]\n"
                                 "discover = gossip\n"
                                 "balance = queue-master\n"
                                 "default-server = check weight 7 slowstart 5s\n"
                                 "server = rabbit1 10.0.0.1:5672 check\n"
                                 "[frontend in]\n"
                                 "bind = :5672\n"
                                 "default_backend = rabbits\n";

static void reload(const char *text)
{
    struct snapshot *was = snapshot;
    snapshot = load(text, was);
    discover_follow(discover, snapshot);
    snapshot_unref(&was);
    kit_turns(loop, 2);
}

static const struct backend *rabbits(const struct snapshot *s)
{
    return snapshot_backend(s, "rabbits");
}

Test(where, nodes_that_are_no_server_become_one)
{
    reload(found_text);
    set_address("rabbit1", "10.0.0.1");
    put_node(2, true, 1);
    put("a", 2, 2);
    hear(1, "rabbit1@h1", "10.0.0.1", 5672, LIVE_HEARSAY_ALIVE);
    cr_expect(eq(uint, found, 0), "it is listed");
    hear(2, "rabbit2@h2", "10.0.0.2", 5672, LIVE_HEARSAY_ALIVE);
    hear(3, "rabbit3@h3", "10.0.0.3", 5672, LIVE_HEARSAY_DEAD);
    hear(4, "rabbit4@h4", "", 0, LIVE_HEARSAY_ALIVE);
    cr_expect(eq(uint, found, 1), "neither who is dead nor who takes no AMQP");
    const struct server *s = backend_server(rabbits(snapshot), "rabbit2@h2");
    cr_assert(s != NULL);
    cr_expect(s->conf->check && s->conf->weight == 7 && s->conf->slowstart_ms == 5000);
    cr_expect(eq(u64, shared_get(&s->live->weight), 7));
    expect("a", WHERE_AT, "rabbit2@h2");

    hear(3, "rabbit3@h3", "10.0.0.3", 5672, LIVE_HEARSAY_ALIVE);
    cr_expect(eq(uint, found, 2));

    /* It is elsewhere: another server; who had the old one goes on to know it. */
    hear(2, "rabbit2@h2", "10.0.0.7", 5672, LIVE_HEARSAY_ALIVE);
    cr_expect(eq(uint, found, 3));
    const struct server *now = backend_server(rabbits(snapshot), "rabbit2@h2");
    cr_assert(now != NULL && now != s);
    cr_expect(eq(str, (char *)(uintptr_t)now->conf->at.text, "10.0.0.7:5672"));
    cr_expect(eq(u64, shared_get(&s->live->gone), 1));
    cr_expect(not(server_is_usable(s)));
    expect("a", WHERE_AT, "rabbit2@h2");
    hear(2, "rabbit2@h2", "10.0.0.2", 5672, LIVE_HEARSAY_ALIVE);
    cr_expect(eq(uint, found, 3), "it is back where it was");
    cr_expect(backend_server(rabbits(snapshot), "rabbit2@h2") == s);
    nodes_remove(discover_nodes(discover), 2);
    kit_turns(loop, 2);
    cr_expect(backend_server(rabbits(snapshot), "rabbit2@h2") == NULL, "forgotten");
}

Test(where, found_servers_outlast_a_reload_and_older_configurations_get_them)
{
    reload(found_text);
    struct snapshot *old = snapshot_ref(snapshot); /* a session has it */
    hear(2, "rabbit2@h2", "10.0.0.2", 5672, LIVE_HEARSAY_ALIVE);
    const struct server *before = backend_server(rabbits(old), "rabbit2@h2");
    cr_assert(before != NULL);
    reload(found_text);
    const struct server *after = backend_server(rabbits(snapshot), "rabbit2@h2");
    cr_assert(after != NULL && after != before && after->live == before->live);
    cr_expect(eq(uint, found, 1), "no other one");
    hear(3, "rabbit3@h3", "10.0.0.3", 5672, LIVE_HEARSAY_ALIVE);
    cr_assert(backend_server(rabbits(old), "rabbit3@h3") != NULL);
    cr_expect(backend_server(rabbits(old), "rabbit3@h3")->live ==
              backend_server(rabbits(snapshot), "rabbit3@h3")->live);
    reload("[backend rabbits]\nserver = rabbit1 10.0.0.1:5672\n[frontend in]\nbind = :5672\n"
           "default_backend = rabbits\n");
    cr_expect(eq(u32, backend_server_count(rabbits(snapshot)), 1));
    snapshot_unref(&old);
}

Test(where, a_node_that_drains_takes_nothing_new)
{
    reload(found_text);
    set_address("rabbit1", "10.0.0.1");
    const struct server *s = backend_server(rabbits(snapshot), "rabbit1");
    hear(1, "rabbit1@h1", "10.0.0.1", 5672, LIVE_HEARSAY_ALIVE);
    cr_expect(server_is_usable(s));
    struct node n = { .number = 1,
                      .port = 5672,
                      .is_draining = true,
                      .hearsay = LIVE_HEARSAY_ALIVE,
                      .name = "rabbit1@h1",
                      .host = "10.0.0.1" };
    nodes_put(discover_nodes(discover), &n);
    kit_turns(loop, 2);
    cr_expect(not(server_is_usable(s)));
    n.is_draining = false;
    nodes_put(discover_nodes(discover), &n);
    kit_turns(loop, 2);
    cr_expect(server_is_usable(s));
}

/* ---- messages to exchanges ---- */

static struct leads *leads;

static bool on_ask(void *arg, const struct location_ask *ask, uint64_t now_s)
{
    uint64_t id;
    (void)arg;
    (void)now_s;
    return leads_expect(leads, ask, &id);
}

/* Messages with this key land on queues of these names. */
static void answer(const char *key, const char *const *queues, uint8_t count)
{
    struct location_leads l = { .count = count };
    (void)leads_expect(
        leads, &(struct location_ask){ 0, slice_str("/"), slice_str("x"), slice_str(key) }, &l.id);
    for (unsigned i = 0; i < count; i++)
        l.hashes[i] = location_hash(1, slice_str("/"), slice_str(queues[i]));
    cr_assert(leads_answer(leads, &l));
}

struct lead_look {
    struct loop_task task;
    const char *key;
    enum where_lead word;
    const char *server;
    bool is_whole, done;
};

static void on_lead_look(void *arg)
{
    struct lead_look *k = arg;
    const struct server *s;
    k->word = where_lead(&worker, snapshot_backend(snapshot, "rabbits"), slice_str("/"),
                         slice_str("x"), slice_str(k->key), &s, &k->is_whole);
    k->server = s != NULL ? s->conf->name : "-";
    k->done = true;
}

static void expect_lead(const char *key, enum where_lead word, const char *server, bool is_whole)
{
    struct lead_look k = { .key = key };
    loop_task_init(&k.task, on_lead_look, &k);
    loop_again(loop, &k.task);
    kit_until_set(loop, &k.done);
    cr_expect(k.word == word, "%s: %d", key, (int)k.word);
    cr_expect(eq(str, (char *)(uintptr_t)k.server, (char *)(uintptr_t)server), "%s", key);
    cr_expect(k.is_whole == is_whole, "%s", key);
}

Test(where, messages_to_exchanges_go_where_most_of_their_queues_are)
{
    const char *const queues[] = { "a", "b", "c", "d" };
    leads = leads_new(epoch, 1, on_ask, NULL);
    atlas_set_leads(atlas, leads);
    hear(1, "rabbit@rabbit1", "10.0.0.1", 5672, LIVE_HEARSAY_ALIVE);
    hear(2, "rabbit@other", "10.0.0.2", 5672, LIVE_HEARSAY_ALIVE);
    put_node(1, true, 1);
    put_node(2, true, 1);
    put("a", 2, 1);
    put("b", 3, 2);
    put("c", 4, 2);
    expect_lead("k", WHERE_LEAD_NONE, "-", false);
    answer("k", queues, 0);
    expect_lead("k", WHERE_LEAD_NONE, "-", false);
    answer("k", queues, 1);
    expect_lead("k", WHERE_LEAD_AT, "rabbit1", true);
    answer("k", queues, 3);
    expect_lead("k", WHERE_LEAD_AT, "other", false);
    answer("k", queues + 1, 2);
    expect_lead("k", WHERE_LEAD_AT, "other", true);
    put("c", 5, 1);
    expect_lead("k", WHERE_LEAD_AT, "other", false);
    put("b", 6, 1);
    expect_lead("k", WHERE_LEAD_AT, "rabbit1", true);
    answer("k", queues, 4);
    expect_lead("k", WHERE_LEAD_AT, "rabbit1", false); /* nobody knows where d is */
    put_node(1, false, 7);
    expect_lead("k", WHERE_LEAD_LATER, "-", false);
    leads_retire(&leads);
}
