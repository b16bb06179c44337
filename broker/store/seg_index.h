/*
 * seg_index: the index file beside a sealed segment: which messages of which queue stand where.
 *
 * Derived from the segment, made after it was sealed, never needed for safety: one that is missing,
 * cut short or damaged is made again. It is grouped by queue, so that a run of one queue's messages
 * is found without reading the segment, and lists what else recovery wants of it (SETTLE, RETURNS,
 * LARGE and the highest durable LSN of its batches).
 */
#ifndef WARREN_SEG_INDEX_H
#define WARREN_SEG_INDEX_H

#include "io/disk.h"
#include "store/record.h"

struct index_entry {
    uint64_t qseq;
    uint32_t offset;
    uint32_t body_bytes; /* UINT32_MAX: more; the record says it */
    uint32_t length;     /* of the record */
    uint8_t msg_flags;
};

/* Read the segment and write its index file. Blocks. ERR_IO when the segment holds a bad record. */
MUST_CHECK bool seg_index_build(struct disk *d, uint32_t seg, struct err *err);

struct seg_index; /* an open one: its directory in memory, its lists read when asked for */

MUST_CHECK struct seg_index *seg_index_open(struct disk *d, uint32_t seg, struct err *err);
void seg_index_close(struct seg_index **ix);

/* The entries of a queue with first <= qseq <= last, in order, at most `max` of them; *count says
 * how many. */
MUST_CHECK bool seg_index_find(struct seg_index *ix, uint64_t qid, uint64_t first, uint64_t last,
                               struct index_entry *out, size_t max, size_t *count, struct err *err);

#endif
