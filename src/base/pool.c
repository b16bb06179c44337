#include "base/pool.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

#define SLAB_BYTES ((size_t)16 * 1024)

struct pool_slab {
    struct pool_slab *next;
    _Alignas(max_align_t) uint8_t objects[];
};

void pool_init(struct pool *p, size_t object_bytes, size_t objects_max)
{
    CHECK(object_bytes > 0 && objects_max > 0);
    size_t align = _Alignof(max_align_t);
    *p = (struct pool){ .object_bytes = (object_bytes + align - 1) / align * align,
                        .objects_max = objects_max };
}

void pool_fini(struct pool *p)
{
    CHECK(p->objects_used == 0);
    while (p->slabs != NULL) {
        struct pool_slab *s = p->slabs;
        p->slabs = s->next;
        mem_free(s);
    }
    p->free_list = NULL;
    p->fresh_count = 0;
}

static void add_slab(struct pool *p)
{
    size_t count = SLAB_BYTES / p->object_bytes;
    if (count == 0)
        count = 1;
    struct pool_slab *s = mem_alloc(sizeof *s + count * p->object_bytes);
    s->next = p->slabs;
    p->slabs = s;
    p->fresh = s->objects;
    p->fresh_count = count;
}

void *pool_get(struct pool *p)
{
    if (UNLIKELY(p->objects_used == p->objects_max))
        return NULL;
    void *object = p->free_list;
    if (object != NULL) {
        memcpy(&p->free_list, object, sizeof p->free_list);
    } else {
        if (p->fresh_count == 0)
            add_slab(p);
        object = p->fresh;
        p->fresh += p->object_bytes;
        p->fresh_count--;
    }
    p->objects_used++;
    return memset(object, 0, p->object_bytes);
}

void pool_put(struct pool *p, void *object)
{
    CHECK(object != NULL && p->objects_used > 0);
    memcpy(object, &p->free_list, sizeof p->free_list);
    p->free_list = object;
    p->objects_used--;
}
