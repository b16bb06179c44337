/* What is there at a start, and what it is worth. Nothing is changed. */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "raft/raft_disk_inner.h"

#include <inttypes.h>

#define REMEDY                                                                                     \
    "what was acknowledged cannot be read, and the node does not start without it: put the data "  \
    "folder back from a backup, or have the node join its cluster anew (warrenctl force_reset, "   \
    "forget_cluster_node of its old self, join_cluster); a node that was alone starts without "    \
    "definitions when its folder \"raft\" is moved away, and they can be imported"

/* ---- the story so far ---- */

struct story {
    const struct raft_disk_setup *setup;
    struct disk *disk;
    struct raft_found *found;
    struct raft_read *read;
    size_t room;       /* of found->entries */
    bool is_followed;  /* the last group says that another file comes */
    bool has_snapshot; /* there is a file of one, good or not */
    bool is_snapshot_bad;
};

/* Of what was acknowledged: the first one counts. Always true: reading goes on, for the hard state.
 */
static bool damaged(struct story *s, const char *name, uint64_t offset, const char *what)
{
    if (s->found->verdict == RAFT_DISK_DAMAGED)
        return true;
    s->found->verdict = RAFT_DISK_DAMAGED;
    (void)!err_set(&s->found->damage, ERR_IO, "%s is damaged at octet %" PRIu64 " (%s): %s", name,
                   offset, what, REMEDY);
    return true;
}

static bool missing(struct story *s, const char *name)
{
    if (s->found->verdict == RAFT_DISK_DAMAGED)
        return true;
    s->found->verdict = RAFT_DISK_DAMAGED;
    (void)!err_set(&s->found->damage, ERR_IO, "%s is missing: %s", name, REMEDY);
    return true;
}

static bool is_damaged(const struct story *s)
{
    return s->found->verdict == RAFT_DISK_DAMAGED;
}

static uint64_t last_index(const struct story *s)
{
    return s->found->base + s->found->count;
}

static uint64_t term_at(const struct story *s, uint64_t index)
{
    const struct raft_found *f = s->found;
    CHECK(index >= f->base && index <= last_index(s));
    return index == f->base ? f->base_term : f->entries[index - f->base - 1].term;
}

/* From this one on. */
static void drop(struct story *s, uint64_t from)
{
    struct raft_found *f = s->found;
    while (f->count != 0 && last_index(s) >= from)
        buf_unref(&f->entries[--f->count].bytes);
}

/* What an older file held may be cut off too; then it is of no use any more, and need not be there.
 */
static bool truncate(struct story *s, uint64_t from)
{
    drop(s, from);
    if (from == 0)
        return false;
    if (from <= s->found->base) {
        s->found->base = from - 1;
        s->found->base_term = 0;
    }
    return true;
}

static bool take_item(struct story *s, const struct raft_item *item)
{
    struct raft_found *f = s->found;
    if (item->kind == RAFT_ITEM_TRUNCATE)
        return truncate(s, item->index);
    if (item->index != last_index(s) + 1)
        return false;
    if (f->count == s->room) {
        s->room = s->room != 0 ? s->room * 2 : 64;
        f->entries = mem_realloc(f->entries, s->room * sizeof *f->entries);
    }
    f->entries[f->count++] =
        (struct raft_entry){ .index = item->index,
                             .term = item->term,
                             .kind = item->entry_kind,
                             .bytes = item->bytes.len != 0 ? buf_copy(item->bytes) : NULL };
    return true;
}

static void take_items(struct story *s, const struct raft_window *r, uint64_t offset,
                       const struct raft_group *g)
{
    struct wire w = wire_over(g->items);
    struct raft_item item;
    for (uint32_t i = 0; i < g->count && !is_damaged(s); i++)
        if (!raft_item_take(&w, &item) || !take_item(s, &item))
            (void)damaged(s, r->name, offset, "its entries are not in order");
    if (!is_damaged(s) && wire_left(&w) != 0)
        (void)damaged(s, r->name, offset, "more than its entries");
}

/* ---- the groups of a log ---- */

/* `g` stands at `offset`; what is before it, from `bad` on, is no group. Its number says whether
 * anything was lost there. */
static void take_group(struct story *s, const struct raft_window *r, uint64_t bad, uint64_t offset,
                       const struct raft_group *g)
{
    s->found->hard = (struct raft_hard){ .term = g->term,
                                         .vote = g->vote,
                                         .is_recovering = (g->flags & RAFT_GROUP_RECOVERING) != 0 };
    s->is_followed = (g->flags & RAFT_GROUP_FOLLOWED) != 0;
    if (g->number + 1 == s->read->next_number)
        return; /* the one before it, once more */
    if (g->number != s->read->next_number && !MUTATION(DISK_CUT_AT_DAMAGE))
        (void)damaged(s, r->name, bad, "a group of entries");
    s->read->next_number = g->number + 1;
    if (!is_damaged(s))
        take_items(s, r, offset, g);
}

/* The first good group from *offset on. None: *offset is the end of the file, or past it. */
static bool find_group(struct raft_window *r, uint64_t salt, uint64_t *offset, struct raft_group *g,
                       struct err *err)
{
    enum raft_cut cut;
    for (; *offset < r->size; *offset += RAFT_GROUP_ALIGN) {
        if (!raft_window_cut(r, salt, *offset, g, &cut, err))
            return false;
        if (cut == RAFT_CUT_GROUP)
            break;
    }
    return true;
}

static bool read_groups(struct story *s, struct raft_window *r, const struct raft_log_head *h,
                        struct err *err)
{
    struct raft_group g;
    s->read->last = s->read->end = RAFT_FILE_START;
    for (;;) {
        uint64_t offset = s->read->end;
        if (!find_group(r, h->salt, &offset, &g, err))
            return false;
        if (offset >= r->size)
            break;
        take_group(s, r, s->read->end, offset, &g);
        s->read->last = offset;
        s->read->end = offset + g.length;
        s->read->log_bytes += g.length;
    }
    /* It was there before the file had its name. */
    return s->read->end != RAFT_FILE_START ||
           damaged(s, r->name, RAFT_FILE_START, "its first group");
}

/* Up to the last octet behind the end that is not zero. */
static bool measure_torn(struct story *s, struct raft_window *r, struct err *err)
{
    uint64_t from = s->read->end;
    s->found->torn_bytes = 0;
    for (uint64_t at = from; at < r->size;) {
        struct slice bytes;
        if (!raft_window_at(r, at, 1, &bytes, err))
            return false;
        if (bytes.len == 0)
            return true;
        for (size_t i = 0; i < bytes.len; i++)
            if (bytes.ptr[i] != 0)
                s->found->torn_bytes = at + i + 1 - from;
        at += bytes.len;
    }
    return true;
}

/* ---- one log ---- */

/* *is_good: the head is. False: not to be read. */
static bool read_head(struct story *s, struct raft_window *r, uint64_t generation,
                      struct raft_log_head *head, bool *is_good, struct err *err)
{
    struct slice bytes;
    *is_good = false;
    if (!raft_window_at(r, 0, RAFT_FILE_HEAD_BYTES, &bytes, err))
        return false;
    switch (raft_file_read_log(bytes, head)) {
    case RAFT_HEAD_GOOD:
        break;
    case RAFT_HEAD_NEWER:
        return err_set(err, ERR_REFUSED,
                       "%s was written by a newer version of the broker: start that one", r->name);
    case RAFT_HEAD_BAD:
        return damaged(s, r->name, 0, "its head");
    }
    if (head->generation != generation)
        return damaged(s, r->name, 0, "it is another file");
    const struct raft_identity *is = s->setup->identity;
    if (head->node != is->node ||
        memcmp(head->cluster_id, is->cluster_id, sizeof head->cluster_id) != 0)
        return err_set(
            err, ERR_REFUSED,
            "%s belongs to another node or cluster than \"raft/identity\": was it copied "
            "here? Bring back all files of one folder",
            r->name);
    *is_good = true;
    return true;
}

/* Does it go on where the one before ended? */
static void begin_file(struct story *s, const struct raft_window *r, const struct raft_log_head *h,
                       bool is_first)
{
    bool is_next = h->first == s->read->next_number || h->first + 1 == s->read->next_number;
    if (is_first || h->is_fresh) {
        drop(s, 0);
        s->is_followed = false;
        s->found->base = h->base;
        s->found->base_term = h->base_term;
        s->read->next_number = h->first;
    } else if (!is_damaged(s) &&
               (!is_next || h->base != last_index(s) || h->base_term != term_at(s, h->base)))
        (void)damaged(s, r->name, 0, "entries are missing before it");
}

static bool read_log(struct story *s, uint64_t generation, bool is_first, struct err *err)
{
    struct raft_window r;
    struct raft_log_head *head = &s->read->head;
    bool is_good = false;
    bool ok = raft_window_open(&r, s->disk, generation, err) &&
              read_head(s, &r, generation, head, &is_good, err);
    s->found->is_hard_lost = !is_good;
    if (ok && is_good) {
        begin_file(s, &r, head, is_first);
        ok = read_groups(s, &r, head, err) && measure_torn(s, &r, err);
        s->found->is_hard_lost = s->read->end == RAFT_FILE_START;
    }
    raft_window_close(&r);
    return ok;
}

/* ---- all of them ---- */

struct folder {
    uint64_t *logs; /* generations */
    size_t log_count;
    size_t log_room;
    uint64_t index; /* of the newest snapshot; 0: there is none */
    uint64_t id;
};

static void see(const char *name, void *arg)
{
    struct folder *f = arg;
    uint64_t generation, index, id;
    if (raft_file_is_snapshot(name, &index, &id) && index > f->index) {
        f->index = index;
        f->id = id;
    }
    if (!raft_file_is_log(name, &generation))
        return;
    if (f->log_count == f->log_room) {
        f->log_room = f->log_room != 0 ? f->log_room * 2 : 8;
        f->logs = mem_realloc(f->logs, f->log_room * sizeof *f->logs);
    }
    f->logs[f->log_count++] = generation;
}

static bool has_log(const struct folder *f, uint64_t generation)
{
    for (size_t i = 0; i < f->log_count; i++)
        if (f->logs[i] == generation)
            return true;
    return false;
}

static uint64_t newest(const struct folder *f)
{
    uint64_t last = 0;
    for (size_t i = 0; i < f->log_count; i++)
        last = f->logs[i] > last ? f->logs[i] : last;
    return last;
}

/* Does the log from this file on reach back to the snapshot? A head that is bad is judged later. */
static bool reaches_back(struct story *s, uint64_t generation, bool *reaches, struct err *err)
{
    struct raft_window r;
    struct slice bytes;
    struct raft_log_head head;
    *reaches = false;
    bool ok = raft_window_open(&r, s->disk, generation, err) &&
              raft_window_at(&r, 0, RAFT_FILE_HEAD_BYTES, &bytes, err);
    if (ok && raft_file_read_log(bytes, &head) == RAFT_HEAD_GOOD)
        *reaches = head.is_fresh || head.base <= s->found->snapshot.index;
    raft_window_close(&r);
    return ok;
}

/* Older logs that were to go may still be there, some of them: they do not matter. */
static bool find_first(struct story *s, const struct folder *f, struct err *err)
{
    struct raft_read *re = s->read;
    bool reaches = false;
    re->generation = re->first = newest(f);
    for (uint64_t g = re->generation; g != 0 && has_log(f, g) && !reaches; g--) {
        re->first = g;
        if (!reaches_back(s, g, &reaches, err))
            return false;
    }
    return true;
}

static bool read_logs(struct story *s, const struct folder *f, struct err *err)
{
    char name[RAFT_FILE_NAME_ROOM];
    struct raft_read *re = s->read;
    if (!find_first(s, f, err))
        return false;
    for (uint64_t g = re->first; g <= re->generation && g != 0; g++)
        if (!read_log(s, g, g == re->first, err))
            return false;
    if (!s->is_followed)
        return true;
    raft_file_log_name(re->generation + 1, name);
    s->found->is_hard_lost = true;
    return missing(s, name);
}

static bool read_snapshot(struct story *s, const struct folder *f, struct err *err)
{
    char name[RAFT_FILE_NAME_ROOM];
    struct err why = { 0 };
    if (f->index == 0)
        return true;
    raft_file_snapshot_name(f->index, f->id, name);
    s->has_snapshot = true;
    if (raft_image_check(s->disk, name, &s->found->snapshot, &why)) {
        s->read->snapshot_bytes = s->found->snapshot.bytes;
        return true;
    }
    if (why.code == ERR_REFUSED) {
        *err = why;
        return false;
    }
    s->is_snapshot_bad = true;
    s->found->snapshot = (struct raft_snapshot){ 0 };
    if (!is_damaged(s))
        (void)!err_set(&s->found->damage, ERR_IO, "%s: %s", why.text, REMEDY);
    s->found->verdict = RAFT_DISK_DAMAGED;
    return true;
}

/* The log begins behind the snapshot, whatever it held. */
static void begin_behind_snapshot(struct story *s)
{
    drop(s, 0);
    s->found->base = s->found->snapshot.index;
    s->found->base_term = s->found->snapshot.term;
}

/* What is in the snapshot is not wanted once more. */
static void cut_front(struct story *s, const struct raft_snapshot *snapshot)
{
    struct raft_found *f = s->found;
    size_t n = (size_t)(snapshot->index - f->base);
    for (size_t i = 0; i < n; i++)
        buf_unref(&f->entries[i].bytes);
    f->count -= n;
    if (f->count != 0)
        memmove(f->entries, f->entries + n, f->count * sizeof *f->entries);
    f->base = snapshot->index;
    f->base_term = snapshot->term;
}

/* One that ends before it, or has another entry there, is from before it was installed, and nothing
 * of it counts (Raft, 7). */
static void join_snapshot(struct story *s)
{
    const struct raft_snapshot *snapshot = &s->found->snapshot;
    char name[RAFT_FILE_NAME_ROOM];
    if (s->is_snapshot_bad) {
        begin_behind_snapshot(s); /* nothing is left */
        return;
    }
    if (s->found->base > snapshot->index) {
        raft_file_log_name(s->read->first - 1, name);
        (void)missing(s, s->read->first > 1 ? name : "raft/snapshot");
        begin_behind_snapshot(s);
        return;
    }
    bool has_it = last_index(s) >= snapshot->index;
    if (!has_it ||
        (term_at(s, snapshot->index) != snapshot->term && !MUTATION(DISK_INSTALL_KEEPS_LOG))) {
        s->read->is_dropped = true;
        begin_behind_snapshot(s);
    } else {
        cut_front(s, snapshot);
    }
}

/* No log yet: then there may be a snapshot to begin with. */
static void judge_nothing(struct story *s)
{
    s->found->is_new = !s->setup->identity->has_log && !s->has_snapshot;
    s->found->hard.term = s->found->snapshot.term;
    s->read->is_dropped = true;
    if (!s->setup->identity->has_log)
        return;
    s->found->is_hard_lost = true;
    (void)missing(s, "the log in \"raft\"");
}

bool raft_disk_read(const struct raft_disk_setup *setup, struct raft_found *found,
                    struct raft_read *read, struct err *err)
{
    struct story s = { .setup = setup, .disk = setup->disk, .found = found, .read = read };
    struct folder f = { .index = 0 };
    *found = (struct raft_found){ .verdict = RAFT_DISK_WHOLE };
    *read = (struct raft_read){ .next_number = 1 };
    bool ok = s.disk->ops->list(s.disk, "raft", see, &f, err) && read_snapshot(&s, &f, err) &&
              read_logs(&s, &f, err);
    if (ok && f.log_count == 0)
        judge_nothing(&s);
    if (ok)
        join_snapshot(&s);
    if (ok && found->verdict == RAFT_DISK_WHOLE && found->torn_bytes != 0)
        found->verdict = RAFT_DISK_TORN;
    mem_free(f.logs);
    return ok;
}

bool raft_disk_look(struct disk *disk, const struct raft_identity *identity,
                    struct raft_found *found, struct err *err)
{
    const struct raft_disk_setup setup = { .disk = disk, .identity = identity };
    struct raft_read read;
    return raft_disk_read(&setup, found, &read, err);
}
