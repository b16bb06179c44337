#include "model/topic.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#define FIRST_CAP ((size_t)32)

/* What follows the words on the way from the root. A node without items has something below it. */
struct topic_node {
    uint64_t tag;                  /* the edit that made it */
    struct pmap words;             /* nodes, by their word */
    const struct topic_node *star; /* "*" */
    const struct topic_node *hash; /* "#" */
    struct pmap items;             /* whose patterns end here */
    bool is_hash;                  /* it is the "#" of the node above */
    uint8_t word_bytes;
    uint8_t word[];
};

/* ---- words ---- */

struct words {
    const uint8_t *at;
    const uint8_t *end;
    bool is_done;
};

static struct words words_of(struct slice key)
{
    return (struct words){ key.ptr, key.len != 0 ? key.ptr + key.len : key.ptr, key.len == 0 };
}

/* A dot always parts two words, so "a." has two and "." has two empty ones. */
static struct slice word_next(struct words *w)
{
    size_t left = (size_t)(w->end - w->at);
    const uint8_t *dot = left != 0 ? memchr(w->at, '.', left) : NULL;
    struct slice word = slice_of(w->at, dot != NULL ? (size_t)(dot - w->at) : left);
    w->is_done = dot == NULL;
    w->at = dot != NULL ? dot + 1 : w->end;
    return word;
}

static struct slice node_word(const struct topic_node *n)
{
    return slice_of(n->word, n->word_bytes);
}

static uint64_t word_hash(const void *item, uint64_t seed)
{
    return hash_bytes(node_word(item), seed);
}

static bool word_is(const void *item, const void *key)
{
    const struct slice *word = key;
    return slice_eq(node_word(item), *word);
}

static bool word_same(const void *item, const void *other)
{
    return slice_eq(node_word(item), node_word(other));
}

void topic_kinds_init(struct topic_kinds *k, uint64_t seed, const struct pmap_kind *items)
{
    k->words = (struct pmap_kind){ word_hash, word_is, word_same, seed };
    k->items = items;
}

static const struct topic_node *child_get(const struct topic_node *n, const struct topic_kinds *k,
                                          struct slice word)
{
    if (slice_is(word, "*"))
        return n->star;
    if (slice_is(word, "#"))
        return n->hash;
    return pmap_get(&n->words, &k->words, hash_bytes(word, k->words.seed), &word);
}

/* ---- nodes of an edit ---- */

static size_t node_bytes(const struct topic_node *n)
{
    return offsetof(struct topic_node, word) + n->word_bytes;
}

static struct topic_node *node_make(struct pmap_edit *e, struct slice word)
{
    CHECK(word.len <= UINT8_MAX);
    size_t bytes = offsetof(struct topic_node, word) + word.len;
    struct topic_node *n = memset(pmap_edit_alloc(e, bytes), 0, bytes);
    n->tag = e->tag;
    n->is_hash = slice_is(word, "#");
    n->word_bytes = (uint8_t)word.len;
    if (word.len != 0)
        memcpy(n->word, word.ptr, word.len);
    return n;
}

static void node_drop(struct pmap_edit *e, const struct topic_node *n)
{
    pmap_edit_drop(e, n, node_bytes(n), n->tag);
}

/* The node itself if this edit made it, else a copy in its place. */
static struct topic_node *node_own(struct pmap_edit *e, const struct topic_node *n)
{
    if (n->tag == e->tag)
        return (struct topic_node *)(uintptr_t)n;
    struct topic_node *copy = pmap_edit_alloc(e, node_bytes(n));
    memcpy(copy, n, node_bytes(n));
    copy->tag = e->tag;
    node_drop(e, n);
    return copy;
}

static bool node_is_bare(const struct topic_node *n)
{
    return n->words.count == 0 && n->items.count == 0 && n->star == NULL && n->hash == NULL;
}

/* Put `child` in the place for its word; `was` is what is there now. */
static void child_set(struct topic_node *n, const struct topic_kinds *k, struct pmap_edit *e,
                      const struct topic_node *was, const struct topic_node *child)
{
    if (child == was)
        return;
    struct slice word = node_word(child);
    if (slice_is(word, "*"))
        n->star = child;
    else if (slice_is(word, "#"))
        n->hash = child;
    else
        pmap_set(&n->words, &k->words, e, child);
}

static void child_remove(struct topic_node *n, const struct topic_kinds *k, struct pmap_edit *e,
                         struct slice word)
{
    if (slice_is(word, "*"))
        n->star = NULL;
    else if (slice_is(word, "#"))
        n->hash = NULL;
    else
        pmap_del(&n->words, &k->words, e, hash_bytes(word, k->words.seed), &word);
}

/* ---- changes ---- */

/* What stands in the place of `n`, a node with this word or NULL, once the item is in. The depth is
 * that of a pattern, at most 256 words. */
static const struct topic_node *add_below(const struct topic_node *n, const struct topic_kinds *k,
                                          struct pmap_edit *e, struct slice word, struct words rest,
                                          const void *item)
{
    struct topic_node *to = n != NULL ? node_own(e, n) : node_make(e, word);
    if (rest.is_done) {
        const void *old = pmap_set(&to->items, k->items, e, item);
        CHECK(old == NULL);
        return to;
    }
    struct slice next = word_next(&rest);
    const struct topic_node *was = child_get(to, k, next);
    child_set(to, k, e, was, add_below(was, k, e, next, rest, item));
    return to;
}

void topic_add(const struct topic_node **root, const struct topic_kinds *k, struct pmap_edit *e,
               struct slice pattern, const void *item)
{
    *root = add_below(*root, k, e, slice_str(""), words_of(pattern), item);
}

/* What stands in the place of `n` once the item, which is there, is out. It may be bare. */
static const struct topic_node *del_below(const struct topic_node *n, const struct topic_kinds *k,
                                          struct pmap_edit *e, struct words rest, uint64_t hash,
                                          const void *key)
{
    struct topic_node *to = node_own(e, n);
    if (rest.is_done) {
        const void *old = pmap_del(&to->items, k->items, e, hash, key);
        CHECK(old != NULL);
        return to;
    }
    struct slice word = word_next(&rest);
    const struct topic_node *was = child_get(to, k, word);
    const struct topic_node *child = del_below(was, k, e, rest, hash, key);
    if (!node_is_bare(child)) {
        child_set(to, k, e, was, child);
    } else {
        child_remove(to, k, e, word);
        node_drop(e, child);
    }
    return to;
}

const void *topic_get(const struct topic_node *root, const struct topic_kinds *k,
                      struct slice pattern, uint64_t hash, const void *key)
{
    const struct topic_node *n = root;
    struct words rest = words_of(pattern);
    while (n != NULL && !rest.is_done)
        n = child_get(n, k, word_next(&rest));
    return n != NULL ? pmap_get(&n->items, k->items, hash, key) : NULL;
}

const void *topic_del(const struct topic_node **root, const struct topic_kinds *k,
                      struct pmap_edit *e, struct slice pattern, uint64_t hash, const void *key)
{
    const void *item = topic_get(*root, k, pattern, hash, key);
    if (item == NULL)
        return NULL;
    *root = del_below(*root, k, e, words_of(pattern), hash, key);
    if (node_is_bare(*root)) {
        node_drop(e, *root);
        *root = NULL;
    }
    return item;
}

static void drop_all(struct pmap_edit *e, const struct topic_node *n)
{
    struct pmap words = n->words;
    struct pmap items = n->items;
    struct pmap_iter it;
    pmap_iter(&it, &words);
    for (const void *child; (child = pmap_next(&it)) != NULL;)
        drop_all(e, child);
    if (n->star != NULL)
        drop_all(e, n->star);
    if (n->hash != NULL)
        drop_all(e, n->hash);
    pmap_clear(&words, e);
    pmap_clear(&items, e);
    node_drop(e, n);
}

void topic_clear(const struct topic_node **root, struct pmap_edit *e)
{
    if (*root != NULL)
        drop_all(e, *root);
    *root = NULL;
}

bool topic_each(const struct topic_node *root, topic_item_fn each, void *arg)
{
    if (root == NULL)
        return true;
    struct pmap_iter it;
    pmap_iter(&it, &root->items);
    for (const void *item; (item = pmap_next(&it)) != NULL;)
        if (!each(arg, item))
            return false;
    pmap_iter(&it, &root->words);
    for (const void *child; (child = pmap_next(&it)) != NULL;)
        if (!topic_each(child, each, arg))
            return false;
    return topic_each(root->star, each, arg) && topic_each(root->hash, each, arg);
}

/* ---- matching ----
 *
 * All nodes that the words so far can have led to are kept in one list, and each word moves the
 * list on. A "#" node, once reached, stays: it may swallow every further word. Every other node is
 * reached from one node only, the one above it, so it cannot be in a list twice; a "#" node could
 * be (by staying, and again from above) and is therefore noted when it is reached. */

void topic_walk_init(struct topic_walk *w)
{
    *w = (struct topic_walk){ .now = { 0 } };
    seen_init(&w->hashes);
}

void topic_walk_fini(struct topic_walk *w)
{
    mem_free(w->now.nodes);
    mem_free(w->next.nodes);
    seen_fini(&w->hashes);
    *w = (struct topic_walk){ .now = { 0 } };
}

static void list_push(struct topic_list *l, const struct topic_node *n)
{
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? l->cap * 2 : FIRST_CAP;
        l->nodes = mem_realloc(l->nodes, l->cap * sizeof(const struct topic_node *));
    }
    l->nodes[l->count++] = n;
}

/* Reach a node, and with it the "#" nodes right below, which also stand for no word at all. */
static void reach(struct topic_walk *w, struct topic_list *l, const struct topic_node *n)
{
    while (n != NULL) {
        list_push(l, n);
        n = n->hash != NULL && seen_add(&w->hashes, n->hash) ? n->hash : NULL;
    }
}

static void step(struct topic_walk *w, const struct topic_kinds *k, struct slice word)
{
    uint64_t hash = hash_bytes(word, k->words.seed);
    w->next.count = 0;
    for (size_t i = 0; i < w->now.count; i++) {
        const struct topic_node *n = w->now.nodes[i];
        if (n->is_hash)
            list_push(&w->next, n);
        reach(w, &w->next, pmap_get(&n->words, &k->words, hash, &word));
        reach(w, &w->next, n->star);
    }
    struct topic_list done = w->now;
    w->now = w->next;
    w->next = done;
}

bool topic_match(const struct topic_node *root, const struct topic_kinds *k, struct slice key,
                 struct topic_walk *w, topic_item_fn each, void *arg)
{
    w->now.count = 0;
    seen_clear(&w->hashes);
    reach(w, &w->now, root);
    struct words rest = words_of(key);
    while (!rest.is_done && w->now.count != 0) {
        step(w, k, word_next(&rest));
        if (w->most != 0 && w->now.count > w->most)
            return false;
    }
    for (size_t i = 0; i < w->now.count; i++) {
        struct pmap_iter it;
        pmap_iter(&it, &w->now.nodes[i]->items);
        for (const void *item; (item = pmap_next(&it)) != NULL;)
            if (!each(arg, item))
                return false;
    }
    return true;
}
