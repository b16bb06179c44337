#include "mirror/mirror_history.h"

#include "base/mem.h"
#include "expect.h"

#define P1 (UINT64_C(1) << MIRROR_PRIORITY_SHIFT)

static void set(struct mirror_starts *s, uint64_t of_0, uint64_t of_1)
{
    mirror_starts_fini(s);
    if (of_0 != 0)
        mirror_starts_raise(s, of_0);
    if (of_1 != 0)
        mirror_starts_raise(s, P1 + of_1);
}

/* A master begins an epoch with these next positions. */
static void begin(struct mirror_history *h, uint64_t epoch, uint64_t of_0, uint64_t of_1)
{
    struct mirror_starts next = { 0 };
    set(&next, of_0, of_1);
    mirror_history_begin(h, epoch, &next);
    mirror_starts_fini(&next);
}

/* A replica with these next positions joins. */
static bool join(struct mirror_history *h, const struct mirror_history *master, uint64_t of_0,
                 uint64_t of_1, struct mirror_starts *cut)
{
    struct mirror_starts next = { 0 };
    set(&next, of_0, of_1);
    bool is_cut = mirror_history_join(h, master, &next, cut);
    mirror_starts_fini(&next);
    return is_cut;
}

Test(mirror_history, starts_are_kept_by_priority)
{
    struct mirror_starts a = { 0 }, b = { 0 };
    set(&a, 5, 2);
    mirror_starts_raise(&a, 4);
    cr_expect(eq(u64, mirror_starts_of(&a, 0), 5));
    cr_expect(eq(u64, mirror_starts_of(&a, P1 + 9), P1 + 2));
    cr_expect(eq(u64, mirror_starts_of(&a, 2 * P1 + 9), 2 * P1), "it was never used");
    cr_expect(mirror_starts_has(&a, 4));
    cr_expect(not(mirror_starts_has(&a, 5)));
    set(&b, 3, 7);
    cr_expect(not(mirror_starts_within(&a, &b)));
    mirror_starts_lower(&a, &b);
    cr_expect(eq(u64, mirror_starts_of(&a, 0), 3));
    cr_expect(eq(u64, mirror_starts_of(&a, P1), P1 + 2));
    cr_expect(mirror_starts_within(&a, &b));
    set(&b, 3, 0);
    mirror_starts_lower(&a, &b);
    cr_expect(eq(u32, a.count, 1));
    mirror_starts_fini(&a);
    mirror_starts_fini(&b);
}

Test(mirror_history, a_new_replica_has_nothing_that_could_be_the_masters)
{
    struct mirror_history m = { 0 }, r = { 0 };
    struct mirror_starts cut;
    begin(&m, 10, 4, 0);
    cr_expect(join(&r, &m, 2, 0, &cut));
    cr_expect(eq(u32, cut.count, 0), "all of it goes");
    cr_expect(eq(u64, mirror_history_epoch(&r), 10));
    cr_expect(r.is_partial);
    mirror_history_whole(&r, &m.now);
    cr_expect(not(r.is_partial));
    cr_expect(not(join(&r, &m, 4, 0, &cut)), "of the same epoch nothing goes");
    mirror_history_fini(&m);
    mirror_history_fini(&r);
}

Test(mirror_history, what_a_deposed_master_gave_behind_the_new_one_is_cut)
{
    struct mirror_history old = { 0 }, new = { 0 };
    struct mirror_starts cut;
    begin(&old, 10, 0, 0);
    (void)join(&new, &old, 0, 0, &cut);
    mirror_history_whole(&new, &old.now);
    for (uint64_t seq = 1; seq <= 9; seq++)
        mirror_history_saw(&old, seq - 1, 77, seq);
    for (uint64_t seq = 1; seq <= 6; seq++)
        mirror_history_saw(&new, seq - 1, 77, seq);
    begin(&new, 20, 6, 0);
    cr_assert(join(&old, &new, 9, 0, &cut));
    cr_expect(eq(u64, mirror_starts_of(&cut, 0), 6));
    cr_expect(eq(u64, producers_last(&old.now, 77), 6), "and who published it may do so again");
    mirror_starts_fini(&cut);
    mirror_history_fini(&old);
    mirror_history_fini(&new);
}

/* Both left their common epoch, the replica earlier: it was a master that the present one has
 * never heard of. */
Test(mirror_history, the_earlier_of_two_ends_is_where_it_is_cut)
{
    struct mirror_history a = { 0 }, b = { 0 };
    struct mirror_starts cut;
    begin(&a, 10, 0, 0);
    (void)join(&b, &a, 0, 0, &cut);
    mirror_history_whole(&b, &a.now);
    begin(&b, 20, 3, 0);
    begin(&a, 30, 8, 0);
    cr_assert(join(&b, &a, 50, 0, &cut));
    cr_expect(eq(u64, mirror_starts_of(&cut, 0), 3));
    mirror_starts_fini(&cut);
    mirror_history_fini(&a);
    mirror_history_fini(&b);
}

Test(mirror_history, goes_back_to_where_it_was_whole)
{
    struct mirror_history m = { 0 }, r = { 0 };
    struct mirror_starts cut;
    begin(&m, 10, 0, 0);
    (void)join(&r, &m, 0, 0, &cut);
    mirror_history_whole(&r, &m.now);
    mirror_history_saw(&r, 0, 5, 1);
    mirror_history_saw(&r, 1, 5, 2);
    begin(&m, 20, 9, 0);
    cr_expect(join(&r, &m, 2, 0, &cut));
    mirror_starts_fini(&cut);
    mirror_history_saw(&r, 9, 5, 7); /* live, with a hole before it */
    cr_expect(eq(u64, producers_last(&r.now, 5), 7));
    cr_assert(mirror_history_back(&r, &cut));
    cr_expect(eq(u64, mirror_starts_of(&cut, 0), 2));
    cr_expect(eq(u64, producers_last(&r.now, 5), 2));
    cr_expect(eq(u64, mirror_history_epoch(&r), 10), "that epoch began behind");
    mirror_starts_fini(&cut);
    cr_expect(not(mirror_history_back(&r, &cut)), "it is whole now");
    mirror_history_fini(&m);
    mirror_history_fini(&r);
}

Test(mirror_history, an_epoch_never_begins_before_the_former)
{
    struct mirror_history h = { 0 };
    begin(&h, 10, 9, 2);
    begin(&h, 20, 3, 4); /* all of the former was settled before it came here */
    cr_expect(eq(u64, mirror_starts_of(mirror_history_starts(&h), 0), 9));
    cr_expect(eq(u64, mirror_starts_of(mirror_history_starts(&h), P1), P1 + 4));
    mirror_history_fini(&h);
}

Test(mirror_history, keeps_the_newest_epochs)
{
    struct mirror_history h = { 0 }, m = { 0 };
    struct mirror_starts cut;
    for (uint64_t e = 1; e <= MIRROR_EPOCHS_MAX + 3; e++)
        begin(&h, e, e, 0);
    cr_expect(eq(u32, h.count, MIRROR_EPOCHS_MAX));
    cr_expect(eq(u64, h.epochs[0].epoch, 4));
    begin(&m, 3, 2, 0);
    cr_expect(join(&m, &h, 9, 0, &cut), "what is older is not known to agree");
    cr_expect(eq(u32, cut.count, 0));
    mirror_history_fini(&h);
    mirror_history_fini(&m);
}

static struct mirror_history sample(void)
{
    struct mirror_history h = { 0 }, m = { 0 };
    struct mirror_starts cut;
    begin(&m, 10, 0, 0);
    mirror_history_saw(&m, 0, 3, 4);
    begin(&m, 20, 1, 2);
    (void)join(&h, &m, 0, 0, &cut);
    mirror_history_saw(&h, 5, 8, 9);
    mirror_history_fini(&m);
    return h;
}

Test(mirror_history, comes_back_from_octets_and_no_prefix_does)
{
    struct mirror_history h = sample(), back;
    uint8_t room[512], again[512];
    struct wire_out out = wire_out_over(room, sizeof room);
    mirror_history_put(&out, &h, true);
    size_t size = wire_out_len(&out);
    cr_assert(eq(sz, size, mirror_history_size(&h, true)));
    for (size_t n = 0; n < size; n++) {
        struct wire in = wire_over(slice_of(room, n));
        cr_expect(not(mirror_history_take(&in, true, &back)), "with %zu octets", n);
    }
    struct wire in = wire_over(slice_of(room, size));
    cr_assert(mirror_history_take(&in, true, &back));
    struct wire_out out2 = wire_out_over(again, sizeof again);
    mirror_history_put(&out2, &back, true);
    cr_expect(slice_eq(wire_out_slice(&out), wire_out_slice(&out2)));
    cr_expect(back.is_partial);
    cr_expect(eq(u64, producers_last(&back.now, 8), 9));
    mirror_history_fini(&h);
    mirror_history_fini(&back);
}
