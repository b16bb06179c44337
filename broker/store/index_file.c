#include "store/index_file.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mutation.h"

#define INDEX_MAGIC    UINT64_C(0x5844494e45525257) /* "WRRENIDX" */
#define HEADER_CHECKED (INDEX_HEADER_BYTES - 8)

/* What of an entry is not as expected. */
enum {
    ENTRY_QSEQ = 1,   /* expected: the next one */
    ENTRY_OFFSET = 2, /* expected: behind the record before */
    ENTRY_BODY = 4,   /* expected: the same */
    ENTRY_OVER = 8,   /* what the record has beyond its body; expected: the same */
    ENTRY_FLAGS = 16, /* expected: the same */
    ENTRY_REPEATS = 32,
};

uint32_t index_check(struct slice bytes, uint64_t salt)
{
    return (uint32_t)hash_bytes(bytes, salt);
}

bool index_check_is(struct slice bytes, uint64_t salt, uint32_t found)
{
    return found == index_check(bytes, salt) || MUTATION(INDEX_DAMAGE_BELIEVED);
}

void index_header_put(uint8_t out[INDEX_HEADER_BYTES], const struct index_header *h)
{
    uint8_t room[INDEX_HEADER_BYTES + 8] = { 0 };
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64_le(&w, INDEX_MAGIC);
    wire_put_u32_le(&w, INDEX_VERSION);
    wire_put_u32_le(&w, h->segment.seg);
    wire_put_u32_le(&w, h->segment.bytes);
    wire_put_u32_le(&w, h->end);
    wire_put_u64_le(&w, h->segment.salt);
    wire_put_bytes(&w, slice_of(h->segment.store_id, sizeof h->segment.store_id));
    wire_put_u64_le(&w, h->durable_lsn);
    wire_put_u64_le(&w, h->record_count);
    wire_put_u64_le(&w, h->put_count);
    wire_put_u64_le(&w, h->put_cost);
    wire_put_u64_le(&w, h->list_bytes);
    wire_put_u64_le(&w, h->state_bytes);
    wire_put_u64_le(&w, h->dir_bytes);
    wire_put_u32_le(&w, h->state_check);
    wire_put_u32_le(&w, h->dir_check);
    wire_put_u32_le(&w, h->row_count);
    wire_put_u32_le(&w, h->is_closed);
    CHECK(!w.overflow && wire_out_len(&w) <= HEADER_CHECKED);
    struct wire_out end = wire_out_over(room + HEADER_CHECKED, 8);
    wire_put_u64_le(&end, hash_bytes(slice_of(room, HEADER_CHECKED), h->segment.salt));
    memcpy(out, room, INDEX_HEADER_BYTES);
}

bool index_header_read(struct slice bytes, struct index_header *out)
{
    struct wire w = wire_over(bytes);
    uint64_t magic = wire_u64_le(&w);
    uint32_t version = wire_u32_le(&w);
    out->segment.seg = wire_u32_le(&w);
    out->segment.bytes = wire_u32_le(&w);
    out->end = wire_u32_le(&w);
    out->segment.salt = wire_u64_le(&w);
    struct slice id = wire_take(&w, sizeof out->segment.store_id);
    out->durable_lsn = wire_u64_le(&w);
    out->record_count = wire_u64_le(&w);
    out->put_count = wire_u64_le(&w);
    out->put_cost = wire_u64_le(&w);
    out->list_bytes = wire_u64_le(&w);
    out->state_bytes = wire_u64_le(&w);
    out->dir_bytes = wire_u64_le(&w);
    out->state_check = wire_u32_le(&w);
    out->dir_check = wire_u32_le(&w);
    out->row_count = wire_u32_le(&w);
    out->is_closed = wire_u32_le(&w) != 0;
    struct wire end = wire_over(slice_from(slice_head(bytes, INDEX_HEADER_BYTES), HEADER_CHECKED));
    uint64_t check = wire_u64_le(&end);
    if (w.ran_out || end.ran_out || magic != INDEX_MAGIC || version < INDEX_VERSION_LEAST ||
        version > INDEX_VERSION ||
        (check != hash_bytes(slice_head(bytes, HEADER_CHECKED), out->segment.salt) &&
         !MUTATION(INDEX_DAMAGE_BELIEVED)))
        return false;
    memcpy(out->segment.store_id, id.ptr, sizeof out->segment.store_id);
    return out->segment.bytes >= SEGMENT_HEADER_BYTES && out->segment.bytes <= SEGMENT_BYTES_MAX &&
           out->end <= out->segment.bytes;
}

/* ---- the directory ----------------------------------------------------------------------------
 */

void index_row_put(struct wire_out *w, const struct index_row *row, uint64_t *last_qid)
{
    CHECK(row->count != 0 && row->first <= row->last && row->qid >= *last_qid);
    index_put_varint(w, row->qid - *last_qid);
    index_put_varint(w, row->first);
    index_put_varint(w, row->last - row->first);
    index_put_varint(w, row->count);
    index_put_varint(w, row->body_bytes);
    index_put_varint(w, row->list_bytes);
    wire_put_u8(w, row->flags);
    *last_qid = row->qid;
}

bool index_row_read(struct wire *w, struct index_row *out, uint64_t *last_qid)
{
    uint64_t qid = index_varint(w);
    uint64_t first = index_varint(w);
    uint64_t span = index_varint(w);
    uint64_t count = index_varint(w);
    uint64_t body_bytes = index_varint(w);
    uint64_t list_bytes = index_varint(w);
    uint8_t flags = wire_u8(w);
    if (w->ran_out || qid > UINT64_MAX - *last_qid || span > UINT64_MAX - first || count == 0 ||
        count - 1 > span || count > UINT32_MAX || list_bytes > UINT32_MAX)
        return false;
    *last_qid += qid;
    *out = (struct index_row){ .qid = *last_qid,
                               .first = first,
                               .last = first + span,
                               .body_bytes = body_bytes,
                               .list_bytes = (uint32_t)list_bytes,
                               .count = (uint32_t)count,
                               .flags = flags };
    return true;
}

/* ---- blocks -----------------------------------------------------------------------------------
 */

/* What the entry after `prev` is expected to be. */
static struct index_item expected(const struct index_item *prev)
{
    struct index_item e = *prev;
    e.qseq++;
    e.offset += record_padded(prev->length);
    return e;
}

static uint32_t over(const struct index_item *e)
{
    return e->length - e->body_bytes; /* wraps with MSG_LARGE, and back */
}

static uint8_t differences(const struct index_item *e, const struct index_item *want)
{
    return (uint8_t)((e->qseq != want->qseq ? ENTRY_QSEQ : 0) |
                     (e->offset != want->offset ? ENTRY_OFFSET : 0) |
                     (e->body_bytes != want->body_bytes ? ENTRY_BODY : 0) |
                     (over(e) != over(want) ? ENTRY_OVER : 0) |
                     (e->flags != want->flags ? ENTRY_FLAGS : 0));
}

static bool is_as_expected(const struct index_item *e, const struct index_item *want)
{
    return (e->flags & (MSG_EXPIRES | MSG_RETURNS)) == 0 && differences(e, want) == 0;
}

static void put_entry(struct wire_out *w, const struct index_item *e, const struct index_item *want,
                      uint32_t repeats)
{
    uint8_t differs = differences(e, want);
    wire_put_u8(w, (uint8_t)(differs | (repeats != 0 ? ENTRY_REPEATS : 0)));
    if (differs & ENTRY_QSEQ)
        index_put_varint(w, e->qseq - want->qseq);
    if (differs & ENTRY_OFFSET) /* both are multiples of PLACE_ALIGN, and below 2^30 */
        index_put_varint(w, index_zigzag((uint64_t)(((int64_t)e->offset - (int64_t)want->offset) /
                                                    (int64_t)PLACE_ALIGN)));
    if (differs & ENTRY_BODY)
        index_put_varint(w, e->body_bytes);
    if (differs & ENTRY_OVER)
        index_put_varint(w, over(e));
    if (differs & ENTRY_FLAGS)
        wire_put_u8(w, e->flags);
    if (e->flags & MSG_EXPIRES)
        index_put_varint(w, index_zigzag(e->expires_ms - want->expires_ms));
    if (e->flags & MSG_RETURNS)
        index_put_varint(w, e->returns);
    if (repeats != 0)
        index_put_varint(w, repeats);
}

void index_block_put(struct wire_out *w, const struct index_item *items, uint32_t count,
                     uint64_t salt)
{
    CHECK(count >= 1 && count <= INDEX_BLOCK_ENTRIES);
    size_t start = wire_out_len(w);
    wire_put_u32_le(w, 0);
    struct index_item want = { 0 };
    for (uint32_t i = 0; i < count;) {
        const struct index_item *e = &items[i++];
        uint64_t expires_ms = e->flags & MSG_EXPIRES ? e->expires_ms : want.expires_ms;
        struct index_item next = expected(e);
        uint32_t repeats = 0;
        while (i < count && is_as_expected(&items[i], &next)) {
            next = expected(&items[i++]);
            repeats++;
        }
        put_entry(w, e, &want, repeats);
        want = next;
        want.expires_ms = expires_ms; /* the last there was: what repeats has none */
    }
    CHECK(!w->overflow);
    struct slice body = slice_from(wire_out_slice(w), start + INDEX_CHECK_BYTES);
    struct wire_out check = wire_out_over(w->start + start, INDEX_CHECK_BYTES);
    wire_put_u32_le(&check, index_check(body, salt));
}

static uint64_t read_offset(struct wire *w, uint32_t want)
{
    int64_t steps = (int64_t)index_unzigzag(index_varint(w));
    if (steps > (int64_t)SEGMENT_BYTES_MAX || steps < -(int64_t)SEGMENT_BYTES_MAX)
        return UINT64_MAX;
    return (uint64_t)((int64_t)want + steps * (int64_t)PLACE_ALIGN);
}

/* Whatever the octets are, what comes out is judged by is_sound. */
static struct index_item read_entry(struct wire *w, struct index_item e, uint64_t *repeats)
{
    uint8_t differs = wire_u8(w);
    uint32_t beyond = over(&e);
    if (differs & ENTRY_QSEQ)
        e.qseq += index_varint(w);
    if (differs & ENTRY_OFFSET) {
        uint64_t offset = read_offset(w, e.offset);
        e.offset = offset < SEGMENT_BYTES_MAX ? (uint32_t)offset : UINT32_MAX;
    }
    if (differs & ENTRY_BODY)
        e.body_bytes = (uint32_t)index_varint(w);
    if (differs & ENTRY_OVER)
        beyond = (uint32_t)index_varint(w);
    if (differs & ENTRY_FLAGS)
        e.flags = wire_u8(w);
    e.length = e.body_bytes + beyond;
    if (e.flags & MSG_EXPIRES)
        e.expires_ms += index_unzigzag(index_varint(w));
    e.returns = e.flags & MSG_RETURNS ? (uint32_t)index_varint(w) : 0;
    *repeats = differs & ENTRY_REPEATS ? index_varint(w) : 0;
    return e;
}

static bool is_sound(const struct index_item *e, const struct index_header *h)
{
    return e->offset >= SEGMENT_HEADER_BYTES && e->offset < h->segment.bytes &&
           e->offset % PLACE_ALIGN == 0 && e->length >= RECORD_HEAD_BYTES &&
           e->length <= h->segment.bytes - e->offset;
}

bool index_block_read(struct slice block, const struct index_header *h, const struct index_row *row,
                      uint32_t count, struct index_item *out)
{
    CHECK(count >= 1 && count <= INDEX_BLOCK_ENTRIES);
    struct wire w = wire_over(block);
    uint32_t check = wire_u32_le(&w);
    if (w.ran_out || !index_check_is(slice_from(block, INDEX_CHECK_BYTES), h->segment.salt, check))
        return false;
    struct index_item want = { 0 };
    for (uint32_t i = 0; i < count;) {
        uint64_t repeats;
        struct index_item e = read_entry(&w, want, &repeats);
        if (w.ran_out || repeats > count - i - 1)
            return false;
        for (;; repeats--) {
            if (!is_sound(&e, h) || e.qseq < row->first || e.qseq > row->last ||
                (i != 0 && e.qseq <= out[i - 1].qseq))
                return false;
            out[i] = e;
            if ((e.flags & MSG_EXPIRES) == 0)
                out[i].expires_ms = 0; /* `e` goes on with the last there was */
            i++;
            want = expected(&e);
            if (repeats == 0)
                break;
            e = want;
        }
    }
    return wire_left(&w) == 0;
}
