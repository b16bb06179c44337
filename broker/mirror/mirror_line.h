/*
 * mirror_line: records that wait to be durable, in the order of a stream.
 *
 * Records of a stream have positions (`pos`), rising; what is written of them into the journal of
 * this node has an LSN. Up to which position is all that must be durable, durable? Both ends of a
 * stream ask that: the master of its own copy, the mirror of what it acknowledges. One thread.
 */
#ifndef WARREN_MIRROR_LINE_H
#define WARREN_MIRROR_LINE_H

#include <stddef.h>
#include <stdint.h>

struct mirror_line_item {
    uint64_t pos;
    uint64_t lsn;
};

/* Zeros are an empty one. */
struct mirror_line {
    struct mirror_line_item *items; /* a ring, its size a power of two */
    size_t cap;
    size_t head;
    size_t count;
    uint64_t seen; /* the last position */
    uint64_t done; /* the last that was waited for and is durable */
};

void mirror_line_fini(struct mirror_line *l);

/* Positions come in order, not all of them. `lsn` 0: nothing of it is written. */
#define MIRROR_LSN_LATER UINT64_MAX /* mirror_line_set tells it */
void mirror_line_add(struct mirror_line *l, uint64_t pos, uint64_t lsn);

/* The one that came as LATER; 0: nothing more is to be waited for. */
void mirror_line_set(struct mirror_line *l, uint64_t pos, uint64_t lsn);

/* The journal is durable up to here. Returns up to which position all is. */
uint64_t mirror_line_durable(struct mirror_line *l, uint64_t lsn);
uint64_t mirror_line_mark(const struct mirror_line *l);

/* The last position that came and is known to be durable: the mark may be beyond. */
uint64_t mirror_line_reached(const struct mirror_line *l);

#endif
