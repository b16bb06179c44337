#include "mgmt/mgmt_json.h"

#include "amqp/amqp_table.h"
#include "base/mem.h"

#include "expect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect_json(json_t *j, const char *want)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
    expect_text(text, want);
    free(text);
    json_decref(j);
}

static void expect_key(const char *key, const char *want)
{
    char room[1024];
    struct text t = text_over(room, sizeof room);
    mgmt_json_properties_key(slice_str(key), slice_str(""), &t);
    expect_text(room, want);
}

Test(mgmt_json, text_is_always_utf8)
{
    expect_json(json_out_text(slice_str("")), "\"\"");
    expect_json(json_out_text(slice_str("gr\xc3\xbc\xc3\x9f")), "\"gr\xc3\xbc\xc3\x9f\"");
    expect_json(json_out_text(slice_str("a\"b\\")), "\"a\\\"b\\\\\"");
    expect_json(json_out_text(slice_of("a\xff\0b", 4)), "\"a\xef\xbf\xbd\xef\xbf\xbd"
                                                        "b\"");
}

/* Octets grow to three each: texts around the size of the room on the stack, and far above. */
Test(mgmt_json, long_texts_are_whole)
{
    for (size_t len = 250; len < 70000; len = len < 260 ? len + 1 : len * 3) {
        char *bad = mem_alloc(len);
        memset(bad, 0xff, len);
        json_t *j = json_out_text(slice_of(bad, len));
        cr_expect(eq(sz, json_string_length(j), 3 * len));
        json_decref(j);
        mem_free(bad);
    }
}

Test(mgmt_json, numbers_past_the_end_are_the_end)
{
    json_t *o = json_object();
    json_out_put_u64(o, "a", UINT64_MAX);
    json_out_put_u64(o, "b", 7);
    json_out_put_bool(o, "c", true);
    json_out_put_str(o, "d", "x");
    expect_json(o, "{\"a\":9223372036854775807,\"b\":7,\"c\":true,\"d\":\"x\"}");
    expect_json(mgmt_json_rate(0), "{\"rate\":0.0}");
}

Test(mgmt_json, tables_keep_their_types)
{
    uint8_t room[512];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_table_put_text(&w, "s", "v");
    amqp_table_put_i64(&w, "n", -3);
    amqp_table_put_bool(&w, "b", true);
    amqp_table_put_void(&w, "z");
    amqp_table_put_timestamp(&w, "t", 5);
    amqp_table_put_double(&w, "d", 0.5);
    amqp_table_put_double(&w, "inf", INFINITY);
    size_t mark = amqp_array_begin(&w, "a");
    amqp_table_put_i32(&w, NULL, 1);
    amqp_table_put_text(&w, NULL, "two");
    amqp_table_end(&w, mark);
    mark = amqp_table_begin(&w, "in");
    amqp_table_put_i32(&w, "x", 2);
    amqp_table_end(&w, mark);
    cr_assert(w.overflow == false);
    expect_json(mgmt_json_table(wire_out_slice(&w)),
                "{\"s\":\"v\",\"n\":-3,\"b\":true,\"z\":null,\"t\":5,\"d\":0.5,\"inf\":null,"
                "\"a\":[1,\"two\"],\"in\":{\"x\":2}}");
    expect_json(mgmt_json_table(slice_str("")), "{}");
}

/* As everywhere, the first of a name counts. */
Test(mgmt_json, a_name_given_twice_is_shown_once)
{
    uint8_t room[64];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_table_put_i32(&w, "x", 1);
    amqp_table_put_i32(&w, "x", 2);
    expect_json(mgmt_json_table(wire_out_slice(&w)), "{\"x\":1}");
}

/* RabbitMQ's words for bindings without arguments. */
Test(mgmt_json, bindings_are_called_by_their_key)
{
    expect_key("", "~");
    expect_key("q1", "q1");
    expect_key("a.#", "a.%23");
    expect_key("a b~c/\xc3\xbc", "a+b%7Ec%2F%C3%BC");
}

Test(mgmt_json, arguments_tell_bindings_of_one_key_apart)
{
    char one[128], two[128];
    struct text a = text_over(one, sizeof one), b = text_over(two, sizeof two);
    mgmt_json_properties_key(slice_str("k"), slice_str("\1xt\1"), &a);
    mgmt_json_properties_key(slice_str("k"), slice_str("\1yt\1"), &b);
    cr_expect(strncmp(one, "k~", 2) == 0 && strcmp(one, two) != 0, "%s %s", one, two);
}

static void expect_there_and_back(const char *text)
{
    json_t *given = json_loads(text, 0, NULL);
    uint8_t *memory;
    struct slice table;
    cr_assert(mgmt_json_to_table(given, &memory, &table), "%s", text);
    cr_expect(amqp_table_check(table), "%s", text);
    expect_json(mgmt_json_table(table), text);
    mem_free(memory);
    json_decref(given);
}

Test(mgmt_json, an_object_becomes_a_table_and_is_the_same_again)
{
    expect_there_and_back("{}");
    expect_there_and_back("{\"w\":\"\",\"n\":-1,\"b\":true,\"f\":1.5,\"z\":null}");
    expect_there_and_back("{\"t\":{\"a\":[1,\"two\",{\"x\":[]}]}}");
}

Test(mgmt_json, what_is_no_table_is_refused)
{
    char deep[256] = "";
    struct text t = text_over(deep, sizeof deep);
    for (unsigned i = 0; i < AMQP_TABLE_DEPTH_MAX + 1; i++)
        text_str(&t, "{\"a\":");
    text_char(&t, '1');
    for (unsigned i = 0; i < AMQP_TABLE_DEPTH_MAX + 1; i++)
        text_char(&t, '}');
    char name[320] = "{\"";
    memset(name + 2, 'n', 256);
    strcpy(name + 258, "\":1}");
    const char *const bad[] = { "[]", "[1]", deep, name };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        json_t *given = json_loads(bad[i], 0, NULL);
        uint8_t *memory;
        struct slice table;
        cr_assert(given != NULL, "%s", bad[i]);
        cr_expect(not(mgmt_json_to_table(given, &memory, &table)), "%s", bad[i]);
        mem_free(memory);
        json_decref(given);
    }
}

Test(mgmt_json, words_between_commas)
{
    expect_json(mgmt_json_words(slice_str("")), "[]");
    expect_json(mgmt_json_words(slice_str("a")), "[\"a\"]");
    expect_json(mgmt_json_words(slice_str(" a , b,,c ")), "[\"a\",\"b\",\"c\"]");
}

Test(mgmt_json, lines_stay_lines)
{
    expect_json(mgmt_json_lines("Validation failed\n\nwhy\n"), "\"Validation failed\\n\\nwhy\\n\"");
}

Test(mgmt_json, segments_of_a_path)
{
    char room[64];
    struct text t = text_over(room, sizeof room);
    mgmt_json_percent(slice_str("a b/%~\xc3\xbc"), &t);
    expect_text(room, "a%20b%2F%25~%C3%BC");
}
