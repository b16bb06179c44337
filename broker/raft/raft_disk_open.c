/* A start, and the end. */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "io/ram_disk.h"
#include "raft/raft_disk_inner.h"

/* The last group may be what a sync failed for: the system shows it, and need not have it on the
 * disk, and would not write it again by itself. So it is written once more, elsewhere: if it is
 * safe where it is, that must not be spoiled. Groups before it were followed by one, and are safe.
 */
static bool repeat_last(struct raft_disk *d, const struct raft_read *re, struct err *err)
{
    size_t length = (size_t)(re->end - re->last), got = 0, need;
    struct raft_group g = { 0 };
    raft_disk_log_make_room(d, length);
    bool ok = d->disk->ops->read(d->file, re->last, d->group, length, &got, err);
    if (!ok)
        return false;
    if (raft_group_cut(slice_of(d->group, got), d->head.salt, re->last, &g, &need) !=
        RAFT_CUT_GROUP)
        return err_set(err, ERR_IO, "the last group of a log changed while it was read");
    d->next_number = g.number;
    if (MUTATION(DISK_OVERWRITE_LAST))
        d->end = re->last;
    return raft_disk_log_write_group(d, g.items.len, g.count, 0, err);
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
    raft_disk_log_write_through(d, d->file);
    if (d->size < d->end)
        return err_set(err, ERR_IO, "%s became shorter while it was read", name);
    /* Not cut short: on a full disk the room would be gone. */
    if (!raft_disk_log_write_zeros(d, d->file, d->end, torn_bytes, err) || !ops->sync(d->file, err))
        return false;
    return MUTATION(DISK_TRUST_LAST) || repeat_last(d, re, err);
}

/* What a cluster of this node alone begins with. */
static void found_group(struct raft_found *f, uint16_t node)
{
    const struct raft_config alone = { .count = 1, .members = { { node, RAFT_VOTER } } };
    CHECK(f->count == 0 && f->base == 0 && f->hard.term == 0);
    f->hard.term = 1;
    f->entries = mem_alloc(sizeof *f->entries);
    f->entries[f->count++] = (struct raft_entry){
        .index = 1, .term = 1, .kind = RAFT_CONFIG, .bytes = raft_config_buf(&alone)
    };
}

/* All that is good, as a log of its own: the first, one behind a snapshot it does not agree with,
 * or one that damage was accepted in. */
static bool open_fresh(struct raft_disk *d, const struct raft_found *found, struct err *err)
{
    struct raft_items it = { 0 };
    bool has_snapshot = found->snapshot.index != 0;
    d->last_index = found->base;
    raft_disk_log_put_entries(d, &it, found->entries, found->count);
    d->stats.entries = 0;
    return raft_disk_log_begin_fresh(d, found->base, found->base_term, &it, err) &&
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
    if (found->is_new && setup->identity->is_founder && !MUTATION(DISK_FOUNDER_LEFT_OUT))
        found_group(found, d->node);
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
        raft_disk_see(d);
    else
        raft_found_fini(found);
    return d;
}

void raft_disk_free(struct raft_disk **disk)
{
    struct raft_disk *d = *disk;
    *disk = NULL;
    raft_incoming_drop(d);
    if (d->file != NULL)
        d->disk->ops->close(&d->file);
    raft_writes_clear(&d->gather);
    raft_writes_clear(&d->going);
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
