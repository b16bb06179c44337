/* client/preamble: whose names are believed, when and how often. */
#include "client/preamble.h"

#include "base/mem.h"
#include "broker_conf.h"
#include "expect.h"
#include "io/nonces.h"

#include <string.h>

#define NOW_MS 1700000000000u

static struct broker_conf conf;
static struct sock_addr door, client, peer;
static struct preamble_rules rules;
static uint8_t room[PROXY_V2_BUILD_MAX];
static struct preamble_name name;
static struct err why;

static struct sock_addr ip(const char *text, uint16_t port)
{
    struct sock_addr a;
    cr_assert(sock_addr_ip(text, port, &a));
    return a;
}

static void set_up(void)
{
    conf = (struct broker_conf){ .auth.login_from = BROKER_LOGIN_FROM_CN };
    door = ip("10.0.0.2", 5672);
    client = ip("192.0.2.1", 4711);
    rules = (struct preamble_rules){ .conf = &conf,
                                     .cookie = slice_str("the cookie"),
                                     .nonces = nonces_new(2, PREAMBLE_NAMES_KEPT_MS, 1),
                                     .door = &door,
                                     .wall_ms = NOW_MS,
                                     .mono_ms = 5000 };
}

static void tear_down(void)
{
    nonces_free(&rules.nonces);
    mem_free(name.name);
}

TestSuite(preamble, .init = set_up, .fini = tear_down, .timeout = 60);

/* A header of that nonce and time, to that place. */
static size_t told(uint8_t nonce_octet, uint64_t at_ms, const struct sock_addr *to,
                   const char *common_name)
{
    struct proxy_names names = { .at_ms = at_ms, .common_name = slice_str(common_name) };
    struct proxy_told what = { .names = &names };
    struct wire_out w = wire_out_over(room, sizeof room);
    uint8_t nonce[PROXY_NONCE_BYTES] = { nonce_octet };
    proxy_proto_place(to, names.place);
    proxy_proto_put_v2_told(&w, &client, &door, rules.cookie, nonce, &what);
    return wire_out_len(&w);
}

static enum preamble_verdict judge(size_t n)
{
    size_t len;
    mem_free(name.name);
    name = (struct preamble_name){ .is_told = false };
    peer = ip("10.0.0.1", 999);
    return preamble_cut(&rules, slice_of(room, n), &peer, &name, &len, &why);
}

static void expect_nobody(size_t n)
{
    cr_expect(eq(int, judge(n), PREAMBLE_TAKEN));
    cr_expect(name.is_told, "nor is it the proxy");
    cr_expect(name.name == NULL);
    cr_expect(sock_addr_eq(&peer, &client));
}

static void expect_shop(size_t n)
{
    cr_assert(eq(int, judge(n), PREAMBLE_TAKEN));
    cr_expect(name.is_told);
    cr_assert(name.name != NULL);
    cr_expect(eq(str, name.name, (char *)"shop"));
}

Test(preamble, takes_names_once)
{
    size_t n = told(1, NOW_MS, &door, "shop");
    expect_shop(n);
    cr_expect(eq(int, judge(n), PREAMBLE_REFUSED));
    cr_expect(strstr(why.text, "used before") != NULL);
    cr_expect(name.name == NULL);
    /* As long as it would be new: the proxy's clock may be ahead. */
    n = told(2, NOW_MS + PREAMBLE_NAMES_MS, &door, "shop");
    expect_shop(n);
    rules.wall_ms += 2 * PREAMBLE_NAMES_MS;
    rules.mono_ms += 2 * PREAMBLE_NAMES_MS;
    cr_expect(eq(int, judge(n), PREAMBLE_REFUSED));
    rules.wall_ms++;
    rules.mono_ms++;
    expect_nobody(n);
}

Test(preamble, takes_names_while_they_are_new)
{
    expect_shop(told(1, NOW_MS - PREAMBLE_NAMES_MS, &door, "shop"));
    expect_shop(told(2, NOW_MS + PREAMBLE_NAMES_MS, &door, "shop"));
    rules.mono_ms += PREAMBLE_NAMES_KEPT_MS;
    expect_nobody(told(3, NOW_MS - PREAMBLE_NAMES_MS - 1, &door, "shop"));
    expect_nobody(told(4, NOW_MS + PREAMBLE_NAMES_MS + 1, &door, "shop"));
    expect_nobody(told(5, 0, &door, "shop"));
    expect_nobody(told(6, UINT64_MAX, &door, "shop"));
    expect_shop(told(3, NOW_MS, &door, "shop"));
}

Test(preamble, takes_names_that_are_for_this_place)
{
    struct sock_addr far = ip("10.0.0.3", 5672), port = ip("10.0.0.2", 5671);
    struct sock_addr same = ip("::ffff:10.0.0.2", 5672);
    expect_nobody(told(1, NOW_MS, &far, "shop"));
    expect_nobody(told(1, NOW_MS, &port, "shop"));
    expect_nobody(told(1, NOW_MS, NULL, "shop"));
    expect_shop(told(1, NOW_MS, &same, "shop"));
}

/* Full, names are refused; who has none needs no room. */
Test(preamble, refuses_names_rather_than_to_forget_one)
{
    expect_shop(told(1, NOW_MS, &door, "shop"));
    expect_shop(told(2, NOW_MS, &door, "shop"));
    size_t n = told(3, NOW_MS, &door, "shop");
    expect_nobody(n);
    cr_expect(eq(int, judge(told(1, NOW_MS, &door, "shop")), PREAMBLE_REFUSED));
    expect_nobody(told(4, 0, NULL, ""));
    expect_nobody(told(4, 0, NULL, ""));
    rules.mono_ms += PREAMBLE_NAMES_KEPT_MS;
    expect_shop(told(3, NOW_MS, &door, "shop"));
}
