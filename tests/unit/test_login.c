/* proxy/login: what a client said of itself, kept to be said again. */
#include "login.h"

#include "amqp/amqp_sasl.h"
#include "amqp/amqp_table.h"
#include "expect.h"

static struct login *with(const char *mechanism, struct slice response)
{
    uint8_t room[256];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_capabilities_put(&w, AMQP_CAP_CONNECTION_BLOCKED | AMQP_CAP_AUTHENTICATION_FAILURE_CLOSE);
    struct amqp_hs_login from = {
        .mechanism = slice_str(mechanism),
        .response = response,
        .properties = wire_out_slice(&w),
    };
    return login_new(&from, "CN=shop,O=Example");
}

static struct slice amqplain(uint8_t *room, size_t bytes)
{
    struct wire_out w = wire_out_over(room, bytes);
    struct amqp_credentials c = { slice_str("anna"), slice_str("secret") };
    amqp_sasl_amqplain_write(&w, &c);
    return wire_out_slice(&w);
}

static bool has(const struct login *l, unsigned capability)
{
    return (l->capabilities & capability) != 0;
}

Test(login, keeps_a_copy)
{
    char response[] = "\0anna\0secret";
    struct login *l = with("PLAIN", slice_of(response, sizeof response - 1));
    memset(response, 'x', sizeof response);
    cr_expect(slice_eq(l->response, slice_of("\0anna\0secret", 12)));
    cr_expect(slice_is(l->mechanism, "PLAIN"));
    cr_expect(has(l, AMQP_CAP_CONNECTION_BLOCKED));
    cr_expect(not(has(l, AMQP_CAP_BASIC_NACK)));
    cr_expect(not(l->is_complete));
    login_free(&l);
    cr_expect(l == NULL);
    login_free(&l);
}

Test(login, knows_the_user)
{
    uint8_t room[128];
    struct login *l = with("PLAIN", slice_of("\0anna\0secret", 12));
    cr_expect(slice_is(login_user(l), "anna"));
    login_free(&l);
    l = with("AMQPLAIN", amqplain(room, sizeof room));
    cr_expect(slice_is(login_user(l), "anna"));
    login_free(&l);
    l = with("PLAIN", slice_str("garbage"));
    cr_expect(eq(sz, login_user(l).len, 0));
    login_free(&l);
    l = with("EXTERNAL", slice_str(""));
    cr_expect(slice_is(login_user(l), "CN=shop,O=Example"));
    login_free(&l);
    l = with("OTHER", slice_str(""));
    cr_expect(eq(sz, login_user(l).len, 0));
    login_free(&l);
}

Test(login, is_complete_with_limits_and_vhost)
{
    struct login *l = with("PLAIN", slice_of("\0a\0b", 4));
    char vhost[255];
    memset(vhost, 'v', sizeof vhost);
    struct amqp_limits limits = { 100, 4096, 10 };
    login_complete(l, &limits, slice_of(vhost, sizeof vhost));
    cr_expect(l->is_complete);
    cr_expect(eq(sz, l->vhost.len, 255));
    cr_expect(eq(u32, l->limits.frame_max, 4096));
    login_free(&l);
}

Test(login, takes_a_new_secret)
{
    uint8_t room[128];
    struct login *l = with("PLAIN", slice_of("\0anna\0secret", 12));
    cr_assert(login_set_secret(l, slice_str("a much longer token")));
    cr_expect(slice_eq(l->response, slice_of("\0anna\0a much longer token", 25)));
    cr_expect(has(l, AMQP_CAP_CONNECTION_BLOCKED));
    cr_expect(slice_is(l->mechanism, "PLAIN"));
    cr_assert(login_set_secret(l, slice_str("")));
    cr_expect(slice_eq(l->response, slice_of("\0anna\0", 6)));
    login_free(&l);

    l = with("AMQPLAIN", amqplain(room, sizeof room));
    cr_assert(login_set_secret(l, slice_str("new")));
    struct amqp_credentials c;
    cr_assert(amqp_sasl_amqplain_read(l->response, &c));
    cr_expect(slice_is(c.user, "anna"));
    cr_expect(slice_is(c.password, "new"));
    login_free(&l);
}

Test(login, refuses_a_secret_where_there_is_none)
{
    struct login *l = with("EXTERNAL", slice_str(""));
    cr_expect(not(login_set_secret(l, slice_str("x"))));
    login_free(&l);
}
