#include "client/auth.h"

#include "expect.h"

static struct auth *make(void)
{
    struct auth *a = auth_new();
    auth_add(a, "guest", "guest", (const uint8_t[4]){ 1, 2, 3, 4 }, true);
    auth_add(a, "shop", "secret", (const uint8_t[4]){ 0, 0, 0, 0 }, false);
    return a;
}

static enum auth_verdict check(const struct auth *a, const char *user, const char *password,
                               bool loopback)
{
    return auth_check(a, slice_str(user), slice_str(password), loopback);
}

Test(auth, right_wrong_and_unknown)
{
    struct auth *a = make();
    cr_expect(eq(int, check(a, "shop", "secret", false), AUTH_OK));
    cr_expect(eq(int, check(a, "shop", "secret", true), AUTH_OK));
    cr_expect(eq(int, check(a, "shop", "secre", false), AUTH_REFUSED));
    cr_expect(eq(int, check(a, "shop", "secrets", false), AUTH_REFUSED));
    cr_expect(eq(int, check(a, "shop", "", false), AUTH_REFUSED));
    cr_expect(eq(int, check(a, "", "", true), AUTH_REFUSED));
    cr_expect(eq(int, check(a, "sho", "secret", true), AUTH_REFUSED));
    auth_free(&a);
}

Test(auth, guest_from_here_alone)
{
    struct auth *a = make();
    cr_expect(eq(int, check(a, "guest", "guest", true), AUTH_OK));
    cr_expect(eq(int, check(a, "guest", "guest", false), AUTH_LOOPBACK_ONLY));
    cr_expect(eq(int, check(a, "guest", "wrong", false), AUTH_REFUSED),
              "who guesses from afar is not told that a password is right");
    auth_free(&a);
}

/* As long as a password may be on the wire, and longer than what is hashed at once. */
Test(auth, long_passwords_are_told_apart)
{
    char one[1025], two[1025];
    memset(one, 'p', sizeof one);
    memset(two, 'p', sizeof two);
    one[1024] = two[1024] = '\0';
    two[1023] = 'q';
    struct auth *a = auth_new();
    auth_add(a, "u", one, (const uint8_t[4]){ 9, 9, 9, 9 }, false);
    cr_expect(eq(int, check(a, "u", one, false), AUTH_OK));
    cr_expect(eq(int, check(a, "u", two, false), AUTH_REFUSED));
    cr_expect(eq(int, auth_check(a, slice_str("u"), slice_of(one, 1023), false), AUTH_REFUSED));
    auth_free(&a);
}
