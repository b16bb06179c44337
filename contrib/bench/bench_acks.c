#include "bench_acks.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

#define FIRST_CAP 256u

void bench_acks_init(struct bench_acks *a, uint64_t ripe_ms)
{
    *a = (struct bench_acks){ .ripe_ms = ripe_ms };
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

void bench_acks_took(struct bench_acks *a, uint32_t flow, uint64_t sequence)
{
    if (a->end - a->first == a->cap)
        grow(a);
    *at(a, a->end++) = (struct bench_acks_entry){ .sequence = sequence, .flow = flow };
}

void bench_acks_sent(struct bench_acks *a, uint64_t now_ms)
{
    for (; a->acked < a->end; a->acked++)
        at(a, a->acked)->sent_ms = (uint32_t)now_ms;
}

bool bench_acks_ripe(struct bench_acks *a, uint64_t now_ms, uint32_t *flow, uint64_t *sequence)
{
    if (a->first == a->acked)
        return false;
    const struct bench_acks_entry *e = at(a, a->first);
    if ((uint32_t)now_ms - e->sent_ms < a->ripe_ms)
        return false;
    *flow = e->flow;
    *sequence = e->sequence;
    a->first++;
    return true;
}

void bench_acks_drop(struct bench_acks *a)
{
    a->first = a->acked = a->end;
}
