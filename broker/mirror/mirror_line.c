#include "mirror/mirror_line.h"

#include "base/check.h"
#include "base/mem.h"

#define FIRST_CAP 16u
#define KEPT_CAP  4096u /* room for more is given back when nothing waits */

void mirror_line_fini(struct mirror_line *l)
{
    mem_free(l->items);
    *l = (struct mirror_line){ 0 };
}

static struct mirror_line_item *item(const struct mirror_line *l, size_t index)
{
    return &l->items[(l->head + index) & (l->cap - 1)];
}

static void grow(struct mirror_line *l)
{
    size_t cap = l->cap != 0 ? l->cap * 2 : FIRST_CAP;
    struct mirror_line_item *items = mem_array(cap, sizeof *items);
    for (size_t i = 0; i < l->count; i++)
        items[i] = *item(l, i);
    mem_free(l->items);
    l->items = items;
    l->cap = cap;
    l->head = 0;
}

void mirror_line_add(struct mirror_line *l, uint64_t pos, uint64_t lsn)
{
    CHECK(pos >= l->seen);
    l->seen = pos;
    if (lsn == 0)
        return;
    if (l->count == l->cap)
        grow(l);
    *item(l, l->count++) = (struct mirror_line_item){ pos, lsn };
}

static void drop_first(struct mirror_line *l)
{
    l->done = item(l, 0)->pos;
    l->head = (l->head + 1) & (l->cap - 1);
    if (--l->count != 0 || l->cap <= KEPT_CAP)
        return;
    mem_free(l->items);
    l->items = NULL;
    l->cap = l->head = 0;
}

void mirror_line_set(struct mirror_line *l, uint64_t pos, uint64_t lsn)
{
    size_t from = 0, to = l->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (item(l, middle)->pos < pos)
            from = middle + 1;
        else
            to = middle;
    }
    for (; from < l->count && item(l, from)->pos == pos; from++)
        if (item(l, from)->lsn == MIRROR_LSN_LATER)
            item(l, from)->lsn = lsn;
}

uint64_t mirror_line_durable(struct mirror_line *l, uint64_t lsn)
{
    while (l->count != 0 && item(l, 0)->lsn <= lsn)
        drop_first(l);
    return mirror_line_mark(l);
}

uint64_t mirror_line_mark(const struct mirror_line *l)
{
    return l->count != 0 ? item(l, 0)->pos - 1 : l->seen;
}

uint64_t mirror_line_reached(const struct mirror_line *l)
{
    return l->count != 0 ? l->done : l->seen;
}
