#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/wire.h"
#include "expect.h"
#include "mirror/mirror_history.h"
#include "store/record.h"

#include <stdio.h>

TestSuite(record, .timeout = 300);

#define SEG_BYTES 4096u

static const struct segment_header header = {
    .seg = 7, .bytes = SEG_BYTES, .salt = 0x1122334455667788, .store_id = "fifteen octets!"
};
static uint8_t segment[SEG_BYTES];

/* Put what follows the record's start, sealed, into the segment. */
static void place_at(uint32_t offset, const uint8_t *bytes)
{
    uint32_t length = record_length(bytes);
    memcpy(segment + offset, bytes, length);
    record_seal(segment + offset, offset, header.salt);
}

static enum record_cut cut(uint32_t offset, struct record *out)
{
    return record_cut(slice_of(segment, sizeof segment), &header, offset, out);
}

static size_t put_message(uint8_t *out, unsigned flags, unsigned targets)
{
    struct msg_target t[8];
    for (unsigned i = 0; i < targets; i++)
        t[i] = (struct msg_target){ 100 + i, 200 + i, 300 + i, 400 + i };
    const struct msg_producer by = { 500, UINT64_MAX };
    size_t n =
        record_put_msg_of(out, flags, flags & MSG_PRODUCER ? &by : NULL, t, targets, 2, 3, 4);
    memcpy(out + n, "nn", 2);
    n += 2;
    if (flags & MSG_LARGE) {
        record_put_large_id(out + n, 0xABCD);
        return n + 8;
    }
    memcpy(out + n, "pppbbbb", 7);
    return n + 7;
}

Test(record, gives_back_the_message_that_was_put)
{
    for (unsigned flags = 0; flags < 128; flags++)
        for (unsigned targets = 1; targets <= 8; targets += 7) {
            uint8_t bytes[512];
            struct record r;
            struct msg_record m;
            size_t n = put_message(bytes, flags, targets);
            cr_assert(eq(u32, record_length(bytes), (uint32_t)n));
            cr_assert(eq(int, record_type(bytes), RECORD_MSG));
            place_at(64, bytes);
            cr_assert(eq(int, cut(64, &r), RECORD_CUT_OK));
            cr_expect(place_eq(r.place, (struct place){ 7, 64 }));
            cr_expect(eq(u32, r.length, (uint32_t)n));
            cr_assert(record_read_msg(&r, &m));
            cr_expect(eq(uint, m.flags, flags));
            cr_expect(eq(u64, m.body_bytes, 4));
            cr_expect(eq(u32, m.props_bytes, 3));
            cr_expect(slice_is(m.names, "nn"));
            cr_expect(slice_is(m.props, flags & MSG_LARGE ? "" : "ppp"));
            cr_expect(slice_is(m.body, flags & MSG_LARGE ? "" : "bbbb"));
            cr_expect(eq(u64, m.large_id, flags & MSG_LARGE ? 0xABCD : 0));
            cr_expect(eq(u64, m.producer.pid, flags & MSG_PRODUCER ? 500 : 0));
            cr_expect(eq(u64, m.producer.seq, flags & MSG_PRODUCER ? UINT64_MAX : 0));
            cr_assert(eq(uint, m.target_count, targets));
            struct msg_target t = msg_record_target(&m, targets - 1);
            cr_expect(eq(u64, t.qid, 99 + targets));
            cr_expect(eq(u64, t.qseq, 199 + targets));
            cr_expect(eq(u64, t.expires_ms, flags & MSG_EXPIRES ? 299 + targets : 0));
            cr_expect(eq(u32, t.returns, flags & MSG_RETURNS ? 399 + targets : 0));
        }
}

Test(record, gives_back_settlements_returns_and_the_small_ones)
{
    const struct settle_range ranges[] = { { 1, 1 }, { 5, UINT64_MAX } };
    const uint64_t marks[] = { 8, 9 };
    const struct msg_return items[] = { { 11, 1 }, { 12, 2 } };
    uint8_t bytes[512];
    struct record r;
    struct settle_record s;

    cr_assert(eq(sz, record_put_settle(bytes, SETTLE_AHEAD, 42, ranges, 2, marks, 2),
                 RECORD_SETTLE_ROOM(2, 2)));
    place_at(64, bytes);
    cr_assert(eq(int, cut(64, &r), RECORD_CUT_OK));
    cr_assert(record_read_settle(&r, &s));
    cr_expect(eq(u64, s.qid, 42));
    cr_expect(eq(uint, s.flags, SETTLE_AHEAD));
    cr_assert(eq(uint, s.range_count, 2));
    cr_expect(eq(u64, settle_record_range(&s, 1).first, 5));
    cr_expect(eq(u64, settle_record_range(&s, 1).last, UINT64_MAX));
    cr_assert(eq(uint, s.mark_count, 2));
    cr_expect(eq(u64, settle_record_mark(&s, 1), 9));

    record_put_settle(bytes, 0, 42, NULL, 0, NULL, 0);
    place_at(64, bytes);
    cr_assert(eq(int, cut(64, &r), RECORD_CUT_OK));
    cr_expect(record_read_settle(&r, &s));

    uint64_t qid;
    struct slice list;
    cr_assert(eq(sz, record_put_returns(bytes, 43, items, 2), RECORD_RETURNS_ROOM(2)));
    place_at(64, bytes);
    cr_assert(eq(int, cut(64, &r), RECORD_CUT_OK));
    cr_assert(record_read_returns(&r, &qid, &list));
    cr_expect(eq(u64, qid, 43));
    cr_expect(eq(u64, returns_item(list, 1).qseq, 12));
    cr_expect(eq(u32, returns_item(list, 1).returns, 2));
    cr_expect(not(record_read_settle(&r, &s)), "one type is not another");

    uint64_t id;
    const uint64_t qids[] = { 8, 9 };
    for (unsigned n = 0; n <= 2; n++) {
        cr_expect(eq(sz, record_put_large(bytes, 44, qids, n), RECORD_LARGE_ROOM(n)));
        place_at(64, bytes);
        cr_assert(eq(int, cut(64, &r), RECORD_CUT_OK));
        cr_assert(record_read_large(&r, &id, &list));
        cr_expect(eq(u64, id, 44));
        cr_assert(eq(u32, r.count, n));
        cr_expect(n == 0 || large_record_qid(list, n - 1) == qids[n - 1]);
    }

    struct batch_record b;
    record_put_batch(bytes, &(struct batch_record){ 45, 46 });
    place_at(64, bytes);
    cr_assert(eq(int, cut(64, &r), RECORD_CUT_OK));
    cr_assert(record_read_batch(&r, &b));
    cr_expect(eq(u64, b.durable_lsn, 45));
    cr_expect(eq(u64, b.wall_ms, 46));
    cr_expect(not(record_read_large(&r, &id, &list)));

    record_put_end(bytes, 0);
    place_at(SEG_BYTES - 16, bytes);
    cr_assert(eq(int, cut(SEG_BYTES - 16, &r), RECORD_CUT_OK));
    cr_expect(eq(int, r.type, RECORD_END));
}

Test(record, gives_back_an_epoch_and_what_it_cuts_off)
{
    const struct settle_range cuts[] = { { 1, 7 }, { UINT64_C(3) << 56, UINT64_MAX } };
    uint8_t bytes[512];
    struct record r;
    struct epoch_record e;
    size_t n = record_put_epoch(bytes, 47, cuts, 2, 5);
    cr_expect(eq(sz, n, RECORD_EPOCH_ROOM(2)));
    memcpy(bytes + n, "hhhhh", 5);
    place_at(64, bytes);
    cr_assert(eq(int, cut(64, &r), RECORD_CUT_OK));
    cr_expect(eq(int, r.type, RECORD_EPOCH));
    cr_assert(record_read_epoch(&r, &e));
    cr_expect(eq(u64, e.qid, 47));
    cr_assert(eq(uint, e.cut_count, 2));
    cr_expect(eq(u64, epoch_record_cut(&e, 0).last, 7));
    cr_expect(eq(u64, epoch_record_cut(&e, 1).first, UINT64_C(3) << 56));
    cr_expect(slice_is(e.history, "hhhhh"));

    struct record cut_off = r;
    for (cut_off.payload.len = 0; cut_off.payload.len < r.payload.len; cut_off.payload.len++)
        cr_expect(not(record_read_epoch(&cut_off, &e)), "with %zu octets", cut_off.payload.len);
    cut_off.payload.len = r.payload.len + 1;
    cr_expect(not(record_read_epoch(&cut_off, &e)), "nothing is left over");
    cut_off = r;
    cut_off.flags = 1;
    cr_expect(not(record_read_epoch(&cut_off, &e)));
    cut_off = r;
    cut_off.count = EPOCH_CUTS_MAX + 1;
    cr_expect(not(record_read_epoch(&cut_off, &e)));
    bytes[RECORD_HEAD_BYTES + 8] = 8; /* first is now behind last */
    place_at(64, bytes);
    cr_assert(eq(int, cut(64, &r), RECORD_CUT_OK));
    cr_expect(not(record_read_epoch(&r, &e)));
}

/* All that a queue can have, in one record that every segment takes. */
Test(record, takes_the_longest_history_there_is)
{
    struct mirror_history h = { 0 };
    struct mirror_starts starts = { 0 };
    for (uint64_t priority = 0; priority < MIRROR_STARTS_MAX; priority++)
        mirror_starts_raise(&starts, (priority << MIRROR_PRIORITY_SHIFT) + 5);
    for (uint64_t pid = 1; pid <= MIRROR_EPOCH_PRODUCERS_MAX; pid++)
        mirror_history_saw(&h, 0, pid, 9);
    for (uint64_t epoch = 1; epoch < MIRROR_EPOCHS_MAX; epoch++)
        mirror_history_begin(&h, epoch, &starts);
    for (uint64_t pid = 1; pid <= PRODUCERS_MAX; pid++)
        mirror_history_saw(&h, 0, pid, 10);
    mirror_history_begin(&h, MIRROR_EPOCHS_MAX, &starts);
    h.is_partial = true;
    mirror_starts_copy(&h.base, &starts);
    producers_copy(&h.base_producers, &h.now);
    size_t size = mirror_history_size(&h, true);
    cr_expect(le(sz, size, EPOCH_HISTORY_MAX));
    cr_expect(gt(sz, size, EPOCH_HISTORY_MAX * 9 / 10), "and the bound is none for show");
    mirror_starts_fini(&starts);
    mirror_history_fini(&h);
}

Test(record, tells_nothing_from_something_bad)
{
    uint8_t bytes[512];
    struct record r;
    memset(segment, 0, sizeof segment);
    cr_expect(eq(int, cut(64, &r), RECORD_CUT_NONE));
    cr_expect(eq(int, cut(SEG_BYTES - 8, &r), RECORD_CUT_NONE));
    cr_expect(eq(int, cut(SEG_BYTES, &r), RECORD_CUT_NONE));
    cr_expect(eq(int, cut(SEG_BYTES + 8, &r), RECORD_CUT_NONE));
    segment[SEG_BYTES - 1] = 1;
    cr_expect(eq(int, cut(SEG_BYTES - 8, &r), RECORD_CUT_BAD));
    segment[64 + 11] = 1;
    cr_expect(eq(int, cut(64, &r), RECORD_CUT_BAD), "a length of 0 is no record");

    /* Every bit of a record counts. */
    size_t n = put_message(bytes, 0, 1);
    place_at(64, bytes);
    for (size_t i = 0; i < n * 8; i++) {
        segment[64 + i / 8] ^= (uint8_t)(1u << i % 8);
        cr_expect(eq(int, cut(64, &r), RECORD_CUT_BAD), "bit %zu", i);
        segment[64 + i / 8] ^= (uint8_t)(1u << i % 8);
    }
    cr_expect(eq(int, cut(64, &r), RECORD_CUT_OK));

    /* And so does each octet that is cut off. */
    for (size_t len = 64; len < 64 + n; len++)
        cr_expect(ne(int, record_cut(slice_of(segment, len), &header, 64, &r), RECORD_CUT_OK));
    cr_expect(eq(int, record_cut(slice_of(segment, 64 + n), &header, 64, &r), RECORD_CUT_OK));
}

Test(record, does_not_pass_in_another_place_or_life)
{
    uint8_t bytes[512];
    struct record r;
    size_t n = put_message(bytes, 0, 1);
    place_at(64, bytes);
    memmove(segment + 72, segment + 64, n);
    cr_expect(eq(int, cut(72, &r), RECORD_CUT_BAD));

    place_at(64, bytes);
    struct segment_header next = header;
    next.salt++;
    cr_expect(eq(int, record_cut(slice_of(segment, SEG_BYTES), &next, 64, &r), RECORD_CUT_BAD));

    struct segment_header shorter = header;
    shorter.bytes = (uint32_t)(64 + n - 1) / 8 * 8;
    cr_expect(eq(int, record_cut(slice_of(segment, SEG_BYTES), &shorter, 64, &r), RECORD_CUT_BAD));
}

Test(record, is_found_in_a_part_of_the_segment)
{
    uint8_t bytes[512];
    struct record r;
    size_t n = put_message(bytes, 0, 1);
    place_at(1024, bytes);
    cr_expect(
        eq(int, record_cut_one(slice_of(segment + 1024, n), &header, 1024, &r), RECORD_CUT_OK));
    cr_expect(place_eq(r.place, (struct place){ 7, 1024 }));
    cr_expect(eq(int, record_cut_one(slice_of(segment + 1024, n - 1), &header, 1024, &r),
                 RECORD_CUT_BAD));
    cr_expect(eq(int, record_cut_one(slice_of(segment + 1024, n), &header, SEG_BYTES, &r),
                 RECORD_CUT_NONE));
}

/* The check may be right and the record still no sense: from a program that was wrong. */
Test(record, is_not_read_when_its_parts_do_not_add_up)
{
    uint8_t bytes[512];
    struct msg_record m;
    struct settle_record s;
    uint64_t qid;
    struct slice list;
    unsigned flags = MSG_EXPIRES | MSG_RETURNS | MSG_PRODUCER;
    size_t n = put_message(bytes, flags, 2);
    struct record r = { .type = RECORD_MSG, .flags = flags, .count = 2 };
    for (size_t len = 0; len < n - 12; len++) {
        r.payload = slice_of(bytes + 12, len);
        cr_expect(not(record_read_msg(&r, &m)), "with %zu octets", len);
    }
    r.payload = slice_of(bytes + 12, n - 12);
    cr_expect(record_read_msg(&r, &m));
    r.payload.len++;
    cr_expect(not(record_read_msg(&r, &m)), "nothing is left over");
    r.payload.len--;
    r.count = 0;
    cr_expect(not(record_read_msg(&r, &m)));
    r.count = MSG_TARGETS_MAX + 1;
    cr_expect(not(record_read_msg(&r, &m)));
    r.count = 2;
    r.flags |= 128;
    cr_expect(not(record_read_msg(&r, &m)));

    n = record_put_settle(bytes, 0, 1, &(struct settle_range){ 1, 2 }, 1, NULL, 0);
    r = (struct record){ .type = RECORD_SETTLE, .count = 1, .payload = { bytes + 12, n - 12 } };
    cr_expect(record_read_settle(&r, &s));
    bytes[12 + 8] = 3; /* first is now behind last */
    cr_expect(not(record_read_settle(&r, &s)));
    r.payload.len--;
    cr_expect(not(record_read_settle(&r, &s)));

    n = record_put_returns(bytes, 1, &(struct msg_return){ 1, 2 }, 1);
    r = (struct record){ .type = RECORD_RETURNS, .count = 2, .payload = { bytes + 12, n - 12 } };
    cr_expect(not(record_read_returns(&r, &qid, &list)));
}

Test(record, takes_the_largest_message_there_is)
{
    struct msg_target *targets = mem_array(MSG_TARGETS_MAX, sizeof *targets);
    size_t room = RECORD_MSG_ROOM(MSG_TARGETS_MAX) + MSG_INLINE_MAX;
    uint8_t *bytes = mem_zalloc(room + 64);
    for (unsigned i = 0; i < MSG_TARGETS_MAX; i++)
        targets[i] = (struct msg_target){ i, i, i + 1, i };
    size_t n =
        record_put_msg_of(bytes + 64, MSG_EXPIRES | MSG_RETURNS, &(struct msg_producer){ 1, 2 },
                          targets, MSG_TARGETS_MAX, UINT16_MAX, 0, MSG_INLINE_MAX - UINT16_MAX);
    cr_expect(le(sz, n, RECORD_MSG_ROOM(MSG_TARGETS_MAX)));
    struct segment_header h = header;
    h.bytes = SEGMENT_BYTES_LEAST;
    struct record r;
    struct msg_record m;
    record_seal(bytes + 64, 64, h.salt);
    cr_assert(eq(int, record_cut(slice_of(bytes, room + 64), &h, 64, &r), RECORD_CUT_OK));
    cr_assert(record_read_msg(&r, &m));
    cr_expect(eq(u64, msg_record_target(&m, MSG_TARGETS_MAX - 1).expires_ms, MSG_TARGETS_MAX));
    cr_expect(eq(sz, m.names.len, UINT16_MAX));
    mem_free(bytes);
    mem_free(targets);
}

Test(record, reads_a_header_only_when_all_of_it_is_right)
{
    uint8_t bytes[SEGMENT_HEADER_BYTES];
    struct segment_header got;
    segment_header_put(bytes, &header);
    cr_assert(segment_header_read(slice_of(bytes, sizeof bytes), &got));
    cr_expect(eq(u32, got.seg, 7));
    cr_expect(eq(u32, got.bytes, SEG_BYTES));
    cr_expect(eq(u64, got.salt, header.salt));
    cr_expect(memcmp(got.store_id, header.store_id, 16) == 0);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 1;
        cr_expect(not(segment_header_read(slice_of(bytes, sizeof bytes), &got)), "octet %zu", i);
        bytes[i] ^= 1;
        cr_expect(not(segment_header_read(slice_of(bytes, i), &got)), "%zu octets", i);
    }
}

/* What was written before queues were mirrored is as good as ever; what is to come is not known. */
Test(record, reads_headers_of_both_formats)
{
    uint8_t bytes[SEGMENT_HEADER_BYTES];
    struct segment_header got;
    segment_header_put(bytes, &header);
    for (uint8_t format = 0; format <= STORE_FORMAT + 1; format++) {
        struct wire_out w = wire_out_over(bytes + SEGMENT_HEADER_BYTES - 8, 8);
        bytes[8] = format;
        wire_put_u64_le(&w, hash_bytes(slice_of(bytes, SEGMENT_HEADER_BYTES - 8), 0));
        cr_expect(eq(int, segment_header_read(slice_of(bytes, sizeof bytes), &got),
                     format == 1 || format == 2),
                  "format %u", format);
    }
}

Test(record, cuts_whatever_it_is_given)
{
    struct rng rng;
    rng_init(&rng, 1);
    for (unsigned round = 0; round < 20000; round++) {
        struct record r;
        for (size_t i = 64; i < 128; i++)
            segment[i] = (uint8_t)rng_u64(&rng);
        segment[65] &= (uint8_t)(round & 1);
        segment[66] = segment[67] = 0;
        (void)!cut(64, &r);
    }
}
