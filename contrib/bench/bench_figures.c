#include "bench_figures.h"

static void keep_larger(uint64_t *into, uint64_t from)
{
    if (from > *into)
        *into = from;
}

void bench_figures_add(struct bench_figures *into, const struct bench_figures *from)
{
    into->published += from->published;
    into->published_bytes += from->published_bytes;
    into->expected += from->expected;
    into->resent += from->resent;
    into->confirmed += from->confirmed;
    into->nacked += from->nacked;
    into->returned += from->returned;
    into->acks += from->acks;
    into->reconnects += from->reconnects;
    into->blocked += from->blocked;
    into->cpu_us += from->cpu_us;
    bench_counts_add(&into->deliveries, &from->deliveries);
    keep_larger(&into->last_delivery_us, from->last_delivery_us);
    keep_larger(&into->last_confirm_us, from->last_confirm_us);
    keep_larger(&into->delivery_gap_us, from->delivery_gap_us);
    keep_larger(&into->confirm_gap_us, from->confirm_gap_us);
    for (unsigned i = 0; i < BENCH_TIMINGS; i++)
        hist_merge(&into->timings[i], &from->timings[i]);
}
