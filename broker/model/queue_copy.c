#include "model/queue_copy.h"

#include "base/check.h"
#include "model/queue_inner.h"

/* As many positions of a run at a time as a turn may hold. */
#define READ_POSITIONS 4096u

/* A part of the run that begins with it: of one that is not dense nothing else can be cut off. */
static void want_run(const struct qrun *run, struct qwant *want)
{
    *want = (struct qwant){ .run_seg = run->seg, .first = run->first, .last = run->last };
    if (run->last - run->first >= READ_POSITIONS)
        want->last = run->first + READ_POSITIONS - 1;
}

enum qcopy queue_follow(struct queue *q, size_t *budget)
{
    CHECK(q->consumer_count == 0);
    const struct qsink to = queue_sink(q);
    q->is_copy = true;
    q->waits = false;
    enum qcopy rested = qstore_rest(&q->store, budget, &to);
    if (rested == QCOPY_DONE)
        q->has_buried = false;
    return rested;
}

size_t queue_list_out(const struct queue *q, uint64_t *out, size_t max)
{
    return qstore_list_out(&q->store, out, max);
}

void queue_fresh(const struct queue *q, void (*each)(uint64_t next_fresh, void *arg), void *arg)
{
    qstore_fresh(&q->store, each, arg);
}

void queue_unseen(struct queue *q, uint64_t next_fresh)
{
    qstore_unseen(&q->store, next_fresh);
}

size_t queue_hold(struct queue *q, const uint64_t *qseqs, size_t count)
{
    CHECK(!q->is_copy);
    return count != 0 ? qstore_hold(&q->store, qseqs, count) : 0;
}

bool queue_is_out(const struct queue *q, uint64_t qseq)
{
    return qstore_out(&q->store, qseq) != NULL;
}

void queue_adopt(struct queue *q, struct consumer *c)
{
    CHECK(c->queue == q);
    c->out += !c->no_ack;
}

void queue_lead(struct queue *q, uint64_t now_ms)
{
    CHECK(q->is_copy);
    q->is_copy = false;
    queue_use(q, now_ms);
    queue_run(q, now_ms);
}

enum qcopy queue_put(struct queue *q, struct queue_item *it, struct qwant *want)
{
    struct qrun run;
    CHECK(q->is_copy);
    enum qcopy put = qstore_put(&q->store, it, &run);
    if (put == QCOPY_LATER)
        want_run(&run, want);
    else if (put == QCOPY_DONE)
        q->has_timed |= it->expires_ms != 0;
    return put;
}

enum qcopy queue_drop(struct queue *q, uint64_t first, uint64_t last, size_t *budget,
                      struct qwant *want)
{
    struct qrun run;
    CHECK(q->is_copy);
    const struct qsink to = queue_sink(q);
    enum qcopy dropped = qstore_drop_range(&q->store, first, last, budget, &to, &run);
    if (dropped == QCOPY_LATER)
        want_run(&run, want);
    return dropped;
}

void queue_seen(struct queue *q, uint64_t mark)
{
    qstore_seen(&q->store, mark);
}

void queue_count_returns(struct queue *q, uint64_t qseq, uint32_t returns)
{
    const struct qentry *e;
    struct qrun run;
    enum qhead at = qstore_look(&q->store, qseq, &e, &run);
    if (at == QHEAD_HERE || at == QHEAD_ABSENT)
        qstore_set_returns(&q->store, qseq, returns);
}

void queue_raise(struct queue *q, uint64_t next_new)
{
    qstore_raise(&q->store, next_new);
}

void queue_lower(struct queue *q, uint64_t next_new)
{
    CHECK(q->is_copy);
    qstore_lower(&q->store, next_new);
}

void queue_starts(const struct queue *q, void (*each)(uint64_t next_new, void *arg), void *arg)
{
    qstore_starts(&q->store, each, arg);
}

enum qcopy queue_live(const struct queue *q, uint64_t at, uint64_t *first, uint64_t *last,
                      struct qwant *want)
{
    struct qrun run;
    enum qcopy live = qstore_live(&q->store, at, first, last, &run);
    if (live == QCOPY_LATER)
        want_run(&run, want);
    return live;
}

enum qhead queue_look(const struct queue *q, uint64_t qseq, struct queue_item *out,
                      struct qwant *want)
{
    const struct qentry *e;
    struct qrun run;
    enum qhead at = qstore_look(&q->store, qseq, &e, &run);
    if (at == QHEAD_IN_RUN) {
        want_run(&run, want);
        if (qrun_is_dense(&run)) {
            want->first = qseq;
            want->last = qseq;
        }
    }
    if (at != QHEAD_HERE && at != QHEAD_ABSENT)
        return at;
    *out = (struct queue_item){ .qseq = qseq,
                                .message = e->absent ? NULL : e->message,
                                .body_bytes = qentry_body_bytes(e),
                                .expires_ms = qstore_expires_ms(&q->store, qseq),
                                .place = qentry_place(e),
                                .returns = qstore_returns(&q->store, qseq),
                                .persistent = e->persistent,
                                .redelivered = e->redelivered };
    return at;
}
