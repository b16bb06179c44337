#include "gossip/location.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutation.h"

#define BUCKET_BITS 12u
#define GROW_LEAST  4u
#define SWEEP_LEAST 1024u /* tombstones, before it is worth while to look for them */

struct entry {
    uint64_t hash;
    uint64_t packed; /* version 40 | node 16 | flags 8 */
};
_Static_assert(sizeof(struct entry) == 16, "a million of them is 16 MB");
_Static_assert(1u << BUCKET_BITS == LOCATION_BUCKETS, "buckets by the highest bits");

struct bucket {
    struct entry *entries; /* by hash */
    uint32_t count, room;
    uint64_t digest; /* a sum, so that the order of changes does not matter */
    bool has_changed;
};

struct location_table {
    struct bucket buckets[LOCATION_BUCKETS];
    struct location_node *nodes; /* by number */
    size_t node_count;
    uint64_t index;
    uint64_t floor; /* of the snapshot that is being told; 0: none */
    uint64_t entries, tombstones;
    uint64_t room; /* entries that memory is taken for */
    uint64_t old;
    unsigned changed_from; /* no bucket before this one has changed */
};

/* ---- entries ----------------------------------------------------------------------------------
 */

static struct entry pack(const struct location *l)
{
    return (struct entry){ l->hash, l->ver << 24 | (uint64_t)l->node << 8 | l->flags };
}

static struct location unpack(struct entry e)
{
    return (struct location){ e.hash, e.packed >> 24, (uint16_t)(e.packed >> 8),
                              (uint8_t)e.packed };
}

static uint64_t ver_of(struct entry e)
{
    return e.packed >> 24;
}

static bool is_gone(struct entry e)
{
    return (e.packed & LOCATION_GONE) != 0;
}

static uint64_t digest_of(struct entry e)
{
    return is_gone(e) ? 0 : hash_u64(e.hash ^ hash_u64(e.packed));
}

uint64_t location_hash(uint64_t key, struct slice vhost, struct slice name)
{
    return hash_bytes(name, hash_bytes(vhost, key));
}

unsigned location_bucket_of(uint64_t hash)
{
    return (unsigned)(hash >> (64 - BUCKET_BITS));
}

/* Where `hash` is, or would be. */
static uint32_t place_of(const struct bucket *b, uint64_t hash)
{
    uint32_t low = 0, high = b->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (b->entries[mid].hash < hash)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* ---- buckets ----------------------------------------------------------------------------------
 */

/* A quarter more at a time: memory follows what is in it closely, and nothing is ever moved whole.
 */
static void grow(struct location_table *t, struct bucket *b, uint32_t count)
{
    if (count <= b->room)
        return;
    uint32_t room = b->room + b->room / 4;
    room = room < count ? count : room;
    room = room < b->room + GROW_LEAST ? b->room + GROW_LEAST : room;
    b->entries = mem_realloc(b->entries, room * sizeof *b->entries);
    t->room += room - b->room;
    b->room = room;
}

static void fit(struct location_table *t, struct bucket *b)
{
    if (b->room - b->count <= b->count / 2 + GROW_LEAST)
        return;
    t->room -= b->room - b->count;
    b->room = b->count;
    if (b->count == 0) {
        mem_free(b->entries);
        b->entries = NULL;
    } else {
        b->entries = mem_realloc(b->entries, b->count * sizeof *b->entries);
    }
}

static void note_change(struct location_table *t, struct bucket *b)
{
    unsigned at = (unsigned)(b - t->buckets);
    b->has_changed = true;
    t->changed_from = at < t->changed_from ? at : t->changed_from;
}

static void count_in(struct location_table *t, struct bucket *b, struct entry e)
{
    note_change(t, b);
    t->entries += !is_gone(e);
    t->tombstones += is_gone(e);
    b->digest += digest_of(e);
}

static void count_out(struct location_table *t, struct bucket *b, struct entry e)
{
    note_change(t, b);
    t->entries -= !is_gone(e);
    t->tombstones -= is_gone(e);
    b->digest -= digest_of(e);
}

static void replace(struct location_table *t, struct bucket *b, uint32_t at, struct entry e)
{
    count_out(t, b, b->entries[at]);
    b->entries[at] = e;
    count_in(t, b, e);
}

static void insert(struct location_table *t, struct bucket *b, uint32_t at, struct entry e)
{
    grow(t, b, b->count + 1);
    memmove(&b->entries[at + 1], &b->entries[at], (b->count - at) * sizeof *b->entries);
    b->entries[at] = e;
    b->count++;
    count_in(t, b, e);
}

/* Tombstones that the index has passed. */
static void bury(struct location_table *t, struct bucket *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        struct entry e = b->entries[i];
        if (is_gone(e) && ver_of(e) <= t->index)
            count_out(t, b, e);
        else
            b->entries[kept++] = e;
    }
    b->count = kept;
    fit(t, b);
}

static void bury_all(struct location_table *t)
{
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++)
        bury(t, &t->buckets[i]);
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static size_t node_place(const struct location_table *t, uint16_t node)
{
    size_t low = 0, high = t->node_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->nodes[mid].node < node)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static const struct location_node *node_of(const struct location_table *t, uint16_t node)
{
    size_t at = node_place(t, node);
    return at < t->node_count && t->nodes[at].node == node ? &t->nodes[at] : NULL;
}

static bool was_swept(const struct location_table *t, const struct location *l)
{
    const struct location_node *n =
        (l->flags & LOCATION_TRANSIENT) != 0 ? node_of(t, l->node) : NULL;
    return n != NULL && l->ver < n->swept;
}

/* What was transient at the node before `ver` is gone. It keeps its own version: of what became of
 * such a queue meanwhile, elsewhere, we may not have heard yet. */
static void sweep(struct location_table *t, uint16_t node, uint64_t ver)
{
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++)
        for (uint32_t k = 0; k < t->buckets[i].count; k++) {
            struct location l = unpack(t->buckets[i].entries[k]);
            if (l.node != node ||
                (l.flags & (LOCATION_TRANSIENT | LOCATION_GONE)) != LOCATION_TRANSIENT ||
                l.ver >= ver)
                continue;
            l.flags |= LOCATION_GONE;
            replace(t, &t->buckets[i], k, pack(&l));
        }
}

bool location_put_node(struct location_table *t, const struct location_node *n)
{
    size_t at = node_place(t, n->node);
    bool is_known = at < t->node_count && t->nodes[at].node == n->node;
    if (!is_known) {
        if (t->node_count == LOCATION_NODES_MAX)
            return false;
        t->nodes = mem_realloc(t->nodes, (t->node_count + 1) * sizeof *t->nodes);
        memmove(&t->nodes[at + 1], &t->nodes[at], (t->node_count - at) * sizeof *t->nodes);
        t->nodes[at] = (struct location_node){ .node = n->node };
        t->node_count++;
    }
    struct location_node *k = &t->nodes[at];
    bool is_newer = n->ver > k->ver || MUTATION(LOCATION_OLD_WORD_WINS);
    if (is_newer) {
        k->is_up = n->is_up;
        k->ver = n->ver;
    }
    if (n->swept > k->swept) {
        k->swept = n->swept;
        sweep(t, n->node, n->swept);
    }
    t->old += !is_newer && n->ver != k->ver;
    return is_newer;
}

/* ---- words ------------------------------------------------------------------------------------
 */

bool location_put(struct location_table *t, const struct location *l)
{
    CHECK(l->ver >= 1 && l->ver <= LOCATION_VER_MAX);
    struct bucket *b = &t->buckets[location_bucket_of(l->hash)];
    uint32_t at = place_of(b, l->hash);
    bool is_there = at < b->count && b->entries[at].hash == l->hash;
    /* What is not there, or is gone, is so as of the index, or of the snapshot under way. */
    bool is_known = is_there && !is_gone(b->entries[at]);
    uint64_t known =
        t->index > t->floor || MUTATION(LOCATION_SNAPSHOT_DISTURBED) ? t->index : t->floor;
    bool is_old = (is_there && l->ver <= ver_of(b->entries[at])) || (!is_known && l->ver <= known);
    if (MUTATION(LOCATION_OLD_WORD_WINS) && is_there)
        is_old = false;
    if (MUTATION(LOCATION_GONE_COMES_BACK) && !is_known)
        is_old = false;
    if (is_old) {
        t->old++;
        return false;
    }
    /* Gone with its node by now; but what was known before does not hold either. */
    struct location now = *l;
    if (was_swept(t, l) && !MUTATION(LOCATION_SWEPT_COMES_BACK))
        now.flags |= LOCATION_GONE;
    if (is_there)
        replace(t, b, at, pack(&now));
    else
        insert(t, b, at, pack(&now));
    return true;
}

bool location_find(const struct location_table *t, uint64_t hash, struct location *out, bool *is_up)
{
    const struct bucket *b = &t->buckets[location_bucket_of(hash)];
    uint32_t at = place_of(b, hash);
    if (at == b->count || b->entries[at].hash != hash || is_gone(b->entries[at]))
        return false;
    *out = unpack(b->entries[at]);
    const struct location_node *n = node_of(t, out->node);
    *is_up = n != NULL && n->is_up;
    return true;
}

void location_reach(struct location_table *t, uint64_t index)
{
    t->index = index > t->index ? index : t->index;
    if (t->tombstones > SWEEP_LEAST && t->tombstones > t->entries / 8)
        bury_all(t);
}

void location_snapshot(struct location_table *t, uint64_t index)
{
    t->floor = index;
}

uint64_t location_index(const struct location_table *t)
{
    return t->index;
}

/* ---- whole buckets ----------------------------------------------------------------------------
 */

static bool is_in_order(unsigned bucket, const struct location *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (location_bucket_of(list[i].hash) != bucket || list[i].ver < 1 ||
            list[i].ver > LOCATION_VER_MAX || (i != 0 && list[i].hash <= list[i - 1].hash))
            return false;
    return true;
}

bool location_put_bucket(struct location_table *t, unsigned bucket, uint64_t index,
                         const struct location *list, size_t count)
{
    struct bucket *b = &t->buckets[bucket];
    if (!is_in_order(bucket, list, count))
        return false;
    uint32_t kept = 0;
    size_t at = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        struct entry e = b->entries[i];
        while (at < count && list[at].hash < e.hash)
            at++;
        bool is_listed = at < count && list[at].hash == e.hash;
        if (is_listed || ver_of(e) > index || is_gone(e))
            b->entries[kept++] = e; /* tombstones are buried when the index has passed them */
        else
            count_out(t, b, e);
    }
    b->count = kept;
    for (size_t i = 0; i < count; i++) {
        uint32_t place = place_of(b, list[i].hash);
        bool is_there = place < b->count && b->entries[place].hash == list[i].hash;
        if (is_there && list[i].ver <= ver_of(b->entries[place]))
            continue;
        struct location now = list[i];
        if (was_swept(t, &now))
            now.flags |= LOCATION_GONE;
        if (is_there)
            replace(t, b, place, pack(&now));
        else
            insert(t, b, place, pack(&now)); /* also below our index: it is the whole truth */
    }
    fit(t, b);
    return true;
}

size_t location_bucket_count(const struct location_table *t, unsigned bucket)
{
    CHECK(bucket < LOCATION_BUCKETS);
    return t->buckets[bucket].count;
}

struct location location_bucket_at(const struct location_table *t, unsigned bucket, size_t i)
{
    CHECK(i < location_bucket_count(t, bucket));
    return unpack(t->buckets[bucket].entries[i]);
}

uint64_t location_bucket_digest(const struct location_table *t, unsigned bucket)
{
    CHECK(bucket < LOCATION_BUCKETS);
    return t->buckets[bucket].digest;
}

int location_take_changed(struct location_table *t)
{
    while (t->changed_from < LOCATION_BUCKETS) {
        unsigned at = t->changed_from++;
        if (t->buckets[at].has_changed) {
            t->buckets[at].has_changed = false;
            return (int)at;
        }
    }
    return -1;
}

size_t location_node_count(const struct location_table *t)
{
    return t->node_count;
}

struct location_node location_node_at(const struct location_table *t, size_t i)
{
    CHECK(i < t->node_count);
    return t->nodes[i];
}

/* ---- life, figures ----------------------------------------------------------------------------
 */

static void begin_anew(struct location_table *t)
{
    memset(t, 0, sizeof *t);
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++)
        t->buckets[i].has_changed = true;
}

struct location_table *location_new(void)
{
    struct location_table *t = mem_alloc(sizeof *t);
    begin_anew(t);
    return t;
}

void location_clear(struct location_table *t)
{
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++)
        mem_free(t->buckets[i].entries);
    mem_free(t->nodes);
    begin_anew(t);
}

void location_free(struct location_table **t)
{
    if (*t == NULL)
        return;
    location_clear(*t);
    mem_free(*t);
    *t = NULL;
}

void location_figures(const struct location_table *t, struct location_figures *out)
{
    *out = (struct location_figures){ .index = t->index,
                                      .entries = t->entries,
                                      .tombstones = t->tombstones,
                                      .bytes = sizeof *t + t->room * sizeof(struct entry) +
                                               t->node_count * sizeof *t->nodes,
                                      .old = t->old };
}

void location_check(const struct location_table *t)
{
    uint64_t entries = 0, tombstones = 0, room = 0;
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++) {
        const struct bucket *b = &t->buckets[i];
        uint64_t digest = 0;
        for (uint32_t k = 0; k < b->count; k++) {
            CHECK(k == 0 || b->entries[k - 1].hash < b->entries[k].hash);
            CHECK(location_bucket_of(b->entries[k].hash) == i);
            entries += !is_gone(b->entries[k]);
            tombstones += is_gone(b->entries[k]);
            digest += digest_of(b->entries[k]);
        }
        CHECK(digest == b->digest && b->count <= b->room);
        room += b->room;
    }
    CHECK(entries == t->entries && tombstones == t->tombstones && room == t->room);
}
