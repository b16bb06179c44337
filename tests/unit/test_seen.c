#include "model/seen.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

Test(seen, tells_what_is_new)
{
    enum { THINGS = 1000 };
    static char things[THINGS];
    static bool model[THINGS];
    struct seen s;
    struct rng r;
    rng_init(&r, 3);
    seen_init(&s);
    for (int round = 0; round < 50; round++) {
        seen_clear(&s);
        memset(model, 0, sizeof model);
        size_t count = 0;
        for (size_t n = rng_below(&r, 3 * THINGS); n > 0; n--) {
            size_t i = rng_below(&r, THINGS);
            cr_assert(seen_add(&s, &things[i]) == !model[i]);
            count += !model[i];
            model[i] = true;
        }
        cr_assert(eq(sz, s.count, count));
    }
    seen_fini(&s);
}
