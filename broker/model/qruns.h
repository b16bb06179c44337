/*
 * qruns: messages of a queue of which not even an entry is in memory, in runs of positions.
 *
 * Each run lies in one segment of the journal, whose index file knows what an entry would (see
 * struct qrun in store/recover.h); a run of a hundred thousand messages costs as much as one. They
 * stand in a row in order of position and do not overlap; neighbours that belong together are put
 * together. How many octets a part of a run has nobody knows without reading: parts that are cut
 * off get their share, and what that was wrong by goes to the rest when they are read. One thread.
 */
#ifndef WARREN_QRUNS_H
#define WARREN_QRUNS_H

#include "store/recover.h"

struct qruns {
    struct qrun *room;
    size_t first;
    size_t count;
    size_t cap;
};

static inline struct qrun *qruns_at(const struct qruns *r, size_t index)
{
    return &r->room[r->first + index];
}

/* The first one that ends at or behind this position; count when there is none. */
size_t qruns_lower(const struct qruns *r, uint64_t position);

/* All its positions are there. */
static inline bool qrun_is_dense(const struct qrun *run)
{
    return run->count == run->last - run->first + 1;
}

/* Would it become part of one that is there? */
bool qruns_joins(const struct qruns *r, const struct qrun *run);

/* It overlaps none. */
void qruns_add(struct qruns *r, const struct qrun *run);

/* Cut positions off the run at this index that lie in it, and return them as one of their own; what
 * is left, before and behind, stays. Of one that is not dense only its beginning, of which the
 * caller says how many it has (else `count` means nothing). */
struct qrun qruns_cut(struct qruns *r, size_t index, uint64_t first, uint64_t last, uint32_t count);

/* What is left of the run that this part was cut off, before or behind it, or NULL. Borrowed until
 * the next change. */
struct qrun *qruns_rest_of(const struct qruns *r, const struct qrun *part);

void qruns_fini(struct qruns *r);

#endif
