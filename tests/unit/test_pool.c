#include "base/check.h"
#include "base/mem.h"
#include "base/pool.h"

#include "expect.h"

#include <signal.h>

static bool is_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

Test(pool, refuses_one_past_its_bound)
{
    struct pool p;
    pool_init(&p, 24, 3);
    void *all[3];
    for (size_t i = 0; i < 3; i++) {
        all[i] = pool_get(&p);
        cr_assert(all[i] != NULL);
    }
    cr_expect(pool_get(&p) == NULL);
    cr_expect(eq(sz, p.objects_used, 3));
    pool_put(&p, all[1]);
    cr_expect(pool_get(&p) == all[1]); /* the one that is still in the cache */
    for (size_t i = 0; i < 3; i++)
        pool_put(&p, all[i]);
    pool_fini(&p);
}

/* Of any size, smaller than a pointer and larger than a slab too: aligned, zeroed, apart. */
Test(pool, gives_zeroed_objects_of_any_size)
{
    const size_t sizes[] = { 1, 7, 8, 16, 17, 100, 4096, 16384, 16385, 100000 };
    for (size_t s = 0; s < ARRAY_COUNT(sizes); s++) {
        enum { COUNT = 50 };
        struct pool p;
        pool_init(&p, sizes[s], COUNT);
        unsigned char *all[COUNT];
        for (int round = 0; round < 2; round++) { /* fresh ones, then used ones */
            for (int i = 0; i < COUNT; i++) {
                all[i] = pool_get(&p);
                cr_assert(all[i] != NULL && (uintptr_t)all[i] % _Alignof(max_align_t) == 0);
                cr_assert(is_zero(all[i], sizes[s]), "size %zu round %d", sizes[s], round);
                memset(all[i], i + 1, sizes[s]);
            }
            for (int i = 0; i < COUNT; i++) {
                cr_assert(all[i][0] == i + 1 && all[i][sizes[s] - 1] == i + 1);
                pool_put(&p, all[i]);
            }
        }
        pool_fini(&p);
    }
}

Test(pool, ends_without_having_given_anything)
{
    struct pool p;
    pool_init(&p, 8, 1);
    pool_fini(&p);
}

Test(pool, aborts_when_ended_with_objects_out, .signal = SIGABRT)
{
    struct pool p;
    pool_init(&p, 8, 1);
    (void)!pool_get(&p);
    pool_fini(&p);
}

Test(pool, aborts_when_too_many_come_back, .signal = SIGABRT)
{
    struct pool p;
    pool_init(&p, 8, 1);
    void *it = pool_get(&p);
    pool_put(&p, it);
    pool_put(&p, it);
}
