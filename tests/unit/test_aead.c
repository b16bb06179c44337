/* src/io/aead and hkdf: published vectors, and what was changed on the way is noticed. */
#include "io/aead.h"
#include "io/hmac.h"

#include "expect.h"

/* RFC 5869, A.1, its first 32 octets. */
Test(hkdf, agrees_with_the_rfc)
{
    uint8_t secret[22], salt[13], info[10], out[HMAC_BYTES];
    const uint8_t wanted[HMAC_BYTES] = { 0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a,
                                         0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36, 0x2f, 0x2a,
                                         0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a, 0x5a, 0x4c,
                                         0x5d, 0xb0, 0x2d, 0x56, 0xec, 0xc4, 0xc5, 0xbf };
    memset(secret, 0x0b, sizeof secret);
    for (size_t i = 0; i < sizeof salt; i++)
        salt[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof info; i++)
        info[i] = (uint8_t)(0xf0 + i);
    hkdf_sha256(slice_of(secret, sizeof secret), slice_of(salt, sizeof salt),
                slice_of(info, sizeof info), out);
    cr_expect(memcmp(out, wanted, sizeof out) == 0);
}

/* The GCM specification's test case 14: a key and a block of zeros. */
Test(aead, agrees_with_the_specification)
{
    const uint8_t key[AEAD_KEY_BYTES] = { 0 }, nonce[AEAD_NONCE_BYTES] = { 0 }, plain[16] = { 0 };
    const uint8_t wanted[32] = { 0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5,
                                 0xd3, 0xba, 0xf3, 0x9d, 0x18, 0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99,
                                 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19 };
    uint8_t out[32];
    struct aead *a = aead_new(key);
    aead_seal(a, nonce, slice_of(NULL, 0), slice_of(plain, sizeof plain), out);
    cr_expect(memcmp(out, wanted, sizeof out) == 0);
    aead_free(&a);
}

Test(aead, opens_what_was_sealed_and_nothing_else)
{
    const uint8_t key[AEAD_KEY_BYTES] = { 7 }, nonce[AEAD_NONCE_BYTES] = { 1 };
    struct slice with = slice_str("head"), plain = slice_str("what is said");
    uint8_t sealed[64], opened[64];
    size_t len = plain.len + AEAD_TAG_BYTES;
    struct aead *a = aead_new(key);
    aead_seal(a, nonce, with, plain, sealed);
    cr_assert(aead_open(a, nonce, with, slice_of(sealed, len), opened));
    cr_expect(memcmp(opened, plain.ptr, plain.len) == 0);
    for (size_t i = 0; i < len; i++) {
        sealed[i] ^= 1;
        cr_expect(not(aead_open(a, nonce, with, slice_of(sealed, len), opened)), "octet %zu", i);
        sealed[i] ^= 1;
    }
    for (size_t n = 0; n < len; n++)
        cr_expect(not(aead_open(a, nonce, with, slice_of(sealed, n), opened)), "%zu octets", n);
    cr_expect(not(aead_open(a, nonce, slice_str("Head"), slice_of(sealed, len), opened)));
    aead_free(&a);
}

Test(aead, nothing_can_be_sealed_too)
{
    const uint8_t key[AEAD_KEY_BYTES] = { 7 }, nonce[AEAD_NONCE_BYTES] = { 1 };
    uint8_t sealed[AEAD_TAG_BYTES], opened[1];
    struct aead *a = aead_new(key);
    aead_seal(a, nonce, slice_str("head"), slice_of(NULL, 0), sealed);
    cr_expect(aead_open(a, nonce, slice_str("head"), slice_of(sealed, sizeof sealed), opened));
    aead_free(&a);
}
