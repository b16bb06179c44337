/*
 * bench_ids: an exact set of message ids, for billions of them.
 *
 * Ids of one flow come nearly in order, so the set is a prefix (0 .. prefix - 1 are all in) and,
 * beyond it, a bitmap in chunks of 64 Ki ids that are freed when the prefix has passed them. In
 * order, an id costs one comparison and no memory; out of order, a bit. A budget bounds the
 * chunks: when it refuses, the id is not taken and `overfull` says so from then on. One thread.
 */
#ifndef WARREN_BENCH_IDS_H
#define WARREN_BENCH_IDS_H

#include "base/attr.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_IDS_CHUNK_BITS  16
#define BENCH_IDS_CHUNK_WORDS ((size_t)1 << (BENCH_IDS_CHUNK_BITS - 6))

struct bench_ids {
    uint64_t prefix;
    uint64_t **chunks; /* by id >> BENCH_IDS_CHUNK_BITS; NULL: none of these beyond the prefix */
    size_t chunks_cap;
    size_t chunks_used;
    struct mem_budget *budget; /* borrowed; may be shared by sets of several threads */
    bool overfull;
};

void bench_ids_init(struct bench_ids *s, struct mem_budget *budget);
void bench_ids_fini(struct bench_ids *s);

/* The general case of bench_ids_add: not the next one in order. */
bool bench_ids_add_beyond(struct bench_ids *s, uint64_t id);

/* True when the id was not in the set. */
static inline bool bench_ids_add(struct bench_ids *s, uint64_t id)
{
    if (LIKELY(id == s->prefix && s->chunks_used == 0)) {
        s->prefix++;
        return true;
    }
    return bench_ids_add_beyond(s, id);
}

/* Add from .. to - 1. */
void bench_ids_add_range(struct bench_ids *s, uint64_t from, uint64_t to);

bool bench_ids_has(const struct bench_ids *s, uint64_t id);
uint64_t bench_ids_count(const struct bench_ids *s);

/* How many ids are in both. */
uint64_t bench_ids_common(const struct bench_ids *a, const struct bench_ids *b);

/* The smallest id from *id on that is in both; false when there is none. */
bool bench_ids_next_common(const struct bench_ids *a, const struct bench_ids *b, uint64_t *id);

/* Add all of `from` to `into`. */
void bench_ids_merge(struct bench_ids *into, const struct bench_ids *from);

/* How many of 0 .. end - 1 are in neither of the two; the first of them goes to *first (may be
 * NULL), untouched when there are none. */
uint64_t bench_ids_missing(const struct bench_ids *a, const struct bench_ids *b, uint64_t end,
                           uint64_t *first);

#endif
