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
 * Moments at which messages expire are kept only in chunks that have such messages. Knows nothing
 * of consumers. One thread. Empty, it holds next to no memory.
 */
#ifndef WARREN_QINDEX_H
#define WARREN_QINDEX_H

#include "base/heap.h"
#include "model/message.h"

enum qentry_state {
    QENTRY_NONE,
    QENTRY_READY,
    QENTRY_OUT,
};

struct qentry {
    struct message *message; /* a reference of the index */
    uint32_t returns;        /* how often it was requeued by somebody who may have seen it */
    uint8_t state;           /* enum qentry_state */
    bool redelivered;        /* has been out before, or may have been */
};

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
};

struct qchunk;
struct qgrave;

struct qindex {
    struct qcounts *counts;
    struct qchunk **chunks; /* a ring; NULL where a chunk has gone already */
    size_t cap;
    size_t head;
    size_t count;
    uint64_t first_chunk; /* number of the chunk at head */
    uint64_t next_new;    /* the position the next message gets */
    uint64_t next_fresh;  /* no ready entry from here on has been out; all before were shown */
    uint64_t live;        /* entries in chunks of the ring */
    struct heap returned; /* positions that were requeued */
    struct qgrave *graves;
};

/* `counts`, zero at first, is the caller's and outlives the index. */
void qindex_init(struct qindex *ix, struct qcounts *counts);

/* Append; takes the reference in *m. `expires_ms` is the moment, 0 for never. Returns its position.
 */
uint64_t qindex_push(struct qindex *ix, struct message **m, uint64_t expires_ms);

/* Append as out already: for a consumer that was waiting. The index had nothing ready. */
uint64_t qindex_push_out(struct qindex *ix, struct message **m, uint64_t expires_ms);

static inline uint64_t qindex_ready(const struct qindex *ix)
{
    return ix->returned.count + (ix->next_new - ix->next_fresh);
}

/* The next ready one in order, or NULL; *qseq is its position. Borrowed until the next change. */
struct qentry *qindex_peek(const struct qindex *ix, uint64_t *qseq);

/* The one that qindex_peek shows goes out; the same pointer, still borrowed. */
struct qentry *qindex_take(struct qindex *ix, uint64_t *qseq);

/* The entry at a position if it is out, else NULL. */
struct qentry *qindex_out(const struct qindex *ix, uint64_t qseq);

/* When the entry at this position expires; 0: never. */
uint64_t qindex_expires_ms(const struct qindex *ix, uint64_t qseq);

/* What was out at this position is settled: removed. The reference is given to the caller; NULL
 * when nothing was. */
MUST_CHECK struct message *qindex_settle(struct qindex *ix, uint64_t qseq);

/* Take and settle at once: the next ready one, as it was. The reference in it is the caller's. */
struct qentry qindex_shift(struct qindex *ix);

/* It was out; it is ready again at its old place. */
void qindex_requeue(struct qindex *ix, uint64_t qseq, bool redelivered);

/* It was out; it is ready again, as the last of all. */
void qindex_requeue_last(struct qindex *ix, uint64_t qseq);

/* Bury all that is ready; returns how many. A few are freed at once: `each` is given their
 * references. counts->ready means nothing then until the caller, who has purged all indexes that
 * share it, clears it. */
typedef void (*qindex_fn)(struct message *m, void *arg);
uint64_t qindex_purge(struct qindex *ix, qindex_fn each, void *arg);

/* Free what is buried while *budget, lowered for each message, lasts. True when all is freed. */
bool qindex_sweep(struct qindex *ix, size_t *budget, qindex_fn each, void *arg);

/* Remove all, ready and out, in the same way, and the memory; then it is as after init. False when
 * the budget did not last: to be called again, and nothing else. */
bool qindex_fini(struct qindex *ix, size_t *budget, qindex_fn each, void *arg);

#endif
