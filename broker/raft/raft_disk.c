#include "raft/raft_disk.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "io/ram_disk.h"
#include "raft/raft_disk_inner.h"

#define RESERVE      ((uint64_t)256 << 10) /* for what takes things away, when the disk is full */
#define CLOSING_ROOM ((uint64_t)RAFT_GROUP_ALIGN * 8)
#define GROUP_KEPT   ((size_t)1 << 20)
#define GROUP_BYTES  ((size_t)16 << 20) /* of items; one entry more may make it longer */
#define ZEROS_BYTES  ((size_t)256 << 10)

/* ---- gathering ---- */

void raft_disk_add(struct raft_disk *d, struct raft_write **w)
{
    struct raft_writes *g = &d->gather;
    if (g->count == g->room) {
        g->room = g->room != 0 ? g->room * 2 : 8;
        g->list = mem_realloc(g->list, g->room * sizeof *g->list);
    }
    for (size_t i = 0; i < (*w)->count; i++)
        g->bytes += raft_entry_cost(&(*w)->entries[i]);
    g->list[g->count++] = *w;
    *w = NULL;
}

bool raft_disk_has_gathered(const struct raft_disk *d)
{
    return d->gather.count != 0;
}

static void clear(struct raft_writes *g)
{
    for (size_t i = 0; i < g->count; i++)
        raft_write_free(&g->list[i]);
    g->count = 0;
    g->bytes = 0;
}

bool raft_disk_has_room(const struct raft_disk *d, uint64_t bytes, bool takes_away)
{
    if (!d->seen.is_short)
        return true;
    uint64_t wants = d->gather.bytes + d->seen.going_bytes + bytes + CLOSING_ROOM;
    if (!takes_away)
        wants += RESERVE;
    return d->seen.room >= wants;
}

bool raft_disk_is_short(const struct raft_disk *d)
{
    return d->seen.is_short;
}

/* On the control thread, where the end of a snapshot is heard of: a commit must not look at that.
 */
static void set_most(struct raft_disk *d)
{
    uint64_t most = d->snapshot_bytes > d->least_bytes ? d->snapshot_bytes : d->least_bytes;
    d->most_bytes = d->has_snapshot_on || d->wants_snapshot ? UINT64_MAX : most;
}

void raft_disk_begin(struct raft_disk *d)
{
    CHECK(d->going.count == 0 && !d->has_failed);
    struct raft_writes going = d->going;
    d->going = d->gather;
    d->gather = going;
    d->seen.going_bytes = d->going.bytes;
    set_most(d);
}

/* What the committing thread left, for questions while it is at work again. */
static void see(struct raft_disk *d)
{
    d->seen.is_short = d->is_short;
    d->seen.room = d->size - d->end;
    d->seen.going_bytes = 0;
    d->seen.snapshot_from = d->wants_snapshot ? d->older_last : UINT64_MAX;
}

uint64_t raft_disk_done(struct raft_disk *d)
{
    if (d->has_installed) {
        d->snapshot = d->installed;
        d->snapshot_bytes = d->installed.bytes;
        d->has_installed = false;
    }
    see(d);
    return d->number;
}

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

static bool write_zeros(struct raft_disk *d, struct disk_file *file, uint64_t offset, uint64_t len,
                        struct err *err)
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
static bool fill_ahead(struct raft_disk *d, uint64_t len, struct err *err)
{
    if (d->size >= d->end + len) {
        d->is_short = false;
        return true;
    }
    uint64_t more = d->end + len + d->fill_bytes / 2 - d->size;
    d->is_short = !write_zeros(d, d->file, d->size, more, err);
    if (!d->is_short)
        d->size += more;
    else if (err->code != ERR_LIMIT || !d->disk->ops->size(d->file, &d->size, err))
        return false;
    return true;
}

/* ---- groups ---- */

static void make_room(struct raft_disk *d, size_t items)
{
    size_t want = RAFT_GROUP_HEAD + items + RAFT_GROUP_ALIGN;
    if (d->cap >= want)
        return;
    d->cap = want + want / 2;
    d->group = mem_realloc(d->group, d->cap);
}

static void shrink_room(struct raft_disk *d)
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
    make_room(d, items);
    struct raft_group g = { .number = d->next_number, .count = count, .flags = flags };
    g.vote = d->hard.vote;
    g.term = d->hard.term;
    g.flags |= d->hard.is_recovering ? RAFT_GROUP_RECOVERING : 0;
    g.items = slice_of(d->group + RAFT_GROUP_HEAD, items);
    raft_group_seal(d->group, &g, head->salt, offset);
    return raft_group_length(items);
}

/* The items are in d->group. */
static bool write_group(struct raft_disk *d, size_t items, uint32_t count, unsigned flags,
                        struct err *err)
{
    size_t length = seal(d, &d->head, d->end, items, count, flags);
    if (!fill_ahead(d, length, err) ||
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

struct items {
    size_t len;
    uint32_t count;
};

static void put_truncate(struct raft_disk *d, struct items *it, uint64_t from)
{
    make_room(d, it->len + RAFT_TRUNCATE_BYTES);
    struct wire_out w = wire_out_over(d->group + RAFT_GROUP_HEAD + it->len, RAFT_TRUNCATE_BYTES);
    raft_item_put_truncate(&w, from);
    it->len += RAFT_TRUNCATE_BYTES;
    it->count++;
    if (from <= d->last_index) {
        d->last_index = from - 1;
        d->last_term = 0;
    }
}

static void put_entry(struct raft_disk *d, struct items *it, const struct raft_entry *e)
{
    size_t size = raft_item_entry_size(e);
    CHECK(e->index == d->last_index + 1);
    make_room(d, it->len + size);
    struct wire_out w = wire_out_over(d->group + RAFT_GROUP_HEAD + it->len, size);
    raft_item_put_entry(&w, e);
    CHECK(!w.overflow);
    it->len += size;
    it->count++;
    d->last_index = e->index;
    d->last_term = e->term;
    d->stats.entries++;
}

static void put_entries(struct raft_disk *d, struct items *it, const struct raft_entry *entries,
                        size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_entry(d, it, &entries[i]);
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
                      const struct items *it, size_t *length, struct err *err)
{
    uint8_t octets[RAFT_FILE_HEAD_BYTES];
    raft_file_put_log(octets, head);
    *length = seal(d, head, RAFT_FILE_START, it->len, it->count, 0);
    return write_at(d, file, 0, slice_of(octets, sizeof octets), err) &&
           write_at(d, file, RAFT_FILE_START, slice_of(d->group, *length), err) &&
           write_zeros(d, file, RAFT_FILE_START + *length, d->fill_bytes, err) &&
           (MUTATION(DISK_HEAD_NOT_SYNCED) || d->disk->ops->sync(file, err));
}

/* Under another name until it is safe, so that a log that is there has its head and a first group.
 */
static struct disk_file *make_file(struct raft_disk *d, const struct raft_log_head *head,
                                   const struct items *it, size_t *length, struct err *err)
{
    const struct disk_ops *ops = d->disk->ops;
    char name[RAFT_FILE_NAME_ROOM];
    struct err none;
    (void)!ops->remove(d->disk, RAFT_NEW_LOG, &none); /* there need not be one */
    struct disk_file *file = ops->open(d->disk, RAFT_NEW_LOG, DISK_CREATE, err);
    if (file == NULL)
        return NULL;
    raft_file_log_name(head->generation, name);
    if (write_new(d, file, head, it, length, err) &&
        ops->rename(d->disk, RAFT_NEW_LOG, name, err) && sync_names(d, err))
        return file;
    ops->close(&file);
    (void)!ops->remove(d->disk, RAFT_NEW_LOG, &none);
    return NULL;
}

/* The first group is in d->group. It goes on behind `base`; is_fresh: and what was before is none
 * of it. */
static bool begin_log(struct raft_disk *d, const struct raft_log_head *base, const struct items *it,
                      struct disk_file **old, struct err *err)
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
static bool begin_fresh(struct raft_disk *d, uint64_t index, uint64_t term, const struct items *it,
                        struct err *err)
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
static bool switch_logs(struct raft_disk *d, struct err *err)
{
    struct err why = { 0 };
    const struct raft_log_head base = { .base = d->last_index, .base_term = d->last_term };
    const struct raft_log_head before = d->head;
    uint64_t end = d->end;
    struct disk_file *old = NULL;
    d->log_bytes = 0;
    if (!begin_log(d, &base, &(struct items){ 0 }, &old, &why)) {
        *err = why;
        return why.code == ERR_LIMIT;
    }
    d->wants_snapshot = true;
    d->older_last = d->last_index;
    bool ok = mark_followed(d, old, &before, end, err);
    d->disk->ops->close(&old);
    return ok;
}

static bool has_outgrown(const struct raft_disk *d)
{
    return d->log_bytes > d->most_bytes && !d->wants_snapshot && d->last_term != 0;
}

/* ---- committing ---- */

/* What a run of writes has, as one group or, where that would be long, as some. */
struct run {
    struct items items;
    bool has_hard;
};

static bool write_run(struct raft_disk *d, struct run *run, struct err *err)
{
    bool has_any = run->items.count != 0 || (run->has_hard && !MUTATION(DISK_HARD_NOT_WRITTEN));
    bool ok = !has_any || write_group(d, run->items.len, run->items.count, 0, err);
    *run = (struct run){ { 0 }, false };
    return ok;
}

static bool add_write(struct raft_disk *d, struct run *run, const struct raft_write *w,
                      struct err *err)
{
    if (w->truncate_from != 0)
        put_truncate(d, &run->items, w->truncate_from);
    for (size_t i = 0; i < w->count; i++) {
        put_entry(d, &run->items, &w->entries[i]);
        if (run->items.len >= GROUP_BYTES && !write_run(d, run, err))
            return false;
    }
    return true;
}

static bool keeps_log(const struct raft_disk *d, const struct raft_write *w)
{
    uint64_t index = w->install.index;
    bool has_more = d->last_index > index;
    return has_more && (w->truncate_from == 0 || w->truncate_from > index + 1 ||
                        MUTATION(DISK_INSTALL_KEEPS_LOG));
}

/* The hard state is safe, and all writes before. */
static bool install(struct raft_disk *d, struct run *run, const struct raft_write *w,
                    struct err *err)
{
    if (!raft_disk_adopt(d, &w->install, err))
        return false;
    d->has_installed = true;
    d->installed = w->install;
    if (keeps_log(d, w))
        return add_write(d, run, w, err);
    d->last_index = w->install.index;
    d->last_term = w->install.term;
    struct items it = { 0 };
    put_entries(d, &it, w->entries, w->count);
    d->wants_snapshot = false;
    return begin_fresh(d, w->install.index, w->install.term, &it, err) &&
           raft_image_clean(d->disk, w->install.index, w->install.id, d->head.generation, err);
}

static bool write_one(struct raft_disk *d, struct run *run, const struct raft_write *w,
                      struct err *err)
{
    if (w->has_hard) {
        d->hard = w->hard;
        run->has_hard = true;
    }
    if (!w->has_install)
        return add_write(d, run, w, err);
    return write_run(d, run, err) && install(d, run, w, err);
}

static bool write_all(struct raft_disk *d, struct err *err)
{
    struct run run = { { 0 }, false };
    bool ok = true;
    for (size_t i = 0; ok && i < d->going.count; i++)
        ok = write_one(d, &run, d->going.list[i], err);
    return ok && write_run(d, &run, err);
}

/* Of a RAM node: everything is as safe as it will ever be. */
static void take_all(struct raft_disk *d)
{
    for (size_t i = 0; i < d->going.count; i++) {
        const struct raft_write *w = d->going.list[i];
        d->has_installed = d->has_installed || w->has_install;
        if (w->has_install)
            d->installed = w->install;
        if (w->has_install && w->install.index > d->last_index)
            d->last_index = w->install.index;
        if (w->truncate_from != 0 && w->truncate_from <= d->last_index)
            d->last_index = w->truncate_from - 1;
        if (w->count != 0)
            d->last_index = w->entries[w->count - 1].index;
    }
    d->log_bytes += d->going.bytes;
    if (d->log_bytes <= d->most_bytes || d->wants_snapshot)
        return;
    d->wants_snapshot = true;
    d->older_last = d->last_index;
    d->log_bytes = 0;
}

static bool commit(struct raft_disk *d, struct err *err)
{
    if (d->is_ram)
        take_all(d);
    else if (!write_all(d, err))
        return false;
    if (d->going.count != 0)
        d->number = d->going.list[d->going.count - 1]->number;
    clear(&d->going);
    shrink_room(d);
    if (d->is_ram)
        return true;
    return has_outgrown(d) ? switch_logs(d, err) : fill_ahead(d, d->fill_bytes / 2, err);
}

bool raft_disk_commit(struct raft_disk *d, struct err *err)
{
    CHECK(!d->has_failed);
    d->has_failed = !commit(d, err);
    return !d->has_failed;
}

bool raft_disk_close_group(struct raft_disk *d, struct err *err)
{
    CHECK(!d->has_failed);
    d->is_closed = d->is_ram || write_group(d, 0, 0, 0, err);
    d->has_failed = !d->is_closed;
    d->is_closed = true;
    return !d->has_failed;
}

bool raft_disk_wants_closing(const struct raft_disk *d)
{
    return !d->is_ram && !d->is_closed && !d->has_failed && d->size - d->end >= RAFT_GROUP_ALIGN;
}

struct raft_disk_stats raft_disk_stats(const struct raft_disk *d)
{
    struct raft_disk_stats s = d->stats;
    s.generation = d->head.generation;
    s.log_bytes = d->log_bytes;
    s.snapshot_bytes = d->snapshot_bytes;
    return s;
}

/* ---- opening ---- */

/* The last group may be what a sync failed for: the system shows it, and need not have it on the
 * disk, and would not write it again by itself. So it is written once more, elsewhere: if it is
 * safe where it is, that must not be spoiled. Groups before it were followed by one, and are safe.
 */
static bool repeat_last(struct raft_disk *d, const struct raft_read *re, struct err *err)
{
    size_t length = (size_t)(re->end - re->last), got = 0, need;
    struct raft_group g = { 0 };
    make_room(d, length);
    bool ok = d->disk->ops->read(d->file, re->last, d->group, length, &got, err);
    if (!ok)
        return false;
    if (raft_group_cut(slice_of(d->group, got), d->head.salt, re->last, &g, &need) !=
        RAFT_CUT_GROUP)
        return err_set(err, ERR_IO, "the last group of a log changed while it was read");
    d->next_number = g.number;
    if (MUTATION(DISK_OVERWRITE_LAST))
        d->end = re->last;
    return write_group(d, g.items.len, g.count, 0, err);
}

/* What is torn behind the end goes, before anything is written there. */
static bool open_last(struct raft_disk *d, const struct raft_read *re, uint64_t torn_bytes,
                      struct err *err)
{
    const struct disk_ops *ops = d->disk->ops;
    char name[RAFT_FILE_NAME_ROOM];
    d->end = re->end;
    raft_file_log_name(re->generation, name);
    d->file = ops->open(d->disk, name, DISK_WRITE, err);
    if (d->file == NULL || !ops->size(d->file, &d->size, err))
        return false;
    if (d->size < d->end)
        return err_set(err, ERR_IO, "%s became shorter while it was read", name);
    /* Not cut short: on a full disk the room would be gone. */
    if (!write_zeros(d, d->file, d->end, torn_bytes, err) || !ops->sync(d->file, err))
        return false;
    return MUTATION(DISK_TRUST_LAST) || repeat_last(d, re, err);
}

/* All that is good, as a log of its own: the first, one behind a snapshot it does not agree with,
 * or one that damage was accepted in. */
static bool open_fresh(struct raft_disk *d, const struct raft_found *found, struct err *err)
{
    struct items it = { 0 };
    bool has_snapshot = found->snapshot.index != 0;
    d->last_index = found->base;
    put_entries(d, &it, found->entries, found->count);
    d->stats.entries = 0;
    return begin_fresh(d, found->base, found->base_term, &it, err) &&
           raft_image_clean(d->disk, has_snapshot ? found->snapshot.index : UINT64_MAX,
                            found->snapshot.id, d->head.generation, err) &&
           d->disk->ops->sync_folder(d->disk, "raft", err); /* or what was bad comes back */
}

static bool open_whole(struct raft_disk *d, const struct raft_found *found,
                       const struct raft_read *re, struct err *err)
{
    return open_last(d, re, found->torn_bytes, err) &&
           d->disk->ops->sync_folder(d->disk, "raft", err) &&
           raft_image_clean(d->disk, found->snapshot.index, found->snapshot.id, re->first, err);
}

static void take_over(struct raft_disk *d, struct raft_found *found, const struct raft_read *re)
{
    if (found->verdict == RAFT_DISK_DAMAGED)
        found->hard.is_recovering = true;
    d->hard = found->hard;
    d->snapshot = found->snapshot;
    d->snapshot_bytes = re->snapshot_bytes;
    d->head = re->head;
    d->head.generation = re->generation;
    d->next_number = re->next_number;
    d->log_bytes = re->log_bytes;
    d->last_index = found->base + found->count;
    d->last_term = found->count != 0 ? found->entries[found->count - 1].term : found->base_term;
}

static bool say_begun(struct disk *disk, const struct raft_identity *is, struct err *err)
{
    if (is->has_log)
        return true;
    struct raft_identity it = *is;
    it.has_log = true;
    return raft_identity_write(disk, &it, err);
}

static bool open_log(struct raft_disk *d, const struct raft_disk_setup *setup,
                     struct raft_found *found, struct err *err)
{
    struct raft_read re;
    struct err none;
    if (!raft_disk_read(setup, found, &re, err))
        return false;
    if (found->verdict == RAFT_DISK_DAMAGED &&
        (setup->on_damage == RAFT_DISK_REFUSES || found->is_hard_lost)) {
        *err = found->damage;
        return false;
    }
    take_over(d, found, &re);
    (void)!d->disk->ops->remove(d->disk, RAFT_RECEIVED, &none); /* it is begun again */
    bool is_fresh = re.is_dropped || found->verdict == RAFT_DISK_DAMAGED;
    return (is_fresh ? open_fresh(d, found, err) : open_whole(d, found, &re, err)) &&
           say_begun(setup->disk, setup->identity, err);
}

static void open_ram(struct raft_disk *d, struct raft_found *found)
{
    d->ram = ram_disk_new();
    d->disk = d->ram;
    *found = (struct raft_found){ .is_new = true };
}

struct raft_disk *raft_disk_open(const struct raft_disk_setup *setup, struct raft_found *found,
                                 struct err *err)
{
    struct raft_disk *d = mem_zalloc(sizeof *d);
    *found = (struct raft_found){ .verdict = RAFT_DISK_WHOLE };
    d->disk = setup->disk;
    d->least_bytes = setup->least_bytes != 0 ? setup->least_bytes : RAFT_DISK_LEAST;
    d->fill_bytes = setup->fill_bytes != 0 ? setup->fill_bytes : RAFT_DISK_FILL;
    d->node = setup->identity->node;
    d->is_ram = setup->identity->is_ram;
    memcpy(d->cluster_id, setup->identity->cluster_id, sizeof d->cluster_id);
    rng_init(&d->salts, setup->seed);
    if (d->is_ram)
        open_ram(d, found);
    else if (!open_log(d, setup, found, err))
        raft_disk_free(&d);
    if (d != NULL)
        see(d);
    return d;
}

void raft_disk_free(struct raft_disk **disk)
{
    struct raft_disk *d = *disk;
    *disk = NULL;
    raft_incoming_drop(d);
    if (d->file != NULL)
        d->disk->ops->close(&d->file);
    clear(&d->gather);
    clear(&d->going);
    mem_free(d->gather.list);
    mem_free(d->going.list);
    mem_free(d->group);
    disk_free(&d->ram);
    mem_free(d);
}

void raft_found_fini(struct raft_found *f)
{
    raft_entries_free(&f->entries, f->count);
    f->count = 0;
}
