/*
 * evacuate: which segment to empty so that disk use stays within bounds, and what stands in it.
 *
 * The bound: segments, those that are kept ready among them, take at most EVACUATE_TENTHS tenths of
 * what is alive, and EVACUATE_SLACK segments beside: less than twice what is alive once that is
 * some thirty segments. Above it the segment with the smallest share that is alive is emptied,
 * which costs least and gives most. To choose is pure; to read a segment blocks, on a pool.
 */
#ifndef WARREN_EVACUATE_H
#define WARREN_EVACUATE_H

#include "io/disk.h"
#include "store/record.h"
#include "store/store.h"

#define EVACUATE_TENTHS 16u
#define EVACUATE_SLACK  12u /* small nodes need no work at all */

/* One segment as the table has it. */
struct evacuate_seg {
    uint32_t seg;
    bool may_go; /* it is sealed, nothing else is done with it, and it is not damaged */
    uint64_t bytes;
    int64_t put_bytes;
    int64_t alive_bytes;
};

/* Octets of the file that are for something. Counts are of entries, and a message has one in each
 * of its queues; so it is the share of what was put, or what the entries stand for, whichever is
 * less. */
uint64_t evacuate_alive_bytes(const struct evacuate_seg *s);

struct evacuate_rule {
    uint64_t segment_bytes; /* what the slack is counted in */
    uint64_t spare_bytes;   /* of those that are ready */
    bool is_short;          /* the disk has no room: whatever gives some is needed */
};

/* Segments take more than they may. */
bool evacuate_is_needed(const struct evacuate_seg *segs, size_t count,
                        const struct evacuate_rule *rule);

/* The segment to empty next; 0: there is no need, or none that would help. */
uint32_t evacuate_choose(const struct evacuate_seg *segs, size_t count,
                         const struct evacuate_rule *rule);

/* ---- what stands in it ------------------------------------------------------------------------
 */

/* A whole segment, read and sorted. */
struct evacuation {
    uint32_t seg;
    uint8_t *bytes;
    size_t len;
    struct segment_header header;
    struct store_moving *items; /* by queue, then by position; a position once */
    size_t count;
    struct store_moving_queue *queues; /* in order of qid */
    size_t queue_count;
    uint32_t bad_offset; /* 0: every record is good; else the first octet of what is not */
};

/* False: it cannot be read at all. */
MUST_CHECK bool evacuate_read(struct disk *d, uint32_t seg, struct evacuation *out,
                              struct err *err);

/* Items of some queues (by number in `queues`, marked) in the order in which they stand in the
 * segment: their numbers. Returns how many; *out is from mem. */
size_t evacuate_order(const struct evacuation *e, const bool *is_marked, uint32_t **out);

void evacuation_fini(struct evacuation *e);

#endif
