/*
 * proxy_conf_table: the directives of the configuration file, and the sections as they are read.
 * Internal to proxy_conf.
 */
#ifndef WARREN_PROXY_CONF_TABLE_H
#define WARREN_PROXY_CONF_TABLE_H

#include "proxy_conf.h"

enum part_kind { PART_FRONTEND = 1, PART_BACKEND = 2, PART_LISTEN = 3 };

/* Whether a section itself says how its servers are checked. */
enum own_check { CHECK_INHERITED, CHECK_AMQP, CHECK_TCP };

struct own_splice {
    bool request;
    bool response;
};

/* One [frontend], [backend] or [listen] as it is read; a listen is both of the others. */
struct part {
    enum part_kind kind;
    const char *name;
    const char *where;
    struct frontend_conf front;
    struct backend_conf back;
    enum proxy_mode mode;
    enum own_check check;
    struct own_splice splice;
    struct proxy_timeouts timeout;
    struct server_conf default_server;
    const char *default_backend;
    uint64_t maxconn;
    bool by_master; /* balance = queue-master */
    enum proxy_discover discover;
    struct rabbit_conf *rabbit;
};

struct defaults {
    enum proxy_mode mode;
    enum own_check check;
    struct own_splice splice;
    struct proxy_timeouts timeout;
    uint64_t maxconn;
    uint64_t drain_ms;
    uint64_t replay_max_bytes;
    enum balance_kind balance;
    bool by_master;
    struct server_conf default_server;
};

struct root {
    struct global_conf global;
    struct defaults defaults;
    struct part *parts[2 * PROXY_CONF_PROXIES_MAX];
    unsigned part_count;
    struct conf_list warnings;
};

const struct conf_schema *proxy_conf_schema(void);

#endif
