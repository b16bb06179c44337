#include "base/check.h"
#include "base/ring.h"

#include "expect.h"

#include <signal.h>
#include <stdint.h>

static void *item(size_t n)
{
    return (void *)(uintptr_t)(n + 1);
}

Test(ring, is_empty_at_first)
{
    struct ring r;
    ring_init(&r, 1);
    cr_expect(ring_pop(&r) == NULL);
    cr_expect(eq(sz, r.count, 0));
    ring_fini(&r);
}

Test(ring, refuses_one_past_its_bound)
{
    const size_t bounds[] = { 1, 7, 8, 9, 64, 100 };
    for (size_t b = 0; b < ARRAY_COUNT(bounds); b++) {
        struct ring r;
        ring_init(&r, bounds[b]);
        for (size_t i = 0; i < bounds[b]; i++)
            cr_assert(ring_push(&r, item(i)));
        cr_expect(not(ring_push(&r, item(0))));
        for (size_t i = 0; i < bounds[b]; i++)
            cr_assert(ring_at(&r, i) == item(i));
        for (size_t i = 0; i < bounds[b]; i++)
            cr_assert(ring_pop(&r) == item(i));
        cr_expect(ring_pop(&r) == NULL);
        ring_fini(&r);
    }
}

/* Growing while the oldest lies in the middle of the slots keeps the order. */
Test(ring, keeps_the_order_while_it_wraps_and_grows)
{
    struct ring r;
    ring_init(&r, 1000);
    size_t in = 0, out = 0;
    while (in < 5000) {
        for (int i = 0; i < 7 && r.count < 1000; i++)
            cr_assert(ring_push(&r, item(in++)));
        for (int i = 0; i < (in < 3000 ? 5 : 9); i++) {
            if (out == in)
                break;
            cr_assert(ring_pop(&r) == item(out++));
        }
        if (r.count != 0)
            cr_assert(ring_at(&r, r.count - 1) == item(in - 1));
    }
    while (out < in)
        cr_assert(ring_pop(&r) == item(out++));
    ring_fini(&r);
}

Test(ring, aborts_past_its_end, .signal = SIGABRT)
{
    struct ring r;
    ring_init(&r, 4);
    cr_assert(ring_push(&r, item(0)));
    ring_at(&r, 1);
}

Test(ring, aborts_on_null, .signal = SIGABRT)
{
    struct ring r;
    ring_init(&r, 4);
    (void)!ring_push(&r, NULL);
}
