#include "model/seen.h"

#include "base/hash.h"
#include "base/mem.h"

#define FIRST_CAP ((size_t)64)

void seen_init(struct seen *s)
{
    *s = (struct seen){ .round = 1 }; /* round 0 is that of fresh slots */
}

void seen_fini(struct seen *s)
{
    mem_free(s->slots);
    *s = (struct seen){ 0 };
}

void seen_clear(struct seen *s)
{
    s->round++;
    s->count = 0;
}

/* Where the pointer is, or would go. There is always a free slot. */
static struct seen_slot *slot_for(struct seen_slot *slots, size_t cap, uint64_t round,
                                  const void *ptr)
{
    size_t i = hash_u64((uintptr_t)ptr) & (cap - 1);
    while (slots[i].round == round && slots[i].ptr != ptr)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static void grow(struct seen *s)
{
    size_t cap = s->cap != 0 ? s->cap * 2 : FIRST_CAP;
    struct seen_slot *slots = mem_array(cap, sizeof *slots);
    for (size_t i = 0; i < s->cap; i++)
        if (s->slots[i].round == s->round)
            *slot_for(slots, cap, s->round, s->slots[i].ptr) = s->slots[i];
    mem_free(s->slots);
    s->slots = slots;
    s->cap = cap;
}

bool seen_add(struct seen *s, const void *ptr)
{
    if (s->count * 2 >= s->cap)
        grow(s);
    struct seen_slot *slot = slot_for(s->slots, s->cap, s->round, ptr);
    if (slot->round == s->round)
        return false;
    *slot = (struct seen_slot){ ptr, s->round };
    s->count++;
    return true;
}
