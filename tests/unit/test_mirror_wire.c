#include "mirror/mirror_wire.h"

#include "expect.h"

#define X(name, octet, fields) MIRROR_##name,
static const enum mirror_op ops[] = { MIRROR_OPS(X) };
#undef X

static const struct mirror_run runs[] = { { 7, 9 }, { 11, 11 } };

struct lists {
    struct mirror_starts starts;
    struct mirror_history history;
    struct producers producers;
};

static struct mirror_record sample(enum mirror_op op, struct lists *l)
{
    *l = (struct lists){ 0 };
    mirror_starts_raise(&l->starts, 12);
    mirror_starts_raise(&l->starts, (UINT64_C(1) << MIRROR_PRIORITY_SHIFT) + 3);
    producers_saw(&l->producers, 1, 2);
    mirror_history_saw(&l->history, 0, 3, 4);
    mirror_history_begin(&l->history, 5, &l->starts);
    return (struct mirror_record){ .op = op,
                                   .flags = 1,
                                   .kind = 1,
                                   .shards = 2,
                                   .pos = 3,
                                   .qid = 4,
                                   .epoch = 5,
                                   .from = 6,
                                   .to = 20,
                                   .data = { 1, 2, 3, slice_str("payload") },
                                   .starts = &l->starts,
                                   .history = &l->history,
                                   .producers = &l->producers,
                                   .runs = runs,
                                   .run_count = 2 };
}

static void fini(struct lists *l)
{
    mirror_starts_fini(&l->starts);
    mirror_history_fini(&l->history);
    producers_fini(&l->producers);
}

static struct slice put(const struct mirror_record *r, uint8_t *room, size_t size)
{
    struct wire_out out = wire_out_over(room, size);
    mirror_wire_put(&out, r);
    cr_assert(not(out.overflow));
    cr_expect(eq(sz, wire_out_len(&out), mirror_wire_size(r)));
    return wire_out_slice(&out);
}

Test(mirror_wire, every_record_comes_back_and_no_prefix_does)
{
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        uint8_t room[512], again[512];
        struct lists l;
        struct mirror_record r = sample(ops[i], &l), back;
        struct slice bytes = put(&r, room, sizeof room);
        for (size_t n = 0; n < bytes.len; n++) {
            struct wire in = wire_over(slice_head(bytes, n));
            cr_expect(not(mirror_wire_take(&in, &back)), "op %d with %zu octets", ops[i], n);
        }
        struct wire in = wire_over(bytes);
        cr_assert(mirror_wire_take(&in, &back), "op %d", ops[i]);
        cr_expect(eq(sz, wire_left(&in), 0));
        cr_expect(slice_eq(put(&back, again, sizeof again), bytes), "op %d", ops[i]);
        mirror_record_fini(&back);
        mirror_record_fini(&back);
        fini(&l);
    }
}

static bool takes(const struct mirror_record *r)
{
    uint8_t room[512];
    struct mirror_record back;
    struct wire in = wire_over(put(r, room, sizeof room));
    bool is_good = mirror_wire_take(&in, &back);
    if (is_good)
        mirror_record_fini(&back);
    return is_good;
}

Test(mirror_wire, runs_are_in_order_and_where_the_offer_says)
{
    struct mirror_run bad[] = { { 7, 9 }, { 9, 9 } };
    struct mirror_record r = {
        .op = MIRROR_OFFER, .from = 7, .to = 9, .runs = bad, .run_count = 2
    };
    cr_expect(not(takes(&r)), "they overlap");
    r.run_count = 1;
    cr_expect(takes(&r));
    r.to = 8;
    cr_expect(not(takes(&r)), "it ends behind");
    r.to = 9;
    r.from = 8;
    cr_expect(not(takes(&r)), "it begins before");
    bad[0] = (struct mirror_run){ 9, 8 };
    cr_expect(not(takes(&r)), "it ends before it begins");
}

Test(mirror_wire, an_unknown_record_is_none)
{
    const uint8_t octets[] = { 0, 0, 0, 0 };
    struct mirror_record r;
    struct wire in = wire_over(slice_of(octets, sizeof octets));
    cr_expect(not(mirror_wire_take(&in, &r)));
    in = wire_over((struct slice){ NULL, 0 });
    cr_expect(not(mirror_wire_take(&in, &r)));
}
