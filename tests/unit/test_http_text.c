#include "io/http_text.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static char room[64];

/* The decoded text, or "?" for a refusal. */
static const char *percent(const char *in)
{
    struct text out = text_over(room, sizeof room);
    return http_percent_decode(slice_str(in), false, &out) ? room : "?";
}

static const char *query(const char *in, const char *name)
{
    struct text out = text_over(room, sizeof room);
    return http_query_find(slice_str(in), name, &out) ? room : "?";
}

static const char *base64(const char *in)
{
    struct text out = text_over(room, sizeof room);
    return http_base64_decode(slice_str(in), &out) ? room : "?";
}

static void expect(const char *got, const char *want)
{
    cr_expect(eq(str, (char *)got, (char *)want));
}

Test(http_text, decodes_percents_strictly)
{
    expect(percent(""), "");
    expect(percent("queue"), "queue");
    expect(percent("%2F"), "/");
    expect(percent("a%2fb%20c%C3%A4"), "a/b c\xC3\xA4");
    expect(percent("1+1"), "1+1");
    expect(percent("%"), "?");
    expect(percent("%2"), "?");
    expect(percent("%2G"), "?");
    expect(percent("%%20"), "?");
    expect(percent("a%00b"), "?");
}

Test(http_text, refuses_what_does_not_fit)
{
    char small[4];
    struct text out = text_over(small, sizeof small);
    cr_expect(http_percent_decode(slice_str("abc"), false, &out));
    cr_expect(not(http_percent_decode(slice_str("abcd"), false, &out)));
    cr_expect(not(http_base64_decode(slice_str("YWJjZA=="), &out)));
}

Test(http_text, finds_parameters)
{
    expect(query("vhost=%2F&queue=tasks", "queue"), "tasks");
    expect(query("vhost=%2F&queue=tasks", "vhost"), "/");
    expect(query("a=1&a=2", "a"), "1");
    expect(query("flag&x=1", "flag"), "");
    expect(query("q=a+b%2Bc", "q"), "a b+c");
    expect(query("q=a=b", "q"), "a=b");
    expect(query("%71=1", "q"), "1");
    expect(query("&&q=1&", "q"), "1");
    expect(query("qq=1", "q"), "?");
    expect(query("q=1", "qq"), "?");
    expect(query("", "q"), "?");
    expect(query("q=%zz", "q"), "?");
    expect(query("%zz=1&q=2", "q"), "2");
}

Test(http_text, decodes_base64_strictly)
{
    /* RFC 4648, 10 */
    expect(base64(""), "");
    expect(base64("Zg=="), "f");
    expect(base64("Zm8="), "fo");
    expect(base64("Zm9v"), "foo");
    expect(base64("Zm9vYmFy"), "foobar");
    static const char *const bad[] = {
        "Z",      "Zg",       "Zg=",      "Zh==", "Zm9=", "====", "Z===",    "Zm 9v",
        "Zm9v\n", "Zg==Zg==", "Zm8=Zm9v", "Zm-v", "=Zg=", "AA==", "Zm9v=AAA"
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(eq(str, (char *)base64(bad[i]), "?"), "\"%s\"", bad[i]);
}

static const char *basic(const char *in)
{
    static char both[160];
    char user[32], password[32];
    struct text u = text_over(user, sizeof user), p = text_over(password, sizeof password);
    if (!http_basic_decode(slice_str(in), &u, &p))
        return "?";
    struct text t = text_over(both, sizeof both);
    text_put(&t, "%s|%s", user, password);
    return both;
}

Test(http_text, reads_user_and_password)
{
    expect(basic("Basic Z3Vlc3Q6Z3Vlc3Q="), "guest|guest");
    expect(basic("bASIC  Z3Vlc3Q6Z3Vlc3Q="), "guest|guest");
    expect(basic("Basic dTpwOnE="), "u|p:q");
    expect(basic("Basic Og=="), "|");
    expect(basic("Basic"), "?");
    expect(basic("Basic "), "?");
    expect(basic("Basic Z3Vlc3Q="), "?"); /* "guest": no colon */
    expect(basic("Basic Z3Vlc3Q6Z3Vlc3Q"), "?");
    expect(basic("Bearer Z3Vlc3Q6Z3Vlc3Q="), "?");
    expect(basic("BasicZ3Vlc3Q6Z3Vlc3Q="), "?");
    expect(basic(""), "?");
}

Test(http_text, encodes_base64)
{
    static const struct {
        const char *in, *out;
    } cases[] = { { "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
                  { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "foobar", "Zm9vYmFy" } };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char out[32];
        struct text t = text_over(out, sizeof out);
        http_base64_encode(slice_str(cases[i].in), &t);
        cr_expect(eq(str, out, (char *)(uintptr_t)cases[i].out));
    }
    char octets[8];
    struct text t = text_over(octets, sizeof octets);
    cr_expect(http_base64_octets(slice_str("AAH/"), &t), "octets are no text");
    cr_expect(t.len == 3 && memcmp(octets, "\0\1\xff", 3) == 0);
    cr_expect(not(http_base64_decode(slice_str("AAH/"), &t)));
}
