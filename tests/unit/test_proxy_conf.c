/* proxy/proxy_conf: the configuration file, word by word. */
#include "proxy_conf.h"

#include <stdio.h>

#include "expect.h"

static struct proxy_conf *load(const char *text)
{
    struct err err = { .text = "" };
    struct proxy_conf *c = proxy_conf_load_text("test.conf", slice_str(text), &err);
    cr_assert(c != NULL, "%s", err.text);
    return c;
}

/* The complaint begins with `where` and has `what` in it. */
static void refused(const char *text, const char *where, const char *what)
{
    struct err err = { .text = "" };
    struct proxy_conf *c = proxy_conf_load_text("test.conf", slice_str(text), &err);
    cr_assert(c == NULL, "accepted: %s", text);
    cr_expect(strncmp(err.text, where, strlen(where)) == 0, "\"%s\" is not at %s", err.text, where);
    cr_expect(strstr(err.text, what) != NULL, "\"%s\" says nothing of %s", err.text, what);
}

#define BASE "[frontend amqp]\nbind = :5672\ndefault_backend = rabbits\n"
#define BACK "[backend rabbits]\nserver = r1 10.0.0.1:5672 check\n"

Test(proxy_conf, the_contract_s_sample)
{
    struct proxy_conf *c = load("[global]\n"
                                "nbthread = auto\n"
                                "maxconn = 20000\n"
                                "stats-socket = /run/warren/proxy.sock mode 600\n"
                                "cookie-file = /etc/warren/cookie\n"
                                "gossip = :25672\n"
                                "gossip-seed = rabbit1:25672, rabbit2:25672\n"
                                "[defaults]\n"
                                "timeout-connect = 2s\n"
                                "timeout-handshake = 10s\n"
                                "timeout-failover = 30s        ; how long\n"
                                "replay-max-message = 16M\n"
                                "option = amqp-check\n"
                                "[frontend amqp]\n"
                                "bind = :5672\n"
                                "bind = :5671 ssl crt /etc/warren/proxy.pem alpn amqp\n"
                                "maxconn = 10000\n"
                                "default_backend = rabbits\n"
                                "[backend rabbits]\n"
                                "balance = queue-master\n"
                                "discover = gossip\n"
                                "default-server = check inter 1s fall 3 rise 2 slowstart 5s\n"
                                "server = rabbit1 10.0.0.1:5672 weight 100\n"
                                "server = rabbit2 10.0.0.2:5672 send-proxy-v2 ssl verify required "
                                "ca-file ca.pem\n"
                                "server = rabbit3 10.0.0.3:5672 check backup\n"
                                "[listen management]\n"
                                "bind = :15672\n"
                                "mode = tcp\n"
                                "balance = roundrobin\n"
                                "server = rabbit1 10.0.0.1:15672 check\n"
                                "[listen stats]\n"
                                "bind = :8404\n"
                                "mode = http\n"
                                "stats-uri = /stats\n"
                                "stats-auth = admin:secret     ; none: loopback only\n"
                                "stats-allow = 127.0.0.0/8, 10.0.0.0/8\n");
    cr_assert(eq(u32, c->frontend_count, 3));
    cr_assert(eq(u32, c->backend_count, 2));
    cr_expect(eq(u64, c->global.nbthread, 0));
    cr_expect(eq(u32, c->global.socket_mode, 0600));
    expect_text(c->global.socket_path, "/run/warren/proxy.sock");

    const struct frontend_conf *f = c->frontends[0];
    cr_expect(eq(u32, f->bind_count, 2));
    cr_expect(f->binds[1].ssl);
    expect_text(f->binds[1].alpn, "amqp");
    cr_expect(eq(u64, f->maxconn, 10000));
    const struct backend_conf *b = c->backends[f->backend];
    expect_text(b->name, "rabbits");
    cr_expect(eq(u32, b->server_count, 3));
    cr_expect(b->amqp_check);
    cr_expect(eq(u64, b->timeout.failover, 30000));
    cr_expect(eq(u64, b->servers[0].weight, 100));
    cr_expect(b->servers[0].check, "from default-server");
    cr_expect(eq(u64, b->servers[0].slowstart_ms, 5000));
    cr_expect(b->servers[1].ssl && b->servers[1].send_proxy);
    cr_expect(b->servers[2].backup);

    const struct backend_conf *management = c->backends[c->frontends[1]->backend];
    cr_expect(eq(int, management->mode, PROXY_MODE_TCP));
    cr_expect(not(management->amqp_check), "what it speaks is not known");
    cr_expect(eq(int, c->frontends[2]->backend, -1));
    cr_expect(b->by_master);
    cr_expect(eq(u16, c->global.gossip.port, 25672));
    cr_expect(eq(sz, c->global.gossip_seeds.count, 2));
    expect_text(c->global.gossip_seeds.items[1].host, "rabbit2");
    proxy_conf_free(&c);
    cr_expect(c == NULL);
}

Test(proxy_conf, gossip_needs_a_secret_and_somebody_to_ask)
{
    static const char *const rows[][2] = {
        { "gossip = :25672\ngossip-seed = a:1\n", "cookie-file" },
        { "gossip = :25672\ncookie-file = /c\n", "somebody to ask" },
        { "gossip-seed = a:1\ncookie-file = /c\n", "needs gossip" },
        { "gossip = /run/x\ngossip-seed = a:1\ncookie-file = /c\n", "is a port" },
        { "gossip = :25672\ngossip-seed = :1\ncookie-file = /c\n", "names brokers" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct err err;
        struct text t;
        text_init(&t, 4096);
        text_put(&t, "[global]\n%s" BACK "[frontend f]\nbind = :1\ndefault_backend = b\n",
                 rows[i][0]);
        struct proxy_conf *c = proxy_conf_load_text("x", text_view(&t), &err);
        cr_expect(c == NULL && strstr(err.text, rows[i][1]) != NULL, "%zu: %s", i, err.text);
        text_fini(&t);
    }
}

Test(proxy_conf, the_least_that_works)
{
    struct proxy_conf *c = load(BASE BACK);
    const struct backend_conf *b = c->backends[0];
    cr_expect(eq(int, b->balance, BALANCE_ROUNDROBIN));
    cr_expect(eq(u64, b->timeout.connect, 2000));
    cr_expect(eq(u64, b->timeout.check, 2000));
    cr_expect(eq(u64, b->servers[0].weight, 1));
    cr_expect(eq(u32, b->servers[0].health.fall, 3));
    cr_expect(eq(u64, b->servers[0].health.downinter_ms, 2000));
    cr_expect(eq(u64, c->global.timeout_drain_ms, 30000));
    cr_expect(eq(sz, c->warnings.count, 0));
    proxy_conf_free(&c);
}

static size_t warnings_of(const char *text)
{
    struct proxy_conf *c = load(text);
    size_t count = c->warnings.count;
    proxy_conf_free(&c);
    return count;
}

Test(proxy_conf, what_the_sample_shows_as_defaults_may_be_written)
{
    struct proxy_conf *c =
        load("[global]\ncookie-file = none\ngossip = none\ngossip-seed = none\n"
             "stats-socket = none\n" BASE "limit = none\n" BACK "discover = off\n"
             "[listen s]\nmode = http\nbind = :8\nstats-auth = none\n");
    cr_expect(c->global.cookie_file == NULL);
    cr_expect(eq(int, c->global.gossip.kind, CONF_ADDRESS_NONE));
    cr_expect(zero(sz, c->global.gossip_seeds.count));
    cr_expect(c->global.socket_path == NULL);
    cr_expect(eq(int, c->backends[0]->discover, PROXY_DISCOVER_NONE));
    cr_expect(c->frontends[1]->stats_auth == NULL);
    cr_expect(zero(sz, c->warnings.count));
    proxy_conf_free(&c);
}

/* To it they are all local, and its user guest may come in. */
Test(proxy_conf, a_broker_beside_it_that_is_not_told_who_comes_is_warned_of)
{
    cr_expect(eq(sz, warnings_of("[listen a]\nbind = :1\nserver = r 127.0.0.1:5672\n"), 1));
    cr_expect(
        eq(sz, warnings_of("[listen a]\nmode = tcp\nbind = :1\nserver = r localhost:2\n"), 1));
    cr_expect(eq(sz, warnings_of("[listen a]\nbind = 127.0.0.1:1\nserver = r 127.0.0.1:2\n"), 0));
    cr_expect(eq(sz, warnings_of("[listen a]\nbind = :1\nserver = r 10.0.0.1:2\n"), 0));
    cr_expect(eq(sz, warnings_of("[listen a]\nbind = :1\nserver = r [::1]:2 send-proxy-v2\n"), 0));
    cr_expect(eq(sz,
                 warnings_of("[global]\ncookie-file = c\ngossip = :3\ngossip-seed = h:4\n"
                             "[listen a]\nbind = :1\nserver = r 127.0.0.1:2\n"),
                 0));
}

Test(proxy_conf, sections_inherit_and_overrule)
{
    struct proxy_conf *c =
        load("[defaults]\nmode = tcp\nbalance = leastconn\ntimeout-connect = 7s\n"
             "default-server = inter 9s\n"
             "[listen a]\nbind = 127.0.0.1:1000\nserver = s 127.0.0.1:1001\n"
             "[listen b]\nbind = 127.0.0.1:1002\nmode = amqp\nbalance = first\n"
             "timeout-connect = 1s\noption = tcp-check\nserver = s 127.0.0.1:1003 inter 3s\n");
    const struct backend_conf *a = c->backends[0];
    const struct backend_conf *b = c->backends[1];
    cr_expect(a->mode == PROXY_MODE_TCP && b->mode == PROXY_MODE_AMQP);
    cr_expect(a->balance == BALANCE_LEASTCONN && b->balance == BALANCE_FIRST);
    cr_expect(a->timeout.connect == 7000 && b->timeout.connect == 1000);
    cr_expect(a->servers[0].inter_ms == 9000 && b->servers[0].inter_ms == 3000);
    cr_expect(not(a->amqp_check));
    cr_expect(not(b->amqp_check));
    proxy_conf_free(&c);
}

Test(proxy_conf, order_of_sections_does_not_matter)
{
    struct proxy_conf *c = load(BASE BACK "[defaults]\ntimeout-failover = 3s\n");
    cr_expect(eq(u64, c->backends[0]->timeout.failover, 3000));
    proxy_conf_free(&c);
}

Test(proxy_conf, slips_are_told_with_their_place)
{
    refused(BASE BACK "colour = red\n", "test.conf:6", "colour");
    refused(BASE BACK "[fronted x]\n", "test.conf:6", "fronted");
    refused(BASE "[backend rabbits]\nserver = r1 10.0.0.1:5672 chekc\n", "test.conf:5", "chekc");
    refused(BASE "[backend rabbits]\nserver = r1 10.0.0.1\n", "test.conf:5", "port");
    refused(BASE "[backend rabbits]\nserver = r1 :5672\n", "test.conf:5", "host");
    refused(BASE "[backend rabbits]\nserver = r1 h:1 verify required\n", "test.conf:5", "verify");
    refused(BASE "[backend rabbits]\nserver = r1 h:1 check ca-file a.pem\n", "test.conf:5",
            "no 'ssl'");
    refused(BASE "[backend rabbits]\nserver = r1\n", "test.conf:5", "address");
    refused(BASE "[backend rabbits]\nserver = r/1 h:1\n", "test.conf:5", "letters");
    refused(BASE BACK "server = r1 10.0.0.2:5672\n", "test.conf:6", "already");
    refused(BASE BACK "balance = fair\n", "test.conf:6", "roundrobin");
    refused(BASE BACK "server r2 10.0.0.1:5672 check\n", "test.conf:6", "server =");
    refused("[frontend a]\nbind = :1 ssl\ndefault_backend = rabbits\n" BACK, "test.conf:2", "crt");
    refused("[frontend a]\nbind = :1 crt x\ndefault_backend = rabbits\n" BACK, "test.conf:2",
            "ssl");
    refused("[frontend a]\nbind = :70000\ndefault_backend = rabbits\n" BACK, "test.conf:2",
            "65535");
    refused("[frontend a]\nbind = :1 trust 10.0.0.0/8\ndefault_backend = rabbits\n" BACK,
            "test.conf:2", "accept-proxy");
    refused("[frontend a]\nbind = :1 accept-proxy trust 10.0.0.0/33\ndefault_backend = b\n" BACK,
            "test.conf:2", "network");
    refused("[global]\nstats-socket = proxy.sock\n" BASE BACK, "test.conf:2", "path");
    refused("[global]\nstats-socket = /x mode 9\n" BASE BACK, "test.conf:2", "mode");
    refused("[global]\nlog = stdout\n" BASE BACK, "test.conf:2", "stderr");
    refused("[global]\nnbthread = 100\n" BASE BACK, "test.conf:2", "100");
}

Test(proxy_conf, what_does_not_fit_together_is_refused)
{
    refused(BASE, "test.conf:1", "rabbits");
    refused(BASE "[backend rabbits]\nbalance = first\n", "test.conf:4", "no server");
    refused("[frontend a]\ndefault_backend = rabbits\n" BACK, "test.conf:1", "no bind");
    refused("[frontend a]\nbind = :1\n" BACK, "test.conf:1", "default_backend");
    refused(BASE BACK "mode = tcp\n", "test.conf:1", "mode");
    refused(BASE BACK "mode = http\n", "test.conf:4", "mode = tcp");
    refused(BASE BACK "[listen rabbits]\nbind = :1\nserver = s h:1\n", "test.conf:", "taken");
    refused("[listen s]\nbind = :1\nmode = http\nserver = a h:1\n", "test.conf:1", "no server");
    refused("[listen s]\nbind = :1 ssl crt x\nmode = http\n", "test.conf:1", "address alone");
    refused("[listen s]\nbind = :1\nmode = tcp\nserver = a h:1\nstats-auth = a:b\n", "test.conf:1",
            "mode = http");
    refused("[listen s]\nbind = :1\nmode = http\nstats-auth = ab\n", "test.conf:4", "PASSWORD");
    refused("[listen s]\nbind = :1\nmode = tcp\nserver = a h:1\nlimit = user rate 1/1s\n",
            "test.conf:1", "sources alone");
    static const char *const inside[] = { "channels 5", "messages 100/1s", "bytes 1M/1s alarm" };
    for (unsigned i = 0; i < ARRAY_COUNT(inside); i++) {
        char text[160];
        (void)snprintf(text, sizeof text,
                       "[listen s]\nbind = :1\nmode = tcp\nserver = a h:1\nlimit = source %s\n",
                       inside[i]);
        refused(text, "test.conf:1", "needs mode = amqp");
    }
    struct proxy_conf *c = load("[listen s]\nbind = :1\nmode = tcp\nserver = a h:1\n"
                                "limit = source connections 5 rate 10/1s\n");
    proxy_conf_free(&c);
    refused(BACK, "test.conf:", "no [frontend]");
    refused("", "test.conf:", "no [frontend]");
}

Test(proxy_conf, a_secret_is_not_repeated)
{
    struct err err = { .text = "" };
    struct proxy_conf *c = proxy_conf_load_text(
        "t", slice_str("[listen s]\nbind = :1\nmode = http\nstats-auth = hunter2\n"), &err);
    cr_assert(c == NULL);
    cr_expect(strstr(err.text, "hunter2") == NULL, "%s", err.text);
}

Test(proxy_conf, at_most_64_servers)
{
    struct text t;
    text_init(&t, 100000);
    text_str(&t, BASE "[backend rabbits]\n");
    for (unsigned i = 0; i < BALANCE_SERVERS_MAX; i++)
        text_put(&t, "server = r%u 10.0.0.1:%u\n", i, 1000 + i);
    struct proxy_conf *c = load(t.ptr);
    cr_expect(eq(u32, c->backends[0]->server_count, BALANCE_SERVERS_MAX));
    proxy_conf_free(&c);
    text_str(&t, "server = more 10.0.0.1:1\n");
    refused(t.ptr, "test.conf:", "at most 64");
    text_fini(&t);
}

Test(proxy_conf, the_sample_has_every_directive)
{
    struct text t;
    text_init(&t, 1 << 20);
    proxy_conf_describe(&t);
    cr_expect(not(t.cut));
    for (const char *const *w =
             (const char *const[]){ "nbthread", "timeout-drain", "bind", "default-server",
                                    "stats-allow", "legs", NULL };
         *w != NULL; w++)
        cr_expect(strstr(t.ptr, *w) != NULL, "%s", *w);
    text_fini(&t);
}

/* ---- discover = rabbitmq ---- */

#define RABBIT "[listen a]\nbind = :1\nbalance = queue-master\ndiscover = rabbitmq "

Test(proxy_conf, a_rabbitmq_is_asked_at_its_urls)
{
    struct proxy_conf *c =
        load(RABBIT "http://mon:s%40cret:2@rabbit1 https://m:p@[::1]:99/deep/er/ inter 5s "
                    "timeout 2s ca-file ca.pem\n");
    const struct backend_conf *b = c->backends[0];
    cr_assert(b->by_master && b->rabbit != NULL && b->server_count == 0);
    cr_expect(eq(sz, c->warnings.count, 0));
    const struct rabbit_conf *r = b->rabbit;
    cr_assert(eq(u32, r->url_count, 2));
    expect_text(r->urls[0].host, "rabbit1");
    cr_expect(eq(u16, r->urls[0].port, 15672));
    expect_text(r->urls[0].shown, "http://rabbit1:15672");
    expect_text(r->urls[0].user, "mon");
    expect_text(r->urls[0].path, "");
    /* mon:s@cret:2 */
    cr_expect(strstr(r->urls[0].fields, "Authorization: Basic bW9uOnNAY3JldDoy\r\n") != NULL, "%s",
              r->urls[0].fields);
    cr_expect(r->urls[1].is_tls && !r->urls[0].is_tls);
    expect_text(r->urls[1].host, "::1");
    expect_text(r->urls[1].shown, "https://[::1]:99/deep/er");
    expect_text(r->urls[1].path, "/deep/er");
    cr_expect(eq(u64, r->inter_ms, 5000));
    cr_expect(eq(u64, r->timeout_ms, 2000));
    expect_text(r->ca_file, "ca.pem");
    proxy_conf_free(&c);

    c = load(RABBIT "https://m:p@rabbit1 verify none\n");
    cr_expect(eq(u16, c->backends[0]->rabbit->urls[0].port, 15671));
    cr_expect(c->backends[0]->rabbit->verify == PROXY_VERIFY_NONE);
    proxy_conf_free(&c);
}

Test(proxy_conf, a_rabbitmq_url_that_is_none_is_refused)
{
    static const char *const rows[][2] = {
        { "", "where the management answers" },
        { "rabbit1:15672", "where the management answers" },
        { "amqp://a:hunter2@rabbit1", "http://monitor:secret@rabbit1:15672" },
        { "http://rabbit1:15672", "a user and a password" },
        { "http://hunter2@rabbit1", "a user and a password" },
        { "http://a:@rabbit1", "a user and a password" },
        { "http://a:hunt@er2@rabbit1", "written as %40" },
        { "http://a:hunter2%4@rabbit1", "well-formed" },
        { "http://a%3Ab:hunter2@rabbit1", "well-formed" },
        { "http://a:hunter2@", "place" },
        { "http://a:hunter2@:15672", "has a host" },
        { "http://a:hunter2@rabbit1:0", "has a host" },
        { "http://a:hunter2@rabbit1:x", "place" },
        { "http://a:hunter2@rabbit1/x?y", "path" },
        { "http://a:hunter2@rabbit1 often", "often" },
        { "http://a:hunter2@rabbit1 inter 1ms", "inter" },
        { "http://a:hunter2@rabbit1 ca-file x", "https" },
        { "http://a:hunter2@rabbit1 verify none", "https" },
        { "http://a:b@c http://a:b@c http://a:b@c http://a:b@c http://a:b@c http://a:b@c "
          "http://a:b@c http://a:b@c http://a:b@c",
          "at most 8" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct err err = { .text = "" };
        struct text t;
        text_init(&t, 4096);
        text_put(&t, RABBIT "%s\n", rows[i][0]);
        struct proxy_conf *c = proxy_conf_load_text("x", text_view(&t), &err);
        cr_expect(c == NULL && strstr(err.text, "x:4: discover: ") != NULL &&
                      strstr(err.text, rows[i][1]) != NULL,
                  "%s: %s", rows[i][0], err.text);
        cr_expect(strstr(err.text, "hunter2") == NULL, "%s", err.text);
        text_fini(&t);
    }
    refused("[listen a]\nbind = :1\nmode = tcp\ndiscover = rabbitmq http://a:b@c\n", "test.conf:1",
            "mode = amqp");
    refused("[listen a]\nbind = :1\ndiscover = gossip http://a:b@c\n", "test.conf:3", "alone");
    refused("[listen a]\nbind = :1\ndiscover = dns\n", "test.conf:3", "rabbitmq and a URL");
}
