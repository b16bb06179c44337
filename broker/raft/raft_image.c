#include "raft/raft_image.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"

#include <inttypes.h>
#include <stdlib.h>

#define GROUP_BYTES ((size_t)256 << 10) /* of items, where one is not longer */
#define SYNC_BYTES  ((uint64_t)4 << 20) /* at a time, so that commits never wait behind much */
#define UNFINISHED  "raft/snapshot.new"

/* ---- writing ---- */

struct raft_image_writer {
    struct raft_image *s;
    struct disk_file *file;
    struct err *err;
    uint64_t offset;
    uint64_t synced;
    uint64_t groups;
    uint8_t *group; /* RAFT_GROUP_HEAD octets, then items */
    size_t cap;
    size_t len; /* of items */
    uint32_t count;
};

static bool write_at(struct raft_image_writer *w, const void *bytes, size_t len)
{
    const struct disk_ops *ops = w->s->disk->ops;
    struct slice part = slice_of(bytes, len);
    if (!ops->write(w->file, w->offset, &part, 1, w->err))
        return false;
    w->offset += len;
    if (w->offset - w->synced < SYNC_BYTES || MUTATION(DISK_SNAPSHOT_NOT_SYNCED))
        return true;
    w->synced = w->offset;
    return ops->sync(w->file, w->err);
}

static bool flush(struct raft_image_writer *w, unsigned flags)
{
    struct raft_group g = { .number = w->groups++, .count = w->count, .flags = flags };
    g.items = slice_of(w->group + RAFT_GROUP_HEAD, w->len);
    raft_group_seal(w->group, &g, w->s->is.id, w->offset);
    size_t length = raft_group_length(w->len);
    w->len = 0;
    w->count = 0;
    return write_at(w, w->group, length);
}

static void make_room(struct raft_image_writer *w, size_t items)
{
    size_t want = RAFT_GROUP_HEAD + items + RAFT_GROUP_ALIGN;
    if (w->cap >= want)
        return;
    w->cap = want;
    w->group = mem_realloc(w->group, w->cap);
}

uint8_t *raft_image_room(struct raft_image_writer *w, size_t bytes)
{
    CHECK(bytes <= RAFT_GROUP_MAX);
    if (w->len != 0 && w->len + bytes > GROUP_BYTES && !flush(w, 0))
        return NULL;
    make_room(w, w->len + bytes > GROUP_BYTES ? w->len + bytes : GROUP_BYTES);
    uint8_t *at = w->group + RAFT_GROUP_HEAD + w->len;
    w->len += bytes;
    w->count++;
    w->s->items++;
    return at;
}

static bool write_all(struct raft_image_writer *w, raft_image_fill_fn fill, void *arg)
{
    uint8_t head[RAFT_FILE_START];
    raft_file_put_snapshot(head, &w->s->is, w->s->cluster_id);
    make_room(w, 0);
    return write_at(w, head, sizeof head) && fill(w, arg) && flush(w, RAFT_GROUP_LAST) &&
           (MUTATION(DISK_SNAPSHOT_NOT_SYNCED) || w->s->disk->ops->sync(w->file, w->err));
}

static bool write_file(struct raft_image *s, raft_image_fill_fn fill, void *arg, struct err *err)
{
    struct raft_image_writer w = { .s = s, .err = err };
    w.file = s->disk->ops->open(s->disk, UNFINISHED, DISK_CREATE, err);
    if (w.file == NULL)
        return false;
    bool ok = write_all(&w, fill, arg);
    s->disk->ops->close(&w.file);
    s->is.bytes = w.offset;
    mem_free(w.group);
    return ok;
}

static void remove_unfinished(struct disk *disk)
{
    struct err none;
    (void)!disk->ops->remove(disk, UNFINISHED, &none); /* there need not be one */
}

bool raft_image_write(struct raft_image *s, raft_image_fill_fn fill, void *arg, struct err *err)
{
    char name[RAFT_FILE_NAME_ROOM];
    s->items = 0;
    if (s->disk == NULL)
        return true;
    const struct disk_ops *ops = s->disk->ops;
    raft_file_snapshot_name(s->is.index, s->is.id, name);
    remove_unfinished(s->disk);
    if (!write_file(s, fill, arg, err)) {
        remove_unfinished(s->disk);
        return false;
    }
    if (ops->rename(s->disk, UNFINISHED, name, err) &&
        (MUTATION(DISK_SNAPSHOT_NAME_NOT_SYNCED) || ops->sync_folder(s->disk, "raft", err)) &&
        raft_image_clean(s->disk, s->is.index, s->is.id, s->before, err))
        return true;
    err->code = ERR_IO; /* it has its name, for now or for good: not to be tried again */
    return false;
}

/* ---- reading ---- */

struct raft_image_reader {
    struct disk *disk;
    struct disk_file *file;
    char name[RAFT_FILE_NAME_ROOM];
    struct raft_snapshot is;
    uint8_t cluster_id[RAFT_CLUSTER_ID];
    uint64_t offset; /* of the next group */
    uint64_t groups;
    bool is_at_end;
    uint8_t *bytes; /* of the file, from `offset` on */
    size_t cap;
    size_t at; /* where in them the next group begins */
    size_t len;
};

static bool damaged(const struct raft_image_reader *r, const char *what, struct err *err)
{
    return err_set(err, ERR_IO, "%s is damaged at octet %" PRIu64 " (%s)", r->name, r->offset,
                   what);
}

/* So many octets from the next group on, or what is left of the file. */
static bool read_on(struct raft_image_reader *r, size_t want, struct err *err)
{
    if (r->len - r->at >= want)
        return true;
    size_t cap = want > GROUP_BYTES * 4 ? want : GROUP_BYTES * 4;
    if (r->cap < cap) {
        r->cap = cap;
        r->bytes = mem_realloc(r->bytes, cap);
    }
    r->at = 0;
    return r->disk->ops->read(r->file, r->offset, r->bytes, cap, &r->len, err);
}

static bool read_head(struct raft_image_reader *r, struct err *err)
{
    uint8_t head[RAFT_FILE_START];
    size_t got = 0;
    uint64_t bytes = 0;
    if (!r->disk->ops->read(r->file, 0, head, sizeof head, &got, err) ||
        !r->disk->ops->size(r->file, &bytes, err))
        return false;
    switch (raft_file_read_snapshot(slice_of(head, got), &r->is, r->cluster_id)) {
    case RAFT_HEAD_GOOD:
        r->is.bytes = bytes;
        r->offset = RAFT_FILE_START;
        return true;
    case RAFT_HEAD_NEWER:
        return err_set(err, ERR_REFUSED,
                       "%s was written by a newer version of the broker: start that one", r->name);
    case RAFT_HEAD_BAD:
        return damaged(r, "its head", err);
    }
    UNREACHABLE("head");
}

struct raft_image_reader *raft_image_open(struct disk *disk, const char *name, struct err *err)
{
    struct raft_image_reader *r = mem_zalloc(sizeof *r);
    r->disk = disk;
    CHECK(strlen(name) < sizeof r->name);
    memcpy(r->name, name, strlen(name));
    r->file = disk->ops->open(disk, name, DISK_READ, err);
    if (r->file == NULL || !read_head(r, err))
        raft_image_close(&r);
    return r;
}

void raft_image_close(struct raft_image_reader **reader)
{
    struct raft_image_reader *r = *reader;
    *reader = NULL;
    if (r == NULL)
        return;
    if (r->file != NULL)
        r->disk->ops->close(&r->file);
    mem_free(r->bytes);
    mem_free(r);
}

const struct raft_snapshot *raft_image_is(const struct raft_image_reader *r)
{
    return &r->is;
}

const uint8_t *raft_image_cluster(const struct raft_image_reader *r)
{
    return r->cluster_id;
}

static bool cut_next(struct raft_image_reader *r, struct raft_group *g, struct err *err)
{
    size_t need = RAFT_GROUP_HEAD, had;
    enum raft_cut cut;
    do {
        had = need;
        if (!read_on(r, need, err))
            return false;
        cut = raft_group_cut(slice_of(r->bytes + r->at, r->len - r->at), r->is.id, r->offset, g,
                             &need);
    } while (cut == RAFT_CUT_MORE && need > had && need <= r->is.bytes - r->offset);
    return (cut == RAFT_CUT_GROUP && g->number == r->groups) || damaged(r, "a group", err);
}

enum raft_image_verdict raft_image_next(struct raft_image_reader *r, struct slice *items,
                                        uint32_t *count, struct err *err)
{
    struct raft_group g;
    if (r->is_at_end) {
        if (r->offset == r->is.bytes)
            return RAFT_IMAGE_END;
        (void)!damaged(r, "more than its groups", err);
        return RAFT_IMAGE_BAD;
    }
    if (!cut_next(r, &g, err))
        return RAFT_IMAGE_BAD;
    r->at += g.length;
    r->offset += g.length;
    r->groups++;
    r->is_at_end = (g.flags & RAFT_GROUP_LAST) != 0;
    *items = g.items;
    *count = g.count;
    return RAFT_IMAGE_GROUP;
}

bool raft_image_check(struct disk *disk, const char *name, struct raft_snapshot *out,
                      struct err *err)
{
    struct raft_image_reader *r = raft_image_open(disk, name, err);
    if (r == NULL)
        return false;
    enum raft_image_verdict v;
    struct slice items;
    uint32_t count;
    do
        v = raft_image_next(r, &items, &count, err);
    while (v == RAFT_IMAGE_GROUP);
    *out = r->is;
    raft_image_close(&r);
    return v == RAFT_IMAGE_END;
}

/* ---- what is not needed any more ---- */

struct old_names {
    uint64_t index;
    uint64_t id;
    uint64_t before;
    char (*names)[RAFT_FILE_NAME_ROOM];
    size_t count;
    size_t cap;
};

static bool is_old(const struct old_names *o, const char *name)
{
    uint64_t generation, index, id;
    if (raft_file_is_log(name, &generation))
        return generation < o->before;
    if (raft_file_is_snapshot(name, &index, &id))
        return index < o->index || (index == o->index && id != o->id);
    return strcmp(name, &UNFINISHED[sizeof "raft/" - 1]) == 0;
}

static void see(const char *name, void *arg)
{
    struct old_names *o = arg;
    size_t len = strlen(name);
    if (len + sizeof "raft/" > RAFT_FILE_NAME_ROOM || !is_old(o, name))
        return;
    if (o->count == o->cap) {
        o->cap = o->cap != 0 ? o->cap * 2 : 8;
        o->names = mem_realloc(o->names, o->cap * sizeof *o->names);
    }
    memcpy(o->names[o->count], "raft/", 5);
    memcpy(o->names[o->count++] + 5, name, len + 1);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* In the order of their names, so that of logs the oldest goes first. */
bool raft_image_clean(struct disk *disk, uint64_t index, uint64_t id, uint64_t before,
                      struct err *err)
{
    struct old_names o = { .index = index, .id = id, .before = before };
    bool ok = disk->ops->list(disk, "raft", see, &o, err);
    if (o.count > 1)
        qsort(o.names, o.count, sizeof *o.names, by_name);
    for (size_t i = 0; ok && i < o.count; i++)
        ok = disk->ops->remove(disk, o.names[i], err);
    mem_free(o.names);
    return ok;
}
