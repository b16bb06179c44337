#include "base/pmap.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

#define BITS        5u /* of the hash, a level */
#define INDEX_MASK  ((1u << BITS) - 1u)
#define PART_LEVELS 2u
#define LEVEL_COUNT 13u /* 13 * 5 >= 64; below them only items of one and the same hash remain */

_Static_assert(LEVEL_COUNT *BITS >= 64 && LEVEL_COUNT + 1 == PMAP_DEPTH_MAX, "depth");

/* The items first, then the nodes below, each part in the order of its bits. A node that is not the
 * root holds at least two items, here or below: so a map of given items has one shape only.
 *
 * Below the last level a node is a plain list: `items` is then its length. */
struct pmap_node {
    uint64_t tag;
    uint32_t items; /* bit i: an item for index i */
    uint32_t nodes; /* bit i: a node for index i; never both */
    const void *slot[];
};

struct change {
    const struct pmap_kind *kind;
    struct pmap_edit *edit;
    uint64_t hash;
    const void *item; /* to put in */
    const void *key;  /* to take out */
    const void *old;  /* what was found there */
};

static uint32_t bit_at(uint64_t hash, unsigned level)
{
    return 1u << ((hash >> (level * BITS)) & INDEX_MASK);
}

static unsigned count_bits(uint32_t bits)
{
    return (unsigned)__builtin_popcount(bits);
}

static unsigned item_index(const struct pmap_node *n, uint32_t bit)
{
    return count_bits(n->items & (bit - 1));
}

static unsigned node_index(const struct pmap_node *n, uint32_t bit)
{
    return count_bits(n->items) + count_bits(n->nodes & (bit - 1));
}

static unsigned slot_count(const struct pmap_node *n, unsigned level)
{
    return level == LEVEL_COUNT ? n->items : count_bits(n->items) + count_bits(n->nodes);
}

/* ---- nodes of an edit ---- */

static size_t node_bytes(unsigned slots)
{
    return sizeof(struct pmap_node) + slots * sizeof(void *);
}

static bool is_ours(const struct pmap_edit *e, const struct pmap_node *n)
{
    return n->tag == e->tag;
}

/* Only for nodes that are ours, which no reader has seen. */
static struct pmap_node *writable(const struct pmap_node *n)
{
    return (struct pmap_node *)(uintptr_t)n;
}

static struct pmap_node *node_make(struct pmap_edit *e, unsigned slots)
{
    struct pmap_node *n = pmap_edit_alloc(e, node_bytes(slots));
    *n = (struct pmap_node){ .tag = e->tag };
    return n;
}

static void node_drop(struct pmap_edit *e, const struct pmap_node *n, unsigned slots)
{
    pmap_edit_drop(e, n, node_bytes(slots), n->tag);
}

/* The node itself if it is ours, else a copy in its place. */
static struct pmap_node *node_own(struct pmap_edit *e, const struct pmap_node *n, unsigned slots)
{
    if (is_ours(e, n))
        return writable(n);
    struct pmap_node *copy = node_make(e, slots);
    copy->items = n->items;
    copy->nodes = n->nodes;
    memcpy(copy->slot, n->slot, slots * sizeof(void *));
    node_drop(e, n, slots);
    return copy;
}

/* Put `ptr` before slot `at`; the bitmaps are the caller's to set. */
static struct pmap_node *slot_insert(struct pmap_edit *e, const struct pmap_node *n, unsigned slots,
                                     unsigned at, const void *ptr)
{
    struct pmap_node *to;
    if (is_ours(e, n)) {
        to = mem_realloc(writable(n), node_bytes(slots + 1));
        e->bytes += (int64_t)sizeof(void *);
        memmove(to->slot + at + 1, to->slot + at, (slots - at) * sizeof(void *));
    } else {
        to = node_make(e, slots + 1);
        to->items = n->items;
        to->nodes = n->nodes;
        memcpy(to->slot, n->slot, at * sizeof(void *));
        memcpy(to->slot + at + 1, n->slot + at, (slots - at) * sizeof(void *));
        node_drop(e, n, slots);
    }
    to->slot[at] = ptr;
    return to;
}

static struct pmap_node *slot_remove(struct pmap_edit *e, const struct pmap_node *n, unsigned slots,
                                     unsigned at)
{
    struct pmap_node *to;
    if (is_ours(e, n)) {
        to = writable(n);
        memmove(to->slot + at, to->slot + at + 1, (slots - at - 1) * sizeof(void *));
        to = mem_realloc(to, node_bytes(slots - 1));
        e->bytes -= (int64_t)sizeof(void *);
    } else {
        to = node_make(e, slots - 1);
        to->items = n->items;
        to->nodes = n->nodes;
        memcpy(to->slot, n->slot, at * sizeof(void *));
        memcpy(to->slot + at, n->slot + at + 1, (slots - at - 1) * sizeof(void *));
        node_drop(e, n, slots);
    }
    return to;
}

/* An item's slot becomes a node's, for the same index. */
static const struct pmap_node *item_to_node(struct pmap_edit *e, const struct pmap_node *n,
                                            uint32_t bit, const struct pmap_node *below)
{
    struct pmap_node *to = node_own(e, n, slot_count(n, 0));
    unsigned from = item_index(to, bit);
    to->items &= ~bit;
    unsigned at = node_index(to, bit);
    memmove(to->slot + from, to->slot + from + 1, (at - from) * sizeof(void *));
    to->nodes |= bit;
    to->slot[at] = below;
    return to;
}

static const struct pmap_node *node_to_item(struct pmap_edit *e, const struct pmap_node *n,
                                            uint32_t bit, const void *item)
{
    struct pmap_node *to = node_own(e, n, slot_count(n, 0));
    unsigned from = node_index(to, bit);
    to->nodes &= ~bit;
    unsigned at = item_index(to, bit);
    memmove(to->slot + at + 1, to->slot + at, (from - at) * sizeof(void *));
    to->items |= bit;
    to->slot[at] = item;
    return to;
}

/* ---- edits ---- */

void pmap_edit_init(struct pmap_edit *e, pmap_retire_fn retire, void *retire_arg)
{
    CHECK(retire != NULL);
    *e = (struct pmap_edit){ .tag = 1, .retire = retire, .retire_arg = retire_arg };
}

void pmap_edit_seal(struct pmap_edit *e)
{
    e->tag++;
}

void *pmap_edit_alloc(struct pmap_edit *e, size_t bytes)
{
    e->made++;
    e->bytes += (int64_t)bytes;
    return mem_alloc(bytes);
}

void pmap_edit_drop(struct pmap_edit *e, const void *ptr, size_t bytes, uint64_t tag)
{
    void *mine = (void *)(uintptr_t)ptr;
    e->gone++;
    e->bytes -= (int64_t)bytes;
    if (tag == e->tag)
        mem_free(mine);
    else
        e->retire(e->retire_arg, mine, mem_free);
}

/* ---- reading ---- */

static const void *list_get(const struct pmap_node *n, const struct pmap_kind *kind,
                            const void *key)
{
    for (uint32_t i = 0; i < n->items; i++)
        if (kind->is(n->slot[i], key))
            return n->slot[i];
    return NULL;
}

const void *pmap_get(const struct pmap *m, const struct pmap_kind *kind, uint64_t hash,
                     const void *key)
{
    if (m->count <= 1)
        return m->count == 1 && kind->is(m->root, key) ? m->root : NULL;

    const struct pmap_node *n = m->root;
    for (unsigned level = 0; level < LEVEL_COUNT; level++) {
        uint32_t bit = bit_at(hash, level);
        if ((n->items & bit) != 0) {
            const void *item = n->slot[item_index(n, bit)];
            return kind->is(item, key) ? item : NULL;
        }
        if ((n->nodes & bit) == 0)
            return NULL;
        n = n->slot[node_index(n, bit)];
    }
    return list_get(n, kind, key);
}

/* ---- putting in ---- */

/* The least node that tells two items apart from `level` on. */
static const struct pmap_node *pair_make(struct change *c, const void *other, uint64_t other_hash,
                                         unsigned level)
{
    if (level == LEVEL_COUNT) {
        struct pmap_node *list = node_make(c->edit, 2);
        list->items = 2;
        list->slot[0] = other;
        list->slot[1] = c->item;
        return list;
    }
    uint32_t bit = bit_at(c->hash, level);
    uint32_t other_bit = bit_at(other_hash, level);
    if (bit == other_bit) {
        const struct pmap_node *below = pair_make(c, other, other_hash, level + 1);
        struct pmap_node *n = node_make(c->edit, 1);
        n->nodes = bit;
        n->slot[0] = below;
        return n;
    }
    struct pmap_node *n = node_make(c->edit, 2);
    n->items = bit | other_bit;
    n->slot[bit < other_bit ? 0 : 1] = c->item;
    n->slot[bit < other_bit ? 1 : 0] = other;
    return n;
}

static const struct pmap_node *list_set(struct change *c, const struct pmap_node *n)
{
    for (uint32_t i = 0; i < n->items; i++) {
        if (!c->kind->same(n->slot[i], c->item))
            continue;
        c->old = n->slot[i];
        struct pmap_node *to = node_own(c->edit, n, n->items);
        to->slot[i] = c->item;
        return to;
    }
    struct pmap_node *to = slot_insert(c->edit, n, n->items, n->items, c->item);
    to->items++;
    return to;
}

static const struct pmap_node *set_over_item(struct change *c, const struct pmap_node *n,
                                             unsigned level, uint32_t bit)
{
    unsigned at = item_index(n, bit);
    const void *there = n->slot[at];
    if (!c->kind->same(there, c->item)) {
        uint64_t hash = c->kind->hash(there, c->kind->seed);
        return item_to_node(c->edit, n, bit, pair_make(c, there, hash, level + 1));
    }
    c->old = there;
    struct pmap_node *to = node_own(c->edit, n, slot_count(n, level));
    to->slot[at] = c->item;
    return to;
}

/* What stands in the place of `n` once the item is in. */
static const struct pmap_node *node_set(struct change *c, const struct pmap_node *n, unsigned level)
{
    if (level == LEVEL_COUNT)
        return list_set(c, n);
    uint32_t bit = bit_at(c->hash, level);
    if ((n->items & bit) != 0)
        return set_over_item(c, n, level, bit);
    if ((n->nodes & bit) == 0) {
        struct pmap_node *to =
            slot_insert(c->edit, n, slot_count(n, level), item_index(n, bit), c->item);
        to->items |= bit;
        return to;
    }
    unsigned at = node_index(n, bit);
    const struct pmap_node *below = node_set(c, n->slot[at], level + 1);
    if (below == n->slot[at])
        return n;
    struct pmap_node *to = node_own(c->edit, n, slot_count(n, level));
    to->slot[at] = below;
    return to;
}

const void *pmap_set(struct pmap *m, const struct pmap_kind *kind, struct pmap_edit *e,
                     const void *item)
{
    CHECK(item != NULL);
    struct change c = { .kind = kind, .edit = e, .item = item };
    if (m->count == 0) {
        m->root = item;
    } else if (m->count == 1 && kind->same(m->root, item)) {
        c.old = m->root;
        m->root = item;
    } else {
        c.hash = kind->hash(item, kind->seed);
        m->root = m->count == 1 ? pair_make(&c, m->root, kind->hash(m->root, kind->seed), 0)
                                : node_set(&c, m->root, 0);
    }
    if (c.old == NULL)
        m->count++;
    return c.old;
}

/* ---- taking out ---- */

/* What stands in the place of a node that lost something: a node, or an only item that goes up into
 * the node above, or neither if nothing was found. */
struct left {
    const struct pmap_node *node;
    const void *only;
};

/* Take slot `at`, an item, out of `n`; the bitmaps are set here. */
static struct left item_remove(struct change *c, const struct pmap_node *n, unsigned level,
                               unsigned at)
{
    unsigned slots = slot_count(n, level);
    bool is_list = level == LEVEL_COUNT;
    c->old = n->slot[at];
    if (slots == 2 && (is_list || n->nodes == 0)) {
        const void *only = n->slot[1 - at];
        node_drop(c->edit, n, slots);
        return (struct left){ .only = only };
    }
    struct pmap_node *to = slot_remove(c->edit, n, slots, at);
    if (is_list)
        to->items--;
    else
        to->items &= ~bit_at(c->hash, level);
    return (struct left){ .node = to };
}

static struct left list_del(struct change *c, const struct pmap_node *n)
{
    for (uint32_t i = 0; i < n->items; i++)
        if (c->kind->is(n->slot[i], c->key))
            return item_remove(c, n, LEVEL_COUNT, i);
    return (struct left){ .node = n };
}

static struct left node_del(struct change *c, const struct pmap_node *n, unsigned level)
{
    if (level == LEVEL_COUNT)
        return list_del(c, n);
    uint32_t bit = bit_at(c->hash, level);
    if ((n->items & bit) != 0) {
        unsigned at = item_index(n, bit);
        return c->kind->is(n->slot[at], c->key) ? item_remove(c, n, level, at)
                                                : (struct left){ .node = n };
    }
    if ((n->nodes & bit) == 0)
        return (struct left){ .node = n };

    unsigned at = node_index(n, bit);
    struct left below = node_del(c, n->slot[at], level + 1);
    if (below.node == n->slot[at])
        return (struct left){ .node = n };
    if (below.only != NULL && slot_count(n, level) == 1) {
        node_drop(c->edit, n, 1); /* it held nothing else: the item goes on upward */
        return below;
    }
    if (below.only != NULL)
        return (struct left){ .node = node_to_item(c->edit, n, bit, below.only) };
    struct pmap_node *to = node_own(c->edit, n, slot_count(n, level));
    to->slot[at] = below.node;
    return (struct left){ .node = to };
}

const void *pmap_del(struct pmap *m, const struct pmap_kind *kind, struct pmap_edit *e,
                     uint64_t hash, const void *key)
{
    if (m->count == 0)
        return NULL;
    if (m->count == 1) {
        const void *old = m->root;
        if (!kind->is(old, key))
            return NULL;
        *m = (struct pmap){ 0 };
        return old;
    }
    struct change c = { .kind = kind, .edit = e, .hash = hash, .key = key };
    struct left left = node_del(&c, m->root, 0);
    if (c.old == NULL)
        return NULL;
    m->count--;
    CHECK((left.only != NULL) == (m->count == 1));
    m->root = left.only != NULL ? left.only : left.node;
    return c.old;
}

/* ---- taking many out ---- */

struct pruning {
    struct pmap_edit *edit;
    bool (*goes)(void *arg, const void *item);
    void *arg;
    uint64_t gone;
};

static bool goes(struct pruning *p, const void *item)
{
    bool yes = p->goes(p->arg, item);
    p->gone += yes;
    return yes;
}

/* What stands in the place of `n`, which had `slots`, once it has these `count` of `all`, of which
 * the bitmaps tell; of one item alone, or of nothing, no node is left. */
static struct left remains(struct pruning *p, const struct pmap_node *n, unsigned slots,
                           uint32_t items, uint32_t nodes, const void *const *all, unsigned count)
{
    if (count == 0 || (count == 1 && nodes == 0)) {
        const void *only = count != 0 ? all[0] : NULL;
        node_drop(p->edit, n, slots);
        return (struct left){ .only = only };
    }
    struct pmap_node *to = writable(n);
    if (!is_ours(p->edit, n)) {
        to = node_make(p->edit, count);
        node_drop(p->edit, n, slots);
    } else if (count != slots) {
        to = mem_realloc(to, node_bytes(count));
        p->edit->bytes -= (int64_t)((slots - count) * sizeof(void *));
    }
    to->items = items;
    to->nodes = nodes;
    memcpy(to->slot, all, count * sizeof(void *));
    return (struct left){ .node = to };
}

static struct left list_prune(struct pruning *p, const struct pmap_node *n)
{
    const void **stay = mem_array(n->items, sizeof *stay);
    unsigned count = 0;
    for (uint32_t i = 0; i < n->items; i++)
        if (!goes(p, n->slot[i]))
            stay[count++] = n->slot[i];
    struct left left = { .node = n };
    if (count != n->items)
        left = remains(p, n, n->items, count, 0, stay, count);
    mem_free(stay);
    return left;
}

static struct left node_prune(struct pruning *p, const struct pmap_node *n, unsigned level)
{
    if (level == LEVEL_COUNT)
        return list_prune(p, n);
    /* By index, since an item may come up from a node below. */
    const void *items[INDEX_MASK + 1], *nodes[INDEX_MASK + 1];
    uint32_t has_item = 0, has_node = 0;
    bool changed = false;
    unsigned at = 0;
    for (unsigned i = 0; i <= INDEX_MASK; i++) {
        if ((n->items & 1u << i) == 0)
            continue;
        items[i] = n->slot[at++];
        if (goes(p, items[i]))
            changed = true;
        else
            has_item |= 1u << i;
    }
    for (unsigned i = 0; i <= INDEX_MASK; i++) {
        if ((n->nodes & 1u << i) == 0)
            continue;
        const struct pmap_node *below = n->slot[at++];
        struct left left = node_prune(p, below, level + 1);
        changed = changed || left.node != below;
        nodes[i] = left.node;
        items[i] = left.node == NULL ? left.only : items[i];
        has_node |= left.node != NULL ? 1u << i : 0;
        has_item |= left.only != NULL ? 1u << i : 0;
    }
    if (!changed)
        return (struct left){ .node = n };
    const void *all[INDEX_MASK + 1];
    unsigned count = 0;
    for (unsigned i = 0; i <= INDEX_MASK; i++)
        if ((has_item & 1u << i) != 0)
            all[count++] = items[i];
    for (unsigned i = 0; i <= INDEX_MASK; i++)
        if ((has_node & 1u << i) != 0)
            all[count++] = nodes[i];
    return remains(p, n, slot_count(n, level), has_item, has_node, all, count);
}

uint64_t pmap_prune(struct pmap *m, struct pmap_edit *e, bool (*fn)(void *arg, const void *item),
                    void *arg)
{
    struct pruning p = { .edit = e, .goes = fn, .arg = arg };
    if (m->count == 1) {
        if (goes(&p, m->root))
            *m = (struct pmap){ 0 };
    } else if (m->count > 1) {
        struct left left = node_prune(&p, m->root, 0);
        m->count -= p.gone;
        CHECK((left.only != NULL) == (m->count == 1) && (left.node != NULL) == (m->count > 1));
        m->root = left.only != NULL ? left.only : left.node;
    }
    return p.gone;
}

static void drop_all(struct pmap_edit *e, const struct pmap_node *n, unsigned level)
{
    if (level < LEVEL_COUNT)
        for (unsigned i = count_bits(n->items); i < slot_count(n, level); i++)
            drop_all(e, n->slot[i], level + 1);
    node_drop(e, n, slot_count(n, level));
}

void pmap_clear(struct pmap *m, struct pmap_edit *e)
{
    if (m->count > 1)
        drop_all(e, m->root, 0);
    *m = (struct pmap){ 0 };
}

/* ---- iteration ---- */

void pmap_iter(struct pmap_iter *it, const struct pmap *m)
{
    it->depth = 0;
    it->only = m->count == 1 ? m->root : NULL;
    if (m->count > 1) {
        it->node[0] = m->root;
        it->slot[0] = 0;
        it->depth = 1;
    }
}

/* An item that stands above its part's node. */
static bool is_in_part(const struct pmap_kind *kind, const void *item, unsigned part)
{
    return (kind->hash(item, kind->seed) & (PMAP_PARTS - 1)) == part;
}

void pmap_iter_part(struct pmap_iter *it, const struct pmap *m, const struct pmap_kind *kind,
                    unsigned part)
{
    _Static_assert(PMAP_PARTS == 1u << (PART_LEVELS * BITS), "parts are told apart by levels");
    CHECK(part < PMAP_PARTS);
    it->depth = 0;
    it->only = NULL;
    if (m->count <= 1) {
        it->only = m->count == 1 && is_in_part(kind, m->root, part) ? m->root : NULL;
        return;
    }
    const struct pmap_node *n = m->root;
    for (unsigned level = 0; level < PART_LEVELS; level++) {
        uint32_t bit = bit_at(part, level);
        if ((n->items & bit) != 0) {
            const void *item = n->slot[item_index(n, bit)];
            it->only = is_in_part(kind, item, part) ? item : NULL;
        }
        if ((n->nodes & bit) == 0) {
            it->depth = 0;
            return;
        }
        it->node[level] = n;
        it->slot[level] = slot_count(n, level); /* nothing else in it is of this part */
        n = n->slot[node_index(n, bit)];
        it->depth = level + 1;
    }
    it->node[it->depth] = n;
    it->slot[it->depth++] = 0;
}

const void *pmap_next(struct pmap_iter *it)
{
    if (it->only != NULL) {
        const void *only = it->only;
        it->only = NULL;
        return only;
    }
    while (it->depth > 0) {
        unsigned level = it->depth - 1;
        const struct pmap_node *n = it->node[level];
        uint32_t at = it->slot[level]++;
        if (at >= slot_count(n, level)) {
            it->depth--;
            continue;
        }
        if (level == LEVEL_COUNT || at < count_bits(n->items))
            return n->slot[at];
        it->node[it->depth] = n->slot[at];
        it->slot[it->depth++] = 0;
    }
    return NULL;
}
