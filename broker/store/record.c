#include "store/record.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mutation.h"
#include "base/wire.h"

#define TARGET_BYTES   16u
#define TARGET_EXPIRES 8u
#define TARGET_RETURNS 4u
#define RANGE_BYTES    16u
#define MARK_BYTES     8u
#define RETURN_BYTES   12u
#define PRODUCER_BYTES 16u
#define HEAD_CHECK_AT  4u
#define HEAD_TYPE_AT   8u
#define HEADER_CHECKED (SEGMENT_HEADER_BYTES - 8)
#define OFFSET_SPREAD  UINT64_C(0x9E3779B97F4A7C15)
#define MSG_FLAGS_ALL                                                                              \
    ((unsigned)(MSG_TRANSIENT | MSG_MOVED | MSG_EXPIRES | MSG_RETURNS | MSG_LARGE | MSG_PRODUCER | \
                MSG_AGAIN))
#define SETTLE_FLAGS_ALL    ((unsigned)SETTLE_AHEAD)
#define LARGE_ID_BYTES      8u
#define QID_BYTES           8u
#define MSG_RECORD_MAX      (RECORD_MSG_ROOM(MSG_TARGETS_MAX) + MSG_INLINE_MAX)
#define SETTLE_RECORD_MAX   RECORD_SETTLE_ROOM(SETTLE_RANGES_MAX, 256)
#define SEGMENT_LEAST_TAKES (SEGMENT_BYTES_LEAST - SEGMENT_HEADER_BYTES - 64)

_Static_assert(MSG_RECORD_MAX < SEGMENT_LEAST_TAKES, "every segment takes the largest message");
_Static_assert(SETTLE_RECORD_MAX < SEGMENT_LEAST_TAKES, "and the largest settlement");
_Static_assert(RECORD_RETURNS_ROOM(RETURNS_MAX) < SEGMENT_LEAST_TAKES, "and the most returns");
_Static_assert(RECORD_EPOCH_ROOM(EPOCH_CUTS_MAX) + EPOCH_HISTORY_MAX < SEGMENT_LEAST_TAKES,
               "and the longest history");
_Static_assert(MSG_TARGETS_MAX <= UINT16_MAX && SETTLE_RANGES_MAX <= UINT16_MAX, "count is a u16");
_Static_assert(SEGMENT_HEADER_BYTES % PLACE_ALIGN == 0, "the first record is aligned");

/* ---- writing -------------------------------------------------------------------------------- */

/* The check stays open: it depends on where the record will stand. */
static void put_head(struct wire_out *w, enum record_type type, unsigned flags, unsigned count,
                     size_t length)
{
    CHECK(length <= UINT32_MAX && flags <= UINT8_MAX && count <= UINT16_MAX);
    wire_put_u32_le(w, (uint32_t)length);
    wire_put_u32_le(w, 0);
    wire_put_u8(w, (uint8_t)type);
    wire_put_u8(w, (uint8_t)flags);
    wire_put_u16_le(w, (uint16_t)count);
}

static size_t put_done(const struct wire_out *w)
{
    CHECK(!w->overflow);
    return wire_out_len(w);
}

static size_t target_bytes(unsigned flags)
{
    return TARGET_BYTES + (flags & MSG_EXPIRES ? TARGET_EXPIRES : 0) +
           (flags & MSG_RETURNS ? TARGET_RETURNS : 0);
}

static size_t producer_bytes(unsigned flags)
{
    return flags & MSG_PRODUCER ? PRODUCER_BYTES : 0;
}

size_t record_put_msg_of(uint8_t *out, unsigned flags, const struct msg_producer *producer,
                         const struct msg_target *targets, unsigned count, size_t names_bytes,
                         size_t props_bytes, size_t body_bytes)
{
    flags = producer != NULL ? flags | MSG_PRODUCER : flags & ~(unsigned)MSG_PRODUCER;
    CHECK(count >= 1 && count <= MSG_TARGETS_MAX && (flags & ~MSG_FLAGS_ALL) == 0);
    CHECK(names_bytes <= UINT16_MAX && props_bytes <= UINT32_MAX && body_bytes <= UINT32_MAX);
    struct wire_out w = wire_out_over(out, RECORD_MSG_ROOM(count));
    size_t fixed = RECORD_HEAD_BYTES + count * target_bytes(flags) + 10 + producer_bytes(flags);
    size_t rest = names_bytes + (flags & MSG_LARGE ? LARGE_ID_BYTES : props_bytes + body_bytes);
    put_head(&w, RECORD_MSG, flags, count, fixed + rest);
    for (unsigned i = 0; i < count; i++) {
        wire_put_u64_le(&w, targets[i].qid);
        wire_put_u64_le(&w, targets[i].qseq);
        if (flags & MSG_EXPIRES)
            wire_put_u64_le(&w, targets[i].expires_ms);
        if (flags & MSG_RETURNS)
            wire_put_u32_le(&w, targets[i].returns);
    }
    wire_put_u32_le(&w, (uint32_t)body_bytes);
    wire_put_u32_le(&w, (uint32_t)props_bytes);
    wire_put_u16_le(&w, (uint16_t)names_bytes);
    if (producer != NULL) {
        wire_put_u64_le(&w, producer->pid);
        wire_put_u64_le(&w, producer->seq);
    }
    CHECK(wire_out_len(&w) == fixed);
    return put_done(&w);
}

size_t record_put_msg(uint8_t *out, unsigned flags, const struct msg_target *targets,
                      unsigned count, size_t names_bytes, size_t props_bytes, size_t body_bytes)
{
    return record_put_msg_of(out, flags, NULL, targets, count, names_bytes, props_bytes,
                             body_bytes);
}

void record_put_large_id(uint8_t out[8], uint64_t id)
{
    struct wire_out w = wire_out_over(out, LARGE_ID_BYTES);
    wire_put_u64_le(&w, id);
}

static void put_ranges(struct wire_out *w, const struct settle_range *ranges, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        CHECK(ranges[i].first <= ranges[i].last);
        wire_put_u64_le(w, ranges[i].first);
        wire_put_u64_le(w, ranges[i].last);
    }
}

size_t record_put_settle(uint8_t *out, unsigned flags, uint64_t qid,
                         const struct settle_range *ranges, unsigned count, const uint64_t *marks,
                         unsigned mark_count)
{
    CHECK(count <= SETTLE_RANGES_MAX && mark_count <= 256 && (flags & ~SETTLE_FLAGS_ALL) == 0);
    size_t length = RECORD_SETTLE_ROOM(count, mark_count);
    struct wire_out w = wire_out_over(out, length);
    put_head(&w, RECORD_SETTLE, flags, count, length);
    wire_put_u64_le(&w, qid);
    put_ranges(&w, ranges, count);
    wire_put_u16_le(&w, (uint16_t)mark_count);
    for (unsigned i = 0; i < mark_count; i++)
        wire_put_u64_le(&w, marks[i]);
    return put_done(&w);
}

size_t record_put_returns(uint8_t *out, uint64_t qid, const struct msg_return *items,
                          unsigned count)
{
    CHECK(count <= RETURNS_MAX);
    size_t length = RECORD_RETURNS_ROOM(count);
    struct wire_out w = wire_out_over(out, length);
    put_head(&w, RECORD_RETURNS, 0, count, length);
    wire_put_u64_le(&w, qid);
    for (unsigned i = 0; i < count; i++) {
        wire_put_u64_le(&w, items[i].qseq);
        wire_put_u32_le(&w, items[i].returns);
    }
    return put_done(&w);
}

size_t record_put_large(uint8_t *out, uint64_t id, const uint64_t *qids, unsigned count)
{
    CHECK(count <= MSG_TARGETS_MAX);
    size_t length = RECORD_LARGE_ROOM(count);
    struct wire_out w = wire_out_over(out, length);
    put_head(&w, RECORD_LARGE, 0, count, length);
    wire_put_u64_le(&w, id);
    for (unsigned i = 0; i < count; i++)
        wire_put_u64_le(&w, qids[i]);
    return put_done(&w);
}

size_t record_put_epoch(uint8_t *out, uint64_t qid, const struct settle_range *cuts, unsigned count,
                        size_t history_bytes)
{
    CHECK(count <= EPOCH_CUTS_MAX && history_bytes <= EPOCH_HISTORY_MAX);
    struct wire_out w = wire_out_over(out, RECORD_EPOCH_ROOM(count));
    put_head(&w, RECORD_EPOCH, 0, count, RECORD_EPOCH_ROOM(count) + history_bytes);
    wire_put_u64_le(&w, qid);
    put_ranges(&w, cuts, count);
    wire_put_u32_le(&w, (uint32_t)history_bytes);
    return put_done(&w);
}

size_t record_put_batch(uint8_t out[RECORD_BATCH_BYTES], const struct batch_record *b)
{
    struct wire_out w = wire_out_over(out, RECORD_BATCH_BYTES);
    put_head(&w, RECORD_BATCH, 0, 0, RECORD_BATCH_BYTES);
    wire_put_u64_le(&w, BATCH_MAGIC);
    wire_put_u64_le(&w, b->durable_lsn);
    wire_put_u64_le(&w, b->wall_ms);
    return put_done(&w);
}

size_t record_put_end(uint8_t out[RECORD_END_BYTES], unsigned flags)
{
    struct wire_out w = wire_out_over(out, RECORD_END_BYTES);
    put_head(&w, RECORD_END, flags, 0, RECORD_END_BYTES);
    return put_done(&w);
}

uint32_t record_length(const uint8_t *bytes)
{
    struct wire w = wire_over(slice_of(bytes, 4));
    return wire_u32_le(&w);
}

enum record_type record_type(const uint8_t *bytes)
{
    return (enum record_type)bytes[HEAD_TYPE_AT];
}

static uint32_t check_of(struct slice record, uint32_t offset, uint64_t salt)
{
    uint64_t seed = MUTATION(CHECK_WITHOUT_SALT) ? 0 : salt;
    return (uint32_t)hash_bytes(slice_from(record, HEAD_TYPE_AT), seed + offset * OFFSET_SPREAD);
}

void record_seal(uint8_t *record, uint32_t offset, uint64_t salt)
{
    uint32_t length = record_length(record);
    CHECK(length >= RECORD_HEAD_BYTES && offset % PLACE_ALIGN == 0);
    struct wire_out w = wire_out_over(record + HEAD_CHECK_AT, 4);
    wire_put_u32_le(&w, check_of(slice_of(record, length), offset, salt));
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool type_is_known(uint8_t type)
{
    return type >= RECORD_MSG && type <= RECORD_EPOCH;
}

static bool is_zero(struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.ptr[i] != 0)
            return false;
    return true;
}

enum record_cut record_cut(struct slice whole, const struct segment_header *h, uint32_t offset,
                           struct record *out)
{
    CHECK(offset % PLACE_ALIGN == 0);
    return record_cut_one(slice_from(whole, offset), h, offset, out);
}

enum record_cut record_cut_one(struct slice bytes, const struct segment_header *h, uint32_t offset,
                               struct record *out)
{
    struct slice left = slice_head(bytes, h->bytes > offset ? h->bytes - offset : 0);
    if (left.len < RECORD_HEAD_BYTES)
        return is_zero(left) ? RECORD_CUT_NONE : RECORD_CUT_BAD;

    struct wire w = wire_over(left);
    uint32_t length = wire_u32_le(&w);
    uint32_t check = wire_u32_le(&w);
    uint8_t type = wire_u8(&w);
    uint8_t flags = wire_u8(&w);
    uint16_t count = wire_u16_le(&w);
    if (length == 0)
        return is_zero(slice_head(left, RECORD_HEAD_BYTES)) ? RECORD_CUT_NONE : RECORD_CUT_BAD;
    if (length < RECORD_HEAD_BYTES || length > left.len || !type_is_known(type) ||
        check != check_of(slice_head(left, length), offset, h->salt))
        return RECORD_CUT_BAD;

    *out = (struct record){
        .type = (enum record_type)type,
        .flags = flags,
        .count = count,
        .place = { h->seg, offset },
        .length = length,
        .payload = wire_take(&w, length - RECORD_HEAD_BYTES),
    };
    return RECORD_CUT_OK;
}

/* All was there, and nothing is left over. */
static bool is_whole(const struct wire *w)
{
    return !w->ran_out && wire_left(w) == 0;
}

bool record_read_msg(const struct record *r, struct msg_record *out)
{
    if (r->type != RECORD_MSG || r->count == 0 || r->count > MSG_TARGETS_MAX ||
        (r->flags & ~MSG_FLAGS_ALL) != 0)
        return false;
    struct wire w = wire_over(r->payload);
    *out = (struct msg_record){ .flags = r->flags, .target_count = r->count };
    out->targets = wire_take(&w, r->count * target_bytes(r->flags));
    out->body_bytes = wire_u32_le(&w);
    out->props_bytes = wire_u32_le(&w);
    uint16_t names_bytes = wire_u16_le(&w);
    if (r->flags & MSG_PRODUCER) {
        out->producer.pid = wire_u64_le(&w);
        out->producer.seq = wire_u64_le(&w);
    }
    out->names = wire_take(&w, names_bytes);
    if (r->flags & MSG_LARGE) {
        out->large_id = wire_u64_le(&w);
    } else {
        out->props = wire_take(&w, out->props_bytes);
        out->body = wire_take(&w, out->body_bytes);
    }
    return is_whole(&w);
}

struct msg_target msg_record_target(const struct msg_record *m, unsigned index)
{
    CHECK(index < m->target_count);
    struct wire w = wire_over(slice_from(m->targets, index * target_bytes(m->flags)));
    struct msg_target t = { .qid = wire_u64_le(&w) };
    t.qseq = wire_u64_le(&w);
    if (m->flags & MSG_EXPIRES)
        t.expires_ms = wire_u64_le(&w);
    if (m->flags & MSG_RETURNS)
        t.returns = wire_u32_le(&w);
    return t;
}

static struct settle_range range_at(struct slice ranges, unsigned index)
{
    struct wire w = wire_over(slice_from(ranges, (size_t)index * RANGE_BYTES));
    uint64_t first = wire_u64_le(&w);
    return (struct settle_range){ first, wire_u64_le(&w) };
}

static bool are_ranges(struct slice ranges)
{
    for (unsigned i = 0; i < ranges.len / RANGE_BYTES; i++) {
        struct settle_range range = range_at(ranges, i);
        if (range.first > range.last)
            return false;
    }
    return true;
}

bool record_read_settle(const struct record *r, struct settle_record *out)
{
    if (r->type != RECORD_SETTLE || (r->flags & ~SETTLE_FLAGS_ALL) != 0)
        return false;
    struct wire w = wire_over(r->payload);
    *out = (struct settle_record){ .flags = r->flags, .range_count = r->count };
    out->qid = wire_u64_le(&w);
    out->ranges = wire_take(&w, (size_t)r->count * RANGE_BYTES);
    out->mark_count = wire_u16_le(&w);
    out->marks = wire_take(&w, (size_t)out->mark_count * MARK_BYTES);
    return is_whole(&w) && are_ranges(out->ranges);
}

struct settle_range settle_record_range(const struct settle_record *s, unsigned index)
{
    CHECK(index < s->range_count);
    return range_at(s->ranges, index);
}

uint64_t settle_record_mark(const struct settle_record *s, unsigned index)
{
    CHECK(index < s->mark_count);
    struct wire w = wire_over(slice_from(s->marks, (size_t)index * MARK_BYTES));
    return wire_u64_le(&w);
}

bool record_read_returns(const struct record *r, uint64_t *qid, struct slice *items)
{
    if (r->type != RECORD_RETURNS || r->flags != 0)
        return false;
    struct wire w = wire_over(r->payload);
    *qid = wire_u64_le(&w);
    *items = wire_take(&w, (size_t)r->count * RETURN_BYTES);
    return is_whole(&w);
}

struct msg_return returns_item(struct slice items, unsigned index)
{
    CHECK(index < items.len / RETURN_BYTES);
    struct wire w = wire_over(slice_from(items, (size_t)index * RETURN_BYTES));
    uint64_t qseq = wire_u64_le(&w);
    return (struct msg_return){ qseq, wire_u32_le(&w) };
}

/* What the history is made of says who takes it apart. */
bool record_read_epoch(const struct record *r, struct epoch_record *out)
{
    if (r->type != RECORD_EPOCH || r->flags != 0 || r->count > EPOCH_CUTS_MAX)
        return false;
    struct wire w = wire_over(r->payload);
    *out = (struct epoch_record){ .qid = wire_u64_le(&w), .cut_count = r->count };
    out->cuts = wire_take(&w, (size_t)r->count * RANGE_BYTES);
    out->history = wire_take(&w, wire_u32_le(&w));
    return is_whole(&w) && out->history.len <= EPOCH_HISTORY_MAX && are_ranges(out->cuts);
}

struct settle_range epoch_record_cut(const struct epoch_record *e, unsigned index)
{
    CHECK(index < e->cut_count);
    return range_at(e->cuts, index);
}

bool record_read_batch(const struct record *r, struct batch_record *out)
{
    struct wire w = wire_over(r->payload);
    uint64_t magic = wire_u64_le(&w);
    out->durable_lsn = wire_u64_le(&w);
    out->wall_ms = wire_u64_le(&w);
    return r->type == RECORD_BATCH && is_whole(&w) && magic == BATCH_MAGIC;
}

bool record_read_large(const struct record *r, uint64_t *id, struct slice *qids)
{
    struct wire w = wire_over(r->payload);
    *id = wire_u64_le(&w);
    *qids = wire_take(&w, (size_t)r->count * QID_BYTES);
    return r->type == RECORD_LARGE && is_whole(&w);
}

uint64_t large_record_qid(struct slice qids, unsigned index)
{
    CHECK(index < qids.len / QID_BYTES);
    struct wire w = wire_over(slice_from(qids, (size_t)index * QID_BYTES));
    return wire_u64_le(&w);
}

/* ---- headers of segments -------------------------------------------------------------------- */

void segment_header_put(uint8_t *out, const struct segment_header *h)
{
    /* One more than it takes: at an exact fit gcc 12 believes that writers run over the end. */
    uint8_t room[SEGMENT_HEADER_BYTES + 8];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64_le(&w, SEGMENT_MAGIC);
    wire_put_u32_le(&w, STORE_FORMAT);
    wire_put_u32_le(&w, SEGMENT_HEADER_BYTES);
    wire_put_u32_le(&w, h->seg);
    wire_put_u32_le(&w, h->bytes);
    wire_put_u64_le(&w, h->salt);
    wire_put_bytes(&w, slice_of(h->store_id, sizeof h->store_id));
    wire_put_u64_le(&w, 0);
    CHECK(put_done(&w) == HEADER_CHECKED);
    wire_put_u64_le(&w, hash_bytes(wire_out_slice(&w), 0));
    memcpy(out, room, SEGMENT_HEADER_BYTES);
}

bool segment_header_read(struct slice bytes, struct segment_header *out)
{
    struct wire w = wire_over(bytes);
    uint64_t magic = wire_u64_le(&w);
    uint32_t format = wire_u32_le(&w);
    uint32_t header_bytes = wire_u32_le(&w);
    out->seg = wire_u32_le(&w);
    out->bytes = wire_u32_le(&w);
    out->salt = wire_u64_le(&w);
    struct slice id = wire_take(&w, sizeof out->store_id);
    (void)wire_u64_le(&w);
    uint64_t check = wire_u64_le(&w);
    if (w.ran_out || magic != SEGMENT_MAGIC || format < STORE_FORMAT_LEAST ||
        format > STORE_FORMAT || header_bytes != SEGMENT_HEADER_BYTES ||
        check != hash_bytes(slice_head(bytes, HEADER_CHECKED), 0))
        return false;
    memcpy(out->store_id, id.ptr, sizeof out->store_id);
    return out->seg != 0 && out->bytes <= SEGMENT_BYTES_MAX && out->bytes % PLACE_ALIGN == 0;
}
