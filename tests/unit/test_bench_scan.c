#include "bench_scan.h"

#include "expect.h"

#define CHANNEL   1u
#define FRAME_MAX 4096u

static uint8_t room[65536];
static struct wire_out w;
static struct bench_scan scan;

static void begin(void)
{
    w = wire_out_over(room, sizeof room);
    bench_scan_init(&scan, FRAME_MAX, NULL);
}

TestSuite(bench_scan, .init = begin);

static void put_deliver(uint64_t tag, bool redelivered)
{
    struct amqp_basic_deliver d = { .consumer_tag = slice_str("tag"),
                                    .delivery_tag = tag,
                                    .redelivered = redelivered,
                                    .exchange = slice_str("exchange"),
                                    .routing_key = slice_str("key") };
    amqp_frame_put_deliver(&w, CHANNEL, &d);
}

static void put_header(uint64_t size)
{
    amqp_frame_put_header(&w, CHANNEL, size, slice_of("\0\0", 2));
}

/* A body of ours in pieces of `piece` octets. */
static void put_body(size_t size, size_t piece)
{
    uint8_t body[8192];
    struct buf *filler = bench_filler_new();
    memcpy(body, bench_filler_range(filler, 0, size).ptr, size);
    bench_body_write(body, size,
                     &(struct bench_body){ .run = 7, .flow = 3, .sequence = 42, .time_us = 1000 });
    for (size_t at = 0; at < size; at += piece)
        amqp_frame_put_body(&w, CHANNEL,
                            slice_of(body + at, size - at < piece ? size - at : piece));
    buf_unref(&filler);
}

static void put_message(uint64_t tag, size_t size, size_t piece)
{
    put_deliver(tag, tag % 2 == 0);
    put_header(size);
    put_body(size, piece);
}

static enum bench_scan_verdict next(struct slice *in)
{
    return bench_scan_next(&scan, in);
}

/* However the octets come, the same messages are seen, and nothing before its last octet. */
Test(bench_scan, sees_the_same_at_every_cut)
{
    put_message(1, 16, 16);
    put_message(2, 100, 30);
    amqp_frame_put_heartbeat(&w);
    put_message(3, 5000, 4000);
    size_t all = wire_out_len(&w);
    for (size_t cut = 0; cut <= all; cut++) {
        bench_scan_init(&scan, FRAME_MAX, NULL);
        struct slice in = slice_of(room, cut);
        unsigned messages = 0, others = 0;
        for (int round = 0; round < 2; round++) {
            enum bench_scan_verdict v;
            while ((v = next(&in)) != BENCH_SCAN_MORE) {
                cr_assert(ne(int, (int)v, BENCH_SCAN_BAD), "cut at %zu", cut);
                others += v == BENCH_SCAN_METHOD;
                if (v != BENCH_SCAN_MESSAGE)
                    continue;
                struct bench_body b;
                messages++;
                cr_assert(eq(u64, scan.tag, messages));
                cr_assert(eq(int, scan.redelivered, messages % 2 == 0));
                cr_assert(bench_body_read(scan.head, (size_t)scan.body_size, &b));
                cr_assert(eq(u64, b.sequence, 42));
            }
            in = slice_of(room + (cut - in.len), all - (cut - in.len));
        }
        cr_assert(eq(u32, messages, 3), "cut at %zu", cut);
        cr_assert(eq(u32, others, 1));
    }
}

Test(bench_scan, hands_out_other_methods)
{
    struct amqp_method m = { .id = AMQP_BASIC_CONSUME_OK };
    m.basic_consume_ok.consumer_tag = slice_str("tag");
    amqp_frame_put_method(&w, CHANNEL, &m);
    struct slice in = wire_out_slice(&w);
    cr_assert(eq(int, (int)next(&in), BENCH_SCAN_METHOD));
    cr_expect(eq(u32, amqp_method_peek(scan.frame.payload), AMQP_BASIC_CONSUME_OK));
    cr_expect(eq(int, (int)next(&in), BENCH_SCAN_MORE));
}

Test(bench_scan, knows_returned_messages)
{
    struct amqp_method m = { .id = AMQP_BASIC_RETURN };
    m.basic_return.reply_code = AMQP_NO_ROUTE;
    amqp_frame_put_method(&w, CHANNEL, &m);
    put_header(16);
    put_body(16, 16);
    put_message(9, 16, 16);
    struct slice in = wire_out_slice(&w);
    cr_assert(eq(int, (int)next(&in), BENCH_SCAN_MESSAGE));
    cr_expect(scan.returned);
    cr_assert(eq(int, (int)next(&in), BENCH_SCAN_MESSAGE));
    cr_expect_not(scan.returned);
}

/* A body without octets has no body frame. */
Test(bench_scan, takes_an_empty_body)
{
    put_deliver(1, false);
    put_header(0);
    struct slice in = wire_out_slice(&w);
    cr_assert(eq(int, (int)next(&in), BENCH_SCAN_MESSAGE));
    cr_expect(eq(u64, scan.body_size, 0));
}

Test(bench_scan, compares_bodies_when_asked_to)
{
    struct buf *filler = bench_filler_new();
    bench_scan_init(&scan, FRAME_MAX, filler);
    put_message(1, 1000, 300);
    size_t good = wire_out_len(&w);
    put_message(2, 1000, 300);
    put_message(3, 17, 17);
    put_message(4, 17, 5);
    room[good + 500] ^= 1;
    struct slice in = wire_out_slice(&w);
    const bool corrupt[] = { false, true, false, false };
    for (unsigned i = 0; i < ARRAY_COUNT(corrupt); i++) {
        cr_assert(eq(int, (int)next(&in), BENCH_SCAN_MESSAGE));
        cr_expect(eq(int, scan.corrupt, corrupt[i]), "message %u", i);
    }
    buf_unref(&filler);
}

static void expect_bad(const char *what)
{
    struct slice in = wire_out_slice(&w);
    enum bench_scan_verdict v;
    while ((v = next(&in)) == BENCH_SCAN_MESSAGE || v == BENCH_SCAN_METHOD)
        ;
    cr_expect(eq(int, (int)v, BENCH_SCAN_BAD), "%s", what);
    begin();
}

Test(bench_scan, refuses_frames_out_of_place)
{
    put_header(16);
    expect_bad("a header without a method");
    put_body(16, 16);
    expect_bad("a body without a header");
    put_deliver(1, false);
    put_deliver(2, false);
    expect_bad("a method in place of a header");
    put_deliver(1, false);
    put_header(10);
    put_body(16, 16);
    expect_bad("more body than announced");
    put_deliver(1, false);
    amqp_frame_put_header(&w, CHANNEL + 1, 16, slice_of("\0\0", 2));
    expect_bad("another channel's header");
    put_message(1, 16, 16);
    room[wire_out_len(&w) - 1] = 0;
    expect_bad("no end octet");
}
