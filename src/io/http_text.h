/*
 * http_text: the small encodings inside a request: percent-encoding, queries, base64, basic
 * authentication. Pure and strict: what is not well-formed is refused, not repaired.
 *
 * Each function clears `out` first, and is false when the input is malformed, when it holds a
 * NUL once decoded (nobody downstream has to think of it), or when `out` is too small.
 */
#ifndef WARREN_HTTP_TEXT_H
#define WARREN_HTTP_TEXT_H

#include "base/attr.h"
#include "base/slice.h"
#include "base/text.h"

/* RFC 3986, 2.1. With `plus_is_space` a "+" is a space, as forms write it in queries. */
MUST_CHECK bool http_percent_decode(struct slice in, bool plus_is_space, struct text *out);

/* The first parameter of that name in "a=1&b=2", decoded; one without "=" has an empty value. */
MUST_CHECK bool http_query_find(struct slice query, const char *name, struct text *out);

/* RFC 4648, 4: with padding, nothing else in between, unused bits zero. */
MUST_CHECK bool http_base64_decode(struct slice in, struct text *out);

/* The same for octets that are no text: NUL is one of them. */
MUST_CHECK bool http_base64_octets(struct slice in, struct text *out);

/* Appended to `out`, with padding. */
void http_base64_encode(struct slice in, struct text *out);

/* "Basic dXNlcjpwdw==" (RFC 7617). The user's name ends at the first colon. */
MUST_CHECK bool http_basic_decode(struct slice authorization, struct text *user,
                                  struct text *password);

#endif
