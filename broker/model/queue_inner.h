/*
 * queue_inner: what the files of queue.h share: queue.c, queue_life.c for how it begins and ends,
 * and queue_away.c for what is not in memory.
 */
#ifndef WARREN_QUEUE_INNER_H
#define WARREN_QUEUE_INNER_H

#include "model/queue.h"

/* What leaves in numbers is told to the queue's ops and released. */
struct qsink queue_sink(struct queue *q);

/* Free some of what was purged. True: there is more. */
MUST_CHECK bool queue_sweep(struct queue *q);

#endif
