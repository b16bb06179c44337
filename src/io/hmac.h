/*
 * hmac: proof of knowing a secret (HMAC-SHA256, RFC 2104), by OpenSSL.
 */
#ifndef WARREN_HMAC_H
#define WARREN_HMAC_H

#include "base/attr.h"
#include "base/slice.h"

#define HMAC_BYTES 32u

/* Of the parts, one after the other. Any thread. */
void hmac_sha256(struct slice key, const struct slice *parts, size_t count,
                 uint8_t out[HMAC_BYTES]);

/* A key of HMAC_BYTES out of a secret (HKDF, RFC 5869): another one for each salt and purpose. */
void hkdf_sha256(struct slice secret, struct slice salt, struct slice purpose,
                 uint8_t out[HMAC_BYTES]);

/* In a time that tells nothing of where they differ. */
MUST_CHECK bool hmac_eq(const uint8_t a[HMAC_BYTES], const uint8_t b[HMAC_BYTES]);

#endif
