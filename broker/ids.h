/*
 * ids: what the number of a connection or of a consumer tells. It is unique in the cluster for as
 * long as its node is up, and never 0:
 *
 *     63         node         48 47  shard  38 37            counter             0
 *
 * A node is numbered from 1. The shard means something on that node alone.
 */
#ifndef WARREN_IDS_H
#define WARREN_IDS_H

#include <stdint.h>

#define ID_SHARD_BITS 10u
#define ID_COUNT_BITS 38u
#define ID_SHARDS_MAX (1u << ID_SHARD_BITS)

static inline uint64_t id_make(uint16_t node, uint32_t shard, uint64_t count)
{
    return (uint64_t)node << (ID_SHARD_BITS + ID_COUNT_BITS) | (uint64_t)shard << ID_COUNT_BITS |
           (count & ((UINT64_C(1) << ID_COUNT_BITS) - 1));
}

static inline uint16_t node_of_id(uint64_t id)
{
    return (uint16_t)(id >> (ID_SHARD_BITS + ID_COUNT_BITS));
}

static inline uint32_t shard_of_id(uint64_t id)
{
    return (uint32_t)(id >> ID_COUNT_BITS) & (ID_SHARDS_MAX - 1);
}

static inline uint64_t count_of_id(uint64_t id)
{
    return id & ((UINT64_C(1) << ID_COUNT_BITS) - 1);
}

#endif
