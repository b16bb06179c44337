#include "base/slice.h"

#include "expect.h"

#include <stdio.h>

static const struct slice nothing = { NULL, 0 };

Test(slice, compares)
{
    cr_expect(slice_eq(nothing, slice_of("x", 0)));
    cr_expect(slice_eq(slice_of("a\0b", 3), slice_of("a\0b", 3)));
    cr_expect(not(slice_eq(slice_of("a\0b", 3), slice_of("a\0c", 3))));
    cr_expect(not(slice_eq(slice_str("ab"), slice_str("abc"))));
    cr_expect(slice_is(slice_str("ab"), "ab"));
    cr_expect(slice_is(nothing, ""));
    cr_expect(not(slice_is(slice_str("ab"), "a")));
    cr_expect(not(slice_is(slice_str("a"), "ab")));
}

Test(slice, orders)
{
    cr_expect(slice_cmp(nothing, nothing) == 0);
    cr_expect(slice_cmp(nothing, slice_str("a")) < 0);
    cr_expect(slice_cmp(slice_str("a"), nothing) > 0);
    cr_expect(slice_cmp(slice_str("a"), slice_str("ab")) < 0);
    cr_expect(slice_cmp(slice_str("b"), slice_str("ab")) > 0);
    cr_expect(slice_cmp(slice_str("\xFF"), slice_str("a")) > 0); /* by octets */
    cr_expect(slice_cmp(slice_str("ab"), slice_str("ab")) == 0);
}

Test(slice, starts)
{
    cr_expect(slice_starts(slice_str("abc"), ""));
    cr_expect(slice_starts(nothing, ""));
    cr_expect(slice_starts(slice_str("abc"), "abc"));
    cr_expect(not(slice_starts(slice_str("ab"), "abc")));
    cr_expect(not(slice_starts(nothing, "a")));
}

Test(slice, cuts)
{
    struct slice s = slice_str("abc");
    for (size_t n = 0; n < 5; n++) {
        size_t head = n < 3 ? n : 3;
        cr_expect(eq(sz, slice_head(s, n).len, head));
        cr_expect(eq(sz, slice_from(s, n).len, 3 - head));
    }
    cr_expect(slice_is(slice_from(s, 1), "bc"));
    cr_expect(slice_is(slice_head(s, 1), "a"));
    cr_expect(eq(sz, slice_head(nothing, 4).len, 0));
    cr_expect(eq(sz, slice_from(nothing, 4).len, 0));
}

Test(slice, trims)
{
    cr_expect(slice_is(slice_trim(slice_str(" \ta b\t ")), "a b"));
    cr_expect(slice_is(slice_trim(slice_str("a")), "a"));
    cr_expect(slice_is(slice_trim(slice_str(" \n ")), "\n"));
    cr_expect(eq(sz, slice_trim(slice_str(" \t ")).len, 0));
    cr_expect(eq(sz, slice_trim(nothing).len, 0));
}

Test(slice, prints)
{
    char room[16];
    snprintf(room, sizeof room, "<%.*s>", SLICE_ARG(slice_head(slice_str("abc"), 2)));
    expect_text(room, "<ab>");
    snprintf(room, sizeof room, "<%.*s>", SLICE_ARG(nothing));
    expect_text(room, "<>");
}
