#include "mgmt/mgmt_rates.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(mgmt_rates, .timeout = 300);

static double look(struct mgmt_rates *r, uint64_t id, uint64_t at_ms, uint64_t counter)
{
    double rate;
    mgmt_rates_look(r, id, at_ms * 1000, &counter, 1, &rate);
    return rate;
}

Test(mgmt_rates, are_over_the_time_between_two_looks)
{
    struct mgmt_rates *r = mgmt_rates_new();
    cr_expect(eq(dbl, look(r, 1, 1000, 50), 0), "the first look");
    cr_expect(eq(dbl, look(r, 1, 6000, 100), 10));
    cr_expect(eq(dbl, look(r, 1, 7000, 1000), 10), "too soon for a new one");
    cr_expect(eq(dbl, look(r, 1, 16000, 100), 0), "nothing came");
    mgmt_rates_free(&r);
    cr_expect(r == NULL);
}

Test(mgmt_rates, are_kept_apart_and_begin_anew)
{
    struct mgmt_rates *r = mgmt_rates_new();
    (void)look(r, 1, 1000, 0);
    (void)look(r, 2, 1000, 0);
    cr_expect(eq(dbl, look(r, 1, 11000, 10), 1));
    cr_expect(eq(dbl, look(r, 2, 11000, 20), 2));
    cr_expect(eq(dbl, look(r, 2, 21000, 5), 0), "a counter that went back is another one");
    for (uint64_t id = 10; id < 10 + MGMT_RATES_MAX; id++)
        (void)look(r, id, 30000, 0);
    cr_expect(eq(dbl, look(r, 1, 31000, 100), 0), "forgotten");
    mgmt_rates_free(&r);
}
