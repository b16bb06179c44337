#include "cluster/grant_board.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "base/shared.h"
#include "base/shown.h"

#define PLACES 256u /* on a page: there are as many pages */

/* The index is shown behind the time, and read before it: whoever sees an index sees a time that
 * belongs to it or to a later grant, and a later one is good for all that an earlier one is. */
struct place {
    struct shared until_us; /* 0: none is held */
    struct shared index;
    struct shared needed; /* an epoch + 1; 0: not since it was looked at */
};

struct page {
    struct place places[PLACES];
};

struct grant_board {
    struct shown pages[PLACES];
    struct shared was_missed;
};

struct grant_board *grant_board_new(void)
{
    return mem_zalloc(sizeof(struct grant_board));
}

static struct page *page_at(const struct grant_board *b, size_t at)
{
    return (struct page *)(uintptr_t)shown_get(&b->pages[at]);
}

void grant_board_free(struct grant_board **board)
{
    struct grant_board *b = *board;
    *board = NULL;
    for (size_t i = 0; b != NULL && i < PLACES; i++)
        mem_free(page_at(b, i));
    mem_free(b);
}

void grant_board_know(struct grant_board *b, uint16_t node)
{
    if (page_at(b, node / PLACES) == NULL)
        shown_set(&b->pages[node / PLACES], mem_zalloc(sizeof(struct page)));
}

static struct place *place_of(const struct grant_board *b, uint16_t node)
{
    struct page *page = page_at(b, node / PLACES);
    return page != NULL ? &page->places[node % PLACES] : NULL;
}

static bool is_held(const struct place *p, uint64_t epoch, int64_t now_us)
{
    uint64_t index = shared_get(&p->index);
    uint64_t until_us = shared_get(&p->until_us);
    return (index >= epoch || MUTATION(GRANT_OLDER_THAN_EPOCH)) && now_us < (int64_t)until_us;
}

static bool may_count_on(const struct grant_board *b, uint16_t node, uint64_t epoch, int64_t now_us)
{
    struct place *p = place_of(b, node);
    if (p == NULL)
        return false;
    if (shared_get(&p->needed) <= epoch)
        shared_raise(&p->needed, epoch + 1);
    return is_held(p, epoch, now_us);
}

bool grant_board_may_serve(struct grant_board *b, uint16_t self, uint64_t epoch,
                           const uint16_t *members, size_t count, int64_t now_us)
{
    bool may = true;
    for (size_t i = 0; i < count; i++)
        if (members[i] != self)
            may = may_count_on(b, members[i], epoch, now_us) && may;
    if (!may)
        shared_set(&b->was_missed, 1);
    return may;
}

void grant_board_hold(struct grant_board *b, uint16_t node, uint64_t index, int64_t until_us)
{
    CHECK(until_us > 0);
    grant_board_know(b, node);
    struct place *p = place_of(b, node);
    shared_set(&p->until_us, (uint64_t)until_us);
    shared_set(&p->index, index);
}

void grant_board_clear(struct grant_board *b)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct page *page = page_at(b, i);
        for (size_t k = 0; page != NULL && k < PLACES; k++) {
            shared_set(&page->places[k].until_us, 0);
            shared_set(&page->places[k].index, 0);
            shared_set(&page->places[k].needed, 0);
        }
    }
}

void grant_board_each_needed(struct grant_board *b, grant_needed_fn each, void *arg)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct page *page = page_at(b, i);
        for (size_t k = 0; page != NULL && k < PLACES; k++) {
            struct shared *at = &page->places[k].needed;
            uint64_t needed = shared_get(at) != 0 ? shared_swap(at, 0) : 0;
            if (needed != 0)
                each(arg, (uint16_t)(i * PLACES + k), needed - 1);
        }
    }
}

bool grant_board_was_missed(struct grant_board *b)
{
    return shared_get(&b->was_missed) != 0 && shared_swap(&b->was_missed, 0) != 0;
}
