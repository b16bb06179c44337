#include "bench_acks.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

#define FIRST_CAP 256u

void bench_acks_init(struct bench_acks *a, const struct bench_progress *progress, uint32_t prefetch)
{
    *a = (struct bench_acks){ .progress = progress, .prefetch = prefetch };
}

void bench_acks_fini(struct bench_acks *a)
{
    mem_free(a->entries);
    a->entries = NULL;
    a->cap = 0;
}

static struct bench_acks_entry *at(const struct bench_acks *a, size_t index)
{
    return &a->entries[index & (a->cap - 1)];
}

static void grow(struct bench_acks *a)
{
    struct bench_acks grown = *a;
    grown.cap = a->cap != 0 ? 2 * a->cap : FIRST_CAP;
    grown.entries = mem_array(grown.cap, sizeof *grown.entries);
    for (size_t i = a->first; i < a->end; i++)
        *at(&grown, i) = *at(a, i);
    mem_free(a->entries);
    *a = grown;
}

static size_t at_least(size_t index, size_t least)
{
    return index > least ? index : least;
}

static void forget_first(struct bench_acks *a)
{
    a->first++;
    a->seen = at_least(a->seen, a->first);
    a->taken = at_least(a->taken, a->first);
    a->acked = at_least(a->acked, a->first);
}

/* At most `prefetch` deliveries are unacknowledged when one comes, itself among them. */
static void note_taken(struct bench_acks *a, uint64_t tag)
{
    while (a->taken != a->acked && at(a, a->taken)->tag + a->prefetch <= tag) {
        struct bench_acks_entry *e = at(a, a->taken++);
        e->after = bench_progress_now(a->progress, e->flow);
    }
}

void bench_acks_took(struct bench_acks *a, uint32_t flow, uint64_t sequence, uint64_t tag)
{
    note_taken(a, tag);
    if (a->end - a->first == BENCH_ACKS_MAX)
        forget_first(a);
    if (a->end - a->first == a->cap)
        grow(a);
    *at(a, a->end++) = (struct bench_acks_entry){ .sequence = sequence, .tag = tag, .flow = flow };
}

void bench_acks_sent(struct bench_acks *a)
{
    a->acked = a->end;
}

static bool is_past(const struct bench_acks *a, const struct bench_acks_entry *e)
{
    return bench_progress_is_past(a->progress, e->flow, e->after);
}

bool bench_acks_kept(struct bench_acks *a, uint32_t *flow, uint64_t *sequence)
{
    for (; a->seen != a->taken && is_past(a, at(a, a->seen)); a->seen++) {
        struct bench_acks_entry *e = at(a, a->seen);
        e->after = bench_progress_now(a->progress, e->flow);
    }
    if (a->first == a->seen || !is_past(a, at(a, a->first)))
        return false;
    const struct bench_acks_entry *e = at(a, a->first);
    *flow = e->flow;
    *sequence = e->sequence;
    forget_first(a);
    return true;
}

void bench_acks_drop(struct bench_acks *a)
{
    a->first = a->seen = a->taken = a->acked = a->end;
}
