#include "base/err.h"

#include "base/check.h"

#include <stdio.h>
#include <string.h>

static const char *const code_texts[] = {
#define X(name, text) text,
    ERR_CODES(X)
#undef X
};

static void mark_cut(char *text, int wanted)
{
    if (wanted >= ERR_TEXT_MAX)
        memcpy(text + ERR_TEXT_MAX - 4, "...", 4);
}

bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    CHECK(err != NULL && code != ERR_NONE);
    err->code = code;
    va_list args;
    va_start(args, fmt);
    int wanted = vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    mark_cut(err->text, wanted);
    return false;
}

bool err_context(struct err *err, const char *fmt, ...)
{
    CHECK(err != NULL && err->code != ERR_NONE);
    char was[ERR_TEXT_MAX];
    memcpy(was, err->text, sizeof was);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    if (n >= 0 && n < ERR_TEXT_MAX)
        n += snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", was);
    mark_cut(err->text, n);
    return false;
}

const char *err_code_text(enum err_code code)
{
    CHECK((unsigned)code < ARRAY_COUNT(code_texts));
    return code_texts[code];
}
