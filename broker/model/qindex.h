/*
 * qindex: the messages of one queue by their position (qseq), ready or out.
 *
 * A position is given once and never again. A message is *ready* until it is handed out, then *out*
 * until it is settled, which removes it, or requeued, which makes it ready at its old position.
 * Entries live in chunks of consecutive positions; a chunk goes when its last entry goes, so one
 * old unsettled message does not hold the memory of those that came after it. All steps take
 * constant time, but for requeued ones: logarithmic in how many of those wait.
 *
 * Knows nothing of consumers. One thread. Empty, it holds next to no memory.
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
    uint8_t state;           /* enum qentry_state */
    bool redelivered;        /* has been out before, or may have been */
};

struct qchunk;

struct qindex {
    struct qchunk **chunks; /* a ring; NULL where a chunk has gone already */
    size_t cap;
    size_t head;
    size_t count;
    uint64_t first_chunk; /* number of the chunk at head */
    uint64_t next_new;    /* the position the next message gets */
    uint64_t next_fresh;  /* no ready entry from here on has been out; all before were shown */
    struct heap returned; /* positions that were requeued */
    uint64_t ready_count;
    uint64_t out_count;
    uint64_t ready_bytes; /* of bodies */
    uint64_t out_bytes;
};

void qindex_init(struct qindex *ix);

/* Append; takes the reference in *m. Returns its position. */
uint64_t qindex_push(struct qindex *ix, struct message **m);

/* Append as out already: for a consumer that was waiting. The queue had nothing ready. */
uint64_t qindex_push_out(struct qindex *ix, struct message **m);

/* The next ready one in order, or NULL; *qseq is its position. Borrowed until the next change. */
struct qentry *qindex_peek(struct qindex *ix, uint64_t *qseq);

/* The one that qindex_peek shows goes out; the same pointer, still borrowed. */
struct qentry *qindex_take(struct qindex *ix, uint64_t *qseq);

/* The entry at a position if it is out, else NULL. */
struct qentry *qindex_out(struct qindex *ix, uint64_t qseq);

/* It was out; it is settled: removed. The reference is given to the caller. */
MUST_CHECK struct message *qindex_settle(struct qindex *ix, uint64_t qseq);

/* It was out; it is ready again at its old place. */
void qindex_requeue(struct qindex *ix, uint64_t qseq, bool redelivered);

/* Remove all that is ready, calling `each` with a reference it must drop; returns how many. */
typedef void (*qindex_fn)(struct message *m, void *arg);
uint64_t qindex_purge(struct qindex *ix, qindex_fn each, void *arg);

/* Remove all, ready and out, in the same way, and the memory; the end of it. */
void qindex_fini(struct qindex *ix, qindex_fn each, void *arg);

#endif
