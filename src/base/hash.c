#include "base/hash.h"

#include "base/mem.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(struct slice bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.len != 0 ? bytes.ptr : (const uint8_t *)"", bytes.len, seed);
}

/* The state wants to lie at a multiple of 64, which mem does not promise. */
#define STATE_ALIGN ((size_t)64)

struct hash_parts {
    XXH3_state_t *state;
    uint8_t room[sizeof(XXH3_state_t) + STATE_ALIGN];
};

struct hash_parts *hash_parts_new(uint64_t seed)
{
    struct hash_parts *h = mem_alloc(sizeof *h);
    size_t off = (uintptr_t)h->room % STATE_ALIGN;
    h->state = (void *)(h->room + (off != 0 ? STATE_ALIGN - off : 0));
    XXH3_INITSTATE(h->state);
    XXH3_64bits_reset_withSeed(h->state, seed);
    return h;
}

void hash_parts_add(struct hash_parts *h, struct slice bytes)
{
    if (bytes.len != 0)
        XXH3_64bits_update(h->state, bytes.ptr, bytes.len);
}

uint64_t hash_parts_end(struct hash_parts **h)
{
    uint64_t hash = XXH3_64bits_digest((*h)->state);
    mem_free(*h);
    *h = NULL;
    return hash;
}
