#include "model/qchunks.h"

#include "base/check.h"
#include "base/mem.h"

#define ROOM_FIRST 4u

size_t qchunks_lower(const struct qchunks *r, uint64_t number)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (qchunks_at(r, mid)->number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct qchunk *qchunks_search(const struct qchunks *r, uint64_t number)
{
    size_t i = qchunks_lower(r, number);
    return i < r->count && qchunks_at(r, i)->number == number ? qchunks_at(r, i)->chunk : NULL;
}

/* ---- the row ----------------------------------------------------------------------------------
 */

/* There is room for so many more at its end: they move to the front of their room if that gains as
 * much as moving costs, else the room becomes larger. */
static void reserve(struct qchunks *r, size_t more)
{
    if (r->cap - r->first - r->count >= more)
        return;
    if (r->first >= r->count + more) {
        memmove(r->room, r->room + r->first, r->count * sizeof *r->room);
    } else {
        size_t cap = r->cap != 0 ? r->cap * 2 : ROOM_FIRST;
        while (cap < r->count + more)
            cap *= 2;
        struct qslot *room = mem_array(cap, sizeof *room);
        if (r->count != 0)
            memcpy(room, r->room + r->first, r->count * sizeof *room);
        mem_free(r->room);
        r->room = room;
        r->cap = cap;
    }
    r->first = 0;
}

void qchunks_open(struct qchunks *r, size_t index, size_t count)
{
    CHECK(index <= r->count);
    if (count == 0)
        return;
    if (index < r->count - index && r->first >= count) {
        r->first -= count;
        memmove(r->room + r->first, r->room + r->first + count, index * sizeof *r->room);
    } else {
        reserve(r, count);
        struct qslot *at = qchunks_at(r, index);
        memmove(at + count, at, (r->count - index) * sizeof *at);
    }
    r->count += count;
}

/* A row that is empty but was long holds no memory. */
static void shrink(struct qchunks *r)
{
    if (r->count != 0)
        return;
    r->first = 0;
    if (r->cap <= ROOM_FIRST)
        return;
    mem_free(r->room);
    r->room = NULL;
    r->cap = 0;
}

void qchunks_close(struct qchunks *r, size_t index, size_t count)
{
    CHECK(index + count <= r->count);
    if (count == 0)
        return;
    struct qslot *at = qchunks_at(r, index);
    size_t behind = r->count - index - count;
    if (index < behind) {
        memmove(r->room + r->first + count, r->room + r->first, index * sizeof *at);
        r->first += count;
    } else {
        memmove(at, at + count, behind * sizeof *at);
    }
    r->count -= count;
    shrink(r);
}

struct qchunk *qchunks_add(struct qchunks *r, uint64_t number)
{
    size_t index = r->count;
    if (UNLIKELY(index != 0 && qchunks_at(r, index - 1)->number >= number))
        index = qchunks_lower(r, number);
    CHECK(index == r->count || qchunks_at(r, index)->number != number);
    qchunks_open(r, index, 1);
    struct qslot *slot = qchunks_at(r, index);
    *slot = (struct qslot){ .number = number, .chunk = qchunk_new() };
    return slot->chunk;
}

void qchunks_drop(struct qchunks *r, uint64_t number)
{
    size_t index = 0;
    if (qchunks_at(r, 0)->number != number)
        index = qchunks_lower(r, number);
    CHECK(index < r->count && qchunks_at(r, index)->number == number);
    qchunk_free(qchunks_at(r, index)->chunk);
    qchunks_close(r, index, 1);
}

/* ---- chunks -----------------------------------------------------------------------------------
 */

struct qchunk *qchunk_new(void)
{
    return mem_zalloc(sizeof(struct qchunk));
}

void qchunk_free(struct qchunk *c)
{
    mem_free(c->expires_ms);
    mem_free(c->returns);
    mem_free(c);
}

void qchunk_set_expires(struct qchunk *c, size_t at, uint64_t expires_ms)
{
    if (expires_ms != 0 && c->expires_ms == NULL)
        c->expires_ms = mem_array(QCHUNK_ENTRIES, sizeof *c->expires_ms);
    if (c->expires_ms != NULL)
        c->expires_ms[at] = expires_ms;
}

void qchunk_set_returns(struct qchunk *c, size_t at, uint32_t returns)
{
    if (returns != 0 && c->returns == NULL)
        c->returns = mem_array(QCHUNK_ENTRIES, sizeof *c->returns);
    if (c->returns != NULL)
        c->returns[at] = returns;
}
