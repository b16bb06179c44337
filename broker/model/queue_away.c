#include "model/queue_inner.h"

/* ---- what is not in memory --------------------------------------------------------------------
 */

static void release(struct message *m, void *arg)
{
    const struct queue *q = arg;
    q->ops->release(m, q->ops->arg);
}

void queue_page_out(struct queue *q, struct qpaging *p)
{
    qstore_page_out(&q->store, p, release, q);
}

size_t queue_unplaced(struct queue *q, uint64_t keep_count, struct queue_item *out, size_t max,
                      bool *is_done)
{
    return qstore_unplaced(&q->store, keep_count, out, max, is_done);
}

bool queue_wants(struct queue *q, const struct qwindow *w, uint64_t after, struct qwant *out)
{
    return qstore_wants(&q->store, w, after, out);
}

static void drop(struct queue *q, struct queue_item *it)
{
    if (it->message == NULL)
        return;
    release(it->message, q);
    it->message = NULL;
}

void queue_loaded(struct queue *q, struct queue_item *items, size_t count)
{
    const struct qsink to = queue_sink(q);
    for (size_t i = 0; i < count; i++) {
        if (!qstore_loaded(&q->store, &items[i], &to))
            drop(q, &items[i]);
    }
}

void queue_loaded_run(struct queue *q, uint32_t seg, uint64_t first, uint64_t last,
                      struct queue_item *items, size_t count)
{
    const struct qsink to = queue_sink(q);
    qstore_loaded_run(&q->store, seg, first, last, items, count, &to);
    for (size_t i = 0; i < count; i++) {
        q->has_timed |= items[i].expires_ms != 0;
        drop(q, &items[i]);
    }
}

void queue_lost(struct queue *q, uint64_t first, uint64_t last)
{
    const struct qsink to = queue_sink(q);
    qstore_lost(&q->store, first, last, &to);
}

/* ---- what the journal asks --------------------------------------------------------------------
 */

bool queue_at(const struct queue *q, uint64_t qseq, struct place place)
{
    return qstore_at(&q->store, qseq, place);
}

bool queue_has_runs_in(const struct queue *q, uint32_t seg)
{
    return qstore_has_runs_in(&q->store, seg);
}

bool queue_dead_ranges(const struct queue *q, qrange_fn each, void *arg, struct qrun *sparse)
{
    return qstore_dead_ranges(&q->store, each, arg, sparse);
}

void queue_marks(const struct queue *q, void (*each)(uint64_t mark, void *arg), void *arg)
{
    qstore_marks(&q->store, each, arg);
}

uint64_t queue_ahead(const struct queue *q, uint64_t qseq, uint64_t count)
{
    return qstore_ahead(&q->store, qseq, count);
}

void queue_each_returned(const struct queue *q,
                         void (*each)(uint64_t qseq, uint32_t returns, void *arg), void *arg)
{
    qstore_each_returned(&q->store, each, arg);
}

bool queue_restore(struct queue *q, const struct recovered_queue *from, int64_t to_loop_ms)
{
    bool has_expiring;
    bool has_all = qstore_restore(&q->store, from, to_loop_ms, &has_expiring);
    q->has_timed |= has_expiring;
    return has_all;
}
