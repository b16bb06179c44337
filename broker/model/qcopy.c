#include "model/qcopy.h"

#include "base/check.h"
#include "model/qjournal.h"
#include "model/qwalk.h"

/* Stretches of entries that one look for live positions puts together. */
#define LIVE_STRETCHES 1024u

static bool rests(const struct qindex *ix)
{
    return ix->next_fresh == 0 && ix->returned.count == 0 && ix->graves == NULL &&
           (ix->away == NULL || ix->away->rest_to == 0);
}

/* ---- coming -----------------------------------------------------------------------------------
 */

const struct qrun *qindex_run_at(const struct qindex *ix, uint64_t qseq)
{
    if (ix->away == NULL)
        return NULL;
    size_t i = qruns_lower(&ix->away->runs, qseq);
    if (i == ix->away->runs.count || qruns_at(&ix->away->runs, i)->first > qseq)
        return NULL;
    return qruns_at(&ix->away->runs, i);
}

void qindex_raise(struct qindex *ix, uint64_t next_new)
{
    uint64_t was = ix->next_new / QCHUNK_ENTRIES;
    if (next_new <= ix->next_new)
        return;
    ix->next_new = next_new;
    /* The chunk that was being filled stays only while something is in it. */
    const struct qchunk *c = qchunks_find(&ix->chunks, was);
    if (c != NULL && c->live == 0 && was != next_new / QCHUNK_ENTRIES)
        qchunks_drop(&ix->chunks, was);
}

/* What is given a position anew is a message that nobody has seen. */
static void lower_marks(struct qaway *away, uint64_t next_new)
{
    if (away->mark > next_new)
        away->mark = next_new;
    if (away->seen > next_new)
        away->seen = next_new;
}

void qindex_lower(struct qindex *ix, uint64_t next_new)
{
    uint64_t was = ix->next_new / QCHUNK_ENTRIES;
    CHECK(rests(ix));
    if (ix->away != NULL)
        lower_marks(ix->away, next_new);
    if (next_new >= ix->next_new)
        return;
    ix->next_new = next_new;
    const struct qchunk *c = qchunks_find(&ix->chunks, was);
    if (c != NULL && c->live == 0 && was != next_new / QCHUNK_ENTRIES)
        qchunks_drop(&ix->chunks, was);
}

enum qcopy qindex_put(struct qindex *ix, uint64_t qseq, struct queue_item *it, struct qrun *run)
{
    CHECK(it->message != NULL && ix->next_fresh <= qseq);
    const struct qrun *over = qindex_run_at(ix, qseq);
    if (over != NULL && !qrun_is_dense(over)) {
        *run = *over;
        return QCOPY_LATER;
    }
    if (over != NULL || qindex_entry(ix, qseq) != NULL)
        return QCOPY_NOTHING;
    qindex_raise(ix, qseq + 1);
    uint64_t number = qseq / QCHUNK_ENTRIES;
    size_t at = qseq % QCHUNK_ENTRIES;
    struct qchunk *c = qchunks_find(&ix->chunks, number);
    if (c == NULL)
        c = qchunks_add(&ix->chunks, number);
    struct qentry *e = &c->entries[at];
    *e = (struct qentry){ .message = it->message,
                          .state = QENTRY_READY,
                          .redelivered = it->redelivered,
                          .persistent = it->message->persistent };
    qentry_set_place(e, it->place);
    it->message = NULL;
    qchunk_set_expires(c, at, it->expires_ms);
    qchunk_set_returns(c, at, it->returns);
    c->live++;
    ix->live++;
    ix->ready++;
    qcount_add(&ix->counts->ready, e);
    return QCOPY_DONE;
}

/* ---- leaving ----------------------------------------------------------------------------------
 */

static void drop(struct qindex *ix, uint64_t qseq, const struct qsink *to)
{
    const struct qentry was = *qindex_entry(ix, qseq);
    CHECK(was.state == QENTRY_READY);
    qcount_subtract(&ix->counts->ready, &was);
    if (was.absent)
        qcount_subtract(&ix->counts->away, &was);
    ix->ready--;
    qindex_drop(ix, qseq);
    to->entry(&was, to->arg);
}

/* False: the budget did not last. */
static bool drop_entries(struct qindex *ix, uint64_t first, uint64_t last, size_t *budget,
                         const struct qsink *to)
{
    for (;;) {
        size_t i = qchunks_lower(&ix->chunks, first / QCHUNK_ENTRIES);
        if (i == ix->chunks.count)
            return true;
        uint64_t base = qchunks_at(&ix->chunks, i)->number * QCHUNK_ENTRIES;
        uint64_t from = first > base ? first : base;
        uint64_t end = last - base < QCHUNK_ENTRIES ? last : base + QCHUNK_ENTRIES - 1;
        if (base > last)
            return true;
        for (; from <= end; from++) {
            if (qindex_entry(ix, from) == NULL)
                continue; /* also when the chunk went with its last entry */
            if (*budget == 0)
                return false;
            --*budget;
            drop(ix, from, to);
        }
        if (end == last)
            return true;
        first = end + 1;
    }
}

static enum qcopy drop_runs(struct qindex *ix, uint64_t first, uint64_t last, size_t *budget,
                            const struct qsink *to, struct qrun *run)
{
    struct qruns *runs = &ix->away->runs;
    for (size_t i; (i = qruns_lower(runs, first)) < runs->count; --*budget) {
        const struct qrun *r = qruns_at(runs, i);
        if (r->first > last)
            break;
        uint64_t from = r->first > first ? r->first : first;
        uint64_t end = r->last < last ? r->last : last;
        if (!qrun_is_dense(r) && (from != r->first || end != r->last)) {
            *run = *r;
            return QCOPY_LATER;
        }
        if (*budget == 0)
            return QCOPY_MORE;
        struct qrun part = qruns_cut(runs, i, from, end, 0);
        qcount_subtract_run(&ix->counts->ready, &part);
        qcount_subtract_run(&ix->counts->away, &part);
        ix->ready -= part.count;
        to->run(&part, to->arg);
        if (end == last)
            break;
        first = end + 1;
    }
    return QCOPY_DONE;
}

enum qcopy qindex_drop_range(struct qindex *ix, uint64_t first, uint64_t last, size_t *budget,
                             const struct qsink *to, struct qrun *run)
{
    CHECK(rests(ix) && first <= last);
    if (!drop_entries(ix, first, last, budget, to))
        return QCOPY_MORE;
    return ix->away != NULL ? drop_runs(ix, first, last, budget, to, run) : QCOPY_DONE;
}

/* ---- what is there ----------------------------------------------------------------------------
 */

enum qcopy qindex_live(const struct qindex *ix, uint64_t at, uint64_t *first, uint64_t *last,
                       struct qrun *run)
{
    struct qwalk w;
    struct qstretch s;
    bool has_any = false;
    qwalk_init(&w, ix, at);
    for (unsigned n = 0; n < LIVE_STRETCHES && qwalk_next(&w, &s); n++) {
        if (s.last < at)
            continue;
        uint64_t from = s.first > at ? s.first : at;
        if (has_any && from != *last + 1)
            break;
        if (s.run != NULL && !qrun_is_dense(s.run)) {
            *run = *s.run;
            return has_any ? QCOPY_DONE : QCOPY_LATER;
        }
        if (!has_any)
            *first = from;
        *last = s.last;
        has_any = true;
    }
    return has_any ? QCOPY_DONE : QCOPY_NOTHING;
}

/* ---- between use and rest ---------------------------------------------------------------------
 */

static void raise_mark(struct qindex *ix, uint64_t mark)
{
    if (mark > qindex_mark(ix))
        qindex_away(ix)->mark = mark;
}

void qindex_seen(struct qindex *ix, uint64_t mark)
{
    raise_mark(ix, mark);
    struct qaway *away = mark != 0 ? qindex_away(ix) : NULL;
    if (away != NULL && mark > away->seen)
        away->seen = mark;
}

static void come_back(struct qindex *ix, struct qentry *e)
{
    qcount_subtract(&ix->counts->out, e);
    e->state = QENTRY_READY;
    e->redelivered = true;
    qcount_add(&ix->counts->ready, e);
    ix->ready++;
}

/* From now on the first that is there is the next one, and what was requeued is found like all
 * others. What is out lies before where the next one was, in chunks. */
static void begin_to_rest(struct qindex *ix)
{
    struct qaway *away = qindex_away(ix);
    away->mark = qindex_mark(ix);
    away->rest_from = 0;
    away->rest_to = ix->next_fresh;
    away->first = ix->ready != 0 ? 0 : UINT64_MAX;
    away->page_from = 0;
    away->spill_from = 0;
    ix->next_fresh = 0;
    heap_fini(&ix->returned);
    heap_init(&ix->returned);
}

static bool all_come_back(struct qindex *ix, size_t *budget)
{
    struct qaway *away = ix->away;
    for (size_t i = qchunks_lower(&ix->chunks, away->rest_from); i < ix->chunks.count; i++) {
        const struct qslot *slot = qchunks_at(&ix->chunks, i);
        if (slot->number * QCHUNK_ENTRIES >= away->rest_to)
            break;
        away->rest_from = slot->number;
        if (*budget == 0)
            return false;
        *budget -= *budget < QCHUNK_ENTRIES ? *budget : QCHUNK_ENTRIES;
        for (size_t at = 0; at < QCHUNK_ENTRIES; at++) {
            if (slot->chunk->entries[at].state == QENTRY_OUT)
                come_back(ix, &slot->chunk->entries[at]);
        }
    }
    away->rest_to = 0;
    return true;
}

enum qcopy qindex_rest(struct qindex *ix, size_t *budget, const struct qsink *to)
{
    if (rests(ix))
        return QCOPY_DONE;
    if (!qindex_sweep(ix, budget, to))
        return QCOPY_MORE;
    if (ix->away == NULL || ix->away->rest_to == 0)
        begin_to_rest(ix);
    return all_come_back(ix, budget) ? QCOPY_DONE : QCOPY_MORE;
}
