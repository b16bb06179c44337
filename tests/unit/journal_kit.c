#include "journal_kit.h"

#include "base/mem.h"
#include "expect.h"
#include "io/file.h"

#include <sys/stat.h>

#define SEG_BYTES 8192u

static void on_durable(void *arg)
{
    atomic_fetch_add(&((struct journal_kit *)arg)->durable_calls, 1);
}

static void on_sealed(uint32_t seg, void *arg)
{
    struct journal_kit *k = arg;
    cr_expect(eq(int, segs_state(k->segs, seg), SEG_SEALED));
    atomic_store(&k->sealed_last, seg);
    atomic_fetch_add(&k->sealed_calls, 1);
}

static void on_failed(const struct err *err, void *arg)
{
    struct journal_kit *k = arg;
    k->failure = *err;
    atomic_fetch_add(&k->failed_calls, 1);
}

void journal_kit_init(struct journal_kit *k)
{
    memset(k, 0, sizeof *k);
    kit_folder_make(k->folder);
    k->disk = kit_disk_new(k->folder);
    k->segs = segs_new();
    k->setup = (struct journal_setup){
        .disk = &k->disk->base,
        .segs = k->segs,
        .segment_bytes = SEG_BYTES,
        .first_seg = 1,
        .spare = 3,
        .reserve = 1,
        .slow_ms = 10000,
        .interval_ms = 200,
        .store_id = "fifteen octets!",
        .on_durable = on_durable,
        .on_sealed = on_sealed,
        .on_failed = on_failed,
        .arg = k,
    };
}

void journal_kit_open(struct journal_kit *k)
{
    k->journal = journal_new(&k->setup, &k->err);
    cr_assert(k->journal != NULL, "%s", k->err.text);
}

void journal_kit_leave(struct journal_kit *k)
{
    journal_free(&k->journal);
    segs_free(&k->segs);
    k->segs = segs_new();
    k->setup.segs = k->segs;
}

void journal_kit_fini(struct journal_kit *k)
{
    journal_free(&k->journal);
    segs_free(&k->segs);
    kit_disk_free(&k->disk);
    kit_folder_remove(k->folder);
}

struct place journal_kit_append(struct journal_kit *k, uint64_t qseq, size_t body_bytes,
                                enum journal_need need, uint64_t *lsn)
{
    uint8_t head[RECORD_MSG_ROOM(1)];
    uint8_t *body = mem_alloc(body_bytes + 1);
    memset(body, (int)(qseq & 0xFF), body_bytes);
    struct msg_target target = { .qid = 1, .qseq = qseq };
    size_t n = record_put_msg(head, 0, &target, 1, 0, 0, body_bytes);
    struct slice parts[] = { slice_of(head, n), slice_of(body, body_bytes) };
    struct place place = journal_append(k->journal, parts, 2, need, lsn);
    mem_free(body);
    return place;
}

static void note(struct found *out, const struct record *r)
{
    struct msg_record m;
    struct batch_record b;
    if (r->type == RECORD_BATCH) {
        cr_assert(record_read_batch(r, &b));
        if (b.durable_lsn > out->durable_lsn)
            out->durable_lsn = b.durable_lsn;
        out->batches++;
    } else if (r->type == RECORD_MSG) {
        cr_assert(record_read_msg(r, &m));
        uint64_t qseq = msg_record_target(&m, 0).qseq;
        for (size_t i = 0; i < m.body.len; i++)
            cr_assert(eq(u8, m.body.ptr[i], (uint8_t)qseq));
        out->qseqs[out->count] = qseq;
        out->places[out->count++] = r->place;
    }
}

void journal_kit_read(struct journal_kit *k, uint32_t seg, struct found *out)
{
    char name[JOURNAL_NAME_MAX], path[KIT_PATH_MAX];
    uint8_t *bytes;
    size_t len;
    struct err err;
    *out = (struct found){ 0 };
    journal_seg_name(seg, name);
    if (!file_read(kit_path(path, k->folder, name), SEGMENT_BYTES_MAX, &bytes, &len, &err))
        return;
    out->has_file = true;
    cr_assert(segment_header_read(slice_of(bytes, len), &out->header), "segment %u", seg);
    cr_expect(eq(u32, out->header.seg, seg));
    cr_expect(eq(sz, out->header.bytes, len));
    uint32_t at = SEGMENT_HEADER_BYTES;
    struct record r;
    bool is_first = true;
    while ((out->stop = record_cut(slice_of(bytes, len), &out->header, at, &r)) == RECORD_CUT_OK) {
        if (is_first && r.type != RECORD_END)
            cr_expect(eq(int, r.type, RECORD_BATCH), "segment %u", seg);
        is_first = false;
        note(out, &r);
        at += record_padded(r.length);
        if (r.type == RECORD_END) {
            out->has_end = true;
            out->is_closed = r.flags & END_CLOSED;
            break;
        }
    }
    mem_free(bytes);
}

bool journal_kit_exists(struct journal_kit *k, const char *name)
{
    char path[KIT_PATH_MAX];
    struct stat st;
    return stat(kit_path(path, k->folder, name), &st) == 0;
}

struct counting {
    const char *part;
    size_t count;
};

static void count_name(const char *name, void *arg)
{
    struct counting *c = arg;
    c->count += strstr(name, c->part) != NULL;
}

size_t journal_kit_count_files(struct journal_kit *k, const char *part_of_name)
{
    struct counting c = { part_of_name, 0 };
    struct disk *d = k->disk->under;
    cr_assert(d->ops->list(d, JOURNAL_FOLDER, count_name, &c, &k->err), "%s", k->err.text);
    return c.count;
}
