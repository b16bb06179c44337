#include "proxy_conf_table.h"

#include "base/log.h"
#include "io/nets.h"
#include "proxy_words.h"
#include "rabbit_conf.h"

#include <string.h>

/* ---- values that need more than a type ------------------------------------------------------- */

/* The default, written out. */
static bool is_word(const struct conf_value *value, const char *word)
{
    return value->words.count == 1 && strcmp(value->words.items[0], word) == 0;
}

static bool set_stats_socket(void *instance, const struct conf_value *value, struct err *err)
{
    struct root *r = instance;
    const struct conf_list *w = &value->words;
    if (is_word(value, "none"))
        return true;
    if (w->count == 0 || w->items[0][0] != '/')
        return err_set(err, ERR_CONFIG,
                       "is a path: stats-socket = /run/warren/proxy.sock mode 600");
    r->global.socket_path = w->items[0];
    r->global.socket_mode = 0600;
    for (size_t i = 1; i < w->count; i += 2) {
        if (i + 1 == w->count)
            return err_set(err, ERR_CONFIG, "%s needs a value", w->items[i]);
        const char *text = w->items[i + 1];
        if (strcmp(w->items[i], "level") == 0 && strcmp(text, "admin") == 0)
            continue; /* there is no other level; the file's mode says who may connect */
        size_t n = strlen(text);
        if (strcmp(w->items[i], "mode") != 0 || n < 3 || n > 4 || strspn(text, "01234567") != n)
            return err_set(err, ERR_CONFIG, "after the path comes: mode 600");
        r->global.socket_mode = 0;
        for (size_t k = 0; k < n; k++)
            r->global.socket_mode = r->global.socket_mode * 8 + (unsigned)(text[k] - '0');
    }
    return true;
}

static bool set_log(void *instance, const struct conf_value *value, struct err *err)
{
    struct root *r = instance;
    const struct conf_list *w = &value->words;
    enum log_level level = LOG_LEVEL_INFO;
    if (w->count == 0 || w->count > 2)
        return err_set(err, ERR_CONFIG, "is a target and a level: log = stderr info");
    const char *target = w->items[0];
    if (strcmp(target, "stderr") != 0 && strcmp(target, "syslog") != 0 && target[0] != '/')
        return err_set(err, ERR_CONFIG, "goes to stderr, syslog or a file's path");
    if (w->count == 2 && !log_level_of(w->items[1], &level))
        return err_set(err, ERR_CONFIG, "level is one of error, warn, info, debug and trace");
    r->global.log_target = target;
    r->global.log_level = (unsigned)level;
    return true;
}

static bool read_options(const struct conf_value *value, enum own_check *out,
                         struct own_splice *splice, struct err *err)
{
    for (size_t i = 0; i < value->words.count; i++) {
        const char *word = value->words.items[i];
        if (strcmp(word, "amqp-check") == 0)
            *out = CHECK_AMQP;
        else if (strcmp(word, "tcp-check") == 0)
            *out = CHECK_TCP;
        else if (strcmp(word, "splice-auto") == 0)
            splice->request = splice->response = true;
        else if (strcmp(word, "splice-request") == 0)
            splice->request = true;
        else if (strcmp(word, "splice-response") == 0)
            splice->response = true;
        else
            return err_set(err, ERR_CONFIG,
                           "is amqp-check, tcp-check, splice-auto, splice-request or "
                           "splice-response");
    }
    return true;
}

static bool set_defaults_option(void *instance, const struct conf_value *value, struct err *err)
{
    struct defaults *d = instance;
    return read_options(value, &d->check, &d->splice, err);
}

static bool set_option(void *instance, const struct conf_value *value, struct err *err)
{
    struct part *p = instance;
    return read_options(value, &p->check, &p->splice, err);
}

static bool balance_of(const struct conf_value *value, enum balance_kind *out, bool *by_master,
                       struct err *err)
{
    *by_master = strcmp(value->text, "queue-master") == 0;
    static const struct {
        const char *word;
        enum balance_kind kind;
    } words[] = {
#define X(NAME, word) { word, BALANCE_##NAME },
        BALANCE_KINDS(X)
#undef X
            { "queue-master", BALANCE_ROUNDROBIN },
    };
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (strcmp(value->text, words[i].word) == 0) {
            *out = words[i].kind;
            return true;
        }
    }
    return err_set(err, ERR_CONFIG,
                   "is one of roundrobin, leastconn, first, random and queue-master");
}

static bool set_defaults_balance(void *instance, const struct conf_value *value, struct err *err)
{
    struct defaults *d = instance;
    return balance_of(value, &d->balance, &d->by_master, err);
}

static bool set_balance(void *instance, const struct conf_value *value, struct err *err)
{
    struct part *p = instance;
    return balance_of(value, &p->back.balance, &p->by_master, err);
}

static bool set_discover(void *instance, const struct conf_value *value, struct err *err)
{
    struct part *p = instance;
    const char *how = value->words.count != 0 ? value->words.items[0] : "";
    if (is_word(value, "off"))
        return true;
    bool is_gossip = strcmp(how, "gossip") == 0;
    if (!is_gossip && strcmp(how, "rabbitmq") != 0)
        return err_set(err, ERR_CONFIG, "is gossip, or rabbitmq and a URL, or left out");
    p->discover = is_gossip ? PROXY_DISCOVER_GOSSIP : PROXY_DISCOVER_RABBIT;
    if (!is_gossip)
        return rabbit_conf_of(value, &p->rabbit, err);
    return value->words.count == 1 || err_set(err, ERR_CONFIG, "gossip stands alone");
}

static bool set_bind(void *instance, const struct conf_value *value, struct err *err)
{
    struct frontend_conf *f = &((struct part *)instance)->front;
    if (f->bind_count == PROXY_CONF_BINDS_MAX)
        return err_set(err, ERR_CONFIG, "at most %u in one section", PROXY_CONF_BINDS_MAX);
    if (f->binds == NULL)
        f->binds = conf_store_alloc(value->store, PROXY_CONF_BINDS_MAX * sizeof *f->binds);
    if (!proxy_words_bind(value, &f->binds[f->bind_count], err))
        return false;
    f->bind_count++;
    return true;
}

static bool set_limit(void *instance, const struct conf_value *value, struct err *err)
{
    return is_word(value, "none") ||
           proxy_words_limit(value, &((struct part *)instance)->front, err);
}

static bool set_default_server(void *instance, const struct conf_value *value, struct err *err)
{
    return proxy_words_default_server(value, &((struct part *)instance)->default_server, err);
}

static bool set_defaults_server(void *instance, const struct conf_value *value, struct err *err)
{
    return proxy_words_default_server(value, &((struct defaults *)instance)->default_server, err);
}

static bool set_server(void *instance, const struct conf_value *value, struct err *err)
{
    struct part *p = instance;
    struct backend_conf *b = &p->back;
    if (b->server_count == BALANCE_SERVERS_MAX)
        return err_set(err, ERR_CONFIG, "at most %u in one section", BALANCE_SERVERS_MAX);
    if (b->servers == NULL)
        b->servers = conf_store_alloc(value->store, BALANCE_SERVERS_MAX * sizeof *b->servers);
    struct server_conf *s = &b->servers[b->server_count];
    *s = p->default_server;
    if (!proxy_words_server(value, s, err))
        return false;
    for (unsigned i = 0; i < b->server_count; i++) {
        if (strcmp(b->servers[i].name, s->name) == 0)
            return err_set(err, ERR_CONFIG, "there is a server %s already, in %s", s->name,
                           b->servers[i].where);
    }
    b->server_count++;
    return true;
}

static bool set_stats_auth(void *instance, const struct conf_value *value, struct err *err)
{
    const char *colon = strchr(value->text, ':');
    if (strcmp(value->text, "none") == 0)
        return true;
    if (colon == NULL || colon == value->text || colon[1] == '\0')
        return err_set(err, ERR_CONFIG, "is USER:PASSWORD");
    ((struct part *)instance)->front.stats_auth = value->text;
    return true;
}

static bool set_stats_allow(void *instance, const struct conf_value *value, struct err *err)
{
    struct frontend_conf *f = &((struct part *)instance)->front;
    for (size_t i = 0; i < value->words.count; i++) {
        struct net net;
        if (!net_of(value->words.items[i], &net, err))
            return false;
    }
    f->stats_allow = value->words;
    return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

#define MODE_WORDS   "amqp|tcp|http"
#define LEGS_WORDS   "channel|session"
#define ACCESS_WORDS "on|trouble|off"
#define HOUR_MS      (3600u * 1000u)

#define TIMEOUT_ROW(kind, type_, word, member, fallback_, shown_, help_)                           \
    {                                                                                              \
        .section = (kind), .key = (word), .type = CONF_DURATION,                                   \
        .offset = CONF_FIELD(type_, timeout.member), .fallback = (fallback_), .shown = (shown_),   \
        .min = 1, .max = 24 * HOUR_MS, .help = (help_)                                             \
    }

#define FRONT_ROWS(kind)                                                                           \
    { .section = (kind),                                                                           \
      .key = "bind",                                                                               \
      .type = CONF_WORDS,                                                                          \
      .flags = CONF_MANY,                                                                          \
      .set = set_bind,                                                                             \
      .help =                                                                                      \
          "Where to accept: ADDRESS [ssl crt FILES [strict-sni] [alpn NAME] "                      \
          "[verify required|optional ca-file FILE] [ssl-min-ver TLSv1.3]] "                        \
          "[accept-proxy [trust NETWORKS]]. Each of FILES, with commas between, holds a "          \
          "certificate and its key, or is a folder of such files *.pem; a client is shown the "    \
          "one for the name that it asks for, else the first, or none with strict-sni." },         \
        { .section = (kind),                                                                       \
          .key = "maxconn",                                                                        \
          .type = CONF_U64,                                                                        \
          .offset = CONF_FIELD(struct part, maxconn),                                              \
          .shown = "as in [global]",                                                               \
          .min = 1,                                                                                \
          .max = 10 * 1000 * 1000,                                                                 \
          .help = "Clients at a time; further ones wait in the system's backlog." },               \
        TIMEOUT_ROW(kind, struct part, "timeout-handshake", handshake, NULL, "as in [defaults]",   \
                    "From accepting a client to its open connection, the broker's part not "       \
                    "counted."),                                                                   \
        { .section = (kind),                                                                       \
          .key = "limit",                                                                          \
          .type = CONF_WORDS,                                                                      \
          .flags = CONF_MANY,                                                                      \
          .set = set_limit,                                                                        \
          .shown = "none",                                                                         \
          .help = "source|user|vhost [connections N] [channels N] [rate N/TIME] [messages "        \
                  "N/TIME] [bytes SIZE/TIME] [alarm]: what each address, user or vhost may have "  \
                  "here, how many connections it may make in that time, and how many messages it " \
                  "may publish, or bytes of messages: who is faster is read from later. alarm: "   \
                  "nobody "                                                                        \
                  "is refused or slowed down, but it is logged and counted; a second line of the " \
                  "same kind may say so. Of mode tcp, connections and rate of source count." },    \
    {                                                                                              \
        .section = (kind), .key = "access-log", .type = CONF_CHOICE,                               \
        .offset = CONF_FIELD(struct part, front.access), .fallback = "on",                         \
        .choices = ACCESS_WORDS,                                                                   \
        .help = "on: a line in the log, at level info, for each session at its end, and for "      \
                "each broker that it loses. trouble: not for those that ended as their client "    \
                "wished. off: none."                                                               \
    }

#define BACK_ROWS(kind)                                                                            \
    { .section = (kind),                                                                           \
      .key = "balance",                                                                            \
      .type = CONF_STRING,                                                                         \
      .set = set_balance,                                                                          \
      .shown = "as in [defaults]",                                                                 \
      .help =                                                                                      \
          "Who is next: roundrobin, leastconn, first or random. queue-master: the server that "    \
          "masters the queue, if it is known, else as roundrobin; a channel that reads queues "    \
          "of several masters goes to each of them, and one that publishes to an exchange to "     \
          "where brokers say that this lands, as gossip finds them." },                            \
        { .section = (kind),                                                                       \
          .key = "legs",                                                                           \
          .type = CONF_CHOICE,                                                                     \
          .offset = CONF_FIELD(struct part, back.legs),                                            \
          .fallback = "channel",                                                                   \
          .choices = LEGS_WORDS,                                                                   \
          .help = "channel: each channel of a client goes to a server of its own choice. "         \
                  "session: all of them to one, which halves the connections of clients with "     \
                  "several channels." },                                                           \
        { .section = (kind),                                                                       \
          .key = "discover",                                                                       \
          .type = CONF_WORDS,                                                                      \
          .flags = CONF_SECRET,                                                                    \
          .set = set_discover,                                                                     \
          .shown = "off",                                                                          \
          .help =                                                                                  \
              "gossip: the cluster's nodes, too, are servers, with the words of default-server; "  \
              "they appear and go by themselves. Needs [global] gossip. rabbitmq URL [URL...] "    \
              "[inter 1s] [timeout 10s] [ca-file FILE] [verify none]: the same for a RabbitMQ "    \
              "cluster, as its management API tells at http://USER:PASSWORD@HOST:15672, or "       \
              "https; the URLs are tried in turn. The user needs the tag monitoring, and "         \
              "permissions in the vhosts whose queues are to be known." },                         \
        { .section = (kind),                                                                       \
          .key = "default-server",                                                                 \
          .type = CONF_WORDS,                                                                      \
          .flags = CONF_MANY,                                                                      \
          .set = set_default_server,                                                               \
          .help = "Words for the servers that follow." },                                          \
        { .section = (kind),                                                                       \
          .key = "server",                                                                         \
          .type = CONF_WORDS,                                                                      \
          .flags = CONF_MANY,                                                                      \
          .set = set_server,                                                                       \
          .help = "NAME HOST:PORT [check] [inter 2s] [fastinter T] [downinter T] [fall 3] "        \
                  "[rise 2] [port CHECKPORT] [weight 1] [maxconn N] [slowstart T] [backup] "       \
                  "[disabled] [send-proxy|send-proxy-v2|send-proxy-v2-ssl|send-proxy-v2-ssl-cn] "  \
                  "[ssl [verify none] [ca-file FILE] [crt FILE] [sni NAME]]. A broker "            \
                  "that gossip knows at that address hears of a client without send-proxy-v2." },  \
        { .section = (kind),                                                                       \
          .key = "option",                                                                         \
          .type = CONF_WORDS,                                                                      \
          .flags = CONF_MANY,                                                                      \
          .set = set_option,                                                                       \
          .shown = "as in [defaults]",                                                             \
          .help =                                                                                  \
              "amqp-check: a server is up when it answers with connection.start. tcp-check: "      \
              "when it accepts. Of mode tcp: splice-auto moves what comes in bulk from socket "    \
              "to socket within the kernel, splice-request only what clients send, and "           \
              "splice-response what servers do; where TLS is spoken it is copied." },              \
        TIMEOUT_ROW(kind, struct part, "timeout-connect", connect, NULL, "as in [defaults]",       \
                    "For a connection to a server to be made."),                                   \
        TIMEOUT_ROW(                                                                               \
            kind, struct part, "timeout-failover", failover, NULL, "as in [defaults]",             \
            "How long a client waits while no server is there, or its queue has no master."),      \
        TIMEOUT_ROW(kind, struct part, "timeout-check", check, NULL, "as in [defaults]",           \
                    "For a check, from connecting to its end."),                                   \
        TIMEOUT_ROW(kind, struct part, "timeout-tunnel", idle, NULL, "as in [defaults]",           \
                    "mode tcp: a relay on which nothing moves is closed.")

#define MODE_ROW(kind)                                                                             \
    {                                                                                              \
        .section = (kind), .key = "mode", .type = CONF_CHOICE,                                     \
        .offset = CONF_FIELD(struct part, mode), .shown = "as in [defaults]",                      \
        .choices = MODE_WORDS,                                                                     \
        .help = "amqp: the proxy speaks AMQP with both sides. tcp: octets pass as they are. "      \
                "http: the proxy's own pages."                                                     \
    }

#define STATS_ROWS(kind)                                                                           \
    { .section = (kind),                                                                           \
      .key = "stats-uri",                                                                          \
      .type = CONF_STRING,                                                                         \
      .offset = CONF_FIELD(struct part, front.stats_uri),                                          \
      .fallback = "/stats",                                                                        \
      .help = "mode http: the page's path; ;csv behind it gives the table for programs, ;queues "  \
              "the list of queues, which a broker that gossip knows is asked for. /api (JSON), "   \
              "/metrics and /health are where they are." },                                        \
        { .section = (kind),                                                                       \
          .key = "stats-auth",                                                                     \
          .type = CONF_STRING,                                                                     \
          .flags = CONF_SECRET,                                                                    \
          .set = set_stats_auth,                                                                   \
          .shown = "none",                                                                         \
          .help = "USER:PASSWORD of the pages." },                                                 \
        { .section = (kind),                                                                       \
          .key = "stats-allow",                                                                    \
          .type = CONF_LIST,                                                                       \
          .set = set_stats_allow,                                                                  \
          .shown = "127.0.0.0/8, ::1 without stats-auth, else all",                                \
          .help = "Networks that may see the pages." },                                            \
    {                                                                                              \
        .section = (kind), .key = "stats-refresh", .type = CONF_DURATION,                          \
        .offset = CONF_FIELD(struct part, front.stats_refresh_ms), .fallback = "5s", .min = 1000,  \
        .max = HOUR_MS, .help = "How often the page loads itself again."                           \
    }

static const struct conf_directive directives[] = {
    { .section = "global",
      .key = "nbthread",
      .type = CONF_U64,
      .offset = CONF_FIELD(struct root, global.nbthread),
      .fallback = "auto",
      .zero = "auto",
      .min = 1,
      .max = PROXY_CONF_THREADS_MAX,
      .help = "Threads that carry sessions. auto: one less than there are processors, for checks "
              "and pages have a thread of their own." },
    { .section = "global",
      .key = "maxconn",
      .type = CONF_U64,
      .offset = CONF_FIELD(struct root, global.maxconn),
      .fallback = "20000",
      .min = 1,
      .max = 10 * 1000 * 1000,
      .help = "Clients at a time, in all. Lowered, with a warning, when the limit of open files "
              "cannot carry it." },
    { .section = "global",
      .key = "stats-socket",
      .type = CONF_WORDS,
      .set = set_stats_socket,
      .shown = "none",
      .help = "The socket for runtime commands: PATH [mode 600]." },
    { .section = "global",
      .key = "cookie-file",
      .type = CONF_STRING,
      .offset = CONF_FIELD(struct root, global.cookie_file),
      .zero = "none",
      .help = "The cluster's cookie: proves to Warren's brokers who sends the client's address." },
    { .section = "global",
      .key = "gossip",
      .type = CONF_ADDRESS,
      .offset = CONF_FIELD(struct root, global.gossip),
      .zero = "none",
      .help =
          "The port of the proxy's own gossip, TCP and UDP, by which it knows the cluster. Needs "
          "cookie-file and gossip-seed." },
    { .section = "global",
      .key = "gossip-seed",
      .type = CONF_ADDRESSES,
      .offset = CONF_FIELD(struct root, global.gossip_seeds),
      .zero = "none",
      .help = "Brokers to ask first: their cluster ports. Others become known by themselves." },
    { .section = "global",
      .key = "log",
      .type = CONF_WORDS,
      .set = set_log,
      .fallback = "stderr info",
      .help = "stderr, syslog or a file's path, and the level: error, warn, info, debug, trace." },

    { .section = "defaults",
      .key = "mode",
      .type = CONF_CHOICE,
      .offset = CONF_FIELD(struct defaults, mode),
      .fallback = "amqp",
      .choices = MODE_WORDS,
      .help = "The mode of sections that say nothing else." },
    { .section = "defaults",
      .key = "maxconn",
      .type = CONF_U64,
      .offset = CONF_FIELD(struct defaults, maxconn),
      .shown = "as in [global]",
      .min = 1,
      .max = 10 * 1000 * 1000,
      .help = "Of each frontend that says nothing else." },
    { .section = "defaults",
      .key = "balance",
      .type = CONF_STRING,
      .set = set_defaults_balance,
      .fallback = "roundrobin",
      .help = "Who is next, in backends that say nothing else." },
    { .section = "defaults",
      .key = "option",
      .type = CONF_WORDS,
      .flags = CONF_MANY,
      .set = set_defaults_option,
      .fallback = "amqp-check",
      .help = "How servers of mode amqp are checked: amqp-check or tcp-check. For mode tcp: "
              "splice-auto, splice-request, splice-response, see backends." },
    { .section = "defaults",
      .key = "default-server",
      .type = CONF_WORDS,
      .flags = CONF_MANY,
      .set = set_defaults_server,
      .help = "Words for all servers." },
    { .section = "defaults",
      .key = "replay-max-message",
      .type = CONF_SIZE,
      .offset = CONF_FIELD(struct defaults, replay_max_bytes),
      .fallback = "16M",
      .help = "Larger messages are not kept for a replay. Has no effect yet: nothing is." },
    { .section = "defaults",
      .key = "timeout-drain",
      .type = CONF_DURATION,
      .offset = CONF_FIELD(struct defaults, drain_ms),
      .fallback = "30s",
      .max = 24 * HOUR_MS,
      .help = "After TERM: how long sessions may go on before they are closed with 320." },
    TIMEOUT_ROW("defaults", struct defaults, "timeout-connect", connect, "2s", NULL,
                "For a connection to a server to be made."),
    TIMEOUT_ROW("defaults", struct defaults, "timeout-handshake", handshake, "10s", NULL,
                "From accepting a client to its open connection, the broker's part not counted."),
    TIMEOUT_ROW("defaults", struct defaults, "timeout-failover", failover, "30s", NULL,
                "How long a client waits while no server is there, or its queue has no master."),
    TIMEOUT_ROW("defaults", struct defaults, "timeout-check", check, NULL, "timeout-connect",
                "For a check, from connecting to its end."),
    TIMEOUT_ROW("defaults", struct defaults, "timeout-tunnel", idle, NULL, "none",
                "mode tcp: a relay on which nothing moves is closed."),

    MODE_ROW("backend"),
    BACK_ROWS("backend"),

    MODE_ROW("frontend"),
    FRONT_ROWS("frontend"),
    STATS_ROWS("frontend"),
    { .section = "frontend",
      .key = "default_backend",
      .type = CONF_STRING,
      .offset = CONF_FIELD(struct part, default_backend),
      .help = "The [backend] that serves this frontend." },

    MODE_ROW("listen"),
    FRONT_ROWS("listen"),
    STATS_ROWS("listen"),
    BACK_ROWS("listen"),
};

/* ---- sections -------------------------------------------------------------------------------- */

static void *open_defaults(void *root, const struct conf_value *name, struct err *err)
{
    (void)name;
    (void)err;
    struct defaults *d = &((struct root *)root)->defaults;
    d->default_server = proxy_words_server_defaults();
    return d;
}

static void *open_part(struct root *r, enum part_kind kind, const struct conf_value *name,
                       struct err *err)
{
    if (!proxy_words_name(name->text, err))
        return NULL;
    if (r->part_count == ARRAY_COUNT(r->parts)) {
        err_set(err, ERR_CONFIG, "more than %zu sections", ARRAY_COUNT(r->parts));
        return NULL;
    }
    struct part *p = conf_store_alloc(name->store, sizeof *p);
    p->kind = kind;
    p->name = name->text;
    p->where = name->where;
    p->mode = r->defaults.mode;
    p->maxconn = r->defaults.maxconn;
    p->timeout = r->defaults.timeout;
    p->default_server = r->defaults.default_server;
    p->back.balance = r->defaults.balance;
    p->by_master = r->defaults.by_master;
    r->parts[r->part_count++] = p;
    return p;
}

static void *open_backend(void *root, const struct conf_value *name, struct err *err)
{
    return open_part(root, PART_BACKEND, name, err);
}

static void *open_frontend(void *root, const struct conf_value *name, struct err *err)
{
    return open_part(root, PART_FRONTEND, name, err);
}

static void *open_listen(void *root, const struct conf_value *name, struct err *err)
{
    return open_part(root, PART_LISTEN, name, err);
}

static const struct conf_section sections[] = {
    { .kind = "global", .offset = 0, .help = "The process." },
    { .kind = "defaults", .open = open_defaults, .help = "What the sections below inherit." },
    { .kind = "backend",
      .named = true,
      .open = open_backend,
      .help = "Servers.",
      .example_name = "rabbits",
      .example = "server = rabbit1 10.0.0.1:5672 check\n" },
    { .kind = "frontend",
      .named = true,
      .open = open_frontend,
      .help = "Where clients come in.",
      .example_name = "amqp",
      .example = "bind = :5672\ndefault_backend = rabbits\n" },
    { .kind = "listen",
      .named = true,
      .open = open_listen,
      .help = "A frontend and its backend in one, or, in mode http, the proxy's own pages.",
      .example_name = "stats",
      .example = "bind = 127.0.0.1:8404\nmode = http\n" },
};

const struct conf_schema *proxy_conf_schema(void)
{
    static const struct conf_schema schema = {
        .sections = sections,
        .section_count = ARRAY_COUNT(sections),
        .directives = directives,
        .directive_count = ARRAY_COUNT(directives),
    };
    return &schema;
}
