#include "io/cookie.h"

#include "base/check.h"
#include "base/log.h"
#include "io/file.h"
#include "io/random.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MADE_BYTES 32u /* as many letters and digits: 160 bits */

static bool judge_owner(const char *path, const struct stat *st, struct err *err)
{
    if (!S_ISREG(st->st_mode))
        return err_set(err, ERR_CONFIG, "cookie file %s is not a regular file", path);
    unsigned mode = st->st_mode & 07777u;
    if (mode != 0400 && mode != 0600)
        return err_set(err, ERR_REFUSED,
                       "cookie file must be accessible by owner only: %s has mode %04o; run "
                       "'chmod 400 %s'",
                       path, mode, path);
    if (st->st_uid != geteuid())
        return err_set(err, ERR_REFUSED,
                       "cookie file must be accessible by owner only: %s belongs to user %lu, and "
                       "this process runs as user %lu; run 'chown' on it",
                       path, (unsigned long)st->st_uid, (unsigned long)geteuid());
    return true;
}

static bool judge_octets(const char *path, const struct cookie *c, struct err *err)
{
    if (c->len == 0)
        return err_set(err, ERR_CONFIG, "cookie file %s is empty", path);
    if (memchr(c->bytes, '\n', c->len) != NULL || memchr(c->bytes, '\r', c->len) != NULL)
        return err_set(
            err, ERR_CONFIG,
            "cookie file %s holds a line break, which would be part of the cookie; write "
            "it with 'echo -n'",
            path);
    if (c->len < COOKIE_SHORT)
        log_warn("cookie", "-",
                 "the cookie is short and could be guessed file=%s octets=%zu "
                 "recommended=%zu",
                 path, c->len, COOKIE_SHORT);
    return true;
}

static bool read_octets(int fd, const char *path, struct cookie *out, struct err *err)
{
    uint8_t one_more;
    out->len = 0;
    for (;;) {
        bool is_full = out->len == COOKIE_MAX;
        ssize_t n = read(fd, is_full ? &one_more : out->bytes + out->len,
                         is_full ? 1 : COOKIE_MAX - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_IO, "cannot read cookie file %s: %s", path, strerror(errno));
        if (n == 0)
            return true;
        if (is_full)
            return err_set(err, ERR_CONFIG, "cookie file %s is longer than %zu octets", path,
                           COOKIE_MAX);
        out->len += (size_t)n;
    }
}

bool cookie_read(const char *path, struct cookie *out, struct err *err)
{
    out->len = 0;
    /* What is judged is what is read: the open file, not the name. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                       "cannot open cookie file %s: %s", path, strerror(errno));
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    bool ok = judge_owner(path, &st, err) && read_octets(fd, path, out, err) &&
              judge_octets(path, out, err);
    close(fd);
    if (!ok)
        cookie_wipe(out);
    return ok;
}

static bool make(const char *path, struct err *err)
{
    static const char letters[32] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t made[MADE_BYTES];
    random_octets(made, sizeof made);
    for (size_t i = 0; i < sizeof made; i++)
        made[i] = (uint8_t)letters[made[i] % sizeof letters];
    bool ok = file_create(path, slice_of(made, sizeof made), 0400, err);
    OPENSSL_cleanse(made, sizeof made);
    /* Another node of this host was quicker: its cookie is as good. */
    return ok || err->code == ERR_REFUSED;
}

bool cookie_read_or_make(const char *path, struct cookie *out, struct err *err)
{
    if (cookie_read(path, out, err))
        return true;
    if (err->code != ERR_NOT_FOUND)
        return false;
    if (!make(path, err))
        return err_context(err, "cookie file");
    return cookie_read(path, out, err);
}

void cookie_wipe(struct cookie *c)
{
    OPENSSL_cleanse(c, sizeof *c);
}
