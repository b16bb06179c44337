#include "amqp_kit.h"

static const uint8_t good[] = { 1, 0, 7, 0, 0, 0, 2, 0xAA, 0xBB, 0xCE };

/* Every prefix of a good frame asks for more; only the whole is a frame. */
Test(amqp_frame, waits_for_the_end_octet)
{
    struct amqp_frame f;
    for (size_t n = 0; n < sizeof good; n++) {
        struct slice in = kit_exact(slice_of(good, n));
        cr_expect(eq(int, amqp_frame_cut(in, KIT_FRAME_MAX, &f), AMQP_CUT_MORE), "with %zu octets",
                  n);
        kit_free(in);
    }

    cr_assert(
        eq(int, amqp_frame_cut(slice_of(good, sizeof good), KIT_FRAME_MAX, &f), AMQP_CUT_FRAME));
    cr_expect(eq(int, f.type, AMQP_FRAME_METHOD));
    cr_expect(eq(int, f.channel, 7));
    cr_expect(slice_eq(f.payload, slice_of("\xAA\xBB", 2)));
    cr_expect(eq(sz, amqp_frame_len(&f), sizeof good));
}

Test(amqp_frame, leaves_what_follows_alone)
{
    uint8_t two[2 * sizeof good];
    memcpy(two, good, sizeof good);
    memcpy(two + sizeof good, good, sizeof good);
    struct amqp_frame f;
    cr_assert(
        eq(int, amqp_frame_cut(slice_of(two, sizeof two), KIT_FRAME_MAX, &f), AMQP_CUT_FRAME));
    cr_expect(eq(sz, amqp_frame_len(&f), sizeof good));
}

Test(amqp_frame, knows_four_types)
{
    for (unsigned type = 0; type < 256; type++) {
        uint8_t in[] = { (uint8_t)type, 0, 0, 0, 0, 0, 0, 0xCE };
        struct amqp_frame f;
        bool known = type == 1 || type == 2 || type == 3 || type == 8;
        cr_expect(eq(int, amqp_frame_cut(slice_of(in, sizeof in), KIT_FRAME_MAX, &f),
                     known ? AMQP_CUT_FRAME : AMQP_CUT_BAD),
                  "type %u", type);
    }
}

Test(amqp_frame, refuses_another_end_octet)
{
    uint8_t in[sizeof good];
    memcpy(in, good, sizeof good);
    in[sizeof good - 1] = 0xCF;
    struct amqp_frame f;
    cr_expect(eq(int, amqp_frame_cut(slice_of(in, sizeof in), KIT_FRAME_MAX, &f), AMQP_CUT_BAD));

    char room[256];
    struct text why = text_over(room, sizeof room);
    amqp_frame_why(slice_of(in, sizeof in), KIT_FRAME_MAX, &why);
    expect_text(room, "type 1, all octets = <<170,187>>: {invalid_frame_end_marker,207}");
}

/* The head is judged before the rest is waited for; clients that count the payload alone against
 * frame-max are let through. */
Test(amqp_frame, judges_the_length_at_once)
{
    struct {
        uint32_t size;
        enum amqp_cut verdict;
    } rows[] = {
        { 0, AMQP_CUT_MORE },         { 4096 - AMQP_FRAME_OVERHEAD, AMQP_CUT_MORE },
        { 4096, AMQP_CUT_MORE },      { 4097, AMQP_CUT_BAD },
        { UINT32_MAX, AMQP_CUT_BAD }, { UINT32_MAX - AMQP_FRAME_OVERHEAD, AMQP_CUT_BAD },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint8_t room[AMQP_FRAME_HEAD];
        struct wire_out w = wire_out_over(room, sizeof room);
        wire_put_u8(&w, AMQP_FRAME_BODY);
        wire_put_u16(&w, 1);
        wire_put_u32(&w, rows[i].size);
        struct amqp_frame f;
        cr_expect(eq(int, amqp_frame_cut(slice_of(room, sizeof room), 4096, &f), rows[i].verdict),
                  "size %u", (unsigned)rows[i].size);
    }
}

Test(amqp_frame, says_why_as_rabbitmq_does)
{
    char room[256];
    struct text why = text_over(room, sizeof room);
    amqp_frame_why(kit_hex("02 0001 00030d40 000102030405060708090a0b0c0d0e0f10"), 131072, &why);
    expect_text(room, "type 2, all octets = <<>>: {frame_too_large,200000,131064}");
    text_clear(&why);
    amqp_frame_why(kit_hex("47455420 2f2048 5454"), 131072, &why);
    expect_text(room, "type 71, all octets = <<\"TT\">>: unknown_frame");
}

Test(amqp_frame, carries_the_largest_payload)
{
    static uint8_t room[KIT_FRAME_MAX];
    static uint8_t body[KIT_FRAME_MAX - AMQP_FRAME_OVERHEAD];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_frame_put_body(&w, UINT16_MAX, slice_of(body, sizeof body));
    cr_assert(not(w.overflow));

    struct amqp_frame f;
    cr_assert(eq(int, amqp_frame_cut(wire_out_slice(&w), KIT_FRAME_MAX, &f), AMQP_CUT_FRAME));
    cr_expect(eq(int, f.channel, UINT16_MAX));
    cr_expect(slice_eq(f.payload, slice_of(body, sizeof body)));
}

Test(amqp_frame, overflows_rather_than_writing_too_far)
{
    uint8_t room[64];
    for (size_t n = 0; n < 12; n++) {
        struct slice exact = kit_exact(slice_of(room, n));
        struct wire_out w = wire_out_over((void *)(uintptr_t)exact.ptr, exact.len);
        amqp_frame_put_body(&w, 1, slice_of("abcd", 4));
        cr_expect(eq(int, w.overflow, n < 12), "room for %zu", n);
        kit_free(exact);
    }
}

Test(amqp_frame, writes_heartbeats_as_the_specification_has_them)
{
    uint8_t room[8];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_frame_put_heartbeat(&w);
    cr_expect(slice_eq(wire_out_slice(&w), kit_hex("08 0000 00000000 ce")));
}

Test(amqp_frame, writes_headers)
{
    uint8_t room[64];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_frame_put_header(&w, 3, 0x0102030405060708, kit_hex("1000 02"));
    cr_expect(slice_eq(wire_out_slice(&w),
                       kit_hex("02 0003 0000000f 003c 0000 0102030405060708 1000 02 ce")));
}

Test(amqp_frame, writes_a_delivery_like_any_method)
{
    struct amqp_method m = { .id = AMQP_BASIC_DELIVER,
                             .basic_deliver = { slice_str("tag"), 7, true, slice_str("x"),
                                                slice_str("key") } };
    uint8_t one[128], other[128];
    struct wire_out a = wire_out_over(one, sizeof one), b = wire_out_over(other, sizeof other);
    amqp_frame_put_method(&a, 9, &m);
    amqp_frame_put_deliver(&b, 9, &m.basic_deliver);
    cr_expect(slice_eq(wire_out_slice(&a), wire_out_slice(&b)));
}

Test(amqp_frame, lets_a_relay_see_the_head_first)
{
    struct amqp_frame_head head;
    for (size_t n = 0; n < AMQP_FRAME_HEAD; n++)
        cr_expect(eq(int, amqp_frame_peek(slice_of(good, n), KIT_FRAME_MAX, &head), AMQP_CUT_MORE));
    cr_assert(eq(int, amqp_frame_peek(slice_of(good, AMQP_FRAME_HEAD), KIT_FRAME_MAX, &head),
                 AMQP_CUT_FRAME));
    cr_expect(eq(int, head.type, AMQP_FRAME_METHOD));
    cr_expect(eq(int, head.channel, 7));
    cr_expect(eq(int, (int)head.size, 2));
}

Test(amqp_frame, accepts_its_protocol_header_and_its_prefixes)
{
    const char *forms[] = { "414d5150 00000901", "414d5150 01010009" };
    for (size_t i = 0; i < ARRAY_COUNT(forms); i++) {
        struct slice form = kit_hex(forms[i]);
        for (size_t n = 0; n < form.len; n++)
            cr_expect(eq(int, amqp_protocol_header_cut(slice_head(form, n)), AMQP_CUT_MORE));
        cr_expect(eq(int, amqp_protocol_header_cut(form), AMQP_CUT_FRAME));
    }
    uint8_t room[9];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_protocol_header_put(&w);
    cr_expect(slice_eq(wire_out_slice(&w), kit_hex(forms[0])));
}

Test(amqp_frame, refuses_other_protocols_as_soon_as_it_can)
{
    const char *others[] = {
        "47",                /* GET */
        "160301",            /* TLS */
        "414d5150 0001",     /* AMQP 1.0 */
        "414d5150 03010000", /* AMQP 1.0 with SASL */
        "414d5150 01010800", /* AMQP 0-8 */
        "414d5150 00000900",
    };
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        cr_expect(eq(int, amqp_protocol_header_cut(kit_hex(others[i])), AMQP_CUT_BAD), "%s",
                  others[i]);
}
