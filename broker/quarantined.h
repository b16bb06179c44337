/*
 * quarantined: the node's quarantine (quarantine/quarantine.h), and the thread that works in it.
 *
 * What is in it is written, read and dropped by jobs, one at a time, for the disk may be slow. It
 * counts what they did, for the metrics. On the control thread but what says otherwise.
 */
#ifndef WARREN_QUARANTINED_H
#define WARREN_QUARANTINED_H

#include "io/work.h"
#include "quarantine/quarantine.h"

struct quarantined;

/* The disk outlives it. */
MUST_CHECK struct quarantined *quarantined_open(struct disk *disk, struct err *err);

/* Loops do not run any more: its thread ends, what waited comes back cancelled. */
void quarantined_stop(struct quarantined *q);
/* The loops that gave it jobs are still there. NULL is allowed. */
void quarantined_free(struct quarantined **q);

/* ---- any thread ---- */

/* For jobs: it blocks. */
struct quarantine *quarantined_files(struct quarantined *q);

/* As work_submit, on the loop's thread. */
MUST_CHECK bool quarantined_submit(struct quarantined *q, struct loop *loop, struct work_job *job,
                                   struct err *err);

/* A job has changed what is there. */
void quarantined_changed(struct quarantined *q);

#define QUARANTINED_COUNTERS(X)                                                                    \
    X(messages) /* there now */                                                                    \
    X(bytes)                                                                                       \
    X(added) /* since the start */                                                                 \
    X(requeued)                                                                                    \
    X(dropped)  /* by somebody's word */                                                           \
    X(overflow) /* by the limit */                                                                 \
    X(failures) /* to write */

struct quarantined_stats {
#define X(name) uint64_t name;
    QUARANTINED_COUNTERS(X)
#undef X
};

enum quarantined_count {
#define X(name) QUARANTINED_##name,
    QUARANTINED_COUNTERS(X)
#undef X
        QUARANTINED_COUNTS
};

void quarantined_count(struct quarantined *q, enum quarantined_count what, uint64_t n);
/* NULL: all are 0. */
void quarantined_stats(struct quarantined *q, struct quarantined_stats *out);

#endif
