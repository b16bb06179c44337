/*
 * segs: what is known of each segment: its state, and how much in it is alive.
 *
 * A table that any thread reads and counts in without a lock. What is alive is counted in entries
 * of queues: a message in three queues counts three times, and the share that is alive is judged by
 * what was put against what is left.
 */
#ifndef WARREN_SEGS_H
#define WARREN_SEGS_H

#include "base/attr.h"
#include "store/place.h"

#include <stdatomic.h>

enum seg_state {
    SEG_NONE,    /* no such segment */
    SEG_OPEN,    /* being written, or the next to be */
    SEG_SEALED,  /* full and durable */
    SEG_INDEXED, /* the same, with an index file beside it (seg_index.h) */
    SEG_LEAVING, /* what is alive is being moved */
};

struct seg {
    atomic_uint state;
    atomic_uint readers; /* loads under way: it is not recycled */
    atomic_int_fast64_t put_count;
    atomic_int_fast64_t put_bytes;
    atomic_int_fast64_t alive_count; /* entries */
    atomic_int_fast64_t alive_bytes;
    atomic_uint bytes; /* of the file */
};

struct segs;

struct segs *segs_new(void);
void segs_free(struct segs **s);

/* Never NULL, and good for ever; its content is the segment's only while that exists. One that does
 * not exist is like any other that does not. */
struct seg *segs_get(struct segs *s, uint32_t seg);
enum seg_state segs_state(struct segs *s, uint32_t seg);

/* The lowest number that exists, and one past the highest; equal when there is none. */
uint32_t segs_first(const struct segs *s);
uint32_t segs_end(const struct segs *s);

/* The lowest that exists above `after` (0: of all); 0 when there is none. Numbers may lie far
 * apart: a segment stays as long as anything in it is alive, however many come and go meanwhile. */
uint32_t segs_next(const struct segs *s, uint32_t after);

/* A segment comes. It goes. The journal's and the store's threads. */
void segs_add(struct segs *s, uint32_t seg, enum seg_state state, uint32_t bytes);
void segs_remove(struct segs *s, uint32_t seg);

/* What an entry stands for, from what an entry knows of its message. */
static inline int64_t segs_cost(uint64_t body_bytes)
{
    return 64 + (body_bytes < (uint64_t)64 * 1024 ? (int64_t)body_bytes : 0);
}

/* `count` entries of `bytes` (sums of segs_cost) came into a segment; left it. */
void segs_put(struct segs *s, uint32_t seg, int64_t count, int64_t bytes);
void segs_drop(struct segs *s, uint32_t seg, int64_t count, int64_t bytes);

struct segs_sums {
    uint64_t count; /* of segments */
    uint64_t bytes; /* of their files */
    uint64_t alive_bytes;
    uint64_t alive_count;
};
struct segs_sums segs_sum(struct segs *s);

#endif
