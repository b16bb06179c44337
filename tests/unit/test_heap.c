#include "base/heap.h"
#include "base/rng.h"

#include "expect.h"

#include <signal.h>
#include <stdlib.h>

Test(heap, is_empty_at_first_and_at_last)
{
    struct heap h;
    heap_init(&h);
    cr_expect(heap_min(&h) == NULL);
    heap_push(&h, 5, 50);
    cr_expect(eq(u64, heap_min(&h)->key, 5));
    cr_expect(eq(u64, heap_pop(&h).value, 50));
    cr_expect(heap_min(&h) == NULL);
    cr_expect(h.items == NULL); /* holds no memory */
    heap_push(&h, UINT64_MAX, 1);
    heap_push(&h, 0, 2);
    cr_expect(eq(u64, heap_pop(&h).value, 2));
    heap_fini(&h);
    heap_fini(&h);
}

/* Pushes and pops in any mixture: never a smaller key after a larger one that was there with it. */
Test(heap, sorts)
{
    enum { COUNT = 2000 };
    static bool seen[COUNT];
    for (size_t count = 1; count <= COUNT; count = count * 3 / 2 + 1) {
        struct heap h;
        struct rng rng;
        heap_init(&h);
        rng_init(&rng, count);
        for (size_t i = 0; i < count; i++) {
            heap_push(&h, rng_below(&rng, count / 2 + 1), i); /* many keys repeat */
            seen[i] = false;
        }
        uint64_t last = 0;
        for (size_t i = 0; i < count; i++) {
            uint64_t least = heap_min(&h)->key;
            struct heap_item it = heap_pop(&h);
            cr_assert(it.key == least && it.key >= last);
            cr_assert(not(seen[it.value]));
            seen[it.value] = true;
            last = it.key;
        }
        cr_assert(eq(sz, h.count, 0));
    }
}

Test(heap, sorts_while_it_changes)
{
    struct heap h;
    struct rng rng;
    heap_init(&h);
    rng_init(&rng, 1);
    uint64_t now = 0;
    for (int i = 0; i < 20000; i++) { /* deadlines lie in the future, as with timers */
        heap_push(&h, now + rng_below(&rng, 1000), 0);
        if (rng_chance(&rng, 600) && h.count != 0) {
            uint64_t due = heap_pop(&h).key;
            cr_assert(due >= now);
            now = due;
        }
    }
    heap_fini(&h);
}

Test(heap, aborts_when_popped_empty, .signal = SIGABRT)
{
    struct heap h;
    heap_init(&h);
    heap_pop(&h);
}
