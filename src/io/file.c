#include "io/file.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/random.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_READ_BYTES ((size_t)4096)
#define PID_TEXT_MAX     32

static bool failed(struct err *err, const char *what, const char *path)
{
    enum err_code code = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    return err_set(err, code, "cannot %s %s: %s", what, path, strerror(errno));
}

/* ---- reading -------------------------------------------------------------------------------- */

static ssize_t read_some(int fd, uint8_t *into, size_t room)
{
    ssize_t n;
    do
        n = read(fd, into, room);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Not by the size that stat tells: files in /proc say 0, others grow meanwhile. */
static bool read_all(int fd, const char *path, size_t max_bytes, uint8_t **bytes, size_t *len,
                     struct err *err)
{
    size_t cap = FIRST_READ_BYTES, got = 0;
    uint8_t *at = mem_alloc(cap);
    for (;;) {
        if (got + 1 == cap) {
            cap *= 2;
            at = mem_realloc(at, cap);
        }
        ssize_t n = read_some(fd, at + got, cap - got - 1);
        if (n < 0) {
            (void)failed(err, "read", path);
            break;
        }
        got += (size_t)n;
        if (got > max_bytes) {
            (void)err_set(err, ERR_LIMIT, "%s is longer than %zu octets", path, max_bytes);
            break;
        }
        if (n == 0) {
            at[got] = '\0';
            *bytes = at;
            *len = got;
            return true;
        }
    }
    mem_free(at);
    return false;
}

bool file_read(const char *path, size_t max_bytes, uint8_t **bytes, size_t *len, struct err *err)
{
    *bytes = NULL;
    *len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return failed(err, "open", path);
    bool ok = read_all(fd, path, max_bytes, bytes, len, err);
    close(fd);
    return ok;
}

/* ---- writing -------------------------------------------------------------------------------- */

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.len != 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            bytes = slice_from(bytes, (size_t)n);
    }
    return true;
}

static bool sync_folder_of(const char *path, struct err *err)
{
    char *copy = mem_strdup(path);
    const char *folder = dirname(copy);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (!ok)
        (void)failed(err, "sync the folder", folder);
    if (fd >= 0)
        close(fd);
    mem_free(copy);
    return ok;
}

/* Beside the path, so that it is on the same file system, under a name that nobody else takes. */
static bool write_temporary(const char *path, struct slice bytes, mode_t mode, char *temporary,
                            struct err *err)
{
    if (snprintf(temporary, PATH_MAX, "%s.%016" PRIx64 ".tmp", path, random_u64()) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return failed(err, "write", path);
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(err, "create", temporary);
    bool ok = write_all(fd, bytes) && fchmod(fd, mode) == 0 && fsync(fd) == 0;
    if (!ok)
        (void)failed(err, "write", temporary);
    close(fd);
    if (!ok)
        (void)unlink(temporary);
    return ok;
}

bool file_write(const char *path, struct slice bytes, mode_t mode, struct err *err)
{
    char temporary[PATH_MAX];
    if (!write_temporary(path, bytes, mode, temporary, err))
        return false;
    if (rename(temporary, path) != 0) {
        (void)failed(err, "write", path);
        (void)unlink(temporary);
        return false;
    }
    return sync_folder_of(path, err);
}

bool file_create(const char *path, struct slice bytes, mode_t mode, struct err *err)
{
    char temporary[PATH_MAX];
    if (!write_temporary(path, bytes, mode, temporary, err))
        return false;
    /* Unlike rename, link never replaces. */
    bool ok = link(temporary, path) == 0;
    if (!ok && errno == EEXIST)
        (void)err_set(err, ERR_REFUSED, "%s exists already", path);
    else if (!ok)
        (void)failed(err, "create", path);
    (void)unlink(temporary);
    return ok && sync_folder_of(path, err);
}

/* Who may write in the folder above but not read it cannot have it synced. */
static bool may_sync_folder_of(const char *path)
{
    char *copy = mem_strdup(path);
    bool may = access(dirname(copy), R_OK) == 0;
    mem_free(copy);
    return may;
}

/* What is synced in a new folder is worth nothing if its own name is not there after a power cut.
 */
static bool make_folder(const char *path, mode_t mode, struct err *err)
{
    if (mkdir(path, mode) == 0)
        return !may_sync_folder_of(path) || sync_folder_of(path, err);
    struct stat st;
    if (errno == EEXIST && stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return true;
        errno = ENOTDIR;
    }
    return failed(err, "create the folder", path);
}

bool file_make_folders(const char *path, mode_t mode, struct err *err)
{
    char *part = mem_strdup(path);
    bool ok = true;
    for (char *slash = strchr(part + (part[0] == '/'), '/'); slash != NULL && ok;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = make_folder(part, mode, err);
        *slash = '/';
    }
    if (ok)
        ok = make_folder(part, mode, err);
    mem_free(part);
    return ok;
}

/* ---- pid files ------------------------------------------------------------------------------ */

struct pid_file {
    int fd; /* -1: nothing is held */
    char *path;
    bool stays;
};

static void name_holder(int fd, const char *path, struct err *err)
{
    char text[PID_TEXT_MAX];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    char room[PID_TEXT_MAX * 4];
    struct text pid = text_over(room, sizeof room);
    text_escaped(&pid, slice_str(text));
    (void)err_set(err, ERR_REFUSED, "%s: process %s is running already", path,
                  pid.len != 0 ? room : "(unknown)");
}

/* Between our open and our lock its last holder may have removed the file: then we have locked
 * what nobody will find. */
static bool is_still_there(int fd, const char *path)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

/* The locked file, or -1. */
static int open_locked(const char *path, struct err *err)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            (void)failed(err, "open", path);
            return -1;
        }
        int result;
        do
            result = flock(fd, LOCK_EX | LOCK_NB);
        while (result != 0 && errno == EINTR);
        if (result == 0 && is_still_there(fd, path))
            return fd;
        if (result != 0 && errno == EWOULDBLOCK)
            name_holder(fd, path, err);
        else if (result != 0)
            (void)failed(err, "lock", path);
        close(fd);
        if (result != 0)
            return -1;
    }
}

struct pid_file *pid_file_take(const char *path, struct err *err)
{
    int fd = open_locked(path, err);
    if (fd < 0)
        return NULL;
    char text[PID_TEXT_MAX];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || !write_all(fd, slice_of(text, (size_t)len))) {
        (void)failed(err, "write", path);
        close(fd);
        return NULL;
    }
    struct pid_file *p = mem_zalloc(sizeof *p);
    p->fd = fd;
    p->path = mem_strdup(path);
    return p;
}

struct pid_file *pid_file_replace(const char *path, struct err *err)
{
    char fresh[PATH_MAX];
    int n = snprintf(fresh, sizeof fresh, "%s.%ld", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof fresh) {
        (void)err_set(err, ERR_CONFIG, "the path %s is too long", path);
        return NULL;
    }
    struct pid_file *p = pid_file_take(fresh, err);
    if (p == NULL)
        return NULL;
    if (rename(fresh, path) != 0) {
        (void)failed(err, "rename", fresh);
        pid_file_free(&p);
        return NULL;
    }
    mem_free(p->path);
    p->path = mem_strdup(path);
    return p;
}

struct pid_file *pid_file_borrow(const char *path, struct err *err)
{
    bool was_there = access(path, F_OK) == 0;
    struct pid_file *p = mem_zalloc(sizeof *p);
    p->stays = was_there;
    p->path = mem_strdup(path);
    p->fd = open_locked(path, err);
    int why = p->fd < 0 ? errno : 0;
    bool may_only_be_read = err->code == ERR_IO && (why == EROFS || why == EACCES);
    if (p->fd >= 0 || may_only_be_read)
        return p;
    mem_free(p->path);
    mem_free(p);
    return NULL;
}

void pid_file_free(struct pid_file **pid_file)
{
    struct pid_file *p = *pid_file;
    *pid_file = NULL;
    if (p == NULL)
        return;
    /* First the name, then the lock: whoever comes between makes a new file. */
    if (p->fd >= 0 && !p->stays && is_still_there(p->fd, p->path))
        (void)unlink(p->path);
    if (p->fd >= 0)
        close(p->fd);
    mem_free(p->path);
    mem_free(p);
}
