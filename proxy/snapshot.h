/*
 * snapshot: a configuration brought to life: proxies with their records and certificates.
 *
 * Counted and immutable. A reload makes a new one that takes over the records of what stayed;
 * sessions that run keep the one they began with.
 */
#ifndef WARREN_SNAPSHOT_H
#define WARREN_SNAPSHOT_H

#include "base/rng.h"
#include "base/shared.h"
#include "io/tls.h"
#include "live.h"
#include "proxy_conf.h"

struct server {
    const struct server_conf *conf;
    const struct backend *backend;
    struct server_live *live;
    struct tls_ctx *tls; /* NULL: plain */
    unsigned index;      /* in its backend */
};

struct backend {
    const struct backend_conf *conf;
    struct backend_live *live;
    struct server *servers;     /* room for all there may ever be */
    struct shared server_count; /* rises while sessions run: servers appear; they never move */
    struct tls_ctx *rabbit_tls; /* for a RabbitMQ's management; NULL: plain, or not asked */
};

struct frontend {
    const struct frontend_conf *conf;
    const struct backend *backend; /* NULL in mode http */
    struct frontend_live *live;
    struct tls_ctx *tls[PROXY_CONF_BINDS_MAX]; /* NULL: plain */
};

struct snapshot {
    struct shared refs;
    struct proxy_conf *conf;
    struct frontend *frontends;
    unsigned frontend_count;
    struct backend *backends;
    unsigned backend_count;
};

/* Takes *conf, also when it fails. `before` is the present snapshot or NULL. Control loop. */
MUST_CHECK struct snapshot *snapshot_new(struct proxy_conf **conf, const struct snapshot *before,
                                         uint64_t now_ms, struct err *err);
/* It comes into force after `before`: servers of both are weighted, checked and disabled as it says
 * where that is another word. Control loop, while nothing is checked. */
void snapshot_take_effect(const struct snapshot *s, const struct snapshot *before, uint64_t now_ms);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot **s);

static inline unsigned backend_server_count(const struct backend *b)
{
    return (unsigned)shared_get(&b->server_count);
}

/* How many servers it can have at most. */
static inline unsigned backend_room(const struct backend *b)
{
    return b->conf->discover != PROXY_DISCOVER_NONE ? BALANCE_SERVERS_MAX : b->conf->server_count;
}

/* A server that is not listed, at "HOST:PORT", behind all others and with the words of
 * default-server; for whoever has the snapshot, at once. `live` is its record if another snapshot
 * has it; NULL: it is new. NULL: there is no room, or *err says what is wrong. Control loop. */
MUST_CHECK const struct server *snapshot_add_found(struct snapshot *s, unsigned backend,
                                                   const char *name, const char *place,
                                                   struct server_live *live, uint64_t now_ms,
                                                   struct err *err);

const struct backend *snapshot_backend(const struct snapshot *s, const char *name);
/* One that was found and has gone is none. */
const struct server *backend_server(const struct backend *b, const char *name);

/* Up, wanted by the operator, and its address is known: may take what is new. Any thread. */
bool server_is_usable(const struct server *s);

/* The same, and fewer connections than its maxconn are there. */
bool server_has_room(const struct server *s);

/* Who is next among the servers whose bit in `skip` is not set; NULL when none can take it. */
const struct server *backend_pick(const struct backend *b, uint64_t skip, uint64_t now_ms,
                                  struct rng *rng);

/* How many servers can take what is new. */
unsigned backend_usable_count(const struct backend *b);

/* Is there hope soon: a server that is up and wanted, though its name may not be looked up yet? */
bool backend_is_alive(const struct backend *b);

#endif
