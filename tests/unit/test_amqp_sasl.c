#include "amqp/amqp_sasl.h"
#include "amqp_kit.h"

Test(amqp_sasl, reads_plain)
{
    struct amqp_credentials c;
    cr_assert(amqp_sasl_plain_read(slice_of("\0guest\0secret", 13), &c));
    expect_slice(c.user, "guest");
    expect_slice(c.password, "secret");

    cr_assert(amqp_sasl_plain_read(slice_of("\0\0", 2), &c));
    expect_slice(c.user, "");
    expect_slice(c.password, "");
    cr_assert(amqp_sasl_plain_read(slice_of("\0u\0", 3), &c));
    expect_slice(c.password, "");
}

Test(amqp_sasl, refuses_other_forms_of_plain)
{
    struct {
        const char *octets;
        size_t len;
    } bad[] = { { "", 0 },         { "\0", 1 },          { "\0guest", 6 },
                { "guest\0x", 7 }, { "a\0guest\0x", 9 }, { "\0guest\0x\0", 9 },
                { "\0u\0p\0q", 6 } };
    struct amqp_credentials c;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct slice in = kit_exact(slice_of(bad[i].octets, bad[i].len));
        cr_expect(not(amqp_sasl_plain_read(in, &c)), "row %zu", i);
        kit_free(in);
    }
}

Test(amqp_sasl, reads_what_it_writes)
{
    const struct amqp_credentials in = { slice_str("me"), slice_str("p\xC3\xA4ss") };
    uint8_t room[64];
    struct amqp_credentials out;
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_sasl_plain_write(&w, &in);
    cr_assert(amqp_sasl_read(slice_str("PLAIN"), wire_out_slice(&w), &out));
    cr_expect(slice_eq(out.user, in.user) && slice_eq(out.password, in.password));

    w = wire_out_over(room, sizeof room);
    amqp_sasl_amqplain_write(&w, &in);
    cr_assert(amqp_sasl_read(slice_str("AMQPLAIN"), wire_out_slice(&w), &out));
    cr_expect(slice_eq(out.user, in.user) && slice_eq(out.password, in.password));

    cr_expect(not(amqp_sasl_read(slice_str("EXTERNAL"), wire_out_slice(&w), &out)));
}

Test(amqp_sasl, wants_both_fields_of_amqplain_as_strings)
{
    uint8_t room[64];
    struct amqp_credentials c;
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_table_put_text(&w, "LOGIN", "me");
    cr_expect(not(amqp_sasl_amqplain_read(wire_out_slice(&w), &c)));
    amqp_table_put_i32(&w, "PASSWORD", 1);
    cr_expect(not(amqp_sasl_amqplain_read(wire_out_slice(&w), &c)));
    cr_expect(not(amqp_sasl_amqplain_read(kit_hex("054c4f47494e53ffffffff"), &c)));
}
