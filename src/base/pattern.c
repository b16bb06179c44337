#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/pattern.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"

#include <pcre2.h>

#define MATCH_STEPS_MAX 50000u /* half a millisecond or so */
#define HEAP_KIB_MAX    1024u
#define NESTING_MAX     100u /* of parentheses */

/* Most patterns are a prefix, or nothing but ".*": those need no machine. */
enum kind { ANYTHING, PREFIX, WHOLE, COMPILED };

struct pattern {
    enum kind kind;
    size_t literal_bytes;
    pcre2_code *code; /* if COMPILED */
    pcre2_match_context *bounds;
    char literal[]; /* if PREFIX or WHOLE: what the subject begins with, or is */
};

/* ---- simple ones ---- */

static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == ':' || c == '/' || c == ' ' || c == ',' || c == '@' || c == '%';
}

static bool is_escapable(uint8_t c)
{
    return c == '.' || c == '-' || c == '/' || c == '_' || c == ':' || c == '*' || c == '+' ||
           c == '$' || c == '\\';
}

/* "^abc\.d" and its like: the literal behind the "^" goes to `out`; returns what follows it. */
static struct slice cut_literal(struct slice rest, struct text *out)
{
    while (rest.len != 0) {
        bool escaped = rest.len >= 2 && rest.ptr[0] == '\\' && is_escapable(rest.ptr[1]);
        if (!escaped && !is_plain(rest.ptr[0]))
            break;
        size_t n = escaped ? 2 : 1;
        /* A quantifier behind it makes the last one something else. */
        if (rest.len > n && strchr("*+?{", rest.ptr[n]) != NULL)
            break;
        text_char(out, (char)rest.ptr[n - 1]);
        rest = slice_from(rest, n);
    }
    return rest;
}

static bool is_anything(struct slice text)
{
    static const char *const known[] = { "", ".*", "^", "^.*" };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (slice_is(text, known[i]))
            return true;
    return false;
}

static struct pattern *simple(enum kind kind, struct slice literal)
{
    struct pattern *p = mem_zalloc(sizeof *p + literal.len);
    p->kind = kind;
    p->literal_bytes = literal.len;
    if (literal.len != 0)
        memcpy(p->literal, literal.ptr, literal.len);
    return p;
}

/* "^abc" and "^abc.*", and "^abc$"; NULL when it is not that simple. "$" also matches before a
 * last line feed: see pattern_matches. */
static struct pattern *simple_new(struct slice text)
{
    if (is_anything(text))
        return simple(ANYTHING, (struct slice){ NULL, 0 });
    if (text.len == 0 || text.ptr[0] != '^')
        return NULL;
    char room[PATTERN_BYTES_MAX + 1];
    struct text literal = text_over(room, sizeof room);
    struct slice rest = cut_literal(slice_from(text, 1), &literal);
    if (rest.len == 0 || slice_is(rest, ".*"))
        return simple(PREFIX, text_view(&literal));
    return slice_is(rest, "$") ? simple(WHOLE, text_view(&literal)) : NULL;
}

/* ---- the others ---- */

/* What PCRE2 says in other words than PCRE 8 did. */
static const struct {
    int code;
    const char *text;
} old_words[] = {
    { PCRE2_ERROR_QUANTIFIER_INVALID, "nothing to repeat" },
    { PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS, "missing )" },
    { PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS, "unmatched parentheses" },
    { PCRE2_ERROR_MISSING_COMMENT_CLOSING, "missing ) after comment" },
    { PCRE2_ERROR_MISSING_CONDITION_CLOSING, "missing )" },
    { PCRE2_ERROR_MISSING_NAME_TERMINATOR, "syntax error in subpattern name (missing terminator)" },
};

static void explain(struct pattern_error *err, int code, size_t at)
{
    err->at = at;
    for (size_t i = 0; i < ARRAY_COUNT(old_words); i++) {
        if (old_words[i].code != code)
            continue;
        struct text t = text_over(err->text, sizeof err->text);
        text_str(&t, old_words[i].text);
        return;
    }
    pcre2_get_error_message(code, (PCRE2_UCHAR *)err->text, sizeof err->text);
}

static pcre2_code *compile(struct slice text, struct pattern_error *err)
{
    int code;
    PCRE2_SIZE at;
    pcre2_compile_context *how = pcre2_compile_context_create(NULL);
    CHECK(how != NULL);
    pcre2_set_newline(how, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(how, NESTING_MAX);
    pcre2_code *out = pcre2_compile(text.ptr, text.len, 0, &code, &at, how);
    pcre2_compile_context_free(how);
    if (out == NULL)
        explain(err, code, at);
    return out;
}

struct pattern *pattern_new(struct slice text, struct pattern_error *err)
{
    if (text.len > PATTERN_BYTES_MAX) {
        explain(err, PCRE2_ERROR_PATTERN_TOO_LARGE, PATTERN_BYTES_MAX);
        return NULL;
    }
    struct pattern *p = simple_new(text);
    if (p != NULL)
        return p;
    pcre2_code *code = compile(text, err);
    if (code == NULL)
        return NULL;
    p = mem_zalloc(sizeof *p);
    p->kind = COMPILED;
    p->code = code;
    p->bounds = pcre2_match_context_create(NULL);
    CHECK(p->bounds != NULL);
    pcre2_set_match_limit(p->bounds, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(p->bounds, HEAP_KIB_MAX);
    return p;
}

void pattern_free(struct pattern **pattern)
{
    struct pattern *p = *pattern;
    *pattern = NULL;
    if (p == NULL)
        return;
    pcre2_code_free(p->code);
    pcre2_match_context_free(p->bounds);
    mem_free(p);
}

size_t pattern_bytes(const struct pattern *p)
{
    size_t code_bytes = 0;
    if (p->kind == COMPILED)
        pcre2_pattern_info(p->code, PCRE2_INFO_SIZE, &code_bytes);
    return sizeof *p + p->literal_bytes + code_bytes;
}

static bool run(const struct pattern *p, struct slice subject)
{
    static const uint8_t nothing;
    pcre2_match_data *found = pcre2_match_data_create(1, NULL);
    CHECK(found != NULL);
    const uint8_t *ptr = subject.len != 0 ? subject.ptr : &nothing;
    int rc = pcre2_match(p->code, ptr, subject.len, 0, 0, found, p->bounds);
    pcre2_match_data_free(found);
    return rc >= 0; /* else no match, or too much to find one */
}

bool pattern_matches(const struct pattern *p, struct slice subject)
{
    struct slice literal = slice_of(p->literal, p->literal_bytes);
    switch (p->kind) {
    case ANYTHING:
        return true;
    case PREFIX:
        return slice_eq(slice_head(subject, literal.len), literal);
    case WHOLE:
        if (subject.len == literal.len + 1 && subject.ptr[literal.len] == '\n')
            subject.len--;
        return slice_eq(subject, literal);
    case COMPILED:
        return run(p, subject);
    }
    UNREACHABLE("kind of pattern");
}
