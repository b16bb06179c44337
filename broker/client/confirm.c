#include "client/confirm.h"

#include "base/check.h"
#include "base/mem.h"

struct confirm_slot {
    uint32_t waits_for;
    bool failed;
    bool told;
};

void confirm_init(struct confirm *c)
{
    *c = (struct confirm){ .next = 1, .base = 1 };
}

void confirm_fini(struct confirm *c)
{
    mem_free(c->slots);
    mem_free(c->single);
    confirm_init(c);
}

static struct confirm_slot *slot(const struct confirm *c, uint64_t number)
{
    return &c->slots[(c->head + (size_t)(number - c->base)) & (c->cap - 1)];
}

static void grow(struct confirm *c)
{
    size_t cap = c->cap != 0 ? c->cap * 2 : 16;
    struct confirm_slot *slots = mem_array(cap, sizeof *slots);
    for (uint64_t n = c->base; n < c->next; n++)
        slots[n - c->base] = *slot(c, n);
    mem_free(c->slots);
    c->slots = slots;
    c->cap = cap;
    c->head = 0;
}

static void tell_singly(struct confirm *c, uint64_t number)
{
    if (c->single_count == c->single_cap) {
        c->single_cap = c->single_cap != 0 ? c->single_cap * 2 : 16;
        c->single = mem_realloc(c->single, c->single_cap * sizeof *c->single);
    }
    c->single[c->single_count++] = number;
}

/* A failed one is passed only once it was told: a multiple ack must not answer for it. */
static void advance(struct confirm *c)
{
    while (c->base < c->next) {
        const struct confirm_slot *s = slot(c, c->base);
        if (s->waits_for != 0 || (s->failed && !s->told))
            return;
        if (!s->told)
            c->owed = c->base;
        c->base++;
        c->head = (c->head + 1) & (c->cap - 1);
    }
}

uint64_t confirm_begin(struct confirm *c, uint32_t targets)
{
    uint64_t number = c->next;
    if (targets == 0 && c->base == c->next) {
        c->next++; /* the usual case: nothing waits, nothing is stored */
        c->base++;
        c->owed = number;
        return number;
    }
    if ((size_t)(c->next - c->base) == c->cap)
        grow(c);
    c->next++;
    *slot(c, number) = (struct confirm_slot){ .waits_for = targets };
    if (targets == 0)
        tell_singly(c, number);
    return number;
}

void confirm_answer(struct confirm *c, uint64_t number, bool ok)
{
    CHECK(number >= c->base && number < c->next);
    struct confirm_slot *s = slot(c, number);
    CHECK(s->waits_for > 0);
    s->failed = s->failed || !ok;
    if (--s->waits_for != 0)
        return;
    if (number != c->base || s->failed)
        tell_singly(c, number);
    advance(c);
}

static void tell_one(struct confirm *c, uint64_t number, confirm_fn tell, void *arg)
{
    struct confirm_slot *s = slot(c, number);
    s->told = true;
    tell(number, false, !s->failed, arg);
}

static void tell_singles(struct confirm *c, bool failed, confirm_fn tell, void *arg)
{
    for (size_t i = 0; i < c->single_count; i++) {
        uint64_t number = c->single[i];
        if (number >= c->base && slot(c, number)->failed == failed && !slot(c, number)->told)
            tell_one(c, number, tell, arg);
    }
}

/* In RabbitMQ's order: one ack for all below the first that waits or failed, one for each beyond,
 * then the nacks, which may let base move on. */
void confirm_tell(struct confirm *c, confirm_fn tell, void *arg)
{
    if (c->owed > c->told)
        tell(c->owed, c->owed > c->told + 1, true, arg);
    tell_singles(c, false, tell, arg);
    tell_singles(c, true, tell, arg);
    c->single_count = 0;
    advance(c);
    c->told = c->base - 1;
}
