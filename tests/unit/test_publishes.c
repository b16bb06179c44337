/* proxy/publishes: which messages of a client are confirmed. */
#include "publishes.h"

#include "base/rng.h"
#include "expect.h"

static struct publishes with_confirms(uint64_t said)
{
    struct publishes p = { 0 };
    publishes_select(&p);
    while (said-- > 0)
        publishes_add(&p);
    return p;
}

Test(publishes, without_confirms_an_answer_settles_what_was_said_before_the_question)
{
    struct publishes p = { 0 };
    cr_expect(publishes_are_settled(&p));
    publishes_add(&p);
    publishes_ask(&p);
    cr_expect(not(publishes_are_settled(&p)));
    publishes_add(&p);
    publishes_answer(&p);
    cr_expect(not(publishes_are_settled(&p)), "one was said behind the question");
    publishes_ask(&p);
    publishes_answer(&p);
    cr_expect(publishes_are_settled(&p));
}

Test(publishes, confirms_come_in_any_order)
{
    struct publishes p = with_confirms(5);
    publishes_settle(&p, 3, false);
    publishes_settle(&p, 5, false);
    publishes_settle(&p, 2, true);
    cr_expect(not(publishes_are_settled(&p)));
    publishes_settle(&p, 9, false); /* no sense in it */
    publishes_settle(&p, 3, false);
    publishes_settle(&p, 4, false);
    cr_expect(publishes_are_settled(&p));
    publishes_add(&p);
    publishes_add(&p);
    cr_expect(eq(u64, publishes_settle(&p, 0, true), 7));
    cr_expect(publishes_are_settled(&p));
    publishes_fini(&p);
}

Test(publishes, another_broker_s_numbers_go_on_from_there)
{
    struct publishes p = with_confirms(3);
    cr_expect(eq(u64, publishes_settle(&p, 3, true), 3));
    publishes_move(&p);
    publishes_add(&p);
    publishes_add(&p);
    cr_expect(eq(u64, publishes_settle(&p, 2, false), 5));
    cr_expect(not(publishes_are_settled(&p)));
    cr_expect(eq(u64, publishes_settle(&p, 1, false), 4));
    cr_expect(publishes_are_settled(&p));
    publishes_fini(&p);
}

Test(publishes, what_is_too_far_ahead_is_never_settled_again)
{
    struct publishes p = with_confirms(PUBLISHES_AHEAD_MAX + 1);
    publishes_settle(&p, PUBLISHES_AHEAD_MAX, false);
    publishes_settle(&p, PUBLISHES_AHEAD_MAX - 1, true);
    cr_expect(not(publishes_are_settled(&p)));
    publishes_settle(&p, PUBLISHES_AHEAD_MAX + 1, true);
    cr_expect(publishes_are_settled(&p), "so far it can be followed");
    publishes_fini(&p);

    p = with_confirms(PUBLISHES_AHEAD_MAX + 1);
    publishes_settle(&p, PUBLISHES_AHEAD_MAX + 1, false);
    publishes_settle(&p, PUBLISHES_AHEAD_MAX + 1, true);
    cr_expect(not(publishes_are_settled(&p)));
    publishes_fini(&p);
}

#define MESSAGES 3000u

/* Singly and many at a time, against a plain array. */
Test(publishes, as_an_array_of_all_would_say)
{
    static bool settled[MESSAGES + 1];
    struct rng rng;
    rng_init(&rng, 7);
    struct publishes p = with_confirms(0);
    uint64_t said = 0, left = 0;
    for (unsigned n = 0; n < 20000; n++) {
        if (said < MESSAGES && rng_below(&rng, 3) != 0) {
            publishes_add(&p);
            settled[++said] = false;
            left++;
        } else if (said != 0) {
            uint64_t back = rng_below(&rng, said < 600 ? said : 600);
            bool multiple = rng_below(&rng, 40) == 0;
            publishes_settle(&p, said - back, multiple);
            for (uint64_t i = multiple ? 1 : said - back; i <= said - back; i++) {
                left -= !settled[i];
                settled[i] = true;
            }
        }
        cr_assert(eq(int, publishes_are_settled(&p), left == 0), "step %u", n);
    }
    publishes_fini(&p);
}
