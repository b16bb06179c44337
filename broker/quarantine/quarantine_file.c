/* One queue's file: its head, its records, its index, and writing it anew. */
#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "quarantine/quarantine_inner.h"

#include <stdio.h>

#define COPY_BYTES ((size_t)256 * 1024)

void quarantine_file_path(uint64_t qid, const char *suffix, char path[QUARANTINE_NAME_ROOM])
{
    int len = snprintf(path, QUARANTINE_NAME_ROOM, QUARANTINE_FOLDER "/%016llx%s",
                       (unsigned long long)qid, suffix);
    CHECK(len > 0 && (unsigned)len < QUARANTINE_NAME_ROOM);
}

void quarantine_file_names(const struct quarantine_file *f, struct slice *vhost, struct slice *name)
{
    struct wire w = wire_over(slice_from(slice_of(f->head, f->head_bytes), QUARANTINE_NAMES_AT));
    *vhost = wire_shortstr(&w);
    *name = wire_shortstr(&w);
}

uint64_t quarantine_sum(uint64_t qid, uint8_t kind, const struct slice *parts, size_t count)
{
    struct hash_parts *h = hash_parts_new(qid);
    hash_parts_add(h, slice_of(&kind, 1));
    for (size_t i = 0; i < count; i++)
        hash_parts_add(h, parts[i]);
    return hash_parts_end(&h);
}

void quarantine_head_make(struct quarantine_file *f, struct slice vhost, struct slice name)
{
    struct wire_out w = wire_out_over(f->head, sizeof f->head);
    wire_put_u64(&w, QUARANTINE_MAGIC);
    wire_put_u32(&w, QUARANTINE_FORMAT);
    wire_put_u64(&w, f->qid);
    wire_put_u64(&w, f->number);
    wire_put_shortstr(&w, vhost);
    wire_put_shortstr(&w, name);
    wire_put_u64(&w, hash_bytes(wire_out_slice(&w), 0));
    CHECK(!w.overflow);
    f->head_bytes = (uint16_t)wire_out_len(&w);
}

void quarantine_file_free(struct quarantine_file **file)
{
    struct quarantine_file *f = *file;
    *file = NULL;
    if (f == NULL)
        return;
    mem_free(f->entries);
    mem_free(f);
}

/* ---- the index ---- */

void quarantine_entry_add(struct quarantine_file *f, const struct quarantine_entry *e)
{
    if (f->count == f->cap) {
        f->cap = f->cap != 0 ? 2 * f->cap : 16;
        f->entries = mem_realloc(f->entries, f->cap * sizeof *f->entries);
    }
    f->entries[f->count++] = *e;
    f->live++;
    f->next_id = e->id + 1;
    if (!quarantine_is_last(f, e->epoch, e->position))
        return;
    f->top_epoch = e->epoch;
    f->top_position = e->position;
}

bool quarantine_is_last(const struct quarantine_file *f, uint64_t epoch, uint64_t position)
{
    return f->count == 0 || epoch > f->top_epoch ||
           (epoch == f->top_epoch && position > f->top_position);
}

struct quarantine_entry *quarantine_entry_find(struct quarantine_file *f, uint64_t id)
{
    size_t low = 0, high = f->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (f->entries[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < f->count && f->entries[low].id == id ? &f->entries[low] : NULL;
}

/* ---- reading ---- */

static bool read_all(struct disk_file *in, uint64_t offset, void *to, size_t len, bool *is_there,
                     struct err *err)
{
    size_t got = 0;
    if (!in->disk->ops->read(in, offset, to, len, &got, err))
        return false;
    *is_there = got == len;
    return true;
}

enum record { RECORD_WHOLE, RECORD_END, RECORD_TORN, RECORD_BAD, RECORD_FAILED };

struct found {
    uint8_t kind;
    uint32_t bytes; /* of the payload */
    uint8_t *payload;
};

/* The record at this offset of a file of that size. The payload is the caller's. */
static enum record record_at(struct disk_file *in, uint64_t qid, uint64_t offset, uint64_t size,
                             struct found *out, struct err *err)
{
    uint8_t head[QUARANTINE_RECORD_HEAD];
    bool is_there;
    *out = (struct found){ .payload = NULL };
    if (offset == size)
        return RECORD_END;
    if (!read_all(in, offset, head, sizeof head, &is_there, err))
        return RECORD_FAILED;
    if (!is_there)
        return RECORD_TORN;
    struct wire w = wire_over(slice_of(head, sizeof head));
    out->bytes = wire_u32(&w);
    out->kind = wire_u8(&w);
    uint64_t sum = wire_u64(&w);
    if (out->kind != QUARANTINE_KEPT && out->kind != QUARANTINE_DROPPED)
        return RECORD_BAD;
    if (out->bytes > size - offset - sizeof head)
        return RECORD_TORN;
    out->payload = mem_alloc((size_t)out->bytes + 1);
    if (!read_all(in, offset + sizeof head, out->payload, out->bytes, &is_there, err)) {
        mem_free(out->payload);
        return RECORD_FAILED;
    }
    struct slice payload = slice_of(out->payload, out->bytes);
    if (is_there && quarantine_sum(qid, out->kind, &payload, 1) == sum)
        return RECORD_WHOLE;
    mem_free(out->payload);
    /* The last one, cut short by a crash, or something in the middle. */
    return offset + sizeof head + out->bytes == size ? RECORD_TORN : RECORD_BAD;
}

static bool read_kept(struct slice payload, struct quarantine_message *out)
{
    struct wire w = wire_over(payload);
    *out = (struct quarantine_message){ .id = wire_u64(&w) };
    out->when_ms = wire_u64(&w);
    out->epoch = wire_u64(&w);
    out->position = wire_u64(&w);
    out->pid = wire_u64(&w);
    out->seq = wire_u64(&w);
    out->persistent = wire_u8(&w) != 0;
    out->exchange = wire_shortstr(&w);
    out->key = wire_shortstr(&w);
    out->props = wire_longstr(&w);
    bool is_good = !w.ran_out;
    out->body = wire_rest(&w);
    return is_good;
}

static void drop_ids(struct quarantine_file *f, struct slice payload)
{
    struct wire w = wire_over(payload);
    while (wire_left(&w) >= 8) {
        struct quarantine_entry *e = quarantine_entry_find(f, wire_u64(&w));
        if (e == NULL || e->is_dropped)
            continue;
        e->is_dropped = true;
        f->dead += e->bytes;
        f->live--;
    }
}

/* What a whole record says. False: it cannot be. */
static bool take_record(struct quarantine_file *f, const struct found *r)
{
    struct slice payload = slice_of(r->payload, r->bytes);
    uint32_t bytes = QUARANTINE_RECORD_HEAD + r->bytes;
    struct quarantine_message m;
    if (r->kind == QUARANTINE_DROPPED) {
        drop_ids(f, payload);
        f->dead += bytes;
    } else {
        if (!read_kept(payload, &m) || m.id < f->next_id)
            return false;
        quarantine_entry_add(f, &(struct quarantine_entry){ .id = m.id,
                                                            .epoch = m.epoch,
                                                            .position = m.position,
                                                            .pid = m.pid,
                                                            .seq = m.seq,
                                                            .offset = f->end,
                                                            .when_ms = m.when_ms,
                                                            .bytes = bytes });
    }
    f->end += bytes;
    return true;
}

bool quarantine_record_read(struct disk_file *in, const struct quarantine_file *f,
                            const struct quarantine_entry *e, uint8_t **room,
                            struct quarantine_message *out, struct err *err)
{
    struct found r;
    enum record what = record_at(in, f->qid, e->offset, f->end, &r, err);
    if (what == RECORD_FAILED)
        return false;
    *room = r.payload;
    if (what == RECORD_WHOLE && r.kind == QUARANTINE_KEPT &&
        read_kept(slice_of(r.payload, r.bytes), out) && out->id == e->id)
        return true;
    if (what == RECORD_WHOLE)
        mem_free(r.payload);
    *room = NULL;
    return err_set(err, ERR_IO, "quarantine/%016llx: what is at %llu is not what was written",
                   (unsigned long long)f->qid, (unsigned long long)e->offset);
}

/* ---- a file ---- */

static bool read_head(struct disk_file *in, struct quarantine_file *f, struct err *err)
{
    size_t got = 0;
    if (!in->disk->ops->read(in, 0, f->head, sizeof f->head, &got, err))
        return false;
    struct wire w = wire_over(slice_of(f->head, got));
    uint64_t magic = wire_u64(&w);
    uint32_t format = wire_u32(&w);
    uint64_t qid = wire_u64(&w);
    f->number = wire_u64(&w);
    (void)wire_shortstr(&w); /* vhost, queue */
    (void)wire_shortstr(&w);
    size_t summed = got - wire_left(&w);
    uint64_t sum = wire_u64(&w);
    if (w.ran_out || magic != QUARANTINE_MAGIC || qid != f->qid ||
        sum != hash_bytes(slice_of(f->head, summed), 0))
        return err_set(err, ERR_PROTOCOL, "its head is not one");
    if (format > QUARANTINE_FORMAT)
        return err_set(err, ERR_REFUSED, "it is of format %u, and this program knows %u",
                       (unsigned)format, QUARANTINE_FORMAT);
    f->head_bytes = (uint16_t)(got - wire_left(&w));
    f->end = f->head_bytes;
    return true;
}

/* Reads on until something is no record, or the file ends. */
static enum record read_records(struct disk_file *in, struct quarantine_file *f, uint64_t size,
                                struct err *err)
{
    for (;;) {
        struct found r;
        enum record what = record_at(in, f->qid, f->end, size, &r, err);
        if (what != RECORD_WHOLE)
            return what;
        bool is_good = take_record(f, &r);
        mem_free(r.payload);
        if (!is_good)
            return RECORD_BAD;
    }
}

/* What is not readable stays on the disk, under another name. */
static bool put_aside(struct disk *d, struct quarantine_file *f, struct err *err)
{
    char path[QUARANTINE_NAME_ROOM], aside[QUARANTINE_NAME_ROOM];
    quarantine_file_path(f->qid, "", path);
    quarantine_file_path(f->qid, QUARANTINE_DAMAGED, aside);
    log_warn("quarantine", path, "damaged at %llu: kept as %s; %llu messages can be read",
             (unsigned long long)f->end, aside, (unsigned long long)f->live);
    return quarantine_file_rewrite(d, f, QUARANTINE_DAMAGED, err);
}

static bool load(struct disk *d, struct disk_file *in, struct quarantine_file *f, struct err *err)
{
    uint64_t size;
    if (!d->ops->size(in, &size, err) || !read_head(in, f, err))
        return false;
    switch (read_records(in, f, size, err)) {
    case RECORD_WHOLE:
    case RECORD_END:
        return true;
    case RECORD_TORN:
        return d->ops->truncate(in, f->end, err) && d->ops->sync(in, err);
    case RECORD_BAD:
        return put_aside(d, f, err);
    case RECORD_FAILED:
        break;
    }
    return false;
}

struct quarantine_file *quarantine_file_load(struct disk *d, uint64_t qid, struct err *err)
{
    char path[QUARANTINE_NAME_ROOM];
    quarantine_file_path(qid, "", path);
    struct disk_file *in = d->ops->open(d, path, DISK_WRITE, err);
    if (in == NULL)
        return NULL;
    struct quarantine_file *f = mem_zalloc(sizeof *f);
    f->qid = qid;
    f->next_id = 1;
    if (!load(d, in, f, err)) {
        (void)err_context(err, "%s", path);
        quarantine_file_free(&f);
    }
    d->ops->close(&in);
    return f;
}

/* ---- writing it anew ---- */

static bool copy(struct disk_file *in, struct disk_file *out, uint64_t from, uint64_t to,
                 uint64_t bytes, uint8_t *room, struct err *err)
{
    for (uint64_t done = 0, n; done < bytes; done += n) {
        n = bytes - done < COPY_BYTES ? bytes - done : COPY_BYTES;
        bool is_there = false;
        if (!read_all(in, from + done, room, (size_t)n, &is_there, err))
            return false;
        if (!is_there)
            return err_set(err, ERR_IO, "the file ends before its end");
        if (!out->disk->ops->write(out, to + done, &(struct slice){ room, (size_t)n }, 1, err))
            return false;
    }
    return true;
}

/* The head, and what is alive; *f becomes what is in `out`. */
static bool copy_live(struct disk_file *in, struct disk_file *out, struct quarantine_file *f,
                      struct err *err)
{
    uint64_t end = f->head_bytes;
    if (!out->disk->ops->write(out, 0, &(struct slice){ f->head, f->head_bytes }, 1, err))
        return false;
    struct quarantine_entry *entries = mem_array(f->count + 1, sizeof *entries);
    uint8_t *room = mem_alloc(COPY_BYTES);
    size_t count = 0;
    bool is_good = true;
    for (size_t i = 0; i < f->count && is_good; i++) {
        const struct quarantine_entry *e = &f->entries[i];
        if (e->is_dropped)
            continue;
        is_good = copy(in, out, e->offset, end, e->bytes, room, err);
        entries[count] = *e;
        entries[count++].offset = end;
        end += e->bytes;
    }
    mem_free(room);
    if (!is_good || !out->disk->ops->sync(out, err)) {
        mem_free(entries);
        return false;
    }
    mem_free(f->entries);
    f->entries = entries;
    f->cap = f->count + 1;
    f->count = count;
    f->end = end;
    f->dead = 0;
    return true;
}

bool quarantine_file_rewrite(struct disk *d, struct quarantine_file *f, const char *aside,
                             struct err *err)
{
    char path[QUARANTINE_NAME_ROOM], fresh[QUARANTINE_NAME_ROOM], old[QUARANTINE_NAME_ROOM];
    struct err ignored;
    quarantine_file_path(f->qid, "", path);
    quarantine_file_path(f->qid, QUARANTINE_NEW, fresh);
    quarantine_file_path(f->qid, aside != NULL ? aside : "", old);
    (void)d->ops->remove(d, fresh, &ignored); /* of a try that failed; mostly there is none */
    struct disk_file *in = d->ops->open(d, path, DISK_READ, err);
    struct disk_file *out = in != NULL ? d->ops->open(d, fresh, DISK_CREATE, err) : NULL;
    bool is_good = out != NULL && copy_live(in, out, f, err);
    if (in != NULL)
        d->ops->close(&in);
    if (out != NULL)
        d->ops->close(&out);
    return is_good && (aside == NULL || d->ops->rename(d, path, old, err)) &&
           d->ops->rename(d, fresh, path, err) && d->ops->sync_folder(d, QUARANTINE_FOLDER, err);
}
