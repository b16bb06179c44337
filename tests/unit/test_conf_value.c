#include "base/check.h"
#include "base/text.h"
#include "conf/conf_value.h"

#include "expect.h"

#include <math.h>
#include <stdio.h>

static struct conf_store *store;
static struct err err;

static void begin(void)
{
    store = conf_store_new();
}

static void end(void)
{
    conf_store_free(&store);
}

TestSuite(conf_value, .init = begin, .fini = end);

typedef bool (*split_fn)(struct slice text, struct conf_store *store, struct conf_list *out,
                         struct err *err);

/* The items, each in angle brackets; or the complaint. */
static const char *items_of(split_fn split, const char *text)
{
    struct conf_list list;
    if (!split(slice_str(text), store, &list, &err))
        return err.text;
    struct text all;
    text_init(&all, 65536);
    for (size_t i = 0; i < list.count; i++)
        text_put(&all, "<%s>", list.items[i]);
    const char *shown = conf_store_str(store, text_view(&all));
    text_fini(&all);
    return shown;
}

static const char open_quote[] = "a quote is not closed; inside quotes a quote is written \\\"";

Test(conf_value, splits_words)
{
    const char *const cases[][2] = {
        { "", "" },
        { " \t ", "" },
        { "a", "<a>" },
        { "  r1\t10.0.0.1:5672  check ", "<r1><10.0.0.1:5672><check>" },
        { "\"a b\" c", "<a b><c>" },
        { "a\"b c\"d", "<ab cd>" },
        { "\"\" x \"\"", "<><x><>" },
        { "\"\\\"\\\\\\n\"", "<\"\\\\n>" },
        { "a\\b \\\\", "<a\\b><\\\\>" }, /* outside quotes a backslash is one */
        { "a;b#c", "<a;b#c>" },
        { "\"a", open_quote },
        { "a\"", open_quote },
        { "\"a\\\"", open_quote },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_text(items_of(conf_words, cases[i][0]), cases[i][1]);
}

Test(conf_value, splits_at_commas)
{
    static const char empty[] = "an item between commas is empty";
    const char *const cases[][2] = {
        { "a", "<a>" },
        { "a,b", "<a><b>" },
        { " a b , c ", "<a b><c>" },
        { "\"a,b\",c", "<a,b><c>" },
        { "\" a \" , \"\"", "< a ><>" },
        { "x\" \"", "<x >" },
        { "", empty },
        { " ", empty },
        { ",", empty },
        { "a,", empty },
        { ",a", empty },
        { "a, ,b", empty },
        { "a,\"b", open_quote },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_text(items_of(conf_commas, cases[i][0]), cases[i][1]);
}

Test(conf_value, holds_long_lists_and_bounds_words)
{
    enum { COUNT = 1000 };
    struct text all;
    text_init(&all, 1 << 20);
    for (int i = 0; i < COUNT; i++)
        text_put(&all, "%d ", i);
    struct conf_list list;
    cr_assert(conf_words(text_view(&all), store, &list, &err));
    cr_assert(eq(sz, list.count, COUNT));
    for (int i = 0; i < COUNT; i++) {
        char want[16];
        snprintf(want, sizeof want, "%d", i);
        expect_text(list.items[i], want);
    }
    text_clear(&all);
    for (int i = 0; i < 65536; i++)
        text_char(&all, 'x');
    cr_expect(not(conf_words(text_view(&all), store, &list, &err)));
    expect_text(err.text, "a word is longer than 65536 octets");
    all.len--;
    cr_expect(conf_words(text_view(&all), store, &list, &err));
    text_fini(&all);
}

Test(conf_value, takes_quotes_off)
{
    const char *out;
    cr_expect(conf_unquote(slice_str(" \"a ; \\\"b\\\"\" "), store, &out, &err));
    expect_text(out, "a ; \"b\"");
    cr_expect(conf_unquote(slice_str("a b"), store, &out, &err));
    expect_text(out, "a b");
    cr_expect(conf_unquote(slice_str(""), store, &out, &err));
    expect_text(out, "");
    cr_expect(not(conf_unquote(slice_str("\""), store, &out, &err)));
}

Test(conf_value, finds_where_a_comment_begins)
{
    const struct {
        const char *text;
        size_t end;
    } cases[] = {
        { "", 0 },    { "a", 1 },      { "a ; b", 2 },       { "a;b", 3 },
        { ";b", 0 },  { " \t;b", 2 },  { "\" ; \" ; x", 6 }, { "a\t;", 2 },
        { "a#b", 3 }, { "\" #\"", 4 }, { "\";\"", 3 },       { "\"\\\" ;\"", 6 },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t end_at = 99;
        cr_assert(conf_value_end(slice_str(cases[i].text), &end_at, &err), "%s", cases[i].text);
        cr_expect(eq(sz, end_at, cases[i].end), "%s", cases[i].text);
    }
    size_t end_at;
    cr_expect(not(conf_value_end(slice_str("a # b"), &end_at, &err)));
    cr_expect(not(conf_value_end(slice_str("#b"), &end_at, &err)));
    cr_expect(not(conf_value_end(slice_str("\"a ; b"), &end_at, &err)));
}

Test(conf_value, tells_shares_from_sizes)
{
    struct conf_share s;
    cr_assert(conf_share_of(slice_str("40%"), &s));
    cr_expect(s.is_fraction && fabs(s.fraction - 0.4) < 1e-12);
    cr_assert(conf_share_of(slice_str("0.25"), &s));
    cr_expect(s.is_fraction && fabs(s.fraction - 0.25) < 1e-12);
    cr_assert(conf_share_of(slice_str("2G"), &s));
    cr_expect(eq(u64, s.bytes, UINT64_C(2) << 30));
    cr_expect(not(s.is_fraction));
    cr_assert(conf_share_of(slice_str("1"), &s));
    cr_expect(not(s.is_fraction));
    const char *const bad[] = { "", "x", "1.1", "101%", "2.5G", "%", "-1" };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(not(conf_share_of(slice_str(bad[i]), &s)), "%s", bad[i]);
}

/* "tcp HOST PORT", "unix PATH", or the complaint. */
static const char *address_of(const char *text, int default_port)
{
    static char shown[600];
    struct conf_address a;
    if (!conf_address_of(text, default_port, store, &a, &err))
        return err.text;
    if (a.kind == CONF_ADDRESS_UNIX)
        snprintf(shown, sizeof shown, "unix %s", a.path);
    else
        snprintf(shown, sizeof shown, "tcp %s %u", a.host, (unsigned)a.port);
    return shown;
}

Test(conf_value, reads_addresses)
{
    static const char six[] = "an IPv6 address is written [address]:port";
    static const char port[] = "the port must be a number from 0 to 65535";
    static const char host[] = "that is no host name or address";
    const char *const cases[][2] = {
        { "a.example:5672", "tcp a.example 5672" },
        { ":5672", "tcp  5672" },
        { "*:5672", "tcp  5672" },
        { " 10.0.0.1:0 ", "tcp 10.0.0.1 0" },
        { "[::1]:65535", "tcp ::1 65535" },
        { "[fe80::1%eth0]:1", "tcp fe80::1%eth0 1" },
        { "/run/x.sock", "unix /run/x.sock" },
        { "unix@/run/x y", "unix /run/x y" },
        { "", "an address is missing: host:port, :port or [v6]:port" },
        { "a", "a port is missing: host:port, :port or [v6]:port" },
        { "[::1]", "a port is missing: host:port, :port or [v6]:port" },
        { "5672", "a port is missing: host:port, :port or [v6]:port" },
        { "a:", port },
        { "a:65536", port },
        { "a:-1", port },
        { "a:5672x", port },
        { "a:000000", port },
        { "::1:5672", six },
        { "[::1:5672", six },
        { "[]:5672", six },
        { "[::1]5672", six },
        { "[::1]:5:6", six },
        { "a b:1", host },
        { "a/b:1", host },
        { "unix@run/x", "the path of a unix socket starts with /" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_text(address_of(cases[i][0], -1), cases[i][1]);
    expect_text(address_of("a", 25672), "tcp a 25672");
    expect_text(address_of("[::1]", 25672), "tcp ::1 25672");
    expect_text(address_of("a:1", 25672), "tcp a 1");
}

Test(conf_value, prints_into_the_store)
{
    expect_text(conf_store_put(store, "%s-%d", "a", 7), "a-7");
    expect_text(conf_store_put(store, "%s", ""), "");
    uint64_t *zeroed = conf_store_alloc(store, sizeof *zeroed);
    cr_expect(eq(u64, *zeroed, 0));
    struct conf_store *none = NULL;
    conf_store_free(&none);
}
