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

#include "model/qcopy.h"
#include "model/qjournal.h"

struct qlevels;

struct qstore {
    struct qcounts counts;
    struct qindex first;    /* of priority 0 */
    struct qlevels *levels; /* NULL: no priorities */
};

/* In place: it does not move afterwards. Priorities are 0 .. max_priority. */
void qstore_init(struct qstore *st, uint8_t max_priority);

/* See qindex.h. A priority above the highest counts as that. Where there are no priorities, which
 * is usual, the index is called straight away; the functions of that name with _of_any do the rest.
 */
uint64_t qstore_push_of_any(struct qstore *st, struct message **m, uint8_t priority,
                            uint64_t expires_ms);
uint64_t qstore_push_out_of_any(struct qstore *st, struct message **m, uint8_t priority,
                                uint64_t expires_ms);
enum qhead qstore_head_of_any(const struct qstore *st, uint64_t *qseq, struct qentry **e);
struct qentry *qstore_take_of_any(struct qstore *st, uint64_t *qseq);
struct qentry qstore_shift_of_any(struct qstore *st, uint64_t *qseq);
struct qentry *qstore_out_of_any(const struct qstore *st, uint64_t qseq);
MUST_CHECK struct qentry qstore_settle_of_any(struct qstore *st, uint64_t qseq);

static inline uint64_t qstore_push(struct qstore *st, struct message **m, uint8_t priority,
                                   uint64_t expires_ms)
{
    return LIKELY(st->levels == NULL) ? qindex_push(&st->first, m, expires_ms)
                                      : qstore_push_of_any(st, m, priority, expires_ms);
}

static inline uint64_t qstore_push_out(struct qstore *st, struct message **m, uint8_t priority,
                                       uint64_t expires_ms)
{
    return LIKELY(st->levels == NULL) ? qindex_push_out(&st->first, m, expires_ms)
                                      : qstore_push_out_of_any(st, m, priority, expires_ms);
}

static inline enum qhead qstore_head(const struct qstore *st, uint64_t *qseq, struct qentry **e)
{
    return LIKELY(st->levels == NULL) ? qindex_head(&st->first, qseq, e)
                                      : qstore_head_of_any(st, qseq, e);
}

static inline struct qentry *qstore_take(struct qstore *st, uint64_t *qseq)
{
    return LIKELY(st->levels == NULL) ? qindex_take(&st->first, qseq)
                                      : qstore_take_of_any(st, qseq);
}

static inline struct qentry qstore_shift(struct qstore *st, uint64_t *qseq)
{
    return LIKELY(st->levels == NULL) ? qindex_shift(&st->first, qseq)
                                      : qstore_shift_of_any(st, qseq);
}

static inline struct qentry *qstore_out(const struct qstore *st, uint64_t qseq)
{
    return LIKELY(st->levels == NULL) ? qindex_out(&st->first, qseq) : qstore_out_of_any(st, qseq);
}

MUST_CHECK static inline struct qentry qstore_settle(struct qstore *st, uint64_t qseq)
{
    return LIKELY(st->levels == NULL) ? qindex_settle(&st->first, qseq)
                                      : qstore_settle_of_any(st, qseq);
}

uint64_t qstore_expires_ms(const struct qstore *st, uint64_t qseq);
uint32_t qstore_returns(const struct qstore *st, uint64_t qseq);
void qstore_set_returns(struct qstore *st, uint64_t qseq, uint32_t returns);
const struct qentry *qstore_set_place(struct qstore *st, uint64_t qseq, struct place place);
void qstore_requeue(struct qstore *st, uint64_t qseq, bool redelivered);
uint64_t qstore_requeue_last(struct qstore *st, uint64_t qseq);
uint64_t qstore_purge(struct qstore *st, const struct qsink *to);
bool qstore_sweep(struct qstore *st, size_t *budget, const struct qsink *to);
bool qstore_fini(struct qstore *st, size_t *budget, const struct qsink *to);

/* ---- what is away, see qaway.h. Positions are whole ones ----------------------------------------
 */

void qstore_page_out(struct qstore *st, struct qpaging *p,
                     void (*release)(struct message *m, void *arg), void *arg);
size_t qstore_unplaced(struct qstore *st, uint64_t keep_count, struct queue_item *out, size_t max,
                       bool *is_done);

/* The highest priority first; of those above that of `after` nothing is wanted. */
bool qstore_wants(struct qstore *st, const struct qwindow *w, uint64_t after, struct qwant *out);

/* Something that is away may come among the next so many. */
bool qstore_is_low(const struct qstore *st, uint64_t count);
bool qstore_loaded(struct qstore *st, struct queue_item *it, const struct qsink *to);
void qstore_loaded_run(struct qstore *st, uint32_t seg, uint64_t first, uint64_t last,
                       struct queue_item *items, size_t count, const struct qsink *to);
void qstore_lost(struct qstore *st, uint64_t first, uint64_t last, const struct qsink *to);
bool qstore_at(const struct qstore *st, uint64_t qseq, struct place place);
bool qstore_has_runs_in(const struct qstore *st, uint32_t seg);
bool qstore_dead_ranges(const struct qstore *st, qrange_fn each, void *arg, struct qrun *sparse);
void qstore_marks(const struct qstore *st, void (*each)(uint64_t mark, void *arg), void *arg);
uint64_t qstore_ahead(const struct qstore *st, uint64_t qseq, uint64_t count);
void qstore_each_returned(const struct qstore *st,
                          void (*each)(uint64_t qseq, uint32_t returns, void *arg), void *arg);

/* ---- copies, see qcopy.h. Positions are whole ones ----------------------------------------------
 */

/* NOTHING also when the store does not have such a priority: nothing of it can be there. */
enum qcopy qstore_put(struct qstore *st, struct queue_item *it, struct qrun *run);
enum qcopy qstore_drop_range(struct qstore *st, uint64_t first, uint64_t last, size_t *budget,
                             const struct qsink *to, struct qrun *run);
enum qcopy qstore_live(const struct qstore *st, uint64_t at, uint64_t *first, uint64_t *last,
                       struct qrun *run);
enum qcopy qstore_rest(struct qstore *st, size_t *budget, const struct qsink *to);
void qstore_raise(struct qstore *st, uint64_t next_new);
void qstore_lower(struct qstore *st, uint64_t next_new);
void qstore_seen(struct qstore *st, uint64_t mark);

/* The next position of each priority that was ever used. */
void qstore_starts(const struct qstore *st, void (*each)(uint64_t next_new, void *arg), void *arg);

/* For a planned move, see queue_copy.h. Positions are whole ones, and rise. */
size_t qstore_list_out(const struct qstore *st, uint64_t *out, size_t max);
void qstore_fresh(const struct qstore *st, void (*each)(uint64_t next_fresh, void *arg), void *arg);
void qstore_unseen(struct qstore *st, uint64_t next_fresh);
size_t qstore_hold(struct qstore *st, const uint64_t *qseqs, size_t count);

/* What is at this position, ready or out. HERE and ABSENT: *e is borrowed; IN_RUN: *run is the run.
 */
enum qhead qstore_look(const struct qstore *st, uint64_t qseq, const struct qentry **e,
                       struct qrun *run);

/* *has_expiring: some may expire. False: there were priorities that the store has not; what they
 * had is left out. */
MUST_CHECK bool qstore_restore(struct qstore *st, const struct recovered_queue *from,
                               int64_t to_loop_ms, bool *has_expiring);

#endif
