#include "io/disk.h"

#include "base/check.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define PARTS_AT_ONCE 256u                /* of one pwritev; the system takes 1024 */
#define SECTOR        512u                /* the least that a device may write */
#define THROUGH_BYTES ((size_t)64 * 1024) /* of a write that goes past the page cache */
#define THROUGH_ALIGN ((size_t)4096)      /* of its memory: no device asks for more */

struct machine_disk {
    struct disk base;
    char *folder;
    int fd;
};

struct machine_file {
    struct disk_file base;
    char *name;
    int fd;
    int through_fd;   /* past the page cache; -1: there is none */
    uint8_t *through; /* what is written there, aligned within its room */
    uint8_t *through_room;
};

static struct machine_disk *disk_of(struct disk *d)
{
    return CONTAINER_OF(d, struct machine_disk, base);
}

static struct machine_file *file_of(struct disk_file *f)
{
    return CONTAINER_OF(f, struct machine_file, base);
}

static enum err_code code_of(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EMFILE: /* it goes by, and need not be the end of anything */
    case ENFILE:
        return ERR_LIMIT;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EROFS:
    case EACCES:
    case EPERM:
        return ERR_REFUSED;
    default:
        return ERR_IO;
    }
}

static bool failed(struct machine_disk *d, const char *what, const char *name, struct err *err)
{
    int error = errno;
    return err_set(err, code_of(error), "cannot %s %s/%s: %s", what, d->folder, name,
                   strerror(error));
}

static bool file_failed(struct machine_file *f, const char *what, struct err *err)
{
    return failed(disk_of(f->base.disk), what, f->name, err);
}

/* The disk's own folder has no name in it. */
static const char *folder_at(const char *name)
{
    return name[0] != '\0' ? name : ".";
}

/* ---- files ---------------------------------------------------------------------------------- */

static struct disk_file *machine_open(struct disk *d, const char *name, enum disk_open how,
                                      struct err *err)
{
    static const int flags[] = {
        [DISK_READ] = O_RDONLY,
        [DISK_WRITE] = O_RDWR,
        [DISK_CREATE] = O_RDWR | O_CREAT | O_EXCL,
    };
    int fd;
    do
        fd = openat(disk_of(d)->fd, name, flags[how] | O_CLOEXEC | O_NOCTTY, 0600);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        (void)failed(disk_of(d), how == DISK_CREATE ? "create" : "open", name, err);
        return NULL;
    }
    struct machine_file *f = mem_zalloc(sizeof *f);
    f->base.disk = d;
    f->name = mem_strdup(name);
    f->fd = fd;
    f->through_fd = -1;
    return &f->base;
}

static void end_through(struct machine_file *f)
{
    if (f->through_fd < 0)
        return;
    close(f->through_fd);
    f->through_fd = -1;
    mem_free(f->through_room);
    f->through = f->through_room = NULL;
}

static void machine_close(struct disk_file **file)
{
    struct machine_file *f = file_of(*file);
    *file = NULL;
    end_through(f);
    close(f->fd);
    mem_free(f->name);
    mem_free(f);
}

static bool machine_size(struct disk_file *file, uint64_t *bytes, struct err *err)
{
    struct stat st;
    if (fstat(file_of(file)->fd, &st) != 0)
        return file_failed(file_of(file), "ask for the size of", err);
    *bytes = (uint64_t)st.st_size;
    return true;
}

static bool machine_read(struct disk_file *file, uint64_t offset, void *bytes, size_t len,
                         size_t *got, struct err *err)
{
    struct machine_file *f = file_of(file);
    *got = 0;
    while (*got < len) {
        ssize_t n = pread(f->fd, (uint8_t *)bytes + *got, len - *got, (off_t)(offset + *got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_failed(f, "read", err);
        if (n == 0)
            return true;
        *got += (size_t)n;
    }
    return true;
}

/* What is to be written yet: the first part from `skip` on. */
struct rest {
    const struct slice *parts;
    size_t count;
    size_t skip;
};

static int fill(struct iovec *iov, const struct rest *r)
{
    size_t n = r->count < PARTS_AT_ONCE ? r->count : PARTS_AT_ONCE;
    for (size_t i = 0; i < n; i++) {
        struct slice part = slice_from(r->parts[i], i == 0 ? r->skip : 0);
        iov[i] = (struct iovec){ (void *)(uintptr_t)part.ptr, part.len };
    }
    return (int)n;
}

static void skip(struct rest *r, size_t written)
{
    r->skip += written;
    while (r->count != 0 && r->skip >= r->parts->len) {
        r->skip -= r->parts->len;
        r->parts++;
        r->count--;
    }
    CHECK(r->count != 0 || r->skip == 0);
}

/* By its name, which another may have by now. */
static int open_again(struct machine_file *f, int flags)
{
    struct stat was, is;
    int fd = openat(disk_of(f->base.disk)->fd, f->name, flags | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -1;
    if (fstat(f->fd, &was) == 0 && fstat(fd, &is) == 0 && was.st_dev == is.st_dev &&
        was.st_ino == is.st_ino)
        return fd;
    close(fd);
    return -1;
}

/* The page cache would write whole pages where this writes sectors, and begin only when the sync
 * asks. Not every file system can do without it, and none says so before it is tried. */
static void machine_write_through(struct disk_file *file)
{
    struct machine_file *f = file_of(file);
    if (f->through_fd >= 0)
        return;
    f->through_fd = open_again(f, O_WRONLY | O_DIRECT);
    if (f->through_fd < 0)
        return;
    f->through_room = mem_alloc(THROUGH_BYTES + THROUGH_ALIGN);
    f->through = f->through_room + THROUGH_ALIGN - (uintptr_t)f->through_room % THROUGH_ALIGN;
}

/* The octets of all parts, gathered where they are aligned; 0: they are not for this. */
static size_t gather_through(struct machine_file *f, uint64_t offset, const struct rest *r)
{
    size_t len = 0;
    for (size_t i = 0; i < r->count; i++)
        len += r->parts[i].len;
    if (f->through_fd < 0 || len > THROUGH_BYTES || len % SECTOR != 0 || offset % SECTOR != 0)
        return 0;
    uint8_t *to = f->through;
    for (size_t i = 0; i < r->count; to += r->parts[i++].len)
        if (r->parts[i].len != 0)
            memcpy(to, r->parts[i].ptr, r->parts[i].len);
    return len;
}

/* False: it is to be written in the other way, all of it. What cannot be done once cannot be done
 * at all; whatever else fails is told by that other way, or by the sync. */
static bool wrote_through(struct machine_file *f, uint64_t offset, const struct rest *r)
{
    size_t len = gather_through(f, offset, r);
    ssize_t n;
    if (len == 0)
        return false;
    do
        n = pwrite(f->through_fd, f->through, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)len)
        return true;
    end_through(f);
    return false;
}

static bool machine_write(struct disk_file *file, uint64_t offset, const struct slice *parts,
                          size_t count, struct err *err)
{
    struct machine_file *f = file_of(file);
    struct rest rest = { parts, count, 0 };
    if (wrote_through(f, offset, &rest))
        return true;
    skip(&rest, 0); /* empty ones at the beginning */
    while (rest.count != 0) {
        struct iovec iov[PARTS_AT_ONCE];
        ssize_t n = pwritev(f->fd, iov, fill(iov, &rest), (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO; /* a regular file takes something or says why not */
        if (n <= 0)
            return file_failed(f, "write", err);
        offset += (size_t)n;
        skip(&rest, (size_t)n);
    }
    return true;
}

/* An interrupted sync has not failed yet. */
static bool sync_fd(int fd, int (*sync)(int fd))
{
    int result;
    do
        result = sync(fd);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

static bool machine_sync(struct disk_file *file, struct err *err)
{
    return sync_fd(file_of(file)->fd, fdatasync) || file_failed(file_of(file), "sync", err);
}

static bool machine_truncate(struct disk_file *file, uint64_t bytes, struct err *err)
{
    int result;
    do
        result = ftruncate(file_of(file)->fd, (off_t)bytes);
    while (result != 0 && errno == EINTR);
    return result == 0 || file_failed(file_of(file), "truncate", err);
}

/* ---- folders -------------------------------------------------------------------------------- */

static bool machine_make_folder(struct disk *d, const char *name, struct err *err)
{
    struct stat st;
    if (mkdirat(disk_of(d)->fd, name, 0700) == 0)
        return true;
    if (errno == EEXIST && fstatat(disk_of(d)->fd, name, &st, 0) == 0) {
        if (S_ISDIR(st.st_mode))
            return true;
        errno = ENOTDIR;
    }
    return failed(disk_of(d), "make the folder", name, err);
}

static bool machine_rename(struct disk *d, const char *from, const char *to, struct err *err)
{
    int fd = disk_of(d)->fd;
    return renameat(fd, from, fd, to) == 0 || failed(disk_of(d), "rename", from, err);
}

static bool machine_remove(struct disk *d, const char *name, struct err *err)
{
    return unlinkat(disk_of(d)->fd, name, 0) == 0 || failed(disk_of(d), "remove", name, err);
}

static int open_folder(struct machine_disk *d, const char *name)
{
    return openat(d->fd, folder_at(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool machine_sync_folder(struct disk *d, const char *name, struct err *err)
{
    int fd = open_folder(disk_of(d), name);
    bool ok = fd >= 0 && sync_fd(fd, fsync);
    if (!ok)
        (void)failed(disk_of(d), "sync the folder", name, err);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool machine_list(struct disk *d, const char *folder, disk_name_fn each, void *arg,
                         struct err *err)
{
    int fd = open_folder(disk_of(d), folder);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        (void)failed(disk_of(d), "list the folder", folder, err);
        if (fd >= 0)
            close(fd);
        return false;
    }
    const struct dirent *e;
    while (errno = 0, (e = readdir(dir)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            each(e->d_name, arg);
    bool ok = errno == 0 || failed(disk_of(d), "list the folder", folder, err);
    closedir(dir);
    return ok;
}

static bool machine_space(struct disk *d, uint64_t *free_bytes, uint64_t *total_bytes,
                          struct err *err)
{
    struct statvfs st;
    if (fstatvfs(disk_of(d)->fd, &st) != 0)
        return failed(disk_of(d), "ask for the free space of", "", err);
    *free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    *total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    return true;
}

/* ---- the disk itself ------------------------------------------------------------------------ */

static void machine_free(struct disk *base)
{
    struct machine_disk *d = disk_of(base);
    close(d->fd);
    mem_free(d->folder);
    mem_free(d);
}

static const struct disk_ops machine_ops = {
    .make_folder = machine_make_folder,
    .open = machine_open,
    .close = machine_close,
    .size = machine_size,
    .read = machine_read,
    .write = machine_write,
    .sync = machine_sync,
    .write_through = machine_write_through,
    .truncate = machine_truncate,
    .rename = machine_rename,
    .remove = machine_remove,
    .sync_folder = machine_sync_folder,
    .list = machine_list,
    .space = machine_space,
    .free_disk = machine_free,
};

struct disk *disk_new(const char *folder, struct err *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        (void)err_set(err, code_of(errno), "cannot open the folder %s: %s", folder,
                      strerror(errno));
        return NULL;
    }
    struct machine_disk *d = mem_zalloc(sizeof *d);
    d->base.ops = &machine_ops;
    d->folder = mem_strdup(folder);
    d->fd = fd;
    return &d->base;
}

void disk_free(struct disk **disk)
{
    struct disk *d = *disk;
    *disk = NULL;
    if (d != NULL)
        d->ops->free_disk(d);
}
