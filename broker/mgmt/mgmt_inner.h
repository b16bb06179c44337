/*
 * mgmt_inner: what the files of the management API share. Not for anybody else.
 */
#ifndef WARREN_MGMT_INNER_H
#define WARREN_MGMT_INNER_H

#include "base/log.h"
#include "broker.h"
#include "io/http.h"
#include "mgmt/mgmt_ask.h"
#include "mgmt/mgmt_call.h"
#include "mgmt/mgmt_http.h"
#include "mgmt/mgmt_json.h"
#include "mgmt/mgmt_list.h"
#include "mgmt/mgmt_listing.h"
#include "mgmt/mgmt_rates.h"
#include "mgmt/mgmt_totals.h"
#include "shard.h"

#define MGMT_SAMPLE_MS 5000u /* rates are over the last whole interval */

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
    size_t plain_count; /* of those, the first: the others speak TLS */
    bool has_tls;       /* since it was bound */
    bool running;
    bool is_shut;        /* nobody is served any more: what takes long ends */
    uint64_t started_ms; /* wall time */
    unsigned calls;      /* requests under way */
    uint64_t logins;
    uint64_t logins_refused;
    struct log_rate refusals;
    struct mgmt_peers *peers;        /* the other nodes' */
    struct mgmt_rates *rates;        /* of queues, by qid */
    struct mgmt_rates *client_rates; /* of connections and channels */
    struct loop_timer sampler;
    struct mgmt_sample samples[2]; /* the older one first */
};

/* ---- mgmt_http.c ---- */

void mgmt_counts_read(const struct broker *b, struct mgmt_counts *out);
const struct broker_conf *mgmt_conf(const struct mgmt_http *m);

/* ---- mgmt_route.c ---- */

/* All that is served, for the page; NULL past the end. */
const struct mgmt_route *mgmt_route_at(size_t index);

/* ---- mgmt_misc.c ---- */

/* A new string. */
json_t *mgmt_cluster_name(const struct mgmt_http *m);

/* ---- mgmt_node.c ---- */

/* A node's name, and this one's for what no table knows; lent as metadata is. */
struct slice mgmt_node_name(const struct mgmt_http *m, uint16_t node);

/* One that its shard here has not is being deleted; unless it is mirrored, and this node is not yet
 * the master that it is to be, or must not be because it has lost some of it. */
bool mgmt_is_shown(const struct broker *b, const struct meta_version *v, const struct meta_queue *q,
                   bool is_found);

/* Has a classic queue mirrors, or is it to have some? */
bool mgmt_is_mirrored(const struct meta_version *v, const struct meta_queue *q);

/* Is it, of a replica that is not the master, to be shown as a mirror? One that is not up is not.
 */
bool mgmt_is_mirror(const struct meta_version *v, const struct meta_replica *r, bool in_sync);

/* The names of the nodes that hold a queue, its master first; or of those that are up. */
json_t *mgmt_replicas(const struct mgmt_http *m, const struct meta_version *v,
                      const struct meta_queue *q, bool online);

/* Does the nth arg of the path name this node? */
bool mgmt_is_this_node(const struct mgmt_call *c, unsigned n);
json_t *mgmt_listeners(const struct mgmt_http *m);
json_t *mgmt_exchange_types(void);

/* ---- mgmt_clients.c ---- */

/* Of what was asked with MGMT_CONSUMERS: a queue's consumers, and what a connection is called; NULL
 * when it is not there. */
json_t *mgmt_consumers_of(const struct mgmt_http *m, const struct mgmt_ask *clients, uint64_t qid);
json_t *mgmt_connection_named(const struct mgmt_ask *clients, uint64_t id);

/* ---- mgmt_exchanges.c ---- */

/* The default exchange has no name; in a path it is called so. */
#define MGMT_DEFAULT_EXCHANGE "amq.default"
struct slice mgmt_exchange_named(struct slice in_path);

/* ---- mgmt_bindings.c ---- */

/* Answer with the bindings to a queue or an exchange of the path's vhost. */
void mgmt_reply_bindings_to(struct mgmt_call *c, uint64_t id);
void mgmt_reply_bindings_from(struct mgmt_call *c, const struct meta_exchange *x);

/* ---- what is served ---- */

#define MGMT_HANDLERS(X)                                                                           \
    X(page)                                                                                        \
    X(index)                                                                                       \
    X(metrics)                                                                                     \
    X(metrics_per_object)                                                                          \
    X(metrics_detailed)                                                                            \
    X(overview)                                                                                    \
    X(whoami)                                                                                      \
    X(auth_methods)                                                                                \
    X(cluster_name)                                                                                \
    X(extensions)                                                                                  \
    X(feature_flags)                                                                               \
    X(rebalance)                                                                                   \
    X(nodes)                                                                                       \
    X(node)                                                                                        \
    X(node_memory)                                                                                 \
    X(node_check)                                                                                  \
    X(alarms)                                                                                      \
    X(local_alarms)                                                                                \
    X(port_listener)                                                                               \
    X(protocol_listener)                                                                           \
    X(vhosts_check)                                                                                \
    X(mirror_check)                                                                                \
    X(quorum_check)                                                                                \
    X(certificates)                                                                                \
    X(aliveness)                                                                                   \
    X(vhosts)                                                                                      \
    X(vhost)                                                                                       \
    X(vhost_put)                                                                                   \
    X(vhost_delete)                                                                                \
    X(vhost_start)                                                                                 \
    X(queues)                                                                                      \
    X(queue)                                                                                       \
    X(queue_put)                                                                                   \
    X(queue_delete)                                                                                \
    X(queue_purge)                                                                                 \
    X(queue_actions)                                                                               \
    X(queue_get)                                                                                   \
    X(queue_bindings)                                                                              \
    X(exchanges)                                                                                   \
    X(exchange)                                                                                    \
    X(exchange_put)                                                                                \
    X(exchange_delete)                                                                             \
    X(exchange_publish)                                                                            \
    X(bindings_from)                                                                               \
    X(bindings_to)                                                                                 \
    X(bindings)                                                                                    \
    X(bindings_between)                                                                            \
    X(binding_post)                                                                                \
    X(binding)                                                                                     \
    X(binding_delete)                                                                              \
    X(connections)                                                                                 \
    X(connections_of_user)                                                                         \
    X(connections_of_vhost)                                                                        \
    X(connection)                                                                                  \
    X(connection_delete)                                                                           \
    X(connections_of_user_delete)                                                                  \
    X(connection_channels)                                                                         \
    X(channels)                                                                                    \
    X(channels_of_vhost)                                                                           \
    X(channel)                                                                                     \
    X(consumers)                                                                                   \
    X(users)                                                                                       \
    X(users_without)                                                                               \
    X(users_delete)                                                                                \
    X(user)                                                                                        \
    X(user_put)                                                                                    \
    X(user_delete)                                                                                 \
    X(user_limits)                                                                                 \
    X(user_limit_put)                                                                              \
    X(user_limit_delete)                                                                           \
    X(permissions)                                                                                 \
    X(permissions_of_user)                                                                         \
    X(permissions_of_vhost)                                                                        \
    X(permission)                                                                                  \
    X(permission_put)                                                                              \
    X(permission_delete)                                                                           \
    X(topic_permissions)                                                                           \
    X(topic_permissions_of_user)                                                                   \
    X(topic_permissions_of_vhost)                                                                  \
    X(topic_permission)                                                                            \
    X(topic_permission_put)                                                                        \
    X(topic_permission_delete)                                                                     \
    X(policies)                                                                                    \
    X(policy)                                                                                      \
    X(policy_put)                                                                                  \
    X(policy_delete)                                                                               \
    X(parameters)                                                                                  \
    X(parameter)                                                                                   \
    X(parameter_put)                                                                               \
    X(parameter_delete)                                                                            \
    X(global_parameters)                                                                           \
    X(global_parameter)                                                                            \
    X(global_parameter_put)                                                                        \
    X(global_parameter_delete)                                                                     \
    X(vhost_limits)                                                                                \
    X(vhost_limit_put)                                                                             \
    X(vhost_limit_delete)                                                                          \
    X(cluster_name_put)                                                                            \
    X(auth_attempts)                                                                               \
    X(definitions)                                                                                 \
    X(definitions_post)                                                                            \
    X(definitions_of_vhost)                                                                        \
    X(definitions_of_vhost_post)

#define X(name) void mgmt_serve_##name(struct mgmt_call *c);
MGMT_HANDLERS(X)
#undef X

#endif
