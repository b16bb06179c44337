/*
 * seg_index: the index file beside a sealed segment: which messages of which queue stand where.
 *
 * Derived from the segment, made after it was sealed, never needed for safety: one that is missing,
 * cut short or damaged is made again. It is grouped by queue, so that a run of one queue's messages
 * is found without reading the segment, and lists what else recovery wants of it (SETTLE, RETURNS,
 * LARGE and the highest durable LSN of its batches). Its octets are drawn in index_file.h.
 */
#ifndef WARREN_SEG_INDEX_H
#define WARREN_SEG_INDEX_H

#include "io/disk.h"
#include "store/index_file.h"

struct index_entry {
    uint64_t qseq;
    uint32_t offset;
    uint32_t body_bytes;
    uint32_t length; /* of the record */
    uint8_t msg_flags;
};

/* Read the segment, which is durable, and write its index file. Blocks. ERR_IO when it holds a bad
 * record. */
MUST_CHECK bool seg_index_build(struct disk *d, uint32_t seg, struct err *err);

/* An open one: its directory in memory, its lists read when asked for. One thread at a time. */
struct seg_index;

MUST_CHECK struct seg_index *seg_index_open(struct disk *d, uint32_t seg, struct err *err);
void seg_index_close(struct seg_index **ix);

/* The entries of a queue with first <= qseq <= last, in order, at most `max` of them; *count says
 * how many. Of two records of one position it is the later. Quickest when it is asked in order. */
MUST_CHECK bool seg_index_find(struct seg_index *ix, uint64_t qid, uint64_t first, uint64_t last,
                               struct index_entry *out, size_t max, size_t *count, struct err *err);

/* ---- for recovery and for who empties a segment -------------------------------------------------
 */

/* One that is no file yet. Takes `bytes` (from mem), also on failure. */
MUST_CHECK struct seg_index *seg_index_over(uint8_t **bytes, size_t len, uint32_t seg,
                                            struct err *err);

/* Its file is opened for each list that is read, and closed again: for those who look at thousands
 * of indexes at a time. */
void seg_index_let_go(struct seg_index *ix);

const struct index_header *seg_index_header(const struct seg_index *ix);

/* By qid, then by position. */
const struct index_row *seg_index_rows(const struct seg_index *ix, size_t *count);

/* What it says beyond messages, to be read with index_state.h, in memory that the caller frees
 * (mem_free). */
MUST_CHECK bool seg_index_state(struct seg_index *ix, uint8_t **bytes, size_t *len,
                                struct err *err);

/* The entries of a row, one after the other. */
struct index_cursor {
    struct seg_index *ix;
    const struct index_row *row;
    struct index_block *blocks;
    struct index_item *items; /* of one block */
    uint32_t block;
    uint32_t at;
    uint32_t count; /* in the block; 0 at the end */
};

/* At the first entry. Needs index_cursor_fini, also after a failure. */
MUST_CHECK bool index_cursor_init(struct index_cursor *c, struct seg_index *ix,
                                  const struct index_row *row, struct err *err);
void index_cursor_fini(struct index_cursor *c);

/* To the first entry at or above `qseq`, forwards or back. */
MUST_CHECK bool index_cursor_seek(struct index_cursor *c, uint64_t qseq, struct err *err);
MUST_CHECK bool index_cursor_next_block(struct index_cursor *c, struct err *err);

/* Where it stands; NULL at the end. */
static inline const struct index_item *index_cursor_peek(const struct index_cursor *c)
{
    return c->at < c->count ? &c->items[c->at] : NULL;
}

MUST_CHECK static inline bool index_cursor_next(struct index_cursor *c, struct err *err)
{
    return ++c->at < c->count || index_cursor_next_block(c, err);
}

#endif
