#include "bench_verdict.h"

static uint32_t flow_at(const struct bench_plan *plan, const struct bench_publisher *p, uint32_t f)
{
    return p->index * plan->publisher_flows + f;
}

/* What the worker's publishers rely on to be in a queue nobody consumes. */
static uint64_t relied_on(const struct bench_plan *plan, const struct bench_worker *w,
                          uint32_t queue)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < w->publishers_count; i++) {
        const struct bench_publisher *p = &w->publishers[i];
        for (uint32_t f = 0; f < plan->publisher_flows; f++)
            if (bench_plan_goes(plan, flow_at(plan, p, f), queue))
                all += bench_publisher_sent(p, f) - bench_ids_count(&p->excused[f]);
    }
    return all;
}

uint64_t bench_verdict_short(const struct bench_plan *plan, const struct bench_worker *workers,
                             unsigned count, const uint32_t *left)
{
    uint64_t all = 0;
    for (uint32_t q = 0; q < plan->options->queues; q++) {
        if (bench_plan_is_consumed(plan, q))
            continue;
        uint64_t want = 0;
        for (unsigned i = 0; i < count; i++)
            want += relied_on(plan, &workers[i], q);
        all += want > left[q] ? want - left[q] : 0;
    }
    return all;
}

static void judge_flow(const struct bench_plan *plan, const struct bench_track *track,
                       uint32_t queue, const struct bench_publisher *p, uint32_t f,
                       struct bench_result *out)
{
    struct bench_ids none = { 0 };
    uint32_t flow = flow_at(plan, p, f);
    uint64_t first = 0;
    uint64_t end = bench_publisher_sent(p, f);
    uint64_t lost = bench_track_lost(track, queue, flow, &p->excused[f], end, &first);
    if (lost != 0 && out->lost == 0) {
        out->lost_queue = queue;
        out->lost_flow = flow;
        out->lost_sequence = first;
    }
    out->lost += lost;
    out->missing_unpromised += bench_track_lost(track, queue, flow, &none, end, NULL) - lost;
}

static void judge_worker(const struct bench_plan *plan, const struct bench_track *track,
                         const struct bench_worker *w, struct bench_result *out)
{
    for (uint32_t i = 0; i < w->publishers_count; i++) {
        const struct bench_publisher *p = &w->publishers[i];
        for (uint32_t f = 0; f < plan->publisher_flows; f++)
            for (uint32_t q = 0; q < plan->options->queues; q++)
                if (bench_plan_is_consumed(plan, q) &&
                    bench_plan_goes(plan, flow_at(plan, p, f), q))
                    judge_flow(plan, track, q, p, f, out);
    }
}

/* NULL when no worker has consumers. */
static struct bench_track *merged_track(struct bench_worker *workers, unsigned count)
{
    struct bench_track *all = NULL;
    for (unsigned i = 0; i < count; i++) {
        struct bench_track *t = &workers[i].track;
        if (t->queues == 0)
            continue;
        if (all != NULL)
            bench_track_merge(all, t);
        else
            all = t;
    }
    return all;
}

void bench_verdict(const struct bench_plan *plan, struct bench_worker *workers, unsigned count,
                   const uint32_t *left, struct bench_result *out)
{
    for (unsigned i = 0; i < count; i++)
        bench_figures_add(&out->total, &workers[i].figures);
    struct bench_track *track = merged_track(workers, count);
    if (track != NULL) {
        out->total.deliveries = track->counts;
        out->inexact = bench_track_overfull(track);
        for (unsigned i = 0; i < count; i++)
            judge_worker(plan, track, &workers[i], out);
    }
    if (left == NULL) {
        for (uint32_t q = 0; q < plan->options->queues; q++)
            out->uncounted |= plan->options->publishers != 0 && !bench_plan_is_consumed(plan, q);
        return;
    }
    for (uint32_t q = 0; q < plan->options->queues; q++)
        out->left += left[q];
    out->lost += bench_verdict_short(plan, workers, count, left);
}

uint32_t bench_result_faults(const struct bench_result *r, const struct bench_options *o)
{
    uint32_t faults = 0;
    const struct bench_counts *c = &r->total.deliveries;
    if (r->lost != 0)
        faults |= BENCH_LOST;
    if (c->duplicated != 0)
        faults |= BENCH_DUPLICATED;
    if (c->reordered != 0)
        faults |= BENCH_REORDERED;
    if (c->acked_again != 0)
        faults |= BENCH_ACKED_AGAIN;
    faults &= ~o->tolerate;
    if (c->corrupt != 0 || c->misrouted != 0 || r->inexact || r->uncounted)
        faults |= BENCH_CORRUPT;
    return faults;
}
