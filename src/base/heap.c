#include "base/heap.h"

#include "base/check.h"
#include "base/mem.h"

void heap_init(struct heap *h)
{
    *h = (struct heap){ 0 };
}

void heap_fini(struct heap *h)
{
    mem_free(h->items);
    heap_init(h);
}

void heap_push(struct heap *h, uint64_t key, uint64_t value)
{
    if (h->count == h->cap) {
        h->cap = h->cap != 0 ? h->cap * 2 : 8;
        h->items = mem_realloc(h->items, h->cap * sizeof *h->items);
    }
    size_t i = h->count++;
    while (i > 0 && h->items[(i - 1) / 2].key > key) {
        h->items[i] = h->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->items[i] = (struct heap_item){ key, value };
}

const struct heap_item *heap_min(const struct heap *h)
{
    return h->count != 0 ? &h->items[0] : NULL;
}

struct heap_item heap_pop(struct heap *h)
{
    CHECK(h->count > 0);
    struct heap_item least = h->items[0];
    struct heap_item last = h->items[--h->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->items[child + 1].key < h->items[child].key)
            child++;
        if (h->items[child].key >= last.key)
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    if (h->count != 0)
        h->items[i] = last;
    else
        heap_fini(h); /* an emptied heap holds no memory: most queues have one */
    return least;
}
