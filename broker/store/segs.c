#include "store/segs.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/lock.h"

/*
 * Two levels of pages over a leaf, by the number's bits:
 *
 *     31 .. 19 tops   18 .. 6 mids   5 .. 0 leaf
 *
 * Readers follow the pointers without a lock. A leaf in which no segment exists any more goes to a
 * list and is used for other numbers, never freed before the table: a number that somebody still
 * holds may then lead to another segment, or nowhere, but always to memory that is a struct seg.
 */
#define LEAF_BITS 6u
#define MID_BITS  13u
#define TOP_BITS  13u

_Static_assert(LEAF_BITS + MID_BITS + TOP_BITS == 32, "all bits of a number");

struct leaf {
    struct seg segs[1u << LEAF_BITS];
    unsigned count; /* of those that exist; under the lock */
    struct leaf *next_idle;
};

struct mid {
    struct leaf *_Atomic leaves[1u << MID_BITS];
};

struct segs {
    struct lock lock; /* of those who add and remove */
    struct leaf *idle;
    atomic_uint first;
    atomic_uint end;
    struct seg none;
    struct mid *_Atomic mids[1u << TOP_BITS];
};

struct segs *segs_new(void)
{
    struct segs *s = mem_zalloc(sizeof *s);
    lock_init(&s->lock);
    return s;
}

static void free_mid(struct mid *m)
{
    for (size_t i = 0; i < ARRAY_COUNT(m->leaves); i++)
        mem_free(atomic_load_explicit(&m->leaves[i], memory_order_relaxed));
    mem_free(m);
}

void segs_free(struct segs **segs)
{
    struct segs *s = *segs;
    *segs = NULL;
    if (s == NULL)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(s->mids); i++) {
        struct mid *m = atomic_load_explicit(&s->mids[i], memory_order_relaxed);
        if (m != NULL)
            free_mid(m);
    }
    for (struct leaf *l; (l = s->idle) != NULL;) {
        s->idle = l->next_idle;
        mem_free(l);
    }
    lock_fini(&s->lock);
    mem_free(s);
}

static struct mid *mid_of(const struct segs *s, uint32_t seg)
{
    return atomic_load_explicit(&s->mids[seg >> (LEAF_BITS + MID_BITS)], memory_order_acquire);
}

static struct leaf *_Atomic *slot_of(struct mid *m, uint32_t seg)
{
    return &m->leaves[(seg >> LEAF_BITS) & ((1u << MID_BITS) - 1)];
}

static struct leaf *leaf_of(const struct segs *s, uint32_t seg)
{
    struct mid *m = mid_of(s, seg);
    return m != NULL ? atomic_load_explicit(slot_of(m, seg), memory_order_acquire) : NULL;
}

static struct seg *in_leaf(struct leaf *l, uint32_t seg)
{
    return &l->segs[seg & ((1u << LEAF_BITS) - 1)];
}

struct seg *segs_get(struct segs *s, uint32_t seg)
{
    struct leaf *l = leaf_of(s, seg);
    return l != NULL ? in_leaf(l, seg) : &s->none;
}

static enum seg_state state_of(const struct seg *seg)
{
    return (enum seg_state)atomic_load_explicit(&seg->state, memory_order_acquire);
}

enum seg_state segs_state(struct segs *s, uint32_t seg)
{
    struct leaf *l = leaf_of(s, seg);
    return l != NULL ? state_of(in_leaf(l, seg)) : SEG_NONE;
}

uint32_t segs_first(const struct segs *s)
{
    return atomic_load_explicit(&s->first, memory_order_acquire);
}

uint32_t segs_end(const struct segs *s)
{
    return atomic_load_explicit(&s->end, memory_order_acquire);
}

/* Past the leaf that is not there, or past the mid. */
static uint32_t past_gap(const struct segs *s, uint32_t seg)
{
    unsigned bits = mid_of(s, seg) != NULL ? LEAF_BITS : LEAF_BITS + MID_BITS;
    return ((seg >> bits) + 1) << bits;
}

uint32_t segs_next(const struct segs *s, uint32_t after)
{
    uint32_t end = segs_end(s);
    /* 0 again: past the highest number there can be. */
    for (uint32_t seg = after + 1; seg < end && seg != 0;) {
        struct leaf *l = leaf_of(s, seg);
        if (l == NULL)
            seg = past_gap(s, seg);
        else if (state_of(in_leaf(l, seg)) != SEG_NONE)
            return seg;
        else
            seg++;
    }
    return 0;
}

static struct leaf *take_leaf(struct segs *s)
{
    struct leaf *l = s->idle;
    if (l == NULL)
        return mem_zalloc(sizeof *l);
    s->idle = l->next_idle;
    return l;
}

static struct leaf *make_leaf(struct segs *s, uint32_t seg)
{
    struct mid *m = mid_of(s, seg);
    if (m == NULL) {
        m = mem_zalloc(sizeof *m);
        atomic_store_explicit(&s->mids[seg >> (LEAF_BITS + MID_BITS)], m, memory_order_release);
    }
    struct leaf *l = leaf_of(s, seg);
    if (l == NULL) {
        l = take_leaf(s);
        atomic_store_explicit(slot_of(m, seg), l, memory_order_release);
    }
    return l;
}

void segs_add(struct segs *s, uint32_t seg, enum seg_state state, uint32_t bytes)
{
    CHECK(seg != 0 && seg != UINT32_MAX && state != SEG_NONE);
    lock_take(&s->lock);
    struct leaf *l = make_leaf(s, seg);
    struct seg *it = in_leaf(l, seg);
    CHECK(state_of(it) == SEG_NONE);
    atomic_store_explicit(&it->bytes, bytes, memory_order_relaxed);
    l->count++;
    atomic_store_explicit(&it->state, state, memory_order_release);
    uint32_t first = segs_first(s), end = segs_end(s);
    if (first == end || seg < first)
        atomic_store_explicit(&s->first, seg, memory_order_release);
    if (first == end || seg >= end)
        atomic_store_explicit(&s->end, seg + 1, memory_order_release);
    lock_give(&s->lock);
}

static void clear(struct seg *it)
{
    atomic_store_explicit(&it->state, SEG_NONE, memory_order_release);
    atomic_store_explicit(&it->put_count, 0, memory_order_relaxed);
    atomic_store_explicit(&it->put_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&it->alive_count, 0, memory_order_relaxed);
    atomic_store_explicit(&it->alive_bytes, 0, memory_order_relaxed);
}

void segs_remove(struct segs *s, uint32_t seg)
{
    lock_take(&s->lock);
    struct leaf *l = leaf_of(s, seg);
    CHECK(l != NULL && state_of(in_leaf(l, seg)) != SEG_NONE);
    clear(in_leaf(l, seg));
    if (--l->count == 0) {
        atomic_store_explicit(slot_of(mid_of(s, seg), seg), NULL, memory_order_release);
        l->next_idle = s->idle;
        s->idle = l;
    }
    if (seg == segs_first(s)) {
        uint32_t next = segs_next(s, seg);
        atomic_store_explicit(&s->first, next != 0 ? next : segs_end(s), memory_order_release);
    }
    lock_give(&s->lock);
}

static void add(atomic_int_fast64_t *to, int64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

void segs_put(struct segs *s, uint32_t seg, int64_t count, int64_t bytes)
{
    struct seg *it = segs_get(s, seg);
    add(&it->put_count, count);
    add(&it->put_bytes, bytes);
    add(&it->alive_count, count);
    add(&it->alive_bytes, bytes);
}

void segs_drop(struct segs *s, uint32_t seg, int64_t count, int64_t bytes)
{
    struct seg *it = segs_get(s, seg);
    add(&it->alive_bytes, -bytes);
    /* Last, so that whoever finds nobody alive finds the rest done. */
    atomic_fetch_sub_explicit(&it->alive_count, count, memory_order_release);
}

/* What is alive may be counted a moment before it is put. */
static uint64_t at_least_0(atomic_int_fast64_t *count)
{
    int64_t n = atomic_load_explicit(count, memory_order_relaxed);
    return n > 0 ? (uint64_t)n : 0;
}

struct segs_sums segs_sum(struct segs *s)
{
    struct segs_sums sums = { 0 };
    for (uint32_t seg = 0; (seg = segs_next(s, seg)) != 0;) {
        struct seg *it = segs_get(s, seg);
        sums.count++;
        sums.bytes += atomic_load_explicit(&it->bytes, memory_order_relaxed);
        sums.alive_bytes += at_least_0(&it->alive_bytes);
        sums.alive_count += at_least_0(&it->alive_count);
    }
    return sums;
}
