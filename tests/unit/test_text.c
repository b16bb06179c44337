#include "base/check.h"
#include "base/text.h"

#include "expect.h"

#include <signal.h>

Test(text, is_terminated_from_the_start)
{
    char room[1] = "x";
    struct text t = text_over(room, 1);
    expect_text(t.ptr, "");
    text_str(&t, "");
    text_slice(&t, (struct slice){ NULL, 0 });
    text_put(&t, "%s", "");
    cr_expect(not(t.cut));
    text_char(&t, 'a');
    cr_expect(t.cut);
    expect_text(t.ptr, "");
}

/* Each way to add, into every room: what fits is there, the rest is dropped and said to be. */
Test(text, drops_what_does_not_fit)
{
    const char *whole = "abc123de";
    for (size_t room = 1; room <= 12; room++) {
        char array[16];
        memset(array, '#', sizeof array);
        struct text t = text_over(array, room);
        text_char(&t, 'a');
        text_str(&t, "bc");
        text_put(&t, "%d", 123);
        text_slice(&t, slice_str("de"));
        size_t want = room - 1 < 8 ? room - 1 : 8;
        cr_expect(eq(sz, t.len, want));
        cr_expect(memcmp(array, whole, want) == 0 && array[want] == '\0' && array[room] == '#');
        cr_expect(eq(int, t.cut, room <= 8), "room %zu", room);
        text_clear(&t);
        cr_expect(not(t.cut));
        expect_text(t.ptr, "");
    }
}

Test(text, grows_up_to_its_bound)
{
    const size_t bounds[] = { 1, 2, 255, 256, 257, 1000, 100000 };
    for (size_t b = 0; b < ARRAY_COUNT(bounds); b++) {
        struct text t;
        text_init(&t, bounds[b]);
        for (size_t i = 0; i + 1 < bounds[b]; i++)
            text_char(&t, (char)('a' + i % 26));
        cr_expect(not(t.cut));
        cr_expect(eq(sz, t.len, bounds[b] - 1));
        text_char(&t, '!');
        cr_expect(t.cut);
        cr_expect(eq(sz, strlen(t.ptr), bounds[b] - 1));
        cr_expect(t.cap_bytes <= bounds[b]);
        text_fini(&t);
    }
}

Test(text, grows_for_one_large_piece)
{
    static char piece[70000];
    memset(piece, 'x', sizeof piece - 1);
    struct text t;
    text_init(&t, 1 << 20);
    text_put(&t, "%s-%s", piece, piece);
    cr_expect(eq(sz, t.len, 2 * (sizeof piece - 1) + 1));
    cr_expect(not(t.cut));
    cr_expect(slice_starts(text_view(&t), "xx"));
    text_fini(&t);
}

Test(text, aborts_when_an_array_is_to_be_freed, .signal = SIGABRT)
{
    char room[4];
    struct text t = text_over(room, sizeof room);
    text_fini(&t);
}

Test(text, shows_octets_for_people)
{
    char room[64];
    struct text t = text_over(room, sizeof room);
    text_escaped(&t, slice_of("a \"\\\n\0~\x7F\xFF", 9));
    expect_text(t.ptr, "a \\x22\\x5C\\x0A\\x00~\\x7F\\xFF");
}

static void expect_utf8(const char *octets, size_t len, const char *want)
{
    char room[64];
    struct text t = text_over(room, sizeof room);
    text_utf8(&t, slice_of(octets, len));
    expect_text(t.ptr, want);
}

#define BAD "\xEF\xBF\xBD"

Test(text, keeps_good_utf8_and_replaces_the_rest)
{
    const struct {
        const char *octets, *want;
    } cases[] = {
        { "", "" },
        { "plain", "plain" },
        { "\xC2\x80 \xC3\xA9 \xDF\xBF", "\xC2\x80 \xC3\xA9 \xDF\xBF" },
        { "\xE0\xA0\x80\xEF\xBF\xBF", "\xE0\xA0\x80\xEF\xBF\xBF" },
        { "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF" },
        { "a\nb\x7F", "a" BAD "b" BAD }, /* control characters */
        { "\x80", BAD },                 /* no first octet */
        { "\xC0\xAF", BAD BAD },         /* longer than needed */
        { "\xE0\x9F\xBF", BAD BAD BAD },
        { "\xF0\x8F\xBF\xBF", BAD BAD BAD BAD },
        { "\xED\xA0\x80", BAD BAD BAD },         /* a surrogate */
        { "\xF4\x90\x80\x80", BAD BAD BAD BAD }, /* past the last */
        { "\xF5", BAD },
        { "\xE2\x82", BAD BAD }, /* ends too early */
        { "\xE2\x82x", BAD BAD "x" },
        { "\xC3", BAD },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        expect_utf8(cases[i].octets, strlen(cases[i].octets), cases[i].want);
    expect_utf8("a\0b", 3, "a" BAD "b");
}
