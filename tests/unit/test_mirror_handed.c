#include "mirror/mirror_handed.h"

#include "expect.h"

static bool hear(struct mirror_handed *d, uint64_t epoch, struct mirror_run *runs, uint32_t count,
                 bool is_last)
{
    struct mirror_starts fresh = { 0 };
    mirror_starts_raise(&fresh, 100);
    struct mirror_record r = { .op = MIRROR_HANDED,
                               .epoch = epoch,
                               .flags = is_last ? MIRROR_HANDED_LAST : 0,
                               .starts = &fresh,
                               .runs = runs,
                               .run_count = count };
    bool is_decided = mirror_handed_hear(d, &r);
    mirror_starts_fini(&fresh);
    return is_decided;
}

static bool hear_one(struct mirror_handed *d, uint64_t first, uint64_t last, bool is_last)
{
    return hear(d, 7, &(struct mirror_run){ first, last }, 1, is_last);
}

Test(mirror_handed, waits_for_all_parts)
{
    struct mirror_handed d = { 0 };
    cr_expect(mirror_handed_await(&d));
    cr_expect(not(hear_one(&d, 3, 5, false)));
    cr_expect(mirror_handed_await(&d));
    cr_expect(not(mirror_handed_hold(&d)));
    cr_expect(hear_one(&d, 6, 6, true));
    cr_expect(not(mirror_handed_await(&d)));
    cr_expect(mirror_handed_hold(&d));
    cr_expect(eq(sz, d.left, 4));
    cr_expect(eq(u64, mirror_starts_of(&d.fresh, 0), 100));
    mirror_handed_fini(&d);
}

Test(mirror_handed, a_word_in_part_is_none)
{
    struct mirror_handed d = { 0 };
    cr_expect(not(hear_one(&d, 3, 5, false)));
    mirror_handed_give_up(&d);
    cr_expect(not(hear_one(&d, 6, 6, true)));
    cr_expect(not(mirror_handed_await(&d)));
    cr_expect(not(mirror_handed_hold(&d)));
    cr_expect(not(mirror_handed_take(&d, 3)));
    mirror_handed_fini(&d);
}

Test(mirror_handed, does_not_believe_what_does_not_rise_or_is_too_much)
{
    struct mirror_run bad[][2] = {
        { { 5, 6 }, { 6, 7 } },
        { { 5, 6 }, { 1, 2 } },
        { { 1, 1 }, { 2, MIRROR_HANDED_MAX + 1 } },
        { { 1, 1 }, { 2, UINT64_MAX } },
        { { 9, 8 }, { 10, 11 } },
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct mirror_handed d = { 0 };
        cr_expect(hear(&d, 7, bad[i], 2, true), "%zu", i);
        cr_expect(not(mirror_handed_hold(&d)), "%zu", i);
        mirror_handed_fini(&d);
    }
    struct mirror_handed d = { 0 };
    cr_expect(hear_one(&d, 1, MIRROR_HANDED_MAX, true));
    cr_expect(mirror_handed_hold(&d));
    mirror_handed_fini(&d);
}

Test(mirror_handed, what_was_said_in_another_epoch_means_nothing)
{
    struct mirror_handed d = { 0 };
    cr_expect(not(mirror_handed_is_of_another(&d, 8)));
    cr_expect(hear_one(&d, 3, 3, true));
    cr_expect(not(mirror_handed_is_of_another(&d, 7)));
    cr_expect(mirror_handed_is_of_another(&d, 8));
    mirror_handed_fini(&d);
}

Test(mirror_handed, each_is_taken_once)
{
    struct mirror_handed d = { 0 };
    uint64_t position;
    cr_expect(hear_one(&d, 3, 6, true));
    cr_expect(not(mirror_handed_take(&d, 3)));
    cr_expect(mirror_handed_hold(&d));
    cr_expect(not(mirror_handed_take(&d, 2)));
    cr_expect(mirror_handed_take(&d, 3));
    cr_expect(not(mirror_handed_take(&d, 3)));
    cr_expect(mirror_handed_take(&d, 5));
    cr_expect(not(mirror_handed_take(&d, 5)));
    cr_expect(not(mirror_handed_take(&d, 7)));
    cr_expect(mirror_handed_next_left(&d, &position));
    cr_expect(eq(u64, position, 4));
    cr_expect(mirror_handed_next_left(&d, &position));
    cr_expect(eq(u64, position, 6));
    cr_expect(not(mirror_handed_next_left(&d, &position)));
    cr_expect(eq(sz, d.left, 0));
    mirror_handed_fini(&d);
}

Test(mirror_handed, what_is_settled_early_counts_if_it_was_out)
{
    struct mirror_handed d = { 0 };
    uint64_t position;
    uint8_t how;
    mirror_handed_put_early(&d, 9, 1);
    mirror_handed_put_early(&d, 4, 2);
    mirror_handed_put_early(&d, 4, 3);
    cr_expect(not(mirror_handed_is_decided(&d)));
    cr_expect(hear_one(&d, 3, 4, true));
    cr_expect(mirror_handed_hold(&d));
    cr_expect(mirror_handed_next_early(&d, &position, &how));
    cr_expect(eq(u64, position, 4));
    cr_expect(eq(u8, how, 2));
    cr_expect(not(mirror_handed_next_early(&d, &position, &how)));
    cr_expect(eq(sz, d.left, 1));
    mirror_handed_fini(&d);
}

/* Even then what was said there is not believed of a queue that does not lead. */
Test(mirror_handed, what_is_settled_early_goes_without_a_word)
{
    struct mirror_handed d = { 0 };
    uint64_t position;
    uint8_t how;
    mirror_handed_put_early(&d, 4, 2);
    mirror_handed_give_up(&d);
    cr_expect(not(mirror_handed_hold(&d)));
    cr_expect(not(mirror_handed_next_early(&d, &position, &how)));
    mirror_handed_fini(&d);
}
