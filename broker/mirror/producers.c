#include "mirror/producers.h"

#include "base/mem.h"
#include "base/mutation.h"

#include <stdlib.h>
#include <string.h>

#define FORGOTTEN_AT_ONCE (PRODUCERS_MAX / 16u)

void producers_fini(struct producers *p)
{
    mem_free(p->items);
    *p = (struct producers){ 0 };
}

void producers_copy(struct producers *to, const struct producers *from)
{
    producers_fini(to);
    to->count = to->cap = from->count;
    to->clock = from->clock;
    if (from->count != 0)
        to->items = mem_dup(from->items, from->count * sizeof *from->items);
}

/* The first whose pid is not below this. */
static uint32_t lower(const struct producers *p, uint64_t pid)
{
    uint32_t from = 0, to = p->count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (p->items[middle].pid < pid)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

uint64_t producers_last(const struct producers *p, uint64_t pid)
{
    uint32_t at = lower(p, pid);
    return at < p->count && p->items[at].pid == pid ? p->items[at].seq : 0;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Many at once: to look for the eldest costs a walk. */
static void forget_eldest(struct producers *p)
{
    uint64_t *used = mem_array(p->count, sizeof *used);
    for (uint32_t i = 0; i < p->count; i++)
        used[i] = p->items[i].used;
    qsort(used, p->count, sizeof *used, by_number);
    uint64_t least = used[FORGOTTEN_AT_ONCE];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->count; i++)
        if (p->items[i].used >= least)
            p->items[kept++] = p->items[i];
    p->count = kept;
    mem_free(used);
}

void producers_saw(struct producers *p, uint64_t pid, uint64_t seq)
{
    uint32_t at = lower(p, pid);
    if (at < p->count && p->items[at].pid == pid) {
        p->items[at].used = ++p->clock;
        if (seq > p->items[at].seq)
            p->items[at].seq = seq;
        return;
    }
    if (p->count == PRODUCERS_MAX) {
        forget_eldest(p);
        at = lower(p, pid);
    }
    if (p->count == p->cap) {
        p->cap = p->cap != 0 ? p->cap * 2 : 2;
        p->items = mem_realloc(p->items, p->cap * sizeof *p->items);
    }
    memmove(p->items + at + 1, p->items + at, (p->count - at) * sizeof *p->items);
    p->items[at] = (struct producer){ .pid = pid, .seq = seq, .used = ++p->clock };
    p->count++;
}

void producers_forget(struct producers *p, uint64_t pid)
{
    uint32_t at = lower(p, pid);
    if (at == p->count || p->items[at].pid != pid)
        return;
    p->count--;
    memmove(p->items + at, p->items + at + 1, (p->count - at) * sizeof *p->items);
}

/* ---- paths -------------------------------------------------------------------------------------
 */

enum producer_verdict producer_path_take(struct producer_path *p, uint64_t path, uint64_t n)
{
    if (MUTATION(MIRROR_NO_PATHS))
        return PRODUCER_NEXT;
    if (path < p->path)
        return PRODUCER_LATE;
    if (path > p->path)
        *p = (struct producer_path){ .path = path };
    if (p->is_broken || n != p->n + 1) {
        p->is_broken = true;
        return PRODUCER_BROKEN;
    }
    p->n = n;
    return PRODUCER_NEXT;
}

void producer_path_break(struct producer_path *p)
{
    p->is_broken = true;
}
