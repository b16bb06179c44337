/*
 * meta_policy_keys: what the definition of a policy may say, judged and taken apart. Not for others
 * than meta.
 */
#ifndef WARREN_META_POLICY_KEYS_H
#define WARREN_META_POLICY_KEYS_H

#include "base/pattern.h"
#include "cluster/meta_json.h"

#define META_KEY_BIT(key) (1u << META_KEY_##key)

/* Keys that a queue of a type cannot follow: a policy with one of them passes it by as a whole. */
#define META_NOT_FOR_CLASSIC                                                                       \
    (META_KEY_BIT(MAX_AGE) | META_KEY_BIT(STREAM_MAX_SEGMENT_SIZE_BYTES) |                         \
     META_KEY_BIT(QUEUE_LEADER_LOCATOR) | META_KEY_BIT(INITIAL_CLUSTER_SIZE) |                     \
     META_KEY_BIT(DELIVERY_LIMIT) | META_KEY_BIT(DEAD_LETTER_STRATEGY))
#define META_NOT_FOR_QUORUM                                                                        \
    (META_KEY_BIT(QUEUE_MODE) | META_KEY_BIT(HA_MODE) | META_KEY_BIT(HA_PARAMS) |                  \
     META_KEY_BIT(HA_SYNC_MODE) | META_KEY_BIT(HA_PROMOTE_ON_SHUTDOWN) |                           \
     META_KEY_BIT(HA_PROMOTE_ON_FAILURE) | META_KEY_BIT(HA_MIN_IN_SYNC) |                          \
     META_KEY_BIT(HA_REPLACE_AFTER) | META_KEY_BIT(QUEUE_MASTER_LOCATOR) | META_KEY_BIT(MAX_AGE) | \
     META_KEY_BIT(STREAM_MAX_SEGMENT_SIZE_BYTES) | META_KEY_BIT(INITIAL_CLUSTER_SIZE))

/* If not, RabbitMQ's words, a line, are added to `t`. An operator's policy has only the keys that
 * bound a queue. */
MUST_CHECK bool meta_policy_keys_suit(const json_t *definition, bool is_operator, struct text *t);

/* Of one that suits. The words point into the JSON value and into `nodes`, which is ours to grow...
 */
void meta_policy_keys_take(const json_t *definition, struct text *nodes,
                           struct meta_policy_keys *out);

/* ...until they are copied to *at, which moves behind them. */
size_t meta_policy_words_bytes(const struct meta_policy_keys *k);
void meta_policy_put_words(struct meta_policy_keys *k, uint8_t **at);

#endif
