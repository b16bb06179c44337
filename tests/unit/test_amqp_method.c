#include "amqp_kit.h"

static uint8_t room[4096];

static struct slice encoded(const struct amqp_method *m)
{
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_method_encode(&w, m);
    cr_assert(not(w.overflow));
    return wire_out_slice(&w);
}

Test(amqp_method, comes_back_as_it_was_sent)
{
    struct rng chance;
    rng_init(&chance, 1);
    for (size_t i = 0; i < kit_methods_count; i++) {
        for (int again = 0; again < 50; again++) {
            struct amqp_method m = kit_method(kit_methods[i], &chance);
            struct slice wire = kit_exact(encoded(&m));
            struct amqp_method back;
            cr_assert(eq(int, amqp_method_decode(wire, &back), AMQP_DECODE_OK), "%s",
                      amqp_method_name(m.id));
            cr_expect(kit_method_eq(&m, &back), "%s", amqp_method_name(m.id));
            cr_expect(slice_eq(encoded(&back), wire), "%s", amqp_method_name(m.id));
            kit_free(wire);
        }
    }
}

/* A part of a method is never a method, nor is one with something behind it. */
Test(amqp_method, is_refused_unless_it_is_whole)
{
    struct rng chance;
    rng_init(&chance, 2);
    for (size_t i = 0; i < kit_methods_count; i++) {
        struct amqp_method m = kit_method(kit_methods[i], &chance), back;
        struct slice wire = encoded(&m);
        for (size_t n = 0; n < wire.len; n++) {
            struct slice part = kit_exact(slice_head(wire, n));
            cr_expect(eq(int, amqp_method_decode(part, &back), AMQP_DECODE_BAD), "%s to %zu",
                      amqp_method_name(m.id), n);
            kit_free(part);
        }
        room[wire.len] = 0;
        cr_expect(
            eq(int, amqp_method_decode(slice_of(wire.ptr, wire.len + 1), &back), AMQP_DECODE_BAD),
            "%s and one octet", amqp_method_name(m.id));
    }
}

Test(amqp_method, does_not_write_further_than_the_room)
{
    struct rng chance;
    rng_init(&chance, 3);
    for (size_t i = 0; i < kit_methods_count; i++) {
        struct amqp_method m = kit_method(kit_methods[i], &chance);
        size_t len = encoded(&m).len;
        for (size_t n = 0; n <= len; n++) {
            struct slice exact = kit_exact(slice_of(room, n));
            struct wire_out w = wire_out_over((void *)(uintptr_t)exact.ptr, n);
            amqp_method_encode(&w, &m);
            cr_expect(eq(int, w.overflow, n < len), "%s in %zu", amqp_method_name(m.id), n);
            kit_free(exact);
        }
    }
}

/* What RabbitMQ's own codec makes of the same values. */
Test(amqp_method, looks_on_the_wire_as_rabbitmq_writes_it)
{
    struct {
        struct amqp_method m;
        const char *hex;
    } rows[] = {
        { { .id = AMQP_BASIC_PUBLISH,
            .basic_publish = { 0, slice_str("ex"), slice_str("key"), true, false } },
          "003c0028 0000 026578 036b6579 01" },
        { { .id = AMQP_BASIC_NACK, .basic_nack = { 258, false, true } },
          "003c0078 0000000000000102 02" },
        { { .id = AMQP_BASIC_DELIVER,
            .basic_deliver = { slice_str("t"), 1, true, slice_str(""), slice_str("q") } },
          "003c003c 0174 0000000000000001 01 00 0171" },
        { { .id = AMQP_QUEUE_DECLARE,
            .queue_declare = { .queue = slice_str("q"), .durable = true, .nowait = true } },
          "0032000a 0000 0171 12 00000000" },
        { { .id = AMQP_ACCESS_REQUEST,
            .access_request = { slice_str("/data"), false, true, true, true, true } },
          "001e000a 052f64617461 1e" },
        { { .id = AMQP_CONNECTION_TUNE, .connection_tune = { 2047, 131072, 60 } },
          "000a001e 07ff 00020000 003c" },
        { { .id = AMQP_CONNECTION_SECURE, .connection_secure = { slice_of("\0\xFF", 2) } },
          "000a0014 00000002 00ff" },
        { { .id = AMQP_TX_COMMIT_OK }, "005a0015" },
        { { .id = AMQP_EXCHANGE_UNBIND_OK }, "00280033" },
        { { .id = AMQP_BASIC_CREDIT, .basic_credit = { slice_str("c"), 5, true } },
          "003c00c8 0163 00000005 01" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        cr_expect(slice_eq(encoded(&rows[i].m), kit_hex(rows[i].hex)), "%s",
                  amqp_method_name(rows[i].m.id));
}

Test(amqp_method, ignores_spare_bits)
{
    struct amqp_method m;
    cr_assert(
        eq(int, amqp_method_decode(kit_hex("003c0050 0000000000000001 fe"), &m), AMQP_DECODE_OK));
    cr_expect(not(m.basic_ack.multiple));
    cr_assert(
        eq(int, amqp_method_decode(kit_hex("003c0050 0000000000000001 ff"), &m), AMQP_DECODE_OK));
    cr_expect(m.basic_ack.multiple);
}

Test(amqp_method, knows_what_it_does_not_know)
{
    const char *unknown[] = { "003c0029", "00000000", "ffffffff", "0000003c", "003c0028ff" };
    struct amqp_method m;
    for (size_t i = 0; i < 4; i++)
        cr_expect(eq(int, amqp_method_decode(kit_hex(unknown[i]), &m), AMQP_DECODE_UNKNOWN));
    cr_expect(eq(int, amqp_method_decode(kit_hex(unknown[4]), &m), AMQP_DECODE_BAD));
    cr_expect(not(amqp_method_is_known(0x003C0029)));
    expect_text(amqp_method_name(0x003C0029), "unknown");
}

Test(amqp_method, refuses_broken_tables)
{
    struct amqp_method m;
    const char *bad[] = {
        "0032000a 0000 0171 00 00000003 01617a",         /* a letter that is no type */
        "0032000a 0000 0171 00 00000004 0161490a",       /* a number cut short */
        "0032000a 0000 0171 00 00000007 016153ffffffff", /* a length that lies */
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(eq(int, amqp_method_decode(kit_hex(bad[i]), &m), AMQP_DECODE_BAD), "%s", bad[i]);
}

/* A client's names must be UTF-8 where RabbitMQ asks for it: not those of a message, and a
 * server's may be what they are. */
Test(amqp_method, wants_utf8_from_clients)
{
    struct amqp_method m;
    cr_expect(eq(int, amqp_method_decode(kit_hex("00320032 0000 00 00 02c328 00000000"), &m),
                 AMQP_DECODE_BAD_UTF8));
    cr_expect(slice_eq(m.queue_unbind.routing_key, slice_of("\xC3\x28", 2)));
    cr_expect(
        eq(int, amqp_method_decode(kit_hex("003c0028 0000 00 02c328 00"), &m), AMQP_DECODE_OK));
    cr_expect(eq(int,
                 amqp_method_decode(kit_hex("003c003c 0174 0000000000000001 00 00 02c328"), &m),
                 AMQP_DECODE_OK));
}

Test(amqp_method, says_why_as_rabbitmq_does)
{
    char text[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(text, sizeof text);
    amqp_decode_why(AMQP_DECODE_BAD, kit_hex("003c0050 0001"), &why);
    expect_text(text, "cannot decode <<0,1>>");
    text_clear(&why);
    amqp_decode_why(AMQP_DECODE_BAD_UTF8, kit_hex("003c0050"), &why);
    expect_text(text, "Malformed UTF-8 in shortstr");
    text_clear(&why);
    amqp_decode_why(AMQP_DECODE_UNKNOWN, kit_hex("003c0051"), &why);
    expect_text(text, "unknown method 81 of class 60");
    text_clear(&why);
    amqp_decode_why(AMQP_DECODE_BAD, slice_of(room, sizeof room), &why); /* ends all the same */
    cr_expect(why.cut);
}

Test(amqp_method, decodes_one_kind_without_the_others)
{
    struct amqp_basic_publish p;
    struct slice wire = kit_hex("003c0028 0001 026578 036b6579 02");
    cr_assert(eq(u32, amqp_method_peek(wire), AMQP_BASIC_PUBLISH));
    cr_assert(eq(int, amqp_basic_publish_decode(slice_from(wire, 4), &p), AMQP_DECODE_OK));
    cr_expect(eq(int, p.ticket, 1));
    expect_slice(p.exchange, "ex");
    expect_slice(p.routing_key, "key");
    cr_expect(not(p.mandatory));
    cr_expect(p.immediate);
    cr_expect(eq(u32, amqp_method_peek(kit_hex("003c00")), 0u));
}

/* A short string that is too long must not end up as a shorter one. */
Test(amqp_method, overflows_on_a_long_short_string)
{
    static uint8_t name[256];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_basic_get_empty_write(&w, &(struct amqp_basic_get_empty){ slice_of(name, 255) });
    cr_expect(not(w.overflow));
    amqp_basic_get_empty_write(&w, &(struct amqp_basic_get_empty){ slice_of(name, 256) });
    cr_expect(w.overflow);
}

Test(amqp_method, has_names_senders_and_content)
{
    expect_text(amqp_method_name(AMQP_BASIC_GET_OK), "basic.get-ok");
    expect_text(amqp_method_name(AMQP_CONNECTION_UPDATE_SECRET_OK), "connection.update-secret-ok");

    cr_expect(amqp_method_is_sent_by(AMQP_BASIC_PUBLISH, AMQP_SENT_BY_CLIENT));
    cr_expect(not(amqp_method_is_sent_by(AMQP_BASIC_PUBLISH, AMQP_SENT_BY_SERVER)));
    cr_expect(amqp_method_is_sent_by(AMQP_BASIC_CANCEL, AMQP_SENT_BY_CLIENT));
    cr_expect(amqp_method_is_sent_by(AMQP_BASIC_CANCEL, AMQP_SENT_BY_SERVER));
    cr_expect(not(amqp_method_is_sent_by(AMQP_CONNECTION_BLOCKED, AMQP_SENT_BY_CLIENT)));
    cr_expect(not(amqp_method_is_sent_by(1, AMQP_SENT_BY_CLIENT)));

    int with_content = 0;
    for (size_t i = 0; i < kit_methods_count; i++)
        with_content += amqp_method_has_content(kit_methods[i]);
    cr_expect(eq(int, with_content, 4));
    cr_expect(amqp_method_has_content(AMQP_BASIC_GET_OK));
    cr_expect(not(amqp_method_has_content(AMQP_BASIC_GET_EMPTY)));
}

Test(amqp_method, knows_answers)
{
    cr_expect(amqp_method_answers(AMQP_QUEUE_DECLARE_OK, AMQP_QUEUE_DECLARE));
    cr_expect(amqp_method_answers(AMQP_BASIC_GET_EMPTY, AMQP_BASIC_GET));
    cr_expect(amqp_method_answers(AMQP_BASIC_GET_OK, AMQP_BASIC_GET));
    cr_expect(not(amqp_method_answers(AMQP_QUEUE_DECLARE_OK, AMQP_QUEUE_DELETE)));
    cr_expect(not(amqp_method_answers(AMQP_BASIC_PUBLISH, AMQP_BASIC_PUBLISH)));
    /* Whatever is called -ok answers something, and something else asks. */
    for (size_t i = 0; i < kit_methods_count; i++) {
        const char *name = amqp_method_name(kit_methods[i]);
        const char *dash = strrchr(name, '-');
        bool ok = dash != NULL && (strcmp(dash, "-ok") == 0 || strcmp(dash, "-empty") == 0);
        cr_expect(eq(int, amqp_method_is_answer(kit_methods[i]), ok), "%s", name);
    }
}

Test(amqp_method, knows_reply_codes)
{
    expect_text(amqp_reply_name(AMQP_PRECONDITION_FAILED), "PRECONDITION_FAILED");
    expect_text(amqp_reply_name(404), "NOT_FOUND");
    expect_text(amqp_reply_name(999), "UNKNOWN");
    cr_expect(not(amqp_reply_closes_connection(404)));
    cr_expect(not(amqp_reply_closes_connection(403)));
    cr_expect(not(amqp_reply_closes_connection(200)));
    cr_expect(amqp_reply_closes_connection(320));
    cr_expect(amqp_reply_closes_connection(530));
    cr_expect(amqp_reply_closes_connection(999));
}

Test(amqp_method, composes_reply_texts)
{
    char text[AMQP_REPLY_TEXT_MAX + 1];
    expect_slice(amqp_reply_text(text, 404, "no queue '%s' in vhost '%s'", "q", "/"),
                 "NOT_FOUND - no queue 'q' in vhost '/'");
    expect_slice(amqp_reply_text(text, 200, "bye"), "bye");

    char longer[300];
    memset(longer, 'a', sizeof longer);
    longer[299] = '\0';
    struct slice whole = amqp_reply_text(text, 404, "%.243s", longer);
    cr_expect(eq(sz, whole.len, AMQP_REPLY_TEXT_MAX));
    cr_expect(eq(int, whole.ptr[254], 'a'));
    struct slice cut = amqp_reply_text(text, 404, "%.244s", longer);
    cr_expect(eq(sz, cut.len, AMQP_REPLY_TEXT_MAX));
    cr_expect(slice_is(slice_from(cut, 252), "..."));
}

/* Clients decode the text, and some refuse half a character. */
Test(amqp_method, cuts_reply_texts_between_characters)
{
    char text[AMQP_REPLY_TEXT_MAX + 1], longer[400];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(longer, 'a', shift);
        for (size_t i = shift; i + 4 < sizeof longer; i += 4)
            memcpy(longer + i, "\xF0\x9F\x90\xB0", 5);
        struct slice cut = amqp_reply_text(text, 404, "%s", longer);
        cr_expect(amqp_utf8_check(cut), "after %zu", shift);
        cr_expect(slice_is(slice_from(cut, cut.len - 3), "..."));
        cr_expect(cut.len > 248);
    }
}

Test(amqp_utf8, is_what_rabbitmq_takes_for_it)
{
    const char *good[] = { "00",
                           "7f",
                           "c280",
                           "dfbf",
                           "e0a080",
                           "efbfbf",
                           "eda080",
                           "f0908080",
                           "f48fbfbf",
                           "f7bfbfbf",
                           "6162636465666768c3a4" };
    const char *bad[] = { "80",         "bf",
                          "c3",         "c080",
                          "c1bf",       "e08080",
                          "e09fbf",     "e0a0",
                          "f08fbfbf",   "f0908028",
                          "f888808080", "fe",
                          "ff",         "6162636465666768c3",
                          "c328",       "6162636465666768696a6b6c6d6e6f80" };
    cr_expect(amqp_utf8_check(slice_of(NULL, 0)));
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        cr_expect(amqp_utf8_check(kit_hex(good[i])), "%s", good[i]);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(not(amqp_utf8_check(kit_hex(bad[i]))), "%s", bad[i]);
}
