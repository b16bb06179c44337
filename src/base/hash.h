/*
 * hash: seeded hashes of bytes (XXH3), for tables and checksums.
 *
 * Table hashes take a seed that is random per process, so that a peer cannot choose names that
 * collide. Checksums that travel or are stored use seed 0 or a stated one.
 */
#ifndef WARREN_HASH_H
#define WARREN_HASH_H

#include "base/slice.h"

uint64_t hash_bytes(struct slice bytes, uint64_t seed);

/* A good mix of one number, for tables keyed by ids. */
static inline uint64_t hash_u64(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    return x ^ (x >> 32);
}

/* ---- in parts: the same as hash_bytes over all of them ---- */

struct hash_parts;

struct hash_parts *hash_parts_new(uint64_t seed);
void hash_parts_add(struct hash_parts *h, struct slice bytes);

/* The result; *h is freed and becomes NULL. */
uint64_t hash_parts_end(struct hash_parts **h);

#endif
