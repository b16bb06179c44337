/*
 * mgmt_inner: what the files of the management API share. Not for anybody else.
 */
#ifndef WARREN_MGMT_INNER_H
#define WARREN_MGMT_INNER_H

#include "broker.h"
#include "io/http.h"
#include "mgmt/mgmt_ask.h"
#include "mgmt/mgmt_http.h"
#include "mgmt/mgmt_json.h"
#include "mgmt/mgmt_list.h"
#include "shard.h"

#define MGMT_SAMPLE_MS 5000u /* rates are over the last whole interval */
#define MGMT_HELD_MAX  64u   /* requests that wait for shards */

/* The counters of all shards together. */
struct mgmt_counts {
#define X(name, help) uint64_t name;
    SHARD_COUNTERS(X)
#undef X
};

struct mgmt_sample {
    uint64_t at_us; /* 0: not taken yet */
    struct mgmt_counts counts;
};

struct mgmt_http {
    struct broker *broker;
    struct loop *loop;
    struct auth *auth;
    struct http_server **servers;
    size_t server_count;
    struct http_bind *binds;
    bool running;
    uint64_t started_ms; /* wall time */
    unsigned held;
    uint64_t logins;
    uint64_t logins_refused;
    struct loop_timer sampler;
    struct mgmt_sample samples[2]; /* the older one first */
};

typedef void (*mgmt_fn)(struct mgmt_http *m, struct http_request *r);

/* ---- mgmt_http.c ---- */

/* Answer; the value is taken. */
void mgmt_reply(struct http_request *r, int status, json_t *value);
void mgmt_refuse(struct http_request *r, int status, const char *error, const char *reason);
void mgmt_not_found(struct http_request *r);

/* What the path names at segment `n`, decoded. */
struct mgmt_name {
    char text[META_NAME_MAX + 1];
    size_t len;
};
static inline struct slice mgmt_name_slice(const struct mgmt_name *n)
{
    return slice_of(n->text, n->len);
}
/* False when there is none, and when it cannot be a name. */
MUST_CHECK bool mgmt_path_name(const struct http_request *r, unsigned n, struct mgmt_name *out);
/* How many segments the path has. */
unsigned mgmt_path_len(const struct http_request *r);

/* What the query asks of a list; false: refused. */
MUST_CHECK bool mgmt_list_of(struct http_request *r, struct mgmt_list *out);
/* Answer with what is left of an array. */
void mgmt_reply_list(struct http_request *r, const struct mgmt_list *l, json_t *all);
/* Answer with one object, or those of its columns that are asked for. */
void mgmt_reply_object(struct http_request *r, const struct mgmt_list *l, json_t *object);

/* A request that waits for shards; `arg` of an ask. */
struct mgmt_wait {
    struct mgmt_http *m;
    struct http_request *r;
    struct mgmt_list list;
    struct mgmt_name vhost;
    struct mgmt_name name;
    bool is_single;
    bool is_part; /* the page has been cut out already */
    size_t total;
    size_t filtered;
};
/* Hold the request; NULL when too many are held: it is refused. */
MUST_CHECK struct mgmt_wait *mgmt_wait_new(struct mgmt_http *m, struct http_request *r,
                                           const struct mgmt_list *l);
void mgmt_wait_free(struct mgmt_wait **w);

void mgmt_counts_read(const struct broker *b, struct mgmt_counts *out);
const struct broker_conf *mgmt_conf(const struct mgmt_http *m);

/* Ask for the figures of every queue of a vhost, 0: of all. */
void mgmt_ask_all_queues(struct mgmt_http *m, uint64_t vhost_id, mgmt_ask_fn done, void *arg);
struct mgmt_totals {
    uint64_t queues;
    uint64_t consumers;
    uint64_t ready;
    uint64_t unacked;
    uint64_t ready_bytes;
    uint64_t unacked_bytes;
};
struct mgmt_totals mgmt_totals_of(const struct mgmt_ask *a);

/* ---- what is served ---- */

/* mgmt_metrics.c */
void mgmt_serve_metrics(struct mgmt_http *m, struct http_request *r);

/* mgmt_node.c */
void mgmt_serve_overview(struct mgmt_http *m, struct http_request *r);
void mgmt_serve_nodes(struct mgmt_http *m, struct http_request *r);
void mgmt_serve_node_check(struct mgmt_http *m, struct http_request *r);
void mgmt_serve_alarms(struct mgmt_http *m, struct http_request *r);
void mgmt_serve_local_alarms(struct mgmt_http *m, struct http_request *r);
void mgmt_serve_vhosts(struct mgmt_http *m, struct http_request *r);

/* mgmt_alive.c */
void mgmt_serve_aliveness(struct mgmt_http *m, struct http_request *r);

/* mgmt_queues.c */
void mgmt_serve_queues(struct mgmt_http *m, struct http_request *r);

/* mgmt_exchanges.c: exchanges and bindings */
void mgmt_serve_exchanges(struct mgmt_http *m, struct http_request *r);
void mgmt_serve_bindings(struct mgmt_http *m, struct http_request *r);
/* Answer with the bindings to a queue or an exchange of the vhost. */
void mgmt_reply_bindings_to(struct mgmt_http *m, struct http_request *r,
                            const struct meta_vhost *vh, uint64_t id);

/* mgmt_clients.c */
void mgmt_serve_connections(struct mgmt_http *m, struct http_request *r);
void mgmt_serve_channels(struct mgmt_http *m, struct http_request *r);

/* ---- walking the metadata, in the order of names: until the next turn ---- */

/* All vhosts, or the one at segment `n` of the path. False: answered with 404. *list is the
 * caller's to free by mem_free. */
MUST_CHECK bool mgmt_vhosts_at(struct mgmt_http *m, struct http_request *r, unsigned n,
                               const struct meta_vhost ***list, size_t *count);

#endif
