#include "amqp_kit.h"

static uint8_t room[1024];

static struct slice encoded(const struct amqp_props *p)
{
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_props_encode(&w, p);
    cr_assert(not(w.overflow));
    return wire_out_slice(&w);
}

static struct amqp_props all(void)
{
    return (struct amqp_props){
        .flags = AMQP_PROP_ALL,
        .content_type = slice_str("text/plain"),
        .content_encoding = slice_str("utf-8"),
        .headers = kit_table(),
        .delivery_mode = AMQP_DELIVERY_PERSISTENT,
        .priority = 9,
        .correlation_id = slice_str("c"),
        .reply_to = slice_str("amq.rabbitmq.reply-to"),
        .expiration = slice_str("60000"),
        .message_id = slice_str("m"),
        .timestamp = 1700000000,
        .type = slice_str("t"),
        .user_id = slice_str("guest"),
        .app_id = slice_str("a"),
        .cluster_id = slice_str(""),
    };
}

#define SAME_u8(a, b)       ((a) == (b))
#define SAME_u64(a, b)      ((a) == (b))
#define SAME_shortstr(a, b) slice_eq(a, b)
#define SAME_table(a, b)    slice_eq(a, b)
#define EXPECT_SAME(kind, name, bit)                                                               \
    if (!SAME_##kind(got.name, want.name))                                                         \
        cr_fail("%s differs", #name);

/* With each set of properties: what is there comes back, what is not is zero. */
Test(amqp_props, come_back_as_they_were_sent)
{
    struct rng chance;
    rng_init(&chance, 1);
    const struct amqp_props full = all(), none = { 0 };
    for (int i = 0; i < 2000; i++) {
        struct amqp_props p = full, got;
        p.flags = (uint16_t)(rng_u64(&chance) & AMQP_PROP_ALL);
        struct amqp_props want = none;
        want.flags = p.flags;
#define F(kind, name, bit)                                                                         \
    if (amqp_props_has(&p, AMQP_PROP_##name))                                                      \
        want.name = p.name;
        AMQP_PROPERTIES(F)
#undef F
        struct slice wire = kit_exact(encoded(&p));
        cr_assert(amqp_props_decode(wire, &got));
        cr_expect(eq(int, got.flags, want.flags));
        AMQP_PROPERTIES(EXPECT_SAME)
        cr_expect(slice_eq(encoded(&got), wire));
        kit_free(wire);
    }
}

Test(amqp_props, are_refused_unless_whole)
{
    struct amqp_props p = all(), got;
    struct amqp_props_brief brief;
    struct slice wire = encoded(&p);
    for (size_t n = 0; n < wire.len; n++) {
        struct slice part = kit_exact(slice_head(wire, n));
        cr_expect(not(amqp_props_decode(part, &got)), "%zu octets", n);
        cr_expect(not(amqp_props_peek(part, &brief)), "%zu octets", n);
        kit_free(part);
    }
    room[wire.len] = 0;
    cr_expect(not(amqp_props_decode(slice_of(wire.ptr, wire.len + 1), &got)));
    cr_expect(not(amqp_props_peek(slice_of(wire.ptr, wire.len + 1), &brief)));
}

Test(amqp_props, are_what_rabbitmq_writes)
{
    struct amqp_props p = { .flags = AMQP_PROP_content_type | AMQP_PROP_delivery_mode |
                                     AMQP_PROP_timestamp,
                            .content_type = slice_str("a/b"),
                            .delivery_mode = 2,
                            .timestamp = 258 };
    cr_expect(slice_eq(encoded(&p), kit_hex("9040 03612f62 02 0000000000000102")));
    cr_expect(slice_eq(AMQP_PROPS_NONE, kit_hex("0000")));
}

/* From the highest bit down, in the order of the specification; two are left over. */
Test(amqp_props, are_announced_in_the_order_they_travel)
{
    const unsigned bits[] = {
#define F(kind, name, bit) AMQP_PROP_##name,
        AMQP_PROPERTIES(F)
#undef F
    };
    cr_assert(eq(sz, ARRAY_COUNT(bits), 14u));
    for (size_t i = 0; i < ARRAY_COUNT(bits); i++)
        cr_expect(eq(u32, bits[i], 0x8000u >> i));
}

/* RabbitMQ reads no second flags word, and does not mind the bit that would announce it. */
Test(amqp_props, ignore_the_two_lowest_flags)
{
    struct amqp_props p;
    struct amqp_props_brief brief;
    cr_expect(amqp_props_decode(kit_hex("0003"), &p));
    cr_expect(eq(int, p.flags, 0));
    cr_expect(amqp_props_peek(kit_hex("0001"), &brief));
    cr_expect(amqp_props_peek(kit_hex("1001 02"), &brief));
    cr_expect(not(amqp_props_decode(kit_hex("0001 0000"), &p)));
}

Test(amqp_props, refuse_broken_headers)
{
    struct amqp_props p;
    struct amqp_props_brief brief;
    const char *bad[] = { "2000 00000003 01617a", "2000 ffffffff", "2000 00000001 01" };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_expect(not(amqp_props_decode(kit_hex(bad[i]), &p)), "%s", bad[i]);
        cr_expect(not(amqp_props_peek(kit_hex(bad[i]), &brief)), "%s", bad[i]);
    }
    cr_expect(amqp_props_decode(kit_hex("2000 00000000"), &p));
}

Test(amqp_props, peek_sees_what_decode_sees)
{
    struct rng chance;
    rng_init(&chance, 2);
    for (int i = 0; i < 2000; i++) {
        struct amqp_props p = all();
        p.flags = (uint16_t)(rng_u64(&chance) & rng_u64(&chance) & AMQP_PROP_ALL);
        struct slice wire = kit_exact(encoded(&p));
        struct amqp_props_brief brief;
        cr_assert(amqp_props_decode(wire, &p));
        cr_assert(amqp_props_peek(wire, &brief));
        cr_expect(eq(int, brief.flags, p.flags));
        cr_expect(eq(int, brief.delivery_mode, p.delivery_mode));
        cr_expect(eq(int, brief.priority, p.priority));
        cr_expect(slice_eq(brief.headers, p.headers));
        cr_expect(slice_eq(brief.expiration, p.expiration));
        cr_expect(slice_eq(brief.user_id, p.user_id));
        kit_free(wire);
    }
}

Test(amqp_props, peek_takes_the_short_ways)
{
    struct amqp_props_brief brief;
    cr_assert(amqp_props_peek(kit_hex("0000"), &brief));
    cr_expect(eq(int, brief.flags, 0));
    cr_expect(eq(int, brief.delivery_mode, 0));
    cr_assert(amqp_props_peek(kit_hex("1000 02"), &brief));
    cr_expect(eq(int, brief.flags, AMQP_PROP_delivery_mode));
    cr_expect(eq(int, brief.delivery_mode, 2));
    cr_assert(amqp_props_peek(kit_hex("0800 05"), &brief));
    cr_expect(eq(int, brief.priority, 5));
}

Test(amqp_props, overflow_on_a_long_short_string)
{
    static uint8_t name[256];
    struct amqp_props p = { .flags = AMQP_PROP_message_id, .message_id = slice_of(name, 256) };
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_props_encode(&w, &p);
    cr_expect(w.overflow);
}

Test(amqp_header, is_class_weight_size_and_properties)
{
    struct slice wire = kit_hex("003c 0000 0102030405060708 1000 02");
    struct amqp_header h;
    cr_assert(amqp_header_decode(wire, &h));
    cr_expect(eq(int, h.class_id, AMQP_CLASS_BASIC));
    cr_expect(eq(int, h.weight, 0));
    cr_expect(eq(u64, h.body_size, 0x0102030405060708u));
    cr_expect(slice_eq(h.props, kit_hex("1000 02")));
    for (size_t n = 0; n < 14; n++) {
        struct slice part = kit_exact(slice_head(wire, n));
        cr_expect(not(amqp_header_decode(part, &h)), "%zu octets", n);
        kit_free(part);
    }
    cr_expect(amqp_header_decode(slice_head(wire, 14), &h));
}
