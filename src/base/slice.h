/*
 * slice: borrowed bytes. Good for as long as what they were borrowed from.
 *
 * Names from the wire are slices, not C strings: they may hold any octet and end nowhere.
 */
#ifndef WARREN_SLICE_H
#define WARREN_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *ptr; /* may be NULL when len is 0 */
    size_t len;         /* octets */
};

/* For printf: `"%.*s", SLICE_ARG(s)`. For texts that are known to be printable. */
#define SLICE_ARG(s) (int)((s).len), (const char *)((s).len != 0 ? (s).ptr : (const uint8_t *)"")

static inline struct slice slice_of(const void *ptr, size_t len)
{
    return (struct slice){ (const uint8_t *)ptr, len };
}

static inline struct slice slice_str(const char *text)
{
    return (struct slice){ (const uint8_t *)text, strlen(text) };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_eq(a, slice_str(text));
}

static inline bool slice_starts(struct slice a, const char *prefix)
{
    size_t n = strlen(prefix);
    return a.len >= n && (n == 0 || memcmp(a.ptr, prefix, n) == 0);
}

/* Order by octets, a prefix before what it begins. */
static inline int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n != 0 ? memcmp(a.ptr, b.ptr, n) : 0;
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

/* What follows the first n octets; empty when there are fewer. */
static inline struct slice slice_from(struct slice a, size_t n)
{
    return n >= a.len ? (struct slice){ NULL, 0 } : (struct slice){ a.ptr + n, a.len - n };
}

/* The first n octets, or all. */
static inline struct slice slice_head(struct slice a, size_t n)
{
    return (struct slice){ a.ptr, n < a.len ? n : a.len };
}

/* Without the blanks (space, tab) at both ends. */
static inline struct slice slice_trim(struct slice a)
{
    while (a.len != 0 && (a.ptr[0] == ' ' || a.ptr[0] == '\t'))
        a = slice_from(a, 1);
    while (a.len != 0 && (a.ptr[a.len - 1] == ' ' || a.ptr[a.len - 1] == '\t'))
        a.len--;
    return a;
}

#endif
