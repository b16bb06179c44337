#include "io/http_head.h"

#include "base/check.h"
#include "base/units.h"

#include <strings.h>

/* ---- characters ----------------------------------------------------------------------------- */

static bool is_token_char(uint8_t c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char(s.ptr[i]))
            return false;
    return s.len != 0;
}

/* Printable, blanks, and octets above ASCII, which are nobody's business here. */
static bool is_field_value(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7F)
            return false;
    return true;
}

static bool is_target(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= 0x20 || s.ptr[i] >= 0x7F || s.ptr[i] == '#')
            return false;
    return s.len != 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct slice trimmed(struct slice s)
{
    while (s.len != 0 && is_blank(s.ptr[0]))
        s = slice_from(s, 1);
    while (s.len != 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool is_word(struct slice s, const char *word)
{
    return s.len == strlen(word) &&
           (s.len == 0 || strncasecmp((const char *)s.ptr, word, s.len) == 0);
}

/* What comes before the first `mark`; *rest is what follows it. False when there is none. */
static bool split(struct slice in, char mark, struct slice *before, struct slice *rest)
{
    const uint8_t *at = in.len != 0 ? memchr(in.ptr, mark, in.len) : NULL;
    if (at == NULL)
        return false;
    size_t n = (size_t)(at - in.ptr);
    *before = slice_head(in, n);
    *rest = slice_from(in, n + 1);
    return true;
}

/* ---- the request line ----------------------------------------------------------------------- */

static enum http_method method_of(struct slice name)
{
    static const struct {
        const char *name;
        enum http_method method;
    } known[] = { { "GET", HTTP_GET }, { "HEAD", HTTP_HEAD },     { "POST", HTTP_POST },
                  { "PUT", HTTP_PUT }, { "DELETE", HTTP_DELETE }, { "OPTIONS", HTTP_OPTIONS } };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (slice_is(name, known[i].name))
            return known[i].method;
    return HTTP_OTHER;
}

/* "http://host/path" is what a client writes that takes us for a proxy (RFC 9112, 3.2.2). */
static struct slice without_authority(struct slice target)
{
    if (target.len < 7 || strncasecmp((const char *)target.ptr, "http://", 7) != 0)
        return target;
    struct slice rest = slice_from(target, 7);
    const uint8_t *slash = rest.len != 0 ? memchr(rest.ptr, '/', rest.len) : NULL;
    return slash != NULL ? slice_from(rest, (size_t)(slash - rest.ptr)) : target;
}

static int judge_version(struct slice version, struct http_head *out)
{
    if (version.len != 8 || !slice_starts(version, "HTTP/") || version.ptr[6] != '.')
        return 400;
    out->is_1_0 = slice_is(version, "HTTP/1.0");
    out->keep_alive = !out->is_1_0;
    return out->is_1_0 || slice_is(version, "HTTP/1.1") ? 0 : 505;
}

/* 0, or the status to refuse with; so are the functions below. */
static int judge_request_line(struct slice line, struct http_head *out)
{
    struct slice method, target, version;
    if (!split(line, ' ', &method, &version) || !split(version, ' ', &target, &version))
        return 400;
    if (!is_token(method) || !is_target(target))
        return 400;
    int status = judge_version(version, out);
    if (status != 0)
        return status;
    out->method = method_of(method);
    out->path = without_authority(target);
    if (out->path.ptr[0] != '/')
        return out->method >= HTTP_OPTIONS ? 405 : 400; /* "OPTIONS *", "CONNECT host:port" */
    if (!split(out->path, '?', &out->path, &out->query))
        out->query = (struct slice){ NULL, 0 };
    return 0;
}

/* ---- the fields ----------------------------------------------------------------------------- */

static int take_field(struct slice line, struct http_head *out)
{
    struct http_field f;
    /* A blank before the colon, or a folded line, fails the token (RFC 9112, 5.1 and 5.2). */
    if (!split(line, ':', &f.name, &f.value) || !is_token(f.name) || !is_field_value(f.value))
        return 400;
    if (out->field_count == HTTP_FIELDS_MAX)
        return 431;
    f.value = trimmed(f.value);
    out->fields[out->field_count++] = f;
    return 0;
}

const struct http_field *http_head_find(const struct http_head *h, const char *name)
{
    for (unsigned i = 0; i < h->field_count; i++)
        if (is_word(h->fields[i].name, name))
            return &h->fields[i];
    return NULL;
}

static unsigned count_of(const struct http_head *h, const char *name)
{
    unsigned count = 0;
    for (unsigned i = 0; i < h->field_count; i++)
        count += is_word(h->fields[i].name, name);
    return count;
}

/* A body's length must be told by one number; chunks are refused as RFC 9112, 6.3 allows. */
static int judge_length(struct http_head *h)
{
    const struct http_field *length = http_head_find(h, "Content-Length");
    if (http_head_find(h, "Transfer-Encoding") != NULL)
        return length != NULL ? 400 : 411;
    if (length == NULL)
        return 0;
    for (size_t i = 0; i < length->value.len; i++)
        if (length->value.ptr[i] < '0' || length->value.ptr[i] > '9')
            return 400;
    if (count_of(h, "Content-Length") != 1 || !units_u64(length->value, &h->body_bytes))
        return 400;
    return 0;
}

static void judge_connection(struct http_head *h)
{
    for (unsigned i = 0; i < h->field_count; i++) {
        struct slice rest = h->fields[i].value, word;
        if (!is_word(h->fields[i].name, "Connection"))
            continue;
        while (rest.len != 0) {
            if (!split(rest, ',', &word, &rest)) {
                word = rest;
                rest.len = 0;
            }
            if (is_word(trimmed(word), "close"))
                h->keep_alive = false;
            else if (is_word(trimmed(word), "keep-alive") && h->is_1_0)
                h->keep_alive = true;
        }
    }
}

static int judge_fields(struct http_head *h)
{
    if (count_of(h, "Host") > 1 || (!h->is_1_0 && count_of(h, "Host") != 1))
        return 400;
    int status = judge_length(h);
    if (status != 0)
        return status;
    judge_connection(h);
    const struct http_field *expect = http_head_find(h, "Expect");
    if (expect != NULL && !h->is_1_0) {
        if (!is_word(expect->value, "100-continue"))
            return 417;
        h->expects_continue = h->body_bytes != 0;
    }
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* The next line, without its end; `in` holds an empty line, so there is always one. */
static struct slice take_line(struct slice *in)
{
    const uint8_t *end = memmem(in->ptr, in->len, "\r\n", 2);
    CHECK(end != NULL);
    size_t n = (size_t)(end - in->ptr);
    struct slice line = slice_head(*in, n);
    *in = slice_from(*in, n + 2);
    return line;
}

static int judge(struct slice head, struct http_head *out)
{
    *out = (struct http_head){ .method = HTTP_OTHER };
    int status = judge_request_line(take_line(&head), out);
    while (status == 0 && head.len > 2)
        status = take_field(take_line(&head), out);
    return status != 0 ? status : judge_fields(out);
}

static enum http_cut bad(int *status, int code)
{
    *status = code;
    return HTTP_CUT_BAD;
}

enum http_cut http_head_cut(struct slice in, size_t max, struct http_head *out, size_t *len,
                            int *status)
{
    /* An empty line before a request is the end of a sloppy client's last one (RFC 9112, 2.2). */
    size_t skipped = slice_starts(in, "\r\n") ? 2 : 0;
    in = slice_from(in, skipped);
    const uint8_t *end = in.len != 0 ? memmem(in.ptr, in.len, "\r\n\r\n", 4) : NULL;
    if (end == NULL) {
        if (in.len < max)
            return HTTP_CUT_MORE;
        return bad(status, memmem(in.ptr, in.len, "\r\n", 2) == NULL ? 414 : 431);
    }
    size_t n = (size_t)(end - in.ptr) + 4;
    if (n > max)
        return bad(status, 431);
    int refused = judge(slice_head(in, n), out);
    if (refused != 0)
        return bad(status, refused);
    *len = skipped + n;
    return HTTP_CUT_HEAD;
}
