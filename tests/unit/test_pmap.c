#include "base/pmap.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/shown.h"
#include "base/slice.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* ---- items: numbers, and words ---- */

struct num {
    uint64_t key;
    uint64_t value;
};

static uint64_t num_hash(const void *item, uint64_t seed)
{
    return hash_u64(((const struct num *)item)->key ^ seed);
}

/* All but a few bits are the same for all, so that every level is met, and the lists at the end. */
static uint64_t num_bad_hash(const void *item, uint64_t seed)
{
    return (num_hash(item, seed) & 3u) << 60 | (num_hash(item, seed) & 0x18u) << 20;
}

static uint64_t num_one_hash(const void *item, uint64_t seed)
{
    (void)item;
    return seed;
}

static bool num_is(const void *item, const void *key)
{
    return ((const struct num *)item)->key == *(const uint64_t *)key;
}

static bool num_same(const void *item, const void *other)
{
    return ((const struct num *)item)->key == ((const struct num *)other)->key;
}

static const struct pmap_kind good_kind = { num_hash, num_is, num_same, 42 };
static const struct pmap_kind bad_kind = { num_bad_hash, num_is, num_same, 42 };
static const struct pmap_kind one_kind = { num_one_hash, num_is, num_same, 42 };

static const void *num_get(const struct pmap *m, const struct pmap_kind *kind, uint64_t key)
{
    struct num like = { .key = key };
    return pmap_get(m, kind, kind->hash(&like, kind->seed), &key);
}

static const void *num_del(struct pmap *m, const struct pmap_kind *kind, struct pmap_edit *e,
                           uint64_t key)
{
    struct num like = { .key = key };
    return pmap_del(m, kind, e, kind->hash(&like, kind->seed), &key);
}

/* ---- what was retired, until it may be freed ---- */

struct bag {
    void **ptrs;
    size_t count;
    size_t cap;
};

static void bag_put(void *arg, void *ptr, void (*free_fn)(void *))
{
    struct bag *b = arg;
    cr_assert(free_fn == mem_free);
    if (b->count == b->cap) {
        b->cap = b->cap != 0 ? b->cap * 2 : 64;
        b->ptrs = mem_realloc(b->ptrs, b->cap * sizeof *b->ptrs);
    }
    b->ptrs[b->count++] = ptr;
}

static void bag_empty(struct bag *b)
{
    for (size_t i = 0; i < b->count; i++)
        mem_free(b->ptrs[i]);
    b->count = 0;
}

static void bag_fini(struct bag *b)
{
    bag_empty(b);
    mem_free(b->ptrs);
}

static size_t iterate(const struct pmap *m)
{
    struct pmap_iter it;
    size_t n = 0;
    pmap_iter(&it, m);
    while (pmap_next(&it) != NULL)
        n++;
    return n;
}

/* ---- */

Test(pmap, empty_one_and_two)
{
    struct bag bag = { 0 };
    struct pmap_edit e;
    pmap_edit_init(&e, bag_put, &bag);
    struct pmap m = { 0 };
    struct num a = { 1, 0 }, a2 = { 1, 1 }, b = { 2, 0 };

    cr_expect(num_get(&m, &good_kind, 1) == NULL);
    cr_expect(num_del(&m, &good_kind, &e, 1) == NULL);
    cr_expect(eq(sz, iterate(&m), 0));

    cr_expect(pmap_set(&m, &good_kind, &e, &a) == NULL);
    cr_expect(eq(u64, e.made, 0), "one item needs no node");
    cr_expect(num_get(&m, &good_kind, 1) == &a);
    cr_expect(num_get(&m, &good_kind, 2) == NULL);
    cr_expect(pmap_set(&m, &good_kind, &e, &a2) == &a);
    cr_expect(num_get(&m, &good_kind, 1) == &a2);
    cr_expect(num_del(&m, &good_kind, &e, 2) == NULL);
    cr_expect(eq(sz, iterate(&m), 1));

    cr_expect(pmap_set(&m, &good_kind, &e, &b) == NULL);
    cr_expect(eq(u64, m.count, 2));
    cr_expect(num_get(&m, &good_kind, 1) == &a2);
    cr_expect(num_get(&m, &good_kind, 2) == &b);
    cr_expect(num_get(&m, &good_kind, 3) == NULL);
    cr_expect(num_del(&m, &good_kind, &e, 3) == NULL);
    cr_expect(eq(sz, iterate(&m), 2));

    cr_expect(num_del(&m, &good_kind, &e, 1) == &a2);
    cr_expect(num_get(&m, &good_kind, 2) == &b);
    cr_expect(eq(u64, e.made, e.gone));
    cr_expect(num_del(&m, &good_kind, &e, 2) == &b);
    cr_expect(eq(u64, m.count, 0));
    cr_expect(eq(i64, e.bytes, 0));
    bag_fini(&bag);
}

/* Random puts and takes against an array, with edits sealed now and then; what was before an edit
 * stays readable until its nodes are freed. */
static void against_model(const struct pmap_kind *kind, size_t keys, size_t steps, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    struct bag bag = { 0 };
    struct pmap_edit e;
    pmap_edit_init(&e, bag_put, &bag);
    struct num *pool = mem_array(keys * 2, sizeof *pool); /* two of each key */
    const struct num **model = mem_array(keys, sizeof *model);
    const struct num **before = mem_array(keys, sizeof *before);
    for (size_t i = 0; i < keys * 2; i++)
        pool[i].key = i / 2;

    struct pmap m = { 0 }, old = { 0 };
    size_t count = 0;
    for (size_t step = 0; step < steps; step++) {
        size_t k = rng_below(&r, keys);
        /* Waves: mostly growing, then mostly shrinking. */
        if (rng_chance(&r, (step / (keys * 2)) % 2 == 0 ? 700 : 300)) {
            const struct num *item = &pool[k * 2 + rng_below(&r, 2)];
            cr_assert(pmap_set(&m, kind, &e, item) == model[k]);
            count += model[k] == NULL;
            model[k] = item;
        } else {
            cr_assert(num_del(&m, kind, &e, k) == model[k]);
            count -= model[k] != NULL;
            model[k] = NULL;
        }
        cr_assert(m.count == count);
        size_t probe = rng_below(&r, keys);
        cr_assert(num_get(&m, kind, probe) == model[probe]);
        cr_assert(num_get(&old, kind, probe) == before[probe], "the old version has changed");

        if (rng_chance(&r, keys > 1000 ? 1 : 100)) {
            cr_assert(iterate(&m) == count);
            cr_assert(iterate(&old) == old.count);
            bag_empty(&bag);
            pmap_edit_seal(&e);
            old = m;
            memcpy(before, model, keys * sizeof *model);
        }
    }
    for (size_t k = 0; k < keys; k++)
        cr_assert(num_get(&m, kind, k) == model[k]);

    pmap_clear(&m, &e);
    cr_assert(eq(u64, e.made, e.gone), "a node was lost, or let go twice");
    cr_assert(eq(i64, e.bytes, 0));
    bag_fini(&bag);
    mem_free(pool);
    mem_free(model);
    mem_free(before);
}

Test(pmap, agrees_with_a_model, .timeout = 300)
{
    against_model(&good_kind, 5, 20000, 1);
    against_model(&good_kind, 300, 200000, 2);
    against_model(&good_kind, 50000, 600000, 3);
}

Test(pmap, agrees_with_a_model_when_hashes_collide, .timeout = 300)
{
    against_model(&bad_kind, 5, 20000, 4);
    against_model(&bad_kind, 60, 200000, 5);
    against_model(&one_kind, 3, 20000, 6);
    against_model(&one_kind, 40, 100000, 7);
}

/* The same items give the same nodes and the same order, however they came to be there. */
Test(pmap, has_one_shape_for_given_items)
{
    enum { N = 3000 };
    struct bag bag = { 0 };
    struct pmap_edit e1, e2;
    pmap_edit_init(&e1, bag_put, &bag);
    pmap_edit_init(&e2, bag_put, &bag);
    struct num *items = mem_array(N, sizeof *items);
    struct pmap a = { 0 }, b = { 0 };
    for (size_t i = 0; i < N; i++) {
        items[i].key = i;
        pmap_set(&a, &good_kind, &e1, &items[i]);
        pmap_edit_seal(&e1);
    }
    for (size_t i = 0; i < N; i++)
        if (i % 3 != 0)
            num_del(&a, &good_kind, &e1, i);
    for (size_t i = N; i-- > 0;)
        if (i % 3 == 0)
            pmap_set(&b, &good_kind, &e2, &items[i]);

    cr_expect(eq(u64, a.count, b.count));
    cr_expect(eq(u64, e1.made - e1.gone, e2.made - e2.gone));
    cr_expect(eq(i64, e1.bytes, e2.bytes));
    struct pmap_iter ia, ib;
    pmap_iter(&ia, &a);
    pmap_iter(&ib, &b);
    for (const void *x; (x = pmap_next(&ia)) != NULL;)
        cr_assert(x == pmap_next(&ib));
    pmap_clear(&a, &e1);
    pmap_clear(&b, &e2);
    bag_fini(&bag);
    mem_free(items);
}

/* Each item is met once, in a part that does not depend on what else there is. */
static void meets_in_parts(const struct pmap_kind *kind, size_t count)
{
    struct bag bag = { 0 };
    struct pmap_edit e;
    pmap_edit_init(&e, bag_put, &bag);
    struct pmap m = { 0 };
    struct num *nums = mem_array(count, sizeof *nums);
    for (size_t i = 0; i < count; i++) {
        nums[i] = (struct num){ .key = i };
        pmap_set(&m, kind, &e, &nums[i]);
    }
    size_t met = 0;
    for (unsigned part = 0; part < PMAP_PARTS; part++) {
        struct pmap_iter it;
        pmap_iter_part(&it, &m, kind, part);
        for (const struct num *n; (n = pmap_next(&it)) != NULL; met++) {
            cr_expect(eq(u64, kind->hash(n, kind->seed) % PMAP_PARTS, part));
            nums[n - nums].value++;
        }
    }
    cr_expect(eq(sz, met, count));
    for (size_t i = 0; i < count; i++)
        cr_assert(eq(u64, nums[i].value, 1));
    pmap_clear(&m, &e);
    mem_free(nums);
    bag_fini(&bag);
}

Test(pmap, is_walked_in_parts)
{
    for (size_t count = 1; count < 70; count++) {
        meets_in_parts(&good_kind, count);
        meets_in_parts(&bad_kind, count);
        meets_in_parts(&one_kind, count);
    }
    meets_in_parts(&good_kind, 20000);
}

static bool is_odd_out(void *arg, const void *item)
{
    uint64_t of = *(const uint64_t *)arg;
    return hash_u64(((const struct num *)item)->key + 99) % 8 < of;
}

/* Pruned at once, a map is what it becomes when its items go one by one; and whoever reads the one
 * before sees all of it. */
static void prunes(const struct pmap_kind *kind, size_t count, uint64_t of, bool sealed)
{
    struct bag dead = { 0 };
    struct pmap_edit e;
    pmap_edit_init(&e, bag_put, &dead);
    struct num *nums = mem_array(count + 1, sizeof *nums);
    struct pmap m = { 0 }, other = { 0 };
    for (size_t i = 0; i < count; i++) {
        nums[i].key = i;
        pmap_set(&m, kind, &e, &nums[i]);
        pmap_set(&other, kind, &e, &nums[i]);
    }
    if (sealed)
        pmap_edit_seal(&e);
    struct pmap before = m;
    uint64_t expected = 0;
    for (size_t i = 0; i < count; i++)
        expected += is_odd_out(&of, &nums[i]) && num_del(&other, kind, &e, i) != NULL;
    uint64_t gone = pmap_prune(&m, &e, is_odd_out, &of);
    cr_assert(eq(u64, gone, expected));
    cr_assert(eq(u64, m.count, count - expected));
    if (sealed)
        cr_expect(eq(sz, iterate(&before), count));
    struct pmap_iter a, b;
    pmap_iter(&a, &m);
    pmap_iter(&b, &other);
    for (uint64_t i = 0; i <= m.count; i++) {
        const void *item = pmap_next(&a);
        cr_assert(item == pmap_next(&b));
    }
    for (size_t i = 0; i < count; i++) {
        bool is_gone = num_get(&m, kind, i) == NULL;
        cr_expect(eq(int, is_gone, is_odd_out(&of, &nums[i])));
    }
    /* It can be changed on. */
    for (size_t i = 0; i < count; i++)
        pmap_set(&m, kind, &e, &nums[i]);
    cr_expect(eq(sz, iterate(&m), count));
    pmap_clear(&m, &e);
    pmap_clear(&other, &e);
    cr_expect(eq(u64, e.made, e.gone));
    cr_expect(eq(i64, e.bytes, 0));
    bag_fini(&dead);
    mem_free(nums);
}

Test(pmap, many_are_taken_out_at_once)
{
    static const struct pmap_kind *const kinds[] = { &good_kind, &bad_kind, &one_kind };
    static const size_t counts[] = { 0, 1, 2, 3, 40, 1000 };
    for (unsigned k = 0; k < 3; k++)
        for (unsigned c = 0; c < 6; c++)
            for (uint64_t of = 0; of <= 8; of++)
                for (unsigned sealed = 0; sealed < 2; sealed++)
                    prunes(kinds[k], counts[c], of, sealed != 0);
}

Test(pmap, edits_in_place_until_it_is_sealed)
{
    enum { N = 20000 };
    struct bag bag = { 0 };
    struct pmap_edit e;
    pmap_edit_init(&e, bag_put, &bag);
    struct num *items = mem_array(N, sizeof *items);
    struct pmap m = { 0 };
    for (size_t i = 0; i < N; i++) {
        items[i].key = i;
        pmap_set(&m, &good_kind, &e, &items[i]);
    }
    cr_expect(eq(sz, bag.count, 0), "nobody has seen these nodes");
    pmap_edit_seal(&e);

    struct num again = { .key = 7 };
    pmap_set(&m, &good_kind, &e, &again);
    cr_expect(bag.count > 0 && bag.count <= PMAP_DEPTH_MAX, "one path is copied");
    size_t path = bag.count;
    pmap_set(&m, &good_kind, &e, &items[7]);
    cr_expect(eq(sz, bag.count, path), "the copy is ours");
    pmap_clear(&m, &e);
    bag_fini(&bag);
    mem_free(items);
}

/* ---- one writer, many readers, and a grace period in the simplest form: two counters each ---- */

#define READERS       3
#define READER_KEYS   512u
#define WRITER_ROUNDS 15000u

struct version {
    struct pmap map;
    uint64_t number;
};

struct world {
    struct shown current;
    atomic_bool done;
    atomic_uint_least64_t turns[READERS]; /* odd: reading */
    atomic_uint_least64_t bad;
};

struct reader {
    struct world *world;
    size_t index;
};

/* In a version with number n every key that is there has a value of at most n, and key 0 has n. */
static void *reader_run(void *arg)
{
    struct reader *me = arg;
    struct world *w = me->world;
    struct rng r;
    rng_init(&r, me->index + 1);
    while (!atomic_load(&w->done)) {
        atomic_fetch_add(&w->turns[me->index], 1);
        const struct version *v = shown_get(&w->current);
        uint64_t zero = 0;
        const struct num *first = num_get(&v->map, &good_kind, zero);
        if (first == NULL || first->value != v->number)
            atomic_fetch_add(&w->bad, 1);
        for (int i = 0; i < 50; i++) {
            const struct num *n = num_get(&v->map, &good_kind, rng_below(&r, READER_KEYS));
            if (n != NULL && n->value > v->number)
                atomic_fetch_add(&w->bad, 1);
        }
        if (iterate(&v->map) != v->map.count)
            atomic_fetch_add(&w->bad, 1);
        atomic_fetch_add(&w->turns[me->index], 1);
        sched_yield(); /* with fewer cores than threads, the writer waits for someone else */
    }
    return NULL;
}

/* Every reader that is in a turn now has left it. To look by adding 0 and not by a load makes a
 * reader whose turn begins after the look see the new version: a load could be done before the
 * store that shows it. */
static void wait_for_readers(struct world *w)
{
    for (size_t i = 0; i < READERS; i++) {
        uint64_t turn = atomic_fetch_add(&w->turns[i], 0);
        while (turn % 2 == 1 && atomic_load(&w->turns[i]) == turn && !atomic_load(&w->done))
            sched_yield(); /* the reader may need this very core to get on */
    }
}

static void put_number(struct pmap *m, struct pmap_edit *e, struct bag *dead, uint64_t key,
                       uint64_t value)
{
    struct num *item = mem_alloc(sizeof *item);
    *item = (struct num){ key, value };
    const void *old = pmap_set(m, &good_kind, e, item);
    if (old != NULL)
        bag_put(dead, (void *)(uintptr_t)old, mem_free);
}

Test(pmap, is_read_while_it_is_written, .timeout = 300)
{
    struct world w = { .done = false };
    struct bag bag = { 0 };
    struct pmap_edit e;
    pmap_edit_init(&e, bag_put, &bag);
    struct version *v = mem_zalloc(sizeof *v);
    put_number(&v->map, &e, &bag, 0, 0);
    pmap_edit_seal(&e);
    shown_init(&w.current, v);

    pthread_t threads[READERS];
    struct reader readers[READERS];
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){ &w, i };
        cr_assert(eq(int, pthread_create(&threads[i], NULL, reader_run, &readers[i]), 0));
    }

    struct rng r;
    rng_init(&r, 99);
    for (uint64_t round = 1; round <= WRITER_ROUNDS; round++) {
        struct version *next = mem_alloc(sizeof *next);
        *next = (struct version){ .map = v->map, .number = round };
        put_number(&next->map, &e, &bag, 0, round);
        for (int i = 0; i < 8; i++) {
            uint64_t key = 1 + rng_below(&r, READER_KEYS - 1);
            const void *gone =
                rng_chance(&r, 500) ? num_del(&next->map, &good_kind, &e, key) : NULL;
            if (gone != NULL)
                bag_put(&bag, (void *)(uintptr_t)gone, mem_free);
            else
                put_number(&next->map, &e, &bag, key, round);
        }
        pmap_edit_seal(&e);
        shown_set(&w.current, next);
        bag_put(&bag, v, mem_free);
        v = next;
        wait_for_readers(&w);
        bag_empty(&bag);
    }
    atomic_store(&w.done, true);
    for (size_t i = 0; i < READERS; i++)
        cr_assert(eq(int, pthread_join(threads[i], NULL), 0));
    cr_expect(eq(u64, atomic_load(&w.bad), 0));

    struct pmap_iter it;
    pmap_iter(&it, &v->map);
    for (const void *n; (n = pmap_next(&it)) != NULL;)
        bag_put(&bag, (void *)(uintptr_t)n, mem_free);
    pmap_clear(&v->map, &e);
    mem_free(v);
    bag_fini(&bag);
    cr_expect(eq(u64, e.made, e.gone));
}
