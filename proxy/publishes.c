#include "publishes.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

#define WORD_BITS 64u
#define CAP_LEAST 256u

void publishes_fini(struct publishes *p)
{
    mem_free(p->ahead);
    *p = (struct publishes){ 0 };
}

static uint64_t *word(const struct publishes *p, uint64_t n)
{
    return &p->ahead[(n & (p->cap - 1)) / WORD_BITS];
}

static uint64_t bit(uint64_t n)
{
    return (uint64_t)1 << n % WORD_BITS;
}

static bool take(struct publishes *p, uint64_t n)
{
    if (p->cap == 0 || (*word(p, n) & bit(n)) == 0)
        return false;
    *word(p, n) &= ~bit(n);
    return true;
}

/* Those that are settled behind it are no news any more. */
static void advance(struct publishes *p)
{
    while (take(p, p->upto + 1))
        p->upto++;
}

static void grow(struct publishes *p, size_t cap)
{
    uint64_t *ahead = mem_array(cap / WORD_BITS, sizeof *ahead);
    memset(ahead, 0, cap / WORD_BITS * sizeof *ahead);
    for (uint64_t n = p->upto + 1; n <= p->upto + p->cap; n++) {
        if ((*word(p, n) & bit(n)) != 0)
            ahead[(n & (cap - 1)) / WORD_BITS] |= bit(n);
    }
    mem_free(p->ahead);
    p->ahead = ahead;
    p->cap = cap;
}

static void settle_one(struct publishes *p, uint64_t n)
{
    uint64_t distance = n - p->upto;
    if (distance == 1) {
        p->upto++;
        advance(p);
        return;
    }
    if (distance > PUBLISHES_AHEAD_MAX) {
        p->is_lost = true;
        return;
    }
    size_t cap = p->cap != 0 ? p->cap : CAP_LEAST;
    while (cap < distance)
        cap *= 2;
    if (cap != p->cap)
        grow(p, cap);
    *word(p, n) |= bit(n);
}

static void settle_upto(struct publishes *p, uint64_t n)
{
    while (p->upto < n) {
        (void)take(p, p->upto + 1);
        p->upto++;
    }
    advance(p);
}

uint64_t publishes_settle(struct publishes *p, uint64_t tag, bool multiple)
{
    uint64_t n = tag + p->before;
    if (multiple && tag == 0)
        n = p->said;
    /* A number that makes no sense is the client's to judge. */
    if (n > p->upto && n <= p->said) {
        if (multiple)
            settle_upto(p, n);
        else
            settle_one(p, n);
    }
    return n;
}

bool publishes_are_settled(const struct publishes *p)
{
    return !p->is_open && !p->is_lost && p->upto == p->said;
}

void publishes_move(struct publishes *p)
{
    CHECK(publishes_are_settled(p));
    p->before = p->said;
}
