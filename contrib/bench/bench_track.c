#include "bench_track.h"

#include "base/check.h"

void bench_counts_add(struct bench_counts *into, const struct bench_counts *from)
{
    into->received += from->received;
    into->unique += from->unique;
    into->duplicated += from->duplicated;
    into->duplicated_redelivered += from->duplicated_redelivered;
    into->duplicated_resent += from->duplicated_resent;
    into->acked_again += from->acked_again;
    into->redelivered += from->redelivered;
    into->reordered += from->reordered;
    into->misrouted += from->misrouted;
    into->foreign += from->foreign;
    into->corrupt += from->corrupt;
    into->body_bytes += from->body_bytes;
}

static struct bench_ids *sets_new(size_t count, struct mem_budget *budget)
{
    struct bench_ids *sets = mem_array(count, sizeof *sets);
    for (size_t i = 0; i < count; i++)
        bench_ids_init(&sets[i], budget);
    return sets;
}

static void sets_free(struct bench_ids *sets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bench_ids_fini(&sets[i]);
    mem_free(sets);
}

void bench_track_init(struct bench_track *t, uint32_t queues, uint32_t flows,
                      struct mem_budget *budget)
{
    size_t count = (size_t)queues * flows;
    *t = (struct bench_track){ .queues = queues, .flows = flows };
    t->seen = sets_new(count, budget);
    t->resent = sets_new(count, budget);
    t->redelivered = sets_new(count, budget);
    t->settled = sets_new(count, budget);
}

void bench_track_fini(struct bench_track *t)
{
    size_t count = (size_t)t->queues * t->flows;
    sets_free(t->seen, count);
    sets_free(t->resent, count);
    sets_free(t->redelivered, count);
    sets_free(t->settled, count);
    *t = (struct bench_track){ 0 };
}

void bench_order_init(struct bench_order *o, uint32_t flows)
{
    o->next = mem_array(flows, sizeof *o->next);
}

void bench_order_fini(struct bench_order *o)
{
    mem_free(o->next);
    o->next = NULL;
}

static void count_again(struct bench_counts *c, bool redelivered, bool resent)
{
    if (redelivered)
        c->duplicated_redelivered++;
    else if (resent)
        c->duplicated_resent++;
    else
        c->duplicated++;
}

void bench_track_see(struct bench_track *t, struct bench_order *o, const struct bench_sight *s)
{
    CHECK(s->queue < t->queues && s->flow < t->flows);
    size_t pair = (size_t)s->queue * t->flows + s->flow;

    t->counts.received++;
    t->counts.redelivered += s->redelivered;
    if (UNLIKELY(s->redelivered))
        (void)bench_ids_add(&t->redelivered[pair], s->sequence);
    if (UNLIKELY(s->resent))
        (void)bench_ids_add(&t->resent[pair], s->sequence);
    if (UNLIKELY(!bench_ids_add(&t->seen[pair], s->sequence))) {
        /* The copy that was resent may have overtaken the first one. */
        bool resent = bench_ids_has(&t->resent[pair], s->sequence);
        count_again(&t->counts, s->redelivered, resent);
        t->counts.acked_again += !resent && bench_ids_has(&t->settled[pair], s->sequence);
        return;
    }
    t->counts.unique++;
    if (LIKELY(s->sequence >= o->next[s->flow]))
        o->next[s->flow] = s->sequence + 1;
    else if (!s->redelivered && !s->resent)
        t->counts.reordered++;
}

void bench_track_settle(struct bench_track *t, uint32_t queue, uint32_t flow, uint64_t sequence)
{
    CHECK(queue < t->queues && flow < t->flows);
    (void)bench_ids_add(&t->settled[(size_t)queue * t->flows + flow], sequence);
}

/* What both have seen. Which copy came second is unknown, so a mark on either excuses it. */
static void count_common(struct bench_track *into, const struct bench_track *from, size_t pair)
{
    const struct bench_ids *a = &into->seen[pair];
    const struct bench_ids *b = &from->seen[pair];
    if (bench_ids_common(a, b) == 0)
        return;
    for (uint64_t id = 0; bench_ids_next_common(a, b, &id); id++) {
        into->counts.unique--;
        count_again(&into->counts,
                    bench_ids_has(&into->redelivered[pair], id) ||
                        bench_ids_has(&from->redelivered[pair], id),
                    bench_ids_has(&into->resent[pair], id) ||
                        bench_ids_has(&from->resent[pair], id));
    }
}

void bench_track_merge(struct bench_track *into, const struct bench_track *from)
{
    CHECK(into->queues == from->queues && into->flows == from->flows);
    bench_counts_add(&into->counts, &from->counts);
    for (size_t i = 0; i < (size_t)into->queues * into->flows; i++) {
        count_common(into, from, i);
        bench_ids_merge(&into->seen[i], &from->seen[i]);
        bench_ids_merge(&into->resent[i], &from->resent[i]);
        bench_ids_merge(&into->redelivered[i], &from->redelivered[i]);
        bench_ids_merge(&into->settled[i], &from->settled[i]);
    }
}

uint64_t bench_track_lost(const struct bench_track *t, uint32_t queue, uint32_t flow,
                          const struct bench_ids *excused, uint64_t end, uint64_t *first)
{
    CHECK(queue < t->queues && flow < t->flows);
    return bench_ids_missing(&t->seen[(size_t)queue * t->flows + flow], excused, end, first);
}

bool bench_track_overfull(const struct bench_track *t)
{
    for (size_t i = 0; i < (size_t)t->queues * t->flows; i++)
        if (t->seen[i].overfull || t->resent[i].overfull || t->redelivered[i].overfull ||
            t->settled[i].overfull)
            return true;
    return false;
}
