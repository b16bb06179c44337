#include "leg_tags.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

/* A delivery as it stands in the ring: 0 when nothing is to be said of it any more.
 *
 *     leg 3 | settled within a transaction 1 | slot 13 | the leg's delivery tag 47
 */
#define TAG_MASK    (((uint64_t)1 << 47) - 1)
#define SLOT_SHIFT  47u
#define IN_TX       ((uint64_t)1 << 60)
#define LEG_SHIFT   61u
#define RING_LEAST  16u
#define SLOTS_LEAST 8u

_Static_assert(LEG_MAP_LEGS_MAX <= 1u << (64 - LEG_SHIFT), "a leg's bits");
_Static_assert(LEG_TAGS_SLOTS == 1u << (60 - SLOT_SHIFT), "a slot's bits");

void leg_tags_init(struct leg_tags *t)
{
    *t = (struct leg_tags){ .first = 1 };
}

void leg_tags_fini(struct leg_tags *t)
{
    mem_free(t->ring);
    mem_free(t->slots);
    t->ring = NULL;
    t->slots = NULL;
}

static uint64_t *at(const struct leg_tags *t, uint64_t tag)
{
    return &t->ring[tag & (t->cap - 1)];
}

static unsigned leg_of(uint64_t entry)
{
    return (unsigned)(entry >> LEG_SHIFT);
}

static unsigned slot_of(uint64_t entry)
{
    return (unsigned)(entry >> SLOT_SHIFT) & (LEG_TAGS_SLOTS - 1);
}

static bool is_open(uint64_t entry)
{
    return entry != 0 && (entry & IN_TX) == 0;
}

static size_t kept(const struct leg_tags *t)
{
    return (size_t)(t->last + 1 - t->first);
}

/* Those at the beginning of which nothing is to be said. */
static void trim(struct leg_tags *t)
{
    while (t->first <= t->last && *at(t, t->first) == 0)
        t->first++;
}

static void grow(struct leg_tags *t)
{
    size_t cap = t->cap != 0 ? 2 * t->cap : RING_LEAST;
    uint64_t *ring = mem_array(cap, sizeof *ring);
    for (uint64_t tag = t->first; tag <= t->last; tag++)
        ring[tag & (cap - 1)] = *at(t, tag);
    mem_free(t->ring);
    t->ring = ring;
    t->cap = cap;
}

static void grow_slots(struct leg_tags *t)
{
    unsigned cap = t->slots_cap != 0 ? 2 * t->slots_cap : SLOTS_LEAST;
    t->slots = mem_realloc(t->slots, cap * sizeof *t->slots);
    memset(&t->slots[t->slots_cap], 0, (cap - t->slots_cap) * sizeof *t->slots);
    t->slots_cap = cap;
}

unsigned leg_tags_take_slot(struct leg_tags *t)
{
    for (;;) {
        for (unsigned i = 0; i < t->slots_cap; i++) {
            unsigned slot = (t->slots_next + i) % t->slots_cap;
            if (slot == 0 || t->slots[slot].is_taken || t->slots[slot].held != 0)
                continue;
            t->slots[slot].is_taken = true;
            t->slots_next = slot + 1;
            return slot;
        }
        if (t->slots_cap == LEG_TAGS_SLOTS)
            return 0;
        t->slots_next = t->slots_cap;
        grow_slots(t);
    }
}

void leg_tags_leave_slot(struct leg_tags *t, unsigned slot)
{
    CHECK(slot == 0 || (slot < t->slots_cap && t->slots[slot].is_taken));
    if (slot != 0)
        t->slots[slot].is_taken = false;
}

uint32_t leg_tags_held(const struct leg_tags *t, unsigned slot)
{
    return slot != 0 ? t->slots[slot].held : 0;
}

uint32_t leg_tags_held_since(const struct leg_tags *t, unsigned slot, uint64_t since,
                             uint64_t *last)
{
    uint32_t held = 0;
    *last = 0;
    for (uint64_t tag = since < t->first ? t->first : since + 1; tag <= t->last; tag++) {
        uint64_t entry = *at(t, tag);
        if (entry == 0 || slot_of(entry) != slot)
            continue;
        held++;
        *last = tag;
    }
    return held;
}

bool leg_tags_push(struct leg_tags *t, unsigned leg, unsigned slot, uint64_t leg_tag,
                   bool outstanding, size_t kept_max)
{
    CHECK(leg < LEG_MAP_LEGS_MAX && (slot == 0 || slot < t->slots_cap));
    if (!outstanding && t->first > t->last) { /* as without acks, where nothing is ever kept */
        t->last++;
        t->first = t->last + 1;
        return true;
    }
    if (kept(t) >= kept_max)
        return false;
    if (kept(t) == t->cap)
        grow(t);
    t->last++;
    *at(t, t->last) = outstanding ? (uint64_t)leg << LEG_SHIFT | (uint64_t)slot << SLOT_SHIFT |
                                        (leg_tag & TAG_MASK)
                                  : 0;
    t->outstanding[leg] += outstanding;
    if (slot != 0)
        t->slots[slot].held += outstanding;
    return true;
}

static void forget(struct leg_tags *t, uint64_t *entry)
{
    CHECK(t->outstanding[leg_of(*entry)] > 0);
    t->outstanding[leg_of(*entry)]--;
    unsigned slot = slot_of(*entry);
    CHECK(slot == 0 || t->slots[slot].held > 0);
    if (slot != 0)
        t->slots[slot].held--;
    *entry = 0;
}

static void settle(struct leg_tags *t, uint64_t *entry)
{
    if (t->in_tx)
        *entry |= IN_TX;
    else
        forget(t, entry);
}

bool leg_tags_has(const struct leg_tags *t, uint64_t tag)
{
    return tag >= t->first && tag <= t->last && is_open(*at(t, tag));
}

struct leg_tag leg_tags_settle(struct leg_tags *t, uint64_t tag)
{
    CHECK(leg_tags_has(t, tag));
    uint64_t *entry = at(t, tag);
    struct leg_tag of = { leg_of(*entry), *entry & TAG_MASK };
    settle(t, entry);
    trim(t);
    return of;
}

void leg_tags_settle_upto(struct leg_tags *t, uint64_t upto, uint64_t last[LEG_MAP_LEGS_MAX])
{
    CHECK(upto <= t->last);
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++)
        last[i] = 0;
    for (uint64_t tag = t->first; tag <= upto; tag++) {
        uint64_t *entry = at(t, tag);
        if (!is_open(*entry))
            continue;
        last[leg_of(*entry)] = *entry & TAG_MASK;
        settle(t, entry);
    }
    trim(t);
}

void leg_tags_end_tx(struct leg_tags *t, bool commit)
{
    for (uint64_t tag = t->first; tag <= t->last; tag++) {
        uint64_t *entry = at(t, tag);
        if ((*entry & IN_TX) == 0)
            continue;
        if (commit)
            forget(t, entry);
        else
            *entry &= ~IN_TX;
    }
    trim(t);
}

void leg_tags_forget(struct leg_tags *t)
{
    for (uint64_t tag = t->first; tag <= t->last; tag++) {
        uint64_t *entry = at(t, tag);
        if (is_open(*entry))
            forget(t, entry);
    }
    trim(t);
}

void leg_tags_rename_leg(struct leg_tags *t, unsigned from, unsigned to)
{
    CHECK(from < LEG_MAP_LEGS_MAX && to < LEG_MAP_LEGS_MAX && t->outstanding[to] == 0);
    for (uint64_t tag = t->first; tag <= t->last; tag++) {
        uint64_t *entry = at(t, tag);
        if (*entry != 0 && leg_of(*entry) == from)
            *entry = (*entry & (((uint64_t)1 << LEG_SHIFT) - 1)) | (uint64_t)to << LEG_SHIFT;
    }
    t->outstanding[to] = t->outstanding[from];
    t->outstanding[from] = 0;
}

void leg_tags_check(const struct leg_tags *t)
{
    uint64_t outstanding[LEG_MAP_LEGS_MAX] = { 0 };
    uint64_t newest[LEG_MAP_LEGS_MAX] = { 0 };
    uint64_t held = 0;
    CHECK(t->first >= 1 && t->first <= t->last + 1 && kept(t) <= t->cap);
    for (uint64_t tag = t->first; tag <= t->last; tag++) {
        uint64_t entry = *at(t, tag);
        if (entry == 0)
            continue;
        CHECK(leg_of(entry) < LEG_MAP_LEGS_MAX && (entry & TAG_MASK) > newest[leg_of(entry)]);
        newest[leg_of(entry)] = entry & TAG_MASK;
        outstanding[leg_of(entry)]++;
        held += slot_of(entry) != 0;
    }
    for (unsigned i = 1; i < t->slots_cap; i++)
        held -= t->slots[i].held;
    CHECK(held == 0);
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++)
        CHECK(outstanding[i] == t->outstanding[i]);
}
