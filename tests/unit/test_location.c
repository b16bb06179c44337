/* src/gossip/location, location_wire: higher versions win, whatever comes first. */
#include "gossip/location_wire.h"

#include "base/mem.h"
#include "base/rng.h"
#include "expect.h"

static struct location_table *t, *u;

static void set_up(void)
{
    t = location_new();
    u = location_new();
}

static void tear_down(void)
{
    location_check(t);
    location_check(u);
    location_free(&t);
    location_free(&u);
}

TestSuite(location, .init = set_up, .fini = tear_down);

static bool put(struct location_table *at, uint64_t hash, uint64_t ver, uint16_t node,
                unsigned flags)
{
    return location_put(at, &(struct location){ hash, ver, node, (uint8_t)flags });
}

static bool node(struct location_table *at, uint16_t number, bool is_up, uint64_t ver,
                 uint64_t swept)
{
    return location_put_node(at, &(struct location_node){ number, is_up, ver, swept });
}

/* The node, or 0: it is not there. */
static unsigned at(const struct location_table *table, uint64_t hash)
{
    struct location l;
    bool is_up;
    return location_find(table, hash, &l, &is_up) ? l.node : 0;
}

Test(location, an_entry_is_replaced_only_by_a_higher_version)
{
    cr_expect(put(t, 5, 10, 1, 0));
    cr_expect(not(put(t, 5, 10, 2, 0)), "the same");
    cr_expect(not(put(t, 5, 9, 2, 0)));
    cr_expect(eq(u32, at(t, 5), 1));
    cr_expect(put(t, 5, 11, 3, 0));
    cr_expect(eq(u32, at(t, 5), 3));
}

Test(location, says_which_buckets_have_changed)
{
    unsigned count = 0;
    while (location_take_changed(t) >= 0)
        count++;
    cr_expect(eq(u32, count, LOCATION_BUCKETS), "all of a new one");
    cr_expect(put(t, (uint64_t)9 << 52, 10, 1, 0));
    cr_expect(put(t, (uint64_t)7 << 52, 10, 1, LOCATION_TRANSIENT));
    cr_expect(eq(i32, location_take_changed(t), 7));
    cr_expect(eq(i32, location_take_changed(t), 9));
    cr_expect(eq(i32, location_take_changed(t), -1));
    cr_expect(not(put(t, (uint64_t)9 << 52, 9, 2, 0)));
    cr_expect(eq(i32, location_take_changed(t), -1), "an old word changes nothing");
    cr_expect(node(t, 1, false, 11, 11));
    cr_expect(eq(i32, location_take_changed(t), 7), "swept");
    cr_expect(eq(i32, location_take_changed(t), -1));
    location_clear(t);
    cr_expect(eq(i32, location_take_changed(t), 0));
}

Test(location, what_was_taken_away_stays_away)
{
    cr_expect(put(t, 5, 10, 1, 0));
    cr_expect(put(t, 5, 12, 0, LOCATION_GONE));
    cr_expect(eq(u32, at(t, 5), 0));
    cr_expect(not(put(t, 5, 11, 1, 0)), "a late word");
    location_reach(t, 12);
    cr_expect(not(put(t, 5, 11, 1, 0)));
    cr_expect(not(put(t, 6, 12, 1, 0)), "never heard of, and older than what is complete");
    cr_expect(put(t, 5, 13, 2, 0), "declared again");
    cr_expect(eq(u32, at(t, 5), 2));
}

Test(location, tombstones_are_dropped_when_the_index_has_passed_them)
{
    struct location_figures f;
    for (uint64_t i = 1; i <= 3000; i++) {
        cr_assert(put(t, i << 40, i, 1, 0));
        cr_assert(put(t, i << 40, i + 3000, 0, LOCATION_GONE));
    }
    location_reach(t, 2999);
    location_figures(t, &f);
    cr_expect(eq(u64, f.tombstones, 3000));
    location_reach(t, 4000);
    location_figures(t, &f);
    cr_expect(eq(u64, f.tombstones, 2000));
    location_reach(t, 6000);
    location_figures(t, &f);
    cr_expect(f.tombstones == 0 && f.entries == 0 && f.bytes < 200000);
}

Test(location, what_is_transient_goes_with_its_node_in_any_order)
{
    struct location l;
    bool is_up;
    cr_expect(put(t, 5, 10, 1, LOCATION_TRANSIENT));
    cr_expect(put(t, 6, 10, 1, 0));
    cr_expect(put(t, 7, 10, 2, LOCATION_TRANSIENT));
    cr_expect(node(t, 1, true, 1, 0));
    cr_expect(node(t, 1, false, 20, 20));
    cr_expect(eq(u32, at(t, 5), 0));
    cr_expect(eq(u32, at(t, 7), 2));
    cr_assert(location_find(t, 6, &l, &is_up));
    cr_expect(not(is_up), "durable, and out of reach");
    (void)put(t, 8, 19, 1, LOCATION_TRANSIENT);
    cr_expect(eq(u32, at(t, 8), 0), "late word of what was there");
    cr_expect(put(t, 8, 21, 1, LOCATION_TRANSIENT));
    cr_expect(not(node(t, 1, true, 19, 0)), "an old word");
    cr_expect(node(t, 1, true, 22, 0));
    cr_assert(location_find(t, 6, &l, &is_up));
    cr_expect(is_up);
}

Test(location, names_hash_by_vhost_and_key)
{
    struct slice a = slice_str("a"), ab = slice_str("ab"), b = slice_str("b");
    cr_expect(location_hash(1, a, b) != location_hash(2, a, b));
    cr_expect(location_hash(1, a, b) != location_hash(1, b, a));
    cr_expect(location_hash(1, ab, slice_str("")) != location_hash(1, a, b));
}

/* ---- buckets over the wire --------------------------------------------------------------------
 */

static void copy_all(struct location_table *to, const struct location_table *from, uint64_t index)
{
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++) {
        size_t most = location_bucket_most(from, i);
        uint8_t *room = mem_alloc(most);
        struct wire_out w = wire_out_over(room, most);
        location_bucket_put(&w, from, i, index);
        cr_assert(not(w.overflow));
        struct wire r = wire_over(wire_out_slice(&w));
        cr_assert(location_bucket_take(&r, to, i, index));
        cr_assert(eq(sz, wire_left(&r), 0));
        mem_free(room);
    }
}

static bool is_same(const struct location_table *a, const struct location_table *b)
{
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++)
        if (location_bucket_digest(a, i) != location_bucket_digest(b, i))
            return false;
    return true;
}

Test(location, a_snapshot_makes_tables_alike_but_for_what_is_younger)
{
    struct rng r;
    rng_init(&r, 3);
    for (uint64_t i = 1; i <= 5000; i++)
        cr_assert(
            put(t, rng_u64(&r), i, (uint16_t)(1 + i % 3), i % 7 == 0 ? LOCATION_TRANSIENT : 0));
    rng_init(&r, 3);
    for (uint64_t i = 1; i <= 5000; i++) { /* an older view of some, and some that are gone */
        uint64_t hash = rng_u64(&r);
        if (i % 2 == 0)
            cr_assert(put(u, hash, i > 10 ? i - 10 : 1, 9, 0));
        if (i % 5 == 0)
            (void)put(u, hash ^ 1, 5, 9, 0);
    }
    copy_all(u, t, 5000);
    cr_expect(is_same(t, u));

    uint64_t young = rng_u64(&r);
    cr_assert(put(u, young, 6000, 4, 0));
    copy_all(u, t, 5000);
    cr_expect(eq(u32, at(u, young), 4));
    copy_all(u, t, 6000);
    cr_expect(eq(u32, at(u, young), 0), "whoever was told up to there knows it is gone");
}

Test(location, a_list_out_of_order_is_refused)
{
    const struct location good[] = { { 1, 5, 1, 0 }, { 2, 5, 1, 0 } };
    const struct location bad[] = { { 2, 5, 1, 0 }, { 1, 5, 1, 0 } };
    const struct location other[] = { { (uint64_t)1 << 52, 5, 1, 0 } };
    cr_expect(location_put_bucket(t, 0, 9, good, 2));
    cr_expect(not(location_put_bucket(t, 0, 9, bad, 2)));
    cr_expect(not(location_put_bucket(t, 0, 9, other, 1)));
}

/* A million queues: 16 octets each and what growing leaves free. */
Test(location, a_million_queues_take_less_than_32_octets_each)
{
    struct rng r;
    struct location_figures f;
    size_t wire_bytes = 0;
    rng_init(&r, 9);
    bool is_all_new = true;
    for (uint64_t i = 1; i <= 1000000; i++)
        is_all_new = put(t, rng_u64(&r), i, (uint16_t)(1 + i % 3), 0) && is_all_new;
    cr_assert(is_all_new);
    location_figures(t, &f);
    bool is_cut = false;
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++) {
        static uint8_t room[64 * 1024];
        struct wire_out w = wire_out_over(room, sizeof room);
        location_bucket_put(&w, t, i, 1000000);
        is_cut = is_cut || w.overflow;
        wire_bytes += wire_out_len(&w);
    }
    cr_expect(not(is_cut));
    cr_expect(f.bytes < 24 * f.entries, "%llu", (unsigned long long)f.bytes);
    cr_expect(wire_bytes < 13 * f.entries, "%zu", wire_bytes);
}

/* ---- other words ------------------------------------------------------------------------------
 */

static const struct location_change changes[] = {
    { .kind = LOCATION_CHANGE_PUT, .put = { 77, 1000, 3, LOCATION_TRANSIENT } },
    { .kind = LOCATION_CHANGE_PUT, .put = { UINT64_MAX, LOCATION_VER_MAX, 65535, LOCATION_GONE } },
    { .kind = LOCATION_CHANGE_NODE, .node = { 3, true, 1000, 0 } },
    { .kind = LOCATION_CHANGE_NODE, .node = { 3, false, 1000, 1000 } },
};

static bool is_same_change(const struct location_change *a, const struct location_change *b)
{
    return a->kind == b->kind && a->put.hash == b->put.hash && a->put.ver == b->put.ver &&
           a->put.node == b->put.node && a->put.flags == b->put.flags &&
           a->node.node == b->node.node && a->node.is_up == b->node.is_up &&
           a->node.ver == b->node.ver && a->node.swept == b->node.swept;
}

Test(location, changes_are_read_as_they_were_written)
{
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        uint8_t room[LOCATION_CHANGE_MAX];
        struct location_change got;
        struct wire_out w = wire_out_over(room, sizeof room);
        location_change_put(&w, 900, &changes[i]);
        cr_assert(not(w.overflow));
        for (size_t n = 0; n < wire_out_len(&w); n++) {
            struct wire r = wire_over(slice_of(room, n));
            cr_expect(not(location_change_take(&r, 900, &got)), "row %zu, %zu octets", i, n);
        }
        struct wire r = wire_over(wire_out_slice(&w));
        cr_assert(location_change_take(&r, 900, &got));
        cr_expect(is_same_change(&got, &changes[i]), "row %zu", i);
    }
}

Test(location, rumours_are_read_as_they_were_written)
{
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        uint8_t room[LOCATION_RUMOUR_MAX];
        struct location_change got;
        uint64_t key, ver;
        size_t len = location_rumour_put(&changes[i], room, &key, &ver);
        cr_assert(location_rumour_take(key, ver, slice_of(room, len), &got));
        cr_expect(is_same_change(&got, &changes[i]), "row %zu", i);
        cr_expect(not(location_rumour_take(key, ver, slice_of(room, 3), &got)));
        cr_expect(not(location_rumour_take(key, 0, slice_of(room, len), &got)));
    }
}

Test(location, the_question_carries_digests_when_something_is_known)
{
    uint8_t *room = mem_alloc(LOCATION_SUB_MAX);
    struct location_sub_word word;
    struct wire_out w = wire_out_over(room, LOCATION_SUB_MAX);
    location_sub_put(&w, 99, t);
    cr_assert(location_sub_take(wire_out_slice(&w), &word));
    cr_expect(word.check == 99 && word.from == 0 && !word.has_digests);
    cr_assert(put(t, 5, 10, 1, 0));
    location_reach(t, 10);
    w = wire_out_over(room, LOCATION_SUB_MAX);
    location_sub_put(&w, 99, t);
    cr_assert(location_sub_take(wire_out_slice(&w), &word));
    cr_expect(word.from == 10 && word.has_digests);
    cr_expect(eq(u64, location_sub_digest(&word, 0), location_bucket_digest(t, 0)));
    cr_expect(not(location_sub_take(slice_head(wire_out_slice(&w), 5000), &word)));
    mem_free(room);
}
