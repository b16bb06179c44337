/* The log's file as it is written: groups behind each other, zeros ahead, one file after the other.
 */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "raft/raft_disk_inner.h"

#define GROUP_KEPT  ((size_t)1 << 20)
#define ZEROS_BYTES ((size_t)256 << 10)

/* ---- octets ---- */

static bool write_at(struct raft_disk *d, struct disk_file *file, uint64_t offset,
                     struct slice bytes, struct err *err)
{
    return d->disk->ops->write(file, offset, &bytes, 1, err);
}

static bool sync_file(struct raft_disk *d, struct disk_file *file, struct err *err)
{
    return MUTATION(DISK_NO_SYNC) || d->disk->ops->sync(file, err) ||
           MUTATION(DISK_IGNORE_FAILED_SYNC);
}

bool raft_disk_log_write_zeros(struct raft_disk *d, struct disk_file *file, uint64_t offset,
                               uint64_t len, struct err *err)
{
    uint8_t *zeros = mem_zalloc(ZEROS_BYTES);
    bool ok = true;
    for (uint64_t done = 0; ok && done < len; done += ZEROS_BYTES) {
        size_t n = len - done < ZEROS_BYTES ? (size_t)(len - done) : ZEROS_BYTES;
        ok = write_at(d, file, offset + done, slice_of(zeros, n), err);
    }
    mem_free(zeros);
    return ok;
}

/* If there is no room for `len` more. A disk that is full is no failure here. */
bool raft_disk_log_fill_ahead(struct raft_disk *d, uint64_t len, struct err *err)
{
    if (d->size >= d->end + len) {
        d->is_short = false;
        return true;
    }
    uint64_t more = d->end + len + d->fill_bytes / 2 - d->size;
    d->is_short = !raft_disk_log_write_zeros(d, d->file, d->size, more, err);
    if (!d->is_short)
        d->size += more;
    else if (err->code != ERR_LIMIT || !d->disk->ops->size(d->file, &d->size, err))
        return false;
    return true;
}

/* A group is short, and synced as soon as it is written: what it waits for is the device. */
void raft_disk_log_write_through(struct raft_disk *d, struct disk_file *file)
{
    if (d->disk->ops->write_through != NULL)
        d->disk->ops->write_through(file);
}

/* ---- groups ---- */

void raft_disk_log_make_room(struct raft_disk *d, size_t items)
{
    size_t want = RAFT_GROUP_HEAD + items + RAFT_GROUP_ALIGN;
    if (d->cap >= want)
        return;
    d->cap = want + want / 2;
    d->group = mem_realloc(d->group, d->cap);
}

void raft_disk_log_shrink_room(struct raft_disk *d)
{
    if (d->cap <= GROUP_KEPT)
        return;
    mem_free(d->group);
    d->group = NULL;
    d->cap = 0;
}

/* Its head, over items that are there already; returns its length. */
static size_t seal(struct raft_disk *d, const struct raft_log_head *head, uint64_t offset,
                   size_t items, uint32_t count, unsigned flags)
{
    raft_disk_log_make_room(d, items);
    struct raft_group g = { .number = d->next_number, .count = count, .flags = flags };
    g.vote = d->hard.vote;
    g.term = d->hard.term;
    g.flags |= d->hard.is_recovering ? RAFT_GROUP_RECOVERING : 0;
    g.items = slice_of(d->group + RAFT_GROUP_HEAD, items);
    raft_group_seal(d->group, &g, head->salt, offset);
    return raft_group_length(items);
}

/* The items are in d->group. */
bool raft_disk_log_write_group(struct raft_disk *d, size_t items, uint32_t count, unsigned flags,
                               struct err *err)
{
    size_t length = seal(d, &d->head, d->end, items, count, flags);
    if (!raft_disk_log_fill_ahead(d, length, err) ||
        !write_at(d, d->file, d->end, slice_of(d->group, length), err) ||
        !sync_file(d, d->file, err))
        return false;
    d->end += length;
    if (d->size < d->end)
        d->size = d->end;
    d->next_number++;
    d->log_bytes += length;
    d->stats.groups++;
    d->is_closed = false;
    return true;
}

/* ---- items ---- */

void raft_disk_log_put_truncate(struct raft_disk *d, struct raft_items *it, uint64_t from)
{
    raft_disk_log_make_room(d, it->len + RAFT_TRUNCATE_BYTES);
    struct wire_out w = wire_out_over(d->group + RAFT_GROUP_HEAD + it->len, RAFT_TRUNCATE_BYTES);
    raft_item_put_truncate(&w, from);
    it->len += RAFT_TRUNCATE_BYTES;
    it->count++;
    if (from <= d->last_index) {
        d->last_index = from - 1;
        d->last_term = 0;
    }
}

void raft_disk_log_put_entry(struct raft_disk *d, struct raft_items *it, const struct raft_entry *e)
{
    size_t size = raft_item_entry_size(e);
    CHECK(e->index == d->last_index + 1);
    raft_disk_log_make_room(d, it->len + size);
    struct wire_out w = wire_out_over(d->group + RAFT_GROUP_HEAD + it->len, size);
    raft_item_put_entry(&w, e);
    CHECK(!w.overflow);
    it->len += size;
    it->count++;
    d->last_index = e->index;
    d->last_term = e->term;
    d->stats.entries++;
}

void raft_disk_log_put_entries(struct raft_disk *d, struct raft_items *it,
                               const struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        raft_disk_log_put_entry(d, it, &entries[i]);
}

/* ---- a new log ---- */

/* Not to be tried again: the log has its name, for now or for good, and to go on in the one before
 * would leave a gap between them. */
static bool sync_names(struct raft_disk *d, struct err *err)
{
    if (MUTATION(DISK_NAME_NOT_SYNCED) || d->disk->ops->sync_folder(d->disk, "raft", err))
        return true;
    err->code = ERR_IO;
    return false;
}

static bool write_new(struct raft_disk *d, struct disk_file *file, const struct raft_log_head *head,
                      const struct raft_items *it, size_t *length, struct err *err)
{
    uint8_t octets[RAFT_FILE_HEAD_BYTES];
    raft_file_put_log(octets, head);
    *length = seal(d, head, RAFT_FILE_START, it->len, it->count, 0);
    return write_at(d, file, 0, slice_of(octets, sizeof octets), err) &&
           write_at(d, file, RAFT_FILE_START, slice_of(d->group, *length), err) &&
           raft_disk_log_write_zeros(d, file, RAFT_FILE_START + *length, d->fill_bytes, err) &&
           (MUTATION(DISK_HEAD_NOT_SYNCED) || d->disk->ops->sync(file, err));
}

/* Under another name until it is safe, so that a log that is there has its head and a first group.
 */
static struct disk_file *make_file(struct raft_disk *d, const struct raft_log_head *head,
                                   const struct raft_items *it, size_t *length, struct err *err)
{
    const struct disk_ops *ops = d->disk->ops;
    char name[RAFT_FILE_NAME_ROOM];
    struct err none;
    (void)!ops->remove(d->disk, RAFT_NEW_LOG, &none); /* there need not be one */
    struct disk_file *file = ops->open(d->disk, RAFT_NEW_LOG, DISK_CREATE, err);
    if (file == NULL)
        return NULL;
    raft_file_log_name(head->generation, name);
    if (write_new(d, file, head, it, length, err)) {
        raft_disk_log_write_through(d, file);
        if (ops->rename(d->disk, RAFT_NEW_LOG, name, err) && sync_names(d, err))
            return file;
    }
    ops->close(&file);
    (void)!ops->remove(d->disk, RAFT_NEW_LOG, &none);
    return NULL;
}

/* The first group is in d->group. It goes on behind `base`; is_fresh: and what was before is none
 * of it. */
static bool begin_log(struct raft_disk *d, const struct raft_log_head *base,
                      const struct raft_items *it, struct disk_file **old, struct err *err)
{
    size_t length;
    struct raft_log_head head = *base;
    head.generation = d->head.generation + 1;
    head.salt = rng_u64(&d->salts);
    head.first = d->next_number;
    head.node = d->node;
    memcpy(head.cluster_id, d->cluster_id, sizeof head.cluster_id);
    struct disk_file *file = make_file(d, &head, it, &length, err);
    if (file == NULL)
        return false;
    *old = d->file;
    d->file = file;
    d->head = head;
    d->end = RAFT_FILE_START + length;
    d->size = d->end + d->fill_bytes;
    d->next_number++;
    d->is_short = false;
    d->is_closed = false;
    return true;
}

/* Nothing older belongs to it: base and entries as in *base and the items. */
bool raft_disk_log_begin_fresh(struct raft_disk *d, uint64_t index, uint64_t term,
                               const struct raft_items *it, struct err *err)
{
    struct disk_file *old = NULL;
    const struct raft_log_head base = { .base = index, .base_term = term, .is_fresh = true };
    if (!begin_log(d, &base, it, &old, err))
        return false;
    if (old != NULL)
        d->disk->ops->close(&old);
    d->log_bytes = d->end - RAFT_FILE_START;
    return true;
}

/* The last group of the log before says that another follows; it has that one's number, and is
 * empty as that one is. */
static bool mark_followed(struct raft_disk *d, struct disk_file *old, const struct raft_log_head *h,
                          uint64_t end, struct err *err)
{
    d->next_number--;
    size_t length = seal(d, h, end, 0, 0, RAFT_GROUP_FOLLOWED);
    d->next_number++;
    return write_at(d, old, end, slice_of(d->group, length), err) && sync_file(d, old, err);
}

/* Behind a group that is safe. That the disk is too full for it is no failure: the log is good as
 * it is. */
bool raft_disk_log_switch(struct raft_disk *d, struct err *err)
{
    struct err why = { 0 };
    const struct raft_log_head base = { .base = d->last_index, .base_term = d->last_term };
    const struct raft_log_head before = d->head;
    uint64_t end = d->end;
    struct disk_file *old = NULL;
    d->log_bytes = 0;
    if (!begin_log(d, &base, &(struct raft_items){ 0 }, &old, &why)) {
        *err = why;
        return why.code == ERR_LIMIT;
    }
    d->wants_snapshot = true;
    d->older_last = d->last_index;
    bool ok = mark_followed(d, old, &before, end, err);
    d->disk->ops->close(&old);
    return ok;
}
