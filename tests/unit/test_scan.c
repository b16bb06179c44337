#include "store/scan.h"

#include "base/wire.h"
#include "expect.h"
#include "seg_kit.h"

#define RECORDS 5u

/* A batch with four messages; where each begins, and where the last ends. */
static void fill(struct seg_kit *k, uint32_t at[RECORDS + 1])
{
    seg_kit_init(k, 7, 4096);
    at[0] = seg_kit_batch(k, 0).offset;
    for (uint64_t i = 1; i < RECORDS; i++)
        at[i] = seg_kit_msg(k, 0, 1, i, 20 * i).offset;
    at[RECORDS] = k->offset;
}

struct seen {
    uint32_t records;
    uint32_t gaps;
    struct scan_gap gap; /* the last */
    enum scan_found end;
    uint32_t offset;
};

static struct seen walk(struct slice whole, const struct segment_header *h)
{
    struct scan s;
    struct record r;
    struct seen seen = { 0 };
    scan_init(&s, whole, h);
    while ((seen.end = scan_next(&s, &r, &seen.gap)) == SCAN_RECORD || seen.end == SCAN_GAP) {
        seen.records += seen.end == SCAN_RECORD;
        seen.gaps += seen.end == SCAN_GAP;
    }
    seen.offset = s.offset;
    return seen;
}

Test(scan, finds_every_record_and_then_blank_octets)
{
    struct seg_kit k;
    uint32_t at[RECORDS + 1];
    fill(&k, at);
    struct seen seen = walk(seg_kit_slice(&k), &k.header);
    cr_expect(eq(u32, seen.records, RECORDS));
    cr_expect(eq(u32, seen.gaps, 0));
    cr_expect(eq(int, seen.end, SCAN_REST));
    cr_expect(seen.gap.is_blank);
    cr_expect(eq(u32, seen.gap.from, at[RECORDS]));
    cr_expect(eq(u32, seen.gap.to, 4096));
    seg_kit_fini(&k);
}

Test(scan, looks_at_nothing_behind_the_end)
{
    struct seg_kit k;
    uint32_t at[RECORDS + 1];
    fill(&k, at);
    seg_kit_end(&k);
    uint32_t end = k.offset;
    seg_kit_msg(&k, 0, 1, 99, 10);
    struct seen seen = walk(seg_kit_slice(&k), &k.header);
    cr_expect(eq(u32, seen.records, RECORDS));
    cr_expect(eq(int, seen.end, SCAN_END));
    cr_expect(eq(u32, seen.offset, end));
    seg_kit_fini(&k);
}

Test(scan, finds_nothing_in_an_empty_segment)
{
    struct seg_kit k;
    seg_kit_init(&k, 7, 4096);
    struct seen seen = walk(seg_kit_slice(&k), &k.header);
    cr_expect(eq(u32, seen.records, 0));
    cr_expect(eq(int, seen.end, SCAN_REST));
    cr_expect(seen.gap.is_blank);
    seen = walk(slice_head(seg_kit_slice(&k), SEGMENT_HEADER_BYTES), &k.header);
    cr_expect(eq(int, seen.end, SCAN_REST));
    cr_expect(seen.gap.is_blank);
    seg_kit_fini(&k);
}

/* Whatever bit of a record is another one, that record is a gap, and no other is. */
Test(scan, goes_on_behind_any_flipped_bit)
{
    struct seg_kit k;
    uint32_t at[RECORDS + 1];
    fill(&k, at);
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint32_t length = record_length(k.bytes + at[i]);
        for (uint32_t bit = 0; bit < length * 8; bit++) {
            uint8_t *octet = &k.bytes[at[i] + bit / 8];
            *octet ^= (uint8_t)(1u << bit % 8);
            struct seen seen = walk(seg_kit_slice(&k), &k.header);
            *octet ^= (uint8_t)(1u << bit % 8);
            cr_assert(eq(u32, seen.records, RECORDS - 1), "record %u bit %u", i, bit);
            if (i == RECORDS - 1) {
                cr_assert(eq(u32, seen.gap.from, at[i]), "bit %u", bit);
                cr_assert(not(seen.gap.is_blank));
            } else {
                cr_assert(eq(u32, seen.gaps, 1), "record %u bit %u", i, bit);
            }
        }
    }
    seg_kit_fini(&k);
}

/* Cut anywhere: the records before the cut, and a rest from the first that is not whole. */
Test(scan, takes_what_is_whole_of_a_file_cut_short)
{
    struct seg_kit k;
    uint32_t at[RECORDS + 1];
    fill(&k, at);
    for (uint32_t len = SEGMENT_HEADER_BYTES; len < at[RECORDS]; len++) {
        uint32_t whole = 0;
        while (at[whole] + record_length(k.bytes + at[whole]) <= len)
            whole++;
        struct seen seen = walk(slice_head(seg_kit_slice(&k), len), &k.header);
        cr_assert(eq(u32, seen.records, whole), "%u octets", len);
        cr_assert(eq(int, seen.end, SCAN_REST));
        cr_assert(eq(u32, seen.gap.from, at[whole]), "%u octets", len);
        cr_assert(eq(u32, seen.gap.to, 4096));
    }
    seg_kit_fini(&k);
}

/* The file was used before: what stands behind the last record is of another life. */
Test(scan, passes_over_records_of_an_earlier_life)
{
    struct seg_kit old, k;
    uint32_t at[RECORDS + 1];
    fill(&old, at);
    fill(&k, at);
    k.header.salt++;
    struct seen seen = walk(seg_kit_slice(&old), &k.header);
    cr_expect(eq(u32, seen.records, 0));
    cr_expect(eq(int, seen.end, SCAN_REST));
    cr_expect(not(seen.gap.is_blank));
    seg_kit_fini(&old);
    seg_kit_fini(&k);
}

Test(scan, finds_what_stands_behind_a_blank_hole)
{
    struct seg_kit k;
    uint32_t at[RECORDS + 1];
    fill(&k, at);
    memset(k.bytes + at[1], 0, at[3] - at[1]);
    struct scan s;
    struct record r;
    struct scan_gap gap;
    scan_init(&s, seg_kit_slice(&k), &k.header);
    cr_assert(eq(int, scan_next(&s, &r, &gap), SCAN_RECORD));
    cr_assert(eq(int, scan_next(&s, &r, &gap), SCAN_GAP));
    cr_expect(gap.is_blank);
    cr_expect(eq(u32, gap.from, at[1]));
    cr_expect(eq(u32, gap.to, at[3]));
    cr_assert(eq(int, scan_next(&s, &r, &gap), SCAN_RECORD));
    cr_expect(eq(u32, r.place.offset, at[3]));
    seg_kit_fini(&k);
}

/* A body made of heads must not keep the search busy for ever. Behind it a batch is still found. */
Test(scan, gives_up_on_false_heads_in_time, .timeout = 300)
{
    const uint32_t bytes = 1 << 20;
    struct seg_kit k;
    seg_kit_init(&k, 7, bytes);
    uint32_t from = k.offset;
    for (uint32_t at = from; at + 64 < bytes; at += 8) {
        struct wire_out w = wire_out_over(k.bytes + at, 16);
        wire_put_u32_le(&w, 0x0001ff01); /* a length, and in every second place a type */
        wire_put_u32_le(&w, 0x0001ff01);
    }
    k.offset = bytes - 64;
    seg_kit_batch(&k, 0);
    struct seen seen = walk(seg_kit_slice(&k), &k.header);
    cr_expect(eq(u32, seen.records, 1));
    cr_expect(eq(u32, seen.gaps, 1));
    seg_kit_fini(&k);
}
