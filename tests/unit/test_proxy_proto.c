#include "base/mem.h"
#include "io/hmac.h"
#include "io/proxy_proto.h"
#include "io/random.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

static struct proxy_header h;
static size_t len;

static struct sock_addr ip(const char *text, uint16_t port)
{
    struct sock_addr a;
    cr_assert(sock_addr_ip(text, port, &a));
    return a;
}

static enum proxy_cut cut(const void *octets, size_t n)
{
    return proxy_proto_cut(slice_of(octets, n), &h, &len);
}

static void expect_addr(const struct sock_addr *got, const char *want)
{
    char room[SOCK_ADDR_TEXT_MAX];
    cr_expect(eq(str, (char *)sock_addr_text(got, room), (char *)want));
}

/* ---- version 1 ------------------------------------------------------------------------------ */

Test(proxy_proto, reads_lines)
{
    static const struct {
        const char *line, *client, *server;
    } cases[] = {
        { "PROXY TCP4 10.0.0.1 10.0.0.2 1111 5672\r\n", "10.0.0.1:1111", "10.0.0.2:5672" },
        { "PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n", "255.255.255.255:65535",
          "255.255.255.255:0" },
        { "PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1", "[::1]:2" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char more[200];
        snprintf(more, sizeof more, "%sAMQP", cases[i].line);
        cr_assert(eq(int, cut(more, strlen(more)), PROXY_CUT_HEADER));
        cr_expect(eq(sz, len, strlen(cases[i].line)));
        cr_expect(eq(uint, h.version, 1));
        cr_expect(h.has_addresses);
        expect_addr(&h.client, cases[i].client);
        expect_addr(&h.server, cases[i].server);
        cr_expect(not(proxy_proto_is_proven(&h, slice_str("cookie"))));
    }
    static const char *const unknown[] = { "PROXY UNKNOWN\r\n", "PROXY UNKNOWN a b c\r\n" };
    for (size_t i = 0; i < ARRAY_COUNT(unknown); i++) {
        cr_assert(eq(int, cut(unknown[i], strlen(unknown[i])), PROXY_CUT_HEADER));
        cr_expect(not(h.has_addresses));
    }
}

Test(proxy_proto, refuses_other_lines)
{
    static const char *const bad[] = {
        "AMQP",
        "GET / HTTP/1.1",
        "PROXX",
        "PROXY TCP4\r\n",
        "PROXY TCP5 10.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n",
        "PROXY TCP4 10.0.0.1  10.0.0.2 1 2\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 -1 2\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\rx",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n\r\n",
        "PROXY TCP4 * 10.0.0.2 1 2\r\n",
        "PROXY TCP4 10.0.0 10.0.0.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY  UNKNOWN\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(eq(int, cut(bad[i], strlen(bad[i])), PROXY_CUT_BAD), "\"%s\"", bad[i]);
}

Test(proxy_proto, waits_for_no_more_than_a_line_may_have)
{
    char text[PROXY_V1_MAX + 1];
    memset(text, 'a', sizeof text);
    memcpy(text, "PROXY UNKNOWN ", 14);
    cr_expect(eq(int, cut(text, PROXY_V1_MAX - 1), PROXY_CUT_MORE));
    cr_expect(eq(int, cut(text, PROXY_V1_MAX), PROXY_CUT_BAD));
    text[PROXY_V1_MAX - 2] = '\r';
    text[PROXY_V1_MAX - 1] = '\n';
    cr_expect(eq(int, cut(text, sizeof text), PROXY_CUT_HEADER));
    cr_expect(eq(sz, len, PROXY_V1_MAX));
}

/* Every prefix asks for more, and none is read behind its end. */
static void expect_waits(const void *octets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *exact = mem_dup(octets, i);
        cr_expect(eq(int, cut(exact, i), PROXY_CUT_MORE), "with %zu of %zu octets", i, n);
        mem_free(exact);
    }
    uint8_t *exact = mem_dup(octets, n);
    cr_expect(eq(int, cut(exact, n), PROXY_CUT_HEADER));
    cr_expect(eq(sz, len, n));
    mem_free(exact);
}

/* ---- version 2 ------------------------------------------------------------------------------ */

static uint8_t room[PROXY_V2_MAX + 100];
static const uint8_t nonce[PROXY_NONCE_BYTES] = { 1, 2,  3,  4,  5,  6,  7,  8,
                                                  9, 10, 11, 12, 13, 14, 15, 16 };

static size_t build(const char *client, const char *server, const char *cookie)
{
    struct wire_out w = wire_out_over(room, PROXY_V2_BUILD_MAX);
    struct sock_addr c = ip(client, 1111), s = ip(server, 5672);
    proxy_proto_put_v2(&w, &c, &s, slice_str(cookie), nonce);
    cr_assert(not(w.overflow));
    return wire_out_len(&w);
}

Test(proxy_proto, builds_what_it_reads)
{
    static const struct {
        const char *client, *server, *client_text, *server_text;
    } cases[] = {
        { "10.0.0.1", "10.0.0.2", "10.0.0.1:1111", "10.0.0.2:5672" },
        { "2001:db8::1", "::1", "[2001:db8::1]:1111", "[::1]:5672" },
        { "10.0.0.1", "::1", "[::ffff:10.0.0.1]:1111", "[::1]:5672" },
        { "::1", "10.0.0.2", "[::1]:1111", "[::ffff:10.0.0.2]:5672" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (int proven = 0; proven <= 1; proven++) {
            size_t n = build(cases[i].client, cases[i].server, proven ? "the cookie" : "");
            expect_waits(room, n);
            cr_expect(eq(uint, h.version, 2));
            cr_expect(h.has_addresses);
            expect_addr(&h.client, cases[i].client_text);
            expect_addr(&h.server, cases[i].server_text);
            (void)cut(room, n);
            cr_expect(eq(int, proxy_proto_is_proven(&h, slice_str("the cookie")), proven));
        }
        char line[PROXY_V1_MAX + 1];
        struct wire_out w = wire_out_over(line, sizeof line);
        struct sock_addr c = ip(cases[i].client, 1111), s = ip(cases[i].server, 5672);
        proxy_proto_put_v1(&w, &c, &s);
        expect_waits(line, wire_out_len(&w));
        expect_addr(&h.client, cases[i].client_text);
        expect_addr(&h.server, cases[i].server_text);
    }
}

Test(proxy_proto, fits_the_longest_line)
{
    char line[PROXY_V1_MAX + 1];
    struct wire_out w = wire_out_over(line, sizeof line);
    struct sock_addr a = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535);
    proxy_proto_put_v1(&w, &a, &a);
    cr_expect(not(w.overflow));
    cr_expect(le(sz, wire_out_len(&w), PROXY_V1_MAX));
    cr_expect(eq(int, cut(line, wire_out_len(&w)), PROXY_CUT_HEADER));
}

Test(proxy_proto, tells_no_addresses_where_there_are_none)
{
    struct sock_addr a, b = ip("10.0.0.1", 1);
    cr_assert(sock_addr_unix("/run/warren.sock", &a));
    struct wire_out w = wire_out_over(room, PROXY_V2_BUILD_MAX);
    proxy_proto_put_v2(&w, &a, &b, slice_str("cookie"), nonce);
    expect_waits(room, wire_out_len(&w));
    cr_expect(not(h.has_addresses));
    w = wire_out_over(room, PROXY_V2_BUILD_MAX);
    proxy_proto_put_v2_local(&w);
    expect_waits(room, wire_out_len(&w));
    cr_expect(not(h.has_addresses));
    w = wire_out_over(room, PROXY_V2_BUILD_MAX);
    proxy_proto_put_v1(&w, &b, &a);
    expect_waits(room, wire_out_len(&w));
    cr_expect(not(h.has_addresses));
}

/* A whole header: command, family, and what follows the length. */
static enum proxy_cut cut_v2(uint8_t command, uint8_t family, const void *rest, size_t rest_len)
{
    static const uint8_t start[] = { 13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10 };
    memcpy(room, start, 12);
    room[12] = command;
    room[13] = family;
    room[14] = (uint8_t)(rest_len >> 8);
    room[15] = (uint8_t)rest_len;
    if (rest_len != 0 && rest_len <= PROXY_V2_MAX)
        memcpy(room + 16, rest, rest_len);
    return cut(room, 16 + (rest_len <= PROXY_V2_MAX ? rest_len : 0));
}

Test(proxy_proto, skips_what_it_does_not_know)
{
    uint8_t zero[216] = { 10,
                          0,
                          0,
                          1,
                          10,
                          0,
                          0,
                          2,
                          0,
                          1,
                          0,
                          2,
                          /* TLVs: */ 0x04,
                          0,
                          0,
                          /* unique id */ 0x05,
                          0,
                          3,
                          'a',
                          'b',
                          'c' };
    cr_assert(eq(int, cut_v2(0x21, 0x11, zero, 21), PROXY_CUT_HEADER));
    expect_addr(&h.client, "10.0.0.1:1");
    cr_expect(not(proxy_proto_is_proven(&h, slice_str("cookie"))));
    cr_expect(eq(int, cut_v2(0x20, 0x77, zero, 5), PROXY_CUT_HEADER), "LOCAL hides the rest");
    cr_expect(not(h.has_addresses));
    cr_expect(eq(int, cut_v2(0x21, 0x00, zero, 5), PROXY_CUT_HEADER), "so does no family");
    cr_expect(not(h.has_addresses));
    cr_expect(eq(int, cut_v2(0x21, 0x31, zero, 216), PROXY_CUT_HEADER), "unix");
    cr_expect(not(h.has_addresses));
    cr_expect(eq(int, cut_v2(0x21, 0x12, zero, 12), PROXY_CUT_HEADER), "UDP");
    cr_expect(not(h.has_addresses));
}

Test(proxy_proto, refuses_malformed_blocks)
{
    const uint8_t octets[300] = { 0 };
    const uint8_t cut_tlv[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x04, 0, 5, 1 };
    const uint8_t tls_twice[] = { 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0, 0, 0x20, 0,
                                  5, 1, 0, 0, 0, 0, 0x20, 0, 5, 1, 0, 0, 0,    0 };
    const uint8_t short_tls[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 4, 1, 0, 0, 0 };
    const uint8_t cut_part[] = { 0,    0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0,
                                 0x20, 0, 8, 1, 0, 0, 0, 0, 0x21, 0, 1 };
    const uint8_t short_names[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xE6, 0, 2, 1, 1 };
    const uint8_t short_proof[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xE5, 0, 2, 1, 1 };
    cr_expect(eq(int, cut_v2(0x11, 0x11, octets, 12), PROXY_CUT_BAD), "version 1");
    cr_expect(eq(int, cut_v2(0x22, 0x11, octets, 12), PROXY_CUT_BAD), "command 2");
    cr_expect(eq(int, cut_v2(0x21, 0x13, octets, 12), PROXY_CUT_BAD), "protocol 3");
    cr_expect(eq(int, cut_v2(0x21, 0x41, octets, 12), PROXY_CUT_BAD), "family 4");
    cr_expect(eq(int, cut_v2(0x21, 0x11, octets, 11), PROXY_CUT_BAD), "short block");
    cr_expect(eq(int, cut_v2(0x21, 0x21, octets, 35), PROXY_CUT_BAD), "short block");
    cr_expect(eq(int, cut_v2(0x21, 0x31, octets, 215), PROXY_CUT_BAD), "short block");
    cr_expect(eq(int, cut_v2(0x21, 0x11, octets, 13), PROXY_CUT_BAD), "half a TLV");
    cr_expect(eq(int, cut_v2(0x21, 0x11, cut_tlv, sizeof cut_tlv), PROXY_CUT_BAD));
    cr_expect(eq(int, cut_v2(0x21, 0x11, short_proof, sizeof short_proof), PROXY_CUT_BAD));
    cr_expect(eq(int, cut_v2(0x21, 0x11, tls_twice, 20), PROXY_CUT_HEADER));
    cr_expect(eq(int, cut_v2(0x21, 0x11, tls_twice, sizeof tls_twice), PROXY_CUT_BAD));
    cr_expect(eq(int, cut_v2(0x21, 0x11, short_tls, sizeof short_tls), PROXY_CUT_BAD));
    cr_expect(eq(int, cut_v2(0x21, 0x11, cut_part, sizeof cut_part), PROXY_CUT_BAD));
    cr_expect(eq(int, cut_v2(0x21, 0x11, short_names, sizeof short_names), PROXY_CUT_BAD));
    cr_expect(eq(int, cut_v2(0x21, 0x11, NULL, PROXY_V2_MAX + 1), PROXY_CUT_BAD),
              "too long is judged before it is waited for");
}

/* ---- proof ---------------------------------------------------------------------------------- */

/* RFC 4231, test cases 1 and 2. */
Test(proxy_proto, makes_the_hmac_that_others_make)
{
    static const uint8_t want1[] = { 0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53,
                                     0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b, 0xf1, 0x2b,
                                     0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7,
                                     0x26, 0xe9, 0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7 };
    static const uint8_t want2[] = { 0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e,
                                     0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
                                     0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83,
                                     0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43 };
    uint8_t key[20], out[HMAC_BYTES];
    memset(key, 0x0b, sizeof key);
    struct slice one[] = { slice_str("Hi "), slice_str(""), slice_str("There") };
    hmac_sha256(slice_of(key, sizeof key), one, 3, out);
    cr_expect(hmac_eq(out, want1));
    struct slice two[] = { slice_str("what do ya want "), slice_str("for nothing?") };
    hmac_sha256(slice_str("Jefe"), two, 2, out);
    cr_expect(hmac_eq(out, want2));
    out[31] ^= 1;
    cr_expect(not(hmac_eq(out, want2)));
}

Test(proxy_proto, believes_only_who_knows_the_cookie)
{
    size_t n = build("10.0.0.1", "10.0.0.2", "the cookie");
    cr_assert(eq(int, cut(room, n), PROXY_CUT_HEADER));
    cr_expect(proxy_proto_is_proven(&h, slice_str("the cookie")));
    cr_expect(not(proxy_proto_is_proven(&h, slice_str("the cookiE"))));
    cr_expect(not(proxy_proto_is_proven(&h, slice_str("the cooki"))));
    cr_expect(not(proxy_proto_is_proven(&h, slice_str(""))));
    /* Not one bit of the addresses or the proof may change. */
    for (size_t i = 16 * 8; i < n * 8; i++) {
        room[i / 8] ^= (uint8_t)(1u << (i % 8));
        if (cut(room, n) == PROXY_CUT_HEADER)
            cr_expect(not(proxy_proto_is_proven(&h, slice_str("the cookie"))), "bit %zu", i);
        room[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
}

Test(proxy_proto, proves_nothing_with_an_empty_cookie)
{
    /* A proof made with the empty key is known to everybody. */
    struct slice parts[] = { slice_str("warren-proxy-address"),
                             slice_of(nonce, sizeof nonce),
                             { NULL, 0 } };
    size_t n = build("10.0.0.1", "10.0.0.2", "");
    parts[2] = slice_of(room + 16, 12);
    uint8_t *tlv = room + n;
    tlv[0] = 0xE5;
    tlv[1] = 0;
    tlv[2] = 48;
    memcpy(tlv + 3, nonce, sizeof nonce);
    hmac_sha256(slice_str(""), parts, 3, tlv + 19);
    room[15] = (uint8_t)(12 + 51);
    cr_assert(eq(int, cut(room, n + 51), PROXY_CUT_HEADER));
    cr_expect(eq(sz, h.proof.len, 48));
    cr_expect(not(proxy_proto_is_proven(&h, slice_str(""))));
}

/* ---- TLS and names -------------------------------------------------------------------------- */

static const struct proxy_tls tls13 = {
    .used = PROXY_TLS_USED | PROXY_TLS_CERT_CONN | PROXY_TLS_CERT_SESS,
    .version = { (const uint8_t *)"TLSv1.3", 7 },
    .cipher = { (const uint8_t *)"TLS_AES_256_GCM_SHA384", 22 },
    .common_name = { (const uint8_t *)"shop", 4 },
};

static size_t build_told(const char *cookie, const struct proxy_tls *tls,
                         const struct proxy_names *names)
{
    struct wire_out w = wire_out_over(room, PROXY_V2_BUILD_MAX);
    struct sock_addr c = ip("10.0.0.1", 1111), s = ip("10.0.0.2", 5672);
    struct proxy_told told = { .tls = tls, .names = names };
    proxy_proto_put_v2_told(&w, &c, &s, slice_str(cookie), nonce, &told);
    cr_assert(not(w.overflow));
    return wire_out_len(&w);
}

/* As the protocol's text draws it (2.2.6), octet by octet. */
Test(proxy_proto, tells_of_tls_as_haproxy_does)
{
    static const uint8_t want[] = { 0x20, 0,   47,  0x07, 0,   0,    0,   0,   0x21, 0,
                                    7,    'T', 'L', 'S',  'v', '1',  '.', '3', 0x22, 0,
                                    4,    's', 'h', 'o',  'p', 0x23, 0,   22,  'T',  'L',
                                    'S',  '_', 'A', 'E',  'S', '_',  '2', '5', '6',  '_',
                                    'G',  'C', 'M', '_',  'S', 'H',  'A', '3', '8',  '4' };
    size_t n = build_told("", &tls13, NULL);
    cr_assert(eq(sz, n, 16 + 12 + sizeof want));
    cr_expect(memcmp(room + 28, want, sizeof want) == 0);
    expect_waits(room, n);
    (void)cut(room, n);
    cr_expect(eq(uint, h.tls.used, 7));
    cr_expect(eq(u32, h.tls.verify, 0));
    cr_expect(slice_is(h.tls.version, "TLSv1.3"));
    cr_expect(slice_is(h.tls.cipher, "TLS_AES_256_GCM_SHA384"));
    cr_expect(slice_is(h.tls.common_name, "shop"));
    cr_expect(not(proxy_proto_names_are_proven(&h, slice_str("the cookie"))));
}

Test(proxy_proto, proves_names_with_the_cookie_alone)
{
    struct proxy_names names = { .at_ms = 1700000000123,
                                 .subject = slice_str("CN=shop,O=Example"),
                                 .common_name = slice_str("shop"),
                                 .dns_name = slice_str("shop.example") };
    struct sock_addr to = ip("10.0.0.9", 5671);
    proxy_proto_place(&to, names.place);
    size_t n = build_told("the cookie", &tls13, &names);
    expect_waits(room, n);
    (void)cut(room, n);
    cr_expect(proxy_proto_is_proven(&h, slice_str("the cookie")));
    cr_expect(proxy_proto_names_are_proven(&h, slice_str("the cookie")));
    cr_expect(not(proxy_proto_names_are_proven(&h, slice_str("the cookiE"))));
    cr_expect(not(proxy_proto_names_are_proven(&h, slice_str(""))));
    static const uint8_t place[] = { 0, 0,    0,    0,  0, 0, 0, 0,    0,
                                     0, 0xFF, 0xFF, 10, 0, 0, 9, 0x16, 0x27 };
    cr_expect(eq(u64, h.names.at_ms, 1700000000123));
    cr_expect(memcmp(h.names.place, place, sizeof place) == 0);
    cr_expect(memcmp(proxy_proto_nonce(&h), nonce, sizeof nonce) == 0);
    cr_expect(slice_is(h.names.subject, "CN=shop,O=Example"));
    cr_expect(slice_is(h.names.common_name, "shop"));
    cr_expect(slice_is(h.names.dns_name, "shop.example"));
    /* Not one bit may change: of addresses, TLS, names or proofs (16 octets of head apart). */
    for (size_t i = 16 * 8; i < n * 8; i++) {
        room[i / 8] ^= (uint8_t)(1u << (i % 8));
        if (cut(room, n) == PROXY_CUT_HEADER)
            cr_expect(not(proxy_proto_names_are_proven(&h, slice_str("the cookie")) &&
                          proxy_proto_is_proven(&h, slice_str("the cookie"))),
                      "bit %zu", i);
        room[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    n = build_told("", &tls13, &names);
    cr_assert(eq(int, cut(room, n), PROXY_CUT_HEADER));
    cr_expect(eq(sz, h.names_octets.len, 0), "no names without a proof");
}

Test(proxy_proto, proves_that_there_is_no_name_and_leaves_out_what_is_too_long)
{
    static char longest[PROXY_NAME_MAX + 2];
    struct proxy_names none = { .subject = { NULL, 0 } };
    size_t n = build_told("the cookie", NULL, &none);
    cr_assert(eq(int, cut(room, n), PROXY_CUT_HEADER));
    cr_expect(proxy_proto_names_are_proven(&h, slice_str("the cookie")));
    cr_expect(eq(sz, h.names.subject.len, 0));
    memset(longest, 'a', PROXY_NAME_MAX + 1);
    struct proxy_names wide = { .subject = slice_of(longest, PROXY_NAME_MAX),
                                .common_name = slice_of(longest, PROXY_NAME_MAX + 1),
                                .dns_name = slice_of(longest, PROXY_NAME_MAX) };
    struct proxy_tls full = { .version = slice_of(longest, PROXY_WORD_MAX),
                              .cipher = slice_of(longest, PROXY_WORD_MAX),
                              .common_name = slice_of(longest, PROXY_NAME_MAX) };
    n = build_told("the cookie", &full, &wide);
    cr_assert(eq(int, cut(room, n), PROXY_CUT_HEADER));
    cr_expect(proxy_proto_names_are_proven(&h, slice_str("the cookie")));
    cr_expect(eq(sz, h.names.subject.len, PROXY_NAME_MAX));
    cr_expect(eq(sz, h.names.common_name.len, 0));
    cr_expect(eq(sz, h.tls.common_name.len, PROXY_NAME_MAX));
}

/* A client at a unix socket has no address, and is not the proxy for that. */
Test(proxy_proto, proves_names_without_an_address)
{
    struct proxy_names none = { .at_ms = 1 };
    struct proxy_told told = { .names = &none };
    struct sock_addr c, s = ip("10.0.0.2", 5672);
    cr_assert(sock_addr_unix("/tmp/door", &c));
    for (unsigned i = 0; i < 2; i++) {
        struct wire_out w = wire_out_over(room, PROXY_V2_BUILD_MAX);
        proxy_proto_put_v2_told(&w, &c, i == 0 ? &c : &s, slice_str("the cookie"), nonce, &told);
        cr_assert(not(w.overflow));
        expect_waits(room, wire_out_len(&w));
        cr_assert(eq(int, cut(room, wire_out_len(&w)), PROXY_CUT_HEADER));
        cr_expect(not(h.has_addresses));
        cr_expect(proxy_proto_is_proven(&h, slice_str("the cookie")));
        cr_expect(proxy_proto_names_are_proven(&h, slice_str("the cookie")));
    }
    struct wire_out w = wire_out_over(room, PROXY_V2_BUILD_MAX);
    proxy_proto_put_v2_told(&w, &c, &s, slice_str(""), nonce, &told);
    cr_expect(eq(sz, wire_out_len(&w), 16), "without a cookie there is nothing to be said");
}

Test(proxy_proto, draws_random_octets_that_differ)
{
    uint8_t a[64] = { 0 }, b[64] = { 0 };
    random_octets(a, sizeof a);
    random_octets(b, sizeof b);
    cr_expect(memcmp(a, b, sizeof a) != 0);
    cr_expect(random_u64() != random_u64());
}
