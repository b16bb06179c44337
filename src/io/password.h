/*
 * password: salted hashes of passwords, by OpenSSL.
 *
 * RabbitMQ's three (the digest of a 4-octet salt and the password behind it), so that exported
 * definitions mean the same here, and a stronger one that is slow on purpose. A hash is a row of
 * octets with all in it that checking needs:
 *
 *     SHA256, SHA512, MD5   salt 4, digest 32, 64 or 16
 *     PBKDF2                salt 16, rounds 4 (the high octet first), PBKDF2-HMAC-SHA256's 32
 *
 * Outside it is base64 of that. Stateless; any thread; PBKDF2 takes tens of milliseconds, which is
 * too long for a loop: see work.h.
 */
#ifndef WARREN_PASSWORD_H
#define WARREN_PASSWORD_H

#include "base/attr.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum password_hashing { PASSWORD_SHA256, PASSWORD_SHA512, PASSWORD_MD5, PASSWORD_PBKDF2 };

#define PASSWORD_HASH_MAX   68u /* octets of the longest hash */
#define PASSWORD_TEXT_MAX   93u /* of its base64, with the end */
#define PASSWORD_ROUNDS_MIN 1000u
#define PASSWORD_ROUNDS_MAX 10000000u

struct password_hash {
    size_t len;
    uint8_t octets[PASSWORD_HASH_MAX];
};

static inline struct slice password_hash_slice(const struct password_hash *h)
{
    return slice_of(h->octets, h->len);
}

/* With new, random salt. `rounds` counts for PBKDF2 alone. */
void password_make(enum password_hashing how, uint32_t rounds, struct slice password,
                   struct password_hash *out);

/* In a time that tells nothing of the hash. An empty password, and a hash that is none, are never
 * right. */
MUST_CHECK bool password_is_right(enum password_hashing how, struct slice hash,
                                  struct slice password);

/* Rounds that a PBKDF2 hash was made with; 0 for what is none. */
uint32_t password_rounds(struct slice hash);

/* A hash of any length as base64, terminated; false when `room` is too small. */
MUST_CHECK bool password_to_text(struct slice hash, char *room, size_t room_bytes);

#endif
