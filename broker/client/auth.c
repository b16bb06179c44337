#include "client/auth.h"

#include "base/check.h"
#include "base/mem.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#define SALT_BYTES 4u
#define USERS_MAX  1024u

struct auth_user {
    char *name;
    uint8_t salt[SALT_BYTES];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    bool loopback_only;
};

struct auth {
    struct auth_user *users;
    size_t count;
};

struct auth *auth_new(void)
{
    return mem_zalloc(sizeof(struct auth));
}

void auth_free(struct auth **auth)
{
    struct auth *a = *auth;
    *auth = NULL;
    for (size_t i = 0; i < a->count; i++)
        mem_free(a->users[i].name);
    mem_free(a->users);
    mem_free(a);
}

/* RabbitMQ's rabbit_password_hashing_sha256: the digest of the salt and the password behind it. */
static void hash_password(const uint8_t salt[SALT_BYTES], struct slice password,
                          uint8_t out[SHA256_DIGEST_LENGTH])
{
    uint8_t room[SALT_BYTES + 1024];
    struct slice head = slice_head(password, sizeof room - SALT_BYTES);
    memcpy(room, salt, SALT_BYTES);
    if (head.len != 0)
        memcpy(room + SALT_BYTES, head.ptr, head.len);
    SHA256(room, SALT_BYTES + head.len, out);
    OPENSSL_cleanse(room, sizeof room);
}

void auth_add(struct auth *a, const char *user, const char *password,
              const uint8_t salt[SALT_BYTES], bool loopback_only)
{
    CHECK(a->count < USERS_MAX);
    a->users = mem_realloc(a->users, (a->count + 1) * sizeof *a->users);
    struct auth_user *u = &a->users[a->count++];
    u->name = mem_strdup(user);
    u->loopback_only = loopback_only;
    memcpy(u->salt, salt, SALT_BYTES);
    hash_password(salt, slice_str(password), u->hash);
}

enum auth_verdict auth_check(const struct auth *a, struct slice user, struct slice password,
                             bool from_loopback)
{
    static const struct auth_user nobody;
    const struct auth_user *found = &nobody;
    for (size_t i = 0; i < a->count; i++) {
        if (slice_is(user, a->users[i].name))
            found = &a->users[i];
    }
    /* The digest is made for an unknown user too, so that time tells nothing. */
    uint8_t hash[SHA256_DIGEST_LENGTH];
    hash_password(found->salt, password, hash);
    bool right = CRYPTO_memcmp(hash, found->hash, sizeof hash) == 0;
    if (!right || found == &nobody)
        return AUTH_REFUSED;
    return found->loopback_only && !from_loopback ? AUTH_LOOPBACK_ONLY : AUTH_OK;
}
