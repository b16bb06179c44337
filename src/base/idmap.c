#include "base/idmap.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#define FIRST_CAP 8

void idmap_init(struct idmap *m)
{
    *m = (struct idmap){ 0 };
}

void idmap_fini(struct idmap *m)
{
    mem_free(m->slots);
    idmap_init(m);
}

/* The slot of the id, or the free one where it belongs. */
static struct idmap_slot *find(const struct idmap *m, uint64_t id)
{
    size_t i = hash_u64(id) & (m->cap - 1);
    while (m->slots[i].value != NULL && m->slots[i].id != id)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

void *idmap_get(const struct idmap *m, uint64_t id)
{
    return m->cap != 0 ? find(m, id)->value : NULL;
}

static void resize(struct idmap *m, size_t cap)
{
    struct idmap was = *m;
    m->cap = cap;
    m->slots = mem_array(cap, sizeof *m->slots);
    for (size_t i = 0; i < was.cap; i++) {
        if (was.slots[i].value != NULL)
            *find(m, was.slots[i].id) = was.slots[i];
    }
    mem_free(was.slots);
}

void idmap_put(struct idmap *m, uint64_t id, void *value)
{
    CHECK(value != NULL);
    if ((m->count + 1) * 4 > m->cap * 3)
        resize(m, m->cap != 0 ? m->cap * 2 : FIRST_CAP);
    struct idmap_slot *s = find(m, id);
    CHECK(s->value == NULL);
    *s = (struct idmap_slot){ id, value };
    m->count++;
}

/* Close the gap: pull back each follower that would not be found across it. */
static void close_gap(struct idmap *m, size_t gap)
{
    size_t mask = m->cap - 1;
    for (size_t i = (gap + 1) & mask; m->slots[i].value != NULL; i = (i + 1) & mask) {
        size_t home = hash_u64(m->slots[i].id) & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            m->slots[gap] = m->slots[i];
            gap = i;
        }
    }
    m->slots[gap].value = NULL;
}

void *idmap_take(struct idmap *m, uint64_t id)
{
    struct idmap_slot *s = m->cap != 0 ? find(m, id) : NULL;
    if (s == NULL || s->value == NULL)
        return NULL;
    void *value = s->value;
    close_gap(m, (size_t)(s - m->slots));
    m->count--;
    if (m->count == 0)
        idmap_fini(m);
    else if (m->cap > FIRST_CAP && m->count * 8 < m->cap)
        resize(m, m->cap / 2);
    return value;
}

void *idmap_next(const struct idmap *m, size_t *at)
{
    while (*at < m->cap) {
        void *value = m->slots[(*at)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}

void *idmap_first(const struct idmap *m)
{
    size_t at = 0;
    return idmap_next(m, &at);
}
