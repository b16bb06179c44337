#include "model/qjournal.h"

#include "base/check.h"
#include "model/qwalk.h"

/* ---- what is there ----------------------------------------------------------------------------
 */

bool qindex_at(const struct qindex *ix, uint64_t qseq, struct place place)
{
    const struct qentry *e = qindex_entry(ix, qseq);
    if (e != NULL)
        return place_eq(qentry_place(e), place);
    if (ix->away == NULL)
        return false;
    size_t i = qruns_lower(&ix->away->runs, qseq);
    return i < ix->away->runs.count && qruns_at(&ix->away->runs, i)->first <= qseq &&
           qruns_at(&ix->away->runs, i)->seg == place.seg;
}

bool qindex_has_runs_in(const struct qindex *ix, uint32_t seg)
{
    for (size_t i = 0; ix->away != NULL && i < ix->away->runs.count; i++) {
        if (qruns_at(&ix->away->runs, i)->seg == seg)
            return true;
    }
    return false;
}

bool qindex_dead_ranges(const struct qindex *ix, qrange_fn each, void *arg, struct qrun *sparse)
{
    struct qwalk w;
    struct qstretch s;
    uint64_t at = 0;
    qwalk_init(&w, ix, 0);
    while (qwalk_next(&w, &s)) {
        if (s.run != NULL && !qrun_is_dense(s.run)) {
            *sparse = *s.run;
            sparse->first += ix->base;
            sparse->last += ix->base;
            return false;
        }
        if (at < s.first)
            each(ix->base + at, ix->base + s.first - 1, arg);
        at = s.last + 1;
    }
    if (at < ix->next_new)
        each(ix->base + at, ix->base + ix->next_new - 1, arg);
    return true;
}

uint64_t qindex_mark(const struct qindex *ix)
{
    return ix->away != NULL && ix->away->mark > ix->next_fresh ? ix->away->mark : ix->next_fresh;
}

uint64_t qindex_ahead(const struct qindex *ix, uint64_t from, uint64_t count)
{
    struct qwalk w;
    struct qstretch s;
    qwalk_init(&w, ix, from);
    while (qwalk_next(&w, &s)) {
        if (s.last < from)
            continue;
        uint64_t first = s.first > from ? s.first : from;
        uint64_t there = s.last - first + 1;
        if (s.run != NULL && s.run->count < there)
            there = s.run->count;
        if (count <= there)
            return s.run != NULL ? s.last + 1 : first + count;
        count -= there;
    }
    return (from > ix->next_new ? from : ix->next_new) + count;
}

void qindex_each_returned(const struct qindex *ix,
                          void (*each)(uint64_t qseq, uint32_t returns, void *arg), void *arg)
{
    for (size_t i = 0; i < ix->chunks.count; i++) {
        const struct qslot *slot = qchunks_at(&ix->chunks, i);
        for (size_t at = 0; slot->chunk->returns != NULL && at < QCHUNK_ENTRIES; at++) {
            if (slot->chunk->returns[at] != 0)
                each(ix->base + slot->number * QCHUNK_ENTRIES + at, slot->chunk->returns[at], arg);
        }
    }
}

/* ---- after a start ----------------------------------------------------------------------------
 */

static uint64_t to_loop(uint64_t wall_ms, int64_t to_loop_ms)
{
    if (wall_ms == 0)
        return 0;
    if (to_loop_ms < 0 && wall_ms <= (uint64_t)-to_loop_ms)
        return 1; /* long ago */
    return wall_ms + (uint64_t)to_loop_ms;
}

static void restore_entry(struct qindex *ix, uint64_t qseq, const struct recovered_entry *from,
                          uint64_t expires_ms)
{
    uint64_t number = qseq / QCHUNK_ENTRIES;
    struct qchunk *c = qchunks_find(&ix->chunks, number);
    if (c == NULL)
        c = qchunks_add(&ix->chunks, number);
    size_t at = qseq % QCHUNK_ENTRIES;
    struct qentry *e = &c->entries[at];
    if (e->state != QENTRY_NONE)
        return;
    *e = (struct qentry){ .body_bytes = from->body_bytes,
                          .state = QENTRY_READY,
                          .redelivered = from->redelivered,
                          .absent = true,
                          .persistent = true };
    qentry_set_place(e, from->place);
    qcount_add(&ix->counts->ready, e);
    qcount_add(&ix->counts->away, e);
    qchunk_set_expires(c, at, expires_ms);
    qchunk_set_returns(c, at, from->returns);
    c->live++;
    c->absent++;
    ix->live++;
    ix->ready++;
}

/* The first from here on that is there, or will be. What is before it is gone or was shown, and the
 * positions between are given to nobody: a mark that began where they do would be used up by them,
 * and what comes behind them would be handed out before the next one is written. */
static uint64_t first_alive(const struct recovered_level *l, uint64_t from, uint64_t next_new)
{
    const uint64_t mask = (UINT64_C(1) << 56) - 1;
    uint64_t first = next_new;
    for (size_t i = 0; i < l->entry_count; i++) { /* in order */
        uint64_t qseq = l->entries[i].qseq & mask;
        if (qseq < from)
            continue;
        first = qseq < first ? qseq : first;
        break;
    }
    for (size_t i = 0; i < l->run_count; i++) {
        uint64_t at = l->runs[i].first & mask;
        if (l->runs[i].count == 0 || (l->runs[i].last & mask) < from)
            continue;
        at = at > from ? at : from;
        first = at < first ? at : first;
    }
    return first > from ? first : from;
}

bool qindex_restore(struct qindex *ix, const struct recovered_level *from, int64_t to_loop_ms)
{
    const uint64_t mask = (UINT64_C(1) << 56) - 1;
    struct qaway *away = qindex_away(ix);
    bool has_expiring = false;
    CHECK(ix->next_new == 0);
    for (size_t i = 0; i < from->entry_count; i++) {
        const struct recovered_entry *e = &from->entries[i];
        uint64_t qseq = e->qseq & mask;
        restore_entry(ix, qseq, e, to_loop(e->expires_ms, to_loop_ms));
        has_expiring |= e->expires_ms != 0;
        if (e->redelivered && qseq >= away->mark)
            away->mark = qseq + 1;
        if (qseq >= ix->next_new)
            ix->next_new = qseq + 1;
    }
    for (size_t i = 0; i < from->run_count; i++) {
        struct qrun run = from->runs[i];
        run.first &= mask;
        run.last &= mask;
        if (run.count == 0)
            continue;
        qruns_add(&away->runs, &run);
        qcount_add_run(&ix->counts->ready, &run);
        qcount_add_run(&ix->counts->away, &run);
        ix->ready += run.count;
        has_expiring |= run.has_expiring;
        if (run.redelivered && run.last >= away->mark)
            away->mark = run.last + 1;
        if (run.last >= ix->next_new)
            ix->next_new = run.last + 1;
    }
    if ((from->next_new & mask) > ix->next_new)
        ix->next_new = from->next_new & mask;
    away->mark = first_alive(from, away->mark, ix->next_new);
    away->first = ix->ready != 0 ? 0 : UINT64_MAX;
    return has_expiring;
}
