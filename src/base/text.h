/*
 * text: bounded string building, always terminated.
 *
 * Either over the caller's array (text_over) or in memory that grows up to a bound (text_init).
 * What does not fit is dropped and `cut` says so: whoever shows the text decides whether that
 * matters. One thread.
 */
#ifndef WARREN_TEXT_H
#define WARREN_TEXT_H

#include "base/attr.h"
#include "base/slice.h"

#include <stdarg.h>

struct text {
    char *ptr;  /* terminated */
    size_t len; /* octets, without the terminator */
    size_t cap_bytes;
    size_t max_bytes; /* how far cap may grow */
    bool owned;       /* ptr is ours to grow and free */
    bool cut;
};

/* Build in the caller's array of `room` octets (at least 1, the terminator included). */
struct text text_over(char *array, size_t room);

/* Build in our own memory, up to max_bytes. Needs text_fini. */
void text_init(struct text *t, size_t max_bytes);
void text_fini(struct text *t);

void text_clear(struct text *t);
void text_char(struct text *t, char c);
void text_str(struct text *t, const char *s);
void text_slice(struct text *t, struct slice s);
void text_put(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void text_vput(struct text *t, const char *fmt, va_list args) PRINTF_LIKE(2, 0);

/* Octets from outside, for people: what is not printable ASCII, quotes and backslashes as \xHH. */
void text_escaped(struct text *t, struct slice s);

/* Octets from outside as UTF-8 without control characters: each octet that is neither becomes the
 * replacement character U+FFFD (three octets). For JSON and the like. */
void text_utf8(struct text *t, struct slice s);
#define TEXT_UTF8_GROWTH 3u

static inline struct slice text_view(const struct text *t)
{
    return slice_of(t->ptr, t->len);
}

#endif
