#include "base/idmap.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static int things[4096];

Test(idmap, empty_has_nothing_and_no_memory)
{
    struct idmap m;
    idmap_init(&m);
    cr_expect(eq(ptr, idmap_get(&m, 1), NULL));
    cr_expect(eq(ptr, idmap_take(&m, 1), NULL));
    cr_expect(eq(ptr, idmap_first(&m), NULL));
    idmap_put(&m, 7, &things[0]);
    cr_expect(eq(ptr, idmap_take(&m, 7), &things[0]));
    cr_expect(eq(ptr, m.slots, NULL));
    idmap_fini(&m);
}

/* Ids collide and wrap round in a small table; what is taken must not hide what comes behind it. */
Test(idmap, agrees_with_an_array_through_random_changes)
{
    struct idmap m;
    bool there[512] = { false };
    struct rng r;
    rng_init(&r, 1);
    idmap_init(&m);
    for (int n = 0; n < 200000; n++) {
        uint64_t id = rng_below(&r, 512);
        if (there[id])
            cr_assert(eq(ptr, idmap_take(&m, id * 0x10001), &things[id]));
        else
            idmap_put(&m, id * 0x10001, &things[id]);
        there[id] = !there[id];
        uint64_t probe = rng_below(&r, 512);
        cr_assert(eq(ptr, idmap_get(&m, probe * 0x10001), there[probe] ? &things[probe] : NULL));
    }
    size_t seen = 0;
    size_t at = 0;
    while (idmap_next(&m, &at) != NULL)
        seen++;
    cr_expect(eq(sz, seen, m.count));
    while (idmap_first(&m) != NULL) {
        int *thing = idmap_first(&m);
        idmap_take(&m, (uint64_t)(thing - things) * 0x10001);
    }
    cr_expect(eq(sz, m.count, 0));
}
