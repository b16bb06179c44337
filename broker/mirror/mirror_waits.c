#include "mirror/mirror_waits.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SETS_KEPT 64u  /* empty ones go when there are more */
#define ONE_MAX   256u /* publishes in one: the first must not wait long for the last */

struct mirror_set {
    struct mirror_confirm *items; /* from `head` on, by rising position */
    size_t head;
    size_t count;
    size_t cap;
    unsigned mark_count;
    uint32_t marks[]; /* in order */
};

static void free_set(struct mirror_set *s)
{
    mem_free(s->items);
    mem_free(s);
}

void mirror_waits_fini(struct mirror_waits *w)
{
    for (size_t i = 0; i < w->set_count; i++)
        free_set(w->sets[i]);
    mem_free(w->sets);
    mem_free(w->marks);
    *w = (struct mirror_waits){ 0 };
}

uint32_t mirror_mark_new(struct mirror_waits *w, void *owner, uint8_t kind, uint64_t value)
{
    uint32_t at = 0;
    while (at < w->mark_count && w->marks[at].is_used)
        at++;
    if (at == w->mark_count)
        w->marks = mem_realloc(w->marks, ++w->mark_count * sizeof *w->marks);
    w->marks[at] =
        (struct mirror_mark){ .value = value, .owner = owner, .kind = kind, .is_used = true };
    return at;
}

static void drop_set(struct mirror_waits *w, size_t at)
{
    if (w->last == w->sets[at])
        w->last = NULL;
    free_set(w->sets[at]);
    w->sets[at] = w->sets[--w->set_count];
}

/* Its number may be given again: no set may remember it. */
void mirror_mark_free(struct mirror_waits *w, uint32_t mark)
{
    for (size_t i = w->set_count; i-- != 0;) {
        const struct mirror_set *s = w->sets[i];
        for (unsigned k = 0; k < s->mark_count; k++) {
            if (s->marks[k] != mark)
                continue;
            CHECK(s->count == 0);
            drop_set(w, i);
            break;
        }
    }
    w->marks[mark].is_used = false;
}

/* ---- sets --------------------------------------------------------------------------------------
 */

static bool is_set(const struct mirror_set *s, const uint32_t *marks, unsigned count)
{
    return s->mark_count == count && memcmp(s->marks, marks, count * sizeof *marks) == 0;
}

static void drop_empty_sets(struct mirror_waits *w)
{
    for (size_t i = w->set_count; i-- != 0;)
        if (w->sets[i]->count == 0)
            drop_set(w, i);
}

/* Marks are in order. */
static struct mirror_set *set_of(struct mirror_waits *w, const uint32_t *marks, unsigned count)
{
    if (w->last != NULL && is_set(w->last, marks, count))
        return w->last;
    for (size_t i = 0; i < w->set_count; i++)
        if (is_set(w->sets[i], marks, count))
            return w->last = w->sets[i];
    if (w->set_count == w->set_cap) {
        w->set_cap = w->set_cap != 0 ? w->set_cap * 2 : 4;
        w->sets = mem_realloc(w->sets, w->set_cap * sizeof *w->sets);
    }
    struct mirror_set *s = mem_zalloc(sizeof *s + count * sizeof *marks);
    s->mark_count = count;
    memcpy(s->marks, marks, count * sizeof *marks);
    w->sets[w->set_count++] = s;
    return w->last = s;
}

static void put_in_order(uint32_t *marks, unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        uint32_t mark = marks[i];
        unsigned at = i;
        for (; at != 0 && marks[at - 1] > mark; at--)
            marks[at] = marks[at - 1];
        marks[at] = mark;
    }
}

static void make_room(struct mirror_set *s)
{
    if (s->head + s->count < s->cap)
        return;
    if (s->head > s->cap / 2) {
        memmove(s->items, s->items + s->head, s->count * sizeof *s->items);
    } else {
        s->cap = s->cap != 0 ? s->cap * 2 : 8;
        struct mirror_confirm *items = mem_array(s->cap, sizeof *items);
        if (s->count != 0)
            memcpy(items, s->items + s->head, s->count * sizeof *items);
        mem_free(s->items);
        s->items = items;
    }
    s->head = 0;
}

static bool joins(const struct mirror_confirm *last, const struct mirror_confirm *c)
{
    return last->turn == c->turn && last->count < ONE_MAX && last->qid == c->qid &&
           last->role == c->role && last->to.a == c->to.a && last->to.b == c->to.b &&
           last->first + last->count == c->first;
}

void mirror_waits_add(struct mirror_waits *w, const uint32_t *marks, unsigned count,
                      const struct mirror_confirm *c)
{
    uint32_t ordered[MIRROR_SET_MAX];
    CHECK(count <= MIRROR_SET_MAX);
    memcpy(ordered, marks, count * sizeof *marks);
    put_in_order(ordered, count);
    if (w->set_count >= SETS_KEPT)
        drop_empty_sets(w);
    struct mirror_set *s = set_of(w, ordered, count);
    struct mirror_confirm one = *c;
    one.turn = w->turn;
    w->waiting += one.count;
    struct mirror_confirm *last = s->count != 0 ? &s->items[s->head + s->count - 1] : NULL;
    if (last != NULL && one.pos < last->pos)
        one.pos = last->pos; /* of something that came earlier: behind those that wait already */
    if (last != NULL && joins(last, &one)) {
        last->count += one.count;
        last->pos = one.pos;
        return;
    }
    make_room(s);
    s->items[s->head + s->count++] = one;
}

/* ---- due ---------------------------------------------------------------------------------------
 */

static uint64_t mark_of(const struct mirror_waits *w, const struct mirror_set *s)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < s->mark_count; i++)
        if (w->marks[s->marks[i]].value < least)
            least = w->marks[s->marks[i]].value;
    return least;
}

bool mirror_waits_due(struct mirror_waits *w, struct mirror_confirm *out)
{
    for (size_t i = 0; i < w->set_count; i++) {
        struct mirror_set *s = w->sets[i];
        if (s->count == 0 || s->items[s->head].pos > mark_of(w, s))
            continue;
        *out = s->items[s->head];
        s->head++;
        s->count--;
        w->waiting -= out->count;
        return true;
    }
    return false;
}

/* ---- others to wait for ------------------------------------------------------------------------
 */

struct moved {
    struct mirror_set *to;
    struct mirror_confirm confirm;
};

struct moving {
    struct moved *items;
    size_t count;
    size_t cap;
};

static void move_later(struct moving *m, struct mirror_set *to, const struct mirror_confirm *c)
{
    if (m->count == m->cap) {
        m->cap = m->cap != 0 ? m->cap * 2 : 16;
        m->items = mem_realloc(m->items, m->cap * sizeof *m->items);
    }
    m->items[m->count++] = (struct moved){ to, *c };
}

static void refit_set(struct mirror_waits *w, struct mirror_set *s, mirror_refit_fn fn, void *arg,
                      struct moving *moving)
{
    size_t kept = 0;
    struct mirror_confirm *items = s->items + s->head;
    for (size_t i = 0; i < s->count; i++) {
        uint32_t marks[MIRROR_SET_MAX];
        unsigned count = s->mark_count;
        memcpy(marks, s->marks, count * sizeof *marks);
        if (!fn(arg, &items[i], marks, &count)) {
            w->waiting -= items[i].count;
            continue;
        }
        put_in_order(marks, count);
        if (is_set(s, marks, count))
            items[kept++] = items[i];
        else
            move_later(moving, set_of(w, marks, count), &items[i]);
    }
    s->count = kept;
}

static int by_set_and_pos(const void *a, const void *b)
{
    const struct moved *x = a, *y = b;
    if (x->to != y->to)
        return (uintptr_t)x->to < (uintptr_t)y->to ? -1 : 1;
    return (x->confirm.pos > y->confirm.pos) - (x->confirm.pos < y->confirm.pos);
}

/* Both are in order; the set's own come first where positions are equal. */
static void merge_into(struct mirror_set *s, const struct moved *from, size_t count)
{
    size_t total = s->count + count;
    struct mirror_confirm *items = mem_array(total, sizeof *items);
    for (size_t i = 0, own = 0, other = 0; i < total; i++) {
        bool takes_own = own < s->count &&
                         (other == count || s->items[s->head + own].pos <= from[other].confirm.pos);
        items[i] = takes_own ? s->items[s->head + own++] : from[other++].confirm;
    }
    mem_free(s->items);
    s->items = items;
    s->head = 0;
    s->count = s->cap = total;
}

void mirror_waits_refit(struct mirror_waits *w, mirror_refit_fn fn, void *arg)
{
    struct moving moving = { 0 };
    if (w->waiting == 0)
        return;
    drop_empty_sets(w);
    size_t had = w->set_count; /* those that are made meanwhile are filled later */
    for (size_t i = 0; i < had; i++)
        refit_set(w, w->sets[i], fn, arg, &moving);
    if (moving.count != 0)
        qsort(moving.items, moving.count, sizeof *moving.items, by_set_and_pos);
    for (size_t i = 0, end; i < moving.count; i = end) {
        for (end = i + 1; end < moving.count && moving.items[end].to == moving.items[i].to;)
            end++;
        merge_into(moving.items[i].to, moving.items + i, end - i);
    }
    mem_free(moving.items);
}
