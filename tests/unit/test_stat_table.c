/* proxy/stat_table, stat_metrics, stats_page, snapshot: figures without a proxy that runs. */
#include "stat_table.h"

#include "admin_show.h"
#include "base/mem.h"
#include "expect.h"
#include "stat_metrics.h"
#include "stats_page.h"

static const char file[] = "[frontend amqp]\nbind = :5672\nmaxconn = 7\ndefault_backend = rabbits\n"
                           "[backend rabbits]\nbalance = leastconn\n"
                           "server = r1 10.0.0.1:5672 check weight 10\n"
                           "server = r2 10.0.0.2:5672 backup\n"
                           "[listen raw]\nbind = :1\nmode = tcp\nserver = r1 10.0.0.1:1\n";

static void expect_in(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no \"%s\" in %s", part, text);
}

struct scene {
    struct snapshot *snapshot;
    struct stat_row *rows;
    unsigned count;
};

static struct snapshot *snapshot_of(const char *text, const struct snapshot *before)
{
    struct err err = { .text = "" };
    struct proxy_conf *conf = proxy_conf_load_text("t", slice_str(text), &err);
    cr_assert(conf != NULL, "%s", err.text);
    struct snapshot *s = snapshot_new(&conf, before, 1000, &err);
    cr_assert(s != NULL, "%s", err.text);
    return s;
}

static struct scene scene(void)
{
    struct scene s = { .snapshot = snapshot_of(file, NULL) };
    struct sock_addr a;
    cr_assert(sock_addr_ip("10.0.0.1", 5672, &a));
    struct server_live *l = s.snapshot->backends[0].servers[0].live;
    shared_set(&l->address, (uint64_t)(uintptr_t)mem_dup(&a, sizeof a));
    live_traffic_begin(&l->traffic);
    shared_set(&l->traffic.bin, 12345);
    s.rows = stat_rows(s.snapshot, 61000, &s.count);
    return s;
}

static void scene_end(struct scene *s)
{
    mem_free(s->rows);
    snapshot_unref(&s->snapshot);
}

static const struct stat_row *row(const struct scene *s, const char *proxy, const char *service)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (strcmp(stat_text(&s->rows[i], STAT_PXNAME), proxy) == 0 &&
            strcmp(stat_text(&s->rows[i], STAT_SVNAME), service) == 0)
            return &s->rows[i];
    }
    cr_fatal("no row %s/%s", proxy, service);
}

Test(stat_table, rows)
{
    struct scene s = scene();
    cr_expect(eq(u32, s.count, 7));
    const struct stat_row *f = row(&s, "amqp", "FRONTEND");
    expect_text(stat_text(f, STAT_STATUS), "OPEN");
    cr_expect(eq(i64, stat_number(f, STAT_SLIM), 7));
    cr_expect(eq(i64, stat_number(row(&s, "raw", "FRONTEND"), STAT_SLIM),
                 (int64_t)s.snapshot->conf->global.maxconn),
              "without one of its own the process's limit holds");
    const struct stat_row *r1 = row(&s, "rabbits", "r1");
    cr_expect(eq(i64, stat_number(r1, STAT_SCUR), 1));
    cr_expect(eq(i64, stat_number(r1, STAT_BIN), 12345));
    cr_expect(eq(i64, stat_number(r1, STAT_WEIGHT), 10));
    cr_expect(eq(i64, stat_number(r1, STAT_LASTCHG), 60));
    expect_text(stat_text(r1, STAT_CHECK_STATUS), "INI");
    expect_text(stat_text(r1, STAT_ADDR), "10.0.0.1:5672");
    const struct stat_row *r2 = row(&s, "rabbits", "r2");
    expect_text(stat_text(r2, STAT_STATUS), "no check");
    cr_expect(r2->values[STAT_CHKFAIL].is == STAT_EMPTY);
    cr_expect(eq(i64, stat_number(r2, STAT_BCK), 1));
    cr_expect(eq(i64, stat_number(r2, STAT_LASTSESS), -1));
    const struct stat_row *b = row(&s, "rabbits", "BACKEND");
    expect_text(stat_text(b, STAT_STATUS), "UP");
    expect_text(stat_text(b, STAT_ALGO), "leastconn");
    cr_expect(eq(i64, stat_number(b, STAT_ACT), 1), "r2 has no address yet");
    cr_expect(eq(i64, stat_number(row(&s, "raw", "FRONTEND"), STAT_IID),
                 stat_number(row(&s, "raw", "BACKEND"), STAT_IID)),
              "a listen is one proxy");
    live_traffic_end(&s.snapshot->backends[0].servers[0].live->traffic);
    scene_end(&s);
}

/* The columns that readers of HAProxy's CSV know, in its order. */
Test(stat_table, csv)
{
    struct scene s = scene();
    struct text t;
    text_init(&t, 1 << 20);
    stat_csv(s.rows, s.count, &(struct stat_filter){ -1, -1, -1 }, &t);
    static const char head[] = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,"
                               "ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,"
                               "lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,"
                               "rate,rate_lim,rate_max,check_status,check_code,check_duration,";
    cr_expect(strncmp(t.ptr, head, strlen(head)) == 0, "%s", t.ptr);
    unsigned lines = 0, commas = 0, least = UINT32_MAX, most = 0;
    for (const char *p = t.ptr; *p != '\0'; p++) {
        commas += *p == ',';
        if (*p != '\n')
            continue;
        least = commas < least ? commas : least;
        most = commas > most ? commas : most;
        commas = 0;
        lines++;
    }
    cr_expect(eq(u32, lines, 8));
    cr_expect(eq(u32, least, STAT_COLUMN_COUNT));
    cr_expect(eq(u32, most, STAT_COLUMN_COUNT));

    text_clear(&t);
    stat_csv(s.rows, s.count, &(struct stat_filter){ -1, 4, 2 }, &t);
    cr_expect(strstr(t.ptr, "\nrabbits,r2,") != NULL);
    cr_expect(strstr(t.ptr, "r1,") == NULL);
    text_fini(&t);
    live_traffic_end(&s.snapshot->backends[0].servers[0].live->traffic);
    scene_end(&s);
}

Test(stat_table, a_field_with_commas_is_quoted)
{
    struct scene s = scene();
    struct server_live *l = s.snapshot->backends[0].servers[0].live;
    struct text why = text_over(l->why, sizeof l->why);
    text_str(&why, "it said \"no\", twice");
    struct text t;
    text_init(&t, 1 << 20);
    stat_csv(s.rows, s.count, &(struct stat_filter){ -1, -1, -1 }, &t);
    cr_expect(strstr(t.ptr, ",\"it said \"\"no\"\", twice\",") != NULL);
    text_fini(&t);
    live_traffic_end(&l->traffic);
    scene_end(&s);
}

Test(stat_table, metrics_page_and_runtime_commands)
{
    struct scene s = scene();
    struct process process = { .conns_limit = 100 };
    struct err err;
    struct loop *loop = loop_new("test", &err);
    cr_assert(loop != NULL);
    struct view v = { .loop = loop, .snapshot = s.snapshot, .process = &process };
    struct text t;
    struct text none;
    text_init(&t, 1 << 20);
    text_init(&none, 16);

    stat_metrics(s.rows, s.count, &v, &t);
    expect_in(t.ptr, "\nhaproxy_server_bytes_in_total{proxy=\"rabbits\",server=\"r1\"} 12345\n");
    expect_in(t.ptr, "\nhaproxy_server_status{proxy=\"rabbits\",server=\"r1\",state=\"UP\"} 1\n");
    expect_in(t.ptr, "\nhaproxy_backend_status{proxy=\"raw\",state=\"DOWN\"} 1\n");
    expect_in(t.ptr, "\nwarren_proxy_legs{proxy=\"rabbits\",server=\"r1\"} 0\n");

    text_clear(&t);
    stats_page(s.rows, s.count, &v, &none, 3, 5, "/stats", &t);
    expect_in(t.ptr, "http-equiv=refresh content=5");
    expect_in(t.ptr, "<td>r1</td>");
    expect_in(t.ptr, "and 3 more");

    text_clear(&t);
    cr_expect(admin_show_servers(&v, "rabbits", &t));
    expect_in(t.ptr, "rabbits 1 r1 10.0.0.1 2 0 10 10 ");
    cr_expect(strstr(t.ptr, "raw") == NULL);
    cr_expect(not(admin_show_servers(&v, "nosuch", &t)));
    text_fini(&t);
    text_fini(&none);
    live_traffic_end(&s.snapshot->backends[0].servers[0].live->traffic);
    scene_end(&s);
    loop_free(&loop);
}

/* ---- reload ------------------------------------------------------------------------------------
 */

Test(snapshot, a_reload_keeps_the_records_of_what_stayed)
{
    struct snapshot *a = snapshot_of(file, NULL);
    struct server_live *r1 = a->backends[0].servers[0].live;
    shared_set(&r1->traffic.stot, 42);
    shared_set(&r1->weight, 3);
    struct snapshot *b = snapshot_of(file, a);
    cr_expect(b->backends[0].servers[0].live == r1);
    cr_expect(eq(u64, shared_get(&r1->weight), 3), "what the operator set stays");
    cr_expect(b->frontends[0].live == a->frontends[0].live);
    snapshot_unref(&a);
    cr_expect(eq(u64, shared_get(&r1->traffic.stot), 42));

    struct snapshot *c = snapshot_of("[listen rabbits]\nbind = :1\n"
                                     "server = r1 10.0.0.9:5672 weight 5\n",
                                     b);
    cr_expect(c->backends[0].servers[0].live != r1, "another address is another server");
    cr_expect(c->backends[0].live == b->backends[0].live);
    snapshot_unref(&b);
    snapshot_unref(&c);
}

Test(snapshot, a_bad_certificate_is_refused)
{
    struct err err = { .text = "" };
    struct proxy_conf *conf = proxy_conf_load_text(
        "t", slice_str("[listen a]\nbind = :1 ssl crt /nonexistent.pem\nserver = s h:1\n"), &err);
    cr_assert(conf != NULL);
    cr_expect(snapshot_new(&conf, NULL, 0, &err) == NULL);
    cr_expect(strstr(err.text, "/nonexistent.pem") != NULL, "%s", err.text);
    cr_expect(conf == NULL);
}

Test(snapshot, picks_only_what_can_be_used)
{
    struct snapshot *s = snapshot_of(file, NULL);
    const struct backend *b = &s->backends[0];
    struct rng rng;
    rng_init(&rng, 1);
    cr_expect(backend_pick(b, 0, 0, &rng) == NULL, "no address is known yet");
    cr_expect(backend_is_alive(b));
    struct sock_addr a;
    cr_assert(sock_addr_ip("10.0.0.1", 5672, &a));
    for (unsigned i = 0; i < 2; i++)
        shared_set(&b->servers[i].live->address, (uint64_t)(uintptr_t)mem_dup(&a, sizeof a));
    cr_expect(backend_pick(b, 0, 0, &rng) == &b->servers[0]);
    cr_expect(backend_pick(b, 1, 0, &rng) == &b->servers[1], "the first was tried: the backup");
    cr_expect(backend_pick(b, 3, 0, &rng) == NULL);
    shared_set(&b->servers[0].live->admin, LIVE_ADMIN_DRAIN);
    cr_expect(backend_pick(b, 0, 0, &rng) == &b->servers[1]);
    shared_set(&b->servers[1].live->up, 0);
    cr_expect(eq(u32, backend_usable_count(b), 0));
    cr_expect(not(backend_is_alive(b)));
    snapshot_unref(&s);
}
