/*
 * rng: seeded chance, the only source of randomness of the cores (xoshiro256**, Blackman and
 * Vigna). Not for secrets: those come from OpenSSL, in src/io.
 */
#ifndef WARREN_RNG_H
#define WARREN_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);

/* Even chance in 0 .. bound - 1; bound is at least 1. */
uint64_t rng_below(struct rng *r, uint64_t bound);

/* True `per_mille` times of 1000. */
bool rng_chance(struct rng *r, unsigned per_mille);

#endif
