#include "mem_disk.h"

#include "base/check.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

#define FILES_MAX 4096u

struct mem_file {
    char *name; /* NULL: it was removed, and is still open */
    uint8_t *bytes;
    size_t len;
    size_t cap;
    unsigned refs;
};

struct mem_handle {
    struct disk_file base;
    struct mem_file *file;
    bool writable;
};

struct failing {
    enum err_code code;
    unsigned after;
    bool for_good;
};

struct mem_disk {
    struct disk base;
    pthread_mutex_t lock;
    struct mem_file *files[FILES_MAX];
    size_t count;
    struct failing failing[MEM_DISK_OPS];
    unsigned calls[MEM_DISK_OPS];
    uint64_t free_bytes;
    uint64_t total_bytes;
};

static struct mem_disk *of(struct disk *d)
{
    return CONTAINER_OF(d, struct mem_disk, base);
}

static struct mem_disk *enter(struct disk *d)
{
    pthread_mutex_lock(&of(d)->lock);
    return of(d);
}

static void leave(struct mem_disk *m)
{
    pthread_mutex_unlock(&m->lock);
}

static void file_unref(struct mem_file *f)
{
    if (--f->refs != 0)
        return;
    mem_free(f->name);
    mem_free(f->bytes);
    mem_free(f);
}

static size_t find(const struct mem_disk *m, const char *name)
{
    size_t i = 0;
    while (i < m->count && strcmp(m->files[i]->name, name) != 0)
        i++;
    return i;
}

static struct mem_file *add(struct mem_disk *m, const char *name)
{
    CHECK(m->count < FILES_MAX);
    struct mem_file *f = mem_zalloc(sizeof *f);
    f->name = mem_strdup(name);
    f->refs = 1;
    m->files[m->count++] = f;
    return f;
}

static void drop_at(struct mem_disk *m, size_t i)
{
    struct mem_file *f = m->files[i];
    m->files[i] = m->files[--m->count];
    mem_free(f->name);
    f->name = NULL;
    file_unref(f);
}

static void resize(struct mem_file *f, size_t len)
{
    if (len > f->cap) {
        f->cap = len > 2 * f->cap ? len : 2 * f->cap;
        f->bytes = mem_realloc(f->bytes, f->cap);
    }
    if (len > f->len)
        memset(f->bytes + f->len, 0, len - f->len);
    f->len = len;
}

static bool fails(struct mem_disk *m, enum mem_disk_op op, const char *what, const char *name,
                  struct err *err)
{
    struct failing *f = &m->failing[op];
    m->calls[op]++;
    if (f->code == ERR_NONE)
        return false;
    if (f->after != 0) {
        f->after--;
        return false;
    }
    err_set(err, f->code, "%s: cannot %s: as the test wants", name != NULL ? name : "?", what);
    if (!f->for_good)
        f->code = ERR_NONE;
    return true;
}

/* ---- operations -------------------------------------------------------------------------------
 */

static bool make_folder(struct disk *d, const char *name, struct err *err)
{
    (void)d;
    (void)name;
    (void)err;
    return true;
}

static struct mem_file *open_file(struct mem_disk *m, const char *name, enum disk_open how,
                                  struct err *err)
{
    if (fails(m, MEM_DISK_OPEN, "open", name, err))
        return NULL;
    size_t i = find(m, name);
    if (how == DISK_CREATE) {
        if (i < m->count)
            return err_set(err, ERR_IO, "%s: is there already", name), NULL;
        return add(m, name);
    }
    if (i == m->count)
        return err_set(err, ERR_NOT_FOUND, "%s: no such file", name), NULL;
    return m->files[i];
}

static struct disk_file *open_handle(struct disk *d, const char *name, enum disk_open how,
                                     struct err *err)
{
    struct mem_disk *m = enter(d);
    struct mem_handle *h = NULL;
    struct mem_file *f = open_file(m, name, how, err);
    if (f != NULL) {
        f->refs++;
        h = mem_zalloc(sizeof *h);
        h->base.disk = d;
        h->file = f;
        h->writable = how != DISK_READ;
    }
    leave(m);
    return h != NULL ? &h->base : NULL;
}

static struct mem_handle *handle(struct disk_file *f)
{
    return CONTAINER_OF(f, struct mem_handle, base);
}

static void close_handle(struct disk_file **f)
{
    if (*f == NULL)
        return;
    struct mem_handle *h = handle(*f);
    struct mem_disk *m = enter((*f)->disk);
    file_unref(h->file);
    leave(m);
    mem_free(h);
    *f = NULL;
}

static bool size(struct disk_file *f, uint64_t *bytes, struct err *err)
{
    (void)err;
    struct mem_disk *m = enter(f->disk);
    *bytes = handle(f)->file->len;
    leave(m);
    return true;
}

static bool read_bytes(struct disk_file *f, uint64_t offset, void *bytes, size_t len, size_t *got,
                       struct err *err)
{
    struct mem_disk *m = enter(f->disk);
    struct mem_file *file = handle(f)->file;
    bool ok = !fails(m, MEM_DISK_READ, "read", file->name, err);
    if (ok) {
        size_t left = offset < file->len ? file->len - (size_t)offset : 0;
        *got = len < left ? len : left;
        if (*got != 0)
            memcpy(bytes, file->bytes + offset, *got);
    }
    leave(m);
    return ok;
}

static bool write_bytes(struct disk_file *f, uint64_t offset, const struct slice *parts,
                        size_t count, struct err *err)
{
    CHECK(handle(f)->writable);
    struct mem_disk *m = enter(f->disk);
    struct mem_file *file = handle(f)->file;
    bool ok = !fails(m, MEM_DISK_WRITE, "write", file->name, err);
    for (size_t i = 0; ok && i < count; i++) {
        if (offset + parts[i].len > file->len)
            resize(file, (size_t)offset + parts[i].len);
        if (parts[i].len != 0)
            memcpy(file->bytes + offset, parts[i].ptr, parts[i].len);
        offset += parts[i].len;
    }
    leave(m);
    return ok;
}

static bool sync_file(struct disk_file *f, struct err *err)
{
    struct mem_disk *m = enter(f->disk);
    bool ok = !fails(m, MEM_DISK_SYNC, "sync", handle(f)->file->name, err);
    leave(m);
    return ok;
}

static bool truncate_file(struct disk_file *f, uint64_t bytes, struct err *err)
{
    struct mem_disk *m = enter(f->disk);
    bool ok = !fails(m, MEM_DISK_WRITE, "truncate", handle(f)->file->name, err);
    if (ok)
        resize(handle(f)->file, (size_t)bytes);
    leave(m);
    return ok;
}

static bool rename_file(struct disk *d, const char *from, const char *to, struct err *err)
{
    struct mem_disk *m = enter(d);
    size_t i = find(m, from);
    bool ok = i < m->count;
    if (!ok)
        err_set(err, ERR_NOT_FOUND, "%s: no such file", from);
    if (ok && strcmp(from, to) != 0) {
        struct mem_file *f = m->files[i];
        size_t old = find(m, to);
        if (old < m->count)
            drop_at(m, old);
        mem_free(f->name);
        f->name = mem_strdup(to);
    }
    leave(m);
    return ok;
}

static bool remove_file(struct disk *d, const char *name, struct err *err)
{
    struct mem_disk *m = enter(d);
    size_t i = find(m, name);
    bool ok = i < m->count;
    if (ok)
        drop_at(m, i);
    else
        err_set(err, ERR_NOT_FOUND, "%s: no such file", name);
    leave(m);
    return ok;
}

static bool sync_folder(struct disk *d, const char *name, struct err *err)
{
    struct mem_disk *m = enter(d);
    bool ok = !fails(m, MEM_DISK_SYNC, "sync", name, err);
    leave(m);
    return ok;
}

/* The names are gathered first, so that `each` may use the disk. */
static bool list(struct disk *d, const char *folder, disk_name_fn each, void *arg, struct err *err)
{
    (void)err;
    struct mem_disk *m = enter(d);
    size_t count = 0;
    size_t n = strlen(folder);
    char **names = mem_array(m->count + 1, sizeof *names);
    for (size_t i = 0; i < m->count; i++) {
        const char *name = m->files[i]->name;
        if (strncmp(name, folder, n) == 0 && name[n] == '/' && strchr(name + n + 1, '/') == NULL)
            names[count++] = mem_strdup(name + n + 1);
    }
    leave(m);
    for (size_t i = 0; i < count; i++) {
        each(names[i], arg);
        mem_free(names[i]);
    }
    mem_free(names);
    return true;
}

static void write_through(struct disk_file *file)
{
    struct mem_disk *m = enter(file->disk);
    m->calls[MEM_DISK_WRITE_THROUGH]++;
    leave(m);
}

static bool space(struct disk *d, uint64_t *free_bytes, uint64_t *total_bytes, struct err *err)
{
    (void)err;
    struct mem_disk *m = enter(d);
    *free_bytes = m->free_bytes;
    *total_bytes = m->total_bytes;
    leave(m);
    return true;
}

static void free_disk(struct disk *d)
{
    struct mem_disk *m = of(d);
    while (m->count != 0)
        drop_at(m, m->count - 1);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static const struct disk_ops ops = {
    .make_folder = make_folder,
    .open = open_handle,
    .close = close_handle,
    .size = size,
    .read = read_bytes,
    .write = write_bytes,
    .sync = sync_file,
    .write_through = write_through,
    .truncate = truncate_file,
    .rename = rename_file,
    .remove = remove_file,
    .sync_folder = sync_folder,
    .list = list,
    .space = space,
    .free_disk = free_disk,
};

/* ---- from outside -----------------------------------------------------------------------------
 */

struct disk *mem_disk_new(void)
{
    struct mem_disk *m = mem_zalloc(sizeof *m);
    m->base.ops = &ops;
    m->free_bytes = (uint64_t)1 << 30;
    m->total_bytes = (uint64_t)2 << 30;
    pthread_mutex_init(&m->lock, NULL);
    return &m->base;
}

struct disk *mem_disk_copy(struct disk *d)
{
    struct disk *copy = mem_disk_new();
    struct mem_disk *m = enter(d);
    for (size_t i = 0; i < m->count; i++) {
        struct mem_file *f = add(of(copy), m->files[i]->name);
        resize(f, m->files[i]->len);
        if (f->len != 0)
            memcpy(f->bytes, m->files[i]->bytes, f->len);
    }
    of(copy)->free_bytes = m->free_bytes;
    of(copy)->total_bytes = m->total_bytes;
    leave(m);
    return copy;
}

bool mem_disk_has(struct disk *d, const char *name)
{
    struct mem_disk *m = enter(d);
    bool has = find(m, name) < m->count;
    leave(m);
    return has;
}

void mem_disk_put(struct disk *d, const char *name, struct slice bytes)
{
    struct mem_disk *m = enter(d);
    size_t i = find(m, name);
    struct mem_file *f = i < m->count ? m->files[i] : add(m, name);
    resize(f, bytes.len);
    if (bytes.len != 0)
        memcpy(f->bytes, bytes.ptr, bytes.len);
    leave(m);
}

uint8_t *mem_disk_bytes(struct disk *d, const char *name, size_t *len)
{
    struct mem_disk *m = enter(d);
    size_t i = find(m, name);
    uint8_t *bytes = i < m->count ? m->files[i]->bytes : NULL;
    *len = bytes != NULL ? m->files[i]->len : 0;
    leave(m);
    return bytes;
}

void mem_disk_resize(struct disk *d, const char *name, size_t len)
{
    struct mem_disk *m = enter(d);
    size_t i = find(m, name);
    CHECK(i < m->count);
    resize(m->files[i], len);
    leave(m);
}

void mem_disk_fail(struct disk *d, enum mem_disk_op op, unsigned after, enum err_code code,
                   bool for_good)
{
    struct mem_disk *m = enter(d);
    m->failing[op] = (struct failing){ code, after, for_good };
    leave(m);
}

unsigned mem_disk_calls(struct disk *d, enum mem_disk_op op)
{
    struct mem_disk *m = enter(d);
    unsigned calls = m->calls[op];
    leave(m);
    return calls;
}

void mem_disk_set_space(struct disk *d, uint64_t free_bytes, uint64_t total_bytes)
{
    struct mem_disk *m = enter(d);
    m->free_bytes = free_bytes;
    m->total_bytes = total_bytes;
    leave(m);
}
