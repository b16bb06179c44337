/* Snapshots: our own, those that others send, and ours for others. */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "raft/raft_disk_inner.h"

#include <inttypes.h>

/* ---- our own: the control thread ---- */

bool raft_disk_wants_snapshot(const struct raft_disk *d, uint64_t applied)
{
    bool is_wanted = d->seen.snapshot_from != UINT64_MAX;
    return is_wanted && !d->has_snapshot_on && applied > d->snapshot.index &&
           (applied >= d->seen.snapshot_from || MUTATION(DISK_SNAPSHOT_TOO_EARLY));
}

void raft_disk_snapshot_begin(struct raft_disk *d, const struct raft_snapshot *is,
                              struct raft_image *out)
{
    CHECK(d->wants_snapshot && !d->has_snapshot_on && is->index > d->snapshot.index);
    d->wants_snapshot = false;
    d->seen.snapshot_from = UINT64_MAX;
    d->has_snapshot_on = true;
    *out = (struct raft_image){ .disk = d->is_ram ? NULL : d->disk,
                                .is = *is,
                                .before = d->head.generation };
    memcpy(out->cluster_id, d->cluster_id, sizeof out->cluster_id);
    out->is.id = rng_u64(&d->salts);
}

void raft_disk_snapshot_done(struct raft_disk *d, const struct raft_image *s, bool ok)
{
    CHECK(d->has_snapshot_on);
    d->has_snapshot_on = false;
    if (!ok || s->is.index <= d->snapshot.index)
        return; /* a newer one was installed meanwhile */
    d->snapshot = s->is;
    d->snapshot_bytes = s->is.bytes;
    d->stats.snapshots++;
}

const struct raft_snapshot *raft_disk_snapshot(const struct raft_disk *d)
{
    return &d->snapshot;
}

struct buf *raft_disk_read_chunk(struct disk *disk, const struct raft_snapshot *is, uint64_t offset,
                                 struct err *err)
{
    char name[RAFT_FILE_NAME_ROOM];
    size_t got = 0;
    raft_file_snapshot_name(is->index, is->id, name);
    struct disk_file *file = disk->ops->open(disk, name, DISK_READ, err);
    if (file == NULL)
        return NULL;
    struct buf *b = buf_new(RAFT_CHUNK_BYTES);
    if (disk->ops->read(file, offset, b->data, RAFT_CHUNK_BYTES, &got, err))
        b->len_bytes = (uint32_t)got;
    else
        buf_unref(&b);
    disk->ops->close(&file);
    return b;
}

/* ---- one that comes in pieces: a thread that may block ---- */

void raft_incoming_drop(struct raft_disk *d)
{
    struct raft_incoming *in = &d->incoming;
    if (in->file != NULL)
        d->disk->ops->close(&in->file);
    *in = (struct raft_incoming){ 0 };
}

static bool begin_incoming(struct raft_disk *d, const struct raft_snapshot *is, struct err *err)
{
    raft_incoming_drop(d);
    if (!d->disk->ops->remove(d->disk, RAFT_RECEIVED, err) && err->code != ERR_NOT_FOUND)
        return false;
    d->incoming.file = d->disk->ops->open(d->disk, RAFT_RECEIVED, DISK_CREATE, err);
    if (d->incoming.file == NULL)
        return false;
    d->incoming.is = *is;
    return true;
}

/* It is what was announced, whole, and of this cluster. */
static bool is_good(struct raft_disk *d)
{
    struct raft_snapshot seen;
    struct err why;
    const struct raft_snapshot *is = &d->incoming.is;
    struct raft_image_reader *r = raft_image_open(d->disk, RAFT_RECEIVED, &why);
    bool ok = r != NULL && memcmp(raft_image_cluster(r), d->cluster_id, RAFT_CLUSTER_ID) == 0;
    raft_image_close(&r);
    return ok && raft_image_check(d->disk, RAFT_RECEIVED, &seen, &why) && seen.index == is->index &&
           seen.id == is->id && seen.term == is->term && seen.bytes == is->bytes;
}

static bool finish_incoming(struct raft_disk *d, struct err *err)
{
    struct raft_incoming *in = &d->incoming;
    if (!MUTATION(DISK_RECEIVED_NOT_CHECKED) && !is_good(d)) {
        raft_incoming_drop(d); /* it is begun again */
        return true;
    }
    in->is_complete = true;
    return MUTATION(DISK_SNAPSHOT_NOT_SYNCED) || d->disk->ops->sync(in->file, err);
}

static bool take(struct raft_disk *d, const struct raft_msg_install *m, struct err *err)
{
    struct raft_incoming *in = &d->incoming;
    struct slice bytes = m->chunk != NULL ? buf_slice(m->chunk) : slice_of(NULL, 0);
    bool is_same = in->is.index == m->snapshot.index && in->is.id == m->snapshot.id;
    if (!is_same && (m->offset != 0 || !begin_incoming(d, &m->snapshot, err)))
        return m->offset != 0;
    if (m->offset != in->next || in->is_complete || bytes.len > in->is.bytes - in->next)
        return true;
    if (bytes.len != 0 && !d->disk->ops->write(in->file, in->next, &bytes, 1, err))
        return false;
    in->next += bytes.len;
    return in->next < in->is.bytes || finish_incoming(d, err);
}

bool raft_disk_take_chunk(struct raft_disk *d, const struct raft_msg_install *m,
                          struct raft_taken *out, struct err *err)
{
    bool ok = take(d, m, err);
    const struct raft_incoming *in = &d->incoming;
    bool is_same = in->is.index == m->snapshot.index && in->is.id == m->snapshot.id;
    *out = (struct raft_taken){ .index = m->snapshot.index, .id = m->snapshot.id };
    if (!ok) {
        d->has_failed = d->has_failed || err->code != ERR_LIMIT;
        raft_incoming_drop(d);
    } else if (is_same) {
        out->next = in->next;
        out->is_complete = in->is_complete;
    }
    return ok;
}

bool raft_disk_adopt(struct raft_disk *d, const struct raft_snapshot *is, struct err *err)
{
    struct raft_incoming *in = &d->incoming;
    char name[RAFT_FILE_NAME_ROOM];
    CHECK(in->is_complete && in->is.index == is->index && in->is.id == is->id);
    raft_file_snapshot_name(is->index, is->id, name);
    raft_incoming_drop(d);
    return d->disk->ops->rename(d->disk, RAFT_RECEIVED, name, err) &&
           (MUTATION(DISK_SNAPSHOT_NAME_NOT_SYNCED) ||
            d->disk->ops->sync_folder(d->disk, "raft", err));
}

/* ---- reading ---- */

struct raft_image_reader *raft_disk_open_snapshot(struct raft_disk *d,
                                                  const struct raft_snapshot *is, struct err *err)
{
    char name[RAFT_FILE_NAME_ROOM];
    raft_file_snapshot_name(is->index, is->id, name);
    struct raft_image_reader *r = raft_image_open(d->disk, name, err);
    if (r == NULL && err->code == ERR_NOT_FOUND)
        r = raft_image_open(d->disk, RAFT_RECEIVED, err);
    if (r != NULL && (raft_image_is(r)->index != is->index || raft_image_is(r)->id != is->id)) {
        raft_image_close(&r);
        (void)err_set(err, ERR_NOT_FOUND, "the snapshot of index %" PRIu64 " is not there any more",
                      is->index);
    }
    if (r != NULL && d->is_ram)
        (void)d->disk->ops->remove(d->disk, RAFT_RECEIVED,
                                   err); /* its memory goes with the reader */
    return r;
}
