/*
 * cookie: the secret that the nodes of one cluster, and its proxies, share.
 *
 * It lies in a file, octet by octet as it is used. It never travels and is never logged: who knows
 * it proves so by an HMAC.
 */
#ifndef WARREN_COOKIE_H
#define WARREN_COOKIE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

#define COOKIE_MAX   ((size_t)1024)
#define COOKIE_SHORT ((size_t)20) /* a shorter one is used, with a warning in the log */

struct cookie {
    uint8_t bytes[COOKIE_MAX];
    size_t len;
};

/* Read it. The file must belong to the user that the process runs as, and have mode 0400 or 0600;
 * it must not be empty, nor hold a CR or LF. The error names the file and the remedy. Blocks. */
MUST_CHECK bool cookie_read(const char *path, struct cookie *out, struct err *err);

/* The same, but an absent file is made first: random, mode 0400. Several nodes of one host may
 * start at once: all end up with the same. */
MUST_CHECK bool cookie_read_or_make(const char *path, struct cookie *out, struct err *err);

static inline struct slice cookie_slice(const struct cookie *c)
{
    return slice_of(c->bytes, c->len);
}

/* Overwrite the secret, when it is not needed any more. */
void cookie_wipe(struct cookie *c);

#endif
