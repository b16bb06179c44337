#include "bench_progress.h"

#include "base/mem.h"

void bench_progress_init(struct bench_progress *p, const struct bench_plan *plan)
{
    p->plan = plan;
    p->begun = mem_array((size_t)plan->options->publishers + 1, sizeof *p->begun);
    p->confirmed = mem_array((size_t)plan->flows + 1, sizeof *p->confirmed);
    for (uint32_t i = 0; i < plan->options->publishers; i++)
        atomic_init(&p->begun[i], 0);
    for (uint32_t i = 0; i < plan->flows; i++)
        atomic_init(&p->confirmed[i], 0);
}

void bench_progress_fini(struct bench_progress *p)
{
    mem_free(p->begun);
    mem_free(p->confirmed);
}
