#include "raft/raft_disk.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "raft/raft_disk_inner.h"

#define RESERVE      ((uint64_t)256 << 10) /* for what takes things away, when the disk is full */
#define CLOSING_ROOM ((uint64_t)RAFT_GROUP_ALIGN * 8)
#define GROUP_BYTES  ((size_t)16 << 20) /* of items; one entry more may make it longer */

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

void raft_writes_clear(struct raft_writes *g)
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
void raft_disk_see(struct raft_disk *d)
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
    raft_disk_see(d);
    return d->number;
}

static bool has_outgrown(const struct raft_disk *d)
{
    return d->log_bytes > d->most_bytes && !d->wants_snapshot && d->last_term != 0;
}

/* ---- committing ---- */

/* What a run of writes has, as one group or, where that would be long, as some. */
struct run {
    struct raft_items items;
    bool has_hard;
};

static bool write_run(struct raft_disk *d, struct run *run, struct err *err)
{
    bool has_any = run->items.count != 0 || (run->has_hard && !MUTATION(DISK_HARD_NOT_WRITTEN));
    bool ok = !has_any || raft_disk_log_write_group(d, run->items.len, run->items.count, 0, err);
    *run = (struct run){ { 0 }, false };
    return ok;
}

static bool add_write(struct raft_disk *d, struct run *run, const struct raft_write *w,
                      struct err *err)
{
    if (w->truncate_from != 0)
        raft_disk_log_put_truncate(d, &run->items, w->truncate_from);
    for (size_t i = 0; i < w->count; i++) {
        raft_disk_log_put_entry(d, &run->items, &w->entries[i]);
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
    struct raft_items it = { 0 };
    raft_disk_log_put_entries(d, &it, w->entries, w->count);
    d->wants_snapshot = false;
    return raft_disk_log_begin_fresh(d, w->install.index, w->install.term, &it, err) &&
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
    raft_writes_clear(&d->going);
    raft_disk_log_shrink_room(d);
    if (d->is_ram)
        return true;
    return has_outgrown(d) ? raft_disk_log_switch(d, err)
                           : raft_disk_log_fill_ahead(d, d->fill_bytes / 2, err);
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
    d->is_closed = d->is_ram || raft_disk_log_write_group(d, 0, 0, 0, err);
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
