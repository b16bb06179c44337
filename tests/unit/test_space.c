#include "expect.h"
#include "store/space.h"

#define GIB ((uint64_t)1 << 30)

Test(space, is_low_below_its_limit_and_not_at_it)
{
    struct space sp = { 0 };
    cr_expect(space_see(&sp, 100, 1000, 100) == false);
    cr_expect(sp.is_low == false);
    cr_expect(space_see(&sp, 99, 1000, 100), "it has changed");
    cr_expect(sp.is_low);
    cr_expect(space_see(&sp, 0, 1000, 100) == false, "and not again");
    cr_expect(space_see(&sp, 0, 1000, 0), "no limit: never low");
    cr_expect(sp.is_low == false);
}

Test(space, is_looked_at_more_often_when_it_is_close)
{
    struct space sp = { 0 };
    space_see(&sp, 100 * GIB, 200 * GIB, GIB);
    cr_expect(eq(u32, space_next_ms(&sp), SPACE_LOOK_MOST_MS));
    space_see(&sp, GIB + GIB / 2, 200 * GIB, GIB);
    cr_expect(space_next_ms(&sp) > SPACE_LOOK_LEAST_MS && space_next_ms(&sp) <= 501);
    space_see(&sp, GIB, 200 * GIB, GIB);
    cr_expect(eq(u32, space_next_ms(&sp), SPACE_LOOK_LEAST_MS));
    space_see(&sp, 0, 200 * GIB, GIB);
    cr_expect(eq(u32, space_next_ms(&sp), SPACE_LOOK_LEAST_MS));
}
