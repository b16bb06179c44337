/*
 * queue_inner: what the two files of queue.h share: queue.c, and queue_away.c for what is not in
 * memory.
 */
#ifndef WARREN_QUEUE_INNER_H
#define WARREN_QUEUE_INNER_H

#include "model/queue.h"

/* What leaves in numbers is told to the queue's ops and released. */
struct qsink queue_sink(struct queue *q);

#endif
