/*
 * bench_track: what came, what came twice, what came in the wrong order, and what never came.
 *
 * A tracker belongs to one thread and has, for each pair of a queue and a flow, the exact set of
 * ids that were delivered. Trackers of several threads are merged at the end, which is when an id
 * that two threads saw shows up. What a broker may rightly send twice is counted apart: a delivery
 * marked `redelivered`, and an id that the publisher itself sent again after its connection broke.
 *
 * Order is judged for each consumer by itself (bench_order): a queue with several consumers
 * promises nothing between them.
 */
#ifndef WARREN_BENCH_TRACK_H
#define WARREN_BENCH_TRACK_H

#include "bench_ids.h"

struct bench_counts {
    uint64_t received;
    uint64_t unique;
    uint64_t duplicated; /* came again, and nothing said that it might */
    uint64_t duplicated_redelivered;
    uint64_t duplicated_resent;
    uint64_t acked_again; /* of those three and of these: came after an acknowledgement that was
                             relied on, and its publisher had not sent it again */
    uint64_t redelivered; /* deliveries with the flag, first or second */
    uint64_t reordered;   /* new, unflagged, and behind a later one of its flow */
    uint64_t misrouted;   /* came to a queue that its key does not lead to */
    uint64_t foreign;     /* of another run, of no known flow, or too short */
    uint64_t corrupt;     /* the octets after the ids are not what was sent */
    uint64_t body_bytes;
};

void bench_counts_add(struct bench_counts *into, const struct bench_counts *from);

struct bench_track {
    struct bench_ids *seen;        /* [queue * flows + flow] */
    struct bench_ids *resent;      /* those of `seen` that came with the mark */
    struct bench_ids *redelivered; /* the same */
    struct bench_ids *settled;     /* whose acknowledgement is relied on */
    uint32_t queues;
    uint32_t flows;
    struct bench_counts counts;
};

/* The budget is borrowed and may be shared by several trackers. */
void bench_track_init(struct bench_track *t, uint32_t queues, uint32_t flows,
                      struct mem_budget *budget);
void bench_track_fini(struct bench_track *t);

/* The latest sequence that a consumer saw of each flow, plus one; 0 for none yet. */
struct bench_order {
    uint64_t *next; /* [flow] */
};

void bench_order_init(struct bench_order *o, uint32_t flows);
void bench_order_fini(struct bench_order *o);

struct bench_sight {
    uint32_t queue;
    uint32_t flow; /* < flows */
    uint64_t sequence;
    bool redelivered;
    bool resent;
};

/* A message was delivered. */
void bench_track_see(struct bench_track *t, struct bench_order *o, const struct bench_sight *s);

/* The acknowledgement of a message is relied on from now on (bench_acks): it must not come again.
 */
void bench_track_settle(struct bench_track *t, uint32_t queue, uint32_t flow, uint64_t sequence);

/* Add another thread's tracker of the same shape. What one thread acknowledged and the other saw is
 * not judged: nobody knows which was first. */
void bench_track_merge(struct bench_track *into, const struct bench_track *from);

/* Of the flow's ids 0 .. end - 1, those that never came to the queue and are not in `excused`
 * (what was refused, or sent on a connection that broke). *first: the first of them. */
uint64_t bench_track_lost(const struct bench_track *t, uint32_t queue, uint32_t flow,
                          const struct bench_ids *excused, uint64_t end, uint64_t *first);

/* The budget refused an id somewhere: the counts are not exact. */
bool bench_track_overfull(const struct bench_track *t);

#endif
