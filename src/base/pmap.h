/*
 * pmap: a persistent hash map, and set, of borrowed items.
 *
 * A hash-array-mapped trie of 32-way bitmap nodes. A map is a value of two words; whoever has a
 * copy of it may read it for as long as its nodes live, from any thread, without locks or counts.
 * One writer makes new maps from old ones: it copies the path to what it changes and shares the
 * rest. Nodes that it replaces are handed to a retire function, each exactly once; the caller
 * frees them when nobody can be reading the old map any more.
 *
 * The map stores pointers to items and nothing else: an item holds its own key, and a `pmap_kind`
 * says how to hash and compare it. So an item costs about 14 octets of map; a map of one item
 * costs no node at all. Items are borrowed: the map never frees one.
 *
 * Changes are made within an edit. Nodes made by an edit that is still open have never been seen
 * by a reader and are changed in place, which makes long edits cheap. pmap_edit_seal ends it.
 */
#ifndef WARREN_PMAP_H
#define WARREN_PMAP_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pmap_node;

/* All zero is the empty map. Copy it freely. */
struct pmap {
    const void *root; /* the item itself when count is 1, else a node */
    uint64_t count;
};

/* How the items of a map are hashed and told apart. */
struct pmap_kind {
    uint64_t (*hash)(const void *item, uint64_t seed);
    bool (*is)(const void *item, const void *key);     /* does `item` have this key? */
    bool (*same)(const void *item, const void *other); /* have both items the same key? */
    uint64_t seed; /* secret where peers choose keys; decides the order of iteration */
};

typedef void (*pmap_retire_fn)(void *arg, void *node, void (*free_fn)(void *node));

/* One writer's open change. Lives as long as the writer; many edits one after the other. */
struct pmap_edit {
    uint64_t tag; /* of the open edit; nodes that bear it are still ours alone */
    pmap_retire_fn retire;
    void *retire_arg;
    uint64_t made; /* nodes and other blocks, ever */
    uint64_t gone; /* of them: handed to retire, or freed at once because no reader knew them */
    int64_t bytes; /* of those that live */
};

void pmap_edit_init(struct pmap_edit *e, pmap_retire_fn retire, void *retire_arg);

/* What was changed so far may now be shown to readers; later changes copy. */
void pmap_edit_seal(struct pmap_edit *e);

/* Memory for things that live and die with the map's nodes (items, parents of maps): counted with
 * them, and freed by the same rule, at once if `tag` says that the open edit made it, else by
 * retire. A thing that does not note its tag passes 0. */
void *pmap_edit_alloc(struct pmap_edit *e, size_t bytes);
void pmap_edit_drop(struct pmap_edit *e, const void *ptr, size_t bytes, uint64_t tag);

/* The item with this key, or NULL. `hash` is what kind->hash would give for such an item. */
const void *pmap_get(const struct pmap *m, const struct pmap_kind *kind, uint64_t hash,
                     const void *key);

/* Put `item` in, in place of the one with the same key, which is returned (NULL if new). */
const void *pmap_set(struct pmap *m, const struct pmap_kind *kind, struct pmap_edit *e,
                     const void *item);

/* Take the item with this key out and return it; NULL if there is none. */
const void *pmap_del(struct pmap *m, const struct pmap_kind *kind, struct pmap_edit *e,
                     uint64_t hash, const void *key);

/* Take out all items for which `goes` says so, and return how many. Much quicker than one after the
 * other when they are many; it looks at all. */
uint64_t pmap_prune(struct pmap *m, struct pmap_edit *e, bool (*goes)(void *arg, const void *item),
                    void *arg);

/* Let go of all nodes and leave the map empty. The items are the caller's. */
void pmap_clear(struct pmap *m, struct pmap_edit *e);

/* Iteration, in the order of the hashes: the same for maps of the same items and seed. The map
 * that was given to pmap_iter must stay readable; changes to another copy of it do not matter,
 * except those of an edit that was open when the iteration began. */
#define PMAP_DEPTH_MAX 14u /* 64 bits of hash, five a level, and one for items of equal hash */

struct pmap_iter {
    const struct pmap_node *node[PMAP_DEPTH_MAX];
    uint32_t slot[PMAP_DEPTH_MAX]; /* the next one to look at */
    unsigned depth;                /* nodes on the stack */
    const void *only;              /* the item of a map of one */
};

void pmap_iter(struct pmap_iter *it, const struct pmap *m);
const void *pmap_next(struct pmap_iter *it); /* NULL at the end */

/* The same for one part of the items. Which part an item is in follows from its hash alone: so a
 * large map can be walked part by part while it changes, and what stays in it is met once. */
#define PMAP_PARTS 1024u
void pmap_iter_part(struct pmap_iter *it, const struct pmap *m, const struct pmap_kind *kind,
                    unsigned part);

#endif
