#include "base/mem.h"
#include "base/text.h"
#include "io/http_head.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#define MAX 4096

static struct http_head head;
static size_t len;
static int status;

static enum http_cut cut(const char *text)
{
    return http_head_cut(slice_str(text), MAX, &head, &len, &status);
}

static int refusal(const char *text)
{
    return cut(text) == HTTP_CUT_BAD ? status : 0;
}

static void expect_slice(struct slice got, const char *want)
{
    cr_expect(slice_is(got, want), "\"%.*s\" should be \"%s\"", SLICE_ARG(got), want);
}

static const char good[] = "PUT /api/queues/%2F/q?if-empty=true&x HTTP/1.1\r\n"
                           "Host: localhost:15672\r\n"
                           "content-length:  12 \r\n"
                           "X-Empty:\r\n"
                           "\r\n";

Test(http_head, takes_a_request_apart)
{
    char more[sizeof good + 20];
    snprintf(more, sizeof more, "%s{\"a\": true}!", good);
    cr_assert(eq(int, cut(more), HTTP_CUT_HEAD));
    cr_expect(eq(sz, len, sizeof good - 1));
    cr_expect(eq(int, head.method, HTTP_PUT));
    expect_slice(head.path, "/api/queues/%2F/q");
    expect_slice(head.query, "if-empty=true&x");
    cr_expect(eq(u64, head.body_bytes, 12));
    cr_expect(head.keep_alive && !head.is_1_0);
    expect_slice(http_head_find(&head, "HOST")->value, "localhost:15672");
    expect_slice(http_head_find(&head, "x-empty")->value, "");
    cr_expect(http_head_find(&head, "Accept") == NULL);
}

/* Every prefix asks for more, and none is read behind its end. */
Test(http_head, waits_for_the_empty_line)
{
    for (size_t n = 0; n < sizeof good - 1; n++) {
        uint8_t *exact = mem_dup(good, n);
        cr_expect(
            eq(int, http_head_cut(slice_of(exact, n), MAX, &head, &len, &status), HTTP_CUT_MORE),
            "with %zu octets", n);
        mem_free(exact);
    }
}

Test(http_head, knows_the_methods)
{
    static const struct {
        const char *text;
        enum http_method method;
    } cases[] = {
        { "GET / HTTP/1.0\r\n\r\n", HTTP_GET },     { "HEAD / HTTP/1.0\r\n\r\n", HTTP_HEAD },
        { "POST / HTTP/1.0\r\n\r\n", HTTP_POST },   { "DELETE / HTTP/1.0\r\n\r\n", HTTP_DELETE },
        { "PATCH / HTTP/1.0\r\n\r\n", HTTP_OTHER }, { "get / HTTP/1.0\r\n\r\n", HTTP_OTHER }
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cr_assert(eq(int, cut(cases[i].text), HTTP_CUT_HEAD));
        cr_expect(eq(int, head.method, cases[i].method));
    }
}

Test(http_head, knows_who_keeps_the_connection)
{
    static const struct {
        const char *text;
        bool keeps;
    } cases[] = {
        { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, CLOSE\r\n\r\n", false },
        { "GET / HTTP/1.0\r\n\r\n", false },
        { "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cr_assert(eq(int, cut(cases[i].text), HTTP_CUT_HEAD));
        cr_expect(eq(int, head.keep_alive, cases[i].keeps), "case %zu", i);
    }
}

Test(http_head, takes_an_absolute_target_and_an_empty_line_before)
{
    cr_assert(
        eq(int, cut("\r\nGET http://host:1/a?b HTTP/1.1\r\nHost: host:1\r\n\r\n"), HTTP_CUT_HEAD));
    expect_slice(head.path, "/a");
    expect_slice(head.query, "b");
    cr_expect(eq(sz, len, strlen("\r\nGET http://host:1/a?b HTTP/1.1\r\nHost: host:1\r\n\r\n")));
}

#define H "Host: a\r\n"

Test(http_head, refuses_what_is_malformed_or_ambiguous)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        { "\r\n\r\n\r\n", 400 },
        { "GET\r\n\r\n", 400 },
        { "GET /\r\n\r\n", 400 },
        { "GET  / HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET / x HTTP/1.1\r\n" H "\r\n", 400 },
        { " GET / HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET / HTTP/1.1 \r\n" H "\r\n", 400 },
        { "GET / http/1.1\r\n" H "\r\n", 400 },
        { "GET / HTTP/2.0\r\n" H "\r\n", 505 },
        { "GET / HTTP/1.2\r\n" H "\r\n", 505 },
        { "GET a HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET http://host HTTP/1.1\r\n" H "\r\n", 400 },
        { "OPTIONS * HTTP/1.1\r\n" H "\r\n", 405 },
        { "GET /a#b HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET /\xC3\xA4 HTTP/1.1\r\n" H "\r\n", 400 },
        { "G@T / HTTP/1.1\r\n" H "\r\n", 400 },
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H H "\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "no colon\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "Name : x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H ": x\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "A: b\nC: d\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "A: b\x01\r\n\r\n", 400 },
        { "PUT / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", 400 },
        { "PUT / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\n", 400 },
        { "PUT / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400 },
        { "PUT / HTTP/1.1\r\n" H "Content-Length: 1 2\r\n\r\n", 400 },
        { "PUT / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", 400 },
        { "PUT / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400 },
        { "PUT / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
        { "PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 411 },
        { "PUT / HTTP/1.1\r\n" H "Expect: magic\r\n\r\n", 417 },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        cr_expect(eq(int, refusal(cases[i].text), cases[i].status), "case %zu", i);
}

Test(http_head, bounds_its_length_and_its_fields)
{
    static char text[2 * MAX];
    memset(text, 'a', sizeof text);
    cr_expect(
        eq(int, http_head_cut(slice_of(text, MAX - 1), MAX, &head, &len, &status), HTTP_CUT_MORE));
    cr_expect(eq(int, http_head_cut(slice_of(text, MAX), MAX, &head, &len, &status), HTTP_CUT_BAD));
    cr_expect(eq(int, status, 414));
    memcpy(text, good, 60);
    cr_expect(eq(int, http_head_cut(slice_of(text, MAX), MAX, &head, &len, &status), HTTP_CUT_BAD));
    cr_expect(eq(int, status, 431));

    for (unsigned fields = HTTP_FIELDS_MAX; fields <= HTTP_FIELDS_MAX + 1; fields++) {
        struct text t = text_over(text, sizeof text);
        text_str(&t, "GET / HTTP/1.1\r\nHost: a\r\n");
        for (unsigned i = 1; i < fields; i++)
            text_put(&t, "F%u: 1\r\n", i);
        text_str(&t, "\r\n");
        cr_expect(eq(int, refusal(text), fields > HTTP_FIELDS_MAX ? 431 : 0));
    }
}

Test(http_head, says_when_the_body_waits_for_us)
{
    cr_assert(eq(int,
                 cut("PUT / HTTP/1.1\r\n" H "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n"),
                 HTTP_CUT_HEAD));
    cr_expect(head.expects_continue);
    cr_assert(eq(int, cut("PUT / HTTP/1.1\r\n" H "Expect: 100-continue\r\n\r\n"), HTTP_CUT_HEAD));
    cr_expect(not(head.expects_continue));
}
