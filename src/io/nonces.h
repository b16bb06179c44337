/*
 * nonces: which nonces were used of late, so that none is taken twice.
 *
 * Each is remembered for a fixed time. There is room for a fixed number: when all of it is taken,
 * new ones are refused rather than a used one forgotten early. Any thread.
 */
#ifndef WARREN_NONCES_H
#define WARREN_NONCES_H

#include "base/attr.h"

#include <stdint.h>

#define NONCE_BYTES 16u

enum nonce_verdict {
    NONCE_TAKEN, /* the first time; from now on it is used */
    NONCE_USED,
    NONCE_NO_ROOM, /* not looked at further, and not remembered */
};

struct nonces;

/* `most` of them, each for so long. The seed spreads them in the table. */
struct nonces *nonces_new(uint32_t most, uint64_t kept_ms, uint64_t seed);
void nonces_free(struct nonces **n); /* NULL is allowed */

/* `now_ms` is of a clock that does not go back. */
MUST_CHECK enum nonce_verdict nonces_take(struct nonces *n, const uint8_t nonce[NONCE_BYTES],
                                          uint64_t now_ms);

#endif
