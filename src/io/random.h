/*
 * random: octets from the system's generator, for names, salts, nonces and keys. Any thread.
 */
#ifndef WARREN_RANDOM_H
#define WARREN_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_octets(void *into, size_t octets);
uint64_t random_u64(void);

#endif
