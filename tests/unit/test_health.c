/* proxy/health: when a server counts as up. */
#include "health.h"

#include "expect.h"

static const struct health_conf rules = {
    .rise = 2, .fall = 3, .inter_ms = 1000, .fastinter_ms = 100, .downinter_ms = 5000
};

static struct health_effects step(struct health *h, enum health_event e)
{
    struct health_effects out;
    health_step(h, &rules, e, &out);
    return out;
}

Test(health, starts_up_and_falls_at_the_first_failure)
{
    struct health h;
    health_init(&h, &rules);
    cr_expect(health_is_up(&h, &rules));
    struct health_effects out = step(&h, HEALTH_FAILED);
    cr_expect(eq(int, out.change, HEALTH_WENT_DOWN));
    cr_expect(eq(u64, out.next_after_ms, 5000));
    cr_expect(not(health_is_up(&h, &rules)));
}

Test(health, falls_after_three_failures_in_a_row)
{
    struct health h;
    health_init(&h, &rules);
    cr_expect(eq(u64, step(&h, HEALTH_PASSED).next_after_ms, 1000), "settled");
    cr_expect(eq(u64, step(&h, HEALTH_FAILED).next_after_ms, 100), "asked more often");
    cr_expect(eq(int, step(&h, HEALTH_FAILED).change, HEALTH_SAME));
    cr_expect(eq(int, step(&h, HEALTH_FAILED).change, HEALTH_WENT_DOWN));
    cr_expect(eq(int, step(&h, HEALTH_FAILED).change, HEALTH_SAME));
}

Test(health, one_success_wipes_out_the_failures)
{
    struct health h;
    health_init(&h, &rules);
    (void)step(&h, HEALTH_PASSED);
    for (int n = 0; n < 10; n++) {
        cr_expect(eq(int, step(&h, HEALTH_FAILED).change, HEALTH_SAME));
        cr_expect(eq(int, step(&h, HEALTH_FAILED).change, HEALTH_SAME));
        cr_expect(eq(u64, step(&h, HEALTH_PASSED).next_after_ms, 1000));
    }
}

Test(health, rises_after_two_successes_in_a_row)
{
    struct health h;
    health_init(&h, &rules);
    (void)step(&h, HEALTH_FAILED);
    struct health_effects out = step(&h, HEALTH_PASSED);
    cr_expect(eq(int, out.change, HEALTH_SAME));
    cr_expect(eq(u64, out.next_after_ms, 100));
    cr_expect(eq(int, step(&h, HEALTH_FAILED).change, HEALTH_SAME));
    (void)step(&h, HEALTH_PASSED);
    out = step(&h, HEALTH_PASSED);
    cr_expect(eq(int, out.change, HEALTH_WENT_UP));
    cr_expect(eq(u64, out.next_after_ms, 1000), "up at once, not on the way");
}

Test(health, tells_how_far_it_has_come)
{
    struct health h;
    unsigned n, of;
    health_init(&h, &rules);
    (void)step(&h, HEALTH_PASSED);
    cr_expect(not(health_is_moving(&h, &rules, &n, &of)));
    (void)step(&h, HEALTH_FAILED);
    cr_expect(health_is_moving(&h, &rules, &n, &of));
    cr_expect(n == 2 && of == 3, "%u/%u", n, of);
    (void)step(&h, HEALTH_FAILED);
    (void)step(&h, HEALTH_FAILED);
    cr_expect(not(health_is_moving(&h, &rules, &n, &of)));
    (void)step(&h, HEALTH_PASSED);
    cr_expect(health_is_moving(&h, &rules, &n, &of));
    cr_expect(n == 1 && of == 2, "%u/%u", n, of);
}

Test(health, stays_what_it_is_under_new_rules)
{
    static const struct health_conf strict = {
        .rise = 5, .fall = 1, .inter_ms = 1, .fastinter_ms = 1, .downinter_ms = 1
    };
    struct health h;
    health_init(&h, &rules);
    (void)step(&h, HEALTH_PASSED);
    health_adapt(&h, &rules, &strict);
    cr_expect(health_is_up(&h, &strict));
    health_adapt(&h, &strict, &rules);
    cr_expect(health_is_up(&h, &rules));
    (void)step(&h, HEALTH_FAILED);
    cr_expect(health_is_up(&h, &rules), "it was settled, and still is");
    (void)step(&h, HEALTH_FAILED);
    (void)step(&h, HEALTH_FAILED);
    health_adapt(&h, &rules, &strict);
    cr_expect(not(health_is_up(&h, &strict)));
}

Test(health, rise_and_fall_of_one)
{
    static const struct health_conf quick = {
        .rise = 1, .fall = 1, .inter_ms = 1, .fastinter_ms = 2, .downinter_ms = 3
    };
    struct health h;
    struct health_effects out;
    health_init(&h, &quick);
    for (int n = 0; n < 3; n++) {
        health_step(&h, &quick, HEALTH_FAILED, &out);
        cr_expect(eq(int, out.change, HEALTH_WENT_DOWN));
        health_step(&h, &quick, HEALTH_PASSED, &out);
        cr_expect(eq(int, out.change, HEALTH_WENT_UP));
    }
}
