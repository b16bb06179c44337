/* proxy/place: when a channel may go after its publishes. */
#include "place.h"

#include "expect.h"

static struct place_tries tries;

static void set_up(void)
{
    tries = (struct place_tries){ .any = false };
}

TestSuite(place, .init = set_up, .timeout = 300);

Test(place, follows_once_for_each_time_that_masters_move)
{
    cr_expect(place_may_try(&tries, false, 0, 0, 0), "it has not gone yet");
    cr_expect(place_may_try(&tries, false, 0, 0, 1000) == false);
    cr_expect(place_may_try(&tries, false, 1, 0, 1000));
    cr_expect(place_may_try(&tries, false, 1, 0, 1000) == false);
}

/* One that publishes to queues of several masters in turn would come and go with each. */
Test(place, what_brokers_say_of_exchanges_moves_nobody_who_uses_queues)
{
    cr_assert(place_may_try(&tries, false, 5, 0, 1));
    for (uint32_t news = 1; news < 1000; news++)
        cr_assert(place_may_try(&tries, false, 5, news, news) == false);
}

Test(place, news_of_an_exchange_are_followed_once_in_a_while)
{
    unsigned gone = 0;
    for (uint32_t now_s = 100; now_s < 100 + 10 * PLACE_REST_S; now_s++)
        for (uint32_t part = 0; part < 20; part++)
            gone += place_may_try(&tries, true, 5, now_s * 20 + part, now_s);
    cr_expect(eq(u32, gone, 10));
    cr_expect(place_may_try(&tries, true, 5, tries.news, tries.at_s + 100) == false,
              "nothing is new");
    cr_expect(place_may_try(&tries, true, 6, tries.news, tries.at_s), "a master has moved");
}
