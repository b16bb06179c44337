#include "model/headers.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

struct table {
    uint8_t room[8192];
    struct wire_out w;
};

static struct wire_out *begin(struct table *t)
{
    t->w = wire_out_over(t->room, sizeof t->room);
    return &t->w;
}

static struct slice end(struct table *t)
{
    cr_assert(not(t->w.overflow));
    return wire_out_slice(&t->w);
}

/* "a=1 b=x c" : numbers, words, and names without a value, which are void. */
static struct slice table_of(struct table *t, const char *text)
{
    char copy[256], *save = NULL;
    snprintf(copy, sizeof copy, "%s", text);
    struct wire_out *w = begin(t);
    for (char *f = strtok_r(copy, " ", &save); f != NULL; f = strtok_r(NULL, " ", &save)) {
        char *value = strchr(f, '=');
        if (value == NULL) {
            amqp_table_put_void(w, f);
            continue;
        }
        *value++ = '\0';
        if (*value >= '0' && *value <= '9')
            amqp_table_put_i32(w, f, *value - '0');
        else
            amqp_table_put_text(w, f, value);
    }
    return end(t);
}

static bool matches(const char *args, const char *headers)
{
    struct table a, m, sorted;
    struct headers h;
    headers_init(&h);
    headers_read(&h, table_of(&m, headers));
    struct slice raw = table_of(&a, args);
    headers_sort_table(raw, sorted.room);
    bool is = headers_match(slice_of(sorted.room, raw.len), &h);
    headers_fini(&h);
    return is;
}

Test(headers, matches_as_rabbitmq_does)
{
    static const struct {
        const char *args;
        const char *headers;
        bool matches;
    } known[] = {
        { "x-match=all a=1 b=2", "a=1 b=2", true },
        { "x-match=all a=1 b=2", "b=2 c=3 a=1", true },
        { "x-match=all a=1 b=2", "a=1", false },
        { "x-match=all a=1 b=2", "a=1 b=3", false },
        { "a=1 b=2", "a=1 b=2", true }, /* all is the default */
        { "a=1 b=2", "a=1", false },
        { "x-match=any a=1 b=2", "b=2", true },
        { "x-match=any a=1 b=2", "a=2 b=2", true },
        { "x-match=any a=1 b=2", "a=2 b=1", false },
        { "x-match=any a=1 b=2", "", false },
        { "x-match=any", "a=1", false },
        { "x-match=any", "", false },
        { "x-match=all", "a=1", true },
        { "x-match=all", "", true },
        { "", "a=1", true },
        { "", "", true },
        { "a", "a=5", true }, /* there, whatever it is */
        { "a", "a", true },
        { "a", "b=5", false },
        { "a=5", "a", false },
        { "a=x", "a=x", true },
        { "a=x", "a=y", false },
        { "a=1", "a=one", false },
        { "x-match=all x-foo=1", "", true }, /* x-... does not count */
        { "x-match=all x-foo=1 a=1", "a=1", true },
        { "x-match=any x-foo=1", "x-foo=1", false },
        { "x-match=all-with-x x-foo=1", "", false },
        { "x-match=all-with-x x-foo=1", "x-foo=1", true },
        { "x-match=all-with-x x-foo=1 a=1", "a=1", false },
        { "x-match=any-with-x x-foo=1 a=1", "x-foo=1", true },
        { "x-match=any-with-x x-foo=1 a=1", "x-foo=2", false },
        { "x-match=all-with-x", "", true },
        { "a=1 a=2", "a=1 a=2", true }, /* each wants a header of its own */
        { "a=1 a=1", "a=1", false },
    };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        cr_expect(eq(int, matches(known[i].args, known[i].headers), known[i].matches),
                  "[%s] against [%s]", known[i].args, known[i].headers);
}

Test(headers, compares_numbers_by_value)
{
    struct table a, m;
    struct headers h;
    headers_init(&h);
    amqp_table_put_i64(begin(&a), "n", 7);
    amqp_table_put_double(begin(&m), "n", 7.0);
    headers_read(&h, end(&m));
    cr_expect(headers_match(end(&a), &h));
    amqp_table_put_double(begin(&m), "n", 7.5);
    headers_read(&h, end(&m));
    cr_expect(not(headers_match(end(&a), &h)));
    headers_fini(&h);
}

/* More than it has room for inline, in the worst order, with equal names. */
Test(headers, sorts_many)
{
    enum { COUNT = 200 };
    struct table t, sorted;
    char name[16];
    struct wire_out *w = begin(&t);
    for (int i = COUNT; i-- > 0;) {
        snprintf(name, sizeof name, "h%03d", i / 2);
        amqp_table_put_i32(w, name, i);
    }
    struct slice raw = end(&t);
    headers_sort_table(raw, sorted.room);
    struct amqp_table_iter it = amqp_table_iter_init(slice_of(sorted.room, raw.len));
    struct amqp_field f;
    int n = 0;
    for (; amqp_table_iter_next(&it, &f); n++) {
        snprintf(name, sizeof name, "h%03d", n / 2);
        cr_assert(slice_is(f.name, name));
        cr_assert(eq(i64, f.i64, n / 2 * 2 + 1 - n % 2), "equal names keep their order");
    }
    cr_expect(eq(int, n, COUNT));

    struct headers h;
    headers_init(&h);
    headers_read(&h, raw);
    cr_expect(eq(sz, h.count, COUNT));
    headers_read(&h, slice_str(""));
    cr_expect(eq(sz, h.count, 0));
    headers_fini(&h);
}
