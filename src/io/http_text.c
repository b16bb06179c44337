#include "io/http_text.h"

#include "base/check.h"

#include <strings.h>

#define BASIC_MAX ((size_t)1024) /* name and password together, decoded */

/* ---- percent-encoding ----------------------------------------------------------------------- */

static int hex_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The octet at `at`, which moves behind it; -1 when it is malformed or NUL. */
static int next_octet(struct slice in, size_t *at, bool plus_is_space)
{
    uint8_t c = in.ptr[(*at)++];
    if (c == '+' && plus_is_space)
        return ' ';
    if (c != '%')
        return c != 0 ? c : -1;
    if (in.len - *at < 2)
        return -1;
    int high = hex_of(in.ptr[*at]), low = hex_of(in.ptr[*at + 1]);
    *at += 2;
    if (high < 0 || low < 0)
        return -1;
    int octet = high * 16 + low;
    return octet != 0 ? octet : -1;
}

bool http_percent_decode(struct slice in, bool plus_is_space, struct text *out)
{
    text_clear(out);
    for (size_t at = 0; at < in.len && !out->cut;) {
        int octet = next_octet(in, &at, plus_is_space);
        if (octet < 0)
            return false;
        text_char(out, (char)octet);
    }
    return !out->cut;
}

/* ---- queries -------------------------------------------------------------------------------- */

/* What comes before the first `mark`, or all; *rest is what follows the mark. */
static struct slice split(struct slice in, char mark, struct slice *rest)
{
    const uint8_t *at = in.len != 0 ? memchr(in.ptr, mark, in.len) : NULL;
    if (at == NULL) {
        *rest = (struct slice){ NULL, 0 };
        return in;
    }
    size_t n = (size_t)(at - in.ptr);
    *rest = slice_from(in, n + 1);
    return slice_head(in, n);
}

static bool is_encoding_of(struct slice encoded, const char *name)
{
    size_t at = 0, n = 0;
    while (at < encoded.len) {
        int octet = next_octet(encoded, &at, true);
        if (octet < 0 || name[n] == '\0' || octet != (uint8_t)name[n])
            return false;
        n++;
    }
    return name[n] == '\0';
}

bool http_query_find(struct slice query, const char *name, struct text *out)
{
    text_clear(out);
    while (query.len != 0) {
        struct slice value;
        struct slice key = split(split(query, '&', &query), '=', &value);
        if (is_encoding_of(key, name))
            return http_percent_decode(value, true, out);
    }
    return false;
}

/* ---- base64 --------------------------------------------------------------------------------- */

static int sextet_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters, of which `padding` at the end are "="; three octets less the padding. */
static bool decode_quad(const uint8_t *quad, unsigned padding, bool may_be_nul, struct text *out)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < 4; i++) {
        int sextet = i < 4 - padding ? sextet_of(quad[i]) : 0;
        if (sextet < 0)
            return false;
        bits = bits << 6 | (uint32_t)sextet;
    }
    uint32_t unused = padding == 0 ? 0 : padding == 1 ? 0xFF : 0xFFFF;
    if ((bits & unused) != 0)
        return false;
    for (unsigned i = 0; i < 3 - padding; i++) {
        uint8_t octet = (uint8_t)(bits >> (16 - 8 * i));
        if (octet == 0 && !may_be_nul)
            return false;
        text_char(out, (char)octet);
    }
    return true;
}

static bool decode(struct slice in, bool may_be_nul, struct text *out)
{
    text_clear(out);
    if (in.len % 4 != 0)
        return false;
    for (size_t at = 0; at < in.len && !out->cut; at += 4) {
        unsigned padding = 0;
        if (at + 4 == in.len && in.ptr[at + 3] == '=')
            padding = in.ptr[at + 2] == '=' ? 2 : 1;
        if (!decode_quad(in.ptr + at, padding, may_be_nul, out))
            return false;
    }
    return !out->cut;
}

bool http_base64_decode(struct slice in, struct text *out)
{
    return decode(in, false, out);
}

bool http_base64_octets(struct slice in, struct text *out)
{
    return decode(in, true, out);
}

void http_base64_encode(struct slice in, struct text *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t group = (uint32_t)in.ptr[i] << 16;
        group |= n > 1 ? (uint32_t)in.ptr[i + 1] << 8 : 0;
        group |= n > 2 ? in.ptr[i + 2] : 0;
        text_char(out, digits[group >> 18]);
        text_char(out, digits[group >> 12 & 63]);
        text_char(out, n > 1 ? digits[group >> 6 & 63] : '=');
        text_char(out, n > 2 ? digits[group & 63] : '=');
    }
}

bool http_basic_decode(struct slice authorization, struct text *user, struct text *password)
{
    text_clear(user);
    text_clear(password);
    struct slice encoded;
    struct slice scheme = split(authorization, ' ', &encoded);
    if (scheme.len != 5 || strncasecmp((const char *)scheme.ptr, "basic", 5) != 0)
        return false;
    while (encoded.len != 0 && encoded.ptr[0] == ' ')
        encoded = slice_from(encoded, 1);
    char room[BASIC_MAX];
    struct text both = text_over(room, sizeof room);
    if (!http_base64_decode(encoded, &both) || memchr(room, ':', both.len) == NULL)
        return false;
    struct slice secret;
    text_slice(user, split(text_view(&both), ':', &secret));
    text_slice(password, secret);
    return !user->cut && !password->cut;
}
