/*
 * broker_conf: what warren-broker was told, checked, in plain fields.
 *
 * A snapshot: built whole from file, environment and command line, never changed, counted, shared
 * among threads, replaced by the next one on a reload. It resolves no name and opens nothing but
 * the file itself.
 */
#ifndef WARREN_BROKER_CONF_H
#define WARREN_BROKER_CONF_H

#include "base/attr.h"
#include "base/log.h"
#include "base/shared.h"
#include "conf/conf.h"

enum broker_node_type { BROKER_NODE_DISC, BROKER_NODE_RAM, BROKER_NODE_WITNESS };
enum broker_failover { BROKER_FAILOVER_TRANSPARENT, BROKER_FAILOVER_CANCEL };
enum broker_lanes { BROKER_LANES_CHANNEL, BROKER_LANES_DESTINATION };
enum broker_verify { BROKER_VERIFY_NONE, BROKER_VERIFY_PEER, BROKER_VERIFY_OPTIONAL };
enum broker_login_from { BROKER_LOGIN_FROM_DN, BROKER_LOGIN_FROM_CN, BROKER_LOGIN_FROM_SAN };
/* The places of enum meta_hashing, see cluster/meta_user.h. */
enum broker_hashing {
    BROKER_HASHING_SHA256,
    BROKER_HASHING_SHA512,
    BROKER_HASHING_MD5,
    BROKER_HASHING_PBKDF2,
};
enum broker_tls_version { BROKER_TLS_1_2, BROKER_TLS_1_3 };
enum broker_sync { BROKER_SYNC_ALWAYS, BROKER_SYNC_INTERVAL, BROKER_SYNC_NONE };
enum broker_log_target { BROKER_LOG_STDERR, BROKER_LOG_FILE, BROKER_LOG_SYSLOG };

struct broker_conf {
    struct shared refs;
    struct conf_store *memory; /* of all texts and lists below */
    const char *file;          /* NULL: none was read */

    struct {
        const char *name;      /* "rabbit@host" */
        const char *data_dir;  /* where the folders of nodes lie */
        const char *data_path; /* this node's own: data_dir/name */
        enum broker_node_type type;
        uint64_t threads; /* at least 1 */
    } node;

    struct {
        struct conf_addresses amqp; /* each list may be empty */
        struct conf_addresses amqps;
        struct conf_addresses management;
        struct conf_addresses management_tls;
        struct conf_addresses cluster;
        struct conf_list proxy_protocol; /* networks; empty: off */
    } listen;

    struct {
        const char *cookie_file;
        struct conf_addresses seeds;
        enum broker_failover failover_mode;
        enum broker_lanes publish_lanes;
        bool deliver_after_replication;
        uint64_t minority_close_after_ms;
        uint64_t start_grace_ms;
        uint64_t drain_timeout_ms;
        uint64_t claim_grace_ms;
        bool rebalances; /* by itself */
    } cluster;

    struct {
        const char *cert; /* NULL: no certificate, no TLS */
        const char *key;  /* NULL: in cert's file */
        const char *ca;   /* NULL: the system's */
        enum broker_verify verify;
        enum broker_tls_version min_version;
    } tls;

    struct {
        struct conf_list mechanisms;     /* "PLAIN", "AMQPLAIN", "EXTERNAL"; at least one */
        struct conf_list loopback_users; /* may be empty */
        uint64_t login_timeout_ms;
        enum broker_login_from login_from;
        enum broker_hashing password_hashing;
        uint64_t rounds;
        uint64_t remember_ms;     /* 0: every login is looked at anew */
        const char *default_user; /* NULL: a new node has none */
        const char *default_pass;
        const char *default_vhost;
        const char *default_tags; /* between commas */
        const char *default_configure;
        const char *default_write;
        const char *default_read;
    } auth;

    struct {
        struct conf_share memory_high_watermark;
        uint64_t memory_bytes; /* what that comes to on this machine */
        uint64_t disk_free_bytes;
        uint64_t channel_max;
        uint64_t frame_max_bytes;
        uint64_t heartbeat_s; /* 0: none */
        uint64_t max_message_bytes;
        uint64_t consumer_timeout_ms; /* 0: none */
    } limits;

    struct {
        enum broker_sync sync;
        uint64_t interval_ms; /* for BROKER_SYNC_INTERVAL */
        uint64_t slow_ms;
        uint64_t segment_bytes;
    } store;

    struct {
        enum broker_log_target target;
        const char *file; /* for BROKER_LOG_FILE */
        enum log_level level;
    } log;
};

struct broker_conf_args {
    const char *file;         /* -c; must be readable. NULL: default_file if it is there */
    const char *default_file; /* NULL: none */
    const char *name;         /* -n, NAME or NAME@HOST; NULL: not given */
    const char *data_dir;     /* --data-dir; NULL: not given */
    char *const *env;         /* environ, or NULL for none */
};

/* One reference, or NULL with *err set: one line, `file:line: what`. The command line wins over
 * WARREN_SECTION_KEY, that over RABBITMQ_..., that over the file. */
MUST_CHECK struct broker_conf *broker_conf_load(const struct broker_conf_args *args,
                                                struct err *err);

struct broker_conf *broker_conf_ref(struct broker_conf *c);

/* *c becomes NULL; the last one frees. NULL is allowed. Any thread. */
void broker_conf_unref(struct broker_conf **c);

/* Every directive with its help and default, as a sample file. */
void broker_conf_describe(struct text *out);

/* Variables WARREN_SECTION_... that name no key: worth a warning, see conf_env_unknown. */
void broker_conf_env_unknown(char *const *env, void (*each)(const char *name, void *arg),
                             void *arg);

extern const struct conf_schema broker_conf_schema;

#endif
