#include "quarantine/quarantine.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/random.h"
#include "quarantine/quarantine_inner.h"

#include <stdio.h>
#include <stdlib.h>

#define REWRITE_DEAD ((uint64_t)1024 * 1024) /* so much is not worth writing a file anew */

/* ---- start and end ---- */

struct listing {
    uint64_t *qids;
    size_t count;
    size_t cap;
    const char *suffix;
};

/* Names of other kinds are left alone. */
static void on_name(const char *name, void *arg)
{
    struct listing *l = arg;
    char path[QUARANTINE_NAME_ROOM];
    uint64_t qid = strtoull(name, NULL, 16);
    quarantine_file_path(qid, l->suffix, path);
    if (strcmp(path + sizeof QUARANTINE_FOLDER, name) != 0)
        return;
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? 2 * l->cap : 16;
        l->qids = mem_realloc(l->qids, l->cap * sizeof *l->qids);
    }
    l->qids[l->count++] = qid;
}

/* A crash came between the two names of a file that was written anew, or before them. */
static bool finish_rewrites(struct disk *d, struct err *err)
{
    struct listing fresh = { .suffix = QUARANTINE_NEW };
    bool is_good = d->ops->list(d, QUARANTINE_FOLDER, on_name, &fresh, err);
    for (size_t i = 0; i < fresh.count && is_good; i++) {
        char path[QUARANTINE_NAME_ROOM], from[QUARANTINE_NAME_ROOM];
        struct err none;
        quarantine_file_path(fresh.qids[i], "", path);
        quarantine_file_path(fresh.qids[i], QUARANTINE_NEW, from);
        struct disk_file *there = d->ops->open(d, path, DISK_READ, &none);
        if (there != NULL) {
            d->ops->close(&there);
            is_good = d->ops->remove(d, from, err);
        } else {
            is_good = none.code == ERR_NOT_FOUND ? d->ops->rename(d, from, path, err)
                                                 : err_set(err, none.code, "%s", none.text);
        }
    }
    mem_free(fresh.qids);
    return is_good && d->ops->sync_folder(d, QUARANTINE_FOLDER, err);
}

static bool load_all(struct quarantine *q, struct err *err)
{
    struct listing found = { .suffix = "" };
    bool is_good = q->disk->ops->list(q->disk, QUARANTINE_FOLDER, on_name, &found, err);
    for (size_t i = 0; i < found.count && is_good; i++) {
        struct quarantine_file *f = quarantine_file_load(q->disk, found.qids[i], err);
        is_good = f != NULL;
        if (is_good) {
            idmap_put(&q->files, f->qid, f);
            q->bytes += f->end;
            q->next_id = f->next_id > q->next_id ? f->next_id : q->next_id;
        }
    }
    mem_free(found.qids);
    return is_good;
}

struct quarantine *quarantine_open(struct disk *disk, uint64_t limit_bytes, struct err *err)
{
    struct quarantine *q = mem_zalloc(sizeof *q);
    q->disk = disk;
    q->limit_bytes = limit_bytes;
    q->next_id = 1;
    lock_init(&q->lock);
    idmap_init(&q->files);
    if (!disk->ops->make_folder(disk, QUARANTINE_FOLDER, err) || !finish_rewrites(disk, err) ||
        !load_all(q, err))
        quarantine_free(&q);
    return q;
}

void quarantine_free(struct quarantine **quarantine)
{
    struct quarantine *q = *quarantine;
    *quarantine = NULL;
    if (q == NULL)
        return;
    for (struct quarantine_file *f; (f = idmap_first(&q->files)) != NULL;) {
        (void)idmap_take(&q->files, f->qid);
        quarantine_file_free(&f);
    }
    idmap_fini(&q->files);
    lock_fini(&q->lock);
    mem_free(q);
}

/* ---- dropping ---- */

/* Nothing is left of it. */
static bool remove_file(struct quarantine *q, struct quarantine_file *f, struct err *err)
{
    char path[QUARANTINE_NAME_ROOM];
    quarantine_file_path(f->qid, "", path);
    if (!q->disk->ops->remove(q->disk, path, err) ||
        !q->disk->ops->sync_folder(q->disk, QUARANTINE_FOLDER, err))
        return false;
    q->bytes -= f->end;
    (void)idmap_take(&q->files, f->qid);
    quarantine_file_free(&f);
    return true;
}

static bool write_record(struct quarantine_file *f, struct disk_file *out, uint8_t kind,
                         const struct slice *parts, size_t count, struct err *err)
{
    struct slice all[4];
    uint8_t head[QUARANTINE_RECORD_HEAD];
    uint64_t bytes = 0;
    CHECK(count < 4);
    for (size_t i = 0; i < count; i++) {
        all[i + 1] = parts[i];
        bytes += parts[i].len;
    }
    if (bytes > UINT32_MAX - QUARANTINE_RECORD_HEAD)
        return err_set(err, ERR_LIMIT, "a message of %llu octets is too large",
                       (unsigned long long)bytes);
    struct wire_out w = wire_out_over(head, sizeof head);
    wire_put_u32(&w, (uint32_t)bytes);
    wire_put_u8(&w, kind);
    wire_put_u64(&w, quarantine_sum(f->qid, kind, parts, count));
    all[0] = wire_out_slice(&w);
    if (!out->disk->ops->write(out, f->end, all, count + 1, err))
        return false;
    f->end += sizeof head + bytes;
    return true;
}

/* The end of the file is again what it was: what came behind it was not kept. */
static void take_back(struct quarantine *q, struct quarantine_file *f, uint64_t end, size_t count)
{
    f->live -= f->count - count;
    f->count = count;
    q->bytes -= f->end - end;
    f->end = end;
}

static bool write_dropped(struct quarantine *q, struct quarantine_file *f, const uint64_t *ids,
                          size_t count, struct err *err)
{
    char path[QUARANTINE_NAME_ROOM];
    uint8_t room[8 * QUARANTINE_IDS_MAX];
    uint64_t end = f->end;
    quarantine_file_path(f->qid, "", path);
    struct disk_file *out = q->disk->ops->open(q->disk, path, DISK_WRITE, err);
    if (out == NULL)
        return false;
    bool is_good = true;
    for (size_t at = 0; at < count && is_good; at += QUARANTINE_IDS_MAX) {
        struct wire_out w = wire_out_over(room, sizeof room);
        for (size_t i = at; i < count && i < at + QUARANTINE_IDS_MAX; i++)
            wire_put_u64(&w, ids[i]);
        struct slice part = wire_out_slice(&w);
        is_good = write_record(f, out, QUARANTINE_DROPPED, &part, 1, err);
    }
    is_good = is_good && q->disk->ops->sync(out, err);
    q->disk->ops->close(&out);
    q->bytes += f->end - end;
    f->dead += f->end - end;
    return is_good;
}

/* Those of the ids that are there are gone; *count says how many. */
static bool drop(struct quarantine *q, struct quarantine_file *f, const uint64_t *ids,
                 size_t id_count, uint64_t *count, struct err *err)
{
    uint64_t *there = mem_array(id_count + 1, sizeof *there);
    size_t n = 0;
    for (size_t i = 0; i < id_count; i++) {
        struct quarantine_entry *e = quarantine_entry_find(f, ids[i]);
        if (e == NULL || e->is_dropped)
            continue;
        e->is_dropped = true;
        there[n++] = e->id;
    }
    bool is_all = n == f->live;
    bool is_good = n == 0 || is_all || write_dropped(q, f, there, n, err);
    for (size_t i = 0; i < n; i++) {
        struct quarantine_entry *e = quarantine_entry_find(f, there[i]);
        e->is_dropped = is_good;
        f->dead += is_good ? e->bytes : 0;
    }
    mem_free(there);
    if (!is_good)
        return false;
    f->live -= n;
    *count = n;
    if (is_all)
        return remove_file(q, f, err);
    if (f->dead < REWRITE_DEAD || f->dead < f->end / 2)
        return true;
    uint64_t was = f->end;
    if (!quarantine_file_rewrite(q->disk, f, NULL, err))
        return false;
    q->bytes -= was - f->end;
    return true;
}

bool quarantine_drop(struct quarantine *q, uint64_t qid, const uint64_t *ids, size_t id_count,
                     uint64_t *count, struct err *err)
{
    *count = 0;
    lock_take(&q->lock);
    struct quarantine_file *f = idmap_get(&q->files, qid);
    bool is_good = f == NULL || drop(q, f, ids, id_count, count, err);
    lock_give(&q->lock);
    return is_good;
}

static bool drop_all(struct quarantine *q, struct quarantine_file *f, uint64_t *count,
                     struct err *err)
{
    uint64_t *ids = mem_array(f->count + 1, sizeof *ids);
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        if (!f->entries[i].is_dropped)
            ids[n++] = f->entries[i].id;
    bool is_good = drop(q, f, ids, n, count, err);
    mem_free(ids);
    return is_good;
}

bool quarantine_drop_all(struct quarantine *q, uint64_t qid, uint64_t *count, struct err *err)
{
    *count = 0;
    lock_take(&q->lock);
    struct quarantine_file *f = idmap_get(&q->files, qid);
    bool is_good = f == NULL || drop_all(q, f, count, err);
    lock_give(&q->lock);
    return is_good;
}

/* ---- keeping ---- */

/* An empty file, with its head, that does not exist yet. */
static struct quarantine_file *new_file(struct quarantine *q, uint64_t qid, struct slice vhost,
                                        struct slice name, struct err *err)
{
    char path[QUARANTINE_NAME_ROOM];
    struct quarantine_file *f = mem_zalloc(sizeof *f);
    f->qid = qid;
    f->number = random_u64();
    f->next_id = 1;
    quarantine_head_make(f, vhost, name);
    quarantine_file_path(qid, "", path);
    struct disk_file *out = q->disk->ops->open(q->disk, path, DISK_CREATE, err);
    if (out == NULL) {
        quarantine_file_free(&f);
        return NULL;
    }
    f->end = f->head_bytes;
    bool is_good = q->disk->ops->write(out, 0, &(struct slice){ f->head, f->head_bytes }, 1, err) &&
                   q->disk->ops->sync(out, err) &&
                   q->disk->ops->sync_folder(q->disk, QUARANTINE_FOLDER, err);
    q->disk->ops->close(&out);
    if (is_good) {
        idmap_put(&q->files, qid, f);
        q->bytes += f->end;
        return f;
    }
    struct err ignored;
    (void)q->disk->ops->remove(q->disk, path, &ignored); /* the first error is the one to tell */
    quarantine_file_free(&f);
    return NULL;
}

static bool write_kept(struct quarantine *q, struct quarantine_file *f, struct disk_file *out,
                       const struct quarantine_message *m, struct err *err)
{
    size_t room = QUARANTINE_FIXED + 2 * 256 + 4 + m->props.len;
    uint8_t *head = mem_alloc(room);
    struct quarantine_entry e = { .id = q->next_id,
                                  .epoch = m->epoch,
                                  .position = m->position,
                                  .pid = m->pid,
                                  .seq = m->seq,
                                  .offset = f->end,
                                  .when_ms = m->when_ms };
    struct wire_out w = wire_out_over(head, room);
    wire_put_u64(&w, e.id);
    wire_put_u64(&w, m->when_ms);
    wire_put_u64(&w, m->epoch);
    wire_put_u64(&w, m->position);
    wire_put_u64(&w, m->pid);
    wire_put_u64(&w, m->seq);
    wire_put_u8(&w, m->persistent);
    wire_put_shortstr(&w, m->exchange);
    wire_put_shortstr(&w, m->key);
    wire_put_longstr(&w, m->props);
    CHECK(!w.overflow);
    struct slice parts[] = { wire_out_slice(&w), m->body };
    bool is_good = write_record(f, out, QUARANTINE_KEPT, parts, 2, err);
    mem_free(head);
    if (!is_good)
        return false;
    e.bytes = (uint32_t)(f->end - e.offset);
    quarantine_entry_add(f, &e);
    q->next_id = f->next_id;
    q->bytes += e.bytes;
    return true;
}

/* Which of these are there? As many pass over the index as there are batches that do not come
 * behind all of it. */
static void find_known(const struct quarantine_file *f, const struct quarantine_message *items,
                       size_t count, bool *is_known)
{
    bool are_last = true;
    for (size_t k = 0; k < count && are_last; k++)
        are_last = quarantine_is_last(f, items[k].epoch, items[k].position);
    for (size_t i = 0; i < f->count && !are_last; i++)
        for (size_t k = 0; k < count; k++)
            is_known[k] = is_known[k] || (f->entries[i].position == items[k].position &&
                                          f->entries[i].epoch == items[k].epoch);
}

static bool write_new(struct quarantine *q, struct quarantine_file *f, struct disk_file *out,
                      const struct quarantine_message *items, size_t count, struct err *err)
{
    bool *is_known = mem_zalloc(count + 1);
    /* What a try that failed may have left behind the end. */
    bool is_good = q->disk->ops->truncate(out, f->end, err);
    find_known(f, items, count, is_known);
    for (size_t i = 0; i < count && is_good; i++)
        is_good = is_known[i] || write_kept(q, f, out, &items[i], err);
    mem_free(is_known);
    return is_good && q->disk->ops->sync(out, err);
}

static bool write_all(struct quarantine *q, struct quarantine_file *f,
                      const struct quarantine_message *items, size_t count, struct err *err)
{
    char path[QUARANTINE_NAME_ROOM];
    quarantine_file_path(f->qid, "", path);
    struct disk_file *out = q->disk->ops->open(q->disk, path, DISK_WRITE, err);
    if (out == NULL)
        return false;
    uint64_t end = f->end, next_id = q->next_id;
    size_t had = f->count;
    bool is_good = write_new(q, f, out, items, count, err);
    if (!is_good) {
        take_back(q, f, end, had);
        q->next_id = next_id;
    }
    q->disk->ops->close(&out);
    return is_good;
}

/* Too much is kept: the eldest of this queue go, but for what has just come. */
static bool make_room(struct quarantine *q, struct quarantine_file *f, size_t had,
                      uint64_t *dropped, struct err *err)
{
    uint64_t *ids = mem_array(had + 1, sizeof *ids);
    uint64_t freed = 0, over = q->bytes > q->limit_bytes ? q->bytes - q->limit_bytes : 0;
    size_t n = 0;
    for (size_t i = 0; i < had && freed < over; i++) {
        if (f->entries[i].is_dropped)
            continue;
        ids[n++] = f->entries[i].id;
        freed += f->entries[i].bytes;
    }
    bool is_good = n == 0 || drop(q, f, ids, n, dropped, err);
    mem_free(ids);
    return is_good;
}

static bool add(struct quarantine *q, uint64_t qid, struct slice vhost, struct slice name,
                const struct quarantine_message *items, size_t count, struct quarantine_added *out,
                struct err *err)
{
    struct quarantine_file *f = idmap_get(&q->files, qid);
    if (f == NULL)
        f = new_file(q, qid, vhost, name, err);
    if (f == NULL)
        return false;
    size_t had = f->count;
    if (!write_all(q, f, items, count, err))
        return false;
    out->added = f->count - had;
    return make_room(q, f, had, &out->dropped, err);
}

bool quarantine_add(struct quarantine *q, uint64_t qid, struct slice vhost, struct slice name,
                    const struct quarantine_message *items, size_t count,
                    struct quarantine_added *out, struct err *err)
{
    *out = (struct quarantine_added){ 0 };
    if (count == 0)
        return true;
    lock_take(&q->lock);
    bool is_good = add(q, qid, vhost, name, items, count, out, err);
    lock_give(&q->lock);
    return is_good || err_context(err, "quarantine of %.*s", SLICE_ARG(name));
}

/* ---- looking ---- */

void quarantine_list(struct quarantine *q, quarantine_queue_fn fn, void *arg)
{
    size_t at = 0;
    lock_take(&q->lock);
    for (struct quarantine_file *f; (f = idmap_next(&q->files, &at)) != NULL;) {
        struct quarantine_queue out = {
            .qid = f->qid, .number = f->number, .messages = f->live, .bytes = f->end
        };
        quarantine_file_names(f, &out.vhost, &out.name);
        for (size_t i = 0; i < f->count; i++) {
            if (f->entries[i].is_dropped)
                continue;
            out.first_ms = out.first_ms != 0 ? out.first_ms : f->entries[i].when_ms;
            out.last_ms = f->entries[i].when_ms;
        }
        if (f->live != 0)
            fn(&out, arg);
    }
    lock_give(&q->lock);
}

void quarantine_index(struct quarantine *q, uint64_t qid, quarantine_known_fn fn, void *arg)
{
    lock_take(&q->lock);
    const struct quarantine_file *f = idmap_get(&q->files, qid);
    for (size_t i = 0; f != NULL && i < f->count; i++) {
        const struct quarantine_entry *e = &f->entries[i];
        if (!e->is_dropped)
            fn(&(struct quarantine_known){ e->id, e->pid, e->seq }, arg);
    }
    lock_give(&q->lock);
}

static bool read_file(struct quarantine *q, struct quarantine_file *f, uint64_t from_id,
                      quarantine_message_fn fn, void *arg, struct err *err)
{
    char path[QUARANTINE_NAME_ROOM];
    quarantine_file_path(f->qid, "", path);
    struct disk_file *in = q->disk->ops->open(q->disk, path, DISK_READ, err);
    if (in == NULL)
        return false;
    bool is_good = true, goes_on = true;
    for (size_t i = 0; i < f->count && is_good && goes_on; i++) {
        uint8_t *room;
        struct quarantine_message m;
        if (f->entries[i].is_dropped || f->entries[i].id < from_id)
            continue;
        is_good = quarantine_record_read(in, f, &f->entries[i], &room, &m, err);
        if (!is_good)
            break;
        goes_on = fn(&m, arg);
        mem_free(room);
    }
    q->disk->ops->close(&in);
    return is_good;
}

bool quarantine_read(struct quarantine *q, uint64_t qid, uint64_t from_id, quarantine_message_fn fn,
                     void *arg, struct err *err)
{
    lock_take(&q->lock);
    struct quarantine_file *f = idmap_get(&q->files, qid);
    bool is_good = f == NULL || read_file(q, f, from_id, fn, arg, err);
    lock_give(&q->lock);
    return is_good;
}
