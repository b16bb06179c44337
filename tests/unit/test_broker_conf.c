#include "broker_conf.h"

#include "expect.h"
#include "io/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test_broker_conf_XXXXXX";
static char path[64];
static struct broker_conf_args args;
static struct broker_conf *conf;
static struct err err;

static void begin(void)
{
    cr_assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/b.conf", folder);
    args = (struct broker_conf_args){ .name = "r@h", .data_dir = "/d" };
    static char home[] = "HOME=/home/x";
    static char *env[] = { home, NULL };
    args.env = env;
}

static void end(void)
{
    broker_conf_unref(&conf);
    unlink(path);
    rmdir(folder);
}

TestSuite(broker_conf, .init = begin, .fini = end);

static bool load(const char *text)
{
    broker_conf_unref(&conf);
    if (text != NULL) {
        FILE *f = fopen(path, "w");
        cr_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
        args.file = path;
    }
    err = (struct err){ 0 };
    conf = broker_conf_load(&args, &err);
    return conf != NULL;
}

/* The complaint without the folder. */
static void refuses(const char *text, const char *complaint)
{
    cr_expect(not(load(text)), "%s was accepted", text);
    size_t n = strlen(folder) + 1;
    expect_text(strncmp(err.text, folder, n - 1) == 0 ? err.text + n : err.text, complaint);
}

Test(broker_conf, says_who_may_log_in)
{
    cr_assert(load("[node]\n"), "%s", err.text);
    cr_expect(eq(sz, conf->auth.mechanisms.count, 2));
    cr_expect(eq(sz, conf->auth.loopback_users.count, 1));
    cr_expect(eq(str, (char *)conf->auth.loopback_users.items[0], "guest"));
    cr_expect(eq(u64, conf->auth.login_timeout_ms, 10000));
    cr_expect(eq(u64, conf->auth.rounds, 100000));
    cr_expect(conf->auth.password_hashing == BROKER_HASHING_PBKDF2);
    cr_expect(conf->auth.login_from == BROKER_LOGIN_FROM_DN);
    cr_assert(load("[auth]\nmechanisms = EXTERNAL\nloopback-users = none\ndefault-user = none\n"
                   "password-hashing = sha512\nremember = off\n"));
    cr_expect(eq(str, (char *)conf->auth.mechanisms.items[0], "EXTERNAL"));
    cr_expect(eq(sz, conf->auth.loopback_users.count, 0));
    cr_expect(conf->auth.default_user == NULL);
    cr_expect(conf->auth.password_hashing == BROKER_HASHING_SHA512);
    cr_expect(eq(u64, conf->auth.remember_ms, 0));
    refuses(
        "[auth]\nmechanisms = PLAIN, LOGIN\n",
        "b.conf:1: [auth]: mechanisms: \"LOGIN\" is not known; PLAIN, AMQPLAIN and EXTERNAL are");
    refuses("[auth]\ndefault-pass = \"\"\n",
            "b.conf:1: [auth]: default-pass: nobody can log in with an empty password");
}

Test(broker_conf, has_the_documented_defaults)
{
    args.name = NULL;
    args.data_dir = NULL;
    cr_assert(load(NULL), "%s", err.text);
    char host[256], name[300];
    host_short_name(host, sizeof host);
    snprintf(name, sizeof name, "rabbit@%s", host);
    expect_text(conf->node.name, name);
    cr_expect(eq(int, (int)conf->node.type, BROKER_NODE_DISC));
    unsigned cores = host_cores("");
    cr_expect(eq(u64, conf->node.threads, cores > 1 ? cores - 1 : 1));
    cr_assert(eq(sz, conf->listen.amqp.count, 1));
    cr_expect(eq(int, conf->listen.amqp.items[0].port, 5672));
    cr_expect(eq(sz, conf->listen.amqps.count, 0));
    cr_expect(eq(int, conf->listen.management.items[0].port, 15672));
    cr_expect(eq(int, conf->listen.cluster.items[0].port, 25672));
    cr_expect(eq(sz, conf->listen.proxy_protocol.count, 0));
    cr_expect(eq(int, (int)conf->cluster.failover_mode, BROKER_FAILOVER_TRANSPARENT));
    cr_expect(eq(u64, conf->cluster.minority_close_after_ms, 30000));
    cr_expect(eq(u64, conf->cluster.start_grace_ms, 10000));
    cr_expect(eq(u64, conf->cluster.drain_timeout_ms, 60000));
    cr_expect(eq(u64, conf->cluster.claim_grace_ms, 3000));
    cr_expect(eq(int, (int)conf->cluster.publish_lanes, BROKER_LANES_CHANNEL));
    cr_expect(conf->cluster.deliver_after_replication);
    cr_expect(conf->tls.cert == NULL && conf->tls.key == NULL && conf->tls.ca == NULL);
    cr_expect(eq(int, (int)conf->tls.min_version, BROKER_TLS_1_2));
    cr_expect(eq(u64, conf->limits.memory_bytes, (uint64_t)(0.4 * (double)host_memory_bytes(""))));
    cr_expect(eq(u64, conf->limits.disk_free_bytes, 1u << 30));
    cr_expect(eq(u64, conf->limits.channel_max, 2047));
    cr_expect(eq(u64, conf->limits.frame_max_bytes, 131072));
    cr_expect(eq(u64, conf->limits.heartbeat_s, 60));
    cr_expect(eq(u64, conf->limits.max_message_bytes, 128u << 20));
    cr_expect(eq(int, (int)conf->store.sync, BROKER_SYNC_ALWAYS));
    cr_expect(eq(u64, conf->store.interval_ms, 200));
    cr_expect(eq(u64, conf->store.slow_ms, 500));
    cr_expect(eq(u64, conf->store.segment_bytes, 16u << 20));
    cr_expect(eq(int, (int)conf->log.target, BROKER_LOG_STDERR));
    cr_expect(eq(int, (int)conf->log.level, LOG_LEVEL_INFO));
    cr_expect(conf->node.data_dir != NULL && conf->cluster.cookie_file != NULL);
}

Test(broker_conf, takes_every_key)
{
    cr_assert(load("[node]\nname = bunny@meadow\ndata-dir = /data\ntype = disc\nthreads = 3\n"
                   "[listen]\namqp = 127.0.0.1:1, [::1]:1\namqps = :2\nmanagement = none\n"
                   "cluster = 10.0.0.1:3\nproxy-protocol = 10.0.0.0/8, ::1/128\n"
                   "[cluster]\ncookie-file = /c\nseeds = none\nfailover-mode = cancel\n"
                   "minority-close-after = 1s\nstart-grace = 2s\ndrain-timeout = 3s\n"
                   "claim-grace = 4s\npublish-lanes = destination\n"
                   "deliver-after-replication = off\n"
                   "[tls]\ncert = /cert\nkey = /key\nca = /ca\nverify = peer\nmin-version = 1.3\n"
                   "[limits]\nmemory-high-watermark = 64M\ndisk-free-limit = 2G\n"
                   "channel-max = 65535\nframe-max = 4096\nheartbeat = off\nmax-message = 1M\n"
                   "[store]\nsync = none\nsync-interval = 1s\nslow-sync = 2s\nsegment-size = 1M\n"
                   "[log]\ntarget = file\nfile = /l\nlevel = trace\n"),
              "%s", err.text);
    expect_text(conf->node.name, "r@h"); /* the command line wins */
    expect_text(conf->node.data_path, "/d/r@h");
    cr_expect(eq(u64, conf->node.threads, 3));
    cr_expect(eq(sz, conf->listen.amqp.count, 2));
    expect_text(conf->listen.amqp.items[1].host, "::1");
    cr_expect(eq(sz, conf->listen.amqps.count, 1));
    cr_expect(eq(sz, conf->listen.management.count, 0));
    cr_expect(eq(sz, conf->listen.proxy_protocol.count, 2));
    expect_text(conf->cluster.cookie_file, "/c");
    cr_expect(eq(int, (int)conf->cluster.failover_mode, BROKER_FAILOVER_CANCEL));
    cr_expect(eq(u64, conf->cluster.claim_grace_ms, 4000));
    cr_expect(not(conf->cluster.deliver_after_replication));
    expect_text(conf->tls.key, "/key");
    cr_expect(eq(int, (int)conf->tls.verify, BROKER_VERIFY_PEER));
    cr_expect(eq(int, (int)conf->tls.min_version, BROKER_TLS_1_3));
    cr_expect(eq(u64, conf->limits.memory_bytes, 64u << 20));
    cr_expect(eq(u64, conf->limits.channel_max, 65535));
    cr_expect(eq(u64, conf->limits.heartbeat_s, 0));
    cr_expect(eq(int, (int)conf->store.sync, BROKER_SYNC_NONE));
    cr_expect(eq(u64, conf->store.interval_ms, 1000));
    cr_expect(eq(u64, conf->store.slow_ms, 2000));
    cr_expect(eq(u64, conf->store.segment_bytes, 1u << 20));
    cr_expect(eq(int, (int)conf->log.target, BROKER_LOG_FILE));
    expect_text(conf->log.file, "/l");
    cr_expect(eq(int, (int)conf->log.level, LOG_LEVEL_TRACE));
}

Test(broker_conf, refuses_what_it_cannot_do)
{
    refuses("[node]\ntype = ram\n",
            "b.conf: [node] type: a node that is alone is a disc node: give "
            "[cluster] seeds");
    refuses("[cluster]\nseeds = :1\n",
            "b.conf:1: [cluster]: seeds: \":1\" is not the host and port of a node");
    refuses("[listen]\namqps = :5671\n", "b.conf: [listen] amqps needs a certificate: [tls] cert");
    refuses("[listen]\nproxy-protocol = 10.0.0.0/8, 10.0.0.0/33\n",
            "b.conf:1: [listen]: proxy-protocol: \"10.0.0.0/33\" is not a network such as "
            "10.0.0.0/8 or fd00::/8");
    refuses("[store]\nsegment-size = 1048577\n",
            "b.conf:1: [store]: segment-size: not a multiple of 4k");
    refuses("[limits]\nframe-max = 512k\n[store]\nsegment-size = 1M\n",
            "b.conf: [limits] frame-max must not be more than a quarter of [store] segment-size");
    refuses("[tls]\nkey = /k\n", "b.conf:1: [tls]: key is of no use without cert");
    refuses("[tls]\ncert = /c\nverify = peer\n",
            "b.conf:1: [tls]: verify = peer needs ca: whose certificates count");
    refuses("[limits]\nheartbeat = 1500ms\n",
            "b.conf:1: [limits]: heartbeat: it counts whole seconds");
    refuses("[limits]\nheartbeat = 65536s\n",
            "b.conf:2: heartbeat: 65536s is too much, the most is 65535000 ms");
    refuses("[limits]\nframe-max = 4095\n",
            "b.conf:2: frame-max: 4095 is too little, the least is 4096 octets");
    refuses("[limits]\nchannel-max = 65536\n",
            "b.conf:2: channel-max: 65536 is too much, the most is 65535");
    refuses("[limits]\nmemory-high-watermark = 1\n",
            "b.conf:2: memory-high-watermark: 1 is too little, the least is 16777216 octets");
    refuses("[listen]\namqp = 5672\n",
            "b.conf:2: amqp: a port is missing: host:port, :port or [v6]:port");
    const char *const names[] = { "a/b@h", "@h", "a@", "a b@h", ".a@h", "a@h/i", "a@b@c" };
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char text[64];
        snprintf(text, sizeof text, "[node]\nname = %s\n", names[i]);
        refuses(text, "b.conf:2: name: a node's name is NAME or NAME@HOST, in letters, digits and "
                      "\"_-.\"");
    }
}

static void set_env(char *const *env)
{
    args.env = env;
}

Test(broker_conf, ranks_command_line_environment_and_file)
{
    char room[][64] = { "HOME=/h", "RABBITMQ_NODENAME=rabbit_1", "WARREN_LIMITS_CHANNEL_MAX=7" };
    char warren_name[] = "WARREN_NODE_NAME=w@h";
    char *env[] = { room[0], room[1], room[2], NULL, NULL };
    set_env(env);
    const char *file = "[node]\nname = f@h\n[limits]\nchannel-max = 5\n";
    cr_assert(load(file), "%s", err.text);
    expect_text(conf->node.name, "r@h");
    cr_expect(eq(u64, conf->limits.channel_max, 7));

    args.name = NULL;
    cr_assert(load(file));
    char host[256], want[300];
    host_short_name(host, sizeof host);
    snprintf(want, sizeof want, "rabbit_1@%s", host);
    expect_text(conf->node.name, want);

    env[3] = warren_name;
    cr_assert(load(file));
    expect_text(conf->node.name, "w@h");
    set_env(NULL);
    args.data_dir = "/d";
    cr_assert(load("[node]\nname = f@h\n[cluster]\ncookie-file = /c\n"), "%s", err.text);
    expect_text(conf->node.name, "f@h");

    args.name = "a/b";
    refuses("", "option -n: name: a node's name is NAME or NAME@HOST, in letters, digits and "
                "\"_-.\"");
}

Test(broker_conf, derives_ports_from_rabbits_port)
{
    char room[][64] = { "HOME=/h", "RABBITMQ_NODE_PORT=5673", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
                        "WARREN_LISTEN_CLUSTER=:9" };
    char *env[] = { room[0], room[1], NULL, NULL, NULL };
    set_env(env);
    cr_assert(load("[listen]\nmanagement = 127.0.0.1:1\n"), "%s", err.text);
    expect_text(conf->listen.amqp.items[0].text, ":5673");
    expect_text(conf->listen.management.items[0].text, "127.0.0.1:15673");
    cr_expect(eq(int, conf->listen.cluster.items[0].port, 25673));

    env[2] = room[2];
    env[3] = room[3];
    cr_assert(load("[listen]\namqp = :1, :2\nmanagement = none\n"), "%s", err.text);
    cr_assert(eq(sz, conf->listen.amqp.count, 1));
    expect_text(conf->listen.amqp.items[0].host, "127.0.0.1");
    cr_expect(eq(int, conf->listen.amqp.items[0].port, 5673));
    cr_expect(eq(sz, conf->listen.management.count, 0));
    cr_expect(eq(int, conf->listen.cluster.items[0].port, 9));

    snprintf(room[1], sizeof room[1], "RABBITMQ_NODE_PORT=45535");
    cr_expect(load(""));
    snprintf(room[1], sizeof room[1], "RABBITMQ_NODE_PORT=45536");
    refuses("", "environment RABBITMQ_NODE_PORT: must be a number from 1 to 45535, because it "
                "brings the cluster's port, 20000 higher, with it");
    snprintf(room[1], sizeof room[1], "RABBITMQ_NODE_IP_ADDRESS=::1");
    env[2] = NULL;
    cr_assert(load(""), "%s", err.text);
    expect_text(conf->listen.amqp.items[0].text, "[::1]:5672");
    snprintf(room[1], sizeof room[1], "RABBITMQ_NODE_IP_ADDRESS=a b");
    refuses("", "environment RABBITMQ_NODE_IP_ADDRESS: that is no host name or address");
}

Test(broker_conf, reads_the_default_file_only_if_it_is_there)
{
    args.default_file = "/nonexistent/warren-broker.conf";
    cr_assert(load(NULL), "%s", err.text);
    cr_expect(conf->file == NULL);
    cr_assert(load("[node]\nthreads = 2\n"));
    args.default_file = path;
    args.file = NULL;
    cr_assert(load(NULL));
    expect_text(conf->file, path);
    cr_expect(eq(u64, conf->node.threads, 2));
    args.file = "/nonexistent/x";
    refuses(NULL, "/nonexistent/x: cannot be opened: No such file or directory");
}

Test(broker_conf, is_counted)
{
    cr_assert(load(""));
    struct broker_conf *other = broker_conf_ref(conf);
    broker_conf_unref(&conf);
    cr_expect(conf == NULL);
    expect_text(other->node.name, "r@h");
    broker_conf_unref(&other);
    broker_conf_unref(&other);
}

Test(broker_conf, describes_every_directive)
{
    struct text out;
    text_init(&out, 1 << 16);
    broker_conf_describe(&out);
    cr_expect(not(out.cut));
    for (size_t i = 0; i < broker_conf_schema.directive_count; i++) {
        const struct conf_directive *d = &broker_conf_schema.directives[i];
        char line[128];
        snprintf(line, sizeof line, "\n#%s = %s\n", d->key, conf_default_text(d));
        cr_expect(strstr(out.ptr, line) != NULL, "%s", line);
        cr_expect(d->help != NULL && conf_default_text(d)[0] != '\0');
    }
    cr_expect(load(out.ptr), "%s", err.text);
    text_fini(&out);
}

/* Every default, written out, is what one gets without it. */
Test(broker_conf, means_by_its_defaults_what_it_shows)
{
    struct text out;
    text_init(&out, 1 << 16);
    const char *section = "";
    for (size_t i = 0; i < broker_conf_schema.directive_count; i++) {
        const struct conf_directive *d = &broker_conf_schema.directives[i];
        if (strcmp(d->section, section) != 0)
            text_put(&out, "[%s]\n", d->section);
        section = d->section;
        if (d->shown == NULL)
            text_put(&out, "%s = %s\n", d->key, conf_default_text(d));
    }
    cr_assert(load(NULL), "%s", err.text);
    struct broker_conf *plain = broker_conf_ref(conf);
    cr_assert(load(out.ptr), "%s", err.text);
    cr_expect(eq(u64, conf->node.threads, plain->node.threads));
    cr_expect(eq(int, conf->listen.amqp.items[0].port, plain->listen.amqp.items[0].port));
    cr_expect(eq(u64, conf->limits.memory_bytes, plain->limits.memory_bytes));
    cr_expect(eq(u64, conf->limits.heartbeat_s, plain->limits.heartbeat_s));
    cr_expect(eq(u64, conf->store.segment_bytes, plain->store.segment_bytes));
    cr_expect(eq(int, (int)conf->log.level, (int)plain->log.level));
    broker_conf_unref(&plain);
    text_fini(&out);
}

static void loads_file(const char *name)
{
    const char *srcdir = getenv("srcdir");
    char file[4096];
    snprintf(file, sizeof file, "%s/conf/%s", srcdir != NULL ? srcdir : "..", name);
    args.file = file;
    cr_expect(load(NULL), "%s", err.text);
}

Test(broker_conf, loads_the_files_it_is_shipped_with)
{
    loads_file("warren-broker.conf");
    loads_file("min/warren-broker.conf");
}
