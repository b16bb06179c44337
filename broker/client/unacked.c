#include "client/unacked.h"

#include "base/check.h"
#include "base/mem.h"

#define CAP_KEPT 64

void unacked_init(struct unacked *u)
{
    *u = (struct unacked){ .base = 1, .next = 1 };
}

void unacked_fini(struct unacked *u)
{
    mem_free(u->entries);
    unacked_init(u);
}

static struct unacked_entry *entry(const struct unacked *u, uint64_t tag)
{
    return &u->entries[(u->head + (size_t)(tag - u->base)) & (u->cap - 1)];
}

static void grow(struct unacked *u)
{
    size_t cap = u->cap != 0 ? u->cap * 2 : 16;
    struct unacked_entry *entries = mem_array(cap, sizeof *entries);
    for (uint64_t t = u->base; t < u->next; t++)
        entries[t - u->base] = *entry(u, t);
    mem_free(u->entries);
    u->entries = entries;
    u->cap = cap;
    u->head = 0;
}

/* Nothing is open: the ring starts anew, and a large one goes. */
static void start_anew(struct unacked *u)
{
    u->base = u->next;
    u->head = 0;
    if (u->cap > CAP_KEPT) {
        mem_free(u->entries);
        u->entries = NULL;
        u->cap = 0;
    }
}

uint64_t unacked_add(struct unacked *u, const struct unacked_entry *e)
{
    CHECK(e->qid != 0);
    if ((size_t)(u->next - u->base) == u->cap)
        grow(u);
    uint64_t tag = u->next++;
    *entry(u, tag) = *e;
    u->open++;
    return tag;
}

uint64_t unacked_skip(struct unacked *u)
{
    if (u->open == 0) {
        u->base++;
        return u->next++;
    }
    if ((size_t)(u->next - u->base) == u->cap)
        grow(u);
    uint64_t tag = u->next++;
    *entry(u, tag) = (struct unacked_entry){ 0 };
    return tag;
}

static void drop_holes(struct unacked *u)
{
    if (u->open == 0) {
        start_anew(u);
        return;
    }
    while (entry(u, u->base)->qid == 0) {
        u->base++;
        u->head = (u->head + 1) & (u->cap - 1);
    }
}

bool unacked_is_open(const struct unacked *u, uint64_t tag)
{
    return tag >= u->base && tag < u->next && entry(u, tag)->qid != 0;
}

bool unacked_take(struct unacked *u, uint64_t tag, struct unacked_entry *out)
{
    if (!unacked_is_open(u, tag))
        return false;
    *out = *entry(u, tag);
    entry(u, tag)->qid = 0;
    u->open--;
    drop_holes(u);
    return true;
}

/* The oldest open one is always at base. */
bool unacked_take_oldest(struct unacked *u, uint64_t upto, struct unacked_entry *out)
{
    return u->open != 0 && u->base <= upto && unacked_take(u, u->base, out);
}
