#include "amqp_kit.h"

#include <math.h>

static uint8_t room[4096];

static struct amqp_field field(struct slice table, const char *name)
{
    struct amqp_field f;
    cr_assert(amqp_table_find(table, name, &f), "%s", name);
    return f;
}

Test(amqp_table, reads_every_type)
{
    struct slice t = kit_exact(kit_table());
    cr_assert(amqp_table_check(t));
    cr_expect(field(t, "yes").boolean);
    cr_expect(not(field(t, "no").boolean));
    cr_expect(eq(i64, field(t, "i32").i64, -2));
    cr_expect(eq(i64, field(t, "i64").i64, INT64_MIN));
    cr_expect(eq(i64, field(t, "u64").i64, INT64_MAX));
    cr_expect(eq(dbl, field(t, "double").f64, -0.5));
    cr_expect(eq(u64, field(t, "when").timestamp, 1700000000u));
    expect_slice(field(t, "text").bytes, "h\xC3\xA4");
    cr_expect(eq(int, field(t, "nothing").type, AMQP_FIELD_VOID));
    cr_expect(eq(i64, field(t, "b").i64, INT8_MIN));
    cr_expect(eq(i64, field(t, "B").i64, 128));
    cr_expect(eq(i64, field(t, "s").i64, INT16_MIN));
    cr_expect(eq(i64, field(t, "u").i64, 32768));
    cr_expect(eq(i64, field(t, "i").i64, UINT32_MAX));
    cr_expect(eq(dbl, field(t, "f").f64, 1.5));
    cr_expect(eq(int, field(t, "D").decimal.scale, 2));
    cr_expect(eq(u32, field(t, "D").decimal.value, 314u));
    cr_expect(slice_eq(field(t, "x").bytes, slice_of("\0\xFF", 2)));
    cr_expect(eq(i64, field(t, "L").i64, 7));
    cr_expect(eq(int, field(t, "L").type, AMQP_FIELD_I64));

    struct amqp_table_iter it = amqp_array_iter_init(field(field(t, "table").bytes, "array").bytes);
    struct amqp_field f;
    cr_assert(amqp_table_iter_next(&it, &f));
    expect_slice(f.bytes, "element");
    cr_expect(eq(sz, f.name.len, 0u));
    cr_assert(amqp_table_iter_next(&it, &f));
    cr_expect(eq(int, f.type, AMQP_FIELD_TABLE));
    cr_expect(not(amqp_table_iter_next(&it, &f)));
    cr_expect(not(it.w.ran_out));
    kit_free(t);
}

/* A prefix is good only where it happens to end between two fields. */
Test(amqp_table, is_refused_when_cut_short)
{
    struct slice t = kit_table();
    bool ends_here[512] = { true };
    struct amqp_table_iter it = amqp_table_iter_init(t);
    struct amqp_field f;
    while (amqp_table_iter_next(&it, &f))
        ends_here[t.len - wire_left(&it.w)] = true;
    for (size_t n = 0; n <= t.len; n++) {
        struct slice part = kit_exact(slice_head(t, n));
        cr_expect(eq(int, amqp_table_check(part), ends_here[n]), "%zu of %zu octets", n, t.len);
        kit_free(part);
    }
}

Test(amqp_table, is_refused_when_it_lies)
{
    const char *bad[] = {
        "01617a",                       /* no such type */
        "ff61",                         /* a name longer than the table */
        "016153ffffffff",               /* a string longer than the table */
        "01615300000001",               /* by one octet */
        "016146 00000005 0162 49 0000", /* a table that ends in a number */
        "016141 00000002 4900",         /* an array that does */
        "016141 00000001 7a",           /* no such type inside */
    };
    cr_expect(amqp_table_check(slice_of(NULL, 0)));
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct slice t = kit_exact(kit_hex(bad[i]));
        cr_expect(not(amqp_table_check(t)), "%s", bad[i]);
        kit_free(t);
    }
}

Test(amqp_table, knows_its_letters_and_no_others)
{
    for (unsigned letter = 0; letter < 256; letter++) {
        uint8_t t[16] = { 0, (uint8_t)letter }; /* no name; zeros do for all of them */
        bool known = letter != 0 && strchr("tbBsuIilLfdDSATFVx", (int)letter) != NULL;
        struct amqp_table_iter it = amqp_table_iter_init(slice_of(t, sizeof t));
        struct amqp_field f;
        cr_expect(eq(int, amqp_table_iter_next(&it, &f), known), "letter %u", letter);
        cr_expect(eq(int, it.w.ran_out, !known), "letter %u", letter);
    }
}

/* `depth` tables within each other, or arrays. */
static struct slice nest(int depth, bool arrays)
{
    struct wire_out w = wire_out_over(room, sizeof room);
    size_t marks[64];
    for (int i = 1; i < depth; i++) {
        const char *name = arrays && i > 1 ? NULL : "n";
        marks[i] = arrays ? amqp_array_begin(&w, name) : amqp_table_begin(&w, name);
    }
    for (int i = depth - 1; i >= 1; i--)
        amqp_table_end(&w, marks[i]);
    cr_assert(not(w.overflow));
    return wire_out_slice(&w);
}

Test(amqp_table, nests_up_to_a_bound)
{
    for (int arrays = 0; arrays < 2; arrays++) {
        cr_expect(amqp_table_check(nest(AMQP_TABLE_DEPTH_MAX, arrays)));
        cr_expect(not(amqp_table_check(nest(AMQP_TABLE_DEPTH_MAX + 1, arrays))));
    }
}

Test(amqp_table, finds_the_first_of_several)
{
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_table_put_i32(&w, "a", 1);
    amqp_table_put_i32(&w, "b", 2);
    amqp_table_put_i32(&w, "a", 3);
    struct slice t = wire_out_slice(&w);
    cr_expect(eq(i64, amqp_table_i64(t, "a", 0), 1));
    cr_expect(eq(i64, amqp_table_i64(t, "b", 0), 2));
    struct amqp_field f;
    cr_expect(not(amqp_table_find(t, "A", &f)));
    cr_expect(not(amqp_table_find(t, "", &f)));
    cr_expect(not(amqp_table_find(slice_of(NULL, 0), "a", &f)));
}

Test(amqp_table, gives_values_by_type_and_else_the_default)
{
    struct slice t = kit_table();
    cr_expect(eq(i64, amqp_table_i64(t, "u", 5), 32768));
    cr_expect(eq(i64, amqp_table_i64(t, "text", 5), 5));
    cr_expect(eq(i64, amqp_table_i64(t, "when", 5), 5)); /* a timestamp is no number */
    cr_expect(eq(i64, amqp_table_i64(t, "absent", 5), 5));
    cr_expect(amqp_table_bool(t, "yes", false));
    cr_expect(not(amqp_table_bool(t, "no", true)));
    cr_expect(amqp_table_bool(t, "i32", true));
    expect_slice(amqp_table_longstr(t, "text"), "h\xC3\xA4");
    cr_expect(eq(sz, amqp_table_longstr(t, "x").len, 0u)); /* binary is not a text */
}

Test(amqp_table, is_written_as_it_was_read)
{
    struct slice t = kit_table();
    struct wire_out w = wire_out_over(room, sizeof room);
    struct amqp_table_iter it = amqp_table_iter_init(t);
    struct amqp_field f;
    while (amqp_table_iter_next(&it, &f))
        amqp_table_put(&w, &f);
    struct slice back = wire_out_slice(&w);
    cr_assert(eq(sz, back.len, t.len));
    /* All but the letter L, for which we write l. */
    for (size_t i = 0; i < t.len; i++)
        cr_expect(t.ptr[i] == back.ptr[i] || (t.ptr[i] == 'L' && back.ptr[i] == 'l'), "at %zu", i);
}

Test(amqp_table, does_not_write_further_than_the_room)
{
    struct slice t = kit_exact(kit_table());
    struct amqp_field f = field(t, "table");
    for (size_t n = 0; n < 40; n++) {
        struct slice exact = kit_exact(slice_of(room, n));
        struct wire_out w = wire_out_over((void *)(uintptr_t)exact.ptr, n);
        amqp_table_put(&w, &f);
        size_t mark = amqp_table_begin(&w, "more");
        amqp_table_put_text(&w, "name", "value");
        amqp_table_end(&w, mark);
        cr_expect(w.overflow, "room for %zu", n);
        kit_free(exact);
    }
    kit_free(t);
}

/* ---- comparing ---- */

static struct amqp_field value(const char *hex)
{
    struct amqp_field f;
    struct amqp_table_iter it = amqp_array_iter_init(kit_hex(hex));
    cr_assert(amqp_table_iter_next(&it, &f), "%s", hex);
    cr_assert(eq(sz, wire_left(&it.w), 0u), "%s", hex);
    return f;
}

enum { DIFFER, MATCH, EQUIVALENT };

/* What RabbitMQ's == and its argument checks say of the same values. */
Test(amqp_table, compares_as_rabbitmq_does)
{
    struct {
        const char *a, *b;
        int verdict;
    } rows[] = {
        { "4900000001", "49 00000001", EQUIVALENT },
        { "4900000001", "4900000002", DIFFER },
        { "6201", "6c 0000000000000001", EQUIVALENT },            /* widths do not matter */
        { "62ff", "49 ffffffff", EQUIVALENT },                    /* nor do signs of the types */
        { "62ff", "42 ff", DIFFER },                              /* -1, 255 */
        { "6c ffffffffffffffff", "54 ffffffffffffffff", DIFFER }, /* -1, 2^64 - 1 */
        { "6c 8000000000000000", "54 8000000000000000", DIFFER },
        { "6c 0000000000000005", "54 0000000000000005", EQUIVALENT },
        { "4900000001", "64 3ff0000000000000", MATCH }, /* 1, 1.0 */
        { "64 3ff0000000000000", "4900000001", MATCH },
        { "4900000001", "64 3ff8000000000000", DIFFER }, /* 1, 1.5 */
        { "4900000000", "64 8000000000000000", MATCH },  /* 0, -0.0 */
        { "62ff", "64 bff0000000000000", MATCH },        /* -1, -1.0 */
        { "6201", "64 bff0000000000000", DIFFER },
        { "6c 0020000000000001", "64 4340000000000000", DIFFER }, /* 2^53 + 1, 2^53 */
        { "6c 7fffffffffffffff", "64 43e0000000000000", DIFFER }, /* 2^63 - 1, 2^63 */
        { "6c 8000000000000000", "64 c3e0000000000000", MATCH },  /* -2^63 */
        { "54 8000000000000000", "64 43e0000000000000", MATCH },
        { "54 ffffffffffffffff", "64 43f0000000000000", DIFFER }, /* 2^64 - 1, 2^64 */
        { "4900000001", "64 7ff0000000000000", DIFFER },          /* infinity */
        { "4900000001", "64 7ff8000000000000", DIFFER },          /* not a number */
        { "64 7ff8000000000000", "64 7ff8000000000000", DIFFER },
        { "66 3fc00000", "64 3ff8000000000000", EQUIVALENT }, /* 1.5, 1.5 */
        { "53 00000001 61", "78 00000001 61", EQUIVALENT },   /* longstr, binary */
        { "53 00000001 61", "53 00000001 62", DIFFER },
        { "53 00000001 31", "6201", DIFFER },
        { "7401", "7402", EQUIVALENT },
        { "7401", "7400", DIFFER },
        { "7401", "6201", DIFFER },
        { "56", "56", EQUIVALENT },
        { "56", "7400", DIFFER },
        { "44 02 00000001", "44 02 00000001", EQUIVALENT },
        { "44 02 00000001", "44 01 00000001", DIFFER },
        { "41 00000002 6201", "41 00000002 6201", EQUIVALENT },
        { "41 00000002 6201", "41 00000003 730001", DIFFER }, /* inside, types matter */
        { "41 00000002 6201", "41 00000004 62016201", DIFFER },
        { "46 00000004 01616201", "46 00000004 01616201", EQUIVALENT },
        { "46 00000004 01616201", "46 00000004 01626201", DIFFER },
        { "46 00000008 01616201 01626202", "46 00000008 01626202 01616201", DIFFER },
        { "46 00000000", "41 00000000", MATCH },
        { "46 00000004 01614201", "46 00000000", DIFFER },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct amqp_field a = value(rows[i].a), b = value(rows[i].b);
        cr_expect(eq(int, amqp_field_matches(&a, &b), rows[i].verdict >= MATCH), "%s and %s",
                  rows[i].a, rows[i].b);
        cr_expect(eq(int, amqp_field_matches(&b, &a), rows[i].verdict >= MATCH), "%s and %s",
                  rows[i].b, rows[i].a);
        cr_expect(eq(int, amqp_field_is_equivalent(&a, &b), rows[i].verdict == EQUIVALENT),
                  "%s and %s", rows[i].a, rows[i].b);
    }
}

Test(amqp_table, shows_values_as_rabbitmq_does)
{
    struct {
        const char *hex, *text;
    } rows[] = {
        { "4900000001", "1" },
        { "54 ffffffffffffffff", "18446744073709551615" },
        { "64 3ff0000000000000", "1.0" },
        { "64 3fb999999999999a", "0.10000000000000001" },
        { "7401", "true" },
        { "56", "undefined" },
        { "44 02 00000001", "{2,1}" },
        { "53 00000003 616263", "abc" },
        { "41 00000000", "[]" },
        { "46 0000000c 01616201 016253 00000001 78",
          "[{<<\"a\">>,byte,1},{<<\"b\">>,longstr,<<\"x\">>}]" },
        { "41 00000004 62016202", "[{byte,1},{byte,2}]" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char shown[128];
        struct text t = text_over(shown, sizeof shown);
        struct amqp_field f = value(rows[i].hex);
        amqp_field_text(&f, &t);
        expect_text(shown, rows[i].text);
    }
    expect_text(amqp_field_type_name(AMQP_FIELD_I32), "signedint");
    expect_text(amqp_field_type_name(AMQP_FIELD_BINARY), "binary");
}

Test(amqp_table, shows_no_more_than_fits)
{
    char shown[16];
    struct text t = text_over(shown, sizeof shown);
    struct amqp_field f = { .type = AMQP_FIELD_TABLE, .bytes = kit_table() };
    amqp_field_text(&f, &t);
    cr_expect(t.cut);
    expect_text(shown, "[{<<\"yes\">>,boo");
}
