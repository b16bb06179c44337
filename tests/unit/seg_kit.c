#include "seg_kit.h"

#include "base/check.h"
#include "base/mem.h"
#include "mem_disk.h"
#include "store/journal.h"

#define BODY_MAX ((size_t)128 * 1024)

void seg_kit_init(struct seg_kit *k, uint32_t seg, uint32_t bytes)
{
    *k = (struct seg_kit){ .header = { .seg = seg,
                                       .bytes = bytes != 0 ? bytes : KIT_SEG_BYTES,
                                       .salt = KIT_SALT * seg,
                                       .store_id = "the tests' own" },
                           .offset = SEGMENT_HEADER_BYTES };
    k->bytes = mem_zalloc(k->header.bytes);
    segment_header_put(k->bytes, &k->header);
}

void seg_kit_fini(struct seg_kit *k)
{
    mem_free(k->bytes);
    k->bytes = NULL;
}

struct place seg_kit_put(struct seg_kit *k, const struct slice *parts, size_t count)
{
    struct place at = { k->header.seg, k->offset };
    uint32_t len = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK(k->offset + len + parts[i].len <= k->header.bytes);
        if (parts[i].len != 0)
            memcpy(k->bytes + k->offset + len, parts[i].ptr, parts[i].len);
        len += (uint32_t)parts[i].len;
    }
    CHECK(record_length(k->bytes + k->offset) == len);
    record_seal(k->bytes + k->offset, k->offset, k->header.salt);
    k->offset += record_padded(len);
    return at;
}

static struct place put(struct seg_kit *k, const uint8_t *record, size_t len)
{
    struct slice part = slice_of(record, len);
    return seg_kit_put(k, &part, 1);
}

struct place seg_kit_batch(struct seg_kit *k, uint64_t durable_lsn)
{
    uint8_t record[RECORD_BATCH_BYTES];
    struct batch_record b = { durable_lsn, 1700000000000 };
    return put(k, record, record_put_batch(record, &b));
}

struct place seg_kit_end(struct seg_kit *k)
{
    uint8_t record[RECORD_END_BYTES];
    return put(k, record, record_put_end(record, 0));
}

struct place seg_kit_msg_by(struct seg_kit *k, unsigned flags, const struct msg_producer *by,
                            const struct msg_target *targets, unsigned count, size_t body_bytes)
{
    static uint8_t head[RECORD_MSG_ROOM(MSG_TARGETS_MAX)];
    static uint8_t body[BODY_MAX];
    CHECK(body_bytes <= sizeof body);
    memset(body, 'b', body_bytes);
    size_t head_bytes = record_put_msg_of(head, flags, by, targets, count, 4, 2, body_bytes);
    struct slice parts[] = { slice_of(head, head_bytes), slice_str("\1x\1k"), slice_of("\0\0", 2),
                             slice_of(body, body_bytes) };
    return seg_kit_put(k, parts, ARRAY_COUNT(parts));
}

struct place seg_kit_msg_to(struct seg_kit *k, unsigned flags, const struct msg_target *targets,
                            unsigned count, size_t body_bytes)
{
    return seg_kit_msg_by(k, flags, NULL, targets, count, body_bytes);
}

struct place seg_kit_epoch(struct seg_kit *k, uint64_t qid, const struct settle_range *cuts,
                           unsigned count, const struct mirror_history *history)
{
    size_t bytes = mirror_history_size(history, true);
    size_t room = RECORD_EPOCH_ROOM(count) + bytes;
    uint8_t *record = mem_alloc(room);
    size_t at = record_put_epoch(record, qid, cuts, count, bytes);
    struct wire_out w = wire_out_over(record + at, room - at);
    mirror_history_put(&w, history, true);
    CHECK(!w.overflow && at + wire_out_len(&w) == room);
    struct place place = put(k, record, room);
    mem_free(record);
    return place;
}

struct place seg_kit_msg(struct seg_kit *k, unsigned flags, uint64_t qid, uint64_t qseq,
                         size_t body_bytes)
{
    struct msg_target t = { .qid = qid, .qseq = qseq };
    if (flags & MSG_EXPIRES)
        t.expires_ms = 1700000000000 + qseq;
    if (flags & MSG_RETURNS)
        t.returns = 3;
    return seg_kit_msg_to(k, flags, &t, 1, body_bytes);
}

struct place seg_kit_large(struct seg_kit *k, unsigned flags, uint64_t qid, uint64_t qseq,
                           uint64_t id, size_t body_bytes)
{
    uint8_t head[RECORD_MSG_ROOM(1)];
    uint8_t large_id[8];
    struct msg_target t = { .qid = qid, .qseq = qseq };
    size_t head_bytes = record_put_msg(head, flags | MSG_LARGE, &t, 1, 4, 2, body_bytes);
    record_put_large_id(large_id, id);
    struct slice parts[] = { slice_of(head, head_bytes), slice_str("\1x\1k"),
                             slice_of(large_id, sizeof large_id) };
    return seg_kit_put(k, parts, ARRAY_COUNT(parts));
}

struct place seg_kit_proven(struct seg_kit *k, uint64_t id, uint64_t qid)
{
    uint8_t record[RECORD_LARGE_ROOM(1)];
    return put(k, record, record_put_large(record, id, &qid, qid != 0));
}

struct place seg_kit_settle(struct seg_kit *k, uint64_t qid, uint64_t first, uint64_t last)
{
    uint8_t record[RECORD_SETTLE_ROOM(1, 0)];
    struct settle_range range = { first, last };
    return put(k, record, record_put_settle(record, 0, qid, &range, 1, NULL, 0));
}

struct place seg_kit_mark(struct seg_kit *k, unsigned flags, uint64_t qid, uint64_t mark)
{
    uint8_t record[RECORD_SETTLE_ROOM(0, 1)];
    return put(k, record, record_put_settle(record, flags, qid, NULL, 0, &mark, 1));
}

struct place seg_kit_returns(struct seg_kit *k, uint64_t qid, uint64_t qseq, uint32_t returns)
{
    uint8_t record[RECORD_RETURNS_ROOM(1)];
    struct msg_return item = { qseq, returns };
    return put(k, record, record_put_returns(record, qid, &item, 1));
}

void seg_kit_save(const struct seg_kit *k, struct disk *d)
{
    char name[JOURNAL_NAME_MAX];
    journal_seg_name(k->header.seg, name);
    mem_disk_put(d, name, seg_kit_slice(k));
}
