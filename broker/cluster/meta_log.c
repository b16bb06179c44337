#include "cluster/meta_log.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cluster/meta_mutation.h"

#define NEW_LOG      "meta/log.new"
#define RESERVE      ((uint64_t)256 << 10) /* for what takes things away, when the disk is full */
#define CLOSING_ROOM ((uint64_t)META_GROUP_ALIGN * 4)
#define GATHER_KEPT  ((size_t)1 << 20)
#define IDS_A_START  ((uint64_t)1 << 40) /* at ten thousand a second they last three years */
#define STARTS_MAX   ((uint64_t)1 << 22)

/* A group that is being made: META_GROUP_HEAD octets, then items, then room for zeros. */
struct gathered {
    uint8_t *bytes;
    size_t cap;
    size_t len; /* of items */
    uint32_t count;
};

struct meta_log {
    struct disk *disk;
    struct rng salts;
    uint64_t least_bytes;
    uint64_t fill_bytes;
    struct gathered gather; /* the control thread's */
    struct gathered going;  /* the committing thread's, between begin and the end of commit */

    /* The committing thread's while a group is on its way, the control thread's else. */
    struct disk_file *file;
    struct meta_file_head head;
    uint64_t end;  /* where the next group goes */
    uint64_t size; /* of the file: zeros from `end` on */
    uint64_t next_number;
    uint64_t log_bytes; /* of groups since the last snapshot, or the last try at one */
    uint64_t snapshot_bytes;
    uint64_t most_bytes;  /* of the log, before a snapshot is wanted: as of the group's beginning */
    bool is_short;        /* could not be filled ahead */
    bool is_closed;       /* the last group says that all before were safe */
    bool wants_snapshot;  /* a log was begun for it */
    bool has_snapshot_on; /* it is being written */
    bool has_failed;
    struct meta_log_stats stats;
    uint64_t next_id; /* at least: of the present start */
    uint32_t starts;
};

/* ---- gathering ---- */

static void make_room(struct gathered *g, size_t items)
{
    size_t want = META_GROUP_HEAD + items + META_GROUP_ALIGN;
    if (g->cap >= want)
        return;
    g->cap = want * 2;
    g->bytes = mem_realloc(g->bytes, g->cap);
}

static void add_item(struct gathered *g, const struct meta_item *item)
{
    size_t size = meta_item_size(item);
    make_room(g, g->len + size);
    struct wire_out w = wire_out_over(g->bytes + META_GROUP_HEAD + g->len, size);
    meta_item_put(&w, item);
    CHECK(!w.overflow);
    g->len += size;
    g->count++;
}

static void clear(struct gathered *g)
{
    g->len = 0;
    g->count = 0;
    if (g->cap <= GATHER_KEPT)
        return;
    mem_free(g->bytes);
    *g = (struct gathered){ 0 };
}

void meta_log_add(struct meta_log *log, const struct meta_cmd *cmd, const struct meta_result *r)
{
    struct meta_item item = { .is_command = true, .cmd = *cmd, .id = r->first_id };
    if (r->lasts)
        add_item(&log->gather, &item);
    for (size_t i = 0; i < r->orphan_count; i++) {
        const struct meta_orphan *o = &r->orphans[i];
        item.cmd = (struct meta_cmd){ .op = META_EXCHANGE_DELETE,
                                      .vhost_id = o->vhost_id,
                                      .name = slice_of(o->name, o->name_bytes) };
        item.id = 0;
        add_item(&log->gather, &item);
    }
}

bool meta_log_has_gathered(const struct meta_log *log)
{
    return log->gather.count != 0;
}

bool meta_log_takes(const struct meta_cmd *cmd)
{
    return meta_wire_size(cmd) <= META_LOG_CMD_MAX;
}

bool meta_log_has_enough(const struct meta_log *log)
{
    return log->gather.len >= log->fill_bytes / 4; /* at least half is filled ahead */
}

static bool takes_away(enum meta_op op)
{
    return op == META_VHOST_DELETE || op == META_EXCHANGE_DELETE || op == META_QUEUE_DELETE ||
           op == META_UNBIND || op == META_OWNER_GONE || op == META_USER_DELETE ||
           op == META_PERMISSION_CLEAR || op == META_POLICY_CLEAR;
}

bool meta_log_has_room(const struct meta_log *log, const struct meta_cmd *cmd)
{
    if (!log->is_short)
        return true;
    /* Orphans are not counted: a few, and the reserve is for them too. */
    uint64_t wants = meta_group_length(log->gather.len + meta_wire_size(cmd) + 1) + CLOSING_ROOM;
    if (!takes_away(cmd->op))
        wants += RESERVE;
    return log->size - log->end >= wants;
}

bool meta_log_is_short(const struct meta_log *log)
{
    return log->is_short;
}

/* On the control thread, where the end of a snapshot is heard of: a commit must not look at that.
 */
static void set_most(struct meta_log *log)
{
    uint64_t most = log->snapshot_bytes > log->least_bytes ? log->snapshot_bytes : log->least_bytes;
    log->most_bytes = log->has_snapshot_on ? UINT64_MAX : most;
}

void meta_log_begin(struct meta_log *log)
{
    CHECK(log->going.count == 0 && !log->has_failed);
    struct gathered going = log->going;
    log->going = log->gather;
    log->gather = going;
    set_most(log);
}

/* ---- writing ---- */

static bool write_at(struct meta_log *log, struct disk_file *file, uint64_t offset,
                     struct slice bytes, struct err *err)
{
    return log->disk->ops->write(file, offset, &bytes, 1, err);
}

static bool sync_file(struct meta_log *log, struct disk_file *file, struct err *err)
{
    return META_MUTATION(NO_SYNC) || log->disk->ops->sync(file, err) ||
           META_MUTATION(IGNORE_FAILED_SYNC);
}

static bool write_zeros(struct meta_log *log, struct disk_file *file, uint64_t offset, uint64_t len,
                        struct err *err)
{
    size_t piece = (size_t)256 << 10;
    uint8_t *zeros = mem_zalloc(piece);
    bool ok = true;
    for (uint64_t done = 0; ok && done < len; done += piece) {
        size_t n = len - done < piece ? (size_t)(len - done) : piece;
        ok = write_at(log, file, offset + done, slice_of(zeros, n), err);
    }
    mem_free(zeros);
    return ok;
}

/* If there is no room for `len` more. A disk that is full is no failure here. */
static bool fill_ahead(struct meta_log *log, uint64_t len, struct err *err)
{
    if (log->size >= log->end + len) {
        log->is_short = false;
        return true;
    }
    uint64_t more = log->end + len + log->fill_bytes / 2 - log->size;
    log->is_short = !write_zeros(log, log->file, log->size, more, err);
    if (!log->is_short)
        log->size += more;
    else if (err->code != ERR_LIMIT || !log->disk->ops->size(log->file, &log->size, err))
        return false;
    return true;
}

static bool write_group(struct meta_log *log, struct gathered *g, struct err *err)
{
    make_room(g, g->len);
    struct meta_group group = { .number = log->next_number, .count = g->count };
    group.items = slice_of(g->bytes + META_GROUP_HEAD, g->len);
    meta_group_seal(g->bytes, &group, log->head.salt, log->end);
    size_t length = meta_group_length(g->len);
    if (!write_at(log, log->file, log->end, slice_of(g->bytes, length), err) ||
        !sync_file(log, log->file, err))
        return false;
    log->end += length;
    if (log->size < log->end)
        log->size = log->end;
    log->next_number++;
    log->log_bytes += length;
    log->stats.groups++;
    log->stats.commands += g->count;
    return true;
}

/* ---- a new log ---- */

/* Not to be tried again: the log has its name, for now or for good, and to go on in the one before
 * would leave a gap between them. */
static bool sync_names(struct meta_log *log, struct err *err)
{
    if (META_MUTATION(NAME_NOT_SYNCED) || log->disk->ops->sync_folder(log->disk, "meta", err))
        return true;
    err->code = ERR_IO;
    return false;
}

/* Under another name until it is safe, so that a log that is there has its head. */
static struct disk_file *make_file(struct meta_log *log, const struct meta_file_head *head,
                                   struct err *err)
{
    const struct disk_ops *ops = log->disk->ops;
    uint8_t octets[META_FILE_HEAD_BYTES];
    char name[META_NAME_ROOM];
    struct err none;
    (void)!ops->remove(log->disk, NEW_LOG, &none); /* there need not be one */
    struct disk_file *file = ops->open(log->disk, NEW_LOG, DISK_CREATE, err);
    if (file == NULL)
        return NULL;
    meta_file_put_head(octets, head);
    meta_file_name(META_FILE_LOG, head->generation, name);
    if (write_at(log, file, 0, slice_of(octets, sizeof octets), err) &&
        write_zeros(log, file, META_FILE_START, log->fill_bytes, err) &&
        (META_MUTATION(HEAD_NOT_SYNCED) || ops->sync(file, err)) &&
        ops->rename(log->disk, NEW_LOG, name, err) && sync_names(log, err))
        return file;
    ops->close(&file);
    (void)!ops->remove(log->disk, NEW_LOG, &none);
    return NULL;
}

static bool begin_log(struct meta_log *log, struct err *err)
{
    struct meta_file_head head = log->head;
    head.kind = META_FILE_LOG;
    head.generation++;
    head.salt = rng_u64(&log->salts);
    head.first = log->next_number;
    struct disk_file *file = make_file(log, &head, err);
    if (file == NULL)
        return false;
    if (log->file != NULL)
        log->disk->ops->close(&log->file);
    log->file = file;
    log->head = head;
    log->end = META_FILE_START;
    log->size = META_FILE_START + log->fill_bytes;
    log->is_short = false;
    return true;
}

static bool has_outgrown(const struct meta_log *log)
{
    return log->log_bytes > log->most_bytes && !log->wants_snapshot;
}

/* Behind a group that is safe. That the disk is too full for it is no failure: the log is good as
 * it is. */
static bool switch_logs(struct meta_log *log, struct err *err)
{
    struct err why = { 0 };
    log->log_bytes = 0;
    log->wants_snapshot = begin_log(log, &why);
    if (log->wants_snapshot || why.code == ERR_LIMIT)
        return true;
    *err = why;
    return false;
}

/* ---- committing ---- */

static bool commit(struct meta_log *log, struct err *err)
{
    uint64_t length = meta_group_length(log->going.len);
    if (log->going.count != 0) {
        if (!fill_ahead(log, length, err) || !write_group(log, &log->going, err))
            return false;
        log->is_closed = false;
        clear(&log->going);
    }
    return has_outgrown(log) ? switch_logs(log, err) : fill_ahead(log, log->fill_bytes / 2, err);
}

bool meta_log_commit(struct meta_log *log, struct err *err)
{
    CHECK(!log->has_failed);
    log->has_failed = !commit(log, err);
    return !log->has_failed;
}

bool meta_log_close_group(struct meta_log *log, struct err *err)
{
    CHECK(!log->has_failed);
    struct gathered nothing = { 0 };
    log->is_closed = write_group(log, &nothing, err);
    log->has_failed = !log->is_closed;
    mem_free(nothing.bytes);
    return log->is_closed;
}

bool meta_log_wants_closing(const struct meta_log *log)
{
    return !log->is_closed && !log->has_failed && log->size - log->end >= META_GROUP_ALIGN;
}

/* ---- snapshots ---- */

bool meta_log_take_snapshot(struct meta_log *log, struct meta_snapshot *s)
{
    if (!log->wants_snapshot)
        return false;
    CHECK(log->next_number == log->head.first); /* else it would hold what the log holds too */
    log->wants_snapshot = false;
    log->has_snapshot_on = true;
    *s = (struct meta_snapshot){ .disk = log->disk, .head = log->head, .next_id = log->next_id };
    s->head.kind = META_FILE_SNAPSHOT;
    s->head.salt = rng_u64(&log->salts);
    return true;
}

void meta_log_snapshot_done(struct meta_log *log, const struct meta_snapshot *s, bool ok)
{
    log->has_snapshot_on = false;
    if (!ok)
        return;
    log->snapshot_bytes = s->bytes;
    log->stats.snapshots++;
}

struct meta_log_stats meta_log_stats(const struct meta_log *log)
{
    struct meta_log_stats s = log->stats;
    s.generation = log->head.generation;
    s.log_bytes = log->log_bytes;
    s.snapshot_bytes = log->snapshot_bytes;
    return s;
}

/* ---- opening ---- */

/* The last group may be what a sync failed for: the system shows it, and need not have it on the
 * disk, and would not write it again by itself. So it is written once more, elsewhere: if it is
 * safe where it is, that must not be spoiled. Groups before it were followed by one, and are safe.
 */
static bool repeat_last(struct meta_log *log, const struct meta_restored *re, struct err *err)
{
    size_t length = (size_t)(re->end - re->last), got = 0, need;
    uint8_t *bytes = mem_alloc(length + 1);
    struct meta_group g;
    bool ok = log->disk->ops->read(log->file, re->last, bytes, length, &got, err);
    if (ok &&
        meta_group_cut(slice_of(bytes, got), log->head.salt, re->last, &g, &need) != META_CUT_GROUP)
        ok = err_set(err, ERR_IO, "the last group of a log changed while it was read");
    if (ok) {
        struct gathered again = { bytes, length, g.items.len, g.count };
        log->next_number = g.number;
        if (META_MUTATION(OVERWRITE_LAST))
            log->end = re->last;
        ok = write_group(log, &again, err);
        bytes = again.bytes;
    }
    mem_free(bytes);
    return ok;
}

/* What is torn behind the end goes, before anything is written there. */
static bool open_last(struct meta_log *log, const struct meta_restored *re, struct err *err)
{
    const struct disk_ops *ops = log->disk->ops;
    char name[META_NAME_ROOM];
    log->head = re->head;
    log->end = re->end;
    meta_file_name(META_FILE_LOG, re->generation, name);
    log->file = ops->open(log->disk, name, DISK_WRITE, err);
    if (log->file == NULL || !ops->size(log->file, &log->size, err))
        return false;
    if (log->size < log->end)
        return err_set(err, ERR_IO, "%s became shorter while it was read", name);
    /* Not cut short: on a full disk the room would be gone. */
    if (!write_zeros(log, log->file, log->end, re->torn_bytes, err) || !ops->sync(log->file, err))
        return false;
    return re->end == re->last || META_MUTATION(TRUST_LAST) || repeat_last(log, re, err);
}

/* No start before this one has given it. */
static uint64_t least_id(uint32_t starts)
{
    uint64_t before = starts > 1 ? starts - 1 : 0;
    return before < STARTS_MAX ? before * IDS_A_START : 0;
}

/* Ids of things that do not last are in no log: so each start has a range of its own. */
static bool begin_ids(struct meta_log *log, struct meta *meta, const struct meta_restored *re,
                      struct err *err)
{
    bool is_first = re->generation == 0;
    log->next_id = is_first ? 1 : (re->next_id / IDS_A_START + 1) * IDS_A_START;
    /* Somebody may have taken the definitions away: the messages of their queues may still be in
     * the journal, and must not turn up in others. */
    if (log->next_id < least_id(log->starts))
        log->next_id = least_id(log->starts);
    if (META_MUTATION(IDS_AGAIN))
        log->next_id = re->next_id;
    meta_skip_ids(meta, log->next_id - 1);
    struct meta_item ids = { .id = log->next_id };
    add_item(&log->gather, &ids);
    meta_log_begin(log);
    return meta_log_commit(log, err);
}

static bool open_log(struct meta_log *log, struct meta *meta, struct meta_restored *re,
                     struct err *err)
{
    if (!log->disk->ops->make_folder(log->disk, "meta", err) ||
        !log->disk->ops->sync_folder(log->disk, "", err) || !meta_restore(log->disk, meta, re, err))
        return false;
    if (re->generation != 0 &&
        memcmp(re->head.store_id, log->head.store_id, sizeof re->head.store_id) != 0)
        return err_set(
            err, ERR_REFUSED,
            "the definitions in \"meta\" belong to another store than the messages: were "
            "they copied here? Bring back all folders of one store, or move this one "
            "away, start with no definitions and import them");
    log->next_number = re->next_number;
    log->log_bytes = re->log_bytes;
    log->snapshot_bytes = re->snapshot_bytes;
    bool ok = re->generation != 0 ? open_last(log, re, err) : begin_log(log, err);
    return ok && log->disk->ops->sync_folder(log->disk, "meta", err) &&
           meta_snapshot_clean(log->disk, re->snapshot, err) && begin_ids(log, meta, re, err);
}

struct meta_log *meta_log_open(const struct meta_log_setup *setup, struct meta *meta,
                               struct meta_restored *restored, struct err *err)
{
    struct meta_log *log = mem_zalloc(sizeof *log);
    log->disk = setup->disk;
    log->starts = setup->starts;
    log->least_bytes = setup->least_bytes != 0 ? setup->least_bytes : META_LOG_LEAST;
    log->fill_bytes = setup->fill_bytes != 0 ? setup->fill_bytes : META_LOG_FILL;
    rng_init(&log->salts, setup->seed);
    memcpy(log->head.store_id, setup->store_id, sizeof log->head.store_id);
    if (!open_log(log, meta, restored, err))
        meta_log_free(&log);
    return log;
}

void meta_log_free(struct meta_log **log)
{
    struct meta_log *it = *log;
    *log = NULL;
    if (it->file != NULL)
        it->disk->ops->close(&it->file);
    mem_free(it->gather.bytes);
    mem_free(it->going.bytes);
    mem_free(it);
}
