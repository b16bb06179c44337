/*
 * ctl_inner: what the files of ctl share. Not for anybody else.
 */
#ifndef WARREN_CTL_INNER_H
#define WARREN_CTL_INNER_H

#include "broker.h"
#include "io/http.h"
#include "mgmt/ctl.h"

#include <jansson.h>
#include <limits.h>
#include <sys/queue.h>

struct auth;
struct ctl_list;
struct ctl_requeue;
struct link_hall;
struct mgmt_http;

struct ctl {
    struct broker *broker;
    struct mgmt_http *mgmt;
    struct loop *loop;           /* the management's */
    struct auth *auth;           /* for passwords */
    struct http_server *server;  /* of the unix socket; clients of the cluster port join it */
    struct link_hall *hall;      /* of those who come to the cluster port */
    LIST_HEAD(, ctl_list) lists; /* being read, see ctl_list.c */
    unsigned list_count;
    LIST_HEAD(, ctl_requeue) requeues; /* under way, see ctl_requeue.c */
    uint64_t last_list;
    uint64_t started_s; /* since 1970 */
    char run_file[PATH_MAX];
};

const char *ctl_node_name(const struct ctl *c);

/* ctl_routes.c: everything below /ctl. */
void ctl_add_routes(struct ctl *c);

/* What a command gets: the body's object. The request is held already, and must be answered once,
 * now or later; the arguments end with the call. */
typedef void (*ctl_fn)(struct ctl *c, struct http_request *r, json_t *args);

#define CTL_COMMANDS(X)                                                                            \
    X(add_user)                                                                                    \
    X(add_vhost)                                                                                   \
    X(authenticate_user)                                                                           \
    X(cancel_sync_queue)                                                                           \
    X(change_cluster_node_type)                                                                    \
    X(change_password)                                                                             \
    X(change_vhost)                                                                                \
    X(clear_global_parameter)                                                                      \
    X(clear_parameter)                                                                             \
    X(clear_permissions)                                                                           \
    X(clear_policy)                                                                                \
    X(clear_topic_permissions)                                                                     \
    X(clear_user_limits)                                                                           \
    X(clear_vhost_limits)                                                                          \
    X(close_connections)                                                                           \
    X(cluster_status)                                                                              \
    X(critical)                                                                                    \
    X(delete_queue)                                                                                \
    X(delete_user)                                                                                 \
    X(delete_vhost)                                                                                \
    X(drain)                                                                                       \
    X(drop_quarantined)                                                                            \
    X(environment)                                                                                 \
    X(force_promote)                                                                               \
    X(force_reset)                                                                                 \
    X(forget_cluster_node)                                                                         \
    X(find_queue)                                                                                  \
    X(join_cluster)                                                                                \
    X(journal_status)                                                                              \
    X(list)                                                                                        \
    X(list_global_parameters)                                                                      \
    X(list_parameters)                                                                             \
    X(list_permissions)                                                                            \
    X(list_policies)                                                                               \
    X(list_quarantined)                                                                            \
    X(list_topic_permissions)                                                                      \
    X(list_user_limits)                                                                            \
    X(list_user_permissions)                                                                       \
    X(list_user_topic_permissions)                                                                 \
    X(list_users)                                                                                  \
    X(list_vhost_limits)                                                                           \
    X(list_vhosts)                                                                                 \
    X(more)                                                                                        \
    X(move_master)                                                                                 \
    X(ping)                                                                                        \
    X(purge_queue)                                                                                 \
    X(rebalance)                                                                                   \
    X(requeue_quarantined)                                                                         \
    X(reset)                                                                                       \
    X(resume_listeners)                                                                            \
    X(revive)                                                                                      \
    X(rotate_logs)                                                                                 \
    X(set_disk_limit)                                                                              \
    X(set_global_parameter)                                                                        \
    X(set_log_level)                                                                               \
    X(set_memory_limit)                                                                            \
    X(set_parameter)                                                                               \
    X(set_permissions)                                                                             \
    X(set_policy)                                                                                  \
    X(set_topic_permissions)                                                                       \
    X(set_user_limits)                                                                             \
    X(set_user_tags)                                                                               \
    X(set_vhost_limits)                                                                            \
    X(start_app)                                                                                   \
    X(status)                                                                                      \
    X(stop)                                                                                        \
    X(stop_cluster)                                                                                \
    X(sync_queue)                                                                                  \
    X(update_cluster_nodes)                                                                        \
    X(stop_app)                                                                                    \
    X(suspend_listeners)

#define X(name) void ctl_serve_##name(struct ctl *c, struct http_request *r, json_t *args);
CTL_COMMANDS(X)
#undef X

/* 200; the value is taken. */
void ctl_reply(struct http_request *r, json_t *value);
/* {"error": code, "detail": detail}; the codes are warrenctl's, see warrenctl_errors.h. */
void ctl_refuse(struct http_request *r, const char *code, const char *detail);
/* {} with 200 */
void ctl_done(struct http_request *r);

/* ctl_figures.c: what another node asks for its lists (mgmt_wire.h, mgmt_totals.h). These are
 * http_handlers. */
void ctl_on_figures(struct http_request *r, void *arg);
void ctl_on_totals(struct http_request *r, void *arg);

/* ctl_list.c */
void ctl_lists_free(struct ctl *c);

#endif
