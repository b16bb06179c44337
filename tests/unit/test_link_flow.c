#include "expect.h"
#include "link/link_flow.h"

#include <stdio.h>

static struct link_flow flow;

static void set_up(void)
{
    link_flow_init(&flow, true);
}

static void tear_down(void)
{
    link_flow_fini(&flow);
}

TestSuite(link_flow, .init = set_up, .fini = tear_down);

static void append(enum link_priority p, uint8_t type, const char *text)
{
    link_flow_append(&flow, p, type, slice_str(text), NULL, slice_of(NULL, 0));
}

static uint8_t out[1 << 20];
static size_t out_len;

/* All that is to be sent, behind what was. */
static size_t take_all(void)
{
    struct link_piece piece;
    size_t pieces = 0;
    while (link_flow_next(&flow, &piece)) {
        cr_assert(out_len + piece.len <= sizeof out);
        memcpy(out + out_len, piece.at, piece.len);
        out_len += piece.len;
        buf_unref(&piece.block);
        pieces++;
    }
    return pieces;
}

/* The types and texts of what was taken, such as "16:one 17:two". */
static const char *shown(void)
{
    static char room[4096];
    struct slice in = slice_of(out, out_len), payload;
    uint8_t type;
    size_t at = 0;
    room[0] = '\0';
    while (in.len != 0 && link_frame_cut(in, &type, &payload) == LINK_CUT_FRAME) {
        struct slice text = payload.len < 20 ? payload : slice_str("...");
        at += (size_t)snprintf(room + at, sizeof room - at, "%s%u:%.*s", at != 0 ? " " : "", type,
                               SLICE_ARG(text));
        in = slice_from(in, LINK_HEAD_BYTES + payload.len);
    }
    out_len = 0;
    return room;
}

/* A frame of so many octets. */
static void hear(size_t octets)
{
    uint8_t in[200] = { 0 }, type;
    struct slice payload;
    link_frame_put_head(in, LINK_TYPE_LEAST, octets - LINK_HEAD_BYTES);
    cr_expect(link_flow_take(&flow, slice_of(in, octets - 1), &type, &payload) == LINK_CUT_MORE);
    cr_expect(link_flow_take(&flow, slice_of(in, octets), &type, &payload) == LINK_CUT_FRAME);
    size_t own = link_frame_own(in, LINK_FRAME_PING, 5);
    cr_expect(link_flow_take(&flow, slice_of(in, own), &type, &payload) == LINK_CUT_FRAME);
}

Test(link_flow, frames_leave_in_order_and_together)
{
    append(LINK_BULKY, 16, "one");
    append(LINK_BULKY, 17, "two");
    append(LINK_BULKY, 18, "");
    cr_expect(eq(sz, link_flow_waiting(&flow), 21));
    cr_expect(eq(sz, take_all(), 1));
    expect_text(shown(), "16:one 17:two 18:");
    cr_expect(eq(sz, link_flow_waiting(&flow), 0));
    cr_expect(eq(sz, link_flow_unacked(&flow), 21));
}

Test(link_flow, urgent_ones_overtake_what_has_not_left)
{
    append(LINK_BULKY, 16, "one");
    append(LINK_BULKY, 17, "two");
    append(LINK_URGENT, 18, "now");
    append(LINK_URGENT, 19, "then");
    take_all();
    expect_text(shown(), "18:now 19:then 16:one 17:two");
}

/* A long body is a piece of its own, held by reference. */
Test(link_flow, urgent_ones_never_part_a_frame)
{
    struct buf *body = buf_new(10000);
    memset(body->data, 'x', 10000);
    body->len_bytes = 10000;
    link_flow_append(&flow, LINK_BULKY, 16, slice_str("h"), body, buf_slice(body));
    append(LINK_BULKY, 17, "b");
    struct link_piece piece;
    cr_assert(link_flow_next(&flow, &piece));
    cr_expect(eq(sz, piece.len, LINK_HEAD_BYTES + 1));
    cr_expect(not(piece.ends));
    memcpy(out, piece.at, out_len = piece.len);
    buf_unref(&piece.block);
    append(LINK_URGENT, 18, "u");
    take_all();
    uint8_t type;
    struct slice payload;
    cr_assert(eq(int, link_frame_cut(slice_of(out, out_len), &type, &payload), LINK_CUT_FRAME));
    cr_expect(eq(sz, payload.len, 10001));
    cr_expect(eq(int, out[LINK_HEAD_BYTES + 10001 + 4], 18));
    cr_expect(not(buf_is_sole(body)));
    cr_assert(link_flow_acked(&flow, LINK_HEAD_BYTES + 10001));
    cr_expect(buf_is_sole(body));
    buf_unref(&body);
}

Test(link_flow, short_bodies_are_copied)
{
    struct buf *body = buf_copy(slice_str("body"));
    link_flow_append(&flow, LINK_BULKY, 16, slice_str("head+"), body, buf_slice(body));
    cr_expect(buf_is_sole(body));
    buf_unref(&body);
    take_all();
    expect_text(shown(), "16:head+body");
}

/* The head goes right before what lies there already: one piece, whatever its length. */
Test(link_flow, a_whole_frame_is_one_piece_of_its_block)
{
    struct buf *block = buf_copy(slice_str("12345678body"));
    link_flow_append_whole(&flow, LINK_BULKY, 16, block, slice_from(buf_slice(block), 8));
    append(LINK_BULKY, 17, "b");
    cr_expect(not(buf_is_sole(block)));
    struct link_piece piece;
    cr_assert(link_flow_next(&flow, &piece));
    cr_expect(eq(ptr, (void *)(uintptr_t)piece.at, block->data + 8 - LINK_HEAD_BYTES));
    cr_expect(eq(sz, piece.len, LINK_HEAD_BYTES + 4));
    cr_expect(piece.ends);
    cr_expect(eq(int, memcmp(block->data, "123", 3), 0));
    memcpy(out, piece.at, out_len = piece.len);
    buf_unref(&piece.block);
    take_all();
    expect_text(shown(), "16:body 17:b");
    cr_assert(link_flow_acked(&flow, LINK_HEAD_BYTES + 4));
    cr_expect(buf_is_sole(block));
    buf_unref(&block);
}

Test(link_flow, what_was_not_heard_goes_again_in_front)
{
    append(LINK_BULKY, 16, "one");
    append(LINK_BULKY, 17, "two");
    take_all();
    append(LINK_BULKY, 18, "three");
    append(LINK_URGENT, 19, "now");
    out_len = 0;
    cr_assert(link_flow_rewind(&flow, 8)); /* behind "one" */
    take_all();
    expect_text(shown(), "17:two 19:now 18:three");
}

Test(link_flow, a_second_break_goes_on_from_where_the_first_one_did)
{
    append(LINK_BULKY, 16, "one");
    append(LINK_BULKY, 17, "two");
    take_all();
    out_len = 0;
    cr_assert(link_flow_rewind(&flow, 8));
    cr_assert(link_flow_rewind(&flow, 8));
    take_all();
    expect_text(shown(), "17:two");
    /* More may have been heard over an earlier connection than has gone over the present one. */
    cr_assert(link_flow_rewind(&flow, 8));
    cr_assert(link_flow_rewind(&flow, 16));
    take_all();
    expect_text(shown(), "");
    cr_expect(eq(sz, link_flow_unacked(&flow), 0));
}

Test(link_flow, every_acknowledgement_within_bounds_is_taken_and_no_other)
{
    for (int i = 0; i < 100; i++)
        append(LINK_BULKY, 16, "12345");
    take_all();
    cr_expect(not(link_flow_acked(&flow, 1001)));
    for (uint64_t at = 0; at <= 1000; at++) {
        cr_expect(link_flow_acked(&flow, at));
        cr_expect(eq(sz, link_flow_unacked(&flow), (size_t)(1000 - at)));
        cr_expect(at == 0 || !link_flow_acked(&flow, at - 1));
    }
    cr_expect(not(link_flow_rewind(&flow, 999)));
    cr_expect(not(link_flow_rewind(&flow, 1001)));
    cr_expect(link_flow_rewind(&flow, 1000));
}

Test(link_flow, what_waits_cannot_be_acknowledged)
{
    append(LINK_BULKY, 16, "one");
    cr_expect(not(link_flow_acked(&flow, 8)));
    cr_expect(not(link_flow_rewind(&flow, 8)));
}

Test(link_flow, without_resuming_nothing_is_kept)
{
    link_flow_fini(&flow);
    link_flow_init(&flow, false);
    append(LINK_BULKY, 16, "one");
    take_all();
    cr_expect(eq(sz, link_flow_unacked(&flow), 0));
    cr_expect(eq(sz, link_flow_waiting(&flow), 0));
    cr_expect(not(link_flow_rewind(&flow, 0)));
    cr_expect(not(link_flow_acked(&flow, 0)));
}

Test(link_flow, cleared_it_begins_at_nothing)
{
    struct buf *body = buf_new(10000);
    body->len_bytes = 10000;
    memset(body->data, 'x', 10000);
    link_flow_append(&flow, LINK_BULKY, 16, slice_str("h"), body, buf_slice(body));
    struct link_piece piece;
    cr_assert(link_flow_next(&flow, &piece));
    buf_unref(&piece.block);
    hear(77);
    link_flow_clear(&flow);
    cr_expect(buf_is_sole(body));
    buf_unref(&body);
    append(LINK_URGENT, 17, "new");
    out_len = 0;
    take_all();
    expect_text(shown(), "17:new");
    cr_expect(eq(u64, link_flow_untold(&flow), 0));
    cr_expect(link_flow_acked(&flow, 8));
}

Test(link_flow, what_was_heard_is_told_once)
{
    hear(100);
    hear(28);
    cr_expect(eq(u64, link_flow_untold(&flow), 128));
    cr_expect(eq(u64, link_flow_tell(&flow), 128));
    cr_expect(eq(u64, link_flow_untold(&flow), 0));
}

/* Blocks end where they end: a hundred thousand frames of all lengths come out as they went in. */
Test(link_flow, frames_of_all_lengths_pass)
{
    static uint8_t body[3000];
    uint64_t acked = 0;
    for (size_t i = 0; i < 3000; i++) {
        for (size_t k = 0; k < sizeof body; k++)
            body[k] = (uint8_t)(i + k);
        link_flow_append(&flow, LINK_BULKY, 16, slice_of(body, i), NULL, slice_of(NULL, 0));
        if (i % 50 != 49)
            continue;
        out_len = 0;
        take_all();
        struct slice in = slice_of(out, out_len), payload;
        for (size_t n = i - 49; n <= i; n++) {
            uint8_t type;
            cr_assert(eq(int, link_frame_cut(in, &type, &payload), LINK_CUT_FRAME));
            cr_assert(eq(sz, payload.len, n));
            cr_assert(n == 0 ||
                      (payload.ptr[0] == (uint8_t)n && payload.ptr[n - 1] == (uint8_t)(n + n - 1)));
            in = slice_from(in, LINK_HEAD_BYTES + n);
        }
        cr_assert(eq(sz, in.len, 0));
        acked += out_len;
        cr_assert(link_flow_acked(&flow, acked));
    }
    cr_expect(eq(sz, link_flow_unacked(&flow), 0));
}
