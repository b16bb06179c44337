#include "base/wire.h"

#include "expect.h"

/* One of everything, as a message would have it. */
struct all {
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;
    struct slice shortstr, longstr, bytes;
};

static void read_all(struct wire *w, struct all *out)
{
    out->a = wire_u8(w);
    out->b = wire_u16(w);
    out->c = wire_u32(w);
    out->d = wire_u64(w);
    out->shortstr = wire_shortstr(w);
    out->longstr = wire_longstr(w);
    out->bytes = wire_take(w, 2);
}

static void write_all(struct wire_out *w)
{
    wire_put_u8(w, 0x01);
    wire_put_u16(w, 0x0203);
    wire_put_u32(w, 0x04050607);
    wire_put_u64(w, 0x08090A0B0C0D0E0F);
    wire_put_shortstr(w, slice_str("hi"));
    wire_put_longstr(w, slice_str("abc"));
    wire_put_bytes(w, slice_str("xy"));
}

static const uint8_t octets[] = { 1,  2, 3,   4,   5, 6, 7, 8, 9,   10,  11,  12,  13, 14,
                                  15, 2, 'h', 'i', 0, 0, 0, 3, 'a', 'b', 'c', 'x', 'y' };

Test(wire, reads_in_network_order)
{
    struct wire w = wire_over(slice_of(octets, sizeof octets));
    struct all all;
    read_all(&w, &all);
    cr_expect(not(w.ran_out));
    cr_expect(eq(sz, wire_left(&w), 0));
    cr_expect(eq(u8, all.a, 1));
    cr_expect(eq(u16, all.b, 0x0203));
    cr_expect(eq(u32, all.c, 0x04050607));
    cr_expect(eq(u64, all.d, 0x08090A0B0C0D0E0F));
    cr_expect(slice_is(all.shortstr, "hi"));
    cr_expect(slice_is(all.longstr, "abc"));
    cr_expect(slice_is(all.bytes, "xy"));
}

/* Every prefix runs out, stays out, and yields nothing that is not there. */
Test(wire, runs_out_on_every_prefix)
{
    for (size_t n = 0; n < sizeof octets; n++) {
        struct wire w = wire_over(slice_of(octets, n));
        struct all all;
        read_all(&w, &all);
        cr_expect(w.ran_out, "with %zu octets", n);
        cr_expect(eq(sz, wire_left(&w), 0));
        cr_expect(eq(u8, wire_u8(&w), 0));
        cr_expect(eq(u64, wire_u64(&w), 0));
        cr_expect(eq(sz, all.bytes.len, 0));
        cr_expect(eq(sz, wire_rest(&w).len, 0));
        cr_expect(w.ran_out);
    }
}

Test(wire, reads_nothing_from_nothing)
{
    struct wire w = wire_over((struct slice){ NULL, 0 });
    cr_expect(eq(sz, wire_take(&w, 0).len, 0));
    cr_expect(eq(sz, wire_rest(&w).len, 0));
    cr_expect(not(w.ran_out));
    cr_expect(eq(u8, wire_u8(&w), 0));
    cr_expect(w.ran_out);
}

/* A length that lies is refused whole; nothing is subtracted that could wrap. */
Test(wire, refuses_a_lying_length)
{
    const uint8_t lies[] = { 0xFF, 0xFF, 0xFF, 0xFF, 'a' };
    struct wire w = wire_over(slice_of(lies, sizeof lies));
    cr_expect(eq(sz, wire_longstr(&w).len, 0));
    cr_expect(w.ran_out);
    w = wire_over(slice_of(lies, sizeof lies));
    cr_expect(eq(sz, wire_take(&w, SIZE_MAX).len, 0));
    cr_expect(w.ran_out);
    w = wire_over(slice_of(lies + 3, 2));
    cr_expect(eq(sz, wire_shortstr(&w).len, 0));
    cr_expect(w.ran_out);
}

Test(wire, lends_the_rest)
{
    struct wire w = wire_over(slice_of(octets, 4));
    wire_u8(&w);
    struct slice rest = wire_rest(&w);
    cr_expect(rest.ptr == octets + 1);
    cr_expect(eq(sz, rest.len, 3));
    cr_expect(not(w.ran_out));
}

Test(wire, writes_in_network_order)
{
    uint8_t room[sizeof octets];
    struct wire_out w = wire_out_over(room, sizeof room);
    write_all(&w);
    cr_expect(not(w.overflow));
    cr_expect(slice_eq(wire_out_slice(&w), slice_of(octets, sizeof octets)));
}

/* In every room that is too small: it says so, writes no octet past it, and nothing after it. */
Test(wire, overflows_in_every_smaller_room)
{
    for (size_t n = 0; n < sizeof octets; n++) {
        uint8_t room[sizeof octets + 1];
        memset(room, 0xEE, sizeof room);
        struct wire_out w = wire_out_over(room, n);
        write_all(&w);
        cr_expect(w.overflow, "with room for %zu", n);
        size_t len = wire_out_len(&w);
        cr_expect(len <= n && memcmp(room, octets, len) == 0);
        cr_expect(eq(u8, room[n], 0xEE));
        wire_put_u8(&w, 1);
        cr_expect(eq(sz, wire_out_len(&w), len)); /* stays full */
    }
}

Test(wire, holds_short_strings_to_255)
{
    uint8_t room[600], text[256];
    memset(text, 'x', sizeof text);
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_shortstr(&w, slice_of(text, 255));
    cr_expect(not(w.overflow));
    cr_expect(eq(sz, wire_out_len(&w), 256));
    wire_put_shortstr(&w, slice_of(text, 256));
    cr_expect(w.overflow);
    wire_put_u8(&w, 1);
    cr_expect(eq(sz, wire_out_len(&w), 256));
}

Test(wire, fills_a_length_later)
{
    uint8_t room[16];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u8(&w, 9);
    size_t outer = wire_put_hole_u32(&w);
    size_t inner = wire_put_hole_u32(&w);
    wire_put_bytes(&w, slice_str("abc"));
    wire_fill_u32(&w, inner);
    wire_fill_u32(&w, outer);
    const uint8_t want[] = { 9, 0, 0, 0, 7, 0, 0, 0, 3, 'a', 'b', 'c' };
    cr_expect(slice_eq(wire_out_slice(&w), slice_of(want, sizeof want)));
    wire_put_u64(&w, 0); /* does not fit */
    wire_fill_u32(&w, inner);
    cr_expect(eq(u8, room[8], 3)); /* what overflowed is not touched */
}
