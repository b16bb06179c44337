/*
 * proxy_conf: what the configuration file says, checked, in structs.
 *
 * Text stays text here: no name is looked up and no file but the configuration itself is opened.
 * A configuration is immutable once loaded and lives as long as its store.
 */
#ifndef WARREN_PROXY_CONF_H
#define WARREN_PROXY_CONF_H

#include "balance.h"
#include "base/err.h"
#include "base/text.h"
#include "conf/conf.h"
#include "health.h"
#include "quota.h"

#define PROXY_CONF_PROXIES_MAX 64u /* frontends; and as many backends */
#define PROXY_CONF_BINDS_MAX   16u /* of one frontend */
#define PROXY_CONF_THREADS_MAX 64u

enum proxy_mode { PROXY_MODE_AMQP, PROXY_MODE_TCP, PROXY_MODE_HTTP };

/* How the legs of one session are spread. */
enum proxy_legs {
    PROXY_LEGS_CHANNEL, /* each channel by itself */
    PROXY_LEGS_SESSION, /* all channels of a session on one server while it is up */
};

/* How servers are found that are not listed. */
enum proxy_discover {
    PROXY_DISCOVER_NONE,
    PROXY_DISCOVER_GOSSIP, /* the cluster's nodes, by gossip */
    PROXY_DISCOVER_RABBIT, /* a RabbitMQ cluster's, by its management API */
};

/* Which sessions get a line in the log at their end. */
enum proxy_access {
    PROXY_ACCESS_ALL,
    PROXY_ACCESS_TROUBLE, /* those that did not end as their client wished */
    PROXY_ACCESS_OFF,
};

enum proxy_verify {
    PROXY_VERIFY_NONE,
    PROXY_VERIFY_REQUIRED,
    PROXY_VERIFY_OPTIONAL, /* of a bind alone: one who shows no certificate comes in, too */
};

/* bind = ADDRESS [ssl crt FILE ...] [accept-proxy ...] */
struct bind_conf {
    struct conf_address at;
    bool ssl;
    struct conf_list crt; /* files and folders; empty: plain */
    bool strict_sni;
    const char *ca_file;
    const char *alpn;
    const char *min_version; /* "1.2", "1.3" or NULL */
    enum proxy_verify verify;
    bool accept_proxy;      /* a PROXY header comes first */
    struct conf_list trust; /* ... from these networks alone; empty: from all */
    const char *where;
};

/* server = NAME ADDRESS [words]; default-server = words */
struct server_conf {
    const char *name;
    struct conf_address at;
    bool check;
    bool backup;
    bool disabled; /* starts in maintenance */
    bool found;    /* not listed: it appeared by itself, and may go */
    bool ssl;
    bool send_proxy;        /* a PROXY header, version 2 */
    bool send_proxy_v1;     /* ... version 1 */
    bool send_proxy_ssl;    /* version 2, with what is known of the client's TLS session */
    bool send_proxy_ssl_cn; /* ... and the common name in its certificate */
    uint64_t weight;
    uint64_t maxconn; /* 0: none */
    uint64_t check_port;
    uint64_t inter_ms, fastinter_ms, downinter_ms; /* 0: as inter */
    uint64_t rise, fall;
    uint64_t slowstart_ms;
    enum proxy_verify verify;
    const char *ca_file;
    const char *crt; /* our own certificate towards the server */
    const char *sni; /* name to ask for and to verify; NULL: the address's host */
    const char *where;
    struct health_conf health;
};

/* Where a RabbitMQ cluster's management answers. */
struct rabbit_url {
    const char *shown; /* without user and password */
    const char *host;
    uint16_t port;
    bool is_tls;
    const char *path; /* in front of /api; "" or as "/rabbit" */
    const char *user;
    const char *fields; /* lines of a request's head: who asks */
};

#define RABBIT_URLS_MAX 8u

/* discover = rabbitmq URL... [inter 1s] [timeout 10s] [ca-file FILE] [verify none] */
struct rabbit_conf {
    const char *text; /* as written: it has passwords in it */
    const char *where;
    struct rabbit_url urls[RABBIT_URLS_MAX]; /* tried in turn */
    unsigned url_count;
    uint64_t inter_ms;
    uint64_t timeout_ms;
    enum proxy_verify verify;
    const char *ca_file;
};

struct proxy_timeouts { /* ms; 0: not set here */
    uint64_t connect;
    uint64_t handshake;
    uint64_t failover;
    uint64_t check;
    uint64_t idle; /* mode tcp: of a relay in both directions; 0: never */
};

struct backend_conf {
    const char *name;
    enum proxy_mode mode;
    enum balance_kind balance;
    bool by_master; /* to the queue's master, if it is known; else as `balance` says */
    enum proxy_legs legs;
    bool amqp_check;
    bool splice_request;  /* mode tcp: from clients to servers within the kernel; ... */
    bool splice_response; /* ... and back */
    struct proxy_timeouts timeout;
    struct server_conf *servers;
    unsigned server_count;
    enum proxy_discover discover;
    const struct rabbit_conf *rabbit;  /* NULL unless discover = rabbitmq */
    struct server_conf default_server; /* of those that are found */
};

struct frontend_conf {
    const char *name;
    enum proxy_mode mode;
    struct bind_conf *binds;
    unsigned bind_count;
    uint64_t maxconn; /* 0: as [global] */
    enum proxy_access access;
    struct quota_limits limits[QUOTA_KIND_COUNT];
    bool has_limit[QUOTA_KIND_COUNT];
    int backend; /* index; -1 in mode http */
    struct proxy_timeouts timeout;
    const char *stats_uri; /* mode http */
    const char *stats_auth;
    struct conf_list stats_allow;
    uint64_t stats_refresh_ms;
};

struct global_conf {
    uint64_t nbthread; /* 0: auto */
    uint64_t maxconn;
    const char *socket_path; /* NULL: none */
    unsigned socket_mode;
    const char *cookie_file;
    struct conf_address gossip; /* kind NONE: none */
    struct conf_addresses gossip_seeds;
    const char *log_target;
    unsigned log_level; /* enum log_level */
    uint64_t timeout_drain_ms;
};

struct proxy_conf {
    const char *path;
    struct conf_store *store; /* of all that is below */
    struct global_conf global;
    struct frontend_conf *frontends[PROXY_CONF_PROXIES_MAX];
    unsigned frontend_count;
    struct backend_conf *backends[PROXY_CONF_PROXIES_MAX];
    unsigned backend_count;
    struct conf_list warnings; /* what is accepted and yet has no effect, a line each */
};

/* NULL with *err set: one line, "file:line: what". */
MUST_CHECK struct proxy_conf *proxy_conf_load(const char *path, struct err *err);

/* The same from memory; `name` stands for the file in complaints. */
MUST_CHECK struct proxy_conf *proxy_conf_load_text(const char *name, struct slice text,
                                                   struct err *err);
void proxy_conf_free(struct proxy_conf **conf);

/* A commented sample: every directive with its default. */
void proxy_conf_describe(struct text *out);

const char *proxy_mode_word(enum proxy_mode mode);

#endif
