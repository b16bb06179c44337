#include "cluster/meta_restore.h"

#include "base/check.h"
#include "base/mem.h"

#include <inttypes.h>

#define READ_AHEAD ((size_t)1 << 20)
#define REMEDY                                                                                     \
    "what was acknowledged cannot be read, and the node does not start without it: put the data "  \
    "folder back from a backup, or move its folder \"meta\" away, start with no definitions and "  \
    "import them"

/* ---- a file, through a window ---- */

struct reader {
    struct disk *disk;
    struct disk_file *file;
    char name[META_NAME_ROOM];
    uint64_t size;
    uint8_t *bytes; /* of the window */
    size_t cap;
    size_t len;
    uint64_t at; /* where in the file the window begins */
};

static bool reader_open(struct reader *r, struct disk *disk, enum meta_file_kind kind,
                        uint64_t generation, struct err *err)
{
    *r = (struct reader){ .disk = disk };
    meta_file_name(kind, generation, r->name);
    r->file = disk->ops->open(disk, r->name, DISK_READ, err);
    return r->file != NULL && disk->ops->size(r->file, &r->size, err);
}

static void reader_close(struct reader *r)
{
    if (r->file != NULL)
        r->disk->ops->close(&r->file);
    mem_free(r->bytes);
    r->bytes = NULL;
}

static bool fill(struct reader *r, uint64_t offset, size_t want, struct err *err)
{
    if (r->cap < want) {
        r->cap = want;
        r->bytes = mem_realloc(r->bytes, r->cap);
    }
    r->at = offset;
    return r->disk->ops->read(r->file, offset, r->bytes, want, &r->len, err);
}

/* The octets from `offset` on, `least` of them or what is left of the file. */
static bool window(struct reader *r, uint64_t offset, size_t least, struct slice *out,
                   struct err *err)
{
    uint64_t left = offset < r->size ? r->size - offset : 0;
    size_t want = least < left ? least : (size_t)left;
    bool is_there =
        offset >= r->at && offset - r->at <= r->len && r->len - (offset - r->at) >= want;
    if (!is_there && !fill(r, offset, want > READ_AHEAD ? want : READ_AHEAD, err))
        return false;
    size_t skip = (size_t)(offset - r->at);
    *out = skip < r->len ? slice_of(r->bytes + skip, r->len - skip) : slice_of(NULL, 0);
    return true;
}

static bool cut_at(struct reader *r, const struct meta_file_head *h, uint64_t offset,
                   struct meta_group *g, enum meta_cut *cut, struct err *err)
{
    size_t need = META_GROUP_HEAD;
    size_t had;
    do {
        struct slice bytes;
        had = need;
        if (!window(r, offset, need, &bytes, err))
            return false;
        *cut = meta_group_cut(bytes, h->salt, offset, g, &need);
    } while (*cut == META_CUT_MORE && need > had && need <= r->size - offset);
    if (*cut == META_CUT_MORE)
        *cut = META_CUT_BAD; /* the file is at its end */
    return true;
}

/* ---- what is there ---- */

struct folder {
    uint64_t snapshot;  /* the last one */
    uint64_t log_first; /* of those that count */
    uint64_t log_last;
    uint64_t log_count;
};

static void see_snapshot(const char *name, void *arg)
{
    struct folder *f = arg;
    enum meta_file_kind kind;
    uint64_t generation;
    if (meta_file_named(name, &kind, &generation) && kind == META_FILE_SNAPSHOT &&
        generation > f->snapshot)
        f->snapshot = generation;
}

static void see_log(const char *name, void *arg)
{
    struct folder *f = arg;
    enum meta_file_kind kind;
    uint64_t generation;
    if (!meta_file_named(name, &kind, &generation) || kind != META_FILE_LOG ||
        generation < f->snapshot || generation == 0)
        return;
    if (f->log_count == 0 || generation < f->log_first)
        f->log_first = generation;
    if (generation > f->log_last)
        f->log_last = generation;
    f->log_count++;
}

static bool look(struct disk *disk, struct folder *f, struct err *err)
{
    *f = (struct folder){ 0 };
    if (!disk->ops->list(disk, "meta", see_snapshot, f, err) ||
        !disk->ops->list(disk, "meta", see_log, f, err))
        return false;
    if (f->snapshot == 0 && f->log_count == 0)
        return true;
    uint64_t first = f->snapshot != 0 ? f->snapshot : 1;
    char name[META_NAME_ROOM];
    if (f->log_count != 0 && f->log_first == first && f->log_last - first + 1 == f->log_count)
        return true;
    uint64_t missing = f->log_first == first ? f->log_last - 1 : first;
    meta_file_name(META_FILE_LOG, missing, name);
    return err_set(err, ERR_IO, "%s is missing: %s", name, REMEDY);
}

/* ---- one file ---- */

struct restore {
    struct disk *disk;
    struct meta *meta;
    struct meta_result result;
    struct meta_restored *out;
};

static bool damaged(const struct reader *r, uint64_t offset, const char *what, struct err *err)
{
    return err_set(err, ERR_IO, "%s is damaged at octet %" PRIu64 " (%s): %s", r->name, offset,
                   what, REMEDY);
}

static bool read_head(struct reader *r, enum meta_file_kind kind, uint64_t generation,
                      struct meta_file_head *head, struct err *err)
{
    struct slice bytes;
    if (!window(r, 0, META_FILE_HEAD_BYTES, &bytes, err))
        return false;
    switch (meta_file_read_head(bytes, head)) {
    case META_HEAD_GOOD:
        break;
    case META_HEAD_NEWER:
        return err_set(err, ERR_REFUSED,
                       "%s was written by a newer version of the broker: start that one", r->name);
    case META_HEAD_BAD:
        return damaged(r, 0, "its head", err);
    }
    if (head->kind != kind || head->generation != generation)
        return damaged(r, 0, "it is another file", err);
    return true;
}

static bool apply_item(struct restore *re, const struct meta_item *item, struct err *err)
{
    if (!item->is_command) {
        if (item->id > re->out->next_id)
            re->out->next_id = item->id;
        return true;
    }
    re->out->command_count++;
    if (meta_replay(re->meta, &item->cmd, item->id, &re->result) != META_REFUSED)
        return true;
    return err_set(err, ERR_IO, "%s", re->result.refusal.text);
}

static bool apply_group(struct restore *re, const struct reader *r, uint64_t offset,
                        const struct meta_group *g, struct err *err)
{
    struct wire w = wire_over(g->items);
    struct meta_item item;
    struct err why = { 0 };
    for (uint32_t i = 0; i < g->count; i++)
        if (!meta_item_take(&w, &item) || !apply_item(re, &item, &why))
            return damaged(r, offset, why.text[0] != '\0' ? why.text : "no command", err);
    return wire_left(&w) == 0 || damaged(r, offset, "more than its commands", err);
}

static bool read_snapshot(struct restore *re, uint64_t generation, struct err *err)
{
    struct reader r;
    struct meta_file_head head;
    struct meta_group g = { 0 };
    enum meta_cut cut;
    uint64_t offset = META_FILE_START;
    bool ok = reader_open(&r, re->disk, META_FILE_SNAPSHOT, generation, err) &&
              read_head(&r, META_FILE_SNAPSHOT, generation, &head, err);
    for (uint64_t n = 0; ok && (g.flags & META_GROUP_LAST) == 0; n++) {
        ok = cut_at(&r, &head, offset, &g, &cut, err);
        if (ok && (cut != META_CUT_GROUP || g.number != n))
            ok = damaged(&r, offset, "a group of commands", err);
        ok = ok && apply_group(re, &r, offset, &g, err);
        offset += g.length;
    }
    if (ok) {
        re->out->next_number = head.first;
        re->out->snapshot_bytes = offset;
    }
    reader_close(&r);
    return ok;
}

/* ---- the groups of a log ---- */

/* The first good group from *offset on. None: *offset is the end of the file, or past it. */
static bool find_group(struct reader *r, const struct meta_file_head *h, uint64_t *offset,
                       struct meta_group *g, struct err *err)
{
    enum meta_cut cut;
    for (; *offset < r->size; *offset += META_GROUP_ALIGN) {
        if (!cut_at(r, h, *offset, g, &cut, err))
            return false;
        if (cut == META_CUT_GROUP)
            break;
    }
    return true;
}

/* `g` stands at `offset`; what is before it, from `bad` on, is no group. Its number says whether
 * anything was lost there. */
static bool take_group(struct restore *re, const struct reader *r, uint64_t bad, uint64_t offset,
                       const struct meta_group *g, struct err *err)
{
    if (g->number == re->out->next_number - 1)
        return true; /* what was the last one at some start is there once more */
    if (g->number != re->out->next_number)
        return damaged(r, bad, "a group of commands", err);
    re->out->next_number++;
    return apply_group(re, r, offset, g, err);
}

static bool read_groups(struct restore *re, struct reader *r, const struct meta_file_head *h,
                        struct err *err)
{
    struct meta_restored *out = re->out;
    struct meta_group g;
    out->last = out->end = META_FILE_START;
    for (;;) {
        uint64_t offset = out->end;
        if (!find_group(r, h, &offset, &g, err))
            return false;
        if (offset >= r->size)
            return true;
        if (!take_group(re, r, out->end, offset, &g, err))
            return false;
        out->last = offset;
        out->end = offset + g.length;
        out->log_bytes += g.length;
    }
}

/* Up to the last octet behind the end that is not zero. */
static bool measure_torn(struct restore *re, struct reader *r, struct err *err)
{
    uint64_t from = re->out->end;
    re->out->torn_bytes = 0;
    for (uint64_t at = from; at < r->size;) {
        struct slice bytes;
        if (!window(r, at, 1, &bytes, err))
            return false;
        if (bytes.len == 0)
            return true;
        for (size_t i = 0; i < bytes.len; i++)
            if (bytes.ptr[i] != 0)
                re->out->torn_bytes = at + i + 1 - from;
        at += bytes.len;
    }
    return true;
}

static bool read_log(struct restore *re, uint64_t generation, struct err *err)
{
    struct reader r;
    struct meta_file_head *head = &re->out->head;
    bool ok = reader_open(&r, re->disk, META_FILE_LOG, generation, err) &&
              read_head(&r, META_FILE_LOG, generation, head, err);
    if (ok && head->first != re->out->next_number)
        ok = damaged(&r, 0, "groups of commands are missing before it", err);
    ok = ok && read_groups(re, &r, head, err) && measure_torn(re, &r, err);
    reader_close(&r);
    return ok;
}

/* ---- all of them ---- */

bool meta_restore(struct disk *disk, struct meta *meta, struct meta_restored *out, struct err *err)
{
    struct restore re = { .disk = disk, .meta = meta, .out = out };
    struct folder folder;
    *out = (struct meta_restored){ .next_number = 1, .next_id = 1 };
    if (!look(disk, &folder, err))
        return false;
    out->snapshot = folder.snapshot;
    out->generation = folder.log_last;
    meta_result_init(&re.result);
    bool ok = folder.snapshot == 0 || read_snapshot(&re, folder.snapshot, err);
    for (uint64_t g = folder.log_first; ok && folder.log_count != 0 && g <= folder.log_last; g++)
        ok = read_log(&re, g, err);
    meta_result_fini(&re.result);
    if (out->next_id <= meta_last_id(meta))
        out->next_id = meta_last_id(meta) + 1;
    return ok;
}
