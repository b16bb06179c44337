#include "io/hmac.h"

#include "base/check.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

void hmac_sha256(struct slice key, const struct slice *parts, size_t count, uint8_t out[HMAC_BYTES])
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    /* What can fail is memory, or an OpenSSL without HMAC: then nothing here is safe any more. */
    CHECK(ctx != NULL &&
          EVP_MAC_init(ctx, key.len != 0 ? key.ptr : (const uint8_t *)"", key.len, params) == 1);
    for (size_t i = 0; i < count; i++)
        CHECK(parts[i].len == 0 || EVP_MAC_update(ctx, parts[i].ptr, parts[i].len) == 1);
    size_t len = 0;
    CHECK(EVP_MAC_final(ctx, out, &len, HMAC_BYTES) == 1 && len == HMAC_BYTES);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
}

void hkdf_sha256(struct slice secret, struct slice salt, struct slice purpose,
                 uint8_t out[HMAC_BYTES])
{
    static const uint8_t first = 1; /* one block is all that is asked for */
    uint8_t extracted[HMAC_BYTES];
    const struct slice parts[] = { purpose, slice_of(&first, 1) };
    hmac_sha256(salt, &secret, 1, extracted);
    hmac_sha256(slice_of(extracted, sizeof extracted), parts, ARRAY_COUNT(parts), out);
    OPENSSL_cleanse(extracted, sizeof extracted);
}

bool hmac_eq(const uint8_t a[HMAC_BYTES], const uint8_t b[HMAC_BYTES])
{
    return CRYPTO_memcmp(a, b, HMAC_BYTES) == 0;
}
