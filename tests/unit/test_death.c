#include "model/death.h"

#include "amqp/amqp_table.h"
#include "base/mem.h"
#include "expect.h"

#include <math.h>

/* ---- messages and their headers as text ---- */

static struct message *message(void (*fill)(struct wire_out *w), const char *expiration)
{
    uint8_t table[1024], raw[2048];
    struct wire_out t = wire_out_over(table, sizeof table);
    struct wire_out w = wire_out_over(raw, sizeof raw);
    struct amqp_props props = { .flags = AMQP_PROP_app_id, .app_id = slice_str("app") };
    if (fill != NULL) {
        fill(&t);
        props.flags |= AMQP_PROP_headers;
        props.headers = wire_out_slice(&t);
    }
    if (expiration != NULL) {
        props.flags |= AMQP_PROP_expiration;
        props.expiration = slice_str(expiration);
    }
    amqp_props_encode(&w, &props);
    return message_new(slice_str("x"), slice_str("key"), wire_out_slice(&w), slice_str("body"),
                       true);
}

static const char *headers(const struct message *m)
{
    static char room[4096];
    struct amqp_props props;
    cr_assert(amqp_props_decode(message_props(m), &props));
    cr_assert(slice_is(props.app_id, "app"));
    struct amqp_field f = { .type = AMQP_FIELD_TABLE, .bytes = props.headers };
    struct text t = text_over(room, sizeof room);
    amqp_field_text(&f, &t);
    return room;
}

static struct message *dies(struct message *m, const char *reason, const char *queue,
                            const char *key)
{
    struct message *out = death_message(m, &(struct death){ .reason = reason,
                                                            .queue = slice_str(queue),
                                                            .time_s = 42,
                                                            .to_exchange = slice_str("dlx"),
                                                            .to_key = slice_str(key),
                                                            .keep_cc = key[0] == 'k' });
    message_unref(&m);
    return out;
}

static void say(const struct message *m, const char *expected)
{
    cr_expect(eq(str, (char *)(uintptr_t)headers(m), (char *)(uintptr_t)expected));
}

Test(death, tells_the_first_one_in_full)
{
    struct message *m = dies(message(NULL, "100"), "expired", "q", "key");
    cr_expect(slice_is(message_exchange(m), "dlx"));
    cr_expect(slice_is(message_key(m), "key"));
    cr_expect(slice_is(message_body(m), "body"));
    cr_expect(m->persistent);
    struct amqp_props_brief brief;
    cr_assert(amqp_props_peek(message_props(m), &brief));
    cr_expect(not(brief.flags & AMQP_PROP_expiration));
    struct amqp_field deaths, one;
    cr_assert(amqp_table_find(brief.headers, "x-death", &deaths));
    struct amqp_table_iter it = amqp_array_iter_init(deaths.bytes);
    cr_assert(amqp_table_iter_next(&it, &one));
    cr_expect(eq(i64, amqp_table_i64(one.bytes, "count", 0), 1));
    cr_expect(slice_is(amqp_table_longstr(one.bytes, "reason"), "expired"));
    cr_expect(slice_is(amqp_table_longstr(one.bytes, "queue"), "q"));
    cr_expect(slice_is(amqp_table_longstr(one.bytes, "exchange"), "x"));
    cr_expect(slice_is(amqp_table_longstr(one.bytes, "original-expiration"), "100"));
    cr_expect(slice_is(amqp_table_longstr(brief.headers, "x-first-death-reason"), "expired"));
    cr_expect(not(amqp_table_iter_next(&it, &one)));
    message_unref(&m);
}

static unsigned deaths_of(const struct message *m, const char *reasons[], int64_t counts[])
{
    struct amqp_props_brief brief;
    struct amqp_field deaths, one;
    unsigned n = 0;
    cr_assert(amqp_props_peek(message_props(m), &brief));
    cr_assert(amqp_table_find(brief.headers, "x-death", &deaths));
    struct amqp_table_iter it = amqp_array_iter_init(deaths.bytes);
    while (amqp_table_iter_next(&it, &one)) {
        struct slice reason = amqp_table_longstr(one.bytes, "reason");
        reasons[n] = slice_is(reason, "expired")    ? "expired"
                     : slice_is(reason, "rejected") ? "rejected"
                                                    : "else";
        counts[n++] = amqp_table_i64(one.bytes, "count", -1);
    }
    return n;
}

Test(death, counts_those_of_one_kind_and_puts_the_newest_first)
{
    const char *reasons[8];
    int64_t counts[8];
    struct message *m = dies(message(NULL, NULL), "rejected", "q", "key");
    m = dies(m, "rejected", "q", "key");
    cr_expect(eq(uint, deaths_of(m, reasons, counts), 1));
    cr_expect(eq(i64, counts[0], 2));
    m = dies(m, "expired", "q", "key");
    cr_expect(eq(uint, deaths_of(m, reasons, counts), 2));
    cr_expect(eq(str, (char *)(uintptr_t)reasons[0], "expired"));
    cr_expect(eq(i64, counts[0], 1));
    cr_expect(eq(i64, counts[1], 2));
    m = dies(m, "rejected", "q", "key");
    cr_expect(eq(uint, deaths_of(m, reasons, counts), 2));
    cr_expect(eq(str, (char *)(uintptr_t)reasons[0], "rejected"));
    cr_expect(eq(i64, counts[0], 3));
    message_unref(&m);
}

Test(death, a_cycle_is_one_that_nobody_rejected)
{
    struct message *m = dies(message(NULL, NULL), "expired", "a", "key");
    cr_expect(death_is_cycle(m, slice_str("a")));
    cr_expect(not(death_is_cycle(m, slice_str("b"))));
    m = dies(m, "rejected", "b", "key");
    cr_expect(not(death_is_cycle(m, slice_str("a"))));
    cr_expect(not(death_is_cycle(m, slice_str("b"))));
    cr_expect(eq(uint, death_count(m), 0));
    m = dies(m, "expired", "c", "key");
    cr_expect(eq(uint, death_count(m), 2), "the older ones are turned round");
    cr_expect(death_is_cycle(m, slice_str("c")));
    cr_expect(not(death_is_cycle(m, slice_str("b"))));
    message_unref(&m);
    m = message(NULL, NULL);
    cr_expect(not(death_is_cycle(m, slice_str("a"))));
    message_unref(&m);
}

static void fill_text(struct wire_out *w)
{
    amqp_table_put_text(w, "x-death", "made up");
    amqp_table_put_text(w, "CC", "no array");
    amqp_table_put_text(w, "b", "2");
    amqp_table_put_text(w, "a", "1");
}

Test(death, what_is_no_array_is_replaced)
{
    const char *reasons[8];
    int64_t counts[8];
    struct message *m = dies(message(fill_text, NULL), "rejected", "q", "own");
    cr_expect(eq(uint, deaths_of(m, reasons, counts), 1));
    struct amqp_props_brief brief;
    struct amqp_field f;
    cr_assert(amqp_props_peek(message_props(m), &brief));
    cr_expect(not(amqp_table_find(brief.headers, "CC", &f)));
    cr_expect(not(amqp_table_find(brief.headers, "x-first-death-queue", &f)));
    struct amqp_table_iter it = amqp_table_iter_init(brief.headers);
    cr_assert(amqp_table_iter_next(&it, &f));
    cr_expect(slice_is(f.name, "a"), "sorted");
    message_unref(&m);
}

static void fill_many(struct wire_out *w)
{
    size_t array = amqp_array_begin(w, "x-death");
    for (int i = 0; i < 100; i++)
        amqp_table_end(w, amqp_table_begin(w, NULL));
    amqp_table_put_void(w, NULL);
    amqp_table_end(w, array);
}

Test(death, any_number_of_empty_ones_is_one)
{
    const char *reasons[128];
    int64_t counts[128];
    struct message *m = dies(message(fill_many, NULL), "rejected", "q", "key");
    cr_expect(eq(uint, deaths_of(m, reasons, counts), 2));
    cr_expect(eq(i64, counts[1], 100));
    message_unref(&m);
}

static void fill_no_numbers(struct wire_out *w)
{
    size_t array = amqp_array_begin(w, "x-death");
    for (int i = 0; i < 3; i++) {
        size_t one = amqp_table_begin(w, NULL);
        amqp_table_put_double(w, "queue", NAN);
        amqp_table_put_text(w, "reason", "expired");
        amqp_table_end(w, one);
    }
    amqp_table_end(w, array);
}

Test(death, what_is_not_the_same_as_itself_is_of_its_own_kind)
{
    const char *reasons[8];
    int64_t counts[8];
    struct message *m = dies(message(fill_no_numbers, NULL), "rejected", "q", "key");
    cr_expect(eq(uint, deaths_of(m, reasons, counts), 4));
    cr_expect(eq(i64, counts[1], 1));
    cr_expect(eq(i64, counts[3], 1));
    message_unref(&m);
}

Test(death, a_count_of_returns_is_a_header)
{
    struct message *m = message(NULL, "100");
    struct message *counted = death_counted(m, 3);
    say(counted, "[{<<\"x-delivery-count\">>,long,3}]");
    struct amqp_props_brief brief;
    cr_assert(amqp_props_peek(message_props(counted), &brief));
    cr_expect(slice_is(brief.expiration, "100"));
    message_unref(&counted);
    message_unref(&m);
}
