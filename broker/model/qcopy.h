/*
 * qcopy: an index as a copy of one on another node: what comes to it says its position itself, in
 * any order, and what leaves is named by positions.
 *
 * A copy *rests*: nothing of it is out, nothing was requeued or is still to be swept, and the next
 * one to be handed out is simply the first. qindex_rest brings an index there that was in use; it
 * leaves that state by being used. A new index rests, and one that was restored.
 *
 * Which positions of a run that is not dense are there nobody knows without reading it: where that
 * is needed the answer is LATER, and the caller has the run read (qwant.run_seg).
 *
 * Positions are those of the index. One thread.
 */
#ifndef WARREN_QCOPY_H
#define WARREN_QCOPY_H

#include "model/qaway.h"

enum qcopy {
    QCOPY_DONE,
    QCOPY_NOTHING, /* put: something is there already; live: nothing is there any more */
    QCOPY_MORE,    /* the budget did not last: to be called again with the same */
    QCOPY_LATER,   /* *run is to be read first */
};

/* A message comes to this position, ready. `it->qseq` is not looked at; with `place`, if there is
 * one. Takes the reference in it->message if it is DONE. */
enum qcopy qindex_put(struct qindex *ix, uint64_t qseq, struct queue_item *it, struct qrun *run);

/* What is at these positions, included, leaves; the index rests. `to` hears of each message that is
 * freed, not of ranges: whoever asks knows them. */
enum qcopy qindex_drop_range(struct qindex *ix, uint64_t first, uint64_t last, size_t *budget,
                             const struct qsink *to, struct qrun *run);

/* The next positions at or behind `at` that are there, ready or out, without a gap: not all of them
 * if there are very many. */
enum qcopy qindex_live(const struct qindex *ix, uint64_t at, uint64_t *first, uint64_t *last,
                       struct qrun *run);

/* The run that this position lies in, or NULL. Borrowed until the next change. */
const struct qrun *qindex_run_at(const struct qindex *ix, uint64_t qseq);

/* The next message of all gets this position or a later one. */
void qindex_raise(struct qindex *ix, uint64_t next_new);

/* Nothing is there at or behind this position, and the next message gets it. The index rests. */
void qindex_lower(struct qindex *ix, uint64_t next_new);

/* Everything before this position may have been handed out elsewhere: it goes out as redelivered.
 */
void qindex_seen(struct qindex *ix, uint64_t mark);

/* Make it rest: what is out is ready at its position, redelivered. MORE or DONE. */
enum qcopy qindex_rest(struct qindex *ix, size_t *budget, const struct qsink *to);

#endif
