#include "base/check.h"
#include "base/err.h"

#include "expect.h"

#include <signal.h>

Test(err, holds_a_code_and_a_message)
{
    struct err err;
    cr_expect(not(err_set(&err, ERR_IO, "file %s: %d", "x", 7)));
    cr_expect(eq(int, err.code, ERR_IO));
    expect_text(err.text, "file x: 7");
}

Test(err, takes_context_in_front)
{
    struct err err;
    err_set(&err, ERR_TLS, "expired");
    cr_expect(not(err_context(&err, "certificate %s", "a.pem")));
    cr_expect(not(err_context(&err, "listener")));
    cr_expect(eq(int, err.code, ERR_TLS));
    expect_text(err.text, "listener: certificate a.pem: expired");
}

static void fill(char *s, size_t n)
{
    memset(s, 'x', n);
    s[n] = '\0';
}

Test(err, marks_a_message_that_was_cut)
{
    struct err err;
    char text[2 * ERR_TEXT_MAX];
    fill(text, ERR_TEXT_MAX - 1); /* just fits */
    err_set(&err, ERR_IO, "%s", text);
    expect_text(err.text, text);
    fill(text, ERR_TEXT_MAX); /* one past */
    err_set(&err, ERR_IO, "%s", text);
    cr_expect(eq(sz, strlen(err.text), ERR_TEXT_MAX - 1));
    expect_text(err.text + ERR_TEXT_MAX - 5, "x...");
}

/* Whatever the lengths of message and context: ended, within bounds, marked if and only if cut. */
Test(err, stays_within_bounds_with_context)
{
    for (size_t n = 0; n < ERR_TEXT_MAX + 20; n += n < ERR_TEXT_MAX - 20 ? 37 : 1) {
        struct err err;
        char context[2 * ERR_TEXT_MAX];
        fill(context, n);
        err_set(&err, ERR_IO, "cause");
        err_context(&err, "%s", context);
        size_t whole = n + strlen(": cause");
        size_t len = strlen(err.text);
        cr_expect(eq(sz, len, whole < ERR_TEXT_MAX ? whole : ERR_TEXT_MAX - 1));
        cr_expect(eq(int, strcmp(err.text + len - 3, "...") == 0, whole >= ERR_TEXT_MAX));
    }
}

Test(err, has_words_for_each_code)
{
    expect_text(err_code_text(ERR_NONE), "no error");
    expect_text(err_code_text(ERR_SYSTEM), "the operating system refused");
    for (int code = ERR_NONE; code <= ERR_SYSTEM; code++)
        cr_expect(err_code_text((enum err_code)code)[0] != '\0');
}

Test(err, aborts_on_an_unknown_code, .signal = SIGABRT)
{
    err_code_text((enum err_code)(ERR_SYSTEM + 1));
}

Test(err, aborts_on_context_without_error, .signal = SIGABRT)
{
    struct err err = { 0 };
    err_context(&err, "x");
}
