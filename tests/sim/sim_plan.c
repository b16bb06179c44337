#include "sim_plan.h"

#include "base/attr.h"

static unsigned pick(struct rng *chance, const unsigned *of, size_t count)
{
    return of[rng_below(chance, count)];
}

void sim_plan_draw(struct sim_plan *p, struct rng *chance)
{
    static const unsigned weights[] = { 0, 1, 4, 16 };
    static const unsigned chances[] = { 0, 0, 100, 600 };
    for (int i = 0; i < ACTS; i++)
        p->weights[i] = pick(chance, weights, ARRAY_COUNT(weights));
    p->weights[ACT_PUBLISH] += 4;
    p->weights[ACT_RUN] += 4;
    p->weights[ACT_DELETE] /= 4;
    p->weights[ACT_PURGE] /= 4;
    p->weights[ACT_QUIET] /= 4;
    for (int i = 0; i < ACTS; i++)
        p->weight_sum += p->weights[i];
    p->shards = 1 + (uint32_t)rng_below(chance, 2);
    p->segment_bytes = 4096 * (40 + (uint32_t)rng_below(chance, 40));
    p->queue_count = 1 + (unsigned)rng_below(chance, SIM_QUEUES_MAX);
    p->body_max = pick(chance, (const unsigned[]){ 50, 2000, 20000 }, 3);
    p->lives = 2 + (unsigned)rng_below(chance, 4);
    p->steps = 50 + (unsigned)rng_below(chance, 500);
    p->interleave = pick(chance, chances, ARRAY_COUNT(chances));
    p->crash_per_mille = pick(chance, chances, ARRAY_COUNT(chances));
    p->fault_per_mille = pick(chance, chances, ARRAY_COUNT(chances));
    p->start_crash_per_mille = pick(chance, chances, ARRAY_COUNT(chances));
    p->large_per_mille =
        rng_chance(chance, 100) ? 200 : pick(chance, chances, ARRAY_COUNT(chances)) / 20;
    p->transient_per_mille = pick(chance, chances, ARRAY_COUNT(chances));
    p->ttl_per_mille = pick(chance, chances, ARRAY_COUNT(chances)) / 4;
    p->fence_per_mille = pick(chance, chances, ARRAY_COUNT(chances));
    p->spoil_per_mille = pick(chance, chances, ARRAY_COUNT(chances));
    p->grave_per_mille = p->queue_count > 1 && rng_chance(chance, 500) ? 600 : 0;
    p->limit_per_mille = pick(chance, chances, ARRAY_COUNT(chances)) / 2;
    p->settles_all_kinds = rng_chance(chance, 600);
    p->starves = rng_chance(chance, 400);
    p->sync = rng_chance(chance, 100) ? BROKER_SYNC_NONE : BROKER_SYNC_ALWAYS;
}
