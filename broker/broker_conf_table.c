/* The directives of warren-broker, one row each, and what they must say: see broker_conf.h. */
#include "broker_conf.h"

#include "base/check.h"
#include "io/host.h"
#include "io/nets.h"

#include <string.h>

#define NAME_MAX_OCTETS 200u

/* ---- what single directives and sections must say ---- */

static bool is_name_text(const char *s, size_t n, const char *also)
{
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr(also, c) != NULL))
            return false;
    }
    return n != 0;
}

/* NAME or NAME@HOST. The name becomes that of a folder and travels in many messages. */
static bool set_name(void *instance, const struct conf_value *v, struct err *err)
{
    struct broker_conf *c = instance;
    const char *at = strchr(v->text, '@');
    size_t n = at != NULL ? (size_t)(at - v->text) : strlen(v->text);
    bool ok = strlen(v->text) <= NAME_MAX_OCTETS && v->text[0] != '.' &&
              is_name_text(v->text, n, "_-.") &&
              (at == NULL || is_name_text(at + 1, strlen(at + 1), "_-.:"));
    if (!ok)
        return err_set(err, ERR_CONFIG,
                       "a node's name is NAME or NAME@HOST, in letters, digits and \"_-.\"");
    char host[256];
    host_short_name(host, sizeof host);
    c->node.name = at != NULL ? v->text : conf_store_put(v->store, "%s@%s", v->text, host);
    return true;
}

/* ---- the directives ---- */

#define KEY(kind, name) .section = #kind, .key = (name)
#define AT(member)      .offset = CONF_FIELD(struct broker_conf, member)

static const struct conf_directive directives[] = {
    { KEY(node, "name"), .type = CONF_STRING, .set = set_name, .shown = "rabbit@HOST",
      .help = "The node's name, NAME@HOST; without @HOST the short name of this host is added. "
              "Several nodes of one host need different names." },
    { KEY(node, "data-dir"), AT(node.data_dir), .type = CONF_STRING, .shown = "/var/lib/warren",
      .help = "Where the node keeps its data, in a folder of its name. Where that default cannot "
              "be written to (a node that is started by hand), it is ~/.warren." },
    { KEY(node, "type"), AT(node.type), .type = CONF_CHOICE, .choices = "disc|ram|witness",
      .fallback = "disc",
      .help = "disc: keeps metadata on disk and votes. ram: keeps them in memory only. witness: "
              "votes but holds no queues." },
    { KEY(node, "threads"), AT(node.threads), .type = CONF_U64, .zero = "auto", .fallback = "auto",
      .min = 1, .max = 256,
      .help = "Threads that serve connections and queues. auto: one less than the cores that "
              "the process may use, at least 1." },

    { KEY(listen, "amqp"), AT(listen.amqp), .type = CONF_ADDRESSES, .zero = "none",
      .fallback = ":5672",
      .help = "Where AMQP clients connect. :5672 is every address of this host." },
    { KEY(listen, "amqps"), AT(listen.amqps), .type = CONF_ADDRESSES, .zero = "none",
      .fallback = "none",
      .help = "Where AMQP clients connect with TLS, usually :5671. Needs a certificate, see "
              "[tls]; there is none by default, hence no listener." },
    { KEY(listen, "management"), AT(listen.management), .type = CONF_ADDRESSES, .zero = "none",
      .fallback = ":15672", .help = "The management API and page, and /metrics." },
    { KEY(listen, "management-tls"), AT(listen.management_tls), .type = CONF_ADDRESSES,
      .zero = "none", .fallback = "none",
      .help = "The same with TLS, usually :15671. Needs a certificate, see [tls]." },
    { KEY(listen, "cluster"), AT(listen.cluster), .type = CONF_ADDRESSES, .zero = "none",
      .fallback = ":25672",
      .help =
          "Where other nodes connect (TCP for replication, UDP for gossip on the same number), and "
          "warrenctl from elsewhere. Who connects must prove that it knows the cookie." },
    { KEY(listen, "proxy-protocol"), AT(listen.proxy_protocol), .type = CONF_LIST, .zero = "off",
      .fallback = "off",
      .help =
          "Networks (10.0.0.0/8, ::1/128) whose connections begin with a PROXY header. Off, "
          "because who may send that header may claim to be anybody. Warren's own proxy "
          "needs no entry: it proves itself with the cookie; but where addresses are translated "
          "on the way, only proxies in these networks can tell whom a client's certificate "
          "names." },

    { KEY(cluster, "cookie-file"), AT(cluster.cookie_file), .type = CONF_STRING,
      .shown = "/var/lib/warren/.cookie",
      .help = "The secret that nodes and proxies of one cluster share: the file's octets, exactly, "
              "mode 0400 or 0600. It is made when it is not there. A node that is started by hand "
              "uses ~/.warren.cookie." },
    { KEY(cluster, "seeds"), AT(cluster.seeds), .type = CONF_ADDRESSES, .zero = "none",
      .fallback = "none",
      .help = "Cluster ports of the cluster's nodes, the same list on each: a new node asks there "
              "and joins by itself; where nobody has a cluster yet, the first of the list begins "
              "one. A node that knows its cluster does not need them." },
    { KEY(cluster, "failover-mode"), AT(cluster.failover_mode), .type = CONF_CHOICE,
      .choices = "transparent|cancel", .fallback = "transparent",
      .help = "What a consumer notices when another node becomes the master of its mirrored queue. "
              "transparent: nothing but a pause. cancel: basic.cancel, for programs written for "
              "RabbitMQ's way." },
    { KEY(cluster, "minority-close-after"), AT(cluster.minority_close_after_ms),
      .type = CONF_DURATION, .fallback = "30s",
      .help =
          "On a node that has been cut off from the majority for so long, connections that wait "
          "for a node out of reach are closed, so that they go elsewhere. Those that use "
          "queues within reach go on." },
    { KEY(cluster, "start-grace"), AT(cluster.start_grace_ms), .type = CONF_DURATION,
      .fallback = "10s",
      .help =
          "How long the first of the seeds waits for the others to say whether there is a "
          "cluster, before it begins one alone; and, after stop_cluster, how long nodes that do "
          "not come back are waited for." },
    { KEY(cluster, "drain-timeout"), AT(cluster.drain_timeout_ms), .type = CONF_DURATION,
      .fallback = "60s",
      .help = "How long an orderly stop may take to hand queues and clients over." },
    { KEY(cluster, "claim-grace"), AT(cluster.claim_grace_ms), .type = CONF_DURATION,
      .fallback = "3s",
      .help = "How long a new master waits for the proxies to claim what their clients still "
              "hold before it delivers those messages again. Has no effect yet." },
    { KEY(cluster, "rebalance"), AT(cluster.rebalances), .type = CONF_BOOL, .fallback = "off",
      .help =
          "Masters of mirrored queues are spread over the nodes by the cluster itself, a few in "
          "a second, when all nodes have been up for a minute; off: when 'warrenctl rebalance' "
          "says so. The node that leads the cluster follows its own." },
    { KEY(cluster, "publish-lanes"), AT(cluster.publish_lanes), .type = CONF_CHOICE,
      .choices = "channel|destination", .fallback = "channel",
      .help = "channel: all publishes of a channel take one way, in order. destination: one way "
              "for each node that masters a queue, faster, ordered only for each queue. Has no "
              "effect yet." },
    { KEY(cluster, "deliver-after-replication"), AT(cluster.deliver_after_replication),
      .type = CONF_BOOL, .fallback = "on",
      .help =
          "A message is delivered only after all in-sync mirrors have it, on disk if it is to be "
          "confirmed then, so that nobody ever saw a message that a failover lost, and one that "
          "comes twice is marked as redelivered. That costs a delivery what a confirm takes. One "
          "that may not wait (expiration 0) does not, and one that waits for longer than its TTL "
          "expires. off: it is delivered at once." },

    { KEY(tls, "cert"), AT(tls.cert), .type = CONF_STRING, .zero = "none",
      .help = "The node's certificate and its chain, PEM." },
    { KEY(tls, "key"), AT(tls.key), .type = CONF_STRING, .zero = "none",
      .help = "Its private key, PEM; none: it is in the file of the certificate." },
    { KEY(tls, "ca"), AT(tls.ca), .type = CONF_STRING, .zero = "none",
      .help = "Whose certificates are trusted, PEM; none: those that the system trusts." },
    { KEY(tls, "verify"), AT(tls.verify), .type = CONF_CHOICE, .choices = "none|peer|optional",
      .fallback = "none",
      .help = "peer: clients must show a certificate that ca vouches for. optional: one that is "
              "shown must be such a one, but a client may show none, and log in by password. The "
              "same holds for links to other nodes: with peer or optional the node shows its "
              "certificate there, which must be good for both ends of a connection, and with peer "
              "it demands one. With none they have one that is made at the start, and are proven "
              "by the cookie, as all of them are. Proxies and warrenctl need no certificate." },
    { KEY(tls, "min-version"), AT(tls.min_version), .type = CONF_CHOICE, .choices = "1.2|1.3",
      .fallback = "1.2", .help = "The oldest version of TLS that is spoken." },

    { KEY(auth, "mechanisms"), AT(auth.mechanisms), .type = CONF_LIST,
      .fallback = "AMQPLAIN, PLAIN",
      .help =
          "SASL mechanisms that clients are offered: PLAIN, AMQPLAIN, and EXTERNAL, which takes "
          "the name in a client's certificate for its login. EXTERNAL is offered only where "
          "the client has shown a certificate: one that [tls] ca vouches for, or, at a "
          "warren-proxy with the cluster's cookie, one that is good there." },
    { KEY(auth, "loopback-users"), AT(auth.loopback_users), .type = CONF_LIST, .zero = "none",
      .fallback = "guest",
      .help = "Users who may log in from this host alone, because everybody knows their "
              "password." },
    { KEY(auth, "login-timeout"), AT(auth.login_timeout_ms), .type = CONF_DURATION,
      .fallback = "10s", .min = 100, .max = 3600000,
      .help = "How long a client may take from its first octet until its connection is open." },
    { KEY(auth, "login-from"), AT(auth.login_from), .type = CONF_CHOICE,
      .choices = "distinguished-name|common-name|subject-alternative-name",
      .fallback = "distinguished-name",
      .help =
          "What of its certificate is the name of a client that logs in by EXTERNAL: the whole "
          "subject, such as CN=shop,O=Example, its common name, or the first DNS name among the "
          "subject's alternative ones." },
    { KEY(auth, "password-hashing"), AT(auth.password_hashing), .type = CONF_CHOICE,
      .choices = "sha256|sha512|md5|pbkdf2", .fallback = "pbkdf2",
      .help = "How new passwords are hashed. pbkdf2 is slow on purpose, and Warren's own: "
              "RabbitMQ cannot import such users. The others are RabbitMQ's. Passwords hashed in "
              "any of these ways are understood." },
    { KEY(auth, "hash-rounds"), AT(auth.rounds), .type = CONF_U64, .fallback = "100000",
      .min = 1000, .max = 10000000,
      .help = "Rounds of pbkdf2: a hundred thousand take about 40 ms of a processor, for the "
              "server and for who guesses." },
    { KEY(auth, "remember"), AT(auth.remember_ms), .type = CONF_DURATION, .zero = "off",
      .fallback = "60s", .min = 1000, .max = 3600000,
      .help = "How long a right password is remembered (a keyed digest of it), so that clients "
              "that connect again and again do not cost a hash each time. A changed password "
              "counts at once." },
    { KEY(auth, "default-user"), AT(auth.default_user), .type = CONF_STRING, .zero = "none",
      .fallback = "guest",
      .help = "The user that a new node has, and may do everything. none: there is no user until "
              "warrenctl adds one." },
    { KEY(auth, "default-pass"), AT(auth.default_pass), .type = CONF_STRING, .flags = CONF_SECRET,
      .fallback = "guest", .help = "Its password." },
    { KEY(auth, "default-vhost"), AT(auth.default_vhost), .type = CONF_STRING, .fallback = "/",
      .help = "The virtual host that a new node has." },
    { KEY(auth, "default-user-tags"), AT(auth.default_tags), .type = CONF_STRING, .zero = "none",
      .fallback = "administrator", .help = "Tags of the default user, between commas." },
    { KEY(auth, "default-configure"), AT(auth.default_configure), .type = CONF_STRING,
      .fallback = ".*", .help = "What the default user may configure in the default vhost." },
    { KEY(auth, "default-write"), AT(auth.default_write), .type = CONF_STRING, .fallback = ".*",
      .help = "What it may write to." },
    { KEY(auth, "default-read"), AT(auth.default_read), .type = CONF_STRING, .fallback = ".*",
      .help = "What it may read from." },

    { KEY(limits, "memory-high-watermark"), AT(limits.memory_high_watermark), .type = CONF_SHARE,
      .fallback = "40%", .min = 16u << 20,
      .help = "Above it publishers are blocked (connection.blocked) until memory is freed. A share "
              "of the memory this process may use, or a size." },
    { KEY(limits, "disk-free-limit"), AT(limits.disk_free_bytes), .type = CONF_SIZE,
      .fallback = "1G",
      .help = "With less room on the data folder's disk publishers are blocked "
              "(connection.blocked); consumers go on, and what they take makes room." },
    { KEY(limits, "channel-max"), AT(limits.channel_max), .type = CONF_U64, .fallback = "2047",
      .min = 1, .max = 65535, .help = "Channels of one connection." },
    { KEY(limits, "frame-max"), AT(limits.frame_max_bytes), .type = CONF_SIZE, .fallback = "131072",
      .min = 4096, .max = 128u << 20,
      .help = "The largest frame: a longer message travels in several. A client may ask for "
              "less. At most a quarter of [store] segment-size." },
    { KEY(limits, "heartbeat"), AT(limits.heartbeat_s), .type = CONF_DURATION, .zero = "off",
      .fallback = "60s", .min = 1000, .max = 65535000,
      .help = "A connection that is silent for twice as long is dead. A client may ask for less." },
    { KEY(limits, "max-message"), AT(limits.max_message_bytes), .type = CONF_SIZE,
      .fallback = "128M", .min = 1024, .max = 2147483647,
      .help = "The largest message; a larger one closes its channel (406)." },
    { KEY(limits, "consumer-timeout"), AT(limits.consumer_timeout_ms), .type = CONF_DURATION,
      .zero = "off", .fallback = "30m", .min = 100, .max = 315360000000,
      .help = "A channel whose client has not acknowledged a message for so long is closed (406), "
              "and what it has goes to others. Queues may have one of their own "
              "(x-consumer-timeout, or policy key consumer-timeout)." },

    { KEY(store, "sync"), AT(store.sync), .type = CONF_CHOICE, .choices = "always|interval|none",
      .fallback = "always",
      .help = "When a persistent message is confirmed. always: when the disk has it, so that "
              "neither a killed process nor a power failure loses it. interval: when the system "
              "has it, which brings it to the disk within sync-interval; a power failure or a "
              "crash of the system may lose that much. none: when the system has it, which "
              "brings it to the disk when it likes." },
    { KEY(store, "sync-interval"), AT(store.interval_ms), .type = CONF_DURATION,
      .fallback = "200ms", .min = 1, .max = 60000,
      .help = "How much a power failure may cost with sync = interval." },
    { KEY(store, "slow-sync"), AT(store.slow_ms), .type = CONF_DURATION, .fallback = "500ms",
      .min = 1, .max = 600000,
      .help = "A sync that takes longer is counted and warned of: confirms wait for it." },
    { KEY(store, "segment-size"), AT(store.segment_bytes), .type = CONF_SIZE, .fallback = "16M",
      .min = 1u << 20, .max = 1u << 30,
      .help = "Size of the journal's files, a multiple of 4k. They are made ahead of time and "
              "used again. Files of another size that are there stay as they are." },

    { KEY(log, "target"), AT(log.target), .type = CONF_CHOICE, .choices = "stderr|file|syslog",
      .fallback = "stderr",
      .help = "Where log lines go; systemd's journal takes stderr. With --detached stderr is the "
              "file: nobody would read it." },
    { KEY(log, "file"), AT(log.file), .type = CONF_STRING, .shown = "DATA-DIR/NAME.log",
      .help = "The file for target = file; opened again by warrenctl rotate_logs and by HUP." },
    { KEY(log, "level"), AT(log.level), .type = CONF_CHOICE,
      .choices = "error|warn|info|debug|trace", .fallback = "info",
      .help = "This and graver lines are written." },
};

/* ---- the sections ---- */

/* What later versions can do is refused, not ignored: who asks for it counts on it. */
static bool close_listen(void *root, void *instance, struct err *err)
{
    struct broker_conf *c = root;
    (void)instance;
    for (size_t i = 0; i < c->listen.proxy_protocol.count; i++) {
        struct net net;
        if (!net_of(c->listen.proxy_protocol.items[i], &net, err))
            return err_context(err, "proxy-protocol");
    }
    return true;
}

static bool close_cluster(void *root, void *instance, struct err *err)
{
    struct broker_conf *c = root;
    (void)instance;
    for (size_t i = 0; i < c->cluster.seeds.count; i++) {
        const struct conf_address *a = &c->cluster.seeds.items[i];
        if (a->kind != CONF_ADDRESS_TCP || a->host[0] == '\0' || a->port == 0)
            return err_set(err, ERR_CONFIG, "seeds: \"%s\" is not the host and port of a node",
                           a->text);
    }
    return true;
}

static bool close_tls(void *root, void *instance, struct err *err)
{
    struct broker_conf *c = root;
    (void)instance;
    if (c->tls.cert == NULL && c->tls.key != NULL)
        return err_set(err, ERR_CONFIG, "key is of no use without cert");
    if (c->tls.verify != BROKER_VERIFY_NONE && c->tls.ca == NULL)
        return err_set(err, ERR_CONFIG, "verify = %s needs ca: whose certificates count",
                       c->tls.verify == BROKER_VERIFY_PEER ? "peer" : "optional");
    return true;
}

static bool close_auth(void *root, void *instance, struct err *err)
{
    struct broker_conf *c = root;
    (void)instance;
    if (c->auth.mechanisms.count == 0)
        return err_set(err, ERR_CONFIG, "mechanisms: at least one is needed");
    for (size_t i = 0; i < c->auth.mechanisms.count; i++) {
        const char *m = c->auth.mechanisms.items[i];
        if (strcmp(m, "PLAIN") != 0 && strcmp(m, "AMQPLAIN") != 0 && strcmp(m, "EXTERNAL") != 0)
            return err_set(err, ERR_CONFIG,
                           "mechanisms: \"%s\" is not known; PLAIN, AMQPLAIN and EXTERNAL are", m);
    }
    if (c->auth.default_user != NULL && c->auth.default_pass[0] == '\0')
        return err_set(err, ERR_CONFIG, "default-pass: nobody can log in with an empty password");
    return true;
}

static bool close_limits(void *root, void *instance, struct err *err)
{
    struct broker_conf *c = root;
    (void)instance;
    /* Still in ms here. It travels in seconds. */
    if (c->limits.heartbeat_s % 1000 != 0)
        return err_set(err, ERR_CONFIG, "heartbeat: it counts whole seconds");
    c->limits.heartbeat_s /= 1000;
    const struct conf_share *share = &c->limits.memory_high_watermark;
    uint64_t memory = host_memory_bytes("");
    if (share->is_fraction && memory == 0)
        return err_set(err, ERR_CONFIG,
                       "memory-high-watermark: this system does not tell how "
                       "much memory it has; give a size");
    c->limits.memory_bytes =
        share->is_fraction ? (uint64_t)(share->fraction * (double)memory) : share->bytes;
    return true;
}

static bool close_store(void *root, void *instance, struct err *err)
{
    struct broker_conf *c = root;
    (void)instance;
    if (c->store.segment_bytes % 4096 != 0)
        return err_set(err, ERR_CONFIG, "segment-size: not a multiple of 4k");
    return true;
}

#define SECTION(name) .kind = (name), .offset = 0

static const struct conf_section sections[] = {
    { SECTION("node"), .help = "This node." },
    { SECTION("listen"), .close = close_listen,
      .help = "Addresses: host:port, :port for every address of the host, [v6]:port; several are "
              "put between commas. \"none\" is no listener." },
    { SECTION("cluster"), .close = close_cluster, .help = "Nodes that belong together." },
    { SECTION("tls"), .close = close_tls,
      .help = "Certificates, for listeners with TLS and, when verify is set, for links to "
              "other nodes." },
    { SECTION("auth"), .close = close_auth, .help = "Who may log in, and how." },
    { SECTION("limits"), .close = close_limits, .help = "How much of everything." },
    { SECTION("store"), .close = close_store, .help = "The journal on disk." },
    { SECTION("log"), .help = "Log lines." },
};

_Static_assert(LOG_LEVEL_ERROR == 0 && LOG_LEVEL_TRACE == 4, "the choices of log.level");

const struct conf_schema broker_conf_schema = { sections, ARRAY_COUNT(sections), directives,
                                                ARRAY_COUNT(directives) };
