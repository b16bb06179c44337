/*
 * http_answer: one answer of an HTTP/1.x server (RFC 9112), taken from the octets as they come.
 *
 * Pure: whoever reads the connection shows it what is there, and consumes what it took. It
 * understands lengths, chunks and bodies that end with the connection; the body is bounded.
 */
#ifndef WARREN_HTTP_ANSWER_H
#define WARREN_HTTP_ANSWER_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/text.h"

#define HTTP_ANSWER_HEAD_MAX ((size_t)64 * 1024)

struct http_answer {
    int status;       /* 0: the head is not here yet */
    struct text body; /* until http_answer_fini */
    /* private */
    bool has_head;
    bool is_chunked;
    bool is_to_the_end; /* of the connection */
    uint64_t left;      /* of the body, or of the chunk */
};

enum http_answer_step {
    HTTP_ANSWER_MORE, /* it has not ended */
    HTTP_ANSWER_DONE,
    HTTP_ANSWER_BAD /* *err says why; the connection is of no use any more */
};

/* A field of the head; name and value are borrowed. May be NULL. */
typedef void (*http_answer_field_fn)(struct slice name, struct slice value, void *arg);

void http_answer_init(struct http_answer *a, size_t body_max_bytes);
void http_answer_fini(struct http_answer *a);

/* Look at what is there; *taken octets of it are to be consumed, whatever is returned. After MORE
 * it is called again when more has come. What follows after DONE is not looked at. */
MUST_CHECK enum http_answer_step http_answer_take(struct http_answer *a, struct slice in,
                                                  size_t *taken, http_answer_field_fn on_field,
                                                  void *arg, struct err *err);

/* The server ended the connection. */
MUST_CHECK bool http_answer_ends_there(const struct http_answer *a);

/* Is this the field's name? In any case of letters. */
bool http_answer_is(struct slice name, const char *wanted);

#endif
