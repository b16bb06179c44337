#include "io/aead.h"

#include "base/check.h"
#include "base/mem.h"

#include <limits.h>
#include <openssl/evp.h>

struct aead {
    EVP_CIPHER_CTX *seal;
    EVP_CIPHER_CTX *open;
};

struct aead *aead_new(const uint8_t key[AEAD_KEY_BYTES])
{
    struct aead *a = mem_zalloc(sizeof *a);
    a->seal = EVP_CIPHER_CTX_new();
    a->open = EVP_CIPHER_CTX_new();
    /* What can fail is memory, or an OpenSSL without AES: then nothing here is safe any more. */
    CHECK(a->seal != NULL && a->open != NULL);
    CHECK(EVP_EncryptInit_ex(a->seal, EVP_aes_256_gcm(), NULL, key, NULL) == 1);
    CHECK(EVP_DecryptInit_ex(a->open, EVP_aes_256_gcm(), NULL, key, NULL) == 1);
    return a;
}

void aead_free(struct aead **a)
{
    if (*a == NULL)
        return;
    EVP_CIPHER_CTX_free((*a)->seal); /* wipes the key */
    EVP_CIPHER_CTX_free((*a)->open);
    mem_free(*a);
    *a = NULL;
}

void aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice with,
               struct slice plain, uint8_t *out)
{
    int len = 0, end = 0;
    CHECK(plain.len <= INT_MAX - AEAD_TAG_BYTES && with.len <= INT_MAX);
    CHECK(EVP_EncryptInit_ex(a->seal, NULL, NULL, NULL, nonce) == 1);
    CHECK(EVP_EncryptUpdate(a->seal, NULL, &len, with.ptr, (int)with.len) == 1);
    CHECK(plain.len == 0 || EVP_EncryptUpdate(a->seal, out, &len, plain.ptr, (int)plain.len) == 1);
    CHECK(EVP_EncryptFinal_ex(a->seal, out + plain.len, &end) == 1 && end == 0);
    CHECK(EVP_CIPHER_CTX_ctrl(a->seal, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, out + plain.len) ==
          1);
}

bool aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice with,
               struct slice sealed, uint8_t *out)
{
    int len = 0, end = 0;
    uint8_t tag[AEAD_TAG_BYTES];
    if (sealed.len < AEAD_TAG_BYTES || sealed.len > INT_MAX)
        return false;
    size_t hidden = sealed.len - AEAD_TAG_BYTES;
    memcpy(tag, sealed.ptr + hidden, sizeof tag);
    CHECK(EVP_DecryptInit_ex(a->open, NULL, NULL, NULL, nonce) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(a->open, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, tag) == 1);
    CHECK(EVP_DecryptUpdate(a->open, NULL, &len, with.ptr, (int)with.len) == 1);
    CHECK(hidden == 0 || EVP_DecryptUpdate(a->open, out, &len, sealed.ptr, (int)hidden) == 1);
    return EVP_DecryptFinal_ex(a->open, out + hidden, &end) == 1;
}
