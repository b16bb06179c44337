#include "model/topic.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "naive_topic.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#define PATTERN_MAX 64

struct item {
    char pattern[PATTERN_MAX];
    uint64_t id;
    bool is_in;
    unsigned hits;
};

static uint64_t item_hash(const void *item, uint64_t seed)
{
    return hash_u64(((const struct item *)item)->id ^ seed);
}

static bool item_is(const void *item, const void *key)
{
    return ((const struct item *)item)->id == *(const uint64_t *)key;
}

static bool item_same(const void *item, const void *other)
{
    return ((const struct item *)item)->id == ((const struct item *)other)->id;
}

static const struct pmap_kind item_kind = { item_hash, item_is, item_same, 7 };

struct trie {
    const struct topic_node *root;
    struct topic_kinds kinds;
    struct pmap_edit edit;
    struct topic_walk walk;
    void **bag;
    size_t bag_count;
    size_t bag_cap;
};

static void keep(void *arg, void *ptr, void (*free_fn)(void *))
{
    struct trie *t = arg;
    cr_assert(free_fn == mem_free);
    if (t->bag_count == t->bag_cap) {
        t->bag_cap = t->bag_cap * 2 + 64;
        t->bag = mem_realloc(t->bag, t->bag_cap * sizeof *t->bag);
    }
    t->bag[t->bag_count++] = ptr;
}

static void trie_seal(struct trie *t)
{
    for (size_t i = 0; i < t->bag_count; i++)
        mem_free(t->bag[i]);
    t->bag_count = 0;
    pmap_edit_seal(&t->edit);
}

static void trie_init(struct trie *t)
{
    *t = (struct trie){ .root = NULL };
    topic_kinds_init(&t->kinds, 99, &item_kind);
    pmap_edit_init(&t->edit, keep, t);
    topic_walk_init(&t->walk);
}

static void trie_fini(struct trie *t)
{
    topic_clear(&t->root, &t->edit);
    trie_seal(t);
    cr_expect(eq(u64, t->edit.made, t->edit.gone));
    cr_expect(eq(i64, t->edit.bytes, 0));
    topic_walk_fini(&t->walk);
    mem_free(t->bag);
}

static uint64_t id_hash(uint64_t id)
{
    return hash_u64(id ^ item_kind.seed);
}

static void trie_add(struct trie *t, struct item *item)
{
    topic_add(&t->root, &t->kinds, &t->edit, slice_str(item->pattern), item);
    item->is_in = true;
}

static void trie_del(struct trie *t, struct item *item)
{
    const void *gone = topic_del(&t->root, &t->kinds, &t->edit, slice_str(item->pattern),
                                 id_hash(item->id), &item->id);
    cr_assert(gone == (item->is_in ? item : NULL));
    item->is_in = false;
}

static bool hit(void *arg, const void *item)
{
    (void)arg;
    ((struct item *)(uintptr_t)item)->hits++;
    return true;
}

static void match(struct trie *t, const char *key)
{
    cr_assert(topic_match(t->root, &t->kinds, slice_str(key), &t->walk, hit, NULL));
}

Test(topic, gives_up_where_too_many_nodes_can_match)
{
    struct trie t;
    struct item items[64];
    trie_init(&t);
    for (unsigned i = 0; i < 64; i++) { /* each of six words is that word, or any */
        items[i] = (struct item){ .id = i };
        for (unsigned k = 0; k < 6; k++)
            strcat(items[i].pattern, i >> k & 1 ? (k == 0 ? "*" : ".*") : (k == 0 ? "a" : ".a"));
        trie_add(&t, &items[i]);
    }
    t.walk.most = 64;
    match(&t, "a.a.a.a.a.a");
    t.walk.most = 63;
    cr_expect(topic_match(t.root, &t.kinds, slice_str("a.a.a.a.a.a"), &t.walk, hit, NULL) == false);
    trie_fini(&t);
}

Test(topic, matches_word_by_word)
{
    static const struct {
        const char *pattern;
        const char *key;
        bool matches;
    } known[] = {
        { "a.b", "a.b", true },
        { "a.b", "a.b.c", false },
        { "a.b", "a", false },
        { "a.*", "a.b", true },
        { "a.*", "a", false },
        { "a.*", "a.", true },
        { "a.*", "a.b.c", false },
        { "a.#", "a", true },
        { "a.#", "a.b.c", true },
        { "#", "", true },
        { "#", "a.b", true },
        { "*", "", false },
        { "*", "a", true },
        { "*", "*", true },
        { "", "", true },
        { "", "a", false },
        { "#.b", "b", true },
        { "#.b", "a.a.b", true },
        { "#.b", "a.b.c", false },
        { "#.b.#", "a.b.c", true },
        { "*.#", "", false },
        { "*.#.*", "a", false },
        { "*.#.*", "a.b", true },
        { "#.#", "", true },
        { "#.#.#", "a.b", true },
        { ".", ".", true },
        { "*.*", ".", true },
        { "..", "..", true },
        { "a..b", "a.*.b", false },
        { "a.*.b", "a..b", true },
        { "#.a.#.a", "a.x.a", true },
        { "#.a.#.a", "a.x.b", false },
        { "#a", "#a", true },
        { "a#", "ab", false },
        { "a.#", "#", false },
        { "#", "#", true },
    };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        struct trie t;
        struct item item = { .id = 1 };
        trie_init(&t);
        snprintf(item.pattern, sizeof item.pattern, "%s", known[i].pattern);
        trie_add(&t, &item);
        match(&t, known[i].key);
        cr_expect(eq(int, (int)item.hits, known[i].matches), "%s against %s", known[i].pattern,
                  known[i].key);
        cr_expect(eq(int, naive_match(known[i].pattern, known[i].key), known[i].matches),
                  "the judge itself: %s against %s", known[i].pattern, known[i].key);
        trie_fini(&t);
    }
}

static void random_key(struct rng *r, bool is_pattern, char *out)
{
    static const char *const words[] = { "a", "b", "c", "", "*", "#", "#", "*" };
    size_t count = rng_below(r, 7), len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(out + len, PATTERN_MAX - len, "%s%s", i != 0 ? "." : "",
                                words[rng_below(r, is_pattern ? 8 : 4)]);
}

/* Each pattern that matches is told of once, and no other. */
Test(topic, agrees_with_trying_everything, .timeout = 300)
{
    enum { ITEMS = 150, STEPS = 6000 };
    struct trie t;
    struct rng r;
    static struct item items[ITEMS];
    rng_init(&r, 11);
    trie_init(&t);
    for (size_t i = 0; i < ITEMS; i++)
        items[i].id = i;
    for (size_t step = 0; step < STEPS; step++) {
        struct item *item = &items[rng_below(&r, ITEMS)];
        if (item->is_in) {
            trie_del(&t, item);
        } else {
            random_key(&r, true, item->pattern);
            trie_add(&t, item);
        }
        if (rng_chance(&r, 200))
            trie_seal(&t);
        char key[PATTERN_MAX];
        random_key(&r, false, key);
        match(&t, key);
        for (size_t i = 0; i < ITEMS; i++) {
            unsigned want = items[i].is_in && naive_match(items[i].pattern, key);
            cr_assert(items[i].hits == want, "%s against %s: %u times", items[i].pattern, key,
                      items[i].hits);
            items[i].hits = 0;
        }
    }
    for (size_t i = 0; i < ITEMS; i++)
        trie_del(&t, &items[i]);
    cr_expect(t.root == NULL, "nothing is left of an empty trie");
    trie_fini(&t);
}

/* A version that was shown does not change under its readers. */
Test(topic, leaves_older_versions_alone)
{
    enum { ITEMS = 40 };
    struct trie t;
    struct rng r;
    static struct item items[ITEMS];
    rng_init(&r, 5);
    trie_init(&t);
    for (size_t i = 0; i < ITEMS; i++) {
        items[i].id = i;
        random_key(&r, true, items[i].pattern);
        trie_add(&t, &items[i]);
    }
    trie_seal(&t);
    const struct topic_node *before = t.root;
    for (size_t i = 0; i < ITEMS; i += 2)
        trie_del(&t, &items[i]);
    for (int n = 0; n < 200; n++) {
        char key[PATTERN_MAX];
        random_key(&r, false, key);
        cr_assert(topic_match(before, &t.kinds, slice_str(key), &t.walk, hit, NULL));
        for (size_t i = 0; i < ITEMS; i++) {
            cr_assert(eq(int, (int)items[i].hits, naive_match(items[i].pattern, key)));
            items[i].hits = 0;
        }
    }
    trie_fini(&t);
}

/* By trying every way, this would take longer than the universe has lasted. */
Test(topic, is_quick_whatever_the_pattern, .timeout = 300)
{
    struct trie t;
    trie_init(&t);
    struct item item = { .id = 1 };
    size_t len = 0;
    for (int i = 0; i < 15; i++)
        len += (size_t)snprintf(item.pattern + len, sizeof item.pattern - len, "#.a.");
    snprintf(item.pattern + len, sizeof item.pattern - len, "b");
    trie_add(&t, &item);
    char key[256];
    for (size_t i = 0; i < 254; i++)
        key[i] = i % 2 == 0 ? 'a' : '.';
    key[254] = '\0';
    key[253] = 'a';
    match(&t, key);
    cr_expect(eq(int, (int)item.hits, 0));
    key[252] = 'b';
    key[253] = '\0';
    match(&t, key);
    cr_expect(eq(int, (int)item.hits, 1));
    trie_fini(&t);
}
