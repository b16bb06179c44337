#include "stats/hist.h"

#include "base/check.h"

_Static_assert(HIST_STEPS * sizeof(uint64_t) * (HIST_BITS - HIST_STEP_BITS + 1) < 16384,
               "a histogram of one thread stays under 16 kB");

static uint64_t load(const atomic_uint_least64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

uint64_t hist_bucket_last(size_t bucket)
{
    CHECK(bucket < HIST_BUCKETS);
    if (bucket < 2 * HIST_STEPS)
        return bucket;
    unsigned shift = (unsigned)(bucket / HIST_STEPS) - 1;
    uint64_t step = HIST_STEPS + bucket % HIST_STEPS;
    return ((step + 1) << shift) - 1;
}

void hist_clear(struct hist *h)
{
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        atomic_store_explicit(&h->counts[i], 0, memory_order_relaxed);
    atomic_store_explicit(&h->sum, 0, memory_order_relaxed);
    atomic_store_explicit(&h->max, 0, memory_order_relaxed);
}

void hist_merge(struct hist *into, const struct hist *from)
{
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        uint64_t n = load(&from->counts[i]);
        if (n != 0)
            hist_add_to(&into->counts[i], n);
    }
    hist_add_to(&into->sum, load(&from->sum));
    if (load(&from->max) > load(&into->max))
        atomic_store_explicit(&into->max, load(&from->max), memory_order_relaxed);
}

uint64_t hist_count(const struct hist *h)
{
    uint64_t count = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        count += load(&h->counts[i]);
    return count;
}

uint64_t hist_sum(const struct hist *h)
{
    return load(&h->sum);
}

uint64_t hist_max(const struct hist *h)
{
    return load(&h->max);
}

uint64_t hist_count_to(const struct hist *h, uint64_t value)
{
    uint64_t count = 0;
    for (size_t i = 0; i < HIST_BUCKETS && hist_bucket_last(i) <= value; i++)
        count += load(&h->counts[i]);
    return count;
}

uint64_t hist_percentile(const struct hist *h, double share)
{
    CHECK(share >= 0 && share <= 1);
    uint64_t count = hist_count(h);
    uint64_t max = hist_max(h);
    /* The rank of the value asked for, 1 to count. A product that is a hair above a whole number
     * only because a double cannot say 0.99 must not ask for the next value. */
    double exact = share * (double)count;
    uint64_t rank = (uint64_t)exact;
    if (exact - (double)rank > 1e-9 * exact || rank == 0)
        rank++;
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += load(&h->counts[i]);
        if (seen >= rank && seen != 0)
            return hist_bucket_last(i) < max && rank < count ? hist_bucket_last(i) : max;
    }
    return max;
}
