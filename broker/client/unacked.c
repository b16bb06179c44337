#include "client/unacked.h"

#include "base/check.h"
#include "base/mem.h"

#define CAP_FIRST 16
#define CAP_KEPT  64

void unacked_init(struct unacked *u)
{
    *u = (struct unacked){ .next = 1 };
}

void unacked_fini(struct unacked *u)
{
    mem_free(u->slots);
    unacked_init(u);
}

static struct unacked_slot *slot_at(const struct unacked *u, size_t index)
{
    return &u->slots[(u->head + index) & (u->cap - 1)];
}

/* Without the holes; in a ring twice as large unless so much is gained by that. */
static void make_room(struct unacked *u)
{
    size_t cap = u->cap == 0 ? CAP_FIRST : u->open > u->cap / 2 ? u->cap * 2 : u->cap;
    struct unacked_slot *slots = mem_array(cap, sizeof *slots);
    size_t kept = 0;
    for (size_t i = 0; i < u->count; i++) {
        if (slot_at(u, i)->entry.qid != 0)
            slots[kept++] = *slot_at(u, i);
    }
    CHECK(kept == u->open);
    mem_free(u->slots);
    u->slots = slots;
    u->cap = cap;
    u->head = 0;
    u->count = kept;
}

uint64_t unacked_add(struct unacked *u, const struct unacked_entry *e)
{
    CHECK(e->qid != 0);
    if (u->count == u->cap)
        make_room(u);
    u->count++;
    u->open++;
    *slot_at(u, u->count - 1) = (struct unacked_slot){ u->next, *e };
    return u->next++;
}

uint64_t unacked_skip(struct unacked *u)
{
    return u->next++;
}

/* The open slot of a tag, or NULL. */
static struct unacked_slot *find(const struct unacked *u, uint64_t tag)
{
    if (u->count == 0 || tag < slot_at(u, 0)->tag)
        return NULL;
    /* Tags rise: it is no further from the oldest than its number. */
    uint64_t distance = tag - slot_at(u, 0)->tag;
    size_t low = 0;
    size_t high = distance < u->count ? (size_t)distance : u->count - 1;
    while (low < high && slot_at(u, high)->tag != tag) {
        size_t middle = low + (high - low) / 2;
        if (slot_at(u, middle)->tag < tag)
            low = middle + 1;
        else
            high = middle;
    }
    struct unacked_slot *s = slot_at(u, high);
    return s->tag == tag && s->entry.qid != 0 ? s : NULL;
}

/* Nothing is open: a large ring goes. */
static void start_anew(struct unacked *u)
{
    u->count = 0;
    u->head = 0;
    if (u->cap > CAP_KEPT) {
        mem_free(u->slots);
        u->slots = NULL;
        u->cap = 0;
    }
}

static void drop_holes(struct unacked *u)
{
    if (u->open == 0) {
        start_anew(u);
        return;
    }
    while (slot_at(u, 0)->entry.qid == 0) {
        u->head = (u->head + 1) & (u->cap - 1);
        u->count--;
    }
}

static void take(struct unacked *u, struct unacked_slot *s, struct unacked_entry *out)
{
    *out = s->entry;
    s->entry.qid = 0;
    u->open--;
    drop_holes(u);
}

const struct unacked_entry *unacked_first(const struct unacked *u)
{
    return u->open != 0 ? &slot_at(u, 0)->entry : NULL;
}

struct unacked_entry *unacked_at(struct unacked *u, uint64_t tag)
{
    struct unacked_slot *s = find(u, tag);
    return s != NULL ? &s->entry : NULL;
}

void unacked_each(struct unacked *u, unacked_each_fn fn, void *arg)
{
    for (size_t i = 0; i < u->count; i++) {
        struct unacked_slot *s = slot_at(u, i);
        if (s->entry.qid != 0)
            fn(s->tag, &s->entry, arg);
    }
}

bool unacked_is_open(const struct unacked *u, uint64_t tag)
{
    return find(u, tag) != NULL;
}

bool unacked_take(struct unacked *u, uint64_t tag, struct unacked_entry *out)
{
    struct unacked_slot *s = find(u, tag);
    if (s != NULL)
        take(u, s, out);
    return s != NULL;
}

bool unacked_take_oldest(struct unacked *u, uint64_t upto, struct unacked_entry *out)
{
    if (u->open == 0 || slot_at(u, 0)->tag > upto)
        return false;
    take(u, slot_at(u, 0), out);
    return true;
}

uint64_t unacked_oldest(const struct unacked *u, uint64_t upto)
{
    return u->open != 0 && slot_at(u, 0)->tag <= upto ? slot_at(u, 0)->tag : 0;
}

void unacked_reopen(struct unacked *u, const struct unacked_slot *slots, size_t count)
{
    size_t total = (size_t)u->open + count;
    size_t cap = CAP_FIRST;
    while (cap < total)
        cap *= 2;
    struct unacked_slot *merged = mem_array(cap, sizeof *merged);
    size_t from = 0;
    size_t kept = 0;
    for (size_t i = 0; i < u->count; i++) {
        const struct unacked_slot *s = slot_at(u, i);
        if (s->entry.qid == 0)
            continue;
        while (from < count && slots[from].tag < s->tag)
            merged[kept++] = slots[from++];
        merged[kept++] = *s;
    }
    while (from < count)
        merged[kept++] = slots[from++];
    CHECK(kept == total);
    mem_free(u->slots);
    u->slots = merged;
    u->cap = cap;
    u->head = 0;
    u->count = kept;
    u->open = kept;
}
