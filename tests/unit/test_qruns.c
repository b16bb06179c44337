#include "model/qruns.h"

#include "base/rng.h"
#include "expect.h"
#include "model/qchunks.h"

#include <stdlib.h>
#include <string.h>

static struct qrun run(uint64_t first, uint64_t last, uint32_t seg)
{
    uint32_t count = (uint32_t)(last - first + 1);
    return (struct qrun){ .first = first,
                          .last = last,
                          .seg = seg,
                          .count = count,
                          .body_bytes = count * (uint64_t)100,
                          .persistent_count = count,
                          .persistent_bytes = count * (uint64_t)100 };
}

static void add(struct qruns *r, uint64_t first, uint64_t last, uint32_t seg)
{
    const struct qrun one = run(first, last, seg);
    qruns_add(r, &one);
}

Test(qruns, neighbours_of_one_segment_become_one)
{
    struct qruns r = { 0 };
    add(&r, 0, 9, 1);
    add(&r, 20, 29, 1);
    add(&r, 30, 39, 2);
    cr_expect(eq(sz, r.count, 3));
    const struct qrun gap = run(10, 19, 1), other = run(10, 19, 2), far = run(50, 59, 2);
    cr_expect(qruns_joins(&r, &gap));
    cr_expect(not(qruns_joins(&r, &other)));
    cr_expect(not(qruns_joins(&r, &far)));
    qruns_add(&r, &gap);
    cr_assert(eq(sz, r.count, 2));
    cr_expect(eq(u64, qruns_at(&r, 0)->last, 29));
    cr_expect(eq(uint, qruns_at(&r, 0)->count, 30));
    cr_expect(eq(u64, qruns_at(&r, 0)->body_bytes, 3000));
    qruns_fini(&r);
}

Test(qruns, those_that_came_back_and_others_stay_apart)
{
    struct qruns r = { 0 };
    add(&r, 0, 9, 1);
    struct qrun again = run(10, 19, 1);
    again.redelivered = true;
    qruns_add(&r, &again);
    struct qrun sparse = run(20, 29, 1);
    sparse.count = 5;
    sparse.redelivered = true;
    qruns_add(&r, &sparse);
    cr_expect(eq(sz, r.count, 3));
    qruns_fini(&r);
}

Test(qruns, a_part_from_the_middle_leaves_both_sides)
{
    struct qruns r = { 0 };
    add(&r, 100, 199, 1);
    struct qrun part = qruns_cut(&r, 0, 120, 129, 0);
    cr_expect(eq(uint, part.count, 10));
    cr_expect(eq(u64, part.body_bytes, 1000));
    cr_assert(eq(sz, r.count, 2));
    cr_expect(eq(u64, qruns_at(&r, 0)->last, 119));
    cr_expect(eq(u64, qruns_at(&r, 1)->first, 130));
    cr_expect(eq(u64, qruns_at(&r, 0)->body_bytes, 2000));
    cr_expect(eq(u64, qruns_at(&r, 1)->body_bytes, 7000));
    cr_expect(eq(ptr, qruns_rest_of(&r, &part), qruns_at(&r, 1)));
    (void)qruns_cut(&r, 1, 130, 199, 0);
    cr_expect(eq(ptr, qruns_rest_of(&r, &part), qruns_at(&r, 0)));
    (void)qruns_cut(&r, 0, 100, 119, 0);
    cr_expect(eq(sz, r.count, 0));
    cr_expect(eq(ptr, qruns_rest_of(&r, &part), NULL));
    cr_expect(eq(ptr, r.room, NULL), "empty, it holds nothing");
}

Test(qruns, of_one_with_holes_the_beginning_goes)
{
    struct qruns r = { 0 };
    struct qrun sparse = run(0, 99, 1);
    sparse.count = 10;
    sparse.body_bytes = 1000;
    qruns_add(&r, &sparse);
    struct qrun part = qruns_cut(&r, 0, 0, 49, 3);
    cr_expect(eq(uint, part.count, 3));
    cr_expect(eq(u64, part.body_bytes, 300));
    cr_expect(eq(uint, qruns_at(&r, 0)->count, 7));
    cr_expect(eq(u64, qruns_at(&r, 0)->first, 50));
    part = qruns_cut(&r, 0, 50, 60, 20); /* more than it said */
    cr_expect(eq(uint, part.count, 7));
    cr_expect(eq(sz, r.count, 0));
}

/* A byte for each position says which segment's run it is in. */
Test(qruns, agrees_with_a_map_of_positions)
{
    enum { POSITIONS = 500 };
    for (uint64_t seed = 1; seed <= 100; seed++) {
        uint8_t map[POSITIONS] = { 0 };
        struct qruns r = { 0 };
        struct rng rng;
        rng_init(&rng, seed);
        for (int step = 0; step < 300; step++) {
            uint64_t first = rng_below(&rng, POSITIONS);
            uint64_t last = first + rng_below(&rng, 20);
            if (last >= POSITIONS)
                last = POSITIONS - 1;
            size_t i = qruns_lower(&r, first);
            bool is_free = i == r.count || qruns_at(&r, i)->first > last;
            if (is_free) {
                uint8_t seg = (uint8_t)(1 + rng_below(&rng, 2));
                add(&r, first, last, seg);
                memset(map + first, seg, (size_t)(last - first + 1));
            } else if (rng_chance(&rng, 500)) {
                const struct qrun *hit = qruns_at(&r, i);
                uint64_t from = hit->first > first ? hit->first : first;
                uint64_t to = hit->last < last ? hit->last : last;
                struct qrun part = qruns_cut(&r, i, from, to, 0);
                cr_assert(eq(u64, part.body_bytes, 100 * (to - from + 1)));
                memset(map + from, 0, (size_t)(to - from + 1));
            }
        }
        uint64_t at = 0;
        for (size_t i = 0; i < r.count; i++) {
            const struct qrun *one = qruns_at(&r, i);
            for (; at < one->first; at++)
                cr_assert(eq(uint, map[at], 0), "seed %u", (unsigned)seed);
            for (; at <= one->last; at++)
                cr_assert(eq(uint, map[at], one->seg), "seed %u", (unsigned)seed);
        }
        for (; at < POSITIONS; at++)
            cr_assert(eq(uint, map[at], 0));
        qruns_fini(&r);
    }
}

/* ---- the row of chunks ------------------------------------------------------------------------
 */

static void free_chunks(struct qchunks *r)
{
    while (r->count != 0)
        qchunks_drop(r, qchunks_at(r, r->count - 1)->number);
    free(r->room);
}

Test(qchunks, finds_what_is_there_whatever_is_missing)
{
    enum { NUMBERS = 300 };
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct qchunk *map[NUMBERS] = { NULL };
        struct qchunks r = { 0 };
        struct rng rng;
        rng_init(&rng, seed);
        for (int step = 0; step < 600; step++) {
            uint64_t number = rng_below(&rng, NUMBERS);
            if (map[number] == NULL) {
                map[number] = qchunks_add(&r, number);
            } else if (rng_chance(&rng, 400)) {
                qchunks_drop(&r, number);
                map[number] = NULL;
            }
            uint64_t asked = rng_below(&rng, NUMBERS);
            cr_assert(eq(ptr, qchunks_find(&r, asked), map[asked]));
            cr_assert(eq(ptr, qchunks_find(&r, UINT64_MAX - asked), NULL));
        }
        size_t count = 0;
        for (uint64_t n = 0; n < NUMBERS; n++) {
            cr_assert(eq(ptr, qchunks_find(&r, n), map[n]));
            cr_assert(eq(sz, qchunks_lower(&r, n), count));
            count += map[n] != NULL;
        }
        cr_assert(eq(sz, r.count, count));
        free_chunks(&r);
    }
}

/* A million that come at the end and go at the front need no more room than are there at a time. */
Test(qchunks, a_row_that_moves_on_does_not_grow)
{
    struct qchunks r = { 0 };
    for (uint64_t n = 0; n < 100000; n++) {
        qchunks_add(&r, n);
        if (n >= 10)
            qchunks_drop(&r, n - 10);
    }
    cr_expect(le(sz, r.cap, 32));
    free_chunks(&r);
}

Test(qchunks, many_are_put_in_at_once)
{
    struct qchunks r = { 0 };
    for (uint64_t n = 0; n < 10; n++)
        qchunks_add(&r, n * 100);
    qchunks_open(&r, 3, 50);
    for (uint64_t n = 0; n < 50; n++)
        *qchunks_at(&r, 3 + n) = (struct qslot){ 201 + n, qchunk_new() };
    cr_expect(eq(sz, r.count, 60));
    for (uint64_t n = 1; n < r.count; n++)
        cr_assert(lt(u64, qchunks_at(&r, n - 1)->number, qchunks_at(&r, n)->number));
    free_chunks(&r);
}
