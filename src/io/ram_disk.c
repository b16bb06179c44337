#include "io/ram_disk.h"

#include "base/check.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

struct ram_file {
    char *name; /* NULL: it was removed, and is still open */
    uint8_t *bytes;
    size_t len;
    size_t cap;
    unsigned refs; /* the name's and the handles' */
    TAILQ_ENTRY(ram_file) entry;
};

struct ram_handle {
    struct disk_file base;
    struct ram_file *file;
};

struct ram_disk {
    struct disk base;
    pthread_mutex_t lock;
    TAILQ_HEAD(, ram_file) files;
};

static struct ram_disk *enter(struct disk *d)
{
    struct ram_disk *r = CONTAINER_OF(d, struct ram_disk, base);
    pthread_mutex_lock(&r->lock);
    return r;
}

static void leave(struct ram_disk *r)
{
    pthread_mutex_unlock(&r->lock);
}

static struct ram_file *find(struct ram_disk *r, const char *name)
{
    struct ram_file *f;
    TAILQ_FOREACH (f, &r->files, entry)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static bool no_file(const char *name, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "%s: no such file", name);
}

static void drop(struct ram_file *f)
{
    if (--f->refs != 0)
        return;
    mem_free(f->name);
    mem_free(f->bytes);
    mem_free(f);
}

static void take_name_away(struct ram_disk *r, struct ram_file *f)
{
    TAILQ_REMOVE(&r->files, f, entry);
    mem_free(f->name);
    f->name = NULL;
    drop(f);
}

static struct ram_file *add(struct ram_disk *r, const char *name)
{
    struct ram_file *f = mem_zalloc(sizeof *f);
    f->name = mem_strdup(name);
    f->refs = 1;
    TAILQ_INSERT_TAIL(&r->files, f, entry);
    return f;
}

/* By a quarter at a time: what is kept here is large. */
static void resize(struct ram_file *f, size_t len)
{
    if (len > f->cap) {
        size_t more = f->cap + f->cap / 4;
        f->cap = len > more ? len : more;
        f->bytes = mem_realloc(f->bytes, f->cap);
    }
    if (len > f->len)
        memset(f->bytes + f->len, 0, len - f->len);
    f->len = len;
}

/* ---- operations ---- */

static bool make_folder(struct disk *d, const char *name, struct err *err)
{
    (void)d;
    (void)name;
    (void)err;
    return true;
}

static struct ram_file *open_file(struct ram_disk *r, const char *name, enum disk_open how,
                                  struct err *err)
{
    struct ram_file *f = find(r, name);
    if (how == DISK_CREATE && f == NULL)
        return add(r, name);
    if (how == DISK_CREATE)
        (void)err_set(err, ERR_IO, "%s: is there already", name);
    else if (f == NULL)
        (void)no_file(name, err);
    else
        return f;
    return NULL;
}

static struct disk_file *open_handle(struct disk *d, const char *name, enum disk_open how,
                                     struct err *err)
{
    struct ram_disk *r = enter(d);
    struct ram_handle *h = NULL;
    struct ram_file *f = open_file(r, name, how, err);
    if (f != NULL) {
        f->refs++;
        h = mem_zalloc(sizeof *h);
        h->base.disk = d;
        h->file = f;
    }
    leave(r);
    return h != NULL ? &h->base : NULL;
}

static struct ram_file *file_of(struct disk_file *f)
{
    return CONTAINER_OF(f, struct ram_handle, base)->file;
}

static void close_handle(struct disk_file **f)
{
    if (*f == NULL)
        return;
    struct ram_handle *h = CONTAINER_OF(*f, struct ram_handle, base);
    struct ram_disk *r = enter((*f)->disk);
    drop(h->file);
    leave(r);
    mem_free(h);
    *f = NULL;
}

static bool size(struct disk_file *f, uint64_t *bytes, struct err *err)
{
    (void)err;
    struct ram_disk *r = enter(f->disk);
    *bytes = file_of(f)->len;
    leave(r);
    return true;
}

static bool read_bytes(struct disk_file *f, uint64_t offset, void *bytes, size_t len, size_t *got,
                       struct err *err)
{
    (void)err;
    struct ram_disk *r = enter(f->disk);
    const struct ram_file *file = file_of(f);
    size_t left = offset < file->len ? file->len - (size_t)offset : 0;
    *got = len < left ? len : left;
    if (*got != 0)
        memcpy(bytes, file->bytes + offset, *got);
    leave(r);
    return true;
}

static bool write_bytes(struct disk_file *f, uint64_t offset, const struct slice *parts,
                        size_t count, struct err *err)
{
    (void)err;
    struct ram_disk *r = enter(f->disk);
    struct ram_file *file = file_of(f);
    for (size_t i = 0; i < count; i++) {
        if (offset + parts[i].len > file->len)
            resize(file, (size_t)offset + parts[i].len);
        if (parts[i].len != 0)
            memcpy(file->bytes + offset, parts[i].ptr, parts[i].len);
        offset += parts[i].len;
    }
    leave(r);
    return true;
}

static bool sync_file(struct disk_file *f, struct err *err)
{
    (void)f;
    (void)err;
    return true;
}

static bool truncate_file(struct disk_file *f, uint64_t bytes, struct err *err)
{
    (void)err;
    struct ram_disk *r = enter(f->disk);
    resize(file_of(f), (size_t)bytes);
    leave(r);
    return true;
}

static bool rename_file(struct disk *d, const char *from, const char *to, struct err *err)
{
    struct ram_disk *r = enter(d);
    struct ram_file *f = find(r, from), *old = find(r, to);
    if (f != NULL && old != f) {
        if (old != NULL)
            take_name_away(r, old);
        mem_free(f->name);
        f->name = mem_strdup(to);
    }
    leave(r);
    return f != NULL || no_file(from, err);
}

static bool remove_file(struct disk *d, const char *name, struct err *err)
{
    struct ram_disk *r = enter(d);
    struct ram_file *f = find(r, name);
    if (f != NULL)
        take_name_away(r, f);
    leave(r);
    return f != NULL || no_file(name, err);
}

static bool sync_folder(struct disk *d, const char *name, struct err *err)
{
    (void)d;
    (void)name;
    (void)err;
    return true;
}

static size_t count_of(struct ram_disk *r)
{
    size_t count = 0;
    struct ram_file *f;
    TAILQ_FOREACH (f, &r->files, entry)
        count++;
    return count;
}

/* The names are gathered first, so that `each` may use the disk. */
static bool list(struct disk *d, const char *folder, disk_name_fn each, void *arg, struct err *err)
{
    (void)err;
    struct ram_disk *r = enter(d);
    struct ram_file *f;
    size_t count = 0, n = strlen(folder);
    char **names = mem_array(count_of(r) + 1, sizeof *names);
    TAILQ_FOREACH (f, &r->files, entry)
        if (strncmp(f->name, folder, n) == 0 && f->name[n] == '/' &&
            strchr(f->name + n + 1, '/') == NULL)
            names[count++] = mem_strdup(f->name + n + 1);
    leave(r);
    for (size_t i = 0; i < count; i++) {
        each(names[i], arg);
        mem_free(names[i]);
    }
    mem_free(names);
    return true;
}

/* There is no telling. */
static bool space(struct disk *d, uint64_t *free_bytes, uint64_t *total_bytes, struct err *err)
{
    (void)d;
    (void)err;
    *free_bytes = *total_bytes = UINT64_MAX;
    return true;
}

static void free_disk(struct disk *d)
{
    struct ram_disk *r = CONTAINER_OF(d, struct ram_disk, base);
    struct ram_file *f;
    while ((f = TAILQ_FIRST(&r->files)) != NULL) {
        CHECK(f->refs == 1);
        take_name_away(r, f);
    }
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

static const struct disk_ops ram_ops = {
    .make_folder = make_folder,
    .open = open_handle,
    .close = close_handle,
    .size = size,
    .read = read_bytes,
    .write = write_bytes,
    .sync = sync_file,
    .truncate = truncate_file,
    .rename = rename_file,
    .remove = remove_file,
    .sync_folder = sync_folder,
    .list = list,
    .space = space,
    .free_disk = free_disk,
};

struct disk *ram_disk_new(void)
{
    struct ram_disk *r = mem_zalloc(sizeof *r);
    r->base.ops = &ram_ops;
    TAILQ_INIT(&r->files);
    pthread_mutex_init(&r->lock, NULL);
    return &r->base;
}
