/*
 * auth: who may log in.
 *
 * Users with RabbitMQ's salted hash (SHA-256 of a 4-octet salt and the password), so that exported
 * definitions can be read later. A user that is for loopback only is judged by the client's own
 * address. Immutable once built; any thread. A check takes the same time whether the user exists or
 * not.
 */
#ifndef WARREN_AUTH_H
#define WARREN_AUTH_H

#include "base/attr.h"
#include "base/slice.h"

#include <stdbool.h>

struct auth;

struct auth *auth_new(void);
void auth_free(struct auth **a);

/* `salt` is random. The name is copied; the password is not kept. */
void auth_add(struct auth *a, const char *user, const char *password, const uint8_t salt[4],
              bool loopback_only);

enum auth_verdict {
    AUTH_OK,
    AUTH_REFUSED,       /* no such user or wrong password: nobody is told which */
    AUTH_LOOPBACK_ONLY, /* right, but from elsewhere */
};

MUST_CHECK enum auth_verdict auth_check(const struct auth *a, struct slice user,
                                        struct slice password, bool from_loopback);

#endif
