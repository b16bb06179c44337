#include "client/expiration.h"

#include "base/attr.h"
#include "expect.h"

/* What RabbitMQ 3.10.8 says of each. */
Test(expiration, is_judged_as_rabbitmq_does)
{
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        { "0", NULL },
        { "5", NULL },
        { "+5", NULL },
        { "-0", NULL },
        { "007", NULL },
        { "4294967296", NULL },
        { "315360000000", NULL },
        { "315360000001", "{value_too_large,315360000001}" },
        { "000315360000001", "{value_too_large,315360000001}" },
        { "-1", "{value_negative,-1}" },
        { "-007", "{value_negative,-7}" },
        { "", "no_integer" },
        { "-", "no_integer" },
        { " 1", "no_integer" },
        { "soon", "no_integer" },
        { "1.5", "{leftover_string,\".5\"}" },
        { "1 ", "{leftover_string,\" \"}" },
        { "1\"\\", "{leftover_string,\"\\\"\\\\\"}" },
        { "1\x01", "{leftover_string,[1]}" },
        { "999999999999999999", "{value_too_large,999999999999999999}" },
        { "9999999999999999999", "{value_too_large,\n                                           "
                                 "9999999999999999999}" },
        { "1aaaaaaaaaaaaaaaaa", "{leftover_string,\"aaaaaaaaaaaaaaaaa\"}" },
        { "99999999999999999999", "{value_too_large,\n                                            "
                                  "99999999999999999999}" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char room[EXPIRATION_FAULT_MAX];
        const char *got = expiration_fault(slice_str(cases[i].text), room);
        cr_expect(eq(int, got == NULL, cases[i].want == NULL), "'%s'", cases[i].text);
        if (got != NULL && cases[i].want != NULL)
            cr_expect(eq(str, (char *)(uintptr_t)got, (char *)(uintptr_t)cases[i].want), "'%s'",
                      cases[i].text);
    }
}

Test(expiration, has_room_for_the_longest)
{
    char text[256];
    char room[EXPIRATION_FAULT_MAX];
    memset(text, '\xff', 255);
    text[0] = '1';
    cr_expect(gt(sz, strlen(expiration_fault(slice_of(text, 255), room)), 254 * 4));
    memset(text, '9', 255);
    cr_expect(gt(sz, strlen(expiration_fault(slice_of(text, 255), room)), 255 + 255));
}
