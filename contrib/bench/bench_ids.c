#include "bench_ids.h"

#define CHUNK_IDS   (UINT64_C(1) << BENCH_IDS_CHUNK_BITS)
#define CHUNK_BYTES (BENCH_IDS_CHUNK_WORDS * sizeof(uint64_t))

void bench_ids_init(struct bench_ids *s, struct mem_budget *budget)
{
    *s = (struct bench_ids){ .budget = budget };
}

static void drop_chunk(struct bench_ids *s, size_t index)
{
    if (s->chunks[index] == NULL)
        return;
    mem_free(s->chunks[index]);
    s->chunks[index] = NULL;
    s->chunks_used--;
    mem_budget_give(s->budget, CHUNK_BYTES);
}

void bench_ids_fini(struct bench_ids *s)
{
    for (size_t i = 0; i < s->chunks_cap; i++)
        drop_chunk(s, i);
    if (s->chunks_cap != 0)
        mem_budget_give(s->budget, s->chunks_cap * sizeof *s->chunks);
    mem_free(s->chunks);
    *s = (struct bench_ids){ 0 };
}

/* Make the table long enough for `index`; false when the budget refuses. */
static bool table_reaches(struct bench_ids *s, size_t index)
{
    if (index < s->chunks_cap)
        return true;
    size_t cap = s->chunks_cap != 0 ? s->chunks_cap : 16;
    while (cap <= index)
        cap *= 2;
    if (!mem_budget_take(s->budget, (cap - s->chunks_cap) * sizeof *s->chunks))
        return false;
    s->chunks = mem_realloc(s->chunks, cap * sizeof *s->chunks);
    for (size_t i = s->chunks_cap; i < cap; i++)
        s->chunks[i] = NULL;
    s->chunks_cap = cap;
    return true;
}

/* The chunk at `index`, made when it is not there; NULL when the budget refuses. */
static uint64_t *chunk_for(struct bench_ids *s, size_t index)
{
    if (!table_reaches(s, index))
        return NULL;
    if (s->chunks[index] == NULL) {
        if (!mem_budget_take(s->budget, CHUNK_BYTES))
            return NULL;
        s->chunks[index] = mem_zalloc(CHUNK_BYTES);
        s->chunks_used++;
    }
    return s->chunks[index];
}

/* The 64 ids from `word` * 64 on, as bits. */
static uint64_t word_at(const struct bench_ids *s, uint64_t word)
{
    uint64_t first = word * 64;
    uint64_t bits = 0;
    size_t index = (size_t)(first >> BENCH_IDS_CHUNK_BITS);
    if (index < s->chunks_cap && s->chunks[index] != NULL)
        bits = s->chunks[index][word % BENCH_IDS_CHUNK_WORDS];
    if (s->prefix >= first + 64)
        return UINT64_MAX;
    if (s->prefix > first)
        bits |= (UINT64_C(1) << (s->prefix - first)) - 1;
    return bits;
}

/* Where the set ends at the latest. */
static uint64_t end_of(const struct bench_ids *s)
{
    uint64_t end = (uint64_t)s->chunks_cap * CHUNK_IDS;
    return s->chunks_used != 0 && end > s->prefix ? end : s->prefix;
}

/* Let the prefix swallow what follows it without a gap, and free what it has passed. */
static void absorb(struct bench_ids *s, uint64_t passed_from)
{
    while (s->chunks_used != 0) {
        uint64_t gaps = ~word_at(s, s->prefix / 64);
        if (gaps != 0) {
            s->prefix = s->prefix / 64 * 64 + (uint64_t)__builtin_ctzll(gaps);
            break;
        }
        s->prefix = (s->prefix / 64 + 1) * 64;
        if (s->prefix % CHUNK_IDS == 0 && s->prefix / CHUNK_IDS - 1 < s->chunks_cap)
            drop_chunk(s, (size_t)(s->prefix / CHUNK_IDS - 1));
    }
    for (uint64_t i = passed_from / CHUNK_IDS; i < s->prefix / CHUNK_IDS && i < s->chunks_cap; i++)
        drop_chunk(s, (size_t)i);
}

bool bench_ids_add_beyond(struct bench_ids *s, uint64_t id)
{
    if (id < s->prefix)
        return false;
    if (id == s->prefix) {
        s->prefix++;
        absorb(s, id);
        return true;
    }
    uint64_t *chunk = chunk_for(s, (size_t)(id >> BENCH_IDS_CHUNK_BITS));
    if (chunk == NULL) {
        s->overfull = true;
        return true;
    }
    uint64_t *word = &chunk[(id / 64) % BENCH_IDS_CHUNK_WORDS];
    uint64_t bit = UINT64_C(1) << (id % 64);
    bool is_new = (*word & bit) == 0;
    *word |= bit;
    return is_new;
}

void bench_ids_add_range(struct bench_ids *s, uint64_t from, uint64_t to)
{
    if (from >= to)
        return;
    if (from > s->prefix) {
        for (uint64_t id = from; id < to; id++)
            (void)bench_ids_add(s, id);
        return;
    }
    if (to > s->prefix) {
        uint64_t old = s->prefix;
        s->prefix = to;
        absorb(s, old);
    }
}

bool bench_ids_has(const struct bench_ids *s, uint64_t id)
{
    return (word_at(s, id / 64) >> (id % 64) & 1) != 0;
}

uint64_t bench_ids_count(const struct bench_ids *s)
{
    uint64_t count = s->prefix / 64 * 64;
    for (uint64_t w = s->prefix / 64; w * 64 < end_of(s); w++)
        count += (uint64_t)__builtin_popcountll(word_at(s, w));
    return count;
}

uint64_t bench_ids_common(const struct bench_ids *a, const struct bench_ids *b)
{
    uint64_t end = end_of(a) < end_of(b) ? end_of(a) : end_of(b);
    uint64_t start = (a->prefix < b->prefix ? a->prefix : b->prefix) / 64;
    uint64_t count = start * 64;
    for (uint64_t w = start; w * 64 < end; w++)
        count += (uint64_t)__builtin_popcountll(word_at(a, w) & word_at(b, w));
    return count;
}

bool bench_ids_next_common(const struct bench_ids *a, const struct bench_ids *b, uint64_t *id)
{
    uint64_t end = end_of(a) < end_of(b) ? end_of(a) : end_of(b);
    uint64_t mask = UINT64_MAX << (*id % 64);
    for (uint64_t w = *id / 64; w * 64 < end; w++, mask = UINT64_MAX) {
        uint64_t bits = word_at(a, w) & word_at(b, w) & mask;
        if (bits != 0) {
            *id = w * 64 + (uint64_t)__builtin_ctzll(bits);
            return true;
        }
    }
    return false;
}

void bench_ids_merge(struct bench_ids *into, const struct bench_ids *from)
{
    bench_ids_add_range(into, 0, from->prefix);
    for (uint64_t w = from->prefix / 64; w * 64 < end_of(from); w++) {
        uint64_t bits = word_at(from, w) & ~word_at(into, w);
        for (; bits != 0; bits &= bits - 1)
            (void)bench_ids_add(into, w * 64 + (uint64_t)__builtin_ctzll(bits));
    }
    into->overfull |= from->overfull;
}

uint64_t bench_ids_missing(const struct bench_ids *a, const struct bench_ids *b, uint64_t end,
                           uint64_t *first)
{
    uint64_t count = 0;
    uint64_t start = (a->prefix > b->prefix ? a->prefix : b->prefix) / 64;
    for (uint64_t w = start; w * 64 < end; w++) {
        uint64_t gaps = ~(word_at(a, w) | word_at(b, w));
        if (end - w * 64 < 64)
            gaps &= (UINT64_C(1) << (end - w * 64)) - 1;
        if (gaps != 0 && count == 0 && first != NULL)
            *first = w * 64 + (uint64_t)__builtin_ctzll(gaps);
        count += (uint64_t)__builtin_popcountll(gaps);
    }
    return count;
}
