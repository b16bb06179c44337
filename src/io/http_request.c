#include "io/http_inner.h"
#include "io/http_text.h"

#include <string.h>

/* ---- what a handler asks -------------------------------------------------------------------- */

enum http_method http_request_method(const struct http_request *r)
{
    return r->head.method;
}

const char *http_request_path(const struct http_request *r)
{
    return (const char *)r->head.path.ptr;
}

bool http_request_segment(const struct http_request *r, unsigned n, struct text *room)
{
    struct slice rest = slice_from(r->head.path, 1);
    const uint8_t *slash;
    while (n-- != 0) {
        slash = rest.len != 0 ? memchr(rest.ptr, '/', rest.len) : NULL;
        if (slash == NULL)
            return false;
        rest = slice_from(rest, (size_t)(slash - rest.ptr) + 1);
    }
    slash = rest.len != 0 ? memchr(rest.ptr, '/', rest.len) : NULL;
    struct slice segment = slash != NULL ? slice_head(rest, (size_t)(slash - rest.ptr)) : rest;
    return segment.len != 0 && http_percent_decode(segment, false, room);
}

struct slice http_request_raw_query(const struct http_request *r)
{
    return r->head.query;
}

bool http_request_query(const struct http_request *r, const char *name, struct text *room)
{
    return http_query_find(r->head.query, name, room);
}

bool http_request_query_has(const struct http_request *r, const char *name, const char *value)
{
    struct slice rest = r->head.query;
    while (rest.len != 0) {
        const uint8_t *end = memchr(rest.ptr, '&', rest.len);
        size_t len = end != NULL ? (size_t)(end - rest.ptr) : rest.len;
        char room[128];
        struct text t = text_over(room, sizeof room);
        if (http_query_find(slice_head(rest, len), name, &t) && strcmp(room, value) == 0)
            return true;
        rest = slice_from(rest, end != NULL ? len + 1 : len);
    }
    return false;
}

const char *http_request_header(const struct http_request *r, const char *name)
{
    const struct http_field *f = http_head_find(&r->head, name);
    return f != NULL ? (const char *)f->value.ptr : NULL;
}

struct slice http_request_body(const struct http_request *r)
{
    return slice_of(r->body, r->body_len);
}

const struct sock_addr *http_request_peer(const struct http_request *r)
{
    return &r->peer;
}

bool http_request_basic_auth(const struct http_request *r, struct text *user, struct text *password)
{
    const struct http_field *f = http_head_find(&r->head, "Authorization");
    return f != NULL && http_basic_decode(f->value, user, password);
}
