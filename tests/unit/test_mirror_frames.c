#include "mirror/mirror_frames.h"

#include "base/mem.h"
#include "base/rng.h"
#include "expect.h"

/* Frames that were sent, one behind the other. */
struct wirebox {
    struct mirror_out out;
    uint8_t *bytes;
    size_t len;
    size_t ends[4096];
    unsigned count;
    unsigned shared; /* whose body was lent with its block */
};

static void on_frame(void *arg, struct slice head, struct buf *block, struct slice body)
{
    struct wirebox *b = arg;
    cr_assert(lt(u32, b->count, 4096));
    cr_expect(gt(sz, head.len + body.len, 0));
    cr_expect(le(sz, head.len + body.len, 1024 * 1024 - 64), "a link takes no more");
    b->bytes = mem_realloc(b->bytes, b->len + head.len + body.len);
    memcpy(b->bytes + b->len, head.ptr, head.len);
    if (body.len != 0)
        memcpy(b->bytes + b->len + head.len, body.ptr, body.len);
    b->len += head.len + body.len;
    b->ends[b->count++] = b->len;
    b->shared += block != NULL;
}

static struct wirebox *box_new(void)
{
    struct wirebox *b = mem_zalloc(sizeof *b);
    mirror_out_init(&b->out, on_frame, b);
    return b;
}

static void box_free(struct wirebox *b)
{
    mirror_out_reset(&b->out);
    mem_free(b->bytes);
    mem_free(b);
}

static uint8_t octet_of(uint64_t pos, size_t at)
{
    return (uint8_t)(pos * 31 + at * 7 + at / 253);
}

static void say(struct wirebox *b, uint64_t pos, size_t first, size_t second)
{
    struct buf *block = buf_new(second + 1);
    uint8_t *head = mem_alloc(first + 1);
    for (size_t i = 0; i < first; i++)
        head[i] = octet_of(pos, i);
    for (size_t i = 0; i < second; i++)
        block->data[i] = octet_of(pos, first + i);
    block->len_bytes = (uint32_t)second;
    struct mirror_part parts[] = { { slice_of(head, first), NULL }, { buf_slice(block), block } };
    mirror_out_data(&b->out, pos, &(struct mirror_data){ 1, 2, 3, { NULL, 0 } }, parts, 2);
    mem_free(head);
    buf_unref(&block);
}

static void expect_data(const struct mirror_record *r, uint64_t pos, size_t len)
{
    cr_assert(eq(int, r->op, MIRROR_DATA));
    cr_assert(eq(u64, r->pos, pos));
    cr_expect(eq(u32, r->data.count, 3));
    cr_assert(eq(sz, r->data.payload.len, len));
    for (size_t i = 0; i < len; i++)
        cr_assert(eq(u32, r->data.payload.ptr[i], octet_of(pos, i)), "octet %zu", i);
}

Test(mirror_frames, records_come_out_as_they_went_in)
{
    static const size_t sizes[] = { 0,
                                    1,
                                    MIRROR_INLINE_MAX - 17,
                                    MIRROR_INLINE_MAX - 16,
                                    100000,
                                    MIRROR_PIECE_BYTES,
                                    700000,
                                    5,
                                    40000,
                                    40000,
                                    3 };
    struct wirebox *b = box_new();
    struct mirror_in in = { 0 };
    struct mirror_record r;
    uint64_t pos = 0;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++)
        say(b, i + 1, sizes[i] / 3, sizes[i] - sizes[i] / 3);
    mirror_out_flush(&b->out);
    cr_expect(gt(u32, b->shared, 0));
    for (unsigned f = 0; f < b->count; f++) {
        size_t start = f == 0 ? 0 : b->ends[f - 1];
        struct wire w = wire_over(slice_of(b->bytes + start, b->ends[f] - start));
        enum mirror_next next;
        while ((next = mirror_in_next(&in, &w, &r)) == MIRROR_NEXT_RECORD) {
            cr_assert(lt(u64, pos, ARRAY_COUNT(sizes)));
            expect_data(&r, pos + 1, sizes[pos]);
            mirror_record_fini(&r);
            pos++;
        }
        cr_expect(eq(int, next, MIRROR_NEXT_END));
    }
    cr_expect(eq(u64, pos, ARRAY_COUNT(sizes)));
    mirror_in_reset(&in);
    box_free(b);
}

Test(mirror_frames, small_ones_share_a_frame)
{
    struct wirebox *b = box_new();
    for (uint64_t pos = 1; pos <= 10; pos++)
        say(b, pos, 10, 10);
    cr_expect(eq(u32, b->count, 0), "not before the turn's end");
    mirror_out_flush(&b->out);
    cr_expect(eq(u32, b->count, 1));
    mirror_out_flush(&b->out);
    cr_expect(eq(u32, b->count, 1), "there is nothing to say");
    box_free(b);
}

Test(mirror_frames, a_history_of_many_producers_travels_in_pieces)
{
    struct wirebox *b = box_new();
    struct mirror_in in = { 0 };
    struct mirror_record r;
    struct producers many = { 0 };
    bool has_come = false;
    for (uint64_t pid = 1; pid <= 10000; pid++)
        producers_saw(&many, pid, pid * 2);
    mirror_out_record(&b->out, &(struct mirror_record){ .op = MIRROR_LEAVE, .pos = 1, .qid = 9 });
    mirror_out_record(&b->out, &(struct mirror_record){
                                   .op = MIRROR_DONE, .pos = 2, .qid = 9, .producers = &many });
    mirror_out_flush(&b->out);
    struct wire w = wire_over(slice_of(b->bytes, b->len));
    cr_assert(eq(int, mirror_in_next(&in, &w, &r), MIRROR_NEXT_RECORD));
    cr_expect(eq(int, r.op, MIRROR_LEAVE));
    if (mirror_in_next(&in, &w, &r) == MIRROR_NEXT_RECORD) {
        has_come = r.op == MIRROR_DONE && r.producers->count == 10000 &&
                   producers_last(r.producers, 777) == 1554;
        mirror_record_fini(&r);
    }
    cr_expect(has_come);
    producers_fini(&many);
    mirror_in_reset(&in);
    box_free(b);
}

static enum mirror_next take(struct mirror_in *in, const void *bytes, size_t len)
{
    struct mirror_record r;
    struct wire w = wire_over(slice_of(bytes, len));
    enum mirror_next next = mirror_in_next(in, &w, &r);
    if (next == MIRROR_NEXT_RECORD)
        mirror_record_fini(&r);
    return next;
}

Test(mirror_frames, what_is_not_as_it_must_be_is_bad)
{
    const uint8_t piece[] = { 64, 0, 0, 0, 1, 6 }, empty[] = { 64, 0, 0, 0, 0 };
    const uint8_t last[] = { 65, 0, 0, 0, 1, 6 }, cut[] = { 64, 0, 0, 0, 9, 6 };
    const uint8_t hello[] = { 1, 1, 0, 1 };
    const uint8_t long_hello[] = { 65, 0, 0, 0, 5, 1, 1, 0, 1, 9 };
    struct mirror_in in = { 0 };
    cr_expect(eq(int, take(&in, hello, sizeof hello), MIRROR_NEXT_RECORD));
    cr_expect(eq(int, take(&in, piece, sizeof piece), MIRROR_NEXT_END));
    cr_expect(eq(int, take(&in, hello, sizeof hello), MIRROR_NEXT_BAD), "between two pieces");
    mirror_in_reset(&in);
    cr_expect(eq(int, take(&in, empty, sizeof empty), MIRROR_NEXT_BAD));
    mirror_in_reset(&in);
    cr_expect(eq(int, take(&in, cut, sizeof cut), MIRROR_NEXT_BAD));
    mirror_in_reset(&in);
    cr_expect(eq(int, take(&in, last, sizeof last), MIRROR_NEXT_BAD), "not all of a record");
    mirror_in_reset(&in);
    cr_expect(eq(int, take(&in, long_hello, sizeof long_hello), MIRROR_NEXT_BAD), "and more");
    mirror_in_reset(&in);
}

Test(mirror_frames, no_record_grows_without_end)
{
    struct mirror_in in = { 0 };
    size_t size = 5 + (size_t)1024 * 1024;
    uint8_t *piece = mem_zalloc(size);
    piece[0] = 64;
    piece[2] = 0x10;
    unsigned taken = 0;
    while (taken < 1000 && take(&in, piece, size) == MIRROR_NEXT_END)
        taken++;
    cr_expect(eq(u32, taken, MIRROR_RECORD_MAX / (1024 * 1024)));
    mem_free(piece);
    mirror_in_reset(&in);
}
