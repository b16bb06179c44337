/*
 * http_head: the head of an HTTP/1.x request (RFC 9112, 2 to 6), cut and judged.
 *
 * Pure and strict: lines end in CR LF, names are tokens, nothing is folded, a length is one number
 * and is not contradicted. What two parsers could read in two ways is refused. Slices point into
 * the input.
 */
#ifndef WARREN_HTTP_HEAD_H
#define WARREN_HTTP_HEAD_H

#include "base/attr.h"
#include "base/slice.h"

#define HTTP_FIELDS_MAX 64u

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER
};

struct http_field {
    struct slice name;
    struct slice value; /* without the white space around it */
};

struct http_head {
    enum http_method method;
    struct slice path;  /* begins with "/" */
    struct slice query; /* without the "?" */
    bool is_1_0;
    struct http_field fields[HTTP_FIELDS_MAX];
    unsigned field_count;
    uint64_t body_bytes; /* Content-Length, or 0 */
    bool keep_alive;
    bool expects_continue; /* the body comes after "100 Continue" */
};

enum http_cut {
    HTTP_CUT_HEAD, /* *out is set, *len is its length, the empty line included */
    HTTP_CUT_MORE, /* no empty line yet */
    HTTP_CUT_BAD   /* *status is what to answer; the connection has to be closed */
};

/* `max` bounds the head. */
MUST_CHECK enum http_cut http_head_cut(struct slice in, size_t max, struct http_head *out,
                                       size_t *len, int *status);

/* The field of that name in any case, or NULL; the first if there are several. */
const struct http_field *http_head_find(const struct http_head *h, const char *name);

#endif
