/*
 * broker: owns the parts of a node, wires them, starts and stops them.
 *
 * The calling thread of broker_run is the control thread; each shard has its own. What is below may
 * be called on any thread: it is set before the shards start and stays as it is until they end.
 */
#ifndef WARREN_BROKER_H
#define WARREN_BROKER_H

#include "base/err.h"
#include "broker_conf.h"
#include "cluster/meta.h"

struct broker;
struct cluster;
struct gossip_node;
struct control;
struct loop;
struct mail;
struct shard;
struct tally;
struct work_pool;
struct live;
struct mgmt_http;
struct storage;
struct store;
struct service;

/* How to read the configuration again, for a reload; NULL with *err set when it is not valid. */
typedef struct broker_conf *(*broker_reload_fn)(void *arg, struct err *err);

/* Everything but listening. Takes the reference in *conf, also when it fails. */
MUST_CHECK struct broker *broker_new(struct broker_conf **conf, broker_reload_fn reload, void *arg,
                                     struct err *err);

/* Wait for the cluster, start the shards and listen. On failure nothing listens. `waits` (may be
 * NULL) is called when it takes a while, because other nodes are waited for. True also when the
 * node was told to stop meanwhile: broker_run then returns at once. */
typedef void (*broker_waits_fn)(void *arg);
MUST_CHECK bool broker_start(struct broker *b, broker_waits_fn waits, void *arg, struct err *err);

/* Until TERM or INT asked for an orderly stop, and it is over; or until it had to give up, which it
 * has logged: then false. */
MUST_CHECK bool broker_run(struct broker *b);
void broker_free(struct broker **b);

struct shard *broker_shard(const struct broker *b, uint32_t index);
uint32_t broker_shard_count(const struct broker *b);
struct placements *broker_placements(const struct broker *b);
struct control *broker_control(const struct broker *b);
struct cluster *broker_cluster(const struct broker *b);
struct gossip_node *broker_gossip(const struct broker *b);
const struct meta_version *broker_meta(const struct broker *b);

/* What connections and channels are counted by, over all shards. */
enum broker_tally_kind {
    BROKER_TALLY_VHOST,    /* connections, by vhost */
    BROKER_TALLY_USER,     /* connections, by user */
    BROKER_TALLY_CHANNELS, /* channels, by user */
};
#define BROKER_TALLIES 3u
struct tally *broker_tally(const struct broker *b, enum broker_tally_kind kind);

/* Who judges logins on another loop than a shard's: the caller frees it, see client/auth.h. */
struct auth *broker_auth_new(const struct broker *b, struct loop *loop);

/* What is on disk. NULL before it is opened. Any thread. */
struct store *broker_store(const struct broker *b);
struct storage *broker_storage(const struct broker *b);
struct loop *broker_loop(const struct broker *b); /* the control thread's */

/* The node cannot keep what it is given any more: it says so, sends its clients away and ends. Any
 * thread. */
void broker_fail(struct broker *b, const struct err *why);

/* What clients are told when the node sends them away. */
const char *broker_leaving_text(const struct broker *b);

/* The cluster port, and who this node is there. */
struct doorway;
struct doorway *broker_doorway(const struct broker *b);

/* Of the names that proxies have told. */
struct nonces *broker_nonces(const struct broker *b);

/* The secret of the cluster. */
struct slice broker_cookie(const struct broker *b);

/* This node's number in its cluster; 1 for one that was never in any. Any thread. It is set while
 * no client is connected. */
uint16_t broker_node(const struct broker *b);
void broker_set_node(struct broker *b, uint16_t node);

/* The control thread: clients that come from now on are told the cluster's name as it is now. */
void broker_name_cluster(struct broker *b);

/* For log lines. */
const char *broker_name(const struct broker *b);

/* The configuration in force. A shard may use it until its turn ends, or take a reference. */
struct live *broker_live(const struct broker *b);

/* What was replaced and cannot be freed yet, as of the last tick. Any thread. */
uint64_t broker_epoch_waiting(const struct broker *b);

/* Octets of messages in memory. */
uint64_t broker_message_bytes(const struct broker *b);

/* A shard that was told to stop has no client left. From the shard's thread, once. */
void broker_shard_is_idle(struct shard *s);

/* ---- for service.h alone, on the control thread ---- */

struct service *broker_service(const struct broker *b); /* any thread */
void broker_set_app_running(struct broker *b, bool running);
void broker_set_drained(struct broker *b, bool drained);
struct mgmt_http *broker_mgmt(const struct broker *b);
/* As TERM does; it was told to. */
void broker_stop(struct broker *b);
bool broker_is_stopping(const struct broker *b);
/* It reads its journal, and the other nodes of its cluster know already that it is up. */
bool broker_is_reading(const struct broker *b);
/* What is to be kept cannot be kept any more: say so, and leave. Any thread. */
void broker_fail(struct broker *b, const struct err *why);
/* There is nobody left to wait for. */
void broker_has_left(struct broker *b);

/* ---- ---- */

/* What the configuration says, or warrenctl said since. Any thread. */
uint64_t broker_memory_limit(const struct broker *b);
uint64_t broker_disk_limit(const struct broker *b);
void broker_set_disk_limit(struct broker *b, uint64_t octets);
/* `done` comes to reply_to when whoever publishes from then on is judged by it. */
void broker_set_memory_limit(struct broker *b, uint64_t octets, struct loop *reply_to,
                             struct mail *done);

/* Not between stop_app and start_app. */
bool broker_app_is_running(const struct broker *b);
/* Between drain and revive, and while it stops and lets proxies go. */
bool broker_is_drained(const struct broker *b);
/* It stops since it cannot keep anything any more. Any thread. */
bool broker_has_failed(const struct broker *b);

/* Messages take so much memory that those that can be read back are to leave it. */
/* Any thread: for how long something that others wait for has not moved here; see cluster/ward.h.
 */
struct cluster_strain;
void broker_strain(const struct broker *b, struct cluster_strain *out);
/* Times that a thread was seen not to go on. */
uint64_t broker_hangs(const struct broker *b);

bool broker_is_pressed(const struct broker *b);

/* The store's alarms are others now, see store_alarms. Any thread. */
void broker_disk_changed(struct broker *b);

/* What is short on this node. Any thread. */
enum broker_alarm { BROKER_ALARM_MEMORY = 1, BROKER_ALARM_DISK = 2 };
unsigned broker_alarms(const struct broker *b);

/* Publishers must wait while anything is short, here or on another node of the cluster (alarms.h).
 * Any thread. */
bool broker_has_alarm(const struct broker *b);

/* What a publisher is told it waits for, in RabbitMQ's words. */
const char *broker_alarm_text(const struct broker *b);

/* What the store counts; false: the node keeps nothing on disk. Any thread. */
struct store_stats;
bool broker_store_stats(const struct broker *b, struct store_stats *out);

/* So short that even what publishers have begun must be refused. */
bool broker_is_exhausted(const struct broker *b);

#endif
