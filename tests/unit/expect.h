/*
 * expect: what Criterion's macros do not say well. `eq(str, ...)` wants texts that may be changed;
 * ours are const.
 */
#ifndef WARREN_TESTS_EXPECT_H
#define WARREN_TESTS_EXPECT_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

/* A sanitizer steps in before some errors of the system can be seen. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EXPECT_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define EXPECT_SANITIZER 1
#endif
#endif

static inline const char *expect_shown(const char *text)
{
    return text != NULL ? text : "(null)";
}

#define expect_text(got, want)                                                                     \
    do {                                                                                           \
        const char *expect_got = (got), *expect_want = (want);                                     \
        cr_expect(expect_got != NULL && strcmp(expect_got, expect_want) == 0,                      \
                  "got \"%s\", want \"%s\"", expect_shown(expect_got), expect_want);               \
    } while (0)

#endif
