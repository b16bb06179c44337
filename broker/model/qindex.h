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
#include "store/place.h"

enum qentry_state {
    QENTRY_NONE,
    QENTRY_READY,
    QENTRY_OUT,
};

struct qentry {
    union {
        struct message *message; /* a reference of the index */
        uint64_t body_bytes;     /* absent */
    };
    uint32_t seg;             /* its place in the journal; 0: it has none */
    uint32_t offset8 : 27;    /* of its record, in units of PLACE_ALIGN */
    uint32_t state : 2;       /* enum qentry_state */
    uint32_t redelivered : 1; /* has been out before, or may have been */
    uint32_t absent : 1;      /* the message is not in memory, but at its place */
    uint32_t persistent : 1;
};
_Static_assert(sizeof(struct qentry) == 16, "there are millions");

static inline struct place qentry_place(const struct qentry *e)
{
    return (struct place){ e->seg, e->offset8 * PLACE_ALIGN };
}

static inline uint64_t qentry_body_bytes(const struct qentry *e)
{
    return e->absent ? e->body_bytes : e->message->body_bytes;
}

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

/* What becomes of entries that leave in numbers. */
struct qsink {
    /* All positions between these two are gone. */
    void (*range)(uint64_t first, uint64_t last, void *arg);
    /* One of them is freed; the reference in it is the callee's. */
    void (*entry)(const struct qentry *e, void *arg);
    void *arg;
};

struct qchunk;
struct qgrave;

struct qindex {
    struct qcounts *counts;
    uint64_t base;          /* added to the positions that a sink is told of */
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
void qindex_init(struct qindex *ix, struct qcounts *counts, uint64_t base);

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

/* How often the one at this position came back, as was set for it; it is there. */
uint32_t qindex_returns(const struct qindex *ix, uint64_t qseq);
void qindex_set_returns(struct qindex *ix, uint64_t qseq, uint32_t returns);

/* The entry at this position has its record there. NULL: there is no entry. */
const struct qentry *qindex_set_place(struct qindex *ix, uint64_t qseq, struct place place);

/* What was out at this position is settled: removed. The reference in it is given to the caller;
 * its state is QENTRY_NONE when nothing was. */
MUST_CHECK struct qentry qindex_settle(struct qindex *ix, uint64_t qseq);

/* Take and settle at once: the next ready one, as it was at *qseq. The reference in it is the
 * caller's. */
struct qentry qindex_shift(struct qindex *ix, uint64_t *qseq);

/* It was out; it is ready again at its old place. */
void qindex_requeue(struct qindex *ix, uint64_t qseq, bool redelivered);

/* It was out; it is ready again, as the last of all, with no place in the journal. Returns its new
 * position. */
uint64_t qindex_requeue_last(struct qindex *ix, uint64_t qseq);

/* Bury all that is ready; returns how many. A few are freed at once. counts->ready means nothing
 * then until the caller, who has purged all indexes that share it, clears it. */
uint64_t qindex_purge(struct qindex *ix, const struct qsink *to);

/* Free what is buried while *budget, lowered for each message, lasts. True when all is freed. */
bool qindex_sweep(struct qindex *ix, size_t *budget, const struct qsink *to);

/* Remove all, ready and out, in the same way, and the memory; then it is as after init. False when
 * the budget did not last: to be called again, and nothing else. */
bool qindex_fini(struct qindex *ix, size_t *budget, const struct qsink *to);

#endif
