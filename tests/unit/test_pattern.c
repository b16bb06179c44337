#include "base/pattern.h"

#include "base/attr.h"
#include "base/mem.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

static bool matches(const char *text, const char *subject)
{
    struct pattern_error err;
    struct pattern *p = pattern_new(slice_str(text), &err);
    cr_assert(p != NULL, "%s: %s", text, err.text);
    bool found = pattern_matches(p, slice_str(subject));
    pattern_free(&p);
    cr_assert(p == NULL);
    return found;
}

Test(pattern, searches_anywhere)
{
    static const struct {
        const char *text;
        const char *subject;
        bool found;
    } known[] = {
        { "", "", true },
        { "", "a", true },
        { ".*", "", true },
        { ".*", "a", true },
        { "^", "a", true },
        { "^.*", "", true },
        { "^$", "", true },
        { "^$", "a", false },
        { "b", "abc", true },
        { "b", "ac", false },
        { "^b", "abc", false },
        { "^ab", "abc", true },
        { "^ab", "a", false },
        { "^ab", "", false },
        { "^ab.*", "ab", true },
        { "^ab$", "ab", true },
        { "^ab$", "abc", false },
        { "^ab$", "a", false },
        { "^ab?", "a", true },
        { "^ab*$", "abbb", true },
        { "^ab+$", "a", false },
        { "^ab{2}$", "abb", true },
        { "^a.b", "axb", true },
        { "^a\\.b", "axb", false },
        { "^a\\.b", "a.b", true },
        { "^a\\.b$", "a.b", true },
        { "^a\\d$", "a7", true },
        { "^a|b", "xb", true },
        { "^(a|b)", "xb", false },
        { "^amq\\.", "amq.x", true },
        { "^amq\\.", "amqx", false },
        { "^a\\.*$", "a..", true },
        { "(a)\\1", "aa", true },
        { "^(?!amq\\.).*", "amq.x", false },
        { "^(?!amq\\.).*", "q", true },
        { "^ab$", "ab\n", true },
        { "^ab$", "ab\n\n", false },
        { "^a b$", "a b", true },
        { "(?i)^AB$", "ab", true },
        { "[[:digit:]]", "a1", true },
        { "\\bq\\b", "a q", true },
        { "^.*$", "a", true },
        { "a$", "ba", true },
        { "^a-b_c:d/e@f%g", "a-b_c:d/e@f%gh", true },
    };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        cr_expect(eq(int, matches(known[i].text, known[i].subject), known[i].found), "%s on %s",
                  known[i].text, known[i].subject);
}

/* What is simple means the same as what the machine makes of it: "(?:)" keeps it from being so. */
Test(pattern, has_shortcuts_that_change_nothing)
{
    static const char *const texts[] = { "",      ".*",     "^",      "^.*",     "^a",    "^a.*",
                                         "^a$",   "^a\\.",  "^a\\.$", "^a\\$",   "^\\\\", "^$",
                                         "^a\\*", "^a\\+b", "^-",     "^a,b %@", "^a\\:", "^a\\_" };
    static const char *const subjects[] = { "",    "a",      "ab", "a.",   "a.b",   "b",  "\\",
                                            "\\a", "a\n",    "\n", "a\nb", "a$",    "a*", "a+b",
                                            "-",   "a,b %@", "a:", "a_",   "a\n\n", " a" };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        char slow[64];
        snprintf(slow, sizeof slow, "(?:)%s", texts[i]);
        for (size_t j = 0; j < ARRAY_COUNT(subjects); j++)
            cr_expect(eq(int, matches(texts[i], subjects[j]), matches(slow, subjects[j])),
                      "%s on %s", texts[i], subjects[j]);
    }
}

Test(pattern, takes_octets_that_are_no_text)
{
    struct pattern_error err;
    const uint8_t octets[] = { 0xFF, 0x00, 0xC3 };
    struct pattern *p = pattern_new(slice_of("^\xFF", 2), &err);
    cr_assert(p != NULL);
    cr_expect(pattern_matches(p, slice_of(octets, sizeof octets)));
    cr_expect(not(pattern_matches(p, slice_of(octets + 1, 2))));
    cr_expect(not(pattern_matches(p, (struct slice){ NULL, 0 })));
    pattern_free(&p);
    p = pattern_new((struct slice){ NULL, 0 }, &err);
    cr_assert(p != NULL);
    cr_expect(pattern_matches(p, (struct slice){ NULL, 0 }));
    pattern_free(&p);
}

Test(pattern, says_what_is_wrong)
{
    static const struct {
        const char *text;
        const char *why;
    } bad[] = {
        { "(a", "missing )" },
        { "a)", "unmatched parentheses" },
        { "*a", "nothing to repeat" },
        { "[a", "missing terminating ] for character class" },
        { "a\\", "\\ at end of pattern" },
        { "a{2,1}", "numbers out of order in {} quantifier" },
        { "[b-a]", "range out of order in character class" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct pattern_error err;
        struct pattern *p = pattern_new(slice_str(bad[i].text), &err);
        cr_assert(p == NULL, "%s", bad[i].text);
        cr_expect(eq(str, err.text, (char *)(uintptr_t)bad[i].why));
        cr_expect(le(sz, err.at, strlen(bad[i].text)));
    }
}

/* None of these may hang, overrun the stack or stop the process. */
Test(pattern, is_bounded, .timeout = 300)
{
    static const char *const evil[] = { "(a+)+$", "(a|aa)+$", "(a*)*b",
                                        "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*)*(.*)*(.*)*b" };
    char subject[256];
    memset(subject, 'a', sizeof subject - 2);
    subject[sizeof subject - 2] = '!';
    subject[sizeof subject - 1] = '\0';
    for (size_t i = 0; i < ARRAY_COUNT(evil); i++)
        cr_expect(not(matches(evil[i], subject)), "%s", evil[i]);

    struct pattern_error err;
    char *deep = mem_alloc(PATTERN_BYTES_MAX + 1);
    memset(deep, '(', PATTERN_BYTES_MAX + 1);
    struct pattern *p = pattern_new(slice_of(deep, PATTERN_BYTES_MAX), &err);
    cr_expect(p == NULL);
    p = pattern_new(slice_of(deep, PATTERN_BYTES_MAX + 1), &err);
    cr_expect(p == NULL);
    memset(deep, 'a', PATTERN_BYTES_MAX);
    deep[0] = '^';
    p = pattern_new(slice_of(deep, PATTERN_BYTES_MAX), &err);
    cr_assert(p != NULL);
    cr_expect(ge(sz, pattern_bytes(p), PATTERN_BYTES_MAX - 1));
    pattern_free(&p);
    mem_free(deep);
}
