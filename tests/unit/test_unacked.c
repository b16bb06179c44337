#include "client/unacked.h"

#include "base/attr.h"
#include "base/rng.h"
#include "expect.h"

static uint64_t add(struct unacked *u, uint64_t qseq)
{
    return unacked_add(u, &(struct unacked_entry){ .qid = 9, .qseq = qseq });
}

Test(unacked, tags_rise_from_one_whether_they_want_an_answer_or_not)
{
    struct unacked u;
    struct unacked_entry e;
    unacked_init(&u);
    cr_expect(eq(u64, unacked_skip(&u), 1));
    cr_expect(eq(u64, add(&u, 5), 2));
    cr_expect(eq(u64, unacked_skip(&u), 3));
    cr_expect(eq(u64, add(&u, 6), 4));
    cr_expect(not(unacked_is_open(&u, 0)));
    cr_expect(not(unacked_is_open(&u, 1)));
    cr_expect(unacked_is_open(&u, 2));
    cr_expect(not(unacked_is_open(&u, 3)));
    cr_expect(not(unacked_is_open(&u, 5)));
    cr_expect(unacked_take(&u, 4, &e));
    cr_expect(eq(u64, e.qseq, 6));
    cr_expect(not(unacked_take(&u, 4, &e)), "closed twice");
    cr_expect(unacked_take_oldest(&u, 10, &e));
    cr_expect(eq(u64, e.qseq, 5));
    cr_expect(not(unacked_take_oldest(&u, 10, &e)));
    cr_expect(eq(u64, unacked_skip(&u), 5));
    unacked_fini(&u);
}

Test(unacked, oldest_first_up_to_a_tag)
{
    struct unacked u;
    struct unacked_entry e;
    unacked_init(&u);
    for (uint64_t n = 0; n < 10; n++)
        add(&u, n);
    cr_expect(unacked_take(&u, 3, &e));
    const uint64_t want[] = { 0, 1, 3, 4 };
    for (size_t i = 0; i < ARRAY_COUNT(want); i++) {
        cr_assert(unacked_take_oldest(&u, 5, &e));
        cr_expect(eq(u64, e.qseq, want[i]));
    }
    cr_expect(not(unacked_take_oldest(&u, 5, &e)));
    cr_expect(eq(u64, u.open, 5));
    unacked_fini(&u);
}

Test(unacked, agrees_with_an_array_and_gives_its_memory_back)
{
    enum { COUNT = 20000 };
    static bool open[COUNT + 1];
    struct unacked u;
    struct unacked_entry e;
    struct rng r;
    rng_init(&r, 3);
    unacked_init(&u);
    uint64_t made = 0;
    while (made < COUNT) {
        if (rng_chance(&r, 550)) {
            bool wants = rng_chance(&r, 700);
            uint64_t tag = wants ? add(&u, made + 1) : unacked_skip(&u);
            cr_assert(eq(u64, tag, ++made));
            open[tag] = wants;
        } else if (made != 0) {
            uint64_t back = rng_below(&r, made < 100 ? made : 100);
            uint64_t tag = made - back;
            cr_assert(eq(int, unacked_take(&u, tag, &e), open[tag]));
            cr_assert(not(open[tag] && e.qseq != tag));
            open[tag] = false;
        }
    }
    while (unacked_take_oldest(&u, UINT64_MAX, &e)) {
        cr_assert(open[e.qseq]);
        open[e.qseq] = false;
    }
    cr_expect(eq(u64, u.open, 0));
    cr_expect(le(sz, u.cap, 64));
    unacked_fini(&u);
}

/* A task that takes days must not hold the memory of all that came after it. */
Test(unacked, one_old_tag_does_not_hold_the_memory_of_later_ones)
{
    struct unacked u;
    struct unacked_entry e;
    unacked_init(&u);
    add(&u, 7);
    for (int n = 0; n < 100000; n++) {
        uint64_t tag = add(&u, 8);
        cr_assert(unacked_take(&u, tag, &e));
        unacked_skip(&u);
    }
    cr_expect(le(sz, u.cap, 64));
    cr_expect(unacked_is_open(&u, 1));
    cr_assert(unacked_take_oldest(&u, 1, &e));
    cr_expect(eq(u64, e.qseq, 7));
    cr_expect(eq(u64, add(&u, 9), 200002));
    unacked_fini(&u);
}
