#include "base/ring.h"

#include "base/check.h"
#include "base/mem.h"

void ring_init(struct ring *r, size_t count_max)
{
    CHECK(count_max > 0);
    *r = (struct ring){ .count_max = count_max };
}

void ring_fini(struct ring *r)
{
    mem_free(r->slots);
    *r = (struct ring){ 0 };
}

static void grow(struct ring *r)
{
    size_t cap = r->cap != 0 ? r->cap * 2 : 8;
    void **slots = mem_array(cap, sizeof *slots);
    for (size_t i = 0; i < r->count; i++)
        slots[i] = ring_at(r, i);
    mem_free(r->slots);
    r->slots = slots;
    r->cap = cap;
    r->head = 0;
}

bool ring_push(struct ring *r, void *item)
{
    CHECK(item != NULL);
    if (r->count == r->count_max)
        return false;
    if (r->count == r->cap)
        grow(r);
    r->slots[(r->head + r->count) & (r->cap - 1)] = item;
    r->count++;
    return true;
}

void *ring_pop(struct ring *r)
{
    if (r->count == 0)
        return NULL;
    void *item = r->slots[r->head];
    r->head = (r->head + 1) & (r->cap - 1);
    r->count--;
    return item;
}

void *ring_at(const struct ring *r, size_t index)
{
    CHECK(index < r->count);
    return r->slots[(r->head + index) & (r->cap - 1)];
}
