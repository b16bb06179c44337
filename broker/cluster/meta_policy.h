/*
 * meta_policy: policies and parameters, as a version of the metadata holds them. Part of meta.h.
 *
 * A policy gives settings to the queues and exchanges of a vhost whose names it matches; of those
 * that match, the one with the highest priority counts, and among equals the one whose name comes
 * first (RabbitMQ leaves that to the order of a hash table). Which one it is is asked for when it
 * is needed and stored nowhere, so that a change of policy costs the control thread nothing for
 * each queue. Operator policies are a second set, judged in the same way.
 */
#ifndef WARREN_META_POLICY_H
#define WARREN_META_POLICY_H

#include "base/slice.h"
#include "base/text.h"
#include "cluster/meta_user.h"

#include <stdbool.h>
#include <stdint.h>

struct meta_exchange_def;
struct meta_queue;

#define META_DEFINITION_MAX                                                                        \
    65536u /* octets of a policy's definition, and of a parameter's value                          \
            */

enum meta_apply_to { META_APPLY_QUEUES, META_APPLY_EXCHANGES, META_APPLY_ALL };

const char *meta_apply_to_name(enum meta_apply_to to);

enum meta_overflow {
    META_OVERFLOW_DROP_HEAD,
    META_OVERFLOW_REJECT,     /* reject-publish */
    META_OVERFLOW_REJECT_DLX, /* reject-publish-dlx */
};

/* Which keys a definition has: bits of `has`. */
#define META_POLICY_KEYS(X)                                                                        \
    X(ALTERNATE_EXCHANGE, "alternate-exchange")                                                    \
    X(CONSUMER_TIMEOUT, "consumer-timeout")                                                        \
    X(DEAD_LETTER_EXCHANGE, "dead-letter-exchange")                                                \
    X(DEAD_LETTER_ROUTING_KEY, "dead-letter-routing-key")                                          \
    X(DEAD_LETTER_STRATEGY, "dead-letter-strategy")                                                \
    X(DELIVERY_LIMIT, "delivery-limit")                                                            \
    X(EXPIRES, "expires")                                                                          \
    X(HA_MIN_IN_SYNC, "ha-min-in-sync")                                                            \
    X(HA_MODE, "ha-mode")                                                                          \
    X(HA_PARAMS, "ha-params")                                                                      \
    X(HA_PROMOTE_ON_FAILURE, "ha-promote-on-failure")                                              \
    X(HA_PROMOTE_ON_SHUTDOWN, "ha-promote-on-shutdown")                                            \
    X(HA_REPLACE_AFTER, "ha-replace-after")                                                        \
    X(HA_SYNC_BATCH_SIZE, "ha-sync-batch-size")                                                    \
    X(HA_SYNC_MODE, "ha-sync-mode")                                                                \
    X(INITIAL_CLUSTER_SIZE, "initial-cluster-size")                                                \
    X(MAX_AGE, "max-age")                                                                          \
    X(MAX_IN_MEMORY_BYTES, "max-in-memory-bytes")                                                  \
    X(MAX_IN_MEMORY_LENGTH, "max-in-memory-length")                                                \
    X(MAX_LENGTH, "max-length")                                                                    \
    X(MAX_LENGTH_BYTES, "max-length-bytes")                                                        \
    X(MESSAGE_TTL, "message-ttl")                                                                  \
    X(OVERFLOW, "overflow")                                                                        \
    X(QUEUE_LEADER_LOCATOR, "queue-leader-locator")                                                \
    X(QUEUE_MASTER_LOCATOR, "queue-master-locator")                                                \
    X(QUEUE_MODE, "queue-mode")                                                                    \
    X(QUEUE_VERSION, "queue-version")                                                              \
    X(STREAM_MAX_SEGMENT_SIZE_BYTES, "stream-max-segment-size-bytes")

enum meta_policy_key {
#define X(name, text) META_KEY_##name,
    META_POLICY_KEYS(X)
#undef X
        META_KEY_COUNT
};

/* A definition, taken apart. What is not in `has` is 0 or empty. */
struct meta_policy_keys {
    uint32_t has; /* 1u << META_KEY_... */
    enum meta_overflow overflow;
    int64_t message_ttl; /* ms */
    int64_t expires;     /* ms */
    int64_t max_length;
    int64_t max_length_bytes;
    int64_t delivery_limit;
    int64_t consumer_timeout; /* ms */
    struct slice dead_letter_exchange;
    struct slice dead_letter_routing_key;
    struct slice alternate_exchange;
    struct slice queue_mode;
    int64_t ha_count; /* "exactly": of replicas */
    int64_t ha_min_in_sync;
    int64_t ha_replace_after; /* ms */
    int64_t ha_sync_batch_size;
    struct slice ha_mode;  /* "all", "exactly" or "nodes" */
    struct slice ha_nodes; /* "nodes": their names, one in each line */
    struct slice ha_sync_mode;
    struct slice ha_promote_on_failure;
    struct slice ha_promote_on_shutdown;
    struct slice master_locator; /* see meta_place.c */
    struct slice leader_locator;
};

static inline bool meta_policy_has(const struct meta_policy_keys *k, enum meta_policy_key key)
{
    return (k->has >> key & 1u) != 0;
}

struct meta_policy {
    uint64_t vhost_id;
    uint64_t tag; /* private */
    int64_t priority;
    bool is_operator;
    enum meta_apply_to apply_to;
    struct slice name;
    struct slice definition; /* a JSON object, its keys in order */
    struct meta_pattern pattern;
    struct meta_policy_keys keys;
    uint8_t bytes[];
};

/* The policies of a vhost in the order in which they are asked. */
struct meta_policy_order {
    uint64_t tag; /* private */
    size_t count;
    size_t alternate_count; /* private: up to the last that names an alternate exchange */
    const struct meta_policy *policies[];
};

const struct meta_policy *meta_policy_find(const struct meta_version *v,
                                           const struct meta_vhost *vh, struct slice name,
                                           bool is_operator);

/* The one that counts, or NULL. */
const struct meta_policy *meta_policy_of_queue(const struct meta_version *v,
                                               const struct meta_queue *q);
const struct meta_policy *meta_operator_policy_of_queue(const struct meta_version *v,
                                                        const struct meta_queue *q);
const struct meta_policy *meta_policy_of_exchange(const struct meta_version *v,
                                                  const struct meta_vhost *vh,
                                                  const struct meta_exchange_def *def);
const struct meta_policy *meta_operator_policy_of_exchange(const struct meta_version *v,
                                                           const struct meta_vhost *vh,
                                                           const struct meta_exchange_def *def);

/* A runtime parameter: of a vhost, or global (then without a component). */
struct meta_parameter {
    uint64_t vhost_id; /* 0: of a global one */
    uint64_t tag;      /* private */
    struct slice component;
    struct slice name;
    struct slice value; /* JSON */
    uint8_t bytes[];
};

const struct meta_parameter *meta_parameter_find(const struct meta_version *v,
                                                 const struct meta_vhost *vh,
                                                 struct slice component, struct slice name);
const struct meta_parameter *meta_global_parameter_find(const struct meta_version *v,
                                                        struct slice name);

/* As set_cluster_name says, or the eldest node's, so that all nodes say the same. Nothing: there is
 * no node yet. */
void meta_cluster_name(const struct meta_version *v, struct text *out);

#endif
