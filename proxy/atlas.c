#include "atlas.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/shared.h"
#include "base/shown.h"

#include <string.h>

/* Both are immutable once they are shown. */
struct leaf {
    uint32_t count;
    struct entry {
        uint64_t hash;
        uint64_t packed; /* version 40 | node 16 | flags 8 */
    } entries[];         /* by hash, none of them gone */
};

struct nodes {
    size_t count;
    struct location_node items[]; /* by number */
};

struct atlas {
    struct epoch *epoch;
    struct leads *leads;
    struct shared key;
    struct shared moves, news, count;
    struct shown nodes;                    /* struct nodes, or NULL */
    struct shown leaves[LOCATION_BUCKETS]; /* struct leaf, or NULL: empty */
};

static uint16_t node_of(struct entry e)
{
    return (uint16_t)(e.packed >> 8);
}

static uint64_t ver_of(struct entry e)
{
    return e.packed >> 24;
}

/* ---- looking ----------------------------------------------------------------------------------
 */

/* Hashes are spread evenly, so an entry is near where it would be if they were perfectly so: a few
 * steps in memory that lies together, where halving would go through all of a leaf. */
static const struct entry *find_entry(const struct leaf *l, uint64_t hash)
{
    if (l == NULL)
        return NULL;
    uint64_t rest = hash * LOCATION_BUCKETS >> 32; /* what the bucket leaves open */
    uint32_t at = (uint32_t)(rest * l->count >> 32);
    while (at < l->count && l->entries[at].hash < hash)
        at++;
    while (at > 0 && l->entries[at - 1].hash >= hash)
        at--;
    return at < l->count && l->entries[at].hash == hash ? &l->entries[at] : NULL;
}

static const struct location_node *find_node(const struct nodes *n, uint16_t node)
{
    size_t low = 0, high = n != NULL ? n->count : 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (n->items[mid].node == node)
            return &n->items[mid];
        if (n->items[mid].node < node)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

enum atlas_word atlas_find_hashed(const struct atlas *a, uint64_t hash, uint16_t *node)
{
    const struct entry *e = find_entry(shown_get(&a->leaves[location_bucket_of(hash)]), hash);
    if (e == NULL)
        return ATLAS_UNKNOWN;
    *node = node_of(*e);
    const struct location_node *n = find_node(shown_get(&a->nodes), *node);
    if (n == NULL)
        return ATLAS_DOWN;
    /* Swept: gone with its node, though its own leaf may still be on its way. */
    if ((e->packed & LOCATION_TRANSIENT) != 0 && ver_of(*e) < n->swept)
        return ATLAS_UNKNOWN;
    return n->is_up ? ATLAS_UP : ATLAS_DOWN;
}

enum atlas_word atlas_find(const struct atlas *a, struct slice vhost, struct slice queue,
                           uint16_t *node, uint64_t *hash)
{
    uint64_t h = location_hash(shared_get(&a->key), vhost, queue);
    if (hash != NULL)
        *hash = h;
    return atlas_find_hashed(a, h, node);
}

struct leads *atlas_leads(const struct atlas *a)
{
    return a->leads;
}

bool atlas_is_loose(const struct atlas *a, struct slice vhost, struct slice queue)
{
    uint64_t h = location_hash(shared_get(&a->key), vhost, queue);
    const struct entry *e = find_entry(shown_get(&a->leaves[location_bucket_of(h)]), h);
    return e != NULL && (e->packed & LOCATION_LOOSE) != 0;
}

uint64_t atlas_moves(const struct atlas *a)
{
    return shared_get(&a->moves);
}

uint64_t atlas_news(const struct atlas *a)
{
    return shared_get(&a->news);
}

uint64_t atlas_count(const struct atlas *a)
{
    return shared_get(&a->count);
}

static void count_leaf(const struct leaf *l, uint32_t *counts)
{
    for (uint32_t i = 0; i < l->count; i++)
        counts[node_of(l->entries[i])]++;
}

size_t atlas_masters(const struct atlas *a, struct atlas_master *masters, size_t most)
{
    const struct nodes *nodes = shown_get(&a->nodes);
    uint32_t *counts = mem_array((size_t)UINT16_MAX + 1, sizeof *counts);
    size_t put = 0;
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++) {
        const struct leaf *l = shown_get(&a->leaves[i]);
        if (l != NULL)
            count_leaf(l, counts);
    }
    for (uint32_t node = 0; node <= UINT16_MAX && put < most; node++) {
        const struct location_node *n = find_node(nodes, (uint16_t)node);
        if (n == NULL && counts[node] == 0)
            continue;
        masters[put++] =
            (struct atlas_master){ (uint16_t)node, n != NULL && n->is_up, counts[node] };
    }
    mem_free(counts);
    return put;
}

/* ---- following --------------------------------------------------------------------------------
 */

static void retire(struct atlas *a, const void *old)
{
    if (old != NULL)
        epoch_retire(a->epoch, (void *)(uintptr_t)old, mem_free);
}

static struct leaf *copy_leaf(const struct location_table *t, unsigned bucket)
{
    size_t most = location_bucket_count(t, bucket);
    struct leaf *l = mem_alloc(sizeof *l + most * sizeof l->entries[0]);
    l->count = 0;
    for (size_t i = 0; i < most; i++) {
        struct location one = location_bucket_at(t, bucket, i);
        if ((one.flags & LOCATION_GONE) == 0)
            l->entries[l->count++] =
                (struct entry){ one.hash, one.ver << 24 | (uint64_t)one.node << 8 | one.flags };
    }
    if (l->count != 0)
        return l;
    mem_free(l);
    return NULL;
}

/* How many queues of both have another master in `now`. */
static uint64_t count_moves(const struct leaf *was, const struct leaf *now)
{
    uint64_t moved = 0;
    if (was == NULL || now == NULL)
        return 0;
    for (uint32_t i = 0, k = 0; i < was->count && k < now->count;) {
        if (was->entries[i].hash < now->entries[k].hash) {
            i++;
        } else if (was->entries[i].hash > now->entries[k].hash) {
            k++;
        } else {
            moved += node_of(was->entries[i]) != node_of(now->entries[k]);
            i++;
            k++;
        }
    }
    return moved;
}

static uint64_t follow_bucket(struct atlas *a, const struct location_table *t, unsigned bucket)
{
    const struct leaf *was = shown_get(&a->leaves[bucket]);
    const struct leaf *now = copy_leaf(t, bucket);
    uint64_t moved = count_moves(was, now);
    (void)shared_add(&a->count,
                     (now != NULL ? now->count : 0) - (uint64_t)(was != NULL ? was->count : 0));
    shown_set(&a->leaves[bucket], now);
    retire(a, was);
    return moved;
}

static bool is_same_node(const struct location_node *x, const struct location_node *y)
{
    return x->node == y->node && x->is_up == y->is_up && x->swept == y->swept;
}

static bool are_same_nodes(const struct nodes *was, const struct location_table *t)
{
    size_t count = was != NULL ? was->count : 0;
    if (count != location_node_count(t))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct location_node n = location_node_at(t, i);
        if (!is_same_node(&was->items[i], &n))
            return false;
    }
    return true;
}

/* False: all is as it was. */
static bool follow_nodes(struct atlas *a, const struct location_table *t)
{
    const struct nodes *was = shown_get(&a->nodes);
    if (are_same_nodes(was, t))
        return false;
    struct nodes *now = mem_alloc(sizeof *now + location_node_count(t) * sizeof now->items[0]);
    now->count = location_node_count(t);
    for (size_t i = 0; i < now->count; i++)
        now->items[i] = location_node_at(t, i);
    shown_set(&a->nodes, now);
    retire(a, was);
    return true;
}

void atlas_follow(struct atlas *a, struct location_table *t, uint64_t key)
{
    bool is_other = shared_swap(&a->key, key) != key;
    bool is_news = false;
    uint64_t moved = follow_nodes(a, t) || is_other;
    for (int bucket; (bucket = location_take_changed(t)) >= 0;) {
        moved += follow_bucket(a, t, (unsigned)bucket);
        is_news = true;
    }
    if (moved != 0)
        (void)shared_add(&a->moves, moved);
    if (moved != 0 || is_news)
        (void)shared_add(&a->news, 1);
}

void atlas_set_leads(struct atlas *a, struct leads *leads)
{
    a->leads = leads;
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct atlas *atlas_new(struct epoch *epoch)
{
    struct atlas *a = mem_zalloc(sizeof *a);
    a->epoch = epoch;
    return a;
}

static void atlas_free(void *atlas)
{
    struct atlas *a = atlas;
    mem_free((void *)(uintptr_t)shown_get(&a->nodes));
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++)
        mem_free((void *)(uintptr_t)shown_get(&a->leaves[i]));
    mem_free(a);
}

void atlas_retire(struct atlas **a)
{
    if (*a != NULL)
        epoch_retire((*a)->epoch, *a, atlas_free);
    *a = NULL;
}
