#include "cluster/meta_snapshot.h"

#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_dump.h"
#include "cluster/meta_mutation.h"

#include <stdlib.h>
#include <string.h>

#define GROUP_BYTES ((size_t)256 << 10) /* of items, where one is not longer */
#define SYNC_BYTES  ((uint64_t)4 << 20) /* at a time, so that commits never wait behind much */
#define UNFINISHED  "meta/snapshot.new"

struct writer {
    struct meta_snapshot *s;
    struct disk_file *file;
    struct err *err;
    uint64_t offset;
    uint64_t synced;
    uint64_t groups;
    uint8_t *group; /* META_GROUP_HEAD octets, then items */
    size_t cap;
    size_t len; /* of items */
    uint32_t count;
};

static bool write_at(struct writer *w, const void *bytes, size_t len)
{
    const struct disk_ops *ops = w->s->disk->ops;
    struct slice part = slice_of(bytes, len);
    if (!ops->write(w->file, w->offset, &part, 1, w->err))
        return false;
    w->offset += len;
    if (w->offset - w->synced < SYNC_BYTES || META_MUTATION(SNAPSHOT_NOT_SYNCED))
        return true;
    w->synced = w->offset;
    return ops->sync(w->file, w->err);
}

static bool flush(struct writer *w, unsigned flags)
{
    struct meta_group g = { .number = w->groups++, .count = w->count, .flags = flags };
    g.items = slice_of(w->group + META_GROUP_HEAD, w->len);
    meta_group_seal(w->group, &g, w->s->head.salt, w->offset);
    size_t length = meta_group_length(w->len);
    w->len = 0;
    w->count = 0;
    return write_at(w, w->group, length);
}

static void make_room(struct writer *w, size_t items)
{
    size_t want = META_GROUP_HEAD + items + META_GROUP_ALIGN;
    if (w->cap >= want)
        return;
    w->cap = want;
    w->group = mem_realloc(w->group, w->cap);
}

static bool put_item(struct writer *w, const struct meta_item *item)
{
    size_t size = meta_item_size(item);
    if (w->len != 0 && w->len + size > GROUP_BYTES && !flush(w, 0))
        return false;
    make_room(w, w->len + size > GROUP_BYTES ? w->len + size : GROUP_BYTES);
    struct wire_out out = wire_out_over(w->group + META_GROUP_HEAD + w->len, size);
    meta_item_put(&out, item);
    CHECK(!out.overflow);
    w->len += size;
    w->count++;
    return true;
}

static bool put_command(void *arg, const struct meta_cmd *cmd, uint64_t first_id)
{
    struct writer *w = arg;
    struct meta_item item = { .is_command = true, .cmd = *cmd, .id = first_id };
    w->s->commands++;
    return put_item(w, &item);
}

static bool write_all(struct writer *w)
{
    uint8_t head[META_FILE_START] = { 0 };
    struct meta_item ids = { .id = w->s->next_id };
    meta_file_put_head(head, &w->s->head);
    return write_at(w, head, sizeof head) && put_item(w, &ids) &&
           meta_dump(w->s->version, put_command, w) && flush(w, META_GROUP_LAST) &&
           (META_MUTATION(SNAPSHOT_NOT_SYNCED) || w->s->disk->ops->sync(w->file, w->err));
}

static bool write_file(struct meta_snapshot *s, struct err *err)
{
    struct writer w = { .s = s, .err = err };
    w.file = s->disk->ops->open(s->disk, UNFINISHED, DISK_CREATE, err);
    if (w.file == NULL)
        return false;
    bool ok = write_all(&w);
    s->disk->ops->close(&w.file);
    s->bytes = w.offset;
    mem_free(w.group);
    return ok;
}

static void remove_unfinished(struct disk *disk)
{
    struct err none;
    (void)!disk->ops->remove(disk, UNFINISHED, &none); /* there need not be one */
}

bool meta_snapshot_write(struct meta_snapshot *s, struct err *err)
{
    const struct disk_ops *ops = s->disk->ops;
    char name[META_NAME_ROOM];
    meta_file_name(META_FILE_SNAPSHOT, s->head.generation, name);
    s->commands = 0;
    remove_unfinished(s->disk);
    if (!write_file(s, err)) {
        remove_unfinished(s->disk);
        return false;
    }
    return ops->rename(s->disk, UNFINISHED, name, err) &&
           (META_MUTATION(SNAPSHOT_NAME_NOT_SYNCED) || ops->sync_folder(s->disk, "meta", err)) &&
           meta_snapshot_clean(s->disk, s->head.generation, err);
}

/* ---- what is not needed any more ---- */

struct old_names {
    uint64_t generation;
    char (*names)[META_NAME_ROOM];
    size_t count;
    size_t cap;
};

static void see(const char *name, void *arg)
{
    struct old_names *o = arg;
    enum meta_file_kind kind;
    uint64_t generation;
    bool is_ours = meta_file_named(name, &kind, &generation);
    size_t len = strlen(name);
    bool is_unfinished = len >= 4 && strcmp(name + len - 4, ".new") == 0;
    if (len + sizeof "meta/" > META_NAME_ROOM ||
        !(is_unfinished || (is_ours && generation < o->generation)))
        return;
    if (o->count == o->cap) {
        o->cap = o->cap != 0 ? o->cap * 2 : 8;
        o->names = mem_realloc(o->names, o->cap * sizeof *o->names);
    }
    memcpy(o->names[o->count], "meta/", 5);
    memcpy(o->names[o->count++] + 5, name, len + 1);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* In the order of their names, so that of logs the oldest goes first. */
bool meta_snapshot_clean(struct disk *disk, uint64_t generation, struct err *err)
{
    struct old_names o = { .generation = generation };
    bool ok = disk->ops->list(disk, "meta", see, &o, err);
    if (o.count > 1)
        qsort(o.names, o.count, sizeof *o.names, by_name);
    for (size_t i = 0; ok && i < o.count; i++)
        ok = disk->ops->remove(disk, o.names[i], err);
    mem_free(o.names);
    return ok;
}
