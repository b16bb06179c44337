#include "disk_kit.h"

#include "base/mem.h"
#include "expect.h"

struct kit_disk_file {
    struct disk_file base;
    struct disk_file *under;
};

static struct kit_disk *kit_of(struct disk *d)
{
    return CONTAINER_OF(d, struct kit_disk, base);
}

static struct disk_file *under_of(struct disk_file *f)
{
    return CONTAINER_OF(f, struct kit_disk_file, base)->under;
}

static const struct disk_ops *ops_of(struct disk *d)
{
    return kit_of(d)->under->ops;
}

static bool goes(struct disk *disk, enum kit_op op, struct err *err)
{
    struct kit_disk *d = kit_of(disk);
    atomic_fetch_add(&d->counts[op], 1);
    unsigned n = atomic_load(&d->fail_in[op]);
    if (n == 0)
        return true;
    if (n > 1) {
        atomic_store(&d->fail_in[op], n - 1);
        return true;
    }
    return err_set(err, d->code != ERR_NONE ? d->code : ERR_IO, "the test wants it so");
}

static bool kit_make_folder(struct disk *d, const char *name, struct err *err)
{
    return ops_of(d)->make_folder(kit_of(d)->under, name, err);
}

static struct disk_file *kit_open(struct disk *d, const char *name, enum disk_open how,
                                  struct err *err)
{
    if (!goes(d, how == DISK_CREATE ? KIT_CREATE : KIT_OPEN, err))
        return NULL;
    struct disk_file *under = ops_of(d)->open(kit_of(d)->under, name, how, err);
    if (under == NULL)
        return NULL;
    struct kit_disk_file *f = mem_alloc(sizeof *f);
    f->base.disk = d;
    f->under = under;
    return &f->base;
}

static void kit_close(struct disk_file **file)
{
    struct kit_disk_file *f = CONTAINER_OF(*file, struct kit_disk_file, base);
    f->under->disk->ops->close(&f->under);
    mem_free(f);
    *file = NULL;
}

static bool kit_size(struct disk_file *f, uint64_t *bytes, struct err *err)
{
    return ops_of(f->disk)->size(under_of(f), bytes, err);
}

static bool kit_read(struct disk_file *f, uint64_t offset, void *bytes, size_t len, size_t *got,
                     struct err *err)
{
    return goes(f->disk, KIT_READ, err) &&
           ops_of(f->disk)->read(under_of(f), offset, bytes, len, got, err);
}

static bool has_room(struct disk_file *f, uint64_t end, struct err *err)
{
    struct kit_disk *d = kit_of(f->disk);
    uint64_t size = 0;
    int64_t room = atomic_load(&d->room);
    if (room < 0)
        return true;
    if (!kit_size(f, &size, err))
        return false;
    if (end <= size)
        return true;
    if (end - size > (uint64_t)room)
        return err_set(err, ERR_LIMIT, "the test's disk is full");
    atomic_fetch_sub(&d->room, (int64_t)(end - size));
    return true;
}

static bool kit_write(struct disk_file *f, uint64_t offset, const struct slice *parts, size_t count,
                      struct err *err)
{
    uint64_t end = offset;
    for (size_t i = 0; i < count; i++)
        end += parts[i].len;
    return goes(f->disk, KIT_WRITE, err) && has_room(f, end, err) &&
           ops_of(f->disk)->write(under_of(f), offset, parts, count, err);
}

static bool kit_sync(struct disk_file *f, struct err *err)
{
    struct kit_disk *d = kit_of(f->disk);
    if (d->on_sync != NULL)
        d->on_sync(d->arg);
    return goes(f->disk, KIT_SYNC, err) && ops_of(f->disk)->sync(under_of(f), err);
}

static bool kit_truncate(struct disk_file *f, uint64_t bytes, struct err *err)
{
    return ops_of(f->disk)->truncate(under_of(f), bytes, err);
}

static bool kit_rename(struct disk *d, const char *from, const char *to, struct err *err)
{
    return goes(d, KIT_RENAME, err) && ops_of(d)->rename(kit_of(d)->under, from, to, err);
}

static bool kit_remove(struct disk *d, const char *name, struct err *err)
{
    return goes(d, KIT_REMOVE, err) && ops_of(d)->remove(kit_of(d)->under, name, err);
}

static bool kit_sync_folder(struct disk *d, const char *name, struct err *err)
{
    return goes(d, KIT_SYNC_FOLDER, err) && ops_of(d)->sync_folder(kit_of(d)->under, name, err);
}

static bool kit_list(struct disk *d, const char *folder, disk_name_fn each, void *arg,
                     struct err *err)
{
    return ops_of(d)->list(kit_of(d)->under, folder, each, arg, err);
}

static bool kit_space(struct disk *d, uint64_t *free_bytes, uint64_t *total_bytes, struct err *err)
{
    return ops_of(d)->space(kit_of(d)->under, free_bytes, total_bytes, err);
}

static void kit_free(struct disk *base)
{
    struct kit_disk *d = kit_of(base);
    disk_free(&d->under);
    mem_free(d);
}

static const struct disk_ops kit_ops = {
    .make_folder = kit_make_folder,
    .open = kit_open,
    .close = kit_close,
    .size = kit_size,
    .read = kit_read,
    .write = kit_write,
    .sync = kit_sync,
    .truncate = kit_truncate,
    .rename = kit_rename,
    .remove = kit_remove,
    .sync_folder = kit_sync_folder,
    .list = kit_list,
    .space = kit_space,
    .free_disk = kit_free,
};

struct kit_disk *kit_disk_new(const char *folder)
{
    struct err err;
    struct kit_disk *d = mem_zalloc(sizeof *d);
    d->base.ops = &kit_ops;
    d->under = disk_new(folder, &err);
    atomic_store(&d->room, -1);
    cr_assert(d->under != NULL, "%s", err.text);
    return d;
}

void kit_disk_free(struct kit_disk **d)
{
    struct disk *base = *d != NULL ? &(*d)->base : NULL;
    disk_free(&base);
    *d = NULL;
}

void kit_disk_fail(struct kit_disk *d, enum kit_op op, unsigned n, enum err_code code)
{
    d->code = code;
    atomic_store(&d->fail_in[op], n);
}
