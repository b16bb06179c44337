#include "bench_window.h"

#include "base/check.h"
#include "base/mem.h"

void bench_window_init(struct bench_window *w, uint32_t limit)
{
    CHECK(limit != 0);
    uint32_t cap = 1;
    while (cap < limit)
        cap *= 2;
    *w = (struct bench_window){ .mask = cap - 1, .limit = limit, .first_tag = 1, .next_tag = 1 };
    w->entries = mem_array(cap, sizeof *w->entries);
}

void bench_window_fini(struct bench_window *w)
{
    mem_free(w->entries);
    w->entries = NULL;
}

/* Skip what is settled at the front. */
static void advance(struct bench_window *w)
{
    while (w->first_tag < w->next_tag && w->entries[w->first_tag & w->mask].settled)
        w->first_tag++;
}

static void settle_one(struct bench_window *w, uint64_t tag, bool acked, bench_window_fn fn,
                       void *arg)
{
    struct bench_window_entry *e = &w->entries[tag & w->mask];
    if (e->settled)
        return;
    e->settled = true;
    w->open--;
    fn(arg, e, acked);
}

bool bench_window_settle(struct bench_window *w, uint64_t tag, bool multiple, bool acked,
                         bench_window_fn fn, void *arg)
{
    if (multiple && tag == 0)
        tag = w->next_tag - 1;
    if (tag >= w->next_tag)
        return false;
    if (tag < w->first_tag)
        return multiple; /* nothing is left below it */
    if (!multiple && w->entries[tag & w->mask].settled)
        return false;
    for (uint64_t t = multiple ? w->first_tag : tag; t <= tag; t++)
        settle_one(w, t, acked, fn, arg);
    advance(w);
    return true;
}

uint32_t bench_window_reset(struct bench_window *w, struct bench_window_entry *out)
{
    uint32_t count = 0;
    for (uint64_t t = w->first_tag; t < w->next_tag; t++)
        if (!w->entries[t & w->mask].settled)
            out[count++] = w->entries[t & w->mask];
    w->first_tag = 1;
    w->next_tag = 1;
    w->open = 0;
    return count;
}
