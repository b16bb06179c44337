/*
 * aead: short messages that only who has the key can read or make (AES-256-GCM), by OpenSSL.
 *
 * A nonce must never be used twice with one key: the caller counts. One thread at a time.
 */
#ifndef WARREN_AEAD_H
#define WARREN_AEAD_H

#include "base/attr.h"
#include "base/slice.h"

#define AEAD_KEY_BYTES   32u
#define AEAD_NONCE_BYTES 12u
#define AEAD_TAG_BYTES   16u

struct aead;

struct aead *aead_new(const uint8_t key[AEAD_KEY_BYTES]);
void aead_free(struct aead **a);

/* `out` has room for plain.len + AEAD_TAG_BYTES octets; `with` is not hidden, but proven too. */
void aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice with,
               struct slice plain, uint8_t *out);

/* `out` has room for sealed.len - AEAD_TAG_BYTES octets. False: it is not authentic; then what is
 * in `out` means nothing. */
MUST_CHECK bool aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice with,
                          struct slice sealed, uint8_t *out);

#endif
