/*
 * qindex: the messages of one queue by their position (qseq), ready or out.
 *
 * A position is given once and never again. A message is *ready* until it is handed out, then *out*
 * until it is settled, which removes it, or requeued, which makes it ready at its old position.
 * Entries live in chunks of consecutive positions; a chunk goes when its last entry goes, so one
 * old unsettled message does not hold the memory of those that came after it. All steps take
 * constant time, but for requeued ones: logarithmic in how many of those wait. A purge takes
 * constant time for each 64 messages: what it took away is buried, and freed by qindex_sweep.
 *
 * What is ready can be *away*: its message is not in memory (the entry is absent), or not even its
 * entry (a run), see qaway.h. What is out never is.
 *
 * Moments at which messages expire are kept only in chunks that have such messages. Knows nothing
 * of consumers. One thread. Empty, it holds next to no memory.
 */
#ifndef WARREN_QINDEX_H
#define WARREN_QINDEX_H

#include "base/heap.h"
#include "model/qchunks.h"
#include "model/qruns.h"

/* What lies in a queue; shared by all its indexes. */
struct qcount {
    uint64_t count;
    uint64_t bytes; /* of bodies */
    uint64_t persistent;
    uint64_t persistent_bytes;
};

struct qcounts {
    struct qcount ready;
    struct qcount out;
    struct qcount away; /* of the ready ones */
};

/* What becomes of messages that leave in numbers. */
struct qsink {
    /* All that was ready between these two positions is gone. */
    void (*range)(uint64_t first, uint64_t last, void *arg);
    /* One of them is freed; the reference in it, if it is not absent, is the callee's. */
    void (*entry)(const struct qentry *e, void *arg);
    /* The same for a run. */
    void (*run)(const struct qrun *r, void *arg);
    void *arg;
};

struct qgrave;

/* What an index has only once something of it was away. */
struct qaway {
    struct qruns runs;   /* all at or behind next_fresh */
    uint64_t first;      /* nothing that is away comes before; UINT64_MAX: nothing is */
    uint64_t page_from;  /* where paging out goes on; 0: from the beginning */
    uint64_t spill_from; /* the same for what is looked for to be spilled */
    uint64_t mark;       /* everything before had been out, in another life of the node */
    uint64_t seen;       /* everything before may have been, on another node: it is redelivered */
    uint64_t rest_from;  /* see qindex_rest: chunks from this one on, */
    uint64_t rest_to;    /* up to this position, are still to be looked at; 0: none are */
};

struct qindex {
    struct qcounts *counts;
    uint64_t base; /* added to the positions that others are told of */
    struct qchunks chunks;
    struct qaway *away; /* NULL: nothing ever was */
    uint64_t next_new;  /* the position the next message gets */
    uint64_t
        next_fresh; /* nothing that is there from here on has been out; positions may be void */
    uint64_t ready; /* how many */
    uint64_t live;  /* entries in chunks */
    struct heap returned; /* positions that were requeued: ready, and all before next_fresh */
    struct qgrave *graves;
};

/* `counts`, zero at first, is the caller's and outlives the index. */
void qindex_init(struct qindex *ix, struct qcounts *counts, uint64_t base);

/* Append; takes the reference in *m. `expires_ms` is the moment, 0 for never. Returns its position.
 */
uint64_t qindex_push(struct qindex *ix, struct message **m, uint64_t expires_ms);

/* Append as out already: for a consumer that was waiting. The index had nothing ready. */
uint64_t qindex_push_out(struct qindex *ix, struct message **m, uint64_t expires_ms);

static inline uint64_t qindex_ready(const struct qindex *ix)
{
    return ix->ready;
}

/* Where the next ready one is. */
enum qhead {
    QHEAD_EMPTY,  /* there is none */
    QHEAD_HERE,   /* in memory */
    QHEAD_ABSENT, /* its entry is, its message is not */
    QHEAD_IN_RUN, /* neither */
};

/* The next ready one in order: its position and, HERE and ABSENT, its entry, borrowed until the
 * next change. */
enum qhead qindex_head(const struct qindex *ix, uint64_t *qseq, struct qentry **e);

/* The one at the head, which is HERE, goes out; the same entry, still borrowed. */
struct qentry *qindex_take(struct qindex *ix, uint64_t *qseq);

/* Take and settle at once: the one at the head, which is HERE or ABSENT, as it was at *qseq. The
 * reference in it is the caller's. */
struct qentry qindex_shift(struct qindex *ix, uint64_t *qseq);

/* The entry at a position if it is out, else NULL. */
struct qentry *qindex_out(const struct qindex *ix, uint64_t qseq);

/* When the entry at this position expires; 0: never. */
uint64_t qindex_expires_ms(const struct qindex *ix, uint64_t qseq);

/* How often the one at this position came back, as was set for it; it is there. */
uint32_t qindex_returns(const struct qindex *ix, uint64_t qseq);
void qindex_set_returns(struct qindex *ix, uint64_t qseq, uint32_t returns);

/* The entry at this position has its record there. NULL: there is no entry. */
const struct qentry *qindex_set_place(struct qindex *ix, uint64_t qseq, struct place place);

/* What was out at this position is settled: removed. The reference in it is given to the caller;
 * its state is QENTRY_NONE when nothing was. */
MUST_CHECK struct qentry qindex_settle(struct qindex *ix, uint64_t qseq);

/* It was out; it is ready again at its old place. */
void qindex_requeue(struct qindex *ix, uint64_t qseq, bool redelivered);

/* It was out; it is ready again, as the last of all, with no place in the journal. Returns its new
 * position. */
uint64_t qindex_requeue_last(struct qindex *ix, uint64_t qseq);

/* Bury all that is ready; returns how many. A few are freed at once. counts->ready and ->away mean
 * nothing then until the caller, who has purged all indexes that share them, clears them. */
uint64_t qindex_purge(struct qindex *ix, const struct qsink *to);

/* Free what is buried while *budget, lowered for each message, lasts. True when all is freed. */
bool qindex_sweep(struct qindex *ix, size_t *budget, const struct qsink *to);

/* Remove all, ready and out, in the same way, and the memory; then it is as after init. False when
 * the budget did not last: to be called again, and nothing else. */
bool qindex_fini(struct qindex *ix, size_t *budget, const struct qsink *to);

/* ---- for qaway ----------------------------------------------------------------------------------
 */

struct qaway *qindex_away(struct qindex *ix);                        /* made if need be */
struct qentry *qindex_entry(const struct qindex *ix, uint64_t qseq); /* NULL: none is there */
void qindex_drop(struct qindex *ix, uint64_t qseq);                  /* the entry; counts nothing */
/* One that was requeued is not ready any more. */
void qindex_forget_returned(struct qindex *ix, uint64_t qseq);

void qcount_add(struct qcount *c, const struct qentry *e);
void qcount_subtract(struct qcount *c, const struct qentry *e);
void qcount_add_run(struct qcount *c, const struct qrun *r);
void qcount_subtract_run(struct qcount *c, const struct qrun *r);

#endif
