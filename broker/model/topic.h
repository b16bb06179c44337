/*
 * topic: the patterns of a topic exchange, as a persistent trie of words.
 *
 * Routing keys and patterns are words between dots; the empty key has no word at all. In a pattern
 * "*" stands for one word and "#" for any number of them, none included.
 *
 * A trie is its root (NULL: empty). One writer makes new tries from old ones within a pmap_edit,
 * sharing what has not changed; any thread may match against a trie it may hold. Items (bindings)
 * are borrowed, and several may have the same pattern. Matching takes time in proportion to the
 * words of the key and the nodes that can match, never more, however many "#" there are.
 */
#ifndef WARREN_TOPIC_H
#define WARREN_TOPIC_H

#include "base/pmap.h"
#include "base/slice.h"
#include "model/seen.h"

struct topic_node;

struct topic_kinds {
    struct pmap_kind words; /* see topic_kinds_init */
    const struct pmap_kind *items;
};

/* `items` is how to tell items of one pattern apart. */
void topic_kinds_init(struct topic_kinds *k, uint64_t seed, const struct pmap_kind *items);

/* Put an item in. None with the same key may have this pattern already: see topic_get. */
void topic_add(const struct topic_node **root, const struct topic_kinds *k, struct pmap_edit *e,
               struct slice pattern, const void *item);

/* The item taken out, or NULL. `hash` and `key` name it among the items of the pattern. */
const void *topic_del(const struct topic_node **root, const struct topic_kinds *k,
                      struct pmap_edit *e, struct slice pattern, uint64_t hash, const void *key);

const void *topic_get(const struct topic_node *root, const struct topic_kinds *k,
                      struct slice pattern, uint64_t hash, const void *key);

/* Let go of all nodes. */
void topic_clear(const struct topic_node **root, struct pmap_edit *e);

/* All items, in no useful order, until `each` says false; then false too. */
typedef bool (*topic_item_fn)(void *arg, const void *item);
bool topic_each(const struct topic_node *root, topic_item_fn each, void *arg);

/* Memory of a match, kept for the next one. */
struct topic_list {
    const struct topic_node **nodes;
    size_t count;
    size_t cap;
};

struct topic_walk {
    struct topic_list now;  /* the nodes reached with the words so far, each once */
    struct topic_list next; /* and with one word more */
    struct seen hashes;     /* "#" nodes reached at any time */
    size_t most;            /* nodes in `now` for which it goes on; 0: any number */
};

void topic_walk_init(struct topic_walk *w);
void topic_walk_fini(struct topic_walk *w);

/* Tell of each item whose pattern matches the routing key, once, until `each` says false; then, and
 * when there are more nodes than w->most, false. */
bool topic_match(const struct topic_node *root, const struct topic_kinds *k, struct slice key,
                 struct topic_walk *w, topic_item_fn each, void *arg);

#endif
