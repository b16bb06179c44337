#include "model/qruns.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

#define ROOM_FIRST 4u

size_t qruns_lower(const struct qruns *r, uint64_t position)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (qruns_at(r, mid)->last < position)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* ---- the row ----------------------------------------------------------------------------------
 */

static void reserve(struct qruns *r)
{
    if (r->first + r->count < r->cap)
        return;
    if (r->first > r->count) {
        memmove(r->room, r->room + r->first, r->count * sizeof *r->room);
    } else {
        size_t cap = r->cap != 0 ? r->cap * 2 : ROOM_FIRST;
        struct qrun *room = mem_array(cap, sizeof *room);
        if (r->count != 0)
            memcpy(room, r->room + r->first, r->count * sizeof *room);
        mem_free(r->room);
        r->room = room;
        r->cap = cap;
    }
    r->first = 0;
}

static void insert(struct qruns *r, size_t index, const struct qrun *run)
{
    if (index < r->count - index && r->first != 0) {
        r->first--;
        memmove(r->room + r->first, r->room + r->first + 1, index * sizeof *run);
    } else {
        reserve(r);
        struct qrun *at = qruns_at(r, index);
        memmove(at + 1, at, (r->count - index) * sizeof *run);
    }
    r->count++;
    *qruns_at(r, index) = *run;
}

static void take(struct qruns *r, size_t index)
{
    struct qrun *at = qruns_at(r, index);
    size_t behind = r->count - index - 1;
    if (index < behind) {
        memmove(r->room + r->first + 1, r->room + r->first, index * sizeof *at);
        r->first++;
    } else {
        memmove(at, at + 1, behind * sizeof *at);
    }
    if (--r->count == 0)
        qruns_fini(r);
}

void qruns_fini(struct qruns *r)
{
    mem_free(r->room);
    *r = (struct qruns){ 0 };
}

/* ---- coming and going -------------------------------------------------------------------------
 */

/* Is the second, which begins where the first ends, more of it? */
static bool belong(const struct qrun *a, const struct qrun *b)
{
    return a->last + 1 == b->first && a->seg == b->seg && a->redelivered == b->redelivered &&
           qrun_is_dense(a) && qrun_is_dense(b);
}

static void join(struct qrun *a, const struct qrun *b)
{
    a->last = b->last;
    a->count += b->count;
    a->body_bytes += b->body_bytes;
    a->persistent_count += b->persistent_count;
    a->persistent_bytes += b->persistent_bytes;
    a->has_expiring |= b->has_expiring;
}

bool qruns_joins(const struct qruns *r, const struct qrun *run)
{
    size_t i = qruns_lower(r, run->first);
    return (i != 0 && belong(qruns_at(r, i - 1), run)) ||
           (i != r->count && belong(run, qruns_at(r, i)));
}

void qruns_add(struct qruns *r, const struct qrun *run)
{
    size_t i = qruns_lower(r, run->first);
    CHECK(run->count != 0 && run->first <= run->last);
    CHECK(i == r->count || run->last < qruns_at(r, i)->first);
    if (i != 0 && belong(qruns_at(r, i - 1), run))
        join(qruns_at(r, --i), run);
    else
        insert(r, i, run);
    if (i + 1 < r->count && belong(qruns_at(r, i), qruns_at(r, i + 1))) {
        join(qruns_at(r, i), qruns_at(r, i + 1));
        take(r, i + 1);
    }
}

static uint64_t share(uint64_t of, uint32_t count, uint32_t all)
{
    return count >= all ? of : (uint64_t)((double)of * count / all);
}

/* A part with so many messages: its share of the rest. */
static struct qrun part_of(const struct qrun *run, uint64_t first, uint64_t last, uint32_t count)
{
    struct qrun part = *run;
    part.first = first;
    part.last = last;
    part.count = count;
    part.body_bytes = share(run->body_bytes, count, run->count);
    part.persistent_count = (uint32_t)share(run->persistent_count, count, run->count);
    part.persistent_bytes = share(run->persistent_bytes, count, run->count);
    return part;
}

static void subtract(struct qrun *run, const struct qrun *part)
{
    run->count -= part->count;
    run->body_bytes -= part->body_bytes;
    run->persistent_count -= part->persistent_count;
    run->persistent_bytes -= part->persistent_bytes;
}

struct qrun qruns_cut(struct qruns *r, size_t index, uint64_t first, uint64_t last, uint32_t count)
{
    struct qrun whole = *qruns_at(r, index);
    CHECK(whole.first <= first && first <= last && last <= whole.last);
    bool is_dense = qrun_is_dense(&whole);
    CHECK(is_dense || first == whole.first);
    take(r, index);
    if (first != whole.first) {
        struct qrun before =
            part_of(&whole, whole.first, first - 1, (uint32_t)(first - whole.first));
        subtract(&whole, &before);
        whole.first = first;
        insert(r, index++, &before);
    }
    if (last == whole.last)
        return whole;
    if (is_dense)
        count = (uint32_t)(last - first + 1);
    struct qrun part = part_of(&whole, first, last, count < whole.count ? count : whole.count);
    subtract(&whole, &part);
    whole.first = last + 1;
    if (whole.count != 0)
        insert(r, index, &whole);
    return part;
}

struct qrun *qruns_rest_of(const struct qruns *r, const struct qrun *part)
{
    size_t i = qruns_lower(r, part->first);
    if (i != r->count && qruns_at(r, i)->seg == part->seg)
        return qruns_at(r, i);
    if (i != 0 && qruns_at(r, i - 1)->seg == part->seg)
        return qruns_at(r, i - 1);
    return NULL;
}
