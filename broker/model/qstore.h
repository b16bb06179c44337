/*
 * qstore: the messages of one queue, by priority and then by position.
 *
 * A queue without priorities is one index. One with priorities has an index for each that was ever
 * used, made when first used; a bitmap tells which of them have something ready, so that unused
 * priorities cost a pointer each and no time. A position (qseq) names its priority in the uppermost
 * octet. One thread.
 */
#ifndef WARREN_QSTORE_H
#define WARREN_QSTORE_H

#include "model/qindex.h"

struct qlevels;

struct qstore {
    struct qcounts counts;
    struct qindex first;    /* of priority 0 */
    struct qlevels *levels; /* NULL: no priorities */
};

/* In place: it does not move afterwards. Priorities are 0 .. max_priority. */
void qstore_init(struct qstore *st, uint8_t max_priority);

/* See qindex.h. A priority above the highest counts as that. */
uint64_t qstore_push(struct qstore *st, struct message **m, uint8_t priority, uint64_t expires_ms);
uint64_t qstore_push_out(struct qstore *st, struct message **m, uint8_t priority,
                         uint64_t expires_ms);
struct qentry *qstore_peek(const struct qstore *st, uint64_t *qseq);
struct qentry *qstore_take(struct qstore *st, uint64_t *qseq);
struct qentry *qstore_out(const struct qstore *st, uint64_t qseq);
uint64_t qstore_expires_ms(const struct qstore *st, uint64_t qseq);
MUST_CHECK struct message *qstore_settle(struct qstore *st, uint64_t qseq);
void qstore_requeue(struct qstore *st, uint64_t qseq, bool redelivered);
void qstore_requeue_last(struct qstore *st, uint64_t qseq);
uint64_t qstore_purge(struct qstore *st, qindex_fn each, void *arg);
bool qstore_sweep(struct qstore *st, size_t *budget, qindex_fn each, void *arg);
bool qstore_fini(struct qstore *st, size_t *budget, qindex_fn each, void *arg);

#endif
