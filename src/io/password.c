#include "io/password.h"

#include "base/check.h"
#include "io/random.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#define SALT_BYTES        4u  /* of RabbitMQ's */
#define PBKDF2_SALT_BYTES 16u /* of ours */
#define ROUNDS_BYTES      4u
#define PBKDF2_HEAD_BYTES (PBKDF2_SALT_BYTES + ROUNDS_BYTES)
#define PBKDF2_BYTES      32u

_Static_assert(SALT_BYTES + EVP_MAX_MD_SIZE <= PASSWORD_HASH_MAX, "SHA-512 fits");

static const EVP_MD *digest_of(enum password_hashing how)
{
    switch (how) {
    case PASSWORD_SHA256:
    case PASSWORD_PBKDF2:
        return EVP_sha256();
    case PASSWORD_SHA512:
        return EVP_sha512();
    case PASSWORD_MD5:
        return EVP_md5();
    }
    UNREACHABLE("password hashing");
}

/* False where the system forbids the digest, as some do MD5. */
static bool put_digest(const EVP_MD *md, struct slice password, struct password_hash *out)
{
    unsigned len = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHECK(ctx != NULL);
    bool ok = EVP_DigestInit_ex(ctx, md, NULL) == 1 &&
              EVP_DigestUpdate(ctx, out->octets, SALT_BYTES) == 1 &&
              (password.len == 0 || EVP_DigestUpdate(ctx, password.ptr, password.len) == 1) &&
              EVP_DigestFinal_ex(ctx, out->octets + SALT_BYTES, &len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    out->len = SALT_BYTES + len;
    return ok;
}

static uint32_t rounds_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_pbkdf2(uint32_t rounds, struct slice password, struct password_hash *out)
{
    uint8_t *at = out->octets + PBKDF2_SALT_BYTES;
    at[0] = (uint8_t)(rounds >> 24);
    at[1] = (uint8_t)(rounds >> 16);
    at[2] = (uint8_t)(rounds >> 8);
    at[3] = (uint8_t)rounds;
    const char *text = password.len != 0 ? (const char *)password.ptr : "";
    int ok = PKCS5_PBKDF2_HMAC(text, (int)password.len, out->octets, PBKDF2_SALT_BYTES, (int)rounds,
                               EVP_sha256(), PBKDF2_BYTES, out->octets + PBKDF2_HEAD_BYTES);
    CHECK(ok == 1); /* what can fail is memory, or an OpenSSL without SHA-256 */
    out->len = PBKDF2_HEAD_BYTES + PBKDF2_BYTES;
}

/* With the salt that `out` has already. */
static bool put(enum password_hashing how, uint32_t rounds, struct slice password,
                struct password_hash *out)
{
    if (how != PASSWORD_PBKDF2)
        return put_digest(digest_of(how), password, out);
    put_pbkdf2(rounds, password, out);
    return true;
}

void password_make(enum password_hashing how, uint32_t rounds, struct slice password,
                   struct password_hash *out)
{
    CHECK(how != PASSWORD_PBKDF2 || (rounds >= 1 && rounds <= PASSWORD_ROUNDS_MAX));
    random_octets(out->octets, how == PASSWORD_PBKDF2 ? PBKDF2_SALT_BYTES : SALT_BYTES);
    bool ok = put(how, rounds, password, out);
    CHECK(ok || how == PASSWORD_MD5);
    if (!ok)
        out->len = 0; /* a hash that no password fits */
}

uint32_t password_rounds(struct slice hash)
{
    if (hash.len != PBKDF2_HEAD_BYTES + PBKDF2_BYTES)
        return 0;
    uint32_t rounds = rounds_at(hash.ptr + PBKDF2_SALT_BYTES);
    return rounds <= PASSWORD_ROUNDS_MAX ? rounds : 0;
}

bool password_is_right(enum password_hashing how, struct slice hash, struct slice password)
{
    struct password_hash made;
    uint32_t rounds = how == PASSWORD_PBKDF2 ? password_rounds(hash) : 1;
    if (rounds == 0 || hash.len <= SALT_BYTES || hash.len > sizeof made.octets ||
        password.len == 0 || password.len > INT32_MAX)
        return false;
    memcpy(made.octets, hash.ptr, how == PASSWORD_PBKDF2 ? PBKDF2_SALT_BYTES : SALT_BYTES);
    bool right = put(how, rounds, password, &made) && made.len == hash.len &&
                 CRYPTO_memcmp(made.octets, hash.ptr, hash.len) == 0;
    OPENSSL_cleanse(&made, sizeof made);
    return right;
}

bool password_to_text(struct slice hash, char *room, size_t room_bytes)
{
    size_t need = (hash.len + 2) / 3 * 4 + 1;
    if (need > room_bytes || hash.len > INT32_MAX)
        return false;
    room[0] = '\0';
    if (hash.len != 0)
        EVP_EncodeBlock((unsigned char *)room, hash.ptr, (int)hash.len);
    return true;
}
