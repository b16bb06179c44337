#include "io/password.h"

#include "base/text.h"
#include "io/http_text.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

TestSuite(password, .timeout = 300);

/* As RabbitMQ 3.10 exports them, all of the password "correct horse". */
static const struct {
    enum password_hashing how;
    const char *base64;
} foreign[] = {
    { PASSWORD_SHA256, "2PUTVomOJnV/+E5YxhaGmEWw1GEP6ShZeS/0Y0Voa/R7dDJ9" },
    { PASSWORD_SHA512, "lYrKI5E27URYvgdL0X1AqpL99QeS5joG2Fi8tGdKh6h3g40bNWBu0e2JVV6UC3poaokL31Jujj/"
                       "Ba3DjSMfNFnVAalI=" },
    { PASSWORD_MD5, "mzFGpJbJ9nuFnST8wlVRbbrYA4s=" },
};

static size_t decoded(const char *base64, uint8_t room[PASSWORD_HASH_MAX])
{
    char text[PASSWORD_HASH_MAX + 1];
    struct text t = text_over(text, sizeof text);
    cr_assert(http_base64_octets(slice_str(base64), &t));
    memcpy(room, text, t.len);
    return t.len;
}

Test(password, rabbitmqs_own_hashes_fit)
{
    uint8_t room[PASSWORD_HASH_MAX];
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        struct slice hash = slice_of(room, decoded(foreign[i].base64, room));
        cr_expect(password_is_right(foreign[i].how, hash, slice_str("correct horse")), "%zu", i);
        cr_expect(not(password_is_right(foreign[i].how, hash, slice_str("correct hors"))));
        cr_expect(not(password_is_right(foreign[i].how, hash, slice_str(""))));
    }
}

Test(password, what_is_made_fits_and_is_salted)
{
    const enum password_hashing all[] = { PASSWORD_SHA256, PASSWORD_SHA512, PASSWORD_MD5,
                                          PASSWORD_PBKDF2 };
    for (size_t i = 0; i < 4; i++) {
        struct password_hash one, two;
        password_make(all[i], 1000, slice_str("p"), &one);
        password_make(all[i], 1000, slice_str("p"), &two);
        cr_assert(ne(sz, one.len, 0));
        cr_expect(ne(int, memcmp(one.octets, two.octets, one.len), 0));
        cr_expect(password_is_right(all[i], password_hash_slice(&one), slice_str("p")));
        cr_expect(password_is_right(all[i], password_hash_slice(&two), slice_str("p")));
        cr_expect(not(password_is_right(all[i], password_hash_slice(&two), slice_str("q"))));
        cr_expect(not(password_is_right(all[i], password_hash_slice(&two), slice_str("pp"))));
    }
}

Test(password, every_octet_of_a_hash_counts)
{
    struct password_hash h;
    password_make(PASSWORD_PBKDF2, 1, slice_str("p"), &h);
    for (size_t i = 0; i < h.len; i++) {
        struct password_hash other = h;
        other.octets[i] ^= 1;
        cr_expect(
            not(password_is_right(PASSWORD_PBKDF2, password_hash_slice(&other), slice_str("p"))),
            "octet %zu", i);
    }
}

Test(password, a_cut_hash_is_none)
{
    const enum password_hashing all[] = { PASSWORD_SHA256, PASSWORD_SHA512, PASSWORD_MD5,
                                          PASSWORD_PBKDF2 };
    for (size_t i = 0; i < 4; i++) {
        struct password_hash h;
        password_make(all[i], 1, slice_str("p"), &h);
        for (size_t len = 0; len < h.len; len++)
            cr_expect(not(password_is_right(all[i], slice_of(h.octets, len), slice_str("p"))));
    }
}

Test(password, a_long_password_counts_whole)
{
    char one[3000], two[3000];
    memset(one, 'p', sizeof one);
    memcpy(two, one, sizeof two);
    two[sizeof two - 1] = 'q';
    struct password_hash h;
    password_make(PASSWORD_SHA256, 0, slice_of(one, sizeof one), &h);
    cr_expect(
        password_is_right(PASSWORD_SHA256, password_hash_slice(&h), slice_of(one, sizeof one)));
    cr_expect(not(
        password_is_right(PASSWORD_SHA256, password_hash_slice(&h), slice_of(two, sizeof two))));
    cr_expect(not(password_is_right(PASSWORD_SHA256, password_hash_slice(&h),
                                    slice_of(one, sizeof one - 1))));
}

/* A hash comes from outside too: one that would take hours to check is refused unchecked. */
Test(password, absurd_rounds_are_no_hash)
{
    struct password_hash h;
    password_make(PASSWORD_PBKDF2, 1000, slice_str("p"), &h);
    cr_expect(eq(u32, password_rounds(password_hash_slice(&h)), 1000));
    memset(h.octets + 16, 0xff, 4);
    cr_expect(eq(u32, password_rounds(password_hash_slice(&h)), 0));
    cr_expect(not(password_is_right(PASSWORD_PBKDF2, password_hash_slice(&h), slice_str("p"))));
    memset(h.octets + 16, 0, 4);
    cr_expect(not(password_is_right(PASSWORD_PBKDF2, password_hash_slice(&h), slice_str("p"))));
}

Test(password, as_text_and_back)
{
    struct password_hash h;
    char text[PASSWORD_TEXT_MAX];
    uint8_t back[PASSWORD_HASH_MAX];
    password_make(PASSWORD_SHA512, 0, slice_str("p"), &h);
    cr_assert(password_to_text(password_hash_slice(&h), text, sizeof text));
    cr_expect(eq(sz, decoded(text, back), h.len));
    cr_expect(eq(int, memcmp(back, h.octets, h.len), 0));
    cr_expect(not(password_to_text(password_hash_slice(&h), text, 92)));
    cr_assert(password_to_text(slice_of(NULL, 0), text, 1));
    cr_expect(eq(str, text, ""));
}
