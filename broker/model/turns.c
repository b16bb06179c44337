#include "model/turns.h"

#include "base/check.h"
#include "base/mem.h"
#include "model/queue.h"

#include <string.h>

struct turn_list {
    int64_t priority;
    struct consumer_list waiting; /* never empty */
};

void turns_init(struct turns *t)
{
    *t = (struct turns){ 0 };
    TAILQ_INIT(&t->plain);
    TAILQ_INIT(&t->resting);
}

void turns_fini(struct turns *t)
{
    CHECK(t->other_count == 0 && TAILQ_EMPTY(&t->plain) && TAILQ_EMPTY(&t->resting));
    mem_free(t->others);
    t->others = NULL;
    t->other_cap = 0;
}

/* Where the list of a priority is, or belongs. */
static size_t place_of(const struct turns *t, int64_t priority)
{
    size_t low = 0;
    size_t high = t->other_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->others[middle]->priority > priority)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct turn_list *insert(struct turns *t, size_t place, int64_t priority)
{
    if (t->other_count == t->other_cap) {
        t->other_cap = t->other_cap != 0 ? t->other_cap * 2 : 2;
        t->others = mem_realloc(t->others, t->other_cap * sizeof(struct turn_list *));
    }
    memmove(&t->others[place + 1], &t->others[place],
            (t->other_count - place) * sizeof(struct turn_list *));
    struct turn_list *l = mem_alloc(sizeof *l);
    l->priority = priority;
    TAILQ_INIT(&l->waiting);
    t->others[place] = l;
    t->other_count++;
    return l;
}

/* The list to wait in; made if need be. */
static struct consumer_list *list_for(struct turns *t, int64_t priority)
{
    if (LIKELY(priority == 0))
        return &t->plain;
    size_t place = place_of(t, priority);
    if (place < t->other_count && t->others[place]->priority == priority)
        return &t->others[place]->waiting;
    return &insert(t, place, priority)->waiting;
}

static void wait_here(struct turns *t, struct consumer *c)
{
    TAILQ_INSERT_TAIL(list_for(t, c->priority), c, entry);
    c->waiting = true;
}

static void leave(struct turns *t, struct consumer *c)
{
    struct consumer_list *list = list_for(t, c->priority);
    TAILQ_REMOVE(list, c, entry);
    if (c->priority == 0 || !TAILQ_EMPTY(list))
        return;
    size_t place = place_of(t, c->priority);
    mem_free(t->others[place]);
    t->other_count--;
    memmove(&t->others[place], &t->others[place + 1],
            (t->other_count - place) * sizeof(struct turn_list *));
}

void turns_add(struct turns *t, struct consumer *c)
{
    wait_here(t, c);
}

void turns_remove(struct turns *t, struct consumer *c)
{
    if (c->waiting)
        leave(t, c);
    else
        TAILQ_REMOVE(&t->resting, c, entry);
    c->waiting = false;
}

struct consumer *turns_first_of_any(const struct turns *t)
{
    struct consumer *plain = TAILQ_FIRST(&t->plain);
    if (t->other_count == 0 || (plain != NULL && t->others[0]->priority < 0))
        return plain;
    return TAILQ_FIRST(&t->others[0]->waiting);
}

void turns_next(struct turns *t, struct consumer *c)
{
    if (TAILQ_NEXT(c, entry) == NULL)
        return; /* alone, or the last already */
    struct consumer_list *list = list_for(t, c->priority);
    TAILQ_REMOVE(list, c, entry);
    TAILQ_INSERT_TAIL(list, c, entry);
}

void turns_rest(struct turns *t, struct consumer *c)
{
    leave(t, c);
    TAILQ_INSERT_TAIL(&t->resting, c, entry);
    c->waiting = false;
}

void turns_wake(struct turns *t, struct consumer *c)
{
    TAILQ_REMOVE(&t->resting, c, entry);
    wait_here(t, c);
}

struct consumer *turns_any(const struct turns *t)
{
    struct consumer *c = turns_first(t);
    return c != NULL ? c : TAILQ_FIRST(&t->resting);
}
