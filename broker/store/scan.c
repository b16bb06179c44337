#include "store/scan.h"

#include "base/check.h"
#include "base/mutation.h"
#include "base/wire.h"

/* A search hashes at most so many times the segment: bodies made to look like heads would else keep
 * it busy for an hour. */
#define EFFORT_FACTOR 8u

void scan_init(struct scan *s, struct slice whole, const struct segment_header *header)
{
    CHECK(header->bytes >= SEGMENT_HEADER_BYTES && header->bytes <= SEGMENT_BYTES_MAX);
    *s = (struct scan){ .whole = slice_head(whole, header->bytes),
                        .header = *header,
                        .offset = SEGMENT_HEADER_BYTES,
                        .effort = (uint64_t)EFFORT_FACTOR * header->bytes };
}

static bool is_blank(struct slice bytes)
{
    return bytes.len == 0 ||
           (bytes.ptr[0] == 0 && memcmp(bytes.ptr, bytes.ptr + 1, bytes.len - 1) == 0);
}

/* May a record begin here, by its head alone? */
static bool may_begin(struct slice at, uint32_t *length)
{
    struct wire w = wire_over(at);
    *length = wire_u32_le(&w);
    (void)wire_u32_le(&w);
    uint8_t type = wire_u8(&w);
    uint8_t flags = wire_u8(&w);
    return !w.ran_out && *length >= RECORD_HEAD_BYTES && *length <= at.len && type >= RECORD_MSG &&
           type <= RECORD_EPOCH && flags < 128 &&
           (type != RECORD_END || *length == RECORD_END_BYTES);
}

/* When there is no effort left for others, the heads of batches are still looked at: they are
 * short. */
static bool is_worth_it(struct scan *s, uint32_t length)
{
    if (length > s->effort)
        return length == RECORD_BATCH_BYTES;
    s->effort -= length;
    return true;
}

/* The next record at or behind `from`, or 0. */
static uint32_t search(struct scan *s, uint32_t from)
{
    for (uint32_t at = from; at < s->whole.len; at += PLACE_ALIGN) {
        struct record r;
        uint32_t length;
        if (may_begin(slice_from(s->whole, at), &length) && is_worth_it(s, length) &&
            record_cut(s->whole, &s->header, at, &r) == RECORD_CUT_OK)
            return at;
    }
    return 0;
}

static enum scan_found leap(struct scan *s, struct scan_gap *gap)
{
    struct slice rest = slice_from(s->whole, s->offset);
    *gap = (struct scan_gap){ s->offset, s->header.bytes, is_blank(rest) };
    uint32_t found =
        gap->is_blank || MUTATION(CUT_AT_HOLE) ? 0 : search(s, s->offset + PLACE_ALIGN);
    if (found == 0)
        return SCAN_REST;
    gap->to = found;
    gap->is_blank = is_blank(slice_head(rest, found - s->offset));
    s->offset = found;
    return SCAN_GAP;
}

enum scan_found scan_next(struct scan *s, struct record *record, struct scan_gap *gap)
{
    if (s->offset > s->whole.len ||
        record_cut(s->whole, &s->header, s->offset, record) != RECORD_CUT_OK)
        return leap(s, gap);
    s->offset += record_padded(record->length);
    if (s->offset > s->header.bytes)
        s->offset = s->header.bytes; /* the zeros behind the last one may be missing */
    return record->type == RECORD_END ? SCAN_END : SCAN_RECORD;
}
