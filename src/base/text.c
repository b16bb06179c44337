#include "base/text.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdio.h>

#define FIRST_CAP_BYTES ((size_t)256)

struct text text_over(char *array, size_t room)
{
    CHECK(room > 0);
    array[0] = '\0';
    return (struct text){ .ptr = array, .cap_bytes = room, .max_bytes = room };
}

void text_init(struct text *t, size_t max_bytes)
{
    CHECK(max_bytes > 0);
    size_t cap = max_bytes < FIRST_CAP_BYTES ? max_bytes : FIRST_CAP_BYTES;
    *t = (struct text){ .ptr = mem_alloc(cap), .cap_bytes = cap, .max_bytes = max_bytes };
    t->owned = true;
    t->ptr[0] = '\0';
}

void text_fini(struct text *t)
{
    CHECK(t->owned);
    mem_free(t->ptr);
    *t = (struct text){ 0 };
}

void text_clear(struct text *t)
{
    t->len = 0;
    t->cut = false;
    t->ptr[0] = '\0';
}

/* Make room for `more` octets and the terminator; returns how many of them fit. */
static size_t make_room(struct text *t, size_t more)
{
    size_t free_bytes = t->cap_bytes - t->len - 1;
    if (more <= free_bytes)
        return more;
    if (t->owned && t->cap_bytes < t->max_bytes) {
        size_t want = t->cap_bytes * 2 > t->len + more + 1 ? t->cap_bytes * 2 : t->len + more + 1;
        t->cap_bytes = want < t->max_bytes ? want : t->max_bytes;
        t->ptr = mem_realloc(t->ptr, t->cap_bytes);
        free_bytes = t->cap_bytes - t->len - 1;
    }
    if (more <= free_bytes)
        return more;
    t->cut = true;
    return free_bytes;
}

void text_slice(struct text *t, struct slice s)
{
    size_t n = make_room(t, s.len);
    if (n != 0)
        memcpy(t->ptr + t->len, s.ptr, n);
    t->len += n;
    t->ptr[t->len] = '\0';
}

void text_str(struct text *t, const char *s)
{
    text_slice(t, slice_str(s));
}

void text_char(struct text *t, char c)
{
    text_slice(t, slice_of(&c, 1));
}

void text_vput(struct text *t, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int wanted = vsnprintf(NULL, 0, fmt, args);
    CHECK(wanted >= 0);
    size_t n = make_room(t, (size_t)wanted);
    vsnprintf(t->ptr + t->len, n + 1, fmt, again);
    va_end(again);
    t->len += n;
}

void text_put(struct text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    text_vput(t, fmt, args);
    va_end(args);
}

void text_escaped(struct text *t, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\')
            text_char(t, (char)c);
        else
            text_put(t, "\\x%02X", c);
    }
}

/* How many octets the first character of `s` has; 0 when it is not well formed (RFC 3629: no
 * surrogates, nothing past U+10FFFF, no longer form than needed). */
static size_t utf8_len(struct slice s)
{
    uint8_t c = s.ptr[0];
    if (c < 0x80)
        return 1;
    size_t n = c >= 0xC2 && c <= 0xDF   ? 2
               : c >= 0xE0 && c <= 0xEF ? 3
               : c >= 0xF0 && c <= 0xF4 ? 4
                                        : 0;
    if (n == 0 || s.len < n)
        return 0;
    uint8_t least = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    uint8_t most = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (s.ptr[1] < least || s.ptr[1] > most)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((s.ptr[i] & 0xC0) != 0x80)
            return 0;
    }
    return n;
}

void text_utf8(struct text *t, struct slice s)
{
    while (s.len != 0) {
        size_t n = utf8_len(s);
        bool is_control = s.ptr[0] < 0x20 || s.ptr[0] == 0x7F;
        text_slice(t, n == 0 || is_control ? slice_str("\xEF\xBF\xBD") : slice_head(s, n));
        s = slice_from(s, n != 0 ? n : 1);
    }
}
