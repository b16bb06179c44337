#include "io/http_answer.h"

#include "base/units.h"

#include <string.h>
#include <strings.h>

#define STATUS_LINE_LEAST 12u /* "HTTP/1.1 200" */
#define CHUNK_DIGITS_MAX  12u

void http_answer_init(struct http_answer *a, size_t body_max_bytes)
{
    *a = (struct http_answer){ .is_to_the_end = true };
    text_init(&a->body, body_max_bytes);
}

void http_answer_fini(struct http_answer *a)
{
    text_fini(&a->body);
}

bool http_answer_is(struct slice name, const char *wanted)
{
    return name.len == strlen(wanted) && strncasecmp((const char *)name.ptr, wanted, name.len) == 0;
}

/* The first line of `in`, without its end. False: there is none yet. */
static bool cut_line(struct slice in, struct slice *line, size_t *taken)
{
    const uint8_t *end = in.len != 0 ? memchr(in.ptr, '\n', in.len) : NULL;
    if (end == NULL)
        return false;
    *taken = (size_t)(end - in.ptr) + 1;
    *line = slice_head(in, *taken - 1);
    if (line->len != 0 && line->ptr[line->len - 1] == '\r')
        line->len--;
    return true;
}

/* ---- the head ---- */

static bool read_status(struct http_answer *a, struct slice line)
{
    uint64_t status;
    if (!slice_starts(line, "HTTP/1.") || line.len < STATUS_LINE_LEAST ||
        !units_u64(slice_of(line.ptr + 9, 3), &status))
        return false;
    a->status = (int)status;
    return true;
}

static void read_field(struct http_answer *a, struct slice line, http_answer_field_fn on_field,
                       void *arg)
{
    const uint8_t *colon = line.len != 0 ? memchr(line.ptr, ':', line.len) : NULL;
    if (colon == NULL)
        return;
    struct slice name = slice_head(line, (size_t)(colon - line.ptr));
    struct slice value = slice_trim(slice_from(line, name.len + 1));
    uint64_t number;
    if (http_answer_is(name, "Content-Length") && units_u64(value, &number)) {
        a->left = number;
        a->is_to_the_end = false;
    } else if (http_answer_is(name, "Transfer-Encoding")) {
        a->is_chunked = slice_is(value, "chunked");
    }
    if (on_field != NULL)
        on_field(name, value, arg);
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304;
}

/* The whole head, or nothing of it. */
static enum http_answer_step take_head(struct http_answer *a, struct slice in, size_t *taken,
                                       http_answer_field_fn on_field, void *arg, struct err *err)
{
    size_t line_bytes;
    struct slice line, rest = in;
    while (cut_line(rest, &line, &line_bytes) && line.len != 0)
        rest = slice_from(rest, line_bytes);
    bool is_whole = cut_line(rest, &line, &line_bytes);
    if (!is_whole && in.len <= HTTP_ANSWER_HEAD_MAX)
        return HTTP_ANSWER_MORE;
    if (!is_whole || in.len - rest.len > HTTP_ANSWER_HEAD_MAX) {
        err_set(err, ERR_PROTOCOL, "the head of its answer does not end");
        return HTTP_ANSWER_BAD;
    }
    rest = in;
    for (bool is_first = true; cut_line(rest, &line, &line_bytes); is_first = false) {
        rest = slice_from(rest, line_bytes);
        if (is_first && !read_status(a, line)) {
            err_set(err, ERR_PROTOCOL, "what answers there does not speak HTTP");
            return HTTP_ANSWER_BAD;
        }
        if (line.len == 0)
            break;
        if (!is_first)
            read_field(a, line, on_field, arg);
    }
    *taken = in.len - rest.len;
    a->has_head = true;
    if (a->is_chunked || has_no_body(a->status)) {
        a->is_to_the_end = false;
        a->left = 0;
    }
    return HTTP_ANSWER_DONE;
}

/* ---- the body ---- */

static bool hex_number(struct slice text, uint64_t *out)
{
    *out = 0;
    size_t i = 0;
    for (; i < text.len && text.ptr[i] != ';'; i++) {
        unsigned c = text.ptr[i] | 0x20u;
        bool is_digit = c >= '0' && c <= '9';
        if (i >= CHUNK_DIGITS_MAX || !(is_digit || (c >= 'a' && c <= 'f')))
            return false;
        *out = *out * 16 + (is_digit ? c - '0' : c - 'a' + 10);
    }
    return i != 0;
}

static bool take_octets(struct http_answer *a, struct slice in, struct err *err)
{
    text_slice(&a->body, in);
    return !a->body.cut || err_set(err, ERR_LIMIT, "its answer is too long: more than %zu octets",
                                   a->body.max_bytes);
}

/* A chunk's size line, the empty line behind the one before included. */
static enum http_answer_step take_chunk_head(struct http_answer *a, struct slice in, size_t *taken,
                                             bool *is_last, struct err *err)
{
    struct slice line;
    size_t line_bytes;
    *taken = 0;
    while (cut_line(slice_from(in, *taken), &line, &line_bytes)) {
        *taken += line_bytes;
        if (line.len == 0)
            continue;
        if (!hex_number(line, &a->left)) {
            err_set(err, ERR_PROTOCOL, "a chunk of its answer has no length");
            return HTTP_ANSWER_BAD;
        }
        *is_last = a->left == 0;
        return HTTP_ANSWER_DONE;
    }
    return HTTP_ANSWER_MORE;
}

static enum http_answer_step take_chunks(struct http_answer *a, struct slice in, size_t *taken,
                                         struct err *err)
{
    size_t at = 0;
    *taken = 0;
    for (;;) {
        size_t head = 0;
        bool is_last = false;
        enum http_answer_step step = HTTP_ANSWER_DONE;
        if (a->left == 0)
            step = take_chunk_head(a, slice_from(in, at), &head, &is_last, err);
        at += head;
        *taken = at;
        if (step != HTTP_ANSWER_DONE || is_last)
            return step;
        size_t there = in.len - at;
        size_t octets = there < a->left ? there : (size_t)a->left;
        if (!take_octets(a, slice_head(slice_from(in, at), octets), err))
            return HTTP_ANSWER_BAD;
        at += octets;
        *taken = at;
        a->left -= octets;
        if (a->left != 0)
            return HTTP_ANSWER_MORE;
    }
}

static enum http_answer_step take_body(struct http_answer *a, struct slice in, size_t *taken,
                                       struct err *err)
{
    if (a->is_chunked)
        return take_chunks(a, in, taken, err);
    size_t octets = a->is_to_the_end || in.len < a->left ? in.len : (size_t)a->left;
    *taken = octets;
    if (!take_octets(a, slice_head(in, octets), err))
        return HTTP_ANSWER_BAD;
    if (a->is_to_the_end)
        return HTTP_ANSWER_MORE;
    a->left -= octets;
    return a->left == 0 ? HTTP_ANSWER_DONE : HTTP_ANSWER_MORE;
}

enum http_answer_step http_answer_take(struct http_answer *a, struct slice in, size_t *taken,
                                       http_answer_field_fn on_field, void *arg, struct err *err)
{
    *taken = 0;
    if (!a->has_head) {
        enum http_answer_step step = take_head(a, in, taken, on_field, arg, err);
        if (step != HTTP_ANSWER_DONE)
            return step;
    }
    size_t more;
    enum http_answer_step step = take_body(a, slice_from(in, *taken), &more, err);
    *taken += more;
    return step;
}

bool http_answer_ends_there(const struct http_answer *a)
{
    return a->has_head && a->is_to_the_end;
}
