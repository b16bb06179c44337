#include "model/qwalk.h"

void qwalk_init(struct qwalk *w, const struct qindex *ix, uint64_t from)
{
    *w = (struct qwalk){ .ix = ix, .slot = qchunks_lower(&ix->chunks, from / QCHUNK_ENTRIES) };
    if (ix->away != NULL)
        w->run = qruns_lower(&ix->away->runs, from);
}

/* The next stretch of entries: whole chunks at once. False: there is none. */
static bool next_entries(struct qwalk *w, struct qstretch *out)
{
    const struct qchunks *r = &w->ix->chunks;
    for (; w->slot < r->count; w->slot++, w->at = 0) {
        const struct qslot *slot = qchunks_at(r, w->slot);
        uint64_t base = slot->number * QCHUNK_ENTRIES;
        if (slot->chunk->live == QCHUNK_ENTRIES) {
            *out = (struct qstretch){ base, base + QCHUNK_ENTRIES - 1, NULL };
            return true;
        }
        const struct qentry *e = slot->chunk->entries;
        while (w->at < QCHUNK_ENTRIES && e[w->at].state == QENTRY_NONE)
            w->at++;
        if (w->at == QCHUNK_ENTRIES)
            continue;
        size_t end = w->at;
        while (end < QCHUNK_ENTRIES && e[end].state != QENTRY_NONE)
            end++;
        *out = (struct qstretch){ base + w->at, base + end - 1, NULL };
        return true;
    }
    return false;
}

static void pass_entries(struct qwalk *w, uint64_t last)
{
    w->at = last % QCHUNK_ENTRIES + 1;
    if (w->at == QCHUNK_ENTRIES) {
        w->slot++;
        w->at = 0;
    }
}

bool qwalk_next(struct qwalk *w, struct qstretch *out)
{
    bool has_entries = next_entries(w, out);
    if (w->ix->away != NULL && w->run < w->ix->away->runs.count) {
        const struct qrun *r = qruns_at(&w->ix->away->runs, w->run);
        if (!has_entries || r->first < out->first) {
            *out = (struct qstretch){ r->first, r->last, r };
            w->run++;
            return true;
        }
    }
    if (has_entries)
        pass_entries(w, out->last);
    return has_entries;
}
