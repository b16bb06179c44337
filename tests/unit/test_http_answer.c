#include "io/http_answer.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

/* Shown in pieces that end after each `step` octets: what came of it, and how much was taken. */
static enum http_answer_step take(struct http_answer *a, struct slice in, size_t step, size_t *used)
{
    struct err err;
    size_t shown = 0;
    *used = 0;
    for (;;) {
        shown = shown + step < in.len ? shown + step : in.len;
        size_t taken;
        enum http_answer_step s =
            http_answer_take(a, slice_of(in.ptr + *used, shown - *used), &taken, NULL, NULL, &err);
        *used += taken;
        if (s != HTTP_ANSWER_MORE || shown == in.len)
            return s;
    }
}

static void expect_body(const char *octets, int status, const char *body, const char *rest)
{
    struct slice in = slice_str(octets);
    for (size_t step = 1; step <= in.len; step++) {
        struct http_answer a;
        size_t used;
        http_answer_init(&a, 1000);
        cr_expect(eq(int, take(&a, in, step, &used), HTTP_ANSWER_DONE), "in steps of %zu", step);
        cr_expect(eq(int, a.status, status));
        cr_expect(slice_is(text_view(&a.body), body), "in steps of %zu", step);
        cr_expect(eq(sz, used, in.len - strlen(rest)), "in steps of %zu", step);
        http_answer_fini(&a);
    }
}

Test(http_answer, takes_a_body_of_a_length_however_it_comes)
{
    expect_body("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhellomore", 200, "hello", "more");
    expect_body("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, "", "");
    expect_body("HTTP/1.1 204 No Content\r\n\r\nnext", 204, "", "next");
}

Test(http_answer, takes_chunks_however_they_come)
{
    expect_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "5\r\nhello\r\n6;x=y\r\n there\r\n0\r\n",
                200, "hello there", "");
}

Test(http_answer, a_body_without_a_length_ends_with_the_connection)
{
    struct http_answer a;
    size_t used;
    http_answer_init(&a, 1000);
    cr_expect(not(http_answer_ends_there(&a)));
    struct slice in = slice_str("HTTP/1.0 200 OK\r\n\r\nall of it");
    cr_expect(eq(int, take(&a, in, 3, &used), HTTP_ANSWER_MORE));
    cr_expect(http_answer_ends_there(&a));
    cr_expect(slice_is(text_view(&a.body), "all of it"));
    http_answer_fini(&a);
}

static void expect_bad(const char *octets, size_t body_max, const char *why)
{
    struct http_answer a;
    struct err err = { 0 };
    size_t taken;
    http_answer_init(&a, body_max);
    cr_expect(eq(int, http_answer_take(&a, slice_str(octets), &taken, NULL, NULL, &err),
                 HTTP_ANSWER_BAD));
    cr_expect(eq(str, err.text, (char *)why));
    http_answer_fini(&a);
}

Test(http_answer, says_what_is_wrong)
{
    expect_bad("SSH-2.0-OpenSSH\r\n\r\n", 10, "what answers there does not speak HTTP");
    expect_bad("HTTP/1.1 2xx\r\n\r\n", 10, "what answers there does not speak HTTP");
    expect_bad("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello there", 10,
               "its answer is too long: more than 10 octets");
    expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 10,
               "a chunk of its answer has no length");
    expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n", 10,
               "a chunk of its answer has no length");
}

Test(http_answer, a_head_without_an_end_is_given_up)
{
    static char head[HTTP_ANSWER_HEAD_MAX + 100];
    memset(head, 'x', sizeof head - 1);
    memcpy(head, "HTTP/1.1 200 OK\r\nA: ", 20);
    expect_bad(head, 10, "the head of its answer does not end");
}
